//! What writing an object does, and what it leaves alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use serde_json::{Value, json};
use support::{Plane, SECRETS, SITES, site};

#[tokio::test(flavor = "multi_thread")]
async fn system_fields_are_the_systems() {
    let plane = Plane::start().await;
    let mut asked = site("ams1");
    asked["metadata"]["uid"] = json!("mine");
    asked["metadata"]["generation"] = json!(7);
    asked["metadata"]["managedFields"] = json!([{"manager": "me"}]);
    asked["status"] = json!({"phase": "Active"});
    let made = plane.must("POST", SITES, asked).await;
    assert_ne!(made["metadata"]["uid"], "mine");
    assert_eq!(made["metadata"]["generation"], 1);
    assert!(made.get("status").is_none());
    assert_ne!(made["metadata"]["managedFields"][0]["manager"], "me");
    assert_eq!(made["metadata"]["resourceVersion"], plane.revision().to_string());

    let path = format!("{SITES}/ams1");
    for (patch, code, field) in [
        (json!({"metadata": {"uid": "other"}}), 409, "UID in precondition: other"),
        (
            json!({"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}}),
            422,
            "metadata.creationTimestamp",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2001-01-01T00:00:00Z"}}),
            422,
            "metadata.deletionTimestamp",
        ),
        (json!({"metadata": {"name": "other"}}), 400, "does not match the name on the URL"),
    ] {
        let answer = plane.ask("PATCH", &path, patch).await;
        assert_eq!(answer.status.as_u16(), code, "{:#}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains(field), "{:#}", answer.body);
    }
    // The same time in other words is no change.
    let revision = plane.revision();
    let created = made["metadata"]["creationTimestamp"].as_str().unwrap().replace('Z', "+00:00");
    plane.must("PATCH", &path, json!({"metadata": {"creationTimestamp": created}})).await;
    assert_eq!(plane.revision(), revision);

    // Generations count changes of the spec; spec and status are written apart.
    let labelled = plane.must("PATCH", &path, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(labelled["metadata"]["generation"], 1);
    let both = json!({"spec": {"region": "us-east"}, "status": {"phase": "Lost"}});
    let specified = plane.must("PATCH", &path, both).await;
    assert_eq!(specified["metadata"]["generation"], 2);
    assert!(specified.get("status").is_none());
    let both = json!({"metadata": {"labels": {"c": "d"}}, "spec": {"region": "x"}, "status": {"phase": "Active"}});
    let seen = plane.must("PATCH", &format!("{path}/status"), both).await;
    assert_eq!(
        (&seen["spec"]["region"], &seen["status"]["phase"]),
        (&json!("us-east"), &json!("Active"))
    );
    assert_eq!(
        (&seen["metadata"]["generation"], &seen["metadata"]["labels"]),
        (&json!(2), &json!({"a": "b"}))
    );

    // Writing what is there writes nothing.
    let revision = plane.revision();
    let same = plane.must("PUT", &path, seen.clone()).await;
    assert_eq!((same, plane.revision()), (seen.clone(), revision));
    // What was read before somebody else wrote cannot be written back.
    plane.must("PATCH", &path, json!({"metadata": {"labels": {"e": "f"}}})).await;
    let stale = plane.ask("PUT", &path, seen).await;
    assert_eq!((stale.status.as_u16(), &stale.body["reason"]), (409, &json!("Conflict")));
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_write_nothing() {
    let plane = Plane::start().await;
    let made = plane.must("POST", SITES, site("ams1")).await;
    let revision = plane.revision();
    let path = format!("{SITES}/ams1");
    let mut changed = made.clone();
    changed["spec"]["region"] = json!("us-east");
    let dry = |path: &str| format!("{path}?dryRun=All");
    assert_eq!(plane.ask("POST", &dry(SITES), site("fra1")).await.status, 201);
    assert_eq!(plane.must("PUT", &dry(&path), changed).await["spec"]["region"], "us-east");
    assert_eq!(
        plane.must("PATCH", &dry(&path), json!({"spec": {"region": "x"}})).await["spec"]["region"],
        "x"
    );
    plane.must("PATCH", &dry(&format!("{path}/status")), json!({"status": {"phase": "x"}})).await;
    plane.must("DELETE", &dry(&path), Value::Null).await;
    plane
        .must("DELETE", &path, json!({"dryRun": ["All"], "propagationPolicy": "Foreground"}))
        .await;
    plane.must("DELETE", &dry(SITES), Value::Null).await;
    assert_eq!(plane.revision(), revision);
    assert_eq!(plane.must("GET", &path, Value::Null).await, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_generated_and_collections_deleted() {
    let plane = Plane::start().await;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let object = json!({"metadata": {"generateName": "site-", "labels": {"made": "so"}}, "spec": {"region": "x"}});
        let made = plane.must("POST", SITES, object).await;
        let name = made["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with("site-") && name.len() == 10, "{name}");
        names.insert(name);
    }
    assert_eq!(names.len(), 20);
    plane.must("POST", SITES, site("kept")).await;
    plane.must("DELETE", &format!("{SITES}?labelSelector=made%3Dso"), Value::Null).await;
    let left = plane.must("GET", SITES, Value::Null).await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_wait_for_finalizers() {
    let plane = Plane::start().await;
    let mut held = site("ams1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    plane.must("POST", SITES, held).await;
    let path = format!("{SITES}/ams1");
    let marked = plane.must("DELETE", &path, Value::Null).await;
    let at = marked["metadata"]["deletionTimestamp"].clone();
    assert!(at.is_string());
    let revision = plane.revision();
    let again = plane.must("DELETE", &path, Value::Null).await;
    assert_eq!((&again["metadata"]["deletionTimestamp"], plane.revision()), (&at, revision));
    plane.must("PATCH", &path, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(plane.get(&path).await.status, 404);

    plane.must("POST", SITES, site("fra1")).await;
    let uid =
        plane.must("GET", &format!("{SITES}/fra1"), Value::Null).await["metadata"]["uid"].clone();
    let done = plane
        .must("DELETE", &format!("{SITES}/fra1"), json!({"preconditions": {"uid": uid}}))
        .await;
    assert_eq!(
        (&done["kind"], &done["status"], &done["details"]["name"]),
        (&json!("Status"), &json!("Success"), &json!("fra1"))
    );

    // A namespace stays until it is emptied, and takes in nothing meanwhile.
    plane.must("POST", "/api/v1/namespaces", json!({"metadata": {"name": "team"}})).await;
    let gone = plane.must("DELETE", "/api/v1/namespaces/team", Value::Null).await;
    assert_eq!(gone["status"]["phase"], "Terminating");
    let late = plane
        .ask("POST", "/api/v1/namespaces/team/secrets", json!({"metadata": {"name": "s"}}))
        .await;
    assert_eq!((late.status.as_u16(), &late.body["reason"]), (403, &json!("Forbidden")));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_kept_in_base64_and_out_of_tables() {
    let plane = Plane::start().await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}, "data": {"user": "cm9vdA=="}});
    let made = plane.must("POST", SECRETS, secret).await;
    assert_eq!(made["data"], json!({"password": "aHVudGVyMg==", "user": "cm9vdA=="}));
    assert_eq!((made.get("stringData"), &made["type"]), (None, &json!("Opaque")));
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for path in [SECRETS.to_owned(), format!("{SECRETS}/s")] {
        let request = plane.request("GET", &path).header("accept", accept);
        let table =
            support::whole(plane.send(request.body(Default::default()).unwrap()).await).await.body;
        let columns: Vec<&str> = table["columnDefinitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column["name"].as_str().unwrap())
            .collect();
        assert_eq!(columns, ["Name", "Type", "Data", "Age"]);
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(cells[..3], [json!("s"), json!("Opaque"), json!(2)]);
        assert!(!table.to_string().contains("aHVudGVyMg=="), "{table:#}");
    }
}
