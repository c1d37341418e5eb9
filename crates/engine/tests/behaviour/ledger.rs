//! No disruption without the ledger: who waits, for whom, and when they go on.

use crate::{outside::Behaviour, scenario::Plane};
use quarterdeck_model::{
    Kind as _,
    kinds::{Freeze, Instance, Permit, Rack, Run, RunPhase, Server, Service, StepPhase},
};
use quarterdeck_store::Store;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const PATCH: &str = "
target: {kind: Server}
timeout: 10h
parameters: [{name: what, type: string, required: true}]
steps:
  - {name: look, action: do.it, with: {what: look}}
  - {name: patch, action: disturb.it, with: {what: '${ params.what }'}, timeout: 2h}
";
const RACK: &str = "
target: {kind: Rack}
steps: [{name: cut, action: disturb.it, with: {what: rack}}]
";
pub(crate) const HOUR: Behaviour = Behaviour::Takes(Duration::from_secs(3600));

/// Servers s-0 to s-3 in one rack, with an instance of `shop/web` on each, of which so many may be down.
pub(crate) async fn shop(budget: Value) -> Plane {
    let plane = Plane::new().await;
    plane.runbook("patch", PATCH).await;
    plane.runbook("cut", RACK).await;
    plane.create(Rack::info(), "", "r-0", json!({"spec": {"site": "fra1"}})).await;
    let spec = json!({"owner": "shop", "disruptionBudget": {"maxUnavailable": budget}});
    plane.create(Service::info(), "shop", "web", json!({"spec": spec})).await;
    for number in 0..4 {
        let spec = json!({"bmc": {"address": "192.0.2.1"}, "location": {"rack": "r-0"}});
        plane.create(Server::info(), "", &format!("s-{number}"), json!({"spec": spec})).await;
        let spec = json!({"service": "web", "host": {"name": format!("s-{number}")}});
        let object = json!({"spec": spec, "status": {"phase": "Ready"}});
        plane.create(Instance::info(), "shop", &format!("web-{number}"), object).await;
    }
    none_without_a_permit(&plane);
    plane
}

/// No effect but a harmless one begins before its permit is durable.
pub(crate) fn none_without_a_permit(plane: &Plane) {
    let store = plane.store.clone();
    plane.outside.witnessed_by(move |call| {
        let (uid, _) = call.key.split_once('/').unwrap();
        let kept = permits(&store).iter().any(|permit| permit["spec"]["runUID"] == uid);
        assert!(kept || call.what == "look", "{} begins without a permit", call.what);
    });
}

/// Permits that were granted.
pub(crate) fn permits(store: &Store) -> Vec<Value> {
    let world = store.world();
    let granted =
        world.all(Permit::info()).filter(|it| it.field("status.phase") == Some("Granted"));
    granted.map(|permit| permit.value()).collect()
}

pub(crate) async fn run(plane: &Plane, name: &str, server: &str) {
    let spec = format!(
        "{{runbook: patch, target: {{kind: Server, name: {server}}}, params: {{what: {name}}}}}"
    );
    plane.run(name, &spec).await;
}

pub(crate) async fn instance_is(plane: &Plane, name: &str, phase: &str) {
    plane
        .patch(Instance::info(), "shop", name, |instance| {
            instance["status"] = json!({"phase": phase, "phaseSince": "2026-11-02T07:30:00Z"});
        })
        .await;
}

pub(crate) fn waits(run: &Run) -> bool {
    let step = run.status.steps.iter().find(|step| step.name == "patch" || step.name == "cut");
    step.is_some_and(|step| {
        step.phase == StepPhase::Waiting && step.reason.as_deref() == Some("DisruptionRefused")
    })
}

pub(crate) async fn until_permits(plane: &Plane, count: usize) -> Vec<Value> {
    let what = format!("{count} permits");
    let look = || Some(permits(&plane.store)).filter(|permits| permits.len() == count);
    plane.when(Permit::info(), &what, look).await
}

