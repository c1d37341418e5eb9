//! What clients of a revisioned store did and saw, and whether a store that keeps its promises can have
//! answered so. Pure: it reads no clock and asks nobody.
//!
//! The promises (Kubernetes API concepts, "Resource versions"): writes take effect in the order of their
//! revisions, at some moment between being asked for and being answered, and under their preconditions; a
//! consistent read shows all that was answered before it was asked for; a list shows one revision; a watch
//! tells everything after its start, in order, once. An operation that was never answered took effect at
//! some moment, or not at all.
//!
//! Start reading at [`History`], what is recorded, then [`check`].

mod check;
mod versions;
mod watches;

pub use check::check;

use std::{fmt, time::Duration};

/// A store's revision.
pub type Revision = u64;
/// What is written: a number that no other write of the history has, so that whoever sees it knows the write.
pub type Value = u64;

/// When an operation was asked for and when its answer had come, since the history began. Of an operation
/// that was never answered, only the first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Before the request was sent.
    pub invoked: Duration,
    /// After the answer was read.
    pub completed: Duration,
}

/// What a write does, and under which precondition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Makes an object that must not exist.
    Create(Value),
    /// Replaces what was written at the first revision.
    Replace(Revision, Value),
    /// Removes what was written at that revision.
    Delete(Revision),
}

impl Change {
    /// What is there afterwards.
    #[must_use]
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Create(value) | Self::Replace(_, value) => Some(value),
            Self::Delete(_) => None,
        }
    }
}

/// What the writer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done; at that revision, if the answer said (that to a deletion does not).
    Done(Option<Revision>),
    /// Nothing was or will be applied.
    Refused,
    /// Nothing: it was applied, or will be, or never is.
    Unknown,
}

/// One write.
#[derive(Debug, Clone)]
pub struct Write {
    /// Who wrote.
    pub client: usize,
    /// When.
    pub span: Span,
    /// Which object.
    pub key: String,
    /// What.
    pub change: Change,
    /// What came of it.
    pub outcome: Outcome,
}

/// How new a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// As new as anything answered before (no `resourceVersion`).
    Consistent,
    /// At least that revision (`resourceVersion=R`).
    NotOlderThan(Revision),
    /// As it happens to be (`resourceVersion=0`).
    Any,
}

/// One object as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which object.
    pub key: String,
    /// The revision that had written it.
    pub revision: Revision,
    /// What it held.
    pub value: Value,
}

/// One read of one object. One that failed is not recorded: it tells nothing.
#[derive(Debug, Clone)]
pub struct Get {
    /// Who read.
    pub client: usize,
    /// When.
    pub span: Span,
    /// Which object.
    pub key: String,
    /// How new it had to be.
    pub freshness: Freshness,
    /// What was there: revision and value.
    pub found: Option<(Revision, Value)>,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The revision it says it is at.
    pub revision: Revision,
    /// What is on it.
    pub items: Vec<Seen>,
}

/// One read of all objects.
#[derive(Debug, Clone)]
pub struct List {
    /// Who read.
    pub client: usize,
    /// When: from before the first page to after the last.
    pub span: Span,
    /// How new it had to be.
    pub freshness: Freshness,
    /// Its pages, at least one.
    pub pages: Vec<Page>,
}

/// What an event of a watch says has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The object came to be.
    Added,
    /// It changed.
    Modified,
    /// It went away, at the revision that is told.
    Deleted,
}

/// One thing a watch told.
#[derive(Debug, Clone)]
pub enum Step {
    /// Something happened; of a deletion, the value is the last one.
    Event(EventKind, Seen),
    /// Everything up to here was told.
    Bookmark(Revision),
}

/// A watch of all objects, from one connection: one that goes on elsewhere is another, whose start is what
/// this one had reached.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Who watched.
    pub client: usize,
    /// What happened after this revision was asked for.
    pub since: Revision,
    /// What was told, and when.
    pub steps: Vec<(Duration, Step)>,
}

/// All that the clients of one collection did and saw.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Every write that was tried.
    pub writes: Vec<Write>,
    /// Reads of one object.
    pub gets: Vec<Get>,
    /// Reads of all.
    pub lists: Vec<List>,
    /// Watches.
    pub watches: Vec<Watch>,
}

/// In which way a promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One revision stands for two things.
    RevisionReused,
    /// What was seen is what nobody wrote, or nobody deleted.
    NeverWritten,
    /// A write that was refused took effect.
    RefusedButApplied,
    /// One write took effect twice.
    AppliedTwice,
    /// A write took effect although its precondition did not hold: what was between is lost.
    LostUpdate,
    /// A write's revision is older than what was seen or written before it was asked for.
    OutOfOrder,
    /// Something was seen before it was written.
    FromTheFuture,
    /// A read shows what was replaced before it was asked for: time went back.
    StaleRead,
    /// A read shows what was deleted before it was asked for.
    Resurrected,
    /// A read is older than the revision it had to be at.
    TooOld,
    /// The pages of a list are of different revisions.
    TornList,
    /// A list does not show what was there at its revision.
    NotASnapshot,
    /// A watch left something out.
    Missed,
    /// A watch told something twice, or from before its start.
    Repeated,
    /// A watch told something after what came later.
    Reordered,
    /// An event does not say what happened.
    WrongEvent,
    /// A bookmark is older than what was told before it.
    BookmarkWentBack,
}

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Anomaly {
    /// Which kind.
    pub kind: Kind,
    /// What happened, in words.
    pub what: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// A counter that clients raise by reading it and replacing what they have read: each acknowledged raise
/// counts once, and each of unknown outcome once or not at all.
///
/// # Errors
/// When some were lost, or counted twice.
pub fn check_counter(acknowledged: u64, unknown: u64, found: u64) -> Result<(), Anomaly> {
    let kind = match found {
        _ if found < acknowledged => Kind::LostUpdate,
        _ if found > acknowledged + unknown => Kind::AppliedTwice,
        _ => return Ok(()),
    };
    let what = format!(
        "the counter is at {found} after {acknowledged} acknowledged raises and {unknown} of unknown outcome"
    );
    Err(Anomaly { kind, what })
}
