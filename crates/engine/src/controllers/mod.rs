//! Controllers: each compares what is wanted of one kind with what is seen, and takes one step.
//! A controller must look at the world afresh each time, and never trust what it remembers.

pub(crate) mod campaign;
pub(crate) mod cluster;
pub(crate) mod evictions;
pub(crate) mod garbage;
pub(crate) mod instance;
pub(crate) mod machine;
pub(crate) mod namespace;
pub(crate) mod permits;
pub(crate) mod place;
pub(crate) mod policies;
pub(crate) mod pool;
pub(crate) mod quotas;
pub(crate) mod remedy;
pub(crate) mod roles;
pub(crate) mod scan;
pub(crate) mod schedule;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod service_accounts;
pub(crate) mod upkeep;
pub(crate) mod workload;

use crate::{
    follow::{Follower, Seen},
    objects::{EngineError, Objects, Wiring},
    queue::WorkQueue,
    shards::{Gained, Holding, Shard},
};
use quarterdeck_model::{Key, KindRef, Object, ObjectMeta};
use quarterdeck_store::{EventKind, Store, World};
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::task::{Id, JoinSet, yield_now};
use tracing::{error, warn};

/// Objects of gained shards that are looked at before others get their turn, as those who renew leases.
const LOOK_MAX: usize = 1_024;

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

    /// The shard that a key is in.
    fn shard(&self, _world: &World, key: &Key) -> Shard {
        Shard::of(key)
    }

    /// Forgets what it remembers of keys that are not `ours`: they are another replica's now, or are looked at anew.
    fn forget(&self, _ours: &dyn Fn(&Key) -> bool) {}

    /// Whether what tells two versions of an object apart can matter. It is asked before [`Self::affected`]: most
    /// changes of what changes all the time are nothing to most.
    fn matters(&self, before: &Object, after: &Object) -> bool {
        let _ = (before, after);
        true
    }

    /// How long changes are gathered before they are looked at.
    fn gather(&self) -> Duration {
        Duration::ZERO
    }

    /// The next key that something outside of the store has told of. It may be dropped and asked again at any time.
    fn told(&self) -> impl Future<Output = Key> + Send {
        std::future::pending()
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

/// Runs a controller until its future is dropped: all keys of the shards that this replica holds.
pub(crate) async fn run<C: Controller>(controller: C, wiring: Wiring, mut holding: Holding) {
    let controller = Arc::new(controller);
    let queue = Arc::new(WorkQueue::default());
    // Before that there is nothing to do; then the followers tell all there is.
    holding.gained().await;
    let news = News {
        controller: controller.clone(),
        queue: queue.clone(),
        store: wiring.store.clone(),
        holding: holding.clone(),
    };
    let mut followers = JoinSet::new();
    for kind in controller.follows() {
        followers.spawn(news.clone().follow(kind));
    }
    let mut work = JoinSet::new();
    // Which key each piece of work is about, should it end in a defect.
    let mut keys: HashMap<Id, Key> = HashMap::new();
    loop {
        tokio::select! {
            biased;
            gained = holding.changed() => news.look_at_gained(gained).await,
            key = queue.next(), if work.len() < C::WORKERS => {
                let shard = controller.shard(&wiring.store.world(), &key);
                let Some(tenure) = holding.shard(shard) else {
                    // Whoever holds it looks at it.
                    queue.done(&key, None);
                    continue;
                };
                let (controller, about) = (controller.clone(), key.clone());
                let objects = Objects::new(wiring.clone(), tenure.clone(), C::NAME);
                let reconcile = async move { controller.reconcile(&objects, &about).await };
                let task = work.spawn(tenure.during(reconcile));
                keys.insert(task.id(), key);
            }
            key = controller.told() => match controller.gather() {
                Duration::ZERO => queue.add(key),
                gather => queue.add_after(key, gather),
            },
            Some(ended) = work.join_next_with_id() => {
                let (id, result) = match ended {
                    Ok((id, result)) => (id, result.map(|it| it.map_err(|error| error.to_string()))),
                    Err(error) => (error.id(), Some(Err(error.to_string()))),
                };
                let Some(key) = keys.remove(&id) else { continue };
                match result {
                    // Its shard is another replica's, or is held anew.
                    None => {
                        queue.done(&key, None);
                        queue.add(key);
                    }
                    Some(Ok(again)) => queue.done(&key, again),
                    Some(Err(error)) => {
                        let pause = queue.failed(&key);
                        warn!(controller = C::NAME, %key, error, ?pause, "will try again");
                    }
                }
            }
            Some(ended) = followers.join_next() => {
                // They never end by themselves; the controller is begun anew.
                error!(controller = C::NAME, ?ended, "changes are no longer followed");
                return;
            }
        }
    }
}

/// Puts into the queue what changes, and what comes to be this replica's.
struct News<C> {
    controller: Arc<C>,
    queue: Arc<WorkQueue>,
    store: Arc<Store>,
    holding: Holding,
}

impl<C> Clone for News<C> {
    fn clone(&self) -> Self {
        Self {
            controller: self.controller.clone(),
            queue: self.queue.clone(),
            store: self.store.clone(),
            holding: self.holding.clone(),
        }
    }
}

impl<C: Controller> News<C> {
    async fn follow(self, kind: KindRef) {
        let mut follower = Follower::new(self.store.clone(), kind);
        loop {
            self.saw(follower.next().await);
        }
    }

    async fn look_at_gained(&self, gained: Gained) {
        let world = self.store.world();
        self.forget(&world, gained);
        if gained.is_empty() {
            return;
        }
        let all = self.controller.follows().into_iter().flat_map(|kind| world.all(kind));
        for (at, object) in all.enumerate() {
            if at % LOOK_MAX == LOOK_MAX - 1 {
                yield_now().await;
            }
            self.add(&world, object, false, |shard| gained.contains(shard));
        }
    }

    fn forget(&self, world: &World, gained: Gained) {
        self.controller.forget(&|key| {
            let shard = self.controller.shard(world, key);
            self.holding.shard(shard).is_some() && !gained.contains(shard)
        });
    }

    fn saw(&self, seen: Seen) {
        let world = self.store.world();
        let held = |shard| self.holding.shard(shard).is_some();
        match seen {
            Seen::All(objects) => {
                objects.iter().for_each(|object| self.add(&world, object, false, held));
            }
            Seen::Changed(events) => {
                for event in events {
                    let gone = event.kind == EventKind::Deleted;
                    if let Some(before) = event.before().filter(|_| !gone) {
                        if !self.controller.matters(before, &event.object) {
                            continue;
                        }
                        self.add(&world, before, false, held);
                    }
                    self.add(&world, &event.object, gone, held);
                }
            }
        }
    }

    fn add(&self, world: &World, object: &Object, gone: bool, mine: impl Fn(Shard) -> bool) {
        for key in self.controller.affected(object, gone) {
            if !mine(self.controller.shard(world, &key)) {
                continue;
            }
            match self.controller.gather() {
                Duration::ZERO => self.queue.add(key),
                gather => self.queue.add_after(key, gather),
            }
        }
    }
}

/// Letters of names: no vowels, so that they spell nothing, and nothing that looks like another.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The name of one of many that `of` has: the same for the same number, so that none is made twice. One that is another's
/// already is passed over: the next look gives the next number.
fn numbered(of: &str, uid: &str, number: u64, letters: usize) -> String {
    let digest = Sha256::digest(format!("{uid}/{number}").as_bytes());
    let letter = |byte: &u8| LETTERS.get(usize::from(*byte) % LETTERS.len()).copied();
    let letters: String = digest.iter().take(letters).filter_map(letter).map(char::from).collect();
    format!("{of}-{letters}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{Kind as _, kinds::Run, object};
    use quarterdeck_store::{Mutation, Precondition, Sqlite, Write};
    use serde_json::json;

    #[tokio::test]
    async fn what_says_in_another_namespace_whose_it_is_belongs_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap();
        let run = |namespace: &str| {
            let owner = json!({"apiVersion": "v1", "kind": "K", "name": "s", "uid": "u"});
            let meta = json!({"name": "r", "namespace": namespace, "uid": namespace, "ownerReferences": [owner]});
            let body = object::encode(Run::info(), &json!({"metadata": meta}));
            let key = Key::new(Run::info(), namespace, "r");
            let (write, precondition) = (Write::Put(body.into()), Precondition::Absent);
            Mutation { key, write, precondition, fence: None }
        };
        store.commit(vec![run("default"), run("other")]).await.unwrap();
        let namespace = Some("default".to_owned());
        let owner = ObjectMeta { uid: "u".into(), namespace, ..ObjectMeta::default() };
        let world = store.world();
        let own: Vec<&str> = owned_by(&world, &owner).map(|object| object.namespace()).collect();
        assert_eq!(own, ["default"]);
    }
}
