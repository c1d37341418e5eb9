//! Whether a remedy begins runs, on what, and when it has done enough. Pure.
//!
//! What it did before is seen from its runs. Each that has ended is judged once, when it is clear whether it mended
//! its target, and keeps that judgement.

use super::words::{self, Told};
use quarterdeck_model::{
    Time,
    kinds::{AffectedObject, Remedy, RemedyPhase, RemedySpec, RemedyStatus},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

/// Objects that a status shows, and since when: that is kept over a restart.
const SHOWN: usize = 100;
/// Runs of a remedy that are kept, whatever became of them: more than it is judged by.
const KEPT: usize = 200;
/// The time in which `maxPerHour` begin.
const HOUR: Duration = Duration::from_secs(3_600);
/// A remedy with work to do looks at least so often, since clocks are set.
const LOOK: Duration = Duration::from_secs(60);

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Mended,
    NotMended,
    Failed,
    /// A person ended it: it says nothing of the remedy.
    Cancelled,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    InWork,
    Succeeded,
    Failed,
    Cancelled,
}

/// A run of the remedy.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) name: String,
    pub(super) target: String,
    /// The place of the target.
    pub(super) domain: String,
    /// Which run on its target it is, from 1.
    pub(super) number: u32,
    pub(super) created: Time,
    pub(super) ended: Option<Time>,
    pub(super) state: State,
    pub(super) outcome: Option<Outcome>,
}

/// An object of which the condition is true.
#[derive(Debug, Clone)]
pub(super) struct Affected {
    pub(super) name: String,
    pub(super) domain: String,
    pub(super) since: Time,
}

/// Everything that is decided on.
pub(super) struct Situation<'a> {
    pub(super) remedy: &'a Remedy,
    /// Those for the longest time first.
    pub(super) affected: &'a [Affected],
    pub(super) attempts: &'a [Attempt],
    /// How many objects there are, affected or not.
    pub(super) objects: u32,
    pub(super) now: Time,
}

/// A run to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) target: String,
    pub(super) number: u32,
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) status: RemedyStatus,
    /// Names of runs, and what became of them.
    pub(super) judged: Vec<(String, Outcome)>,
    pub(super) begin: Vec<Begin>,
    /// Names of runs that are not kept any longer.
    pub(super) forget: Vec<String>,
    pub(super) news: Vec<Told>,
    /// When to look again, if nothing changes before.
    pub(super) again: Option<Duration>,
}

/// Decides.
pub(super) fn decide(situation: &Situation<'_>) -> Decision {
    let look = Look::new(situation);
    let judged = look.judged.iter().map(|(name, outcome)| ((*name).to_owned(), *outcome));
    let mut decision =
        Decision { judged: judged.collect(), forget: look.forgotten(), ..Decision::default() };
    let given_up = look.given_up();
    let spec = &situation.remedy.spec;
    let open = situation.affected.len().saturating_sub(given_up.len());
    let common = number(open) > spec.affected_max(situation.objects);
    let failing = look.failing();
    let before = &situation.remedy.status;
    let stopped = before.phase == RemedyPhase::Stopped && !look.resumed;
    let phase = match (stopped, &failing) {
        _ if spec.suspend => RemedyPhase::Suspended,
        (false, None) => RemedyPhase::Active,
        _ => RemedyPhase::Stopped,
    };
    if phase == RemedyPhase::Active && !common {
        decision.begin = look.begins(&given_up);
    }
    decision.again = look.again(&given_up);
    let mut status = look.counted(&given_up);
    status.phase = phase;
    let seen = words::Seen {
        spec,
        objects: situation.objects,
        open: number(open),
        common,
        failing: failing.as_deref().filter(|_| phase == RemedyPhase::Stopped),
        given_up: &given_up,
        now: situation.now,
    };
    decision.news = words::tell(&seen, before, &mut status);
    decision.status = status;
    decision
}

/// What is known at one look.
struct Look<'a> {
    situation: &'a Situation<'a>,
    spec: &'a RemedySpec,
    /// Something else was asked of the remedy since the last look.
    resumed: bool,
    /// What began before does not count against it.
    since: Time,
    /// Runs that are judged now.
    judged: Vec<(&'a str, Outcome)>,
    /// The runs on each target, the newest first.
    tried: HashMap<&'a str, Vec<&'a Attempt>>,
}

