//! When instances on a host that is not heard of are given up, and others take their place. Pure.
//!
//! One silent host is lost. Many at once in one place are more likely a network or a plane that hears nobody, and what
//! they run runs on: to start all of it elsewhere would take the fleet down that is still heard of.

use super::plan::left;
use quarterdeck_model::Time;
use std::{collections::VecDeque, time::Duration};

/// Fewer silent hosts than this are no mass.
const MASS_LEAST: u32 = 3;
/// How long silence of most of a place is waited out: then it is the place that is lost.
const MASS_PATIENCE: Duration = Duration::from_secs(30 * 60);
/// Instances of one rack that are given up in a while, and of one site.
pub(super) const RACK_MOST: usize = 20;
pub(super) const SITE_MOST: usize = 200;
/// That while.
const WINDOW: Duration = Duration::from_secs(60);

/// How many hosts of a place are silent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Silence {
    /// `rack r-17`.
    pub(super) place: String,
    pub(super) silent: u32,
    pub(super) all: u32,
}

impl Silence {
    /// Most of it is silent at once.
    fn is_mass(&self) -> bool {
        self.silent >= MASS_LEAST && self.silent * 2 > self.all
    }
}

/// What is done about an instance on a silent host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is given up.
    Lost,
    /// Not yet.
    Wait(Duration),
    /// Not yet, and why.
    Mass(Duration, String),
}

/// What is done about an instance on a host that has been silent since then.
pub(super) fn verdict(since: Time, after: Duration, places: &[Silence], now: Time) -> Verdict {
    if let Some(wait) = left(since, after, now) {
        return Verdict::Wait(wait);
    }
    let Some(mass) = places.iter().find(|place| place.is_mass()) else { return Verdict::Lost };
    match left(since, after.saturating_add(MASS_PATIENCE), now) {
        None => Verdict::Lost,
        Some(wait) => {
            let Silence { place, silent, all } = mass;
            let why = format!(
                "{silent} of {all} machines of {place} are silent at once; that looks like a network, so nothing is moved \
                 off them for {} minutes more. Delete a Machine, or taint it NoExecute, to move what is on it now",
                wait.as_secs().div_ceil(60)
            );
            Verdict::Mass(wait, why)
        }
    }
}

/// Times at which instances of one place were given up.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<Time>);

impl Rate {
    /// How long until one more may be; none when it may be now.
    pub(super) fn wait(&mut self, most: usize, now: Time) -> Option<Duration> {
        while self.0.front().is_some_and(|first| left(*first, WINDOW, now).is_none()) {
            self.0.pop_front();
        }
        if self.0.len() < most {
            return None;
        }
        self.0.front().and_then(|first| left(*first, WINDOW, now))
    }

    /// Counts one.
    pub(super) fn note(&mut self, now: Time) {
        self.0.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::new(jiff::Timestamp::from_second(seconds).unwrap())
    }

    fn silence(silent: u32, all: u32) -> Silence {
        Silence { place: "rack r-1".into(), silent, all }
    }

    #[test]
    fn one_host_is_lost_after_its_deadline_and_a_whole_place_is_waited_for() {
        let after = Duration::from_secs(300);
        let say = |seconds, places: &[Silence]| verdict(at(0), after, places, at(seconds));
        assert_eq!(say(299, &[silence(1, 40)]), Verdict::Wait(Duration::from_secs(1)));
        assert_eq!(say(300, &[silence(1, 40)]), Verdict::Lost);
        // Two of two may be two machines that failed.
        assert_eq!(say(300, &[silence(2, 2)]), Verdict::Lost);
        assert_eq!(say(300, &[silence(20, 40)]), Verdict::Lost);
        assert!(matches!(say(300, &[silence(1, 40), silence(21, 40)]), Verdict::Mass(..)));
        assert!(matches!(say(2_099, &[silence(21, 40)]), Verdict::Mass(..)));
        assert_eq!(say(2_100, &[silence(21, 40)]), Verdict::Lost);
    }

    #[test]
    fn no_more_than_so_many_of_a_place_are_given_up_in_a_minute() {
        let mut rate = Rate::default();
        for second in 0..3 {
            assert_eq!(rate.wait(3, at(second)), None);
            rate.note(at(second));
        }
        assert_eq!(rate.wait(3, at(10)), Some(Duration::from_secs(50)));
        assert_eq!(rate.wait(3, at(60)), None);
    }
}
