//! How many bodies there are of a kind in a namespace, for those that somebody limits. Kept beside the
//! connection that writes, which alone changes them; counted once, from what is stored.
//!
//! A group that nobody limits is not in here and costs nothing.

use super::recent::Recent;
use crate::decide::{Decision, Group};
use quarterdeck_model::Key;
use rusqlite::{OptionalExtension, Transaction, params};
use std::{collections::HashMap, sync::Arc};

/// Counts by kind and namespace.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<Arc<str>, HashMap<Arc<str>, u64>>);

impl Counts {
    /// How many there are in a group, when it was counted before.
    pub(super) fn get(&self, group: Group<'_>) -> Option<u64> {
        self.0.get(group.kind)?.get(group.namespace).copied()
    }

    /// Takes over what a batch left, once it is durable; or what was counted for one that left all as it was.
    pub(super) fn committed(&mut self, decision: &Decision<'_>) {
        for (group, count) in &decision.counts {
            let namespaces = self.0.entry(group.kind.into()).or_default();
            namespaces.insert(group.namespace.into(), *count);
        }
    }
}

/// Counts a group: what the table of current objects shows, and what is not in it yet.
pub(super) fn count(
    transaction: &Transaction<'_>,
    recent: &Recent,
    group: Group<'_>,
) -> rusqlite::Result<u64> {
    let Group { kind, namespace } = group;
    let count: i64 = transaction
        .prepare_cached("SELECT count(*) FROM current WHERE kind = ?1 AND namespace = ?2")?
        .query_row([kind, namespace], |row| row.get(0))?;
    let mut count = u64::try_from(count).unwrap_or(0);
    let mut find = transaction
        .prepare_cached("SELECT 1 FROM current WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?;
    for (Key { name, .. }, at) in recent.group(group) {
        let shown =
            find.query_row(params![kind, namespace, name], |_| Ok(())).optional()?.is_some();
        count = match (shown, at.is_some()) {
            (false, true) => count.saturating_add(1),
            (true, false) => count.saturating_sub(1),
            _ => count,
        };
    }
    Ok(count)
}
