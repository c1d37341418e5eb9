use super::decide::*;
use proptest::prelude::*;
use quarterdeck_model::{
    ConditionStatus, Duration, Time, condition,
    kinds::{Remedy, RemedyPhase},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// So many minutes after eight.
fn at(minutes: i64) -> Time {
    let start: jiff::Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
    Time::new(start.checked_add(jiff::SignedDuration::from_mins(minutes)).unwrap())
}

/// Long enough true after 10 minutes, an object an hour left alone, three attempts, judged by five.
fn remedy(more: Value) -> Remedy {
    let mut spec = json!({"kind": "Server", "when": "true", "runbook": "mend", "concurrency": 10,
        "maxAffected": "100%"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "metadata": {"name": "r", "uid": "u", "generation": 1},
        "spec": spec,
        "status": {"observedGeneration": 1, "phase": "Active", "activeSince": at(-1_000).to_string()},
    }))
    .unwrap()
}

/// Affected since so many minutes; in one rack those whose names begin alike.
fn affected(all: &[(&str, i64)]) -> Vec<Affected> {
    let one = |(name, since): &(&str, i64)| Affected {
        name: (*name).to_owned(),
        domain: name[..1].to_owned(),
        since: at(*since),
    };
    all.iter().map(one).collect()
}

fn run(target: &str, number: u32, created: i64, state: State, outcome: Option<Outcome>) -> Attempt {
    Attempt {
        name: format!("{target}-{number}"),
        target: target.into(),
        domain: target[..1].into(),
        number,
        created: at(created),
        ended: (state != State::InWork).then(|| at(created + 1)),
        state,
        outcome,
    }
}

fn decided(remedy: &Remedy, affected: &[Affected], attempts: &[Attempt], now: i64) -> Decision {
    decide(&Situation { remedy, affected, attempts, objects: 100, now: at(now) })
}

fn begun(decision: &Decision) -> Vec<String> {
    decision.begin.iter().map(|begin| format!("{}-{}", begin.target, begin.number)).collect()
}

#[test]
fn it_begins_on_what_is_wrong_long_enough_and_within_its_limits() {
    let open = |target: &str| run(target, 1, 30, State::InWork, None);
    let three = affected(&[("a1", 0), ("a2", 1), ("b1", 2)]);
    for (what, more, attempts, now, wanted) in [
        ("not yet", json!({}), vec![], 9, vec![]),
        ("the first", json!({}), vec![], 10, vec!["a1-1"]),
        ("all", json!({}), vec![], 12, vec!["a1-1", "a2-1", "b1-1"]),
        ("so many at once", json!({"concurrency": 2}), vec![], 40, vec!["a1-1", "a2-1"]),
        ("beside others", json!({"concurrency": 2}), vec![open("c1")], 40, vec!["a1-1"]),
        (
            "one in a rack",
            json!({"perDomain": {"domain": "Rack", "max": 1}}),
            vec![],
            40,
            vec!["a1-1", "b1-1"],
        ),
        (
            "one in a rack, beside another",
            json!({"perDomain": {"domain": "Rack", "max": 1}}),
            vec![open("a9")],
            40,
            vec!["b1-1"],
        ),
        (
            "so many in an hour",
            json!({"maxPerHour": 2}),
            vec![run("c1", 1, 30, State::Succeeded, Some(Outcome::Mended))],
            40,
            vec!["a1-1"],
        ),
        (
            "and more when it is over",
            json!({"maxPerHour": 2}),
            vec![run("c1", 1, 30, State::Succeeded, Some(Outcome::Mended))],
            90,
            vec!["a1-1", "a2-1"],
        ),
        ("not beside itself", json!({}), vec![open("a1")], 40, vec!["a2-1", "b1-1"]),
        (
            "not before it is judged",
            json!({"cooldown": "0s"}),
            vec![run("a1", 1, 30, State::Succeeded, None)],
            40,
            vec!["a2-1", "b1-1"],
        ),
        (
            "not before its rest is over",
            json!({}),
            vec![run("a1", 1, 30, State::Failed, Some(Outcome::Failed))],
            90,
            vec!["a2-1", "b1-1"],
        ),
        (
            "again",
            json!({}),
            vec![run("a1", 1, 30, State::Failed, Some(Outcome::Failed))],
            91,
            vec!["a1-2", "a2-1", "b1-1"],
        ),
        ("suspended", json!({"suspend": true}), vec![], 40, vec![]),
        ("too many", json!({"maxAffected": 2}), vec![], 40, vec![]),
        ("as many as may", json!({"maxAffected": "3%"}), vec![], 40, vec!["a1-1", "a2-1", "b1-1"]),
    ] {
        let decision = decided(&remedy(more), &three, &attempts, now);
        assert_eq!(begun(&decision), wanted, "{what}");
        assert!(decision.again.is_some(), "{what}: it looks again by itself");
    }
    let idle = decided(&remedy(json!({})), &[], &[], 10);
    assert_eq!((idle.again, idle.status.message.as_deref()), (None, Some("nothing is wrong")));
}

