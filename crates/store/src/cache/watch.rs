//! Watches: a position in the history and what to select from it. A watcher costs nothing while
//! nothing happens, and holds no event it has not been given.

use super::{Cache, WatchEvent};
use quarterdeck_model::{FieldSelector, KindRef, LabelSelector, Object, Revision};
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::watch as channel;

/// Most events given at once, so that one watcher cannot hold much of the history alive.
const EVENTS_MAX: usize = 256;
/// Most changes looked through at once before other tasks get their turn.
const LOOK_MAX: usize = 8_192;

/// The revision asked for is no longer in the history: list again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the changes after the wanted revision are no longer kept; list again")]
pub struct Expired;

/// What a watch asks for.
pub struct WatchQuery {
    /// Kind.
    pub kind: KindRef,
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Labels to meet.
    pub labels: LabelSelector,
    /// Fields to meet.
    pub fields: FieldSelector,
    /// Changes after this revision.
    pub since: Revision,
}

impl WatchQuery {
    fn selects(&self, object: &Object) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace())
            && self.labels.matches(object)
            && self.fields.matches(object)
    }
}

/// An open watch.
pub struct Watcher {
    cache: Arc<Cache>,
    query: WatchQuery,
    position: Revision,
    newest: Option<channel::Receiver<Revision>>,
}

impl Watcher {
    pub(crate) fn new(cache: Arc<Cache>, query: WatchQuery) -> Self {
        cache.watchers.fetch_add(1, Ordering::Relaxed);
        let newest = cache.feed(query.kind).map(|feed| feed.newest.subscribe());
        let position = query.since;
        Self { cache, query, position, newest }
    }

    /// All events up to this revision have been given.
    pub fn position(&self) -> Revision {
        self.position
    }

    /// The next events, at least one; waits for them. May be dropped and called again.
    ///
    /// # Errors
    /// When the watcher was too slow, or began too far back.
    pub async fn next(&mut self) -> Result<Vec<WatchEvent>, Expired> {
        loop {
            if let Some(newest) = &mut self.newest {
                newest.borrow_and_update();
            }
            let (events, more) = self.look()?;
            if !events.is_empty() {
                return Ok(events);
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            match &mut self.newest {
                Some(newest) => newest.changed().await.map_err(|_| Expired)?,
                None => return Err(Expired),
            }
        }
    }

    /// Takes what is there, and whether there may be more.
    fn look(&mut self) -> Result<(Vec<WatchEvent>, bool), Expired> {
        // The world first: the history read after it holds all that led to it.
        let reached = self.cache.world.load().revision();
        let feed = self.cache.feed(self.query.kind).ok_or(Expired)?;
        let history = feed.history.load_full();
        if self.position < history.floor() {
            return Err(Expired);
        }
        let mut events = Vec::new();
        for (looked, change) in history.after(self.position).enumerate() {
            if events.len() == EVENTS_MAX || looked == LOOK_MAX {
                return Ok((events, true));
            }
            self.position = change.revision();
            events.extend(change.seen_by(|object| self.query.selects(object)));
        }
        self.position = self.position.max(reached);
        Ok((events, false))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.cache.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
