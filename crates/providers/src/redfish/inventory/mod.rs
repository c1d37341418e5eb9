//! What is in a machine, put together from many resources.
//!
//! A part that a BMC does not have is absent; a part that it has and cannot show is reported as
//! unread and stays as it was known; a BMC that cannot be reached fails the whole.

mod log;
mod parts;
mod sensors;

use quarterdeck_model::inventory::{
    Drive, Firmware, Inventory, MemoryModule, Problem, Processor, Unread,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::MEMBERS_MAX;
use super::resource::{Path, Resource};
use super::system::System;
use crate::action::{ActionError, Reason};
pub use log::LogEntry;

/// Most problems kept in an inventory; a machine with more has one cause.
const PROBLEMS_MAX: usize = 64;

/// What `inventory.refresh` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryReport {
    /// `On`, `Off`, a transition between, or `Unknown`.
    pub power_state: String,
    /// The hardware and firmware found.
    /// It goes to the target's status and not into the run's journal: a large machine's is larger
    /// than a journal should be.
    #[serde(skip)]
    #[schemars(skip)]
    pub inventory: Inventory,
    /// The newest entries of the system event log, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<LogEntry>,
    /// Parts that could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<Unread>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) inventory: Inventory,
    pub(super) events: Vec<LogEntry>,
}

/// Names of parts.
const PROCESSORS: &str = "processors";
const MEMORY: &str = "memory";
const DRIVES: &str = "drives";
const INTERFACES: &str = "network interfaces";
const FIRMWARE: &str = "firmware";

/// Reads everything about a system. The BMC's slots bound how much is asked at once.
pub(super) async fn read(system: &System) -> Result<Found, ActionError> {
    let (processors, memory, drives, interfaces, firmware, sensors, events) = tokio::join!(
        listed(system, "/Processors"),
        listed(system, "/Memory"),
        drives(system),
        listed(system, "/EthernetInterfaces"),
        firmware(system),
        sensors::read(system),
        log::read(system),
    );
    let mut unread = Vec::new();
    let mut keep = |part, result| keep_or_note(&mut unread, part, result);
    let processors = keep(PROCESSORS, processors)?;
    let memory = keep(MEMORY, memory)?;
    let drives = keep(DRIVES, drives)?;
    let interfaces = keep(INTERFACES, interfaces)?;
    let firmware = keep(FIRMWARE, firmware)?;
    let sensor_problems = keep_or_note(&mut unread, "sensors", sensors)?;
    let events = keep_or_note(&mut unread, "event log", events)?;

    let all_parts = [&processors, &memory, &drives, &interfaces, &firmware];
    let mut problems: Vec<Problem> = parts::problem(system.doc()).into_iter().collect();
    problems.extend(all_parts.into_iter().flatten().filter_map(|part| parts::problem(part.doc())));
    problems.extend(sensor_problems);
    problems.truncate(PROBLEMS_MAX);

    let mut inventory = parts::system(system.doc());
    inventory.problems = problems;
    inventory.processors = map(&processors, parts::processor);
    inventory.memory_modules = map(&memory, parts::memory_module);
    inventory.drives = map(&drives, parts::drive);
    if inventory.drives.is_empty() {
        match simple_storage(system).await {
            Ok(drives) => inventory.drives = drives,
            Err(error) => {
                keep_or_note::<Drive>(&mut unread, DRIVES, Err(error))?;
            }
        }
    }
    inventory.network_interfaces = map(&interfaces, parts::network_interface);
    inventory.firmware = map(&firmware, parts::firmware);
    inventory.unread = unread;
    complete(&mut inventory, system);
    Ok(Found { inventory, events })
}

/// What could not be read now is as it was known before, if that was the same machine.
pub(super) fn keep_unread(now: &mut Inventory, before: Inventory) {
    let same = now.uuid == before.uuid && now.serial_number == before.serial_number;
    if !same || (now.uuid.is_none() && now.serial_number.is_none()) {
        return;
    }
    let unread = |part| now.unread.iter().any(|unread: &Unread| unread.part == part);
    let [processors, memory, drives, interfaces, firmware] =
        [PROCESSORS, MEMORY, DRIVES, INTERFACES, FIRMWARE].map(unread);
    if processors {
        now.processors = before.processors;
        now.cpus = now.cpus.or(before.cpus);
    }
    if memory {
        now.memory_modules = before.memory_modules;
        now.memory_bytes = now.memory_bytes.or(before.memory_bytes);
    }
    if drives && now.drives.is_empty() {
        now.drives = before.drives;
    }
    if interfaces {
        now.network_interfaces = before.network_interfaces;
    }
    if firmware {
        now.firmware = before.firmware;
    }
}

