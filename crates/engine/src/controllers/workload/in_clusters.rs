//! A workload that clusters run: its revisions are kept here, and what its parts say of themselves (`controllers::cluster`) is put
//! together. Nothing is placed or stopped: Kubernetes does that.

use super::{plan::Plan, work::Work};
use crate::{controllers::owned_by, objects::EngineError};
use quarterdeck_model::{
    Condition, ConditionStatus, Kind as _, Time, condition,
    kinds::{
        Instance, Workload, WorkloadClusterPhase, WorkloadClusterStatus, WorkloadPhase,
        WorkloadStatus,
    },
};
use quarterdeck_store::Precondition;
use std::time::Duration;

/// Parts of which a sentence tells.
const TOLD_MAX: usize = 4;
/// What Kubernetes says of a rollout that does not get further in time.
const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";

pub(super) async fn look(work: &Work<'_>) -> Result<Option<Duration>, EngineError> {
    let Work { objects, world, object, workload, target, .. } = *work;
    let instances = owned_by(world, &workload.metadata);
    let live = instances.filter(|it| it.kind == Instance::info() && !it.deleting()).count();
    let live = u32::try_from(live).unwrap_or(u32::MAX);
    let status = status(workload, target, live, objects.now());
    let plan = Plan { stable: status.stable_revision, active: target, ..Plan::default() };
    let mut mutations = work.pruned(&plan);
    if status != workload.status {
        let next = Workload { status, ..workload.clone() };
        mutations.push(objects.put(&next, Precondition::At(object.revision))?);
    }
    if !mutations.is_empty() {
        // Whoever came between made a change that brings us here again.
        objects.commit(mutations).await?;
    }
    Ok(None)
}

/// What its parts come to.
struct Parts<'a> {
    /// One for each cluster that it is to be in, as far as it has said something.
    wanted: Vec<(&'a str, Option<&'a WorkloadClusterStatus>)>,
    /// Those that are to go.
    leaving: Vec<&'a WorkloadClusterStatus>,
}

impl<'a> Parts<'a> {
    fn of(workload: &'a Workload) -> Self {
        let all = &workload.status.clusters;
        let named = &workload.spec.placement.clusters;
        let said = |name: &str| all.iter().find(|part| part.name == name);
        let wanted = named.iter().map(|it| (it.name.as_str(), said(&it.name)));
        let leaving = all.iter().filter(|part| !named.iter().any(|it| it.name == part.name));
        Self { wanted: wanted.collect(), leaving: leaving.collect() }
    }

    fn said(&self) -> impl Iterator<Item = &'a WorkloadClusterStatus> + '_ {
        self.wanted.iter().filter_map(|(_, part)| *part)
    }

    fn sum(&self, of: impl Fn(&WorkloadClusterStatus) -> u32) -> u32 {
        self.said()
            .chain(self.leaving.iter().copied())
            .fold(0, |sum, it| sum.saturating_add(of(it)))
    }

    /// All are as they should be, at that revision.
    fn complete(&self, revision: i64) -> bool {
        let is = |part: &WorkloadClusterStatus| {
            part.phase == WorkloadClusterPhase::Complete && part.revision == Some(revision)
        };
        self.leaving.is_empty() && self.wanted.iter().all(|(_, part)| part.is_some_and(is))
    }

    /// What those that are in these phases say.
    fn say(&self, that: impl Fn(&WorkloadClusterStatus) -> bool) -> Vec<String> {
        let those = self.said().chain(self.leaving.iter().copied()).filter(|part| that(part));
        let each = those.map(|part| {
            let reason = part.reason.as_deref().unwrap_or("Unknown");
            let message = part.message.as_deref().unwrap_or(reason);
            format!("{}: {}", part.name, message.trim_end_matches('.'))
        });
        each.collect()
    }
}

fn told(said: &[String]) -> String {
    let shown = said.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join("; ");
    let more = said.len().saturating_sub(TOLD_MAX);
    if more > 0 { format!("{shown}; and {more} more") } else { shown }
}

fn is_sick(part: &WorkloadClusterStatus) -> bool {
    matches!(part.phase, WorkloadClusterPhase::Refused | WorkloadClusterPhase::Unreachable)
}

fn is_stuck(part: &WorkloadClusterStatus) -> bool {
    part.phase == WorkloadClusterPhase::Progressing
        && part.reason.as_deref().is_some_and(|it| !["Applied", "RollingOut"].contains(&it))
}

