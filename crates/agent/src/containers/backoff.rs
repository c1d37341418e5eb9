//! How long it is waited before something is tried again. Pure.

use super::settings::Timings;
use jiff::{SignedDuration, Timestamp};

/// Wait before the restart that is `streak` in a row: none before the first, then doubled up to the longest (Kubernetes:
/// "Pod lifecycle, container restarts").
pub(super) fn before_restart(streak: u32, timings: &Timings) -> SignedDuration {
    match streak {
        0 | 1 => SignedDuration::ZERO,
        more => after_failures(more - 1, timings),
    }
}

/// Wait after so many failures in a row.
pub(super) fn after_failures(failures: u32, timings: &Timings) -> SignedDuration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let wait = timings.backoff.saturating_mul(doubled).min(timings.backoff_max);
    SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)
}

/// Something that failed, and when it may be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// One word for machines, as Kubernetes has it: `ErrImagePull`, `CreateContainerConfigError`, `RunContainerError`.
    pub(super) reason: &'static str,
    /// A sentence for people.
    pub(super) message: String,
    /// In a row.
    pub(super) failures: u32,
    /// When it may be tried again.
    pub(super) again: Timestamp,
}

impl Trouble {
    /// One more failure than `before`.
    pub(super) fn next(
        before: Option<&Self>,
        (reason, message): (&'static str, String),
        now: Timestamp,
        timings: &Timings,
    ) -> Self {
        let failures = before.map_or(0, |it| it.failures).saturating_add(1);
        let again = now.saturating_add(after_failures(failures, timings)).unwrap_or(Timestamp::MAX);
        Self { reason, message, failures, again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_those_of_kubernetes() {
        let timings = Timings::default();
        let waits: Vec<i64> =
            (0..9).map(|streak| before_restart(streak, &timings).as_secs()).collect();
        assert_eq!(waits, [0, 0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(before_restart(u32::MAX, &timings).as_secs(), 300);
    }
}
