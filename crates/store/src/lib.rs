//! The revisioned store and the cache every read is served from.
//!
//! It knows the envelope of an object (key, labels, indexed fields) and must not know what any kind
//! means, nor HTTP, nor runs.
//!
//! Start reading at [`backend`] (the durable log), then [`Store`] (the one way in), then `cache`.

pub mod backend;
mod backup;
mod cache;
mod committer;
mod decide;
mod folder;
mod follow;
mod postgres;
mod sealed;
mod sqlite;
mod store;

pub use backend::{
    BATCH_BYTES_MAX, BATCH_MAX, BODY_BYTES_MAX, Backend, CHANGES_BYTES_MAX, Change, Current, Entry,
    Fence, Lease, Mutation, Outcome, Precondition, StoreError, Taker, Write,
};
pub use backup::Backup;
pub use cache::{
    Became, Encoding, EventKind, Expired, ListQuery, Page, WatchEvent, WatchQuery, Watcher, World,
};
pub use folder::FolderLock;
pub use postgres::Postgres;
pub use sealed::{KeyFile, KeyId, Sealed};
pub use sqlite::Sqlite;
pub use store::{Stats, Store};
