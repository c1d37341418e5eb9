//! ServerProfile: what must be in a server and which firmware it should have, and how a server differs. Pure.

use super::{FirmwareBaseline, INVENTORY, Resource, V1ALPHA1};
use crate::{
    Column, ColumnType, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope,
    inventory::Inventory, kind_info, quantity::Quantity,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a server should be.
pub type ServerProfile = Resource<ServerProfileSpec, ServerProfileStatus>;

/// Most entries of each list.
const LIST_MAX: usize = 100;
/// Type of a processor whose BMC does not say one.
const CPU: &str = "CPU";

/// What a server should be. What is not set may be anything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerProfileSpec {
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// Model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Memory, at least, such as `512Gi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Memory modules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_modules: Option<u32>,
    /// Processors and accelerators.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub processors: Vec<ExpectedProcessors>,
    /// Disks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub drives: Vec<ExpectedDrives>,
    /// Network interfaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub network_interfaces: Vec<ExpectedInterfaces>,
    /// Firmware it should have. A server with another version can be used, and says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub firmware: Vec<FirmwareBaseline>,
}

/// Processors that must be there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpectedProcessors {
    /// How many.
    pub count: u32,
    /// What they are: `CPU` when not set, or `GPU`, `FPGA`, `DSP`, `Accelerator`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Disks that must be there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpectedDrives {
    /// How many.
    pub count: u32,
    /// `HDD`, `SSD` or `SMR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// Model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Size of each, at least, such as `3840G`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
}

/// Network interfaces that must be there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpectedInterfaces {
    /// How many.
    pub count: u32,
    /// Speed of each, at least, in megabits a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u64>,
    /// Only those with a cable and a peer count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub link_up: bool,
}

impl ServerProfileSpec {
    /// What is missing or wrong in a server, each as a sentence without its end; nothing when all is as it must be.
    #[must_use]
    pub fn differences(&self, found: &Inventory) -> Vec<String> {
        let mut wrong = Vec::new();
        text(&mut wrong, "manufacturer", self.manufacturer.as_ref(), found.manufacturer.as_ref());
        text(&mut wrong, "model", self.model.as_ref(), found.model.as_ref());
        // What is written here was checked to be a number when it was admitted.
        if let Some(memory) = &self.memory
            && let Ok(wanted) = memory.count()
            && found.memory_bytes.is_none_or(|bytes| bytes < wanted)
        {
            let has = found.memory_bytes.map_or("none is shown".into(), gibibytes);
            wrong.push(format!("memory must be at least {memory}, and is {has}"));
        }
        if let Some(wanted) = self.memory_modules {
            count(&mut wrong, wanted, found.memory_modules.len(), "memory modules", true);
        }
        for expected in &self.processors {
            let (has, what) = expected.found(found);
            count(&mut wrong, expected.count, has, &what, true);
        }
        for expected in &self.drives {
            let (has, what) = expected.found(found);
            count(&mut wrong, expected.count, has, &what, false);
        }
        for expected in &self.network_interfaces {
            let (has, what) = expected.found(found);
            count(&mut wrong, expected.count, has, &what, false);
        }
        wrong
    }
}

impl ExpectedProcessors {
    fn found(&self, inventory: &Inventory) -> (usize, String) {
        let kind = self.kind.as_deref().unwrap_or(CPU);
        let is = inventory.processors.iter().filter(|it| {
            it.kind.as_deref().unwrap_or(CPU) == kind
                && same(self.model.as_ref(), it.model.as_ref())
        });
        let model = self.model.as_ref().map(|model| format!(" {model}")).unwrap_or_default();
        (is.count(), format!("{kind} processors{model}"))
    }
}

impl ExpectedDrives {
    fn found(&self, inventory: &Inventory) -> (usize, String) {
        let size = self.size.as_ref().and_then(|size| size.count().ok());
        let is = inventory.drives.iter().filter(|it| {
            same(self.media.as_ref(), it.media.as_ref())
                && same(self.model.as_ref(), it.model.as_ref())
                && size.is_none_or(|size| it.bytes.is_some_and(|bytes| bytes >= size))
        });
        let words = [self.media.as_deref(), self.model.as_deref(), Some("drives")];
        let mut what = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        if let Some(size) = &self.size {
            what = format!("{what} of at least {size}");
        }
        (is.count(), what)
    }
}

impl ExpectedInterfaces {
    fn found(&self, inventory: &Inventory) -> (usize, String) {
        let is = inventory.network_interfaces.iter().filter(|it| {
            self.speed_mbps.is_none_or(|speed| it.speed_mbps.is_some_and(|found| found >= speed))
                && (!self.link_up || it.link_status.as_deref() == Some("LinkUp"))
        });
        let speed = self.speed_mbps.map(|speed| format!(" of at least {speed} Mbit/s"));
        let link = if self.link_up { " with a link" } else { "" };
        (is.count(), format!("network interfaces{}{link}", speed.unwrap_or_default()))
    }
}

fn same(wanted: Option<&String>, found: Option<&String>) -> bool {
    wanted.is_none_or(|wanted| found == Some(wanted))
}

