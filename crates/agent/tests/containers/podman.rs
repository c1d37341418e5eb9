//! The same on Podman's service that speaks Docker's API: what differs there is how it answers.

use crate::support::{DEADLINE, Host, Secrets, only, script, settings};
use futures_util::StreamExt as _;
use quarterdeck_agent::containers::{ExecOptions, ExecOutput, LogOptions};
use quarterdeck_testing::{
    docker::{Docker, Flavour},
    wait::wait_for,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_is_checked_talks_is_mended_and_ends() {
    let engine = Docker::start_as(Flavour::Podman).await;
    let secrets = Secrets::new("podman");
    let settings = settings(&engine, "podman", &secrets);
    let host = Host::open(settings.clone());
    let it = script(
        "u1",
        "echo begun; trap 'exit 0' TERM; while :; do sleep 0.1; done",
        json!({
            "env": [{"name": "A", "value": "b"}],
            "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": 30},
        }),
    );
    host.containers.assign(vec![it.clone()]).unwrap();
    let report = host.ready("u1").await;
    let options = ExecOptions {
        command: vec!["sh".into(), "-c".into(), "echo $A; exit 4".into()],
        stdout: true,
        stderr: true,
        ..ExecOptions::default()
    };
    let mut session = host.containers.exec("u1", "main", options).await.unwrap();
    let mut said = Vec::new();
    while let Some(part) = session.output.next().await {
        if let ExecOutput::Stdout(bytes) = part.unwrap() {
            said.extend(bytes);
        }
    }
    assert_eq!(
        (said.as_slice(), session.control().exit_code().await.unwrap()),
        (b"b\n".as_slice(), 4)
    );
    let log = host.containers.logs("u1", "main", LogOptions::default()).await.unwrap();
    let log: Vec<_> = log.map(|it| it.unwrap()).collect().await;
    assert_eq!(String::from_utf8(log.concat()).unwrap().trim(), "begun");

    // Another agent takes over what runs, and mends what dies.
    drop(host);
    let host = Host::open(settings);
    assert_eq!(only(&host.ready("u1").await).container_id, only(&report).container_id);
    let id = only(&report).container_id.trim_start_matches("docker://").to_owned();
    engine.client(&["kill", &id]).await;
    host.wait("u1", "it runs again", |it| only(it).restart_count == 1 && only(it).ready).await;
    host.end(&it, 5, &[]);
    host.gone("u1").await;
    wait_for(DEADLINE, "nothing is left", async || {
        match engine.client(&["ps", "--all", "--quiet"]).await {
            left if left.is_empty() => Ok(()),
            left => Err(left),
        }
    })
    .await;
}
