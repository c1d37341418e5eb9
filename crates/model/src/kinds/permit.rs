//! Permit: a run asks the ledger in it for leave to disrupt its target, and is granted that until it ends, or told
//! who blocks. Written by the plane alone.

use super::{Resource, RunTarget, V1ALPHA1, WORKFLOWS};
use crate::{
    Column, ColumnType, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time, kind_info,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Leave to disrupt a target, with the same name as the run that asks for it.
pub type Permit = Resource<PermitSpec, PermitStatus>;

/// Name of the permit that asks for an instance alone. No run has such a name by chance, and none by design could be granted.
#[must_use]
pub fn instance_permit(instance: &str) -> String {
    format!("instance.{instance}")
}

/// What a run asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermitSpec {
    /// Identity of the run that asks: another run of the same name does not. Of an instance that its workload wants to
    /// stop, the instance's own.
    #[serde(rename = "runUID")]
    pub run_uid: String,
    /// What is to be disrupted.
    pub target: RunTarget,
    /// The runbook of the run: a freeze may except it.
    #[serde(default)]
    pub runbook: String,
    /// Since when it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Time>,
    /// The disruption may have begun, as when the plane stopped in the middle of it: it is granted, so that it is
    /// counted, whatever else is down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begun: bool,
    /// The run only asks what the answer would be now; nothing is taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// It is the owner's own change, as a rollout of his workload is. His budget and freezes hold for it; his maintenance
    /// windows, approvals and hook are for what others want.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_change: bool,
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

/// What the ledger has said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PermitPhase {
    /// Nothing yet.
    #[default]
    Asked,
    /// Not now; it is asked again when what blocks gives way.
    Waiting,
    /// The target may be disrupted until the run ends.
    Granted,
    /// It would be granted now to a run that is not a dry one. Nothing is taken.
    WouldBeGranted,
}

/// What the ledger has said, and what it counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PermitStatus {
    /// What it has said.
    pub phase: PermitPhase,
    /// Who blocks, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted: Option<Time>,
    /// Servers that may go.
    pub servers: u32,
    /// Instances on them.
    pub instances: u32,
    /// The services of those, the most concerned first; not more than are worth reading.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub services: Vec<PermittedLoss>,
    /// Who approved it, where that was wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub approved_by: Vec<String>,
    /// What the hooks of services said to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub hooks: Vec<HookAnswer>,
}

/// What the hook of a service said to a disruption that it let go ahead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookAnswer {
    /// `namespace/name` of the Service.
    pub service: String,
    /// What it said, or that it was silent, as a sentence.
    pub message: String,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

impl Permit {
    /// Whether the target may be disrupted.
    pub fn is_granted(&self) -> bool {
        self.status.phase == PermitPhase::Granted
    }
}

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
        Column::new("Hall", "spec.target.hall", "The hall of a site that it is").wide(),
        Column::new("Row", "spec.target.row", "The row of a site that it is").wide(),
        Column::new("Feed", "spec.target.powerFeed", "The power feed of a site that it is").wide(),
        Column::new("Phase", "status.phase", "Granted, or Waiting"),
        Column::new("Servers", "status.servers", "Servers that may go").of(ColumnType::Integer),
        Column::new("Instances", "status.instances", "Instances on them").of(ColumnType::Integer),
        Column::new("Granted", "status.granted", "When it was granted").of(ColumnType::Date),
        Column::new("Waits for", "status.message", "Who blocks, and why").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] =
        &["spec.runUID", "spec.target.kind", "spec.target.name", "status.phase"];
    const DESCRIPTION: &'static str = "Permit is leave of the ledger for a run to disrupt its target. The plane writes it before a run's first disruptive step, where it waits until the ledger grants it, and removes it when the run has ended.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        if old.is_some_and(|old| old.spec != self.spec) {
            errors.push(FieldError::forbidden("spec", "what is asked never changes"));
        }
    }

    kind_info!(Permit);
}
