//! All current bodies, for the cache's start: one pass over the file from front to end, in batches, so
//! that neither the hand-over nor the allocator is asked once per row.

use super::{CACHE_KIB, failure, read, write::revision};
use crate::{Entry, StoreError};
use bytes::Bytes;
use quarterdeck_model::{Key, Revision};
use rusqlite::{Connection, Row, Transaction};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::mpsc;

/// Rows in a batch, unless their bodies are large.
const BATCH_ROWS: usize = 256;
/// A batch with more bytes of bodies than this is sent.
const BATCH_BYTES: usize = 1 << 20;
/// Batches that may wait: the decoders and this reader hardly ever wait for each other.
pub(super) const BATCHES_MAX: usize = 8;
/// Page cache while everything is read once, when a large one would only take memory.
const SCAN_CACHE_KIB: i64 = 2_048;

/// Sends every current body, in the order of the log.
pub(super) fn load(
    connection: &mut Connection,
    batches: &mpsc::Sender<Vec<Entry>>,
) -> Result<Revision, StoreError> {
    let cache = |connection: &Connection, kib: i64| {
        connection.pragma_update(None, "cache_size", -kib).map_err(failure)
    };
    cache(connection, SCAN_CACHE_KIB)?;
    let transaction = connection.transaction().map_err(failure)?;
    let (head, _) = read::heads(&transaction)?;
    send(&transaction, batches).map_err(failure)?;
    drop(transaction);
    cache(connection, CACHE_KIB)?;
    Ok(head)
}

fn send(transaction: &Transaction<'_>, batches: &mpsc::Sender<Vec<Entry>>) -> rusqlite::Result<()> {
    let mut current = transaction
        .prepare("SELECT revision FROM current")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    // Both go up, so they are walked side by side.
    current.sort_unstable();
    let mut current = current.into_iter().peekable();
    let mut kinds = HashMap::new();
    let mut batch = Batch::default();
    let mut statement = transaction
        .prepare("SELECT revision, kind, namespace, name, body FROM log ORDER BY revision")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let at: i64 = row.get(0)?;
        while current.next_if(|wanted| *wanted < at).is_some() {}
        if current.next_if_eq(&at).is_none() {
            continue;
        }
        batch.add(row, revision(at), &mut kinds)?;
        if batch.is_full() && batches.blocking_send(std::mem::take(&mut batch).entries()).is_err() {
            // Nobody wants the rest.
            return Ok(());
        }
    }
    // The same when this fails.
    let _ = batches.blocking_send(batch.entries());
    Ok(())
}

/// Rows on their way, their bodies one after the other.
#[derive(Default)]
struct Batch {
    /// Key, revision and where its body ends.
    rows: Vec<(Key, Revision, usize)>,
    bodies: Vec<u8>,
}

impl Batch {
    fn add(
        &mut self,
        row: &Row<'_>,
        revision: Revision,
        kinds: &mut HashMap<String, Arc<str>>,
    ) -> rusqlite::Result<()> {
        let kind = row.get_ref(1)?.as_str()?;
        let kind = match kinds.get(kind) {
            Some(known) => known.clone(),
            None => kinds.entry(kind.to_owned()).or_insert_with(|| kind.into()).clone(),
        };
        let namespace = row.get_ref(2)?.as_str()?;
        let namespace = match self.rows.last() {
            Some((last, ..)) if *last.namespace == *namespace => last.namespace.clone(),
            _ => namespace.into(),
        };
        let name = row.get_ref(3)?.as_str()?.into();
        self.bodies.extend_from_slice(row.get_ref(4)?.as_blob()?);
        self.rows.push((Key { kind, namespace, name }, revision, self.bodies.len()));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.bodies.len() >= BATCH_BYTES
    }

    fn entries(self) -> Vec<Entry> {
        let bodies = Bytes::from(self.bodies);
        let mut begin = 0;
        let entry = |(key, revision, end)| {
            let body = bodies.slice(begin..end);
            begin = end;
            Entry { key, revision, body }
        };
        self.rows.into_iter().map(entry).collect()
    }
}
