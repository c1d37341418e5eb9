//! Objects of one kind in the order in which they grow old. It is brought along change by change, so that finding
//! what is too old costs no more than what is found. It must never look at a store or a clock.

use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{Key, Object};
use std::collections::BTreeSet;

/// How old an object is counted from, and none of one that may not go.
pub(super) type Since = fn(&Object) -> Option<Timestamp>;

/// Objects that go some day, the oldest first.
pub(super) struct Ages {
    since: Since,
    order: BTreeSet<(Timestamp, Key)>,
}

impl Ages {
    pub(super) const fn new(since: Since) -> Self {
        Self { since, order: BTreeSet::new() }
    }

    /// Forgets all, before what there is is noted anew.
    pub(super) fn clear(&mut self) {
        self.order.clear();
    }

    /// An object is `after`, and was `before`.
    pub(super) fn note(&mut self, before: Option<&Object>, after: Option<&Object>) {
        if let Some(entry) = before.and_then(|before| self.entry(before)) {
            self.order.remove(&entry);
        }
        self.order.extend(after.and_then(|after| self.entry(after)));
    }

    fn entry(&self, object: &Object) -> Option<(Timestamp, Key)> {
        Some(((self.since)(object)?, object.key.clone()))
    }

    /// Those beyond the number or the age that may stay, the oldest first. What grows old only later, as a task whose time is not over, does
    /// not count.
    pub(super) fn beyond(
        &self,
        most: usize,
        age: SignedDuration,
        now: Timestamp,
    ) -> impl Iterator<Item = &(Timestamp, Key)> {
        let past = self.order.iter().take_while(|(since, _)| *since <= now).count();
        let crowd = past.saturating_sub(most);
        self.order
            .iter()
            .enumerate()
            .take_while(move |(at, (since, _))| *at < crowd || now.duration_since(*since) > age)
            .map(|(_, entry)| entry)
    }
}
