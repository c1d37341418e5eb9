//! What happens now: how many servers and runs are where, campaigns with bars, and who waits longest. Of each object
//! only what is counted is kept, since there are very many.

use super::{
    campaign, refusal, table,
    time::{age, point},
    words::{count, size},
};
use quarterdeck_model::{
    ConditionStatus, Time, condition,
    kinds::{Campaign, Permit, Run, RunPhase, Server, StepPhase},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Campaigns, and those who wait, that are shown.
const SHOWN_MAX: usize = 8;

/// What is kept of a server.
#[derive(Debug, Clone)]
pub(crate) struct ServerNow {
    phase: String,
    health: String,
    /// Why it is not ready.
    not_ready: Option<String>,
}

impl ServerNow {
    pub(crate) fn of(server: &Server) -> Self {
        let status = &server.status;
        let ready = condition::find(&status.conditions, "Ready");
        let not_ready = match ready {
            Some(ready) if ready.status == ConditionStatus::True => None,
            Some(ready) => Some(ready.reason.clone()),
            None => Some("NotLookedAt".into()),
        };
        let health = status.inventory.as_ref().and_then(|found| found.health.clone());
        Self {
            phase: format!("{:?}", status.phase),
            health: health.unwrap_or_else(|| "Unknown".into()),
            not_ready,
        }
    }
}

/// What is kept of a run.
#[derive(Debug, Clone)]
pub(crate) struct RunNow {
    phase: RunPhase,
    for_leave: bool,
    wait: Option<Wait>,
}

/// Somebody waits.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wait {
    run: String,
    target: String,
    since: Option<Time>,
    until: Option<Time>,
    message: String,
}

impl RunNow {
    pub(crate) fn of(run: &Run) -> Self {
        let refused = refusal::refused(run);
        Self { phase: run.status.phase, for_leave: refused.is_some(), wait: wait(run) }
    }
}

fn wait(run: &Run) -> Option<Wait> {
    let status = &run.status;
    let (since, until, message) = if let Some(refused) = refusal::refused(run) {
        (refused.since, refused.until, refused.sentence.to_owned())
    } else if status.phase == RunPhase::Queued {
        let ahead = status.queued_behind.clone().unwrap_or_default();
        (status.queued_time, None, format!("queued behind run {ahead}"))
    } else {
        let step = status.steps.iter().find(|step| step.phase == StepPhase::Waiting)?;
        (step.start_time, step.deadline, step.message.clone().unwrap_or_default())
    };
    let (run, target) = (super::run::full_name(run), super::run::target(run));
    Some(Wait { run, target, since, until, message })
}

/// What is kept of a permit: servers and instances it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PermitNow {
    servers: u32,
    instances: u32,
}

impl PermitNow {
    /// None of one that is asked for only.
    pub(crate) fn of(permit: &Permit) -> Option<Self> {
        let Permit { status, .. } = permit;
        permit.is_granted().then_some(Self { servers: status.servers, instances: status.instances })
    }
}

