//! The turn to write, which one process has at a time and keeps for several transactions: so that the
//! next can be written while the last one becomes durable, with nobody in between.
//!
//! It only spares writers each other. Nothing that must be right may rest on it: a process that lost
//! its turn without knowing is stopped by the head (`commit`).

use super::{connection, failure, unsigned, url::Target};
use crate::StoreError;
use futures_util::FutureExt as _;
use quarterdeck_model::Revision;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Client, Statement};

/// How long a turn lasts when others wait for theirs.
const TURN: Duration = Duration::from_millis(50);

/// The lock that whoever has the turn holds: "Qdcl" as a number. It is of this database only.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1365533548)";
/// Whether anybody waits for it.
const WAITING: &str = "
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND classid = 0 AND objid = 1365533548 AND NOT granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";

/// The connection on which turns are taken, one after another.
pub(super) struct Turns {
    client: Client,
    lock: Statement,
    waiting: Statement,
    /// When the turn began, or was last found to be wanted by nobody else.
    since: Option<Instant>,
}

impl Turns {
    pub(super) async fn connect(target: &Target) -> Result<Self, StoreError> {
        let client = connection::for_turns(target).await?;
        let (lock, waiting) =
            tokio::try_join!(client.prepare(LOCK), client.prepare(WAITING)).map_err(failure)?;
        Ok(Self { client, lock, waiting, since: None })
    }

    pub(super) fn usable(&self) -> bool {
        !self.client.is_closed()
    }

    /// Whether the turn is ours, as far as is known here.
    pub(super) fn held(&self) -> bool {
        self.since.is_some()
    }

    /// Waits for the turn; answers the head as it is once that is ours.
    pub(super) async fn take(&mut self) -> Result<Revision, StoreError> {
        let Self { client, lock, .. } = self;
        let (begun, locked, head) = tokio::join!(
            biased;
            client.batch_execute("BEGIN"),
            client.query_one(lock, &[]),
            client.query_one(super::read::HEAD, &[]),
        );
        let head = begun.and(locked).and(head).and_then(|row| row.try_get(0)).map_err(failure)?;
        self.since = Some(Instant::now());
        Ok(Revision(unsigned(head)))
    }

    /// Whether the turn has lasted long enough, and somebody waits for it.
    pub(super) async fn is_wanted(&mut self) -> Result<bool, StoreError> {
        if self.since.is_some_and(|since| since.elapsed() < TURN) {
            return Ok(false);
        }
        let row = self.client.query_one(&self.waiting, &[]).await.map_err(failure)?;
        let wanted: bool = row.try_get(0).map_err(failure)?;
        if !wanted {
            self.since = Some(Instant::now());
        }
        Ok(wanted)
    }

    /// Gives the turn up, without waiting until the server knows.
    pub(super) fn give_up(&mut self) {
        if self.since.take().is_some() {
            // Sent when first looked at. Should it be lost, so is the connection, and the turn with it.
            let _ = self.client.batch_execute("END").now_or_never();
        }
    }
}
