//! Checks of what runs.

use crate::support::{Host, STAYS, Secrets, only, script, settings};
use quarterdeck_model::kinds::InstancePhase;
use quarterdeck_testing::docker::Docker;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn checks_say_what_is_ready_and_what_is_started_again() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("probes");
    let host = Host::open(settings(&engine, "probes", &secrets));
    let every = |mut probe: serde_json::Value| {
        probe["periodSeconds"] = json!(1);
        probe["timeoutSeconds"] = json!(10);
        probe["failureThreshold"] = json!(2);
        probe
    };
    // It serves what it says it is, and can be told to fail.
    let serves = "mkdir -p /w/cgi-bin; echo ok > /w/healthy; httpd -p 80 -h /w; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let http = script(
        "http",
        serves,
        json!({
            "ports": [{"name": "web", "containerPort": 80}],
            "startupProbe": every(json!({"tcpSocket": {"port": 80}})),
            "readinessProbe": every(json!({"httpGet": {"port": "web", "path": "/healthy"}})),
        }),
    );
    let exec = script(
        "exec",
        STAYS,
        json!({"livenessProbe": every(json!({"exec": {"command": ["sh", "-c", "echo sick >&2; test ! -e /sick"]}}))}),
    );
    let never =
        script("never", STAYS, json!({"startupProbe": every(json!({"tcpSocket": {"port": 81}}))}));
    host.containers.assign(vec![http, exec, never]).unwrap();

    let report = host.ready("http").await;
    let id = only(&report).container_id.trim_start_matches("docker://").to_owned();
    engine.client(&["exec", &id, "rm", "/w/healthy"]).await;
    let report =
        host.wait("http", "it is not ready", |it| it.status.phase == InstancePhase::NotReady).await;
    assert!(
        report.status.message.as_deref().unwrap().contains("GET /healthy answers 404"),
        "{report:?}"
    );
    assert_eq!(only(&report).restart_count, 0, "it lives");
    engine.client(&["exec", &id, "sh", "-c", "echo ok > /w/healthy"]).await;
    host.ready("http").await;

    let report = host.ready("exec").await;
    let id = only(&report).container_id.trim_start_matches("docker://").to_owned();
    engine.client(&["exec", &id, "touch", "/sick"]).await;
    let report = host
        .wait("exec", "it is started again", |it| only(it).restart_count == 1 && only(it).ready)
        .await;
    assert_ne!(only(&report).container_id, format!("docker://{id}"));

    host.wait("never", "it is started again, since it never starts", |it| {
        only(it).restart_count >= 1
    })
    .await;
    assert!(!only(&host.seen("never").unwrap()).started);
}
