//! An Instance as a `v1` Pod. Pure.

use super::{metadata, node_name, schema};
use quarterdeck_model::{
    Column, FieldError, KindInfo, KindRef, Object, Scope,
    kinds::{
        Instance, InstancePhase,
        container::{ContainerStatus, PodSpec},
    },
};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// The kind.
pub(super) fn kind() -> KindRef {
    static INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        scope: Scope::Namespaced,
        has_status: false,
        scale: None,
        columns: &[
            Column::new("Ready", "status.summary.ready", "Containers that are ready, of all"),
            Column::new("Status", "status.summary.status", "Where it is"),
            Column::new(
                "Restarts",
                "status.summary.restarts",
                "How often its containers were started again",
            ),
            Column::new("IP", "status.podIP", "Its own address on its node").wide(),
            Column::new("Node", "spec.nodeName", "The Node, that is the Machine, it is on").wide(),
        ],
        indexed_fields: &["spec.nodeName", "status.phase"],
        common_fields: &[],
        description: "Pod is an Instance with containers, as Kubernetes shows it. It is read only: write the Instance, or the Workload it is of.",
        schema: || {
            static SCHEMA: OnceLock<Value> = OnceLock::new();
            SCHEMA.get_or_init(|| schema(kind().description))
        },
        admit: |_, _| Err(vec![FieldError::forbidden("", "Pods are a view of Instances")]),
        resource_name: OnceLock::new(),
        paths: OnceLock::new(),
    };
    &INFO
}

/// The Pod that an Instance is; none, if it has no containers.
pub(super) fn project(source: &Object) -> Option<Value> {
    let instance = source.decode::<Instance>().ok()?;
    let pod = instance.spec.template.as_ref()?;
    let host = node_name(&instance.spec.host.name, source.namespace());
    let mut spec = serde_json::to_value(pod).ok()?;
    let more = spec.as_object_mut()?;
    more.insert("nodeName".into(), host.into());
    if let Some(priority) = instance.spec.priority {
        more.insert("priority".into(), priority.into());
    }
    Some(json!({
        "metadata": metadata(&source.value(), source.name()),
        "spec": spec,
        "status": status(&instance, pod),
    }))
}

fn status(instance: &Instance, pod: &PodSpec) -> Value {
    let seen = &instance.status;
    let mut status = Map::new();
    let mut set = |name: &str, value: Value| drop(status.insert(name.to_owned(), value));
    set("phase", phase(instance).into());
    if let Some(message) = &seen.message {
        set("message", message.as_str().into());
    }
    set("conditions", json!(seen.conditions));
    if let Some(address) = &seen.address {
        set("podIP", address.as_str().into());
        set("podIPs", json!([{"ip": address}]));
    }
    if let Some(started) = seen.started_at {
        set("startTime", started.to_string().into());
    }
    set("containerStatuses", seen.containers.iter().map(container).collect());
    let ready = seen.containers.iter().filter(|it| it.ready).count();
    let restarts: u32 = seen.containers.iter().map(|it| it.restart_count).sum();
    // What is shown in columns, which Kubernetes computes as well. Clients with a type for Pods do not see it.
    set(
        "summary",
        json!({
            "ready": format!("{ready}/{}", pod.containers.len()),
            "status": summary(instance),
            "restarts": restarts.to_string(),
        }),
    );
    status.into()
}

fn container(it: &ContainerStatus) -> Value {
    let mut value = json!(it);
    if let Some(value) = value.as_object_mut() {
        // Kubernetes always has these.
        for name in ["imageID", "lastState"] {
            let empty = if name == "imageID" { json!("") } else { json!({}) };
            value.entry(name).or_insert(empty);
        }
    }
    value
}

/// `v1.PodPhase`.
fn phase(instance: &Instance) -> &'static str {
    let seen = &instance.status;
    let began = seen.containers.iter().any(|it| it.state.running.is_some() || it.restart_count > 0);
    match seen.phase {
        InstancePhase::Pending => "Pending",
        InstancePhase::Starting if !began => "Pending",
        InstancePhase::Failed => {
            let ended = seen.containers.iter().filter_map(|it| it.state.terminated.as_ref());
            let good = !seen.containers.is_empty() && ended.clone().all(|it| it.exit_code == 0);
            if good { "Succeeded" } else { "Failed" }
        }
        InstancePhase::Unreachable => "Unknown",
        InstancePhase::Starting
        | InstancePhase::Ready
        | InstancePhase::NotReady
        | InstancePhase::Stopping => "Running",
    }
}

/// What kubectl shows as STATUS: the phase, or the word for what is wrong (Kubernetes, `printPod`).
fn summary(instance: &Instance) -> String {
    if instance.metadata.deletion_timestamp.is_some() {
        let lost = instance.status.phase == InstancePhase::Unreachable;
        return if lost { "Unknown" } else { "Terminating" }.into();
    }
    let word = instance.status.containers.iter().find_map(|it| {
        let waiting = it.state.waiting.as_ref().map(|it| it.reason.as_str());
        waiting.or_else(|| it.state.terminated.as_ref().map(|it| it.reason.as_str()))
    });
    match word {
        Some(word) if !word.is_empty() => word.into(),
        _ => phase(instance).into(),
    }
}
