//! The one way in: every read from the cache, every write through the group commit.

use crate::{
    BATCH_MAX, Backend, Change, Lease, Mutation, Outcome, StoreError, Write,
    cache::{ApplyError, Cache, Expired, ListQuery, Loading, Page, WatchQuery, Watcher, World},
    committer::Committer,
};
use quarterdeck_model::{Revision, kinds};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};

/// How often a store that others write to is asked for changes.
const POLL: Duration = Duration::from_millis(50);
/// Most changes read at once.
const TAIL_MAX: usize = 4_096;
/// Longest a strong read waits for the cache to reach the store's head.
const FRESH_WAIT: Duration = Duration::from_secs(10);

/// Figures for `/metrics`.
pub struct Stats {
    /// Newest revision in the cache.
    pub revision: Revision,
    /// Objects by kind.
    pub objects: Vec<(String, usize)>,
    /// Open watches.
    pub watchers: usize,
}

/// A durable store with everything in memory.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    cache: Arc<Cache>,
    committer: Arc<Committer>,
    /// Wakes the tail of a shared store.
    behind: Arc<Notify>,
}

impl Store {
    /// Reads all objects and begins to serve them.
    ///
    /// # Errors
    /// When the store cannot be read, or holds what this release does not know.
    pub async fn open(backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        let mut loading = Loading::new();
        let mut failed = None;
        let revision = backend
            .load(&mut |entry| {
                if failed.is_none() {
                    failed = loading.add(entry).err();
                }
            })
            .await?;
        if let Some(error) = failed {
            return Err(error);
        }
        let cache = Arc::new(loading.finish(revision));
        let behind = Arc::new(Notify::new());
        let (applied_to, wake) = (cache.clone(), behind.clone());
        let shared = backend.shared();
        let committer = Committer::start(backend.clone(), move |batch, outcomes| {
            let (cache, behind) = (applied_to.clone(), wake.clone());
            async move {
                let last = outcomes.iter().rev().find_map(|outcome| match outcome {
                    Outcome::Committed(revision) => Some(*revision),
                    _ => None,
                });
                match cache.apply(committed(batch, &outcomes)) {
                    Ok(()) => {}
                    Err(ApplyError::Gap) if shared => {
                        // Others committed in between: the tail brings both in order.
                        behind.notify_one();
                        let reached = cache
                            .applied()
                            .wait_for(|at| last.is_none_or(|last| *at >= last))
                            .await
                            .is_ok();
                        tracing::trace!(reached, "own commit came through the tail");
                    }
                    Err(error) => tracing::error!(%error, "the cache could not follow a commit"),
                }
            }
        });
        let store = Self { backend, cache, committer: Arc::new(committer), behind };
        if shared {
            tokio::spawn(tail(
                Arc::downgrade(&store.cache),
                store.backend.clone(),
                store.behind.clone(),
            ));
        }
        Ok(store)
    }

    /// The newest world in memory.
    pub fn world(&self) -> Arc<World> {
        self.cache.world()
    }

    /// A world that holds every commit acknowledged anywhere before the call.
    ///
    /// # Errors
    /// When the store cannot be asked, or the cache does not catch up in time.
    pub async fn fresh(&self) -> Result<Arc<World>, StoreError> {
        if !self.backend.shared() {
            return Ok(self.world());
        }
        let head = self.backend.head().await?;
        self.wait_for(head, FRESH_WAIT).await
    }

    /// The world once it has reached `revision`.
    ///
    /// # Errors
    /// When it has not after `wait`.
    pub async fn wait_for(
        &self,
        revision: Revision,
        wait: Duration,
    ) -> Result<Arc<World>, StoreError> {
        let world = self.world();
        if world.revision() >= revision {
            return Ok(world);
        }
        self.behind.notify_one();
        let late = || {
            StoreError::Unavailable(format!(
                "the cache did not reach revision {revision} within {wait:?}"
            ))
        };
        let mut applied = self.cache.applied();
        timeout(wait, applied.wait_for(|at| *at >= revision))
            .await
            .map_err(|_| late())?
            .map_err(|_| late())?;
        Ok(self.world())
    }

    /// One page of a list as of `at`.
    ///
    /// # Errors
    /// When the changes since `at` are no longer kept.
    pub fn list_at(
        &self,
        world: &Arc<World>,
        at: Revision,
        query: &ListQuery<'_>,
    ) -> Result<Page, Expired> {
        self.cache.list_at(world, at, query)
    }

    /// Opens a watch.
    pub fn watch(&self, query: WatchQuery) -> Watcher {
        Watcher::new(self.cache.clone(), query)
    }

    /// Applies mutations in order, each by itself; outcomes are durable and in the cache when this
    /// returns. More than [`BATCH_MAX`] are committed in several batches.
    ///
    /// # Errors
    /// When the store cannot write; then what the last batch did is said by the error.
    pub async fn commit(&self, mutations: Vec<Mutation>) -> Result<Vec<Outcome>, StoreError> {
        if mutations.len() <= BATCH_MAX {
            return self.committer.commit(mutations).await;
        }
        let mut outcomes = Vec::with_capacity(mutations.len());
        for batch in mutations.chunks(BATCH_MAX) {
            outcomes.extend(self.committer.commit(batch.to_vec()).await?);
        }
        Ok(outcomes)
    }

    /// Takes or renews a lease; see [`Backend::acquire_lease`].
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        self.backend.acquire_lease(name, holder, ttl).await
    }

    /// Gives a lease back.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.backend.release_lease(lease).await
    }

    /// Forgets what only revisions older than `before` show, on disk and in memory.
    ///
    /// # Errors
    /// When the store cannot write.
    pub async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.backend.compact(before).await?;
        self.cache.forget(before);
        Ok(())
    }

    /// Figures for `/metrics`.
    pub fn stats(&self) -> Stats {
        let world = self.world();
        Stats {
            revision: world.revision(),
            objects: kinds::all()
                .iter()
                .map(|kind| (kind.resource_name().to_string(), world.count(kind)))
                .collect(),
            watchers: self.cache.watchers(),
        }
    }
}

/// The changes a batch made.
fn committed(batch: Vec<Mutation>, outcomes: &[Outcome]) -> Vec<Change> {
    batch
        .into_iter()
        .zip(outcomes)
        .filter_map(|(mutation, outcome)| match outcome {
            Outcome::Committed(revision) => Some(Change {
                revision: *revision,
                key: mutation.key,
                previous: None,
                body: match mutation.write {
                    Write::Put(body) => Some(body),
                    Write::Delete => None,
                },
            }),
            _ => None,
        })
        .collect()
}

/// Follows a store that others write to, until the cache is gone.
async fn tail(cache: std::sync::Weak<Cache>, backend: Arc<dyn Backend>, behind: Arc<Notify>) {
    loop {
        let Some(cache) = cache.upgrade() else { return };
        match backend.changes(cache.world().revision(), TAIL_MAX).await {
            Ok(changes) => {
                let full = changes.len() == TAIL_MAX;
                if let Err(error) = cache.apply(changes) {
                    tracing::error!(%error, "the cache could not follow the store");
                }
                if full {
                    continue;
                }
            }
            Err(error) => tracing::warn!(%error, "the store's changes could not be read"),
        }
        drop(cache);
        // Woken when somebody waits, else by the clock.
        let _ = timeout(POLL, behind.notified()).await;
    }
}
