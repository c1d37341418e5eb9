//! The lives of pools of machines on a simulated fleet, under the real engine with the shipped runbooks: spread,
//! scaled, updated, mended, and gone with all their machines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod support;

use quarterdeck_model::{
    Kind as _, Object, condition,
    kinds::{
        Image, Machine, MachinePool, MachinePoolPhase, Rack, ResourceQuota, Server, ServerPhase,
    },
};
use quarterdeck_store::{Mutation, Outcome, Precondition, Write};
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use support::{
    people::{change, class, ready, run_of},
    plane::{DEADLINE, Plane, created},
};

const OLD: &str = "debian-12-20260801";
const NEW: &str = "debian-12-20261101";

/// A plane whose servers stand in so many racks of one site, one after the other.
async fn in_racks(servers: u32, racks: usize) -> Plane {
    let plane = ready(servers).await;
    let rack = plane.servers[0].spec.location.clone().unwrap().rack;
    let rack = plane.store.world().get(Rack::info(), "", &rack).unwrap().value();
    for number in 0..racks {
        let rack = json!({"metadata": {"name": format!("rack-{number}")}, "spec": rack["spec"]});
        plane.store.commit(vec![created(Rack::info(), &rack)]).await.unwrap();
    }
    for (number, server) in plane.servers.iter().enumerate() {
        change(&plane, Server::info(), ("", &server.metadata.name), |server| {
            server["spec"]["location"] = json!({"rack": format!("rack-{}", number % racks)});
        })
        .await;
    }
    plane
}

async fn create(plane: &Plane, replicas: u32, image: &str, more: Value) {
    let template = json!({"spec": {"class": class(plane, 0), "image": image}});
    let mut spec = json!({"replicas": replicas, "template": template});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let pool = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
    let outcomes = plane.store.commit(vec![created(MachinePool::info(), &pool)]).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Committed(_)), "{outcomes:?}");
}

async fn set(plane: &Plane, path: &str, value: Value) {
    let (parent, last) = path.rsplit_once('/').unwrap();
    change(plane, MachinePool::info(), ("shop", "web"), |pool| {
        pool.pointer_mut(parent).unwrap()[last] = value.clone();
    })
    .await;
}

fn object(plane: &Plane) -> Arc<Object> {
    plane.store.world().get(MachinePool::info(), "shop", "web").unwrap()
}

fn see(plane: &Plane) -> MachinePool {
    object(plane).decode().unwrap()
}

fn machines(plane: &Plane) -> Vec<Machine> {
    plane.store.world().all(Machine::info()).map(|machine| machine.decode().unwrap()).collect()
}

fn rack_of(plane: &Plane, machine: &Machine) -> String {
    let server = machine.status.server.as_deref().unwrap();
    let server = plane.store.world().get(Server::info(), "", server).unwrap();
    server.field("spec.location.rack").unwrap().to_owned()
}

/// How many machines each rack has.
fn racks(plane: &Plane) -> BTreeMap<String, usize> {
    let mut racks = BTreeMap::new();
    for machine in machines(plane) {
        *racks.entry(rack_of(plane, &machine)).or_default() += 1;
    }
    racks
}

