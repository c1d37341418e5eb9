//! What the log says after the revision that the table of latest revisions shows everything up to. Pure:
//! the pipeline asks it before the table, and tells it what was committed and what was brought in.
//!
//! Writers only append to the log. Each key that changed would otherwise cost its row in the table with each
//! commit, as much as the log itself; gathered and brought in by many (`fold`), one that changes often costs it
//! once, and each page of the table is written once.

use quarterdeck_model::{Key, Revision};
use std::collections::HashMap;

/// Changes after which it is time to bring them in: what each plane reads of the log when it begins, some
/// megabytes of memory.
pub(super) const CHANGES_MAX: u64 = 131_072;
/// So many times as many changes, and no more are taken before some are brought in: bounds the memory.
const LIMIT: u64 = 4;

/// The newest change of each key that changed in `(folded, head]`.
#[derive(Debug)]
pub(super) struct Recent {
    keys: HashMap<Key, Last>,
    folded: Revision,
    head: Revision,
}

/// The newest change of a key.
#[derive(Debug, Clone, Copy)]
struct Last {
    revision: Revision,
    removed: bool,
}

impl Recent {
    /// Nothing but that the table shows all up to `folded`.
    pub(super) fn new(folded: Revision) -> Self {
        Self { keys: HashMap::new(), folded, head: folded }
    }

    /// The newest change that is known.
    pub(super) fn head(&self) -> Revision {
        self.head
    }

    /// The revision of `key`'s body, or that it has none; nothing when the table is to be asked.
    pub(super) fn get(&self, key: &Key) -> Option<Option<Revision>> {
        self.keys.get(key).map(|last| (!last.removed).then_some(last.revision))
    }

    /// Adds a change. They come in order of revision.
    pub(super) fn add(&mut self, key: Key, revision: Revision, removed: bool) {
        self.keys.insert(key, Last { revision, removed });
        self.head = self.head.max(revision);
    }

    /// Up to where it is time to bring changes into the table, when that is after `most` of them.
    pub(super) fn due(&self, most: u64) -> Option<Revision> {
        (self.head.0.saturating_sub(self.folded.0) >= most).then_some(self.head)
    }

    /// Up to where they must be brought in before there are more.
    pub(super) fn overdue(&self, most: u64) -> Option<Revision> {
        self.due(most.saturating_mul(LIMIT))
    }

    /// Forgets what the table shows now.
    pub(super) fn brought_in(&mut self, upto: Revision) {
        if upto > self.folded {
            self.folded = upto;
            self.head = self.head.max(upto);
            self.keys.retain(|_, last| last.revision > upto);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(name: u16) -> Key {
        Key { kind: "things".into(), namespace: "".into(), name: format!("{name:05}").into() }
    }

    proptest! {
        /// The table as of `folded` with what is recent over it is always the newest state, whenever
        /// and however far changes are brought in.
        #[test]
        fn the_table_and_what_is_recent_are_the_newest_state(
            steps in prop::collection::vec((0_u16..20, any::<bool>(), prop::option::weighted(0.2, 0_u64..60)), 0..80),
        ) {
            let mut log: Vec<(Key, Option<Revision>)> = Vec::new();
            let as_of = |log: &[(Key, Option<Revision>)]| {
                let mut state = BTreeMap::new();
                for (key, at) in log {
                    match at {
                        Some(at) => state.insert(key.clone(), *at),
                        None => state.remove(key),
                    };
                }
                state
            };
            let mut recent = Recent::new(Revision::ZERO);
            let mut folded = 0;
            for (name, removed, fold) in steps {
                let revision = Revision(log.len() as u64 + 1);
                log.push((key(name), (!removed).then_some(revision)));
                recent.add(key(name), revision, removed);
                if let Some(upto) = fold.map(|upto| upto.min(revision.0)) {
                    recent.brought_in(Revision(upto));
                    folded = upto.max(folded);
                }
                prop_assert_eq!(recent.head(), revision);
                let table = as_of(log.get(..folded as usize).unwrap_or_default());
                let newest = as_of(&log);
                for name in 0..20 {
                    let key = key(name);
                    let seen = recent.get(&key).unwrap_or_else(|| table.get(&key).copied());
                    prop_assert_eq!(seen, newest.get(&key).copied());
                }
            }
        }
    }

    #[test]
    fn changes_are_due_by_their_number_and_stop_at_a_limit() {
        let mut recent = Recent::new(Revision(10));
        recent.add(key(1), Revision(109), false);
        assert_eq!(recent.due(100), None);
        recent.add(key(1), Revision(110), false);
        assert_eq!((recent.due(100), recent.overdue(100)), (Some(Revision(110)), None));
        recent.add(key(2), Revision(410), true);
        assert_eq!(recent.overdue(100), Some(Revision(410)));
        recent.brought_in(Revision(110));
        assert_eq!((recent.due(100), recent.overdue(100)), (Some(Revision(410)), None));
        assert_eq!((recent.get(&key(1)), recent.get(&key(2))), (None, Some(None)));
    }
}
