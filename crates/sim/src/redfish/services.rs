//! The service root and the services below it: sessions, accounts, updates, tasks.

use super::{
    ROOT,
    schema::{collection, resource as begin},
    service::{FIRMWARE, SESSION_SECONDS, Session, Task, Work},
    view::{View, link, listed, with},
};
use crate::hardware::USER;
use quarterdeck_model::inventory::Firmware;
use serde_json::{Value, json};

/// Privileges of the one role (DSP0266 §13.5).
const PRIVILEGES: [&str; 5] =
    ["Login", "ConfigureManager", "ConfigureUsers", "ConfigureComponents", "ConfigureSelf"];
/// Characters of a password.
pub(super) const PASSWORD_CHARACTERS: (usize, usize) = (8, 64);

/// The service root.
pub(super) fn root(view: &View<'_>) -> Value {
    let at = |name: &str| link(format_args!("{ROOT}/{name}"));
    let expand = json!({"ExpandAll": false, "Levels": true, "Links": false, "NoLinks": true, "MaxLevels": 1});
    with(
        begin("/redfish/v1/", "ServiceRoot", "RootService", "Root service"),
        json!({
            "RedfishVersion": "1.18.0",
            "UUID": view.inventory.uuid,
            "Vendor": "Simulated",
            "Product": view.inventory.model,
            "ProtocolFeaturesSupported": {
                "ExpandQuery": expand,
                "FilterQuery": false,
                "SelectQuery": false,
                "TopSkipQuery": true,
                "OnlyMemberQuery": false,
                "ExcerptQuery": false,
            },
            "Systems": at("Systems"),
            "Chassis": at("Chassis"),
            "Managers": at("Managers"),
            "Tasks": at("TaskService"),
            "SessionService": at("SessionService"),
            "AccountService": at("AccountService"),
            "UpdateService": at("UpdateService"),
            "Links": {"Sessions": at("SessionService/Sessions")},
        }),
    )
}

pub(super) fn resource(view: &View<'_>, service: &str, parts: &[&str]) -> Option<Value> {
    let path = format!("{ROOT}/{service}");
    let below = |name: &str| format!("{path}/{name}");
    let named = |name: &str, properties: Value| {
        Some(with(begin(&path, service, service, name), properties))
    };
    match (service, parts) {
        ("SessionService", []) => named(
            "Sessions",
            json!({
                "ServiceEnabled": true,
                "SessionTimeout": SESSION_SECONDS,
                "Sessions": link(below("Sessions")),
            }),
        ),
        ("SessionService", ["Sessions", rest @ ..]) => {
            let all: Vec<String> = ids(view.rest.service.sessions(), |it: &Session| it.id);
            let path = below("Sessions");
            listed(&path, "Session", "Sessions", &all, |id| id, rest, |id, _| session(id))
        }
        ("AccountService", []) => named(
            "Accounts",
            json!({
                "ServiceEnabled": true,
                "MinPasswordLength": PASSWORD_CHARACTERS.0,
                "MaxPasswordLength": PASSWORD_CHARACTERS.1,
                "Accounts": link(below("Accounts")),
                "Roles": link(below("Roles")),
            }),
        ),
        ("AccountService", ["Accounts"]) => {
            Some(collection(&below("Accounts"), "ManagerAccount", "Accounts", ["1"]))
        }
        ("AccountService", ["Accounts", "1"]) => Some(with(
            begin(&below("Accounts/1"), "ManagerAccount", "1", "Account"),
            json!({
                "UserName": USER,
                "Password": null,
                "RoleId": "Administrator",
                "AccountTypes": ["Redfish"],
                "Enabled": true,
                "Locked": false,
                "Links": {"Role": link(below("Roles/Administrator"))},
            }),
        )),
        ("AccountService", ["Roles"]) => {
            Some(collection(&below("Roles"), "Role", "Roles", ["Administrator"]))
        }
        ("AccountService", ["Roles", "Administrator"]) => Some(with(
            begin(&below("Roles/Administrator"), "Role", "Administrator", "Administrator"),
            json!({"RoleId": "Administrator", "IsPredefined": true, "AssignedPrivileges": PRIVILEGES}),
        )),
        ("UpdateService", []) => named(
            "Updates",
            json!({
                "ServiceEnabled": true,
                "FirmwareInventory": link(below("FirmwareInventory")),
                "Actions": {"#UpdateService.SimpleUpdate": {
                    "target": below("Actions/UpdateService.SimpleUpdate"),
                    "TransferProtocol@Redfish.AllowableValues": ["HTTP", "HTTPS"],
                }},
            }),
        ),
        ("UpdateService", ["FirmwareInventory", rest @ ..]) => {
            let (path, all) = (below("FirmwareInventory"), &view.inventory.firmware);
            let name = |it: &Firmware| it.name.clone();
            let named: Vec<(String, &Firmware)> = all.iter().map(|it| (name(it), it)).collect();
            listed(
                &path,
                "SoftwareInventory",
                "Firmware",
                &named,
                |it| &it.0,
                rest,
                |(_, it), path| firmware(it, path),
            )
        }
        ("TaskService", []) => named(
            "Tasks",
            json!({
                "ServiceEnabled": true,
                "CompletedTaskOverWritePolicy": "Oldest",
                "Tasks": link(below("Tasks")),
            }),
        ),
        ("TaskService", ["Tasks"]) => {
            let all = ids(view.rest.service.tasks(), |it: &Task| it.id);
            Some(collection(&below("Tasks"), "Task", "Tasks", all))
        }
        ("TaskService", ["Tasks" | "TaskMonitors", wanted]) => {
            let mut tasks = view.rest.service.tasks().iter();
            let found = tasks.find(|it| it.id.to_string() == *wanted)?;
            Some(task(view, found))
        }
        _ => None,
    }
}

