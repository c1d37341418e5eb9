//! What runs on a host: containers, described by the part of Kubernetes' `v1.PodSpec` that the agent runs, with its
//! names and meaning. Instances and workloads hold it. What is wrong with one is found in [`check`].

mod check;
mod image;
mod probe;
mod status;
#[cfg(test)]
mod tests;
mod volume;

pub use image::ImageReference;
pub use probe::{
    ExecAction, HttpGetAction, HttpHeader, HttpScheme, PortReference, Probe, TcpSocketAction,
};
pub use status::{
    BoundPort, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus,
};
pub use volume::{
    ConfigVolume, EmptyDirVolume, HostPathVolume, KeyToPath, SecretVolume, Volume, VolumeMount,
};

use super::LocalReference;
use crate::quantity::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps an Instance until what ran of it on its host is gone.
pub const CONTAINERS_FINALIZER: &str = "services.quarterdeck.dev/containers";

/// What runs of one instance on its host (`v1.PodSpec`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// The containers. Several share one network: they reach each other at `localhost`.
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub containers: Vec<Container>,
    /// Folders and files that containers can mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub volumes: Vec<Volume>,
    /// Secrets of type `kubernetes.io/dockerconfigjson`, in the same namespace, with which images are pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<LocalReference>,
    /// Which containers are started again once they ended.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// Seconds from the request to end until what still runs is killed.
    #[serde(default = "termination_grace_period_seconds")]
    #[schemars(range(min = 0, max = 86400))]
    pub termination_grace_period_seconds: u32,
    /// Has the network of the host, in place of one of its own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub host_network: bool,
}

impl Default for PodSpec {
    fn default() -> Self {
        Self {
            containers: Vec::new(),
            volumes: Vec::new(),
            image_pull_secrets: Vec::new(),
            restart_policy: RestartPolicy::default(),
            termination_grace_period_seconds: termination_grace_period_seconds(),
            host_network: false,
        }
    }
}

/// Which containers are started again once they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// All.
    #[default]
    Always,
    /// Those that failed.
    OnFailure,
    /// None.
    Never,
}

/// One container (`v1.Container`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its name among those of its instance.
    pub name: String,
    /// Its image, by tag or digest: `registry.example.com/shop/api:1.4` or `…@sha256:…`.
    #[schemars(length(max = 512))]
    pub image: String,
    /// When its image is pulled. `Always` if it has the tag `latest` or none, else `IfNotPresent`, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// What is run, in place of the image's entry point. There is no shell, and nothing in it is replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Vec<String>,
    /// Its arguments, in place of the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,
    /// Folder it is run in, in place of the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub working_dir: Option<String>,
    /// Its environment, beside the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Ports it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["containerPort", "protocol"]
    ))]
    pub ports: Vec<ContainerPort>,
    /// What it needs of the host, and what it may take at most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: ResourceRequirements,
    /// Volumes, and where it sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub volume_mounts: Vec<VolumeMount>,
    /// Whether it has started. Until it has, it is asked nothing else; when it fails, it is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
    /// Whether it lives. When it fails, it is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// Whether it can do its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// What is done at the turns of its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// What it may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// Each time a container is made: the registry is asked whether the tag is another image now.
    Always,
    /// When it is not on the host.
    IfNotPresent,
    /// Never: it must be there.
    Never,
}

/// One variable of an environment (`v1.EnvVar`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value, as it is: nothing in it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where its value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where a variable's value comes from (`v1.EnvVarSource`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVarSource {
    /// A value of a Secret in the same namespace.
    pub secret_key_ref: SecretKeySelector,
}

/// One value of a Secret in the same namespace (`v1.SecretKeySelector`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretKeySelector {
    /// Name of the Secret.
    pub name: String,
    /// Its key.
    pub key: String,
    /// The container runs without it, when it is not there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// A port that a container listens on (`v1.ContainerPort`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// Its name, for probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its number.
    #[schemars(range(min = 1, max = 65535))]
    pub container_port: u16,
    /// Port of the host at which it is reached; not from outside the host, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub host_port: Option<u16>,
    /// Its protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Protocol of a port.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Protocol {
    /// TCP.
    #[default]
    TCP,
    /// UDP.
    UDP,
}

