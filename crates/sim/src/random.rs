//! Numbers that follow from a seed. Fleets are known by their seed for as long as their folder is kept, so
//! the numbers must never change with a dependency: this is SplitMix64, written out. Not for secrets.

use std::f64::consts::TAU;

/// 2⁻⁵³: what the 53 highest bits of a number count in.
const STEP: f64 = 1.0 / 9_007_199_254_740_992.0;

/// A sequence of numbers that no other sequence has a part in.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of what is named by `parts`, in this order.
    pub(crate) fn of(parts: &[u64]) -> Self {
        let begin = |state, part| Self(mix(state) ^ part).any();
        Self(parts.iter().copied().fold(0, begin))
    }

    /// Any number.
    pub(crate) fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number from 0 up to, but not, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.any() >> 11) as f64 * STEP
    }

    /// Yes, with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of them, each as likely as its weight among all.
    pub(crate) fn weighted<'a, T>(
        &mut self,
        choices: &'a [T],
        weight: fn(&T) -> u32,
    ) -> Option<&'a T> {
        let all: u64 = choices.iter().map(|choice| u64::from(weight(choice))).sum();
        let mut at = self.any().checked_rem(all)?;
        choices.iter().find(|choice| {
            let weight = u64::from(weight(choice));
            let here = at < weight;
            at = at.saturating_sub(weight);
            here
        })
    }

    /// A number of the standard normal distribution (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        // Up to and with 1, of which the logarithm can be taken.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }
}

/// The end of one round of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number for a name: FNV-1a, mixed, since names of one rack differ in one digit.
pub(crate) fn name(text: &str) -> u64 {
    mix(text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let mut dice = Dice(1_234_567);
        // Of the reference implementation.
        assert_eq!(dice.any(), 6_457_827_717_110_365_317);
        assert_eq!(dice.any(), 3_203_168_211_198_807_973);
        assert_ne!(Dice::of(&[1, 2]).any(), Dice::of(&[2, 1]).any());
        assert_ne!(Dice::of(&[0]).any(), Dice::of(&[0, 0]).any());
    }

    #[test]
    fn numbers_are_spread_as_they_should_be() {
        let mut dice = Dice::of(&[7]);
        let draws = 20_000;
        let numbers: Vec<f64> = (0..draws).map(|_draw| dice.normal()).collect();
        let mean = numbers.iter().sum::<f64>() / f64::from(draws);
        let variance = numbers.iter().map(|number| number * number).sum::<f64>() / f64::from(draws);
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        let threes =
            (0..draws).filter(|_draw| dice.weighted(&[1, 3], |it| *it) == Some(&3)).count();
        assert!((14_500..15_500).contains(&threes), "{threes}");
        assert_eq!(dice.weighted(&[], |it: &u32| *it), None);
    }
}
