//! Every object in memory, indexed, and the recent changes that watches and older reads are served
//! from.
//!
//! One applier publishes immutable [`World`]s; readers never wait for it or for each other. The
//! cache must never wait for a watcher: a watcher that falls off the history is told so.

mod history;
mod intern;
mod load;
mod shelf;
mod sorted;
mod watch;
mod world;

pub use history::{Encoding, EventKind, WatchEvent};
pub use watch::{Expired, WatchQuery, Watcher};
pub use world::{ListQuery, Page, World};

pub(crate) use load::load;

use crate::{Change, StoreError};
use arc_swap::ArcSwap;
use history::{History, Logged};
use intern::Interner;
use quarterdeck_model::{Key, KindRef, Object, Revision, kinds};
use shelf::Shelf;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::watch as channel;
use world::Builder;

/// What is kept of one kind's recent changes, and who waits for more.
pub(crate) struct Feed {
    history: ArcSwap<History>,
    /// Revision of the kind's newest change, for watchers to wake at.
    newest: channel::Sender<Revision>,
}

/// What became of one object; none is that it was deleted.
pub type Became = (Key, Option<Arc<Object>>);

/// The cache.
pub(crate) struct Cache {
    world: ArcSwap<World>,
    applier: Mutex<Interner>,
    feeds: Vec<Feed>,
    applied: channel::Sender<Revision>,
    watchers: AtomicUsize,
}

/// Why changes could not be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The next change is not the one after the newest applied.
    #[error("some changes are missing before these")]
    Gap,
    /// The store holds what this release cannot read.
    #[error(transparent)]
    Unusable(StoreError),
}

/// The place of a kind among all kinds. Every read asks for it, so the one description that a kind has
/// is looked for by its address before names are compared.
fn place(kind: KindRef) -> Option<usize> {
    let all = kinds::all();
    let by_address = all.iter().position(|other| std::ptr::eq(*other, kind));
    by_address.or_else(|| all.iter().position(|other| *other == kind))
}

/// A kind by its name in the store, and its place among all kinds.
fn place_of(kind: &str) -> Option<(KindRef, usize)> {
    let kind = kinds::by_resource_name(kind)?;
    Some((kind, place(kind)?))
}

/// The same, of an object that must be understood.
fn known_kind(kind: &str, name: &str) -> Result<(KindRef, usize), StoreError> {
    place_of(kind).ok_or_else(|| {
        StoreError::Unusable(format!(
            "the store holds {kind} {name:?}, a kind this release does not know; start the release that wrote it"
        ))
    })
}

fn decode(
    key: Key,
    revision: Revision,
    body: &[u8],
    namespaces: &mut Interner,
) -> Result<(usize, Object), StoreError> {
    let (kind, place) = known_kind(&key.kind, &key.name)?;
    let namespace = namespaces.intern(&key.namespace);
    let key = Key { kind: kind.resource_name(), namespace, name: key.name };
    Object::from_body(kind, key, revision, body)
        .map(|object| (place, object))
        .map_err(|error| StoreError::Unusable(error.to_string()))
}

impl Cache {
    /// Opens with those objects of every kind, as of `revision`.
    fn new(shelves: Vec<Shelf>, revision: Revision) -> Self {
        let feeds = kinds::all()
            .iter()
            .map(|_| Feed {
                history: ArcSwap::from_pointee(History::starting_at(revision)),
                newest: channel::Sender::new(revision),
            })
            .collect();
        Self {
            world: ArcSwap::from_pointee(Builder::of(shelves).finish(revision)),
            applier: Mutex::new(Interner::default()),
            feeds,
            applied: channel::Sender::new(revision),
            watchers: AtomicUsize::new(0),
        }
    }

    /// The newest world.
    pub(crate) fn world(&self) -> Arc<World> {
        self.world.load_full()
    }

    /// Follows the newest revision applied.
    pub(crate) fn applied(&self) -> channel::Receiver<Revision> {
        self.applied.subscribe()
    }

    /// Open watches.
    pub(crate) fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    pub(crate) fn feed(&self, kind: KindRef) -> Option<&Feed> {
        self.feeds.get(place(kind)?)
    }

    /// The newest revision at which an object of `kind` changed.
    pub(crate) fn newest(&self, kind: KindRef) -> Revision {
        self.feed(kind).map_or(Revision::ZERO, |feed| *feed.newest.borrow())
    }