#[test]
fn a_run_is_judged_once_it_is_clear() {
    let still = affected(&[("a1", 0)]);
    let ended = |state| vec![run("a1", 1, 30, state, None)];
    for (what, affected, attempts, now, wanted) in [
        ("in work", &still[..], ended(State::InWork), 50, None),
        ("too soon", &still, ended(State::Succeeded), 40, None),
        ("as before", &still, ended(State::Succeeded), 41, Some(Outcome::NotMended)),
        ("no longer", &[], ended(State::Succeeded), 41, Some(Outcome::Mended)),
        ("perhaps", &[], ended(State::Succeeded), 40, None),
        ("failed", &[], ended(State::Failed), 31, Some(Outcome::Failed)),
        ("cancelled", &still, ended(State::Cancelled), 31, Some(Outcome::Cancelled)),
    ] {
        let decision = decided(&remedy(json!({})), affected, &attempts, now);
        let judged: Vec<Outcome> = decision.judged.iter().map(|(_, outcome)| *outcome).collect();
        assert_eq!(judged, wanted.into_iter().collect::<Vec<_>>(), "{what}");
    }
    let judged = vec![run("a1", 1, 30, State::Succeeded, Some(Outcome::Mended))];
    assert!(decided(&remedy(json!({})), &still, &judged, 100).judged.is_empty(), "once");
}

#[test]
fn it_stops_itself_and_says_so_and_goes_on_when_it_is_asked() {
    let in_vain = |count: u32, outcome| -> Vec<Attempt> {
        let one = |at: u32| run(&format!("a{at}"), 1, i64::from(at), State::Failed, Some(outcome));
        (0..count).map(one).collect()
    };
    let broken = affected(&[("z1", 0)]);
    let mut remedy = remedy(json!({}));
    assert_eq!(begun(&decided(&remedy, &broken, &in_vain(4, Outcome::Failed), 40)), ["z1-1"]);
    assert_eq!(begun(&decided(&remedy, &broken, &in_vain(9, Outcome::Cancelled), 40)), ["z1-1"]);
    let mut one_did = in_vain(5, Outcome::NotMended);
    one_did[0].outcome = Some(Outcome::Mended);
    assert_eq!(begun(&decided(&remedy, &broken, &one_did, 40)), ["z1-1"], "one of five is enough");

    let attempts = in_vain(5, Outcome::NotMended);
    let stopped = decided(&remedy, &broken, &attempts, 40);
    assert_eq!((stopped.status.phase, begun(&stopped).len()), (RemedyPhase::Stopped, 0));
    let message = stopped.status.message.clone().unwrap();
    assert_eq!(
        message,
        "stopped itself: of the last 5 runs of mend, 0 mended their target, and not a4 (as before, 10m after), a3 \
         (as before, 10m after), a2 (as before, 10m after), a1 (as before, 10m after), a0 (as before, 10m after); \
         raise spec.resume, or change what it does, to go on"
    );
    assert_eq!(
        (stopped.news.len(), stopped.news[0].reason, stopped.news[0].warning),
        (1, "MendsNothing", true)
    );
    remedy.status = stopped.status;
    let later = decided(&remedy, &broken, &one_did, 400);
    assert_eq!((later.status.phase, later.news.len()), (RemedyPhase::Stopped, 0), "it stays so");
    assert_eq!(later.status.message.unwrap(), message);

    remedy.metadata.generation = Some(2);
    let resumed = decided(&remedy, &broken, &attempts, 401);
    assert_eq!((resumed.status.phase, begun(&resumed).len()), (RemedyPhase::Active, 1));
    assert_eq!(resumed.news[0].reason, "Resumed");
    let half = super::tests::remedy(json!({"mustMend": "40%"}));
    assert_eq!(decided(&half, &broken, &one_did, 40).status.phase, RemedyPhase::Stopped);
}

