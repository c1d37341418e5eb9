//! Controllers: each compares what is wanted of one kind with what is seen, and takes one step.
//! A controller must look at the world afresh each time, and never trust what it remembers.

pub(crate) mod campaign;
pub(crate) mod garbage;
pub(crate) mod machine;
pub(crate) mod namespace;
pub(crate) mod place;
pub(crate) mod policies;
pub(crate) mod pool;
pub(crate) mod quotas;
pub(crate) mod remedy;
pub(crate) mod roles;
pub(crate) mod schedule;
pub(crate) mod server;
pub(crate) mod service_accounts;
pub(crate) mod upkeep;

use crate::{
    follow::{Follower, Seen},
    objects::{EngineError, Objects},
    queue::WorkQueue,
};
use quarterdeck_model::{Key, KindRef, Object, ObjectMeta};
use quarterdeck_store::{EventKind, World};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::task::{Id, JoinSet};
use tracing::{error, warn};

/// One controller.
pub(crate) trait Controller: Send + Sync + 'static {
    /// What it is called in logs, and in the audit log.
    const NAME: &'static str;
    /// How many keys are looked at at once. Most controllers only decide and write.
    const WORKERS: usize = 8;

    /// Kinds whose changes it must hear of.
    fn follows(&self) -> Vec<KindRef>;

    /// Which keys to look at when `object` changed, or is `gone`. Asked about the object as it was
    /// before, too, so that what it no longer points to is looked at.
    fn affected(&self, object: &Object, gone: bool) -> Vec<Key>;

    /// How long changes are gathered before they are looked at.
    fn gather(&self) -> Duration {
        Duration::ZERO
    }

    /// Looks at one key and takes one step. Answers when to look again, if nothing changes before.
    fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> impl Future<Output = Result<Option<Duration>, EngineError>> + Send;
}

/// Objects of the same namespace that belong to the one with that metadata. Whoever writes an owner elsewhere, whose
/// uid he has seen, owns nothing with that.
pub(crate) fn owned_by<'w>(
    world: &'w World,
    owner: &'w ObjectMeta,
) -> impl Iterator<Item = &'w Arc<Object>> {
    let namespace = owner.namespace.as_deref().unwrap_or_default();
    world.owned_by(&owner.uid).filter(move |object| object.namespace() == namespace)
}

/// Runs a controller until its future is dropped.
pub(crate) async fn run<C: Controller>(controller: C, objects: Objects) {
    let (controller, objects) = (Arc::new(controller), objects.acting(C::NAME));
    let queue = Arc::new(WorkQueue::default());
    let mut followers = JoinSet::new();
    for kind in controller.follows() {
        let follower = Follower::new(objects.store().clone(), kind);
        followers.spawn(follow(controller.clone(), queue.clone(), follower));
    }
    let mut work = JoinSet::new();
    // Which key each piece of work is about, should it end in a defect.
    let mut keys: HashMap<Id, Key> = HashMap::new();
    loop {
        tokio::select! {
            key = queue.next(), if work.len() < C::WORKERS => {
                let (controller, objects, about) = (controller.clone(), objects.clone(), key.clone());
                let task = work.spawn(async move { controller.reconcile(&objects, &about).await });
                keys.insert(task.id(), key);
            }
            Some(ended) = work.join_next_with_id() => {
                let (id, result) = match ended {
                    Ok((id, result)) => (id, result.map_err(|error| error.to_string())),
                    Err(error) => (error.id(), Err(error.to_string())),
                };
                let Some(key) = keys.remove(&id) else { continue };
                match result {
                    Ok(again) => queue.done(&key, again),
                    Err(error) => {
                        let pause = queue.failed(&key);
                        warn!(controller = C::NAME, %key, error, ?pause, "will try again");
                    }
                }
            }
            Some(ended) = followers.join_next() => {
                // They never end by themselves; the term is begun anew.
                error!(controller = C::NAME, ?ended, "changes are no longer followed");
                return;
            }
        }
    }
}

/// Puts what changes into the queue.
async fn follow<C: Controller>(controller: Arc<C>, queue: Arc<WorkQueue>, mut follower: Follower) {
    let add = |object: &Object, gone| {
        for key in controller.affected(object, gone) {
            match controller.gather() {
                Duration::ZERO => queue.add(key),
                gather => queue.add_after(key, gather),
            }
        }
    };
    loop {
        match follower.next().await {
            Seen::All(objects) => objects.iter().for_each(|object| add(object, false)),
            Seen::Changed(events) => {
                for event in events {
                    let gone = event.kind == EventKind::Deleted;
                    if let Some(before) = event.before().filter(|_| !gone) {
                        add(before, false);
                    }
                    add(&event.object, gone);
                }
            }
        }
    }
}