/// Totals: what the system says, or the sum of its parts.
fn complete(inventory: &mut Inventory, system: &System) {
    let doc = system.doc();
    let threads: u32 = inventory
        .processors
        .iter()
        .filter(|processor| processor.kind.as_deref().is_none_or(|kind| kind == "CPU"))
        .filter_map(|processor: &Processor| processor.threads.or(processor.cores))
        .fold(0, u32::saturating_add);
    inventory.cpus = doc
        .unsigned32("/ProcessorSummary/LogicalProcessorCount")
        .or((threads > 0).then_some(threads))
        .or_else(|| doc.unsigned32("/ProcessorSummary/Count"));
    let modules: u64 = inventory
        .memory_modules
        .iter()
        .filter_map(|module: &MemoryModule| module.bytes)
        .fold(0, u64::saturating_add);
    inventory.memory_bytes = parts::summary_memory_bytes(doc).or((modules > 0).then_some(modules));
}

fn map<T>(resources: &[Resource], read: fn(&Resource) -> Option<T>) -> Vec<T> {
    resources.iter().filter_map(read).collect()
}

/// Whether an error is about one part only.
fn keep_or_note<T>(
    unread: &mut Vec<Unread>,
    part: &'static str,
    result: Result<Vec<T>, ActionError>,
) -> Result<Vec<T>, ActionError> {
    result.or_else(|error| match error.reason {
        Reason::BmcError | Reason::NotFound | Reason::NotSupported | Reason::Timeout => {
            unread.push(Unread { part: part.to_owned(), message: error.message });
            Ok(Vec::new())
        }
        _ => Err(error),
    })
}

/// The members of a collection that the system links to.
async fn listed(system: &System, pointer: &str) -> Result<Vec<Resource>, ActionError> {
    let Some(collection) = system.doc().link(pointer) else { return Ok(Vec::new()) };
    members(system, &collection).await
}

/// The members of a collection that may not be there, though linked.
async fn members(system: &System, collection: &Path) -> Result<Vec<Resource>, ActionError> {
    let read = system.bmc.members(collection, MEMBERS_MAX, &system.quirks, &system.budget).await;
    absent_as_empty(read)
}

fn absent_as_empty<T>(read: Result<Vec<T>, ActionError>) -> Result<Vec<T>, ActionError> {
    match read {
        Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotSupported) => {
            Ok(Vec::new())
        }
        other => other,
    }
}

/// The disks, each with a resource of its own.
pub(super) async fn drives(system: &System) -> Result<Vec<Resource>, ActionError> {
    let mut drives = Vec::new();
    for storage in listed(system, "/Storage").await? {
        for path in storage.doc().links("/Drives") {
            if drives.len() >= MEMBERS_MAX {
                return Ok(drives);
            }
            drives.extend(system.bmc.get_optional(&path, &system.budget).await?);
        }
    }
    Ok(drives)
}

/// What a resource of [`firmware`] says, unless it is not installed.
pub(super) fn installed(resource: &Resource) -> Option<Firmware> {
    parts::firmware(resource)
}

/// The older description of disks, without links to each.
async fn simple_storage(system: &System) -> Result<Vec<Drive>, ActionError> {
    let controllers = listed(system, "/SimpleStorage").await?;
    let devices = controllers.iter().flat_map(|controller| controller.doc().list("/Devices"));
    Ok(devices.filter_map(parts::simple_device).take(MEMBERS_MAX).collect())
}

/// What is installed, each with a resource of its own.
pub(super) async fn firmware(system: &System) -> Result<Vec<Resource>, ActionError> {
    let root = system.bmc.root(&system.budget).await?;
    let Some(service) = root.doc().link("/UpdateService") else { return Ok(Vec::new()) };
    let Some(service) = system.bmc.get_optional(&service, &system.budget).await? else {
        return Ok(Vec::new());
    };
    let Some(collection) = service.doc().link("/FirmwareInventory") else { return Ok(Vec::new()) };
    members(system, &collection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(uuid: &str, drives: &[&str], unread: &[&str]) -> Inventory {
        let drive = |id: &&str| Drive { id: (*id).to_owned(), ..Drive::default() };
        let note =
            |part: &&str| Unread { part: (*part).to_owned(), message: "says 500".to_owned() };
        Inventory {
            uuid: Some(uuid.to_owned()),
            drives: drives.iter().map(drive).collect(),
            unread: unread.iter().map(note).collect(),
            ..Inventory::default()
        }
    }

    #[test]
    fn a_part_that_is_not_read_stays_as_it_was_known_of_the_same_machine() {
        let before = inventory("a", &["d1", "d2"], &[]);
        for (what, mut now, wanted) in [
            ("not read", inventory("a", &[], &["drives"]), 2),
            ("read, and gone", inventory("a", &[], &[]), 0),
            ("another part", inventory("a", &[], &["memory"]), 0),
            ("another machine", inventory("b", &[], &["drives"]), 0),
            ("read from elsewhere", inventory("a", &["d3"], &["drives"]), 1),
        ] {
            keep_unread(&mut now, before.clone());
            assert_eq!(now.drives.len(), wanted, "{what}");
        }
    }
}
