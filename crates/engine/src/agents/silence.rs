//! What it means that agents are silent. Pure: what was seen and the time come in, verdicts come out.
//!
//! One machine that is silent past the deadline is unreachable. But when many fall silent together (of a site, of those that one
//! replica held, or of all), what failed is most likely what is between: a network, or the plane. Then nothing is marked until
//! that lasts much longer, since what runs there runs on, and whoever acted on it would break it.

use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::Key;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What is too long, and what is too many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// After so long a silence a machine is unreachable.
    deadline: SignedDuration,
    /// After so long a silence it is, whoever else is silent.
    mass_deadline: SignedDuration,
    /// Silence of more than so many of a group,
    mass_count: usize,
    /// and of more than one in so many, is not theirs. Both must be so: a small group may be gone as a whole.
    mass_share: usize,
}

/// How many times the deadline a mass silence has to last.
const MASS_DEADLINES: i32 = 15;
/// See [`Limits::mass_count`]. A rack that loses its power is no mass.
const MASS_COUNT: usize = 40;
/// See [`Limits::mass_share`].
const MASS_SHARE: usize = 4;

impl Limits {
    /// The usual ones, with that deadline.
    pub(super) fn of(deadline: SignedDuration) -> Self {
        let mass_deadline = deadline.saturating_mul(MASS_DEADLINES);
        Self { deadline, mass_deadline, mass_count: MASS_COUNT, mass_share: MASS_SHARE }
    }
}

/// How a machine's agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connected,
    /// Since then, by the clock of the replica that lost it.
    Silent(Timestamp),
    /// It is marked so.
    Unreachable,
}

/// Machines that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Group {
    Fleet,
    Site(String),
    Replica(String),
}

/// How many of a group are how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) connected: usize,
    /// And not marked.
    pub(super) silent: usize,
}

/// What is decided of a silent machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is looked at again then.
    Wait(Timestamp),
    /// Others are silent too; it is looked at again then.
    Held(Timestamp),
    Unreachable,
}

/// Judges one silence, in which groups of such counts share.
pub(super) fn judge(
    since: Timestamp,
    groups: &[Counts],
    (limits, now): (&Limits, Timestamp),
) -> Verdict {
    let at = |after| since.checked_add(after).unwrap_or(Timestamp::MAX);
    let due = at(limits.deadline);
    if now < due {
        return Verdict::Wait(due);
    }
    let last = at(limits.mass_deadline);
    if now < last && groups.iter().any(|counts| is_mass(*counts, limits)) {
        // It may end at any moment, and then those that are still silent are alone.
        let again = now.checked_add(limits.deadline / 4).unwrap_or(Timestamp::MAX);
        return Verdict::Held(again.min(last));
    }
    Verdict::Unreachable
}

fn is_mass(counts: Counts, limits: &Limits) -> bool {
    let all = counts.connected + counts.silent;
    counts.silent > limits.mass_count && counts.silent * limits.mass_share > all
}

struct Entry {
    state: State,
    /// Since when its silence counts, in the time of whoever judges it: clocks of replicas differ.
    since: Timestamp,
    /// When it is looked at, if it is silent: its place in the line.
    at: Timestamp,
    groups: [Option<Group>; 3],
}

/// All machines with agents.
pub(super) struct Silence {
    limits: Limits,
    machines: HashMap<Key, Entry>,
    groups: BTreeMap<Group, Counts>,
    due: BTreeSet<(Timestamp, Key)>,
}

impl Silence {
    pub(super) fn new(limits: Limits) -> Self {
        let (machines, groups, due) = (HashMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { limits, machines, groups, due }
    }

    /// Takes in how a machine is; if it has just fallen silent, that counts since then. Answers how it was.
    pub(super) fn note(
        &mut self,
        key: Key,
        (site, replica): (Option<String>, String),
        (state, since): (State, Timestamp),
    ) -> Option<State> {
        let before = self.remove(&key);
        // The same silence, seen once more.
        let same = before.as_ref().filter(|before| before.state == state);
        let (since, at) = same.map_or((since, since), |before| (before.since, before.at));
        let groups = [Some(Group::Fleet), site.map(Group::Site), Some(Group::Replica(replica))];
        self.count(&groups, state, 1);
        if matches!(state, State::Silent(_)) {
            self.due.insert((at, key.clone()));
        }
        self.machines.insert(key, Entry { state, since, at, groups });
        before.map(|before| before.state)
    }

    /// It is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        self.remove(key);
    }

