//! What was written since it was last brought into the table of current objects. Pure: the writer
//! keeps it beside its connection, asks it before the table, and is told what to bring in when.
//!
//! Keys come in any order, and each would dirty a page of the table in every batch: several times the
//! bytes of what is written. Gathered and brought in by the order of the table, a page takes many at once.
//! It is rebuilt from the log when the file is opened.

use crate::decide::{Decision, Group};
use quarterdeck_model::{Key, Revision};
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

/// Keys after which they begin to be brought in: some megabytes of memory.
const KEYS_MAX: usize = 32_768;
/// Changes after which they begin to be brought in, however few their keys: what is read of the log
/// when the file is opened.
const CHANGES_MAX: u64 = 65_536;
/// Fewest keys that are brought in with a batch.
const SLICE_MIN: usize = 64;

/// Changes that the table of current objects does not show yet.
#[derive(Debug)]
pub(super) struct Recent {
    /// The revision that wrote each key's body; none when it was removed.
    keys: BTreeMap<Key, Option<Revision>>,
    /// The newest change.
    head: Revision,
    /// The table shows all changes up to this one.
    folded: Revision,
    /// Keys are being brought in.
    pass: Option<Pass>,
}

/// One way through all keys.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pass {
    /// The newest change when it began: the table shows it when the pass ends.
    goal: Revision,
    /// Where it is.
    after: Option<Key>,
}

/// What is to be brought into the table with the next transaction.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// In the table's order: the revision of each key, or that it is to be removed.
    pub(super) keys: Vec<(Key, Option<Revision>)>,
    /// What the table shows everything up to when these are in it, if that moves.
    pub(super) folded: Option<Revision>,
    pass: Option<Pass>,
}

impl Recent {
    /// Nothing but that the table shows all up to `folded`, the newest change.
    pub(super) fn new(folded: Revision) -> Self {
        Self { keys: BTreeMap::new(), head: folded, folded, pass: None }
    }

    /// The table shows all changes up to this one.
    pub(super) fn folded(&self) -> Revision {
        self.folded
    }

    /// The revision of `key`'s body, or that it has none; nothing when the table is to be asked.
    pub(super) fn get(&self, key: &Key) -> Option<Option<Revision>> {
        self.keys.get(key).copied()
    }

