//! What grows is cut back: events, ended runs, revisions of runbooks, and the store's history.
//!
//! Each pass looks through its objects in small steps, and lets others work in between.

use crate::objects::{EngineError, Objects, decode};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    Kind as _, Object, Revision, Time,
    kinds::{Event, Run, RunbookRevision},
};
use quarterdeck_store::{BATCH_MAX, Mutation, Outcome, Precondition, World};
use serde::Deserialize;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use tracing::{info, warn};

/// What may stay.
#[derive(Debug, Clone, Copy)]
struct Limits {
    event_age: SignedDuration,
    events: usize,
    run_age: SignedDuration,
    runs: usize,
    revision_age: SignedDuration,
}

const LIMITS: Limits = Limits {
    // A day, so that the night's can be read in the morning.
    event_age: SignedDuration::from_hours(24),
    // About a gigabyte with their indexes.
    events: 500_000,
    // A quarter, so that what was done to a machine can be told at its next review.
    run_age: SignedDuration::from_hours(90 * 24),
    // Ended runs that belong to nothing; about half a gigabyte.
    runs: 100_000,
    // A run that begins meanwhile must find what it names.
    revision_age: SignedDuration::from_hours(1),
};
/// How often they are looked through.
const EVERY: Duration = Duration::from_secs(300);
/// Objects looked at before others get their turn: well below a millisecond of work.
const LOOK_MAX: usize = 256;
/// How far back lists and watches can begin.
const HISTORY_AGE_MAX: Duration = Duration::from_secs(3600);
/// How often history is cut.
const HISTORY_EVERY: Duration = Duration::from_secs(60);

/// Removes old objects, until its future is dropped.
pub(crate) async fn run(objects: Objects) {
    loop {
        sleep(EVERY).await;
        if let Err(error) = pass(&objects, LIMITS).await {
            warn!(%error, "old objects could not be removed; trying again in {EVERY:?}");
        }
    }
}

async fn pass(objects: &Objects, limits: Limits) -> Result<(), EngineError> {
    old_events(objects, limits).await?;
    old_runs(objects, limits).await?;
    old_revisions(objects, limits).await
}

async fn old_events(objects: &Objects, limits: Limits) -> Result<(), EngineError> {
    let world = objects.store().world();
    let mut events = Vec::with_capacity(world.count(Event::info()));
    for (at, event) in world.all(Event::info()).enumerate() {
        breathe(at).await;
        events.push((last_seen(event), event.clone()));
    }
    remove(objects, oldest(events, limits.events, limits.event_age, objects.now())).await
}

/// Ended runs that nothing owns: what belongs to an object is that object's to keep.
async fn old_runs(objects: &Objects, limits: Limits) -> Result<(), EngineError> {
    let world = objects.store().world();
    let mut runs = Vec::new();
    for (at, run) in world.all(Run::info()).enumerate() {
        breathe(at).await;
        let ended = matches!(run.field("status.phase"), Some("Succeeded" | "Failed" | "Cancelled"));
        if ended && run.owners().next().is_none() && !run.held() {
            runs.push((
                times(run).status.completion_time.map_or(EPOCH, Time::timestamp),
                run.clone(),
            ));
        }
    }
    remove(objects, oldest(runs, limits.runs, limits.run_age, objects.now())).await
}

