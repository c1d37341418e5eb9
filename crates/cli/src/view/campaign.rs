//! Campaigns: one line each in a list; a bar and who it waits for of one.

use super::{
    bar::bar,
    time::{age, between, clock, point, span},
    words::{count, size},
};
use quarterdeck_model::{
    Time,
    kinds::{Campaign, CampaignGroup, CampaignPhase},
};

/// Letters of a bar that has a line of its own.
const BAR: u32 = 30;
/// Letters of a bar among columns.
const SMALL_BAR: u32 = 10;

/// `ops/restart-web`.
pub(crate) fn full_name(campaign: &Campaign) -> String {
    let namespace = campaign.metadata.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", campaign.metadata.name)
}

/// Columns of a list of campaigns.
pub(crate) fn heading(wide: bool) -> Vec<&'static str> {
    let mut heading = vec!["NAMESPACE", "NAME", "RUNBOOK", "PHASE", "PROGRESS", "DONE"];
    heading.extend(["RUNNING", "WAITING", "FAILED", "LEFT", "END", "AGE"]);
    heading.extend(wide.then_some("MESSAGE"));
    heading
}

/// A campaign in a list.
pub(crate) fn row(campaign: &Campaign, wide: bool, now: Time) -> Vec<String> {
    let (meta, status) = (&campaign.metadata, &campaign.status);
    let end = status.expected_end.map(|end| format!("in {}", span(between(now, end))));
    let mut row = vec![
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone(),
        campaign.spec.runbook.clone(),
        format!("{:?}", status.phase),
        small_bar(campaign),
        status.succeeded.to_string(),
        status.running.to_string(),
        status.waiting.to_string(),
        status.failed.to_string(),
        status.left.to_string(),
        end.unwrap_or_default(),
        age(meta.creation_timestamp, now),
    ];
    row.extend(wide.then(|| status.message.clone().unwrap_or_default()));
    row
}

/// A bar among columns.
pub(crate) fn small_bar(campaign: &Campaign) -> String {
    let status = &campaign.status;
    let (done, working) = (status.succeeded + status.failed, status.running + status.waiting);
    bar(done, working, status.targets, SMALL_BAR)
}

/// A mark for where a campaign is.
pub(crate) const fn mark(phase: CampaignPhase) -> &'static str {
    match phase {
        CampaignPhase::Succeeded => "✓",
        CampaignPhase::Failed | CampaignPhase::Cancelled => "✗",
        CampaignPhase::Canary | CampaignPhase::Running => "●",
        CampaignPhase::Pending | CampaignPhase::Planned | CampaignPhase::Paused => "◌",
    }
}

/// Where a campaign is, with what is asked of it and is not done yet.
fn phase(campaign: &Campaign) -> String {
    let asked = campaign.spec.cancel && !campaign.status.phase.ended();
    format!("{:?}{}", campaign.status.phase, if asked { ", being cancelled" } else { "" })
}

/// A campaign, as it is drawn.
pub(crate) fn frame(campaign: &Campaign, now: Time) -> Vec<String> {
    let (spec, status) = (&campaign.spec, &campaign.status);
    let (start, end) = (status.start_time, status.completion_time);
    let took = start.map(|start| span(between(start, end.unwrap_or(now)))).unwrap_or_default();
    let head = format!(
        "{} campaign {}: {} on {}, {} {took}",
        mark(status.phase),
        full_name(campaign),
        spec.runbook,
        count(size(status.targets), &spec.targets.kind),
        phase(campaign),
    );
    let mut lines = vec![head.trim_end().to_owned(), format!("  {}", progress(campaign, now))];
    let group = |what: &str, group: &CampaignGroup| {
        format!("  {what} {}: {}, such as run {}", group.targets, group.reason, group.example)
    };
    lines.extend(status.waits_for.iter().map(|it| group("◌ waiting", it)));
    lines.extend(status.failures.iter().map(|it| group("✗ failed", it)));
    lines.extend(status.message.iter().map(|message| format!("  {message}")));
    lines
}

/// `[███▒░░] 1 of 4 done, 1 running, …`.
pub(crate) fn progress(campaign: &Campaign, now: Time) -> String {
    let status = &campaign.status;
    let (done, working) = (status.succeeded + status.failed, status.running + status.waiting);
    let end = status.expected_end.filter(|_| !status.phase.ended());
    let end = end.map_or_else(String::new, |end| format!("; expected end {}", point(end, now)));
    format!(
        "{} {} of {} done, {} running, {} waiting, {} failed, {} left{end}",
        bar(done, working, status.targets, BAR),
        status.succeeded,
        status.targets,
        status.running,
        status.waiting,
        status.failed,
        status.left
    )
}

/// What is new since a campaign was seen last, as lines to be added to those before.
pub(crate) fn news(before: Option<&Campaign>, campaign: &Campaign, now: Time) -> Vec<String> {
    let telling = |it: &Campaign| {
        let status = &it.status;
        let counts = (status.succeeded, status.running, status.waiting, status.failed, status.left);
        (status.phase, counts, status.message.clone())
    };
    if before.map(telling) == Some(telling(campaign)) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    if before.is_none() {
        let (spec, name) = (&campaign.spec, full_name(campaign));
        lines.push(format!("campaign {name}: {} on {}s", spec.runbook, spec.targets.kind));
    }
    let (phase, message) = (phase(campaign), campaign.status.message.as_ref());
    let message = message.map_or_else(String::new, |message| format!(": {message}"));
    lines.push(format!("{} {phase} {}{message}", clock(now), progress(campaign, now)));
    lines
}

/// It has ended, and nothing more is asked of it.
pub(crate) fn ended(campaign: &Campaign) -> bool {
    let current = campaign.status.observed_generation == campaign.metadata.generation;
    campaign.status.phase.ended() && current
}

/// It starts nothing further by itself because too many failed, not because it was asked to.
pub(crate) fn paused_itself(campaign: &Campaign) -> bool {
    let spec = &campaign.spec;
    campaign.status.phase == CampaignPhase::Paused && !spec.paused && !spec.cancel
}
