//! What concerns somebody now: their services, what changes, what touches them next, and what waits for them.

use super::{
    object::{Node, Reference},
    permit::Permit,
    scalars::{Time, number, time},
};
use crate::{moment::Moment, shown};
use async_graphql::{Enum, Error, SimpleObject};
use quarterdeck_model::{
    FieldSelector, Kind as _, KindRef, LabelSelector, Object as Stored,
    kinds::{self, Campaign, Freeze, Run, Schedule, Service},
};
use quarterdeck_store::ListQuery;
use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

const SERVICES_MAX: usize = 50;
const CHANGES_MAX: usize = 20;
const NEXT_MAX: usize = 50;
/// Objects of a kind that are looked at for it.
const LOOK_MAX: usize = 20_000;
/// Those that are looked at for one that counts as an object read.
const COUNTED: usize = 16;

#[derive(SimpleObject)]
pub(crate) struct Home {
    /// Whether `services` are those of the caller's teams; when it has none, they are those that need a look.
    mine: bool,
    teams: Vec<String>,
    /// Those that are not healthy first; at most 50.
    services: Vec<Node>,
    services_total: i32,
    /// Runs that are under way, newest first; at most 20.
    runs: Vec<Node>,
    runs_total: i32,
    /// Campaigns that are under way or paused; at most 20.
    campaigns: Vec<Node>,
    campaigns_total: i32,
    /// What touches the caller's services next; at most 50.
    next: Vec<Upcoming>,
    /// What waits for somebody, who may be the caller; at most 50.
    waiting: Vec<Waiting>,
}

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpcomingKind {
    /// A run has asked the ledger for leave to disrupt.
    Permit,
    /// A campaign is planned and not started.
    Campaign,
    /// A freeze begins, or holds.
    Freeze,
    /// A schedule starts something.
    Schedule,
}

#[derive(SimpleObject)]
pub(crate) struct Upcoming {
    kind: UpcomingKind,
    at: Option<Time>,
    until: Option<Time>,
    title: String,
    message: Option<String>,
    subject: Reference,
    /// Services it touches, as `namespace/name`.
    services: Vec<String>,
}

#[derive(SimpleObject)]
pub(crate) struct Waiting {
    /// The run or campaign that waits.
    subject: Reference,
    /// The step that waits for an approval; null when the ledger asks for it.
    step: Option<String>,
    since: Option<Time>,
    deadline: Option<Time>,
    message: String,
}

/// Objects of a kind in these phases that may be seen, newest change first.
async fn in_phases(
    moment: &Moment,
    kind: KindRef,
    phases: &[&str],
) -> Result<Vec<Arc<Stored>>, Error> {
    let mut found = Vec::new();
    for phase in phases {
        let some = moment.with_fields(kind, &format!("status.phase={phase}"));
        moment.charge(some.len() / COUNTED).await?;
        found.extend(some);
    }
    found.sort_by_key(|object| Reverse(object.revision));
    Ok(found)
}

fn nodes(objects: &[Arc<Stored>], most: usize) -> Vec<Node> {
    objects.iter().take(most).cloned().map(Node::new).collect()
}

async fn services(moment: &Moment, teams: &[String]) -> Result<(Vec<Arc<Stored>>, bool), Error> {
    let kind = Service::info();
    let mut found = Vec::new();
    let (labels, fields) = (&LabelSelector::default(), &FieldSelector::default());
    for team in teams {
        let namespace = Some(team.as_str());
        let query =
            ListQuery { kind, namespace, labels, fields, after: None, limit: Some(LOOK_MAX) };
        found.extend(moment.seen(moment.world.list(&query).items));
    }
    let mine = !found.is_empty();
    let healthy = |it: &Arc<Stored>| it.field("status.phase") == Some("Healthy");
    if !mine {
        let all = moment.world.all(kind).take(LOOK_MAX).filter(|it| !healthy(it));
        found = moment.seen(all.cloned().collect());
        moment.charge(moment.world.count(kind).min(LOOK_MAX) / COUNTED).await?;
    }
    moment.charge(found.len() / COUNTED).await?;
    found.sort_by_key(healthy);
    Ok((found, mine))
}