impl<'a> Look<'a> {
    fn new(situation: &'a Situation<'a>) -> Self {
        let (remedy, spec) = (situation.remedy, &situation.remedy.spec);
        let resumed = remedy.status.observed_generation != remedy.metadata.generation;
        // Runs say in whole seconds when they were made.
        let begins = Time::seconds(situation.now.timestamp());
        let since = remedy.status.active_since.filter(|_| !resumed).unwrap_or(begins);
        let affected: HashSet<&str> = situation.affected.iter().map(|it| &*it.name).collect();
        let judged = situation.attempts.iter().filter(|it| it.outcome.is_none()).filter_map(|it| {
            let outcome = match it.state {
                State::InWork => return None,
                State::Failed => Outcome::Failed,
                State::Cancelled => Outcome::Cancelled,
                State::Succeeded if situation.now < after(it.ended(), spec.holds_for.as_std()) => {
                    return None;
                }
                State::Succeeded if affected.contains(&*it.target) => Outcome::NotMended,
                State::Succeeded => Outcome::Mended,
            };
            Some((&*it.name, outcome))
        });
        let judged = judged.collect();
        let mut tried: HashMap<&str, Vec<&Attempt>> = HashMap::new();
        for attempt in situation.attempts {
            tried.entry(&attempt.target).or_default().push(attempt);
        }
        for runs in tried.values_mut() {
            runs.sort_by_key(|it| std::cmp::Reverse(it.number));
        }
        Self { situation, spec, resumed, since, judged, tried }
    }

    fn outcome(&self, attempt: &Attempt) -> Option<Outcome> {
        let now = self.judged.iter().find(|(name, _)| *name == attempt.name);
        attempt.outcome.or(now.map(|(_, outcome)| *outcome))
    }

    fn on(&self, target: &str) -> &[&'a Attempt] {
        self.tried.get(target).map_or(&[], Vec::as_slice)
    }

