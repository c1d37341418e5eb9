//! What was wrong once in how runs and the ledger work together, told as it was seen. Each of these went wrong.

use crate::{
    ledger::{HOUR, instance_is, run, shop, until_permits, waits},
    scenario::Plane,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Instance, Machine, Permit, Run, RunPhase, Server, Service},
};
use quarterdeck_store::{Mutation, Precondition, Store, Write};
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the plane takes for what it does by itself, and shorter than any of the waits that were wrong.
const SOON: i64 = 60;

/// A server, which says that a machine has it.
async fn has(plane: &Plane, server: &str, machine: Option<&str>) {
    plane
        .patch(Server::info(), "", server, |object| {
            object["status"]["machineRef"] = machine.map_or(
                Value::Null,
                |name| json!({"namespace": "shop", "name": name, "uid": format!("{name}-uid")}),
            );
        })
        .await;
}

/// A machine of the shop that nothing happens to, as its class does not exist.
async fn machine(plane: &Plane, name: &str) {
    let object = json!({"spec": {"class": "none", "image": "none"}});
    plane.create(Machine::info(), "shop", name, object).await;
    // Its controller looks whether a server of that name's machine is of this one.
    let uid = format!("{name}-uid");
    plane.patch(Machine::info(), "shop", name, |it| it["metadata"]["uid"] = json!(uid)).await;
}

/// The instance of a service on a machine.
async fn instance(plane: &Plane, name: &str, service: &str, machine: &str) {
    let spec = json!({"service": service, "host": {"kind": "Machine", "name": machine}});
    let object = json!({"spec": spec, "status": {"phase": "Ready"}});
    plane.create(Instance::info(), "shop", name, object).await;
}

/// `shop/db`, none of whose instances may go.
async fn jealous(plane: &Plane) {
    let spec = json!({"owner": "shop", "disruptionBudget": {"maxUnavailable": 0}});
    plane.create(Service::info(), "shop", "db", json!({"spec": spec})).await;
}

#[tokio::test(start_paused = true)]
async fn what_ran_on_a_machine_that_lost_its_server_is_not_charged_to_the_next_one() {
    let plane = shop(json!("100%")).await;
    jealous(&plane).await;
    machine(&plane, "old").await;
    has(&plane, "s-0", Some("old")).await;
    instance(&plane, "db-0", "db", "old").await;
    // It says itself where it was, as one does that has lost its server.
    plane.patch(Machine::info(), "shop", "old", |it| it["status"]["server"] = json!("s-0")).await;
    run(&plane, "held", "s-0").await;
    plane.until("held", "waiting", waits).await;
    machine(&plane, "next").await;
    has(&plane, "s-0", Some("next")).await;
    plane.phase("held", RunPhase::Succeeded).await;
    // And what runs on the next one is.
    instance(&plane, "db-1", "db", "next").await;
    run(&plane, "again", "s-0").await;
    plane.until("again", "waiting", waits).await;
}

const REBOOT: &str = "
target: {kind: Machine}
steps: [{name: patch, action: disturb.it, with: {what: machine}, timeout: 3h}]
";

/// A run of a machine of the shop.
async fn reboot(plane: &Plane, name: &str, machine: &str) {
    let spec = json!({"runbook": "reboot", "target": {"kind": "Machine", "name": machine}});
    plane.create(Run::info(), "shop", name, json!({"spec": spec})).await;
}

