//! The run engine: one driver for each run that has not ended. The pure interpreter decides; a
//! driver records, then performs. Nothing is performed that was not recorded first.
//!
//! - [`job`] is one run from when it is seen to its end, [`driver`] what drives it; [`prepare`] says what it executes; [`record`] writes its journal and
//!   its story, [`written`] the journal's text; [`perform`] performs actions.
//! - [`leave`] asks the ledger for a run's leave to disrupt its target; [`in_use`] says whether something acts on that.
//! - [`targets`] is who holds a target and who waits; [`listeners`] wakes runs when targets change.

mod driver;
mod frozen;
mod in_use;
mod job;
mod leave;
mod listeners;
mod perform;
mod prepare;
mod record;
mod targets;
mod written;

use crate::{
    actions::Actions,
    follow::{Follower, Seen},
    objects::{Objects, Wiring, decode},
    shards::{Gained, Holding, Shard},
    tenure::Tenure,
};
use frozen::FrozenCache;
pub(crate) use in_use::InUses;
use job::Job;
pub(crate) use leave::Permitted;
use listeners::Listeners;
pub(crate) use perform::Call;
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object, Time, kinds,
    kinds::{Event, RBAC, Run, RunPhase, RunbookRevision, Secret, Site},
};
use quarterdeck_store::EventKind;
use std::{collections::HashMap, sync::Arc, time::Duration};
use targets::{Class, Targets};
use tokio::{
    sync::Notify,
    task::{Id, JoinError, JoinSet},
    time::sleep,
};

/// Keeps a run that has begun until it has ended, so that deleting it undoes what it did.
pub(crate) const FINALIZER: &str = "quarterdeck.dev/run";
/// Pause before a run whose driver ended in a defect is driven again.
const DEFECT_PAUSE: Duration = Duration::from_secs(15);

/// Name of the engine's part in logs, and in the audit log.
const NAME: &str = "runs";

/// What all drivers share; `objects` are those of one run.
pub(crate) struct Context {
    pub(crate) objects: Objects,
    pub(crate) actions: Arc<Actions>,
    uses: Arc<InUses>,
    frozen: Arc<FrozenCache>,
    listeners: Arc<Listeners>,
}

