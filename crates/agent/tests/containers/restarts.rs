//! What ends by itself.

use crate::support::{Host, Secrets, only, script, settings};
use quarterdeck_model::kinds::InstancePhase;
use quarterdeck_testing::docker::Docker;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_is_started_again_and_what_takes_too_much_memory_is_told_so() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("dies");
    let host = Host::open(settings(&engine, "dies", &secrets));
    let crashes = script("crashes", "echo attempt; exit 3", json!({}));
    let greedy = script(
        "greedy",
        "a=x; while :; do a=$a$a; done",
        json!({"resources": {"limits": {"memory": "16Mi"}}}),
    );
    host.containers.assign(vec![crashes, greedy]).unwrap();
    let report = host
        .wait("crashes", "it is started again and again", |it| only(it).restart_count >= 3)
        .await;
    let last = only(&report).last_state.terminated.clone().unwrap();
    assert_eq!((last.exit_code, last.reason.as_str()), (3, "Error"));
    let waits = |it: &quarterdeck_agent::containers::InstanceReport| {
        only(it).state.waiting.as_ref().is_some_and(|it| it.reason == "CrashLoopBackOff")
    };
    let report = host.wait("crashes", "it is backed off from", waits).await;
    assert_eq!(report.status.phase, InstancePhase::NotReady);
    // It, and the one before: nothing piles up.
    let label = "label=dev.quarterdeck.uid=crashes";
    let there = engine.client(&["ps", "--all", "--quiet", "--filter", label]).await;
    assert!(there.lines().count() <= 2, "{there}");

    host.wait("greedy", "the kernel killed it", |it| {
        only(it).last_state.terminated.as_ref().is_some_and(|it| it.reason == "OOMKilled")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_run_once_runs_once() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("once");
    let host = Host::open(settings(&engine, "once", &secrets));
    let once = |uid: &str, what: &str, policy: &str| {
        let mut it = script(uid, what, json!({}));
        it.spec.template.as_mut().unwrap().restart_policy =
            serde_json::from_value(json!(policy)).unwrap();
        it
    };
    host.containers
        .assign(vec![
            once("good", "exit 0", "OnFailure"),
            once("bad", "exit 7", "Never"),
            once("again", "exit 7", "OnFailure"),
        ])
        .unwrap();
    let ended = |it: &quarterdeck_agent::containers::InstanceReport| {
        it.status.phase == InstancePhase::Failed
    };
    let good = host.wait("good", "it has ended", ended).await;
    assert_eq!(only(&good).state.terminated.as_ref().unwrap().reason, "Completed");
    let bad = host.wait("bad", "it has ended", ended).await;
    assert_eq!(bad.status.message.as_deref(), Some("main ended with 7 (Error)"));
    host.wait("again", "it is started again", |it| only(it).restart_count >= 2).await;
    assert_eq!(only(&host.seen("bad").unwrap()).restart_count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_told() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("absent");
    let host = Host::open(settings(&engine, "absent", &secrets));
    let absent = script("absent", "", json!({"command": ["/no/such/program"]}));
    let image = script(
        "image",
        "",
        json!({"image": "quarterdeck.local/none:1", "imagePullPolicy": "Never"}),
    );
    host.containers.assign(vec![absent, image]).unwrap();
    let says = |word: &'static str| {
        move |it: &quarterdeck_agent::containers::InstanceReport| {
            only(it).state.waiting.as_ref().is_some_and(|it| it.reason == word)
        }
    };
    let report = host.wait("absent", "it cannot run", says("RunContainerError")).await;
    assert!(report.status.message.unwrap().contains("/no/such/program"));
    host.wait("image", "it is not pulled", says("ErrImageNeverPull")).await;
}
