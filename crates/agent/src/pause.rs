//! How long to wait before the stream is begun anew. Full jitter: any time from none to a limit that doubles, so that agents that
//! lost their streams together do not come back together. The plane says with how many others the first wait is shared.

use quarterdeck_model::agent::RECONNECT_MAX as LONGEST;
use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// The first limit, unless the plane has said another.
const FIRST: Duration = Duration::from_secs(1);

/// Pauses between tries.
#[derive(Debug)]
pub(crate) struct Pause {
    limit: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self { limit: FIRST }
    }
}

impl Pause {
    /// A stream was held; the next pause is within `spread`.
    pub(crate) fn begin_anew(&mut self, spread: Duration) {
        self.limit = spread.min(LONGEST);
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        // Its seeds are random for each.
        self.within(RandomState::new().hash_one(0))
    }

    fn within(&mut self, random: u64) -> Duration {
        let millis = u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX);
        self.limit = (self.limit * 2).clamp(FIRST, LONGEST);
        Duration::from_millis(random % millis.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew() {
        let mut pause = Pause::default();
        let longest = |pause: &mut Pause| {
            let millis = u64::try_from(pause.limit.as_millis()).unwrap();
            assert_eq!(pause.within(0), Duration::ZERO);
            millis
        };
        let limits: Vec<u64> = (0..8).map(|_| longest(&mut pause)).collect();
        assert_eq!(limits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        pause.begin_anew(Duration::from_secs(40));
        assert_eq!(pause.within(39_999), Duration::from_millis(39_999));
        assert_eq!(pause.limit, LONGEST);
        pause.begin_anew(Duration::from_millis(500));
        assert_eq!(pause.within(501), Duration::from_millis(1));
    }
}
