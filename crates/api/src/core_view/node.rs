//! A Machine as a `v1` Node. Pure.
//!
//! It is read as JSON: what its agent has not told is not shown.

use super::{metadata, node_name, schema};
use quarterdeck_model::{
    Column, FieldError, KindInfo, KindRef, Object, Scope, kinds::machine_agent::REACHABLE,
};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// The kind.
pub(super) fn kind() -> KindRef {
    static INFO: KindInfo = KindInfo {
        group: "",
        version: "v1",
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        categories: &[],
        scope: Scope::Cluster,
        has_status: false,
        scale: None,
        columns: &[
            Column::new(
                "Status",
                "status.summary.status",
                "Whether it can do its work, and takes more",
            ),
            Column::new("Roles", "status.summary.roles", "What it is for"),
            Column::new("Version", "status.nodeInfo.kubeletVersion", "Version of its agent"),
            Column::new("Internal-IP", "status.summary.address", "Where it is reached").wide(),
            Column::new("OS-Image", "status.nodeInfo.osImage", "Its operating system").wide(),
            Column::new("Kernel-Version", "status.nodeInfo.kernelVersion", "Its kernel").wide(),
            Column::new(
                "Container-Runtime",
                "status.nodeInfo.containerRuntimeVersion",
                "Its container engine",
            )
            .wide(),
        ],
        indexed_fields: &["spec.unschedulable"],
        common_fields: &[],
        description: "Node is a Machine, as Kubernetes shows it, named MACHINE.NAMESPACE. Nothing of it is written but spec.unschedulable: write the Machine.",
        schema: || {
            static SCHEMA: OnceLock<Value> = OnceLock::new();
            SCHEMA.get_or_init(|| schema(kind().description))
        },
        admit: |_, _| Err(vec![FieldError::forbidden("", "Nodes are a view of Machines")]),
        resource_name: OnceLock::new(),
        paths: OnceLock::new(),
    };
    &INFO
}

/// The Node that a Machine is.
pub(super) fn project(source: &Object) -> Value {
    let machine = source.value();
    let text = |path: &str| machine.pointer(path).and_then(Value::as_str);
    let mut meta = metadata(&machine, &node_name(source.name(), source.namespace()));
    if let Some(meta) = meta.as_object_mut() {
        meta.remove("namespace");
        // They are of its namespace, which it has left.
        meta.remove("ownerReferences");
        let labels = meta.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert("kubernetes.io/hostname".into(), source.name().into());
            labels.insert("quarterdeck.dev/namespace".into(), source.namespace().into());
        }
    }
    let unschedulable = machine.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    let mut spec = Map::new();
    if unschedulable {
        spec.insert("unschedulable".into(), true.into());
    }
    if let Some(taints) = machine.pointer("/spec/taints").filter(|it| it.is_array()) {
        spec.insert("taints".into(), taints.clone());
    }
    let ready = is_ready(&machine);
    let word = if ready { "Ready" } else { "NotReady" };
    let shown = if unschedulable { format!("{word},SchedulingDisabled") } else { word.into() };
    let address = text("/status/address").unwrap_or_default();
    let mut addresses = vec![json!({"type": "Hostname", "address": source.name()})];
    if !address.is_empty() {
        let kind = match address.parse::<std::net::IpAddr>() {
            Ok(_) => "InternalIP",
            Err(_) => "InternalDNS",
        };
        addresses.push(json!({"type": kind, "address": address}));
    }
    json!({
        "metadata": meta,
        "spec": spec,
        "status": {
            "conditions": conditions(&machine, ready),
            "addresses": addresses,
            "allocatable": allocatable(&machine),
            "capacity": allocatable(&machine),
            "nodeInfo": {
                "kubeletVersion": text("/status/agent/version").unwrap_or_default(),
                "osImage": text("/status/facts/os/name").or(text("/status/image")).unwrap_or_default(),
                "kernelVersion": text("/status/facts/kernel").unwrap_or_default(),
                "containerRuntimeVersion": text("/status/facts/containerEngine").unwrap_or_default(),
                "bootID": text("/status/facts/bootID").unwrap_or_default(),
                "machineID": "", "systemUUID": "", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "",
            },
            // What is shown in columns, which Kubernetes computes as well.
            "summary": {"status": shown, "roles": text("/spec/class").unwrap_or("<none>"), "address": address},
        },
    })
}

/// It runs, and nobody says that it is not reached.
fn is_ready(machine: &Value) -> bool {
    let runs = machine.pointer("/status/phase").and_then(Value::as_str) == Some("Running");
    let says = |name: &str, status: &str| {
        let all = machine.pointer("/status/conditions").and_then(Value::as_array);
        all.into_iter().flatten().any(|it| {
            it.get("type").and_then(Value::as_str) == Some(name)
                && it.get("status").and_then(Value::as_str) == Some(status)
        })
    };
    runs && !says(REACHABLE, "False")
}

fn conditions(machine: &Value, ready: bool) -> Vec<Value> {
    let own = machine.pointer("/status/conditions").and_then(Value::as_array);
    let others = own.into_iter().flatten().filter(|it| it.get("type") != Some(&"Ready".into()));
    let since = machine.pointer("/status/phaseSince").cloned().unwrap_or_default();
    let phase = machine.pointer("/status/phase").cloned().unwrap_or_default();
    let status = if ready { "True" } else { "False" };
    let first = json!({"type": "Ready", "status": status, "reason": phase, "message": "", "lastTransitionTime": since});
    std::iter::once(first).chain(others.cloned()).collect()
}

/// What its agent says it has to give, as quantities.
fn allocatable(machine: &Value) -> Value {
    let number = |path: &str| machine.pointer(path).and_then(Value::as_u64);
    let mut all = Map::new();
    if let Some(cpu) = number("/status/allocatable/cpu") {
        all.insert("cpu".into(), format!("{cpu}m").into());
    }
    if let Some(memory) = number("/status/allocatable/memory") {
        all.insert("memory".into(), format!("{}Ki", memory / 1024).into());
    }
    all.into()
}