pub(crate) async fn home(moment: &Moment) -> Result<Home, Error> {
    let teams = moment.viewer.teams();
    let (services, mine) = services(moment, &teams).await?;
    let runs =
        in_phases(moment, Run::info(), &["Running", "Compensating", "Suspended", "Queued"]).await?;
    let campaigns =
        in_phases(moment, Campaign::info(), &["Canary", "Running", "Paused", "Planned"]).await?;
    let (planned, under_way): (Vec<Arc<Stored>>, Vec<Arc<Stored>>) =
        campaigns.into_iter().partition(|it| it.field("status.phase") == Some("Planned"));
    let full = |it: &Arc<Stored>| format!("{}/{}", it.namespace(), it.name());
    let concerned: BTreeSet<String> = match mine {
        true => services.iter().map(full).collect(),
        false => BTreeSet::new(),
    };
    let permits = permits(moment).await?;
    let mut next = of_permits(&permits, &concerned, mine);
    next.extend(planned.iter().map(|it| campaign(it)));
    next.extend(freezes(moment));
    next.extend(schedules(moment, &teams).await?);
    next.sort_by_key(|it| (it.at.is_none(), it.at));
    next.truncate(NEXT_MAX);
    Ok(Home {
        mine,
        teams,
        services: nodes(&services, SERVICES_MAX),
        services_total: number(services.len()),
        runs: nodes(&runs, CHANGES_MAX),
        runs_total: number(runs.len()),
        campaigns: nodes(&under_way, CHANGES_MAX),
        campaigns_total: number(under_way.len()),
        next,
        waiting: waiting(moment, &runs, &permits).await?,
    })
}

/// A permit, as it is stored and read.
type Asked = (Arc<Stored>, Arc<kinds::Permit>);

async fn permits(moment: &Moment) -> Result<Vec<Asked>, Error> {
    let found = in_phases(moment, kinds::Permit::info(), &["Waiting", "Granted"]).await?;
    let found: Vec<_> = found.into_iter().take(LOOK_MAX).collect();
    moment.charge(found.len() / 4).await?;
    let read = |object: Arc<Stored>| {
        let permit = moment.indexes.permits.read(&object)?;
        Some((object, permit))
    };
    Ok(found.into_iter().filter_map(read).collect())
}

fn of_permits(permits: &[Asked], concerned: &BTreeSet<String>, mine: bool) -> Vec<Upcoming> {
    let touched = |object: &Stored, permit: &kinds::Permit| -> Vec<String> {
        let losses = permit.status.services.iter().map(|loss| loss.service.clone());
        let losses: BTreeSet<String> = losses.collect();
        if !mine {
            return losses.into_iter().collect();
        }
        let told = Permit::read(object);
        let is = |name: &&String| {
            losses.contains(*name) || told.as_ref().is_some_and(|it| it.is_of(name))
        };
        concerned.iter().filter(is).cloned().collect()
    };
    let upcoming = |(object, permit): &Asked| {
        let services = touched(object, permit);
        // Of others, only what waits: what they do is no news.
        if services.is_empty() && (mine || permit.is_granted()) {
            return None;
        }
        let what = if permit.is_granted() { "disrupts" } else { "wants to disrupt" };
        Some(Upcoming {
            kind: UpcomingKind::Permit,
            at: permit.status.granted.or(permit.spec.asked).map(Into::into),
            until: None,
            title: format!("{} {what} {}", permit.spec.runbook, permit.spec.target),
            message: permit.status.message.clone(),
            subject: Reference::to(object),
            services,
        })
    };
    permits.iter().filter_map(upcoming).take(NEXT_MAX).collect()
}

