//! The lives of machines on a simulated fleet, under the real engine with the shipped runbooks: installed, installed
//! anew, wiped; and where each is left when that does not go well.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod support;

use quarterdeck_model::{
    Kind as _, condition,
    kinds::{Instance, Machine, MachinePhase, Runbook, Server, ServerPhase, Service},
};
use quarterdeck_sim::Fault;
use quarterdeck_store::{Mutation, Outcome, Precondition, Write};
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};
use support::{
    people::{change, class, ready, run_of},
    plane::{DEADLINE, Plane, created},
};

const OLD: &str = "debian-12-20260801";
const NEW: &str = "debian-12-20261101";

async fn create(plane: &Plane, name: &str, spec: Value) {
    let machine = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    let outcomes = plane.store.commit(vec![created(Machine::info(), &machine)]).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Committed(_)), "{outcomes:?}");
}

async fn delete(plane: &Plane, name: &str) {
    change(plane, Machine::info(), ("shop", name), |machine| {
        machine["metadata"]["deletionTimestamp"] = json!("2026-11-02T09:00:00Z");
    })
    .await;
}

fn see(plane: &Plane, name: &str) -> Option<Machine> {
    let object = plane.store.world().get(Machine::info(), "shop", name)?;
    Some(object.decode().unwrap())
}

fn server(plane: &Plane, name: &str) -> Server {
    plane.store.world().get(Server::info(), "", name).unwrap().decode().unwrap()
}

/// What a machine says of itself.
fn says(machine: &Machine) -> (String, String) {
    let ready = condition::find(&machine.status.conditions, "Ready");
    ready.map(|ready| (ready.reason.clone(), ready.message.clone())).unwrap_or_default()
}

/// Waits until a machine is in a phase, for that reason.
async fn until(plane: &Plane, name: &str, phase: MachinePhase, reason: &str) -> Machine {
    let what = format!("machine {name} to be {phase:?}: {reason}");
    wait_for(DEADLINE, &what, async || {
        let machine = see(plane, name).ok_or("gone")?;
        let fits = machine.status.phase == phase && says(&machine).0 == reason;
        if fits { Ok(machine) } else { Err(format!("{:?}", machine.status)) }
    })
    .await
}

async fn gone(plane: &Plane, name: &str) {
    wait_for(DEADLINE, &format!("machine {name} to be gone"), async || match see(plane, name) {
        None => Ok(()),
        Some(machine) => Err(format!("{:?}", machine.status)),
    })
    .await;
}

