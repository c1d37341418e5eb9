//! A queue of keys to look at: each at most once in it, none looked at by two workers, failures
//! put back with growing pauses.

use quarterdeck_model::Key;
use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Pause after the first failure; doubles with each further one.
const BACKOFF: Duration = Duration::from_millis(250);
/// Longest pause after failures.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The queue. Shared by workers and by those who find work.
#[derive(Default)]
pub(crate) struct WorkQueue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Key>,
    /// Those in `ready`.
    waiting: HashSet<Key>,
    /// Those a worker looks at now.
    active: HashSet<Key>,
    /// Those to look at again when their worker is done.
    again: HashSet<Key>,
    later: BTreeSet<(Instant, Key)>,
    /// When each in `later` is due, to keep one entry a key.
    due: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
}

impl State {
    fn push(&mut self, key: Key) {
        if self.active.contains(&key) {
            self.again.insert(key);
        } else if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn push_at(&mut self, key: Key, at: Instant) {
        match self.due.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => {
                let later = *later;
                self.later.remove(&(later, key.clone()));
            }
            None => {}
        }
        self.due.insert(key.clone(), at);
        self.later.insert((at, key));
    }

    fn pull_due(&mut self, now: Instant) {
        while let Some((at, _)) = self.later.first() {
            if *at > now {
                break;
            }
            if let Some((_, key)) = self.later.pop_first() {
                self.due.remove(&key);
                self.push(key);
            }
        }
    }
}

impl WorkQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each method leaves the state whole, so a poisoned lock guards a good one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at `key` soon.
    pub(crate) fn add(&self, key: Key) {
        self.state().push(key);
        self.changed.notify_one();
    }

    /// Looks at `key` after a while, or sooner if that was asked before.
    pub(crate) fn add_after(&self, key: Key, after: Duration) {
        self.state().push_at(key, Instant::now() + after);
        self.changed.notify_one();
    }

    /// The next key to look at. Whoever gets it must call [`Self::done`] or [`Self::failed`].
    pub(crate) async fn next(&self) -> Key {
        loop {
            let due = {
                let mut state = self.state();
                state.pull_due(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.waiting.remove(&key);
                    state.active.insert(key.clone());
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.later.first().map(|(at, _)| *at)
            };
            match due {
                Some(at) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Says that the work on `key` went well; looks again after `again`.
    pub(crate) fn done(&self, key: &Key, again: Option<Duration>) {
        let mut state = self.state();
        state.failures.remove(key);
        finish(&mut state, key);
        if let Some(after) = again {
            state.push_at(key.clone(), Instant::now() + after);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Says that the work on `key` failed; looks again after a pause, which is returned.
    pub(crate) fn failed(&self, key: &Key) -> Duration {
        let mut state = self.state();
        let failures = state.failures.entry(key.clone()).or_default();
        let pause = BACKOFF.saturating_mul(1 << (*failures).min(16)).min(BACKOFF_MAX);
        *failures = failures.saturating_add(1);
        finish(&mut state, key);
        state.push_at(key.clone(), Instant::now() + pause);
        drop(state);
        self.changed.notify_one();
        pause
    }
}

fn finish(state: &mut State, key: &Key) {
    state.active.remove(key);
    if state.again.remove(key) {
        state.push(key.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { kind: "servers".into(), namespace: "".into(), name: name.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_looked_at_once_and_again_when_they_changed_meanwhile() {
        let queue = WorkQueue::default();
        queue.add(key("a"));
        queue.add(key("a"));
        let first = queue.next().await;
        queue.add(key("a"));
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err());
        queue.done(&first, None);
        assert_eq!(queue.next().await, key("a"));
        queue.done(&first, None);
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_come_back_later_and_later() {
        let queue = WorkQueue::default();
        queue.add(key("a"));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let key = queue.next().await;
            pauses.push(queue.failed(&key));
        }
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[1]), (BACKOFF, BACKOFF * 2));
        assert_eq!(pauses.last(), Some(&BACKOFF_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_times_counts() {
        let queue = WorkQueue::default();
        let start = Instant::now();
        queue.add_after(key("a"), Duration::from_secs(60));
        queue.add_after(key("a"), Duration::from_secs(5));
        queue.add_after(key("a"), Duration::from_secs(30));
        queue.next().await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}
