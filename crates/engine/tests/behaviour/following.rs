//! What a person follows: phases, steps, waits, events, and what the target shows.

use crate::{
    outside::Behaviour,
    scenario::{Plane, line},
};
use quarterdeck_model::{
    ConditionStatus, Kind as _, condition,
    kinds::{Image, Run, RunPhase, RunbookRevision, Server},
};
use serde_json::json;
use std::time::Duration;

const TWO_STEPS: &str = "
target: {kind: Server}
steps:
  - {name: first, action: do.it, with: {what: one}}
  - {name: second, action: disturb.it, with: {what: two}}
outputs: {did: '${ steps.second.output.what }'}
";

#[tokio::test(start_paused = true)]
async fn a_run_goes_to_its_end_and_tells() {
    let plane = Plane::new().await;
    plane.server("m1").await;
    plane.runbook("reboot", TWO_STEPS).await;
    plane.outside.next("one", Behaviour::Takes(Duration::from_secs(20)));
    plane.run("r", "{runbook: reboot, target: {kind: Server, name: m1}}").await;
    plane.outside.called("one", 1).await;
    let run = plane.phase("r", RunPhase::Running).await;
    assert_eq!(run.status.step.as_deref(), Some("first"));
    assert_eq!(run.status.progress.as_deref(), Some("0/2"));
    assert_eq!(run.metadata.finalizers, ["quarterdeck.dev/run"]);
    plane
        .when(Server::info(), "the server to show its run", || {
            let server = plane.store.world().get(Server::info(), "", "m1")?.value();
            (server["status"]["currentRun"] == "default/r").then_some(())
        })
        .await;
    let run = plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(plane.phases("r"), ["Pending", "Running", "Succeeded"]);
    assert_eq!(line(&run), "first Succeeded, second Succeeded");
    let status = &run.status;
    assert_eq!(status.progress.as_deref(), Some("2/2"));
    assert_eq!(status.outputs["did"], "two");
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!((status.step.as_deref(), &status.queued_behind), (None, &None));
    let complete = condition::find(&status.conditions, "Complete").unwrap();
    assert_eq!(complete.status, ConditionStatus::True);
    for step in &status.steps {
        assert_eq!((step.attempts, step.reason.as_deref()), (1, None));
        assert!(step.start_time <= step.end_time && step.start_time.is_some(), "{step:?}");
    }
    assert!(run.metadata.finalizers.is_empty(), "nothing keeps a run that has ended");
    assert_eq!(plane.outside.effects(), ["one", "two"]);
    assert_eq!(
        plane.reasons("Run", "r"),
        ["Started", "StepStarted", "StepSucceeded", "Succeeded"],
        "{:#?}",
        plane.story("Run", "r")
    );
    plane
        .when(Server::info(), "the server to show no run", || {
            let server = plane.store.world().get(Server::info(), "", "m1")?.value();
            server["status"]["currentRun"].is_null().then_some(())
        })
        .await;
    let mut told = plane.story("Server", "m1");
    told.retain(|event| event.contains("default/r"));
    assert_eq!(
        told,
        [
            "RunStarted: run default/r (reboot) started",
            "RunSucceeded: run default/r (reboot) succeeded"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_target_that_goes_well_writes_no_events_and_one_version_a_step() {
    let plane = Plane::new().await;
    plane
        .runbook(
            "quiet",
            "steps:
             - {name: a, action: do.it, with: {what: a}}
             - {name: b, action: do.it, with: {what: b}}
             - {name: c, action: do.it, with: {what: c}}",
        )
        .await;
    plane.run("r", "{runbook: quiet}").await;
    plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(plane.story("Run", "r"), [""; 0]);
    let versions = plane.disk.versions(|key| *key.kind == *Run::info().resource_name());
    assert_eq!(versions.len(), 5, "created, three steps begun, ended");
    assert_eq!(plane.store.world().count(RunbookRevision::info()), 1);
}

#[tokio::test(start_paused = true)]
async fn runs_of_the_same_text_share_its_revision() {
    let plane = Plane::new().await;
    let steps = "steps: [{name: a, action: do.it, with: {what: a}}]";
    plane.runbook("a", steps).await;
    plane.run("r1", "{runbook: a}").await;
    plane.phase("r1", RunPhase::Succeeded).await;
    plane.run("r2", "{runbook: a}").await;
    plane.phase("r2", RunPhase::Succeeded).await;
    assert_eq!(plane.store.world().count(RunbookRevision::info()), 1);
    plane.change_runbook("a", "steps: [{name: a, action: do.it, with: {what: b}}]").await;
    plane.run("r3", "{runbook: a}").await;
    plane.phase("r3", RunPhase::Succeeded).await;
    assert_eq!(plane.store.world().count(RunbookRevision::info()), 2);
    assert_eq!(plane.outside.effects(), ["a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_says_what_since_and_until_and_ends_when_the_target_is_so() {
    let plane = Plane::new().await;
    plane.image("i").await;
    plane
        .runbook(
            "wait",
            "target: {kind: Image}
steps:
  - {name: fetched, waitFor: target.status.phase == 'Fetched', timeout: 20m}
  - {name: rest, pause: 90s}",
        )
        .await;
    plane.run("r", "{runbook: wait, target: {kind: Image, name: i}}").await;
    let waits = |run: &Run| {
        run.status
            .message
            .as_deref()
            .is_some_and(|m| m.contains("fetched") || m.contains("target.status.phase"))
    };
    let run = plane.until("r", "waiting", waits).await;
    assert_eq!(
        run.status.message.as_deref(),
        Some("waiting for target.status.phase == 'Fetched' since 08:00:00 until 08:20:00")
    );
    let step = &run.status.steps[0];
    assert_eq!(format!("{:?}", step.phase), "Waiting");
    assert!(step.start_time.is_some() && step.deadline.is_some());
    tokio::time::sleep(Duration::from_secs(60)).await;
    plane
        .patch(Image::info(), "", "i", |image| image["status"] = json!({"phase": "Fetched"}))
        .await;
    let run = plane.phase("r", RunPhase::Succeeded).await;
    let took = |at: usize| {
        let step = &run.status.steps[at];
        let (start, end) = (step.start_time.unwrap(), step.end_time.unwrap());
        end.timestamp().duration_since(start.timestamp()).as_secs()
    };
    assert_eq!((took(0), took(1)), (60, 90), "woken by the target, then by the clock");
    let story = plane.reasons("Run", "r");
    assert_eq!(story, ["WaitStarted", "WaitEnded", "WaitStarted", "WaitEnded"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_action_sees_becomes_the_targets_status_before_the_next_step() {
    let plane = Plane::new().await;
    plane.image("i").await;
    plane
        .runbook(
            "look",
            "target: {kind: Image}
steps:
  - {name: look, action: look.at, with: {what: it}}
  - {name: tell, action: do.it, with: {what: '${ target.status.phase }'}}",
        )
        .await;
    plane.outside.next("it", Behaviour::Sees(json!({"phase": "Fetched"})));
    plane.run("r", "{runbook: look, target: {kind: Image, name: i}}").await;
    plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), ["it", "Fetched"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_is_tried_again_after_growing_pauses() {
    let plane = Plane::new().await;
    plane
        .runbook(
            "again",
            "steps:
  - name: a
    action: do.it
    with: {what: a}
    retry: {attempts: 3, backoff: 10s}",
        )
        .await;
    plane.outside.next("a", Behaviour::Fails);
    plane.outside.next("a", Behaviour::Fails);
    plane.run("r", "{runbook: again}").await;
    let tried = |run: &Run| run.status.steps.first().is_some_and(|step| step.retry_time.is_some());
    let run = plane.until("r", "tried", tried).await;
    let message = run.status.message.unwrap();
    assert_eq!(message, "do.it failed: nobody answers; attempt 2 at 08:00:10");
    let run = plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(run.status.steps[0].attempts, 3);
    let calls = plane.outside.calls("a");
    assert_eq!(calls.iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(calls.iter().all(|call| call.key == calls[0].key && !call.resumed));
    assert_eq!(plane.now().duration_since(crate::scenario::beginning()).as_secs(), 30);
    assert_eq!(plane.reasons("Run", "r"), ["StepRetrying", "StepRetrying"]);
}
