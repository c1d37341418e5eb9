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

use agents::{
    DEADLINE, begin, blocked_and_then_let, busy, connected, ended, failure, object, output,
    plane_with_agent,
};
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};

/// A step that has a shell run a script.
fn exec(script: &str) -> Value {
    json!({"action": "agent.exec", "with": {"argv": ["sh", "-c", script]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_files_are_done_once_and_told() {
    let (plane, agent) = plane_with_agent(&[], &[]).await;
    let place = agent.path("here");
    std::fs::create_dir(&place).unwrap();

    let script = "echo $WHO; echo bad >&2; exit 4";
    let with = json!({"argv": ["sh", "-c", script], "env": {"WHO": "me"}, "expect": [4]});
    begin(&plane, "exec", "m", json!({"action": "agent.exec", "with": with})).await;
    let out = output(&plane, "exec").await;
    assert_eq!(
        (&out["exitCode"], &out["stdout"], &out["stderr"]),
        (&4.into(), &"me\n".into(), &"bad\n".into())
    );

    begin(&plane, "fails", "m", exec("echo no such thing >&2; exit 5")).await;
    let told = failure(&plane, "fails").await;
    assert!(told.contains("sh ended with 5: no such thing"), "{told}");

    for (name, changed) in [("file", true), ("again", false)] {
        let with = json!({"path": place.join("a.conf"), "content": "one", "mode": "0640"});
        begin(&plane, name, "m", json!({"action": "agent.file", "with": with})).await;
        assert_eq!(output(&plane, name).await["changed"], changed);
    }
    assert_eq!(std::fs::read_to_string(agent.path("here/a.conf")).unwrap(), "one");

    let with = json!({"unit": "nginx.service", "state": "Started"});
    begin(&plane, "service", "m", json!({"action": "agent.service", "with": with})).await;
    let told = failure(&plane, "service").await;
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
    let (mut plane, mut agent) = plane_with_agent(&[], &[]).await;
    let file = agent.path("count");
    let script = format!("echo begun >> {}; sleep 4; echo ended", file.display());
    begin(&plane, "slow", "m", exec(&script)).await;
    let begun = async || {
        wait_for(DEADLINE, "the command to begin", async || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.contains("begun") { Ok(text) } else { Err(text) }
        })
        .await
    };
    begun().await;
    plane.restart().await;
    assert_eq!(output(&plane, "slow").await["stdout"], "ended\n");
    assert_eq!(begun().await, "begun\n", "once");

    // What an agent was at when it died cannot be told, and is not done again.
    std::fs::remove_file(&file).unwrap();
    let mut once = exec(&script);
    once["retry"] = json!({"attempts": 1});
    begin(&plane, "lost", "m", once).await;
    begun().await;
    agent.kill9();
    agent.start();
    let told = failure(&plane, "lost").await;
    assert!(told.contains("the agent was restarted while it was at it"), "{told}");
    assert_eq!(begun().await, "begun\n", "once");
    connected(&plane, "m").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_asks_the_ledger_and_is_done_when_another_start_is_seen() {
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
    let (plane, _agent) =
        plane_with_agent(&[], &["--root", root, "--reboot-command", reboot]).await;
    busy(&plane, 0).await;
    wait_for(DEADLINE, "facts", async || {
        let machine = object(&plane, "machine", "m").await;
        (machine["status"]["facts"]["bootID"] == "first").then_some(()).ok_or("not yet")
    })
    .await;
    let run_yaml = "apiVersion: workflows.quarterdeck.dev/v1alpha1\nkind: Run\nmetadata: {name: restart}\nspec: {runbook: reboot-machine, target: {kind: Machine, name: m}}\n";
    plane.apply(run_yaml).await;
    blocked_and_then_let(&plane, "restart", || {
        assert_eq!(std::fs::read_to_string(&boot).unwrap(), "first\n", "nothing was done");
    })
    .await;
    let done = ended(&plane, "restart").await;
    assert_eq!(done["phase"], "Succeeded", "{done:#}");
    let steps = done["steps"].as_array().unwrap();
    let restarted = steps.iter().find(|step| step["name"] == "reboot").unwrap();
    assert_eq!(restarted["output"]["bootID"], "second");
}

/// What is to run on a machine reaches its agent, and what the agent sees of it comes back: here, that there is no engine.
#[tokio::test(flavor = "multi_thread")]
async fn instances_reach_the_agent_and_their_status_comes_back() {
    let (plane, _agent) = plane_with_agent(&[], &["--engine-socket", "/no-engine.sock"]).await;
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
