//! What is refused, by the field that is named; and what is filled in.

use super::*;
use crate::{Kind as _, kinds::Instance};
use serde_json::{Value, json};

fn instance(pod: Value) -> Value {
    json!({
        "metadata": {"name": "api-1", "namespace": "shop"},
        "spec": {"service": "api", "host": {"kind": "Machine", "name": "m-1"}, "template": pod},
    })
}

fn wrong(object: &Value) -> Vec<String> {
    let admitted = (Instance::info().admit)(object, None);
    admitted.err().into_iter().flatten().map(|it| it.field).collect()
}

/// A template whose only container has these fields besides its name and image.
fn with(fields: Value) -> Value {
    let mut container = json!({"name": "c", "image": "shop/api:1"});
    container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"containers": [container]})
}

#[test]
fn each_wrong_field_is_named() {
    let digits = "9".repeat(30);
    let probe = |it: Value| with(json!({"livenessProbe": it}));
    for (pod, fields) in [
        (json!({"containers": []}), vec![".containers"]),
        (json!({}), vec![".containers"]),
        (with(json!({"name": "A"})), vec![".containers[0].name"]),
        (with(json!({"image": "no image"})), vec![".containers[0].image"]),
        (with(json!({"image": ""})), vec![".containers[0].image"]),
        (with(json!({"command": ["a\0"]})), vec![".containers[0].command[0]"]),
        (with(json!({"workingDir": "a"})), vec![".containers[0].workingDir"]),
        (with(json!({"workingDir": "/a/../b"})), vec![".containers[0].workingDir"]),
        (with(json!({"env": [{"name": "A=B"}]})), vec![".containers[0].env[0].name"]),
        (
            with(
                json!({"env": [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "../x"}}}]}),
            ),
            vec![
                ".containers[0].env[0].valueFrom",
                ".containers[0].env[0].valueFrom.secretKeyRef.key",
            ],
        ),
        (
            with(json!({"ports": [{"containerPort": 0}]})),
            vec![".containers[0].ports[0].containerPort"],
        ),
        (
            with(json!({"ports": [{"containerPort": 70000}]})),
            vec![".containers[0].ports[0].containerPort"],
        ),
        (
            with(
                json!({"ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]}),
            ),
            vec![".containers[0].ports[1].hostPort"],
        ),
        (
            with(json!({"ports": [{"containerPort": 1, "name": "Web"}]})),
            vec![".containers[0].ports[0].name"],
        ),
        (
            with(json!({"resources": {"limits": {"cpu": "x", "memory": digits}}})),
            vec![".containers[0].resources.limits.cpu", ".containers[0].resources.limits.memory"],
        ),
        (
            with(
                json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1001m", "memory": "2Gi"}}}),
            ),
            vec![
                ".containers[0].resources.requests.cpu",
                ".containers[0].resources.requests.memory",
            ],
        ),
        (
            with(json!({"resources": {"limits": {"memory": "1Mi"}}})),
            vec![".containers[0].resources.limits.memory"],
        ),
        (
            with(json!({"resources": {"requests": {"memory": "2Ei"}}})),
            vec![".containers[0].resources.requests.memory"],
        ),
        (
            with(json!({"volumeMounts": [{"name": "v", "mountPath": "a:b"}]})),
            vec![".containers[0].volumeMounts[0].name", ".containers[0].volumeMounts[0].mountPath"],
        ),
        (probe(json!({})), vec![".containers[0].livenessProbe"]),
        (
            probe(json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}})),
            vec![".containers[0].livenessProbe"],
        ),
        (
            probe(json!({"exec": {"command": []}})),
            vec![".containers[0].livenessProbe.exec.command"],
        ),
        (
            probe(json!({"tcpSocket": {"port": "web"}})),
            vec![".containers[0].livenessProbe.tcpSocket.port"],
        ),
        (
            probe(json!({"tcpSocket": {"port": 0}})),
            vec![".containers[0].livenessProbe.tcpSocket.port"],
        ),
        (
            probe(json!({"tcpSocket": {"port": 70000}})),
            vec![".containers[0].livenessProbe.tcpSocket.port"],
        ),
        (
            probe(
                json!({"httpGet": {"port": 1, "path": "x y", "httpHeaders": [{"name": "a b", "value": "\n"}]}}),
            ),
            vec![
                ".containers[0].livenessProbe.httpGet.path",
                ".containers[0].livenessProbe.httpGet.httpHeaders[0].name",
                ".containers[0].livenessProbe.httpGet.httpHeaders[0].value",
            ],
        ),
        (
            probe(json!({"tcpSocket": {"port": 1}, "successThreshold": 2})),
            vec![".containers[0].livenessProbe.successThreshold"],
        ),
        (
            probe(json!({"tcpSocket": {"port": 1}, "periodSeconds": 0})),
            vec![".containers[0].livenessProbe.periodSeconds"],
        ),
        (
            with(json!({"lifecycle": {"preStop": {"exec": {"command": []}}}})),
            vec![".containers[0].lifecycle.preStop.exec.command"],
        ),
        (
            with(json!({"securityContext": {"capabilities": {"add": ["CAP_X"], "drop": ["all"]}}})),
            vec![
                ".containers[0].securityContext.capabilities.add[0]",
                ".containers[0].securityContext.capabilities.drop[0]",
            ],
        ),
        (
            with(json!({"securityContext": {"runAsUser": -1}})),
            vec![".containers[0].securityContext.runAsUser"],
        ),
        (with(json!({"imagePullPolicy": "Sometimes"})), vec![".containers[0].imagePullPolicy"]),
    ] {
        let fields: Vec<String> = fields.iter().map(|it| format!("spec.template{it}")).collect();
        assert_eq!(wrong(&instance(pod.clone())), fields, "{pod}");
    }
}

