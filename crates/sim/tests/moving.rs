//! Servers that are carried to another rack, under the real engine and its rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod support;

use quarterdeck_engine::Actions;
use quarterdeck_model::{
    Kind as _,
    kinds::{Rack, Run, Server},
};
use quarterdeck_providers::{Providers, http::Reach};
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};
use std::sync::Arc;
use support::{
    people::{change, fails, ready, run_of},
    plane::{DEADLINE, created},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_carried_and_counted_where_it_stands() {
    let plane = ready(2).await;
    let [first, second] = [0, 1].map(|at| plane.servers[at].metadata.name.clone());
    let site = {
        let rack = plane.servers[0].spec.location.clone().unwrap().rack;
        let rack: Rack =
            plane.store.world().get(Rack::info(), "", &rack).unwrap().decode().unwrap();
        rack.spec.site
    };
    let rack = json!({"metadata": {"name": "new"}, "spec": {"site": site, "units": 20}});
    plane.store.commit(vec![created(Rack::info(), &rack)]).await.unwrap();
    let record = |unit: u16| json!({"rack": "new", "unit": unit, "recordOnly": true});
    run_of(&plane, "record", "move-server", record(20), &second).await;
    let effects = plane.simulation.effects(plane.address(0));
    // What cannot be is refused by name, and nothing was disturbed.
    for (name, params, says) in [
        (
            "taken",
            json!({"rack": "new", "unit": 20}),
            format!("Server {second} fills unit 20 of Rack new"),
        ),
        ("high", json!({"rack": "new", "unit": 21}), "Rack new has 20 units".into()),
        ("none", json!({"rack": "nowhere", "unit": 1}), "there is no such Rack".into()),
    ] {
        let told = fails(&plane, name, "move-server", params, &first).await;
        assert!(told.contains(&says), "{told}");
    }
    assert_eq!(plane.simulation.effects(plane.address(0)), effects);
    let approving = async {
        wait_for(DEADLINE, "it to wait to be carried", async || {
            let run = plane.store.world().get(Run::info(), "default", "carry").ok_or("none")?;
            let run: Run = run.decode().unwrap();
            let waits = run.status.steps.iter().any(|it| it.name == "carried");
            if waits { Ok(()) } else { Err(format!("{:?}", run.status.steps)) }
        })
        .await;
        assert_eq!(plane.simulation.is_on(plane.address(0)), Some(false));
        assert_ne!(plane.see(0).spec.location.unwrap().rack, "new", "it still stands there");
        change(&plane, Run::info(), ("default", "carry"), |run| {
            run["spec"]["approvals"] =
                json!([{"step": "carried", "decision": "Approved", "by": "ann"}]);
        })
        .await;
    };
    let params = json!({"rack": "new", "unit": 1});
    tokio::join!(run_of(&plane, "carry", "move-server", params, &first), approving);
    let place = plane.see(0).spec.location.unwrap();
    assert_eq!((place.rack.as_str(), place.unit), ("new", Some(1)));
    assert_eq!(plane.simulation.is_on(plane.address(0)), Some(true));
    wait_for(DEADLINE, "the rack to count it", async || {
        let rack = plane.store.world().get(Rack::info(), "", "new").unwrap();
        let rack: Rack = rack.decode().unwrap();
        if rack.status.servers == Some(2) { Ok(()) } else { Err(format!("{:?}", rack.status)) }
    })
    .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_machine_is_not_moved_by_an_edit() {
    let plane = ready(1).await;
    let actions = Actions::new(Providers::new(Reach::default()).catalog().clone());
    let rules = quarterdeck_engine::rules(&Arc::new(actions));
    let (_, rule) = rules.iter().find(|(kind, _)| *kind == Server::info()).unwrap();
    let name = plane.servers[0].metadata.name.clone();
    let old = plane.store.world().get(Server::info(), "", &name).unwrap().value();
    let told = |status: Value, rack: &str| {
        let mut old = old.clone();
        old["status"] = status;
        let mut new = old.clone();
        new["spec"]["location"]["rack"] = json!(rack);
        let errors = rule(&plane.store.world(), &new, Some(&old));
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let machine = json!({"namespace": "shop", "name": "web-1", "uid": "u"});
    let said = told(json!({"phase": "InUse", "machineRef": machine}), "other");
    assert!(said.contains("it has Machine shop/web-1; run move-server"), "{said}");
    let said = told(json!({"phase": "Cleaning"}), "other");
    assert!(said.contains("the server is Cleaning"), "{said}");
    assert_eq!(told(json!({"phase": "Ready"}), "other"), "");
    let stays = old["spec"]["location"]["rack"].as_str().unwrap();
    assert_eq!(told(json!({"phase": "InUse", "machineRef": machine}), stays), "");
    plane.stop().await;
}
