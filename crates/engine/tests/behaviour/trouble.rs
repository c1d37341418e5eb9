//! What goes wrong around a run: its runbook, its target, its actions, the store.

use crate::{
    outside::Behaviour,
    scenario::{Plane, line},
};
use quarterdeck_model::{
    Kind as _, condition,
    kinds::{Image, Run, RunPhase, Runbook, RunbookRevision},
};
use quarterdeck_simtest::Fault;
use serde_json::json;
use std::time::Duration;

const ONE: &str = "steps: [{name: a, action: do.it, with: {what: a}}]";

/// Why a run did not complete: reason and message.
fn why(run: &Run) -> (String, String) {
    let complete = condition::find(&run.status.conditions, "Complete").unwrap();
    (complete.reason.clone(), run.status.message.clone().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_runbook_changed_under_a_run_does_not_change_the_run() {
    let plane = Plane::new().await;
    plane
        .runbook(
            "a",
            "steps:
  - {name: a, action: do.it, with: {what: a}}
  - {name: b, call: inner}",
        )
        .await;
    plane.runbook("inner", "steps: [{name: c, action: do.it, with: {what: old}}]").await;
    plane.outside.next("a", Behaviour::Takes(Duration::from_secs(60)));
    plane.run("r", "{runbook: a}").await;
    plane.outside.called("a", 1).await;
    plane.change_runbook("inner", "steps: [{name: c, action: do.it, with: {what: new}}]").await;
    plane.delete(Runbook::info(), "", "a").await;
    let plane = plane.crash_and_restart().await;
    plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), ["a", "old"]);
}

