//! A process that dies at any instant: before or after every commit of a run, and in the middle of
//! its actions. What starts next goes on, and all comes out the same.

use crate::{
    outside::{Behaviour, Call, Outside},
    scenario::{Plane, beginning, line},
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Event, Run, RunPhase},
};
use quarterdeck_simtest::{Disk, Fault};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Builder, time::Instant};

/// One of everything: an action, a call, steps at once, a list, a wait for what another step made
/// so, a step that fails and is tried again, a failure that is handled, one that is not, and what
/// was done is undone.
const EVERYTHING: &str = "
target: {kind: Image}
steps:
  - name: begin
    action: do.it
    with: {what: begin}
    compensate: {action: do.it, with: {what: undo-begin}}
  - name: inner
    call: inner
    with: {what: called}
  - name: both
    parallel:
      - {name: fetched, waitFor: target.status.phase == 'Fetched'}
      - {name: fetch, action: do.it, with: {what: fetch}}
      - {name: again, action: do.it, with: {what: again}, retry: {attempts: 3, backoff: 2s}}
  - name: each
    forEach:
      in: '[\"x\", \"y\", \"z\"]'
      concurrency: 2
      steps:
        - {name: one, action: do.it, with: {what: '${ item }'}}
  - name: breaks
    action: do.it
    with: {what: breaks}
    onFailure: {action: do.it, with: {what: mended}, then: Continue}
  - {name: rest, pause: 5s}
  - {name: last, action: disturb.it, with: {what: last}}
";
const INNER: &str = "
target: {kind: Image}
parameters: [{name: what, type: string, required: true}]
steps:
  - {name: a, action: do.it, with: {what: '${ params.what }'}, compensate: {action: do.it, with: {what: undo-called}}}
";

/// What happens to a process, once.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Commit(usize, Fault),
    Action(&'static str, bool),
    None,
}

/// What is left in the end.
#[derive(Debug, PartialEq)]
struct End {
    phase: RunPhase,
    line: String,
    message: Option<String>,
    effects: Vec<String>,
    story: Vec<String>,
    target_story: Vec<String>,
}

/// Runs until the end, with a new process whenever one dies. Each process is a runtime of its own,
/// so that nothing of one that died is left.
fn live(blow: Blow, fails: bool) -> (End, usize) {
    let (disk, outside) = (Arc::<Disk>::default(), Arc::<Outside>::default());
    script(&outside);
    if fails {
        outside.always("last", Behaviour::FailsForGood);
    }
    let witness = disk.clone();
    outside.witnessed_by(move |call| assert_recorded(&witness, call));
    let mut now = beginning();
    let mut setup = 0;
    for life in 0..3 {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let ended = runtime.block_on(async {
            let clock = (now, Instant::now());
            let plane = Plane::start(disk.clone(), outside.clone(), clock).await;
            if life == 0 {
                plane.image("i").await;
                plane.runbook("everything", EVERYTHING).await;
                plane.runbook("inner", INNER).await;
                let spec = "{runbook: everything, target: {kind: Image, name: i}}";
                plane.run("r", spec).await;
                setup = disk.commits();
                match blow {
                    Blow::Commit(at, fault) => disk.fail_at(setup + at, fault),
                    Blow::Action(what, before) => {
                        let dies =
                            if before { Behaviour::DiesBefore } else { Behaviour::DiesAfter };
                        outside.next_first(what, dies);
                    }
                    Blow::None => {}
                }
            }
            let end = tokio::select! {
                end = ending(&plane) => Some(end),
                () = disk.died.notified() => None,
                () = outside.died.notified() => None,
            };
            now = plane.now();
            end
        });
        drop(runtime);
        if let Some(end) = ended {
            return (end, disk.commits() - setup);
        }
        now += Duration::from_secs(1);
    }
    panic!("{blow:?}: it died again and again");
}

/// What actions do, however often they are called.
fn script(outside: &Outside) {
    outside.paced(Duration::from_millis(1));
    outside.always("fetch", Behaviour::Sees(json!({"phase": "Fetched"})));
    outside.always("again", Behaviour::FailsUntil(3));
    outside.always("breaks", Behaviour::FailsForGood);
}

