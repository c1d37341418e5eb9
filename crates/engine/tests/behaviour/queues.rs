//! Who holds a target, and who waits for it.

use crate::{outside::Behaviour, scenario::Plane};
use quarterdeck_model::kinds::{Run, RunPhase};
use serde_json::json;
use std::time::Duration;

const STEP: &str = "
target: {kind: Image}
parameters: [{name: what, type: string, required: true}]
steps: [{name: a, action: do.it, with: {what: '${ params.what }'}, timeout: 2h}]
";
const HOUR: Behaviour = Behaviour::Takes(Duration::from_secs(3600));

/// A plane where each run of `names` takes an hour to do what it is called.
async fn crowd(names: &[&str]) -> Plane {
    let plane = Plane::new().await;
    plane.image("i").await;
    plane.runbook("slow", STEP).await;
    for name in names {
        plane.outside.next(name, HOUR);
        create(&plane, name, "").await;
    }
    plane
}

async fn create(plane: &Plane, name: &str, more: &str) {
    let spec = format!(
        "{{runbook: slow, target: {{kind: Image, name: i}}, params: {{what: {name}}}{more}}}"
    );
    plane.run(name, &spec).await;
}

fn behind(plane: &Plane, name: &str) -> Option<String> {
    plane.see(name).status.queued_behind
}

#[tokio::test(start_paused = true)]
async fn one_run_with_effects_holds_a_target_and_others_queue_in_order() {
    let plane = crowd(&["r1", "r2", "r3"]).await;
    let waits = |run: &Run| run.status.phase == RunPhase::Queued;
    for name in ["r2", "r3"] {
        plane.until(name, "queued", waits).await;
    }
    assert_eq!(plane.see("r1").status.phase, RunPhase::Running);
    assert_eq!(behind(&plane, "r2").as_deref(), Some("default/r1"));
    assert_eq!(behind(&plane, "r3").as_deref(), Some("default/r2"));
    let message = plane.see("r3").status.message.unwrap();
    assert_eq!(
        message,
        "queued since 2026-11-02T08:00:00Z behind run default/r2 for Image i; spec.force cancels \
         what holds it, spec.cancel gives up"
    );
    plane.phase("r3", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), ["r1", "r2", "r3"]);
    assert_eq!(plane.phases("r3"), ["Pending", "Queued", "Running", "Succeeded"]);
    assert_eq!(plane.now().duration_since(crate::scenario::beginning()).as_secs(), 3 * 3600);
    assert_eq!(behind(&plane, "r3"), None);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_the_same_after_a_restart() {
    let names = ["z", "m", "a", "q"];
    let plane = crowd(&names).await;
    for name in &names[1..] {
        plane.phase(name, RunPhase::Queued).await;
    }
    // Something else is written to one of them: its place must not depend on that.
    plane.ask("m", "timeout", json!("5h")).await;
    let plane = plane.crash_and_restart().await;
    plane.phase("q", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), names);
}

#[tokio::test(start_paused = true)]
async fn when_one_in_the_middle_gives_up_the_next_is_told_behind_whom_it_is() {
    let plane = crowd(&["r1", "r2", "r3"]).await;
    plane.phase("r3", RunPhase::Queued).await;
    plane.ask("r2", "cancel", json!(true)).await;
    let run = plane.phase("r2", RunPhase::Cancelled).await;
    assert_eq!(run.status.queued_behind, None);
    assert!(run.status.steps.is_empty());
    let moved = |run: &Run| run.status.queued_behind.as_deref() == Some("default/r1");
    plane.until("r3", "behind r1", moved).await;
    plane.phase("r3", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), ["r1", "r3"]);
}

#[tokio::test(start_paused = true)]
async fn a_forced_run_cancels_the_holder_and_goes_before_the_others() {
    let plane = crowd(&["r1", "r2"]).await;
    plane.phase("r2", RunPhase::Queued).await;
    plane.outside.called("r1", 1).await;
    create(&plane, "r3", ", force: true").await;
    plane.phase("r3", RunPhase::Succeeded).await;
    let run = plane.see("r1");
    assert_eq!(run.status.phase, RunPhase::Cancelled);
    assert!(run.spec.cancel);
    plane.phase("r2", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), ["r3", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_queued_run_can_be_forced_later() {
    let plane = crowd(&["r1", "r2", "r3"]).await;
    plane.phase("r3", RunPhase::Queued).await;
    plane.ask("r3", "force", json!(true)).await;
    plane.phase("r3", RunPhase::Succeeded).await;
    assert_eq!(plane.see("r1").status.phase, RunPhase::Cancelled);
    plane.phase("r2", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), ["r3", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn runs_without_effects_and_rehearsals_do_not_queue() {
    let plane = crowd(&["r1"]).await;
    plane.outside.called("r1", 1).await;
    let look = "
target: {kind: Image}
steps: [{name: a, action: look.at, with: {what: look}}]
";
    plane.runbook("look", look).await;
    plane.run("l", "{runbook: look, target: {kind: Image, name: i}}").await;
    create(&plane, "dry", ", dryRun: true").await;
    plane.phase("l", RunPhase::Succeeded).await;
    plane.phase("dry", RunPhase::Succeeded).await;
    assert_eq!(plane.see("r1").status.phase, RunPhase::Running);
    assert_eq!(plane.outside.effects(), ["look"]);
    assert!(!plane.phases("l").contains(&"Queued".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn different_targets_do_not_wait_for_each_other() {
    let plane = Plane::new().await;
    plane.runbook("slow", STEP).await;
    for at in 0..5 {
        let name = format!("r{at}");
        plane.image(&name).await;
        plane.outside.next(&name, HOUR);
        let target = format!("{{kind: Image, name: {name}}}");
        let spec = format!("{{runbook: slow, target: {target}, params: {{what: {name}}}}}");
        plane.run(&name, &spec).await;
    }
    for at in 0..5 {
        plane.phase(&format!("r{at}"), RunPhase::Succeeded).await;
    }
    assert_eq!(plane.now().duration_since(crate::scenario::beginning()).as_secs(), 3600);
}
