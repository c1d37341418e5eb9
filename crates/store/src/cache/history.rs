//! Recent changes of one kind, each encoded once for all watchers.

use bytes::Bytes;
use imbl::Vector;
use quarterdeck_model::{Object, Revision};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// Most changes kept of one kind: enough to bridge a client's reconnect at thousands of changes a second.
const CHANGES_MAX: usize = 100_000;
/// Most bytes those changes may keep alive, counted as JSON before and after.
const BYTES_MAX: usize = 256 << 20;
/// Newest changes whose encodings other than JSON are kept: watchers that keep up have them by then,
/// and others encode for themselves.
const ENCODED_MAX: usize = 1_024;
/// Most encodings kept of one of them: more than clients use at once.
const ENCODINGS_MAX: usize = 16;

/// A way to write an event other than as JSON. What it means is known to who encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Which one.
    pub form: u8,
    /// The second it is as of, in Unix time, since some say how old an object is: for another one
    /// the event is encoded again.
    pub second: i64,
}

type Encoded = (EventKind, Encoding, Bytes);

/// What happened to an object, as a watch sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It came to be, or began to match.
    Added,
    /// It changed.
    Modified,
    /// It went away, or no longer matches.
    Deleted,
}

impl EventKind {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change.
pub(crate) struct Logged {
    revision: Revision,
    before: Option<Arc<Object>>,
    after: Option<Arc<Object>>,
    /// The last version, at the revision that took it away.
    gone: OnceLock<Arc<Object>>,
    json: [OnceLock<Bytes>; 3],
    encoded: Mutex<Vec<Encoded>>,
}

impl Logged {
    pub(crate) fn new(
        revision: Revision,
        before: Option<Arc<Object>>,
        after: Option<Arc<Object>>,
    ) -> Self {
        Self {
            revision,
            before,
            after,
            gone: OnceLock::new(),
            json: Default::default(),
            encoded: Mutex::default(),
        }
    }

    fn forget_encodings(&self) {
        *self.encoded.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Whose change it is, and what it left.
    pub(crate) fn outcome(&self) -> Option<super::Became> {
        let object = self.after.as_ref().or(self.before.as_ref())?;
        Some((object.key.clone(), self.after.clone()))
    }

    fn bytes(&self) -> usize {
        [&self.before, &self.after].into_iter().flatten().map(|object| object.json.len()).sum()
    }

    /// What a watch that selects by `matches` sees of this change.
    pub(crate) fn seen_by(
        self: &Arc<Self>,
        matches: impl Fn(&Object) -> bool,
    ) -> Option<WatchEvent> {
        let before = self.before.as_deref().is_some_and(&matches);
        let after = self.after.as_ref().filter(|object| matches(object));
        let (kind, object) = match (before, after) {
            (false, Some(object)) => (EventKind::Added, object.clone()),
            (true, Some(object)) => (EventKind::Modified, object.clone()),
            (true, None) => (EventKind::Deleted, self.gone()?),
            (false, None) => return None,
        };
        Some(WatchEvent { kind, object, logged: self.clone() })
    }

    fn gone(&self) -> Option<Arc<Object>> {
        let last = self.before.as_ref()?;
        let gone = self.gone.get_or_init(|| {
            let again = Object::from_body(last.kind, last.key.clone(), self.revision, &last.body());
            // It was decoded from the same bytes before; should that fail, the older version number
            // is still the right object.
            again.map_or_else(|_| last.clone(), Arc::new)
        });
        Some(gone.clone())
    }
}

/// One event of a watch.
#[derive(Clone)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventKind,
    /// The object after it, or its last version.
    pub object: Arc<Object>,
    logged: Arc<Logged>,
}

impl WatchEvent {
    /// The object as it was before, if it was there.
    pub fn before(&self) -> Option<&Arc<Object>> {
        self.logged.before.as_ref()
    }