/// Drives the runs of the shards that this replica holds, until its future is dropped.
pub(crate) async fn run(
    wiring: Wiring,
    mut holding: Holding,
    actions: Arc<Actions>,
    uses: Arc<InUses>,
) {
    let store = wiring.store.clone();
    let listeners = Arc::<Listeners>::default();
    let mut followers = JoinSet::new();
    // What a run may be aimed at.
    let no_targets = [Event::info(), Run::info(), RunbookRevision::info(), Secret::info()];
    let targets = kinds::all().iter().filter(|kind| kind.group != RBAC);
    for kind in targets.filter(|kind| !no_targets.contains(kind)) {
        followers.spawn(listeners.clone().follow(store.clone(), kind));
    }
    let mut manager = Manager {
        queued: wiring.now(),
        wiring,
        holding: holding.clone(),
        actions,
        uses,
        frozen: Arc::default(),
        targets: Arc::default(),
        listeners,
        drivers: HashMap::new(),
        keys: HashMap::new(),
        tasks: JoinSet::new(),
        number: 0,
    };
    let mut follower = Follower::new(store.clone(), Run::info());
    // Before that there is nothing to drive; then the follower tells all there is.
    holding.gained().await;
    loop {
        tokio::select! {
            gained = holding.gained() => manager.look_at_gained(gained),
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
    wiring: Wiring,
    holding: Holding,
    actions: Arc<Actions>,
    uses: Arc<InUses>,
    frozen: Arc<FrozenCache>,
    targets: Arc<Targets>,
    listeners: Arc<Listeners>,
    /// What wakes the driver of each run that has one.
    drivers: HashMap<Key, Arc<Notify>>,
    keys: HashMap<Id, Key>,
    tasks: JoinSet<Option<()>>,
    /// Gives runs their place in line, in the order they were first seen.
    number: u64,
    /// When the newest of them lined up; no two at the same time, so that the order is recorded.
    queued: Time,
}

impl Manager {
    fn look_at_gained(&mut self, gained: Gained) {
        let world = self.wiring.store.world();
        let runs = world.all(Run::info()).filter(|run| gained.contains(shard_of(run)));
        self.look_at_all(runs.cloned().collect());
    }

    fn look_at_all(&mut self, mut runs: Vec<Arc<Object>>) {
        for changed in self.drivers.values() {
            changed.notify_one();
        }
        runs.retain(|run| needs_driver(run));
        // Each lines up as it did before: first since when it waited, then when it was created.
        runs.sort_by_cached_key(|run| {
            let run_ = decode::<Run>(run).unwrap_or_default();
            let queued = run_.status.queued_time;
            (queued.is_none(), queued, run_.metadata.creation_timestamp, run.revision)
        });
        for run in runs {
            self.look_at(&run, false);
        }
    }

    fn look_at(&mut self, run: &Object, gone: bool) {
        if let Some(changed) = self.drivers.get(&run.key) {
            changed.notify_one();
        } else if !gone
            && needs_driver(run)
            && let Some(tenure) = self.holding.shard(shard_of(run))
        {
            self.start(run, tenure, Duration::ZERO);
        }
    }

    fn start(&mut self, run: &Object, tenure: Tenure, after: Duration) {
        self.number += 1;
        let tick = self.queued.timestamp() + Duration::from_micros(1);
        self.queued = self.wiring.now().max(Time::new(tick));
        let changed = Arc::<Notify>::default();
        let key = run.key.clone();
        let class = if is_begun(run) { Class::Begun } else { Class::Usual };
        // In line at once, in the order runs are seen; one that needs no target leaves it.
        let place = target_of(run).map(|target| {
            let target = part_of(run, target);
            let rank = (class, self.number);
            self.targets.line_up(target, key.clone(), rank, changed.clone())
        });
        let objects = Objects::new(self.wiring.clone(), tenure.clone(), NAME).acting_for(run);
        let context = Arc::new(Context {
            objects,
            actions: self.actions.clone(),
            uses: self.uses.clone(),
            frozen: self.frozen.clone(),
            listeners: self.listeners.clone(),
        });
        let job = Job::new(context, run, place, self.queued, changed.clone());
        let task = self.tasks.spawn(tenure.during(async move {
            if !after.is_zero() {
                sleep(after).await;
            }
            job::drive(job).await;
        }));
        self.keys.insert(task.id(), key.clone());
        self.drivers.insert(key, changed);
    }

    fn ended(&mut self, ended: Result<(Id, Option<()>), JoinError>) {
        let (id, pause) = match ended {
            Ok((id, _)) => (id, Duration::ZERO),
            Err(error) => {
                tracing::error!(%error, "a driver of a run failed; it starts again in {DEFECT_PAUSE:?}");
                (error.id(), DEFECT_PAUSE)
            }
        };
        let Some(key) = self.keys.remove(&id) else { return };
        self.drivers.remove(&key);
        // It may have been asked to go on (a retry) while its driver was ending, or its shard be held anew.
        let found = self.wiring.store.world().get(Run::info(), &key.namespace, &key.name);
        if let Some(run) = found.filter(|run| needs_driver(run))
            && let Some(tenure) = self.holding.shard(shard_of(&run))
        {
            self.start(&run, tenure, pause);
        }
    }
}

/// Whether there is anything left to do about a run.
fn needs_driver(run: &Object) -> bool {
    match run.field("status.phase") {
        // Nearly all runs have ended and are asked nothing more: those are not read.
        Some("Succeeded" | "Failed" | "Cancelled") if !run.held() && !names_retry(run) => false,
        Some("Succeeded" | "Failed" | "Cancelled") => decode::<Run>(run).is_ok_and(|run| {
            wants_retry(&run) || run.metadata.finalizers.iter().any(|held| held == FINALIZER)
        }),
        _ => true,
    }
}

/// Whether a run was ever asked to go on after its end.
fn names_retry(run: &Object) -> bool {
    run.field("spec.retry.from").is_some_and(|step| !step.is_empty())
}

/// Whether a run is between its beginning and its end.
fn is_begun(run: &Object) -> bool {
    matches!(run.field("status.phase"), Some("Running" | "Suspended" | "Compensating"))
}

/// Whether a run that ended is asked to go on.
fn wants_retry(run: &Run) -> bool {
    matches!(run.status.phase, RunPhase::Failed | RunPhase::Cancelled)
        && run.spec.retry.as_ref().is_some_and(|retry| retry.number > run.status.retries)
        && run.metadata.deletion_timestamp.is_none()
}

/// Whether a run has not ended.
pub(crate) fn goes_on(run: &Object) -> bool {
    !matches!(run.field("status.phase"), Some("Succeeded" | "Failed" | "Cancelled"))
}

/// What a run is aimed at.
fn target_of(run: &Object) -> Option<Key> {
    let name = run.field("spec.target.name").filter(|name| !name.is_empty())?;
    target_key(run.field("spec.target.kind")?, run.namespace(), name)
}

/// Key of what a run of that namespace is aimed at.
pub(crate) fn target_key(kind: &str, namespace: &str, name: &str) -> Option<Key> {
    let kind: KindRef = kinds::all().iter().find(|known| known.kind == kind)?;
    let namespace = if kind.namespaced() { namespace } else { "" };
    Some(Key::new(kind, namespace, name))
}

/// All runs aimed at one target are in one shard, so that they are in one line.
fn shard_of(run: &Object) -> Shard {
    Shard::of(&target_of(run).unwrap_or_else(|| run.key.clone()))
}

/// What a run holds of its target: a part of a site is held for itself.
fn part_of(run: &Object, target: Key) -> Key {
    if *target.kind != *Site::info().resource_name() {
        return target;
    }
    let part = decode::<Run>(run).ok().and_then(|run| run.spec.target).map(|target| target.part);
    match part {
        // No object has such a name.
        Some(part) if !part.is_whole() => {
            Key::new(Site::info(), "", &format!("{}/{part}", target.name))
        }
        _ => target,
    }
}

/// `namespace/name`, as people write it.
fn short(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{Revision, object};
    use serde_json::{Value, json};

    fn run(finalizers: &[&str], spec: Value, status: Value) -> Object {
        let metadata = json!({"name": "a", "uid": "u", "finalizers": finalizers});
        let value = json!({"metadata": metadata, "spec": spec, "status": status});
        let key = Key::new(Run::info(), "default", "a");
        let body = object::encode(Run::info(), &value);
        Object::from_body(Run::info(), key, Revision(1), &body).unwrap()
    }

    #[test]
    fn a_run_has_a_driver_until_nothing_is_left_to_do_about_it() {
        let plain = json!({"runbook": "r"});
        let retry = json!({"runbook": "r", "retry": {"from": "step", "number": 2}});
        let failed = |retries: u32| json!({"phase": "Failed", "retries": retries});
        let phase = |phase: &str| json!({"phase": phase});
        let cases = [
            (run(&[], plain.clone(), json!({})), true),
            (run(&[], plain.clone(), phase("Queued")), true),
            (run(&[FINALIZER], plain.clone(), phase("Running")), true),
            (run(&[], plain.clone(), phase("Succeeded")), false),
            (run(&[FINALIZER], plain.clone(), phase("Succeeded")), true),
            (run(&["other"], plain, phase("Cancelled")), false),
            (run(&[], retry.clone(), failed(1)), true),
            (run(&[], retry, failed(2)), false),
        ];
        for (run, wanted) in cases {
            assert_eq!(needs_driver(&run), wanted, "{:?}", run.value());
        }
    }

    /// A plane starts with hundreds of thousands of them.
    #[test]
    fn what_has_ended_is_told_by_what_is_indexed() {
        // Whoever reads it whole sees that a retry is asked for; its index says that none can be.
        let spec = json!({"runbook": "r", "retry": {"from": "", "number": 9}});
        let ended = run(&[], spec, json!({"phase": "Failed"}));
        assert!(wants_retry(&ended.decode().unwrap()));
        assert!(!needs_driver(&ended), "it was read");
    }
}
