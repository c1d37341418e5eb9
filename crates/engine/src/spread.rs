//! A map by key, spread over several locks, so that none spans the fleet.

use quarterdeck_model::Key;
use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many locks. Two keys share one rarely enough that nobody waits.
const PARTS: u64 = 64;

/// The map.
pub(crate) struct Spread<V> {
    parts: Vec<Mutex<HashMap<Key, V>>>,
    hasher: RandomState,
}

impl<V> Default for Spread<V> {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { parts, hasher: RandomState::new() }
    }
}

impl<V> Spread<V> {
    /// Looks at the part of the map that `key` is in.
    pub(crate) fn with<T>(&self, key: &Key, look: impl FnOnce(&mut HashMap<Key, V>) -> T) -> T {
        let at = usize::try_from(self.hasher.hash_one(key) % PARTS).unwrap_or(0);
        #[expect(clippy::indexing_slicing, reason = "there are PARTS of them")]
        look(&mut open(&self.parts[at]))
    }

    /// Looks at every value, one part after the other.
    pub(crate) fn each(&self, mut look: impl FnMut(&V)) {
        for part in &self.parts {
            open(part).values().for_each(&mut look);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| open(part).is_empty())
    }
}

/// Each change leaves a map whole, so a poisoned lock guards a good one.
fn open<V>(part: &Mutex<HashMap<Key, V>>) -> MutexGuard<'_, HashMap<Key, V>> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
