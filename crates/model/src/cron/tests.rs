use super::*;
use proptest::prelude::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn next(text: &str, after: &str, in_zone: &str) -> String {
    let after = after.parse().unwrap();
    let zone = zone(in_zone);
    let found = Cron::parse(text).unwrap().next(after, &zone);
    found.map_or_else(
        || "never".into(),
        |found| found.to_zoned(zone).strftime("%Y-%m-%dT%H:%M%:z %a").to_string(),
    )
}

#[test]
fn the_next_time_by_table() {
    for (text, after, wanted) in [
        ("* * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:01+00:00 Sun"),
        ("* * * * *", "2026-03-01T10:00:59.5Z", "2026-03-01T10:01+00:00 Sun"),
        ("*/15 * * * *", "2026-03-01T10:46:00Z", "2026-03-01T11:00+00:00 Sun"),
        ("5/20 * * * *", "2026-03-01T10:46:00Z", "2026-03-01T11:05+00:00 Sun"),
        ("30 2 * * sat", "2026-03-01T10:00:00Z", "2026-03-07T02:30+00:00 Sat"),
        ("0 9-17/4 * * MON-FRI", "2026-03-06T17:00:00Z", "2026-03-09T09:00+00:00 Mon"),
        ("0 0 * * 7", "2026-03-01T10:00:00Z", "2026-03-08T00:00+00:00 Sun"),
        ("0 0 * * 5-7", "2026-03-07T10:00:00Z", "2026-03-08T00:00+00:00 Sun"),
        ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00+00:00 Fri"),
        ("0 0 31 2 *", "2026-03-01T00:00:00Z", "never"),
        ("0 0 13 * fri", "2026-03-01T00:00:00Z", "2026-03-06T00:00+00:00 Fri"),
        ("0 0 13 * ?", "2026-03-01T00:00:00Z", "2026-03-13T00:00+00:00 Fri"),
        ("0 0 */2 * mon", "2026-03-01T00:00:00Z", "2026-03-02T00:00+00:00 Mon"),
        ("0 0 1 jan,JUL *", "2026-03-01T00:00:00Z", "2026-07-01T00:00+00:00 Wed"),
        ("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59+00:00 Fri"),
        ("@daily", "2026-03-01T00:00:00Z", "2026-03-02T00:00+00:00 Mon"),
        ("@Hourly", "2026-03-01T00:00:00Z", "2026-03-01T01:00+00:00 Sun"),
        ("@weekly", "2026-03-01T00:00:00Z", "2026-03-08T00:00+00:00 Sun"),
        ("@monthly", "2026-03-01T00:00:00Z", "2026-04-01T00:00+00:00 Wed"),
        ("@yearly", "2026-03-01T00:00:00Z", "2027-01-01T00:00+00:00 Fri"),
    ] {
        assert_eq!(next(text, after, "UTC"), wanted, "{text} after {after}");
    }
}

