//! The Deployment that a workload is in a cluster: as it is wanted, and how one that is there differs. Pure.

use k8s_openapi::{
    api::apps::v1::DeploymentStatus, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use quarterdeck_model::kinds::{InstanceTemplate, Workload};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

pub use k8s_openapi::api::apps::v1::Deployment;

/// Label of what belongs to a workload: its name.
pub const WORKLOAD: &str = "quarterdeck.dev/workload";
/// Label of what is of a revision of it: the number.
pub const REVISION: &str = "quarterdeck.dev/revision";
/// Annotation of a Deployment: identity of the Workload that it is.
const WORKLOAD_UID: &str = "quarterdeck.dev/workload-uid";
/// Annotation of a Deployment, and label of its pods: the Cluster, as the plane calls it, for which they were made.
pub const CLUSTER: &str = "quarterdeck.dev/cluster";
/// Annotation of a Deployment: how many pods were declared.
const REPLICAS: &str = "quarterdeck.dev/replicas";
/// Label by which tools tell who manages an object.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A part of a workload in a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The workload.
    pub workload: &'a Workload,
    /// Name of the Cluster.
    pub cluster: &'a str,
    /// The revision that is to be there, and what instances of it are.
    pub revision: (i64, &'a InstanceTemplate),
    /// How many instances of it.
    pub replicas: u32,
}

/// A Deployment as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// What is applied.
    pub body: Value,
    /// The same for the same.
    pub digest: String,
}

impl Part<'_> {
    /// The Deployment that it is.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let Self { workload, cluster, revision: (number, template), replicas } = *self;
        let (meta, spec) = (&workload.metadata, &workload.spec);
        let selected = BTreeMap::from([(WORKLOAD, meta.name.clone())]);
        let mut labels: BTreeMap<String, String> = template.metadata.labels.clone();
        labels.insert(WORKLOAD.into(), meta.name.clone());
        labels.insert(REVISION.into(), number.to_string());
        // Two names of one cluster are not two copies of what runs there.
        labels.insert(CLUSTER.into(), cluster.to_owned());
        let mut pod = template.spec.clone();
        pod.set_defaults();
        let mut pod = serde_json::to_value(pod).unwrap_or_default();
        let tolerations = &spec.placement.tolerations;
        if let Some(fields) = pod.as_object_mut().filter(|_| !tolerations.is_empty()) {
            fields.insert("tolerations".into(), json!(tolerations));
        }
        let (surge, unavailable) = at_once(workload, replicas);
        // Kubernetes asks that a rollout has longer than an instance needs to count.
        let deadline = spec.progress_deadline().as_std().as_secs();
        let deadline = deadline.max(u64::from(spec.min_ready_seconds) + 1);
        let annotations = BTreeMap::from([
            (WORKLOAD_UID, meta.uid.clone()),
            (CLUSTER, cluster.to_owned()),
            (REVISION, number.to_string()),
            (REPLICAS, replicas.to_string()),
        ]);
        let body = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": meta.name,
                "namespace": meta.namespace,
                "labels": {WORKLOAD: meta.name, MANAGED_BY: crate::MANAGER},
                "annotations": annotations,
            },
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": selected},
                "minReadySeconds": spec.min_ready_seconds,
                "progressDeadlineSeconds": deadline,
                "revisionHistoryLimit": spec.history_limit(),
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
                },
                "template": {
                    "metadata": {"labels": labels, "annotations": template.metadata.annotations},
                    "spec": pod,
                },
            },
        });
        let digest = Sha256::digest(body.to_string().as_bytes());
        let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Wanted { body, digest }
    }
}

/// How many instances there may be more than `replicas`, and how many fewer may be available, while they are replaced.
#[must_use]
pub fn at_once(workload: &Workload, replicas: u32) -> (u32, u32) {
    let spec = &workload.spec;
    let of_part = quarterdeck_model::kinds::WorkloadSpec { replicas, ..spec.clone() };
    let (surge, unavailable) = (of_part.surge(), of_part.unavailable());
    // Of none, a percentage is nothing, and Kubernetes refuses what could never be replaced.
    if surge == 0 && unavailable == 0 { (1, 0) } else { (surge, unavailable) }
}

