//! The one narrow interface every durable store implements. It knows keys, bodies and revisions,
//! and nothing of what the bodies mean.

use async_trait::async_trait;
use bytes::Bytes;
use quarterdeck_model::{Key, Revision};
use std::time::Duration;

/// What one mutation does to one key.
#[derive(Debug, Clone)]
pub enum Write {
    /// Creates or replaces the body.
    Put(Bytes),
    /// Removes the key.
    Delete,
}

/// What must hold for a mutation to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// The key has no body.
    Absent,
    /// The key has no body, and where it comes to be is as it must be.
    AbsentIf {
        /// The body of another key, on which this one depends, was written at exactly that revision: what
        /// was seen of it when this was decided is still so. A conflict with no revision says that it
        /// is not.
        seen: Option<(Key, Revision)>,
        /// Fewer than so many keys of its kind in its namespace have a body.
        below: Option<u64>,
    },
    /// The key's body was written at exactly this revision.
    At(Revision),
    /// The same, and the bodies of other keys, on which the change depends, were written at exactly theirs.
    AtIf {
        /// Where the key's own body is.
        at: Revision,
        /// What was seen of the others when this was decided.
        seen: Vec<(Key, Revision)>,
    },
}

/// Proof that the writer still holds a lease; a mutation with a fence is refused once the lease's
/// token has moved on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// Name of the lease.
    pub lease: String,
    /// Token it was held under.
    pub token: u64,
}

/// One change to one key.
#[derive(Debug, Clone)]
pub struct Mutation {
    /// What is changed.
    pub key: Key,
    /// How.
    pub write: Write,
    /// Under which condition.
    pub precondition: Precondition,
    /// Under which lease, if any.
    pub fence: Option<Fence>,
}

impl Mutation {
    /// Size of the body, in bytes.
    pub fn size_bytes(&self) -> usize {
        match &self.write {
            Write::Put(body) => body.len(),
            Write::Delete => 0,
        }
    }
}

/// What became of one mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Durable, at this revision.
    Committed(Revision),
    /// Not applied: the key is at that revision, or has no body.
    Conflict(Option<Revision>),
    /// Not applied: so many keys of its kind in its namespace have a body, as many as may.
    Full(u64),
    /// Not applied: the lease is held under another token.
    Fenced,
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its place in the order.
    pub revision: Revision,
    /// What changed.
    pub key: Key,
    /// The revision that had written the key before, if it had a body.
    pub previous: Option<Revision>,
    /// The new body; none when the key was removed.
    pub body: Option<Bytes>,
}

/// One body as it was at some revision.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// The revision that wrote it.
    pub revision: Revision,
    /// The body.
    pub body: Bytes,
}

/// A current body as the store reads it.
#[derive(Debug, Clone, Copy)]
pub struct Current<'r> {
    /// Kind, as in its key.
    pub kind: &'r str,
    /// Namespace, as in its key.
    pub namespace: &'r str,
    /// Name, as in its key.
    pub name: &'r str,
    /// The revision that wrote it.
    pub revision: Revision,
    /// The body.
    pub body: &'r [u8],
}

/// Takes current bodies; an error ends the load.
pub type Taker = Box<dyn FnMut(Current<'_>) -> Result<(), StoreError> + Send>;

/// A lease held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Name.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Grows with each change of holder; never repeats.
    pub token: u64,
}

/// Why the store could not answer, by what the caller can do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Try again: nothing was applied.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It is not known whether the batch was applied; the backend could not find out in time.
    #[error("the store was lost during a commit and its outcome is not known yet: {0}")]
    OutcomeUnknown(String),
    /// The revision asked for was compacted away, or is not reached yet.
    #[error("revision {wanted} is compacted: the oldest that can be read is {oldest}")]
    Compacted {
        /// What was asked for.
        wanted: Revision,
        /// The oldest that can be read.
        oldest: Revision,
    },
    /// Another process holds the store; the text says which and what to do.
    #[error("{0}")]
    InUse(String),
    /// The store refuses to write (disk full, read-only, broken); the text says what to do.
    #[error("the store cannot write: {0}")]
    Unwritable(String),
    /// The store was made by a newer release, or is not a store.
    #[error("{0}")]
    Unusable(String),
}

/// A durable, revisioned log of bodies by key.
///
/// Revisions are dense and strictly increasing; commit order is revision order is change order, with
/// any number of writers. What `commit` acknowledges is durable (fsync).
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Applies the batch in order, each mutation by itself: one that fails its precondition leaves the
    /// others alone. Mutations of one batch get consecutive revisions and see those before them.
    /// At most [`BATCH_MAX`] mutations and [`BATCH_BYTES_MAX`] bytes of bodies.
    async fn commit(&self, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError>;

    /// How many batches may be given to [`Backend::commit`] before the first is answered. They are decided in
    /// the order they are given, but for those that are tried again.
    fn at_once(&self) -> usize {
        1
    }

    /// The log after `since`, in order, at most `limit` entries, and none after those whose bodies
    /// reach [`CHANGES_BYTES_MAX`]. Fewer than that: the head as it was during the call is reached.
    /// Complete: an entry is never seen before one with a lower revision.
    async fn changes(&self, since: Revision, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// The newest revision.
    async fn head(&self) -> Result<Revision, StoreError>;

    /// Bodies as of `at`, ordered by key, after `after`, at most `limit`.
    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Reads all current bodies, in no special order, and has each taken by one of `takers`, which work
    /// at once; returns the revision they are all at. For the cache's start: one pass over the log, as
    /// fast as the file is read.
    async fn load(&self, takers: Vec<Taker>) -> Result<Revision, StoreError>;

    /// Forgets what only older revisions than `before` show. Reads at or after `before` still work.
    async fn compact(&self, before: Revision) -> Result<(), StoreError>;

    /// Takes or renews leases of these names, no two the same, for `holder`; leaves out those that someone else
    /// holds. Expiry is judged by one clock only, the store's.
    async fn acquire_leases(
        &self,
        names: &[String],
        holder: &str,
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError>;

    /// Leases that are held now, in no special order.
    async fn leases(&self) -> Result<Vec<Lease>, StoreError>;

    /// One lease: takes or renews it; none when someone else holds it.
    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        Ok(self.acquire_leases(&[name.to_owned()], holder, ttl).await?.pop())
    }

    /// Gives a lease back, if it is still held under that token.
    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Whether other processes write to the same store, so that changes must be polled for.
    fn shared(&self) -> bool;
}

/// Largest batch of one commit: bounds a transaction and the memory it takes.
pub const BATCH_MAX: usize = 512;
/// Most bytes of bodies in one commit: bounds a transaction like [`BATCH_MAX`]; a batch of bodies of
/// the usual few KB never reaches it.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Largest body: etcd's usual limit, so that objects fit either store.
pub const BODY_BYTES_MAX: usize = 1_572_864;
/// Size of bodies after which an answer with changes ends: bounds the memory it takes.
pub const CHANGES_BYTES_MAX: usize = 16 << 20;
