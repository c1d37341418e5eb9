//! Turns to look at parts: what one cluster that answers slowly takes of the workers that all clusters share, and who is next.
//! Whoever gets no turn has a place in its cluster's line, is told when it is next, and asks again by itself now and then.
//! Pure, but for the lock around it: times are passed in.

use super::locked;
use quarterdeck_model::Key;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Parts that are looked at in a cluster at once.
const LOOKS_MAX: usize = 4;
/// Parts that are looked at at once in all clusters while each may have as many as that: half of the workers. When more are, each
/// further one is the only one of its cluster, so that however many clusters are slow, the others get their turns.
const SHARED_MAX: usize = 16;
/// Whoever has not asked for so long does not wait any more: three times as long as those wait who ask again.
const PATIENCE: Duration = Duration::from_secs(15);

/// The lines of all clusters.
#[derive(Default)]
struct Lines {
    clusters: HashMap<Key, Line>,
    taken: usize,
}

#[derive(Default)]
struct Line {
    taken: usize,
    /// Parts, and when each asked last, in the order in which they began to wait.
    waiting: Vec<(Key, Instant)>,
}

impl Lines {
    /// How many more may be looked at in a cluster now.
    fn free(&self, line: &Line) -> usize {
        let most = if self.taken < SHARED_MAX { LOOKS_MAX } else { 1 };
        most.saturating_sub(line.taken)
    }

    /// Takes a turn, unless as many as may are taken or others wait for longer.
    fn take(&mut self, cluster: &Key, part: &Key, now: Instant) -> bool {
        let mut line = self.clusters.remove(cluster).unwrap_or_default();
        line.waiting.retain(|(it, asked)| it == part || now.duration_since(*asked) < PATIENCE);
        let place = line.waiting.iter().position(|(it, _)| it == part);
        let place = place.unwrap_or_else(|| {
            line.waiting.push((part.clone(), now));
            line.waiting.len() - 1
        });
        let taken = place < self.free(&line);
        if taken {
            line.waiting.remove(place);
            line.taken += 1;
            self.taken += 1;
        } else if let Some((_, asked)) = line.waiting.get_mut(place) {
            *asked = now;
        }
        self.clusters.insert(cluster.clone(), line);
        taken
    }

    fn give_back(&mut self, cluster: &Key) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(line) = self.clusters.get_mut(cluster) {
            line.taken = line.taken.saturating_sub(1);
        }
        self.tidy(cluster);
    }

    /// It waits no more.
    fn leave(&mut self, cluster: &Key, part: &Key) {
        if let Some(line) = self.clusters.get_mut(cluster) {
            line.waiting.retain(|(it, _)| it != part);
        }
        self.tidy(cluster);
    }

    /// Keeps nothing of a cluster in which nobody looks or waits.
    fn tidy(&mut self, cluster: &Key) {
        let none = |line: &Line| line.taken == 0 && line.waiting.is_empty();
        if self.clusters.get(cluster).is_some_and(none) {
            self.clusters.remove(cluster);
        }
    }

    /// Those who would get a turn if they asked now.
    fn next(&self, cluster: &Key) -> Vec<Key> {
        let Some(line) = self.clusters.get(cluster) else { return Vec::new() };
        line.waiting.iter().take(self.free(line)).map(|(part, _)| part.clone()).collect()
    }
}

/// All turns there are, and who is told that it is next.
#[derive(Clone)]
pub(super) struct Turns {
    lines: Arc<Mutex<Lines>>,
    tell: Arc<dyn Fn(Key) + Send + Sync>,
}

/// A turn, given back when it is dropped.
pub(super) struct Turn {
    turns: Turns,
    cluster: Key,
}

impl Turns {
    pub(super) fn new(tell: impl Fn(Key) + Send + Sync + 'static) -> Self {
        Self { lines: Arc::default(), tell: Arc::new(tell) }
    }

