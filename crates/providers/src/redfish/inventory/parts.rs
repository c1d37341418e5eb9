//! One resource in, one part of the inventory out. Pure.

use quarterdeck_model::inventory::{
    Drive, Firmware, Inventory, MemoryModule, NetworkInterface, Problem, Processor,
};

use super::super::resource::{Doc, Resource};

const GIB: f64 = 1_073_741_824.0;
const MIB: u64 = 1_048_576;

/// The system's own properties.
pub(super) fn system(doc: Doc<'_>) -> Inventory {
    Inventory {
        manufacturer: doc.text("/Manufacturer"),
        model: doc.text("/Model"),
        serial_number: doc.text("/SerialNumber"),
        sku: doc.text("/SKU"),
        uuid: doc.text("/UUID"),
        bios_version: doc.text("/BiosVersion"),
        health: health(doc),
        ..Inventory::default()
    }
}

/// Memory as the system sums it up. Some firmwares give a fraction.
pub(super) fn summary_memory_bytes(doc: Doc<'_>) -> Option<u64> {
    let gib = doc.float("/MemorySummary/TotalSystemMemoryGiB")?;
    // More than an exbibyte is not a memory size but a mistake.
    let plausible = gib > 0.0 && gib < GIB;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    plausible.then_some((gib * GIB).round() as u64)
}

pub(super) fn processor(resource: &Resource) -> Option<Processor> {
    let doc = present(resource)?;
    Some(Processor {
        id: doc.text("/Socket").or_else(|| id(resource))?,
        kind: doc.text("/ProcessorType"),
        model: doc.text("/Model"),
        cores: doc.unsigned32("/TotalCores"),
        threads: doc.unsigned32("/TotalThreads"),
    })
}

pub(super) fn memory_module(resource: &Resource) -> Option<MemoryModule> {
    let doc = present(resource)?;
    let bytes = doc.unsigned("/CapacityMiB").and_then(|mib| mib.checked_mul(MIB));
    // Empty slots without a state have no size.
    bytes.filter(|bytes| *bytes > 0)?;
    Some(MemoryModule {
        id: doc.text("/DeviceLocator").or_else(|| id(resource))?,
        bytes,
        part_number: doc.text("/PartNumber"),
    })
}

pub(super) fn drive(resource: &Resource) -> Option<Drive> {
    let doc = present(resource)?;
    Some(Drive {
        id: id(resource)?,
        model: doc.text("/Model"),
        serial_number: doc.text("/SerialNumber"),
        bytes: doc.unsigned("/CapacityBytes"),
        media: doc.text("/MediaType"),
    })
}

/// A device of SimpleStorage.
pub(super) fn simple_device(doc: Doc<'_>) -> Option<Drive> {
    (doc.text("/Status/State").as_deref() != Some("Absent")).then_some(())?;
    Some(Drive {
        id: doc.text("/Name")?,
        model: doc.text("/Model"),
        bytes: doc.unsigned("/CapacityBytes"),
        ..Drive::default()
    })
}

pub(super) fn network_interface(resource: &Resource) -> Option<NetworkInterface> {
    let doc = present(resource)?;
    let mac = doc.text("/PermanentMACAddress").or_else(|| doc.text("/MACAddress"));
    Some(NetworkInterface {
        id: id(resource)?,
        mac_address: mac.map(|mac| mac.to_ascii_lowercase().replace('-', ":")),
        speed_mbps: doc.unsigned("/SpeedMbps").filter(|speed| *speed > 0),
        link_status: doc.text("/LinkStatus"),
    })
}

/// What is installed. Dell also lists the versions it could go back to.
pub(super) fn firmware(resource: &Resource) -> Option<Firmware> {
    let doc = present(resource)?;
    let id = id(resource)?;
    if id.starts_with("Previous-") || id.starts_with("Available-") {
        return None;
    }
    Some(Firmware {
        name: doc.text("/Name").unwrap_or(id),
        version: doc.text("/Version"),
        updateable: doc.flag("/Updateable"),
    })
}

