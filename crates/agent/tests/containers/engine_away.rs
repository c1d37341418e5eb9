//! The engine goes away, and comes back.

use crate::support::{DEADLINE, Host, STAYS, Secrets, only, script, settings};
use quarterdeck_agent::containers::EngineState;
use quarterdeck_model::kinds::InstancePhase;
use quarterdeck_testing::docker::Docker;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_away_is_told_and_what_it_ran_is_mended_when_it_is_back() {
    let mut engine = Docker::start().await;
    let secrets = Secrets::new("away");
    let host = Host::open(settings(&engine, "away", &secrets));
    let (stays, later) = (script("stays", STAYS, json!({})), script("later", STAYS, json!({})));
    host.containers.assign(vec![stays.clone()]).unwrap();
    host.ready("stays").await;
    engine.hold(true);
    engine.kill().await;
    let report =
        host.wait("stays", "it is told", |it| it.status.phase == InstancePhase::NotReady).await;
    let message = report.status.message.unwrap();
    assert!(message.contains("does not answer") && message.contains("docker.sock"), "{message}");
    let mut state = host.containers.engine();
    tokio::time::timeout(DEADLINE, state.wait_for(|it| matches!(it, EngineState::Away(_))))
        .await
        .unwrap()
        .unwrap();
    // What is asked for meanwhile begins when it can.
    host.containers.assign(vec![stays, later]).unwrap();
    engine.hold(false);
    engine.wait_until_up().await;
    host.ready("later").await;
    let report = host.ready("stays").await;
    assert!(only(&report).restart_count <= 1);
    assert_eq!(engine.client(&["ps", "--quiet"]).await.lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_yet_is_waited_for() {
    let mut engine = Docker::start().await;
    engine.hold(true);
    engine.kill().await;
    std::fs::remove_file(engine.socket()).unwrap();
    let secrets = Secrets::new("early");
    let host = Host::open(settings(&engine, "early", &secrets));
    host.containers.assign(vec![script("u1", STAYS, json!({}))]).unwrap();
    host.wait("u1", "it is told", |it| {
        it.status.message.as_deref().is_some_and(|it| it.contains("socket is not there"))
    })
    .await;
    engine.hold(false);
    engine.wait_until_up().await;
    host.ready("u1").await;
}
