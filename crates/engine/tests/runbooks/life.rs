//! The shipped runbooks that make up the life of servers, each with its stories: how it goes, and where a server is
//! left when it does not.

use crate::{shipped::shipped, support::Story};
use quarterdeck_model::kinds::RunPhase;
use serde_json::{Value, json};

const ISO: &str = "https://images.example/debian.iso";

/// A server with these fields in its spec and status.
fn on(runbook: &str, spec: Value, status: Value) -> Story {
    let mut story = Story::among(shipped(), runbook);
    for (part, fields) in [("spec", spec), ("status", status)] {
        for (name, value) in fields.as_object().unwrap() {
            story.world.target[part][name] = value.clone();
        }
    }
    story
}

/// What the step at `path` asks its action for.
fn input<'s>(story: &'s Story, path: &str) -> &'s Value {
    &story.world.pending[path].input
}

fn phase(phase: &str) -> Value {
    json!({"phase": phase, "before": "Ready", "disksMayHoldData": false})
}

fn off() -> Value {
    json!({"powerState": "Off", "changed": true})
}

fn powered() -> Value {
    json!({"powerState": "On", "changed": true})
}

#[test]
fn provision_server() {
    let spec = json!({"hostAddress": "web-1.example"});
    let story = on("provision-server", spec.clone(), json!({"phase": "Ready"}))
        .param("image", json!(ISO))
        .start()
        .gives("begin", phase("Provisioning"))
        .gives("power-off/power-off", off());
    assert_eq!(input(&story, "insert"), &json!({"image": ISO}));
    let story = story
        .gives("insert", json!({"slot": "Cd", "changed": true}))
        .crash()
        .gives("choose", json!({"target": "Cd", "changed": true, "stays": false}))
        .gives("power-on/power-on", powered());
    assert_eq!(input(&story, "installed"), &json!({"port": 22}));
    let story = story
        .gives("installed", json!({"address": "web-1.example"}))
        .gives("eject", json!({"ejected": ["Cd"], "changed": true}));
    assert_eq!(input(&story, "in-use"), &json!({"phase": "InUse"}));
    let story = story.gives("in-use", phase("InUse")).is(RunPhase::Succeeded);
    insta::assert_snapshot!("provision-server", story.told());

    // It never answers: the server is left where nothing new comes onto it.
    let failed = on("provision-server", spec, json!({"phase": "Ready"}))
        .param("image", json!(ISO))
        .start()
        .gives("begin", phase("Provisioning"))
        .gives("power-off/power-off", off())
        .gives("insert", json!({"slot": "Cd", "changed": true}))
        .gives("choose", json!({"target": "Cd", "changed": true, "stays": false}))
        .gives("power-on/power-on", powered())
        .breaks("installed", "Timeout")
        .under_way(&["begin/compensate/quarantine"]);
    assert_eq!(input(&failed, "begin/compensate/quarantine")["phase"], "Quarantined");
    failed.gives("begin/compensate/quarantine", phase("Quarantined")).is(RunPhase::Failed);
}

#[test]
fn a_server_without_an_address_is_not_waited_for() {
    on("provision-server", json!({}), json!({"phase": "Ready"}))
        .param("image", json!(ISO))
        .start()
        .gives("begin", phase("Provisioning"))
        .gives("power-off/power-off", off())
        .gives("insert", json!({"slot": "Cd", "changed": true}))
        .gives("choose", json!({"target": "Cd", "changed": true, "stays": false}))
        .gives("power-on/power-on", powered())
        // Nobody knows when the installer has read its medium.
        .under_way(&["in-use"]);
}

#[test]
fn reinstall_server() {
    // Nothing is done to a server in use before the ledger has given leave.
    let story = on("reinstall-server", json!({}), json!({"phase": "InUse"}))
        .param("image", json!(ISO))
        .without_leave()
        .start()
        .under_way(&[])
        .refused("shop/web allows 1 of 10 down")
        .permitted()
        .gives("power-off/power-off", off())
        .under_way(&["provision/begin"])
        .gives("provision/begin", phase("Provisioning"))
        .gives("provision/power-off/power-off", off());
    assert_eq!(input(&story, "provision/insert"), &json!({"image": ISO}));
    insta::assert_snapshot!("reinstall-server", story.told());
}