#[tokio::test(start_paused = true)]
async fn a_run_waits_until_a_service_can_spare_what_it_takes() {
    let plane = shop(json!(1)).await;
    instance_is(&plane, "web-3", "Failed").await;
    run(&plane, "r", "s-0").await;
    let waiting = plane.until("r", "waiting", waits).await;
    let why = "shop/web allows 1 of 4 down; 1 is: web-3 on s-3 (not available since 2026-11-02T07:30:00Z); this \
               would take 1 more; its owner is shop";
    let message =
        format!("waiting for leave to disrupt Server s-0 since 08:00:00 until 18:00:00: {why}");
    assert_eq!(waiting.status.message, Some(message));
    assert_eq!(permits(&plane.store), Vec::<Value>::new());
    assert!(plane.story("Run", "r").contains(&format!(
        "DisruptionRefused: step patch: may not disrupt Server s-0 yet: {why}"
    )));
    // A person follows it in the service, too.
    plane
        .when(Service::info(), "the service to say so", || {
            let service = plane.store.world().get(Service::info(), "shop", "web")?.value();
            (service["status"]["phase"] == "Degraded").then_some(())
        })
        .await;

    plane.outside.next("r", HOUR);
    instance_is(&plane, "web-3", "Ready").await;
    let given = until_permits(&plane, 1).await;
    assert_eq!(given[0]["metadata"]["name"], "r");
    let (spec, status) = (&given[0]["spec"], &given[0]["status"]);
    assert_eq!(spec["target"], json!({"kind": "Server", "name": "s-0"}));
    assert_eq!((&status["servers"], &status["instances"]), (&json!(1), &json!(1)));
    assert_eq!(status["services"], json!([{"service": "shop/web", "instances": 1}]));
    // It was told, and did not wait for its next look.
    assert!(plane.now().duration_since(crate::scenario::beginning()).as_secs() < 15);
    plane.phase("r", RunPhase::Succeeded).await;
    until_permits(&plane, 0).await;
    assert_eq!(plane.outside.effects(), ["look", "r"]);
}

