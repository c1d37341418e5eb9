//! Clients that others wrote, each by a script of its own in `clients/`, against a real plane.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_testing::{plane::Plane, process::run};
use serde_json::Value;
use std::process::Command;
use support::{plane, python};

/// Runs a script as the plane's administrator; it ends well, or says what is not as it should be.
async fn script(plane: &Plane, name: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(python());
    command.arg(format!("{}/tests/clients/{name}.py", env!("CARGO_MANIFEST_DIR")));
    command.args(arguments);
    command.env("KUBECONFIG", plane.kubeconfig());
    run(&command, input).await.unwrap_or_else(|error| panic!("{error}")).stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_client_works_unchanged() {
    let mut plane = plane().await;
    let version = script(&plane, "official", &[], "").await;
    // The plane's history begins anew with its process: what was seen before is too long ago.
    plane.kubectl(&["create", "namespace", "meanwhile"]).await;
    plane.restart().await;
    let late = script(&plane, "official", &[version.trim()], "").await;
    assert_eq!(late, "told to list again\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn lightkube_works_unchanged() {
    let plane = plane().await;
    assert_eq!(script(&plane, "light", &[], "").await, "done\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_documents_are_valid() {
    let plane = plane().await;
    let raw = async |path: &str| -> Value {
        serde_json::from_str(&plane.kubectl(&["get", "--raw", path]).await).unwrap()
    };
    let mut documents = vec![raw("/openapi/v2").await];
    for (_, entry) in raw("/openapi/v3").await["paths"].as_object().unwrap() {
        documents.push(raw(entry["serverRelativeURL"].as_str().unwrap()).await);
    }
    assert!(documents.len() > 4);
    let said = script(&plane, "openapi_valid", &[], &Value::from(documents).to_string()).await;
    assert_eq!(said, "0 errors\n");
}