#[test]
fn clean_server() {
    let begun = || {
        on("clean-server", json!({}), json!({"phase": "InUse"}))
            .without_leave()
            .start()
            .under_way(&[])
            .permitted()
            .gives("power-off/power-off", off())
            .gives("begin", phase("Cleaning"))
            .gives(
                "keep-from-starting",
                json!({"target": "BiosSetup", "changed": true, "stays": false}),
            )
            .gives("power-on/power-on", powered())
    };
    let story = begun()
        .crash()
        .gives("erase", json!({"erased": ["1", "2"]}))
        .gives("power-off-again", off())
        .gives("eject", json!({"ejected": [], "changed": false}))
        .gives("detach", json!({"machine": "shop/web-1"}));
    assert_eq!(input(&story, "end"), &json!({"phase": "Ready", "message": "It was cleaned."}));
    let story = story.gives("end", phase("Ready")).is(RunPhase::Succeeded);
    insta::assert_snapshot!("clean-server", story.told());

    // What could not be erased never counts as clean, and keeps its machine.
    let failed =
        begun().breaks("erase", "NotSupported").under_way(&["begin/compensate/quarantine"]);
    let asked = input(&failed, "begin/compensate/quarantine");
    assert!(asked["message"].as_str().unwrap().contains("its disks may hold data"), "{asked}");
}

#[test]
fn quarantine_server_and_detach_server() {
    let story = on("quarantine-server", json!({}), json!({"phase": "InUse"}))
        .param("message", json!("It smells burnt."))
        .start();
    let asked = json!({"phase": "Quarantined", "within": "168h", "message": "It smells burnt."});
    assert_eq!(input(&story, "quarantine"), &asked);
    story.gives("quarantine", phase("Quarantined")).is(RunPhase::Succeeded);

    let story = on("detach-server", json!({}), json!({"phase": "InUse"})).start();
    assert_eq!(input(&story, "quarantine")["phase"], "Quarantined");
    story
        .gives("quarantine", phase("Quarantined"))
        .gives("detach", json!({"machine": "shop/web-1"}))
        .is(RunPhase::Succeeded);
}

#[test]
fn repair_server() {
    let spec = json!({"serial": "S1", "location": {"rack": "r1", "unit": 7}});
    let story = on("repair-server", spec.clone(), json!({"phase": "InUse"}))
        .param("message", json!("A fan is broken."))
        .param("ticketURL", json!("https://tickets.example/new"))
        .start()
        .gives("begin", phase("Repairing"))
        .breaks("diagnose", "Unreachable");
    assert_eq!(
        input(&story, "ticket")["body"],
        json!({"server": "ams1-r7-u12", "serial": "S1", "rack": "r1", "unit": 7,
               "message": "A fan is broken."})
    );
    let story = story
        .gives("ticket", json!({"status": 201, "headers": {}, "body": "", "truncated": false}))
        .under_way(&[])
        .approve("mended")
        .gives("return/look", powered())
        .under_way(&["return/ready"])
        .gives("return/ready", phase("Ready"))
        .is(RunPhase::Succeeded);
    insta::assert_snapshot!("repair-server", story.told());
    // Without a ticket system, and what is not mended in the end stays out of the way.
    on("repair-server", spec, json!({"phase": "Ready"}))
        .param("message", json!("A fan is broken."))
        .start()
        .gives("begin", phase("Repairing"))
        .gives("diagnose", powered())
        .reject("mended")
        .under_way(&["begin/compensate/quarantine"]);
}

#[test]
fn return_server() {
    on("return-server", json!({}), json!({"phase": "Quarantined"}))
        .start()
        .gives("look", powered())
        .under_way(&["ready"])
        .gives("ready", phase("Ready"))
        .is(RunPhase::Succeeded);
    let by_hand = on("return-server", json!({}), json!({"phase": "Quarantined"}))
        .param("wiped", json!(true))
        .start()
        .gives("look", powered());
    assert_eq!(input(&by_hand, "ready"), &json!({"phase": "Ready", "wiped": true}));
    let machine = json!({"namespace": "shop", "name": "web-1", "uid": "u"});
    on("return-server", json!({}), json!({"phase": "Quarantined", "machineRef": machine}))
        .start()
        .gives("look", powered())
        .under_way(&["in-use"]);
    // It is still not well.
    on("return-server", json!({}), json!({"phase": "Quarantined"}))
        .start()
        .breaks("look", "Unauthorized")
        .is(RunPhase::Failed);
}