fn campaign(object: &Stored) -> Upcoming {
    let value = shown::value(object);
    Upcoming {
        kind: UpcomingKind::Campaign,
        at: None,
        until: None,
        title: format!(
            "{} on {} targets is planned",
            shown::text(&value, "/spec/runbook").unwrap_or_default(),
            value.pointer("/status/targets").and_then(serde_json::Value::as_u64).unwrap_or(0),
        ),
        message: shown::text(&value, "/status/message"),
        subject: Reference::to(object),
        services: Vec::new(),
    }
}

fn freezes(moment: &Moment) -> Vec<Upcoming> {
    let kind = Freeze::info();
    let all = moment.seen(moment.world.all(kind).take(LOOK_MAX).cloned().collect());
    let freeze = |object: &Arc<Stored>| {
        let spec = object.decode::<Freeze>().ok()?.spec;
        let until = spec.end.map(Time::from);
        until.is_none_or(|until| until.0 > moment.now).then(|| Upcoming {
            kind: UpcomingKind::Freeze,
            at: spec.start.map(Into::into),
            until,
            title: spec.reason,
            message: None,
            subject: Reference::to(object),
            services: Vec::new(),
        })
    };
    all.iter().filter_map(freeze).collect()
}

async fn schedules(moment: &Moment, teams: &[String]) -> Result<Vec<Upcoming>, Error> {
    let found = in_phases(moment, Schedule::info(), &["Scheduled"]).await?;
    let own =
        |it: &&Arc<Stored>| teams.is_empty() || teams.iter().any(|team| team == it.namespace());
    let upcoming = |object: &Arc<Stored>| {
        let value = shown::value(object);
        let text = |pointer| shown::text(&value, pointer);
        let what = text("/spec/run/runbook").or_else(|| text("/spec/campaign/runbook"));
        Upcoming {
            kind: UpcomingKind::Schedule,
            at: time(value.pointer("/status/nextScheduleTime")),
            until: None,
            title: format!("{} starts {}", object.name(), what.unwrap_or_default()),
            message: None,
            subject: Reference::to(object),
            services: Vec::new(),
        }
    };
    Ok(found.iter().filter(own).take(LOOK_MAX).map(upcoming).collect())
}

/// How a step that waits for an approval begins to say so.
const STEP_WAITS: &str = "waiting for approval";
/// What the ledger says when a permit does.
const PERMIT_WAITS: &str = "wants approval by";

async fn waiting(
    moment: &Moment,
    runs: &[Arc<Stored>],
    permits: &[Asked],
) -> Result<Vec<Waiting>, Error> {
    let finder = memchr::memmem::Finder::new(STEP_WAITS);
    let mut waiting = Vec::new();
    moment.charge(runs.len() / COUNTED).await?;
    for object in runs.iter().filter(|run| finder.find(&run.json).is_some()) {
        let Ok(run) = object.decode::<Run>() else { continue };
        let waits = |step: &&kinds::StepStatus| {
            let says = step.message.as_deref().is_some_and(|it| it.starts_with(STEP_WAITS));
            step.phase == kinds::StepPhase::Waiting && says
        };
        waiting.extend(run.status.steps.iter().filter(waits).map(|step| Waiting {
            subject: Reference::to(object),
            step: Some(step.name.clone()),
            since: step.start_time.map(Into::into),
            deadline: step.deadline.map(Into::into),
            message: step.message.clone().unwrap_or_default(),
        }));
        if waiting.len() >= NEXT_MAX {
            break;
        }
    }
    for (object, permit) in permits {
        let message = permit.status.message.clone().unwrap_or_default();
        if waiting.len() < NEXT_MAX && !permit.is_granted() && message.contains(PERMIT_WAITS) {
            let run = Reference::read(Run::info(), object.name(), object.namespace());
            let since = permit.spec.asked.map(Into::into);
            waiting.push(Waiting { subject: run, step: None, since, deadline: None, message });
        }
    }
    Ok(waiting)
}
