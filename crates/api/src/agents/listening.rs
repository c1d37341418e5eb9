//! The time in which this process listened. What it does not hear while it is paused, or gets no processor, is not the silence
//! of others: such time does not pass here.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Between two steps of this time.
pub(super) const STEP: Duration = Duration::from_secs(1);
/// What passes at most in a step: who gets there later did not listen.
const STEP_MAX: Duration = Duration::from_secs(2);
/// A step that took so long had others lose their connections: they ask for a sign of life every fifteen seconds.
const AWAY: Duration = Duration::from_secs(10);

/// A clock that goes on while this process listens.
#[derive(Debug, Default)]
pub(super) struct Listening {
    millis: AtomicU64,
    /// When it was away last, with one added; zero while it never was.
    away: AtomicU64,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Listening {
    /// Another step, that took so long.
    pub(super) fn step(&self, took: Duration) {
        let now = self.millis.fetch_add(millis(took.min(STEP_MAX)), Ordering::Relaxed);
        if took > AWAY {
            self.away.store(now.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Milliseconds since it began.
    pub(super) fn now(&self) -> u64 {
        self.millis.load(Ordering::Relaxed)
    }

    /// Whether it was away within that time.
    pub(super) fn was_away(&self, within: Duration) -> bool {
        let away = self.away.load(Ordering::Relaxed).checked_sub(1);
        away.is_some_and(|away| self.now().saturating_sub(away) <= millis(within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_nobody_listened_does_not_pass() {
        let listening = Listening::default();
        let minute = Duration::from_secs(60);
        for _ in 0..30 {
            listening.step(STEP);
        }
        assert_eq!(listening.now(), 30_000);
        assert!(!listening.was_away(minute));
        // Paused for an hour.
        listening.step(Duration::from_secs(3_600));
        assert_eq!(listening.now(), 32_000);
        assert!(listening.was_away(minute));
        for _ in 0..60 {
            listening.step(STEP);
        }
        assert!(!listening.was_away(minute), "long enough ago");
        // Starved of processor time, each step takes five times as long.
        let before = listening.now();
        (0..10).for_each(|_| listening.step(STEP * 5));
        assert_eq!(listening.now() - before, 20_000);
    }
}