#[tokio::test(start_paused = true)]
async fn runs_that_would_hurt_the_same_service_go_one_after_the_other() {
    let plane = shop(json!(1)).await;
    let names = ["r0", "r1", "r2", "r3"];
    for (number, name) in names.iter().enumerate() {
        plane.outside.next(name, HOUR);
        run(&plane, name, &format!("s-{number}")).await;
    }
    let mut most = BTreeSet::new();
    for name in names {
        let store = plane.store.clone();
        plane
            .when(Run::info(), name, || {
                most.insert(permits(&store).len());
                plane.find(name).filter(|run| run.status.phase.ended())
            })
            .await;
    }
    assert!(most.iter().all(|count| *count <= 1), "{most:?} at once");
    let mut done = plane.outside.effects();
    done.retain(|what| what != "look");
    done.sort();
    assert_eq!(done, names);
    let took = plane.now().duration_since(crate::scenario::beginning()).as_secs();
    assert!(
        (4 * 3600..4 * 3600 + 60).contains(&took),
        "each began when the one before ended: {took}"
    );
    until_permits(&plane, 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_permitted_is_the_same_after_a_crash() {
    let plane = shop(json!("50%")).await;
    for (name, server) in [("r0", "s-0"), ("r1", "s-1"), ("r2", "s-2")] {
        plane.outside.always(name, HOUR);
        run(&plane, name, server).await;
    }
    until_permits(&plane, 2).await;
    let before = permits(&plane.store);
    let plane = plane.crash_and_restart().await;
    none_without_a_permit(&plane);
    // The third of them still waits: the two are counted, and once.
    plane.until("r2", "waiting", waits).await;
    assert_eq!(permits(&plane.store), before);
    for name in ["r0", "r1", "r2"] {
        plane.phase(name, RunPhase::Succeeded).await;
    }
    until_permits(&plane, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_to_be_tried_again_finds_its_permit_after_a_crash() {
    let plane = shop(json!(1)).await;
    let again = "
target: {kind: Server}
steps:
  - name: patch
    action: disturb.it
    with: {what: again}
    timeout: 3h
    retry: {attempts: 2, backoff: 10m, maxBackoff: 10m}
";
    plane.runbook("again", again).await;
    plane.outside.next("again", Behaviour::Fails);
    plane.run("r", "{runbook: again, target: {kind: Server, name: s-0}}").await;
    let is_waiting = |run: &Run| run.status.steps.iter().any(|step| step.retry_time.is_some());
    plane.until("r", "to be tried again", is_waiting).await;
    let plane = plane.crash_and_restart().await;
    none_without_a_permit(&plane);
    plane.phase("r", RunPhase::Succeeded).await;
    assert_eq!(plane.outside.effects(), ["again"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_while_it_asked_keeps_nothing() {
    let plane = shop(json!(1)).await;
    for number in 0..20 {
        let name = format!("r{number}");
        run(&plane, &name, "s-0").await;
        plane.ask(&name, "cancel", json!(true)).await;
    }
    for number in 0..20 {
        plane.ends(&format!("r{number}")).await;
    }
    until_permits(&plane, 0).await;
    run(&plane, "last", "s-1").await;
    plane.phase("last", RunPhase::Succeeded).await;
}

#[tokio::test(start_paused = true)]
async fn a_permit_goes_with_its_run_and_not_before() {
    let plane = shop(json!(1)).await;
    plane.outside.next("r", HOUR);
    run(&plane, "r", "s-0").await;
    until_permits(&plane, 1).await;
    // Whoever deletes it takes nothing back: the server may go at any moment.
    plane.delete(Permit::info(), "default", "r").await;
    run(&plane, "other", "s-1").await;
    plane.until("other", "waiting", waits).await;
    assert_eq!(permits(&plane.store).len(), 1);
    plane.delete(Run::info(), "default", "r").await;
    plane.phase("other", RunPhase::Succeeded).await;
    until_permits(&plane, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_rack_is_all_that_stands_in_it() {
    let plane = shop(json!(3)).await;
    plane.run("all", "{runbook: cut, target: {kind: Rack, name: r-0}}").await;
    let waiting = plane.until("all", "waiting", waits).await;
    let message = waiting.status.message.unwrap();
    assert!(
        message.ends_with(
            ": shop/web allows 3 of 4 down; 0 are; this would take 4 more; its owner is shop"
        ),
        "{message}"
    );
    plane
        .patch(Service::info(), "shop", "web", |service| {
            service["spec"]["disruptionBudget"] = json!({"minAvailable": 0});
        })
        .await;
    plane.phase("all", RunPhase::Succeeded).await;
}

#[tokio::test(start_paused = true)]
async fn a_freeze_holds_until_it_ends_or_is_lifted() {
    let plane = shop(json!(4)).await;
    let spec = json!({"reason": "year end", "end": "2026-11-02T09:30:00Z",
        "except": {"runbooks": ["cut"]}});
    plane.create(Freeze::info(), "", "year-end", json!({"spec": spec})).await;
    run(&plane, "r0", "s-0").await;
    let waiting = plane.until("r0", "waiting", waits).await;
    let message = waiting.status.message.unwrap();
    assert!(
        message.ends_with(": freeze year-end holds until 2026-11-02T09:30:00Z: year end"),
        "{message}"
    );
    plane.run("all", "{runbook: cut, target: {kind: Rack, name: r-0}}").await;
    plane.phase("all", RunPhase::Succeeded).await;
    plane.phase("r0", RunPhase::Succeeded).await;
    let took = plane.now().duration_since(crate::scenario::beginning()).as_secs();
    assert!((5400..5400 + 16).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_says_what_the_ledger_would_and_takes_nothing() {
    let plane = shop(json!(1)).await;
    instance_is(&plane, "web-3", "Failed").await;
    let spec =
        "{runbook: patch, target: {kind: Server, name: NAME}, params: {what: x}, dryRun: true}";
    for (name, server, wanted) in [
        ("blocked", "s-0", "which would have to wait now: shop/web allows 1 of 4 down"),
        ("free", "s-3", "which would be permitted now"),
    ] {
        plane.run(name, &spec.replace("NAME", server)).await;
        let run = plane.phase(name, RunPhase::Succeeded).await;
        let does = run.status.steps[1].does.clone().unwrap();
        assert!(does.contains(wanted), "{does}");
    }
    assert_eq!(permits(&plane.store), Vec::<Value>::new());
    assert_eq!(plane.outside.effects(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_can_be_cancelled_and_ends_at_its_deadline() {
    let plane = shop(json!(0)).await;
    run(&plane, "given-up", "s-0").await;
    plane.until("given-up", "waiting", waits).await;
    plane.ask("given-up", "cancel", json!(true)).await;
    plane.phase("given-up", RunPhase::Cancelled).await;
    run(&plane, "late", "s-0").await;
    plane.until("late", "waiting", waits).await;
    let failed = plane.phase("late", RunPhase::Failed).await;
    assert!(failed.status.message.unwrap().contains("its deadline"));
    assert!(!plane.outside.effects().iter().any(|what| what != "look"));
}

#[test]
fn nobody_but_the_ledger_gives_permits() {
    let outside = Arc::<crate::outside::Outside>::default();
    let actions = Arc::new(quarterdeck_engine::Actions::new(outside.catalog()));
    let rules = quarterdeck_engine::rules(&actions);
    let (_, rule) = rules.iter().find(|(kind, _)| *kind == Permit::info()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(async {
        let sqlite = quarterdeck_store::Sqlite::open(folder.path()).unwrap();
        Store::open(Arc::new(sqlite)).await.unwrap()
    });
    let permit = json!({"metadata": {"name": "r"}, "spec": {"runUID": "u"}});
    let errors = rule(&store.world(), &permit, None);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().starts_with("spec: Forbidden: permits are given by the ledger"));
    let labelled =
        json!({"metadata": {"name": "r", "labels": {"a": "b"}}, "spec": {"runUID": "u"}});
    assert!(rule(&store.world(), &labelled, Some(&permit)).is_empty());
}
