//! Maintenance windows: times of the week at which something may be disturbed, by the clock of a place. Pure.

use crate::{Duration, FieldError, FieldErrors, Time};
use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, Time as ClockTime, Weekday},
    tz::TimeZone,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest window: the next day has its own.
const HOURS_MAX: i64 = 24;
/// How far ahead the next window is looked for: each day of the week comes once, and one may be skipped by a clock
/// that is put forward.
const DAYS_AHEAD: i64 = 15;

/// A time of the week.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// Days on which it begins; every day, when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub days: Vec<Day>,
    /// When it begins, as `22:30`. On a day without that time, as when clocks are put forward, it begins that much
    /// later.
    pub start: String,
    /// How long it lasts, at most 24h.
    pub duration: Duration,
    /// Whose clock is meant, such as `Europe/Berlin`; UTC, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    const fn of(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

impl MaintenanceWindow {
    /// Whether it is open at `now`. One that cannot be read never is.
    #[must_use]
    pub fn is_open(&self, now: Time) -> bool {
        // It may have begun yesterday.
        self.openings(now, -1)
            .take(3)
            .any(|(from, to)| from <= now.timestamp() && now.timestamp() < to)
    }

    /// When it opens next after `now`.
    #[must_use]
    pub fn next(&self, now: Time) -> Option<Time> {
        self.openings(now, 0)
            .map(|(from, _)| from)
            .find(|from| *from > now.timestamp())
            .map(Time::new)
    }

