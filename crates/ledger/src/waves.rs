//! Waves of a campaign: which targets begin next. Pure: it is given all targets as they are and says what to
//! start, so that it needs to remember nothing.
//!
//! First a few canaries, in as many failure domains as there are; when all of them went well, domain after
//! domain, a few domains at once.

use std::{collections::BTreeSet, ops::Range};

/// Where a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not begun, or to be tried again.
    Left,
    /// In work.
    Running,
    /// Its run waits for leave of the ledger.
    Waiting,
    /// Done.
    Succeeded,
    /// Failed, and not tried again.
    Failed,
}

/// A target. They are given in order of failure domain, then name.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// The failure domain it is in.
    pub domain: &'a str,
    /// Where it is.
    pub stage: Stage,
}

/// How many at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Targets that are tried first.
    pub canaries: usize,
    /// Most in work at once, those that wait for the ledger among them.
    pub concurrency: usize,
    /// Most failure domains with targets in work.
    pub domains: usize,
    /// Most targets that may have failed.
    pub failures: usize,
    /// As many failed canaries are accepted.
    pub accepted: usize,
}

/// How many targets are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub targets: usize,
    /// See [`Stage`].
    pub left: usize,
    /// See [`Stage`].
    pub running: usize,
    /// See [`Stage`].
    pub waiting: usize,
    /// See [`Stage`].
    pub succeeded: usize,
    /// See [`Stage`].
    pub failed: usize,
    /// Failure domains.
    pub domains: usize,
}

/// Why no further target begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// So many canaries failed.
    Canaries(usize),
    /// So many targets failed.
    Failures(usize),
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wave {
    /// How many targets are where.
    pub counts: Counts,
    /// Places of the canaries among the targets.
    pub canaries: Vec<usize>,
    /// Canaries are in work, or still to begin.
    pub trying: bool,
    /// Places of the targets that begin now.
    pub start: Vec<usize>,
    /// Nothing begins any more.
    pub halt: Option<Halt>,
}

/// A failure domain, and the places of its targets, which are beside each other.
struct Domain<'a> {
    name: &'a str,
    places: Range<usize>,
}

