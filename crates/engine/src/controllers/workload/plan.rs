//! Which instances of a workload come and go next, and how far its rollout is. Pure: the same workload, instances and time
//! give the same plan.
//!
//! Instances are of revisions. Of each revision so many are wanted ([`Wanted`]): what a strategy does is say how many of
//! the new one, and when more. The rest is the same for all: what is missing is created, within the surge; what is too
//! much is taken, as long as enough are available; what is to move is taken once another one serves in its place. Whoever
//! carries the plan out asks the ledger before anything is taken that is up.

use quarterdeck_model::{
    Time,
    kinds::{CanaryStep, RolloutCheck, RolloutStatus, WorkloadSpec, WorkloadStrategyType},
};
use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

/// Most instances created, and most taken, by one look: together they fit one commit.
pub(super) const AT_ONCE: usize = 200;
/// How long an instance that ended stays, so that people see why, before another takes its place.
const FAILED_AFTER: Duration = Duration::from_secs(30);

/// What the ledger has said to an instance being taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leave {
    /// It was not asked.
    #[default]
    Unasked,
    /// Not now.
    Waiting,
    /// It may be.
    Granted,
}

/// An instance of the workload.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) revision: i64,
    pub(super) created: Option<Time>,
    /// On its way out.
    pub(super) deleting: bool,
    /// Since when it is ready, if it is.
    pub(super) ready: Option<Time>,
    /// Since when it has ended, if it has.
    pub(super) failed: Option<Time>,
    /// Its host is given up.
    pub(super) lost: bool,
    /// Why it is to go elsewhere, when another one serves in its place.
    pub(super) moving: Option<String>,
    /// One of a higher priority needs its place.
    pub(super) preempted: bool,
    pub(super) leave: Leave,
    /// Why it is not ready, or why the ledger does not let it go, as a sentence.
    pub(super) message: Option<String>,
    /// The machine that it is on.
    pub(super) machine: String,
}

/// What is decided on.
pub(super) struct Situation<'a> {
    pub(super) spec: &'a WorkloadSpec,
    pub(super) members: &'a [Member],
    /// The revision that the template is.
    pub(super) target: i64,
    /// The revision that all were of last.
    pub(super) stable: Option<i64>,
    pub(super) rollout: Option<&'a RolloutStatus>,
    /// The step past which a person has let the rollout of the target go on.
    pub(super) resumed: Option<u32>,
    pub(super) now: Time,
}

/// What to do. Instances are told by their place among the members.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    /// The revision of each new instance.
    pub(super) create: Vec<i64>,
    /// Those that are to go, with leave of the ledger; and whether it is the owner's own change.
    pub(super) take: Vec<(usize, bool)>,
    /// Those that go without: nothing is lost with them.
    pub(super) remove: Vec<usize>,
    /// Checks of the step that are due, by their place among these.
    pub(super) due: Vec<usize>,
    pub(super) rollout: Option<RolloutStatus>,
    pub(super) stable: Option<i64>,
    /// The revision that serves: the new one once it was switched to.
    pub(super) active: i64,
    pub(super) waits: Waits,
    /// When to look again, if nothing changes before.
    pub(super) again: Option<Duration>,
}

/// What a rollout waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Waits {
    /// No rollout is under way.
    #[default]
    Nothing,
    /// New instances, or others to go.
    Instances,
    /// The workload is paused.
    Paused,
    /// A person.
    Person,
    /// A pause, until then.
    Pause(Time),
    /// Its checks.
    Checks,
    /// The ledger.
    Ledger,
    /// It is over: it failed, and returns or has returned.
    Returned(String),
}

/// Checks of the step that a rollout is in.
pub(super) fn checks<'s>(spec: &'s WorkloadSpec, rollout: &RolloutStatus) -> &'s [RolloutCheck] {
    match spec.strategy.kind {
        WorkloadStrategyType::RollingUpdate => &[],
        WorkloadStrategyType::Canary => step(spec, rollout.step).map_or(&[], |step| &step.checks),
        WorkloadStrategyType::BlueGreen => {
            spec.strategy.blue_green.as_ref().map_or(&[], |blue_green| &blue_green.checks)
        }
    }
}