fn says(plane: &Plane, name: &str) -> String {
    let run = plane.store.world().get(Run::info(), "shop", name).unwrap();
    run.decode::<Run>().unwrap().status.message.unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_what_runs_on_its_server_and_follows_it_to_another() {
    let plane = shop(json!(1)).await;
    plane.runbook("reboot", REBOOT).await;
    plane.outside.always("machine", HOUR);
    jealous(&plane).await;
    machine(&plane, "m").await;
    has(&plane, "s-0", Some("m")).await;
    instance(&plane, "db-0", "db", "m").await;
    reboot(&plane, "blocked", "m").await;
    let told = || says(&plane, "blocked").contains("shop/db allows 0 of 1 down").then_some(());
    plane.when(Run::info(), "the machine's run to wait", told).await;
    assert!(says(&plane, "blocked").contains("to disrupt Machine m since"));
    plane.delete(Instance::info(), "shop", "db-0").await;
    // The web instance on the server itself is lost with it, too: the one that may be.
    let given = until_permits(&plane, 1).await;
    assert_eq!(
        (&given[0]["status"]["servers"], &given[0]["status"]["instances"]),
        (&json!(1), &json!(1))
    );
    plane.outside.always("other", HOUR);
    run(&plane, "other", "s-1").await;
    plane.until("other", "waiting", waits).await;
    // The machine leaves the server: from now on nothing of that is taken, but what is on the new one.
    plane
        .patch(Service::info(), "shop", "web", |it| {
            it["spec"]["disruptionBudget"] = json!({"maxUnavailable": 2});
        })
        .await;
    until_permits(&plane, 2).await;
    instance_is(&plane, "web-0", "Ready").await;
    has(&plane, "s-0", None).await;
    has(&plane, "s-2", Some("m")).await;
    run(&plane, "left", "s-0").await;
    let waiting = plane.until("left", "waiting", waits).await.status.message.unwrap();
    assert!(waiting.contains("web-2 on s-2 (run shop/blocked may disrupt it"), "{waiting}");
    assert!(!waiting.contains("web-0"), "{waiting}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_that_is_changed_as_it_begins_ends() {
    let plane = shop(json!(1)).await;
    for number in 0..20 {
        let name = format!("dry-{number}");
        let spec =
            "{runbook: patch, target: {kind: Server, name: s-0}, params: {what: x}, dryRun: true}";
        plane.run(&name, spec).await;
        for change in 0..3 {
            plane
                .patch(Run::info(), "default", &name, |run| {
                    run["metadata"]["labels"] = json!({"change": change.to_string()});
                })
                .await;
        }
        plane.phase(&name, RunPhase::Succeeded).await;
    }
    let took = plane.now().duration_since(crate::scenario::beginning()).as_secs();
    assert!(took < SOON, "{took}");
}

/// Somebody else holds the ledger, for longer than any test takes, and does nothing.
async fn nobody_keeps_the_ledger(store: &Store) {
    let ttl = Duration::from_secs(1_000_000);
    let taken = async {
        while store.acquire_leases(&["engine".into()], "nobody", ttl).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), taken).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_ends_though_nobody_keeps_the_ledger() {
    let plane = shop(json!(1)).await.crash_and_restart_after(nobody_keeps_the_ledger).await;
    let spec =
        "{runbook: patch, target: {kind: Server, name: s-0}, params: {what: x}, dryRun: true}";
    plane.run("dry", spec).await;
    let dry = plane.phase("dry", RunPhase::Succeeded).await;
    let does = dry.status.steps[1].does.clone().unwrap();
    assert!(does.contains("the ledger has said nothing, as no replica keeps it now"), "{does}");
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_name_whose_earlier_permit_is_still_there_gets_its_own() {
    let plane = shop(json!(1)).await;
    for _ in 0..10 {
        let began = plane.now();
        plane.outside.next("r", HOUR);
        run(&plane, "r", "s-0").await;
        until_permits(&plane, 1).await;
        plane.delete(Run::info(), "default", "r").await;
        plane.gone("r").await;
        run(&plane, "r", "s-0").await;
        plane.phase("r", RunPhase::Succeeded).await;
        let took = plane.now().duration_since(began).as_secs();
        assert!(took < SOON, "{took}");
        plane.delete(Run::info(), "default", "r").await;
        plane.gone("r").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_ask_is_not_forgotten_at_a_retry() {
    let plane = shop(json!(0)).await;
    for number in 0..10 {
        let name = format!("r-{number}");
        run(&plane, &name, "s-0").await;
        plane.until(&name, "waiting", waits).await;
        plane.ask(&name, "cancel", json!(true)).await;
        plane.phase(&name, RunPhase::Cancelled).await;
        // It goes on before its permit is taken back.
        plane
            .patch(Run::info(), "default", &name, |run| {
                run["spec"]["cancel"] = json!(false);
                run["spec"]["retry"] = json!({"from": "patch", "number": 1});
            })
            .await;
        plane.until(&name, "waiting again", waits).await;
        let began = plane.now();
        let budget = |most: u32| {
            move |it: &mut Value| it["spec"]["disruptionBudget"] = json!({"maxUnavailable": most})
        };
        plane.patch(Service::info(), "shop", "web", budget(1)).await;
        plane.phase(&name, RunPhase::Succeeded).await;
        let took = plane.now().duration_since(began).as_secs();
        assert!(took < SOON, "{took}");
        plane.patch(Service::info(), "shop", "web", budget(0)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_only_speaks_of_links_is_left_alone() {
    let plane = shop(json!(1)).await;
    let key = |key: &quarterdeck_model::Key| &*key.name == "web-0";
    plane
        .patch(Instance::info(), "shop", "web-0", |it| {
            it["metadata"]["annotations"] = json!({"note": "its LinksFound was looked at"});
        })
        .await;
    let before = plane.disk.versions(key).len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(plane.disk.versions(key).len(), before);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_as_it_goes_on_does_not_wait_for_the_ledger() {
    let plane = shop(json!(1)).await;
    plane.outside.always("r", HOUR);
    run(&plane, "r", "s-0").await;
    plane.outside.called("r", 1).await;
    let plane = plane
        .crash_and_restart_after(async |store| {
            nobody_keeps_the_ledger(store).await;
            // Its permit is lost, and nobody gives it another.
            let permit = store.world().get(Permit::info(), "default", "r").unwrap();
            let (key, precondition) = (permit.key.clone(), Precondition::At(permit.revision));
            let gone = Mutation { key, write: Write::Delete, precondition, fence: None };
            store.commit(vec![gone]).await.unwrap();
        })
        .await;
    let asks = || plane.store.world().get(Permit::info(), "default", "r");
    plane.when(Permit::info(), "the run to ask anew", asks).await;
    plane.ask("r", "cancel", json!(true)).await;
    plane.phase("r", RunPhase::Cancelled).await;
    assert_eq!(plane.outside.calls("r").len(), 1, "it was not begun again");
}
