//! Who holds a target: one run at a time, others in line behind it. Kept in memory; the runs
//! themselves say in the store which of them had begun, and those line up first after a restart.

use quarterdeck_model::Key;
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Lines are spread over this many locks, so that none spans the fleet.
const SHARDS: usize = 64;

/// All lines.
pub(crate) struct Targets {
    shards: Vec<Mutex<HashMap<Key, Line>>>,
    hasher: RandomState,
}

#[derive(Default)]
struct Line {
    holder: Option<Key>,
    waiting: BTreeMap<u64, (Key, Arc<Notify>)>,
}

/// A place in a line, first or not. Given up when dropped.
pub(crate) struct Place {
    targets: Arc<Targets>,
    target: Key,
    run: Key,
    number: u64,
}

impl Targets {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        })
    }

    fn with<T>(&self, target: &Key, look: impl FnOnce(&mut HashMap<Key, Line>) -> T) -> Option<T> {
        let shard = usize::try_from(self.hasher.hash_one(target) % SHARDS as u64).ok()?;
        let lock: &Mutex<_> = self.shards.get(shard)?;
        // Each change leaves a line whole, so a poisoned lock guards a good map.
        let mut lines: MutexGuard<'_, _> = lock.lock().unwrap_or_else(PoisonError::into_inner);
        Some(look(&mut lines))
    }

    /// Lines up for `target`. Lower numbers come first; `wake` is called when the place may be first.
    pub(crate) fn line_up(
        self: &Arc<Self>,
        target: Key,
        run: Key,
        number: u64,
        wake: Arc<Notify>,
    ) -> Place {
        self.with(&target, |lines| {
            let line = lines.entry(target.clone()).or_default();
            line.waiting.insert(number, (run.clone(), wake));
        });
        Place { targets: self.clone(), target, run, number }
    }
}

impl Place {
    /// Takes the target if nobody holds it and nobody is before this one. Otherwise says behind whom
    /// it waits.
    pub(crate) fn take(&self) -> Result<(), Key> {
        let taken = self.targets.with(&self.target, |lines| {
            let line = lines.entry(self.target.clone()).or_default();
            match &line.holder {
                Some(holder) if *holder == self.run => return Ok(()),
                Some(holder) => return Err(holder.clone()),
                None => {}
            }
            if let Some((number, (first, _))) = line.waiting.first_key_value()
                && *number < self.number
            {
                return Err(first.clone());
            }
            line.waiting.remove(&self.number);
            line.holder = Some(self.run.clone());
            Ok(())
        });
        taken.unwrap_or(Ok(()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.targets.with(&self.target, |lines| {
            let Some(line) = lines.get_mut(&self.target) else { return };
            line.waiting.remove(&self.number);
            if line.holder.as_ref() == Some(&self.run) {
                line.holder = None;
            }
            match line.waiting.first_key_value() {
                Some((_, (_, wake))) => wake.notify_one(),
                None if line.holder.is_none() => {
                    lines.remove(&self.target);
                }
                None => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { kind: "runs".into(), namespace: "default".into(), name: name.into() }
    }

    #[test]
    fn one_holds_and_the_others_follow_in_order() {
        let targets = Targets::new();
        let line_up =
            |name: &str, number| targets.line_up(key("server"), key(name), number, Arc::default());
        let (late, early, middle) = (line_up("late", 3), line_up("early", 1), line_up("middle", 2));
        assert_eq!(late.take(), Err(key("early")));
        assert_eq!(early.take(), Ok(()));
        assert_eq!(early.take(), Ok(()), "it holds it already");
        assert_eq!(middle.take(), Err(key("early")));
        drop(early);
        assert_eq!(late.take(), Err(key("middle")));
        drop(middle);
        assert_eq!(late.take(), Ok(()));
        drop(late);
        assert!(targets.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
