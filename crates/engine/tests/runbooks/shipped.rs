//! The shipped runbooks, each with its story.

use crate::support::{Known, Story};
use quarterdeck_model::kinds::{RunPhase, RunTarget, Runbook};
use quarterdeck_providers::{Providers, http::Reach};
use serde_json::json;
use std::{collections::BTreeSet, path::Path};

/// Every shipped runbook has a story: here, or in `life`.
const TOLD: [&str; 20] = [
    "clean-server",
    "detach-server",
    "drain-machine",
    "inspect-server",
    "move-server",
    "network-boot-server",
    "patch-machine",
    "power-cycle-server",
    "power-off-server",
    "power-on-server",
    "provision-server",
    "quarantine-server",
    "reboot-machine",
    "reinstall-server",
    "repair-server",
    "retire-server",
    "return-server",
    "rotate-bmc-credentials",
    "scan-bmcs",
    "update-firmware",
];

pub(crate) fn shipped() -> Known {
    let mut known = Known::of(Providers::new(Reach::default()).catalog().signatures());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runbooks");
    for file in std::fs::read_dir(folder).expect("the folder of shipped runbooks") {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let runbook: Runbook = serde_saphyr::from_str(&text).unwrap();
        known.runbooks.insert(runbook.metadata.name, runbook.spec);
    }
    known
}

/// A run of a shipped runbook; all of them must be admitted with the real actions.
fn run(name: &str) -> Story {
    Story::among(shipped(), name).start()
}

#[test]
fn every_shipped_runbook_has_a_story() {
    let names: BTreeSet<String> = shipped().runbooks.into_keys().collect();
    assert_eq!(names, TOLD.map(str::to_owned).into());
}

#[test]
fn the_example_of_the_guide_is_admitted_and_runs() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let example = guide.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let example: Runbook = serde_saphyr::from_str(example).unwrap();
    let mut known = shipped();
    known.runbooks.insert("guide".into(), example.spec);
    let story = Story::among(known, "guide")
        .start()
        .passes("1h")
        .approve("ask")
        .gives("power-off", json!({"powerState": "Off", "changed": true}))
        .power_state("Off")
        .gives("power-on/power-on", json!({"powerState": "On", "changed": true}))
        .is(RunPhase::Succeeded);
    assert_eq!(story.world.status.outputs["changed"], json!(true));
}

#[test]
fn inspect_server() {
    let story = run("inspect-server")
        .fails("inventory", "Unreachable")
        .passes("2s")
        .crash()
        .gives("inventory", json!({"powerState": "On"}))
        .is(RunPhase::Succeeded);
    insta::assert_snapshot!("inspect-server", story.told());
    run("inspect-server").breaks("inventory", "Unauthorized").is(RunPhase::Failed);
}

#[test]
fn power_off_server() {
    let story = run("power-off-server")
        .crash()
        .gives("power-off", json!({"powerState": "Off", "changed": true}))
        .is(RunPhase::Succeeded);
    insta::assert_snapshot!("power-off-server", story.told());
    let patient = Story::among(shipped(), "power-off-server").param("grace", json!("5m")).start();
    assert_eq!(patient.world.pending["power-off"].input, json!({"state": "Off", "grace": "5m"}));
    assert!(patient.world.pending["power-off"].disruptive);
}

#[test]
fn power_on_server() {
    let story = run("power-on-server")
        .fails("power-on", "Throttled")
        .passes("5s")
        .gives("power-on", json!({"powerState": "On", "changed": true}))
        .is(RunPhase::Succeeded);
    insta::assert_snapshot!("power-on-server", story.told());
}

#[test]
fn power_cycle_server() {
    let story = run("power-cycle-server")
        .under_way(&["power-off/power-off"])
        .crash()
        .gives("power-off/power-off", json!({"powerState": "Off", "changed": true}))
        .under_way(&["power-on/power-on"])
        .crash()
        .gives("power-on/power-on", json!({"powerState": "On", "changed": true}))
        .is(RunPhase::Succeeded);
    insta::assert_snapshot!("power-cycle-server", story.told());
}

#[test]
fn network_boot_server() {
    let story = run("network-boot-server")
        .gives("choose-network", json!({"target": "Pxe", "changed": true, "stays": false}))
        .under_way(&["restart/power-off/power-off"])
        .gives("restart/power-off/power-off", json!({"powerState": "Off", "changed": true}))
        .crash()
        .gives("restart/power-on/power-on", json!({"powerState": "On", "changed": true}))
        .is(RunPhase::Succeeded);
    insta::assert_snapshot!("network-boot-server", story.told());
    // A server that cannot boot from the network is not restarted.
    run("network-boot-server")
        .breaks("choose-network", "NotSupported")
        .under_way(&[])
        .is(RunPhase::Failed);
}

/// A run of a runbook that is about machines.
fn at_machine(name: &str) -> Story {
    let mut story = Story::among(shipped(), name);
    story.world.run.target = Some(RunTarget::new("Machine", "web-1"));
    story.start()
}

#[test]
fn reboot_machine() {
    let story = at_machine("reboot-machine").crash();
    assert!(story.world.pending["reboot"].disruptive, "it asks the ledger");
    story.gives("reboot", json!({"bootID": "b"})).is(RunPhase::Succeeded);
}

#[test]
fn drain_machine() {
    let cordoned = |now: bool| json!({"unschedulable": now, "before": !now});
    let story = at_machine("drain-machine").gives("cordon", cordoned(true)).crash();
    assert!(!story.world.pending["evict"].disruptive, "each instance asks for itself");
    story.gives("evict", json!({"stay": 0})).is(RunPhase::Succeeded);
    // Who is left stays, and the machine takes more again.
    at_machine("drain-machine")
        .gives("cordon", cordoned(true))
        .breaks("evict", "Timeout")
        .under_way(&["evict/onFailure"])
        .gives("evict/onFailure", json!({"stay": 0}))
        .under_way(&["cordon/compensate"])
        .gives("cordon/compensate", cordoned(false))
        .is(RunPhase::Failed);
    let mut story = Story::among(shipped(), "reboot-machine").param("drain", json!(true));
    story.world.run.target = Some(RunTarget::new("Machine", "web-1"));
    story
        .start()
        .gives("drain/cordon", cordoned(true))
        .gives("drain/evict", json!({"stay": 1}))
        .gives("reboot", json!({"bootID": "b"}))
        .gives("uncordon", cordoned(false))
        .is(RunPhase::Succeeded);
}

#[test]
fn patch_machine() {
    let found = |packages: &[&str], reboot: bool| json!({"packages": packages, "changed": !packages.is_empty(), "rebootRequired": reboot});
    at_machine("patch-machine").gives("fetch", found(&[], false)).is(RunPhase::Succeeded);
    let story = at_machine("patch-machine").gives("fetch", found(&["a 1"], false));
    assert!(story.world.pending["install"].disruptive, "it asks the ledger");
    story
        .crash()
        .gives("install", found(&["a 1"], true))
        .under_way(&["reboot"])
        .gives("reboot", json!({"bootID": "b"}))
        .is(RunPhase::Succeeded);
    at_machine("patch-machine")
        .gives("fetch", found(&["a 1"], false))
        .gives("install", found(&["a 1"], false))
        .is(RunPhase::Succeeded);
    // One that asked for it before, and has nothing to install.
    at_machine("patch-machine").gives("fetch", found(&[], true)).under_way(&["reboot"]);
}
