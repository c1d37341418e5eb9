//! Controllers: each compares what is wanted of one kind with what is seen, and takes one step.
//! A controller must look at the world afresh each time, and never trust what it remembers.

pub(crate) mod garbage;
pub(crate) mod namespace;
pub(crate) mod place;
pub(crate) mod server;
pub(crate) mod upkeep;

use crate::{
    follow::{Follower, Seen},
    objects::{EngineError, Objects},
    queue::WorkQueue,
};
use quarterdeck_model::{Key, KindRef, Object};
use quarterdeck_store::EventKind;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tracing::warn;

/// One controller.
pub(crate) trait Controller: Send + Sync + 'static {
    /// What it is called in logs.
    const NAME: &'static str;
    /// How many keys are looked at at once. Most controllers only decide and write.
    const WORKERS: usize = 8;

    /// Kinds whose changes it must hear of.
    fn follows(&self) -> Vec<KindRef>;

    /// Which keys to look at when `object` changed, or is `gone`.
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

/// Runs a controller until its future is dropped.
pub(crate) async fn run<C: Controller>(controller: C, objects: Objects) {
    let controller = Arc::new(controller);
    let queue = Arc::new(WorkQueue::default());
    let mut tasks = JoinSet::new();
    for kind in controller.follows() {
        let (controller, queue) = (controller.clone(), queue.clone());
        let mut follower = Follower::new(objects.store().clone(), kind);
        tasks.spawn(async move {
            loop {
                let changed: Vec<(Arc<Object>, bool)> = match follower.next().await {
                    Seen::All(objects) => {
                        objects.into_iter().map(|object| (object, false)).collect()
                    }
                    Seen::Changed(events) => events
                        .into_iter()
                        .map(|event| (event.object, event.kind == EventKind::Deleted))
                        .collect(),
                };
                for (object, gone) in changed {
                    for key in controller.affected(&object, gone) {
                        match controller.gather() {
                            Duration::ZERO => queue.add(key),
                            gather => queue.add_after(key, gather),
                        }
                    }
                }
            }
        });
    }
    for _ in 0..C::WORKERS {
        let (controller, queue, objects) = (controller.clone(), queue.clone(), objects.clone());
        tasks.spawn(async move {
            loop {
                let key = queue.next().await;
                match controller.reconcile(&objects, &key).await {
                    Ok(again) => queue.done(&key, again),
                    Err(error) => {
                        let pause = queue.failed(&key);
                        warn!(controller = C::NAME, %key, %error, ?pause, "will try again");
                    }
                }
            }
        });
    }
    // Workers never end by themselves; one that fails is a defect, and the others go on.
    while let Some(Err(error)) = tasks.join_next().await {
        tracing::error!(controller = C::NAME, %error, "a worker failed");
    }
}