    /// The same of all keys of a group.
    pub(super) fn group<'r>(
        &'r self,
        group: Group<'r>,
    ) -> impl Iterator<Item = (&'r Key, Option<Revision>)> {
        let Group { kind, namespace } = group;
        let first = Key { kind: kind.into(), namespace: namespace.into(), name: "".into() };
        self.keys
            .range(first..)
            .take_while(move |(key, _)| Group::of(key) == group)
            .map(|(key, at)| (key, *at))
    }

    /// Adds a change that is durable.
    pub(super) fn add(&mut self, key: &Key, body_at: Option<Revision>, revision: Revision) {
        self.keys.insert(key.clone(), body_at);
        self.head = self.head.max(revision);
    }

    /// Adds what a batch did, once it is durable.
    pub(super) fn committed(&mut self, decision: &Decision<'_>) {
        for (key, revision) in &decision.put {
            self.add(key, Some(*revision), *revision);
        }
        for key in &decision.removed {
            self.add(key, None, decision.head);
        }
        self.head = decision.head;
    }

    /// What is brought in with a batch of `count` changes: twice as many, so that what is gathered
    /// shrinks while it is brought in.
    pub(super) fn slice(&self, count: usize) -> Slice {
        let due = self.keys.len() >= KEYS_MAX || self.head.0 - self.folded.0 >= CHANGES_MAX;
        if self.pass.is_none() && !due {
            return Slice::default();
        }
        self.any_slice((2 * count).max(SLICE_MIN))
    }

    /// At most `most` keys, whether it is time for them or not.
    pub(super) fn any_slice(&self, most: usize) -> Slice {
        let pass = self.pass.clone().unwrap_or(Pass { goal: self.head, after: None });
        let from = pass.after.as_ref().map_or(Unbounded, Excluded);
        let mut rest = self.keys.range::<Key, _>((from, Unbounded));
        let keys: Vec<_> = rest.by_ref().take(most).map(|(key, at)| (key.clone(), *at)).collect();
        match (rest.next(), keys.last()) {
            (Some(_), Some((last, _))) => {
                let pass = Some(Pass { after: Some(last.clone()), ..pass });
                Slice { keys, folded: None, pass }
            }
            _ => Slice { keys, folded: Some(pass.goal), pass: None },
        }
    }

    /// Forgets what the table shows now. Must follow each slice that was committed, before anything is added.
    pub(super) fn brought_in(&mut self, slice: Slice) {
        for (key, _) in &slice.keys {
            self.keys.remove(key);
        }
        self.folded = slice.folded.unwrap_or(self.folded);
        if !slice.keys.is_empty() || slice.folded.is_some() {
            self.pass = slice.pass;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(name: u16) -> Key {
        Key { kind: "things".into(), namespace: "".into(), name: format!("{name:05}").into() }
    }

    proptest! {
        /// The table with what is recent over it is always the newest state; and the table with the log
        /// after `folded` over it, which is what an open file is rebuilt from, is too.
        #[test]
        fn nothing_is_lost_wherever_it_stops(
            steps in prop::collection::vec((prop::collection::vec((0_u16..40, any::<bool>()), 0..9), 0_usize..12), 0..60),
        ) {
            let (mut table, mut newest) = (BTreeMap::new(), BTreeMap::new());
            let mut log: Vec<(Revision, Key, Option<Revision>)> = Vec::new();
            let mut recent = Recent::new(Revision::ZERO);
            for (changes, most) in steps {
                let slice = if most == 0 { recent.slice(changes.len()) } else { recent.any_slice(most) };
                prop_assert!(slice.keys.len() <= most.max(SLICE_MIN));
                for (key, at) in &slice.keys {
                    match at {
                        Some(at) => { table.insert(key.clone(), *at); }
                        None => { table.remove(key); }
                    }
                }
                recent.brought_in(slice);
                for (name, put) in changes {
                    let revision = Revision(log.len() as u64 + 1);
                    let at = put.then_some(revision);
                    log.push((revision, key(name), at));
                    recent.add(&key(name), at, revision);
                    newest.insert(key(name), at);
                }
                let shown: BTreeMap<Key, Revision> =
                    newest.iter().filter_map(|(key, at)| Some((key.clone(), (*at)?))).collect();
                let mut over = table.clone();
                for name in 0..40 {
                    match recent.get(&key(name)) {
                        Some(Some(at)) => { over.insert(key(name), at); }
                        Some(None) => { over.remove(&key(name)); }
                        None => {}
                    }
                }
                prop_assert_eq!(&over, &shown);
                let mut rebuilt = table.clone();
                for (_, key, at) in log.iter().filter(|(revision, ..)| *revision > recent.folded()) {
                    match at {
                        Some(at) => { rebuilt.insert(key.clone(), *at); }
                        None => { rebuilt.remove(key); }
                    }
                }
                prop_assert_eq!(&rebuilt, &shown);
            }
        }
    }

    #[test]
    fn a_pass_begins_when_it_is_due_and_ends_under_writers() {
        let mut recent = Recent::new(Revision::ZERO);
        let mut revision = Revision::ZERO;
        let mut write = |recent: &mut Recent, name: u16| {
            revision = revision.next();
            recent.add(&key(name), Some(revision), revision);
        };
        assert!(recent.slice(100).keys.is_empty(), "nothing was written");
        for turn in 0..CHANGES_MAX {
            write(&mut recent, (turn % 500) as u16);
        }
        let mut slices = 0;
        while recent.folded() == Revision::ZERO {
            let slice = recent.slice(100);
            assert_eq!(slice.keys.len().min(1), 1);
            recent.brought_in(slice);
            // All of them again and again.
            for name in 0..100 {
                write(&mut recent, name);
            }
            slices += 1;
            assert!(slices <= 6, "each slice brings in 200 of about 500 keys");
        }
        assert_eq!(recent.folded(), Revision(CHANGES_MAX));
        assert!(recent.slice(100).keys.is_empty(), "the next pass is not due");
    }
}
