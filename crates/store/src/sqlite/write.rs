//! Writes of the SQLite backend, each one transaction.

use super::failure;
use crate::{Fence, Lease, Mutation, Outcome, Precondition, StoreError, Write};
use quarterdeck_model::{Key, Revision};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Revisions looked at in one step of a compaction.
const COMPACT_STEP: u64 = 5_000;

pub(super) fn sql(revision: Revision) -> i64 {
    // 2^63 changes are never reached; should they be, the largest number keeps the order.
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub(super) fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)
}

/// Applies a batch.
pub(super) fn commit(
    connection: &mut Connection,
    batch: &[Mutation],
) -> Result<Vec<Outcome>, StoreError> {
    let transaction = begin(connection)?;
    let outcomes = apply(&transaction, batch).map_err(failure)?;
    transaction.commit().map_err(failure)?;
    Ok(outcomes)
}

fn apply(transaction: &Transaction<'_>, batch: &[Mutation]) -> rusqlite::Result<Vec<Outcome>> {
    let mut head: Revision = transaction
        .prepare_cached("SELECT head FROM meta")?
        .query_row([], |row| row.get(0).map(revision))?;
    let before = head;
    let mut find = transaction.prepare_cached(
        "SELECT revision FROM current WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
    )?;
    let mut log = transaction.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut put = transaction.prepare_cached(
        "INSERT INTO current VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET revision = excluded.revision",
    )?;
    let mut remove = transaction
        .prepare_cached("DELETE FROM current WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?;
    let mut outcomes = Vec::with_capacity(batch.len());
    for mutation in batch {
        let Key { kind, namespace, name } = &mutation.key;
        if let Some(fence) = &mutation.fence
            && !holds(transaction, fence)?
        {
            outcomes.push(Outcome::Fenced);
            continue;
        }
        let current: Option<Revision> = find
            .query_row(params![kind, namespace, name], |row| row.get(0).map(revision))
            .optional()?;
        let met = match mutation.precondition {
            Precondition::None => true,
            Precondition::Absent => current.is_none(),
            Precondition::At(wanted) => current == Some(wanted),
        };
        // Removing what is not there would be a change that changes nothing.
        let nothing = current.is_none() && matches!(mutation.write, Write::Delete);
        if !met || nothing {
            outcomes.push(Outcome::Conflict(current));
            continue;
        }
        head = head.next();
        let body = match &mutation.write {
            Write::Put(body) => Some(body.as_ref()),
            Write::Delete => None,
        };
        log.execute(params![sql(head), kind, namespace, name, current.map(sql), body])?;
        if body.is_some() {
            put.execute(params![kind, namespace, name, sql(head)])?;
        } else {
            remove.execute(params![kind, namespace, name])?;
        }
        outcomes.push(Outcome::Committed(head));
    }
    if head != before {
        transaction.prepare_cached("UPDATE meta SET head = ?1")?.execute([sql(head)])?;
    }
    Ok(outcomes)
}

fn holds(transaction: &Transaction<'_>, fence: &Fence) -> rusqlite::Result<bool> {
    let token: Option<i64> = transaction
        .prepare_cached("SELECT token FROM lease WHERE name = ?1")?
        .query_row([&fence.lease], |row| row.get(0))
        .optional()?;
    Ok(token.and_then(|token| u64::try_from(token).ok()) == Some(fence.token))
}

/// Does one step of a compaction; true when it is complete.
pub(super) fn compact_some(
    connection: &mut Connection,
    before: Revision,
) -> Result<bool, StoreError> {
    let transaction = begin(connection)?;
    let step = || -> rusqlite::Result<bool> {
        let (head, compacted) =
            transaction.query_row("SELECT head, compacted FROM meta", [], |row| {
                Ok((revision(row.get(0)?), revision(row.get(1)?)))
            })?;
        let goal = before.min(head);
        if goal <= compacted {
            return Ok(true);
        }
        let upto = goal.min(Revision(compacted.0 + COMPACT_STEP));
        // What was replaced at or before `upto` is seen by no read at or after it.
        transaction.execute(
            "DELETE FROM log WHERE revision IN
               (SELECT previous FROM log WHERE revision > ?1 AND revision <= ?2 AND previous IS NOT NULL)",
            [sql(compacted), sql(upto)],
        )?;
        transaction.execute(
            "DELETE FROM log WHERE revision > ?1 AND revision <= ?2 AND body IS NULL",
            [sql(compacted), sql(upto)],
        )?;
        transaction.execute("UPDATE meta SET compacted = ?1", [sql(upto)])?;
        Ok(upto == goal)
    };
    let done = step().map_err(failure)?;
    transaction.commit().map_err(failure)?;
    Ok(done)
}

/// Milliseconds of the wall clock. Only this process reads them, and leases of a process before it
/// were ended when the file was opened.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Takes or renews a lease.
pub(super) fn acquire_lease(
    connection: &mut Connection,
    name: &str,
    holder: &str,
    ttl: Duration,
) -> Result<Option<Lease>, StoreError> {
    let transaction = begin(connection)?;
    let now = now();
    let expires = now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    let take = || -> rusqlite::Result<Option<i64>> {
        let held: Option<(String, i64, i64)> = transaction
            .query_row("SELECT holder, token, expires FROM lease WHERE name = ?1", [name], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let token = match held {
            Some((by, token, until)) if by == holder && until > now => token,
            Some((_, _, until)) if until > now => return Ok(None),
            Some((_, token, _)) => token + 1,
            None => 1,
        };
        transaction.execute(
            "INSERT INTO lease VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE
             SET holder = excluded.holder, token = excluded.token, expires = excluded.expires",
            params![name, holder, token, expires],
        )?;
        Ok(Some(token))
    };
    let token = take().map_err(failure)?;
    transaction.commit().map_err(failure)?;
    Ok(token.and_then(|token| {
        Some(Lease { name: name.into(), holder: holder.into(), token: u64::try_from(token).ok()? })
    }))
}

/// Gives a lease back: it expires now, and its token is never used again.
pub(super) fn release_lease(connection: &mut Connection, lease: &Lease) -> Result<(), StoreError> {
    connection
        .execute(
            "UPDATE lease SET expires = 0 WHERE name = ?1 AND holder = ?2 AND token = ?3",
            params![lease.name, lease.holder, i64::try_from(lease.token).unwrap_or(i64::MAX)],
        )
        .map_err(failure)?;
    Ok(())
}
