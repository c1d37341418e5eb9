//! What befalls many machines at once, with one cause: a rack loses its power, a feed of a hall is away, the switch
//! that a rack's BMCs hang on is. When that is follows from the seed and the place, so that every machine there
//! finds the same. Pure: whoever asks says how long the simulation has run.

use crate::{
    fleet::DOMAIN,
    latency::Delay,
    random::{Dice, name},
};
use std::time::Duration;
use tokio::time::Instant;

const OUTAGE: u64 = 21;
const HOUR: Duration = Duration::from_secs(3_600);

/// What is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The power of a rack: its hosts and its BMCs.
    RackPower,
    /// One of the two power feeds of a hall: the other carries the load.
    PowerFeed,
    /// The switch of a rack's BMCs; its hosts go on.
    BmcSwitch,
}

/// How often that is at one place, and for how long.
struct Rate {
    every: Duration,
    lasts: Delay,
}

impl Cause {
    /// A large cluster of some 1,800 machines loses about one power distribution unit and 20 racks in its first year,
    /// the racks for 1 to 6 hours, and has 8 works on its network (J. Dean, LADIS 2009). How often is assumed far
    /// more, so that 1,000 servers show one within minutes of a demo; how long is assumed shorter likewise.
    const fn rate(self) -> Rate {
        let (hours, median_minutes, most_minutes) = match self {
            Self::RackPower => (72, 30, 360),
            Self::PowerFeed => (96, 60, 360),
            Self::BmcSwitch => (96, 20, 240),
        };
        let minute = 60_000;
        Rate {
            every: HOUR.saturating_mul(hours),
            lasts: Delay::new(median_minutes * minute, 0.7, most_minutes * minute),
        }
    }

    /// Names this cause at a place of a machine: its rack, or the first feed of its hall.
    pub(crate) fn key(self, place: Place<'_>) -> u64 {
        let [feed, _] = place.feeds();
        match self {
            Self::RackPower | Self::BmcSwitch => self.key_of(place.rack),
            Self::PowerFeed => self.key_of(&feed),
        }
    }

    /// Names this cause at the place of that name.
    pub(crate) fn key_of(self, place: &str) -> u64 {
        Dice::of(&[self.number(), name(place)]).any()
    }

    const fn number(self) -> u64 {
        match self {
            Self::RackPower => 1,
            Self::PowerFeed => 2,
            Self::BmcSwitch => 3,
        }
    }
}

/// One time that something was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    /// Tells it from others of this cause at this place; never 0.
    pub(crate) id: u64,
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

impl Outage {
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        (self.from..self.until).contains(&now)
    }

    /// The time in which both are on.
    pub(crate) fn both(self, other: Self) -> Option<Self> {
        let (from, until) = (self.from.max(other.from), self.until.min(other.until));
        (from < until).then_some(Self { id: Dice::of(&[self.id, other.id]).any() | 1, from, until })
    }
}

/// The last one that has begun once the simulation has run for `age`, as times since its beginning. Each stretch of
/// time that is as long as its rate has one.
pub(crate) fn last(
    seed: u64,
    cause: Cause,
    place: &str,
    age: Duration,
) -> Option<(u64, Duration, Duration)> {
    let Rate { every, lasts } = cause.rate();
    let stretch = age.as_millis().checked_div(every.as_millis())?;
    let stretch = u32::try_from(stretch).ok()?;
    let of = |stretch: u32| {
        let id = Dice::of(&[seed, OUTAGE, cause.number(), name(place), u64::from(stretch)]);
        let mut dice = id.clone();
        let room = every.saturating_sub(lasts.most());
        let from = every.saturating_mul(stretch) + room.mul_f64(dice.unit());
        (id.clone().any() | 1, from, from + lasts.draw(&mut dice))
    };
    let before = stretch.checked_sub(1).map(of);
    Some(of(stretch)).filter(|(_, from, _)| *from <= age).or(before)
}

/// Where a machine stands, as the address of its BMC says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// The rack's name.
    pub(crate) rack: &'a str,
    /// The hall, with its site before it.
    pub(crate) hall: &'a str,
}

impl<'a> Place<'a> {
    /// `u07.ams1-a01-02.bmc.example.com` is in rack `ams1-a01-02` of hall `ams1-a`. What is named otherwise is nowhere
    /// that anything befalls.
    pub(crate) fn of(authority: &'a str) -> Option<Self> {
        let rack = authority.split_once('.')?.1.strip_suffix(DOMAIN)?.strip_suffix('.')?;
        Self::of_rack(rack)
    }

    /// The place of a rack of that name.
    pub(crate) fn of_rack(rack: &'a str) -> Option<Self> {
        let (row, _place) = rack.rsplit_once('-')?;
        let hall = row.trim_end_matches(|digit: char| digit.is_ascii_digit());
        (hall.len() < row.len() && hall.contains('-')).then_some(Self { rack, hall })
    }

    /// The feeds that the hall has.
    pub(crate) fn feeds(self) -> [String; 2] {
        [format!("{}-1", self.hall), format!("{}-2", self.hall)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_its_outages_whoever_asks_and_whenever() {
        let day = Duration::from_secs(24 * 3600);
        let of = |place: &str, age| last(3, Cause::RackPower, place, age);
        let mut seen = Vec::new();
        for hour in 0..24 * 90 {
            let found = of("ams1-a01-01", HOUR * hour);
            if let Some(outage) = found
                && seen.last() != Some(&outage)
            {
                seen.push(outage);
            }
        }
        assert!((28..=30).contains(&seen.len()), "one in three days: {}", seen.len());
        for two in seen.windows(2) {
            assert!(two[0].2 < two[1].1, "one ends before the next begins");
            assert_ne!(two[0].0, two[1].0);
        }
        assert_ne!(of("ams1-a01-01", day * 9), of("ams1-a01-02", day * 9));
        assert_eq!(of("ams1-a01-01", Duration::ZERO), None, "nothing has begun yet");
    }

    #[test]
    fn places_are_read_from_addresses() {
        let place = Place::of("u07.ams1-b03-12.bmc.example.com").unwrap();
        assert_eq!((place.rack, place.hall), ("ams1-b03-12", "ams1-b"));
        assert_eq!(place.feeds(), ["ams1-b-1", "ams1-b-2"]);
        for elsewhere in [
            "bmc-1",
            "127.16.0.1:8443",
            "a.b.c",
            "u1.rack-a.bmc.example.com",
            "ams1-n01-u05.bmc.example.com",
        ] {
            assert_eq!(Place::of(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn two_feeds_away_are_away_together_only_while_both_are() {
        let now = Instant::now();
        let at = |from: u32, until: u32| Outage {
            id: 1 + u64::from(from),
            from: now + HOUR * from,
            until: now + HOUR * until,
        };
        let both = at(1, 5).both(at(3, 9)).unwrap();
        assert_eq!((both.from, both.until), (now + HOUR * 3, now + HOUR * 5));
        assert_eq!(at(1, 3).both(at(3, 9)), None);
    }
}