/// Says which targets begin next.
pub fn next_wave(items: &[Item<'_>], limits: &Limits) -> Wave {
    let mut domains: Vec<Domain<'_>> = Vec::new();
    let mut counts = Counts { targets: items.len(), ..Counts::default() };
    for (at, item) in items.iter().enumerate() {
        match domains.last_mut().filter(|last| last.name == item.domain) {
            Some(last) => last.places.end = at + 1,
            None => domains.push(Domain { name: item.domain, places: at..at + 1 }),
        }
        *match item.stage {
            Stage::Left => &mut counts.left,
            Stage::Running => &mut counts.running,
            Stage::Waiting => &mut counts.waiting,
            Stage::Succeeded => &mut counts.succeeded,
            Stage::Failed => &mut counts.failed,
        } += 1;
    }
    counts.domains = domains.len();
    let canaries = canaries(&domains, limits.canaries.min(items.len()));
    let stage = |at: &usize| items.get(*at).map_or(Stage::Left, |item| item.stage);
    let is = |wanted: Stage| canaries.iter().filter(|at| stage(at) == wanted).count();
    let failed = is(Stage::Failed);
    let trying = is(Stage::Left) + is(Stage::Running) + is(Stage::Waiting) > 0;
    let mut wave = Wave { counts, trying, ..Wave::default() };
    if failed > limits.accepted {
        wave.halt = Some(Halt::Canaries(failed));
    } else if counts.failed > limits.failures {
        wave.halt = Some(Halt::Failures(counts.failed));
    } else {
        let room = room(&counts, limits);
        let open = |at: &usize| stage(at) == Stage::Left;
        wave.start = match trying {
            true => canaries.iter().copied().filter(open).take(room).collect(),
            false => from_domains(items, &domains, limits, room),
        };
    }
    wave.canaries = canaries;
    wave
}

/// How many may begin. One that waits for the ledger may go on at any moment, so it counts as one in work.
fn room(counts: &Counts, limits: &Limits) -> usize {
    limits.concurrency.saturating_sub(counts.running.saturating_add(counts.waiting))
}

/// One of each domain, then the second of each, and so on.
fn canaries(domains: &[Domain<'_>], count: usize) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(count);
    let mut rank = 0;
    while chosen.len() < count {
        let before = chosen.len();
        let of_rank = domains.iter().filter_map(|domain| domain.places.clone().nth(rank));
        chosen.extend(of_rank.take(count - before));
        if chosen.len() == before {
            break;
        }
        rank += 1;
    }
    chosen
}

/// Those left in domains that are in work, then in the next ones.
fn from_domains(
    items: &[Item<'_>],
    domains: &[Domain<'_>],
    limits: &Limits,
    room: usize,
) -> Vec<usize> {
    let in_work = |item: &&Item<'_>| matches!(item.stage, Stage::Running | Stage::Waiting);
    let mut working: BTreeSet<&str> =
        items.iter().filter(in_work).map(|item| item.domain).collect();
    let mut start = Vec::new();
    let already = working.clone();
    let in_work = domains.iter().filter(|domain| already.contains(domain.name));
    let others = domains.iter().filter(|domain| !already.contains(domain.name));
    for Domain { name: domain, places } in in_work.chain(others) {
        if start.len() >= room {
            break;
        }
        let left = places
            .clone()
            .filter(|at| items.get(*at).is_some_and(|item| item.stage == Stage::Left));
        let left: Vec<usize> = left.take(room - start.len()).collect();
        if left.is_empty() {
            continue;
        }
        if !working.contains(domain) {
            if working.len() >= limits.domains {
                break;
            }
            working.insert(domain);
        }
        start.extend(left);
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits =
        Limits { canaries: 2, concurrency: 4, domains: 2, failures: 1, accepted: 0 };

    fn items<'a>(text: &'a [(&'a str, Stage)]) -> Vec<Item<'a>> {
        text.iter().map(|(domain, stage)| Item { domain, stage: *stage }).collect()
    }

    use Stage::{Failed, Left, Running, Succeeded, Waiting};

    #[test]
    fn canaries_come_first_each_in_another_domain() {
        let all = [("a", Left), ("a", Left), ("b", Left), ("c", Left)];
        let wave = next_wave(&items(&all), &LIMITS);
        assert_eq!((wave.canaries, wave.start, wave.trying), (vec![0, 2], vec![0, 2], true));
        let all = [("a", Succeeded), ("a", Left), ("b", Running), ("c", Left)];
        let wave = next_wave(&items(&all), &LIMITS);
        assert_eq!((wave.start, wave.trying), (vec![], true), "one is still in work");
        let all = [("a", Succeeded), ("a", Left), ("b", Failed), ("c", Left)];
        let wave = next_wave(&items(&all), &LIMITS);
        assert_eq!((wave.start, wave.halt), (vec![], Some(Halt::Canaries(1))));
        let accepted = Limits { accepted: 1, ..LIMITS };
        assert_eq!(next_wave(&items(&all), &accepted).start, [1, 3]);
        let all = [("a", Left), ("b", Left)];
        let everything = Limits { canaries: usize::MAX, ..LIMITS };
        assert_eq!(next_wave(&items(&all), &everything).canaries, [0, 1]);
    }

    #[test]
    fn domain_after_domain_a_few_at_once() {
        let all = [
            ("a", Succeeded),
            ("a", Left),
            ("b", Succeeded),
            ("b", Left),
            ("c", Left),
            ("d", Left),
        ];
        assert_eq!(next_wave(&items(&all), &LIMITS).start, [1, 3], "two domains");
        let all = [
            ("a", Succeeded),
            ("a", Succeeded),
            ("b", Succeeded),
            ("b", Running),
            ("c", Left),
            ("d", Left),
        ];
        assert_eq!(next_wave(&items(&all), &LIMITS).start, [4]);
        // Who waits for the ledger may go on at any moment.
        let all = [
            ("a", Succeeded),
            ("a", Waiting),
            ("b", Succeeded),
            ("b", Waiting),
            ("c", Left),
            ("d", Left),
        ];
        assert_eq!(next_wave(&items(&all), &LIMITS).start, [] as [usize; 0]);
    }

    #[test]
    fn it_halts_past_the_limit_of_failures() {
        let all = [("a", Succeeded), ("a", Failed), ("b", Succeeded), ("b", Failed), ("c", Left)];
        assert_eq!(next_wave(&items(&all), &LIMITS).halt, Some(Halt::Failures(2)));
        let more = Limits { failures: 2, ..LIMITS };
        let wave = next_wave(&items(&all), &more);
        assert_eq!((wave.start, wave.halt), (vec![4], None));
        assert_eq!(
            wave.counts,
            Counts {
                targets: 5,
                left: 1,
                succeeded: 2,
                failed: 2,
                domains: 3,
                ..Counts::default()
            }
        );
    }

    fn stage() -> impl Strategy<Value = Stage> {
        prop::sample::select(vec![Left, Left, Left, Running, Waiting, Succeeded, Failed])
    }

    proptest! {
        /// Never more than its limits say, never one twice, and always something while there is room.
        #[test]
        fn limits_hold(
            mut all in prop::collection::vec((0..6_usize, stage()), 0..60),
            canaries in 0..4_usize, concurrency in 1..8_usize, domains in 1..4_usize,
        ) {
            all.sort_by_key(|(domain, _)| *domain);
            let names = ["a", "b", "c", "d", "e", "f"];
            let items: Vec<Item<'_>> = all
                .iter()
                .filter_map(|(domain, stage)| Some(Item { domain: names.get(*domain)?, stage: *stage }))
                .collect();
            let limits = Limits { canaries, concurrency, domains, failures: 10, accepted: 10 };
            let wave = next_wave(&items, &limits);
            let at = |place: &usize| items.get(*place).copied();
            let started: BTreeSet<usize> = wave.start.iter().copied().collect();
            prop_assert_eq!(started.len(), wave.start.len());
            prop_assert!(started.iter().all(|place| at(place).is_some_and(|item| item.stage == Left)));
            let in_work = wave.counts.running + wave.counts.waiting;
            prop_assert!(started.is_empty() || in_work + started.len() <= concurrency);
            let before: BTreeSet<&str> =
                items.iter().filter(|item| [Running, Waiting].contains(&item.stage)).map(|item| item.domain).collect();
            let mut after = before.clone();
            after.extend(started.iter().filter_map(|place| Some(at(place)?.domain)));
            prop_assert!(wave.trying || after.len() <= domains.max(before.len()));
            if wave.trying {
                prop_assert!(started.iter().all(|place| wave.canaries.contains(place)));
            }
            let stuck = started.is_empty() && wave.halt.is_none() && wave.counts.left > 0;
            prop_assert!(!stuck || wave.counts.running + wave.counts.waiting > 0);
        }
    }
}
