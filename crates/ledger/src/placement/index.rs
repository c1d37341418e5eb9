//! Machines by what is free on them. They lie in buckets, each an eighth of a doubling wide in CPU and in memory, so that
//! those that fit closely are found without looking at the others. What is drawn from a bucket comes from anywhere in it.

use super::{Resources, random::Random};
use crate::table::Number;
use std::collections::{BTreeMap, HashMap};

/// Buckets in a doubling. With eight, what is taken from the first bucket that fits is within an eighth of the tightest.
const PARTS: u64 = 8;
/// Memory is counted in these.
const MEMORY_UNIT: u64 = 1 << 20;
/// Greatest amount that is told apart from greater ones: four million cores, four exabytes.
const MOST: u64 = (1 << 32) - 1;
/// Machines looked at in one bucket.
const DRAWN: usize = 8;
/// Machines looked at in all buckets together, before the wish is held against every machine.
const DRAWN_MAX: usize = 256;

/// The bucket of an amount.
fn class(amount: u64) -> u16 {
    let amount = amount.min(MOST);
    let class = if amount < PARTS {
        amount
    } else {
        let doubling = u64::from(amount.ilog2());
        (doubling - 2) * PARTS + ((amount >> (doubling - 3)) & (PARTS - 1))
    };
    // At most 30 doublings of eight.
    u16::try_from(class).unwrap_or(u16::MAX)
}

/// The least amount of a bucket.
fn least(class: u16) -> u64 {
    let class = u64::from(class);
    if class < PARTS { class } else { (PARTS + class % PARTS) << (class / PARTS - 1) }
}

type Bucket = (u16, u16);

fn bucket(free: Resources) -> Bucket {
    (class(free.cpu), class(free.memory / MEMORY_UNIT))
}

/// Machines in one place, or all.
#[derive(Debug, Default)]
pub(super) struct Index {
    buckets: BTreeMap<Bucket, Vec<Number>>,
    /// Where each is.
    spots: HashMap<Number, (Bucket, usize)>,
}

/// What was found in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The tightest of those that were looked at, and how much is free on it.
    Machine(Number, u64),
    /// None of those that were looked at; another may do.
    NotAmongDrawn,
    /// None at all.
    Nothing,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.spots.len()
    }

    pub(super) fn machines(&self) -> impl Iterator<Item = Number> + '_ {
        self.buckets.values().flatten().copied()
    }

    /// Notes what is free on a machine.
    pub(super) fn set(&mut self, machine: Number, free: Resources) {
        let bucket = bucket(free);
        if self.spots.get(&machine).is_some_and(|(before, _)| *before == bucket) {
            return;
        }
        self.remove(machine);
        let list = self.buckets.entry(bucket).or_default();
        self.spots.insert(machine, (bucket, list.len()));
        list.push(machine);
    }

    pub(super) fn remove(&mut self, machine: Number) {
        let Some((bucket, at)) = self.spots.remove(&machine) else { return };
        let Some(list) = self.buckets.get_mut(&bucket) else { return };
        list.swap_remove(at);
        if let Some(moved) = list.get(at) {
            self.spots.insert(*moved, (bucket, at));
        }
        if list.is_empty() {
            self.buckets.remove(&bucket);
        }
    }

    /// The tightest machine among a few on which so much is free; `free` says how much is free on one that may be taken.
    pub(super) fn tightest(
        &self,
        wanted: Resources,
        random: &mut Random,
        mut free: impl FnMut(Number) -> Option<u64>,
    ) -> Found {
        let from = bucket(wanted);
        let fitting =
            self.buckets.range((from.0, 0)..).filter(|((_, memory), _)| *memory >= from.1);
        let mut fitting: Vec<(u64, &Vec<Number>)> = fitting
            .map(|((cpu, memory), list)| {
                let memory = least(*memory).saturating_mul(MEMORY_UNIT);
                (Resources { cpu: least(*cpu), memory }.weight(), list)
            })
            .collect();
        fitting.sort_by_key(|(least, _)| *least);
        let (mut best, mut looked, mut all): (Option<(u64, Number)>, usize, bool) = (None, 0, true);
        for (least, list) in fitting {
            if best.is_some_and(|(best, _)| best <= least) {
                break;
            }
            if looked >= DRAWN_MAX {
                all = false;
                break;
            }
            let drawn = list.len().min(DRAWN);
            all &= drawn == list.len();
            let start = random.below(list.len());
            // Those that lie together in a bucket are together by chance, but for a fleet that was just read.
            let step = if drawn == list.len() { 1 } else { 1 + random.below(list.len() / DRAWN) };
            for turn in 0..drawn {
                let Some(machine) = list.get((start + turn * step) % list.len()) else { continue };
                looked += 1;
                let Some(free) = free(*machine) else { continue };
                if best.is_none_or(|best| (free, *machine) < best) {
                    best = Some((free, *machine));
                }
            }
        }
        match best {
            Some((free, machine)) => Found::Machine(machine, free),
            None if all => Found::Nothing,
            None => Found::NotAmongDrawn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_in_its_bucket_and_buckets_are_in_order() {
        let amounts =
            (0..4_096).chain((12..40).flat_map(|power| {
                [-1_i64, 0, 1].map(|by| (1_u64 << power).saturating_add_signed(by))
            }));
        let mut before = 0;
        for amount in amounts {
            let class = class(amount);
            assert!(class >= before || amount < 4_096, "{amount}");
            assert!(least(class) <= amount, "{amount}");
            assert!(amount > MOST || least(class + 1) > amount, "{amount}");
            before = class;
        }
    }

    #[test]
    fn what_is_removed_is_not_found_and_what_moved_is() {
        let mut index = Index::default();
        let free = |cpu| Resources { cpu, memory: 1 << 30 };
        for number in 0..100 {
            index.set(number, free(u64::from(number) * 10));
        }
        for number in (0..100).step_by(2) {
            index.remove(number);
        }
        index.set(1, free(5_000));
        let mut random = Random::new(7);
        let wanted = free(990);
        let found = index.tightest(wanted, &mut random, |machine| match machine {
            1 => Some(5_000),
            99 => Some(990),
            _ => None,
        });
        assert_eq!(found, Found::Machine(99, 990));
        index.remove(99);
        let found = index.tightest(wanted, &mut random, |it| (it == 1).then_some(5_000));
        assert_eq!((found, index.len()), (Found::Machine(1, 5_000), 49));
        assert_eq!(index.tightest(free(6_000), &mut random, |_| Some(1)), Found::Nothing);
    }
}
