//! The twins of actions, called as the engine calls them, by a clock that moves only when nothing else can.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod support;

use quarterdeck_model::kinds::ServerPhase;
use quarterdeck_providers::{ActionContext, Effect, Providers, Reason, http::Reach};
use quarterdeck_sim::{Cause, Fault, Latency};
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc, time::Duration};
use support::{Machines, REAL};
use tokio::{task::JoinSet, time::Instant};

#[test]
fn a_twin_says_of_itself_what_the_real_action_says() {
    let real = Providers::new(Reach::default());
    let machines = Machines::new(1, 1, REAL);
    let twins = machines.catalog.signatures();
    let names: Vec<&str> = twins.iter().map(|twin| twin.name).collect();
    let wanted = [
        "agent.exec",
        "agent.file",
        "agent.reboot",
        "agent.service",
        "ansible.check",
        "ansible.playbook",
        "boot.next",
        "boot.order",
        "chef.check",
        "chef.converge",
        "credentials.apply",
        "credentials.generate",
        "disk.erase",
        "firmware.update",
        "firmware.wait",
        "host.wait",
        "inventory.refresh",
        "media.eject",
        "media.insert",
        "os.packages",
        "os.patch",
        "os.updates",
        "power.reset",
        "power.set",
        "salt.apply",
        "salt.check",
    ];
    assert_eq!(names, wanted);
    for twin in &twins {
        let real = real.catalog().signature(twin.name).unwrap();
        assert_eq!(format!("{twin:?}"), format!("{real:?}"));
    }
    // In the catalogue of a plane they stand in for the real ones, and take nothing away.
    let mut both = real.catalog().clone();
    machines.simulation.add_actions(&mut both);
    let names = |signatures: Vec<quarterdeck_model::ActionSignature>| -> Vec<&str> {
        signatures.into_iter().map(|signature| signature.name).collect()
    };
    assert_eq!(names(both.signatures()), names(real.catalog().signatures()));
}

