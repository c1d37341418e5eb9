//! `/scale`: what clients that know nothing else of a kind read and write of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use serde_json::{Value, json};
use support::Plane;

const POOLS: &str = "/apis/compute.quarterdeck.dev/v1alpha1/namespaces/default/machinepools";

fn pool(replicas: u32) -> Value {
    json!({
        "apiVersion": "compute.quarterdeck.dev/v1alpha1",
        "kind": "MachinePool",
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "template": {"spec": {"class": "small", "image": "debian"}}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_is_read_and_written() {
    let plane = Plane::start().await;
    let made = plane.must("POST", POOLS, pool(3)).await;
    let (object, scale) = (format!("{POOLS}/web"), format!("{POOLS}/web/scale"));
    let status = json!({"status": {"replicas": 2, "selector": "quarterdeck.dev/machine-pool=web"}});
    plane.must("PATCH", &format!("{object}/status"), status).await;
    let read = plane.get(&scale).await.body;
    assert_eq!((&read["apiVersion"], &read["kind"]), (&json!("autoscaling/v1"), &json!("Scale")));
    assert_eq!(read["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!(read["spec"], json!({"replicas": 3}));
    let seen = json!({"replicas": 2, "selector": "quarterdeck.dev/machine-pool=web"});
    assert_eq!(read["status"], seen);

    // As `kubectl scale` does.
    let patched = plane.must("PATCH", &scale, json!({"spec": {"replicas": 5}})).await;
    assert_eq!((&patched["kind"], &patched["spec"]["replicas"]), (&json!("Scale"), &json!(5)));
    let whole = plane.get(&object).await.body;
    assert_eq!(
        (&whole["spec"]["replicas"], &whole["metadata"]["generation"]),
        (&json!(5), &json!(2))
    );
    assert_eq!(whole["spec"]["template"], made["spec"]["template"]);
    assert_eq!(whole["status"]["replicas"], 2);
    let managers = whole["metadata"]["managedFields"].as_array().unwrap();
    let scaler = managers.iter().find(|it| it["subresource"] == "scale").unwrap();
    assert_eq!(scaler["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));

    // As autoscalers do: what they read, with another number. Nought may be left out.
    let mut wanted = plane.get(&scale).await.body;
    wanted["spec"] = json!({});
    let put = plane.must("PUT", &scale, wanted.clone()).await;
    assert_eq!(put["spec"]["replicas"], 0);
    let stale = plane.ask("PUT", &scale, wanted.clone()).await;
    assert_eq!(stale.status.as_u16(), 409, "{:#}", stale.body);
    let revision = plane.revision();
    let rehearsed =
        plane.must("PATCH", &format!("{scale}?dryRun=All"), json!({"spec": {"replicas": 9}})).await;
    assert_eq!((&rehearsed["spec"]["replicas"], plane.revision()), (&json!(9), revision));
    // Only that number is written: nothing else of the patch counts.
    let other = json!({"spec": {"replicas": 1, "paused": true}, "status": {"replicas": 7}});
    plane.must("PATCH", &scale, other).await;
    let whole = plane.get(&object).await.body;
    assert_eq!((&whole["spec"]["replicas"], whole["spec"].get("paused")), (&json!(1), None));
    assert_eq!(whole["status"]["replicas"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_scale_is_refused() {
    let plane = Plane::start().await;
    plane.must("POST", POOLS, pool(3)).await;
    let scale = format!("{POOLS}/web/scale");
    for (path, body, code) in [
        (&scale, json!({"spec": {"replicas": -1}}), 400),
        (&scale, json!({"spec": {"replicas": "many"}}), 400),
        (&scale, json!({"spec": {"replicas": 10_001}}), 422),
        (&scale, json!({"kind": "MachinePool"}), 400),
        (&scale, json!({"metadata": {"uid": "other"}}), 409),
        (&scale, json!({"metadata": {"name": "other"}}), 400),
        (&scale, json!({"metadata": {"resourceVersion": "1"}}), 409),
        (&format!("{POOLS}/other/scale"), json!({"spec": {"replicas": 1}}), 404),
        (
            &"/apis/compute.quarterdeck.dev/v1alpha1/machineclasses/a/scale".to_owned(),
            json!({}),
            404,
        ),
    ] {
        let answer = plane.ask("PATCH", path, body.clone()).await;
        assert_eq!(answer.status.as_u16(), code, "{body}: {:#}", answer.body);
    }
    assert_eq!(plane.ask("DELETE", &scale, json!({})).await.status.as_u16(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_is_discovered_and_described() {
    let plane = Plane::start().await;
    let list = plane.get("/apis/compute.quarterdeck.dev/v1alpha1").await.body;
    let all = list["resources"].as_array().unwrap();
    let found = all.iter().find(|it| it["name"] == "machinepools/scale").unwrap();
    let (group, version, kind) = (&found["group"], &found["version"], &found["kind"]);
    assert_eq!((group, version, kind), (&json!("autoscaling"), &json!("v1"), &json!("Scale")));
    let openapi = plane.get("/openapi/v3/apis/compute.quarterdeck.dev/v1alpha1").await.body;
    let path =
        "/apis/compute.quarterdeck.dev/v1alpha1/namespaces/{namespace}/machinepools/{name}/scale";
    let operations = &openapi["paths"][path];
    assert_eq!(operations["put"]["x-kubernetes-group-version-kind"]["kind"], "Scale");
    assert!(openapi["components"]["schemas"]["io.k8s.api.autoscaling.v1.Scale"].is_object());
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/machinepools.compute.quarterdeck.dev";
    let definition = plane.get(definition).await.body;
    let paths = &definition["spec"]["versions"][0]["subresources"]["scale"];
    assert_eq!(paths["specReplicasPath"], ".spec.replicas");
}
