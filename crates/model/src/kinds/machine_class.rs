//! MachineClass: a size and shape of machine, and which servers are of it.

use super::{COMPUTE, ObjectSelector, Resource, V1ALPHA1};
use crate::{
    Column, ColumnType, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope,
    inventory::Inventory, kind_info, quantity::Quantity, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A size and shape of machine that one or more providers can deliver.
pub type MachineClass = Resource<MachineClassSpec, MachineClassStatus>;

/// Most providers of a class.
const PROVIDERS_MAX: usize = 100;

/// What a machine of the class is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineClassSpec {
    /// Names of the Providers that deliver it; any, when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub providers: Vec<String>,
    /// Labels of the servers that are of this class; any, when empty.
    pub servers: ObjectSelector,
    /// What a server must have at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<MachineResources>,
}

/// What a machine has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineResources {
    /// Logical processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory, such as `512Gi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drives: Option<u32>,
}

impl MachineResources {
    /// Whether a server with that in it has as much.
    #[must_use]
    pub fn within(&self, found: &Inventory) -> bool {
        let drives = u32::try_from(found.drives.len()).unwrap_or(u32::MAX);
        // What is written here was checked to be a number when it was admitted.
        let memory = self.memory.as_ref().and_then(|memory| memory.count().ok());
        self.cpus.is_none_or(|cpus| found.cpus.is_some_and(|found| found >= cpus))
            && memory.is_none_or(|memory| found.memory_bytes.is_some_and(|found| found >= memory))
            && self.drives.is_none_or(|wanted| drives >= wanted)
    }
}

/// What is seen of a class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineClassStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for MachineClass {
    const GROUP: &'static str = COMPUTE;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "MachineClass";
    const PLURAL: &'static str = "machineclasses";
    const SINGULAR: &'static str = "machineclass";
    const SHORT_NAMES: &'static [&'static str] = &["mclass"];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("CPUs", "spec.minimum.cpus", "Logical processors, at least")
            .of(ColumnType::Integer),
        Column::new("Memory", "spec.minimum.memory", "Memory, at least"),
        Column::new("Drives", "spec.minimum.drives", "Disks, at least").of(ColumnType::Integer),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &[];
    const DESCRIPTION: &'static str =
        "MachineClass is a size and shape of machine that providers can deliver.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        spec.servers.validate("spec.servers", errors);
        if spec.providers.len() > PROVIDERS_MAX {
            let why = format!("at most {PROVIDERS_MAX}");
            errors.push(FieldError::invalid("spec.providers", spec.providers.len(), why));
        }
        for (at, provider) in spec.providers.iter().enumerate() {
            if let Err(why) = validate::subdomain(provider) {
                let field = format!("spec.providers[{at}]");
                errors.push(FieldError::invalid(field, format!("{provider:?}"), why));
            }
        }
        if let Some(memory) = spec.minimum.as_ref().and_then(|minimum| minimum.memory.as_ref())
            && let Err(why) = memory.count()
        {
            errors.push(FieldError::invalid("spec.minimum.memory", memory, why));
        }
    }

    kind_info!(MachineClass);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_class_takes_what_has_as_much() {
        let minimum: MachineResources =
            serde_json::from_value(json!({"cpus": 8, "memory": "16Gi", "drives": 1})).unwrap();
        let found = |cpus: u32, memory: u64, drives: usize| Inventory {
            cpus: Some(cpus),
            memory_bytes: Some(memory << 30),
            drives: vec![crate::inventory::Drive::default(); drives],
            ..Inventory::default()
        };
        assert!(minimum.within(&found(8, 16, 1)));
        assert!(minimum.within(&found(9, 17, 2)));
        for less in [found(7, 16, 1), found(8, 15, 1), found(8, 16, 0), Inventory::default()] {
            assert!(!minimum.within(&less), "{less:?}");
        }
        assert!(MachineResources::default().within(&Inventory::default()));
    }
}
