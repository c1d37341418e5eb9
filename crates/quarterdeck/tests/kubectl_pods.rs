//! Instances and Machines as kubectl shows Pods and Nodes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_testing::{process::Process, user::RunAs, wait::wait_until};
use support::{DEADLINE, plane, rows};

const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: services.quarterdeck.dev/v1alpha1
kind: Service
metadata: {name: api, namespace: shop}
spec: {owner: team-shop}
---
apiVersion: services.quarterdeck.dev/v1alpha1
kind: Instance
metadata: {name: api-1, namespace: shop, labels: {app: api}}
spec:
  service: api
  host: {kind: Machine, name: m-1}
  template:
    containers:
      - {name: main, image: "registry.example.com/shop/api:1"}
---
apiVersion: services.quarterdeck.dev/v1alpha1
kind: Instance
metadata: {name: api-2, namespace: shop}
spec:
  service: api
  host: {kind: Machine, name: m-2}
  template: {containers: [{name: main, image: "a:1"}]}
---
apiVersion: services.quarterdeck.dev/v1alpha1
kind: Instance
metadata: {name: elsewhere, namespace: shop}
spec: {service: api, host: {kind: Machine, name: m-1}}
"#;

/// A Machine that nobody installs: its class is not there.
const MACHINE: &str = r#"
apiVersion: compute.quarterdeck.dev/v1alpha1
kind: Machine
metadata: {name: m-1, namespace: shop}
spec: {class: none, image: none}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_instances_with_containers() {
    let plane = plane().await;
    plane.apply(OBJECTS).await;
    plane.apply(MACHINE).await;
    let get = async |arguments: &[&str]| {
        let mut all = vec!["get"];
        all.extend(arguments);
        plane.kubectl(&all).await
    };
    let table = get(&["pods", "--namespace", "shop"]).await;
    let table = rows(&table);
    assert_eq!(table[0], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    let names: Vec<&str> = table[1..].iter().map(|row| row[0]).collect();
    assert_eq!(names, ["api-1", "api-2"]);
    assert_eq!(table[1][1..4], ["0/1", "Pending", "0"]);
    let on = [
        "pods",
        "--all-namespaces",
        "--field-selector",
        "spec.nodeName=m-1.shop",
        "--output",
        "name",
    ];
    assert_eq!(get(&on).await, "pod/api-1\n");
    assert_eq!(get(&["po", "-n", "shop", "-l", "app=api", "-o", "name"]).await, "pod/api-1\n");
    let pending = ["pods", "-n", "shop", "--field-selector", "status.phase=Running", "-o", "name"];
    assert_eq!(get(&pending).await, "");
    let one = get(&[
        "pod",
        "api-1",
        "-n",
        "shop",
        "-o",
        "jsonpath={.spec.nodeName} {.spec.containers[0].image}",
    ])
    .await;
    assert_eq!(one, "m-1.shop registry.example.com/shop/api:1");
    let described = plane.kubectl(&["describe", "pod", "api-1", "-n", "shop"]).await;
    assert!(
        described.contains("m-1.shop") && described.contains("registry.example.com/shop/api:1"),
        "{described}"
    );
    assert!(plane.try_kubectl(&["get", "pod", "elsewhere", "-n", "shop"]).await.is_err());
    let refused =
        plane.try_kubectl(&["delete", "pod", "api-1", "-n", "shop"]).await.unwrap_err().to_string();
    assert!(refused.contains("are a view"), "{refused}");
    let limited = get(&["pods", "-A", "--chunk-size=1", "-o", "name"]).await;
    assert_eq!(limited.lines().count(), 2, "{limited}");

    // What happens to an Instance is heard of its Pod.
    let log = tempfile::NamedTempFile::new().unwrap();
    let watch =
        plane.kubectl_command(&["get", "pods", "-n", "shop", "--watch", "--output", "name"]);
    let mut watch = Process::start("a watch", &watch, RunAs::Caller, log.path());
    watch.wait_for_line("pod/api-2", DEADLINE).await;
    let ready = r#"{"status":{"phase":"Ready","containers":[{"name":"main","image":"a","state":{"running":{}},"ready":true,"restartCount":1}]}}"#;
    plane
        .kubectl(&[
            "patch",
            "instance",
            "api-2",
            "-n",
            "shop",
            "--subresource=status",
            "--type=merge",
            "-p",
            ready,
        ])
        .await;
    wait_until(DEADLINE, "the watch hears it", async || {
        watch.output().matches("pod/api-2").count() >= 2
    })
    .await;
    let table = get(&["pod", "api-2", "-n", "shop", "--no-headers"]).await;
    assert_eq!(rows(&table)[0][1..4], ["1/1", "Running", "1"]);

    let nodes = get(&["nodes"]).await;
    assert_eq!(rows(&nodes)[1][..3], ["m-1.shop", "NotReady", "none"]);
    let node =
        get(&["node", "m-1.shop", "-o", "jsonpath={.metadata.labels.kubernetes\\.io/hostname}"])
            .await;
    assert_eq!(node, "m-1");
    assert!(plane.kubectl(&["explain", "pod"]).await.contains("read only"));
}
