//! Servers that are ready are looked at again: how often, what is written of it, and when one is lost.

use crate::{outside::Behaviour, scenario::Plane};
use quarterdeck_model::{
    FieldSelector, Kind as _, LabelSelector, Revision,
    kinds::{Event, RunPhase, Server},
};
use quarterdeck_store::ListQuery;
use serde_json::{Value, json};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const LOOK: &str = "refresh m";

/// A plane with a server in that phase, and nothing more to write about it.
async fn plane_with(phase: &str) -> Plane {
    plane_where(json!({"phase": phase, "powerState": "Off"})).await
}

async fn plane_where(status: Value) -> Plane {
    let plane = Plane::new().await;
    let spec = json!({"bmc": {"address": "192.0.2.1"}});
    let server = json!({"spec": spec, "status": status});
    plane.create(Server::info(), "", "m", server).await;
    plane.when(Server::info(), "the server to be looked at", || condition(&plane, "Ready")).await;
    plane
}

fn status(plane: &Plane) -> Value {
    plane.store.world().get(Server::info(), "", "m").unwrap().value()["status"].clone()
}

fn condition(plane: &Plane, name: &str) -> Option<Value> {
    let status = status(plane);
    status["conditions"].as_array()?.iter().find(|found| found["type"] == name).cloned()
}

fn written_at(plane: &Plane) -> Revision {
    plane.store.world().get(Server::info(), "", "m").unwrap().revision
}

fn looks(plane: &Plane) -> usize {
    plane.outside.calls(LOOK).len()
}

#[tokio::test(start_paused = true)]
async fn a_ready_server_is_looked_at_each_hour_and_only_what_changed_is_written() {
    let plane = plane_with("Ready").await;
    plane.outside.always(LOOK, Behaviour::Sees(json!({"powerState": "Off"})));
    let (before, told) = (written_at(&plane), plane.store.world().count(Event::info()));
    // Somewhere in the first hour, by its name, so that a fleet is not looked at all at once.
    tokio::time::sleep(HOUR).await;
    assert_eq!(looks(&plane), 1);
    tokio::time::sleep(4 * HOUR).await;
    assert_eq!(looks(&plane), 5);
    assert_eq!(written_at(&plane), before, "nothing had changed");
    plane.outside.next(LOOK, Behaviour::Sees(json!({"powerState": "On"})));
    tokio::time::sleep(HOUR).await;
    assert_eq!((looks(&plane), &status(&plane)["powerState"]), (6, &json!("On")));
    assert_eq!(plane.store.world().count(Event::info()), told, "a look is no event");
    // A restart spreads the looks over a whole interval again.
    let plane = plane.crash_and_restart().await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(looks(&plane), 7);
    plane.delete(Server::info(), "", "m").await;
    tokio::time::sleep(4 * HOUR).await;
    assert_eq!(looks(&plane), 7, "it is gone");
}

