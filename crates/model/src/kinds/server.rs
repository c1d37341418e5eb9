//! Server: a physical machine, from the day it is racked to the day it is scrapped.

use super::{FirmwareUpdate, INVENTORY, Resource, ServerPhase, V1ALPHA1};
use crate::{
    Column, ColumnType, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time,
    kind_info, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A physical machine. It outlives what runs on it.
pub type Server = Resource<ServerSpec, ServerStatus>;

/// What is wanted of a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerSpec {
    /// Serial number it must have. A server that reports another one is not touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Where it is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// How its BMC is reached.
    pub bmc: Bmc,
    /// Name of the ServerProfile that says what must be in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Name or address at which the operating system on it is reached. Installing waits until it answers there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_address: Option<String>,
}

/// Where a server is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// Name of the Rack.
    pub rack: String,
    /// Lowest rack unit it fills, counted from 1 at the bottom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u16>,
    /// How many rack units it fills, from `unit` upwards; 1 when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u16>,
}

impl Location {
    /// Most rack units that one server fills: higher ones are racks of their own.
    pub const HEIGHT_MAX: u16 = 48;
}

/// How a BMC is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bmc {
    /// `host`, `host:port`, or a URL with `https://` (the default) or `http://`.
    pub address: String,
    /// What it speaks.
    #[serde(default)]
    pub protocol: BmcProtocol,
    /// `Id` of the ComputerSystem to manage, for a BMC that has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
    /// Secret with the keys `username` and `password`; that of its site, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
    /// How its certificate is verified.
    #[serde(default)]
    pub tls: BmcTls,
}

/// What a BMC speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BmcProtocol {
    /// DMTF Redfish.
    #[default]
    Redfish,
}

/// A Secret in a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretReference {
    /// Namespace of the Secret.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
}

impl SecretReference {
    /// The Secret that holds the BMC credentials of one server alone, beside the Secret `beside`.
    #[must_use]
    pub fn of_bmc(server: &str, beside: &Self) -> Self {
        Self { namespace: beside.namespace.clone(), name: format!("bmc-{server}") }
    }

    /// Finds what is wrong with it, at `field`.
    pub(super) fn validate(&self, field: &str, errors: &mut FieldErrors) {
        if let Err(why) = validate::dns_label(&self.namespace) {
            let value = format!("{:?}", self.namespace);
            errors.push(FieldError::invalid(format!("{field}.namespace"), value, why));
        }
        if let Err(why) = validate::subdomain(&self.name) {
            let value = format!("{:?}", self.name);
            errors.push(FieldError::invalid(format!("{field}.name"), value, why));
        }
    }
}

/// How a BMC's certificate is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BmcTls {
    /// What must be right about it.
    pub verify: BmcTlsVerify,
    /// Secret with the key `ca.crt`: PEM certificates to trust instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretReference>,
    /// For `Fingerprint`: SHA-256 of the certificate, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What must be right about a BMC's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BmcTlsVerify {
    /// Chain and name.
    #[default]
    Full,
    /// The certificate itself, by its fingerprint.
    Fingerprint,
    /// Nothing. Only for networks that nobody else can reach.
    Skip,
}

/// The Machine that has a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct MachineReference {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity: another one of the same name does not have the server.
    pub uid: String,
}

