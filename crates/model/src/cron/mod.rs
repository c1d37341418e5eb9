//! Cron expressions, as Kubernetes reads them for a CronJob: which minutes one names ([`Cron::parse`]), and when
//! the next of them comes in a time zone ([`Cron::next`], [`Cron::latest`]). Pure: it never asks what time it is.
//!
//! A time of day that a clock change leaves out does not come on that day; one that is there twice comes twice.
//! Source: `robfig/cron` v3, which Kubernetes uses; crontab(5) for the fields.

mod fields;

use fields::Field;
use jiff::{
    SignedDuration, Timestamp, ToSpan as _,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

/// Longest expression: lists of all minutes are shorter.
const BYTES_MAX: usize = 512;
/// How far ahead a day is looked for: the 29th of February comes every four years, but for 1900, 2100 and
/// their like.
const DAYS_MAX: u32 = 9 * 366;
/// Most clock changes in that time: Morocco has four a year.
const CHANGES_MAX: usize = 64;

/// What short names stand for.
const NAMED: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A cron expression: minutes that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it and what is expected, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("must have at most {BYTES_MAX} bytes"));
        }
        let text = text.trim();
        if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
            return Err("must not name a time zone; use spec.timeZone".into());
        }
        let named = NAMED.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        if text.starts_with('@') && named.is_none() {
            let names = NAMED.map(|(name, _)| name).join(", ");
            return Err(format!("there is no such name; there are {names}"));
        }
        let five = named.map_or(text, |(_, five)| five);
        let parts: Vec<&str> = five.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            return Err(format!(
                "has {} fields; write five: minute, hour, day of the month, month, day of the week, such as \
                 \"30 2 * * sat\", or a name such as @daily",
                parts.len()
            ));
        };
        Ok(Self {
            minutes: fields::MINUTE.parse(minutes)?,
            hours: fields::HOUR.parse(hours)?,
            days: fields::DAY.parse(days)?,
            months: fields::MONTH.parse(months)?,
            weekdays: fields::WEEKDAY.parse(weekdays)?,
        })
    }

    /// The first minute after `after` that it names, by the clocks of `zone`; none when there is none for years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = after.checked_add(SignedDuration::from_nanos(1)).ok()?;
        // Between two changes of the clocks, the time of day and the time go on alike.
        for _ in 0..CHANGES_MAX {
            let offset = zone.to_offset(from);
            let change = zone.following(from).next().map(|change| change.timestamp());
            let last = change.map(|change| offset.to_datetime(change).date());
            let found = self.first(offset.to_datetime(from), last);
            let found = found.and_then(|found| offset.to_timestamp(found).ok());
            match (found, change) {
                (Some(found), None) => return Some(found),
                (Some(found), Some(change)) if found < change => return Some(found),
                (None, None) => return None,
                (_, Some(change)) => from = change,
            }
        }
        None
    }

    /// The last minute after `after` and not after `until` that it names. However long that is, few are looked at.
    pub fn latest(&self, after: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let within = |from| self.next(from, zone).filter(|found| *found <= until);
        let mut found = within(after)?;
        // None comes after `end`, and at `found` there is one.
        let mut end = until;
        while found < end {
            let half = SignedDuration::from_secs(end.duration_since(found).as_secs() / 2);
            let middle = found.checked_add(half).unwrap_or(found);
            match within(middle) {
                Some(later) => found = later,
                None => end = middle,
            }
        }
        Some(found)
    }

    /// The first minute from `from` on, by a clock that nobody changes; not looked for after the day `last`.
    fn first(&self, from: DateTime, last: Option<Date>) -> Option<DateTime> {
        let from = whole_minute(from)?;
        let mut day = from.date();
        let mut earliest = from.time();
        for _ in 0..DAYS_MAX {
            if last.is_some_and(|last| day > last) {
                return None;
            }
            if self.names_day(day)
                && let Some(time) = self.first_time(earliest)
            {
                return Some(day.to_datetime(time));
            }
            day = day.checked_add(1.day()).ok()?;
            earliest = Time::midnight();
        }
        None
    }

    /// When both days are limited, either will do, as in crontab(5).
    fn names_day(&self, day: Date) -> bool {
        if !self.months.has(day.month()) {
            return false;
        }
        let of_month = self.days.has(day.day());
        let of_week = self.weekdays.has(day.weekday().to_sunday_zero_offset());
        if self.days.any() || self.weekdays.any() {
            of_month && of_week
        } else {
            of_month || of_week
        }
    }

    fn first_time(&self, earliest: Time) -> Option<Time> {
        let in_hour = |hour: i8, minute: i8| {
            let minute = self.minutes.from(minute)?;
            Time::new(hour, minute, 0, 0).ok()
        };
        let hour = earliest.hour();
        if self.hours.has(hour)
            && let Some(time) = in_hour(hour, earliest.minute())
        {
            return Some(time);
        }
        in_hour(self.hours.from(hour.checked_add(1)?)?, 0)
    }
}

/// The same, or the next whole minute.
fn whole_minute(time: DateTime) -> Option<DateTime> {
    let clock = time.time();
    let whole = Time::new(clock.hour(), clock.minute(), 0, 0).ok()?;
    let whole = time.date().to_datetime(whole);
    if whole == time { Some(time) } else { whole.checked_add(1.minute()).ok() }
}

#[cfg(test)]
mod tests;
