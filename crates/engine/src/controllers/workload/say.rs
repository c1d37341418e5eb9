//! What a workload's status says. Pure. It stays small whatever the number of instances: what many have in common is said
//! once, with one of them as an example.

use super::plan::{Leave, Member, Plan, Waits, available};
use quarterdeck_model::{
    Condition, ConditionStatus, Time, condition,
    kinds::{Workload, WorkloadPhase, WorkloadStatus},
};

/// Longest part of another's sentence that is repeated, in letters.
const REPEATED_MAX: usize = 500;

/// What was seen beside the plan.
pub(super) struct Seen<'a> {
    pub(super) members: &'a [Member],
    /// Instances for which there is no machine, and why.
    pub(super) unplaced: u32,
    pub(super) why_unplaced: Option<String>,
    /// Why instances on silent hosts are not replaced.
    pub(super) held: Option<String>,
    pub(super) target: i64,
    pub(super) created: u64,
    pub(super) now: Time,
}

#[derive(Default)]
struct Counts {
    live: u32,
    ready: u32,
    updated: u32,
    available: u32,
    moving: u32,
    waiting: Option<String>,
}

pub(super) fn status(workload: &Workload, plan: &Plan, seen: &Seen<'_>) -> WorkloadStatus {
    let spec = &workload.spec;
    let mut counts = Counts::default();
    for member in seen.members.iter().filter(|member| !member.deleting) {
        counts.live += 1;
        counts.ready += u32::from(member.ready.is_some());
        counts.updated += u32::from(member.revision == seen.target);
        counts.available += u32::from(available(spec, member, seen.now));
        counts.moving += u32::from(member.is_moving());
        if member.leave == Leave::Waiting && counts.waiting.is_none() {
            counts.waiting.clone_from(&member.message);
        }
    }
    let mut conditions = workload.status.conditions.clone();
    for (kind, (status, reason, message)) in [
        ("Available", is_available(workload, &counts, seen)),
        ("Progressing", progresses(workload, &counts, plan, seen)),
        ("Placed", is_placed(seen)),
    ] {
        condition::set(&mut conditions, Condition::new(kind, status, reason, message, seen.now));
    }
    WorkloadStatus {
        observed_generation: workload.metadata.generation,
        phase: phase(workload, &counts, plan, seen),
        replicas: counts.live,
        ready_replicas: counts.ready,
        updated_replicas: counts.updated,
        available_replicas: counts.available,
        unplaced_replicas: seen.unplaced,
        selector: Some(format!("{}={}", super::WORKLOAD, workload.metadata.name)),
        revision: seen.target,
        stable_revision: plan.stable,
        rollout: plan.rollout.clone(),
        created: seen.created,
        clusters: workload.status.clusters.clone(),
        conditions,
    }
}

fn phase(workload: &Workload, counts: &Counts, plan: &Plan, seen: &Seen<'_>) -> WorkloadPhase {
    let arrived = counts.available == workload.spec.replicas && counts.live == counts.available;
    match plan.waits {
        Waits::Paused | Waits::Person => WorkloadPhase::Paused,
        Waits::Returned(_) if plan.stable.is_some() => WorkloadPhase::RolledBack,
        Waits::Returned(_) => WorkloadPhase::Degraded,
        _ if seen.unplaced > 0 || seen.held.is_some() => WorkloadPhase::Degraded,
        _ if plan.rollout.is_some() && plan.stable.is_some() => WorkloadPhase::RollingOut,
        _ if !arrived || counts.moving > 0 => WorkloadPhase::Scaling,
        _ => WorkloadPhase::Stable,
    }
}