    /// The event as a line of JSON, encoded once for all watchers.
    pub fn json(&self) -> Bytes {
        let encode = || {
            let name = self.kind.name();
            let mut line = Vec::with_capacity(self.object.json.len() + 32);
            line.extend_from_slice(b"{\"type\":\"");
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b"\",\"object\":");
            line.extend_from_slice(&self.object.json);
            line.extend_from_slice(b"}\n");
            Bytes::from(line)
        };
        let [added, modified, deleted] = &self.logged.json;
        let slot = match self.kind {
            EventKind::Added => added,
            EventKind::Modified => modified,
            EventKind::Deleted => deleted,
        };
        slot.get_or_init(encode).clone()
    }

    /// The event as `encode` writes it, encoded once for all watchers that want this encoding.
    pub fn encoded(&self, encoding: Encoding, encode: impl FnOnce() -> Bytes) -> Bytes {
        // Held while encoding: who waits wants the same bytes. A panic meanwhile added nothing.
        let mut all = self.logged.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|(kind, other, _)| (*kind, *other) == (self.kind, encoding));
        if let Some((_, _, bytes)) = found {
            return bytes.clone();
        }
        let bytes = encode();
        all.retain(|(kind, other, _)| (*kind, other.form) != (self.kind, encoding.form));
        if all.len() < ENCODINGS_MAX {
            all.push((self.kind, encoding, bytes.clone()));
        }
        bytes
    }
}

/// Recent changes, oldest first. Immutable: a longer one shares with the shorter one.
#[derive(Clone)]
pub(crate) struct History {
    changes: Vector<Arc<Logged>>,
    bytes: usize,
    floor: Revision,
}

impl History {
    pub(crate) fn starting_at(floor: Revision) -> Self {
        Self { changes: Vector::new(), bytes: 0, floor }
    }

    /// All changes after this revision are here.
    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    /// With more changes at the end, and the oldest dropped where there are too many.
    pub(crate) fn extended(&self, more: &[Arc<Logged>]) -> Self {
        let mut next = self.clone();
        for change in more {
            next.bytes += change.bytes();
            let served = next.changes.len().checked_sub(ENCODED_MAX);
            if let Some(old) = served.and_then(|at| next.changes.get(at)) {
                old.forget_encodings();
            }
            next.changes.push_back(change.clone());
        }
        while next.changes.len() > CHANGES_MAX || next.bytes > BYTES_MAX {
            if !next.drop_oldest() {
                break;
            }
        }
        next
    }

    /// Without what led to revisions before `before`.
    pub(crate) fn without(&self, before: Revision) -> Self {
        let mut next = self.clone();
        while next.changes.front().is_some_and(|oldest| oldest.revision <= before) {
            next.drop_oldest();
        }
        next.floor = next.floor.max(before);
        next
    }

    fn drop_oldest(&mut self) -> bool {
        match self.changes.pop_front() {
            Some(oldest) => {
                self.bytes = self.bytes.saturating_sub(oldest.bytes());
                self.floor = oldest.revision;
                true
            }
            None => false,
        }
    }

    /// Changes after `since`, in order.
    pub(crate) fn after(&self, since: Revision) -> impl Iterator<Item = &Arc<Logged>> {
        let at = match self.changes.binary_search_by(|change| change.revision.cmp(&since)) {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        self.changes.focus().narrow(at..).into_iter()
    }

    /// For each place changed after `at` and up to `until`: what was there at `at`.
    pub(crate) fn before(
        &self,
        at: Revision,
        until: Revision,
    ) -> BTreeMap<(&str, &str), Option<&Arc<Object>>> {
        let mut before = BTreeMap::new();
        for change in self.after(at).take_while(|change| change.revision <= until) {
            if let Some(object) = change.before.as_ref().or(change.after.as_ref()) {
                let place = (object.namespace(), object.name());
                before.entry(place).or_insert(change.before.as_ref());
            }
        }
        before
    }
}