fn text(wrong: &mut Vec<String>, what: &str, wanted: Option<&String>, found: Option<&String>) {
    if let Some(wanted) = wanted
        && found != Some(wanted)
    {
        let has = found.map_or("none is shown".into(), |found| format!("{found:?}"));
        wrong.push(format!("{what} must be {wanted:?}, and is {has}"));
    }
}

/// What there is more of than wanted is wrong only where it is `exact`.
fn count(wrong: &mut Vec<String>, wanted: u32, found: usize, what: &str, exact: bool) {
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    if found < wanted {
        wrong.push(format!("{found} of {wanted} {what} are there"));
    } else if exact && found > wanted {
        wrong.push(format!("{found} {what} are there, {wanted} were expected"));
    }
}

fn gibibytes(bytes: u64) -> String {
    format!("{}Gi", bytes >> 30)
}

/// What is seen of a profile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerProfileStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for ServerProfile {
    const GROUP: &'static str = INVENTORY;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "ServerProfile";
    const PLURAL: &'static str = "serverprofiles";
    const SINGULAR: &'static str = "serverprofile";
    const SHORT_NAMES: &'static [&'static str] = &["sprof"];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("Model", "spec.model", "Model"),
        Column::new("Memory", "spec.memory", "Memory, at least"),
        Column::new("Modules", "spec.memoryModules", "Memory modules").of(ColumnType::Integer),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &[];
    const DESCRIPTION: &'static str =
        "ServerProfile is what a server should be: its parts and its firmware.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        let sizes = spec.drives.iter().enumerate();
        let sizes = sizes.map(|(at, it)| (format!("spec.drives[{at}].size"), it.size.as_ref()));
        let memory = ("spec.memory".to_owned(), spec.memory.as_ref());
        for (field, quantity) in sizes.chain([memory]) {
            if let Some(quantity) = quantity
                && let Err(why) = quantity.count()
            {
                errors.push(FieldError::invalid(field, quantity, why));
            }
        }
        let lists = [
            ("spec.processors", spec.processors.len()),
            ("spec.drives", spec.drives.len()),
            ("spec.networkInterfaces", spec.network_interfaces.len()),
            ("spec.firmware", spec.firmware.len()),
        ];
        for (field, length) in lists {
            if length > LIST_MAX {
                let why = format!("may have at most {LIST_MAX} entries");
                errors.push(FieldError::invalid(field, length, why));
            }
        }
        for (at, firmware) in spec.firmware.iter().enumerate() {
            firmware.validate(&format!("spec.firmware[{at}]"), errors);
        }
    }

    kind_info!(ServerProfile);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn profile(spec: Value) -> ServerProfileSpec {
        serde_json::from_value(spec).unwrap()
    }

    fn found() -> Inventory {
        serde_json::from_value(json!({
            "manufacturer": "Halyard", "model": "C410", "biosVersion": "2.6.0",
            "memoryBytes": 64_u64 << 30, "cpus": 32,
            "processors": [{"id": "1", "model": "x"}, {"id": "2", "type": "GPU", "model": "y"}],
            "memoryModules": [{"id": "A1"}, {"id": "B1"}],
            "drives": [{"id": "1", "media": "SSD", "bytes": 3_840_000_000_000_u64}, {"id": "2", "media": "HDD"}],
            "networkInterfaces": [
                {"id": "1", "speedMbps": 25_000, "linkStatus": "LinkUp"},
                {"id": "2", "speedMbps": 25_000, "linkStatus": "LinkDown"},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_as_it_must_be_has_no_differences() {
        let all = profile(json!({
            "manufacturer": "Halyard", "model": "C410", "memory": "64Gi", "memoryModules": 2,
            "processors": [{"count": 1}, {"count": 1, "type": "GPU", "model": "y"}],
            "drives": [{"count": 1, "media": "SSD", "size": "3840G"}, {"count": 1}],
            "networkInterfaces": [{"count": 2, "speedMbps": 10_000}, {"count": 1, "linkUp": true}],
        }));
        assert_eq!(all.differences(&found()), [""; 0]);
        assert_eq!(profile(json!({})).differences(&Inventory::default()), [""; 0]);
    }

    #[test]
    fn each_difference_is_named() {
        let cases = [
            (json!({"model": "C510"}), r#"model must be "C510", and is "C410""#),
            (json!({"memory": "128Gi"}), "memory must be at least 128Gi, and is 64Gi"),
            (json!({"memoryModules": 4}), "2 of 4 memory modules are there"),
            (json!({"memoryModules": 1}), "2 memory modules are there, 1 were expected"),
            (json!({"processors": [{"count": 2}]}), "1 of 2 CPU processors are there"),
            (
                json!({"processors": [{"count": 0, "type": "GPU"}]}),
                "1 GPU processors are there, 0 were expected",
            ),
            (
                json!({"drives": [{"count": 2, "media": "SSD", "size": "3840G"}]}),
                "1 of 2 SSD drives of at least 3840G are there",
            ),
            (
                json!({"networkInterfaces": [{"count": 2, "speedMbps": 25_000, "linkUp": true}]}),
                "1 of 2 network interfaces of at least 25000 Mbit/s with a link are there",
            ),
        ];
        for (spec, difference) in cases {
            assert_eq!(profile(spec.clone()).differences(&found()), [difference], "{spec}");
        }
    }
}