    /// All are gone but these. Answers which.
    pub(super) fn forget_others(&mut self, there: &HashSet<Key>) -> Vec<Key> {
        let gone = self.machines.keys().filter(|key| !there.contains(*key));
        let gone: Vec<Key> = gone.cloned().collect();
        gone.iter().for_each(|key| self.forget(key));
        gone
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.machines.remove(key)?;
        self.count(&entry.groups, entry.state, -1);
        self.due.remove(&(entry.at, key.clone()));
        Some(entry)
    }

    fn count(&mut self, groups: &[Option<Group>], state: State, by: isize) {
        for group in groups.iter().flatten() {
            let counts = self.groups.entry(group.clone()).or_default();
            match state {
                State::Connected => counts.connected = counts.connected.saturating_add_signed(by),
                State::Silent(_) => counts.silent = counts.silent.saturating_add_signed(by),
                State::Unreachable => {}
            }
            if *counts == Counts::default() {
                self.groups.remove(group);
            }
        }
    }

    /// Verdicts on those whose time has come, with not more than `most` unreachable ones: those that are held back cost nothing, and
    /// must not keep others waiting. One that is unreachable is told again unless it is noted
    /// as such.
    pub(super) fn due(&mut self, now: Timestamp, most: usize) -> Vec<(Key, Verdict)> {
        let mut verdicts = Vec::new();
        let mut unreachable = 0;
        while unreachable < most {
            let Some((at, key)) = self.due.pop_first() else { break };
            if at > now {
                self.due.insert((at, key));
                break;
            }
            let Some(entry) = self.machines.get_mut(&key) else { continue };
            let (since, groups) = (entry.since, &entry.groups);
            let counts: Vec<Counts> = groups
                .iter()
                .flatten()
                .filter_map(|group| self.groups.get(group))
                .copied()
                .collect();
            let verdict = judge(since, &counts, (&self.limits, now));
            let again = match verdict {
                Verdict::Wait(again) | Verdict::Held(again) => again,
                Verdict::Unreachable => {
                    now.checked_add(self.limits.deadline / 4).unwrap_or(Timestamp::MAX)
                }
            };
            unreachable += usize::from(verdict == Verdict::Unreachable);
            entry.at = again.max(now + SignedDuration::from_millis(1));
            self.due.insert((entry.at, key.clone()));
            if !matches!(verdict, Verdict::Wait(_)) {
                verdicts.push((key, verdict));
            }
        }
        verdicts
    }

