//! The one way in: every read from the cache, every write through the group commit.

use crate::{
    Backend, Change, Lease, Mutation, Outcome, StoreError, Write,
    cache::{self, Became, Cache, Expired, ListQuery, Page, WatchQuery, Watcher, World},
    committer::{self, Committer},
    follow::Follower,
};
use quarterdeck_model::{KindRef, Object, Revision, kinds};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

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
    /// Follows what other processes write; none when there are none.
    follower: Option<Follower>,
}

impl Store {
    /// Reads all objects and begins to serve them.
    ///
    /// # Errors
    /// When the store cannot be read, or holds what this release does not know.
    pub async fn open(backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        let cache = Arc::new(cache::load(&*backend).await?);
        let follower = backend.shared().then(|| Follower::start(backend.clone(), cache.clone()));
        let (own, follow) = (cache.clone(), follower.clone());
        let committer = Committer::start(backend.clone(), move |batch, outcomes| {
            apply_own(own.clone(), follow.clone(), batch, outcomes)
        });
        Ok(Self { backend, cache, committer: Arc::new(committer), follower })
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
        if let Some(follower) = &self.follower {
            follower.catch_up().await?;
        }
        Ok(self.world())
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
        if let Some(follower) = &self.follower {
            follower.wake();
        }
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

    /// One object as of `at`.
    ///
    /// # Errors
    /// When the changes since `at` are no longer kept.
    pub fn get_at(
        &self,
        world: &Arc<World>,
        at: Revision,
        kind: KindRef,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, Expired> {
        self.cache.get_at(world, at, kind, (namespace, name))
    }

    /// The newest revision at which an object of `kind` changed.
    pub fn newest(&self, kind: KindRef) -> Revision {
        self.cache.newest(kind)
    }

    /// What became of objects of `kind` after `since`, oldest first.
    ///
    /// # Errors
    /// When those changes are no longer kept.
    pub fn changes(&self, kind: KindRef, since: Revision) -> Result<Vec<Became>, Expired> {
        self.cache.changes(kind, since)
    }

    /// The entry of the log at `revision`, from the backend; none when there is none yet.
    ///
    /// # Errors
    /// When the store cannot be asked, or the entry was compacted away.
    pub async fn change_at(&self, revision: Revision) -> Result<Option<Change>, StoreError> {
        let before = Revision(revision.0.saturating_sub(1));
        let found = self.backend.changes(before, 1).await?;
        Ok(found.into_iter().next().filter(|change| change.revision == revision))
    }

    /// Opens a watch.
    pub fn watch(&self, query: WatchQuery) -> Watcher {
        Watcher::new(self.cache.clone(), query)
    }

    /// Applies mutations in order, each by itself; outcomes are durable and in the cache when this
    /// returns. What is over the limits of one batch is committed in several.
    ///
    /// # Errors
    /// When the store cannot write. Then batches before the one that failed are committed, and what
    /// became of that one is said by the error.
    pub async fn commit(&self, mutations: Vec<Mutation>) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(mutations.len());
        for batch in committer::split(mutations) {
            outcomes.extend(self.committer.commit(batch).await?);
        }
        Ok(outcomes)
    }

    /// Takes or renews leases; see [`Backend::acquire_leases`].
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn acquire_leases(
        &self,
        names: &[String],
        holder: &str,
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        self.backend.acquire_leases(names, holder, ttl).await
    }

    /// Leases that are held now, by whomever.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.backend.leases().await
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

/// Brings what this process has committed into the cache.
async fn apply_own(
    cache: Arc<Cache>,
    follower: Option<Follower>,
    batch: Vec<Mutation>,
    outcomes: Vec<Outcome>,
) {
    let changes = committed(batch, &outcomes);
    let Some(first) = changes.first().map(|change| change.revision) else { return };
    if let Some(follower) = follower {
        follower.fill_up_to(first).await;
    }
    if let Err(error) = cache.apply(changes) {
        tracing::error!(%error, "the cache could not follow a commit");
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
