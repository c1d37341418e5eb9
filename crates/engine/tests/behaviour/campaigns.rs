//! Campaigns: a few targets first, then place by place, as the ledger permits; they pause themselves, and go on.

use crate::{outside::Behaviour, scenario::Plane};
use quarterdeck_model::{
    Kind as _,
    kinds::{
        Campaign, CampaignPhase, CampaignStatus, Instance, Permit, Rack, Run, Server, Service,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// What is done outside is told apart by the server it is done to.
const PATCH: &str = "
target: {kind: Server}
timeout: 10h
steps:
  - {name: patch, action: disturb.it, with: {what: '${ target.metadata.name }'}, timeout: 2h}
";
const MINUTES: Behaviour = Behaviour::Takes(Duration::from_secs(600));

/// Servers s-00 to s-11, four in each of three racks; those of even number are web servers.
async fn fleet() -> Plane {
    let plane = Plane::new().await;
    plane.runbook("patch", PATCH).await;
    for rack in 0..3 {
        let spec = json!({"site": format!("site-{}", rack % 2)});
        plane.create(Rack::info(), "", &format!("r-{rack}"), json!({"spec": spec})).await;
    }
    for number in 0..12 {
        let role = if number % 2 == 0 { "web" } else { "db" };
        let name = format!("s-{number:02}");
        plane.outside.always(&name, MINUTES);
        let rack = format!("r-{}", number / 4);
        let spec = json!({"bmc": {"address": "192.0.2.1"}, "location": {"rack": rack}});
        let server = json!({"metadata": {"labels": {"role": role}}, "spec": spec});
        plane.create(Server::info(), "", &name, server).await;
    }
    plane
}

async fn campaign(plane: &Plane, more: Value) {
    let mut spec = json!({"runbook": "patch",
        "targets": {"kind": "Server", "selector": {"matchLabels": {"role": "web"}}},
        "domainsAtOnce": 1, "concurrency": 10});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    plane.create(Campaign::info(), "default", "c", json!({"spec": spec})).await;
}

fn see(plane: &Plane) -> CampaignStatus {
    let object = plane.store.world().get(Campaign::info(), "default", "c").unwrap();
    object.decode::<Campaign>().unwrap().status
}

async fn until(
    plane: &Plane,
    what: &str,
    wanted: impl Fn(&CampaignStatus) -> bool,
) -> CampaignStatus {
    plane.when(Campaign::info(), what, || Some(see(plane)).filter(&wanted)).await
}

async fn phase(plane: &Plane, phase: CampaignPhase) -> CampaignStatus {
    until(plane, &format!("{phase:?}"), |status| status.phase == phase).await
}

async fn ask(plane: &Plane, field: &str, value: Value) {
    plane
        .patch(Campaign::info(), "default", "c", |campaign| {
            campaign["spec"][field] = value.clone();
        })
        .await;
}

/// How many runs each server has had.
fn runs(plane: &Plane) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for run in plane.store.world().all(Run::info()) {
        let target = run.field("spec.target.name").unwrap_or_default();
        if target.starts_with("s-") && run.field("spec.runbook") == Some("patch") {
            *counts.entry(target.to_owned()).or_default() += 1;
        }
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn a_plan_first_then_canaries_then_rack_after_rack() {
    let plane = fleet().await;
    campaign(&plane, json!({"paused": true, "canary": 2})).await;
    let planned = phase(&plane, CampaignPhase::Planned).await;
    assert_eq!((planned.targets, planned.left, planned.domains), (6, 6, 3));
    assert_eq!(planned.canaries, ["s-00", "s-04"], "each in another rack");
    assert_eq!(
        planned.message.as_deref(),
        Some(
            "would try 2 of 6 targets first, then 3 failure domains, 1 at once and at most 10 runs; set \
              spec.paused to false to begin"
        )
    );
    assert!(runs(&plane).is_empty());

    ask(&plane, "paused", json!(false)).await;
    let canary = until(&plane, "canaries", |status| status.running == 2).await;
    assert_eq!((canary.phase, canary.left), (CampaignPhase::Canary, 4));
    let running = phase(&plane, CampaignPhase::Running).await;
    assert_eq!((running.succeeded, running.failed), (2, 0));
    let done = phase(&plane, CampaignPhase::Succeeded).await;
    assert_eq!(done.progress.as_deref(), Some("6/6"));
    assert_eq!(done.message.as_deref(), Some("all 6 targets are done"));
    assert_eq!(
        plane.outside.effects(),
        ["s-00", "s-04", "s-02", "s-06", "s-08", "s-10"],
        "one rack after the other"
    );
    assert!(runs(&plane).values().all(|count| *count == 1));
    let told = plane.reasons("Campaign", "c");
    assert_eq!(told, ["Planned", "Started", "CanariesSucceeded", "Succeeded"]);
    // What gets the label later is not for it.
    plane
        .patch(Server::info(), "", "s-01", |server| {
            server["metadata"]["labels"]["role"] = json!("web");
        })
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(runs(&plane).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn failed_canaries_stop_it_and_a_person_says_how_it_goes_on() {
    let plane = fleet().await;
    plane.outside.always("s-00", Behaviour::Fails);
    campaign(&plane, json!({"canary": 2})).await;
    let paused = phase(&plane, CampaignPhase::Paused).await;
    assert_eq!((paused.failed, paused.left), (1, 4));
    assert_eq!(
        paused.message.as_deref(),
        Some(
            "paused itself: 1 of 2 canaries failed; 1 of them: step patch: Unreachable; raise spec.retries to try \
              them again, or spec.acceptedFailures to go on"
        )
    );
    assert_eq!(paused.failures[0].reason, "step patch: Unreachable");
    assert_eq!(plane.reasons("Campaign", "c"), ["Started", "PausedItself"]);
    // It is mended, and tried again.
    plane.outside.always("s-00", MINUTES);
    ask(&plane, "retries", json!(1)).await;
    let done = phase(&plane, CampaignPhase::Succeeded).await;
    assert_eq!((done.succeeded, done.failed), (6, 0));
    assert_eq!(runs(&plane)["s-00"], 2);
}

#[tokio::test(start_paused = true)]
async fn too_many_failures_stop_it_and_more_can_be_accepted() {
    let plane = fleet().await;
    for name in ["s-02", "s-04", "s-08"] {
        plane.outside.always(name, Behaviour::Fails);
    }
    campaign(&plane, json!({"failureLimit": 1})).await;
    let paused = phase(&plane, CampaignPhase::Paused).await;
    assert_eq!(paused.failed, 2);
    assert!(
        paused
            .message
            .unwrap()
            .starts_with("paused itself: 2 targets failed, more than spec.failureLimit")
    );
    ask(&plane, "acceptedFailures", json!(3)).await;
    let failed = phase(&plane, CampaignPhase::Failed).await;
    assert_eq!((failed.succeeded, failed.failed, failed.left), (3, 3, 0));
    assert_eq!(failed.failures[0].targets, 3);
    // All that failed are tried once more.
    for name in ["s-02", "s-04", "s-08"] {
        plane.outside.always(name, MINUTES);
    }
    ask(&plane, "retries", json!(1)).await;
    phase(&plane, CampaignPhase::Succeeded).await;
}

#[tokio::test(start_paused = true)]
async fn it_pauses_goes_on_and_is_cancelled_when_asked() {
    let plane = fleet().await;
    campaign(&plane, json!({})).await;
    until(&plane, "one done", |status| status.succeeded == 1 && status.running > 0).await;
    ask(&plane, "paused", json!(true)).await;
    let paused = until(&plane, "paused and still", |status| {
        status.phase == CampaignPhase::Paused && status.running == 0
    })
    .await;
    let begun = paused.targets - paused.left;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(see(&plane).left, paused.left, "{begun} were begun");
    ask(&plane, "paused", json!(false)).await;
    until(&plane, "going on", |status| status.running > 0).await;
    ask(&plane, "cancel", json!(true)).await;
    let cancelled = phase(&plane, CampaignPhase::Cancelled).await;
    assert!(cancelled.left > 0 && cancelled.running == 0, "{cancelled:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_none_any_more_still_counts_while_its_run_is_in_work() {
    let plane = fleet().await;
    campaign(&plane, json!({})).await;
    until(&plane, "one running", |status| status.running == 1).await;
    plane
        .patch(Server::info(), "", "s-00", |server| {
            server["metadata"]["labels"]["role"] = json!("none");
        })
        .await;
    ask(&plane, "cancel", json!(true)).await;
    let cancelled = phase(&plane, CampaignPhase::Cancelled).await;
    assert_eq!(cancelled.running, 0);
    let object = plane.store.world().all(Run::info()).next().cloned().unwrap();
    assert_eq!(object.field("status.phase"), Some("Cancelled"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_its_own_is_left_alone_and_keeps_the_others_from_nothing() {
    let plane = fleet().await;
    campaign(&plane, json!({"paused": true, "domainsAtOnce": 3, "canary": 0})).await;
    phase(&plane, CampaignPhase::Planned).await;
    ask(&plane, "paused", json!(false)).await;
    until(&plane, "running", |status| status.running > 0).await;
    // Somebody takes the label from one of its runs: the campaign no longer knows it.
    let names: Vec<String> =
        plane.store.world().all(Run::info()).map(|run| run.name().to_owned()).collect();
    plane
        .patch(Run::info(), "default", &names[0], |run| {
            run["metadata"]["labels"] = json!({});
        })
        .await;
    let status = until(&plane, "all others done", |status| status.succeeded == 5).await;
    assert_eq!(status.left, 1);
    assert!(runs(&plane).values().all(|count| *count == 1), "{:?}", runs(&plane));
}

#[tokio::test(start_paused = true)]
async fn it_hurts_no_service_and_says_for_whom_it_waits() {
    let plane = fleet().await;
    let spec = json!({"disruptionBudget": {"maxUnavailable": 1}});
    plane.create(Service::info(), "shop", "web", json!({"spec": spec})).await;
    for number in 0..6 {
        let server = format!("s-{:02}", number * 2);
        let spec = json!({"service": "web", "host": {"name": server}});
        let object = json!({"spec": spec, "status": {"phase": "Ready"}});
        plane.create(Instance::info(), "shop", &format!("web-{number}"), object).await;
    }
    campaign(&plane, json!({"domainsAtOnce": 3})).await;
    let waiting = until(&plane, "waiting", |status| status.waiting > 0).await;
    assert_eq!(waiting.running, 1, "the service can spare one");
    assert!(
        waiting.waits_for[0].reason.starts_with("shop/web allows 1 of 6 down; 1 is")
            || waiting.waits_for[0].reason == "shop/web allows 1 of 6 down",
        "{:?}",
        waiting.waits_for
    );
    let most = std::sync::atomic::AtomicUsize::new(0);
    let done = until(&plane, "the end", |status| {
        let world = plane.store.world();
        let permits = world.with_fields(Permit::info(), "status.phase=Granted").len();
        most.fetch_max(permits, std::sync::atomic::Ordering::Relaxed);
        status.phase == CampaignPhase::Succeeded
    })
    .await;
    assert_eq!(done.succeeded, 6);
    assert_eq!(most.into_inner(), 1, "never more than the service can spare");
}

#[tokio::test(start_paused = true)]
async fn a_crash_makes_no_run_twice() {
    let plane = fleet().await;
    campaign(&plane, json!({"domainsAtOnce": 3, "concurrency": 2})).await;
    until(&plane, "one done", |status| status.succeeded == 1 && status.running > 0).await;
    let plane = plane.crash_and_restart().await;
    until(&plane, "more done", |status| status.succeeded >= 3).await;
    let plane = plane.crash_and_restart().await;
    phase(&plane, CampaignPhase::Succeeded).await;
    assert_eq!(runs(&plane).len(), 6);
    assert!(runs(&plane).values().all(|count| *count == 1), "{:?}", runs(&plane));
}

/// Saying anew when it ends leads to another look at all of its targets.
#[tokio::test(start_paused = true)]
async fn while_nothing_happens_nothing_is_said() {
    let plane = fleet().await;
    campaign(&plane, json!({"concurrency": 1})).await;
    let done = phase(&plane, CampaignPhase::Succeeded).await;
    assert_eq!(done.succeeded, 6);
    let kind = Campaign::info().resource_name();
    let versions = plane.disk.versions(|key| key.kind == kind);
    // An hour in which six runs began and ended one after the other.
    assert!(versions.len() < 40, "it was written {} times", versions.len());
    let ends: Vec<_> = versions.iter().filter_map(|it| it.pointer("/status/expectedEnd")).collect();
    assert!(!ends.is_empty(), "it was never said when it ends");
}

/// Racks r-0 to r-3 in two rows of one hall, on power feeds so that two and two are on the same.
async fn rows_and_feeds() -> Plane {
    let plane = Plane::new().await;
    plane.runbook("patch", PATCH).await;
    for (rack, (row, feeds)) in
        [("1", ["A", "B"]), ("2", ["B", "A"]), ("1", ["A", "C"]), ("2", ["C", "A"])]
            .iter()
            .enumerate()
    {
        let spec = json!({"site": "fra1", "hall": "north", "row": row, "powerFeeds": feeds});
        plane.create(Rack::info(), "", &format!("r-{rack}"), json!({"spec": spec})).await;
    }
    for number in 0..8 {
        let name = format!("s-{number:02}");
        plane.outside.always(&name, MINUTES);
        let location = json!({"rack": format!("r-{}", number % 4)});
        let spec = json!({"bmc": {"address": "192.0.2.1"}, "location": location});
        let server = json!({"metadata": {"labels": {"role": "web"}}, "spec": spec});
        plane.create(Server::info(), "", &name, server).await;
    }
    plane
}

#[tokio::test(start_paused = true)]
async fn rows_and_power_feeds_are_done_one_after_the_other() {
    // Racks that are one domain: those of a row, and those on the same feeds in whatever order they are named.
    for (domain, of) in [("Row", &[0, 1, 0, 1][..]), ("PowerFeed", &[0, 0, 1, 1][..])] {
        let plane = rows_and_feeds().await;
        campaign(&plane, json!({"failureDomain": domain, "canary": 0})).await;
        let of_server = |name: &str| of[name[2..].parse::<usize>().unwrap() % 4];
        let mut order: Vec<usize> = Vec::new();
        let done = until(&plane, "all to be done", |status| {
            let world = plane.store.world();
            let at_once: std::collections::BTreeSet<usize> = world
                .all(Run::info())
                .filter(|run| run.field("status.phase") == Some("Running"))
                .filter_map(|run| run.field("spec.target.name").map(of_server))
                .collect();
            assert!(at_once.len() <= 1, "{domain}: {at_once:?}");
            status.phase == CampaignPhase::Succeeded
        })
        .await;
        assert_eq!((done.domains, done.succeeded), (2, 8), "{domain}");
        for effect in plane.outside.effects() {
            order.push(of_server(&effect));
        }
        assert!(order.is_sorted(), "{domain}: {order:?}");
    }
}
