//! The agent on a machine, as a Machine tells of it: what is wanted of it, whether it is connected, and what it found.

use super::machine::MachineSpec;
use crate::{FieldError, FieldErrors, Time, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Condition: its agent holds a stream.
pub const AGENT_CONNECTED: &str = "AgentConnected";
/// Condition: it was heard of in time. Silence alone is no reason to take anything from a machine.
pub const REACHABLE: &str = "Reachable";
/// Condition: nothing that its agent looks at is wrong.
pub const HEALTHY: &str = "Healthy";

/// Condition: two hosts have its identity, as after a disk was copied. Absent while that was not seen.
pub const IDENTITY_CONFLICT: &str = "IdentityConflict";

/// Most network interfaces that are told of.
pub const INTERFACES_MAX: usize = 64;
/// Most addresses of one of them.
pub const ADDRESSES_MAX: usize = 16;
/// Most disks, and most file systems.
pub const DISKS_MAX: usize = 128;
/// Longest text of a fact.
pub const FACT_BYTES_MAX: usize = 256;

/// Where a machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineLocation {
    /// Name of the Site.
    pub site: String,
    /// Name of the Rack, in that site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
}

impl MachineLocation {
    pub(super) fn validate(&self, of: &MachineSpec, errors: &mut FieldErrors) {
        if !of.preinstalled {
            let why = "only of a preinstalled machine: others are where their server is";
            errors.push(FieldError::forbidden("spec.location", why));
        } else if of.placement.as_ref().is_some_and(|placement| placement.server.is_some()) {
            let why = "it is where spec.placement.server is; leave one of them out";
            errors.push(FieldError::forbidden("spec.location", why));
        }
        let names =
            [("spec.location.site", Some(&self.site)), ("spec.location.rack", self.rack.as_ref())];
        for (field, name) in names {
            let Some(name) = name else { continue };
            if let Err(why) = validate::subdomain(name) {
                errors.push(FieldError::invalid(field, format!("{name:?}"), why));
            }
        }
    }
}

/// What is wanted of the agent on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineAgent {
    /// Certificates that were issued before this moment count no more: the agent has to join anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_before: Option<Time>,
}

/// What is known of the agent on a machine. Written when it comes and goes, not while it lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentStatus {
    /// Its stream: the process that holds it, a slash and a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Its number among the streams of its agent: the greatest is the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<u64>,
    /// Which host it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<AgentHost>,
    /// Which host, or start of the agent, had a stream before that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_before: Option<AgentHost>,
    /// When it was last seen that two hosts have its identity; told anew every few minutes while they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict_seen: Option<Time>,
    /// Address of the replica that holds, or last held, its stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// Its release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When the stream began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_since: Option<Time>,
    /// When it was heard of last, if the stream has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnected_since: Option<Time>,
    /// When it joined. Certificates that were issued before count no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<Time>,
    /// The token with which it can join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_token: Option<JoinTokenStatus>,
}

/// A start of an agent, and the host it is on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentHost {
    /// Which start of the agent.
    pub start: String,
    /// Which start of the operating system.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// How the host calls itself.
    pub hostname: String,
}

impl AgentHost {
    /// The same within bounds: agents are not trusted.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let texts = [&mut self.start, &mut self.boot_id, &mut self.hostname];
        texts.into_iter().for_each(|text| cut(text, FACT_BYTES_MAX));
        self
    }
}

impl std::fmt::Display for AgentHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
        let Self { start, boot_id, hostname } = self;
        write!(f, "{} (boot {}, agent {})", or(hostname), or(boot_id), or(start))
    }
}

impl AgentStatus {
    /// Whether a stream of it is open.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.session.is_some() && self.disconnected_since.is_none()
    }
}

/// A token that was given out, and for whom it was used. The token itself is kept nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JoinTokenStatus {
    /// SHA-256 of the token, in hexadecimal. It has 256 random bits, so nobody finds it from that.
    pub sha256: String,
    /// When it was made. One from before `spec.agent.revokedBefore` is good no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Time>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_timestamp: Option<Time>,
    /// SHA-256 of the public key that joined with it: that one may ask again, if it was not answered, and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}

/// What of a machine can be given to instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Allocatable {
    /// Thousandths of a processor.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
}