#[test]
fn it_gives_up_on_one_and_goes_on_with_others() {
    let broken = affected(&[("a1", 0), ("b1", 0)]);
    let tried = |outcomes: &[Outcome]| -> Vec<Attempt> {
        let one = |(at, outcome): (usize, &Outcome)| {
            run("a1", at as u32 + 1, at as i64 * 100, State::Failed, Some(*outcome))
        };
        outcomes.iter().enumerate().map(one).collect()
    };
    use Outcome::{Cancelled, Failed, Mended, NotMended};
    let remedy = remedy(json!({"stopAfter": 50}));
    let decision = decided(&remedy, &broken, &tried(&[Failed, NotMended, Cancelled]), 1_000);
    assert_eq!(begun(&decision), ["b1-1"]);
    assert_eq!((decision.status.given_up, decision.status.waiting), (1, 1));
    let given_up = condition::find(&decision.status.conditions, "GivenUp").unwrap();
    assert_eq!(given_up.status, ConditionStatus::True);
    assert!(given_up.message.contains("did not mend them: a1"), "{}", given_up.message);
    let decision = decided(&remedy, &broken, &tried(&[Failed, Failed, Mended, Failed]), 1_000);
    assert_eq!(begun(&decision), ["a1-5", "b1-1"], "it was mended in between");
    // What is left to people is no sign of a common cause.
    let few = super::tests::remedy(json!({"stopAfter": 50, "maxAffected": 1}));
    let decision = decided(&few, &broken, &tried(&[Failed, Failed, Failed]), 1_000);
    assert_eq!(begun(&decision), ["b1-1"]);
}

#[test]
fn many_at_once_have_a_common_cause() {
    let names: Vec<String> = (0..11).map(|at| format!("a{at}")).collect();
    let many: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    let mut remedy = remedy(json!({"maxAffected": null}));
    let decision = decided(&remedy, &affected(&many), &[], 100);
    assert_eq!((begun(&decision).len(), decision.status.phase), (0, RemedyPhase::Active));
    assert!(
        decision.status.message.as_ref().unwrap().starts_with(
            "11 of 100 objects are affected at once, more than spec.maxAffected, which is 10: that looks like one common cause"
        ),
        "{:?}",
        decision.status.message
    );
    assert_eq!(decision.news[0].reason, "TooManyAffected");
    remedy.status = decision.status;
    let decision = decided(&remedy, &affected(&many), &[], 101);
    assert_eq!((decision.news.len(), decision.status), (0, remedy.status.clone()), "told once");
    let decision = decided(&remedy, &affected(&many[1..]), &[], 102);
    assert_eq!((begun(&decision).len(), decision.news[0].reason), (10, "FewAffected"));
}

