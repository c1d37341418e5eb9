//! Who holds a target: one run at a time, others in line behind it. Kept in memory; the runs
//! themselves say in the store which of them had begun and since when the others wait, so that the
//! line is the same after a restart.

use crate::{
    planted::{self, Planted},
    spread::Spread,
};
use quarterdeck_model::Key;
use std::{collections::BTreeMap, ops::Bound, sync::Arc};
use tokio::sync::Notify;

/// All lines.
#[derive(Default)]
pub(crate) struct Targets {
    lines: Spread<Line>,
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// It had begun before this replica took over: it held the target.
    Begun,
    /// It cancels whoever holds the target.
    Forced,
    /// Everybody else.
    Usual,
}

/// A place in order: lower ones come first.
type Rank = (Class, u64);

#[derive(Default)]
struct Line {
    holder: Option<Key>,
    waiting: BTreeMap<Rank, (Key, Arc<Notify>)>,
}

/// A place in a line, first or not. Given up when dropped.
pub(crate) struct Place {
    targets: Arc<Targets>,
    target: Key,
    run: Key,
    rank: Rank,
}

/// Whom a run waits for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// The run just before it.
    pub(crate) ahead: Key,
    /// The run that holds the target.
    pub(crate) holder: Option<Key>,
}

impl Line {
    /// Wakes who waits next after `rank`: somebody before it came or went.
    fn wake_after(&self, rank: Rank) {
        if let Some((_, (_, wake))) =
            self.waiting.range((Bound::Excluded(rank), Bound::Unbounded)).next()
        {
            wake.notify_one();
        }
    }
}

impl Targets {
    /// Lines up for `target`, behind those of lower rank. `wake` is called when something changes
    /// just before the place.
    pub(crate) fn line_up(
        self: &Arc<Self>,
        target: Key,
        run: Key,
        rank: Rank,
        wake: Arc<Notify>,
    ) -> Place {
        self.lines.with(&target, |lines| {
            let line = lines.entry(target.clone()).or_default();
            line.waiting.insert(rank, (run.clone(), wake));
            line.wake_after(rank);
        });
        Place { targets: self.clone(), target, run, rank }
    }
}

impl Place {
    /// Takes the target if nobody holds it and nobody is before this one. Otherwise says behind whom
    /// it waits. `forced`: goes before those that are not.
    pub(crate) fn take(&mut self, forced: bool) -> Result<(), Behind> {
        let Self { targets, target, run, rank } = self;
        targets.lines.with(target, |lines| {
            let line = lines.entry(target.clone()).or_default();
            if line.holder.as_ref() == Some(run) {
                return Ok(());
            }
            let class = match (rank.0, forced) {
                (Class::Begun, _) => Class::Begun,
                (_, true) => Class::Forced,
                (_, false) => Class::Usual,
            };
            if class != rank.0
                && let Some(own) = line.waiting.remove(rank)
            {
                line.wake_after(*rank);
                rank.0 = class;
                line.waiting.insert(*rank, own);
                line.wake_after(*rank);
            }
            let before = line.waiting.range(..*rank).next_back().map(|(_, (run, _))| run.clone());
            match before.or_else(|| line.holder.clone()) {
                Some(ahead) if !planted::is(Planted::TwoRunsOnATarget) => {
                    Err(Behind { ahead, holder: line.holder.clone() })
                }
                _ => {
                    line.waiting.remove(rank);
                    line.holder = Some(run.clone());
                    Ok(())
                }
            }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.targets.lines.with(&self.target, |lines| {
            let Some(line) = lines.get_mut(&self.target) else { return };
            if line.holder.as_ref() == Some(&self.run) {
                line.holder = None;
                if let Some((_, (_, wake))) = line.waiting.first_key_value() {
                    wake.notify_one();
                }
            } else {
                line.waiting.remove(&self.rank);
                line.wake_after(self.rank);
            }
            if line.holder.is_none() && line.waiting.is_empty() {
                lines.remove(&self.target);
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

    fn behind(ahead: &str, holder: Option<&str>) -> Result<(), Behind> {
        Err(Behind { ahead: key(ahead), holder: holder.map(key) })
    }

    #[test]
    fn one_holds_and_the_others_follow_in_order() {
        let targets = Arc::<Targets>::default();
        let line_up = |name: &str, number| {
            let rank = (Class::Usual, number);
            targets.line_up(key("server"), key(name), rank, Arc::default())
        };
        let (mut late, mut early, mut middle) =
            (line_up("late", 3), line_up("early", 1), line_up("middle", 2));
        assert_eq!(late.take(false), behind("middle", None));
        assert_eq!(early.take(false), Ok(()));
        assert_eq!(early.take(false), Ok(()), "it holds it already");
        assert_eq!(middle.take(false), behind("early", Some("early")));
        assert_eq!(late.take(false), behind("middle", Some("early")));
        drop(middle);
        assert_eq!(late.take(false), behind("early", Some("early")));
        drop(early);
        assert_eq!(late.take(false), Ok(()));
        drop(late);
        assert!(targets.lines.is_empty());
    }

    #[test]
    fn who_begun_goes_first_then_who_is_forced() {
        let targets = Arc::<Targets>::default();
        let line_up =
            |name: &str, rank| targets.line_up(key("server"), key(name), rank, Arc::default());
        let mut usual = line_up("usual", (Class::Usual, 1));
        let mut forced = line_up("forced", (Class::Usual, 2));
        let mut begun = line_up("begun", (Class::Begun, 3));
        assert_eq!(begun.take(false), Ok(()));
        assert_eq!(forced.take(false), behind("usual", Some("begun")));
        assert_eq!(forced.take(true), behind("begun", Some("begun")));
        assert_eq!(usual.take(false), behind("forced", Some("begun")));
        drop(begun);
        assert_eq!(usual.take(false), behind("forced", None));
        assert_eq!(forced.take(true), Ok(()));
    }

    #[tokio::test]
    async fn only_the_next_is_woken() {
        let targets = Arc::<Targets>::default();
        let wakes: Vec<Arc<Notify>> = (0..3).map(|_| Arc::default()).collect();
        let woken = |at: usize| {
            let wake = wakes[at].clone();
            async move { tokio::time::timeout(std::time::Duration::ZERO, wake.notified()).await.is_ok() }
        };
        let mut places: Vec<Place> = (0..3_u64)
            .map(|at| {
                let rank = (Class::Usual, at);
                let wake = wakes[usize::try_from(at).unwrap()].clone();
                targets.line_up(key("server"), key(&at.to_string()), rank, wake)
            })
            .collect();
        assert_eq!(places[0].take(false), Ok(()));
        assert!(!woken(1).await && !woken(2).await);
        drop(places.remove(0));
        assert!(woken(1).await);
        assert!(!woken(2).await, "it still waits behind the same run");
    }
}
