//! What is held of a cluster that this replica looks after, and how it hears of what happens there.

use super::{locked, say::Trouble};
use quarterdeck_clusters::{Heard, Place, node::Link};
use quarterdeck_model::{Key, Revision, kinds::SecretReference};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// A cluster that is looked after.
pub(super) struct Watched {
    /// The connection, if there are credentials for one.
    pub(super) place: Option<Arc<Place>>,
    /// The Secret it was opened with, and which version of that.
    pub(super) opened_with: Option<(SecretReference, Revision)>,
    /// Why it could not be opened with that.
    pub(super) trouble: Option<Trouble>,
    /// Which machine each node is.
    pub(super) links: Arc<BTreeMap<String, Link>>,
    /// When it was heard of last through connections that are there no more; before it was, when it began.
    before: Instant,
}

impl Watched {
    pub(super) fn new() -> Self {
        Self {
            place: None,
            opened_with: None,
            trouble: None,
            links: Arc::default(),
            before: Instant::now(),
        }
    }

    /// Takes in what came of opening a connection: another one, the same as before, or none.
    pub(super) fn note_opened(&mut self, opened: Result<Option<Arc<Place>>, Trouble>) {
        match opened {
            Ok(None) => self.trouble = None,
            Ok(Some(place)) => {
                self.before = self.last();
                self.place = Some(place);
                self.trouble = None;
            }
            Err(trouble) => {
                self.before = self.last();
                self.place = None;
                self.trouble = Some(trouble);
            }
        }
    }

    pub(super) fn heard(&self) -> Heard {
        self.place.as_ref().map(|place| place.heard()).unwrap_or_default()
    }

    fn last(&self) -> Instant {
        self.heard().last.map_or(self.before, |last| last.max(self.before))
    }

    /// How long nothing was heard of it.
    pub(super) fn silent(&self) -> Duration {
        self.last().elapsed()
    }
}

/// Keys of which something outside of the store has told, each once.
#[derive(Default)]
pub(super) struct Told {
    keys: Mutex<BTreeSet<Key>>,
    more: Notify,
}

impl Told {
    pub(super) fn tell(&self, key: Key) {
        locked(&self.keys).insert(key);
        self.more.notify_one();
    }

    /// The next one. Nothing is lost when this is dropped before it answers.
    pub(super) async fn next(&self) -> Key {
        loop {
            if let Some(key) = locked(&self.keys).pop_first() {
                return key;
            }
            self.more.notified().await;
        }
    }
}
