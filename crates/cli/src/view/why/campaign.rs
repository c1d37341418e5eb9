//! Why a campaign does not go on.

use super::{Finding, Why};
use crate::view::{
    campaign::{full_name, paused_itself, progress},
    refusal::blocker,
    words::{count, size},
};
use quarterdeck_model::{
    Time,
    kinds::{Campaign, CampaignGroup, CampaignPhase},
};

/// Whom a campaign waits on, and why it is paused.
pub(crate) fn campaign(campaign: &Campaign, now: Time) -> Why {
    let status = &campaign.status;
    let phase = format!("{:?}", status.phase);
    let mut why = Why::new(format!("campaign/{}", full_name(campaign)), phase, "");
    why.summary = summary(campaign);
    why.findings.push(Finding {
        what: progress(campaign, now),
        since: status.start_time,
        until: status.expected_end.filter(|_| !status.phase.ended()),
        message: status.message.clone().unwrap_or_default(),
        ..Finding::default()
    });
    let group = |what: &str, group: &CampaignGroup| Finding {
        what: format!("{} {what}", count(size(group.targets), "target")),
        who: blocker(&group.reason).who(),
        message: format!("{}, such as run {}", group.reason, group.example),
        ..Finding::default()
    };
    why.findings
        .extend(status.waits_for.iter().map(|it| group("waiting for leave to disrupt", it)));
    why.findings.extend(status.failures.iter().map(|it| group("failed", it)));
    next(&mut why, campaign);
    why
}

fn summary(campaign: &Campaign) -> String {
    let status = &campaign.status;
    match status.phase {
        CampaignPhase::Pending => "the plane has not looked at it yet".into(),
        CampaignPhase::Planned => "it only shows its plan: it is paused and has not begun".into(),
        CampaignPhase::Paused if campaign.spec.cancel => {
            "it is being cancelled: what runs is undone".into()
        }
        CampaignPhase::Paused if paused_itself(campaign) => {
            format!("it paused itself: {} failed", count(size(status.failed), "target"))
        }
        CampaignPhase::Paused => "it was asked to pause: no further run is started".into(),
        CampaignPhase::Canary | CampaignPhase::Running if status.waiting > 0 => {
            format!("{} of its runs wait for leave of the ledger", status.waiting)
        }
        CampaignPhase::Canary => "nothing stands in its way: it tries its canaries".into(),
        CampaignPhase::Running => "nothing stands in its way: it is in work".into(),
        CampaignPhase::Succeeded => "nothing stands in its way: it is done".into(),
        CampaignPhase::Failed => {
            format!("it is over, and {} failed", count(size(status.failed), "target"))
        }
        CampaignPhase::Cancelled => "it was cancelled".into(),
    }
}

fn next(why: &mut Why, campaign: &Campaign) {
    let namespace = campaign.metadata.namespace.as_deref().unwrap_or_default();
    let verb = |verb: &str| {
        format!("quarterdeck campaign {verb} {} -n {namespace}", campaign.metadata.name)
    };
    let status = &campaign.status;
    for group in status.waits_for.iter().take(1) {
        let of = &group.example;
        why.next.push(format!("see who blocks: quarterdeck why run/{of} -n {namespace}"));
    }
    for group in status.failures.iter().take(1) {
        let of = &group.example;
        why.next.push(format!("see how one failed: quarterdeck run show {of} -n {namespace}"));
    }
    match status.phase {
        CampaignPhase::Planned => {
            why.next.push(format!("see the plan: {}", verb("plan")));
            why.next.push(format!("begin: {}", verb("start")));
        }
        CampaignPhase::Paused if paused_itself(campaign) => {
            why.next.push(format!("try those that failed again: {}", verb("retry")));
            why.next.push(format!("go on all the same: {} --accept-failures", verb("resume")));
        }
        CampaignPhase::Paused if !campaign.spec.cancel => {
            why.next.push(format!("go on: {}", verb("resume")));
        }
        CampaignPhase::Failed => {
            why.next.push(format!("try those that failed again: {}", verb("retry")));
        }
        _ => {}
    }
}
