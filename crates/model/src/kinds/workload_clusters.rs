//! Clusters as the places of a workload: which, with how much of it, and how it is there.

use super::{WorkloadPlacement, WorkloadSpec, WorkloadStrategyType};
use crate::{FieldError, FieldErrors, Time, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps a Workload until nothing of it is left in clusters.
pub const IN_CLUSTERS_FINALIZER: &str = "services.quarterdeck.dev/clusters";
/// Most clusters of one workload: its status tells of each.
const CLUSTERS_MAX: usize = 64;
/// Greatest weight.
const WEIGHT_MAX: u32 = 1_000;

/// A cluster that runs a part of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadCluster {
    /// Name of the Cluster, in the same namespace.
    pub name: String,
    /// Its part of the instances beside the weights of the others. 1, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000))]
    pub weight: Option<u32>,
}

/// Where a workload is in a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadClusterPhase {
    /// Not looked at yet, or something is missing.
    #[default]
    Pending,
    /// Its Deployment comes to be as it is wanted.
    Progressing,
    /// All is as it should be.
    Complete,
    /// It waits: for clusters before it in the list, or for the ledger.
    Waiting,
    /// The cluster does not take it, or somebody else declares the same there.
    Refused,
    /// The cluster was not heard of for too long.
    Unreachable,
    /// It is being removed from there.
    Leaving,
}

/// How a workload is in a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadClusterStatus {
    /// Name of the Cluster.
    pub name: String,
    /// Where it is there.
    pub phase: WorkloadClusterPhase,
    /// When it came there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<Time>,
    /// Its part of the instances.
    pub replicas: u32,
    /// The revision that was applied there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Instances of that revision.
    pub updated_replicas: u32,
    /// Instances that are ready.
    pub ready_replicas: u32,
    /// Instances that have been ready for long enough.
    pub available_replicas: u32,
    /// One word for why it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it is so, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl WorkloadPlacement {
    /// How many of so many instances each cluster has, in the order of the list: by weight, and what is left one each to
    /// those that were cut the most, the first before others. It adds up.
    #[must_use]
    pub fn shares(&self, replicas: u32) -> Vec<u32> {
        let weight = |cluster: &WorkloadCluster| u64::from(cluster.weight.unwrap_or(1));
        let sum: u64 = self.clusters.iter().map(weight).sum();
        if sum == 0 {
            return vec![0; self.clusters.len()];
        }
        let exact = self.clusters.iter().map(|it| u64::from(replicas) * weight(it));
        let mut parts: Vec<(u64, u64)> = exact.map(|part| (part / sum, part % sum)).collect();
        let given: u64 = parts.iter().map(|(whole, _)| whole).sum();
        let left = usize::try_from(u64::from(replicas).saturating_sub(given)).unwrap_or_default();
        let mut by_rest: Vec<usize> = (0..parts.len()).collect();
        // Stable: of those that were cut alike, the first of the list comes first.
        by_rest.sort_by_key(|at| std::cmp::Reverse(parts.get(*at).map(|(_, rest)| *rest)));
        for at in by_rest.into_iter().take(left) {
            if let Some((whole, _)) = parts.get_mut(at) {
                *whole += 1;
            }
        }
        parts.into_iter().map(|(whole, _)| u32::try_from(whole).unwrap_or(u32::MAX)).collect()
    }
}

/// Finds what is wrong with the clusters of a placement, and what cannot be said beside them.
pub(super) fn check(placement: &WorkloadPlacement, path: &str, errors: &mut FieldErrors) {
    let clusters = &placement.clusters;
    if clusters.is_empty() {
        return;
    }
    if clusters.len() > CLUSTERS_MAX {
        let field = format!("{path}.clusters");
        errors.push(FieldError::too_many(field, clusters.len(), CLUSTERS_MAX));
    }
    for (at, cluster) in clusters.iter().enumerate() {
        let field = format!("{path}.clusters[{at}]");
        if let Err(why) = validate::subdomain(&cluster.name) {
            let name = format!("{:?}", cluster.name);
            errors.push(FieldError::invalid(format!("{field}.name"), name, why));
        }
        if let Some(weight) = cluster.weight.filter(|weight| *weight > WEIGHT_MAX) {
            let why = format!("must be at most {WEIGHT_MAX}");
            errors.push(FieldError::invalid(format!("{field}.weight"), weight, why));
        }
    }
    if clusters.iter().all(|cluster| cluster.weight == Some(0)) {
        let why = "must be more than 0 for at least one cluster: instances are to be somewhere";
        errors.push(FieldError::invalid(format!("{path}.clusters[0].weight"), 0, why));
    }
    for (field, said) in [
        ("machines", placement.machines.is_some()),
        ("requiredFacts", !placement.required_facts.is_empty()),
        ("affinity", !placement.affinity.is_empty()),
        ("antiAffinity", !placement.anti_affinity.is_empty()),
        ("spread", !placement.spread.is_empty()),
    ] {
        if said {
            let why = "is about machines of the fleet, and the nodes of a cluster are chosen by its own scheduler; leave \
                       out either this or clusters";
            errors.push(FieldError::forbidden(format!("{path}.{field}"), why));
        }
    }
}

