//! The plan of a campaign: waves, what stands in the way, and when it would be over. The waves are those that the
//! plane itself would start, by the same pure function; only how long a run takes is guessed, from runs before. Pure: it
//! is given all that it follows from, and must not know where that was read.

use crate::{Item, Limits, Stage, next_wave};
use jiff::SignedDuration;
use quarterdeck_model::{
    ObjectMeta, Time,
    kinds::{Campaign, Freeze, RackSpec, Service},
    words::{are, count, point, size},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Waves that are worked out one by one; more are counted by the size of the last.
const WAVES_MAX: u32 = 200;
/// A target, and what is known of it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// The rack it stands in.
    pub rack: String,
    /// What is known of that.
    pub place: Option<Arc<RackSpec>>,
    /// The run that acts on it now.
    pub held_by: Option<String>,
    /// Why it is not ready.
    pub not_ready: Option<String>,
    /// Where it is.
    pub stage: Stage,
    /// `namespace/name` of the service of each instance on it.
    pub services: Vec<String>,
}

/// All that a plan follows from.
#[derive(Debug, Default)]
pub struct Ground {
    /// All targets.
    pub targets: Vec<Target>,
    /// Freezes, over or not.
    pub freezes: Vec<Freeze>,
    /// Services that may be concerned.
    pub services: Vec<Service>,
    /// How long runs of this runbook took that succeeded.
    pub took: Vec<SignedDuration>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
}

/// How a campaign would go.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// `CampaignPlan`.
    pub kind: &'static str,
    /// `namespace/name`.
    pub campaign: String,
    /// What is executed.
    pub runbook: String,
    /// Where the campaign is.
    pub phase: String,
    /// All targets.
    pub targets: usize,
    /// Targets that are not done yet.
    pub left: usize,
    /// Failure domains that they are in.
    pub failure_domains: usize,
    /// The first of the waves, two hundred at most.
    pub waves: Vec<PlannedWave>,
    /// Waves there are, shown or not.
    pub waves_in_all: u32,
    /// What is in the way.
    pub blockers: Vec<Obstacle>,
    /// Seconds that a run took until now, in the middle; none when none was seen.
    pub run_seconds: Option<i64>,
    /// Seconds that all would take, without what is in the way.
    pub expected_seconds: Option<i64>,
    /// When all would be done; none when that cannot be said.
    pub expected_end: Option<Time>,
    /// What was not looked at, and why.
    pub unseen: Vec<String>,
}

/// Targets that are begun together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedWave {
    /// From 1.
    pub number: u32,
    /// These are tried before all others.
    pub canary: bool,
    /// Names of its targets.
    pub targets: Vec<String>,
    /// Failure domains they are in, as far as they have a name.
    pub failure_domains: Vec<String>,
}

/// What stands in the way of some targets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Obstacle {
    /// Who or what, such as `freeze/peak` or `service/shop/web`.
    pub who: String,
    /// Targets concerned.
    pub targets: usize,
    /// Nothing of them goes on as things are now; else they only go slower.
    pub blocks: bool,
    /// When it gives way, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// What it is, and what can be done.
    pub message: String,
}

/// Works a plan out.
pub fn plan(campaign: &Campaign, ground: &Ground, now: Time) -> Plan {
    let (spec, status) = (&campaign.spec, &campaign.status);
    let mut targets: Vec<&Target> = ground.targets.iter().collect();
    let domain = |target: &Target| spec.failure_domain.of(&target.rack, target.place.as_deref());
    targets.sort_by_key(|target| (domain(target), target.name.clone()));
    let domains: Vec<String> = targets.iter().map(|target| domain(target)).collect();
    let (waves, in_all) = waves(campaign, &targets, &domains);
    let open = |target: &&&Target| !matches!(target.stage, Stage::Succeeded | Stage::Failed);
    let left: Vec<&Target> = targets.iter().filter(open).copied().collect();
    let obstacles = obstacles(campaign, &left, ground, now);
    let rounds = in_all.max(slowest_service(&left, ground));
    let run_seconds = middle(&ground.took);
    let guessed = run_seconds.map(|seconds| seconds * i64::from(rounds));
    // What is frozen begins when that is over.
    let begin = obstacles.iter().filter(|it| it.blocks).filter_map(|it| it.until).max();
    let begin = begin.unwrap_or(now).timestamp();
    let never = obstacles.iter().any(|it| it.blocks && it.until.is_none());
    let end = guessed.filter(|_| !never).and_then(|seconds| {
        begin.checked_add(SignedDuration::from_secs(seconds)).ok().map(Time::seconds)
    });
    Plan {
        kind: "CampaignPlan",
        campaign: full_name(&campaign.metadata),
        runbook: spec.runbook.clone(),
        phase: format!("{:?}", status.phase),
        targets: targets.len(),
        left: left.len(),
        failure_domains: domains.iter().collect::<BTreeSet<_>>().len(),
        waves,
        waves_in_all: in_all,
        blockers: obstacles,
        run_seconds,
        expected_seconds: guessed,
        // Once it runs, the plane knows better.
        expected_end: status.expected_end.or(end.filter(|_| !left.is_empty())),
        unseen: ground.unseen.clone(),
    }
}

