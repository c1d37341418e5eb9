//! Numbers that follow from a seed: SplitMix64, written out so that a seed never changes with a dependency.

use std::time::Duration;

/// A sequence of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of what is named by `parts`, in this order.
    pub(crate) fn of(parts: &[u64]) -> Self {
        let begin = |state, part| Self(mix(state) ^ part).any();
        Self(parts.iter().copied().fold(0, begin))
    }

    pub(crate) fn from_state(state: u64) -> Self {
        Self(state)
    }

    pub(crate) fn state(&self) -> u64 {
        self.0
    }

    /// Any number.
    pub(crate) fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number from 0 up to, but not, `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.any() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    /// Once in so many times.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of them; none of none.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len())).cloned()
    }

    /// A time between those, short ones as likely as long ones: each length doubled is as likely.
    pub(crate) fn time(&mut self, from: Duration, to: Duration) -> Duration {
        let unit = (self.any() >> 11) as f64 / (1_u64 << 53) as f64;
        let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
        // Whole milliseconds, which is what the runtime's clock counts in.
        let seconds = from * (to / from).powf(unit);
        Duration::from_millis((seconds * 1000.0).round() as u64)
    }
}

fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
