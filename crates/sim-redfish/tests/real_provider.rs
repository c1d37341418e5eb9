//! The real Redfish provider at simulated BMCs, over HTTPS: every action, and every fault of the model as the client
//! meets it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_providers::Reason;
use quarterdeck_sim::{Cause, Fault, Latency};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::Served;

/// Fast enough for a test, slow enough that states between are seen.
const FAST: Latency = Latency::Realistic { speed: 100.0 };

#[tokio::test(flavor = "multi_thread")]
async fn power_is_set_once_and_observed() {
    let served = Served::one(1, FAST);
    let address = served.address(0);
    let off = served.output(0, "power.set", json!({"state": "ForceOff"})).await;
    assert_eq!(off, json!({"powerState": "Off", "changed": true}));
    assert_eq!(served.simulation.is_on(&address), Some(false));
    let again = served.output(0, "power.set", json!({"state": "Off"})).await;
    assert_eq!(again, json!({"powerState": "Off", "changed": false}));
    assert_eq!(served.simulation.effects(&address), 1, "what is so is not sent again");
    let on = served.output(0, "power.set", json!({"state": "On"})).await;
    assert_eq!(on, json!({"powerState": "On", "changed": true}));
    assert_eq!(served.simulation.effects(&address), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_made_once_for_a_step() {
    let served = Served::one(1, FAST);
    let address = served.address(0);
    for how in ["ForceRestart", "PowerCycle"] {
        let before = served.simulation.effects(&address);
        let context = served.context(0);
        let input = json!({"resetType": how});
        let first = served.real.catalog().perform("power.reset", input.clone(), &context).await;
        assert_eq!(first.unwrap().output["changed"], true, "{how}");
        let sent = served.simulation.effects(&address) - before;
        let resumed = quarterdeck_providers::ActionContext { resumed: true, ..context };
        let again = served.real.catalog().perform("power.reset", input, &resumed).await;
        assert_eq!(again.unwrap().output["changed"], false, "{how}: LastResetTime tells");
        assert_eq!(served.simulation.effects(&address) - before, sent, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_starts_from_is_chosen_once_and_always() {
    let served = Served::start(4, 400, FAST);
    let class = |server: &Value| server["spec"]["profile"].as_str().unwrap().to_owned();
    for (wanted, pending) in [("compute-gen4", false), ("compute-gen5", true)] {
        let server = served.servers.iter().position(|it| class(it) == wanted).unwrap();
        served.simulation.heal(&served.address(server));
        let next = json!({"device": "HttpNetwork", "httpBootUri": "http://boot/a.efi"});
        let chosen = served.output(server, "boot.next", next.clone()).await;
        assert_eq!(chosen, json!({"target": "UefiHttp", "changed": true, "stays": false}));
        let again = served.output(server, "boot.next", next).await;
        assert_eq!(again["changed"], false);
        let back = served.output(server, "boot.next", json!({"device": "Default"})).await;
        assert_eq!(back["changed"], true);

        let order = json!({"first": ["Network"]});
        let set = served.output(server, "boot.order", order.clone()).await;
        assert_eq!((&set["changed"], &set["pending"]), (&json!(true), &json!(pending)), "{wanted}");
        assert_eq!(set["order"][0], "Boot0002");
        let again = served.output(server, "boot.order", order.clone()).await;
        assert_eq!((&again["changed"], &again["pending"]), (&json!(false), &json!(pending)));
        served.output(server, "power.reset", json!({"resetType": "ForceRestart"})).await;
        let after = served.output(server, "boot.order", order).await;
        assert_eq!((&after["changed"], &after["pending"]), (&json!(false), &json!(false)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_inserted_replaced_and_ejected() {
    let served = Served::one(1, FAST);
    let insert = |image: &str| json!({"image": format!("http://images/{image}")});
    let done = served.output(0, "media.insert", insert("a.iso")).await;
    assert_eq!(done, json!({"slot": "CD", "changed": true}));
    let again = served.output(0, "media.insert", insert("a.iso")).await;
    assert_eq!(again, json!({"slot": "CD", "changed": false}));
    let other = served.output(0, "media.insert", insert("b.iso")).await;
    assert_eq!(other["changed"], true);
    let ejected = served.output(0, "media.eject", json!({})).await;
    assert_eq!(ejected, json!({"ejected": ["CD"], "changed": true}));
    let empty = served.output(0, "media.eject", json!({})).await;
    assert_eq!(empty["changed"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_disk_is_erased() {
    let served = Served::one(1, Latency::Realistic { speed: 1_000.0 });
    let erased = served.output(0, "disk.erase", json!({})).await;
    let drives = served.seen(0, served.real.catalog()).await["inventory"]["drives"].clone();
    let drives: Vec<&Value> = drives.as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(erased["erased"].as_array().unwrap().iter().collect::<Vec<_>>(), drives);
}

/// Over HTTP is seen what the twin sees: of each class, of machines with a broken part, and of one that lacks a module.
#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_is_that_of_the_twin() {
    let served = Served::start(3, 600, Latency::None);
    let mut problems = 0;
    for server in (0..served.servers.len()).step_by(3) {
        let address = served.address(server);
        match server {
            // A module left out, and a neighbour that is well.
            0 => served.simulation.force(&address, Fault::MissingPart),
            _ => served.simulation.heal(&address),
        }
        let mut over_http = served.seen(server, served.real.catalog()).await;
        let by_twin = served.seen(server, &served.twins).await;
        // A real BMC reports of the whole what its worst part is; the twin tells of the part alone.
        let told = over_http["inventory"]["problems"].as_array().into_iter().flatten();
        let told: Vec<Value> = told.filter(|it| it["part"] != "System").cloned().collect();
        problems += told.len();
        if !told.is_empty() {
            over_http["inventory"]["problems"] = told.into();
        }
        assert_eq!(over_http, by_twin, "{address}");
    }
    assert!(problems > 0, "some machine has a broken part");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_met_by_the_client() {
    for (fault, reason, part) in [
        (Fault::DeadBmc, Reason::Unreachable, "check the address"),
        (Fault::WrongCredentials, Reason::Unauthorized, "correct the Secret"),
        (Fault::WrongSerial, Reason::SerialMismatch, "correct spec.serial"),
        (Fault::WedgedBmc, Reason::Timeout, "no whole answer"),
    ] {
        let served = Served::one(1, FAST);
        // The wedge lasts for minutes of a data centre; it is asked for a moment.
        let slow = Served::one(1, Latency::Realistic { speed: 1.0 });
        let served = if fault == Fault::WedgedBmc { slow } else { served };
        served.simulation.force(&served.address(0), fault);
        let mut context = served.context(0);
        context.deadline = Instant::now() + Duration::from_secs(5);
        let failed = served.real.catalog().perform("inventory.refresh", json!({}), &context).await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.reason, reason, "{fault:?}: {failed}");
        let told = failed.message.contains(part) || reason == Reason::Timeout;
        assert!(told, "{fault:?}: {failed}");
        assert_eq!(served.simulation.effects(&served.address(0)), 0);
    }
}

/// The effect is there and its answer is not: the action looks, and sends nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_looked_into() {
    let served = Served::one(1, FAST);
    let address = served.address(0);
    served.simulation.force(&address, Fault::ReplyLost);
    let off = served.output(0, "power.set", json!({"state": "ForceOff"})).await;
    assert_eq!(off, json!({"powerState": "Off", "changed": true}));
    assert_eq!(served.simulation.effects(&address), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn power_that_does_not_change_is_told() {
    let served = Served::one(1, FAST);
    served.simulation.force(&served.address(0), Fault::PowerStuck);
    let mut context = served.context(0);
    context.deadline = Instant::now() + Duration::from_secs(5);
    let input = json!({"state": "ForceOff"});
    let failed = served.real.catalog().perform("power.set", input, &context).await.unwrap_err();
    assert_eq!(failed.reason, Reason::Timeout);
    assert!(failed.message.contains("it is On and not yet Off"), "{failed}");
}

/// A certificate made by a clock that is ahead is not valid yet; one made in 1970 has expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_has_jumped_is_seen_by_its_certificate() {
    let mut seen = Vec::new();
    for seed in 0..30 {
        let served = Served::one(seed, FAST);
        served.simulation.force(&served.address(0), Fault::ClockJumps);
        let Err(error) = served.call(0, "inventory.refresh", json!({})).await else { continue };
        assert_eq!(error.reason, Reason::CertificateInvalid, "{error}");
        seen.push(error.message);
    }
    for words in ["it is not valid yet", "it has expired"] {
        assert!(seen.iter().any(|said| said.contains(words)), "{words}: {seen:?}");
    }
}

/// A rack loses its power: all its BMCs are gone at once, and come back; hosts come back as their machines are set.
#[tokio::test(flavor = "multi_thread")]
async fn a_rack_without_power_is_gone_as_a_whole_and_comes_back() {
    let served = Served::start(2, 12, FAST);
    for server in 0..12 {
        served.simulation.heal(&served.address(server));
    }
    let look = async |server| served.call(server, "inventory.refresh", json!({})).await;
    assert!(look(0).await.is_ok());
    // Longer than the client tries again by itself.
    served.simulation.cut(&served.address(0), Cause::RackPower, Duration::from_secs(8));
    let began = Instant::now();
    let looks = futures(&served, 12).await;
    let dark =
        looks.iter().filter(|look| look.as_ref().is_err_and(|it| it.reason == Reason::Unreachable));
    assert_eq!(dark.count(), 12, "after {:?}: {looks:?}", began.elapsed());
    let back = quarterdeck_testing::wait::wait_for(
        Duration::from_secs(60),
        "all to be back",
        async || {
            let looks = futures(&served, 12).await;
            let back: Vec<Value> = looks
                .into_iter()
                .filter_map(|look| look.ok().map(|done| done.output["powerState"].clone()))
                .filter(|state| state == "On" || state == "Off")
                .collect();
            if back.len() == 12 { Ok(back) } else { Err(format!("{} are", back.len())) }
        },
    )
    .await;
    assert!(
        back.iter().filter(|state| **state == "On").count() >= 8,
        "most are on again: {back:?}"
    );
}

async fn futures(
    served: &Served,
    servers: usize,
) -> Vec<Result<quarterdeck_providers::Performed, quarterdeck_providers::ActionError>> {
    let mut looks = Vec::new();
    for server in 0..servers {
        let catalog = served.real.catalog().clone();
        let context = served.context(server);
        looks.push(tokio::spawn(async move {
            catalog.perform("inventory.refresh", json!({}), &context).await
        }));
    }
    let mut all = Vec::new();
    for look in looks {
        all.push(look.await.unwrap());
    }
    all
}
