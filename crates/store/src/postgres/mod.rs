//! The backend for more than one replica: PostgreSQL 15 or newer, or what speaks its protocol.
//!
//! Each body is written once, to the log. The table of latest revisions (key → revision) follows it, many
//! changes at a time; what it does not show yet is read from the log.
//! Followers read the log: there is no NOTIFY, which would take a global lock at each commit.
//! Transactions have connections of their own, and so have questions: reads never wait for commits.
//!
//! A lost connection is made again with backoff. What is safe to repeat is repeated for a while;
//! a commit whose answer was lost is never repeated before it is known that it was not applied.

mod backup;
mod commit;
mod compact;
mod connection;
mod counts;
mod fold;
mod lease;
mod load;
mod pipeline;
mod read;
mod recent;
mod schema;
mod turn;
mod url;

use crate::{BATCH_BYTES_MAX, Backend, Change, Entry, Lease, Mutation, Outcome, StoreError, Taker};
use async_trait::async_trait;
use connection::Reader;
use pipeline::Pipeline;
use quarterdeck_model::{Key, Revision};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::error::{Severity, SqlState};

/// Longest that an operation is repeated while the server is away: a restart of the server passes
/// unnoticed, and callers hear of anything longer soon enough to tell theirs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest that the outcome of a commit is looked for: a failover of Patroni takes twenty seconds.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(30);
/// Longest that one try may take. Longer than a writer waits for its turn.
const TRY_MAX: Duration = Duration::from_secs(15);
/// Pause after the first failure; it doubles with each further one.
const BACKOFF: Duration = Duration::from_millis(20);
/// Longest pause between tries.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The PostgreSQL backend.
pub struct Postgres {
    target: url::Target,
    pipeline: Pipeline,
    reader: Mutex<Option<Arc<Reader>>>,
}

impl Postgres {
    /// Connects to the database of `url` (`postgres://user:password@host:port/database`) and brings
    /// its tables to the newest form. Several hosts may be named; the one that takes writes is used.
    ///
    /// # Errors
    /// When the URL or the database cannot be used, or the server is not reached.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let target = url::parse(url)?;
        let id = uuid::Uuid::new_v4().to_string();
        let pipeline = Pipeline::new(target.clone(), &id);
        let opened = Self { target, pipeline, reader: Mutex::default() };
        let mut patience = Patience::of(PATIENCE);
        while let Err(error) = opened.migrate().await {
            patience.next_try(error).await?;
        }
        Ok(opened)
    }

    /// Brings what it wrote from the log into the table of latest revisions after so many changes: fewer is slower,
    /// and less to read when the next plane begins.
    #[must_use]
    pub fn fold_after(mut self, changes: u64) -> Self {
        self.pipeline.fold_after(changes);
        self
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        schema::migrate(&mut connection::plain(&self.target).await?).await
    }

    /// The connection for questions, made anew when it was lost.
    async fn reader(&self) -> Result<Arc<Reader>, StoreError> {
        let mut slot = self.reader.lock().await;
        if let Some(reader) = slot.as_ref().filter(|reader| !reader.client.is_closed()) {
            return Ok(reader.clone());
        }
        let reader = Arc::new(Reader::connect(&self.target).await?);
        *slot = Some(reader.clone());
        Ok(reader)
    }

    /// Asks a question that is safe to repeat.
    async fn ask<T, F>(&self, question: impl Fn(Arc<Reader>) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut patience = Patience::of(PATIENCE);
        loop {
            let error = match self.reader().await {
                Ok(reader) => match within(TRY_MAX, question(reader.clone())).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => {
                        self.drop_broken(&reader, &error).await;
                        error
                    }
                },
                Err(error) => error,
            };
            patience.next_try(error).await?;
        }
    }

    /// Lets go of a connection on which a question failed; a refusal to answer is no failure.
    async fn drop_broken(&self, reader: &Arc<Reader>, error: &StoreError) {
        if !matches!(error, StoreError::Compacted { .. }) {
            self.reader.lock().await.take_if(|current| Arc::ptr_eq(current, reader));
        }
    }
}

/// How long an operation is repeated while the server is away, and how soon.
struct Patience {
    end: Instant,
    pause: Duration,
}

impl Patience {
    fn of(patience: Duration) -> Self {
        Self { end: Instant::now() + patience, pause: BACKOFF }
    }