    /// A turn to look at a part; none, while that has to wait.
    pub(super) fn take(&self, cluster: &Key, part: &Key) -> Option<Turn> {
        let taken = locked(&self.lines).take(cluster, part, Instant::now());
        taken.then(|| Turn { turns: self.clone(), cluster: cluster.clone() })
    }

    /// A part that waits no more, as it is not there any more.
    pub(super) fn leave(&self, cluster: &Key, part: &Key) {
        self.change(cluster, |lines| lines.leave(cluster, part));
    }

    fn change(&self, cluster: &Key, change: impl FnOnce(&mut Lines)) {
        let next = {
            let mut lines = locked(&self.lines);
            change(&mut lines);
            lines.next(cluster)
        };
        next.into_iter().for_each(|part| (self.tell)(part));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.change(&self.cluster, |lines| lines.give_back(&self.cluster));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::cluster_key, super::part_key, *};
    use quarterdeck_model::Key;

    fn cluster(number: usize) -> Key {
        cluster_key("a", &format!("c{number}"))
    }

    fn part(of: &Key, number: usize) -> Key {
        part_key(of, &format!("w{number}"))
    }

    #[test]
    fn whoever_waits_longest_is_next_and_is_told() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let turns = Turns::new({
            let told = told.clone();
            move |part| told.lock().unwrap().push(part)
        });
        let one = cluster(1);
        let take = |number: usize| turns.take(&one, &part(&one, number));
        let mut taken: Vec<Turn> = (0..LOOKS_MAX).filter_map(take).collect();
        assert_eq!(taken.len(), LOOKS_MAX);
        let (first, second) = (LOOKS_MAX, LOOKS_MAX + 1);
        assert!(take(first).is_none() && take(second).is_none());
        drop(taken.pop());
        assert_eq!(std::mem::take(&mut *told.lock().unwrap()), [part(&one, first)]);
        assert!(take(second).is_none(), "another waits for longer");
        assert!(take(0).is_none(), "who had a turn a moment ago is behind them");
        taken.extend(take(first));
        assert_eq!(taken.len(), LOOKS_MAX);
        // One that is not there any more lets the others by.
        turns.leave(&one, &part(&one, second));
        drop(taken.pop());
        assert_eq!(*told.lock().unwrap(), [part(&one, 0)]);
        assert!(take(0).is_some());
        drop(taken);
        assert!(locked(&turns.lines).clusters.is_empty(), "nothing is kept");
    }

    #[test]
    fn who_does_not_ask_any_more_holds_up_nobody_for_ever() {
        let (mut lines, now, one) = (Lines::default(), Instant::now(), cluster(1));
        for number in 0..LOOKS_MAX + 2 {
            assert_eq!(lines.take(&one, &part(&one, number), now), number < LOOKS_MAX);
        }
        lines.give_back(&one);
        let later = now + PATIENCE / 2;
        assert!(!lines.take(&one, &part(&one, LOOKS_MAX + 1), later));
        assert!(lines.take(&one, &part(&one, LOOKS_MAX + 1), now + PATIENCE));
    }

    #[test]
    fn however_many_clusters_are_slow_the_others_get_a_turn() {
        let (mut lines, now) = (Lines::default(), Instant::now());
        let slow = 10;
        for number in 0..slow {
            let cluster = cluster(number);
            for number in 0..100 {
                lines.take(&cluster, &part(&cluster, number), now);
            }
        }
        assert_eq!(lines.taken, SHARED_MAX + slow - SHARED_MAX / LOOKS_MAX);
        let other = cluster(slow);
        assert!(lines.take(&other, &part(&other, 0), now));
        assert!(!lines.take(&other, &part(&other, 1), now));
        // Once some are less slow it may have more.
        for _ in 0..LOOKS_MAX {
            lines.give_back(&cluster(0));
            lines.give_back(&cluster(1));
        }
        assert!(lines.take(&other, &part(&other, 1), now));
    }
}