/// What happens now.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Top {
    pub(crate) kind: &'static str,
    servers: Servers,
    runs: Runs,
    permits: Permits,
    campaigns: Vec<CampaignNow>,
    /// The longest first.
    longest_waits: Vec<Wait>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Servers {
    total: usize,
    phases: BTreeMap<String, usize>,
    health: BTreeMap<String, usize>,
    ready: usize,
    /// By reason.
    not_ready: BTreeMap<String, usize>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Runs {
    total: usize,
    phases: BTreeMap<String, usize>,
    waiting_for_leave: usize,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Permits {
    held: usize,
    servers: usize,
    instances: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CampaignNow {
    name: String,
    phase: String,
    targets: u32,
    succeeded: u32,
    running: u32,
    waiting: u32,
    failed: u32,
    left: u32,
    expected_end: Option<Time>,
    message: Option<String>,
    #[serde(skip)]
    line: Vec<String>,
}

/// Counts what there is.
pub(crate) fn top<'a>(
    servers: impl Iterator<Item = &'a ServerNow>,
    runs: impl Iterator<Item = &'a RunNow>,
    permits: impl Iterator<Item = &'a PermitNow>,
    campaigns: impl Iterator<Item = &'a Campaign>,
    now: Time,
) -> Top {
    let mut top = Top { kind: "Top", ..Top::default() };
    for server in servers {
        let it = &mut top.servers;
        it.total += 1;
        *it.phases.entry(server.phase.clone()).or_default() += 1;
        *it.health.entry(server.health.clone()).or_default() += 1;
        match &server.not_ready {
            Some(reason) => *it.not_ready.entry(reason.clone()).or_default() += 1,
            None => it.ready += 1,
        }
    }
    for run in runs {
        let it = &mut top.runs;
        it.total += 1;
        *it.phases.entry(format!("{:?}", run.phase)).or_default() += 1;
        it.waiting_for_leave += usize::from(run.for_leave);
        top.longest_waits.extend(run.wait.clone());
    }
    for permit in permits {
        top.permits.held += 1;
        top.permits.servers += size(permit.servers);
        top.permits.instances += size(permit.instances);
    }
    let open = campaigns.filter(|it| !it.status.phase.ended());
    top.campaigns = open.map(|it| campaign_now(it, now)).collect();
    top.longest_waits.sort_by(|one, other| (one.since, &one.run).cmp(&(other.since, &other.run)));
    top.longest_waits.truncate(SHOWN_MAX);
    top
}

fn campaign_now(it: &Campaign, now: Time) -> CampaignNow {
    let status = &it.status;
    let end = status.expected_end.map(|end| format!("end {}", point(end, now)));
    CampaignNow {
        name: campaign::full_name(it),
        phase: format!("{:?}", status.phase),
        targets: status.targets,
        succeeded: status.succeeded,
        running: status.running,
        waiting: status.waiting,
        failed: status.failed,
        left: status.left,
        expected_end: status.expected_end,
        message: status.message.clone(),
        line: vec![
            format!("{} {}", campaign::mark(status.phase), campaign::full_name(it)),
            format!("{:?}", status.phase),
            campaign::small_bar(it),
            format!("{}/{}", status.succeeded + status.failed, status.targets),
            format!("{} running", status.running),
            format!("{} waiting", status.waiting),
            format!("{} failed", status.failed),
            end.unwrap_or_default(),
        ],
    }
}

/// The same as lines.
pub(crate) fn frame(top: &Top, now: Time) -> Vec<String> {
    let (servers, runs, permits) = (&top.servers, &top.runs, &top.permits);
    let mut lines = vec![
        format!("servers    {}: {}", servers.total, counts(&servers.phases)),
        format!("  health   {}", counts(&servers.health)),
    ];
    let why = match servers.not_ready.is_empty() {
        true => String::new(),
        false => format!("; not ready: {}", counts(&servers.not_ready)),
    };
    lines.push(format!("  ready    {} of {}{why}", servers.ready, servers.total));
    let leave = match runs.waiting_for_leave {
        0 => String::new(),
        waiting => format!("; {waiting} waiting for leave to disrupt"),
    };
    lines.push(format!("runs       {}: {}{leave}", runs.total, counts(&runs.phases)));
    lines.push(format!(
        "permits    {} held, for {} with {}",
        permits.held,
        count(permits.servers, "server"),
        count(permits.instances, "instance")
    ));
    let rows: Vec<Vec<String>> =
        top.campaigns.iter().take(SHOWN_MAX).map(|it| it.line.clone()).collect();
    section(&mut lines, "campaigns", table::lines(&rows));
    let hidden = top.campaigns.len().saturating_sub(SHOWN_MAX);
    if hidden > 0 {
        lines.push(format!("  … {hidden} campaigns more"));
    }
    let wait = |it: &Wait| {
        let since = age(it.since, now);
        format!("◌ run {} on {} for {since}: {}", it.run, it.target, it.message)
    };
    section(&mut lines, "longest waits", top.longest_waits.iter().map(wait).collect());
    lines
}

fn section(lines: &mut Vec<String>, title: &str, more: Vec<String>) {
    if !more.is_empty() {
        lines.push(title.into());
        lines.extend(more.into_iter().map(|line| format!("  {line}")));
    }
}

/// The most first.
fn counts(of: &BTreeMap<String, usize>) -> String {
    let mut all: Vec<_> = of.iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let all: Vec<String> = all.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}
