//! Each construct of the language as a run executes it. Every story is kept as it is told, so that
//! a change of what an operator sees is seen in review.

use crate::support::{Known, Story};
use quarterdeck_model::kinds::{RunPhase, StepPhase};
use serde_json::json;

macro_rules! tell {
    ($name:literal, $story:expr) => {{
        let story = $story;
        let text = story.told();
        insta::assert_snapshot!($name, text);
    }};
}

const OFF_ON: &str = "
target: {kind: Server}
steps:
  - name: power-off
    action: power.set
    with: {state: 'Off'}
    timeout: 3m
    retry: {attempts: 3, backoff: 5s, maxBackoff: 8s}
  - name: is-off
    waitFor: target.status.powerState == 'Off'
    timeout: 20m
  - {name: settle, pause: 30s}
  - name: power-on
    action: power.set
    with: {state: 'On'}
";

#[test]
fn steps_run_in_order_and_wait() {
    let story = Story::of(OFF_ON)
        .start()
        .under_way(&["power-off"])
        .gives("power-off", json!({"powerState": "Off", "changed": true}))
        .step_is("is-off", StepPhase::Waiting)
        .passes("1m")
        .power_state("Off")
        .step_is("settle", StepPhase::Waiting)
        .passes("29s")
        .step_is("settle", StepPhase::Waiting)
        .passes("1s")
        .under_way(&["power-on"])
        .crash()
        .under_way(&["power-on"])
        .gives("power-on", json!({"powerState": "On"}))
        .is(RunPhase::Succeeded)
        .late("power-on", 1);
    tell!("in_order", story);
}

#[test]
fn a_disruptive_step_waits_until_the_ledger_says_yes() {
    let story = Story::of(OFF_ON)
        .without_leave()
        .start()
        .step_is("power-off", StepPhase::Waiting)
        .under_way(&[])
        .refused("payments/api allows 1 of 10 down; 1 is: api-7")
        .crash()
        .under_way(&[])
        // Longer than the step may take: its time begins when it does.
        .passes("10m")
        .refused("payments/api allows 1 of 10 down; 1 is: api-9")
        .suspend()
        .permitted()
        .under_way(&[])
        .resume()
        .under_way(&["power-off"])
        .passes("3m")
        .is(RunPhase::Failed);
    tell!("leave", story);
    let story = Story::of(OFF_ON).without_leave().start().refused("freeze year-end").cancel();
    let story = story.is(RunPhase::Cancelled);
    tell!("leave_cancelled", story);
    let story = Story::of(OFF_ON).timeout("1h").without_leave().start().refused("freeze year-end");
    let story = story.passes("1h").is(RunPhase::Failed);
    tell!("leave_deadline", story);
}

#[test]
fn an_action_is_tried_again_with_longer_pauses_and_then_fails() {
    let story = Story::of(OFF_ON)
        .start()
        .fails("power-off", "Unreachable")
        .under_way(&[])
        .crash()
        .passes("5s")
        .under_way(&["power-off"])
        .late("power-off", 1)
        .fails("power-off", "Throttled")
        .passes("7s")
        .under_way(&[])
        .passes("1s")
        .fails("power-off", "Unreachable")
        .is(RunPhase::Failed);
    tell!("retry", story);
    // What a person must mend is not tried again.
    Story::of(OFF_ON).start().breaks("power-off", "Unauthorized").is(RunPhase::Failed);
}

#[test]
fn a_step_that_takes_too_long_is_stopped_and_handled() {
    let story = Story::of(
        "
target: {kind: Server}
steps:
  - name: power-off
    action: power.set
    with: {state: 'Off'}
    timeout: 3m
    onTimeout: {action: note.write, with: {text: '${ error.step } ${ error.reason }: ${ error.message }'}, then: Continue}
    onFailure: {action: note.write, with: {text: 'never this one'}}
  - name: is-off
    waitFor: target.status.powerState == 'Off'
    timeout: 1m
    onFailure: {then: Continue}
  - {name: last, action: server.read, timeout: 10s}
",
    )
    .start()
    .passes("3m")
    .under_way(&["power-off/onTimeout"])
    .late("power-off", 1)
    .done("power-off/onTimeout")
    .step_is("is-off", StepPhase::Waiting)
    .passes("1m")
    .step_is("is-off", StepPhase::Failed)
    .under_way(&["last"])
    .passes("10s")
    .under_way(&[])
    .is(RunPhase::Failed);
    tell!("timeout", story);
}

