//! Instance: one running copy of a service, and what it runs on.

use super::{
    Resource, SERVICES, V1ALPHA1,
    container::{BoundPort, CONTAINERS_FINALIZER, ContainerStatus, PodSpec},
};
use crate::{
    Column, ColumnType, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time,
    kind_info, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Annotation of an instance that is unreachable: the phase that it was in. Whoever runs it may be nobody who reports.
pub const PHASE_BEFORE: &str = "quarterdeck.dev/phase-before";
/// Annotation of an instance that is to go elsewhere, as kubectl drain asks: with why.
pub const EVICT: &str = "quarterdeck.dev/evict";

/// One running copy of a service.
pub type Instance = Resource<InstanceSpec, InstanceStatus>;

/// What is wanted of an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSpec {
    /// Name of the Service, in the same namespace.
    pub service: String,
    /// Name of the Workload it is a copy of, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Which revision of its workload it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub revision: Option<i64>,
    /// What it runs on.
    pub host: HostReference,
    /// How much it matters beside others: of those that do not fit on a host, higher ones stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000_000, max = 1_000_000_000))]
    pub priority: Option<i32>,
    /// What the agent of its host runs. Without it, something else runs it and says so in its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodSpec>,
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

/// Field selector of the instances on a machine.
#[must_use]
pub fn instances_on_machine(namespace: &str, name: &str) -> String {
    format!("metadata.namespace={namespace},spec.host.kind=Machine,spec.host.name={name}")
}

/// What kind of host an instance runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostKind {
    /// A Server itself.
    #[default]
    Server,
    /// A Machine, in the namespace of the instance.
    Machine,
    /// A Cluster, in the namespace of the instance: which of its nodes, it says in its status.
    Cluster,
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
    /// Its containers, as its host sees them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub containers: Vec<ContainerStatus>,
    /// Its own address on its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Ports of the host at which it is reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<BoundPort>,
    /// Name of the Pod that it is, in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Name of the node that runs it, in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Name of the Machine that this node is, in the same namespace, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// When its host began with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
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
        Column::new("Containers", "status.containers", "How many containers are seen of it")
            .of(ColumnType::Count)
            .wide(),
        Column::new("Address", "status.address", "Its own address on its host").wide(),
        Column::new("Node", "status.node", "Node of its cluster that runs it").wide(),
        Column::new("Message", "status.message", "Why it is not ready").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &[
        "spec.service",
        "spec.workload",
        "spec.host.kind",
        "spec.host.name",
        "status.phase",
        "status.machine",
    ];
    const DESCRIPTION: &'static str = "Instance is one running copy of a service, on one host.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn set_defaults(&mut self) {
        let Some(template) = &mut self.spec.template else { return };
        template.set_defaults();
        let meta = &mut self.metadata;
        // Whoever takes it off does that while it goes.
        if meta.deletion_timestamp.is_none()
            && !meta.finalizers.iter().any(|it| it == CONTAINERS_FINALIZER)
        {
            meta.finalizers.push(CONTAINERS_FINALIZER.into());
        }
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        let names =
            [("spec.service", &self.spec.service), ("spec.host.name", &self.spec.host.name)];
        for (field, name) in names {
            if let Err(why) = validate::subdomain(name) {
                errors.push(FieldError::invalid(field, format!("{name:?}"), why));
            }
        }
        if let Some(workload) = &self.spec.workload
            && let Err(why) = validate::subdomain(workload)
        {
            errors.push(FieldError::invalid("spec.workload", format!("{workload:?}"), why));
        }
        if let Some(template) = &self.spec.template {
            template.validate("spec.template", errors);
            if self.spec.host.kind != HostKind::Machine {
                let why = "must be Machine: only an agent runs containers, and it is on a Machine";
                let value = format!("{:?}", self.spec.host.kind);
                errors.push(FieldError::invalid("spec.host.kind", value, why));
            }
        }
        if old.is_some_and(|old| old.spec != self.spec) {
            let why = "an instance stays what it is and where it is; create another one";
            errors.push(FieldError::forbidden("spec", why));
        }
    }

    kind_info!(Instance);
}