/// Finds what a workload cannot be in clusters, or cannot come to be.
pub(super) fn check_spec(
    spec: &WorkloadSpec,
    old: Option<&WorkloadSpec>,
    errors: &mut FieldErrors,
) {
    let in_clusters = |spec: &WorkloadSpec| !spec.placement.clusters.is_empty();
    if old.is_some_and(|old| in_clusters(old) != in_clusters(spec)) {
        let why = "a workload stays on machines, or in clusters; create another one there, and delete this one when that serves";
        errors.push(FieldError::forbidden("spec.placement.clusters", why));
    }
    if !in_clusters(spec) {
        return;
    }
    if spec.strategy.kind != WorkloadStrategyType::RollingUpdate {
        let why = "must be RollingUpdate in clusters: a new revision comes to one cluster after another, in the order of spec.placement.clusters";
        let kind = format!("\"{:?}\"", spec.strategy.kind);
        errors.push(FieldError::invalid("spec.strategy.type", kind, why));
    }
    if spec.priority.is_some() {
        let why = "is about machines of the fleet; in a cluster, its own PriorityClasses say that";
        errors.push(FieldError::forbidden("spec.priority", why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind as _, kinds::Workload};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn placement(weights: &[Option<u32>]) -> WorkloadPlacement {
        let named = weights.iter().enumerate();
        let clusters =
            named.map(|(at, weight)| WorkloadCluster { name: format!("c{at}"), weight: *weight });
        WorkloadPlacement { clusters: clusters.collect(), ..WorkloadPlacement::default() }
    }

    #[test]
    fn instances_are_divided_by_weight() {
        for (weights, replicas, wanted) in [
            (vec![None], 5, vec![5]),
            (vec![None, None], 5, vec![3, 2]),
            (vec![None, None, None], 2, vec![1, 1, 0]),
            (vec![Some(3), Some(1)], 4, vec![3, 1]),
            (vec![Some(3), Some(1)], 5, vec![4, 1]),
            // Both are cut by a half: the first comes first.
            (vec![Some(1), Some(3)], 2, vec![1, 1]),
            (vec![Some(0), None], 3, vec![0, 3]),
            (vec![Some(0), Some(0)], 3, vec![0, 0]),
            (vec![], 3, vec![]),
        ] {
            assert_eq!(placement(&weights).shares(replicas), wanted, "{weights:?} {replicas}");
        }
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_fair(weights in prop::collection::vec(0_u32..=1_000, 1..64), replicas in 0_u32..20_000) {
            let sum: u64 = weights.iter().copied().map(u64::from).sum();
            prop_assume!(sum > 0);
            let given: Vec<Option<u32>> = weights.iter().copied().map(Some).collect();
            let shares = placement(&given).shares(replicas);
            prop_assert_eq!(shares.iter().sum::<u32>(), replicas);
            for (share, weight) in shares.iter().zip(&weights) {
                let floor = u64::from(replicas) * u64::from(*weight) / sum;
                prop_assert!((floor..=floor + 1).contains(&u64::from(*share)));
            }
        }
    }

    fn refused(change: impl Fn(&mut Value), old: Option<&Value>) -> Vec<String> {
        let mut workload = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "service": "web",
                "template": {"spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]}},
                "placement": {"clusters": [{"name": "eu1"}, {"name": "us1", "weight": 2}]},
            },
        });
        change(&mut workload);
        let refused = (Workload::info().admit)(&workload, old).err().unwrap_or_default();
        refused.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn what_cannot_be_in_clusters_is_refused_by_its_field() {
        assert_eq!(refused(|_| {}, None), [""; 0]);
        let tolerated = json!([{"key": "dedicated", "operator": "Exists"}]);
        assert_eq!(
            refused(|it| it["spec"]["placement"]["tolerations"] = tolerated.clone(), None),
            [""; 0]
        );
        let cases = [
            ("placement", json!({"clusters": [{"name": "A"}]}), "spec.placement.clusters[0].name"),
            (
                "placement",
                json!({"clusters": [{"name": "a"}, {"name": "a"}]}),
                "spec.placement.clusters[1]",
            ),
            (
                "placement",
                json!({"clusters": [{"name": "a", "weight": 0}]}),
                "spec.placement.clusters[0].weight",
            ),
            (
                "placement",
                json!({"clusters": [{"name": "a", "weight": 1001}]}),
                "spec.placement.clusters[0].weight",
            ),
            (
                "placement",
                json!({"clusters": [{"name": "a"}], "machines": {"matchLabels": {"a": "b"}}}),
                "spec.placement.machines",
            ),
            (
                "placement",
                json!({"clusters": [{"name": "a"}], "spread": [{"topology": "Rack"}]}),
                "spec.placement.spread",
            ),
            ("strategy", json!({"type": "BlueGreen"}), "spec.strategy.type"),
            ("priority", json!(3), "spec.priority"),
        ];
        for (at, value, field) in cases {
            let found = refused(|it| it["spec"][at] = value.clone(), None);
            assert!(found.iter().any(|it| it == field), "{at} {value}: {found:?}");
        }
    }

    #[test]
    fn a_workload_does_not_move_between_machines_and_clusters() {
        let on_machines = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "service": "web",
                "template": {"spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]}},
            },
        });
        assert_eq!(refused(|_| {}, Some(&on_machines)), ["spec.placement.clusters"]);
    }
}
