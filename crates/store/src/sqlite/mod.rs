//! The default backend: one SQLite file, owned by one process.
//!
//! Each body is written once, to the log; the table of current objects holds only key → revision,
//! and the newest changes only some time later (`recent.rs`).
//! Writes have one connection on a thread of its own; reads have another and never wait for them.

mod backup;
mod checkpoint;
mod counts;
mod load;
mod read;
mod recent;
mod schema;
mod write;

use crate::{Backend, Change, Entry, FolderLock, Lease, Mutation, Outcome, StoreError, Taker};
use async_trait::async_trait;
use counts::Counts;
use quarterdeck_model::{Key, Revision};
use recent::Recent;
use rusqlite::{Connection, ErrorCode};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Name of the database in the data folder.
const FILE: &str = "quarterdeck.db";
/// Page cache of a connection.
const CACHE_KIB: i64 = 65_536;
/// Most jobs that wait for the writer. The group commit above sends one at a time.
const JOBS_MAX: usize = 64;

/// What the writing thread works with.
struct Writer {
    connection: Connection,
    recent: Recent,
    counts: Counts,
}

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// The SQLite backend.
pub struct Sqlite {
    file: PathBuf,
    /// None only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    reader: Arc<Mutex<Connection>>,
    /// Held for as long as the backend lives; the system lets go of it however the process ends.
    _owned: FolderLock,
}

impl Sqlite {
    /// Opens or makes the database in the folder `dir`, and takes ownership of it.
    ///
    /// # Errors
    /// When another process owns it, or it cannot be opened, read or written.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let owned = FolderLock::take(dir)?;
        let file = dir.join(FILE);
        let mut connection = connect(&file)?;
        schema::migrate(&mut connection, &file)?;
        let recent = read::recent(&mut connection)?;
        let reader = connect(&file)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_MAX);
        let checkpoint = checkpoint::start(connect(&file)?, &mut connection, jobs.downgrade())?;
        let mut writer = Writer { connection, recent, counts: Counts::default() };
        let writer = std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut writer);
                }
            })
            .map_err(|error| {
                StoreError::Unavailable(format!("its writing thread did not start: {error}"))
            })?;
        Ok(Self {
            file,
            jobs: Some(jobs),
            threads: vec![writer, checkpoint],
            reader: Arc::new(Mutex::new(reader)),
            _owned: owned,
        })
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::Unavailable("its writing thread ended".into());
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            // Whoever asked may have gone away.
            let _ = answer.send(job(writer));
        });
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(job).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || {
            job(&mut reader.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await
        .map_err(|error| StoreError::Unavailable(format!("a read was cut short: {error}")))?
    }
}

impl Drop for Sqlite {
    /// Gives the folder free only when nothing is written to it any more.
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

fn connect(file: &Path) -> Result<Connection, StoreError> {
    let unusable = |error: rusqlite::Error| match failure(error) {
        StoreError::Unwritable(why) => StoreError::Unwritable(why),
        other => StoreError::Unusable(format!("cannot open {}: {other}", file.display())),
    };
    let connection = Connection::open(file).map_err(unusable)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection
        .execute_batch(
            // A page holds three bodies of 2 KB; one of 4 KB would hold one, and waste the rest.
            "PRAGMA page_size = 8192;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 0;
             PRAGMA temp_store = MEMORY;",
        )
        .map_err(unusable)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(unusable)?;
    Ok(connection)
}

/// What an error of SQLite means to the caller.
fn failure(error: rusqlite::Error) -> StoreError {
    let code = error.sqlite_error_code();
    let text = error.to_string();
    match code {
        Some(ErrorCode::DiskFull) => StoreError::Unwritable(format!(
            "the disk is full ({text}); nothing was lost, free some space and try again"
        )),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::Unwritable(format!(
            "its file is read-only ({text}); nothing was lost, make it writable and try again"
        )),
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            StoreError::Unwritable(format!(
                "its disk fails ({text}); check the disk and its free space, then restart the plane"
            ))
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Unusable(
            format!("its file is damaged or not a database ({text}); restore a backup"),
        ),
        _ => StoreError::Unavailable(text),
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn commit(&self, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError> {
        let batch = batch.to_vec();
        self.write(move |writer| write::commit(writer, &batch)).await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.read(move |connection| read::changes(connection, since, limit)).await
    }

    async fn head(&self) -> Result<Revision, StoreError> {
        self.read(read::head).await
    }

    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let after = after.cloned();
        self.read(move |connection| read::snapshot(connection, at, after.as_ref(), limit)).await
    }

    async fn load(&self, takers: Vec<Taker>) -> Result<Revision, StoreError> {
        let file = self.file.clone();
        self.read(move |connection| load::load(connection, &file, takers)).await
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        loop {
            // In steps, so that writers wait for one step at most.
            if self.write(move |writer| write::compact_some(writer, before)).await? {
                return Ok(());
            }
        }
    }

    async fn acquire_leases(
        &self,
        names: &[String],
        holder: &str,
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let (names, holder) = (names.to_vec(), holder.to_owned());
        self.write(move |writer| {
            write::acquire_leases(&mut writer.connection, &names, &holder, ttl)
        })
        .await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.write(|writer| write::leases(&writer.connection)).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.write(move |writer| write::release_lease(&mut writer.connection, &lease)).await
    }

    fn shared(&self) -> bool {
        false
    }
}
