//! What a pool's status says. Pure. It stays small whatever the number of machines: what many have in common is said
//! once, with one of them as an example.

use super::plan::{Member, Plan, Situation, available};
use crate::controllers::quotas::Limit;
use quarterdeck_model::{
    Condition, ConditionStatus, condition,
    kinds::{MachinePool, MachinePoolPhase, MachinePoolStatus, PoolStrategyType},
};
use std::collections::BTreeMap;

/// Groups of machines that a sentence names.
const GROUPS_MAX: usize = 3;
/// Longest part of a machine's own sentence that is repeated, in letters.
const REPEATED_MAX: usize = 400;

/// What a pool's machines need and is not there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Missing {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// How many machines there are of each sort.
#[derive(Default)]
struct Counts {
    live: usize,
    ready: usize,
    updated: usize,
    available: usize,
    deleting: usize,
    unhealthy: usize,
}

/// The status of a pool for which that is planned.
pub(super) fn status(
    pool: &MachinePool,
    situation: &Situation<'_>,
    missing: Option<&Missing>,
    plan: &Plan,
) -> MachinePoolStatus {
    let counts = counts(situation);
    let mut conditions = pool.status.conditions.clone();
    let phase = phase(situation, &counts);
    for (kind, (status, reason, message)) in [
        ("Available", is_available(situation, &counts)),
        ("Progressing", progresses(situation, &counts, missing, plan)),
        ("Healthy", is_healthy(situation, &counts, plan)),
    ] {
        let next = Condition::new(kind, status, reason, message, situation.now);
        condition::set(&mut conditions, next);
    }
    MachinePoolStatus {
        observed_generation: pool.metadata.generation,
        phase,
        replicas: number(counts.live),
        ready_replicas: number(counts.ready),
        updated_replicas: number(counts.updated),
        available_replicas: number(counts.available),
        deleting_replicas: number(counts.deleting),
        selector: Some(format!("{}={}", super::POOL, pool.metadata.name)),
        created: pool.status.created + u64::from(number(plan.create.len())),
        conditions,
    }
}

fn counts(situation: &Situation<'_>) -> Counts {
    let mut counts = Counts::default();
    for member in situation.members {
        if member.deleting {
            counts.deleting += 1;
            continue;
        }
        counts.live += 1;
        counts.ready += usize::from(member.ready.is_some());
        counts.updated += usize::from(member.updated);
        counts.available += usize::from(available(situation.spec, member, situation.now));
        counts.unhealthy += usize::from(member.unhealthy.is_some());
    }
    counts
}

fn wanted(situation: &Situation<'_>) -> usize {
    usize::try_from(situation.spec.replicas).unwrap_or(usize::MAX)
}

fn phase(situation: &Situation<'_>, counts: &Counts) -> MachinePoolPhase {
    let left_alone = situation.spec.strategy.kind == PoolStrategyType::OnDelete;
    let arrived = counts.live == wanted(situation) && counts.available == counts.live;
    match counts {
        _ if situation.spec.paused => MachinePoolPhase::Paused,
        _ if situation.blocked || counts.unhealthy > 0 => MachinePoolPhase::Degraded,
        _ if counts.updated < counts.live && !left_alone => MachinePoolPhase::Updating,
        _ if !arrived || counts.deleting > 0 => MachinePoolPhase::Scaling,
        _ => MachinePoolPhase::Stable,
    }
}