/// What a container needs of its host, and what it may take at most (`v1.ResourceRequirements`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRequirements {
    /// What is kept for it. The limits, when not set.
    #[serde(skip_serializing_if = "is_default")]
    pub requests: ResourceList,
    /// What it may take at most: without more of the processors it is slower, with more memory it is killed.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: ResourceList,
}

/// So much of each resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceList {
    /// Processors, such as `2`, `0.5` or `500m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory, such as `512Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

impl ResourceList {
    /// Processors in thousandths; 0 when not set.
    #[must_use]
    pub fn millicores(&self) -> u64 {
        self.cpu.as_ref().and_then(|cpu| cpu.thousandths().ok()).unwrap_or_default()
    }

    /// Memory in bytes; 0 when not set.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory.as_ref().and_then(|memory| memory.bytes().ok()).unwrap_or_default()
    }
}

/// What is done at the turns of a container's life (`v1.Lifecycle`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// Done before it is told to end. That takes from its grace period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<LifecycleHandler>,
}

/// What is done at a turn (`v1.LifecycleHandler`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleHandler {
    /// A command run in the container.
    pub exec: ExecAction,
}

/// What a container may do (`v1.SecurityContext`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityContext {
    /// Number of the user it runs as, in place of the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<u32>,
    /// Its own files cannot be written; volumes can.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only_root_filesystem: bool,
    /// Rights of the kernel that are added or taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
}

/// Rights of the kernel that are added or taken (`v1.Capabilities`), such as `NET_ADMIN` or `ALL`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Added. Each host says which may be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub add: Vec<String>,
    /// Taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub drop: Vec<String>,
}

impl PodSpec {
    /// Fills in what was left out, as Kubernetes does. Idempotent.
    pub fn set_defaults(&mut self) {
        for container in &mut self.containers {
            container.set_defaults(self.host_network);
        }
    }

    /// What is kept for all of its containers together: thousandths of a processor, bytes of memory.
    #[must_use]
    pub fn requests(&self) -> (u64, u64) {
        self.containers.iter().fold((0, 0), |(cpu, memory), it| {
            let requests = &it.resources.requests;
            (
                cpu.saturating_add(requests.millicores()),
                memory.saturating_add(requests.memory_bytes()),
            )
        })
    }

    /// Ports of the host that it takes.
    pub fn host_ports(&self) -> impl Iterator<Item = (u16, Protocol)> + '_ {
        let ports = self.containers.iter().flat_map(|container| &container.ports);
        ports.filter_map(|port| Some((port.host_port?, port.protocol)))
    }

    /// Names of the Secrets that it uses, each once.
    #[must_use]
    pub fn secrets(&self) -> std::collections::BTreeSet<&str> {
        let env = self.containers.iter().flat_map(|container| &container.env);
        let env = env.filter_map(|it| Some(it.value_from.as_ref()?.secret_key_ref.name.as_str()));
        let volumes = self.volumes.iter();
        let volumes = volumes.filter_map(|it| Some(it.secret.as_ref()?.secret_name.as_str()));
        let pull = self.image_pull_secrets.iter().map(|it| it.name.as_str());
        env.chain(volumes).chain(pull).collect()
    }
}

impl Container {
    fn set_defaults(&mut self, host_network: bool) {
        if self.image_pull_policy.is_none()
            && let Ok(image) = ImageReference::parse(&self.image)
        {
            let moves = image.digest.is_none() && image.tag == "latest";
            self.image_pull_policy =
                Some(if moves { ImagePullPolicy::Always } else { ImagePullPolicy::IfNotPresent });
        }
        let ResourceRequirements { requests, limits } = &mut self.resources;
        // What cannot be read is told of once, where it was written.
        if requests.cpu.is_none() {
            requests.cpu = limits.cpu.clone().filter(|cpu| cpu.thousandths().is_ok());
        }
        if requests.memory.is_none() {
            requests.memory = limits.memory.clone().filter(|memory| memory.bytes().is_ok());
        }
        if host_network {
            for port in &mut self.ports {
                port.host_port.get_or_insert(port.container_port);
            }
        }
    }
}

const fn termination_grace_period_seconds() -> u32 {
    30
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