#[test]
fn a_failure_is_handled_by_a_runbook_and_the_run_goes_on_or_fails() {
    let known = |then: &str| {
        Known::new()
            .with(
                "main",
                &format!(
                    "steps:
  - name: write
    action: note.write
    with: {{text: a}}
    onFailure: {{call: quarantine, with: {{why: '${{ error.message }}'}}{then}}}
  - {{name: last, action: note.write, with: {{text: '${{ steps.write.phase }}'}}}}"
                ),
            )
            .with(
                "quarantine",
                "parameters: [{name: why, type: string, required: true}]
steps: [{name: note, action: note.write, with: {text: '${ params.why }'}}]",
            )
    };
    let story = Story::among(known(", then: Continue"), "main")
        .start()
        .breaks("write", "NotSupported")
        .done("write/onFailure/note")
        .under_way(&["last"])
        .done("last")
        .is(RunPhase::Succeeded);
    tell!("handled", story);
    Story::among(known(""), "main")
        .start()
        .breaks("write", "NotSupported")
        .done("write/onFailure/note")
        .is(RunPhase::Failed);
    let story = Story::among(known(", then: Continue"), "main")
        .start()
        .breaks("write", "NotSupported")
        .breaks("write/onFailure/note", "Forbidden")
        .is(RunPhase::Failed);
    tell!("handler_fails", story);
}

#[test]
fn a_step_is_skipped_when_its_condition_is_false() {
    let story = Story::of(
        "
target: {kind: Server}
parameters: [{name: force, type: boolean, default: false}]
steps:
  - {name: a, action: note.write, with: {text: a}, when: params.force}
  - {name: b, action: note.write, with: {text: '${ steps.a.phase } ${ has(steps.a.output) }'}, when: '!has(steps.a.output)'}
  - {name: c, action: note.write, with: {text: c}, when: steps.a.output.count > 1, onFailure: {then: Continue}}
",
    )
    .start()
    .step_is("a", StepPhase::Skipped)
    .under_way(&["b"])
    .done("b")
    .step_is("c", StepPhase::Failed)
    .is(RunPhase::Succeeded);
    tell!("when", story);
}

#[test]
fn steps_at_once_all_end_before_a_failure_counts() {
    let yaml = "
steps:
  - name: all
    parallel:
      - {name: a, action: note.write, with: {text: a}, outputs: {id: '${ output.id }'}}
      - {name: b, action: note.write, with: {text: b}}
      - {name: c, pause: 10s}
    outputs: {ids: ['${ output.a.id }', '${ output.b.id }']}
  - {name: last, action: note.write, with: {text: 'ids ${ steps.all.outputs.ids }'}}
";
    let story = Story::of(yaml)
        .start()
        .under_way(&["all/a", "all/b"])
        .done("all/b")
        .crash()
        .under_way(&["all/a"])
        .done("all/a")
        .passes("10s")
        .under_way(&["last"])
        .done("last")
        .is(RunPhase::Succeeded);
    tell!("parallel", story);
    let story = Story::of(yaml)
        .start()
        .breaks("all/a", "Forbidden")
        .is(RunPhase::Running)
        .under_way(&["all/b"])
        .done("all/b")
        .is(RunPhase::Running)
        .passes("10s")
        .is(RunPhase::Failed);
    tell!("parallel_fails", story);
}

