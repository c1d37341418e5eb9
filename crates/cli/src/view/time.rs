//! Times and spans as people read them.

use jiff::SignedDuration;
use quarterdeck_model::Time;

/// The two largest units that say something: `12s`, `1m25s`, `3h4m`, `2d5h`.
pub(crate) fn span(length: SignedDuration) -> String {
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

/// How long ago, or empty when that is not known.
pub(crate) fn age(since: Option<Time>, now: Time) -> String {
    since.map(|since| span(between(since, now))).unwrap_or_default()
}

/// From one time to another.
pub(crate) fn between(from: Time, to: Time) -> SignedDuration {
    to.timestamp().duration_since(from.timestamp())
}

/// `2026-03-01T12:27:00Z (in 5m)`, or how long ago.
pub(crate) fn point(at: Time, now: Time) -> String {
    let away = between(now, at);
    let shown = Time::seconds(at.timestamp());
    match away.is_negative() {
        true => format!("{shown} ({} ago)", span(-away)),
        false => format!("{shown} (in {})", span(away)),
    }
}

/// The time of day, `12:27:00`, in UTC.
pub(crate) fn clock(at: Time) -> String {
    at.timestamp().strftime("%H:%M:%S").to_string()
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
