//! What holds of every run, whatever the runbook and whatever happens in whatever order.
//!
//! Most of it is asserted by the [`World`] at each decision; here are the runbooks, the events, and
//! what must hold at the end.

use crate::support::{Event, Known, World, failure, output};
use proptest::prelude::*;
use quarterdeck_model::{
    Duration,
    kinds::{
        Approval, Approve, Compensation, Decision as Verdict, ForEach, Handler, Retry, RetryFrom,
        RunPhase, RunbookSpec, RunbookTarget, Step, StepPhase, Then,
    },
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn text(text: &str) -> Map<String, Value> {
    Map::from_iter([("text".to_owned(), json!(text))])
}

/// Steps beside each other, named by their place.
fn steps(depth: u32) -> BoxedStrategy<Vec<Step>> {
    proptest::collection::vec(step(depth), 1..4)
        .prop_map(|mut steps| {
            for (at, step) in steps.iter_mut().enumerate() {
                step.name = format!("s{at}");
            }
            steps
        })
        .boxed()
}

fn step(depth: u32) -> BoxedStrategy<Step> {
    let action = || {
        let retry = proptest::option::of((1..4_u32, 1..20_u64));
        let disruptive = proptest::option::weighted(0.3, Just(true));
        (retry, proptest::option::of(1..600_u64), disruptive).prop_map(
            |(retry, timeout, disruptive)| Step {
                disruptive,
                action: Some("note.write".into()),
                input: text("do"),
                retry: retry.map(|(attempts, backoff)| Retry {
                    attempts,
                    backoff: Some(Duration::from_secs(backoff)),
                    max_backoff: None,
                }),
                timeout: timeout.map(Duration::from_secs),
                ..Step::default()
            },
        )
    };
    let wait = proptest::sample::select(vec![
        "true",
        "target.status.powerState == 'Off'",
        "has(target.status.currentRun)",
    ]);
    let simple = prop_oneof![
        6 => action(),
        1 => wait.prop_map(|wait| Step { wait_for: Some(wait.into()), ..Step::default() }),
        1 => (1..100_u64).prop_map(|pause| Step {
            pause: Some(Duration::from_secs(pause)),
            ..Step::default()
        }),
        1 => Just(Step {
            approve: Some(Approve { message: "Go on?".into(), policy: None }),
            timeout: Some(Duration::from_secs(3_000)),
            ..Step::default()
        }),
    ];
    let verb = if depth == 0 {
        simple.boxed()
    } else {
        prop_oneof![
            4 => simple,
            1 => steps(depth - 1)
                .prop_map(|steps| Step { parallel: Some(steps), ..Step::default() }),
            1 => (0..4_usize, 1..3_u32, steps(depth - 1)).prop_map(|(items, concurrency, steps)| {
                let items: Vec<String> = (0..items).map(|item| item.to_string()).collect();
                let list = format!("[{}]", items.join(", "));
                let each = ForEach { list, concurrency: Some(concurrency), steps };
                Step { for_each: Some(each), ..Step::default() }
            }),
            1 => Just(Step { call: Some("inner".into()), ..Step::default() }),
        ]
        .boxed()
    };
    let part = || proptest::sample::select(vec!["note", "note", "undo", "none"]);
    let handler = || proptest::option::weighted(0.2, (part(), any::<bool>()));
    let when = proptest::option::weighted(
        0.2,
        proptest::sample::select(vec!["true", "false", "target.status.powerState == 'On'"]),
    );
    let undo = proptest::option::weighted(0.4, proptest::sample::select(vec!["note", "undo"]));
    (verb, when, handler(), handler(), undo)
        .prop_map(|(step, when, on_failure, on_timeout, undo)| Step {
            when: when.map(str::to_owned),
            on_failure: on_failure.map(handler_of),
            on_timeout: on_timeout.filter(|_| step.pause.is_none()).map(handler_of),
            compensate: undo.map(|undo| Compensation {
                action: (undo == "note").then(|| "note.write".into()),
                call: (undo == "undo").then(|| "undo".into()),
                input: if undo == "note" { text("undo") } else { Map::new() },
            }),
            ..step
        })
        .boxed()
}

fn handler_of((part, goes_on): (&str, bool)) -> Handler {
    Handler {
        action: (part == "note").then(|| "note.write".into()),
        call: (part == "undo").then(|| "undo".into()),
        input: if part == "note" { text("${ error.message }") } else { Map::new() },
        then: if goes_on || part == "none" { Then::Continue } else { Then::Fail },
    }
}

/// A runbook `main`, the runbooks it calls, and whether all is admitted.
fn runbooks() -> impl Strategy<Value = BTreeMap<String, RunbookSpec>> {
    let undo: RunbookSpec = crate::support::runbook(
        "steps:
  - {name: u0, action: note.write, with: {text: undo}, compensate: {action: note.write, with: {text: never}}}
  - {name: u1, action: note.write, with: {text: undo}, onFailure: {then: Continue}}",
    );
    (steps(2), steps(0)).prop_map(move |(main, inner)| {
        let target = Some(RunbookTarget { kind: "Server".into() });
        let of = |steps| RunbookSpec { target: target.clone(), steps, ..RunbookSpec::default() };
        BTreeMap::from([
            ("main".to_owned(), of(main)),
            ("inner".to_owned(), of(inner)),
            ("undo".to_owned(), undo.clone()),
        ])
    })
}

/// What happens next, as a choice among what can.
#[derive(Debug, Clone, Copy)]
enum Chance {
    Done(usize),
    Fails(usize),
    Breaks(usize),
    /// A reply to an attempt that is over, or that never was.
    Stray(usize, u32),
    Passes(u64),
    Due,
    Flip,
    Crash,
    Suspend,
    Resume,
    /// The ledger says no, and yes.
    Refuse,
    Permit,
    Approve(usize),
    Reject(usize),
    Cancel,
}

fn chances() -> impl Strategy<Value = Vec<Chance>> {
    let chance = prop_oneof![
        8 => (0..4_usize).prop_map(Chance::Done),
        2 => (0..4_usize).prop_map(Chance::Fails),
        1 => (0..4_usize).prop_map(Chance::Breaks),
        2 => (0..20_usize, 0..4_u32).prop_map(|(at, attempt)| Chance::Stray(at, attempt)),
        2 => (1..2_000_u64).prop_map(Chance::Passes),
        3 => Just(Chance::Due),
        1 => Just(Chance::Flip),
        3 => Just(Chance::Crash),
        1 => Just(Chance::Suspend),
        2 => Just(Chance::Resume),
        2 => Just(Chance::Refuse),
        2 => Just(Chance::Permit),
        2 => (0..3_usize).prop_map(Chance::Approve),
        1 => (0..3_usize).prop_map(Chance::Reject),
    ];
    let cancel = proptest::option::weighted(0.3, 0..40_usize);
    (proptest::collection::vec(chance, 0..60), cancel).prop_map(|(mut chances, cancel)| {
        if let Some(at) = cancel {
            chances.insert(at.min(chances.len()), Chance::Cancel);
        }
        chances
    })
}

fn take(world: &mut World, chance: Chance) {
    let pending = |world: &World, at: usize| {
        let open: Vec<String> = world.pending.keys().cloned().collect();
        (!open.is_empty()).then(|| open[at % open.len()].clone())
    };
    let event = match chance {
        Chance::Done(at) => pending(world, at).map(|path| Event::Done(path, output())),
        Chance::Fails(at) => {
            pending(world, at).map(|path| Event::Failed(path, failure("Unreachable", true)))
        }
        Chance::Breaks(at) => {
            pending(world, at).map(|path| Event::Failed(path, failure("Forbidden", false)))
        }
        Chance::Stray(at, attempt) => {
            let steps = &world.status.steps;
            let known = steps.get(at % steps.len().max(1)).map(|entry| entry.name.clone());
            let step = known.unwrap_or_else(|| "nowhere".into());
            let under_way = world.pending.get(&step).is_some_and(|open| open.attempt == attempt);
            if !under_way {
                let result = Ok(json!({"id": "stray"}));
                world.decide(quarterdeck_runbook::Input::Performed { step, attempt, result });
            }
            return;
        }
        Chance::Passes(seconds) => {
            world.pass(std::time::Duration::from_secs(seconds));
            Some(Event::Wake)
        }
        Chance::Due => {
            world.now = world.wake.map_or(world.now, |wake| wake.max(world.now));
            Some(Event::Wake)
        }
        Chance::Flip => {
            let on = world.target["status"]["powerState"] == "On";
            world.target["status"]["powerState"] = if on { "Off" } else { "On" }.into();
            Some(Event::Wake)
        }
        Chance::Crash => Some(Event::Crash),
        Chance::Suspend => {
            world.run.suspend = true;
            Some(Event::Wake)
        }
        Chance::Resume => {
            world.run.suspend = false;
            Some(Event::Wake)
        }
        Chance::Refuse => {
            // A permit is never taken back while the run goes on.
            if world.leave != Some(Ok(())) {
                world.leave = Some(Err("somebody else is down".into()));
            }
            Some(Event::Wake)
        }
        Chance::Permit => {
            world.leave = Some(Ok(()));
            Some(Event::Wake)
        }
        Chance::Approve(at) => decide_on(world, at, Verdict::Approved),
        Chance::Reject(at) => decide_on(world, at, Verdict::Rejected),
        Chance::Cancel => {
            world.run.cancel = true;
            Some(Event::Wake)
        }
    };
    if let Some(event) = event {
        world.happen(event);
    }
}

fn decide_on(world: &mut World, at: usize, decision: Verdict) -> Option<Event> {
    let waiting = world.status.steps.iter().filter(|entry| {
        entry.phase == StepPhase::Waiting && entry.does.as_deref() == Some("approve")
    });
    let waiting: Vec<String> = waiting.map(|entry| entry.name.clone()).collect();
    let step = waiting.get(at % waiting.len().max(1))?.clone();
    world.run.approvals.push(Approval { step, decision, ..Approval::default() });
    Some(Event::Wake)
}

/// Lets the run go on until it ends: what is under way is done, else time passes as far as the run
/// said that it waits. Also when the ledger never says yes.
fn to_the_end(world: &mut World, permits: bool) {
    world.run.suspend = false;
    if permits {
        world.leave = Some(Ok(()));
    }
    world.happen(Event::Wake);
    for _ in 0..5_000 {
        if world.status.phase.ended() {
            return;
        }
        if let Some(path) = world.pending.keys().next().cloned() {
            world.happen(Event::Done(path, output()));
        } else {
            let wake = world.wake.expect("a run that goes on says until when");
            assert!(wake > world.now, "nothing is under way, and it would spin at {wake}");
            world.now = wake;
            world.happen(Event::Wake);
        }
    }
    panic!("the run does not end: {:#?}", world.status);
}

/// The step of the definition that a path of the journal names, and whether it is a part (handler
/// or compensation) that holds steps of its own.
fn find<'a>(runbooks: &'a BTreeMap<String, RunbookSpec>, path: &str) -> Option<&'a Step> {
    let mut level: &[Step] = &runbooks["main"].steps;
    let mut step: Option<&Step> = None;
    for part in path.split('/') {
        let name = part.split('[').next()?;
        let called = match (name, step) {
            ("onFailure", Some(step)) => Some(step.on_failure.as_ref()?.call.as_ref()),
            ("onTimeout", Some(step)) => Some(step.on_timeout.as_ref()?.call.as_ref()),
            ("compensate", Some(step)) => Some(step.compensate.as_ref()?.call.as_ref()),
            _ => None,
        };
        if let Some(called) = called {
            level = called.map_or(&[], |called| &runbooks[called].steps);
            step = None;
            continue;
        }
        let found = level.iter().find(|step| step.name == name)?;
        level = match (&found.parallel, &found.for_each, &found.call) {
            (Some(steps), ..) => steps,
            (_, Some(each), _) => &each.steps,
            (.., Some(called)) => &runbooks[called].steps,
            _ => &[],
        };
        step = Some(found);
    }
    step
}