const EACH: &str = "
parameters: [{name: names, type: array, default: [m1, m2, m3, m4]}]
steps:
  - name: each
    forEach:
      in: params.names
      concurrency: 2
      steps:
        - {name: write, action: note.write, with: {text: '${ item }', count: '${ index }'}}
        - {name: check, action: note.write, with: {text: '${ steps.write.output.id } of ${ item }'}}
    timeout: 1h
    outputs: {ids: '${ output.map(o, o.write.id) }'}
  - {name: last, action: note.write, with: {text: 'ids ${ steps.each.outputs.ids }'}}
";

#[test]
fn items_are_worked_on_some_at_a_time() {
    let story = Story::of(EACH)
        .start()
        .under_way(&["each[0]/write", "each[1]/write"])
        .done("each[1]/write")
        .under_way(&["each[0]/write", "each[1]/check"])
        .done("each[1]/check")
        .under_way(&["each[0]/write", "each[2]/write"])
        .crash()
        .done("each[0]/write")
        .done("each[0]/check")
        .under_way(&["each[2]/write", "each[3]/write"])
        .done("each[2]/write")
        .done("each[2]/check")
        .done("each[3]/write")
        .done("each[3]/check")
        .under_way(&["last"])
        .done("last")
        .is(RunPhase::Succeeded);
    tell!("for_each", story);
}

#[test]
fn no_item_begins_after_one_failed_and_the_time_of_all_is_bounded() {
    let story = Story::of(EACH)
        .start()
        .breaks("each[0]/write", "Forbidden")
        .under_way(&["each[1]/write"])
        .done("each[1]/write")
        .done("each[1]/check")
        .is(RunPhase::Failed);
    tell!("for_each_fails", story);
    Story::of(EACH)
        .start()
        .passes("5m")
        .step_is("each[0]/write", StepPhase::Failed)
        .is(RunPhase::Failed);
    Story::of(EACH).param("names", json!([])).start().under_way(&["last"]);
    let many = json!(vec!["x"; 1_001]);
    let story = Story::of(EACH).param("names", many).start().is(RunPhase::Failed);
    assert!(story.told().contains("at most 1000 are worked on"), "{}", story.told());
}

#[test]
fn a_called_runbook_gets_parameters_and_gives_outputs() {
    let known = Known::new()
        .with(
            "main",
            "
target: {kind: Server}
steps:
  - name: cycle
    call: cycle
    with: {grace: '${ 30 }s'}
    outputs: {was: '${ output.was }'}
  - {name: note, action: note.write, with: {text: '${ steps.cycle.output.was } ${ steps.cycle.outputs.was }'}}
outputs: {was: '${ steps.cycle.output.was }', serial: '${ target.metadata.name }', fixed: {a: [1]}}
",
        )
        .with(
            "cycle",
            "
target: {kind: Server}
parameters: [{name: grace, type: string, default: 60s}, {name: state, type: string, default: 'Off'}]
steps:
  - {name: off, action: power.set, with: {state: '${ params.state }', grace: '${ params.grace }'}}
  - {name: on, call: on}
outputs: {was: '${ steps.off.output.powerState }', on: '${ steps.on.output }'}
",
        )
        .with("on", "target: {kind: Server}\nsteps: [{name: on, action: power.set, with: {state: 'On'}}]");
    let story = Story::among(known, "main")
        .start()
        .under_way(&["cycle/off"])
        .gives("cycle/off", json!({"powerState": "Off"}))
        .under_way(&["cycle/on/on"])
        .crash()
        .done("cycle/on/on")
        .under_way(&["note"])
        .done("note")
        .is(RunPhase::Succeeded);
    tell!("call", story);
}

const ASK: &str = "
parameters: [{name: image, type: string, default: debian-13}]
steps:
  - {name: ask, approve: {message: 'Write ${ params.image }?'}, timeout: 8h}
  - {name: write, action: note.write, with: {text: '${ params.image }'}}
";

const ASK_TWO: &str = "
steps:
  - name: ask
    approve:
      message: Write?
      policy: {groups: [sre], required: 2, validFor: 90m}
    timeout: 8h
  - {name: write, action: note.write, with: {text: go}}