/// Revisions that no run names, except the newest of each runbook.
async fn old_revisions(objects: &Objects, limits: Limits) -> Result<(), EngineError> {
    let world = objects.store().world();
    let named = named_revisions(&world).await;
    let mut newest: HashMap<&str, (Timestamp, &Arc<Object>)> = HashMap::new();
    let mut found = Vec::new();
    for (at, revision) in world.all(RunbookRevision::info()).enumerate() {
        breathe(at).await;
        let created = times(revision).metadata.creation_timestamp.map_or(EPOCH, Time::timestamp);
        let runbook = revision.field("spec.runbook").unwrap_or_default();
        let first = newest.entry(runbook).or_insert((created, revision));
        if created >= first.0 {
            *first = (created, revision);
        }
        found.push((created, revision));
    }
    let now = objects.now().timestamp();
    let old: Vec<Arc<Object>> = found
        .into_iter()
        .filter(|(created, revision)| {
            let runbook = revision.field("spec.runbook").unwrap_or_default();
            let is_newest =
                newest.get(runbook).is_some_and(|(_, newest)| newest.key == revision.key);
            let young = now.duration_since(*created) <= limits.revision_age;
            !is_newest && !young && !named.contains(revision.name())
        })
        .map(|(_, revision)| revision.clone())
        .collect();
    if old.is_empty() {
        return Ok(());
    }
    remove(objects, old.clone()).await?;
    // A runbook may have been set back to one of these texts, and a run begun, meanwhile.
    let named = named_revisions(&*objects.store().fresh().await?).await;
    let missed = old.into_iter().filter(|revision| named.contains(revision.name()));
    let mut back = Vec::new();
    for revision in missed {
        let mut revision: RunbookRevision = decode(&revision)?;
        revision.metadata.resource_version = None;
        back.push(objects.put(&revision, Precondition::Absent)?);
    }
    if !back.is_empty() {
        objects.commit(back).await?;
    }
    Ok(())
}

async fn named_revisions(world: &World) -> HashSet<String> {
    let mut named = HashSet::new();
    for (at, run) in world.all(Run::info()).enumerate() {
        breathe(at).await;
        named.extend(times(run).status.runbook_revision);
    }
    named
}

const EPOCH: Timestamp = Timestamp::UNIX_EPOCH;

/// The few fields that are asked of every object.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Times {
    metadata: MetaTimes,
    status: StatusTimes,
    last_timestamp: Option<Time>,
    event_time: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MetaTimes {
    creation_timestamp: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusTimes {
    completion_time: Option<Time>,
    runbook_revision: Option<String>,
}

fn times(object: &Object) -> Times {
    object.decode().unwrap_or_default()
}

/// When an event happened last; long ago when it does not say.
fn last_seen(event: &Object) -> Timestamp {
    let Times { metadata, last_timestamp, event_time, .. } = times(event);
    let said = last_timestamp.or(event_time).or(metadata.creation_timestamp);
    said.map_or(EPOCH, Time::timestamp)
}

/// Those beyond the number or the age that may stay, oldest first.
fn oldest(
    mut found: Vec<(Timestamp, Arc<Object>)>,
    most: usize,
    age: SignedDuration,
    now: Time,
) -> Vec<Arc<Object>> {
    found.sort_by_key(|(time, _)| *time);
    let crowd = found.len().saturating_sub(most);
    let now = now.timestamp();
    let old = found
        .into_iter()
        .enumerate()
        .take_while(|(at, (time, _))| *at < crowd || now.duration_since(*time) > age);
    old.map(|(_, (_, object))| object).collect()
}

/// Removes objects, each in the version that was looked at.
async fn remove(objects: &Objects, old: Vec<Arc<Object>>) -> Result<(), EngineError> {
    for batch in old.chunks(BATCH_MAX) {
        let removals: Vec<Mutation> =
            batch.iter().filter_map(|object| objects.removal(object)).collect();
        let outcomes = objects.commit(removals).await?;
        let kept = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Committed(_)));
        tracing::debug!(removed = batch.len(), kept = kept.count(), "old objects were removed");
    }
    Ok(())
}

/// Lets others work now and then.
async fn breathe(looked_at: usize) {
    if looked_at % LOOK_MAX == LOOK_MAX - 1 {
        yield_now().await;
    }
}

/// Cuts the store's history, until its future is dropped.
pub(crate) async fn history(objects: Objects) {
    // Which revision was the newest when: the store itself knows no times.
    let mut newest_at: VecDeque<(Instant, Revision)> = VecDeque::new();
    loop {
        newest_at.push_back((Instant::now(), objects.store().world().revision()));
        sleep(HISTORY_EVERY).await;
        let mut before = None;
        while newest_at.front().is_some_and(|(at, _)| at.elapsed() > HISTORY_AGE_MAX) {
            before = newest_at.pop_front().map(|(_, revision)| revision);
        }
        let Some(before) = before else { continue };
        match objects.store().compact(before).await {
            Ok(()) => info!(%before, "history was cut"),
            Err(error) => {
                warn!(%error, "history could not be cut; trying again in {HISTORY_EVERY:?}")
            }
        }
    }
}
