//! The BMC itself: its firmware, its clock, and its restart.

use super::{
    ROOT,
    schema::{collection, resource as begin},
    system::{CHASSIS, MANAGER, SYSTEM},
    view::{View, link, text, with},
};
use serde_json::{Value, json};

/// What its Reset takes.
pub(super) const RESETS: [&str; 2] = ["GracefulRestart", "ForceRestart"];

pub(super) fn resource(view: &View<'_>, parts: &[&str]) -> Option<Value> {
    match parts {
        [] => Some(collection(&format!("{ROOT}/Managers"), "Manager", "Managers", ["BMC"])),
        ["BMC"] => Some(manager(view)),
        _ => None,
    }
}

fn manager(view: &View<'_>) -> Value {
    let firmware = view.inventory.firmware.iter().find(|it| it.name == "BMC");
    with(
        begin(MANAGER, "Manager", "BMC", "BMC"),
        json!({
            "ManagerType": "BMC",
            "Model": "Simulated BMC",
            "FirmwareVersion": firmware.and_then(|it| it.version.clone()),
            "DateTime": text(view.clock),
            "DateTimeLocalOffset": "+00:00",
            "PowerState": "On",
            "Status": {"State": "Enabled", "Health": "OK"},
            "Links": {
                "ManagerForServers": [link(SYSTEM)],
                "ManagerForChassis": [link(CHASSIS)],
                "ManagerInChassis": link(CHASSIS),
            },
            "Actions": {"#Manager.Reset": {
                "target": format!("{MANAGER}/Actions/Manager.Reset"),
                "ResetType@Redfish.AllowableValues": RESETS,
            }},
        }),
    )
}
