//! Instance: one running copy of a service, and what it runs on.

use super::{Resource, SERVICES, V1ALPHA1};
use crate::{
    Column, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time, kind_info, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One running copy of a service.
pub type Instance = Resource<InstanceSpec, InstanceStatus>;

/// What is wanted of an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSpec {
    /// Name of the Service, in the same namespace.
    pub service: String,
    /// What it runs on.
    pub host: HostReference,
}

/// What an instance runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct HostReference {
    /// What kind of host.
    #[serde(default)]
    pub kind: HostKind,
    /// Its name.
    pub name: String,
}

/// What kind of host an instance runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostKind {
    /// A Server itself.
    #[default]
    Server,
    /// A Machine, in the namespace of the instance.
    Machine,
}

/// Where an instance is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InstancePhase {
    /// Not begun.
    #[default]
    Pending,
    /// Begins.
    Starting,
    /// Does its work. The only phase in which it is available.
    Ready,
    /// Runs, and cannot do its work.
    NotReady,
    /// Ends in order.
    Stopping,
    /// Ended by itself.
    Failed,
    /// Nothing was heard of its host for too long.
    Unreachable,
}

/// What is seen of an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is.
    pub phase: InstancePhase,
    /// When it came there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<Time>,
    /// Why it is not ready, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Instance {
    const GROUP: &'static str = SERVICES;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Instance";
    const PLURAL: &'static str = "instances";
    const SINGULAR: &'static str = "instance";
    const SHORT_NAMES: &'static [&'static str] = &["inst"];
    const SCOPE: Scope = Scope::Namespaced;
    const COLUMNS: &'static [Column] = &[
        Column::new("Service", "spec.service", "Service it is a copy of"),
        Column::new("Host", "spec.host.name", "What it runs on"),
        Column::new("Phase", "status.phase", "Where it is"),
        Column::new("Message", "status.message", "Why it is not ready").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] =
        &["spec.service", "spec.host.kind", "spec.host.name", "status.phase"];
    const DESCRIPTION: &'static str = "Instance is one running copy of a service, on one host.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        let names =
            [("spec.service", &self.spec.service), ("spec.host.name", &self.spec.host.name)];
        for (field, name) in names {
            if let Err(why) = validate::subdomain(name) {
                errors.push(FieldError::invalid(field, format!("{name:?}"), why));
            }
        }
        if old.is_some_and(|old| old.spec != self.spec) {
            let why = "an instance stays what it is and where it is; create another one";
            errors.push(FieldError::forbidden("spec", why));
        }
    }

    kind_info!(Instance);
}