/// Found by the test of the whole plane: it was not looked at again, so that nobody saw that it had been mended.
#[tokio::test(start_paused = true)]
async fn a_server_that_was_inspected_and_lacks_something_is_looked_at_too() {
    let found = json!({"cpus": 8});
    let plane = plane_where(json!({"phase": "Inspecting", "inventory": found})).await;
    plane.outside.always(LOOK, Behaviour::Sees(json!({"inventory": {"cpus": 16}})));
    plane
        .when(Server::info(), "what was put in to be seen", || {
            (status(&plane)["inventory"]["cpus"] == 16).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_is_lost_after_three_looks_in_a_row_and_found_by_one() {
    let plane = plane_with("InUse").await;
    // A BMC that restarts is away for two of them.
    for _ in 0..2 {
        plane.outside.next(LOOK, Behaviour::Fails);
    }
    plane.outside.called(LOOK, 3).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(condition(&plane, "Reachable"), None);

    plane.outside.always(LOOK, Behaviour::Fails);
    plane.outside.called(LOOK, 5).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(condition(&plane, "Reachable"), None, "two of them failed");
    plane.outside.called(LOOK, 6).await;
    let lost = plane
        .when(Server::info(), "the server to be lost", || condition(&plane, "Reachable"))
        .await;
    assert_eq!((&lost["status"], &lost["reason"]), (&json!("False"), &json!("Unreachable")));
    assert_eq!(lost["message"], "nobody answers");
    let since: jiff::Timestamp = lost["lastTransitionTime"].as_str().unwrap().parse().unwrap();
    assert!(
        plane.now().duration_since(since).as_secs().abs() < 60,
        "by the plane's clock: {since}"
    );
    // Tried again after a minute, two, four, eight, then every ten; and the sentence is written once.
    let (before, at) = (looks(&plane), written_at(&plane));
    tokio::time::sleep(Duration::from_secs(240 + 480 + 600 + 300)).await;
    assert_eq!(looks(&plane) - before, 3);
    assert_eq!(written_at(&plane), at);

    plane.outside.always(LOOK, Behaviour::Sees(json!({"powerState": "On"})));
    let found = || {
        let found = condition(&plane, "Reachable").is_none();
        (found && status(&plane)["powerState"] == "On").then_some(())
    };
    plane.when(Server::info(), "the server to be found", found).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_is_left_alone_while_a_run_acts_on_it_or_is_still_to_inspect_it() {
    let plane = plane_with("Ready").await;
    plane.runbook("slow", "{target: {kind: Server}, steps: [{name: a, action: do.it, with: {what: x}, timeout: 9h}]}").await;
    plane.outside.next("x", Behaviour::Takes(5 * HOUR));
    plane.run("r", "{runbook: slow, target: {kind: Server, name: m}}").await;
    let acts = || (status(&plane)["currentRun"] == "default/r").then_some(());
    plane.when(Server::info(), "the run to act on the server", acts).await;
    tokio::time::sleep(4 * HOUR).await;
    assert_eq!(looks(&plane), 0);
    plane.phase("r", RunPhase::Succeeded).await;
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(looks(&plane), 1, "soon after");

    for phase in ["Registered", "Inspecting", "Retired"] {
        let plane = Plane::new().await;
        let spec = json!({"bmc": {"address": "192.0.2.1"}});
        let server = json!({"spec": spec, "status": {"phase": phase}});
        plane.create(Server::info(), "", "m", server).await;
        tokio::time::sleep(3 * HOUR).await;
        assert_eq!(looks(&plane), 0, "{phase}");
    }
}

/// More are declared at once than are inspected at once: each has its turn when another is done, and not when it
/// happens to look again.
#[tokio::test(start_paused = true)]
async fn servers_that_find_no_room_have_their_turn_as_others_end() {
    const SERVERS: usize = 1_300;
    let plane = Plane::new().await;
    plane
        .runbook(
            "inspect-server",
            "{target: {kind: Server}, steps: [{name: inventory, action: inventory.refresh}]}",
        )
        .await;
    for number in 0..SERVERS {
        let name = format!("s-{number}");
        plane.outside.always(&format!("refresh {name}"), Behaviour::Takes(Duration::from_secs(10)));
        plane.server(&name).await;
    }
    let ready = FieldSelector::parse("status.phase=Ready").unwrap();
    plane
        .when(Server::info(), "all to be ready", || {
            let world = plane.store.world();
            let found = world.list(&ListQuery {
                kind: Server::info(),
                namespace: None,
                labels: &LabelSelector::default(),
                fields: &ready,
                after: None,
                limit: None,
            });
            (found.items.len() == SERVERS).then_some(())
        })
        .await;
    let took = plane.now().duration_since(crate::scenario::beginning()).as_secs();
    assert!(took <= 40, "three times ten seconds: {took}");
}

/// What a plane remembers of servers that were another's meanwhile must not keep it from looking at them again.
#[tokio::test(start_paused = true)]
async fn servers_that_come_back_from_another_plane_are_looked_at_again() {
    let first = Plane::sharing().await;
    first.shared_by(1).await;
    let servers: Vec<String> = (0..32).map(|number| format!("s{number}")).collect();
    for name in &servers {
        let spec = json!({"bmc": {"address": "192.0.2.1"}});
        let server = json!({"spec": spec, "status": {"phase": "InUse", "powerState": "Off"}});
        first.create(Server::info(), "", name, server).await;
    }
    let looks = |plane: &Plane| -> Vec<usize> {
        servers.iter().map(|name| plane.outside.calls(&format!("refresh {name}")).len()).collect()
    };
    tokio::time::sleep(HOUR).await;
    assert!(looks(&first).iter().all(|count| *count == 1), "{:?}", looks(&first));
    let second = first.another_elsewhere().await;
    first.shared_by(2).await;
    tokio::time::sleep(2 * HOUR).await;
    let theirs = looks(&second);
    let moved = theirs.iter().filter(|count| **count > 0).count();
    assert!((8..=24).contains(&moved), "{theirs:?}");
    let before = looks(&first);
    second.stop().await;
    first.shared_by(1).await;
    tokio::time::sleep(HOUR + MINUTE).await;
    for (place, (before, after)) in before.iter().zip(looks(&first)).enumerate() {
        assert!(after > *before, "server {place}, looked at {} times by the other", theirs[place]);
    }
}
