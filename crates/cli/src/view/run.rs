//! Runs: one line each in a list; a line for each step of one.

use super::{
    table,
    time::{age, between, clock, point, span},
};
use quarterdeck_model::{
    Time,
    kinds::{Run, RunPhase, StepPhase, StepStatus},
};

/// `default/cycle-x7`.
pub(crate) fn full_name(run: &Run) -> String {
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", run.metadata.name)
}

/// `Server m-0417`, or a dash for a run without.
pub(crate) fn target(run: &Run) -> String {
    run.spec.target.as_ref().map_or_else(|| "-".into(), ToString::to_string)
}

/// Where a run is, with what is asked of it and is not done yet.
pub(crate) fn phase(run: &Run) -> String {
    let (phase, spec) = (run.status.phase, &run.spec);
    let asked = match phase.ended() {
        true => "",
        false if spec.cancel => ", being cancelled",
        false if spec.suspend && phase != RunPhase::Suspended => ", being paused",
        false => "",
    };
    format!("{phase:?}{asked}")
}

/// A mark for where a run is.
pub(crate) const fn mark(phase: RunPhase) -> &'static str {
    match phase {
        RunPhase::Succeeded => "✓",
        RunPhase::Failed | RunPhase::Cancelled => "✗",
        RunPhase::Running | RunPhase::Compensating => "●",
        RunPhase::Pending | RunPhase::Queued | RunPhase::Suspended => "◌",
    }
}

/// Columns of a list of runs.
pub(crate) fn heading(wide: bool) -> Vec<&'static str> {
    let mut heading =
        vec!["NAMESPACE", "NAME", "RUNBOOK", "TARGET", "PHASE", "STEP", "PROGRESS", "TOOK", "AGE"];
    heading.extend(wide.then_some("MESSAGE"));
    heading
}

/// A run in a list.
pub(crate) fn row(run: &Run, wide: bool, now: Time) -> Vec<String> {
    let (meta, status) = (&run.metadata, &run.status);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut row = vec![
        text(&meta.namespace),
        meta.name.clone(),
        run.spec.runbook.clone(),
        target(run),
        phase(run),
        text(&status.step),
        text(&status.progress),
        took(run, now),
        age(meta.creation_timestamp, now),
    ];
    row.extend(wide.then(|| text(&status.message)));
    row
}

/// How long it runs, or ran.
fn took(run: &Run, now: Time) -> String {
    let (start, end) = (run.status.start_time, run.status.completion_time);
    start.map(|start| span(between(start, end.unwrap_or(now)))).unwrap_or_default()
}

/// A run and all its steps, as they are drawn.
pub(crate) fn frame(run: &Run, now: Time) -> Vec<String> {
    let status = &run.status;
    let progress = status.progress.as_ref().map_or_else(String::new, |it| format!(" {it}"));
    let head = format!(
        "{} run {}: {} on {}, {}{progress} {}",
        mark(status.phase),
        full_name(run),
        run.spec.runbook,
        target(run),
        phase(run),
        took(run, now)
    );
    let mut lines = vec![head.trim_end().to_owned()];
    if run.spec.dry_run {
        lines.push("  a dry run: nothing is done".into());
    }
    let rows: Vec<Vec<String>> = status.steps.iter().map(|step| step_row(step, now)).collect();
    for (line, step) in table::lines(&rows).into_iter().zip(&status.steps) {
        lines.push(format!("  {line}"));
        lines.extend(remark(step, now).map(|remark| format!("      {remark}")));
    }
    let message = status.message.as_deref().unwrap_or_default();
    let told = |step: &StepStatus| step.message.as_ref().is_some_and(|it| message.ends_with(it));
    if !message.is_empty() && !status.steps.iter().any(told) {
        lines.push(format!("  {message}"));
    }
    lines
}

fn step_row(step: &StepStatus, now: Time) -> Vec<String> {
    let took = step.start_time.map(|start| span(between(start, step.end_time.unwrap_or(now))));
    let attempts = match step.attempts {
        0 | 1 => String::new(),
        many => format!("{many} attempts"),
    };
    vec![
        format!("{} {}", step_mark(step.phase), step.name),
        step.does.clone().unwrap_or_default(),
        format!("{:?}", step.phase),
        took.unwrap_or_default(),
        attempts,
    ]
}

const fn step_mark(phase: StepPhase) -> &'static str {
    match phase {
        StepPhase::Succeeded => "✓",
        StepPhase::Failed | StepPhase::Cancelled => "✗",
        StepPhase::Running => "●",
        StepPhase::Waiting => "◌",
        StepPhase::Skipped => "-",
    }
}

/// What a step waits for or why it failed.
fn remark(step: &StepStatus, now: Time) -> Option<String> {
    if step.phase == StepPhase::Succeeded {
        return None;
    }
    let message = step.message.clone()?;
    let again = step.retry_time.filter(|_| !step.phase.ended());
    let again = again.map_or_else(String::new, |at| format!("; again at {}", point(at, now)));
    // What the ledger is asked says its times itself.
    let until = match step.deadline {
        Some(until) if step.phase == StepPhase::Waiting && !message.contains(" until ") => {
            format!("; until {}", point(until, now))
        }
        _ => String::new(),
    };
    Some(format!("{message}{again}{until}"))
}

/// What is new since a run was seen last, as lines to be added to those before.
pub(crate) fn news(before: Option<&Run>, run: &Run, now: Time) -> Vec<String> {
    let known = |step: &&StepStatus| {
        let steps = before.map(|before| before.status.steps.as_slice()).unwrap_or_default();
        steps.iter().any(|it| {
            let same = (it.phase, it.attempts, &it.message);
            it.name == step.name && same == (step.phase, step.attempts, &step.message)
        })
    };
    let mut lines = Vec::new();
    if before.is_none() {
        lines.push(format!("run {}: {} on {}", full_name(run), run.spec.runbook, target(run)));
    }
    let mut new: Vec<&StepStatus> = run.status.steps.iter().filter(|it| !known(it)).collect();
    // What is inside a step ends before it.
    new.sort_by_key(|step| step.end_time.or(step.start_time));
    for step in new {
        let does = step.does.as_ref().map_or_else(String::new, |does| format!(" ({does})"));
        let many = match step.attempts {
            0 | 1 => String::new(),
            many => format!(", attempt {many}"),
        };
        let why = remark(step, now).map_or_else(String::new, |why| format!(": {why}"));
        let (mark, name, phase) = (step_mark(step.phase), &step.name, step.phase);
        lines.push(format!("{} {mark} {name}{does} {phase:?}{many}{why}", clock(now)));
    }
    let was = before.map(|before| (before.status.phase, &before.status.message));
    let is = (run.status.phase, &run.status.message);
    // Of one in work, the steps say it all.
    let working = is.0 == RunPhase::Running && was.is_some_and(|(phase, _)| phase == is.0);
    if was != Some(is) && !working {
        let why = run.status.message.as_ref().filter(|_| is.0 != RunPhase::Running);
        let why = why.map_or_else(String::new, |message| format!(": {message}"));
        lines.push(format!("{} {} {}{why}", clock(now), mark(is.0), phase(run)));
    }
    lines
}

/// It has ended, and nothing more is asked of it.
pub(crate) fn ended(run: &Run) -> bool {
    let asked = run.spec.retry.as_ref().map_or(0, |retry| retry.number);
    run.status.phase.ended() && run.status.retries >= asked
}