    /// Groups of which many are silent.
    pub(super) fn masses(&self) -> Vec<(Group, Counts)> {
        let mass = |(_, counts): &(&Group, &Counts)| is_mass(**counts, &self.limits);
        self.groups.iter().filter(mass).map(|(group, counts)| (group.clone(), *counts)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quarterdeck_model::{Kind as _, kinds::Machine};

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn limits() -> Limits {
        Limits::of(SignedDuration::from_secs(40))
    }

    fn key(number: usize) -> Key {
        Key::new(Machine::info(), "a", &format!("m{number}"))
    }

    #[test]
    fn one_is_unreachable_after_the_deadline_and_many_together_much_later() {
        let counts = |connected, silent| Counts { connected, silent };
        let few = counts(100, 3);
        for (groups, now, expected) in [
            (vec![few], 39, Verdict::Wait(second(40))),
            (vec![few], 40, Verdict::Unreachable),
            // A whole small site, or many of very many, is their own.
            (vec![counts(0, MASS_COUNT)], 40, Verdict::Unreachable),
            (vec![counts(1_000, 200)], 40, Verdict::Unreachable),
            (vec![counts(100, MASS_COUNT + 1)], 40, Verdict::Held(second(50))),
            // One group that is silent is enough.
            (vec![few, counts(0, 500)], 100, Verdict::Held(second(110))),
            (vec![counts(0, 500)], 595, Verdict::Held(second(600))),
            (vec![counts(0, 500)], 600, Verdict::Unreachable),
        ] {
            let found = judge(second(0), &groups, (&limits(), second(now)));
            assert_eq!(found, expected, "{groups:?} at {now}");
        }
    }

    #[test]
    fn a_mass_is_seen_while_it_lasts_and_who_stays_away_is_alone_after_it() {
        let mut silence = Silence::new(limits());
        let place = |number: usize| (Some(format!("site{}", number % 2)), "r".to_owned());
        let all = 200;
        for number in 0..all {
            silence.note(key(number), place(number), (State::Connected, second(0)));
        }
        assert!(silence.masses().is_empty());
        for number in (0..all).step_by(2) {
            silence.note(key(number), place(number), (State::Silent(second(100)), second(100)));
        }
        let groups: Vec<Group> = silence.masses().into_iter().map(|(group, _)| group).collect();
        let site = Group::Site("site0".into());
        assert_eq!(groups, [Group::Fleet, site, Group::Replica("r".into())]);
        let verdicts = silence.due(second(140), 1_000);
        assert!(verdicts.iter().all(|(_, verdict)| matches!(verdict, Verdict::Held(_))));
        assert_eq!(verdicts.len(), 100);
        for number in (2..all).step_by(2) {
            let before = silence.note(key(number), place(number), (State::Connected, second(141)));
            assert_ne!(before, Some(State::Unreachable), "it was never marked");
        }
        assert!(silence.masses().is_empty());
        assert_eq!(silence.due(second(151), 1_000), [(key(0), Verdict::Unreachable)]);
        silence.note(key(0), place(0), (State::Unreachable, second(151)));
        assert!(silence.due(second(1_000), 1_000).is_empty());
        let before = silence.note(key(0), place(0), (State::Connected, second(1_000)));
        assert_eq!(before, Some(State::Unreachable), "it is back");
    }

    #[test]
    fn a_silence_counts_since_it_was_seen_whatever_the_clocks_of_others_say() {
        let mut silence = Silence::new(limits());
        let place = || (None, "r".to_owned());
        // It says so itself, by a clock that is an hour behind.
        let silent = State::Silent(second(-3_600));
        silence.note(key(1), place(), (silent, second(1_000)));
        assert!(silence.due(second(1_039), 10).is_empty());
        // Seen once more, as after falling behind.
        silence.note(key(1), place(), (silent, second(1_030)));
        assert_eq!(silence.due(second(1_040), 10), [(key(1), Verdict::Unreachable)]);
        // It is told until it is noted.
        assert_eq!(silence.due(second(1_060), 10), [(key(1), Verdict::Unreachable)]);
        // It came and went again meanwhile: another silence.
        silence.note(key(1), place(), (State::Silent(second(-3_000)), second(1_070)));
        assert!(silence.due(second(1_109), 10).is_empty());
        assert_eq!(silence.due(second(1_110), 10), [(key(1), Verdict::Unreachable)]);
        assert_eq!(silence.forget_others(&HashSet::new()), [key(1)]);
        assert!(silence.due(second(2_000), 10).is_empty());
    }

    proptest! {
        /// Whatever comes and goes: nobody is marked before the deadline, nor while a group of theirs is silent as a whole; everybody is
        /// who is silent for long enough; and counts are those of the machines.
        #[test]
        fn nobody_is_marked_too_early_or_never(
            steps in prop::collection::vec((0..60_usize, 0..3_u8, 0..30_i64), 1..400)
        ) {
            let limits = Limits { mass_count: 10, ..limits() };
            let mut silence = Silence::new(limits);
            let mut now = 0;
            let mut seen: HashMap<usize, State> = HashMap::new();
            for (number, what, passed) in steps {
                now += passed;
                let state = match what {
                    0 => State::Connected,
                    _ if matches!(seen.get(&number), Some(State::Silent(_) | State::Unreachable)) => seen[&number],
                    _ => State::Silent(second(now)),
                };
                silence.note(key(number), (Some("s".into()), "r".into()), (state, second(now)));
                seen.insert(number, state);
                let of = |is: fn(&State) -> bool| seen.values().filter(|state| is(state)).count();
                let counts = Counts {
                    connected: of(|state| *state == State::Connected),
                    silent: of(|state| matches!(state, State::Silent(_))),
                };
                prop_assert_eq!(silence.groups.get(&Group::Fleet).copied().unwrap_or_default(), counts);
                for (found, verdict) in silence.due(second(now), 1_000) {
                    if verdict != Verdict::Unreachable { continue }
                    let number: usize = found.name.trim_start_matches('m').parse().unwrap();
                    let State::Silent(since) = seen[&number] else { panic!("{number} is not silent") };
                    let silent_for = second(now).duration_since(since);
                    prop_assert!(silent_for >= limits.deadline);
                    prop_assert!(!is_mass(counts, &limits) || silent_for >= limits.mass_deadline);
                    let state = State::Unreachable;
                    silence.note(found, (Some("s".into()), "r".into()), (state, second(now)));
                    seen.insert(number, state);
                    break;
                }
            }
            let end = second(now + 700);
            let told: Vec<Key> = silence.due(end, 1_000).into_iter().map(|(key, verdict)| {
                assert_eq!(verdict, Verdict::Unreachable);
                key
            }).collect();
            for (number, state) in &seen {
                let silent = matches!(state, State::Silent(_));
                prop_assert_eq!(told.contains(&key(*number)), silent, "{}", number);
            }
        }
    }
}
