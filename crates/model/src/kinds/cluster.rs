//! Cluster: a managed Kubernetes cluster, as a place where workloads run. Its nodes are linked to the machines they are.

use super::{COMPUTE, Resource, SecretReference, V1ALPHA1};
use crate::{
    Column, ColumnType, Condition, Duration, FieldError, FieldErrors, Kind, ObjectMeta, Scope,
    Time, kind_info, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A managed Kubernetes cluster.
pub type Cluster = Resource<ClusterSpec, ClusterStatus>;

/// Keeps a Cluster while workloads of the plane run there.
pub const CLUSTER_FINALIZER: &str = "compute.quarterdeck.dev/cluster";
/// Annotation of a Cluster that is to go at once: what runs there stays there, and nobody here knows of it any more.
pub const CLUSTER_DETACH: &str = "quarterdeck.dev/detach";
/// Key of the Secret that holds the kubeconfig.
pub const KUBECONFIG_KEY: &str = "kubeconfig";
/// Most nodes that a status tells of by name; all are counted.
pub const NODES_SHOWN_MAX: usize = 500;
/// Longest name: labels carry it.
const NAME_BYTES_MAX: usize = 63;
/// Soonest that a silent cluster is unreachable: it is asked every few seconds.
const SILENCE_MIN: Duration = Duration::from_secs(15);
/// Latest: a day.
const SILENCE_MAX: Duration = Duration::from_secs(86_400);

/// What is wanted of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// Secret whose key `kubeconfig` says where the cluster is, and as whom the plane asks there.
    pub kubeconfig_secret_ref: SecretReference,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<ClusterLocation>,
    /// After so long a silence it is unreachable. 1m, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_after: Option<Duration>,
}

impl ClusterSpec {
    /// After so long a silence it is unreachable.
    pub fn silence(&self) -> Duration {
        self.unreachable_after.unwrap_or(Duration::from_secs(60))
    }
}

/// Where a cluster is, for people: nodes are where their machines are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterLocation {
    /// Name of the Site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Region, as its provider calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub region: Option<String>,
}

/// Where a cluster is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterPhase {
    /// Not reached yet.
    #[default]
    Pending,
    /// It answers.
    Ready,
    /// It was not heard of for too long, or does not let the plane in.
    Unreachable,
    /// It is to go, and waits until no workload is there any more.
    Leaving,
}

/// What is seen of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is in its life.
    pub phase: ClusterPhase,
    /// Its Kubernetes, such as `v1.33.2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Identity of the cluster itself: that of its namespace `kube-system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// When it was heard of last, as of the last change of its phase; heartbeats are not written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
    /// Its nodes.
    pub nodes: ClusterNodes,
    /// Workloads of the plane that are there.
    pub workloads: u32,
    /// What is true of it: `Reachable`, `NodesLinked`, `LocationFound`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The nodes of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterNodes {
    /// How many there are.
    pub total: u32,
    /// Those that are ready.
    pub ready: u32,
    /// Those that are known to be a Machine.
    pub linked: u32,
    /// The first of them by name, as many as a status has room for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub list: Vec<ClusterNode>,
}

/// A node of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterNode {
    /// Its name in the cluster.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Name of the Machine that it is, in the namespace of the Cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

impl Kind for Cluster {
    const GROUP: &'static str = COMPUTE;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Cluster";
    const PLURAL: &'static str = "clusters";
    const SINGULAR: &'static str = "cluster";
    const SHORT_NAMES: &'static [&'static str] = &["cl"];
    const SCOPE: Scope = Scope::Namespaced;
    const COLUMNS: &'static [Column] = &[
        Column::new("Phase", "status.phase", "Where it is in its life"),
        Column::new("Version", "status.version", "Its Kubernetes"),
        Column::new("Ready", "status.nodes.ready", "Nodes that are ready").of(ColumnType::Integer),
        Column::new("Nodes", "status.nodes.total", "Nodes").of(ColumnType::Integer),
        Column::new("Linked", "status.nodes.linked", "Nodes that are known to be a Machine")
            .of(ColumnType::Integer)
            .wide(),
        Column::new("Workloads", "status.workloads", "Workloads of the plane that are there")
            .of(ColumnType::Integer),
        Column::new("Site", "spec.location.site", "Site it is in").wide(),
        Column::new("Region", "spec.location.region", "Region it is in").wide(),
        Column::new("Message", "status.conditions[type=Reachable].message", "What is wrong").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] =
        &["spec.kubeconfigSecretRef.name", "spec.location.site", "status.phase"];
    const NAME: fn(&str) -> Result<(), String> = validate::subdomain;
    const DESCRIPTION: &'static str = "Cluster is a managed Kubernetes cluster, in which workloads can run. Its nodes are linked to the machines they are.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        if self.metadata.name.len() > NAME_BYTES_MAX {
            let name = format!("{:?}", self.metadata.name);
            let why = format!("must be at most {NAME_BYTES_MAX} letters: labels carry it");
            errors.push(FieldError::invalid("metadata.name", name, why));
        }
        spec.kubeconfig_secret_ref.validate("spec.kubeconfigSecretRef", errors);
        if let Some(site) = spec.location.as_ref().and_then(|location| location.site.as_ref())
            && let Err(why) = validate::subdomain(site)
        {
            errors.push(FieldError::invalid("spec.location.site", format!("{site:?}"), why));
        }
        if !(SILENCE_MIN..=SILENCE_MAX).contains(&spec.silence()) {
            let why = format!("must be between {SILENCE_MIN} and {SILENCE_MAX}");
            let value = format!("\"{}\"", spec.silence());
            errors.push(FieldError::invalid("spec.unreachableAfter", value, why));
        }
    }

    kind_info!(Cluster);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let cases = [
            ("/spec/location", json!({"site": "lhr1", "region": "eu"}), None),
            ("/metadata/name", json!("a".repeat(64)), Some("metadata.name")),
            ("/spec/kubeconfigSecretRef/name", json!("A"), Some("spec.kubeconfigSecretRef.name")),
            ("/spec/location", json!({"site": "No"}), Some("spec.location.site")),
            ("/spec/unreachableAfter", json!("14s"), Some("spec.unreachableAfter")),
            ("/spec/unreachableAfter", json!("15s"), None),
            ("/spec/unreachableAfter", json!("25h"), Some("spec.unreachableAfter")),
        ];
        for (path, value, wrong) in cases {
            let mut cluster = json!({
                "metadata": {"name": "eu1", "namespace": "shop"},
                "spec": {
                    "kubeconfigSecretRef": {"namespace": "shop", "name": "eu1"},
                    "location": {}, "unreachableAfter": "1m",
                },
            });
            *cluster.pointer_mut(path).unwrap() = value;
            let refused = (Cluster::info().admit)(&cluster, None).map(|_: Value| ()).err();
            let fields: Vec<String> =
                refused.iter().flatten().map(|error| error.field.clone()).collect();
            assert_eq!(fields, Vec::from_iter(wrong.map(str::to_owned)), "{path}");
        }
    }
}
