//! Who acts: one replica at a time, and none after its lease.

use crate::{outside::Behaviour, scenario::Plane};
use quarterdeck_model::kinds::RunPhase;
use std::time::Duration;

const TWO: &str = "
steps:
  - {name: a, action: do.it, with: {what: a}}
  - {name: b, action: do.it, with: {what: b}}
";

#[tokio::test(start_paused = true)]
async fn of_two_planes_one_acts_and_the_other_takes_over() {
    let first = Plane::sharing().await;
    first.runbook("two", TWO).await;
    first.outside.next("a", Behaviour::Takes(Duration::from_secs(5)));
    first.run("r", "{runbook: two}").await;
    first.outside.called("a", 1).await;
    let second = first.another().await;
    first.phase("r", RunPhase::Succeeded).await;
    assert_eq!(first.outside.calls("a").len(), 1, "the second only looks on");
    // The first falls silent in the middle of a step.
    first.outside.next("a", Behaviour::AnswersLate(Duration::from_secs(60)));
    second.run("r2", "{runbook: two}").await;
    first.outside.called("a", 2).await;
    first.freeze();
    let run = second.phase("r2", RunPhase::Succeeded).await;
    let calls = first.outside.calls("a");
    assert_eq!(calls.len(), 3);
    assert_eq!((calls[1].resumed, calls[2].resumed), (false, true));
    assert_eq!(calls[1].key, calls[2].key);
    assert_eq!(first.outside.effects(), ["a", "b", "a", "b"]);
    assert_eq!(run.status.steps[0].attempts, 1, "it is the same attempt");
}

#[tokio::test(start_paused = true)]
async fn a_plane_that_lost_its_lease_writes_nothing_more() {
    let plane = Plane::new().await;
    plane.runbook("two", TWO).await;
    plane.outside.next("a", Behaviour::Takes(Duration::from_secs(1)));
    plane.run("r", "{runbook: two}").await;
    plane.outside.called("a", 1).await;
    plane.disk.take_lease("engine");
    tokio::time::sleep(Duration::from_secs(120)).await;
    let run = plane.see("r");
    assert_eq!(run.status.phase, RunPhase::Running);
    assert_eq!(run.status.steps.len(), 1, "its next step was not recorded");
    assert!(plane.outside.calls("b").is_empty(), "so it did not begin");
}

#[tokio::test(start_paused = true)]
async fn a_plane_that_cannot_renew_its_lease_stops_before_it_ends() {
    let plane = Plane::new().await;
    plane.runbook("two", TWO).await;
    plane.outside.next("a", Behaviour::Takes(Duration::from_secs(8)));
    plane.run("r", "{runbook: two}").await;
    plane.outside.called("a", 1).await;
    plane.disk.go_away();
    // The lease is good for nine seconds; the action must be dropped before its eighth.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(plane.outside.effects().is_empty(), "the action went on without a lease");
    plane.disk.come_back();
    plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_plane_that_ends_in_order_hands_over_at_once() {
    let plane = Plane::sharing().await;
    plane.runbook("two", TWO).await;
    plane.outside.next("a", Behaviour::AnswersLate(Duration::from_secs(60)));
    plane.run("r", "{runbook: two}").await;
    plane.outside.called("a", 1).await;
    let second = plane.another().await;
    let before = second.now();
    plane.stop().await;
    second.phase("r", RunPhase::Succeeded).await;
    assert!(second.now().duration_since(before).as_secs() <= 3);
}
