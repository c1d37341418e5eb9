//! What a plane and its agents say to each other: the frames of the one stream that an agent keeps open, and what is
//! sent to join and to renew. Both ends use these types, so there is no second schema.
//!
//! A frame is a length (four bytes, big endian) and so many bytes of JSON. Frames only add fields and variants: who
//! does not know a field leaves it out, and who does not know a frame skips it ([`Frame::NAMES`]). Pure: how frames travel
//! is for the two ends.

mod frame;
pub mod session;
mod usage;

pub use frame::{Frame, FrameError, Frames, encode};
pub use session::SessionWanted;
pub use usage::{CONTAINERS_MAX, ContainerUsage, Usage};

use crate::{
    ConditionStatus, Duration, Time,
    kinds::{AgentTaskSpec, AgentTaskStatus, InstanceSpec, InstanceStatus, MachineFacts},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of this protocol; part of its paths.
pub const PROTOCOL: u32 = 1;
/// Where an agent shows its token and gets its first certificate.
pub const JOIN_PATH: &str = "/agent/v1alpha1/join";
/// Where it gets the next one.
pub const RENEW_PATH: &str = "/agent/v1alpha1/renew";
/// Where its stream is.
pub const STREAM_PATH: &str = "/agent/v1alpha1/stream";

/// Largest frame, either way. The facts of a host and what a task printed fit by far.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Largest body of a request to join or renew: a token, and a signing request of some kilobytes.
pub const JOIN_BYTES_MAX: usize = 16 << 10;
/// Tasks that are told of in one frame; more follow when some have ended.
pub const TASKS_MAX: usize = 32;
/// An agent that lost its stream waits no longer than that before it tries again: so long after whatever kept it away is over, it
/// is back.
pub const RECONNECT_MAX: std::time::Duration = std::time::Duration::from_secs(60);
/// Lease by which a process says that it lives, and with it the streams that it holds; its name goes on with that of the
/// process, with which the names of its sessions begin.
pub const STREAMS_LEASE: &str = "agents-";
/// What an agent begins its common name with: `machine:NAMESPACE:NAME`.
pub const USER_PREFIX: &str = "machine:";
/// The organization of its certificates, which is a group of the plane.
pub const AGENTS_GROUP: &str = "quarterdeck:agents";

/// Asks for the first certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinRequest {
    /// The token, as it was shown.
    pub token: String,
    /// A PKCS #10 signing request in PEM. Only its key is used.
    pub certificate_signing_request: String,
}

/// Asks for the next certificate, with the one at hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewRequest {
    /// A PKCS #10 signing request in PEM. Only its key is used.
    pub certificate_signing_request: String,
}

/// A certificate, and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certified {
    /// Namespace of the Machine.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// The certificate in PEM.
    pub certificate: String,
    /// When it ends.
    pub not_after: Time,
}

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromAgent {
    /// First of all, and once.
    Hello(Hello),
    /// It lives. Kept in memory alone.
    Heartbeat(Heartbeat),
    /// What the host is; said when it changed.
    Facts(Box<MachineFacts>),
    /// How the host is: all conditions there are, said when one changed.
    Conditions(Vec<HostCondition>),
    /// How far a task is.
    Task(Box<TaskReport>),
    /// How an instance is.
    Instance(Box<InstanceReport>),
    /// What containers take. Kept in memory alone, in place of what was said before.
    Containers(Vec<ContainerUsage>),
}

impl Frame for FromAgent {
    const NAMES: &'static [&'static str] =
        &["hello", "heartbeat", "facts", "conditions", "task", "instance", "containers"];
}

/// What the plane says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToAgent {
    /// First of all, and once.
    Welcome(Welcome),
    /// What time it is here, as an agent asked.
    Time(Time),
    /// Tasks of the host that have not ended, as far as they fit. What of a former frame is not in it has ended.
    Tasks(Vec<Task>),
    /// What is to run on the host.
    Instances(Instances),
    /// Somebody wants a session with a container: the agent opens a stream for it.
    Session(SessionWanted),
    /// The stream ends, and why.
    Goodbye(Goodbye),
}

