//! All current bodies, for the cache's start: one pass over the file, by as many readers as there are
//! takers, each on a connection and a thread of its own. A body goes from SQLite's page to where it is
//! taken, and nowhere in between.

use super::{CACHE_KIB, connect, failure, read, write::revision};
use crate::{Current, StoreError, Taker};
use quarterdeck_model::Revision;
use rusqlite::Connection;
use std::{
    collections::HashSet,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Current revisions that a reader reads before it looks for more: the readers end at about the same
/// time, and the file is read from front to back.
const SHARE: usize = 4_096;
/// Page cache while everything is read once, when a large one would only take memory.
const SCAN_CACHE_KIB: i64 = 2_048;
/// Most times that the readers try to see the same moment. Writers hardly ever run at a start.
const ROUNDS_MAX: usize = 100;

/// Has every current body taken.
pub(super) fn load(
    connection: &mut Connection,
    file: &Path,
    takers: Vec<Taker>,
) -> Result<Revision, StoreError> {
    let others = takers.iter().skip(1).map(|_| connect(file)).collect::<Result<Vec<_>, _>>()?;
    cache(connection, SCAN_CACHE_KIB)?;
    let result = read_all(connection, others, takers);
    // Whatever came of it, this connection goes on being used.
    end(connection)?;
    cache(connection, CACHE_KIB)?;
    result
}

fn cache(connection: &Connection, kib: i64) -> Result<(), StoreError> {
    connection.pragma_update(None, "cache_size", -kib).map_err(failure)
}

fn begin(connection: &Connection) -> Result<(Revision, Revision), StoreError> {
    connection.execute_batch("BEGIN").map_err(failure)?;
    read::heads(connection)
}

fn end(connection: &Connection) -> Result<(), StoreError> {
    if connection.is_autocommit() {
        return Ok(());
    }
    connection.execute_batch("ROLLBACK").map_err(failure)
}

fn read_all(
    connection: &mut Connection,
    mut others: Vec<Connection>,
    mut takers: Vec<Taker>,
) -> Result<Revision, StoreError> {
    for other in &others {
        cache(other, SCAN_CACHE_KIB)?;
    }
    let (head, alone) = same_moment(connection, &others)?;
    if alone {
        others.clear();
        takers.truncate(1);
    }
    let current = current(connection).map_err(failure)?;
    let shares: Vec<&[i64]> = current.chunks(SHARE).collect();
    let next = AtomicUsize::new(0);
    let (shares, next) = (&*shares, &next);
    thread::scope(|scope| {
        let readers = std::iter::once(connection).chain(&mut others).zip(takers);
        let threads: Vec<_> = readers
            .map(|(reader, taker)| scope.spawn(move || read_shares(reader, taker, shares, next)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| {
                Err(StoreError::Unusable("a thread that reads objects panicked".into()))
            })
        };
        // All are waited for, then the first error counts.
        let results: Vec<Result<(), StoreError>> = threads.into_iter().map(join).collect();
        results.into_iter().collect::<Result<(), _>>()
    })?;
    Ok(head)
}

/// Begins a transaction on each connection such that all see the same log. Answers its head, and
/// whether the first must go on alone.
fn same_moment(first: &Connection, others: &[Connection]) -> Result<(Revision, bool), StoreError> {
    for _ in 0..ROUNDS_MAX {
        end(first)?;
        let heads = begin(first)?;
        let mut same = true;
        for other in others {
            end(other)?;
            // Each change of the log moves one of the two.
            same &= begin(other)? == heads;
        }
        if same {
            return Ok((heads.0, false));
        }
    }
    Ok((read::heads(first)?.0, true))
}

/// The revisions of all current bodies, in order: those of the table, and those that came after what it
/// shows.
fn current(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare("SELECT revision FROM current")?;
    let mut current =
        statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    let mut replaced = HashSet::new();
    let mut recent = connection.prepare(
        "SELECT revision, previous, body IS NOT NULL FROM log
         WHERE revision > (SELECT folded FROM meta)",
    )?;
    let mut rows = recent.query([])?;
    while let Some(row) = rows.next()? {
        replaced.extend(row.get::<_, Option<i64>>(1)?);
        if row.get(2)? {
            current.push(row.get(0)?);
        }
    }
    current.retain(|revision| !replaced.contains(revision));
    current.sort_unstable();
    // The table shows some of the newest changes already.
    current.dedup();
    Ok(current)
}

fn read_shares(
    connection: &Connection,
    mut taker: Taker,
    shares: &[&[i64]],
    next: &AtomicUsize,
) -> Result<(), StoreError> {
    while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
        if let Err(error) = read_share(connection, &mut taker, share) {
            // The others need not go on.
            next.store(shares.len(), Ordering::Relaxed);
            return Err(error);
        }
    }
    Ok(())
}

fn read_share(connection: &Connection, taker: &mut Taker, share: &[i64]) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (share.first(), share.last()) else { return Ok(()) };
    let mut statement = connection
        .prepare_cached(
            "SELECT revision, kind, namespace, name, body FROM log
             WHERE revision BETWEEN ?1 AND ?2 ORDER BY revision",
        )
        .map_err(failure)?;
    let mut rows = statement.query([first, last]).map_err(failure)?;
    // Both go up, so they are walked side by side.
    let mut wanted = share.iter().peekable();
    while let Some(row) = rows.next().map_err(failure)? {
        let at: i64 = row.get(0).map_err(failure)?;
        if wanted.next_if_eq(&&at).is_none() {
            continue;
        }
        let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str()?);
        let current = || {
            Ok::<_, rusqlite::Error>(Current {
                kind: text(1)?,
                namespace: text(2)?,
                name: text(3)?,
                revision: revision(at),
                body: row.get_ref(4)?.as_blob()?,
            })
        };
        taker(current().map_err(failure)?)?;
    }
    match wanted.next() {
        None => Ok(()),
        Some(missing) => Err(read::lacks(revision(*missing))),
    }
}
