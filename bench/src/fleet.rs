//! Servers as a real fleet has them: 2 KB of JSON each, with labels, fields and serial numbers
//! that vary as they do in data centres. The same number always makes the same server.

use crate::Failure;
use bytes::Bytes;
use quarterdeck_model::{Key, Kind as _, KindRef, kinds::Server, object};
use quarterdeck_store::{BATCH_MAX, Backend, Mutation, Precondition, Store, Write};
use serde_json::{Value, json};

/// Servers in one rack.
const PER_RACK: usize = 20;
/// Racks in one site.
const PER_SITE: usize = 500;
const MODELS: [&str; 4] =
    ["PowerEdge R6615", "PowerEdge R7625", "ProLiant DL325", "ThinkSystem SR645"];
const ROLES: [&str; 5] = ["compute", "storage", "database", "gpu", "edge"];
const PHASES: [&str; 5] = ["Ready", "InUse", "InUse", "InUse", "Quarantined"];

/// The kind of all objects here.
pub(crate) fn kind() -> KindRef {
    Server::info()
}

/// Name of a server.
pub(crate) fn name(number: usize) -> String {
    let (rack, unit) = (number / PER_RACK, number % PER_RACK);
    format!("{}-u{:02}", rack_name(rack), 2 * unit + 1)
}

fn rack_name(rack: usize) -> String {
    format!("site{:02}-r{:03}", rack / PER_SITE, rack % PER_SITE)
}

/// A choice that looks random and is the same each time.
fn pick<'c>(choices: &[&'c str], number: usize, salt: u64) -> &'c str {
    let at = usize::try_from(mixed(number, salt) % choices.len() as u64).unwrap_or(0);
    choices.get(at).copied().unwrap_or_default()
}

/// Well-mixed bits of a number (the finaliser of SplitMix64).
pub(crate) fn mixed(number: usize, salt: u64) -> u64 {
    let mut bits = (number as u64).wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

pub(crate) fn uid(number: usize, salt: u64) -> String {
    let (high, low) = (mixed(number, salt), mixed(number, salt + 1));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// One server, at its `version`th version.
pub(crate) fn server(number: usize, version: usize) -> Value {
    let rack = rack_name(number / PER_RACK);
    let serial = format!("CN{:010X}", mixed(number, 3) & 0xff_ffff_ffff);
    let model = pick(&MODELS, number, 4);
    let nic = |port: u64| {
        let bits = mixed(number, 10 + port);
        json!({
            "id": format!("NIC.Integrated.1-{port}"),
            "linkStatus": "LinkUp",
            "macAddress": format!(
                "b0:7b:25:{:02x}:{:02x}:{:02x}", bits & 0xff, (bits >> 8) & 0xff, (bits >> 16) & 0xff
            ),
            "speedMbps": 25_000,
        })
    };
    json!({
        "metadata": {
            "annotations": {"quarterdeck.dev/asset": format!("A{:08}", number + 10_000_000)},
            "creationTimestamp": "2026-03-14T09:26:53Z",
            "generation": 1 + version,
            "labels": {
                "environment": pick(&["production", "staging", "development"], number, 5),
                "hardware": pick(&["compute-gen4", "compute-gen5", "storage-gen2"], number, 6),
                "rack": rack,
                "role": pick(&ROLES, number, 7),
                "site": rack.split('-').next(),
            },
            "name": name(number),
            "uid": uid(number, 1),
        },
        "spec": {
            "bmc": {
                "address": format!("{}.bmc.example.com", name(number)),
                "credentialsSecretRef": {"name": "bmc", "namespace": "default"},
                "protocol": "Redfish",
                "tls": {"verify": "Full"},
            },
            "location": {"rack": rack, "unit": 2 * (number % PER_RACK) + 1},
            "serial": serial,
        },
        "status": {
            "conditions": [{
                "lastTransitionTime": "2026-03-14T09:31:07Z",
                "message": "inspected; all parts are healthy",
                "observedGeneration": 1,
                "reason": "Inspected",
                "status": "True",
                "type": "Ready",
            }],
            "inventory": {
                "biosVersion": "1.11.2",
                "cpus": 2,
                "drives": [
                    {"bytes": 960_197_124_096_u64, "id": "Disk.0", "media": "SSD", "model": "MZQL2960HCJR-00A07", "serialNumber": format!("S64F{:08X}", mixed(number, 8) & 0xffff_ffff)},
                    {"bytes": 960_197_124_096_u64, "id": "Disk.1", "media": "SSD", "model": "MZQL2960HCJR-00A07", "serialNumber": format!("S64F{:08X}", mixed(number, 9) & 0xffff_ffff)},
                ],
                "firmware": [
                    {"name": "BIOS", "updateable": true, "version": "1.11.2"},
                    {"name": "Integrated Dell Remote Access Controller", "updateable": true, "version": "7.10.30.00"},
                ],
                "health": "OK",
                "manufacturer": "Dell Inc.",
                "memoryBytes": 412_316_860_416_u64,
                "memoryModules": [
                    {"bytes": 206_158_430_208_u64, "id": "DIMM.A1", "partNumber": "HMCG84AGBRA190N"},
                    {"bytes": 206_158_430_208_u64, "id": "DIMM.B1", "partNumber": "HMCG84AGBRA190N"},
                ],
                "model": model,
                "networkInterfaces": [nic(1), nic(2)],
                "processors": [{"cores": 32, "id": "CPU.Socket.1", "model": "AMD EPYC 9354P", "threads": 64}],
                "serialNumber": serial,
                "uuid": uid(number, 20),
            },
            "inventoryTime": "2026-03-14T09:31:07Z",
            "observedGeneration": 1 + version,
            "phase": pick(&PHASES, number, 11),
            "phaseSince": "2026-03-14T09:31:07Z",
            "powerState": "On",
        },
    })
}

/// A write of one server.
pub(crate) fn put(number: usize, version: usize) -> Mutation {
    write(kind(), &server(number, version))
}

/// A write of any object.
pub(crate) fn write(kind: KindRef, value: &Value) -> Mutation {
    let text = |path| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
    Mutation {
        key: Key::new(kind, text("/metadata/namespace"), text("/metadata/name")),
        write: Write::Put(Bytes::from(object::encode(kind, value))),
        precondition: Precondition::None,
        fence: None,
    }
}

/// Writes `count` servers to an empty backend; answers the sum of their bytes.
pub(crate) async fn fill(backend: &dyn Backend, count: usize) -> Result<u64, Failure> {
    let mut bytes = 0;
    for first in (0..count).step_by(BATCH_MAX) {
        let batch: Vec<Mutation> =
            (first..count.min(first + BATCH_MAX)).map(|number| put(number, 0)).collect();
        bytes += batch.iter().map(size).sum::<u64>();
        backend.commit(&batch).await?;
    }
    Ok(bytes)
}

pub(crate) fn size(mutation: &Mutation) -> u64 {
    match &mutation.write {
        Write::Put(body) => body.len() as u64,
        Write::Delete => 0,
    }
}

/// An open store with `count` servers in SQLite under `folder`.
pub(crate) async fn store(folder: &std::path::Path, count: usize) -> Result<Store, Failure> {
    let backend = std::sync::Arc::new(quarterdeck_store::Sqlite::open(folder)?);
    fill(backend.as_ref(), count).await?;
    Ok(Store::open(backend).await?)
}
