//! Follows a store that other processes write to: reads the log's new entries into the cache. It
//! must never skip an entry. What was compacted before it was read is made up for by reading the
//! whole store again.
//!
//! One task reads, for everybody: however many ask for the newest state at once, one read that
//! begins after they asked serves them all.

use crate::{
    Backend, CHANGES_BYTES_MAX, StoreError,
    cache::{self, ApplyError, Cache},
};
use quarterdeck_model::Revision;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

/// How often the store is asked for changes when nobody needs them sooner.
const POLL: Duration = Duration::from_millis(50);
/// The same after an error: it is logged each time.
const POLL_AFTER_ERROR: Duration = Duration::from_secs(1);
/// Most changes read at once.
const CHANGES_MAX: usize = 4_096;
/// Most who can ask before others must wait to ask.
const ASKED_MAX: usize = 4_096;
/// Longest that somebody waits for the newest state. A server that is gone is noticed sooner; one that
/// says nothing must not keep readers for as long as a connection is given.
const CATCH_UP_WAIT: Duration = Duration::from_secs(10);
/// Longest that the answer to a commit waits for the changes of others that came before it.
const FILL_WAIT: Duration = Duration::from_secs(10);

type Caller = oneshot::Sender<Result<(), StoreError>>;

/// A handle to the task that follows.
#[derive(Clone)]
pub(crate) struct Follower {
    backend: Arc<dyn Backend>,
    cache: Arc<Cache>,
    asked: mpsc::Sender<Option<Caller>>,
}

impl Follower {
    /// Starts to follow. Ends when all handles are gone.
    pub(crate) fn start(backend: Arc<dyn Backend>, cache: Arc<Cache>) -> Self {
        let (asked, callers) = mpsc::channel(ASKED_MAX);
        tokio::spawn(follow(backend.clone(), cache.clone(), callers));
        Self { backend, cache, asked }
    }

    /// Returns when all that was committed anywhere before the call is in the cache.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreError> {
        let stopped = || StoreError::Unavailable("the plane is stopping".into());
        let caught_up = async {
            let (caller, answer) = oneshot::channel();
            self.asked.send(Some(caller)).await.map_err(|_| stopped())?;
            answer.await.map_err(|_| stopped())?
        };
        timeout(CATCH_UP_WAIT, caught_up).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!(
                "it did not say within {CATCH_UP_WAIT:?} what is newest in it; what is in memory may be old"
            )))
        })
    }

    /// Has changes read now rather than at the next poll.
    pub(crate) fn wake(&self) {
        // When the queue is full, there is a read soon anyway.
        let _ = self.asked.try_send(None);
    }

    /// Brings in what others have committed before `own`, a revision that this process has
    /// committed: all of it is there to be read, since commit order is revision order.
    pub(crate) async fn fill_up_to(&self, own: Revision) {
        let fill = async {
            loop {
                let reached = self.cache.world().revision();
                let missing = own.0.saturating_sub(reached.0).saturating_sub(1);
                let Ok(limit) = usize::try_from(missing.min(CHANGES_MAX as u64)) else { return };
                if limit == 0 {
                    return;
                }
                match self.backend.changes(reached, limit).await {
                    Ok(changes) => {
                        let applied = self.cache.apply(changes);
                        if let Err(error) = applied {
                            tracing::error!(%error, "the cache could not follow the store");
                            return;
                        }
                    }
                    // The task that follows mends it, once for all who wait.
                    Err(StoreError::Compacted { .. }) if self.catch_up().await.is_ok() => {}
                    Err(error) => {
                        tracing::warn!(%error, "the changes of others could not be read");
                        sleep(POLL).await;
                    }
                }
            }
        };
        if timeout(FILL_WAIT, fill).await.is_err() {
            tracing::warn!(revision = %own, "a commit is answered before it is in the cache");
        }
    }
}

/// Reads changes when somebody asks for them, else by the clock.
async fn follow(
    backend: Arc<dyn Backend>,
    cache: Arc<Cache>,
    mut asked: mpsc::Receiver<Option<Caller>>,
) {
    let mut callers = Vec::new();
    let mut reached = Revision::ZERO;
    let mut pause = POLL;
    loop {
        match timeout(pause, asked.recv_many(&mut callers, ASKED_MAX)).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(_) => {
                // Who commits learns of what others committed before: nothing is read twice then.
                let before = std::mem::replace(&mut reached, cache.world().revision());
                if reached > before {
                    continue;
                }
            }
        }
        let result = read_all(&*backend, &cache).await;
        pause = POLL;
        if let Err(error) = &result {
            tracing::warn!(%error, "the store's changes could not be read");
            pause = POLL_AFTER_ERROR;
        }
        for caller in callers.drain(..).flatten() {
            // A caller that went away does not need its answer.
            let _ = caller.send(result.clone());
        }
    }
}

/// Reads up to the head as it is when this is called.
async fn read_all(backend: &dyn Backend, cache: &Cache) -> Result<(), StoreError> {
    let mut reloaded = false;
    loop {
        let changes = match backend.changes(cache.world().revision(), CHANGES_MAX).await {
            Ok(changes) => changes,
            // Once: a store that is compacted faster than it is read is one to tell of.
            Err(StoreError::Compacted { wanted, oldest }) if wanted < oldest && !reloaded => {
                tracing::warn!(
                    %wanted, %oldest,
                    "the changes since were compacted before they were read; reading everything again"
                );
                // Both the old objects and the new ones are in memory until this is done.
                cache.replace(cache::load(backend).await?);
                reloaded = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        let bytes: usize =
            changes.iter().map(|change| change.body.as_ref().map_or(0, |body| body.len())).sum();
        let more = changes.len() == CHANGES_MAX || bytes >= CHANGES_BYTES_MAX;
        if !changes.is_empty() {
            cache.apply(changes).map_err(|error| match error {
                ApplyError::Unusable(error) => error,
                ApplyError::Gap => StoreError::Unusable(error.to_string()),
            })?;
        }
        if !more {
            return Ok(());
        }
    }
}