#[test]
fn retire_server() {
    let story = on("retire-server", json!({}), json!({"phase": "Ready"}))
        .start()
        .gives("clean/power-off/power-off", off())
        .gives("clean/begin", phase("Cleaning"))
        .gives(
            "clean/keep-from-starting",
            json!({"target": "BiosSetup", "changed": true, "stays": false}),
        )
        .gives("clean/power-on/power-on", powered())
        .gives("clean/erase", json!({"erased": ["1"]}))
        .gives("clean/power-off-again", off())
        .gives("clean/eject", json!({"ejected": [], "changed": false}))
        .gives("clean/detach", json!({}));
    assert_eq!(
        input(&story, "clean/end"),
        &json!({"phase": "Retired", "message": "It is retired."})
    );
    story.gives("clean/end", phase("Retired")).is(RunPhase::Succeeded);
    on("retire-server", json!({}), json!({"phase": "Ready"}))
        .param("erase", json!(false))
        .start()
        .gives("power-off/power-off", off())
        .gives("detach", json!({}))
        .under_way(&["retire"]);
}

/// What `firmware.update` gives back.
fn updated(component: &str, wanted: &str, pending: bool) -> Value {
    json!({"component": component, "wanted": wanted, "changed": true, "pending": pending})
}

fn updates() -> Value {
    let update = |name: &str, activation: &str| {
        json!({"name": name, "version": "2", "image": format!("https://images.example/{name}.bin"),
               "activation": activation})
    };
    json!([update("BMC", "BMCReset"), update("BIOS", "HostReset"), update("CPLD", "HostReset")])
}

#[test]
fn update_firmware() {
    let machine = json!({"namespace": "shop", "name": "web-1", "uid": "u"});
    let status = json!({"phase": "InUse", "powerState": "On", "machineRef": machine, "firmwareUpdates": updates()});
    let story = on("update-firmware", json!({"hostAddress": "web-1.example"}), status)
        .without_leave()
        .start()
        // The BMC's own is nobody's matter but its.
        .under_way(&["in-place[0]/update"]);
    assert_eq!(
        input(&story, "in-place[0]/update"),
        &json!({"component": "BMC", "version": "2", "image": "https://images.example/BMC.bin",
                "checksum": "", "activation": "BMCReset"})
    );
    let story = story
        .gives("in-place[0]/update", updated("BMC", "2", false))
        .under_way(&[])
        .refused("shop/web allows 1 of 10 down")
        .permitted()
        .under_way(&["with-restart[0]/update"])
        .crash()
        .gives("with-restart[0]/update", updated("BIOS", "2", true))
        .gives("with-restart[1]/update", updated("CPLD", "2", true))
        // One restart for both.
        .gives("power-off/power-off", off())
        .gives("power-on/power-on", powered())
        .under_way(&["installed[0]/wait", "installed[1]/wait"]);
    assert_eq!(input(&story, "installed[1]/wait"), &json!({"component": "CPLD", "version": "2"}));
    let story = story
        .gives("installed[0]/wait", json!({"version": "2"}))
        .gives("installed[1]/wait", json!({"version": "2"}))
        .gives("back", json!({"address": "web-1.example"}))
        .gives("look", powered())
        .is(RunPhase::Succeeded);
    insta::assert_snapshot!("update-firmware", story.told());
}