    /// What became of objects of `kind` after `since`, oldest first.
    pub(crate) fn changes(&self, kind: KindRef, since: Revision) -> Result<Vec<Became>, Expired> {
        let history = self.feed(kind).ok_or(Expired)?.history.load_full();
        if since < history.floor() {
            return Err(Expired);
        }
        Ok(history.after(since).filter_map(|change| change.outcome()).collect())
    }

    /// One object as of `at`, which is not after `world`.
    pub(crate) fn get_at(
        &self,
        world: &World,
        at: Revision,
        kind: KindRef,
        (namespace, name): (&str, &str),
    ) -> Result<Option<Arc<Object>>, Expired> {
        if at == world.revision() {
            return Ok(world.get(kind, namespace, name));
        }
        let history = self.feed(kind).ok_or(Expired)?.history.load_full();
        if at > world.revision() || at < history.floor() {
            return Err(Expired);
        }
        let then = history.before(at, world.revision()).get(&(namespace, name)).copied();
        Ok(then.map_or_else(|| world.get(kind, namespace, name), |object| object.cloned()))
    }

    /// Applies changes in order and publishes the world after them. Those already applied are skipped.
    pub(crate) fn apply(&self, changes: Vec<Change>) -> Result<(), ApplyError> {
        // A panic while it was held published nothing; the interner is only a set of texts.
        let mut interner = self.applier.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.world.load_full();
        let mut builder = Builder::new(&old);
        let mut revision = old.revision();
        let mut logged: Vec<Vec<Arc<Logged>>> = self.feeds.iter().map(|_| Vec::new()).collect();
        for change in changes {
            if change.revision <= revision {
                continue;
            }
            if change.revision != revision.next() {
                return Err(ApplyError::Gap);
            }
            revision = change.revision;
            let (place, before, after) = match &change.body {
                Some(body) => {
                    let (place, object) = decode(change.key, revision, body, &mut interner)
                        .map_err(ApplyError::Unusable)?;
                    let object = Arc::new(object);
                    (place, builder.put(place, object.clone()), Some(object))
                }
                None => {
                    let Some((_, place)) = place_of(&change.key.kind) else { continue };
                    (place, builder.remove(place, &change.key), None)
                }
            };
            if let Some(log) = logged.get_mut(place)
                && (before.is_some() || after.is_some())
            {
                log.push(Arc::new(Logged::new(revision, before, after)));
            }
        }
        // Histories first: who sees the new world finds in them all that led to it.
        for (feed, log) in self.feeds.iter().zip(&logged) {
            if !log.is_empty() {
                feed.history.store(Arc::new(feed.history.load().extended(log)));
            }
        }
        self.world.store(Arc::new(builder.finish(revision)));
        for (feed, log) in self.feeds.iter().zip(&logged) {
            if let Some(last) = log.last() {
                feed.newest.send_replace(last.revision());
            }
        }
        self.applied.send_replace(revision);
        Ok(())
    }

    /// Goes on with what another cache holds, when the changes up to there cannot be had: readers keep
    /// the old world until the new one is whole, and every watch begins anew. No-one's world ever
    /// goes back, so one that is not newer is not taken.
    pub(crate) fn replace(&self, loaded: Self) {
        let _one_at_a_time = self.applier.lock().unwrap_or_else(PoisonError::into_inner);
        let world = loaded.world();
        let revision = world.revision();
        if revision <= self.world.load().revision() {
            return;
        }
        // Histories first: who sees the new world must not take the old changes for all there were.
        for feed in &self.feeds {
            feed.history.store(Arc::new(History::starting_at(revision)));
        }
        self.world.store(world);
        for feed in &self.feeds {
            feed.newest.send_replace(revision);
        }
        self.applied.send_replace(revision);
    }

    /// Forgets what led to revisions before `before`: older reads answer that they expired.
    pub(crate) fn forget(&self, before: Revision) {
        let _one_at_a_time = self.applier.lock().unwrap_or_else(PoisonError::into_inner);
        for feed in &self.feeds {
            feed.history.store(Arc::new(feed.history.load().without(before)));
        }
    }

    /// One page of a list as of `at`, which is not after `world`.
    pub(crate) fn list_at(
        &self,
        world: &World,
        at: Revision,
        query: &ListQuery<'_>,
    ) -> Result<Page, Expired> {
        if at == world.revision() {
            return Ok(world.list(query));
        }
        let history = self.feed(query.kind).ok_or(Expired)?.history.load_full();
        if at > world.revision() || at < history.floor() {
            return Err(Expired);
        }
        Ok(world.list_undoing(query, &history.before(at, world.revision())))
    }
}
