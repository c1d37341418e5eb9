//! Reads of the SQLite backend. Each sees one moment of the database.

use super::{
    failure,
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
        // What each key changed since was at `at`: what its first change after `at` replaced.
        let mut then: BTreeMap<Key, Option<i64>> = BTreeMap::new();
        let mut changed = transaction.prepare_cached(
            "SELECT kind, namespace, name, previous FROM log WHERE revision > ?1 ORDER BY revision",
        )?;
        let mut rows = changed.query([sql(at)])?;
        while let Some(row) = rows.next()? {
            let previous = row.get(3)?;
            then.entry(key(row, 0)?).or_insert(previous);
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