#[tokio::test(start_paused = true)]
async fn runs_that_cannot_begin_say_why() {
    let plane = Plane::new().await;
    plane.runbook("ok", &format!("{{target: {{kind: Image}}, {ONE}}}")).await;
    plane.runbook("broken", "steps: [{name: a, waitFor: 'this is not ((('}]").await;
    plane.runbook("calls", "steps: [{name: a, call: nothing}]").await;
    let cases = [
        ("no-runbook", "{runbook: nowhere}", "RunbookNotFound", "nowhere"),
        ("no-inner", "{runbook: calls}", "RunbookNotFound", "nothing"),
        ("broken", "{runbook: broken}", "RunbookInvalid", "steps[0]"),
        ("no-target", "{runbook: ok}", "RunInvalid", "spec.target"),
        ("gone", "{runbook: ok, target: {kind: Image, name: i}}", "TargetNotFound", "Image i"),
        (
            "params",
            "{runbook: ok, params: {x: 1}, target: {kind: Image, name: i}}",
            "RunInvalid",
            "x",
        ),
    ];
    for (name, spec, reason, part) in cases {
        plane.run(name, spec).await;
        let run = plane.phase(name, RunPhase::Failed).await;
        let (found, message) = why(&run);
        assert_eq!(found, reason, "{name}: {message}");
        assert!(message.contains(part), "{name}: {message}");
        assert_eq!(plane.reasons("Run", name), ["Failed"]);
        assert!(run.metadata.finalizers.is_empty());
    }
    assert!(plane.outside.effects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_frozen_runbook_was_deleted_is_refused() {
    let plane = Plane::new().await;
    plane.runbook("w", "steps: [{name: w, pause: 1h}]").await;
    plane.run("r", "{runbook: w}").await;
    let run = plane.phase("r", RunPhase::Running).await;
    plane.delete(RunbookRevision::info(), "", &run.status.runbook_revision.unwrap()).await;
    let plane = plane.crash_and_restart().await;
    let run = plane.phase("r", RunPhase::Failed).await;
    assert_eq!(why(&run).0, "RunbookNotFound");
    plane.until("r", "let go", |run| run.metadata.finalizers.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_target_is_deleted_stops() {
    let plane = Plane::new().await;
    plane.image("i").await;
    plane
        .runbook(
            "w",
            "target: {kind: Image}
steps:
  - {name: w, waitFor: target.status.phase == 'Fetched'}
  - {name: a, action: do.it, with: {what: a}}",
        )
        .await;
    plane.run("r", "{runbook: w, target: {kind: Image, name: i}}").await;
    plane.phase("r", RunPhase::Running).await;
    plane.delete(Image::info(), "", "i").await;
    // Another of the same name is not what the run is about.
    plane.image("i").await;
    plane
        .patch(Image::info(), "", "i", |image| image["status"] = json!({"phase": "Fetched"}))
        .await;
    let run = plane.phase("r", RunPhase::Failed).await;
    assert_eq!(
        why(&run),
        ("TargetNotFound".into(), "Image i was deleted while the run was under way".into())
    );
    assert!(plane.outside.effects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_action_that_ends_in_a_defect_fails_its_step_only() {
    let plane = Plane::new().await;
    plane
        .runbook("a", "steps: [{name: a, action: do.it, with: {what: a}, retry: {attempts: 2}}]")
        .await;
    plane.outside.next("a", Behaviour::Panics);
    plane.run("r", "{runbook: a}").await;
    let run = plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(run.status.steps[0].attempts, 2);
    plane.outside.next("a", Behaviour::Panics);
    plane.outside.next("a", Behaviour::Panics);
    plane.run("r2", "{runbook: a}").await;
    let run = plane.phase("r2", RunPhase::Failed).await;
    assert_eq!(run.status.steps[0].reason.as_deref(), Some("InternalError"));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_to_keep_fails_the_step_and_says_so() {
    let plane = Plane::new().await;
    plane.runbook("a", ONE).await;
    plane.outside.next("a", Behaviour::GivesBytes(10 << 20));
    plane.run("r", "{runbook: a}").await;
    let run = plane.phase("r", RunPhase::Failed).await;
    assert_eq!(run.status.steps[0].reason.as_deref(), Some("TooLarge"));
    assert!(run.status.message.unwrap().contains("at most"));
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_when_the_store_comes_back() {
    let plane = Plane::new().await;
    plane.image("i").await;
    plane
        .runbook(
            "a",
            "target: {kind: Image}
steps:
  - {name: a, action: do.it, with: {what: a}}
  - {name: b, action: do.it, with: {what: b}}",
        )
        .await;
    plane.outside.next("a", Behaviour::Takes(Duration::from_secs(10)));
    plane.outside.next("a", Behaviour::Sees(json!({"phase": "Fetched"})));
    plane.run("r", "{runbook: a, target: {kind: Image, name: i}}").await;
    plane.outside.called("a", 1).await;
    plane.disk.go_away();
    tokio::time::sleep(Duration::from_secs(60)).await;
    plane.disk.come_back();
    let run = plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(line(&run), "a Succeeded, b Succeeded");
    assert_eq!(run.status.steps[0].attempts, 1);
    assert_eq!(plane.outside.effects(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_asks_while_a_step_ends_is_not_lost() {
    let plane = Plane::new().await;
    plane
        .runbook("a", "steps: [{name: a, action: do.it, with: {what: a}}, {name: w, pause: 1h}]")
        .await;
    plane.outside.next("a", Behaviour::Takes(Duration::from_secs(1)));
    plane.run("r", "{runbook: a}").await;
    plane.outside.called("a", 1).await;
    // Both at the same instant.
    tokio::time::sleep(Duration::from_secs(1)).await;
    plane.ask("r", "suspend", json!(true)).await;
    let run = plane.phase("r", RunPhase::Suspended).await;
    assert!(run.spec.suspend);
    assert_eq!(run.status.steps[0].name, "a");
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_which_nobody_knows_is_looked_up() {
    for fault in [Fault::UnknownBefore, Fault::UnknownAfter] {
        for at in 1..=4 {
            let plane = Plane::sharing().await;
            plane.runbook("a", ONE).await;
            plane.run("r", "{runbook: a}").await;
            plane.disk.fail_at(plane.disk.commits() + at, fault);
            let run = plane.phase("r", RunPhase::Succeeded).await;
            assert_eq!(line(&run), "a Succeeded");
            assert_eq!(plane.outside.effects(), ["a"], "{fault:?} at {at}");
            plane.stop().await;
        }
    }
}