async fn ending(plane: &Plane) -> End {
    let run = plane.ends("r").await;
    // What is written after the end, too.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(plane.see("r").metadata.finalizers.is_empty());
    let reasons = |kind, name| {
        let mut story = plane.reasons(kind, name);
        story.sort();
        story
    };
    assert_eq!(plane.see("r").status, run.status, "an ended run does not change");
    let story = plane.store.world().count(Event::info());
    assert_eq!(story, plane.story("Run", "r").len() + plane.story("Image", "i").len());
    let mut effects = plane.outside.effects();
    effects.sort();
    End {
        phase: run.status.phase,
        line: sorted_line(&run),
        message: run.status.message.filter(|message| !message.starts_with("done in")),
        effects,
        story: reasons("Run", "r"),
        target_story: reasons("Image", "i"),
    }
}

/// Steps that run at once are recorded in the order they ended, which a crash may change.
fn sorted_line(run: &Run) -> String {
    let all = line(run);
    let mut steps: Vec<&str> = all.split(", ").collect();
    steps.sort_unstable();
    steps.join(", ")
}

/// What an action is about to do must be on the disk: its step, running, in this attempt.
fn assert_recorded(disk: &Disk, call: &Call) {
    let kind = Run::info().resource_name();
    let run: Value = disk.versions(|key| key.kind == kind).pop().unwrap();
    let uid = run["metadata"]["uid"].as_str().unwrap();
    let path = call.key.strip_prefix(uid).unwrap().strip_prefix('/').unwrap();
    let steps = run["status"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["name"] == path);
    let step = step.unwrap_or_else(|| panic!("{path} is not in the journal: {run:#}"));
    assert_eq!(step["phase"], "Running", "{path}");
    assert_eq!(step["attempts"], call.attempt, "{path}");
}

fn every_blow(fails: bool) {
    let (expected, commits) = live(Blow::None, fails);
    let phase = if fails { RunPhase::Failed } else { RunPhase::Succeeded };
    assert_eq!(expected.phase, phase, "{expected:#?}");
    assert!(commits > 15, "{commits}");
    for at in 1..=commits {
        for fault in [Fault::DiesBefore, Fault::DiesAfter] {
            let (end, _) = live(Blow::Commit(at, fault), fails);
            assert_eq!(end, expected, "{fault:?} at commit {at} of {commits}");
        }
    }
    let mut actions =
        vec!["begin", "called", "fetch", "again", "x", "z", "breaks", "mended", "last"];
    if fails {
        actions.extend(["undo-begin", "undo-called"]);
    }
    for what in actions {
        for before in [true, false] {
            let (end, _) = live(Blow::Action(what, before), fails);
            // An effect of a call whose end nobody heard of cannot be taken back.
            let mut expected_effects = expected.effects.clone();
            if !before
                && matches!(what, "again" | "breaks" | "last")
                && !expected_effects.contains(&what.into())
            {
                expected_effects.push(what.into());
                expected_effects.sort();
            }
            assert_eq!(end.effects, expected_effects, "{what}, before its effect: {before}");
            assert_eq!(end.line, expected.line, "{what}, before its effect: {before}");
            assert_eq!(end.phase, phase);
        }
    }
}

#[test]
fn a_run_that_succeeds_survives_a_crash_at_every_commit_and_in_every_action() {
    every_blow(false);
}

#[test]
fn a_run_that_fails_and_is_undone_survives_a_crash_at_every_commit_and_in_every_action() {
    every_blow(true);
}

#[test]
fn a_run_survives_a_store_that_is_away_for_a_while_at_every_commit() {
    let (expected, commits) = live(Blow::None, false);
    for at in 1..=commits {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let plane = Plane::new().await;
            script(&plane.outside);
            plane.image("i").await;
            plane.runbook("everything", EVERYTHING).await;
            plane.runbook("inner", INNER).await;
            plane.run("r", "{runbook: everything, target: {kind: Image, name: i}}").await;
            plane.disk.fail_at(plane.disk.commits() + at, Fault::GoesAway);
            let disk = plane.disk.clone();
            let mends = tokio::spawn(async move {
                while disk.fault_is_due() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                tokio::time::sleep(Duration::from_secs(30)).await;
                disk.come_back();
            });
            let end = ending(&plane).await;
            mends.abort();
            assert_eq!(end.effects, expected.effects, "away at commit {at}");
            assert_eq!(
                (end.phase, end.line),
                (expected.phase, expected.line.clone()),
                "away at commit {at}"
            );
            assert_eq!(end.story, expected.story, "away at commit {at}");
        });
    }
}
