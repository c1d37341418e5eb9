//! What is not as it should be with a server, or with anything that has conditions.

use super::{Finding, Why, ago, refusal};
use crate::view::{
    parts::good,
    refusal::refused,
    run::{self, full_name},
    server::{current, machine},
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
    why.findings.extend(phase(server, now));
    if let Some(run) = current(server, runs) {
        why.findings.extend(acts(run));
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
    for permit in permits.iter().filter(|permit| permit.is_granted()) {
        why.findings.push(Finding {
            what: "it may be disrupted at any moment".into(),
            who: Some(format!(
                "run/{}/{}",
                permit.metadata.namespace.as_deref().unwrap_or_default(),
                permit.metadata.name
            )),
            since: permit.status.granted,
            message: format!(
                "its permit covers {}",
                count(size(permit.status.instances), "instance")
            ),
            ..Finding::default()
        });
    }
    let out = usize::from(status.phase.out_of_service());
    let wrong = status.conditions.iter().filter(|it| !good(it)).count() + out;
    why.summary = match (wrong, why.findings.is_empty()) {
        (0, true) => "nothing is known to be wrong with it".into(),
        (0, false) => "nothing is known to be wrong with it; this happens to it now".into(),
        (1, _) => "one thing is not as it should be".into(),
        (more, _) => format!("{more} things are not as they should be"),
    };
    why.next.extend(exits(server));
    why.next.extend(profile(server));
    if let Some(machine) = machine(server) {
        why.next.push(format!("see the machine that has it: quarterdeck why machine/{machine}"));
    }
    if wrong > out {
        why.next.push(format!("look at it again: quarterdeck server inspect {name}"));
    }
    why.next.push(format!("see all about it: quarterdeck server show {name}"));
    why
}

/// Conditions that are not as they should be.
pub(super) fn conditions(all: &[Condition]) -> impl Iterator<Item = Finding> {
    all.iter().filter(|it| !good(it)).map(|it| Finding {
        what: format!("{} is {:?}: {}", it.kind, it.status, it.reason),
        since: Some(it.last_transition_time),
        message: it.message.clone(),
        ..Finding::default()
    })
}

/// A phase that it should leave, or in which it is out of service.
pub(super) fn phase(server: &Server, now: Time) -> Option<Finding> {
    let status = &server.status;
    let out = status.phase.out_of_service();
    if status.phase_deadline.is_none() && !out {
        return None;
    }
    let late = status.phase_deadline.is_some_and(|until| between(now, until).is_negative());
    let late = if late { " and is overdue" } else { "" };
    let exit = match status.phase {
        _ if out => status.phase_message.as_deref().unwrap_or("nobody said why"),
        ServerPhase::Registered | ServerPhase::Inspecting => {
            "it leaves this phase when an inspection succeeds"
        }
        _ => "the run that acts on it takes it out of this phase",
    };
    Some(Finding {
        what: format!("it is {:?}{late}", status.phase),
        since: status.phase_since,
        until: status.phase_deadline,
        message: exit.into(),
        ..Finding::default()
    })
}

/// How to see what it should be, when it is not.
pub(super) fn profile(server: &Server) -> Option<String> {
    let name = server.spec.profile.as_ref()?;
    let mut all = server.status.conditions.iter();
    let unlike = all.any(|it| ["ProfileMet", "FirmwareCurrent"].contains(&&*it.kind) && !good(it));
    unlike.then(|| format!("see what it should be: kubectl describe serverprofile {name}"))
}

/// How it leaves the phase it is in, where that is for people to say.
pub(super) fn exits(server: &Server) -> Vec<String> {
    let name = &server.metadata.name;
    let overdue = server.status.conditions.iter().any(|it| it.kind == "Overdue" && !good(it));
    let verb = |say: &str, verb: &str| format!("{say}: quarterdeck server {verb} {name}");
    match server.status.phase {
        ServerPhase::Quarantined => vec![
            verb("when it is well, put it back to work (return-server)", "return"),
            verb("have it mended (repair-server)", "repair") + " --message TEXT",
            verb("erase its disks, and free it from its machine (clean-server)", "clean"),
            verb("let it go for good (retire-server)", "retire"),
        ],
        ServerPhase::Repairing => vec![
            "when it is mended, approve the step of its repair-server run that waits".into(),
            verb("or put it back to work without that (return-server)", "return") + " --force",
            verb("let it go for good (retire-server)", "retire") + " --force",
        ],
        ServerPhase::Retired => vec![
            verb("to take it back, quarantine it first (quarantine-server)", "quarantine")
                + " --message TEXT",
            verb("then put it back to work (return-server)", "return"),
        ],
        ServerPhase::Registered | ServerPhase::Inspecting => Vec::new(),
        _ if overdue => vec![
            verb("take it out of that (quarantine-server)", "quarantine")
                + " --force --message TEXT",
        ],
        _ => Vec::new(),
    }
}

/// What a run does to it, and whose leave that waits for.
pub(super) fn acts(run: &Run) -> Vec<Finding> {
    let step = run.status.step.as_ref().map_or_else(String::new, |step| format!(", step {step}"));
    let does = if run.status.phase.ended() { "acted" } else { "acts" };
    let acts = Finding {
        what: format!("a run {does} on it: {} {}{step}", run.spec.runbook, run::phase(run)),
        who: Some(format!("run/{}", full_name(run))),
        since: run.status.start_time,
        until: run.status.deadline,
        message: run.status.message.clone().unwrap_or_default(),
    };
    match refused(run) {
        // The ledger says it in more detail.
        Some(refused) => vec![Finding { message: String::new(), ..acts }, refusal(&refused)],
        None => vec![acts],
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