type Says = (ConditionStatus, &'static str, String);

fn is_available(situation: &Situation<'_>, counts: &Counts) -> Says {
    let (wanted, may_miss) = (situation.spec.replicas, situation.spec.unavailable());
    let least = wanted.saturating_sub(may_miss);
    let message = format!(
        "{} of {} available; at least {least} should be.",
        counts.available,
        machines(counts.live.max(wanted_size(wanted)))
    );
    if counts.available >= wanted_size(least) {
        (ConditionStatus::True, "EnoughAvailable", message)
    } else {
        (ConditionStatus::False, "TooFewAvailable", message)
    }
}

fn progresses(
    situation: &Situation<'_>,
    counts: &Counts,
    missing: Option<&Missing>,
    plan: &Plan,
) -> Says {
    if situation.spec.paused {
        let message = "Nothing is created, changed or deleted until spec.paused is false.".into();
        return (ConditionStatus::Unknown, "Paused", message);
    }
    if let Some(Missing { reason, message }) = missing {
        return (ConditionStatus::False, reason, message.clone());
    }
    if let Some(Limit { quota, most, used }) = situation.quota
        && plan.over_quota > 0
    {
        let wanted = machines(plan.over_quota);
        let message = format!(
            "ResourceQuota {quota} allows {most} machines in this namespace, and {used} are there: {wanted} wanted \
             besides, and not made. Raise the quota, or delete other machines."
        );
        return (ConditionStatus::False, "QuotaExceeded", message);
    }
    let left_alone = situation.spec.strategy.kind == PoolStrategyType::OnDelete;
    let outdated = counts.live - counts.updated;
    let mut said: Vec<String> = Vec::new();
    if outdated > 0 {
        let whole = machines(counts.live);
        let how = if left_alone { "; the others are until somebody deletes them" } else { "" };
        said.push(format!("{} of {whole} as the template says{how}.", counts.updated));
    }
    if counts.live != wanted(situation) {
        said.push(format!("{} there, {} wanted.", machines(counts.live), wanted(situation)));
    }
    let groups = groups(situation);
    let waits_for_servers = !groups.is_empty() && groups.iter().all(|it| it.reason == "NoServer");
    said.extend(groups.into_iter().map(|group| group.sentence));
    if said.is_empty() || said.len() == 1 && left_alone && outdated > 0 {
        let message = said.pop().unwrap_or_else(|| "All machines are as wanted.".into());
        return (ConditionStatus::True, "AsWanted", message);
    }
    let message = said.join(" ");
    match () {
        () if waits_for_servers => (ConditionStatus::False, "NoServer", message),
        () if outdated > 0 && !left_alone => (ConditionStatus::True, "Updating", message),
        () => (ConditionStatus::True, "Scaling", message),
    }
}

fn is_healthy(situation: &Situation<'_>, counts: &Counts, plan: &Plan) -> Says {
    let sick = |member: &&Member| !member.deleting && member.unhealthy.is_some();
    let Some(example) = situation.members.iter().find(sick) else {
        return (ConditionStatus::True, "AllHealthy", "No machine has failed.".into());
    };
    let sick = machines(counts.unhealthy);
    let example = such_as(example);
    let Some(unhealthy) = situation.spec.unhealthy else {
        let message = format!(
            "{sick} not well, {example} None is replaced, since spec.unhealthy is not set; delete what should be."
        );
        return (ConditionStatus::False, "Unhealthy", message);
    };
    if plan.too_many_unhealthy {
        let message = format!(
            "{sick} not well, more than the {} that spec.unhealthy.maxUnhealthy accepts. This looks like a common cause, so none is replaced; {example}",
            situation.spec.unhealthy_accepted()
        );
        return (ConditionStatus::False, "TooManyUnhealthy", message);
    }
    let message =
        format!("{sick} not well, {example} Whichever is so for {} is replaced.", unhealthy.after);
    (ConditionStatus::False, "Replacing", message)
}

/// Machines that wait for the same.
struct Group {
    size: usize,
    reason: String,
    sentence: String,
}

/// What machines that are not ready wait for, the most first.
fn groups(situation: &Situation<'_>) -> Vec<Group> {
    let mut found: BTreeMap<(bool, &str), (usize, &Member)> = BTreeMap::new();
    for member in situation.members {
        if member.ready.is_none() || member.deleting {
            found.entry((member.deleting, &member.reason)).or_insert((0, member)).0 += 1;
        } else if !available(situation.spec, member, situation.now) {
            found.entry((false, "")).or_insert((0, member)).0 += 1;
        }
    }
    let mut groups: Vec<Group> = found
        .into_iter()
        .map(|((deleting, reason), (size, example))| {
            let sentence = match (deleting, reason) {
                (true, _) => format!("{} on the way out, {}", machines(size), such_as(example)),
                (false, "") if example.ready.is_some() => format!(
                    "{} ready, and not yet for {} s.",
                    machines(size),
                    situation.spec.min_ready_seconds
                ),
                (false, _) => format!("{} not ready, {}", machines(size), such_as(example)),
            };
            Group { size, reason: reason.to_owned(), sentence }
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.size));
    groups.truncate(GROUPS_MAX);
    groups
}

fn such_as(member: &Member) -> String {
    if member.message.is_empty() {
        return format!("such as {}.", member.name);
    }
    let short: String = member.message.chars().take(REPEATED_MAX).collect();
    let cut = if short.len() < member.message.len() { "…" } else { "" };
    format!("such as {}: {short}{cut}", member.name)
}

fn machines(size: usize) -> String {
    if size == 1 { "1 machine is".into() } else { format!("{size} machines are") }
}

fn wanted_size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
