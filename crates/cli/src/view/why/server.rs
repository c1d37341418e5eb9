//! What is not as it should be with a server, or with anything that has conditions.

use super::{Finding, Why, ago};
use crate::view::{
    run::{full_name, phase},
    server::{current, good},
    time::{between, point},
    words::{count, size},
};
use quarterdeck_model::{
    Condition, Time,
    kinds::{Permit, Run, RunPhase, Server, ServerPhase},
};
use serde::Deserialize as _;
use serde_json::Value;

/// What is not as it should be with a server; `runs` are those on it that have not ended.
pub(crate) fn server(server: &Server, runs: &[Run], permits: &[Permit], now: Time) -> Why {
    let (name, status) = (&server.metadata.name, &server.status);
    let mut why = Why::new(format!("server/{name}"), format!("{:?}", status.phase), "");
    why.findings.extend(conditions(&status.conditions));
    why.findings.extend(overdue(server, now));
    if let Some(run) = current(server, runs) {
        why.findings.push(acts(run));
        why.next.push(format!(
            "see why that run does not go on: quarterdeck why run/{}",
            full_name(run)
        ));
    }
    let queued = runs.iter().filter(|run| run.status.phase == RunPhase::Queued).count();
    if queued > 0 {
        why.next.push(format!(
            "see the {} queued for it: quarterdeck run list -A --target server/{name} --phase Queued",
            count(queued, "run")
        ));
    }
    for permit in permits {
        why.findings.push(Finding {
            what: "it may be disrupted at any moment".into(),
            who: Some(format!(
                "run/{}/{}",
                permit.metadata.namespace.as_deref().unwrap_or_default(),
                permit.metadata.name
            )),
            since: permit.spec.granted,
            message: format!(
                "its permit covers {}",
                count(size(permit.spec.instances), "instance")
            ),
            ..Finding::default()
        });
    }
    let wrong = status.conditions.iter().filter(|it| !good(it)).count();
    why.summary = match (wrong, why.findings.is_empty()) {
        (0, true) => "nothing is known to be wrong with it".into(),
        (0, false) => "nothing is known to be wrong with it; this happens to it now".into(),
        (1, _) => "one thing is not as it should be".into(),
        (more, _) => format!("{more} things are not as they should be"),
    };
    if wrong > 0 {
        why.next.push(format!("look at it again: quarterdeck server inspect {name}"));
    }
    why.next.push(format!("see all about it: quarterdeck server show {name}"));
    why
}

/// Conditions that are not as they should be.
fn conditions(all: &[Condition]) -> impl Iterator<Item = Finding> {
    all.iter().filter(|it| !good(it)).map(|it| Finding {
        what: format!("{} is {:?}: {}", it.kind, it.status, it.reason),
        since: Some(it.last_transition_time),
        message: it.message.clone(),
        ..Finding::default()
    })
}

/// The phase it should have left, and how it does.
fn overdue(server: &Server, now: Time) -> Option<Finding> {
    let status = &server.status;
    let until = status.phase_deadline?;
    let late = if between(now, until).is_negative() { " and is overdue" } else { "" };
    let exit = match status.phase {
        ServerPhase::Registered | ServerPhase::Inspecting => {
            "it leaves this phase when an inspection succeeds"
        }
        _ => "the run that acts on it takes it out of this phase",
    };
    Some(Finding {
        what: format!("it is {:?}{late}", status.phase),
        since: status.phase_since,
        until: Some(until),
        message: exit.into(),
        ..Finding::default()
    })
}

fn acts(run: &Run) -> Finding {
    let step = run.status.step.as_ref().map_or_else(String::new, |step| format!(", step {step}"));
    Finding {
        what: format!("a run acts on it: {} {}{step}", run.spec.runbook, phase(run)),
        who: Some(format!("run/{}", full_name(run))),
        since: run.status.start_time,
        until: run.status.deadline,
        message: run.status.message.clone().unwrap_or_default(),
    }
}

/// The same for what is no kind in particular: its phase, its sentence and its conditions.
pub(crate) fn anything(subject: String, object: &Value, now: Time) -> Why {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let phase = text("/status/phase").unwrap_or_else(|| "no phase".into());
    let mut why = Why::new(subject, phase, "");
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    let all: Vec<Condition> =
        all.into_iter().flatten().filter_map(|it| Condition::deserialize(it).ok()).collect();
    why.findings.extend(conditions(&all));
    if let Some(message) = text("/status/message") {
        let since = text("/status/phaseSince").and_then(|at| at.parse().ok()).map(Time::new);
        why.findings.push(Finding { what: "it says".into(), since, message, ..Finding::default() });
    }
    if let Some(at) = text("/metadata/deletionTimestamp").and_then(|at| at.parse().ok()) {
        let held = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        let held: Vec<&str> = held.into_iter().flatten().filter_map(Value::as_str).collect();
        why.findings.push(Finding {
            what: "it is being deleted".into(),
            since: Some(Time::new(at)),
            message: format!("held by {}", held.join(", ")),
            ..Finding::default()
        });
    }
    let since = text("/metadata/creationTimestamp").and_then(|at| at.parse().ok()).map(Time::new);
    why.summary = match why.findings.len() {
        0 => format!("nothing is known to be wrong with it; it is there for {}", ago(since, now)),
        1 => "one thing is to be said of it".into(),
        more => format!("{more} things are to be said of it"),
    };
    if let Some(at) = since {
        why.next.push(format!(
            "see what happened to it since {}: quarterdeck timeline {}",
            point(at, now),
            why.subject
        ));
    }
    why
}
