//! Writes of the SQLite backend, each one transaction.

use super::{
    Writer,
    counts::{self, Counts},
    failure, read,
    recent::{Recent, Slice},
};
use crate::{
    Lease, Mutation, Outcome, StoreError,
    decide::{self, Decision, Group, Held, Logged, decide},
};
use quarterdeck_model::{Key, Revision};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Revisions looked at in one step of a compaction.
const COMPACT_STEP: u64 = 5_000;
/// Keys brought into the table of current objects in one step of a compaction.
const FOLD_STEP: usize = 1_024;

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
pub(super) fn commit(writer: &mut Writer, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError> {
    let Writer { connection, recent, counts } = writer;
    let transaction = begin(connection)?;
    let held = held(&transaction, recent, counts, batch).map_err(failure)?;
    let decision = decide(batch, held);
    if decision.log.is_empty() {
        // Nothing is to become durable. A first count is kept: whoever is refused asks again.
        counts.committed(&decision);
        return Ok(decision.outcomes);
    }
    let slice = recent.slice(decision.log.len());
    append(&transaction, &decision).map_err(failure)?;
    bring_in(&transaction, &slice).map_err(failure)?;
    transaction.commit().map_err(failure)?;
    recent.brought_in(slice);
    recent.committed(&decision);
    counts.committed(&decision);
    Ok(decision.outcomes)
}

fn append(transaction: &Transaction<'_>, decision: &Decision<'_>) -> rusqlite::Result<()> {
    let mut log = transaction.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for Logged { revision, key: Key { kind, namespace, name }, previous, body } in &decision.log {
        let body = body.map(|body| body.as_ref());
        log.execute(params![sql(*revision), kind, namespace, name, previous.map(sql), body])?;
    }
    transaction.prepare_cached("UPDATE meta SET head = ?1")?.execute([sql(decision.head)])?;
    Ok(())
}

/// Brings changes into the table of current objects.
fn bring_in(transaction: &Transaction<'_>, slice: &Slice) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO current VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET revision = excluded.revision",
    )?;
    let mut remove = transaction
        .prepare_cached("DELETE FROM current WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?;
    for (Key { kind, namespace, name }, at) in &slice.keys {
        match at {
            Some(at) => put.execute(params![kind, namespace, name, sql(*at)])?,
            None => remove.execute(params![kind, namespace, name])?,
        };
    }
    if let Some(folded) = slice.folded {
        transaction.prepare_cached("UPDATE meta SET folded = ?1")?.execute([sql(folded)])?;
    }
    Ok(())
}

/// Reads what a batch is about.
fn held<'a>(
    transaction: &Transaction<'_>,
    recent: &Recent,
    counts: &Counts,
    batch: &'a [Mutation],
) -> rusqlite::Result<Held<'a>> {
    let head = transaction
        .prepare_cached("SELECT head FROM meta")?
        .query_row([], |row| row.get(0).map(revision))?;
    let mut held = Held { head, ..Held::default() };
    let mut find = transaction.prepare_cached(
        "SELECT revision FROM current WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
    )?;
    for key in decide::keys(batch) {
        let Key { kind, namespace, name } = key;
        let found = match recent.get(key) {
            Some(known) => known,
            None => {
                let row = |row: &Row<'_>| row.get(0).map(revision);
                find.query_row(params![kind, namespace, name], row).optional()?
            }
        };
        held.current.extend(found.map(|found| (key, found)));
    }
    let mut token = transaction.prepare_cached("SELECT token FROM lease WHERE name = ?1")?;
    for lease in decide::leases(batch) {
        let found: Option<i64> = token.query_row([lease], |row| row.get(0)).optional()?;
        let found = found.and_then(|token| u64::try_from(token).ok());
        held.tokens.extend(found.map(|token| (lease, token)));
    }
    for group in decide::limited(batch) {
        let count = match counts.get(group) {
            Some(known) => known,
            None => counts::count(transaction, recent, group)?,
        };
        held.counts.insert(group, count);
    }
    // What was counted before is kept right, limited this time or not.
    for group in batch.iter().map(|mutation| Group::of(&mutation.key)) {
        if let Some(known) = counts.get(group) {
            held.counts.insert(group, known);
        }
    }
    Ok(held)
}

/// Does one step of a compaction; true when it is complete.
pub(super) fn compact_some(writer: &mut Writer, before: Revision) -> Result<bool, StoreError> {
    let Writer { connection, recent, .. } = writer;
    let transaction = begin(connection)?;
    // What tells that a key was removed must not go before the table knows it.
    if recent.folded() < before && recent.folded() < read::heads(&transaction)?.0 {
        let slice = recent.any_slice(FOLD_STEP);
        bring_in(&transaction, &slice).map_err(failure)?;
        transaction.commit().map_err(failure)?;
        recent.brought_in(slice);
        return Ok(false);
    }
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

/// Takes or renews leases; those that someone else holds are left out.
pub(super) fn acquire_leases(
    connection: &mut Connection,
    names: &[String],
    holder: &str,
    ttl: Duration,
) -> Result<Vec<Lease>, StoreError> {
    let transaction = begin(connection)?;
    let now = now();
    let expires = now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    let take = |name: &str| -> rusqlite::Result<Option<i64>> {
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
    let mut taken = Vec::with_capacity(names.len());
    for name in names {
        if let Some(token) = take(name).map_err(failure)? {
            let token = u64::try_from(token).unwrap_or(0);
            taken.push(Lease { name: name.clone(), holder: holder.into(), token });
        }
    }
    transaction.commit().map_err(failure)?;
    Ok(taken)
}

/// Leases that are held now.
pub(super) fn leases(connection: &Connection) -> Result<Vec<Lease>, StoreError> {
    let held = || -> rusqlite::Result<Vec<Lease>> {
        let mut held = connection
            .prepare_cached("SELECT name, holder, token FROM lease WHERE expires > ?1")?;
        let rows = held.query_map([now()], |row| {
            let token = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            Ok(Lease { name: row.get(0)?, holder: row.get(1)?, token })
        })?;
        rows.collect()
    };
    held().map_err(failure)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Precondition, Write, sqlite::schema};

    #[test]
    fn a_group_whose_creates_are_refused_is_counted_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection, std::path::Path::new("memory")).unwrap();
        let recent = read::recent(&mut connection).unwrap();
        let mut writer = Writer { connection, recent, counts: Counts::default() };
        let create = |name: &str, below| Mutation {
            key: Key { kind: "things".into(), namespace: "a".into(), name: name.into() },
            write: Write::Put("{}".into()),
            precondition: Precondition::AbsentIf { seen: None, below },
            fence: None,
        };
        let group = Group { kind: "things", namespace: "a" };
        commit(&mut writer, &[create("one", None)]).unwrap();
        assert_eq!(writer.counts.get(group), None, "nobody limits it");
        let refused = commit(&mut writer, &[create("two", Some(1))]).unwrap();
        assert_eq!(refused, [Outcome::Full(1)]);
        assert_eq!(writer.counts.get(group), Some(1), "it is not counted again");
    }
}
