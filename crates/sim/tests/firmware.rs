//! Firmware of a simulated fleet, brought to what the profiles say under the real engine: by a run, and by a campaign
//! that caps how many are updated at once, past a service that may lose no more than its budget.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod support;

use quarterdeck_model::{
    ConditionStatus, Kind as _, condition,
    kinds::{Campaign, Run, Runbook, Server, ServerProfile},
};
use quarterdeck_testing::wait::wait_for;
use serde_json::json;
use support::{
    people::{change, class, ready, run_of},
    plane::{DEADLINE, Plane, created},
};

fn server(plane: &Plane, at: usize) -> Server {
    plane.see(at)
}

fn current(server: &Server) -> bool {
    let found = condition::find(&server.status.conditions, "FirmwareCurrent");
    found.is_some_and(|it| it.status == ConditionStatus::True)
}

/// Nothing of the fleet has these versions yet, so that all of it is behind.
async fn newer(plane: &Plane) {
    change(plane, ServerProfile::info(), ("", &class(plane, 0)), |profile| {
        for baseline in profile["spec"]["firmware"].as_array_mut().unwrap() {
            baseline["version"] = json!("99.1");
        }
    })
    .await;
    wait_for(DEADLINE, "all to be behind", async || {
        let behind = |at: &usize| {
            let updates = server(plane, *at).status.firmware_updates;
            updates.iter().map(|it| it.name.as_str()).collect::<Vec<_>>() == ["BMC", "BIOS"]
                && updates.iter().all(|it| it.version == "99.1")
        };
        match (0..plane.servers.len()).find(|at| !behind(at)) {
            None => Ok(()),
            Some(at) => Err(format!("{:?}", server(plane, at).status.firmware_updates)),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_brought_to_its_profile_with_one_restart() {
    let plane = ready(1).await;
    newer(&plane).await;
    let name = plane.servers[0].metadata.name.clone();
    let before = server(&plane, 0);
    let told = condition::find(&before.status.conditions, "FirmwareCurrent").unwrap();
    assert!(told.message.contains("BMC is") && told.message.contains("should be 99.1"), "{told:?}");
    let effects = plane.simulation.effects(plane.address(0));
    run_of(&plane, "update", "update-firmware", json!({}), &name).await;
    // Two updates, off and on.
    assert_eq!(plane.simulation.effects(plane.address(0)) - effects, 4);
    wait_for(DEADLINE, "it to be current", async || {
        let now = server(&plane, 0);
        let done = current(&now) && now.status.firmware_updates.is_empty();
        if done { Ok(()) } else { Err(format!("{:?}", now.status.conditions)) }
    })
    .await;
    let now = server(&plane, 0).status.inventory.unwrap();
    assert_eq!(now.bios_version.as_deref(), Some("99.1"));
    // Once more there is nothing to do.
    let effects = plane.simulation.effects(plane.address(0));
    run_of(&plane, "again", "update-firmware", json!({}), &name).await;
    assert_eq!(plane.simulation.effects(plane.address(0)), effects);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_caps_how_many_are_updated_at_once() {
    const SERVERS: u32 = 6;
    const AT_ONCE: usize = 2;
    let plane = ready(SERVERS).await;
    newer(&plane).await;
    // It takes a while, so that more than one is under way at a time.
    change(&plane, Runbook::info(), ("", "update-firmware"), |runbook| {
        let steps = runbook["spec"]["steps"].as_array_mut().unwrap();
        steps.insert(0, json!({"name": "takes-its-time", "pause": "1s"}));
    })
    .await;
    let selector = json!({"matchLabels": {"hardware": class(&plane, 0)}});
    let campaign = json!({"metadata": {"name": "firmware", "namespace": "shop"}, "spec": {
        "runbook": "update-firmware", "targets": {"kind": "Server", "selector": selector},
        "failureDomain": "None", "concurrency": AT_ONCE, "canary": 1,
    }});
    plane.store.commit(vec![created(Campaign::info(), &campaign)]).await.unwrap();
    let mut most = 0;
    wait_for(DEADLINE, "the campaign to succeed", async || {
        let world = plane.store.world();
        let under_way = world.all(Run::info()).filter(|run| {
            let phase = run.field("status.phase").unwrap_or_default();
            run.field("spec.runbook") == Some("update-firmware")
                && !["", "Pending", "Succeeded", "Failed", "Cancelled"].contains(&phase)
        });
        most = most.max(under_way.count());
        let campaign = world.get(Campaign::info(), "shop", "firmware").unwrap();
        match campaign.field("status.phase") {
            Some("Succeeded") => Ok(()),
            _ => Err(campaign.value()["status"].to_string()),
        }
    })
    .await;
    assert_eq!(most, AT_ONCE, "as many at once as it may, and no more");
    for at in 0..plane.servers.len() {
        let now = server(&plane, at).status.inventory.unwrap();
        assert_eq!(now.bios_version.as_deref(), Some("99.1"));
    }
    plane.stop().await;
}
