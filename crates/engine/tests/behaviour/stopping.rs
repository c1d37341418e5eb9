//! What a person can ask of a run: cancel, pause, resume, retry, approve, delete, rehearse.

use crate::{
    outside::Behaviour,
    scenario::{Plane, line},
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Run, RunPhase},
};
use quarterdeck_simtest::Fault;
use serde_json::json;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Three steps of which the first can be undone; each in its own hands.
const UNDOABLE: &str = "
steps:
  - name: a
    action: do.it
    with: {what: a}
    compensate: {action: do.it, with: {what: undo-a}}
  - {name: b, action: do.it, with: {what: b}, retry: {attempts: 9, backoff: 1m}}
  - {name: c, action: do.it, with: {what: c}}
";

async fn undoable() -> Plane {
    let plane = Plane::new().await;
    plane.runbook("u", UNDOABLE).await;
    plane
}

#[tokio::test(start_paused = true)]
async fn a_run_cancelled_before_it_begins_does_nothing() {
    let plane = undoable().await;
    plane.run("r", "{runbook: u, cancel: true}").await;
    let run = plane.ends("r").await;
    assert_eq!(run.status.phase, RunPhase::Cancelled);
    assert_eq!(run.status.message.as_deref(), Some("cancelled before it began"));
    assert_eq!(plane.outside.effects(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_run_cancelled_in_a_step_drops_it_and_undoes_what_was_done() {
    let plane = undoable().await;
    plane.outside.next("b", Behaviour::Takes(60 * SECOND));
    plane.run("r", "{runbook: u}").await;
    plane.outside.called("b", 1).await;
    plane.ask("r", "cancel", json!(true)).await;
    let run = plane.phase("r", RunPhase::Cancelled).await;
    assert_eq!(line(&run), "a Succeeded, b Cancelled, a/compensate Succeeded");
    assert_eq!(plane.outside.effects(), ["a", "undo-a"]);
    assert_eq!(plane.now(), crate::scenario::beginning(), "at once");
    assert_eq!(plane.phases("r"), ["Pending", "Running", "Compensating", "Cancelled"]);
    assert_eq!(plane.reasons("Run", "r"), ["Compensating", "Compensated", "Cancelled"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_cancelled_between_attempts_does_not_try_again() {
    let plane = undoable().await;
    plane.outside.next("b", Behaviour::Fails);
    plane.run("r", "{runbook: u}").await;
    let pauses = |run: &Run| run.status.steps.iter().any(|step| step.retry_time.is_some());
    plane.until("r", "between attempts", pauses).await;
    plane.ask("r", "cancel", json!(true)).await;
    plane.phase("r", RunPhase::Cancelled).await;
    assert_eq!(plane.outside.calls("b").len(), 1);
    assert_eq!(plane.outside.effects(), ["a", "undo-a"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_cancelled_in_a_wait_stops_waiting() {
    let plane = Plane::new().await;
    plane.runbook("w", "steps: [{name: w, pause: 1h}]").await;
    plane.run("r", "{runbook: w}").await;
    plane.phase("r", RunPhase::Running).await;
    tokio::time::sleep(SECOND).await;
    plane.ask("r", "cancel", json!(true)).await;
    let run = plane.phase("r", RunPhase::Cancelled).await;
    assert_eq!(line(&run), "w Cancelled");
    assert_eq!(plane.now().duration_since(crate::scenario::beginning()).as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_run_ends_what_it_does_and_begins_nothing_until_resumed() {
    let plane = undoable().await;
    plane.outside.next("a", Behaviour::Takes(10 * SECOND));
    plane.run("r", "{runbook: u}").await;
    plane.outside.called("a", 1).await;
    plane.ask("r", "suspend", json!(true)).await;
    let run = plane.phase("r", RunPhase::Suspended).await;
    assert!(run.status.message.unwrap().contains("spec.suspend is false"));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(plane.outside.effects(), ["a"]);
    assert_eq!(line(&plane.see("r")), "a Succeeded");
    let plane = plane.crash_and_restart().await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(plane.see("r").status.phase, RunPhase::Suspended);
    plane.ask("r", "suspend", json!(false)).await;
    plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), ["a", "b", "c"]);
    assert_eq!(plane.reasons("Run", "r"), ["Suspended", "Resumed"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_is_retried_from_a_step_and_keeps_what_was_done() {
    let plane = Plane::new().await;
    plane
        .runbook(
            "f",
            "steps:
  - {name: a, action: do.it, with: {what: a}}
  - {name: b, action: do.it, with: {what: b}}",
        )
        .await;
    plane.outside.next("b", Behaviour::FailsForGood);
    plane.run("r", "{runbook: f}").await;
    let run = plane.phase("r", RunPhase::Failed).await;
    assert_eq!(run.status.message.as_deref(), Some("step b: it cannot do that"));
    assert_eq!(run.status.steps[1].reason.as_deref(), Some("NotSupported"));
    plane.ask("r", "retry", json!({"from": "b", "number": 1})).await;
    let run = plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(run.status.retries, 1);
    assert_eq!(plane.outside.effects(), ["a", "b"]);
    let keys: Vec<String> = plane.outside.calls("b").into_iter().map(|call| call.key).collect();
    assert_ne!(keys[0], keys[1], "a retry is asked for to be done anew");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_cannot_be_is_refused_once_and_the_next_one_is_looked_at() {
    let plane = Plane::new().await;
    plane.runbook("f", "steps: [{name: a, action: do.it, with: {what: a}}]").await;
    plane.outside.next("a", Behaviour::FailsForGood);
    plane.run("r", "{runbook: f}").await;
    plane.phase("r", RunPhase::Failed).await;
    plane.ask("r", "retry", json!({"from": "nowhere", "number": 1})).await;
    let refused = |run: &Run| run.status.retries == 1;
    let run = plane.until("r", "refused", refused).await;
    assert_eq!(run.status.phase, RunPhase::Failed);
    let message = run.status.message.unwrap();
    assert!(
        message.contains("nowhere") && message.contains("raise spec.retry.number"),
        "{message}"
    );
    let commits = plane.disk.commits();
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(plane.disk.commits(), commits, "it is left alone");
    plane.ask("r", "retry", json!({"from": "a", "number": 2})).await;
    plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_waited_for_and_taken_or_refused() {
    let plane = Plane::new().await;
    plane
        .runbook(
            "ask",
            "steps:
  - {name: ok, approve: {message: may I}, timeout: 1h}
  - {name: a, action: do.it, with: {what: a}}",
        )
        .await;
    for (name, decision, phase) in
        [("yes", "Approved", RunPhase::Succeeded), ("no", "Rejected", RunPhase::Failed)]
    {
        plane.run(name, "{runbook: ask}").await;
        let asks = |run: &Run| run.status.message.as_deref().is_some_and(|m| m.contains("may I"));
        plane.until(name, "asking", asks).await;
        let given = json!([{"step": "ok", "decision": decision, "by": "ada"}]);
        plane.ask(name, "approvals", given).await;
        plane.phase(name, phase).await;
    }
    assert_eq!(plane.outside.effects(), ["a"]);
    assert_eq!(plane.reasons("Run", "yes"), ["ApprovalRequested", "Approved"]);
    plane.run("nobody", "{runbook: ask}").await;
    let run = plane.phase("nobody", RunPhase::Failed).await;
    assert_eq!(run.status.steps[0].reason.as_deref(), Some("TimedOut"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_run_undoes_what_it_did_and_then_goes() {
    let plane = undoable().await;
    plane.outside.next("b", Behaviour::Takes(60 * SECOND));
    plane.outside.next("undo-a", Behaviour::Takes(10 * SECOND));
    plane.run("r", "{runbook: u}").await;
    plane.outside.called("b", 1).await;
    plane.delete(Run::info(), "default", "r").await;
    plane.outside.called("undo-a", 1).await;
    assert_eq!(plane.see("r").status.phase, RunPhase::Compensating, "it stays until all is undone");
    plane.gone("r").await;
    assert_eq!(plane.outside.effects(), ["a", "undo-a"]);
}

/// Seed 2105 of the whole plane: it had let go of the run, and died before it removed it.
#[tokio::test(start_paused = true)]
async fn a_deleted_run_goes_at_whatever_commit_the_process_dies() {
    for at in 1..=12 {
        for fault in [Fault::DiesBefore, Fault::DiesAfter] {
            let mut plane = undoable().await;
            plane.outside.next("b", Behaviour::Takes(60 * SECOND));
            plane.run("r", "{runbook: u}").await;
            plane.outside.called("b", 1).await;
            plane.delete(Run::info(), "default", "r").await;
            plane.disk.fail_at(plane.disk.commits() + at, fault);
            let disk = plane.disk.clone();
            let died = tokio::select! {
                () = plane.gone("r") => false,
                () = disk.died.notified() => true,
            };
            if died {
                plane = plane.crash_and_restart().await;
                plane.gone("r").await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_removed_by_force_stops_and_another_of_its_name_is_another() {
    let plane = Plane::new().await;
    plane.image("i").await;
    let steps = "{target: {kind: Image}, steps: [{name: b, action: do.it, with: {what: b}}]}";
    plane.runbook("u", steps).await;
    let spec = "{runbook: u, target: {kind: Image, name: i}}";
    plane.outside.next("b", Behaviour::Takes(60 * SECOND));
    plane.run("r", spec).await;
    plane.outside.called("b", 1).await;
    plane
        .patch(Run::info(), "default", "r", |run| {
            run["metadata"].as_object_mut().unwrap().remove("finalizers");
        })
        .await;
    plane.delete(Run::info(), "default", "r").await;
    plane.run("r", spec).await;
    plane.phase("r", RunPhase::Succeeded).await;
    let calls = plane.outside.calls("b");
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].key, calls[1].key);
    assert_eq!(plane.outside.effects(), ["b"], "the first was dropped before its effect");
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_performs_nothing_and_says_what_would_happen() {
    let plane = undoable().await;
    plane.run("r", "{runbook: u, dryRun: true}").await;
    let run = plane.ends("r").await;
    assert_eq!(run.status.phase, RunPhase::Succeeded, "{:?}", run.status);
    let names: Vec<&str> = run.status.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(plane.outside.calls("a").is_empty());
    assert_eq!(run.status.steps[0].input, Some(json!({"what": "a"})));
}

#[tokio::test(start_paused = true)]
async fn a_run_is_stopped_at_its_deadline_and_undone() {
    let plane = undoable().await;
    plane.outside.next("b", Behaviour::Hangs);
    plane.run("r", "{runbook: u, timeout: 2m}").await;
    let run = plane.phase("r", RunPhase::Failed).await;
    assert_eq!(plane.now().duration_since(crate::scenario::beginning()).as_secs(), 120);
    assert!(run.status.message.unwrap().contains("deadline"));
    assert_eq!(plane.outside.effects(), ["a", "undo-a"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_passes_its_deadline_is_handled_as_its_runbook_says() {
    let plane = Plane::new().await;
    plane
        .runbook(
            "t",
            "steps:
  - name: a
    action: do.it
    with: {what: a}
    timeout: 30s
    onTimeout: {action: do.it, with: {what: late}, then: Continue}
    onFailure: {action: do.it, with: {what: failed}}
  - {name: b, action: do.it, with: {what: b}}",
        )
        .await;
    plane.outside.next("a", Behaviour::Hangs);
    plane.run("r", "{runbook: t}").await;
    let run = plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(run.status.steps[0].reason.as_deref(), Some("TimedOut"));
    assert_eq!(plane.outside.effects(), ["late", "b"]);
    assert_eq!(plane.now().duration_since(crate::scenario::beginning()).as_secs(), 30);
}