    /// Returns when it is time for the next try after `error`; an error when there is none.
    async fn next_try(&mut self, error: StoreError) -> Result<(), StoreError> {
        if !matches!(error, StoreError::Unavailable(_)) || Instant::now() + self.pause >= self.end {
            return Err(error);
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(BACKOFF_MAX);
        Ok(())
    }
}

/// Bounds one try.
async fn within<T>(
    longest: Duration,
    attempt: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(longest, attempt).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable(format!("PostgreSQL did not answer within {longest:?}")))
    })
}

/// The server's numbers are signed. 2^63 changes are never reached; should they be, the largest
/// number keeps the order.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Whether the server itself said that it did not do what was asked, and goes on.
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| error.parsed_severity() == Some(Severity::Error))
}

/// Whether the server was reached but TLS cannot be agreed on, which another try does not change.
fn is_distrust(error: &tokio_postgres::Error) -> bool {
    let Some(cause) = std::error::Error::source(error) else { return false };
    error.to_string().contains("TLS")
        && cause
            .downcast_ref::<std::io::Error>()
            .is_none_or(|cause| cause.kind() == std::io::ErrorKind::InvalidData)
}

/// An error with what the server said about it.
fn text(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => {
            let extra = [said.detail(), said.hint()].into_iter().flatten();
            extra.fold(format!("PostgreSQL says: {}", said.message()), |text, more| {
                format!("{text}; {more}")
            })
        }
        None => {
            let mut text = format!("PostgreSQL: {error}");
            let mut cause = std::error::Error::source(error);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            text
        }
    }
}

/// What an error means to the caller.
fn failure(error: tokio_postgres::Error) -> StoreError {
    let text = text(&error);
    let Some(code) = error.code() else {
        return if is_distrust(&error) {
            StoreError::Unusable(format!(
                "{text}; name its authority's certificate with sslrootcert=FILE in --store, or, on \
                 a network that nobody else can listen on, say sslmode=disable"
            ))
        } else {
            StoreError::Unavailable(text)
        };
    };
    match *code {
        SqlState::DISK_FULL => StoreError::Unwritable(format!(
            "the disk of the PostgreSQL server is full ({text}); nothing was lost, free some space \
             and try again"
        )),
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            StoreError::Unusable(format!("{text}; check the user and password in --store"))
        }
        SqlState::INVALID_CATALOG_NAME => StoreError::Unusable(format!(
            "{text}; create it with CREATE DATABASE, or name another one in --store"
        )),
        SqlState::INSUFFICIENT_PRIVILEGE => StoreError::Unusable(format!(
            "{text}; the role in --store must own the schema \"quarterdeck\""
        )),
        // Syntax and names: the tables are not as this release made them.
        _ if code.code().starts_with("42") => StoreError::Unusable(format!(
            "{text}; the tables in schema \"quarterdeck\" are not as Quarterdeck made them"
        )),
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => {
            StoreError::Unusable(format!("{text}; the database is damaged, restore a backup"))
        }
        _ => StoreError::Unavailable(text),
    }
}

#[async_trait]
impl Backend for Postgres {
    async fn commit(&self, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError> {
        let bytes: usize = batch.iter().map(Mutation::size_bytes).sum();
        if bytes > BATCH_BYTES_MAX {
            return Err(StoreError::Unwritable(format!(
                "a batch of {bytes} bytes is over its limit of {BATCH_BYTES_MAX}"
            )));
        }
        // From the first failure on: what fails only with a batch before it, however late, is tried again.
        let mut patience = None;
        loop {
            match self.pipeline.attempt(batch).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(error) => {
                    let patience = patience.get_or_insert_with(|| Patience::of(PATIENCE));
                    patience.next_try(error).await?;
                }
            }
        }
    }

    fn at_once(&self) -> usize {
        pipeline::AT_ONCE
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.ask(|reader| async move { read::changes(&reader, since, limit).await }).await
    }

    async fn head(&self) -> Result<Revision, StoreError> {
        self.ask(|reader| async move { read::head(&reader).await }).await
    }

    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.ask(|reader| async move { read::snapshot(&reader, at, after, limit).await }).await
    }

    async fn load(&self, takers: Vec<Taker>) -> Result<Revision, StoreError> {
        load::load(connection::loader(&self.target).await?, takers).await
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        let mut client = connection::folder(&self.target).await?;
        while !compact::step(&mut client, before).await? {}
        Ok(())
    }

    async fn acquire_leases(
        &self,
        names: &[String],
        holder: &str,
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        // Repeating one whose answer was lost renews it.
        self.ask(|reader| async move { lease::acquire(&reader, names, holder, ttl).await }).await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.ask(|reader| async move { lease::held(&reader).await }).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.ask(|reader| async move { lease::release(&reader, lease).await }).await
    }

    fn shared(&self) -> bool {
        true
    }
}
