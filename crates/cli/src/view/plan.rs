//! The plan of a campaign as text.

use super::{
    table,
    time::{point, span},
    words::{count, size},
};
use jiff::SignedDuration;
use quarterdeck_ledger::plan::{Obstacle, Plan, PlannedWave};
use quarterdeck_model::Time;

/// Waves, and targets of one, that a person is shown.
const SHOWN_MAX: usize = 8;

/// A plan as text.
pub(crate) fn text(plan: &Plan, now: Time) -> String {
    let mut lines = vec![
        format!("campaign {}: {}, {}", plan.campaign, plan.runbook, plan.phase),
        format!(
            "targets   {}, {} left, in {}",
            plan.targets,
            plan.left,
            count(plan.failure_domains, "failure domain")
        ),
    ];
    lines.push(end(plan, now));
    lines.push(format!("waves     {}", plan.waves_in_all));
    let row = |wave: &PlannedWave| {
        let places = match wave.failure_domains.as_slice() {
            [] => String::new(),
            places => format!("in {}", few(places)),
        };
        let number = format!("  {}{}", wave.number, if wave.canary { " canary" } else { "" });
        vec![number, count(wave.targets.len(), "target"), places, few(&wave.targets)]
    };
    let rows: Vec<Vec<String>> = plan.waves.iter().take(SHOWN_MAX).map(row).collect();
    lines.extend(table::lines(&rows));
    let shown = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    if plan.waves_in_all > shown {
        let more = size(plan.waves_in_all - shown);
        lines.push(format!("  … {} more", count(more, "wave")));
    }
    lines.push(match plan.blockers.is_empty() {
        true => "in the way   nothing".into(),
        false => "in the way".into(),
    });
    let mark = |it: &Obstacle| if it.blocks { "✗" } else { "◌" };
    lines.extend(
        plan.blockers.iter().map(|it| format!("  {} {}: {}", mark(it), it.who, it.message)),
    );
    lines.extend(plan.unseen.iter().map(|what| format!("not looked at: {what}")));
    lines.into_iter().map(|line| line + "\n").collect()
}

fn end(plan: &Plan, now: Time) -> String {
    match (plan.expected_end, plan.run_seconds) {
        (Some(at), Some(seconds)) => {
            let each = span(SignedDuration::from_secs(seconds));
            format!("end       about {}, if each run takes {each} as those before", point(at, now))
        }
        (Some(at), None) => format!("end       about {}", point(at, now)),
        (None, None) => format!("end       not known: no run of {} was seen yet", plan.runbook),
        (None, Some(_)) => "end       not known, as long as something is in the way".into(),
    }
}

/// The first few names.
fn few(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