fn annotation<'d>(deployment: &'d Deployment, name: &str) -> Option<&'d str> {
    deployment.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// Whose a Deployment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// This workload's, made for this cluster.
    Ours,
    /// This workload's, made for a cluster that the plane calls otherwise: both are one.
    OtherCluster(String),
    /// Somebody else's.
    Stranger,
}

/// Whose a Deployment is.
#[must_use]
pub fn owner(deployment: &Deployment, workload_uid: &str, cluster: &str) -> Owner {
    if annotation(deployment, WORKLOAD_UID) != Some(workload_uid) {
        return Owner::Stranger;
    }
    match annotation(deployment, CLUSTER) {
        Some(other) if other != cluster => Owner::OtherCluster(crate::error::cut(other)),
        _ => Owner::Ours,
    }
}

/// The revision of the workload that was applied last.
#[must_use]
pub fn revision(deployment: &Deployment) -> Option<i64> {
    annotation(deployment, REVISION)?.parse().ok()
}

/// The revision and the number of pods that were declared last, whatever became of them since.
#[must_use]
pub fn declared(deployment: &Deployment) -> (Option<i64>, Option<u32>) {
    let replicas = annotation(deployment, REPLICAS).and_then(|number| number.parse().ok());
    (revision(deployment), replicas)
}

/// What differs in a Deployment that somebody has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    /// Nothing.
    None,
    /// Something that takes no pod.
    Harmless,
    /// It has so many pods too many.
    TooMany(u32),
    /// Its pods are of something else, and all of them are replaced.
    Template,
}

/// What differs between a Deployment and what it would be if it were applied once more.
#[must_use]
pub fn drift(there: &Deployment, applied: &Deployment) -> Drift {
    let spec = |of: &Deployment| of.spec.clone().unwrap_or_default();
    let (there_spec, applied_spec) = (spec(there), spec(applied));
    let metadata = |of: &Deployment| {
        let mut annotations = of.metadata.annotations.clone().unwrap_or_default();
        // Its controller writes those at any time, as between a watch and a look.
        annotations.retain(|name, _| !name.starts_with("deployment.kubernetes.io/"));
        (of.metadata.labels.clone(), annotations)
    };
    if there_spec.template != applied_spec.template {
        return Drift::Template;
    }
    let replicas = |of: Option<i32>| u32::try_from(of.unwrap_or(1)).unwrap_or_default();
    let (now, then) = (replicas(there_spec.replicas), replicas(applied_spec.replicas));
    match now.checked_sub(then) {
        Some(more) if more > 0 => Drift::TooMany(more),
        _ if there_spec != applied_spec || metadata(there) != metadata(applied) => Drift::Harmless,
        _ => Drift::None,
    }
}

/// Those among `managers` that declare what they manage, as the plane does: what anybody else changed was done once, by hand or
/// by a tool, and is brought back.
#[must_use]
pub fn declaring(deployment: &Deployment, managers: &[String]) -> Vec<String> {
    let declares = |entry: &&ManagedFieldsEntry| {
        entry.operation.as_deref() == Some("Apply")
            && entry.manager.as_deref() != Some(crate::MANAGER)
    };
    let entries = deployment.metadata.managed_fields.iter().flatten().filter(declares);
    let mut found: Vec<String> = entries.filter_map(|entry| entry.manager.clone()).collect();
    found.retain(|manager| managers.contains(manager));
    found.sort_unstable();
    found.dedup();
    found
}

/// How far a Deployment is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Its controller has seen its newest version, and all is as that says.
    pub complete: bool,
    /// Why its controller has given up waiting, or cannot make pods.
    pub failed: Option<(String, String)>,
}

/// How far a Deployment is.
#[must_use]
pub fn progress(deployment: &Deployment) -> Progress {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let seen = status.observed_generation >= deployment.metadata.generation;
    let count = |number: Option<i32>| number.unwrap_or_default();
    let complete = seen
        && count(status.updated_replicas) == wanted
        && count(status.replicas) == wanted
        && count(status.available_replicas) == wanted;
    Progress { complete, failed: failed(&status).filter(|_| seen && !complete) }
}