    /// Its times from some days after `now` on, first to last.
    fn openings(&self, now: Time, first: i64) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let read = self.zone().zip(self.clock());
        let length =
            SignedDuration::try_from(self.duration.as_std()).unwrap_or(SignedDuration::ZERO);
        read.into_iter().flat_map(move |(zone, clock)| {
            let today = now.timestamp().to_zoned(zone.clone()).date();
            let days =
                (first..=DAYS_AHEAD).filter_map(move |ahead| today.checked_add(ahead.days()).ok());
            days.filter(|day| self.is_on(*day)).filter_map(move |day| {
                let from = day.to_datetime(clock).to_zoned(zone.clone()).ok()?.timestamp();
                Some((from, from.saturating_add(length).ok()?))
            })
        })
    }

    fn is_on(&self, day: Date) -> bool {
        self.days.is_empty() || self.days.contains(&Day::of(day.weekday()))
    }

    fn zone(&self) -> Option<TimeZone> {
        self.time_zone.as_ref().map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok())
    }

    fn clock(&self) -> Option<ClockTime> {
        let (hour, minute) = self.start.split_once(':')?;
        let two = |text: &str| (text.len() == 2).then(|| text.parse::<i8>().ok()).flatten();
        ClockTime::new(two(hour)?, two(minute)?, 0, 0).ok()
    }

    /// Finds what is wrong with it.
    pub fn validate(&self, path: &str, errors: &mut FieldErrors) {
        if self.clock().is_none() {
            let start = format!("{:?}", self.start);
            let why = "must be a time of the day, such as 22:30";
            errors.push(FieldError::invalid(format!("{path}.start"), start, why));
        }
        let length = self.duration.as_std();
        if length.is_zero() || length > std::time::Duration::from_hours(HOURS_MAX.unsigned_abs()) {
            let why = format!("must be more than nothing and at most {HOURS_MAX}h");
            errors.push(FieldError::invalid(format!("{path}.duration"), self.duration, why));
        }
        if self.zone().is_none() {
            let zone = format!("{:?}", self.time_zone.as_deref().unwrap_or_default());
            let why = "must be the name of a time zone, such as Europe/Berlin";
            errors.push(FieldError::invalid(format!("{path}.timeZone"), zone, why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn window(value: Value) -> MaintenanceWindow {
        serde_json::from_value(value).unwrap()
    }

    fn time(text: &str) -> Time {
        Time::new(text.parse().unwrap())
    }

    #[test]
    fn a_window_is_open_by_the_clock_of_its_place() {
        let nights = window(json!({"days": ["Mon", "Tue"], "start": "22:30", "duration": "4h",
                                   "timeZone": "Europe/Berlin"}));
        // 2 November 2026 is a Monday; Berlin is an hour ahead of UTC in winter.
        for (now, open, next) in [
            ("2026-11-02T21:29:59Z", false, "2026-11-02T21:30:00Z"),
            ("2026-11-02T21:30:00Z", true, "2026-11-03T21:30:00Z"),
            ("2026-11-03T01:29:59Z", true, "2026-11-03T21:30:00Z"),
            ("2026-11-03T01:30:00Z", false, "2026-11-03T21:30:00Z"),
            ("2026-11-04T01:00:00Z", true, "2026-11-09T21:30:00Z"),
            ("2026-11-05T22:00:00Z", false, "2026-11-09T21:30:00Z"),
            // In summer it is two.
            ("2026-07-06T20:30:00Z", true, "2026-07-07T20:30:00Z"),
        ] {
            assert_eq!(nights.is_open(time(now)), open, "{now}");
            assert_eq!(nights.next(time(now)), Some(time(next)), "{now}");
        }
    }

    #[test]
    fn a_clock_that_is_put_forward_skips_no_window() {
        let early =
            window(json!({"start": "02:30", "duration": "30m", "timeZone": "Europe/Berlin"}));
        // On 29 March 2026 there is no 02:30 in Berlin: 02:00 is followed by 03:00.
        assert_eq!(early.next(time("2026-03-29T00:00:00Z")), Some(time("2026-03-29T01:30:00Z")));
        assert!(early.is_open(time("2026-03-29T01:45:00Z")), "at 03:45 there");
        // On 25 October there are two; it is open at the first.
        assert_eq!(early.next(time("2026-10-25T00:00:00Z")), Some(time("2026-10-25T00:30:00Z")));
        assert!(!early.is_open(time("2026-10-25T01:30:00Z")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |value: Value| {
            let mut errors = FieldErrors::new();
            window(value).validate("w", &mut errors);
            errors.iter().map(|error| error.field.clone()).collect::<Vec<_>>()
        };
        assert_eq!(wrong(json!({"start": "00:00", "duration": "24h"})), [""; 0]);
        assert_eq!(wrong(json!({"start": "24:00", "duration": "1h"})), ["w.start"]);
        assert_eq!(wrong(json!({"start": "9:00", "duration": "1h"})), ["w.start"]);
        assert_eq!(wrong(json!({"start": "09:00", "duration": "0s"})), ["w.duration"]);
        assert_eq!(wrong(json!({"start": "09:00", "duration": "25h"})), ["w.duration"]);
        let mars = json!({"start": "09:00", "duration": "1h", "timeZone": "Mars/Olympus"});
        assert_eq!(wrong(mars.clone()), ["w.timeZone"]);
        assert!(!window(mars).is_open(time("2026-11-02T09:30:00Z")));
    }

    proptest! {
        /// It is open from the time that is said to be next, and as long as it lasts.
        #[test]
        fn next_is_when_it_opens(second in 1_700_000_000_i64..1_900_000_000, hour in 0..24, hours in 1_u64..24) {
            let window = window(json!({"days": ["Sat", "Wed"], "start": format!("{hour:02}:15"),
                                       "duration": format!("{hours}h"), "timeZone": "America/New_York"}));
            let now = Time::new(Timestamp::from_second(second).unwrap());
            let next = window.next(now).unwrap();
            prop_assert!(next > now);
            prop_assert!(window.is_open(next));
            let second = SignedDuration::from_secs(1);
            let last = next.timestamp() + SignedDuration::from_hours(i64::try_from(hours).unwrap()) - second;
            prop_assert!(window.is_open(Time::new(last)));
        }

        #[test]
        fn any_text_is_read_without_panic(start in "\\PC{0,8}", zone in "\\PC{0,20}", second in any::<i32>()) {
            let window = MaintenanceWindow { start, time_zone: Some(zone), ..MaintenanceWindow::default() };
            let now = Time::new(Timestamp::from_second(i64::from(second)).unwrap());
            let _ = (window.is_open(now), window.next(now));
        }
    }
}
