use super::decide::*;
use jiff::Timestamp;
use proptest::prelude::*;
use quarterdeck_model::{
    Time, condition,
    kinds::{ConcurrencyPolicy, Schedule, SchedulePhase},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

fn time(text: &str) -> Time {
    Time::new(text.parse().unwrap())
}

fn schedule(more: Value) -> Schedule {
    let mut spec = json!({"schedule": "0 * * * *", "run": {"runbook": "tidy"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "metadata": {"name": "s", "uid": "u", "generation": 1, "creationTimestamp": "2026-03-01T08:30:00Z"},
        "spec": spec,
    }))
    .unwrap()
}

fn started(due: &str, state: State) -> Started {
    let due: Timestamp = due.parse().unwrap();
    Started { name: name("s", due), due: Some(due), state }
}

fn decided(schedule: &Schedule, started: &[Started], now: &str) -> Decision {
    decide(&Situation { schedule, started, now: time(now) })
}

fn reason(decision: &Decision) -> &str {
    &condition::find(&decision.status.conditions, "Ready").unwrap().reason
}

#[test]
fn what_is_started_by_table() {
    let busy = [started("2026-03-01T09:00:00Z", State::InWork)];
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    for (what, more, before, now, wanted) in [
        ("not yet", json!({}), &busy[..0], "2026-03-01T08:59:59Z", None),
        ("in time", json!({}), &[], "2026-03-01T09:00:00Z", at("2026-03-01T09:00:00Z")),
        ("late", json!({}), &[], "2026-03-01T09:40:00Z", at("2026-03-01T09:00:00Z")),
        ("the latest of many", json!({}), &[], "2026-05-01T09:40:00Z", at("2026-05-01T09:00:00Z")),
        ("started before", json!({}), &busy, "2026-03-01T09:40:00Z", None),
        ("beside another", json!({}), &busy, "2026-03-01T10:00:00Z", at("2026-03-01T10:00:00Z")),
        (
            "not beside another",
            json!({"concurrencyPolicy": "Forbid"}),
            &busy,
            "2026-03-01T10:00:00Z",
            None,
        ),
        (
            "in place of another",
            json!({"concurrencyPolicy": "Replace"}),
            &busy,
            "2026-03-01T10:00:00Z",
            at("2026-03-01T10:00:00Z"),
        ),
        (
            "just in time",
            json!({"startingDeadlineSeconds": 60}),
            &[],
            "2026-03-01T09:01:00Z",
            at("2026-03-01T09:00:00Z"),
        ),
        ("too late", json!({"startingDeadlineSeconds": 60}), &[], "2026-03-01T09:01:01Z", None),
        ("suspended", json!({"suspend": true}), &[], "2026-03-01T09:00:00Z", None),
        ("never", json!({"schedule": "0 0 31 2 *"}), &[], "2026-05-01T09:00:00Z", None),
    ] {
        let decision = decided(&schedule(more), before, now);
        assert_eq!(decision.start, wanted, "{what}");
        assert_eq!(
            decision.start.is_some(),
            decision.news.is_some_and(|(news, _)| news == "Started"),
            "{what}"
        );
    }
}

#[test]
fn the_status_says_what_it_does() {
    let decision = decided(&schedule(json!({})), &[], "2026-03-01T08:40:00Z");
    assert_eq!((decision.status.phase, reason(&decision)), (SchedulePhase::Scheduled, "Scheduled"));
    assert_eq!(decision.status.next_schedule_time, Some(time("2026-03-01T09:00:00Z")));
    assert_eq!(decision.again, Some(Duration::from_secs(60)), "clocks are set");
    let decision = decided(&schedule(json!({})), &[], "2026-03-01T08:59:50Z");
    assert_eq!(decision.again, Some(Duration::from_secs(10)));

    let decision = decided(&schedule(json!({})), &[], "2026-03-01T09:00:01Z");
    assert_eq!(decision.status.phase, SchedulePhase::Running);
    assert_eq!(decision.status.active, ["s-29539260"]);
    assert_eq!(decision.status.last_schedule_time, Some(time("2026-03-01T09:00:00Z")));

    let decision = decided(&schedule(json!({"suspend": true})), &[], "2026-03-01T09:00:01Z");
    assert_eq!((decision.status.phase, reason(&decision)), (SchedulePhase::Suspended, "Suspended"));
    assert_eq!(decision.status.next_schedule_time, None);
    let decision =
        decided(&schedule(json!({"schedule": "0 0 31 2 *"})), &[], "2026-03-01T09:00:01Z");
    assert_eq!((decision.status.phase, reason(&decision)), (SchedulePhase::NeverDue, "NeverDue"));
}

#[test]
fn what_was_missed_is_told_once_and_what_waits_goes_on() {
    let mut schedule =
        schedule(json!({"startingDeadlineSeconds": 600, "concurrencyPolicy": "Forbid"}));
    let busy = [started("2026-03-01T09:00:00Z", State::InWork)];
    let waits = decided(&schedule, &busy, "2026-03-01T10:05:00Z");
    assert_eq!((reason(&waits), waits.news.clone().unwrap().0), ("StillRunning", "StillRunning"));
    schedule.status = waits.status;
    let waits = decided(&schedule, &busy, "2026-03-01T10:06:00Z");
    assert_eq!((waits.news, &waits.status), (None, &schedule.status), "nothing is written anew");

    let done =
        [started("2026-03-01T09:00:00Z", State::Succeeded(Some(time("2026-03-01T10:07:00Z"))))];
    let goes_on = decided(&schedule, &done, "2026-03-01T10:07:00Z");
    assert_eq!(
        goes_on.start,
        Some("2026-03-01T10:00:00Z".parse().unwrap()),
        "it was within its time"
    );
    assert_eq!(goes_on.status.last_successful_time, Some(time("2026-03-01T10:07:00Z")));

    let missed = decided(&schedule, &busy, "2026-03-01T10:10:01Z");
    assert_eq!(missed.news.unwrap().0, "Missed");
    schedule.status = missed.status;
    let after = decided(&schedule, &busy, "2026-03-01T10:10:02Z");
    assert_eq!((after.news, &after.status), (None, &schedule.status));
}

#[test]
fn as_many_are_kept_as_wanted() {
    let end = |hour: u8| Some(time(&format!("2026-03-01T{hour:02}:10:00Z")));
    let hour = |hour: u8| format!("2026-03-01T{hour:02}:00:00Z");
    let mut all: Vec<Started> =
        (0..5).map(|at| started(&hour(at), State::Succeeded(end(at)))).collect();
    all.extend((5..8).map(|at| started(&hour(at), State::Failed(end(at)))));
    all.push(started(&hour(8), State::InWork));
    let names = |more: Value| {
        let decision = decided(&schedule(more), &all, "2026-03-01T08:30:00Z");
        decision.forget.into_iter().collect::<BTreeSet<_>>()
    };
    let of =
        |hours: &[usize]| hours.iter().map(|at| all[*at].name.clone()).collect::<BTreeSet<_>>();
    assert_eq!(names(json!({})), of(&[0, 1, 5, 6]));
    assert_eq!(
        names(json!({"successfulRunsHistoryLimit": 0, "failedRunsHistoryLimit": 0})),
        of(&[0, 1, 2, 3, 4, 5, 6, 7])
    );
}

#[test]
fn what_is_in_its_way_is_cancelled_only_to_be_replaced() {
    let busy = [started("2026-03-01T09:00:00Z", State::InWork)];
    let replace = schedule(json!({"concurrencyPolicy": "Replace"}));
    assert_eq!(replace.spec.concurrency_policy, ConcurrencyPolicy::Replace);
    assert_eq!(decided(&replace, &busy, "2026-03-01T10:00:00Z").cancel, [busy[0].name.clone()]);
    assert!(decided(&replace, &busy, "2026-03-01T09:30:00Z").cancel.is_empty());
}

proptest! {
    /// However often it looks, and whatever of its writes is lost, no time has two starts, none comes before its
    /// time, and with `Forbid` none is beside another.
    #[test]
    fn no_time_is_started_twice(
        steps in prop::collection::vec((1..5_000_i64, any::<bool>(), any::<bool>()), 1..60),
        policy in prop_oneof![Just("Allow"), Just("Forbid"), Just("Replace")],
        deadline in prop_oneof![Just(None), (0..4_000_u32).prop_map(Some)],
    ) {
        let mut schedule = schedule(json!({
            "concurrencyPolicy": policy, "startingDeadlineSeconds": deadline, "schedule": "*/20 * * * *"}));
        let mut now = time("2026-03-01T08:30:00Z").timestamp();
        let mut started: Vec<Started> = Vec::new();
        for (seconds, ends, status_is_lost) in steps {
            now = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
            if ends {
                for it in started.iter_mut().filter(|it| it.state == State::InWork) {
                    it.state = State::Succeeded(Some(Time::new(now)));
                }
            }
            let busy = started.iter().any(|it| it.state == State::InWork);
            let decision = decide(&Situation { schedule: &schedule, started: &started, now: Time::new(now) });
            if let Some(due) = decision.start {
                prop_assert!(due <= now && started.iter().all(|it| it.due < Some(due)));
                prop_assert!(policy != "Forbid" || !busy);
                let late = now.duration_since(due).as_secs();
                prop_assert!(deadline.is_none_or(|deadline| late <= i64::from(deadline)));
                started.push(Started { name: name("s", due), due: Some(due), state: State::InWork });
            }
            if !status_is_lost {
                schedule.status = decision.status;
            }
        }
    }
}