fn failed(status: &DeploymentStatus) -> Option<(String, String)> {
    let mut conditions = status.conditions.iter().flatten();
    let failed = conditions.find(|condition| {
        matches!(
            (condition.type_.as_str(), condition.status.as_str()),
            ("Progressing", "False") | ("ReplicaFailure", "True")
        )
    })?;
    let reason = failed.reason.clone().unwrap_or_else(|| failed.type_.clone());
    Some((reason, crate::error::cut(failed.message.as_deref().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(spec: Value) -> Workload {
        let mut all = json!({
            "service": "web", "replicas": 4,
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"note": "x"}},
                "spec": {"containers": [{"name": "web", "image": "example.com/web:1", "ports": [{"containerPort": 80}],
                    "resources": {"requests": {"cpu": "1500m"}}}]},
            },
            "placement": {"clusters": [{"name": "eu1"}]},
        });
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let meta = json!({"name": "web", "namespace": "shop", "uid": "w-1"});
        serde_json::from_value(json!({"metadata": meta, "spec": all})).unwrap()
    }

    fn wanted(workload: &Workload, revision: i64, replicas: u32) -> Wanted {
        let revision = (revision, &workload.spec.template);
        Part { workload, cluster: "eu1", revision, replicas }.wanted()
    }

    fn live(wanted: &Wanted) -> Deployment {
        serde_json::from_value(wanted.body.clone()).unwrap()
    }

    #[test]
    fn a_deployment_is_what_the_workload_says() {
        let tolerations = json!([{"key": "dedicated", "operator": "Exists"}]);
        let clusters = json!([{"name": "eu1"}]);
        let placement = json!({"clusters": clusters, "tolerations": tolerations});
        let workload = workload(json!({"placement": placement, "minReadySeconds": 5}));
        let Wanted { body, .. } = wanted(&workload, 7, 3);
        let at = |path: &str| body.pointer(path).cloned().unwrap_or_default();
        assert_eq!(at("/metadata/namespace"), "shop");
        assert_eq!(at("/spec/replicas"), 3);
        assert_eq!(at("/spec/selector/matchLabels"), json!({WORKLOAD: "web"}));
        let labels = json!({"app": "web", WORKLOAD: "web", REVISION: "7", CLUSTER: "eu1"});
        assert_eq!(at("/spec/template/metadata/labels"), labels);
        assert_eq!(at("/spec/template/metadata/annotations"), json!({"note": "x"}));
        assert_eq!(at("/spec/template/spec/tolerations/0/key"), "dedicated");
        assert_eq!(at("/spec/template/spec/containers/0/ports/0/protocol"), "TCP");
        assert_eq!(at("/spec/minReadySeconds"), 5);
        assert_eq!(at("/spec/progressDeadlineSeconds"), 600);
        let update = json!({"maxSurge": 1, "maxUnavailable": 0});
        assert_eq!(at("/spec/strategy/rollingUpdate"), update);
        // It is one that Kubernetes takes, with nothing in it that is not known there.
        let read: Deployment = serde_json::from_value(body.clone()).unwrap();
        let back = serde_json::to_value(&read).unwrap();
        for path in ["/spec/strategy", "/spec/selector", "/spec/template/metadata/labels"] {
            assert_eq!(back.pointer(path), body.pointer(path));
        }
        let long = json!({"placement": {"clusters": clusters}, "minReadySeconds": 900});
        let long = self::workload(long);
        assert_eq!(wanted(&long, 1, 1).body["spec"]["progressDeadlineSeconds"], 901);
    }

    #[test]
    fn a_part_can_always_be_replaced() {
        for (update, replicas, wanted) in [
            (json!({}), 3, (1, 0)),
            (json!({"maxSurge": "25%"}), 8, (2, 0)),
            (json!({"maxSurge": 0, "maxUnavailable": "10%"}), 3, (0, 1)),
            (json!({"maxSurge": 0, "maxUnavailable": "10%"}), 0, (1, 0)),
            (json!({"maxSurge": 0, "maxUnavailable": 1}), 3, (0, 1)),
            (json!({"maxUnavailable": "50%"}), 4, (1, 2)),
        ] {
            let workload = workload(json!({"strategy": {"rollingUpdate": update}}));
            assert_eq!(at_once(&workload, replicas), wanted, "{update}");
        }
    }

    #[test]
    fn what_was_declared_is_told_by_the_deployment_itself() {
        let workload = workload(json!({}));
        let one = wanted(&workload, 1, 3);
        assert_eq!(one, wanted(&workload, 1, 3));
        for other in [wanted(&workload, 2, 3), wanted(&workload, 1, 4)] {
            assert_ne!(one.digest, other.digest);
        }
        assert_eq!(declared(&live(&one)), (Some(1), Some(3)));
        assert_eq!(revision(&live(&one)), Some(1));
        assert_eq!(owner(&live(&one), "w-1", "eu1"), Owner::Ours);
        assert_eq!(owner(&live(&one), "w-1", "eu2"), Owner::OtherCluster("eu1".into()));
        assert_eq!(owner(&live(&one), "w-2", "eu1"), Owner::Stranger);
        assert_eq!(owner(&Deployment::default(), "w-1", "eu1"), Owner::Stranger);
    }

    #[test]
    fn what_drifted_is_told_by_what_mending_it_takes() {
        let workload = workload(json!({}));
        let applied = live(&wanted(&workload, 1, 3));
        let drifted = |path: &str, value: Value| {
            let mut body = wanted(&workload, 1, 3).body;
            let (parent, last) = path.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap()[last] = value;
            drift(&serde_json::from_value(body).unwrap(), &applied)
        };
        assert_eq!(drift(&applied, &applied), Drift::None);
        assert_eq!(drifted("/spec/replicas", json!(5)), Drift::TooMany(2));
        assert_eq!(drifted("/spec/replicas", json!(0)), Drift::Harmless);
        assert_eq!(drifted("/spec/minReadySeconds", json!(9)), Drift::Harmless);
        assert_eq!(drifted("/metadata/labels", json!({})), Drift::Harmless);
        let mut annotations = wanted(&workload, 1, 3).body["metadata"]["annotations"].clone();
        annotations["deployment.kubernetes.io/revision"] = json!("2");
        assert_eq!(drifted("/metadata/annotations", annotations.clone()), Drift::None);
        annotations["a"] = json!("b");
        assert_eq!(drifted("/metadata/annotations", annotations), Drift::Harmless);
        let image = "/spec/template/spec/containers/0/image";
        assert_eq!(drifted(image, json!("example.com/other:1")), Drift::Template);
    }

    #[test]
    fn only_who_declares_is_in_the_way() {
        let entry =
            |manager: &str, operation: &str| json!({"manager": manager, "operation": operation});
        let fields = [
            entry("quarterdeck", "Apply"),
            entry("argo", "Apply"),
            entry("kubectl-edit", "Update"),
            entry("flux", "Apply"),
        ];
        let deployment = json!({"metadata": {"managedFields": fields}});
        let deployment: Deployment = serde_json::from_value(deployment).unwrap();
        let managers: Vec<String> = ["argo", "kubectl-edit"].map(Into::into).into();
        assert_eq!(declaring(&deployment, &managers), ["argo"]);
        assert_eq!(declaring(&deployment, &["kubectl-edit".into()]), [""; 0]);
    }

    #[test]
    fn progress_is_what_its_controller_has_seen() {
        let read = |generation: i64, status: Value| {
            let deployment = json!({"metadata": {"generation": generation}, "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": status});
            progress(&serde_json::from_value(deployment).unwrap())
        };
        let all = json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert!(read(3, all.clone()).complete);
        assert!(!read(4, all).complete);
        let stuck = json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2, "conditions": [
            {"type": "Available", "status": "True"},
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out."}]});
        let failed = Some(("ProgressDeadlineExceeded".to_owned(), "timed out".to_owned()));
        assert_eq!(read(3, stuck), Progress { complete: false, failed });
    }
}
