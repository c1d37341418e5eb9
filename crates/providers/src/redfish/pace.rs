//! When the next request to one BMC may start: exponential backoff with jitter after failures.
//!
//! Pure: time and randomness are passed in.

use std::time::{Duration, Instant};

use super::limits::{BACKOFF_FIRST, BACKOFF_MAX, RETRY_AFTER_MAX};

/// The pace of one BMC.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    /// How long to wait from `now`.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// Failures since the last answer.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The BMC answered.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The BMC did not answer, or asked to be left alone for `retry_after`. `dice` is in `0..=1`.
    pub(super) fn failed(&mut self, now: Instant, retry_after: Option<Duration>, dice: f64) {
        self.failures = self.failures.saturating_add(1);
        let pause = match retry_after {
            Some(asked) => asked.min(RETRY_AFTER_MAX),
            None => backoff(self.failures, dice),
        };
        self.not_before = now.checked_add(pause).max(self.not_before);
    }
}

/// Between half and all of `BACKOFF_FIRST × 2^(failures-1)`, at most [`BACKOFF_MAX`].
fn backoff(failures: u32, dice: f64) -> Duration {
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1).min(16)).unwrap_or(u32::MAX);
    let full = BACKOFF_FIRST.saturating_mul(doubled).min(BACKOFF_MAX);
    full.mul_f64(0.5 + 0.5 * dice.clamp(0.0, 1.0))
}

/// A number in `0..=1` from the process's random seed; good enough to spread retries.
pub(super) fn roll() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pause_grows_and_stays_bounded(failures in 1_u32..1000, dice in -1.0_f64..2.0) {
            let pause = backoff(failures, dice);
            prop_assert!(pause >= BACKOFF_FIRST / 2);
            prop_assert!(pause <= BACKOFF_MAX);
            prop_assert!(backoff(failures + 1, dice) >= pause);
        }

        #[test]
        fn dice_are_in_range(_round in 0..50) {
            prop_assert!((0.0..=1.0).contains(&roll()));
        }
    }

    #[test]
    fn a_success_forgets_failures() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.failed(now, None, 1.0);
        pace.failed(now, None, 1.0);
        assert_eq!(pace.wait(now), BACKOFF_FIRST * 2);
        pace.succeeded();
        assert_eq!(pace.wait(now), Duration::ZERO);
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.failed(now, Some(Duration::from_secs(7)), 0.0);
        assert_eq!(pace.wait(now), Duration::from_secs(7));
        pace.failed(now, Some(Duration::from_secs(86_400)), 0.0);
        assert_eq!(pace.wait(now), RETRY_AFTER_MAX);
    }
}