#[test]
fn firmware_that_needs_no_restart_restarts_nothing() {
    let only = json!({"phase": "InUse", "firmwareUpdates": [updates()[0]]});
    on("update-firmware", json!({}), only)
        .without_leave()
        .start()
        .gives("in-place[0]/update", updated("BMC", "2", false))
        .gives("look", powered())
        .is(RunPhase::Succeeded);
    on("update-firmware", json!({}), json!({"phase": "Ready"}))
        .without_leave()
        .start()
        .gives("look", powered())
        .is(RunPhase::Succeeded);
    // A server that was off is off again.
    let off_before =
        json!({"phase": "Ready", "powerState": "Off", "firmwareUpdates": [updates()[1]]});
    on("update-firmware", json!({}), off_before)
        .start()
        .gives("with-restart[0]/update", updated("BIOS", "2", true))
        .gives("power-on/power-on", powered())
        .gives("installed[0]/wait", json!({"version": "2"}))
        .gives("power-off-again", off())
        .gives("look", off())
        .is(RunPhase::Succeeded);
}

#[test]
fn firmware_that_is_not_in_force_after_a_restart_takes_the_server_out_of_service() {
    let one = json!({"phase": "Ready", "powerState": "On", "firmwareUpdates": [updates()[1]]});
    let story = on("update-firmware", json!({}), one)
        .start()
        .gives("with-restart[0]/update", updated("BIOS", "2", true))
        .gives("power-off/power-off", off())
        .gives("power-on/power-on", powered())
        .breaks("installed[0]/wait", "NotFound")
        .under_way(&["installed/onFailure/quarantine"]);
    let asked = input(&story, "installed/onFailure/quarantine");
    assert!(asked["message"].as_str().unwrap().contains("not in force after a restart"), "{asked}");
}

#[test]
fn rotate_bmc_credentials() {
    let begun = || {
        on("rotate-bmc-credentials", json!({}), json!({"phase": "InUse"}))
            .without_leave()
            .start()
            .gives("generate", json!({"secret": "fleet/bmc-a", "generated": true}))
    };
    assert_eq!(input(&begun(), "apply"), &json!({}));
    begun()
        .crash()
        .gives("apply", json!({"username": "admin", "changed": true}))
        .gives("adopt", json!({"secret": "fleet/bmc-a", "changed": true}))
        .gives("look", powered())
        .is(RunPhase::Succeeded);
    // What was made stays where it is kept: nothing undoes it.
    begun().breaks("apply", "Unauthorized").is(RunPhase::Failed);
}

#[test]
fn scan_bmcs() {
    let mut story = Story::among(shipped(), "scan-bmcs");
    story.world.run.target.as_mut().unwrap().kind = "BMCScan".into();
    story.world.target["status"]["found"] = json!([{"result": "Pending"}]);
    let mut story = story
        .start()
        .gives("scan", json!({"addresses": 254, "answered": 3, "allowed": 1}))
        .crash()
        .under_way(&[]);
    story.world.target["status"]["found"] =
        json!([{"result": "Enrolled"}, {"result": "NotAllowed"}]);
    let story = story.crash().is(RunPhase::Succeeded);
    assert_eq!(story.world.status.outputs["answered"], json!(3));
}

#[test]
fn move_server() {
    let begun = |record: bool| {
        on("move-server", json!({}), json!({"phase": "InUse", "powerState": "On"}))
            .param("rack", json!("r2"))
            .param("unit", json!(7))
            .param("recordOnly", json!(record))
            .without_leave()
            .start()
    };
    let stood = || json!({"before": "r1, unit 3", "wasOn": true});
    let story = begun(false);
    assert_eq!(input(&story, "check"), &json!({"rack": "r2", "unit": 7, "checkOnly": true}));
    let story = story
        .gives("check", stood())
        .under_way(&[])
        .permitted()
        .gives("power-off/power-off", off())
        .under_way(&[])
        .crash()
        .approve("carried");
    assert_eq!(input(&story, "move"), &json!({"rack": "r2", "unit": 7}));
    story
        .gives("move", stood())
        .gives("power-on/power-on", powered())
        .gives("look", powered())
        .is(RunPhase::Succeeded);
    // A place that is taken is found out before anything is disturbed.
    begun(false).breaks("check", "Refused").is(RunPhase::Failed);
    // Nobody carried it: it is powered on where it stands.
    begun(false)
        .gives("check", stood())
        .permitted()
        .gives("power-off/power-off", off())
        .reject("carried")
        .under_way(&["power-off/compensate/power-on"]);
    begun(true)
        .gives("check", stood())
        .gives("move", stood())
        .gives("look", powered())
        .is(RunPhase::Succeeded);
}
