//! What agents are asked to do, by runs: real commands, files and a restart of a system, each once whatever dies meanwhile.

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

use agents::{BINARY, DEADLINE, connected, joined};
use quarterdeck_testing::{plane::Plane, wait::wait_for};
use serde_json::Value;

/// A runbook with one step, and a run of it on a machine.
async fn begin(plane: &Plane, name: &str, machine: &str, step: &str) {
    plane
        .apply(&format!(
            "apiVersion: workflows.quarterdeck.dev/v1alpha1\nkind: Runbook\nmetadata: {{name: {name}}}\nspec:\n  target: {{kind: Machine}}\n  steps:\n    - name: it\n      timeout: 2m\n{step}\n---\n\
             apiVersion: workflows.quarterdeck.dev/v1alpha1\nkind: Run\nmetadata: {{name: {name}}}\nspec: {{runbook: {name}, target: {{kind: Machine, name: {machine}}}}}\n"
        ))
        .await;
}

async fn run(plane: &Plane, name: &str) -> Value {
    let text = plane.kubectl(&["get", "run", name, "--output", "json"]).await;
    serde_json::from_str(&text).unwrap()
}

/// The run once it has ended.
async fn ended(plane: &Plane, name: &str) -> Value {
    wait_for(DEADLINE, &format!("run {name} to end"), async || {
        let run = run(plane, name).await;
        match run["status"]["phase"].as_str() {
            Some("Succeeded" | "Failed") => Ok(run),
            _ => Err(format!("{:#}", run["status"])),
        }
    })
    .await
}

