//! Clients of the real binary over HTTPS while everything around them fails; then all that they did and saw is
//! judged by `quarterdeck_testing::history`: nothing acknowledged is lost, no client sees time go back,
//! whichever replica answers it, and watches tell everything once, in order.
//!
//! `QUARTERDECK_HISTORY_SECONDS` makes it longer (`make history`), `QUARTERDECK_TEST_SEED` repeats the choices.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "what is not as expected must fail the test, and is shown with what was done"
)]

mod history {
    pub(crate) mod backups;
    pub(crate) mod clients;
    pub(crate) mod connect;
    pub(crate) mod enough;
    pub(crate) mod faults;
    pub(crate) mod watchers;
}

use history::{
    clients::{Clients, NAMESPACE},
    connect::Door,
    faults::{Fault, Replicas},
};
use quarterdeck_testing::{
    balancer::Balancer, plane::Plane, postgres::Postgres, proxy::Proxy, random::Random,
    wait::wait_for,
};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_quarterdeck");
/// Acknowledged writes of a history that is judged.
const WRITES_MIN: u64 = 200;
const DEADLINE: Duration = Duration::from_secs(90);

/// How long faults go on at least; each kind of fault comes once in any case.
fn duration() -> Duration {
    let seconds = std::env::var("QUARTERDECK_HISTORY_SECONDS").unwrap_or_default();
    Duration::from_secs(seconds.parse().unwrap_or(0))
}

/// Fails unless the history can be that of a store which keeps its promises. In it, so many watches must have
/// been `resumed` after their connection was lost.
async fn judge(clients: Clients, doors: &[Door], resumed: usize, what: &str) {
    // On a slow machine they need longer for what is worth judging.
    wait_for(DEADLINE, "enough writes and reads", async || {
        let done = clients.acknowledged();
        if done >= WRITES_MIN {
            clients.enough_read()
        } else {
            Err(format!("{done} of {WRITES_MIN}"))
        }
    })
    .await;
    let judged = clients.end(doors, resumed).await;
    println!("{}", judged.summary);
    assert_eq!(judged.watched, Ok(()), "{what}");
    let found: Vec<String> = judged.anomalies.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_behind_a_balancer_are_one_store_whatever_fails() {
    let mut random = Random::new();
    let server = Postgres::start().await;
    let network = Proxy::start(server.address()).await;
    let first = Plane::start_with(BINARY, &["--store", &server.url()]).await;
    let behind = network.url(&server.url());
    let second = Plane::start_beside(&first, BINARY, &["--store", &behind]).await;
    let balancer = Balancer::start(&[first.address(), second.address()]).await;
    first.kubectl(&["create", "namespace", NAMESPACE]).await;
    let kubeconfig = first.kubeconfig();
    let doors = [first.address(), second.address()].map(|address| Door::new(&kubeconfig, address));
    let clients = Clients::start(&Door::new(&kubeconfig, balancer.address()), &mut random);

    let mut replicas = Replicas { planes: vec![first, second], balancer, server, network };
    let begun = Instant::now();
    loop {
        let mut faults = Fault::ALL.to_vec();
        while !faults.is_empty() {
            let fault = faults.swap_remove(random.below(faults.len() as u64) as usize);
            replicas.suffer(fault, &mut random).await;
            replicas.well().await;
            // Not before: what was acknowledged while it lasted tells nothing of afterwards.
            let done = clients.acknowledged();
            wait_for(DEADLINE, "writes to go on", async || {
                if clients.acknowledged() > done { Ok(()) } else { Err("none was acknowledged") }
            })
            .await;
        }
        if begun.elapsed() >= duration() {
            break;
        }
    }
    replicas.counts_are_right().await;
    judge(clients, &doors, 2, "two replicas on PostgreSQL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_on_sqlite_loses_nothing_when_it_is_killed() {
    const KILLS: usize = 5;
    let mut random = Random::new();
    let mut plane = Plane::start(BINARY).await;
    plane.kubectl(&["create", "namespace", NAMESPACE]).await;
    let door = Door::new(&plane.kubeconfig(), plane.address());
    let clients = Clients::start(&door, &mut random);
    let (begun, mut kills) = (Instant::now(), 0);
    while kills < KILLS || begun.elapsed() < duration() {
        let some = clients.acknowledged() + 20 + random.below(200);
        wait_for(DEADLINE, "writes to go on", async || {
            let done = clients.acknowledged();
            if done >= some { Ok(()) } else { Err(format!("{done} of {some}")) }
        })
        .await;
        plane.restart().await;
        kills += 1;
    }
    judge(clients, &[door], 3, "one replica on SQLite").await;
}
