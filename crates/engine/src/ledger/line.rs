//! Who waits for an answer of the ledger: those who asked, and those who were refused, until what blocked them gives
//! way or it is time to look again. It decides nothing.

use quarterdeck_ledger::Blocker;
use quarterdeck_model::{Key, Time};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::Instant;

/// How many of those who wait are looked at when something gives way, the longest waiting first: mostly there is room
/// for a few. The others come a little later by themselves.
const AT_ONCE: usize = 16;
/// How soon one that was refused is looked at again though nothing that is known gave way.
const AGAIN: Duration = Duration::from_secs(15);
/// As close as two looks may be.
const SOON: Duration = Duration::from_millis(50);

/// A question, by since when it is asked.
type Asked = (Option<Time>, Key);

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Line {
    known: HashMap<Key, Known>,
    /// To be looked at now, the longest waiting first.
    now: BTreeSet<Asked>,
    /// Those who were refused, by what blocks them and by when they are looked at again.
    by_blocker: HashMap<Blocker, BTreeSet<Asked>>,
    later: BTreeSet<(Instant, Key)>,
}

#[derive(Debug)]
struct Known {
    since: Option<Time>,
    /// When to look again, and who blocks, if that is known.
    refused: Option<(Instant, Option<Blocker>)>,
}

impl Line {
    /// Whether anybody is to be looked at now.
    pub(super) fn is_due(&self) -> bool {
        let due = |(at, _): &(Instant, Key)| *at <= Instant::now();
        !self.now.is_empty() || self.later.first().is_some_and(due)
    }

    /// Somebody asks, or asks something else.
    pub(super) fn ask(&mut self, (since, key): Asked) {
        self.forget(&key);
        self.known.insert(key.clone(), Known { since, refused: None });
        self.now.insert((since, key));
    }

    /// Nobody asks that any more.
    pub(super) fn forget(&mut self, key: &Key) {
        self.no_longer_refused(key);
        if let Some(known) = self.known.remove(key) {
            self.now.remove(&(known.since, key.clone()));
        }
    }

    /// Somebody was refused: looked at again when that blocker gives way, or at that time.
    pub(super) fn wait(
        &mut self,
        key: &Key,
        blocker: Option<Blocker>,
        now: Time,
        until: Option<Time>,
    ) {
        self.no_longer_refused(key);
        let Some(known) = self.known.get_mut(key) else { return };
        let left = until.map(|until| until.timestamp().duration_since(now.timestamp()));
        let left = left.and_then(|left| Duration::try_from(left).ok());
        let at = Instant::now() + left.map_or(AGAIN, |left| left.min(AGAIN)).max(SOON);
        known.refused = Some((at, blocker.clone()));
        if let Some(blocker) = blocker {
            self.by_blocker.entry(blocker).or_default().insert((known.since, key.clone()));
        }
        self.later.insert((at, key.clone()));
    }

    fn no_longer_refused(&mut self, key: &Key) {
        let Some(known) = self.known.get_mut(key) else { return };
        let Some((at, blocker)) = known.refused.take() else { return };
        self.later.remove(&(at, key.clone()));
        if let Some(blocker) = blocker
            && let Some(line) = self.by_blocker.get_mut(&blocker)
        {
            line.remove(&(known.since, key.clone()));
            if line.is_empty() {
                self.by_blocker.remove(&blocker);
            }
        }
    }

    /// What some wait for gave way.
    pub(super) fn gave_way(&mut self, blocker: &Blocker) {
        let Some(line) = self.by_blocker.get(blocker) else { return };
        let first: Vec<Asked> = line.iter().take(AT_ONCE).cloned().collect();
        for asked in first {
            self.no_longer_refused(&asked.1);
            self.now.insert(asked);
        }
    }

    /// Those to look at now, in order; at most so many.
    pub(super) fn next(&mut self, most: usize) -> Vec<Key> {
        let time = Instant::now();
        while let Some((_, key)) = self.later.first().filter(|(at, _)| *at <= time).cloned() {
            self.no_longer_refused(&key);
            let since = self.known.get(&key).and_then(|known| known.since);
            self.now.insert((since, key));
        }
        let count = most.min(self.now.len());
        (0..count).filter_map(|_| self.now.pop_first()).map(|(_, key)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn key(name: &str) -> Key {
        Key { kind: "permits".into(), namespace: "n".into(), name: name.into() }
    }

    fn at(second: i64) -> Time {
        Time::new(jiff::Timestamp::from_second(second).unwrap())
    }

    fn names(keys: Vec<Key>) -> Vec<String> {
        keys.iter().map(|key| key.name.to_string()).collect()
    }

    const ONE: Blocker = Blocker::Service(1);
    const OTHER: Blocker = Blocker::Service(2);

    #[tokio::test(start_paused = true)]
    async fn the_longest_waiting_go_first_and_so_many_at_once() {
        let mut line = Line::default();
        assert!(!line.is_due());
        for (name, since) in [("c", 3), ("a", 1), ("b", 2)] {
            line.ask((Some(at(since)), key(name)));
        }
        assert!(line.is_due());
        assert_eq!(names(line.next(2)), ["a", "b"]);
        assert_eq!(names(line.next(2)), ["c"]);
        assert!(!line.is_due());
    }

    #[tokio::test(start_paused = true)]
    async fn the_refused_come_back_when_what_blocks_gives_way_or_after_a_while() {
        let mut line = Line::default();
        for (name, since) in [("late", 9), ("early", 1)] {
            line.ask((Some(at(since)), key(name)));
        }
        line.ask((Some(at(5)), key("other")));
        line.next(9);
        for (name, of) in [("late", ONE), ("early", ONE), ("other", OTHER)] {
            line.wait(&key(name), Some(of), at(10), None);
        }
        assert!(!line.is_due());
        line.gave_way(&ONE);
        assert_eq!(names(line.next(9)), ["early", "late"]);
        line.wait(&key("late"), Some(OTHER), at(10), Some(at(12)));
        line.forget(&key("early"));
        advance(Duration::from_secs(2)).await;
        assert_eq!(
            names(line.next(9)),
            ["late"],
            "its time has come, and that of the other has not"
        );
        line.forget(&key("late"));
        advance(AGAIN).await;
        assert_eq!(names(line.next(9)), ["other"]);
        line.forget(&key("other"));
        line.gave_way(&OTHER);
        assert!(!line.is_due() && line.known.is_empty() && line.by_blocker.is_empty());
        assert!(line.later.is_empty() && line.now.is_empty());
    }
}