fn ids<T>(all: &[T], id: impl Fn(&T) -> u32) -> Vec<String> {
    all.iter().map(|it| id(it).to_string()).collect()
}

pub(super) fn session(id: &str) -> Value {
    let path = format!("{ROOT}/SessionService/Sessions/{id}");
    with(begin(&path, "Session", id, "Session"), json!({"UserName": USER}))
}

fn firmware(it: &Firmware, path: &str) -> Value {
    let updateable = FIRMWARE.contains(&it.name.as_str());
    with(
        begin(path, "SoftwareInventory", &it.name, &it.name),
        json!({
            "Version": it.version,
            "Updateable": updateable,
            "Status": {"State": "Enabled", "Health": "OK"},
        }),
    )
}

/// A task (DSP0266 §13.6).
pub(super) fn task(view: &View<'_>, it: &Task) -> Value {
    let id = it.id.to_string();
    let path = format!("{ROOT}/TaskService/Tasks/{id}");
    let name = match &it.work {
        Work::Erase(disk) => format!("Erase {disk}"),
        Work::Update(which, _) => {
            format!("Update {}", FIRMWARE.get(*which).copied().unwrap_or_default())
        }
    };
    let runs = it.ends > view.now && !it.is_done();
    let (state, status) = match (runs, &it.failure) {
        (true, _) => ("Running", "OK"),
        (false, None) => ("Completed", "OK"),
        (false, Some(_)) => ("Exception", "Critical"),
    };
    let shown = with(
        begin(&path, "Task", &id, &name),
        json!({
            "TaskState": state,
            "TaskStatus": status,
            "TaskMonitor": format!("{ROOT}/TaskService/TaskMonitors/{id}"),
            "StartTime": view.time_of(it.began),
            "PercentComplete": if runs { view.percent((it.began, it.ends)) } else { 100 },
        }),
    );
    if runs {
        return shown;
    }
    let said = it.failure.as_deref().unwrap_or("The task has completed.");
    let ends = json!({
        "MessageId": format!("TaskEvent.1.0.{}", if it.failure.is_some() { "TaskAborted" } else { "TaskCompletedOK" }),
        "Message": said,
        "MessageSeverity": status,
    });
    with(shown, json!({"EndTime": view.time_of(it.ends), "Messages": [ends]}))
}
