//! The computer system: what is in it, what it starts from, its disks, drives and log.

use super::{
    ROOT,
    schema::{collection, resource as begin},
    service::Work,
    view::{View, link, listed, segment, text, with},
};
use crate::{
    actions::{
        boot::{MENU, option},
        media::DRIVES,
    },
    state::Power,
};
use quarterdeck_model::inventory::{Drive, MemoryModule, NetworkInterface, Processor};
use quarterdeck_providers::redfish::twin::{Device, Mode};
use serde_json::{Value, json};

/// The one system.
pub(super) const SYSTEM: &str = "/redfish/v1/Systems/1";
pub(super) const CHASSIS: &str = "/redfish/v1/Chassis/1";
pub(super) const MANAGER: &str = "/redfish/v1/Managers/BMC";
/// What Reset takes.
pub(super) const RESETS: [&str; 6] =
    ["On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "PowerCycle"];
/// What can be started once, besides what the order has.
pub(super) const DEVICES: [Device; 7] = [
    Device::Default,
    Device::Network,
    Device::HttpNetwork,
    Device::Disk,
    Device::VirtualMedia,
    Device::Usb,
    Device::FirmwareSetup,
];
pub(super) const MODES: [(&str, Mode); 2] = [("UEFI", Mode::UEFI), ("Legacy", Mode::Legacy)];
const MIB: u64 = 1 << 20;

pub(super) fn resource(view: &View<'_>, parts: &[&str]) -> Option<Value> {
    let below = |name: &str| format!("{SYSTEM}/{name}");
    let found = &view.inventory;
    match parts {
        [] => Some(collection(&format!("{ROOT}/Systems"), "ComputerSystem", "Systems", ["1"])),
        ["1"] => Some(system(view)),
        ["1", "Settings"] if view.contact.hardware.order_waits() => Some(settings(view)),
        ["1", "Processors", rest @ ..] => listed(
            &below("Processors"),
            "Processor",
            "Processors",
            &found.processors,
            |it: &Processor| &it.id,
            rest,
            processor,
        ),
        ["1", "Memory", rest @ ..] => listed(
            &below("Memory"),
            "Memory",
            "Memory modules",
            &found.memory_modules,
            |it: &MemoryModule| &it.id,
            rest,
            |it, path| memory(view, it, path),
        ),
        ["1", "EthernetInterfaces", rest @ ..] => listed(
            &below("EthernetInterfaces"),
            "EthernetInterface",
            "Network interfaces",
            &found.network_interfaces,
            |it: &NetworkInterface| &it.id,
            rest,
            interface,
        ),
        ["1", "Storage"] => Some(collection(&below("Storage"), "Storage", "Storage", ["1"])),
        ["1", "Storage", "1"] => Some(storage(view)),
        ["1", "Storage", "1", "Drives", wanted] => {
            let drive = found.drives.iter().find(|it| segment(&it.id) == *wanted)?;
            Some(disk(view, drive))
        }
        ["1", "VirtualMedia", rest @ ..] => {
            let drives: Vec<(usize, &str)> =
                DRIVES.iter().enumerate().map(|(at, (id, _))| (at, *id)).collect();
            let path = below("VirtualMedia");
            listed(
                &path,
                "VirtualMedia",
                "Virtual drives",
                &drives,
                |it| it.1,
                rest,
                |it, path| medium(view, it.0, path),
            )
        }
        ["1", "BootOptions", rest @ ..] => {
            let options: Vec<(String, Device)> =
                MENU.iter().zip(1..).map(|(device, number)| (option(number), *device)).collect();
            let path = below("BootOptions");
            listed(&path, "BootOption", "Boot options", &options, |it| &it.0, rest, boot_option)
        }
        ["1", "LogServices", rest @ ..] => log(view, rest),
        _ => None,
    }
}

fn system(view: &View<'_>) -> Value {
    let found = &view.inventory;
    let count =
        |kind: &str| found.processors.iter().filter(|it| it.kind.as_deref() == Some(kind)).count();
    let state = if view.power == Power::Off { "StandbyOffline" } else { "Enabled" };
    let model = found.processors.first().and_then(|it| it.model.clone());
    let mut shown = with(
        begin(SYSTEM, "ComputerSystem", "1", "System"),
        json!({
            "SystemType": "Physical",
            "Manufacturer": found.manufacturer,
            "Model": found.model,
            "SKU": found.sku,
            "SerialNumber": found.serial_number,
            "UUID": found.uuid,
            "BiosVersion": found.bios_version,
            "PowerState": view.power.as_str(),
            "PowerRestorePolicy": view.contact.hardware.power_restore_policy().as_str(),
            "Status": view.whole(state),
            "ProcessorSummary": {
                "Count": count("CPU"), "LogicalProcessorCount": found.cpus, "Model": model,
            },
            "MemorySummary": {
                "TotalSystemMemoryGiB": found.memory_bytes.map(|bytes| bytes >> 30),
            },
            "Boot": boot(view),
            "Processors": link(format_args!("{SYSTEM}/Processors")),
            "Memory": link(format_args!("{SYSTEM}/Memory")),
            "EthernetInterfaces": link(format_args!("{SYSTEM}/EthernetInterfaces")),
            "Storage": link(format_args!("{SYSTEM}/Storage")),
            "VirtualMedia": link(format_args!("{SYSTEM}/VirtualMedia")),
            "LogServices": link(format_args!("{SYSTEM}/LogServices")),
            "Links": {"Chassis": [link(CHASSIS)], "ManagedBy": [link(MANAGER)]},
            "Actions": {"#ComputerSystem.Reset": {
                "target": format!("{SYSTEM}/Actions/ComputerSystem.Reset"),
                "ResetType@Redfish.AllowableValues": RESETS,
            }},
        }),
    );
    if let Some(at) = view.rest.service.last_reset {
        shown = with(shown, json!({"LastResetTime": view.time_of(at)}));
    }
    if view.contact.hardware.order_waits() {
        let settings = json!({
            "@odata.type": super::schema::kind("Settings"),
            "SettingsObject": link(format_args!("{SYSTEM}/Settings")),
            "SupportedApplyTimes": ["OnReset"],
        });
        shown = with(shown, json!({"@Redfish.Settings": settings}));
    }
    shown
}

/// What it starts from: the choice for one start, and the order.
fn boot(view: &View<'_>) -> Value {
    let next = view.rest.next.as_ref();
    let mode = next.and_then(|next| next.mode).unwrap_or(Mode::UEFI);
    let mode = MODES.iter().find(|(_, it)| *it == mode).map_or("UEFI", |(name, _)| name);
    json!({
        "BootSourceOverrideEnabled": if next.is_some() { "Once" } else { "Disabled" },
        "BootSourceOverrideEnabled@Redfish.AllowableValues": ["Once", "Disabled"],
        "BootSourceOverrideTarget": next.map_or("None", |next| next.device.target()),
        "BootSourceOverrideTarget@Redfish.AllowableValues": DEVICES.map(Device::target),
        "BootSourceOverrideMode": mode,
        "BootSourceOverrideMode@Redfish.AllowableValues": MODES.map(|(name, _)| name),
        "HttpBootUri": next.and_then(|next| next.http_boot_uri.clone()),
        "BootOrder": order(view),
        "BootOptions": link(format_args!("{SYSTEM}/BootOptions")),
    })
}

/// The boot order that is in force.
pub(super) fn order(view: &View<'_>) -> Vec<String> {
    if view.rest.order.is_empty() {
        return MENU.iter().zip(1..).map(|(_, number)| option(number)).collect();
    }
    view.rest.order.clone()
}

/// What the next start will make of it (DSP0266 §9.10).
fn settings(view: &View<'_>) -> Value {
    let waits = view.rest.service.next_order.clone();
    let order = if waits.is_empty() { order(view) } else { waits };
    let path = format!("{SYSTEM}/Settings");
    with(
        begin(&path, "ComputerSystem", "Settings", "Settings"),
        json!({"Boot": {"BootOrder": order}}),
    )
}

fn processor(it: &Processor, path: &str) -> Value {
    with(
        begin(path, "Processor", &segment(&it.id), &it.id),
        json!({
            "Socket": it.id,
            "ProcessorType": it.kind,
            "Model": it.model,
            "TotalCores": it.cores,
            "TotalThreads": it.threads,
            "Status": {"State": "Enabled", "Health": "OK"},
        }),
    )
}

fn memory(view: &View<'_>, it: &MemoryModule, path: &str) -> Value {
    with(
        begin(path, "Memory", &segment(&it.id), &it.id),
        json!({
            "DeviceLocator": it.id,
            "CapacityMiB": it.bytes.map(|bytes| bytes / MIB),
            "PartNumber": it.part_number,
            "Status": view.status(&it.id),
        }),
    )
}

fn interface(it: &NetworkInterface, path: &str) -> Value {
    with(
        begin(path, "EthernetInterface", &segment(&it.id), &it.id),
        json!({
            "PermanentMACAddress": it.mac_address,
            "MACAddress": it.mac_address,
            "SpeedMbps": it.speed_mbps,
            "LinkStatus": it.link_status,
            "Status": {"State": "Enabled", "Health": "OK"},
        }),
    )
}

fn storage(view: &View<'_>) -> Value {
    let path = format!("{SYSTEM}/Storage/1");
    let drives = view.inventory.drives.iter();
    let drives: Vec<Value> =
        drives.map(|it| link(format_args!("{path}/Drives/{}", segment(&it.id)))).collect();
    with(
        begin(&path, "Storage", "1", "Storage"),
        json!({
            "Drives@odata.count": drives.len(),
            "Drives": drives,
            "Status": {"State": "Enabled", "Health": "OK"},
        }),
    )
}

fn disk(view: &View<'_>, it: &Drive) -> Value {
    let id = segment(&it.id);
    let path = format!("{SYSTEM}/Storage/1/Drives/{id}");
    let protocol = if it.media.as_deref() == Some("HDD") { "SATA" } else { "NVMe" };
    let mut shown = with(
        begin(&path, "Drive", &id, &it.id),
        json!({
            "Model": it.model,
            "SerialNumber": it.serial_number,
            "CapacityBytes": it.bytes,
            "MediaType": it.media,
            "Protocol": protocol,
            "Status": {"State": "Enabled", "Health": "OK"},
            "Actions": {"#Drive.SecureErase": {"target": format!("{path}/Actions/Drive.SecureErase")}},
        }),
    );
    if let Some(operation) = view.erasing(&it.id) {
        shown = with(shown, json!({"Operations": [operation]}));
    }
    shown
}

fn medium(view: &View<'_>, at: usize, path: &str) -> Value {
    let Some((id, kinds)) = DRIVES.get(at) else { return Value::Null };
    let image = view.rest.media.get(at).cloned().flatten();
    let name = image.as_deref().and_then(|image| {
        let file = image.split(['?', '#']).next().unwrap_or_default().rsplit('/').next();
        file.map(str::to_owned)
    });
    with(
        begin(path, "VirtualMedia", id, id),
        json!({
            "MediaTypes": kinds,
            "Image": image,
            "ImageName": name,
            "Inserted": image.is_some(),
            "WriteProtected": true,
            "ConnectedVia": if image.is_some() { "URI" } else { "NotConnected" },
            "Actions": {
                "#VirtualMedia.InsertMedia": {"target": format!("{path}/Actions/VirtualMedia.InsertMedia")},
                "#VirtualMedia.EjectMedia": {"target": format!("{path}/Actions/VirtualMedia.EjectMedia")},
            },
        }),
    )
}

fn boot_option((reference, device): &(String, Device), path: &str) -> Value {
    with(
        begin(path, "BootOption", reference, device.target()),
        json!({
            "BootOptionReference": reference,
            "DisplayName": format!("{device:?}"),
            "Alias": device.target(),
            "BootOptionEnabled": true,
        }),
    )
}

/// The system event log.
fn log(view: &View<'_>, parts: &[&str]) -> Option<Value> {
    let services = format!("{SYSTEM}/LogServices");
    let path = format!("{services}/SEL");
    match parts {
        [] => Some(collection(&services, "LogService", "Logs", ["SEL"])),
        ["SEL"] => Some(with(
            begin(&path, "LogService", "SEL", "System event log"),
            json!({
                "LogEntryType": "SEL",
                "OverWritePolicy": "WrapsWhenFull",
                "DateTime": text(view.clock),
                "ServiceEnabled": true,
                "Entries": link(format_args!("{path}/Entries")),
                "Actions": {"#LogService.ClearLog": {"target": format!("{path}/Actions/LogService.ClearLog")}},
            }),
        )),
        ["SEL", "Entries", rest @ ..] => {
            let all = entries(view);
            let path = format!("{path}/Entries");
            match rest {
                [] => {
                    let whole: Vec<&Value> = all.iter().collect();
                    let ids = (1..=whole.len()).map(|number| number.to_string());
                    let list = collection(&path, "LogEntry", "Entries", ids);
                    // Logs show their entries, not links to them (DSP0268, LogEntryCollection).
                    Some(with(list, json!({"Members": whole})))
                }
                [number] => {
                    number.parse::<usize>().ok()?.checked_sub(1).and_then(|at| all.get(at).cloned())
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn entries(view: &View<'_>) -> Vec<Value> {
    if view.rest.service.cleared {
        return Vec::new();
    }
    let events = view.contact.events();
    let entry = |(event, number): (crate::contact::Event, usize)| {
        with(
            begin(
                &format!("{SYSTEM}/LogServices/SEL/Entries/{number}"),
                "LogEntry",
                &number.to_string(),
                "Event",
            ),
            json!({
                "EntryType": "SEL",
                "Severity": event.severity,
                "Created": text(event.created),
                "Message": event.message,
            }),
        )
    };
    events.into_iter().zip(1..).map(entry).collect()
}

/// Whether a disk is being erased.
pub(super) fn is_erasing(view: &View<'_>, disk: &str) -> bool {
    let of = |work: &Work| matches!(work, Work::Erase(it) if it == disk);
    view.rest.service.running(view.now, of).is_some()
}