fn status(workload: &Workload, target: i64, live: u32, now: Time) -> WorkloadStatus {
    let before = &workload.status;
    let parts = Parts::of(workload);
    let complete = parts.complete(target);
    let available = parts.sum(|part| part.available_replicas);
    let of_target = |part: &WorkloadClusterStatus| part.revision == Some(target);
    let mut conditions = before.conditions.clone();
    for (kind, (is, reason, message)) in [
        ("Available", is_available(workload, available)),
        ("Progressing", progresses(workload, &parts, target)),
        ("Placed", is_placed(&parts)),
    ] {
        condition::set(&mut conditions, Condition::new(kind, is, reason, message, now));
    }
    let rolling = before.stable_revision.is_some_and(|stable| stable != target);
    let phase = match () {
        () if parts.said().any(|part| is_sick(part) || is_stuck(part)) => WorkloadPhase::Degraded,
        () if complete => WorkloadPhase::Stable,
        () if workload.spec.paused && rolling => WorkloadPhase::Paused,
        () if rolling => WorkloadPhase::RollingOut,
        () => WorkloadPhase::Scaling,
    };
    WorkloadStatus {
        observed_generation: workload.metadata.generation,
        phase,
        replicas: live,
        ready_replicas: parts.sum(|part| part.ready_replicas),
        updated_replicas: parts.sum(|part| if of_target(part) { part.updated_replicas } else { 0 }),
        available_replicas: available,
        unplaced_replicas: 0,
        selector: Some(format!("{}={}", super::WORKLOAD, workload.metadata.name)),
        revision: target,
        stable_revision: if complete { Some(target) } else { before.stable_revision },
        rollout: None,
        created: before.created,
        clusters: before.clusters.clone(),
        conditions,
    }
}

