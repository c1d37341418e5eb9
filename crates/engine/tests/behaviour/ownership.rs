//! Who acts: replicas share the work, nobody acts on what is another's, and none after its lease.

use crate::{outside::Behaviour, scenario::Plane};
use quarterdeck_model::kinds::RunPhase;
use std::{collections::BTreeSet, time::Duration};

const TWO: &str = "
steps:
  - {name: a, action: do.it, with: {what: a}}
  - {name: b, action: do.it, with: {what: b}}
";
const ONE: &str = "
parameters: [{name: what, type: string, required: true}]
steps: [{name: a, action: do.it, with: {what: '${ params.what }'}, timeout: 1h}]
";

/// Runs of one step each, enough that each plane drives some.
async fn many(plane: &Plane, takes: Duration, others: &[&Plane]) -> Vec<String> {
    plane.runbook("one", ONE).await;
    let names: Vec<String> = (0..48).map(|number| format!("r{number}")).collect();
    for name in &names {
        for outside in others.iter().map(|other| &other.outside).chain([&plane.outside]) {
            outside.always(name, Behaviour::Takes(takes));
        }
        plane.run(name, &format!("{{runbook: one, params: {{what: {name}}}}}")).await;
    }
    names
}

fn effects(planes: [&Plane; 2]) -> Vec<String> {
    let mut all: Vec<String> = planes.iter().flat_map(|plane| plane.outside.effects()).collect();
    all.sort_by_key(|name| name[1..].parse::<usize>().unwrap());
    all
}

#[tokio::test(start_paused = true)]
async fn planes_share_the_work() {
    let first = Plane::sharing().await;
    let second = first.another_elsewhere().await;
    first.shared_by(2).await;
    let names = many(&first, Duration::from_secs(5), &[&second]).await;
    for name in &names {
        let run = second.phase(name, RunPhase::Succeeded).await;
        assert_eq!(run.status.steps[0].attempts, 1);
    }
    assert_eq!(effects([&first, &second]), names, "each once");
    for plane in [&first, &second] {
        let (did, all) = (plane.outside.effects().len(), names.len());
        assert!(did >= all / 4, "{did} of {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plane_that_joins_takes_its_part_over() {
    let first = Plane::sharing().await;
    first.shared_by(1).await;
    let names = many(&first, Duration::from_secs(60), &[]).await;
    first.outside.called("r47", 1).await;
    let second = first.another_elsewhere().await;
    for name in &names {
        second.outside.always(name, Behaviour::Takes(Duration::from_secs(1)));
    }
    second.shared_by(2).await;
    for name in &names {
        let run = first.phase(name, RunPhase::Succeeded).await;
        assert_eq!(run.status.steps[0].attempts, 1, "it is the same attempt");
    }
    assert_eq!(effects([&first, &second]), names, "what was dropped was not done twice");
    let did = second.outside.effects();
    assert!(did.len() >= names.len() / 4, "{did:?}");
    for name in did {
        let (before, after) = (first.outside.calls(&name), second.outside.calls(&name));
        assert_eq!(before[0].key, after[0].key);
        assert!(after[0].resumed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plane_that_falls_silent_is_followed_within_ten_seconds() {
    let first = Plane::sharing().await;
    let second = first.another_elsewhere().await;
    first.shared_by(2).await;
    let names = many(&second, Duration::from_secs(60), &[&first]).await;
    second.phase("r47", RunPhase::Running).await;
    for name in &names {
        second.outside.always(name, Behaviour::Takes(Duration::from_secs(1)));
    }
    let before = second.now();
    let own: BTreeSet<String> =
        names.iter().filter(|name| !first.outside.calls(name).is_empty()).cloned().collect();
    assert!(own.len() >= names.len() / 4, "{own:?}");
    first.freeze();
    for name in &own {
        second.outside.called(name, 1).await;
    }
    let took = second.now().duration_since(before).as_secs();
    assert!(took <= 10, "{took} s");
    for name in &names {
        let run = second.phase(name, RunPhase::Succeeded).await;
        assert_eq!(run.status.steps[0].attempts, 1, "it is the same attempt");
        assert_eq!(second.outside.calls(name).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plane_that_lost_its_lease_writes_nothing_more() {
    let plane = Plane::new().await;
    plane.runbook("two", TWO).await;
    plane.outside.next("a", Behaviour::Takes(Duration::from_secs(1)));
    plane.run("r", "{runbook: two}").await;
    plane.outside.called("a", 1).await;
    for lease in plane.store.leases().await.unwrap() {
        plane.disk.take_lease(&lease.name);
    }
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
    // The lease is good for seven seconds; the action must be dropped before its eighth.
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
