//! Moves what was committed from the write-ahead log into the database file, on a thread and a
//! connection of its own: writers wait only for what little was written meanwhile, not for all of it.
//!
//! The log begins anew once all of it was moved. Under steady writing that moment never comes by
//! itself, so the writer's own thread moves the rest, and the log stays bounded.

use super::{Job, failure};
use crate::StoreError;
use rusqlite::Connection;
use std::{
    sync::mpsc::{Receiver, sync_channel},
    thread::{Builder, JoinHandle},
};
use tokio::sync::mpsc::WeakSender;

/// Pages in the log (8 KB each) from which on they are moved: few syncs, and a file that stays small.
const DUE_PAGES: i32 = 2_000;
/// Pages that the writer's thread may move itself: a few milliseconds of work.
const REST_PAGES: i64 = 250;
/// Most times that the log is gone through before the writer's thread takes the rest, whatever it is.
const ROUNDS_MAX: usize = 4;

/// Starts the thread. It ends when the writer's connection is closed.
pub(super) fn start(
    own: Connection,
    writer: &mut Connection,
    jobs: WeakSender<Job>,
) -> Result<JoinHandle<()>, StoreError> {
    let (due, is_due) = sync_channel(1);
    writer
        .wal_hook(Some(move |_: &mut _, pages| {
            if pages >= DUE_PAGES {
                // When it was told already, once is enough.
                let _ = due.try_send(());
            }
            Ok(())
        }))
        .map_err(failure)?;
    Builder::new()
        .name("sqlite-checkpoint".into())
        .spawn(move || run(&own, &is_due, &jobs))
        .map_err(|error| StoreError::Unavailable(format!("a thread did not start: {error}")))
}

fn run(own: &Connection, is_due: &Receiver<()>, jobs: &WeakSender<Job>) {
    while is_due.recv().is_ok() {
        for _ in 0..ROUNDS_MAX {
            if advance(own).is_none_or(|left| left <= REST_PAGES) {
                break;
            }
        }
        let Some(jobs) = jobs.upgrade() else { return };
        let (done, is_done) = sync_channel(1);
        let rest: Job = Box::new(move |writer| {
            advance(&writer.connection);
            let _ = done.send(());
        });
        if jobs.blocking_send(rest).is_ok() {
            // An error means that the writer's thread ended, and so does this one.
            let _ = is_done.recv();
        }
    }
}

/// Moves what can be moved without waiting for anybody; answers how many pages were left.
fn advance(connection: &Connection) -> Option<i64> {
    let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?)
    });
    moved.inspect_err(|error| tracing::warn!(%error, "the write-ahead log could not be moved")).ok()
}
