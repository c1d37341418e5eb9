//! Fuzz targets: texts that callers send. The tests run each for a moment; `make fuzz` goes on.

use bolero::check;
use quarterdeck_model::{Duration, FieldSelector, LabelSelector};

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