type Says = (ConditionStatus, &'static str, String);

fn is_available(workload: &Workload, available: u32) -> Says {
    let spec = &workload.spec;
    let message = format!("{available} of {} instances are available.", spec.replicas);
    if available >= spec.replicas.saturating_sub(spec.unavailable()) {
        (ConditionStatus::True, "EnoughAvailable", message)
    } else {
        (ConditionStatus::False, "TooFewAvailable", message)
    }
}

fn is_placed(parts: &Parts<'_>) -> Says {
    let sick = parts.say(is_sick);
    let silent = parts.wanted.iter().filter(|(_, part)| part.is_none());
    let silent: Vec<String> =
        silent.map(|(name, _)| format!("{name}: it was not looked at yet")).collect();
    let conflict = parts.said().any(|part| part.reason.as_deref() == Some("Conflict"));
    match (sick.as_slice(), silent.as_slice()) {
        ([], []) => {
            (ConditionStatus::True, "AllPlaced", "It is in every cluster that it names.".into())
        }
        ([], silent) => (ConditionStatus::Unknown, "NotLookedAt", format!("{}.", told(silent))),
        (sick, _) => {
            let reason = match conflict {
                true => "Conflict",
                false if parts.said().all(|part| part.phase != WorkloadClusterPhase::Refused) => {
                    "ClusterAway"
                }
                false => "Refused",
            };
            (ConditionStatus::False, reason, format!("{}.", told(sick)))
        }
    }
}

fn progresses(workload: &Workload, parts: &Parts<'_>, target: i64) -> Says {
    let (replicas, name) = (workload.spec.replicas, &workload.metadata.name);
    let of_target = |part: &&WorkloadClusterStatus| part.revision == Some(target);
    let updated: u32 = parts.said().filter(of_target).map(|part| part.updated_replicas).sum();
    let rollout = format!("revision {target}: {updated} of {replicas} instances are of it");
    if parts.complete(target) {
        return (
            ConditionStatus::True,
            "Complete",
            format!("All instances are of revision {target}."),
        );
    }
    let stuck = parts.say(is_stuck);
    if !stuck.is_empty() {
        let reason = match parts.said().any(|it| it.reason.as_deref() == Some(DEADLINE_EXCEEDED)) {
            true => DEADLINE_EXCEEDED,
            false => "Stuck",
        };
        let message = format!(
            "{rollout}; {}. It comes to no other cluster. Change spec.template, or quarterdeck workload undo {name}.",
            told(&stuck)
        );
        return (ConditionStatus::False, reason, message);
    }
    let ledger = |part: &WorkloadClusterStatus| part.reason.as_deref() == Some("WaitsForLedger");
    let waits = parts.say(|part| ledger(part) || part.phase == WorkloadClusterPhase::Waiting);
    let reason = match () {
        () if parts.said().any(ledger) => "WaitsForLedger",
        () if workload.spec.paused => "Paused",
        () => "RollingOut",
    };
    let waits = if waits.is_empty() { String::new() } else { format!("; {}", told(&waits)) };
    (ConditionStatus::True, reason, format!("Rolls out {rollout}{waits}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(paused: bool, stable: Option<i64>, parts: Value) -> WorkloadStatus {
        let workload = json!({
            "metadata": {"name": "web", "namespace": "shop", "generation": 4},
            "spec": {
                "service": "web", "replicas": 5, "paused": paused,
                "template": {"spec": {"containers": []}},
                "placement": {"clusters": [{"name": "eu1"}, {"name": "us1"}]},
            },
            "status": {"stableRevision": stable, "clusters": parts},
        });
        let now = Time::seconds("2026-11-02T08:00:00Z".parse().unwrap());
        status(&serde_json::from_value(workload).unwrap(), 2, 5, now)
    }

    fn part(name: &str, phase: &str, revision: i64, count: u32, reason: &str) -> Value {
        json!({"name": name, "phase": phase, "revision": revision, "replicas": count, "updatedReplicas": count,
            "readyReplicas": count, "availableReplicas": count, "reason": reason, "message": format!("it says {reason}.")})
    }

    #[test]
    fn a_workload_is_what_its_parts_come_to() {
        use WorkloadPhase::{Degraded, Paused, RollingOut, Scaling, Stable};
        let eu = |phase, revision, reason| part("eu1", phase, revision, 3, reason);
        let us = |phase, revision, reason| part("us1", phase, revision, 2, reason);
        let cases = [
            (false, None, json!([]), Scaling, "RollingOut", "NotLookedAt"),
            (
                false,
                Some(2),
                json!([eu("Complete", 2, "Complete"), us("Complete", 2, "Complete")]),
                Stable,
                "Complete",
                "AllPlaced",
            ),
            (
                false,
                Some(1),
                json!([eu("Progressing", 2, "RollingOut"), us("Waiting", 1, "InTurn")]),
                RollingOut,
                "RollingOut",
                "AllPlaced",
            ),
            (
                true,
                Some(1),
                json!([eu("Waiting", 1, "InTurn"), us("Waiting", 1, "InTurn")]),
                Paused,
                "Paused",
                "AllPlaced",
            ),
            (
                false,
                Some(1),
                json!([
                    eu("Progressing", 2, "ProgressDeadlineExceeded"),
                    us("Waiting", 1, "InTurn")
                ]),
                Degraded,
                "ProgressDeadlineExceeded",
                "AllPlaced",
            ),
            (
                false,
                Some(2),
                json!([eu("Unreachable", 2, "ClusterUnreachable"), us("Complete", 2, "Complete")]),
                Degraded,
                "RollingOut",
                "ClusterAway",
            ),
            (
                false,
                Some(2),
                json!([eu("Refused", 2, "Conflict"), us("Complete", 2, "Complete")]),
                Degraded,
                "RollingOut",
                "Conflict",
            ),
            (
                false,
                Some(2),
                json!([eu("Waiting", 2, "WaitsForLedger"), us("Complete", 2, "Complete")]),
                Scaling,
                "WaitsForLedger",
                "AllPlaced",
            ),
            (
                false,
                Some(2),
                json!([
                    eu("Complete", 2, "Complete"),
                    us("Complete", 2, "Complete"),
                    part("ap1", "Leaving", 2, 1, "Leaving")
                ]),
                Scaling,
                "RollingOut",
                "AllPlaced",
            ),
        ];
        for (paused, stable, parts, phase, progressing, placed) in cases {
            let status = seen(paused, stable, parts.clone());
            let reason = |kind| condition::find(&status.conditions, kind).unwrap().reason.clone();
            assert_eq!(status.phase, phase, "{parts}");
            assert_eq!(reason("Progressing"), progressing, "{parts}");
            assert_eq!(reason("Placed"), placed, "{parts}");
        }
    }

    #[test]
    fn what_is_stuck_is_told_with_what_can_be_done() {
        let parts = json!([
            part("eu1", "Progressing", 2, 1, "ProgressDeadlineExceeded"),
            part("us1", "Waiting", 1, 2, "InTurn")
        ]);
        let status = seen(false, Some(1), parts);
        let said = condition::find(&status.conditions, "Progressing").unwrap();
        assert_eq!(
            said.message,
            "revision 2: 1 of 5 instances are of it; eu1: it says ProgressDeadlineExceeded. It comes to no other cluster. \
             Change spec.template, or quarterdeck workload undo web."
        );
        assert_eq!((status.updated_replicas, status.available_replicas), (1, 3));
        assert_eq!(status.stable_revision, Some(1));
    }
}