/// The part as a problem, when it is not well.
pub(super) fn problem(doc: Doc<'_>) -> Option<Problem> {
    let health = health(doc).filter(|health| matches!(health.as_str(), "Warning" | "Critical"))?;
    Some(Problem {
        part: doc.text("/Name").or_else(|| doc.text("/Id"))?,
        health,
        message: doc.text("/Status/Conditions/0/Message").or_else(|| reading(doc)),
    })
}

/// A sensor's reading with its unit.
fn reading(doc: Doc<'_>) -> Option<String> {
    if let Some(celsius) = doc.float("/ReadingCelsius") {
        return Some(format!("reads {celsius} Cel"));
    }
    let value = doc.float("/Reading").or_else(|| doc.float("/ReadingVolts"))?;
    let unit = doc.text("/ReadingUnits").unwrap_or_default();
    Some(format!("reads {value} {unit}").trim_end().to_owned())
}

/// The worst of the part and what is in it. Both spellings are in the field.
fn health(doc: Doc<'_>) -> Option<String> {
    doc.text("/Status/HealthRollup")
        .or_else(|| doc.text("/Status/HealthRollUp"))
        .or_else(|| doc.text("/Status/Health"))
}

/// The document, unless it describes an empty slot.
fn present(resource: &Resource) -> Option<Doc<'_>> {
    let doc = resource.doc();
    (doc.text("/Status/State").as_deref() != Some("Absent")).then_some(doc)
}

fn id(resource: &Resource) -> Option<String> {
    let named = resource.doc().text("/Id");
    named.or_else(|| Some(resource.path.last_segment().to_owned()).filter(|id| !id.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::super::super::resource::Path;
    use super::*;
    use serde_json::{Value, json};

    fn resource(json: Value) -> Resource {
        Resource { path: Path::parse("/redfish/v1/x/7").unwrap(), etag: None, json }
    }

    #[test]
    fn empty_slots_are_left_out() {
        let absent = resource(json!({"Id": "A1", "Status": {"State": "Absent"}}));
        assert_eq!(processor(&absent), None);
        assert_eq!(memory_module(&absent), None);
        assert_eq!(drive(&absent), None);
        assert_eq!(memory_module(&resource(json!({"CapacityMiB": null}))), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let module = memory_module(&resource(json!({"CapacityMiB": 65536}))).unwrap();
        assert_eq!((module.id.as_str(), module.bytes), ("7", Some(64 << 30)));
        let doc = json!({"MemorySummary": {"TotalSystemMemoryGiB": 0.5}});
        assert_eq!(summary_memory_bytes(Doc(&doc)), Some(512 << 20));
        let doc = json!({"MemorySummary": {"TotalSystemMemoryGiB": -1}});
        assert_eq!(summary_memory_bytes(Doc(&doc)), None);
    }

    #[test]
    fn interfaces_have_normal_mac_addresses() {
        let nic = json!({"Id": "1", "MACAddress": "AA-BB-CC-00-11-22", "SpeedMbps": 25000});
        let nic = network_interface(&resource(nic)).unwrap();
        assert_eq!(nic.mac_address.as_deref(), Some("aa:bb:cc:00:11:22"));
    }

    #[test]
    fn only_what_is_not_well_is_a_problem() {
        let fan = |health| json!({"Name": "Fan 2", "Reading": 900, "ReadingUnits": "RPM", "Status": {"Health": health}});
        assert_eq!(problem(Doc(&fan("OK"))), None);
        let bad = problem(Doc(&fan("Critical"))).unwrap();
        assert_eq!((bad.part.as_str(), bad.message.as_deref()), ("Fan 2", Some("reads 900 RPM")));
    }

    #[test]
    fn versions_to_go_back_to_are_left_out() {
        assert!(firmware(&resource(json!({"Id": "Previous-1", "Version": "1"}))).is_none());
        assert!(firmware(&resource(json!({"Id": "Installed-1", "Version": "2"}))).is_some());
    }
}