fn output(run: &Value) -> &Value {
    assert_eq!(run["status"]["phase"], "Succeeded", "{:#}", run["status"]);
    &run["status"]["steps"][0]["output"]
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_files_are_done_once_and_told() {
    let plane = Plane::start(BINARY).await;
    let agent = joined(&plane, "m", plane.address(), &[]).await;
    let place = agent.path("here");
    std::fs::create_dir(&place).unwrap();
    let place = place.display();

    let step = "      action: agent.exec\n      with: {argv: [sh, -c, 'echo $WHO; echo bad >&2; exit 4'], env: {WHO: me}, expect: [4]}";
    begin(&plane, "exec", "m", step).await;
    let done = ended(&plane, "exec").await;
    let out = output(&done);
    assert_eq!(
        (&out["exitCode"], &out["stdout"], &out["stderr"]),
        (&4.into(), &"me\n".into(), &"bad\n".into())
    );

    let step =
        "      action: agent.exec\n      with: {argv: [sh, -c, 'echo no such thing >&2; exit 5']}";
    begin(&plane, "fails", "m", step).await;
    let failed = ended(&plane, "fails").await;
    assert_eq!(failed["status"]["phase"], "Failed");
    let told = failed["status"].to_string();
    assert!(told.contains("sh ended with 5: no such thing"), "{told}");

    for (name, changed) in [("file", true), ("again", false)] {
        let step = format!(
            "      action: agent.file\n      with: {{path: '{place}/a.conf', content: 'one', mode: '0640'}}"
        );
        begin(&plane, name, "m", &step).await;
        assert_eq!(output(&ended(&plane, name).await)["changed"], changed);
    }
    assert_eq!(std::fs::read_to_string(agent.path("here/a.conf")).unwrap(), "one");

    let step = "      action: agent.service\n      with: {unit: nginx.service, state: Started}";
    begin(&plane, "service", "m", step).await;
    let told = ended(&plane, "service").await["status"].to_string();
    assert!(told.contains("systemd does not run on this host"), "{told}");

    // Nobody has agents do anything but by a run.
    let task = "apiVersion: compute.quarterdeck.dev/v1alpha1\nkind: AgentTask\nmetadata: {name: own}\nspec: {machine: m, exec: {argv: [id]}}\n";
    let refused =
        quarterdeck_testing::process::run(&plane.kubectl_command(&["create", "-f", "-"]), task)
            .await;
    assert!(refused.unwrap_err().reason.contains("written by the plane alone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_begun_once_though_plane_and_agent_die() {
    let mut plane = Plane::start(BINARY).await;
    let mut agent = joined(&plane, "m", plane.address(), &[]).await;
    let file = agent.path("count");
    let script = format!("echo begun >> {}; sleep 4; echo ended", file.display());
    let step = format!("      action: agent.exec\n      with: {{argv: [sh, -c, '{script}']}}");
    begin(&plane, "slow", "m", &step).await;
    let begun = async || {
        wait_for(DEADLINE, "the command to begin", async || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.contains("begun") { Ok(text) } else { Err(text) }
        })
        .await
    };
    begun().await;
    plane.restart().await;
    let done = ended(&plane, "slow").await;
    assert_eq!(output(&done)["stdout"], "ended\n");
    assert_eq!(begun().await, "begun\n", "once");

    // What an agent was at when it died cannot be told, and is not done again.
    std::fs::remove_file(&file).unwrap();
    let step = format!("      retry: {{attempts: 1}}\n{step}");
    begin(&plane, "lost", "m", &step).await;
    begun().await;
    agent.kill9();
    agent.start();
    let lost = ended(&plane, "lost").await;
    assert_eq!(lost["status"]["phase"], "Failed");
    let told = lost["status"].to_string();
    assert!(told.contains("the agent was restarted while it was at it"), "{told}");
    assert_eq!(begun().await, "begun\n", "once");
    connected(&plane, "m").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_asks_the_ledger_and_is_done_when_another_start_is_seen() {
    let plane = Plane::start(BINARY).await;
    // A host whose restart is another boot id, seen by an agent that reads below a folder of its own.
    let root = tempfile::tempdir().unwrap();
    let random = root.path().join("proc/sys/kernel/random");
    std::fs::create_dir_all(&random).unwrap();
    let boot = random.join("boot_id");
    std::fs::write(&boot, "first\n").unwrap();
    let reboot = root.path().join("reboot");
    std::fs::write(&reboot, format!("#!/bin/sh\necho second > {}\n", boot.display())).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&reboot, mode).unwrap();
    let (root, reboot) = (root.path().to_str().unwrap(), reboot.to_str().unwrap());
    let _agent =
        joined(&plane, "m", plane.address(), &["--root", root, "--reboot-command", reboot]).await;
    plane
        .apply(
            "apiVersion: services.quarterdeck.dev/v1alpha1\nkind: Service\nmetadata: {name: web}\nspec: {owner: shop, tier: 1, disruptionBudget: {maxUnavailable: 0}}\n---\n\
             apiVersion: services.quarterdeck.dev/v1alpha1\nkind: Instance\nmetadata: {name: web-0}\nspec: {service: web, host: {kind: Machine, name: m}}\n",
        )
        .await;
    let ready = r#"{"status":{"phase":"Ready"}}"#;
    let patch =
        ["patch", "instance", "web-0", "--subresource", "status", "--type", "merge", "-p", ready];
    plane.kubectl(&patch).await;
    wait_for(DEADLINE, "facts", async || {
        let machine = agents::machine(&plane, "m").await;
        (machine["status"]["facts"]["bootID"] == "first").then_some(()).ok_or("not yet")
    })
    .await;
    let run_yaml = "apiVersion: workflows.quarterdeck.dev/v1alpha1\nkind: Run\nmetadata: {name: restart}\nspec: {runbook: reboot-machine, target: {kind: Machine, name: m}}\n";
    plane.apply(run_yaml).await;
    wait_for(DEADLINE, "the ledger to say who blocks", async || {
        let run = run(&plane, "restart").await;
        let told = run["status"].to_string();
        if told.contains("default/web") { Ok(()) } else { Err(told) }
    })
    .await;
    assert_eq!(std::fs::read_to_string(&boot).unwrap(), "first\n", "nothing was done");
    let allows = r#"{"spec":{"disruptionBudget":{"maxUnavailable":1}}}"#;
    plane.kubectl(&["patch", "service", "web", "--type", "merge", "-p", allows]).await;
    let done = ended(&plane, "restart").await;
    assert_eq!(done["status"]["phase"], "Succeeded", "{:#}", done["status"]);
    let steps = done["status"]["steps"].as_array().unwrap();
    let restarted = steps.iter().find(|step| step["name"] == "reboot").unwrap();
    assert_eq!(restarted["output"]["bootID"], "second");
}

/// What is to run on a machine reaches its agent, and what the agent sees of it comes back: here, that there is no engine.
#[tokio::test(flavor = "multi_thread")]
async fn instances_reach_the_agent_and_their_status_comes_back() {
    let plane = Plane::start(BINARY).await;
    let secrets = tempfile::tempdir_in("/dev/shm").unwrap();
    let place = secrets.path().to_str().unwrap().to_owned();
    let nobody = format!("{place}/no-engine.sock");
    let more = ["--secrets-dir", place.as_str(), "--engine-socket", nobody.as_str()];
    let _agent = joined(&plane, "m", plane.address(), &more).await;
    plane
        .apply(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n---\n\
             apiVersion: services.quarterdeck.dev/v1alpha1\nkind: Service\nmetadata: {name: web}\nspec: {owner: shop, tier: 1}\n---\n\
             apiVersion: services.quarterdeck.dev/v1alpha1\nkind: Instance\nmetadata: {name: web-0}\nspec:\n  service: web\n  host: {kind: Machine, name: m}\n  template:\n    containers: [{name: c, image: 'registry.example.com/a:1', volumeMounts: [{name: v, mountPath: /v}]}]\n    volumes: [{name: v, secret: {secretName: s}}]\n",
        )
        .await;
    wait_for(DEADLINE, "the agent to say that there is no engine", async || {
        let text = plane.kubectl(&["get", "instance", "web-0", "--output", "json"]).await;
        if text.contains("no-engine.sock") { Ok(()) } else { Err(text) }
    })
    .await;
}
