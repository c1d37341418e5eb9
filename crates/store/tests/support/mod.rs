//! Where a store is kept during a test, and short words for what is done to it.

#![allow(dead_code, reason = "each test binary uses its part of it")]

pub(crate) mod model;

use bytes::Bytes;
use quarterdeck_model::{Key, Revision};
use quarterdeck_store::{
    Backend, Change, Current, Entry, Fence, KeyFile, Mutation, Outcome, Postgres, Precondition,
    Sealed, Sqlite, StoreError, Taker, Write,
};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Changes after which PostgreSQL's table of latest revisions is brought up to date: few, so that each test sees
/// it now behind and now not.
const FOLD_AFTER: u64 = 20;

/// An empty place that a store can be opened in, more than once.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(String),
    /// SQLite with everything in it encrypted.
    Sealed(TempDir),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn sealed() -> Self {
        let folder = tempfile::tempdir().unwrap();
        key_file(&folder).make("2026-01-01T00:00:00Z").unwrap();
        Self::Sealed(folder)
    }

    pub(crate) async fn try_open(&self) -> Result<Arc<dyn Backend>, StoreError> {
        Ok(match self {
            Self::Sqlite(folder) => Arc::new(Sqlite::open(folder.path())?),
            Self::Postgres(url) => Arc::new(Postgres::open(url).await?.fold_after(FOLD_AFTER)),
            Self::Sealed(folder) => {
                let inner = Arc::new(Sqlite::open(folder.path())?);
                let kinds = ["things.example", "namespaces", "secrets"];
                let kinds = kinds.into_iter().map(Into::into).collect();
                Arc::new(Sealed::new(inner, key_file(folder), kinds)?)
            }
        })
    }

    pub(crate) async fn open(&self) -> Arc<dyn Backend> {
        self.try_open().await.unwrap()
    }

    /// As many writers as there can be on one store: processes of their own where it is shared,
    /// else tasks of one.
    pub(crate) async fn writers(&self, count: usize) -> Vec<Arc<dyn Backend>> {
        let mut writers = vec![self.open().await];
        while writers.len() < count {
            let another = match self {
                Self::Sqlite(_) | Self::Sealed(_) => writers[0].clone(),
                Self::Postgres(_) => self.open().await,
            };
            writers.push(another);
        }
        writers
    }
}

pub(crate) fn key_file(folder: &TempDir) -> KeyFile {
    KeyFile::at(&folder.path().join("secrets.key"))
}

pub(crate) fn key(name: &str) -> Key {
    Key { kind: "things.example".into(), namespace: "team".into(), name: name.into() }
}

pub(crate) fn put(name: &str, body: &str) -> Mutation {
    Mutation {
        key: key(name),
        write: Write::Put(Bytes::copy_from_slice(body.as_bytes())),
        precondition: Precondition::None,
        fence: None,
    }
}

pub(crate) fn delete(name: &str) -> Mutation {
    Mutation { write: Write::Delete, ..put(name, "") }
}

pub(crate) fn when(precondition: Precondition, mutation: Mutation) -> Mutation {
    Mutation { precondition, ..mutation }
}

pub(crate) fn fenced(lease: &str, token: u64, mutation: Mutation) -> Mutation {
    Mutation { fence: Some(Fence { lease: lease.into(), token }), ..mutation }
}

/// The one outcome of a batch of one.
pub(crate) async fn one(backend: &dyn Backend, mutation: Mutation) -> Outcome {
    let outcomes = backend.commit(&[mutation]).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes[0]
}

/// All changes after `since`.
pub(crate) async fn all_changes(backend: &dyn Backend, since: Revision) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    loop {
        let since = all.last().map_or(since, |change| change.revision);
        let page = backend.changes(since, 1_000).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// The whole snapshot at `at`, read in pages of `limit`.
pub(crate) async fn whole_snapshot(
    backend: &dyn Backend,
    at: Revision,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let after = all.last().map(|entry| entry.key.clone());
        let page = backend.snapshot(at, after.as_ref(), limit).await?;
        if page.is_empty() {
            return Ok(all);
        }
        assert!(page.len() <= limit);
        all.extend(page);
    }
}

/// What `load` calls with, ordered by key, and the revision it answers.
pub(crate) async fn loaded(backend: &dyn Backend) -> (Vec<Entry>, Revision) {
    let entries: Arc<Mutex<Vec<Entry>>> = Arc::default();
    let taker = || -> Taker {
        let entries = entries.clone();
        Box::new(move |Current { kind, namespace, name, revision, body }| {
            let key = Key { kind: kind.into(), namespace: namespace.into(), name: name.into() };
            let body = Bytes::copy_from_slice(body);
            entries.lock().unwrap().push(Entry { key, revision, body });
            Ok(())
        })
    };
    let revision = backend.load(vec![taker(), taker(), taker()]).await.unwrap();
    let mut entries = std::mem::take(&mut *entries.lock().unwrap());
    entries.sort_by(|one: &Entry, other| one.key.cmp(&other.key));
    (entries, revision)
}

/// Fails unless the store agrees with itself: the log is dense and complete from `since`, and the
/// current objects are what a replay of it gives. Answers the log.
pub(crate) async fn check_whole(backend: &dyn Backend) -> Vec<Change> {
    let log = all_changes(backend, Revision::ZERO).await;
    let head = backend.head().await.unwrap();
    let replayed = model::Model::replay(&log);
    assert_eq!(replayed.head(), head, "the log is not as long as the head says");
    let (current, at) = loaded(backend).await;
    assert_eq!(at, head);
    model::assert_same(&current, &replayed.at(head));
    log
}
