//! Who ends what: hosts that share an engine, and what nobody asked for.

use crate::support::{DEADLINE, Host, STAYS, Secrets, only, script, settings};
use quarterdeck_testing::{
    docker::{BUSYBOX, Docker},
    wait::wait_for,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn hosts_on_one_engine_touch_only_what_is_theirs() {
    let engine = Docker::start().await;
    let secrets = [Secrets::new("a"), Secrets::new("b")];
    let a = Host::open(settings(&engine, "a", &secrets[0]));
    let b = Host::open(settings(&engine, "b", &secrets[1]));
    let somebody = engine.client(&["run", "--detach", BUSYBOX, "sleep", "1000"]).await;
    let (first, second) = (script("u1", STAYS, json!({})), script("u2", STAYS, json!({})));
    a.containers.assign(vec![first]).unwrap();
    b.containers.assign(vec![second]).unwrap();
    a.ready("u1").await;
    let report = b.ready("u2").await;
    assert!(a.seen("u2").is_none() && b.seen("u1").is_none());
    a.containers.assign(Vec::new()).unwrap();
    wait_for(DEADLINE, "that of a is gone", async || {
        let there = engine
            .client(&["ps", "--all", "--quiet", "--filter", "label=dev.quarterdeck.host=a"])
            .await;
        if there.is_empty() { Ok(()) } else { Err(there) }
    })
    .await;
    let running = engine.client(&["ps", "--no-trunc", "--quiet"]).await;
    assert!(
        running.contains(&somebody)
            && running.contains(only(&report).container_id.trim_start_matches("docker://"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_asked_for_ends_once_the_plane_has_spoken() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("orphans");
    let settings = settings(&engine, "orphans", &secrets);
    let host = Host::open(settings.clone());
    let orphan = script("orphan", STAYS, json!({}));
    host.containers.assign(vec![orphan]).unwrap();
    host.ready("orphan").await;
    drop(host);
    // All that the host knew is lost.
    std::fs::remove_dir_all(&settings.data).unwrap();
    let host = Host::open(settings);
    let other = script("other", STAYS, json!({}));
    let count = async || engine.client(&["ps", "--quiet"]).await.lines().count();
    let mut engine_state = host.containers.engine();
    let answers = quarterdeck_agent::containers::EngineState::Answers;
    tokio::time::timeout(DEADLINE, engine_state.wait_for(|it| *it == answers))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(count().await, 1, "before the plane has spoken nobody knows what is wanted");
    host.containers.assign(vec![other]).unwrap();
    host.ready("other").await;
    wait_for(DEADLINE, "the orphan is gone", async || {
        let there = engine
            .client(&["ps", "--all", "--quiet", "--filter", "label=dev.quarterdeck.uid=orphan"])
            .await;
        if there.is_empty() { Ok(()) } else { Err(there) }
    })
    .await;
    assert_eq!(count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_killed_at_its_deadline() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("stubborn");
    let host = Host::open(settings(&engine, "stubborn", &secrets));
    let it = script("u1", "trap '' TERM; while :; do sleep 0.1; done", json!({}));
    host.containers.assign(vec![it.clone()]).unwrap();
    host.ready("u1").await;
    let begun = std::time::Instant::now();
    host.end(&it, 3600, &[]);
    // Somebody loses patience.
    host.end(&it, 1, &[]);
    host.gone("u1").await;
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1));
    assert!(begun.elapsed() < DEADLINE);
}
