//! Reads of the SQLite backend. Each sees one moment of the database.

use super::{
    failure,
    recent::Recent,
    write::{revision, sql},
};
use crate::{CHANGES_BYTES_MAX, Change, Entry, StoreError};
use bytes::Bytes;
use quarterdeck_model::{Key, Revision};
use rusqlite::{Connection, Row, Transaction, params};
use std::{collections::BTreeMap, sync::Arc};

fn key(row: &Row<'_>, first: usize) -> rusqlite::Result<Key> {
    Ok(Key { kind: row.get(first)?, namespace: row.get(first + 1)?, name: row.get(first + 2)? })
}

pub(super) fn heads(transaction: &Connection) -> Result<(Revision, Revision), StoreError> {
    transaction
        .query_row("SELECT head, compacted FROM meta", [], |row| {
            Ok((revision(row.get(0)?), revision(row.get(1)?)))
        })
        .map_err(failure)
}

/// The token of each lease.
pub(super) fn tokens(connection: &Connection) -> Result<Vec<(String, u64)>, StoreError> {
    let tokens = || -> rusqlite::Result<Vec<(String, u64)>> {
        let mut statement = connection.prepare("SELECT name, token FROM lease ORDER BY name")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get(0)?, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)))
        })?;
        rows.collect()
    };
    tokens().map_err(failure)
}

/// What the table of current objects does not show yet.
pub(super) fn recent(connection: &mut Connection) -> Result<Recent, StoreError> {
    let transaction = connection.transaction().map_err(failure)?;
    let (head, _) = heads(&transaction)?;
    let folded = transaction
        .query_row("SELECT folded FROM meta", [], |row| row.get(0).map(revision))
        .map_err(failure)?;
    let mut recent = Recent::new(folded);
    let mut statement = transaction
        .prepare(
            "SELECT kind, namespace, name, revision, body IS NULL FROM log
             WHERE revision > ?1 ORDER BY revision",
        )
        .map_err(failure)?;
    let mut rows = statement.query([sql(folded)]).map_err(failure)?;
    let mut next = folded.next();
    while let Some(row) = rows.next().map_err(failure)? {
        let change = || -> rusqlite::Result<(Key, i64, bool)> {
            Ok((key(row, 0)?, row.get(3)?, row.get(4)?))
        };
        let (key, at, removed) = change().map_err(failure)?;
        let at = revision(at);
        // Compaction takes nothing that the table does not show: there are no gaps here.
        if at != next {
            return Err(lacks(next));
        }
        recent.add(&key, (!removed).then_some(at), at);
        next = next.next();
    }
    if next != head.next() {
        return Err(lacks(next));
    }
    Ok(recent)
}

/// The refusal of a log with a hole.
pub(super) fn lacks(revision: Revision) -> StoreError {
    StoreError::Unusable(format!(
        "its file is damaged: the log lacks revision {revision}, which is current; restore a backup"
    ))
}

/// Head and oldest readable revision, when `wanted` can be read.
fn readable(transaction: &Transaction<'_>, wanted: Revision) -> Result<Revision, StoreError> {
    let (head, oldest) = heads(transaction)?;
    if wanted < oldest || wanted > head {
        return Err(StoreError::Compacted { wanted, oldest });
    }
    Ok(head)
}

pub(super) fn head(connection: &mut Connection) -> Result<Revision, StoreError> {
    let transaction = connection.transaction().map_err(failure)?;
    Ok(heads(&transaction)?.0)
}

pub(super) fn changes(
    connection: &mut Connection,
    since: Revision,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let transaction = connection.transaction().map_err(failure)?;
    readable(&transaction, since)?;
    let mut statement = transaction
        .prepare_cached(
            "SELECT revision, kind, namespace, name, previous, body FROM log
             WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        )
        .map_err(failure)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut bytes = 0;
    let mut changes = Vec::new();
    let mut rows = statement.query(params![sql(since), limit]).map_err(failure)?;
    while bytes < CHANGES_BYTES_MAX
        && let Some(row) = rows.next().map_err(failure)?
    {
        let change = change(row).map_err(failure)?;
        bytes += change.body.as_ref().map_or(0, Bytes::len);
        changes.push(change);
    }
    Ok(changes)
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    Ok(Change {
        revision: revision(row.get(0)?),
        key: key(row, 1)?,
        previous: row.get::<_, Option<i64>>(4)?.map(revision),
        body: row.get::<_, Option<Vec<u8>>>(5)?.map(Bytes::from),
    })
}

pub(super) fn snapshot(
    connection: &mut Connection,
    at: Revision,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let transaction = connection.transaction().map_err(failure)?;
    readable(&transaction, at)?;
    let rows = || -> rusqlite::Result<Vec<Entry>> {
        // What each key was at `at` that changed since, or that the table of current objects may not
        // show: its last change up to `at`, else what its first one after `at` replaced.
        let mut then: BTreeMap<Key, Option<i64>> = BTreeMap::new();
        let mut changed = transaction.prepare_cached(
            "SELECT kind, namespace, name, previous, revision, body IS NULL FROM log
             WHERE revision > min(?1, (SELECT folded FROM meta)) ORDER BY revision",
        )?;
        let at = sql(at);
        let mut rows = changed.query([at])?;
        while let Some(row) = rows.next()? {
            let (revision, removed): (i64, bool) = (row.get(4)?, row.get(5)?);
            if revision <= at {
                then.insert(key(row, 0)?, (!removed).then_some(revision));
            } else {
                then.entry(key(row, 0)?).or_insert(row.get(3)?);
            }
        }
        let empty: Arc<str> = "".into();
        let first = Key { kind: empty.clone(), namespace: empty.clone(), name: empty };
        let from = after.unwrap_or(&first);
        let mut current = transaction.prepare_cached(
            "SELECT kind, namespace, name, revision FROM current
             WHERE (kind, namespace, name) > (?1, ?2, ?3) ORDER BY kind, namespace, name",
        )?;
        let mut rows = current.query(params![from.kind, from.namespace, from.name])?;
        let mut old =
            then.iter().filter(|(key, previous)| *key > from && previous.is_some()).peekable();
        let mut places: Vec<(Key, i64)> = Vec::new();
        let mut next = rows
            .next()?
            .map(|row| Ok::<_, rusqlite::Error>((key(row, 0)?, row.get(3)?)))
            .transpose()?;
        while places.len() < limit {
            let take_old = match (&next, old.peek()) {
                (None, None) => break,
                (Some((current, _)), Some((old, _))) => *old <= current,
                (None, Some(_)) => true,
                (Some(_), None) => false,
            };
            if take_old {
                if let Some((key, Some(previous))) = old.next() {
                    places.push((key.clone(), *previous));
                }
            } else if let Some((key, revision)) = next.take() {
                if !then.contains_key(&key) {
                    places.push((key, revision));
                }
                next = rows
                    .next()?
                    .map(|row| Ok::<_, rusqlite::Error>((key_of(row)?, row.get(3)?)))
                    .transpose()?;
            }
        }
        let mut body = transaction.prepare_cached("SELECT body FROM log WHERE revision = ?1")?;
        places
            .into_iter()
            .map(|(key, at)| {
                let bytes: Vec<u8> = body.query_row([at], |row| row.get(0))?;
                Ok(Entry { key, revision: revision(at), body: bytes.into() })
            })
            .collect()
    };
    rows().map_err(failure)
}

fn key_of(row: &Row<'_>) -> rusqlite::Result<Key> {
    key(row, 0)
}
