//! Why a run does not go on.

use super::{Finding, Why, ago, refusal};
use crate::view::{
    refusal::{Blocker, Refused, refused},
    run::{full_name, phase, target},
    time::point,
};
use quarterdeck_model::{
    Time,
    kinds::{Run, RunPhase, StepPhase, StepStatus},
};

/// Why a run does not go on; `holder` is the run it is queued behind.
pub(crate) fn run(run: &Run, holder: Option<&Run>, now: Time) -> Why {
    let status = &run.status;
    let mut why = Why::new(format!("run/{}", full_name(run)), phase(run), "");
    match status.phase {
        RunPhase::Pending => pending(&mut why, run, now),
        RunPhase::Queued => queued(&mut why, run, holder, now),
        RunPhase::Suspended => {
            why.summary =
                "it was asked to pause: nothing further begins until it is resumed".into();
            why.next.push(command(run, "resume"));
        }
        RunPhase::Running | RunPhase::Compensating => in_work(&mut why, run, now),
        RunPhase::Succeeded => {
            why.summary = "nothing stands in its way: it is done".into();
        }
        RunPhase::Failed | RunPhase::Cancelled => ended_badly(&mut why, run),
    }
    if !status.phase.ended() && !run.spec.cancel {
        why.next.push(format!("give it up: {}", command(run, "cancel")));
    }
    why
}

fn command(run: &Run, verb: &str) -> String {
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    format!("quarterdeck run {verb} {} -n {namespace}", run.metadata.name)
}

fn pending(why: &mut Why, run: &Run, now: Time) {
    let since = run.metadata.creation_timestamp;
    why.summary = format!("the plane has not looked at it for {}", ago(since, now));
    why.next.push(
        "a plane looks at a new run within a second; if it does not, see its log and its /readyz"
            .into(),
    );
}

fn queued(why: &mut Why, run: &Run, holder: Option<&Run>, now: Time) {
    let status = &run.status;
    let ahead = status.queued_behind.clone().unwrap_or_else(|| "another run".into());
    let on = target(run);
    why.summary = format!(
        "it has waited for its turn on {on} for {}: one run acts on it at a time",
        ago(status.queued_time, now)
    );
    let state = holder.map_or_else(String::new, |holder| {
        let message = holder.status.message.as_ref();
        let message = message.map_or_else(String::new, |message| format!(": {message}"));
        format!("{} {}{message}", holder.spec.runbook, phase(holder))
    });
    why.findings.push(Finding {
        what: format!("run {ahead} is before it"),
        who: Some(format!("run/{ahead}")),
        since: status.queued_time,
        until: holder.and_then(|holder| holder.status.deadline),
        message: state,
    });
    why.next.push(format!("see why that one does not go on: quarterdeck why run/{ahead}"));
    why.next.push("cancel what is before it by starting another with --force in its place".into());
}

fn in_work(why: &mut Why, run: &Run, now: Time) {
    if let Some(refused) = refused(run) {
        return not_permitted(why, run, &refused, now);
    }
    let open = run.status.steps.iter().filter(|step| !step.phase.ended());
    // What is around a step is in work as long as it is.
    let inner = |step: &&StepStatus| {
        let within = format!("{}/", step.name);
        !run.status.steps.iter().any(|it| !it.phase.ended() && it.name.starts_with(&within))
    };
    for step in open.filter(inner) {
        why.findings.push(step_finding(step, now));
        if step.phase == StepPhase::Waiting && step.does.as_deref() == Some("approve") {
            why.next.push(format!(
                "decide, in your own name: {} --step {}, or reject it",
                command(run, "approve"),
                step.name
            ));
        }
    }
    let waits = run.status.steps.iter().any(|step| step.phase == StepPhase::Waiting);
    let again =
        run.status.steps.iter().any(|step| step.retry_time.is_some() && !step.phase.ended());
    why.summary = match (run.status.phase, waits, again) {
        (RunPhase::Compensating, ..) => "what it did is being undone".into(),
        (_, true, _) => "it waits".into(),
        (_, _, true) => "a step failed and is tried again".into(),
        _ => "nothing stands in its way: it is in work".into(),
    };
    why.next.push(format!("see it go on: {}", command(run, "follow")));
}

fn step_finding(step: &StepStatus, now: Time) -> Finding {
    let does = step.does.as_ref().map_or_else(String::new, |does| format!(" ({does})"));
    let many = match step.attempts {
        0 | 1 => String::new(),
        many => format!(", attempt {many}"),
    };
    let again = step.retry_time.map(|at| format!("tried again at {}", point(at, now)));
    let message = [step.message.clone(), again].into_iter().flatten().collect::<Vec<_>>();
    Finding {
        what: format!("step {}{does}, {:?}{many}", step.name, step.phase),
        who: None,
        since: step.start_time,
        until: step.deadline,
        message: message.join("; "),
    }
}

fn not_permitted(why: &mut Why, run: &Run, refused: &Refused<'_>, now: Time) {
    why.summary = format!(
        "the ledger does not let it disrupt {} yet; it has waited for {}",
        target(run),
        ago(refused.since, now)
    );
    let wants_approval = refused.sentence.contains("wants approval by");
    let next = match refused.blocker {
        Blocker::Service { .. } if wants_approval => String::new(),
        Blocker::Service { namespace, name } => {
            format!(
                "see what of it is down, and who holds permits: quarterdeck why service/{name} -n {namespace}"
            )
        }
        Blocker::Place { .. } if wants_approval => String::new(),
        Blocker::Place { kind, name } => {
            format!(
                "see who is disrupted there now: kubectl get permits -A; the limit is spec.maxDisruptedServers or spec.limits of {kind} {name}"
            )
        }
        Blocker::Freeze(name) => {
            format!(
                "see what it excepts, or end it: kubectl describe freeze {name}; kubectl delete freeze {name}"
            )
        }
        Blocker::Other => String::new(),
    };
    why.findings.push(refusal(refused));
    if wants_approval {
        why.next.push(format!("approve it, if you are one of those: {}", command(run, "approve")));
    }
    why.next.push("wait: it goes on by itself when that gives way".into());
    why.next.extend(Some(next).filter(|next| !next.is_empty()));
}

fn ended_badly(why: &mut Why, run: &Run) {
    let status = &run.status;
    let failed = status.steps.iter().rev().find(|step| step.phase == StepPhase::Failed);
    let message = status.message.clone().unwrap_or_default();
    why.summary = match status.phase {
        RunPhase::Cancelled => format!("it was cancelled: {message}"),
        _ => format!("it failed: {message}"),
    };
    if let Some(step) = failed {
        let reason = step.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        why.findings.push(Finding {
            what: format!("step {} failed{reason}", step.name),
            since: step.end_time,
            message: step.message.clone().unwrap_or_default(),
            ..Finding::default()
        });
    }
    why.next.push(format!("try again: {}", command(run, "retry")));
}