/// Waits until all is as it should be, seeing meanwhile that there are never more machines nor fewer available.
async fn stable(plane: &Plane, most: usize, least: u32) -> MachinePool {
    wait_for(DEADLINE, "the pool to be stable", async || {
        let live =
            machines(plane).iter().filter(|it| it.metadata.deletion_timestamp.is_none()).count();
        let pool = see(plane);
        assert!(live <= most, "{live} machines");
        let status = &pool.status;
        assert!(status.available_replicas >= least, "{status:?}");
        let all = status.observed_generation == pool.metadata.generation
            && status.phase == MachinePoolPhase::Stable
            && status.replicas == pool.spec.replicas
            && machines(plane).len() == live;
        if all { Ok(pool) } else { Err(format!("{status:?}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_spread_scaled_updated_mended_and_removed() {
    let plane = in_racks(7, 3).await;
    create(&plane, 3, OLD, json!({})).await;
    let pool = stable(&plane, 3, 0).await;
    assert_eq!((pool.status.ready_replicas, pool.status.updated_replicas), (3, 3));
    assert_eq!(pool.status.selector.as_deref(), Some("quarterdeck.dev/machine-pool=web"));
    assert_eq!(racks(&plane).into_values().collect::<Vec<_>>(), [1, 1, 1]);

    set(&plane, "/spec/replicas", json!(5)).await;
    stable(&plane, 5, 3).await;
    let mut counts: Vec<usize> = racks(&plane).into_values().collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 2]);

    // New ones come first, and never fewer than five are there to be used.
    set(&plane, "/spec/template/spec/image", json!(NEW)).await;
    let pool = stable(&plane, 6, 5).await;
    assert_eq!(pool.status.updated_replicas, 5);
    assert!(machines(&plane).iter().all(|machine| machine.status.image.as_deref() == Some(NEW)));

    // What is taken out of service for good is replaced.
    set(&plane, "/spec/unhealthy", json!({"after": "1s"})).await;
    let lost = machines(&plane).remove(0);
    let server = lost.status.server.clone().unwrap();
    let message = json!({"message": "It smells."});
    run_of(&plane, "quarantine", "quarantine-server", message, &server).await;
    wait_for(DEADLINE, "the machine to be replaced", async || {
        let there = machines(&plane).iter().any(|it| it.metadata.uid == lost.metadata.uid);
        if there { Err(format!("{:?}", see(&plane).status)) } else { Ok(()) }
    })
    .await;
    stable(&plane, 5, 4).await;

    // The one that is marked goes first, then one of where the most are.
    let crowded = racks(&plane).into_iter().max_by_key(|(_, count)| *count).unwrap().0;
    let all = machines(&plane);
    let marked = all.iter().find(|machine| rack_of(&plane, machine) == crowded).unwrap();
    change(&plane, Machine::info(), ("shop", &marked.metadata.name), |machine| {
        machine["metadata"]["annotations"] = json!({"quarterdeck.dev/delete-first": "true"});
    })
    .await;
    set(&plane, "/spec/replicas", json!(3)).await;
    stable(&plane, 5, 3).await;
    assert!(!machines(&plane).iter().any(|it| it.metadata.uid == marked.metadata.uid));
    assert_eq!(racks(&plane).len(), 3);

    let pool = object(&plane);
    let (key, precondition) = (pool.key.clone(), Precondition::At(pool.revision));
    let delete = Mutation { key, write: Write::Delete, precondition, fence: None };
    plane.store.commit(vec![delete]).await.unwrap();
    wait_for(DEADLINE, "all machines to be wiped and gone", async || {
        let left = machines(&plane);
        let free = |at| {
            let seen = plane.see(at);
            // The one that somebody took out of service stays so until somebody returns it.
            let quarantined = seen.metadata.name == server;
            let phase = if quarantined { ServerPhase::Quarantined } else { ServerPhase::Ready };
            seen.status.phase == phase && seen.status.machine_ref.is_none()
        };
        let clean = (0..plane.servers.len()).all(free);
        if left.is_empty() && clean { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_waits_for_what_it_names_and_is_installed_anew_in_place() {
    let plane = in_racks(2, 1).await;
    create(&plane, 2, "later", json!({"strategy": {"type": "InPlace"}})).await;
    let says = |kind: &str| {
        let pool = see(&plane);
        let said = condition::find(&pool.status.conditions, kind).cloned();
        said.map(|said| (said.reason, said.message)).unwrap_or_default()
    };
    wait_for(DEADLINE, "the pool to say what it misses", async || {
        let (reason, message) = says("Progressing");
        if reason == "ImageNotFound" { Ok(()) } else { Err(message) }
    })
    .await;
    assert!(machines(&plane).is_empty());
    let image = plane.store.world().get(Image::info(), "", OLD).unwrap().value();
    let image = json!({"metadata": {"name": "later"}, "spec": image["spec"]});
    plane.store.commit(vec![created(Image::info(), &image)]).await.unwrap();
    stable(&plane, 2, 0).await;
    let before: Vec<_> = machines(&plane);

    // One at a time, on the servers where they are.
    set(&plane, "/spec/template/spec/image", json!(NEW)).await;
    stable(&plane, 2, 1).await;
    let after = machines(&plane);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.metadata.uid, after.metadata.uid);
        assert_eq!(before.status.server, after.status.server);
        assert_eq!(after.status.image.as_deref(), Some(NEW));
    }

    // More than there are servers for: it says so, and gives the one up again.
    set(&plane, "/spec/replicas", json!(3)).await;
    wait_for(DEADLINE, "the pool to say that no server is free", async || {
        let (reason, message) = says("Progressing");
        let told = reason == "NoServer" && message.contains("No server of class");
        if told { Ok(()) } else { Err(message) }
    })
    .await;
    set(&plane, "/spec/replicas", json!(2)).await;
    stable(&plane, 3, 2).await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_makes_no_more_machines_than_the_quota_of_its_namespace_allows() {
    let plane = in_racks(4, 1).await;
    let key = "count/machines.compute.quarterdeck.dev";
    let quota = |most: u32| json!({"metadata": {"name": "few", "namespace": "shop"}, "spec": {"hard": {key: most.to_string()}}});
    plane.store.commit(vec![created(ResourceQuota::info(), &quota(2))]).await.unwrap();
    create(&plane, 3, OLD, json!({})).await;
    wait_for(DEADLINE, "the pool to say what holds it back", async || {
        let pool = see(&plane);
        let said = condition::find(&pool.status.conditions, "Progressing").ok_or("nothing")?;
        let told = said.reason == "QuotaExceeded" && pool.status.ready_replicas == 2;
        if told { Ok(()) } else { Err(format!("{:?}", pool.status)) }
    })
    .await;
    assert_eq!(machines(&plane).len(), 2);
    // It goes on when there is room.
    change(&plane, ResourceQuota::info(), ("shop", "few"), |quota| {
        quota["spec"]["hard"][key] = json!("3");
    })
    .await;
    stable(&plane, 3, 0).await;
    plane.stop().await;
}
