//! The real process when its database goes away, when it is asked to end amid work, when a second one
//! wants its folder, and when it cannot bring all that it ships.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use futures_util::StreamExt as _;
use http::Request;
use kube::{
    Api, Client,
    api::{WatchEvent, WatchParams},
    client::Body,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use quarterdeck_testing::{
    plane::Plane,
    postgres::Postgres,
    process::{CommandError, run},
    wait::wait_for,
};
use serde_json::Value;
use std::{path::Path, process::Command, time::Duration};
use support::{DEADLINE, SITE, plain_client, plane, refusal};

const BINARY: &str = env!("CARGO_BIN_EXE_quarterdeck");
/// A stop lets open requests end for ten seconds, and the audit log for five.
const STOP: Duration = Duration::from_secs(20);
/// The server's own start, and how long the plane waits before it looks for it again.
const RETURN: Duration = Duration::from_secs(60);

/// Status and text of what is at a path.
async fn look(client: &Client, path: &str) -> Result<(u16, String), kube::Error> {
    let answer = client.send(Request::get(path).body(Body::empty()).unwrap()).await?;
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect_bytes().await?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_without_its_database_says_that_it_is_not_ready_until_it_returns() {
    let mut server = Postgres::start().await;
    let mut plane = Plane::start_with(BINARY, &["--store", &server.url()]).await;
    let client = plain_client(&plane).await;
    let ready = async || look(&client, "/readyz").await.unwrap();
    assert_eq!(ready().await, (200, "ok".into()));
    server.kill9();
    let said = wait_for(RETURN, "the plane to be not ready", async || match ready().await {
        (503, said) => Ok(said),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(said.starts_with("store: the store is unavailable: PostgreSQL"), "{said}");
    // It lives, so nobody need start it anew, and what it knows is no longer taken for the newest.
    assert_eq!(look(&client, "/livez").await.unwrap(), (200, "ok".into()));
    let (status, text) = look(&client, "/api/v1/namespaces/default").await.unwrap();
    let refused: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &refused["reason"]), (503, &Value::from("ServiceUnavailable")), "{text}");
    server.restart().await;
    wait_for(RETURN, "the plane to be ready again", async || match ready().await {
        (200, said) if said == "ok" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    plane.kubectl(&["create", "namespace", "payments"]).await;
    assert!(plane.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_that_is_asked_to_end_answers_what_is_open_first() {
    let mut plane = plane().await;
    plane.apply(SITE).await;
    let client = plain_client(&plane).await;
    let racks = GroupVersionKind::gvk("inventory.quarterdeck.dev", "v1alpha1", "Rack");
    let racks: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&racks));
    let watch = racks.watch(&WatchParams::default(), "0").await.unwrap();
    let mut watch = std::pin::pin!(watch);
    // What there is comes first, so the watch is open.
    let first = tokio::time::timeout(DEADLINE, watch.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(first, WatchEvent::Added(_)), "{first:?}");

    // A read of a version that is not there yet waits for it, for some seconds.
    let sites = "/apis/inventory.quarterdeck.dev/v1alpha1/sites?resourceVersion=1000000";
    let slow = tokio::spawn({
        let client = client.clone();
        async move { look(&client, sites).await }
    });
    wait_for(DEADLINE, "the read to wait", async || {
        let (_, metrics) = look(&client, "/metrics").await.unwrap();
        // The read, and this look itself.
        match metrics.contains("quarterdeck_api_requests_in_flight 2") {
            true => Ok(()),
            false => Err(metrics),
        }
    })
    .await;
    let process = plane.process().unwrap();
    assert!(!slow.is_finished());
    let status = process.end(quarterdeck_testing::process::Signal::TERM, STOP).await;
    assert_eq!(status.code(), Some(0), "{status}");
    let output = process.output();
    assert!(output.contains("stopped") && !output.contains("were cut"), "{output}");

    let (status, text) = slow.await.unwrap().expect("an answer, not a connection that broke");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &answer["reason"]), (504, &Value::from("Timeout")), "{text}");
    // The other rack, changes of both, perhaps; then the end, without an error.
    let rest = async {
        while let Some(event) = watch.next().await {
            let event = event.expect("an end, not a connection that broke");
            assert!(!matches!(event, WatchEvent::Error(_)), "{event:?}");
        }
    };
    tokio::time::timeout(DEADLINE, rest).await.expect("the watch ends with the plane");
}

async fn second(data: &Path, store: Option<&str>) -> CommandError {
    let mut command = Command::new(BINARY);
    command.arg("serve").arg("--data-dir").arg(data).args(["--listen", "127.0.0.1:0"]);
    if let Some(url) = store {
        command.args(["--store", url]);
    }
    run(&command, "").await.expect_err("a refusal")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_process_whatever_store_each_uses() {
    let server = Postgres::start().await;
    let url = server.url();
    for (first, then) in [(None, Some(&*url)), (Some(&*url), Some(&*url)), (Some(&*url), None)] {
        let arguments: Vec<&str> = first.iter().flat_map(|url| ["--store", url]).collect();
        let mut plane = Plane::start_with(BINARY, &arguments).await;
        let data = plane.data_folder();
        let owner = plane.process().unwrap().id();
        let error = second(&data, then).await;
        assert_eq!(error.code, Some(1), "{error}");
        let sentence = format!(
            "quarterdeck: Another process (pid {owner}) already runs on {}. Stop it first, or choose another folder with --data-dir.\n",
            data.display()
        );
        assert!(error.reason.ends_with(&sentence), "{error}\nnot: {sentence}");
        // The first goes on as if nothing had been.
        plane.kubectl(&["get", "--raw", "/readyz"]).await;
        assert!(plane.stop().await.success());
    }
}

/// What an operator makes of the runbook that powers off: nobody calls it with what it asks for now.
const CHANGED: &str = "
apiVersion: workflows.quarterdeck.dev/v1alpha1
kind: Runbook
metadata: {name: power-off-server}
spec:
  target: {kind: Server}
  parameters: [{name: reason, type: string, required: true}]
  steps: [{name: wait, pause: 1s}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_shipped_runbook_that_no_longer_fits_is_warned_of_and_the_plane_starts() {
    let mut plane = plane().await;
    plane.apply(CHANGED).await;
    plane.kubectl(&["delete", "runbook", "power-cycle-server", "network-boot-server"]).await;
    plane.restart().await;
    let output = plane.process().unwrap().output();
    let warning = |name: &str| {
        let what = format!("{name}.yaml is refused");
        output
            .lines()
            .find(|line| line.contains(" WARN ") && line.contains(&what))
            .map(str::to_owned)
    };
    let said = warning("power-cycle-server").unwrap_or_else(|| panic!("no warning in {output}"));
    assert!(said.contains("spec.steps[0]") && said.contains("reason"), "{said}");
    // So is what calls that, which is not there now; all others are, and what the operator wrote stays.
    assert!(warning("network-boot-server").is_some_and(|said| said.contains("power-cycle-server")));
    let missing = refusal(&plane, &["get", "runbook", "power-cycle-server"]).await;
    assert!(missing.contains("NotFound"), "{missing}");
    plane.kubectl(&["get", "runbook", "inspect-server", "power-on-server"]).await;
    let kept = ["get", "runbook", "power-off-server", "-o", "jsonpath={.spec.parameters[0].name}"];
    assert_eq!(plane.kubectl(&kept).await, "reason");

    // The operator takes the change back: the next start brings what was missing.
    plane.kubectl(&["delete", "runbook", "power-off-server"]).await;
    plane.restart().await;
    plane.kubectl(&["get", "runbook", "power-cycle-server", "network-boot-server"]).await;
    let output = plane.process().unwrap().output();
    assert!(!output.contains("is refused"), "{output}");
}
