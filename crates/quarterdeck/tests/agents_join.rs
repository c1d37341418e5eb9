//! Real agents join a real plane, with real certificates; and what is refused is told in a sentence.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

#[path = "support/agents.rs"]
#[allow(dead_code, reason = "each test file uses some of it")]
mod agents;

use agents::{
    Agent, BINARY, DEADLINE, connected, machine, plane_with_agent, preinstalled, run, verb,
};
use quarterdeck_testing::{plane::Plane, wait::wait_for};
use std::os::unix::fs::PermissionsExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_joins_says_what_its_host_is_and_comes_back_without_its_token() {
    let (plane, mut agent) = plane_with_agent(&[], &[]).await;
    let seen = wait_for(DEADLINE, "facts and conditions", async || {
        let machine = machine(&plane, "m").await;
        let status = &machine["status"];
        let all = ["facts", "allocatable"].iter().all(|field| status[field].is_object())
            && status["conditions"].as_array().unwrap().iter().any(|it| it["type"] == "Healthy")
            && status["phase"] == "Running";
        if all { Ok(status.clone()) } else { Err(format!("{status:#}")) }
    })
    .await;
    assert!(seen["facts"]["cpu"]["count"].as_u64().unwrap() > 0, "{seen:#}");
    assert!(seen["allocatable"]["memory"].as_u64().unwrap() > 0, "{seen:#}");
    assert_eq!(seen["agent"]["replica"], plane.address().to_string());
    assert!(seen["agent"]["joinToken"]["usedBy"].is_string(), "{seen:#}");
    let session = seen["agent"]["session"].clone();
    let key = agent.path("data/agent.key");
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);

    // Twice on one folder.
    let refusal = agent.refusal().await;
    assert!(refusal.contains("another agent runs in"), "{refusal}");

    // Without its token, the plane's address and its authority: it has them.
    assert!(agent.stop().await.success());
    agents::condition(&plane, "m", "AgentConnected", "False").await;
    let mut again = std::process::Command::new(BINARY);
    again.arg("agent").arg("--data-dir").arg(agent.path("data"));
    let log = agent.path("again.log");
    let user = quarterdeck_testing::user::RunAs::Caller;
    let _again = quarterdeck_testing::process::Process::start("agent", &again, user, &log);
    let machine = connected(&plane, "m").await;
    assert_ne!(machine["status"]["agent"]["session"], session, "it is another stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_is_refused_with_what_to_do() {
    let plane = Plane::start(BINARY).await;
    let other = Plane::start(BINARY).await;
    plane.apply(&format!("{}{}", preinstalled("a"), preinstalled("b"))).await;
    let token =
        async |name: &str| run(&verb(&plane, &["machine", "join-token", name])).await.unwrap();

    let none = Agent::prepare(&plane, plane.address());
    assert!(none.refusal().await.contains("it needs --join-token-file"));
    none.token("nonsense");
    assert!(none.refusal().await.contains("does not hold a join token"));

    let first = token("a").await;
    let second = token("a").await;
    let agent = Agent::prepare(&plane, plane.address());
    agent.token(&first);
    let refusal = agent.refusal().await;
    assert!(refusal.contains("not the one that was made last"), "{refusal}");
    let mut wrong = second.trim().to_owned();
    wrong.pop();
    wrong.push('!');
    agent.token(&wrong);
    assert!(agent.refusal().await.contains("not the one that was made last"));

    // One that is used cannot be used by another, and the same host may ask again.
    agent.token(&second);
    let mut agent = agent;
    agent.start();
    connected(&plane, "a").await;
    let thief = Agent::prepare(&plane, plane.address());
    thief.token(&second);
    let refusal = thief.refusal().await;
    assert!(refusal.contains("was used before, by another host"), "{refusal}");
    agent.kill9();
    std::fs::remove_file(agent.path("data/agent.json")).unwrap();
    agent.start();
    wait_for(DEADLINE, "it to have joined again", async || {
        agent.path("data/agent.json").exists().then_some(()).ok_or("not yet")
    })
    .await;

    // A folder is of one machine.
    agent.kill9();
    agent.token(&token("b").await);
    let refusal = agent.refusal().await;
    assert!(refusal.contains("is that of the agent of machine default/a"), "{refusal}");

    // The wrong authority.
    let stranger = Agent::prepare(&plane, plane.address());
    let stranger = stranger.trusting(&other.data_folder().join("pki/ca.crt"));
    stranger.token(&token("b").await);
    let refusal = stranger.refusal().await;
    assert!(refusal.contains("certificate that is not trusted"), "{refusal}");
    assert!(refusal.contains("--ca-file"), "{refusal}");

    // A machine that is gone, and one that is made anew.
    let late = Agent::prepare(&plane, plane.address());
    late.token(&token("b").await);
    plane.kubectl(&["delete", "machine", "b"]).await;
    assert!(late.refusal().await.contains("is not there"));
    plane.apply(&preinstalled("b")).await;
    assert!(late.refusal().await.contains("machine of that name which is gone"));

    // One that has ended: a minute is the least.
    let refusal = run(&verb(&plane, &["machine", "join-token", "b", "--for", "1s"])).await;
    assert!(refusal.unwrap_err().reason.contains("from 60 to"));
    let short = run(&verb(&plane, &["machine", "join-token", "b", "--for", "1m"])).await.unwrap();
    let patch =
        r#"{"status":{"agent":{"joinToken":{"expirationTimestamp":"2026-01-01T00:00:00Z"}}}}"#;
    plane
        .kubectl(&[
            "patch",
            "machine",
            "b",
            "--subresource",
            "status",
            "--type",
            "merge",
            "-p",
            patch,
        ])
        .await;
    late.token(&short);
    assert!(late.refusal().await.contains("has expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_and_one_that_is_revoked_or_left_over_ends_at_once() {
    let (plane, mut agent) = plane_with_agent(&[], &[]).await;
    let before = std::fs::read_to_string(agent.path("data/agent.json")).unwrap();
    // As if two thirds of its time had passed.
    agent.kill9();
    let stolen = agent.path("data");
    let copy = Agent::prepare(&plane, plane.address());
    let to = copy.path("data");
    std::fs::create_dir(&to).unwrap();
    for file in ["agent.key", "agent.json", "ca.crt", "server"] {
        std::fs::copy(stolen.join(file), to.join(file)).unwrap();
    }
    agent.start();
    connected(&plane, "m").await;

    // Whoever joins anew ends what was issued before.
    let token = run(&verb(&plane, &["machine", "join-token", "m"])).await.unwrap();
    let mut next = Agent::prepare(&plane, plane.address());
    next.token(&token);
    next.start();
    agent.process().wait_for_line("has joined anew since then", DEADLINE).await;
    let refusal = copy.refusal().await;
    assert!(refusal.contains("has joined anew since then"), "{refusal}");
    wait_for(DEADLINE, "the next to be connected", async || {
        next.path("data/agent.json").exists().then_some(()).ok_or("not yet")
    })
    .await;
    connected(&plane, "m").await;

    // A second later than it was issued.
    let now = after(jiff::Timestamp::now()).await;
    let patch = format!(r#"{{"spec":{{"agent":{{"revokedBefore":"{now:.0}"}}}}}}"#);
    plane.kubectl(&["patch", "machine", "m", "--type", "merge", "-p", &patch]).await;
    next.process().wait_for_line("were revoked", DEADLINE).await;
    let ended = agents::condition(&plane, "m", "AgentConnected", "False").await;
    assert!(ended["status"]["agent"]["disconnectedSince"].is_string());
    drop(before);

    // With the token that it had it says what to do; with a new one it joins anew, in the folder that it has.
    next.kill9();
    let refusal = next.refusal().await;
    assert!(refusal.contains("were revoked"), "{refusal}");
    assert!(refusal.contains("it cannot join anew with the token in"), "{refusal}");
    assert!(refusal.contains("make another: quarterdeck machine join-token m"), "{refusal}");
    let key = std::fs::read_to_string(next.path("data/agent.key")).unwrap();
    next.token(&run(&verb(&plane, &["machine", "join-token", "m"])).await.unwrap());
    next.start();
    connected(&plane, "m").await;
    assert_ne!(std::fs::read_to_string(next.path("data/agent.key")).unwrap(), key, "it is another");
    // The new certificate is for it, and is kept.
    assert!(next.stop().await.success());
    agents::condition(&plane, "m", "AgentConnected", "False").await;
    next.start();
    connected(&plane, "m").await;
}

/// The time, in a later second than that of `time`.
async fn after(time: jiff::Timestamp) -> jiff::Timestamp {
    wait_for(DEADLINE, "a later second", async || {
        let now = jiff::Timestamp::now();
        if now.as_second() > time.as_second() { Ok(now) } else { Err(now) }
    })
    .await
}

/// A certificate of the plane's authority for an agent's key, which ends as it is made.
async fn ended_certificate(plane: &Plane, agent: &Agent) -> String {
    let (request, certificate) = (agent.path("request"), agent.path("certificate"));
    let pki = |name: &str| plane.data_folder().join("pki").join(name);
    let mut make = std::process::Command::new("openssl");
    make.args(["req", "-new", "-subj", "/CN=m", "-key"]).arg(agent.path("data/agent.key"));
    checked(make.arg("-out").arg(&request)).await;
    let mut sign = std::process::Command::new("openssl");
    sign.args(["x509", "-req", "-days", "0", "-set_serial", "1", "-in"]).arg(&request);
    sign.arg("-CA").arg(pki("ca.crt")).arg("-CAkey").arg(pki("ca.key"));
    std::fs::write(agent.path("extensions"), "extendedKeyUsage = clientAuth\n").unwrap();
    sign.arg("-extfile").arg(agent.path("extensions"));
    checked(sign.arg("-out").arg(&certificate)).await;
    std::fs::read_to_string(certificate).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_off_for_longer_than_its_certificate_lasts_joins_anew() {
    let (plane, mut agent) = plane_with_agent(&[], &[]).await;
    assert!(agent.stop().await.success());
    let file = agent.path("data/agent.json");
    let mut certified: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    certified["certificate"] = ended_certificate(&plane, &agent).await.into();
    std::fs::write(&file, certified.to_string()).unwrap();
    std::fs::remove_file(agent.path("token")).unwrap();
    // It is good in the second in which it was made.
    after(jiff::Timestamp::now()).await;
    let refusal = agent.refusal().await;
    assert!(refusal.contains("the certificate of machine default/m ended at"), "{refusal}");
    assert!(refusal.contains("quarterdeck machine join-token m -n default"), "{refusal}");
    agent.token(&run(&verb(&plane, &["machine", "join-token", "m"])).await.unwrap());
    agent.start();
    connected(&plane, "m").await;
}

/// Runs a checker of the system, and answers what it said.
async fn checked(command: &mut std::process::Command) -> String {
    let output = quarterdeck_testing::process::run(command, "").await;
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    format!("{}{}", output.stdout, output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn user_data_is_what_cloud_init_and_systemd_understand() {
    let plane = Plane::start(BINARY).await;
    plane.apply(&preinstalled("m")).await;
    let authority = plane.data_folder().join("pki/ca.crt");
    let server = format!("https://{}", plane.address());
    let hash = "0".repeat(64);
    let ask = [
        "machine",
        "user-data",
        "m",
        "--server",
        &server,
        "--ca-file",
        authority.to_str().unwrap(),
        "--binary-url",
        "https://files.example.com/quarterdeck",
        "--binary-sha256",
        &hash,
    ];
    let text = run(&verb(&plane, &ask)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("user-data");
    std::fs::write(&file, &text).unwrap();
    let said = checked(
        std::process::Command::new("cloud-init").args(["schema", "--config-file"]).arg(&file),
    )
    .await;
    assert!(said.contains("Valid cloud-config"), "{said}");

    // What it would write is what an agent joins with, and what systemd takes.
    let config: serde_json::Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    let content = |at: usize| config["write_files"][at]["content"].as_str().unwrap().to_owned();
    let unit = folder.path().join("quarterdeck-agent.service");
    let here = content(3).replace("/usr/local/bin/quarterdeck", BINARY);
    std::fs::write(&unit, here).unwrap();
    let said =
        checked(std::process::Command::new("systemd-analyze").arg("verify").arg(&unit)).await;
    assert!(!said.contains("quarterdeck-agent.service:"), "{said}");
    let agent = Agent::prepare(&plane, plane.address());
    agent.token(&content(0));
    std::fs::write(agent.path("ca.crt"), content(1)).unwrap();
    let mut command = std::process::Command::new(BINARY);
    command.arg("agent");
    for line in content(2).lines() {
        let (name, value) = line.split_once('=').unwrap();
        let value =
            value.replace("/etc/quarterdeck/join-token", agent.path("token").to_str().unwrap());
        command.env(name, value.replace("/etc/quarterdeck", agent.path(".").to_str().unwrap()));
    }
    command.env("QUARTERDECK_AGENT_DATA_DIR", agent.path("data"));
    let log = agent.path("agent.log");
    let user = quarterdeck_testing::user::RunAs::Caller;
    let _agent = quarterdeck_testing::process::Process::start("agent", &command, user, &log);
    connected(&plane, "m").await;

    let refused = run(&verb(
        &plane,
        &["machine", "user-data", "m", "--server", &server, "--ca-file", "/dev/null"],
    ))
    .await;
    assert!(refused.unwrap_err().reason.contains("holds no certificate"));
}