/// How many of the new revision there are to be by the end of the step it is in.
pub(super) fn aim(spec: &WorkloadSpec, rollout: &RolloutStatus) -> u32 {
    match spec.strategy.kind {
        WorkloadStrategyType::Canary => step(spec, rollout.step)
            .and_then(|step| step.instances)
            .map_or(spec.replicas, |share| share.of(spec.replicas).min(spec.replicas)),
        _ => spec.replicas,
    }
}

pub(super) fn step(spec: &WorkloadSpec, at: u32) -> Option<&CanaryStep> {
    spec.strategy.canary.as_ref()?.steps.get(usize::try_from(at).ok()?)
}

/// Decides.
pub(super) fn plan(situation: &Situation<'_>) -> Plan {
    let mut planner = Planner::new(situation);
    planner.advance();
    let wanted = planner.wanted();
    planner.remove();
    planner.create(&wanted);
    planner.take(&wanted);
    planner.finish();
    planner.plan
}

/// Whether an instance counts as available.
pub(super) fn available(spec: &WorkloadSpec, member: &Member, now: Time) -> bool {
    let long = Duration::from_secs(spec.min_ready_seconds.into());
    !member.deleting && member.ready.is_some_and(|since| left(since, long, now).is_none())
}

/// How much is left of a while that began then; none when it is over.
pub(super) fn left(since: Time, long: Duration, now: Time) -> Option<Duration> {
    let passed = now.timestamp().duration_since(since.timestamp());
    let passed = Duration::try_from(passed).unwrap_or_default();
    long.checked_sub(passed).filter(|left| !left.is_zero())
}

/// How many instances of each revision there are to be; of one that is not named, none.
#[derive(Debug, Default)]
struct Wanted {
    of: BTreeMap<i64, usize>,
    /// How many there may be in all, besides replacements of those that move.
    most: usize,
}

