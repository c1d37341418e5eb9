//! How many objects are written while a server is installed: what says nothing new must not come back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing, and what it counted"
)]

mod support;

use quarterdeck_model::{
    FieldSelector, Kind as _, LabelSelector, Revision, kinds,
    kinds::{Permit, Server},
};
use quarterdeck_store::WatchQuery;
use quarterdeck_testing::wait::wait_for;
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use support::{
    people::{ready, run_of},
    plane::{DEADLINE, Plane},
};
use tokio::time::timeout;

/// Versions written from a revision on, by kind, and for events by reason.
async fn written(plane: &Plane, since: Revision) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for kind in kinds::all().iter().copied() {
        let (labels, fields) = (LabelSelector::default(), FieldSelector::default());
        let mut watcher =
            plane.store.watch(WatchQuery { kind, namespace: None, labels, fields, since });
        while let Ok(events) = timeout(Duration::ZERO, watcher.next()).await {
            for event in events.unwrap() {
                let reason = event.object.value()["reason"].as_str().unwrap_or_default().to_owned();
                let what = format!("{} {:?} {reason}", kind.plural, event.kind);
                *counts.entry(what).or_default() += 1;
            }
        }
    }
    counts
}

/// Most objects that an install writes: the run and what it executes (2), its journal (10), its events and those of the
/// server (8), its permit (3), the server's phase, power and who acts on it (6), and what its rack, its site and their
/// provider count, which may take two writes each.
const INSTALL_MOST: u64 = 35;

/// Waits until nothing acts on the server any more, and nothing is still to be taken back.
async fn at_rest(plane: &Plane, server: &str) {
    wait_for(DEADLINE, "the server to be at rest", async || {
        let world = plane.store.world();
        let permits = world.count(Permit::info());
        let server: Server = world.get(Server::info(), "", server).unwrap().decode().unwrap();
        let run = server.status.current_run;
        if run.is_none() && permits == 0 {
            Ok(())
        } else {
            Err(format!("{run:?}, {permits} permits"))
        }
    })
    .await;
}

/// All that was written, which is told when there is more than there should be.
async fn at_most(plane: &Plane, since: Revision, most: u64) {
    let head = plane.store.world().revision();
    let all = head.0 - since.0;
    assert!(all <= most, "{all} were written: {:#?}", written(plane, since).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_writes_what_is_new_and_no_more() {
    let plane = ready(1).await;
    let server = plane.servers[0].metadata.name.clone();
    at_rest(&plane, &server).await;
    let since = plane.store.world().revision();
    let image = json!({"image": "https://images.example/debian.iso"});
    run_of(&plane, "install", "provision-server", image, &server).await;
    at_rest(&plane, &server).await;
    at_most(&plane, since, INSTALL_MOST).await;
}
