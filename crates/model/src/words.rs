//! Words of sentences for people: numbers of things, times and spans. Pure: what time it is, is passed in.

use crate::Time;
use jiff::SignedDuration;

/// `1 target`, `2 targets`.
pub fn count(number: usize, what: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {what}{end}")
}

/// `is` of one, `are` of more.
pub const fn are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

/// A number of an object's status, to be counted with.
pub fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The two largest units that say something: `12s`, `1m25s`, `3h4m`, `2d5h`.
pub fn span(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    let two = |large: i64, unit: &str, small: i64, smaller: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{smaller}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => two(minutes, "m", rest, "s"),
        (0, ..) => two(hours, "h", minutes, "m"),
        _ => two(days, "d", hours, "h"),
    }
}

/// From one time to another.
pub fn between(from: Time, to: Time) -> SignedDuration {
    to.timestamp().duration_since(from.timestamp())
}

/// `2026-03-01T12:27:00Z (in 5m)`, or how long ago.
pub fn point(at: Time, now: Time) -> String {
    let away = between(now, at);
    let shown = Time::seconds(at.timestamp());
    match away.is_negative() {
        true => format!("{shown} ({} ago)", span(-away)),
        false => format!("{shown} (in {})", span(away)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_its_two_largest_units() {
        for (seconds, shown) in [
            (-5, "0s"),
            (59, "59s"),
            (60, "1m"),
            (85, "1m25s"),
            (3_600, "1h"),
            (11_045, "3h4m"),
            (86_400 * 2 + 3_600 * 5 + 59, "2d5h"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), shown);
        }
    }
}
