//! One copy of each text that many objects share, which is their namespaces.
//!
//! It only saves memory, so it may forget: it has a fixed size, and keeps those texts that are shared
//! rather than those that were seen last.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

/// Texts it can know, a power of two: a namespace for each of 16,000 teams, in 256 KiB.
const TEXTS_MAX: usize = 1 << 14;
/// Places a text may be in.
const WAYS: usize = 4;
/// Holders of a text that is in use by one object only: the object, and this table.
const UNSHARED: usize = 2;

/// A set of shared texts.
pub(crate) struct Interner {
    texts: Vec<Option<Arc<str>>>,
    seed: RandomState,
}

impl Default for Interner {
    fn default() -> Self {
        Self { texts: Vec::new(), seed: RandomState::new() }
    }
}

impl Interner {
    /// The one copy of `text`, if it is known, else one that will be.
    pub(crate) fn intern(&mut self, text: &str) -> Arc<str> {
        if self.texts.is_empty() {
            self.texts.resize(TEXTS_MAX, None);
        }
        let sets = (TEXTS_MAX / WAYS) as u64;
        let first = usize::try_from(self.seed.hash_one(text) % sets).unwrap_or(0) * WAYS;
        let ways = self.texts.get_mut(first..first + WAYS).unwrap_or_default();
        if let Some(known) = ways.iter().flatten().find(|known| &***known == text) {
            return known.clone();
        }
        let shared: Arc<str> = text.into();
        let loose = |way: &&mut Option<Arc<str>>| {
            way.as_ref().is_none_or(|it| Arc::strong_count(it) <= UNSHARED)
        };
        if let Some(way) = ways.iter_mut().find(loose) {
            *way = Some(shared.clone());
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_texts_stay_when_many_pass_through() {
        let mut interner = Interner::default();
        let users: Vec<Arc<str>> = (0..3).map(|_| interner.intern("production")).collect();
        for number in 0..4 * TEXTS_MAX {
            drop(interner.intern(&format!("serial-{number}")));
        }
        assert!(Arc::ptr_eq(&users[0], &interner.intern("production")));
        assert_eq!(interner.texts.len(), TEXTS_MAX);
    }
}