/// What an agent found on its host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineFacts {
    /// Name of the host.
    pub hostname: String,
    /// Which start of the operating system this is.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booted: Option<Time>,
    /// The operating system.
    pub os: OsFacts,
    /// Its processors.
    pub cpu: CpuFacts,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Its disks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub disks: Vec<DiskFacts>,
    /// File systems on disks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub file_systems: Vec<FileSystemFacts>,
    /// Its network interfaces, but for the loopback.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub interfaces: Vec<InterfaceFacts>,
    /// Packages that are installed; the list itself is asked for when it is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackageFacts>,
    /// What runs containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_engine: Option<String>,
    /// It asks to be restarted, as after an update of its kernel.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reboot_required: bool,
}

/// An operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OsFacts {
    /// `ID` of os-release(5), such as `debian`.
    pub id: String,
    /// Its `VERSION_ID`.
    pub version: String,
    /// Its `PRETTY_NAME`.
    pub name: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Architecture as Kubernetes names it, such as `amd64`.
    pub architecture: String,
}

/// Processors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CpuFacts {
    /// Processors that the operating system sees.
    pub count: u32,
    /// What they call themselves.
    pub model: String,
}

/// A disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DiskFacts {
    /// Its name, such as `nvme0n1`.
    pub name: String,
    /// Bytes.
    pub size_bytes: u64,
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// It turns.
    pub rotational: bool,
}

/// A file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FileSystemFacts {
    /// Where it is mounted.
    pub mount: String,
    /// Its type, such as `ext4`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes.
    pub size_bytes: u64,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InterfaceFacts {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its addresses, each with the length of its prefix.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<String>,
}

/// Installed packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PackageFacts {
    /// What manages them, such as `dpkg`.
    pub manager: String,
    /// How many there are.
    pub count: u32,
    /// SHA-256 of their names and versions, in order: two hosts with the same have the same packages.
    pub sha256: String,
}

impl MachineFacts {
    /// The same within bounds: agents are not trusted.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.disks.truncate(DISKS_MAX);
        self.file_systems.truncate(DISKS_MAX);
        self.interfaces.truncate(INTERFACES_MAX);
        let mut texts: Vec<&mut String> = vec![
            &mut self.hostname,
            &mut self.boot_id,
            &mut self.os.id,
            &mut self.os.version,
            &mut self.os.name,
            &mut self.os.kernel,
            &mut self.os.architecture,
            &mut self.cpu.model,
        ];
        for disk in &mut self.disks {
            texts.push(&mut disk.name);
            texts.extend(&mut disk.model);
        }
        for system in &mut self.file_systems {
            texts.extend([&mut system.mount, &mut system.kind]);
        }
        for interface in &mut self.interfaces {
            interface.addresses.truncate(ADDRESSES_MAX);
            texts.push(&mut interface.name);
            texts.extend(&mut interface.mac);
            texts.extend(&mut interface.addresses);
        }
        if let Some(packages) = &mut self.packages {
            texts.extend([&mut packages.manager, &mut packages.sha256]);
        }
        texts.extend(&mut self.container_engine);
        texts.into_iter().for_each(|text| cut(text, FACT_BYTES_MAX));
        self
    }
}

/// Cuts a text between letters, and takes out what a terminal would obey.
pub(crate) fn cut(text: &mut String, most: usize) {
    if text.chars().any(char::is_control) {
        text.retain(|letter| !letter.is_control());
    }
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_says_of_its_host_is_bounded() {
        let interface = InterfaceFacts { addresses: vec!["a".into(); 99], ..Default::default() };
        let facts = MachineFacts {
            hostname: "ü".repeat(FACT_BYTES_MAX),
            boot_id: "a\u{1b}[31mb".into(),
            interfaces: vec![interface; 99],
            disks: vec![DiskFacts::default(); 999],
            ..Default::default()
        };
        let facts = facts.bounded();
        assert_eq!(facts.hostname.len(), FACT_BYTES_MAX);
        assert_eq!(facts.boot_id, "a[31mb");
        assert_eq!(facts.interfaces.len(), INTERFACES_MAX);
        assert_eq!(facts.interfaces[0].addresses.len(), ADDRESSES_MAX);
        assert_eq!(facts.disks.len(), DISKS_MAX);
    }
}
