//! The time in which this replica listened. While it is paused, gets no processor or cannot ask the store, it does not hear who
//! lives; such time does not pass here, so that it is nobody's silence. Pure: what passed is passed in.

use jiff::{SignedDuration, Timestamp};

/// What passes at most between two looks, which are a second apart.
const STEP_MAX: SignedDuration = SignedDuration::from_secs(2);

/// A clock that goes on while this replica listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening(Timestamp);

impl Listening {
    /// Begins with the time that it is.
    pub(super) fn begin(now: Timestamp) -> Self {
        Self(now)
    }

    /// So much has passed since the last look; `heard` says whether the store answered.
    pub(super) fn step(&mut self, passed: SignedDuration, heard: bool) -> Timestamp {
        if heard {
            self.0 = self.0.checked_add(passed.min(STEP_MAX)).unwrap_or(Timestamp::MAX);
        }
        self.0
    }

    pub(super) fn now(self) -> Timestamp {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_nobody_listened_does_not_pass() {
        let begun = Timestamp::from_second(1_000).unwrap();
        let mut listening = Listening::begin(begun);
        let second = SignedDuration::from_secs(1);
        for (passed, heard, expected) in [
            (second, true, 1_001),
            // The store is away.
            (second * 600, false, 1_001),
            // It was paused for an hour.
            (second * 3_600, true, 1_003),
            (second, true, 1_004),
        ] {
            let now = listening.step(passed, heard);
            assert_eq!(now, Timestamp::from_second(expected).unwrap());
            assert_eq!(now, listening.now());
        }
    }
}