/// In Amsterdam, 02:00 to 03:00 is not there on 2026-03-29, and is there twice on 2026-10-25.
#[test]
fn clocks_that_change_by_table() {
    let amsterdam = "Europe/Amsterdam";
    for (text, after, wanted) in [
        // What is left out does not come on that day.
        ("30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T02:30+02:00 Mon"),
        ("0 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T02:00+02:00 Mon"),
        ("0 * * * *", "2026-03-29T00:00:00Z", "2026-03-29T03:00+02:00 Sun"),
        ("*/30 * * * *", "2026-03-29T00:30:00Z", "2026-03-29T03:00+02:00 Sun"),
        ("0 3 * * *", "2026-03-29T00:00:00Z", "2026-03-29T03:00+02:00 Sun"),
        ("59 1 * * *", "2026-03-29T00:00:00Z", "2026-03-29T01:59+01:00 Sun"),
        // What is there twice comes twice.
        ("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T02:30+02:00 Sun"),
        ("30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T02:30+01:00 Sun"),
        ("30 2 * * *", "2026-10-25T01:30:00Z", "2026-10-26T02:30+01:00 Mon"),
        ("0 * * * *", "2026-10-25T00:00:00Z", "2026-10-25T02:00+01:00 Sun"),
        ("0 3 * * *", "2026-10-25T00:30:00Z", "2026-10-25T03:00+01:00 Sun"),
    ] {
        assert_eq!(next(text, after, amsterdam), wanted, "{text} after {after}");
    }
    // Half an hour, at midnight in one place, and whole days that are left out or no change at all.
    for (text, after, in_zone, wanted) in [
        ("15 2 * * *", "2026-10-03T00:00:00Z", "Australia/Lord_Howe", "2026-10-05T02:15+11:00 Mon"),
        ("0 0 * * *", "2018-11-03T12:00:00Z", "America/Sao_Paulo", "2018-11-05T00:00-02:00 Mon"),
        ("0 12 30 12 *", "2011-12-30T00:00:00Z", "Pacific/Apia", "2012-12-30T12:00+14:00 Sun"),
        ("0 6 * * *", "2026-06-01T00:00:00Z", "Asia/Kolkata", "2026-06-01T06:00+05:30 Mon"),
    ] {
        assert_eq!(next(text, after, in_zone), wanted, "{text} after {after} in {in_zone}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    for (text, wanted) in [
        ("", "has 0 fields; write five"),
        ("* * * *", "has 4 fields; write five"),
        ("0 * * * * *", "has 6 fields"),
        ("60 * * * *", "minute: \"60\" is not a number from 0 to 59"),
        ("* 24 * * *", "hour: \"24\" is not a number from 0 to 23"),
        ("* * 0 * *", "day of the month: \"0\" is not a number from 1 to 31"),
        ("* * * foo *", "month: \"foo\" is not a number from 1 to 12, nor jan to dec"),
        ("* * * * 8", "day of the week: \"8\" is not a number from 0 to 7, nor sun to sat"),
        ("*/0 * * * *", "minute: the step \"0\" is not a number from 1 to 59"),
        ("1,,2 * * * *", "minute: \"\" is not"),
        ("+1 * * * *", "minute: \"+1\" is not"),
        ("5-1 * * * *", "minute: \"5-1\" goes backwards"),
        ("@reboot", "there is no such name; there are @yearly"),
        ("@every 1h", "there is no such name"),
        ("TZ=UTC 0 0 * * *", "use spec.timeZone"),
    ] {
        let why = Cron::parse(text).unwrap_err();
        assert!(why.contains(wanted), "{text}: {why}");
    }
}

#[test]
fn the_latest_is_found_without_going_through_all() {
    let latest = |text: &str, after: &str, until: &str| {
        let (after, until) = (after.parse().unwrap(), until.parse().unwrap());
        let found = Cron::parse(text).unwrap().latest(after, until, &TimeZone::UTC);
        found.map(|found| found.to_string())
    };
    let at = |text: &str| Some(text.to_owned());
    let then = "1996-01-01T00:00:00Z";
    assert_eq!(latest("* * * * *", then, "2026-03-01T10:00:30Z"), at("2026-03-01T10:00:00Z"));
    assert_eq!(latest("0 3 * * *", then, "2026-03-01T03:00:00Z"), at("2026-03-01T03:00:00Z"));
    assert_eq!(latest("0 3 * * *", then, "2026-03-01T02:59:59Z"), at("2026-02-28T03:00:00Z"));
    assert_eq!(latest("0 3 1 1 *", "2026-01-01T03:00:00Z", "2026-12-31T00:00:00Z"), None);
    assert_eq!(latest("0 3 1 1 *", "2026-06-01T03:00:00Z", "2026-01-01T00:00:00Z"), None);
}

/// Whether a minute is named, said in another way.
fn names(cron: &Cron, at: Timestamp, zone: &TimeZone) -> bool {
    let at = zone.to_datetime(at);
    cron.names_day(at.date()) && cron.hours.has(at.hour()) && cron.minutes.has(at.minute())
}

const ZONES: [&str; 5] =
    ["UTC", "Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"];

proptest! {
    #[test]
    fn the_next_is_named_and_none_before_it(
        minute in prop_oneof![Just("*".to_owned()), (0..60u8).prop_map(|it| it.to_string()), Just("*/7".into())],
        hour in prop_oneof![Just("*".to_owned()), (0..24u8).prop_map(|it| it.to_string()), Just("1-3".into())],
        weekday in prop_oneof![Just("*".to_owned()), (0..8u8).prop_map(|it| it.to_string())],
        // Around the changes of clocks in 2026.
        start in prop_oneof![1_774_000_000_i64..1_775_500_000, 1_791_000_000_i64..1_794_000_000],
        place in 0..ZONES.len(),
    ) {
        let zone = zone(ZONES[place]);
        let cron = Cron::parse(&format!("{minute} {hour} * * {weekday}")).unwrap();
        let after = Timestamp::from_second(start).unwrap();
        let next = cron.next(after, &zone).unwrap();
        prop_assert!(next > after && names(&cron, next, &zone));
        let mut minute = start.div_euclid(60) * 60 + 60;
        while minute < next.as_second() {
            prop_assert!(!names(&cron, Timestamp::from_second(minute).unwrap(), &zone));
            minute += 60;
        }
        // And it is the latest until then, whenever one begins to look.
        let before = after.checked_sub(SignedDuration::from_hours(1_000)).unwrap();
        prop_assert_eq!(cron.latest(before, next, &zone), Some(next));
    }

    #[test]
    fn no_text_breaks_it(text in ".{0,40}", second in -377_705_023_201_i64..=253_402_207_200) {
        let at = Timestamp::from_second(second).unwrap();
        if let Ok(cron) = Cron::parse(&text) {
            cron.next(at, &TimeZone::UTC);
        }
    }

    #[test]
    fn nothing_like_one_breaks_it(text in "[0-9*/?,@a-z -]{0,30}", second in -377_705_023_201_i64..=253_402_207_200) {
        let at = Timestamp::from_second(second).unwrap();
        if let Ok(cron) = Cron::parse(&text) {
            cron.next(at, &zone("Europe/Amsterdam"));
        }
    }
}