/// Paths of the steps that must be undone, last done first, by the letter of the language.
fn to_undo(world: &World, runbooks: &BTreeMap<String, RunbookSpec>) -> Vec<String> {
    let done: BTreeSet<&str> = world
        .status
        .steps
        .iter()
        .filter(|entry| entry.phase == StepPhase::Succeeded)
        .filter(|entry| find(runbooks, &entry.name).is_some_and(|step| step.compensate.is_some()))
        .map(|entry| entry.name.as_str())
        .collect();
    let hidden = |path: &str| {
        path.split('/').any(|part| part == "compensate")
            || done.iter().any(|whole| {
                path.strip_prefix(whole).is_some_and(|rest| rest.starts_with(['/', '[']))
            })
    };
    let mut undo: Vec<_> =
        world.status.steps.iter().filter(|entry| done.contains(entry.name.as_str())).collect();
    undo.retain(|entry| !hidden(&entry.name));
    undo.sort_by_key(|entry| entry.end_time);
    undo.into_iter().rev().map(|entry| format!("{}/compensate", entry.name)).collect()
}

fn undone(world: &World) -> Vec<String> {
    let entries = world.status.steps.iter().map(|entry| entry.name.as_str());
    entries.filter(|name| name.ends_with("/compensate")).map(str::to_owned).collect()
}