/// Runbooks that wait no longer for a host than a test does.
async fn impatient(plane: &Plane) {
    change(plane, Runbook::info(), ("", "provision-server"), |runbook| {
        let steps = runbook["spec"]["steps"].as_array_mut().unwrap();
        let step = steps.iter_mut().find(|step| step["name"] == "installed").unwrap();
        step["timeout"] = json!("3s");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_installed_installed_anew_and_wiped() {
    let plane = ready(4).await;
    let class = class(&plane, 0);
    create(&plane, "web-1", json!({"class": class, "image": OLD})).await;
    let machine = until(&plane, "web-1", MachinePhase::Running, "Running").await;
    let name = machine.status.server.clone().unwrap();
    let on = server(&plane, &name);
    assert_eq!(on.status.phase, ServerPhase::InUse);
    assert_eq!(on.status.machine_ref.unwrap().uid, machine.metadata.uid);
    assert_eq!(machine.status.image.as_deref(), Some(OLD));
    assert_eq!(machine.status.address, on.spec.host_address);
    assert_eq!(machine.status.current_run, None);

    // Two more get two others; a fifth waits until one is free.
    for other in ["web-2", "web-3", "web-4"] {
        create(&plane, other, json!({"class": class, "image": OLD})).await;
    }
    for other in ["web-2", "web-3", "web-4"] {
        until(&plane, other, MachinePhase::Running, "Running").await;
    }
    create(&plane, "web-5", json!({"class": class, "image": OLD})).await;
    let waits = until(&plane, "web-5", MachinePhase::Pending, "NoServer").await;
    assert!(says(&waits).1.contains("No server of class"), "{:?}", says(&waits));
    let mut taken: Vec<String> = ["web-1", "web-2", "web-3", "web-4"]
        .map(|name| see(&plane, name).unwrap().status.server.unwrap())
        .into();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 4, "no two machines on one server");

    change(&plane, Machine::info(), ("shop", "web-1"), |machine| {
        machine["spec"]["image"] = json!(NEW);
    })
    .await;
    wait_for(DEADLINE, "the new image", async || {
        let machine = see(&plane, "web-1").unwrap();
        let done = machine.status.phase == MachinePhase::Running
            && machine.status.image.as_deref() == Some(NEW);
        if done { Ok(()) } else { Err(format!("{:?}", machine.status)) }
    })
    .await;
    assert_eq!(see(&plane, "web-1").unwrap().status.server.as_ref(), Some(&name), "it stays");

    delete(&plane, "web-1").await;
    gone(&plane, "web-1").await;
    // Whoever waits gets what was freed.
    let next = until(&plane, "web-5", MachinePhase::Running, "Running").await;
    assert_eq!(next.status.server.as_ref(), Some(&name));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_installed_is_quarantined_and_another_is_taken() {
    let plane = ready(2).await;
    impatient(&plane).await;
    let class = class(&plane, 0);
    let bad = &plane.servers[0].metadata.name;
    // The machine asks for the one server first, so that it is the one.
    plane.simulation.force(plane.address(0), Fault::DeadHost);
    let placement = json!({"server": bad});
    create(&plane, "pinned", json!({"class": class, "image": OLD, "placement": placement})).await;
    wait_for(DEADLINE, "the server to be quarantined", async || {
        let server = server(&plane, bad);
        if server.status.phase == ServerPhase::Quarantined && server.status.machine_ref.is_none() {
            return Ok(());
        }
        Err(format!("{:?}", server.status))
    })
    .await;
    let pinned = until(&plane, "pinned", MachinePhase::Pending, "NoServer").await;
    assert_eq!(pinned.status.failed_servers, std::slice::from_ref(bad));
    assert!(says(&pinned).1.contains("is Quarantined"), "{:?}", says(&pinned));
    delete(&plane, "pinned").await;
    gone(&plane, "pinned").await;
    create(&plane, "free", json!({"class": class, "image": OLD})).await;
    let free = until(&plane, "free", MachinePhase::Running, "Running").await;
    assert_ne!(free.status.server.as_ref(), Some(bad));
    // Mended and wiped, it comes back: what was written to its disks may be somebody's.
    plane.simulation.heal(plane.address(0));
    assert!(server(&plane, bad).status.disks_may_hold_data);
    run_of(&plane, "back", "clean-server", json!({}), bad).await;
    let back = server(&plane, bad).status;
    assert_eq!((back.phase, back.disks_may_hold_data), (ServerPhase::Ready, false));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_needs_and_is_not_there_is_said() {
    let plane = ready(1).await;
    let class = class(&plane, 0);
    create(&plane, "a", json!({"class": "none", "image": OLD})).await;
    until(&plane, "a", MachinePhase::Pending, "ClassNotFound").await;
    create(&plane, "b", json!({"class": class, "image": "none"})).await;
    until(&plane, "b", MachinePhase::Pending, "ImageNotFound").await;
    let raw = json!({"metadata": {"name": "raw"}, "spec": {
        "url": "https://images.example.com/a", "checksum": format!("sha256:{}", "0".repeat(64)), "format": "Raw",
    }});
    let raw = created(quarterdeck_model::kinds::Image::info(), &raw);
    plane.store.commit(vec![raw]).await.unwrap();
    create(&plane, "c", json!({"class": class, "image": "raw"})).await;
    until(&plane, "c", MachinePhase::Pending, "ImageFormat").await;
    for (name, placement) in [
        ("d", json!({"server": "none"})),
        ("e", json!({"rack": "none"})),
        ("f", json!({"site": "none"})),
    ] {
        create(&plane, name, json!({"class": class, "image": OLD, "placement": placement})).await;
        until(&plane, name, MachinePhase::Pending, "NoServer").await;
    }
    // What comes later is waited for.
    let image = json!({"metadata": {"name": "none"}, "spec": {
        "url": "https://images.example.com/a.iso", "checksum": format!("sha256:{}", "0".repeat(64)), "format": "Iso",
    }});
    let image = created(quarterdeck_model::kinds::Image::info(), &image);
    plane.store.commit(vec![image]).await.unwrap();
    until(&plane, "b", MachinePhase::Running, "Running").await;
    for name in ["a", "c", "d", "e", "f"] {
        delete(&plane, name).await;
        gone(&plane, name).await;
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_carries_a_service_is_wiped_when_the_ledger_lets_it() {
    let plane = ready(2).await;
    let class = class(&plane, 0);
    for name in ["web-1", "web-2"] {
        create(&plane, name, json!({"class": class, "image": OLD})).await;
        until(&plane, name, MachinePhase::Running, "Running").await;
    }
    let budget = json!({"disruptionBudget": {"maxUnavailable": 1}});
    let service = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": budget});
    let mut mutations = vec![created(Service::info(), &service)];
    let instance = |name: &str, phase: &str| {
        json!({"metadata": {"name": format!("{name}-a"), "namespace": "shop"},
               "spec": {"service": "web", "host": {"kind": "Machine", "name": name}},
               "status": {"phase": phase}})
    };
    // One of the two has failed by itself, so the other may not go.
    mutations.push(created(Instance::info(), &instance("web-1", "Ready")));
    mutations.push(created(Instance::info(), &instance("web-2", "Failed")));
    plane.store.commit(mutations).await.unwrap();
    delete(&plane, "web-1").await;
    wait_for(DEADLINE, "the machine to say who blocks", async || {
        let machine = see(&plane, "web-1").ok_or("gone")?;
        let says = says(&machine).1;
        let told = machine.status.phase == MachinePhase::Draining && says.contains("shop/web");
        if told { Ok(()) } else { Err(says) }
    })
    .await;
    change(&plane, Instance::info(), ("shop", "web-2-a"), |instance| {
        instance["status"]["phase"] = json!("Ready");
    })
    .await;
    gone(&plane, "web-1").await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_taken_away_is_missed_and_the_machine_can_go() {
    let plane = ready(1).await;
    let class = class(&plane, 0);
    create(&plane, "web-1", json!({"class": class, "image": OLD})).await;
    let machine = until(&plane, "web-1", MachinePhase::Running, "Running").await;
    let name = machine.status.server.unwrap();
    run_of(&plane, "quarantine", "quarantine-server", json!({"message": "It smells."}), &name)
        .await;
    let waits = until(&plane, "web-1", MachinePhase::Failed, "ServerOutOfService").await;
    assert!(says(&waits).1.contains("It smells."), "{:?}", says(&waits));
    run_of(&plane, "back", "return-server", json!({}), &name).await;
    until(&plane, "web-1", MachinePhase::Running, "Running").await;
    run_of(&plane, "detach", "detach-server", json!({}), &name).await;
    until(&plane, "web-1", MachinePhase::Failed, "ServerLost").await;
    delete(&plane, "web-1").await;
    gone(&plane, "web-1").await;
    assert_eq!(server(&plane, &name).status.phase, ServerPhase::Quarantined);
    run_of(&plane, "clean", "clean-server", json!({}), &name).await;
    assert_eq!(server(&plane, &name).status.phase, ServerPhase::Ready);
    run_of(&plane, "retire", "retire-server", json!({}), &name).await;
    assert_eq!(server(&plane, &name).status.phase, ServerPhase::Retired);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_vanishes_leaves_no_server_behind() {
    let plane = ready(1).await;
    let class = class(&plane, 0);
    create(&plane, "web-1", json!({"class": class, "image": OLD})).await;
    let machine = until(&plane, "web-1", MachinePhase::Running, "Running").await;
    let name = machine.status.server.unwrap();
    // Somebody takes its finalizer off as it goes, and with that all that would have wiped the server.
    loop {
        let object =
            plane.store.fresh().await.unwrap().get(Machine::info(), "shop", "web-1").unwrap();
        let precondition = Precondition::At(object.revision);
        let gone =
            Mutation { key: object.key.clone(), write: Write::Delete, precondition, fence: None };
        if matches!(plane.store.commit(vec![gone]).await.unwrap()[0], Outcome::Committed(_)) {
            break;
        }
    }
    wait_for(DEADLINE, "the server to be quarantined", async || {
        let status = server(&plane, &name).status;
        let left = status.phase == ServerPhase::Quarantined && status.machine_ref.is_none();
        if left { Ok(()) } else { Err(format!("{:?}", status.phase)) }
    })
    .await;
    assert!(server(&plane, &name).status.disks_may_hold_data);
    plane.stop().await;
}

/// A machine of a team, made by hand of what it is to be.
async fn create_in(plane: &Plane, namespace: &str, name: &str, spec: Value) {
    let machine = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec});
    let outcomes = plane.store.commit(vec![created(Machine::info(), &machine)]).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Committed(_)), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_goes_over_to_another_team_with_all_that_is_on_it() {
    let plane = ready(1).await;
    let class = class(&plane, 0);
    let namespace = json!({"metadata": {"name": "bank"}, "spec": {}});
    plane
        .store
        .commit(vec![created(quarterdeck_model::kinds::Namespace::info(), &namespace)])
        .await
        .unwrap();
    create(&plane, "web-1", json!({"class": class, "image": OLD})).await;
    let before = until(&plane, "web-1", MachinePhase::Running, "Running").await;
    let name = before.status.server.clone().unwrap();
    let effects = plane.simulation.effects(plane.address(0));
    // Whoever takes what is not offered waits, and has nothing.
    let from = json!({"namespace": "shop", "name": "web-1"});
    create_in(&plane, "bank", "vault", json!({"class": class, "image": OLD, "transferFrom": from}))
        .await;
    let taker = || -> Machine {
        plane.store.world().get(Machine::info(), "bank", "vault").unwrap().decode().unwrap()
    };
    wait_for(DEADLINE, "it to say what is missing", async || {
        let (reason, message) = says(&taker());
        if reason == "TransferNotOffered" { Ok(()) } else { Err(message) }
    })
    .await;
    assert_eq!(server(&plane, &name).status.machine_ref.unwrap().uid, before.metadata.uid);
    change(&plane, Machine::info(), ("shop", "web-1"), |machine| {
        machine["spec"]["transferTo"] = json!({"namespace": "bank", "name": "vault"});
    })
    .await;
    wait_for(DEADLINE, "the other team to have it", async || {
        let now = taker();
        let has = now.status.phase == MachinePhase::Running && says(&now).0 == "Running";
        if has { Ok(()) } else { Err(format!("{:?}", now.status)) }
    })
    .await;
    gone(&plane, "web-1").await;
    let after = taker();
    assert_eq!(after.status.server.as_ref(), Some(&name));
    assert_eq!(after.status.image.as_deref(), Some(OLD));
    let on = server(&plane, &name);
    assert_eq!(on.status.machine_ref.unwrap().uid, after.metadata.uid);
    assert_eq!(on.status.phase, ServerPhase::InUse);
    assert_eq!(plane.simulation.effects(plane.address(0)), effects, "nothing was done to it");
    plane.stop().await;
}

/// What admission says to a machine of another class.
fn resized(plane: &Plane, name: &str, class: &str) -> String {
    let actions = quarterdeck_engine::Actions::new(quarterdeck_providers::Catalog::new());
    let rules = quarterdeck_engine::rules(&std::sync::Arc::new(actions));
    let (_, rule) = rules.iter().find(|(kind, _)| *kind == Machine::info()).unwrap();
    let old = plane.store.world().get(Machine::info(), "shop", name).unwrap().value();
    let mut new = old.clone();
    new["spec"]["class"] = json!(class);
    let errors = rule(&plane.store.world(), &new, Some(&old));
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_becomes_of_another_class_if_its_server_is_of_that_too() {
    let plane = ready(1).await;
    let small = class(&plane, 0);
    let labels = json!({"matchLabels": {"hardware": small}});
    let huge = json!({"cpus": 4_000});
    for (name, spec) in [
        ("same", json!({"servers": labels})),
        ("other", json!({"servers": {"matchLabels": {"hardware": "other"}}})),
        ("huge", json!({"servers": labels, "minimum": huge})),
        ("elsewhere", json!({"servers": labels, "providers": ["nowhere"]})),
    ] {
        let class = json!({"metadata": {"name": name}, "spec": spec});
        let class = created(quarterdeck_model::kinds::MachineClass::info(), &class);
        plane.store.commit(vec![class]).await.unwrap();
    }
    create(&plane, "waits", json!({"class": "other", "image": OLD})).await;
    create(&plane, "web-1", json!({"class": small, "image": OLD})).await;
    let before = until(&plane, "web-1", MachinePhase::Running, "Running").await;
    let server = before.status.server.clone().unwrap();
    for (class, says) in [
        ("same", String::new()),
        ("other", format!("Server {server}, which it is on, is not of class other, by its labels")),
        ("huge", format!("Server {server}, which it is on, has less than the class asks for")),
        ("elsewhere", "is in no Site of a provider of class elsewhere".into()),
        ("none", "there is no such MachineClass".into()),
    ] {
        let told = resized(&plane, "web-1", class);
        assert!(told.contains(&says) && told.is_empty() == says.is_empty(), "{class}: {told}");
    }
    let told = resized(&plane, "waits", "same");
    assert!(told.contains("it has no server yet"), "{told}");
    let effects = plane.simulation.effects(plane.address(0));
    change(&plane, Machine::info(), ("shop", "web-1"), |machine| {
        machine["spec"]["class"] = json!("same");
    })
    .await;
    wait_for(DEADLINE, "that to be seen", async || {
        let machine = see(&plane, "web-1").unwrap();
        let seen = machine.status.observed_generation == machine.metadata.generation;
        if seen { Ok(()) } else { Err("not yet") }
    })
    .await;
    assert_eq!(see(&plane, "web-1").unwrap().status.phase, MachinePhase::Running);
    assert_eq!(plane.simulation.effects(plane.address(0)), effects, "nothing was done to it");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_could_not_be_wiped_is_wiped_once_it_is_returned() {
    let plane = ready(1).await;
    let class = class(&plane, 0);
    create(&plane, "web-1", json!({"class": class, "image": OLD})).await;
    let machine = until(&plane, "web-1", MachinePhase::Running, "Running").await;
    let name = machine.status.server.unwrap();
    change(&plane, Runbook::info(), ("", "clean-server"), |runbook| {
        let steps = runbook["spec"]["steps"].as_array_mut().unwrap();
        let step = steps.iter_mut().find(|step| step["name"] == "erase").unwrap();
        step["timeout"] = json!("1ms");
        step.as_object_mut().unwrap().remove("retry");
    })
    .await;
    delete(&plane, "web-1").await;
    let stuck = until(&plane, "web-1", MachinePhase::Failed, "RunFailed").await;
    assert!(says(&stuck).1.contains("run return-server on it"), "{:?}", says(&stuck));
    assert_eq!(server(&plane, &name).status.phase, ServerPhase::Quarantined);
    change(&plane, Runbook::info(), ("", "clean-server"), |runbook| {
        let steps = runbook["spec"]["steps"].as_array_mut().unwrap();
        let step = steps.iter_mut().find(|step| step["name"] == "erase").unwrap();
        step["timeout"] = json!("5m");
    })
    .await;
    run_of(&plane, "back", "return-server", json!({}), &name).await;
    gone(&plane, "web-1").await;
    let back = server(&plane, &name).status;
    assert_eq!((back.phase, back.disks_may_hold_data), (ServerPhase::Ready, false));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_installation_was_deleted_tries_another_server() {
    let plane = ready(2).await;
    let class = class(&plane, 0);
    let first = plane.servers[0].metadata.name.clone();
    // The host of it never answers, so that there is time to delete the run.
    plane.simulation.force(plane.address(0), Fault::DeadHost);
    let placement = json!({"server": first});
    create(&plane, "web-1", json!({"class": class, "image": OLD, "placement": placement})).await;
    let run = wait_for(DEADLINE, "the installation to be under way", async || {
        let machine = see(&plane, "web-1").ok_or("gone")?;
        let seen = machine.status.current_run_uid.is_some();
        machine.status.current_run.filter(|_| seen).ok_or("none")
    })
    .await;
    let (namespace, name) = run.split_once('/').unwrap();
    change(&plane, quarterdeck_model::kinds::Run::info(), (namespace, name), |run| {
        run["metadata"]["deletionTimestamp"] = json!("2026-11-02T09:00:00Z");
    })
    .await;
    let waits = until(&plane, "web-1", MachinePhase::Pending, "NoServer").await;
    assert_eq!(waits.status.failed_servers, [first]);
    plane.stop().await;
}