#[test]
fn each_wrong_volume_is_named() {
    for (volume, field) in [
        (json!({"name": "v"}), ""),
        (json!({"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}), ""),
        (json!({"name": "v", "hostPath": {"path": "x"}}), ".hostPath.path"),
        (json!({"name": "v", "secret": {"secretName": ""}}), ".secret.secretName"),
        (
            json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 512}}),
            ".secret.defaultMode",
        ),
        (
            json!({"name": "v", "secret": {"secretName": "s", "items": [{"key": "a", "path": "../a"}]}}),
            ".secret.items[0].path",
        ),
        (json!({"name": "v", "config": {"files": {"a/b": ""}}}), ".config.files"),
        (json!({"name": "v", "config": {"files": {"a": "x".repeat(600_000)}}}), ".config.files"),
    ] {
        let mut pod = with(json!({}));
        pod["volumes"] = json!([volume]);
        assert_eq!(wrong(&instance(pod)), [format!("spec.template.volumes[0]{field}")], "{volume}");
    }
}

#[test]
fn an_instance_with_a_template_is_on_a_machine_and_is_kept_until_its_containers_are_gone() {
    let admit = |object: &Value| (Instance::info().admit)(object, None).unwrap();
    let mut object = instance(with(json!({})));
    object["spec"]["host"] = json!({"kind": "Server", "name": "s-1"});
    assert_eq!(wrong(&object), ["spec.host.kind"]);

    let object = admit(&instance(with(json!({}))));
    assert_eq!(object["metadata"]["finalizers"], json!([CONTAINERS_FINALIZER]));
    assert_eq!(admit(&object), object, "defaults are filled in once");
    let mut going = object.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    going["metadata"]["finalizers"] = json!([]);
    assert_eq!(admit(&going)["metadata"].get("finalizers"), None);

    let mut without = instance(with(json!({})));
    without["spec"].as_object_mut().unwrap().remove("template");
    assert_eq!(admit(&without)["metadata"].get("finalizers"), None);
}

#[test]
fn what_is_left_out_is_what_kubernetes_fills_in() {
    let pod = |value: Value| {
        let mut pod: PodSpec = serde_json::from_value(value).unwrap();
        pod.set_defaults();
        pod
    };
    let policy =
        |image: &str| pod(with(json!({"image": image}))).containers[0].image_pull_policy.unwrap();
    let digest = format!("a@sha256:{}", "0".repeat(64));
    assert_eq!(policy("a"), ImagePullPolicy::Always);
    assert_eq!(policy("a:latest"), ImagePullPolicy::Always);
    assert_eq!(policy("a:1"), ImagePullPolicy::IfNotPresent);
    assert_eq!(policy(&digest), ImagePullPolicy::IfNotPresent);

    let limited = pod(with(json!({
        "resources": {"limits": {"cpu": "1.5", "memory": "64Mi"}, "requests": {"cpu": "250m"}},
    })));
    assert_eq!(limited.requests(), (250, 64 << 20));
    assert_eq!(limited.restart_policy, RestartPolicy::Always);
    assert_eq!(limited.termination_grace_period_seconds, 30);

    let mut on_host = with(json!({"ports": [{"containerPort": 80}]}));
    on_host["hostNetwork"] = json!(true);
    let on_host = pod(on_host);
    assert_eq!(on_host.host_ports().collect::<Vec<_>>(), [(80, Protocol::TCP)]);
    let mut again = on_host.clone();
    again.set_defaults();
    assert_eq!(again, on_host);
}

#[test]
fn a_probe_has_the_thresholds_of_kubernetes() {
    let probe: Probe = serde_json::from_value(json!({"httpGet": {"port": "web"}})).unwrap();
    let wanted = HttpGetAction {
        path: "/".into(),
        port: PortReference::Name("web".into()),
        ..HttpGetAction::default()
    };
    assert_eq!(probe, Probe { http_get: Some(wanted), ..Probe::default() });
    let Probe { period_seconds, timeout_seconds, success_threshold, failure_threshold, .. } = probe;
    assert_eq!(
        (period_seconds, timeout_seconds, success_threshold, failure_threshold),
        (10, 1, 1, 3)
    );
}