fn world(runbooks: &BTreeMap<String, RunbookSpec>) -> World {
    let mut known = Known::new();
    known.runbooks.clone_from(runbooks);
    for (name, spec) in runbooks {
        let errors = quarterdeck_runbook::check(name, spec, &known);
        assert!(errors.is_empty(), "the generator makes what is admitted: {errors:#?}");
    }
    World::new(known, "main")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_and_undoes_exactly_what_it_did(
        runbooks in runbooks(),
        chances in chances(),
        permits in any::<bool>(),
    ) {
        let mut world = world(&runbooks);
        world.leave = None;
        world.happen(Event::Wake);
        for chance in chances {
            take(&mut world, chance);
        }
        to_the_end(&mut world, permits);
        let expected = match world.status.phase {
            RunPhase::Succeeded => Vec::new(),
            _ => to_undo(&world, &runbooks),
        };
        prop_assert_eq!(undone(&world), expected, "{:#?}", world.status.steps);

        // What ended stays as it is, whatever still comes in.
        let ended = world.status.clone();
        for chance in [Chance::Stray(0, 1), Chance::Stray(1, 2), Chance::Passes(9_999), Chance::Crash, Chance::Cancel] {
            take(&mut world, chance);
            prop_assert_eq!(&world.status, &ended);
        }
    }

    #[test]
    fn a_run_that_is_retried_from_any_step_goes_on_and_ends(
        runbooks in runbooks(),
        chances in chances(),
        from in 0..20_usize,
        again in chances(),
        permits in any::<bool>(),
    ) {
        let mut world = world(&runbooks);
        world.leave = None;
        world.happen(Event::Wake);
        for chance in chances {
            take(&mut world, chance);
        }
        to_the_end(&mut world, permits);
        let ended = world.status.clone();
        let steps: Vec<String> = ended.steps.iter().map(|entry| entry.name.clone()).collect();
        world.run.cancel = false;
        world.run.retry = steps.get(from % steps.len().max(1)).map(|from| RetryFrom { from: from.clone(), number: 1 });
        let effects = world.effects.clone();
        world.happen(Event::Wake);
        if world.status.phase.ended() && world.status.steps == ended.steps {
            // Refused: a part of a step, or a run that went well.
            prop_assert_eq!(world.effects, effects);
            return Ok(());
        }
        for chance in again {
            take(&mut world, chance);
        }
        to_the_end(&mut world, permits);
    }

    #[test]
    fn a_dry_run_performs_nothing(runbooks in runbooks()) {
        let mut world = world(&runbooks);
        world.run.dry_run = true;
        let decision = world.happen(Event::Wake);
        prop_assert!(decision.done);
        prop_assert!(decision.perform.is_empty() && world.effects.is_empty());
        prop_assert_eq!(world.status.phase, RunPhase::Succeeded);
        take(&mut world, Chance::Crash);
        prop_assert!(world.effects.is_empty());
    }
}
