//! Random numbers that a printed seed brings back.

use std::time::{SystemTime, UNIX_EPOCH};

/// Set to a number to go through the same choices again.
const VARIABLE: &str = "QUARTERDECK_TEST_SEED";

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by the environment or the clock; prints the seed.
    pub(crate) fn new() -> Self {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var(VARIABLE)
            .map_or_else(|_| clock(), |seed| seed.parse().expect("a number"));
        println!("seed: {VARIABLE}={seed}");
        Self(seed)
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
