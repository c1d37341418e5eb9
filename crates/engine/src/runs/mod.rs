//! The run engine: one driver for each run that has not ended. The pure interpreter decides; a
//! driver records, then performs. Nothing is performed that was not recorded first.

mod driver;
mod frozen;
mod listeners;
mod targets;

use crate::{
    actions::Actions,
    follow::{Follower, Seen},
    objects::{Objects, decode},
};
use frozen::FrozenCache;
use listeners::Listeners;
use quarterdeck_model::{
    Key, Kind as _, Object, Time, kinds,
    kinds::{Event, Run, RunPhase, RunbookRevision, Secret},
};
use quarterdeck_store::EventKind;
use std::{collections::HashMap, sync::Arc};
use targets::Targets;
use tokio::{sync::Notify, task::JoinSet};

/// Keeps a run that has begun until it has ended, so that deleting it undoes what it did.
pub(crate) const FINALIZER: &str = "quarterdeck.dev/run";

/// What all drivers share.
pub(crate) struct Context {
    pub(crate) objects: Objects,
    pub(crate) actions: Arc<Actions>,
    frozen: FrozenCache,
    targets: Arc<Targets>,
    listeners: Arc<Listeners>,
}

/// Drives all runs, until its future is dropped.
pub(crate) async fn run(objects: Objects, actions: Arc<Actions>) {
    let context = Arc::new(Context {
        objects,
        actions,
        frozen: FrozenCache::default(),
        targets: Targets::new(),
        listeners: Arc::default(),
    });
    let store = context.objects.store().clone();
    let mut followers = JoinSet::new();
    // What a run may be aimed at.
    let no_targets = [Event::info(), Run::info(), RunbookRevision::info(), Secret::info()];
    for kind in kinds::all().iter().filter(|kind| !no_targets.contains(kind)) {
        followers.spawn(context.listeners.clone().follow(store.clone(), kind));
    }
    let mut manager =
        Manager { context, drivers: HashMap::new(), tasks: JoinSet::new(), number: 0 };
    let mut follower = Follower::new(store, Run::info());
    loop {
        tokio::select! {
            seen = follower.next() => match seen {
                Seen::All(runs) => manager.look_at_all(runs),
                Seen::Changed(events) => {
                    for event in events {
                        manager.look_at(&event.object, event.kind == EventKind::Deleted);
                    }
                }
            },
            Some(ended) = manager.tasks.join_next_with_id() => manager.ended(ended),
        }
    }
}

/// Keeps one driver for each run that needs one.
struct Manager {
    context: Arc<Context>,
    drivers: HashMap<Key, Driver>,
    tasks: JoinSet<Key>,
    /// Gives runs their place in line, in the order they were first seen.
    number: u64,
}

struct Driver {
    task: tokio::task::Id,
    changed: Arc<Notify>,
}

impl Manager {
    fn look_at_all(&mut self, mut runs: Vec<Arc<Object>>) {
        for driver in self.drivers.values() {
            driver.changed.notify_one();
        }
        runs.retain(|run| needs_driver(run));
        // Those that had begun hold their targets; the others line up as they did before.
        let begun = |run: &Object| {
            !matches!(run.field("status.phase"), None | Some("" | "Pending" | "Queued"))
        };
        let created = |run: &Object| -> Option<Time> {
            decode::<Run>(run).ok().and_then(|run| run.metadata.creation_timestamp)
        };
        runs.sort_by_cached_key(|run| (!begun(run), created(run), run.revision));
        for run in runs {
            self.look_at(&run, false);
        }
    }

    fn look_at(&mut self, run: &Object, gone: bool) {
        if let Some(driver) = self.drivers.get(&run.key) {
            driver.changed.notify_one();
            return;
        }
        if gone || !needs_driver(run) {
            return;
        }
        self.number += 1;
        let changed = Arc::new(Notify::new());
        let key = run.key.clone();
        let drive = driver::drive(self.context.clone(), key.clone(), self.number, changed.clone());
        let task = self.tasks.spawn({
            let key = key.clone();
            async move {
                drive.await;
                key
            }
        });
        self.drivers.insert(key, Driver { task: task.id(), changed });
    }

    fn ended(&mut self, ended: Result<(tokio::task::Id, Key), tokio::task::JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => {
                tracing::error!(%error, "a driver of a run failed; starting it again");
                error.id()
            }
        };
        let key =
            self.drivers.iter().find(|(_, driver)| driver.task == id).map(|(key, _)| key.clone());
        let Some(key) = ended.ok().map(|(_, key)| key).or(key) else { return };
        self.drivers.remove(&key);
        // It may have been asked to go on (a retry) while its driver was ending.
        if let Some(run) = self.context.objects.get(&key) {
            self.look_at(&run, false);
        }
    }
}

/// Whether there is anything left to do about a run.
fn needs_driver(run: &Object) -> bool {
    let phase = run.field("status.phase").unwrap_or_default();
    if !matches!(phase, "Succeeded" | "Failed" | "Cancelled") {
        return true;
    }
    // Nearly all runs have ended and stay so: only those that might have been asked for more are read.
    let mentions = |field: &str| run.json.windows(field.len()).any(|part| part == field.as_bytes());
    if !mentions("\"retry\"") && !mentions(FINALIZER) {
        return false;
    }
    decode::<Run>(run).is_ok_and(|run| {
        wants_retry(&run) || run.metadata.finalizers.iter().any(|held| held == FINALIZER)
    })
}

/// Whether a run that ended is asked to go on.
fn wants_retry(run: &Run) -> bool {
    matches!(run.status.phase, RunPhase::Failed | RunPhase::Cancelled)
        && run.spec.retry.as_ref().is_some_and(|retry| retry.number > run.status.retries)
        && run.metadata.deletion_timestamp.is_none()
}
