//! Quotas of a served API: exact under many who write at once, and in Kubernetes' words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use support::{Plane, SECRETS};
use tokio::task::JoinSet;

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

fn quota(name: &str, hard: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"hard": hard}})
}

fn secret(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_create_at_once_get_as_many_as_there_may_be() {
    let plane = Arc::new(Plane::start().await);
    plane.must("POST", QUOTAS, quota("few", json!({"count/secrets": 100}))).await;
    let mut creating = JoinSet::new();
    for number in 0..256 {
        let plane = plane.clone();
        creating.spawn(async move {
            let answer = plane.ask("POST", SECRETS, secret(&format!("s-{number}"))).await;
            (answer.status, answer.body["message"].as_str().unwrap_or_default().to_owned())
        });
    }
    let told = creating.join_all().await;
    let made = told.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
    assert_eq!(made, 100);
    for (status, message) in told.iter().filter(|(status, _)| *status != StatusCode::CREATED) {
        assert_eq!(*status, 403, "{message}");
        let why = "is forbidden: exceeded quota: few, requested: count/secrets=1, \
                   used: count/secrets=100, limited: count/secrets=100";
        assert!(message.starts_with("secrets \"s-") && message.ends_with(why), "{message}");
    }
    let list = plane.get(SECRETS).await.body;
    assert_eq!(list["items"].as_array().unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_makes_room_and_what_is_rehearsed_takes_none() {
    let plane = Plane::start().await;
    let two = json!({"secrets": "2", "count/secrets": "2"});
    plane.must("POST", QUOTAS, quota("two", two)).await;
    let create = async |name: &str, query: &str| {
        plane.ask("POST", &format!("{SECRETS}{query}"), secret(name)).await
    };
    for name in ["a", "a-rehearsal", "b"] {
        let query = if name == "a-rehearsal" { "?dryRun=All" } else { "" };
        assert_eq!(create(name, query).await.status, 201, "{name}");
    }
    for query in ["", "?dryRun=All"] {
        let refused = create("c", query).await;
        assert_eq!((refused.status.as_u16(), &refused.body["reason"]), (403, &json!("Forbidden")));
        assert_eq!(
            refused.body["message"],
            "secrets \"c\" is forbidden: exceeded quota: two, requested: count/secrets=1,secrets=1, \
             used: count/secrets=2,secrets=2, limited: count/secrets=2,secrets=2"
        );
    }
    // An apply that makes it is a create; one that changes it is none.
    let apply = async |name: &str| {
        let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
                          "stringData": {"k": "v"}});
        let path = format!("{SECRETS}/{name}?fieldManager=test&force=true");
        let media = "application/apply-patch+yaml";
        plane.send_bytes("PATCH", &path, media, body.to_string()).await.status
    };
    assert_eq!((apply("c").await.as_u16(), apply("a").await.as_u16()), (403, 200));
    plane.must("DELETE", &format!("{SECRETS}/b"), Value::Null).await;
    assert_eq!(create("c", "").await.status, 201);
    // Fewer than there are is allowed, and holds up all that is new.
    let patch = json!({"spec": {"hard": {"secrets": "1", "count/secrets": null}}});
    plane.must("PATCH", &format!("{QUOTAS}/two"), patch).await;
    plane.must("DELETE", &format!("{SECRETS}/c"), Value::Null).await;
    assert_eq!(
        create("d", "").await.body["message"],
        "secrets \"d\" is forbidden: exceeded quota: two, requested: secrets=1, used: secrets=1, limited: secrets=1"
    );
    plane.must("POST", "/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await;
    plane.must("POST", "/api/v1/namespaces/other/secrets", secret("d")).await;
    plane.must("DELETE", &format!("{QUOTAS}/two"), Value::Null).await;
    assert_eq!(create("d", "").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_of_several_quotas_holds() {
    let plane = Plane::start().await;
    plane.must("POST", QUOTAS, quota("many", json!({"count/secrets": 3}))).await;
    plane.must("POST", QUOTAS, quota("none", json!({"count/secrets": 0}))).await;
    let refused = plane.ask("POST", SECRETS, secret("a")).await;
    let why = "exceeded quota: none, requested: count/secrets=1, used: count/secrets=0, limited: count/secrets=0";
    assert!(refused.body["message"].as_str().unwrap().ends_with(why), "{:#}", refused.body);
    plane.must("DELETE", &format!("{QUOTAS}/none"), Value::Null).await;
    plane.must("POST", SECRETS, secret("a")).await;
    // Quotas are counted as everything is.
    plane.must("POST", QUOTAS, quota("quotas", json!({"resourcequotas": 2}))).await;
    let refused = plane.ask("POST", QUOTAS, quota("third", json!({}))).await;
    assert_eq!(refused.status, 403, "{:#}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_limits_are_refused_with_their_field() {
    let plane = Plane::start().await;
    for (hard, field) in [
        (json!({"pods": 1}), "spec.hard[pods]"),
        (json!({"count/none.example": 1}), "spec.hard[count/none.example]"),
        (json!({"secrets": "1.5"}), "spec.hard[secrets]"),
        (json!({"secrets": {}}), "spec.hard.secrets"),
    ] {
        let answer = plane.ask("POST", QUOTAS, quota("q", hard.clone())).await;
        assert_eq!(answer.status, 422, "{hard}: {:#}", answer.body);
        assert_eq!(answer.body["details"]["causes"][0]["field"], field, "{hard}");
    }
}
