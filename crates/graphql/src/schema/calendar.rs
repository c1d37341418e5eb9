//! What happens, or may not happen, between two moments.

use super::{
    object::Reference,
    scalars::{Time, time},
};
use crate::{moment::Moment, shown};
use async_graphql::{Enum, Error, SimpleObject};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    FieldSelector, Kind as _, KindRef, LabelSelector, Object as Stored,
    kinds::{Campaign, Freeze, Schedule, Service},
};
use quarterdeck_store::ListQuery;
use std::sync::Arc;

const ENTRIES_MAX: usize = 1_000;
/// Longest time that is looked at.
const SPAN_MAX: SignedDuration = SignedDuration::from_hours(24 * 400);
/// Times of one schedule, and windows of one service, that are told.
const TIMES_MAX: usize = 200;
/// Objects of a kind that are looked at.
const LOOK_MAX: usize = 5_000;

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CalendarKind {
    Freeze,
    Campaign,
    Schedule,
    /// Something has its maintenance windows open: of the caller's teams only.
    Window,
}

#[derive(SimpleObject)]
pub(crate) struct CalendarEntry {
    id: String,
    kind: CalendarKind,
    title: String,
    start: Time,
    /// Null when it is a moment, or nobody knows.
    end: Option<Time>,
    subject: Reference,
    /// Ids of entries that stand against it: freezes over a campaign or a schedule.
    collides: Vec<String>,
}

pub(crate) async fn calendar(
    moment: &Moment,
    from: Time,
    to: Time,
) -> Result<Vec<CalendarEntry>, Error> {
    if to <= from || to.0.duration_since(from.0) > SPAN_MAX {
        return Err(Error::new("to must be after from, and not more than 400 days"));
    }
    let mut entries = Vec::new();
    for kind in [Freeze::info(), Campaign::info(), Schedule::info()] {
        moment.charge(moment.world.count(kind).min(LOOK_MAX)).await?;
        let all = moment.world.all(kind).take(LOOK_MAX).cloned().collect();
        for object in moment.seen(all) {
            match kind.kind {
                Freeze::KIND => entries.extend(freeze(&object)),
                Campaign::KIND => entries.extend(campaign(moment, &object)),
                _ => entries.extend(schedule(&object, from.0, to.0)),
            }
        }
    }
    for service in services(moment) {
        moment.charge(1).await?;
        entries.extend(windows(&service, from.0, to.0));
    }
    entries.retain(|it| it.start < to && it.end.unwrap_or(it.start) >= from);
    entries.sort_by_key(|it| it.start);
    entries.truncate(ENTRIES_MAX);
    collide(&mut entries);
    Ok(entries)
}

fn entry(object: &Stored, kind: CalendarKind, title: String, start: Time) -> CalendarEntry {
    CalendarEntry {
        id: format!(
            "{}/{}/{}/{}",
            object.kind.plural,
            object.namespace(),
            object.name(),
            start.0.as_second()
        ),
        kind,
        title,
        start,
        end: None,
        subject: Reference::to(object),
        collides: Vec::new(),
    }
}

fn freeze(object: &Stored) -> Option<CalendarEntry> {
    let freeze: Freeze = object.decode().ok()?;
    let start = freeze.spec.start.or(freeze.metadata.creation_timestamp)?;
    let end = freeze.spec.end.map(Into::into);
    Some(CalendarEntry {
        end,
        ..entry(object, CalendarKind::Freeze, freeze.spec.reason, start.into())
    })
}

fn campaign(moment: &Moment, object: &Stored) -> Option<CalendarEntry> {
    let value = shown::value(object);
    let start = time(value.pointer("/status/startTime"))?;
    let end = ["/status/completionTime", "/status/expectedEnd"];
    let end = end.into_iter().find_map(|pointer| time(value.pointer(pointer)));
    let title = format!("{}: {}", object.name(), shown::text(&value, "/spec/runbook")?);
    let end = Some(end.unwrap_or(Time(moment.now)));
    Some(CalendarEntry { end, ..entry(object, CalendarKind::Campaign, title, start) })
}

fn schedule(object: &Stored, from: Timestamp, to: Timestamp) -> Vec<CalendarEntry> {
    let Ok(schedule) = object.decode::<Schedule>() else { return Vec::new() };
    let spec = &schedule.spec;
    let (Ok(cron), Some(zone), false) = (spec.cron(), spec.zone(), spec.suspend) else {
        return Vec::new();
    };
    let runbook = spec.run.as_ref().map(|run| &run.runbook);
    let runbook = runbook.or(spec.campaign.as_ref().map(|campaign| &campaign.runbook));
    let title = format!("{}: {}", object.name(), runbook.map_or("", String::as_str));
    let times = std::iter::successors(cron.next(from, &zone), |last| cron.next(*last, &zone));
    times
        .take_while(|at| *at < to)
        .take(TIMES_MAX)
        .map(|at| entry(object, CalendarKind::Schedule, title.clone(), Time(at)))
        .collect()
}

/// Services of the caller's teams.
fn services(moment: &Moment) -> Vec<Arc<Stored>> {
    let kind: KindRef = Service::info();
    let (labels, fields) = (&LabelSelector::default(), &FieldSelector::default());
    let list = |team: &String| {
        let namespace = Some(team.as_str());
        let query =
            ListQuery { kind, namespace, labels, fields, after: None, limit: Some(LOOK_MAX) };
        moment.world.list(&query).items
    };
    moment.seen(moment.viewer.teams().iter().flat_map(list).take(LOOK_MAX).collect())
}

fn windows(object: &Stored, from: Timestamp, to: Timestamp) -> Vec<CalendarEntry> {
    let Ok(service) = object.decode::<Service>() else { return Vec::new() };
    let mut entries = Vec::new();
    for window in &service.spec.maintenance_windows {
        let mut at = window.next(from.into());
        for _ in 0..TIMES_MAX {
            let Some(start) = at.filter(|start| start.timestamp() < to) else { break };
            let length = SignedDuration::try_from(window.duration.as_std()).unwrap_or_default();
            let end = start.timestamp().checked_add(length).ok().map(Time);
            let title = format!("{}/{} may be disrupted", object.namespace(), object.name());
            entries.push(CalendarEntry {
                end,
                ..entry(object, CalendarKind::Window, title, start.into())
            });
            at = window.next(start);
        }
    }
    entries
}

fn collide(entries: &mut [CalendarEntry]) {
    let freezes: Vec<(String, Time, Option<Time>)> = entries
        .iter()
        .filter(|it| it.kind == CalendarKind::Freeze)
        .map(|it| (it.id.clone(), it.start, it.end))
        .collect();
    for it in entries.iter_mut() {
        if matches!(it.kind, CalendarKind::Campaign | CalendarKind::Schedule) {
            let end = it.end.unwrap_or(it.start);
            let over = |(_, start, until): &&(String, Time, Option<Time>)| {
                *start <= end && until.is_none_or(|until| until > it.start)
            };
            it.collides = freezes.iter().filter(over).map(|(id, ..)| id.clone()).collect();
        }
    }
}
