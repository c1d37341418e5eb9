//! Times and spans as people read them.

use quarterdeck_model::Time;
pub(crate) use quarterdeck_model::words::{between, point, span};

/// How long ago, or empty when that is not known.
pub(crate) fn age(since: Option<Time>, now: Time) -> String {
    since.map(|since| span(between(since, now))).unwrap_or_default()
}

/// The time of day, `12:27:00`, in UTC.
pub(crate) fn clock(at: Time) -> String {
    at.timestamp().strftime("%H:%M:%S").to_string()
}