/// A step that follows a check, and one that looks whether all is as it should, come to their ends as with the real tools.
#[tokio::test(start_paused = true)]
async fn configuration_tools_change_a_machine_once_and_find_that_it_is_so() {
    let machines = Machines::one();
    let file = |name: &str| json!({name: "text"});
    for (check, change, host, mut input) in [
        (
            "ansible.check",
            "ansible.playbook",
            "m",
            json!({"playbook": "a.yml", "files": file("a.yml")}),
        ),
        ("salt.check", "salt.apply", "local", json!({"states": ["web"], "files": file("web.sls")})),
        ("chef.check", "chef.converge", "m", json!({"runList": ["recipe[web]"]})),
    ] {
        let call = async |action: &str, uid: &str, key: &str, input: &Value| {
            let machine = json!({
                "apiVersion": "compute.quarterdeck.dev/v1alpha1", "kind": "Machine",
                "metadata": {"name": "m", "namespace": "shop", "uid": uid}, "spec": {},
            });
            let context = ActionContext {
                target: Some(Arc::new(machine)),
                ..machines.context(0, &format!("{action}/{key}"), 1)
            };
            machines.catalog.perform(action, input.clone(), &context).await
        };
        let changed = async |action: &str, uid: &str, key: &str, input: &Value| {
            let output = call(action, uid, key, input).await.unwrap().output;
            assert_eq!(output["check"], action == check);
            assert_eq!(output["hosts"][0]["host"], host, "{output:#}");
            output["changed"].clone()
        };
        assert_eq!(changed(check, "u", "one", &input).await, true);
        let began = Instant::now();
        assert_eq!(changed(change, "u", "one", &input).await, true);
        assert!(began.elapsed() > Duration::from_secs(30), "it takes its time");
        assert_eq!(
            changed(change, "u", "one", &input).await,
            true,
            "the same task was not done twice"
        );
        assert_eq!(changed(check, "u", "two", &input).await, false);
        assert_eq!(changed(change, "u", "two", &input).await, false);
        assert_eq!(changed(check, "another", "one", &input).await, true);
        // Who asks for something else is another matter, and what is wrong is refused as by the real one.
        input["files"] = json!({"b": "other"});
        assert_eq!(changed(check, "u", "one", &input).await, true);
        input["fileSecrets"] = json!(["none"]);
        let refused = call(change, "u", "three", &input).await.unwrap_err();
        assert!(refused.to_string().contains("Secret shop/none does not exist"), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_another_process_was_installing_starts_whenever_it_is_turned_on() {
    let mut machines = Machines::one();
    machines.servers[0].status.phase = ServerPhase::Provisioning;
    let up = async |machines: &Machines| {
        // An installation may take longer than one call waits.
        for _ in 0..6 {
            if machines.call(0, "host.wait", json!({"address": "198.51.100.1"})).await.is_ok() {
                break;
            }
        }
        machines.simulation.host_is_up(machines.address(0))
    };
    machines.output(0, "power.set", json!({"state": "On"})).await;
    assert!(up(&machines).await);
    // What is asked of its BMC says nothing of what is on its disks.
    machines.output(0, "boot.next", json!({"device": "Disk"})).await;
    for state in ["Off", "On"] {
        machines.output(0, "power.set", json!({"state": state})).await;
        let there = machines.simulation.host_is_up(machines.address(0));
        assert!(!there || state == "On", "it is off");
    }
    assert!(up(&machines).await, "it starts again");
    machines.output(0, "disk.erase", json!({})).await;
    machines.output(0, "power.set", json!({"state": "Off"})).await;
    machines.output(0, "power.set", json!({"state": "On"})).await;
    assert!(!machines.simulation.host_is_up(machines.address(0)), "nothing is on its disks");
}

/// What became of a call: how long it took, and what it said.
type Outcome = (Duration, String);

async fn three_calls(machines: &Machines, server: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for (action, input) in [
        ("inventory.refresh", json!({})),
        ("power.set", json!({"state": "Off"})),
        ("boot.next", json!({"device": "Network"})),
    ] {
        let began = Instant::now();
        let said = match machines.call(server, action, input).await {
            Ok(done) => done.output.to_string(),
            Err(error) => format!("{}: {error}", error.reason),
        };
        outcomes.push((began.elapsed(), said));
    }
    outcomes
}

#[tokio::test(start_paused = true)]
async fn outcomes_follow_from_the_seed_whatever_the_order() {
    const SERVERS: usize = 300;
    let one_by_one = async |seed| {
        let machines = Machines::new(seed, SERVERS as u32, REAL);
        let mut all = Vec::new();
        for server in (0..SERVERS).rev() {
            all.push(three_calls(&machines, server).await);
        }
        all.reverse();
        all
    };
    let at_once = async |seed| {
        let machines = std::sync::Arc::new(Machines::new(seed, SERVERS as u32, REAL));
        let mut calls = JoinSet::new();
        for server in 0..SERVERS {
            let machines = machines.clone();
            calls.spawn(async move { (server, three_calls(&machines, server).await) });
        }
        let mut all = calls.join_all().await;
        all.sort_by_key(|(server, _)| *server);
        all.into_iter().map(|(_, outcomes)| outcomes).collect::<Vec<_>>()
    };
    let first = one_by_one(4).await;
    assert_eq!(first, at_once(4).await);
    assert_ne!(first, at_once(5).await);
    let times: HashSet<Duration> = first.iter().map(|outcomes| outcomes[0].0).collect();
    assert!(times.len() > SERVERS / 2, "calls take different times: {}", times.len());
}

#[tokio::test(start_paused = true)]
async fn each_fault_has_the_reason_and_the_sentence_of_the_real_provider() {
    let inventory = ("inventory.refresh", json!({}));
    let off = ("power.set", json!({"state": "ForceOff"}));
    for (fault, (action, input), reason, effect, parts) in [
        (
            Fault::DeadBmc,
            inventory.clone(),
            Reason::Unreachable,
            Effect::None,
            ["no connection: No route to host", "check the address, the network"],
        ),
        (
            Fault::WrongCredentials,
            inventory.clone(),
            Reason::Unauthorized,
            Effect::None,
            ["does not accept the user \"quarterdeck\"", "correct the Secret"],
        ),
        (
            Fault::WrongSerial,
            inventory.clone(),
            Reason::SerialMismatch,
            Effect::None,
            ["belongs to", "correct spec.serial or spec.bmc.address"],
        ),
        (
            Fault::WedgedBmc,
            inventory.clone(),
            Reason::Timeout,
            Effect::None,
            ["GET /redfish/v1/", "no whole answer within 30 s"],
        ),
        (
            Fault::PowerStuck,
            off.clone(),
            Reason::Timeout,
            Effect::Unknown,
            ["system 1: it is On and not yet Off", "when the time was up"],
        ),
        (
            Fault::ReplyLost,
            off.clone(),
            Reason::Unreachable,
            Effect::Unknown,
            ["the connection broke before the answer was whole", "ComputerSystem.Reset"],
        ),
    ] {
        let machines = Machines::one();
        machines.simulation.force(machines.address(0), fault);
        let error = machines.call(0, action, input).await.unwrap_err();
        assert_eq!((error.reason, error.effect), (reason, effect), "{fault:?}: {error}");
        let message = error.to_string();
        assert!(message.contains(machines.address(0)), "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        machines.simulation.heal(machines.address(0));
        machines.output(0, "inventory.refresh", json!({})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_bmc_takes_longer_and_answers() {
    let machines = Machines::one();
    let timed = async || {
        let began = Instant::now();
        machines.output(0, "inventory.refresh", json!({})).await;
        began.elapsed()
    };
    let usual = timed().await;
    machines.simulation.force(machines.address(0), Fault::SlowBmc);
    assert!(timed().await > usual * 2, "{usual:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wedged_bmc_answers_once_its_time_is_over() {
    let machines = Machines::one();
    machines.simulation.force(machines.address(0), Fault::WedgedBmc);
    let began = Instant::now();
    let mut failed = 0;
    while let Err(error) = machines.call(0, "inventory.refresh", json!({})).await {
        assert_eq!(error.reason, Reason::Timeout, "{error}");
        failed += 1;
        assert!(began.elapsed() < Duration::from_secs(3600), "{failed} calls in an hour");
    }
    assert!(failed > 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_found_out_by_the_next_attempt_and_nothing_is_done_twice() {
    for (action, input, again) in [
        ("power.set", json!({"state": "Off"}), json!({"powerState": "Off", "changed": false})),
        (
            "power.reset",
            json!({"resetType": "ForceRestart"}),
            json!({"resetType": "ForceRestart", "powerState": "On", "changed": false}),
        ),
        (
            "boot.next",
            json!({"device": "Network"}),
            json!({"target": "Pxe", "changed": false, "stays": false}),
        ),
        (
            "media.insert",
            json!({"image": "https://images.example.com/a.iso"}),
            json!({"slot": "CD", "changed": false}),
        ),
    ] {
        let machines = Machines::one();
        machines.simulation.force(machines.address(0), Fault::ReplyLost);
        let first = machines.context(0, "key", 1);
        let error = machines.catalog.perform(action, input.clone(), &first).await.unwrap_err();
        assert_eq!(error.effect, Effect::Unknown, "{action}: {error}");
        let second = machines.context(0, "key", 2);
        let found = machines.catalog.perform(action, input, &second).await.unwrap();
        assert_eq!(found.output, again, "{action}");
        assert_eq!(machines.simulation.effects(machines.address(0)), 1, "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn power_is_set_once_and_seen() {
    let machines = Machines::one();
    let set = async |state: &str| machines.output(0, "power.set", json!({"state": state})).await;
    let done = |state: &str, changed: bool| json!({"powerState": state, "changed": changed});
    assert_eq!(set("On").await, done("On", false));
    assert_eq!(set("Off").await, done("Off", true));
    assert_eq!(set("ForceOff").await, done("Off", false));
    assert_eq!(set("On").await, done("On", true));
    assert_eq!(machines.simulation.effects(machines.address(0)), 2);
    let report = machines.call(0, "inventory.refresh", json!({})).await.unwrap();
    let observed = report.observed.unwrap();
    assert_eq!(observed["powerState"], "On");
    assert_eq!(observed["inventory"]["serialNumber"], json!(machines.servers[0].spec.serial));
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_another_step_is_another_restart() {
    let machines = Machines::one();
    let reset = json!({"resetType": "GracefulRestart"});
    for (key, attempt, changed) in [("a", 1, true), ("a", 2, false), ("b", 1, true)] {
        let context = machines.context(0, key, attempt);
        let done = machines.catalog.perform("power.reset", reset.clone(), &context).await.unwrap();
        assert_eq!(done.output["changed"], json!(changed), "{key} {attempt}");
    }
    assert_eq!(machines.simulation.effects(machines.address(0)), 2);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_seen_off_is_found_off_by_the_next_process() {
    let mut machines = Machines::one();
    machines.servers[0].status.power_state = Some("Off".into());
    let output = machines.output(0, "power.set", json!({"state": "Off"})).await;
    assert_eq!(output, json!({"powerState": "Off", "changed": false}));
}

#[tokio::test(start_paused = true)]
async fn a_boot_choice_lasts_for_one_start_and_the_order_stays() {
    let machines = Machines::one();
    let next = json!({"device": "Network"});
    let changed = async |action: &str, input: &Value| {
        machines.output(0, action, input.clone()).await["changed"] == json!(true)
    };
    assert!(changed("boot.next", &next).await);
    assert!(!changed("boot.next", &next).await, "it stands");
    machines.output(0, "power.reset", json!({"resetType": "PowerCycle"})).await;
    assert!(changed("boot.next", &next).await, "the start has used it up");
    assert!(changed("boot.next", &json!({"device": "Default"})).await);
    assert!(!changed("boot.next", &json!({"device": "Default"})).await);

    let order = json!({"first": ["Network"]});
    assert!(changed("boot.order", &order).await);
    assert!(!changed("boot.order", &order).await);
    // At machines of this class it is in force from the next start on.
    machines.output(0, "power.reset", json!({"resetType": "ForceRestart"})).await;
    let shown = machines.output(0, "boot.order", json!({"first": []})).await;
    assert_eq!(shown["order"][0], "Boot0002");
    let error = machines.call(0, "boot.order", json!({"first": ["Boot9999"]})).await.unwrap_err();
    assert_eq!(error.reason, Reason::NotFound);
    let wrong = json!({"device": "Disk", "httpBootUri": "http://a/b"});
    let error = machines.call(0, "boot.next", wrong).await.unwrap_err();
    assert_eq!(error.reason, Reason::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn media_go_in_and_out() {
    let machines = Machines::one();
    let insert = |image: &str| json!({"image": format!("https://images.example.com/{image}")});
    let put = async |input: Value| machines.output(0, "media.insert", input).await;
    assert_eq!(put(insert("a.iso")).await, json!({"slot": "CD", "changed": true}));
    assert_eq!(put(insert("a.iso")).await, json!({"slot": "CD", "changed": false}));
    assert_eq!(put(insert("b.iso")).await, json!({"slot": "CD", "changed": true}));
    let mut stick = insert("c.img");
    stick["mediaType"] = json!("USBStick");
    assert_eq!(put(stick).await, json!({"slot": "RemovableDisk", "changed": true}));
    let eject = async || machines.output(0, "media.eject", json!({})).await;
    assert_eq!(eject().await, json!({"ejected": ["CD", "RemovableDisk"], "changed": true}));
    assert_eq!(eject().await, json!({"ejected": [], "changed": false}));
    let error = machines.call(0, "media.eject", json!({"slot": "X"})).await.unwrap_err();
    assert!(error.to_string().contains("it has CD, RemovableDisk"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_latency_nothing_takes_time() {
    let machines = Machines::new(1, 50, Latency::None);
    let began = Instant::now();
    for server in 0..50 {
        machines.simulation.heal(machines.address(server));
        machines.output(server, "inventory.refresh", json!({})).await;
        machines.output(server, "power.set", json!({"state": "Off"})).await;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// What many share is away for all of them and for nobody else, and each comes back as its machine is set.
#[tokio::test(start_paused = true)]
async fn what_many_machines_share_is_away_for_all_of_them() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let machines = Machines::new(3, 90, REAL);
    let rack = |server: &usize| machines.servers[*server].spec.location.clone().unwrap().rack;
    let all: Vec<usize> = (0..90).collect();
    all.iter().for_each(|server| machines.simulation.heal(machines.address(*server)));
    let here: Vec<usize> = all.iter().copied().filter(|it| rack(it) == rack(&0)).collect();
    let elsewhere = all.iter().copied().find(|it| rack(it) != rack(&0)).unwrap();
    let reached = async |server: usize| {
        let look = machines.call(server, "inventory.refresh", json!({})).await;
        look.map(|done| done.output["powerState"].clone()).map_err(|error| error.reason)
    };
    for cause in [Cause::BmcSwitch, Cause::RackPower] {
        machines.simulation.cut(machines.address(0), cause, HOUR);
        assert_eq!(machines.simulation.is_dark(&rack(&0)), cause == Cause::RackPower);
        for server in &here {
            assert_eq!(reached(*server).await, Err(Reason::Unreachable), "{cause:?}");
            let up = machines.simulation.host_is_up(machines.address(*server));
            assert_eq!(up, cause == Cause::BmcSwitch, "hosts need no switch of BMCs");
        }
        assert_eq!(reached(elsewhere).await, Ok(json!("On")));
        tokio::time::sleep(HOUR).await;
        assert!(!machines.simulation.is_dark(&rack(&0)));
        let mut on = 0;
        for server in &here {
            on += usize::from(reached(*server).await.is_ok_and(|state| state == "On"));
        }
        let most = here.len() * 3 / 4;
        assert!(on >= most, "{cause:?}: {on} of {} are on again", here.len());
    }
    // A feed that is away is a fault of one power supply of each machine in the hall.
    machines.simulation.cut(machines.address(0), Cause::PowerFeed, HOUR);
    let seen =
        machines.call(elsewhere, "inventory.refresh", json!({})).await.unwrap().observed.unwrap();
    let problems = &seen["inventory"]["problems"];
    assert!(problems.to_string().contains("the input voltage is lost"), "{problems}");
    assert_eq!(seen["inventory"]["health"], "Critical");
}
