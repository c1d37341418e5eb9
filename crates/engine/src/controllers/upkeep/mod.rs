//! What grows is cut back: events, ended runs, revisions of runbooks, and the store's history.
//!
//! What is old is known from following what changes ([`ages`], [`revisions`]): a pass looks only at what it
//! removes.

mod ages;
mod revisions;

use crate::{
    follow::{Follower, Seen},
    objects::{EngineError, Objects},
    runs::goes_on,
};
use ages::{Ages, Since};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    Kind as _, KindRef, Object, Revision, Time,
    kinds::{AgentTask, Event, Run, RunbookRevision},
};
use quarterdeck_store::{BATCH_MAX, EventKind, Mutation, Outcome};
use revisions::Revisions;
use serde::Deserialize;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    task::yield_now,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep},
};
use tracing::{info, warn};

/// What may stay of a kind.
#[derive(Debug, Clone, Copy)]
struct Limit {
    kind: KindRef,
    since: Since,
    age: SignedDuration,
    most: usize,
}

fn events() -> Limit {
    Limit {
        kind: Event::info(),
        since: last_seen,
        // A day, so that the night's can be read in the morning.
        age: SignedDuration::from_hours(24),
        // About a gigabyte with their indexes.
        most: 500_000,
    }
}

fn ended_runs() -> Limit {
    Limit {
        kind: Run::info(),
        since: ended,
        // A quarter, so that what was done to a machine can be told at its next review.
        age: SignedDuration::from_hours(90 * 24),
        // About half a gigabyte.
        most: 100_000,
    }
}

fn ended_tasks() -> Limit {
    Limit {
        kind: AgentTask::info(),
        since: task_ended,
        // So that a step that is begun again after a crash finds what became of its task.
        age: SignedDuration::from_hours(1),
        // About half a gigabyte, if each printed something.
        most: 50_000,
    }
}

/// How old a revision of a runbook must be: a run that begins meanwhile must find what it names.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// How often what is old is removed.
const EVERY: Duration = Duration::from_secs(300);
/// Objects looked at before others get their turn: well below a millisecond of work.
const LOOK_MAX: usize = 256;
/// How far back lists and watches can begin.
const HISTORY_AGE_MAX: Duration = Duration::from_secs(3600);
/// How often history is cut.
const HISTORY_EVERY: Duration = Duration::from_secs(60);

/// Removes old objects, until its future is dropped.
pub(crate) async fn run(objects: Objects) {
    tokio::join!(
        keep(&objects, events()),
        keep(&objects, ended_runs()),
        keep(&objects, ended_tasks()),
        keep_revisions(&objects),
    );
}

/// Keeps a kind within its limit.
async fn keep(objects: &Objects, limit: Limit) {
    let mut follower = Follower::new(objects.store().clone(), limit.kind);
    let mut ages = Ages::new(limit.since);
    let mut pass = passes();
    loop {
        tokio::select! {
            seen = follower.next() => note(&mut ages, seen).await,
            _ = pass.tick() => told(limit.kind, remove_old(objects, &ages, limit).await),
        }
    }
}

fn passes() -> Interval {
    let mut passes = interval_at(Instant::now() + EVERY, EVERY);
    passes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    passes
}

async fn keep_revisions(objects: &Objects) {
    let mut follower = Follower::new(objects.store().clone(), RunbookRevision::info());
    let mut revisions = Revisions::default();
    let mut pass = passes();
    loop {
        tokio::select! {
            seen = follower.next() => revisions.note(seen).await,
            _ = pass.tick() => told(RunbookRevision::info(), revisions.remove_old(objects).await),
        }
    }
}

fn told(kind: KindRef, result: Result<(), EngineError>) {
    if let Err(error) = result {
        let kind = kind.plural;
        warn!(%error, kind, "what is old could not be removed; trying again in {EVERY:?}");
    }
}

async fn note(ages: &mut Ages, seen: Seen) {
    match seen {
        Seen::All(all) => {
            ages.clear();
            for (at, object) in all.iter().enumerate() {
                breathe(at).await;
                ages.note(None, Some(object));
            }
        }
        Seen::Changed(events) => {
            for event in events {
                let after = Some(&*event.object).filter(|_| event.kind != EventKind::Deleted);
                ages.note(event.before().map(|before| &**before), after);
            }
        }
    }
}

async fn remove_old(objects: &Objects, ages: &Ages, limit: Limit) -> Result<(), EngineError> {
    let world = objects.store().world();
    let mut old = Vec::new();
    for (since, key) in ages.beyond(limit.most, limit.age, objects.now().timestamp()) {
        breathe(old.len()).await;
        let object = world.get(limit.kind, &key.namespace, &key.name);
        // What has changed since it was noted may have to stay.
        old.extend(object.filter(|object| (limit.since)(object) == Some(*since)));
    }
    remove(objects, &old).await
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
}

fn times(object: &Object) -> Times {
    object.decode().unwrap_or_default()
}

/// When an event happened last; long ago when it does not say.
fn last_seen(event: &Object) -> Option<Timestamp> {
    let Times { metadata, last_timestamp, event_time, .. } = times(event);
    let said = last_timestamp.or(event_time).or(metadata.creation_timestamp);
    Some(said.map_or(EPOCH, Time::timestamp))
}

/// When a run that nothing owns ended: what belongs to an object is that object's to keep.
fn ended(run: &Object) -> Option<Timestamp> {
    let own = !goes_on(run) && run.owners().next().is_none() && !run.held();
    own.then(|| times(run).status.completion_time.map_or(EPOCH, Time::timestamp))
}

/// When a task ended, or nobody waits for it any more.
fn task_ended(task: &Object) -> Option<Timestamp> {
    let task: AgentTask = task.decode().ok()?;
    let time = if task.status.ended() { task.status.finished_at } else { task.spec.deadline };
    Some(time.map_or(EPOCH, Time::timestamp))
}

/// Removes objects, each in the version that was looked at.
async fn remove(objects: &Objects, old: &[Arc<Object>]) -> Result<(), EngineError> {
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

#[cfg(test)]
mod tests;
