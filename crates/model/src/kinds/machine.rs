//! Machine: one managed instance of an operating system, owned by a team, whatever it runs on.

use super::{
    COMPUTE, Resource, Taint, V1ALPHA1,
    machine_agent::{AgentStatus, Allocatable, MachineAgent, MachineFacts, MachineLocation},
    placement::check_taints,
};
use crate::{
    Column, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time, kind_info, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One managed instance of an operating system.
pub type Machine = Resource<MachineSpec, MachineStatus>;

/// What is wanted of a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineSpec {
    /// Name of its MachineClass. A preinstalled machine has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// Name of the Image installed on it. Another one installs it anew. A preinstalled machine has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Its operating system is there already, and its agent joins: nothing is installed on it, and nothing wiped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preinstalled: bool,
    /// Where a preinstalled machine is whose server is not managed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<MachineLocation>,
    /// What is wanted of its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<MachineAgent>,
    /// Where it must be; anywhere its class allows, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<MachinePlacement>,
    /// Offers it to another team, with all that is on it. It goes there once a Machine of that name is created there
    /// whose `transferFrom` names this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_to: Option<MachineName>,
    /// Takes over a machine that another team offers, in place of having one installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_from: Option<MachineName>,
    /// Nothing new is placed on it; what is there stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unschedulable: bool,
    /// What is kept away from it, or moves off it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub taints: Vec<Taint>,
}

/// A Machine in a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct MachineName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Where a machine must be: all that is set must be so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePlacement {
    /// Name of the Site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Name of the Rack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// Name of the Server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MachinePhase {
    /// Waits for a server.
    #[default]
    Pending,
    /// Is being installed.
    Provisioning,
    /// Runs.
    Running,
    /// Is being installed anew.
    Updating,
    /// Is to go, and waits until nothing is hurt by that.
    Draining,
    /// What it ran on is being wiped.
    Deleting,
    /// Could not be installed, or lost its server. Its message says what can be done.
    Failed,
}

/// What is seen of a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is in its life.
    pub phase: MachinePhase,
    /// When it entered the phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<Time>,
    /// The Server it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The Image that is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Name or address at which it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The run that acts on it now, in its own namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_run: Option<String>,
    /// Identity of that run, once it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_run_uid: Option<String>,
    /// Servers on which it could not be installed: none of them is tried again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub failed_servers: Vec<String>,
    /// Identity of the Machine that takes its server over now: nothing more is begun for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transferring_to: Option<String>,
    /// The agent on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentStatus>,
    /// What the agent found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<MachineFacts>,
    /// What of it can be given to instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<Allocatable>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Machine {
    const GROUP: &'static str = COMPUTE;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Machine";
    const PLURAL: &'static str = "machines";
    const SINGULAR: &'static str = "machine";
    const SHORT_NAMES: &'static [&'static str] = &["mach"];
    const SCOPE: Scope = Scope::Namespaced;
    const COLUMNS: &'static [Column] = &[
        Column::new("Phase", "status.phase", "Where it is in its life"),
        Column::new("Class", "spec.class", "Its class"),
        Column::new("Server", "status.server", "Server it is on"),
        Column::new("Image", "status.image", "Image that is installed"),
        Column::new("Address", "status.address", "Where it is reached").wide(),
        Column::new("Run", "status.currentRun", "Run that acts on it now").wide(),
        Column::new(
            "Agent",
            "status.conditions[type=AgentConnected].status",
            "Whether its agent is connected",
        )
        .wide(),
        Column::new("Reason", "status.conditions[type=Ready].reason", "Why it is ready or not"),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &[
        "spec.class",
        "spec.image",
        "spec.transferTo.namespace",
        "spec.transferTo.name",
        "spec.transferFrom.namespace",
        "spec.transferFrom.name",
        "spec.location.rack",
        "status.phase",
        "status.server",
    ];
    // It is the name of a host, too.
    const NAME: fn(&str) -> Result<(), String> = validate::dns_label;
    const DESCRIPTION: &'static str =
        "Machine is one managed instance of an operating system, owned by a team.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        let placement = spec.placement.clone().unwrap_or_default();
        let names = [
            ("spec.class", Some(&spec.class)),
            ("spec.image", Some(&spec.image)),
            ("spec.placement.site", placement.site.as_ref()),
            ("spec.placement.rack", placement.rack.as_ref()),
            ("spec.placement.server", placement.server.as_ref()),
        ];
        for (field, name) in names {
            let Some(name) = name else { continue };
            if spec.preinstalled && ["spec.class", "spec.image"].contains(&field) {
                if !name.is_empty() {
                    let why = "a preinstalled machine has none: nothing is installed on it";
                    errors.push(FieldError::forbidden(field, why));
                }
                continue;
            }
            if let Err(why) = validate::subdomain(name) {
                errors.push(FieldError::invalid(field, format!("{name:?}"), why));
            }
        }
        if let Some(location) = &spec.location {
            location.validate(spec, errors);
        }
        let own = self.metadata.namespace.as_deref().unwrap_or_default();
        let transfers =
            [("spec.transferTo", &spec.transfer_to), ("spec.transferFrom", &spec.transfer_from)];
        for (field, other) in transfers {
            let Some(other) = other else { continue };
            if let Err(why) = validate::dns_label(&other.namespace) {
                let value = format!("{:?}", other.namespace);
                errors.push(FieldError::invalid(format!("{field}.namespace"), value, why));
            } else if other.namespace == own {
                let why = "must be another namespace: a machine stays where it is, else";
                let value = format!("{:?}", other.namespace);
                errors.push(FieldError::invalid(format!("{field}.namespace"), value, why));
            }
            if let Err(why) = validate::dns_label(&other.name) {
                let value = format!("{:?}", other.name);
                errors.push(FieldError::invalid(format!("{field}.name"), value, why));
            }
        }
        check_taints(&spec.taints, "spec.taints", errors);
        let Some(old) = old else { return };
        if old.spec.transfer_from != spec.transfer_from {
            let why = "what a machine takes over is said when it is created";
            errors.push(FieldError::forbidden("spec.transferFrom", why));
        }
        if old.spec.preinstalled != spec.preinstalled {
            let why = "whether its system is installed is said when it is created";
            errors.push(FieldError::forbidden("spec.preinstalled", why));
        }
        let why = "a machine stays where it is; create another one";
        if old.spec.placement != spec.placement {
            errors.push(FieldError::forbidden("spec.placement", why));
        }
    }

    kind_info!(Machine);
}
