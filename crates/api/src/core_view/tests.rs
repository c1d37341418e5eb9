//! What kubectl shows of what there is, as tables.

use super::*;
use crate::table::{RowObject, Rows};
use jiff::Timestamp;

fn object(kind: KindRef, value: &Value) -> Object {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let key = Key::new(kind, text("/metadata/namespace"), text("/metadata/name"));
    Object::from_body(kind, key, Revision(7), &object::encode(kind, value)).unwrap()
}

fn row(of: &Object) -> Vec<String> {
    let mut json = Vec::new();
    let now: Timestamp = "2026-01-01T00:03:00Z".parse().unwrap();
    Rows::new(of.kind, RowObject::None, now).write(of, &mut json);
    let row: Value = serde_json::from_slice(&json).unwrap();
    row["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap_or("-").to_owned())
        .collect()
}

fn instance(status: &Value, deleted: bool) -> Object {
    let mut value = json!({
        "metadata": {"name": "api-1", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "api"}},
        "spec": {"service": "api", "host": {"kind": "Machine", "name": "m-1"},
            "template": {"containers": [{"name": "c", "image": "a:1"}, {"name": "d", "image": "b:1"}]}},
        "status": status,
    });
    if deleted {
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:01:00Z");
    }
    object(Instance::info(), &value)
}

#[test]
fn pods_are_shown_as_kubectl_shows_them() {
    let container = |name: &str, state: Value, ready: bool, restarts: u32| json!({"name": name, "image": "a:1", "state": state, "ready": ready, "restartCount": restarts});
    let running = json!({"running": {"startedAt": "2026-01-01T00:01:00Z"}});
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let done = json!({"terminated": {"reason": "Completed", "exitCode": 0}});
    let both = [container("c", running.clone(), true, 0), container("d", running.clone(), true, 2)];
    let crash = [container("c", running, true, 0), container("d", waiting, false, 5)];
    let ended = [container("c", done.clone(), false, 0), container("d", done, false, 0)];
    for (status, deleted, cells, phase) in [
        (json!({"phase": "Pending"}), false, ["0/2", "Pending", "0"], "Pending"),
        (
            json!({"phase": "Ready", "containers": both, "address": "10.0.0.1"}),
            false,
            ["2/2", "Running", "2"],
            "Running",
        ),
        (
            json!({"phase": "NotReady", "containers": crash}),
            false,
            ["1/2", "CrashLoopBackOff", "5"],
            "Running",
        ),
        (
            json!({"phase": "Failed", "containers": ended}),
            false,
            ["0/2", "Completed", "0"],
            "Succeeded",
        ),
        (
            json!({"phase": "Stopping", "containers": both}),
            true,
            ["2/2", "Terminating", "2"],
            "Running",
        ),
        (
            json!({"phase": "Unreachable", "containers": both}),
            false,
            ["2/2", "Unknown", "2"],
            "Unknown",
        ),
    ] {
        let pod = View::Pods.project(&instance(&status, deleted)).unwrap();
        let row = row(&pod);
        assert_eq!(row[..4], ["api-1", cells[0], cells[1], cells[2]], "{status}");
        assert_eq!(row[5..], ["m-1.shop", "3m"], "{status}");
        let value = pod.value();
        assert_eq!(value["status"]["phase"], phase, "{status}");
        assert_eq!((&value["kind"], &value["apiVersion"]), (&json!("Pod"), &json!("v1")));
        assert_eq!(value["metadata"]["resourceVersion"], "7");
        assert_eq!(value["spec"]["containers"][0]["image"], "a:1");
    }
}

#[test]
fn an_instance_without_containers_is_no_pod() {
    let value = json!({
        "metadata": {"name": "i", "namespace": "shop", "uid": "u"},
        "spec": {"service": "api", "host": {"kind": "Server", "name": "s"}},
    });
    assert!(View::Pods.project(&object(Instance::info(), &value)).is_none());
}

#[test]
fn nodes_are_machines_by_both_of_their_names() {
    let machine = |spec: Value, status: Value| {
        let meta = json!({"name": "m-1", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"});
        let value = json!({"metadata": meta, "spec": spec, "status": status});
        View::Nodes.project(&object(Machine::info(), &value)).unwrap()
    };
    let unreached = json!([{"type": "Reachable", "status": "False"}]);
    for (spec, status, shown) in [
        (json!({"class": "small"}), json!({"phase": "Running"}), "Ready"),
        (
            json!({"class": "small", "unschedulable": true}),
            json!({"phase": "Running"}),
            "Ready,SchedulingDisabled",
        ),
        (
            json!({"class": "small"}),
            json!({"phase": "Running", "conditions": unreached}),
            "NotReady",
        ),
        (json!({"class": "small"}), json!({"phase": "Provisioning"}), "NotReady"),
    ] {
        let node = machine(spec, status.clone());
        assert_eq!((node.namespace(), node.name()), ("", "m-1.shop"));
        assert_eq!(row(&node)[..3], ["m-1.shop", shown, "small"], "{status}");
        assert_eq!(node.value()["metadata"].get("namespace"), None);
    }
    let seen = json!({"phase": "Running", "address": "10.0.0.7", "allocatable": {"cpu": 7500, "memory": 1_048_576}});
    let value = machine(json!({}), seen).value();
    assert_eq!(value["status"]["allocatable"], json!({"cpu": "7500m", "memory": "1024Ki"}));
    assert_eq!(
        value["status"]["addresses"][1],
        json!({"type": "InternalIP", "address": "10.0.0.7"})
    );
}

#[test]
fn a_selector_is_looked_up_where_it_can_be() {
    let fields = |view: View, text: &str| {
        let found = view.fields(&FieldSelector::parse(text).unwrap()).0;
        found.iter().map(|it| format!("{}={}", it.path, it.value)).collect::<Vec<_>>().join(",")
    };
    assert_eq!(
        fields(View::Pods, "spec.nodeName=m-1.shop,status.phase=Running"),
        "metadata.namespace=shop,spec.host.kind=Machine,spec.host.name=m-1"
    );
    assert_eq!(fields(View::Pods, "spec.nodeName!=m-1.shop"), "");
    assert_eq!(
        fields(View::Nodes, "metadata.name=m-1.shop"),
        "metadata.namespace=shop,metadata.name=m-1"
    );
}