/// The waves, as if each run took as long and all went well; and how many there are.
fn waves(campaign: &Campaign, targets: &[&Target], domains: &[String]) -> (Vec<PlannedWave>, u32) {
    let spec = &campaign.spec;
    let all = u32::try_from(targets.len()).unwrap_or(u32::MAX);
    let limits = Limits {
        canaries: size(spec.canaries(all)),
        concurrency: size(spec.concurrency),
        domains: spec.failure_domain.at_once(spec.domains_at_once),
        // What failed is not what this is about.
        failures: usize::MAX,
        accepted: usize::MAX,
    };
    let stage = |target: &&Target| match target.stage {
        Stage::Running | Stage::Waiting => Stage::Succeeded,
        other => other,
    };
    let stages = targets.iter().map(stage);
    let mut items: Vec<Item<'_>> =
        domains.iter().zip(stages).map(|(domain, stage)| Item { domain, stage }).collect();
    let mut waves: Vec<PlannedWave> = Vec::new();
    for number in 1..=WAVES_MAX {
        let next = next_wave(&items, &limits);
        if next.start.is_empty() {
            break;
        }
        let name = |at: &usize| targets.get(*at).map(|target| target.name.clone());
        let places: BTreeSet<&String> = next
            .start
            .iter()
            .filter_map(|at| domains.get(*at))
            .filter(|it| !it.is_empty())
            .collect();
        waves.push(PlannedWave {
            number,
            canary: next.trying,
            targets: next.start.iter().filter_map(name).collect(),
            failure_domains: places.into_iter().cloned().collect(),
        });
        for at in next.start {
            if let Some(item) = items.get_mut(at) {
                item.stage = Stage::Succeeded;
            }
        }
    }
    let left = items.iter().filter(|item| item.stage == Stage::Left).count();
    let each = waves.last().map_or(1, |wave| wave.targets.len().max(1));
    let more = u32::try_from(left.div_ceil(each)).unwrap_or(u32::MAX);
    let shown = u32::try_from(waves.len()).unwrap_or(WAVES_MAX);
    (waves, shown.saturating_add(more))
}

/// Rounds that the most concerned service makes of it: only so many of its instances go at once.
fn slowest_service(left: &[&Target], ground: &Ground) -> u32 {
    let concerned = concerned(left);
    let rounds = |service: &Service| {
        let most = service.spec.most_down(service.status.instances.unwrap_or(0));
        let on = concerned
            .get(full_name(&service.metadata).as_str())
            .map_or(0, |(_, instances)| *instances);
        // A service that spares none is an obstacle, and no measure of time.
        if most == 0 { 0 } else { on.div_ceil(most) }
    };
    ground.services.iter().map(rounds).max().unwrap_or(0)
}

/// Targets with instances of each service, and those instances.
fn concerned<'a>(targets: &[&'a Target]) -> BTreeMap<&'a str, (usize, u32)> {
    let mut concerned: BTreeMap<&str, (usize, u32)> = BTreeMap::new();
    for target in targets {
        let mut here = BTreeSet::new();
        for service in &target.services {
            let counts = concerned.entry(service).or_default();
            counts.1 += 1;
            if here.insert(service) {
                counts.0 += 1;
            }
        }
    }
    concerned
}

fn full_name(metadata: &ObjectMeta) -> String {
    format!("{}/{}", metadata.namespace.as_deref().unwrap_or_default(), metadata.name)
}