";

#[test]
fn a_person_approves_rejects_or_says_nothing() {
    use quarterdeck_model::kinds::Decision::{Approved, Rejected};
    let story = Story::of(ASK)
        .start()
        .step_is("ask", StepPhase::Waiting)
        .passes("1h")
        .approve("other")
        .step_is("ask", StepPhase::Waiting)
        .approve("ask")
        .under_way(&["write"])
        .done("write")
        .is(RunPhase::Succeeded);
    tell!("approve", story);
    let story = Story::of(ASK_TWO)
        .start()
        .person_says("eve", &["dev"], "ask", Approved)
        .person_says("ann", &["sre"], "ask", Approved)
        .step_is("ask", StepPhase::Waiting)
        .passes("2h")
        .person_says("bob", &["sre"], "ask", Approved)
        .step_is("ask", StepPhase::Waiting)
        .person_says("cat", &["sre", "dev"], "ask", Approved)
        .under_way(&["write"])
        .done("write")
        .is(RunPhase::Succeeded);
    tell!("approve_by_two", story);
    let story = Story::of(ASK_TWO)
        .start()
        .person_says("ann", &["sre"], "ask", Approved)
        .person_says("eve", &["dev"], "ask", Rejected)
        .step_is("ask", StepPhase::Waiting)
        .person_says("bob", &["sre"], "ask", Rejected)
        .is(RunPhase::Failed);
    tell!("reject_by_one", story);
    let story = Story::of(ASK).start().reject("ask").is(RunPhase::Failed);
    tell!("reject", story);
    let story = Story::of(ASK).start().passes("8h").is(RunPhase::Failed);
    tell!("silence", story);
}

const UNDO: &str = "
steps:
  - {name: a, action: note.write, with: {text: a}, compensate: {action: note.write, with: {text: 'undo a ${ output.id }'}}}
  - name: both
    parallel:
      - {name: b, action: note.write, with: {text: b}, compensate: {action: note.write, with: {text: undo b}}}
      - name: c
        call: inner
        with: {name: c}
  - name: each
    forEach:
      in: '[1, 2]'
      steps:
        - {name: d, action: note.write, with: {text: d}, compensate: {action: note.write, with: {text: 'undo d ${ item }'}}}
  - {name: skipped, action: note.write, with: {text: s}, when: 'false', compensate: {action: note.write, with: {text: never}}}
  - {name: last, action: note.write, with: {text: last}, compensate: {action: note.write, with: {text: never}}}
";

const INNER: &str = "
parameters: [{name: name, type: string, required: true}]
steps:
  - {name: e, action: note.write, with: {text: e}, compensate: {call: remove, with: {what: '${ params.name } ${ steps.e.output.id }'}}}
";

const REMOVE: &str = "
parameters: [{name: what, type: string, required: true}]
steps: [{name: remove, action: note.write, with: {text: 'remove ${ params.what }'}, compensate: {action: note.write, with: {text: never}}}]
";

fn undo() -> Story {
    Story::among(
        Known::new().with("main", UNDO).with("inner", INNER).with("remove", REMOVE),
        "main",
    )
    .start()
    .gives("a", json!({"id": "A"}))
    .gives("both/c/e", json!({"id": "E"}))
    .done("both/b")
    .done("each[0]/d")
    .done("each[1]/d")
    .under_way(&["last"])
}

#[test]
fn what_was_done_is_undone_in_reverse_when_the_run_fails() {
    let story = undo()
        .breaks("last", "Forbidden")
        .is(RunPhase::Compensating)
        .under_way(&["each[1]/d/compensate"])
        .crash()
        .done("each[1]/d/compensate")
        .under_way(&["each[0]/d/compensate"])
        .fails("each[0]/d/compensate", "Unreachable")
        .passes("1s")
        .done("each[0]/d/compensate")
        .under_way(&["both/b/compensate"])
        .breaks("both/b/compensate", "Forbidden")
        .under_way(&["both/c/e/compensate/remove"])
        .done("both/c/e/compensate/remove")
        .under_way(&["a/compensate"])
        .done("a/compensate")
        .is(RunPhase::Failed);
    tell!("undo_failed", story);
}

