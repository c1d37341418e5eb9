//! Permit: what the ledger has given a run: it may disrupt its target until it ends. Written by the plane
//! alone.

use super::{Resource, RunTarget, V1ALPHA1, WORKFLOWS};
use crate::{
    Column, ColumnType, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time, kind_info,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Leave to disrupt a target, with the same name as the run that has it.
pub type Permit = Resource<PermitSpec, PermitStatus>;

/// What was permitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermitSpec {
    /// Identity of the run that has it: another run of the same name does not.
    #[serde(rename = "runUID")]
    pub run_uid: String,
    /// What may be disrupted.
    pub target: RunTarget,
    /// When it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted: Option<Time>,
    /// Servers that may go.
    pub servers: u32,
    /// Instances on them.
    pub instances: u32,
    /// The services of those, the most concerned first; not more than are worth reading.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub services: Vec<PermittedLoss>,
}

/// What a service may lose under a permit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermittedLoss {
    /// `namespace/name` of the Service.
    pub service: String,
    /// Instances of it.
    pub instances: u32,
}

/// A permit has no state of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PermitStatus {}

impl Kind for Permit {
    const GROUP: &'static str = WORKFLOWS;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Permit";
    const PLURAL: &'static str = "permits";
    const SINGULAR: &'static str = "permit";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Namespaced;
    const STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::new("Kind", "spec.target.kind", "What kind of target"),
        Column::new("Target", "spec.target.name", "What may be disrupted"),
        Column::new("Servers", "spec.servers", "Servers that may go").of(ColumnType::Integer),
        Column::new("Instances", "spec.instances", "Instances on them").of(ColumnType::Integer),
        Column::new("Granted", "spec.granted", "When it was given").of(ColumnType::Date),
    ];
    const INDEXED_FIELDS: &'static [&'static str] =
        &["spec.runUID", "spec.target.kind", "spec.target.name"];
    const DESCRIPTION: &'static str = "Permit is leave of the ledger for a run to disrupt its target. The plane writes it before a run's first disruptive step, and removes it when the run has ended.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        if old.is_some_and(|old| old.spec != self.spec) {
            errors.push(FieldError::forbidden("spec", "a permit never changes"));
        }
    }

    kind_info!(Permit);
}
