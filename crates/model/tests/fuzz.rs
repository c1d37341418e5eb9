//! Fuzz targets: texts that callers send. The tests run each for a moment; `make fuzz` goes on.

use bolero::check;
use quarterdeck_model::{Duration, FieldSelector, LabelSelector, cron::Cron};

#[test]
fn fuzz_selectors() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let _ = (LabelSelector::parse(&text), FieldSelector::parse(&text));
    });
}

#[test]
fn fuzz_durations() {
    check!().for_each(|bytes: &[u8]| {
        let _ = String::from_utf8_lossy(bytes).parse::<Duration>();
    });
}

#[test]
fn fuzz_cron_expressions() {
    let zone = jiff::tz::TimeZone::get("Europe/Amsterdam").unwrap();
    check!().for_each(|bytes: &[u8]| {
        if let Ok(cron) = Cron::parse(&String::from_utf8_lossy(bytes)) {
            cron.next(jiff::Timestamp::UNIX_EPOCH, &zone);
        }
    });
}