type Says = (ConditionStatus, &'static str, String);

fn is_available(workload: &Workload, counts: &Counts, seen: &Seen<'_>) -> Says {
    let spec = &workload.spec;
    let least = spec.replicas.saturating_sub(spec.unavailable());
    let mut message = format!("{} of {} instances are available.", counts.available, spec.replicas);
    let sick = seen.members.iter().find_map(|member| {
        let sick = !member.deleting && member.ready.is_none();
        let why = member.message.as_ref().filter(|_| sick)?;
        Some(format!(" {} is not: {}", member.name, cut(why)))
    });
    message.push_str(&sick.unwrap_or_default());
    if let Some(held) = &seen.held {
        message.push(' ');
        message.push_str(held);
        message.push('.');
    }
    if counts.available >= least {
        (ConditionStatus::True, "EnoughAvailable", message)
    } else {
        (ConditionStatus::False, "TooFewAvailable", message)
    }
}

fn is_placed(seen: &Seen<'_>) -> Says {
    match (&seen.why_unplaced, seen.unplaced) {
        (Some(why), count) if count > 0 => {
            let are = if count == 1 { "instance has" } else { "instances have" };
            (
                ConditionStatus::False,
                "Unplaceable",
                format!("{count} {are} no machine: {}", cut(why)),
            )
        }
        _ => (ConditionStatus::True, "AllPlaced", "Every instance has a machine.".into()),
    }
}

fn progresses(workload: &Workload, counts: &Counts, plan: &Plan, seen: &Seen<'_>) -> Says {
    let replicas = workload.spec.replicas;
    let revision = seen.target;
    let stable = plan.stable.unwrap_or_default();
    let rollout = format!(
        "revision {revision}: {} of {replicas} instances are of it, {} others are left",
        counts.updated,
        counts.live - counts.updated
    );
    let waiting = counts.waiting.as_ref().map(|why| format!("; the ledger: {}", cut(why)));
    let waiting = waiting.unwrap_or_default();
    let name = &workload.metadata.name;
    match &plan.waits {
        Waits::Nothing
            if counts.available == replicas && counts.live == replicas && counts.moving == 0 =>
        {
            let message = format!("All instances are of revision {revision}.");
            (ConditionStatus::True, "Complete", message)
        }
        Waits::Nothing if counts.moving > 0 => {
            let (count, are) = (counts.moving, if counts.moving == 1 { "moves" } else { "move" });
            let why =
                seen.members.iter().find_map(|member| member.moving.clone()).unwrap_or_default();
            let message = format!(
                "{count} of {replicas} instances {are} elsewhere ({why}), each once another one serves in its place{waiting}."
            );
            (ConditionStatus::True, "Moving", message)
        }
        Waits::Nothing => {
            let message = format!(
                "{} of {replicas} instances are there, {} available{waiting}.",
                counts.live, counts.available
            );
            (ConditionStatus::True, "Scaling", message)
        }
        Waits::Instances => (ConditionStatus::True, "RollingOut", format!("Rolls out {rollout}.")),
        Waits::Ledger => {
            (ConditionStatus::True, "WaitsForLedger", format!("Rolls out {rollout}{waiting}."))
        }
        Waits::Checks => (
            ConditionStatus::True,
            "WaitsForChecks",
            format!("Rolls out {rollout}; {}.", checks(plan)),
        ),
        Waits::Pause(until) => {
            let until = Time::seconds(until.timestamp());
            (
                ConditionStatus::True,
                "StepPause",
                format!("Rolls out {rollout}; pauses until {until}."),
            )
        }
        Waits::Person => {
            let message = format!(
                "Rolls out {rollout}; waits for a person: quarterdeck workload resume {name} lets it go on, quarterdeck workload undo {name} returns."
            );
            (ConditionStatus::Unknown, "WaitsForPerson", message)
        }
        Waits::Paused => {
            let message = format!(
                "No rollout goes on until spec.paused is false. Revision {revision} is wanted."
            );
            (ConditionStatus::Unknown, "Paused", message)
        }
        Waits::Returned(why) => {
            let message = match plan.stable {
                Some(_) => format!(
                    "Revision {revision} failed, and all return to revision {stable}: {}. Change spec.template, or undo it, to roll out again.",
                    cut(why)
                ),
                None => format!(
                    "Revision {revision}, the first, does not come to be available: {}.",
                    cut(why)
                ),
            };
            let reason =
                if plan.stable.is_some() { "RolledBack" } else { "ProgressDeadlineExceeded" };
            (ConditionStatus::False, reason, message)
        }
    }
}

fn checks(plan: &Plan) -> String {
    let seen = plan.rollout.iter().flat_map(|rollout| &rollout.checks);
    let each = seen.map(|check| {
        let said = check.message.as_deref().unwrap_or("not looked at yet");
        format!("check {} held {} times, last: {}", check.name, check.passed, cut(said))
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() { "its checks are looked at".into() } else { each.join("; ") }
}

fn cut(text: &str) -> String {
    let text = text.trim_end_matches('.');
    if text.chars().count() <= REPEATED_MAX {
        return text.to_owned();
    }
    text.chars().take(REPEATED_MAX).chain(['…']).collect()
}
