//! Random numbers that a printed seed brings back. Must never be seeded by anything that is not printed.

use std::time::{SystemTime, UNIX_EPOCH};

/// Set to a number to go through the same choices again.
const VARIABLE: &str = "QUARTERDECK_TEST_SEED";

/// SplitMix64.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by the environment or the clock; prints the seed.
    ///
    /// # Panics
    /// When the environment names something that is not a number.
    #[must_use]
    #[expect(clippy::print_stdout, reason = "the test harness shows it with a failure")]
    pub fn new() -> Self {
        // The low 64 bits change the fastest.
        let clock =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        let seed = std::env::var(VARIABLE)
            .map_or_else(|_| clock(), |seed| seed.parse().expect("a seed is a number"));
        println!("seed: {VARIABLE}={seed}");
        Self(seed)
    }

    /// Begins with `seed`, which the caller prints.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.any() % limit
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of `all`; none when there is none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(all.len()).ok().filter(|count| *count > 0)?;
        all.get(usize::try_from(self.below(count)).unwrap_or(0))
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
