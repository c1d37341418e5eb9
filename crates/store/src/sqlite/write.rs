//! Writes of the SQLite backend, each one transaction.

use super::failure;
use crate::{
    Lease, Mutation, Outcome, StoreError,
    decide::{self, Held, Logged, decide},
};
use quarterdeck_model::{Key, Revision};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

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
    let decision = decide(batch, held(transaction, batch)?);
    if decision.log.is_empty() {
        return Ok(decision.outcomes);
    }
    let mut log = transaction.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for Logged { revision, key: Key { kind, namespace, name }, previous, body } in &decision.log {
        let body = body.map(|body| body.as_ref());
        log.execute(params![sql(*revision), kind, namespace, name, previous.map(sql), body])?;
    }
    let mut put = transaction.prepare_cached(
        "INSERT INTO current VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET revision = excluded.revision",
    )?;
    for (Key { kind, namespace, name }, revision) in &decision.put {
        put.execute(params![kind, namespace, name, sql(*revision)])?;
    }
    let mut remove = transaction
        .prepare_cached("DELETE FROM current WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?;
    for Key { kind, namespace, name } in &decision.removed {
        remove.execute(params![kind, namespace, name])?;
    }
    transaction.prepare_cached("UPDATE meta SET head = ?1")?.execute([sql(decision.head)])?;
    Ok(decision.outcomes)
}

/// Reads what a batch is about.
fn held<'a>(transaction: &Transaction<'_>, batch: &'a [Mutation]) -> rusqlite::Result<Held<'a>> {
    let head = transaction
        .prepare_cached("SELECT head FROM meta")?
        .query_row([], |row| row.get(0).map(revision))?;
    let mut held = Held { head, ..Held::default() };
    let mut find = transaction.prepare_cached(
        "SELECT revision FROM current WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
    )?;
    for key in decide::keys(batch) {
        let Key { kind, namespace, name } = key;
        let found = find.query_row(params![kind, namespace, name], |row| row.get(0)).optional()?;
        held.current.extend(found.map(|found| (key, revision(found))));
    }
    let mut token = transaction.prepare_cached("SELECT token FROM lease WHERE name = ?1")?;
    for lease in decide::leases(batch) {
        let found: Option<i64> = token.query_row([lease], |row| row.get(0)).optional()?;
        let found = found.and_then(|token| u64::try_from(token).ok());
        held.tokens.extend(found.map(|token| (lease, token)));
    }
    Ok(held)
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

/// Milliseconds since this process first asked: steps of the wall clock must not end leases or keep
/// them. Leases of a process before this one were ended when the file was opened.
fn now() -> i64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Not zero even at the start: a lease that expires at zero is over.
    i64::try_from(START.elapsed().as_millis()).unwrap_or(i64::MAX).saturating_add(1)
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

/// Gives a lease back: it expires now, and its token moves on, so that its fences are refused at once.
pub(super) fn release_lease(connection: &mut Connection, lease: &Lease) -> Result<(), StoreError> {
    connection
        .execute(
            "UPDATE lease SET expires = 0, token = token + 1
             WHERE name = ?1 AND holder = ?2 AND token = ?3",
            params![lease.name, lease.holder, i64::try_from(lease.token).unwrap_or(i64::MAX)],
        )
        .map_err(failure)?;
    Ok(())
}