    /// Objects on which enough was tried since the last time that one was mended.
    fn given_up(&self) -> Vec<&'a str> {
        let most = usize::try_from(self.spec.give_up_after).unwrap_or(usize::MAX);
        let names = self.situation.affected.iter().map(|it| &*it.name);
        names.filter(|name| self.in_vain(name) >= most).collect()
    }

    fn in_vain(&self, target: &str) -> usize {
        let counted = self.on(target).iter().filter(|it| it.created >= self.since);
        let outcomes = counted.filter_map(|it| self.outcome(it));
        outcomes.take_while(|outcome| *outcome != Outcome::Mended).count()
    }

    /// The last runs, when too few of them mended something.
    fn failing(&self) -> Option<Vec<(&'a Attempt, Outcome)>> {
        let counted = self.situation.attempts.iter().filter(|it| it.created >= self.since);
        let mut judged: Vec<(&Attempt, Outcome)> = counted
            .filter_map(|it| Some((it, self.outcome(it)?)))
            .filter(|(_, outcome)| *outcome != Outcome::Cancelled)
            .collect();
        judged.sort_by_key(|(it, _)| std::cmp::Reverse((it.ended(), it.number)));
        let last = usize::try_from(self.spec.stop_after).unwrap_or(usize::MAX);
        if judged.len() < last {
            return None;
        }
        judged.truncate(last);
        let mended = judged.iter().filter(|(_, outcome)| *outcome == Outcome::Mended).count();
        (number(mended) < self.spec.mended_min()).then_some(judged)
    }

    /// When a run may begin on an object; none while one is on it, or not judged yet.
    fn ready(&self, affected: &Affected) -> Option<Time> {
        let held = after(affected.since, self.spec.holds_for.as_std());
        let Some(last) = self.on(&affected.name).first() else { return Some(held) };
        self.outcome(last)?;
        Some(held.max(after(last.ended(), self.spec.cooldown.as_std())))
    }

    fn in_work(&self) -> impl Iterator<Item = &'a Attempt> {
        self.situation.attempts.iter().filter(|it| it.state == State::InWork)
    }

    /// When those that began within the last hour did.
    fn within_hour(&self) -> impl Iterator<Item = Time> {
        let now = self.situation.now;
        self.situation.attempts.iter().map(|it| it.created).filter(move |it| after(*it, HOUR) > now)
    }

    /// What begins now, within all limits.
    fn begins(&self, given_up: &[&str]) -> Vec<Begin> {
        let limit = |most: u32, used: usize| {
            usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(used)
        };
        let at_once = limit(self.spec.concurrency, self.in_work().count());
        let room = at_once.min(limit(self.spec.max_per_hour, self.within_hour().count()));
        let mut used: BTreeMap<&str, u32> = BTreeMap::new();
        for attempt in self.in_work() {
            *used.entry(&attempt.domain).or_default() += 1;
        }
        let most = self.spec.per_domain.as_ref().map_or(u32::MAX, |domain| domain.max);
        let given_up: HashSet<&str> = given_up.iter().copied().collect();
        let mut begins = Vec::new();
        for affected in self.situation.affected {
            if begins.len() >= room {
                break;
            }
            let ready = self.ready(affected).is_some_and(|ready| ready <= self.situation.now);
            if !ready || given_up.contains(&*affected.name) {
                continue;
            }
            let there = used.entry(&affected.domain).or_default();
            if *there >= most {
                continue;
            }
            *there += 1;
            let last = self.on(&affected.name).first().map_or(0, |last| last.number);
            begins.push(Begin { target: affected.name.clone(), number: last.saturating_add(1) });
        }
        begins
    }

    /// When something is to be done without that anything changes; soon enough, should the clock be set.
    fn again(&self, given_up: &[&str]) -> Option<Duration> {
        let now = self.situation.now;
        let given_up: HashSet<&str> = given_up.iter().copied().collect();
        let open = self.situation.affected.iter().filter(|it| !given_up.contains(&*it.name));
        let begins = open.filter_map(|it| self.ready(it));
        let judged = self.situation.attempts.iter().filter(|it| self.outcome(it).is_none());
        let judged = judged
            .filter(|it| it.state != State::InWork)
            .map(|it| after(it.ended(), self.spec.holds_for.as_std()));
        let mut times = begins.chain(judged).peekable();
        times.peek()?;
        let room = self.within_hour().map(|it| after(it, HOUR));
        let next = times.chain(room).filter(|time| *time > now).min();
        let until = next.and_then(|next| {
            Duration::try_from(next.timestamp().duration_since(now.timestamp())).ok()
        });
        Some(until.unwrap_or(LOOK).min(LOOK))
    }

    /// What the status counts.
    fn counted(&self, given_up: &[&str]) -> RemedyStatus {
        let Situation { remedy, affected, attempts, .. } = self.situation;
        let all = |wanted: fn(Outcome) -> bool| {
            number(
                attempts.iter().filter_map(|it| self.outcome(it)).filter(|it| wanted(*it)).count(),
            )
        };
        let tried: HashSet<&str> = self.in_work().map(|it| &*it.target).collect();
        let tried = affected.iter().filter(|it| tried.contains(&*it.name)).count();
        let waiting = affected.len().saturating_sub(tried + given_up.len());
        let shown = affected.iter().take(SHOWN);
        RemedyStatus {
            observed_generation: remedy.metadata.generation,
            active_since: Some(self.since),
            affected: number(affected.len()),
            waiting: number(waiting),
            running: number(self.in_work().count()),
            succeeded: all(|outcome| outcome == Outcome::Mended),
            failed: all(|outcome| matches!(outcome, Outcome::NotMended | Outcome::Failed)),
            given_up: number(given_up.len()),
            last_run_time: attempts
                .iter()
                .map(|it| it.created)
                .max()
                .max(remedy.status.last_run_time),
            objects: shown
                .map(|it| AffectedObject { name: it.name.clone(), since: Some(it.since) })
                .collect(),
            conditions: remedy.status.conditions.clone(),
            ..RemedyStatus::default()
        }
    }

    /// Old runs by which nothing is decided any more.
    fn forgotten(&self) -> Vec<String> {
        let affected: HashSet<&str> = self.situation.affected.iter().map(|it| &*it.name).collect();
        let rest = self.spec.cooldown.as_std().max(HOUR);
        let mut all: Vec<&Attempt> = self.situation.attempts.iter().collect();
        all.sort_by_key(|it| std::cmp::Reverse((it.created, &it.name)));
        let old = all.into_iter().skip(KEPT).filter(|it| {
            // What is judged by this look is so when it is written, and forgotten by a later one.
            it.outcome.is_some()
                && !affected.contains(&*it.target)
                && after(it.ended(), rest) < self.situation.now
        });
        old.map(|it| it.name.clone()).collect()
    }
}

impl Attempt {
    /// When it ended; when it began, if that is not said.
    fn ended(&self) -> Time {
        self.ended.unwrap_or(self.created)
    }
}

fn after(time: Time, wait: Duration) -> Time {
    time.timestamp().checked_add(wait).map_or(Time::new(jiff::Timestamp::MAX), Time::new)
}

pub(super) fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
