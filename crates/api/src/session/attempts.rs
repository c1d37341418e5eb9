//! How often somebody may try to log in who cannot: counted by where they are, since who they are is not known.
//! Tokens are signed and cannot be guessed; this keeps those who try from being a burden. Pure, but for its lock.

use jiff::Timestamp;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Attempts that may fail within the time.
const FAILURES_MAX: u32 = 10;
/// The time, in seconds.
const WITHIN_SECS: i64 = 60;
/// Places that are kept in mind. When there are more, the oldest are forgotten.
const PLACES_MAX: usize = 10_000;

/// Attempts that failed lately.
#[derive(Default)]
pub(crate) struct Attempts {
    places: Mutex<HashMap<Arc<str>, (i64, u32)>>,
}

impl Attempts {
    /// Whether somebody from there may try.
    pub(crate) fn may_try(&self, from: &Arc<str>, now: Timestamp) -> bool {
        // A panic while it was held left numbers that are whole.
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(from).is_none_or(|(since, failures)| {
            now.as_second() - since >= WITHIN_SECS || *failures < FAILURES_MAX
        })
    }

    /// One more attempt from there failed.
    pub(crate) fn failed(&self, from: &Arc<str>, now: Timestamp) {
        let now = now.as_second();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= PLACES_MAX && !places.contains_key(from) {
            places.retain(|_, (since, _)| now - *since < WITHIN_SECS);
            if places.len() >= PLACES_MAX {
                places.clear();
            }
        }
        let (since, failures) = places.entry(from.clone()).or_insert((now, 0));
        if now - *since >= WITHIN_SECS {
            (*since, *failures) = (now, 0);
        }
        *failures = failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_too_often_waits_and_others_do_not() {
        let attempts = Attempts::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let (one, other): (Arc<str>, Arc<str>) = ("from 10.0.0.1".into(), "from 10.0.0.2".into());
        for _ in 0..FAILURES_MAX {
            assert!(attempts.may_try(&one, at(100)));
            attempts.failed(&one, at(100));
        }
        assert!(!attempts.may_try(&one, at(159)));
        assert!(attempts.may_try(&other, at(159)));
        assert!(attempts.may_try(&one, at(160)));
        attempts.failed(&one, at(160));
        assert!(attempts.may_try(&one, at(161)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let attempts = Attempts::default();
        for number in 0..2 * PLACES_MAX {
            attempts.failed(&format!("{number}").into(), Timestamp::from_second(1).unwrap());
        }
        assert!(attempts.places.lock().unwrap().len() <= PLACES_MAX);
    }
}