#[test]
fn old_runs_are_forgotten_but_for_those_that_count() {
    let all: Vec<Attempt> = (0..250)
        .map(|at| run(&format!("a{at}"), 1, at, State::Succeeded, Some(Outcome::Mended)))
        .collect();
    let decision = decided(&remedy(json!({})), &affected(&[("a3", 0)]), &all, 1_000);
    assert_eq!(decision.forget.len(), 49);
    assert!(
        !decision.forget.contains(&"a3-1".to_owned())
            && decision.forget.contains(&"a0-1".to_owned())
    );
    assert!(decided(&remedy(json!({})), &[], &all, 51).forget.is_empty(), "too young");
}

/// A fleet that breaks and is mended as it comes.
#[derive(Debug, Clone)]
enum Step {
    Breaks(usize),
    Mends(usize),
    Ends(usize, bool),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..12_usize).prop_map(Step::Breaks),
        (0..12_usize).prop_map(Step::Mends),
        (0..30_usize, any::<bool>()).prop_map(|(which, well)| Step::Ends(which, well)),
        (1..40_i64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    /// Whatever breaks and however runs end, no limit is exceeded at any time.
    #[test]
    fn no_limit_is_ever_exceeded(
        steps in steps(),
        concurrency in 1..4_u32,
        in_rack in 1..3_u32,
        per_hour in 1..5_u32,
    ) {
        let mut remedy = remedy(json!({"concurrency": concurrency, "maxPerHour": per_hour,
            "perDomain": {"domain": "Rack", "max": in_rack}, "maxAffected": 8}));
        let names: Vec<String> = (0..12).map(|at| format!("{}{at}", ["a", "b", "c"][at % 3])).collect();
        let mut broken: BTreeMap<usize, i64> = BTreeMap::new();
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Breaks(which) => { broken.entry(which).or_insert(now); }
                Step::Mends(which) => { broken.remove(&which); }
                Step::Ends(which, well) => if let Some(it) = attempts.get_mut(which) && it.state == State::InWork {
                    it.state = if well { State::Succeeded } else { State::Failed };
                    it.ended = Some(at(now));
                },
                Step::Wait(minutes) => now += minutes,
            }
            let affected: Vec<Affected> = broken.iter().map(|(which, since)| Affected {
                name: names[*which].clone(), domain: names[*which][..1].into(), since: at(*since),
            }).collect();
            let decision = decided(&remedy, &affected, &attempts, now);
            for (name, outcome) in &decision.judged {
                let it = attempts.iter_mut().find(|it| it.name == *name).unwrap();
                prop_assert!(it.outcome.is_none() && it.state != State::InWork);
                it.outcome = Some(*outcome);
            }
            if !decision.begin.is_empty() {
                prop_assert!(decision.status.phase == RemedyPhase::Active);
            }
            for begin in &decision.begin {
                let which = names.iter().position(|name| *name == begin.target).unwrap();
                prop_assert!(broken.get(&which).is_some_and(|since| since + 10 <= now));
                let earlier: Vec<&Attempt> = attempts.iter().filter(|it| it.target == begin.target).collect();
                prop_assert!(earlier.iter().all(|it| it.outcome.is_some()));
                prop_assert!(earlier.iter().all(|it| it.ended.unwrap() <= at(now - 60)), "it had its rest");
                attempts.push(run(&begin.target, begin.number, now, State::InWork, None));
            }
            let open: Vec<&Attempt> = attempts.iter().filter(|it| it.state == State::InWork).collect();
            prop_assert!(open.len() <= concurrency as usize);
            for rack in ["a", "b", "c"] {
                prop_assert!(open.iter().filter(|it| it.domain == rack).count() <= in_rack as usize);
            }
            prop_assert!(attempts.iter().filter(|it| it.created > at(now - 60)).count() <= per_hour as usize);
            let names: BTreeSet<&String> = attempts.iter().map(|it| &it.name).collect();
            prop_assert_eq!(names.len(), attempts.len(), "no run is made twice");
            remedy.status = decision.status;
        }
        prop_assert_eq!(remedy.spec.holds_for, Duration::from_secs(600));
    }
}