#[test]
fn what_was_done_is_undone_in_reverse_when_the_run_is_cancelled() {
    let story = undo()
        .cancel()
        .is(RunPhase::Compensating)
        .late("last", 1)
        .done("each[1]/d/compensate")
        .suspend()
        .done("each[0]/d/compensate")
        .done("both/b/compensate")
        .done("both/c/e/compensate/remove")
        .done("a/compensate")
        .is(RunPhase::Cancelled);
    tell!("undo_cancelled", story);
}

#[test]
fn a_step_that_is_undone_as_a_whole_hides_what_is_inside() {
    let yaml = "
steps:
  - name: both
    parallel:
      - {name: a, action: note.write, with: {text: a}, compensate: {action: note.write, with: {text: undo a}}}
    compensate: {action: note.write, with: {text: undo both}}
  - {name: last, action: note.write, with: {text: last}}
";
    Story::of(yaml)
        .start()
        .done("both/a")
        .breaks("last", "Forbidden")
        .under_way(&["both/compensate"])
        .done("both/compensate")
        .is(RunPhase::Failed);
    // When the whole was not done, what was done inside it is undone.
    Story::of(yaml)
        .start()
        .done("both/a")
        .is(RunPhase::Running)
        .cancel()
        .under_way(&["both/compensate"]);
    let inside = "
steps:
  - name: both
    parallel:
      - {name: a, action: note.write, with: {text: a}, compensate: {action: note.write, with: {text: undo a}}}
      - {name: b, action: note.write, with: {text: b}}
    compensate: {action: note.write, with: {text: undo both}}
";
    Story::of(inside)
        .start()
        .done("both/a")
        .breaks("both/b", "Forbidden")
        .under_way(&["both/a/compensate"]);
}

#[test]
fn a_run_ends_at_its_deadline_and_a_shorter_one_counts() {
    let yaml = "
timeout: 10m
steps:
  - {name: a, action: note.write, with: {text: a}, compensate: {action: note.write, with: {text: undo a}}}
  - {name: b, waitFor: 'false', timeout: 2h}
";
    let story = Story::of(yaml)
        .start()
        .done("a")
        .passes("10m")
        .is(RunPhase::Compensating)
        .done("a/compensate")
        .is(RunPhase::Failed);
    tell!("deadline", story);
    Story::of(yaml).timeout("1m").start().done("a").passes("1m").is(RunPhase::Compensating);
    Story::of(yaml).timeout("1h").start().done("a").passes("10m").is(RunPhase::Compensating);
}

#[test]
fn a_suspended_run_begins_nothing_more_until_it_is_resumed() {
    let story = Story::of(OFF_ON)
        .start()
        .suspend()
        .is(RunPhase::Suspended)
        .under_way(&["power-off"])
        .fails("power-off", "Unreachable")
        .passes("5s")
        .under_way(&[])
        .crash()
        .is(RunPhase::Suspended)
        .resume()
        .under_way(&["power-off"])
        .suspend()
        .done("power-off")
        .under_way(&[])
        .is(RunPhase::Suspended)
        .resume()
        .step_is("is-off", StepPhase::Waiting)
        .is(RunPhase::Running);
    tell!("suspend", story);
}

#[test]
fn a_cancelled_run_stops_what_is_under_way() {
    let story = Story::of(OFF_ON).start().cancel().under_way(&[]).is(RunPhase::Cancelled);
    tell!("cancel", story);
    let mut story = Story::of(OFF_ON);
    story.world.run.cancel = true;
    story.start().under_way(&[]).is(RunPhase::Cancelled);
}