fn middle(took: &[SignedDuration]) -> Option<i64> {
    let mut sorted = took.to_vec();
    sorted.sort();
    // Less than a second is still something.
    sorted.get(sorted.len() / 2).map(|it| it.as_secs().max(1))
}

fn obstacles(campaign: &Campaign, left: &[&Target], ground: &Ground, now: Time) -> Vec<Obstacle> {
    let mut found = Vec::new();
    found.extend(ground.freezes.iter().filter_map(|it| freeze(campaign, it, left, now)));
    let concerned = concerned(left);
    found.extend(ground.services.iter().filter_map(|it| service(it, &concerned)));
    let some = |who: &str, blocks, names: Vec<(&str, &String)>, what: &str| {
        let (first, why) = names.first()?;
        let message = format!("{} {what}, such as {first}: {why}", count(names.len(), "target"));
        Some(Obstacle { who: who.into(), targets: names.len(), blocks, until: None, message })
    };
    let held = left.iter().filter_map(|it| Some((it.name.as_str(), it.held_by.as_ref()?)));
    found.extend(some(
        "run",
        false,
        held.collect(),
        "held by another run, and would queue behind it",
    ));
    let sick = left.iter().filter_map(|it| Some((it.name.as_str(), it.not_ready.as_ref()?)));
    found.extend(some("server", false, sick.collect(), "not ready"));
    if left.is_empty() {
        let message = "no target is left to be done; `kubectl get servers --show-labels` shows what has which labels";
        found.push(Obstacle {
            who: "targets".into(),
            targets: 0,
            blocks: true,
            until: None,
            message: message.into(),
        });
    }
    found
}

/// What a freeze keeps waiting.
fn freeze(campaign: &Campaign, freeze: &Freeze, left: &[&Target], now: Time) -> Option<Obstacle> {
    let spec = &freeze.spec;
    if spec.end.is_none_or(|end| end <= now) {
        return None;
    }
    let except = spec.except.clone().unwrap_or_default();
    let namespace = campaign.metadata.namespace.clone().unwrap_or_default();
    if except.runbooks.contains(&campaign.spec.runbook) || except.namespaces.contains(&namespace) {
        return None;
    }
    let everywhere = spec.sites.is_empty() && spec.racks.is_empty() && spec.site_parts.is_empty();
    let covers = |target: &&&Target| {
        let within = |rack: &RackSpec| {
            spec.sites.contains(&rack.site)
                || spec.site_parts.iter().any(|it| rack.is_in(&it.site, &it.part))
        };
        everywhere
            || spec.racks.contains(&target.rack)
            || target.place.as_deref().is_some_and(within)
    };
    let targets = left.iter().filter(covers).count();
    if targets == 0 {
        return None;
    }
    let end = spec.end.map(|end| point(end, now)).unwrap_or_default();
    let (blocks, when) = match spec.start {
        Some(start) if start > now => {
            (false, format!("begins at {}, until {end}", point(start, now)))
        }
        _ => (true, format!("holds until {end}")),
    };
    let message = format!("{targets} of {}: {when}: {}", count(left.len(), "target"), spec.reason);
    let (who, until) = (format!("freeze/{}", freeze.metadata.name), spec.end);
    Some(Obstacle { who, targets, blocks, until, message })
}

/// What a service can spare of the targets at once.
fn service(service: &Service, concerned: &BTreeMap<&str, (usize, u32)>) -> Option<Obstacle> {
    let name = full_name(&service.metadata);
    let (targets, instances) = *concerned.get(name.as_str())?;
    let (spec, status) = (&service.spec, &service.status);
    let all = status.instances.unwrap_or(0);
    let (most, down) = (spec.most_down(all), status.down.unwrap_or(0));
    if instances <= most.saturating_sub(down) {
        return None;
    }
    let contacts = spec.contacts.join(", ");
    let owner = match (&spec.owner, contacts.is_empty()) {
        (Some(owner), true) => format!("; its owner is {owner}"),
        (Some(owner), false) => format!("; its owner is {owner} ({contacts})"),
        (None, false) => format!("; ask {contacts}"),
        (None, true) => String::new(),
    };
    let message = format!(
        "{instances} of its {} {} on {}, {most} may be down at once and {down} {} now{owner}",
        count(size(all), "instance"),
        are(size(instances)),
        count(targets, "target"),
        are(size(down))
    );
    let blocks = down >= most;
    Some(Obstacle { who: format!("service/{name}"), targets, blocks, until: None, message })
}
