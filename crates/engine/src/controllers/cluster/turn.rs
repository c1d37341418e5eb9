//! In which order a new revision comes to clusters. Pure.

use quarterdeck_model::kinds::{Workload, WorkloadClusterPhase};

/// The revision that is to be in a cluster, and what a newer one waits for. It comes to one cluster after another, in the order of
/// the list, so that one that does not work stays in the first. Those that are away hold up no other.
pub(super) fn revision_here(
    workload: &Workload,
    at: usize,
    target: i64,
    current: Option<i64>,
) -> (i64, Option<String>) {
    let Some(current) = current.filter(|current| *current != target) else {
        return (target, None);
    };
    if workload.spec.paused {
        return (current, Some(format!("spec.paused keeps revision {current} here")));
    }
    let shares = workload.spec.placement.shares(workload.spec.replicas);
    let before = workload.spec.placement.clusters.iter().zip(shares).take(at);
    let unfinished = before.filter(|(_, share)| *share > 0).find(|(cluster, _)| {
        let entry = workload.status.clusters.iter().find(|it| it.name == cluster.name);
        !entry.is_some_and(|entry| match entry.phase {
            WorkloadClusterPhase::Unreachable => true,
            phase => phase == WorkloadClusterPhase::Complete && entry.revision == Some(target),
        })
    });
    match unfinished {
        Some((cluster, _)) => {
            let why =
                format!("revision {target} comes here when it is complete in {}", cluster.name);
            (current, Some(why))
        }
        None => (target, None),
    }
}