#[test]
fn a_run_is_retried_from_a_step_and_keeps_what_came_before() {
    let story = undo()
        .breaks("last", "Forbidden")
        .done("each[1]/d/compensate")
        .done("each[0]/d/compensate")
        .done("both/b/compensate")
        .done("both/c/e/compensate/remove")
        .done("a/compensate")
        .is(RunPhase::Failed)
        .retry("nowhere")
        .is(RunPhase::Failed)
        .retry("each[1]/d")
        .is(RunPhase::Running)
        .under_way(&["each[1]/d"])
        .crash()
        .done("each[1]/d")
        .done("last")
        .is(RunPhase::Succeeded);
    tell!("retry_in_for_each", story);
}

#[test]
fn what_handled_a_failure_is_forgotten_when_its_step_is_retried() {
    let yaml = "
steps:
  - name: each
    forEach:
      in: '[1]'
      steps: [{name: a, action: note.write, with: {text: a}}, {name: b, action: note.write, with: {text: b}}]
    onFailure: {action: note.write, with: {text: sorry}}
";
    Story::of(yaml)
        .start()
        .breaks("each[0]/a", "Forbidden")
        .done("each/onFailure")
        .is(RunPhase::Failed)
        .retry("each[0]/a")
        .under_way(&["each[0]/a"])
        .done("each[0]/a")
        .breaks("each[0]/b", "Forbidden")
        .under_way(&["each/onFailure"]);
}

