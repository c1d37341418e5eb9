//! Workloads: one line each in a list; a bar and what is waited for of one; the revisions of one.

use super::{bar::bar, table::table, time::age};
use quarterdeck_model::{
    Time, condition,
    kinds::{Workload, WorkloadPhase, WorkloadRevision},
};

/// Letters of a bar.
const BAR: u32 = 30;

/// Columns of a list of workloads.
pub(crate) const HEADING: [&str; 9] =
    ["NAMESPACE", "NAME", "SERVICE", "PHASE", "DESIRED", "UPDATED", "AVAILABLE", "UNPLACED", "AGE"];

/// A workload in a list.
pub(crate) fn row(workload: &Workload, now: Time) -> Vec<String> {
    let (meta, spec, status) = (&workload.metadata, &workload.spec, &workload.status);
    vec![
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone(),
        spec.service.clone(),
        format!("{:?}", status.phase),
        spec.replicas.to_string(),
        status.updated_replicas.to_string(),
        status.available_replicas.to_string(),
        status.unplaced_replicas.to_string(),
        age(meta.creation_timestamp, now),
    ]
}

const fn mark(phase: WorkloadPhase) -> &'static str {
    match phase {
        WorkloadPhase::Stable => "✓",
        WorkloadPhase::RolledBack | WorkloadPhase::Degraded => "✗",
        WorkloadPhase::Scaling | WorkloadPhase::RollingOut => "●",
        WorkloadPhase::Pending | WorkloadPhase::Paused => "◌",
    }
}

/// A workload, as it is drawn.
pub(crate) fn frame(workload: &Workload, _: Time) -> Vec<String> {
    let (meta, spec, status) = (&workload.metadata, &workload.spec, &workload.status);
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let stable = status.stable_revision.filter(|stable| *stable != status.revision);
    let stable = stable.map_or_else(String::new, |stable| format!(", stable {stable}"));
    let (updated, available, all) =
        (status.updated_replicas, status.available_replicas, spec.replicas);
    let mut lines = vec![
        format!(
            "{} workload {namespace}/{}: {:?}, revision {}{stable}",
            mark(status.phase),
            meta.name,
            status.phase,
            status.revision
        ),
        format!(
            "  {} {updated} of {all} updated, {available} available, {} unplaced",
            bar(updated.min(available), updated.saturating_sub(available), all.max(1), BAR),
            status.unplaced_replicas
        ),
    ];
    for kind in ["Progressing", "Available", "Placed"] {
        let said = condition::find(&status.conditions, kind);
        let worth = |reason: &str| {
            kind == "Progressing" || !["EnoughAvailable", "AllPlaced"].contains(&reason)
        };
        lines.extend(
            said.filter(|it| worth(&it.reason))
                .map(|it| format!("  {}: {}", it.reason, it.message)),
        );
    }
    let checks = status.rollout.iter().flat_map(|rollout| &rollout.checks);
    lines.extend(checks.map(|check| {
        let said = check.message.as_deref().unwrap_or("not looked at yet");
        format!(
            "  check {}: held {} times, failed {} in sequence; {said}",
            check.name, check.passed, check.failed
        )
    }));
    lines
}

/// What is new since a workload was seen last.
pub(crate) fn news(before: Option<&Workload>, workload: &Workload, _: Time) -> Vec<String> {
    let said = |workload: &Workload| {
        let found = condition::find(&workload.status.conditions, "Progressing")?;
        Some(format!("{:?}: {}", workload.status.phase, found.message))
    };
    let now = said(workload);
    if before.is_some_and(|before| said(before) == now) {
        Vec::new()
    } else {
        now.into_iter().collect()
    }
}

/// The revisions of a workload.
pub(crate) fn history(workload: &Workload, revisions: &[WorkloadRevision], now: Time) -> String {
    let status = &workload.status;
    let rows: Vec<Vec<String>> = revisions
        .iter()
        .map(|revision| {
            let number = revision.spec.revision;
            let images = revision.spec.template.spec.containers.iter();
            let images: Vec<&str> = images.map(|container| container.image.as_str()).collect();
            let what = match () {
                () if number == status.revision && status.stable_revision == Some(number) => {
                    "serves"
                }
                () if number == status.revision => "wanted",
                () if status.stable_revision == Some(number) => "stable",
                () => "",
            };
            vec![
                number.to_string(),
                what.to_owned(),
                images.join(","),
                age(revision.metadata.creation_timestamp, now),
            ]
        })
        .collect();
    table(&["REVISION", "", "IMAGES", "AGE"], &rows)
}
