//! Server-side apply over HTTP: what is answered, what is stored, who manages what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use serde_json::{Value, json};
use support::{Answer, Plane, SECRETS, SITES, site};

const APPLY: &str = "application/apply-patch+yaml";

fn config(fields: Value) -> Value {
    let mut config = json!({"apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Site",
        "metadata": {"name": "ams1"}});
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    config
}

/// Applies `fields` of the site `ams1`; `query` begins with the manager's name.
async fn apply(plane: &Plane, query: &str, fields: Value) -> Answer {
    let path = format!("{SITES}/ams1?fieldManager={query}");
    plane.send_bytes("PATCH", &path, APPLY, config(fields).to_string()).await
}

/// Managers and their fields, as they are sent.
fn managers(object: &Value) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let name = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        assert_eq!(entry["fieldsType"], "FieldsV1");
        assert_eq!(text("time").len(), "2026-11-01T00:00:00Z".len());
        let part = text("subresource");
        let part = if part.is_empty() { part } else { format!("/{part}") };
        format!("{} {}{part}", text("operation"), text("manager"))
    };
    entries.iter().map(|entry| (name(entry), entry["fieldsV1"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_made_shared_and_fought_over() {
    let plane = Plane::start().await;
    let spec = json!({"spec": {"region": "eu-west", "halls": ["n"]}});
    let dry = apply(&plane, "ann&dryRun=All", spec.clone()).await;
    assert_eq!(
        (dry.status, plane.get(&format!("{SITES}/ams1")).await.status.as_u16()),
        (201.try_into().unwrap(), 404)
    );
    let made = apply(&plane, "ann", spec.clone()).await;
    assert_eq!(made.status, 201, "{:#}", made.body);
    let fields = json!({"f:spec": {"f:region": {}, "f:halls": {"v:\"n\"": {}}}});
    assert_eq!(managers(&made.body), [("Apply ann".into(), fields)]);

    // What is applied again changes nothing, not even the time.
    let revision = plane.revision();
    let again = apply(&plane, "ann", spec).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &made.body));
    assert_eq!(plane.revision(), revision);

    let refused = apply(&plane, "ben", json!({"spec": {"region": "us-east"}})).await;
    assert_eq!(
        refused.body,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Apply failed with 1 conflict: conflict with \"ann\": .spec.region",
            "reason": "Conflict", "code": 409,
            "details": {"causes": [{
                "reason": "FieldManagerConflict", "message": "conflict with \"ann\"",
                "field": ".spec.region",
            }]},
        })
    );
    let forced = apply(&plane, "ben&force=true", json!({"spec": {"region": "us-east"}})).await;
    assert_eq!(forced.body["spec"], json!({"region": "us-east", "halls": ["n"]}));
    assert_eq!(forced.body["metadata"]["generation"], 2);

    // Any other write takes what it changes, under its parameter or the name of its program.
    let path = format!("{SITES}/ams1");
    let patch = json!({"spec": {"region": "eu-north"}});
    plane.must("PATCH", &format!("{path}?fieldManager=cyd"), patch).await;
    let request = plane
        .request("PATCH", &path)
        .header("content-type", "application/merge-patch+json")
        .header("user-agent", "tool/v1 (linux)");
    let body = r#"{"metadata":{"labels":{"a":"b"}}}"#;
    let answer = plane.send(request.body(body.into()).unwrap()).await;
    let labelled = support::whole(answer).await.body;
    assert_eq!(
        managers(&labelled),
        [
            ("Apply ann".into(), json!({"f:spec": {"f:halls": {"v:\"n\"": {}}}})),
            ("Update cyd".into(), json!({"f:spec": {"f:region": {}}})),
            ("Update tool".into(), json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}})),
        ]
    );
    let refused = apply(&plane, "ann", json!({"spec": {"region": "eu-west"}})).await;
    assert_eq!(
        refused.body["message"],
        "Apply failed with 1 conflict: conflict with \"cyd\" using inventory.quarterdeck.dev/v1alpha1: .spec.region"
    );
    // What is left out and nobody else's goes away; the rules of the kind hold for what is left.
    let dropped = apply(&plane, "ann", json!({"spec": {"region": "eu-north"}})).await;
    assert_eq!(dropped.body["spec"], json!({"region": "eu-north"}), "{:#}", dropped.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_applies_are_refused_as_kubernetes_does() {
    let plane = Plane::start().await;
    let spec = || json!({"spec": {"region": "a"}});
    for (query, fields, code, message) in [
        (
            "",
            spec(),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            "me",
            json!({"kind": "Rack"}),
            400,
            "invalid object type: inventory.quarterdeck.dev/v1alpha1, Kind=Rack",
        ),
        (
            "me",
            json!({"metadata": {"name": "ams2"}}),
            400,
            "the name of the object (ams2) does not match the name on the URL (ams1)",
        ),
        (
            "me",
            json!({"metadata": {}}),
            400,
            "the name of the object (ams1 based on URL) was undeterminable: name must be provided",
        ),
        (
            "me",
            json!({"metadata": {"name": "ams1", "managedFields": [{}]}}),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            "me",
            json!({"spec": {"regoin": "a"}}),
            400,
            "failed to create typed patch object (/ams1; inventory.quarterdeck.dev/v1alpha1, Kind=Site): \
             .spec.regoin: field not declared in schema",
        ),
        (
            "me",
            json!({"spec": {"region": "a", "halls": ["n", "n"]}}),
            400,
            "failed to create typed patch object (/ams1; inventory.quarterdeck.dev/v1alpha1, Kind=Site): \
             .spec.halls: duplicate entries for key [=\"n\"]",
        ),
        (
            "me",
            json!({"spec": {}}),
            422,
            "Site.inventory.quarterdeck.dev \"ams1\" is invalid: spec.region: Required value",
        ),
    ] {
        let answer = apply(&plane, query, fields).await;
        assert_eq!((answer.status.as_u16(), &answer.body["message"]), (code, &json!(message)));
    }
    let path = format!("{SITES}/ams1?fieldManager=me");
    let yaml = plane.send_bytes("PATCH", &path, APPLY, "a: [").await;
    assert_eq!(yaml.status, 400);
    assert!(yaml.body["message"].as_str().unwrap().starts_with("error decoding YAML: "));
    let status = format!("{SITES}/ams1/status?fieldManager=me");
    let absent = plane.send_bytes("PATCH", &status, APPLY, config(json!({})).to_string()).await;
    assert_eq!((absent.status.as_u16(), &absent.body["reason"]), (404, &json!("NotFound")));
    let forced = plane.ask("PATCH", &format!("{path}&force=true"), spec()).await;
    assert_eq!(
        forced.body["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
    // A version that is named must be the newest.
    apply(&plane, "me", spec()).await;
    let stale = json!({"metadata": {"name": "ams1", "resourceVersion": "1"}});
    assert_eq!(apply(&plane, "me", stale).await.status, 409);
    let listed = plane.send_bytes("PATCH", &path, "text/plain", "").await;
    assert!(listed.body["message"].as_str().unwrap().ends_with("application/apply-patch+yaml"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_managed_apart() {
    let plane = Plane::start().await;
    let both = json!({"spec": {"region": "a"}, "status": {"phase": "Active"}});
    let made = apply(&plane, "ann", both.clone()).await.body;
    assert!(made.get("status").is_none());
    let path = format!("{SITES}/ams1/status?fieldManager=ann");
    let both = config(both).to_string();
    let seen = plane.send_bytes("PATCH", &path, APPLY, both).await.body;
    assert_eq!(seen["status"]["phase"], "Active", "{seen:#}");
    assert_eq!(
        managers(&seen),
        [
            ("Apply ann".into(), json!({"f:spec": {"f:region": {}}})),
            ("Apply ann/status".into(), json!({"f:status": {"f:phase": {}}})),
        ]
    );
    let path = format!("{SITES}/ams1/status?fieldManager=ben");
    let seen = plane.must("PATCH", &path, json!({"status": {"racks": 3}})).await;
    assert_eq!(
        managers(&seen)[2],
        ("Update ben/status".into(), json!({"f:status": {"f:racks": {}}}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn managed_fields_are_kept_written_and_forgotten() {
    let plane = Plane::start().await;
    let made = plane.must("POST", &format!("{SITES}?fieldManager=maker"), site("ams1")).await;
    let fields = json!({"f:spec": {".": {}, "f:region": {}}});
    assert_eq!(managers(&made), [("Update maker".into(), fields)]);
    let path = format!("{SITES}/ams1");
    let revision = plane.revision();
    // Writing back what was read, or writing without them, leaves them; so do ones that make no sense.
    plane.must("PUT", &path, made.clone()).await;
    plane.must("PUT", &path, site("ams1")).await;
    plane.must("PATCH", &path, json!({"metadata": {"managedFields": []}})).await;
    plane.must("PATCH", &path, json!({"metadata": {"managedFields": [{"manager": "x"}]}})).await;
    assert_eq!(plane.revision(), revision);
    // They can be handed over, as kubectl does when it moves from client-side apply.
    let mut moved = made["metadata"]["managedFields"].clone();
    moved[0]["operation"] = json!("Apply");
    moved[0]["manager"] = json!("kubectl");
    let version = &made["metadata"]["resourceVersion"];
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": moved},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
    ]);
    let handed = plane.must("PATCH", &path, patch.clone()).await;
    assert_eq!(managers(&handed)[0].0, "Apply kubectl");
    assert_eq!(plane.ask("PATCH", &path, patch).await.status, 409, "it was of an older version");
    // And forgotten. What nobody manages begins to be managed only by an apply.
    let reset = json!({"metadata": {"managedFields": [{}]}});
    let forgotten = plane.must("PATCH", &path, reset).await;
    assert!(managers(&forgotten).is_empty());
    let written = plane.must("PATCH", &path, json!({"spec": {"address": "x"}})).await;
    assert!(managers(&written).is_empty());
    let refused = apply(&plane, "ann", json!({"spec": {"region": "other"}})).await;
    assert_eq!(
        refused.body["message"],
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using \
         inventory.quarterdeck.dev/v1alpha1: .spec.region"
    );
    let listed = plane.get(SITES).await.body;
    assert!(listed["items"][0]["metadata"].get("managedFields").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_applied_by_key() {
    let plane = Plane::start().await;
    let apply = async |manager: &str, fields: Value| {
        let mut config = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
        config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let path = format!("{SECRETS}/s?fieldManager={manager}");
        plane.send_bytes("PATCH", &path, APPLY, config.to_string()).await.body
    };
    apply("ann", json!({"data": {"a": "YQ=="}})).await;
    let both = apply("ben", json!({"stringData": {"b": "b"}})).await;
    assert_eq!(both["data"], json!({"a": "YQ==", "b": "Yg=="}));
    let revision = plane.revision();
    assert_eq!(apply("ben", json!({"stringData": {"b": "b"}})).await, both);
    assert_eq!(plane.revision(), revision);
    let left = apply("ann", json!({})).await;
    assert_eq!(left["data"], json!({"b": "Yg=="}));
}

/// What is stored, with managed fields that go a few levels deeper, can be read again.
#[tokio::test(flavor = "multi_thread")]
async fn deep_objects_can_be_read_again_or_are_refused() {
    let plane = Plane::start().await;
    let path = "/apis/workflows.quarterdeck.dev/v1alpha1/runbooks/deep?fieldManager=me&force=true";
    for levels in [40, 90, 94, 95, 96, 97, 98, 99, 110, 3_000] {
        let (open, close) = (r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let body = format!(
            r#"{{"apiVersion":"workflows.quarterdeck.dev/v1alpha1","kind":"Runbook","metadata":{{"name":"deep"}},
            "spec":{{"steps":[{{"name":"a","pause":"1s"}}],"outputs":{open}1{close}}}}}"#
        );
        let made = plane.send_bytes("PATCH", path, APPLY, body).await;
        let read = plane.get("/apis/workflows.quarterdeck.dev/v1alpha1/runbooks/deep").await;
        assert!(read.body["spec"]["outputs"].is_object(), "{levels}: {}", read.body);
        if levels < 95 {
            assert!(made.status.is_success(), "{levels}: {:#}", made.body);
        } else if levels > 99 {
            assert!(made.status.is_client_error(), "{levels}: {}", made.status);
        }
    }
}