#[test]
fn a_run_is_retried_inside_a_called_runbook() {
    let known = Known::new()
        .with("main", "steps: [{name: a, action: note.write, with: {text: a}}, {name: c, call: inner}, {name: z, pause: 1s}]")
        .with("inner", "steps: [{name: b, action: note.write, with: {text: b}}, {name: d, action: note.write, with: {text: '${ steps.b.output.id }'}, retry: {attempts: 2}}]");
    let story = Story::among(known, "main")
        .start()
        .done("a")
        .gives("c/b", json!({"id": "B"}))
        .fails("c/d", "Unreachable")
        .passes("1s")
        .fails("c/d", "Unreachable")
        .is(RunPhase::Failed)
        .retry("c/d")
        .under_way(&["c/d"])
        .done("c/d")
        .passes("1s")
        .is(RunPhase::Succeeded);
    tell!("retry_in_call", story);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_performs_nothing() {
    let yaml = "
target: {kind: Server}
parameters: [{name: names, type: array, default: [m1, m2]}]
steps:
  - {name: skip, pause: 1s, when: 'target.status.powerState == \"Off\"'}
  - {name: off, action: power.set, with: {state: 'Off'}}
  - {name: maybe, action: note.write, with: {text: 'was ${ steps.off.output.powerState }'}, when: steps.off.output.changed}
  - {name: ask, approve: {message: 'Go on with ${ target.metadata.name }?'}}
  - {name: wait, waitFor: target.status.powerState == 'On'}
  - {name: each, forEach: {in: params.names, steps: [{name: n, action: note.write, with: {text: '${ item }'}}]}}
  - {name: all, parallel: [{name: p, action: http.request, with: {url: 'http://x'}, disruptive: true}, {name: c, call: inner, with: {what: '${ run.target.name }'}}]}
";
    let known = Known::new().with("main", yaml).with(
        "inner",
        "parameters: [{name: what, type: string, required: true}]\nsteps: [{name: n, action: note.write, with: {text: '${ params.what }'}}]",
    );
    let mut story =
        Story::among(known, "main").dry_run().start().under_way(&[]).is(RunPhase::Succeeded);
    let does: Vec<String> = story
        .world
        .status
        .steps
        .iter()
        .map(|entry| format!("{}: {}", entry.name, entry.does.as_deref().unwrap_or("-")))
        .collect();
    let text = does.join("\n");
    insta::assert_snapshot!("dry_run", text);
    assert!(story.world.effects.is_empty());
    story = story.crash();
    assert!(story.world.effects.is_empty());
}

#[test]
fn what_is_known_only_when_it_runs_is_checked_then() {
    let yaml = "
parameters: [{name: any, type: object, default: {}}]
steps:
  - {name: a, action: note.write, with: {text: '${ params.any.text }', count: '${ params.any.count }'}}
";
    for (any, why) in [
        (json!({"text": 3, "count": 1}), "with.text"),
        (json!({"text": "a"}), "no field"),
        (json!({"text": "a", "count": -4}), "greater than or equal to 0"),
    ] {
        let story = Story::of(yaml).param("any", any).start().is(RunPhase::Failed);
        assert!(story.told().contains(why), "{why}: {}", story.told());
        assert!(story.world.effects.is_empty());
    }
}

#[test]
fn what_a_step_gives_back_is_bounded() {
    let yaml =
        "steps: [{name: a, action: note.write, with: {text: a}, onFailure: {then: Continue}}]";
    let large = json!({"id": "x".repeat(17 * 1024)});
    let story = Story::of(yaml).start().gives("a", large).step_is("a", StepPhase::Failed);
    assert!(story.told().contains("TooLarge"), "{}", story.told());
}

#[test]
fn what_all_steps_give_back_together_is_bounded() {
    let yaml = "
parameters: [{name: names, type: array, required: true}]
steps:
  - name: each
    forEach:
      in: params.names
      concurrency: 100
      steps: [{name: a, action: note.write, with: {text: '${ item }'}}]
";
    let mut story = Story::of(yaml).param("names", json!(vec!["x"; 70])).start();
    for at in 0..70 {
        story = story.gives(&format!("each[{at}]/a"), json!({"id": "x".repeat(16_000)}));
    }
    let story = story.is(RunPhase::Failed).step_is("each[0]/a", StepPhase::Succeeded);
    let last = story.world.entry("each[69]/a").unwrap();
    assert_eq!(last.reason.as_deref(), Some("JournalFull"));
    let bytes = serde_json::to_string(&story.world.status).unwrap().len();
    assert!((1_000_000..1_200_000).contains(&bytes), "{bytes}");
}

#[test]
fn a_run_without_what_its_runbook_needs_is_refused_before_it_does_anything() {
    let yaml = "target: {kind: Server}\nparameters: [{name: n, type: integer, required: true}]\nsteps: [{name: a, action: server.read}]";
    let story = Story::of(yaml).start().is(RunPhase::Failed);
    assert!(story.told().contains("spec.params.n: Required value"), "{}", story.told());
    let story = Story::of(yaml).param("n", json!("three")).start().is(RunPhase::Failed);
    assert!(story.told().contains("must be a value of type integer"), "{}", story.told());
    let mut story = Story::of(yaml).param("n", json!(3));
    story.world.run.target = None;
    let story = story.start().is(RunPhase::Failed);
    assert!(story.told().contains("the runbook is for a Server"), "{}", story.told());
}

#[test]
fn a_journal_that_would_grow_too_long_ends_the_run_and_still_undoes() {
    let yaml = "
parameters: [{name: numbers, type: array, default: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30]}]
steps:
  - name: outer
    forEach:
      in: params.numbers
      steps:
        - {name: mark, pause: 1s, compensate: {action: note.write, with: {text: undo}}}
        - name: inner
          forEach:
            in: params.numbers
            concurrency: 100
            steps:
              - {name: a, pause: 1s}
              - {name: b, pause: 1s}
              - {name: c, pause: 1s}
";
    let mut story = Story::of(yaml).start();
    for _ in 0..200 {
        story = story.passes("1s");
        if story.world.status.phase == RunPhase::Compensating {
            break;
        }
    }
    let mut undone = 0;
    while let Some(path) = story.world.pending.keys().next().cloned() {
        story = story.done(&path);
        undone += 1;
    }
    let story = story.is(RunPhase::Failed);
    assert!(story.told().contains("JournalFull"), "{}", &story.told()[..2_000]);
    let done = story
        .world
        .status
        .steps
        .iter()
        .filter(|step| step.phase == StepPhase::Succeeded && step.name.ends_with("/mark"));
    assert_eq!(done.count(), undone, "all that was done was undone");
}