/// What is seen of a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is in its life.
    pub phase: ServerPhase,
    /// When it entered the phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<Time>,
    /// When the phase is overdue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_deadline: Option<Time>,
    /// Why it entered the phase, as whoever made it enter says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_message: Option<String>,
    /// Something was written to its disks for a machine, and they were not wiped since: it cannot become free.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disks_may_hold_data: bool,
    /// The Machine that has it. While there is one, no other gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_ref: Option<MachineReference>,
    /// `On`, `Off`, or a transition between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_state: Option<String>,
    /// What was found in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory: Option<crate::inventory::Inventory>,
    /// When the inventory was read that is shown here. Later ones were the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory_time: Option<Time>,
    /// Updates that would bring its firmware to what its profile says, in the order in which `update-firmware` does
    /// them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub firmware_updates: Vec<FirmwareUpdate>,
    /// The run that acts on it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_run: Option<String>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Server {
    const GROUP: &'static str = INVENTORY;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Server";
    const PLURAL: &'static str = "servers";
    const SINGULAR: &'static str = "server";
    const SHORT_NAMES: &'static [&'static str] = &["srv"];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("Phase", "status.phase", "Where it is in its life"),
        Column::new("Ready", "status.conditions[type=Ready].status", "Whether it can be used"),
        Column::new("Power", "status.powerState", "On or off"),
        Column::new("Rack", "spec.location.rack", "Rack it is mounted in"),
        Column::new("Machine", "status.machineRef.name", "Machine that has it"),
        Column::new("Unit", "spec.location.unit", "Rack unit").of(ColumnType::Integer).wide(),
        Column::new("Serial", "status.inventory.serialNumber", "Serial number it reports"),
        Column::new("Model", "status.inventory.model", "Model it reports").wide(),
        Column::new("BMC", "spec.bmc.address", "Where its BMC is").wide(),
        Column::new("Run", "status.currentRun", "Run that acts on it now").wide(),
        Column::new("Reason", "status.conditions[type=Ready].reason", "Why it is ready or not"),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &[
        "spec.location.rack",
        "spec.location.unit",
        "spec.location.height",
        "spec.serial",
        "spec.bmc.address",
        "spec.bmc.credentialsSecretRef.name",
        "spec.bmc.tls.caSecretRef.name",
        "spec.profile",
        "status.phase",
        "status.machineRef.namespace",
        "status.machineRef.name",
        "status.machineRef.uid",
        "status.powerState",
        "status.inventory.serialNumber",
        "status.inventory.uuid",
        "status.inventory.model",
    ];
    const DESCRIPTION: &'static str = "Server is a physical machine. It outlives what runs on it.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        if let Some(location) = &spec.location {
            if let Err(why) = validate::subdomain(&location.rack) {
                let rack = format!("{:?}", location.rack);
                errors.push(FieldError::invalid("spec.location.rack", rack, why));
            }
            if location.unit == Some(0) {
                errors.push(FieldError::invalid(
                    "spec.location.unit",
                    0,
                    "units are counted from 1",
                ));
            }
            if let Some(height) = location.height
                && !(1..=Location::HEIGHT_MAX).contains(&height)
            {
                let why = format!("must be between 1 and {}", Location::HEIGHT_MAX);
                errors.push(FieldError::invalid("spec.location.height", height, why));
            }
        }
        if let Some(profile) = &spec.profile
            && let Err(why) = validate::subdomain(profile)
        {
            errors.push(FieldError::invalid("spec.profile", format!("{profile:?}"), why));
        }
        if let Some(address) = &spec.host_address
            && let Err(why) = validate::host(address)
        {
            errors.push(FieldError::invalid("spec.hostAddress", format!("{address:?}"), why));
        }
        let bmc = &spec.bmc;
        if bmc.address.is_empty() {
            errors
                .push(FieldError::required("spec.bmc.address", "host, host:port or https:// URL"));
        } else if let Err(why) = bmc_address(&bmc.address) {
            errors.push(FieldError::invalid("spec.bmc.address", format!("{:?}", bmc.address), why));
        }
        let secrets = [
            ("spec.bmc.credentialsSecretRef", &bmc.credentials_secret_ref),
            ("spec.bmc.tls.caSecretRef", &bmc.tls.ca_secret_ref),
        ];
        for (field, secret) in secrets {
            if let Some(secret) = secret {
                secret.validate(field, errors);
            }
        }
        match (bmc.tls.verify, &bmc.tls.sha256) {
            (BmcTlsVerify::Fingerprint, None) => {
                errors.push(FieldError::required(
                    "spec.bmc.tls.sha256",
                    "verify Fingerprint needs it",
                ));
            }
            (_, Some(digest)) => {
                let digits: String = digest.chars().filter(|digit| *digit != ':').collect();
                if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    let why = "must be 64 hex digits, with or without colons";
                    errors.push(FieldError::invalid(
                        "spec.bmc.tls.sha256",
                        format!("{digest:?}"),
                        why,
                    ));
                }
            }
            _ => {}
        }
    }

    kind_info!(Server);
}

fn bmc_address(address: &str) -> Result<(), &'static str> {
    let rest = match address.split_once("://") {
        Some(("http" | "https", rest)) => rest.strip_suffix('/').unwrap_or(rest),
        Some(_) => return Err("must begin with https:// or http:// when it is a URL"),
        None => address,
    };
    let good =
        |l: char| l.is_ascii_alphanumeric() || matches!(l, '.' | '-' | ':' | '[' | ']' | '_' | '%');
    if rest.is_empty() || rest.len() > validate::SUBDOMAIN_BYTES_MAX || !rest.chars().all(good) {
        return Err(
            "must be a host name or address, with a port if it is not the usual one, and no path or user",
        );
    }
    Ok(())
}