impl Frame for ToAgent {
    const NAMES: &'static [&'static str] =
        &["welcome", "time", "tasks", "instances", "session", "goodbye"];
}

/// Who begins a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Release of the agent.
    pub version: String,
    /// Which start of the operating system it is (Linux: `/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Tells the order of an agent's streams: of two, the one with the greater number began later, whichever replicas hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<u64>,
    /// Which start of the agent it is. One that was followed by another does not come back, unless two hosts have one identity.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// How the host calls itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
}

/// It lives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Heartbeat {
    /// What of the host is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// It wants to be told the time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wants_time: bool,
}

/// How things are done on this stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// Names the stream, in the Machine's `status.agent.session` too.
    pub session: String,
    /// How often to say that one lives.
    pub heartbeat_seconds: u32,
    /// Over how long a time to spread when the stream is lost, since that many others lose theirs with it.
    pub reconnect_spread_millis: u32,
    /// What time it is here.
    pub time: Time,
}

/// A condition of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostCondition {
    /// Which.
    #[serde(rename = "type")]
    pub kind: HostConditionKind,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// What can be wrong with a host. As with the conditions of Kubernetes' nodes, True is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HostConditionKind {
    /// A file system is nearly full.
    DiskPressure,
    /// Memory is nearly used up.
    MemoryPressure,
    /// The root file system cannot be written.
    ReadonlyFilesystem,
    /// The clock differs from the plane's.
    ClockSkewed,
    /// Units of systemd have failed.
    UnitsFailed,
}

impl HostConditionKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::DiskPressure,
        Self::MemoryPressure,
        Self::ReadonlyFilesystem,
        Self::ClockSkewed,
        Self::UnitsFailed,
    ];

    /// The type of the condition.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DiskPressure => "DiskPressure",
            Self::MemoryPressure => "MemoryPressure",
            Self::ReadonlyFilesystem => "ReadonlyFilesystem",
            Self::ClockSkewed => "ClockSkewed",
            Self::UnitsFailed => "UnitsFailed",
        }
    }
}

/// A task to do.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Name of the AgentTask, in the namespace of the Machine.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// What to do.
    pub spec: AgentTaskSpec,
    /// How long its deadline is away, by the plane's clock: a host's own may be wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_millis: Option<u64>,
    /// The Secrets that it uses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: Secrets,
}

/// Secrets stay out: frames end up in logs.
impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, uid, spec, left_millis, secrets: _ } = self;
        let mut shown = f.debug_struct("Task");
        shown.field("name", name).field("uid", uid).field("spec", spec);
        shown.field("left_millis", left_millis).finish_non_exhaustive()
    }
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    /// Name of the AgentTask.
    pub name: String,
    /// Its identity: one of the same name that was made anew is another.
    pub uid: String,
    /// How far it is.
    pub status: AgentTaskStatus,
}

/// Values of Secrets in Base64, by name and key.
pub type Secrets = BTreeMap<String, BTreeMap<String, String>>;

/// What is to run on a host, or what of that changed.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Instances {
    /// What was said before counts no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub complete: bool,
    /// These are to run, as it says here.
    pub set: Vec<Assigned>,
    /// Identities of those that are not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// It goes on in the next frame, and nothing is done before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// Secrets stay out: frames end up in logs.
impl std::fmt::Debug for Instances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instances").field("set", &self.set.len()).finish_non_exhaustive()
    }
}

/// An instance that is to run on a host, or to end.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assigned {
    /// Its name, in the namespace of the Machine.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// What is wanted of it.
    pub spec: InstanceSpec,
    /// It is to end, and has so long for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting_grace: Option<Duration>,
    /// The Secrets that it uses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: Secrets,
}

/// How an instance is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceReport {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// What its host sees of it; conditions of the plane's own are not in it.
    pub status: InstanceStatus,
    /// Nothing of it is left on the host.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// Why a stream ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Goodbye {
    /// A sentence.
    pub message: String,
    /// Nothing is gained by coming again with this certificate.
    pub for_good: bool,
    /// A stream of that number is known: the next one's is to be greater.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
}