pub(super) struct Planner<'a> {
    pub(super) situation: &'a Situation<'a>,
    pub(super) replicas: usize,
    /// Instances that stay, as far as is decided.
    live: Vec<usize>,
    pub(super) plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(situation: &'a Situation<'a>) -> Self {
        let live = situation.members.iter().enumerate();
        let live = live.filter(|(_, member)| !member.deleting && !member.lost).map(|(at, _)| at);
        let mut planner = Self {
            situation,
            replicas: size(situation.spec.replicas),
            live: live.collect(),
            plan: Plan {
                stable: situation.stable,
                active: situation.stable.unwrap_or(situation.target),
                ..Plan::default()
            },
        };
        let long = Duration::from_secs(situation.spec.min_ready_seconds.into());
        let waits = planner.members().filter_map(|(_, it)| left(it.ready?, long, situation.now));
        if let Some(soonest) = waits.min() {
            planner.again(soonest);
        }
        planner
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (usize, &'a Member)> + '_ {
        self.live.iter().filter_map(|at| Some((*at, self.situation.members.get(*at)?)))
    }

    pub(super) fn available(&self, member: &Member) -> bool {
        available(self.situation.spec, member, self.situation.now)
    }

    pub(super) fn again(&mut self, after: Duration) {
        let sooner = self.plan.again.map_or(after, |known| known.min(after));
        self.plan.again = Some(sooner);
    }

    /// Available instances of a revision.
    pub(super) fn ready_of(&self, revision: i64) -> usize {
        self.members().filter(|(_, it)| it.revision == revision && self.available(it)).count()
    }

    /// How many of each revision there are to be now.
    fn wanted(&mut self) -> Wanted {
        let Situation { spec, target, stable, now, .. } = *self.situation;
        let all = self.replicas;
        let most = all + size(spec.surge());
        let only = |revision| Wanted { of: BTreeMap::from([(revision, all)]), most };
        let (Some(stable), Some(rollout)) = (stable, &self.plan.rollout) else {
            return only(target);
        };
        if rollout.failed.is_some() {
            return only(stable);
        }
        let both = |new: usize, old: usize| Wanted {
            of: BTreeMap::from([(stable, old), (target, new)]),
            most: most.max(new + old),
        };
        if spec.paused {
            let new = self.members().filter(|(_, it)| it.revision == target).count().min(all);
            return both(new, all - new);
        }
        match spec.strategy.kind {
            WorkloadStrategyType::RollingUpdate => only(target),
            WorkloadStrategyType::Canary => match step(spec, rollout.step) {
                Some(_) => {
                    let new = size(aim(spec, rollout));
                    both(new, all - new.min(all))
                }
                None => only(target),
            },
            WorkloadStrategyType::BlueGreen => {
                let delay = spec.strategy.blue_green.clone().unwrap_or_default().scale_down_delay();
                let stays = match rollout.switched {
                    None => true,
                    Some(since) => match left(since, delay.as_std(), now) {
                        Some(wait) => {
                            self.again(wait);
                            true
                        }
                        None => false,
                    },
                };
                if stays { both(all, all) } else { only(target) }
            }
        }
    }

    /// Instances that are lost, or ended some time ago. Nothing is lost with them.
    fn remove(&mut self) {
        let now = self.situation.now;
        for (at, member) in self.situation.members.iter().enumerate() {
            if member.deleting || self.plan.remove.len() >= AT_ONCE {
                continue;
            }
            let wait = member.failed.map(|since| left(since, FAILED_AFTER, now));
            if let Some(Some(wait)) = wait {
                self.again(wait);
            }
            if member.lost || wait == Some(None) {
                self.plan.remove.push(at);
                self.live.retain(|other| *other != at);
            }
        }
    }

    /// What is missing of each revision, as many as there may be in all. Those that move have one in their place.
    fn create(&mut self, wanted: &Wanted) {
        let moving = self.members().filter(|(_, it)| it.is_moving()).count();
        let mut room = (wanted.most + moving).saturating_sub(self.live.len()).min(AT_ONCE);
        // The newest first: the others are there, for most.
        for (revision, number) in wanted.of.iter().rev() {
            let stay = self.members().filter(|(_, it)| it.revision == *revision && !it.is_moving());
            let missing = number.saturating_sub(stay.count()).min(room);
            room -= missing;
            self.plan.create.extend(std::iter::repeat_n(*revision, missing));
        }
    }

    /// What is too much, or is to move, as long as enough are available.
    fn take(&mut self, wanted: &Wanted) {
        let spec = self.situation.spec;
        let mut up = self.members().filter(|(_, member)| self.available(member)).count();
        let least = self.replicas.saturating_sub(size(spec.unavailable()));
        let mut spare: BTreeMap<i64, usize> = BTreeMap::new();
        for (_, member) in self.members().filter(|(_, member)| !member.is_moving()) {
            *spare.entry(member.revision).or_default() += 1;
        }
        for (revision, count) in &mut spare {
            *count = count.saturating_sub(wanted.of.get(revision).copied().unwrap_or_default());
        }
        let mut candidates: Vec<(usize, &Member)> = self.members().collect();
        let mut crowds: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, member) in &candidates {
            *crowds.entry(&member.machine).or_default() += 1;
        }
        candidates.sort_by_key(|(_, member)| {
            (
                Reverse(member.leave),
                self.available(member),
                Reverse(crowds.get(member.machine.as_str()).copied()),
                member.revision,
                Reverse(member.created.map(Time::timestamp)),
                &member.name,
            )
        });
        let mut take = Vec::new();
        for (at, member) in candidates {
            if take.len() >= AT_ONCE {
                break;
            }
            let least = if member.preempted {
                // The ledger alone says whether it may be missed.
                0
            } else if member.is_moving() {
                // Another one serves in its place.
                self.replicas
            } else {
                match spare.get_mut(&member.revision) {
                    Some(count) if *count > 0 => *count -= 1,
                    _ => continue,
                }
                least
            };
            if self.available(member) {
                if up <= least {
                    continue;
                }
                up -= 1;
            }
            take.push((at, !member.is_moving()));
        }
        self.plan.take = take;
    }
}

impl Member {
    pub(super) fn is_moving(&self) -> bool {
        self.moving.is_some() || self.preempted
    }
}

pub(super) fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
