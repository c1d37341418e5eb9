//! Agents that fall silent, replicas that die, and a load balancer between: real processes on PostgreSQL.

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
    Agent, BINARY, DEADLINE, busy, condition, heard_for, joined, machine, object, plane_with_agent,
};
use quarterdeck_testing::{balancer::Balancer, plane::Plane, postgres::Postgres, wait::wait_for};
use std::time::{Duration, Instant};

/// Short, so that a test does not take minutes.
const SILENCE: &str = "6";

async fn phase(plane: &Plane, name: &str, phase: &str) {
    wait_for(DEADLINE, &format!("{name} to be {phase}"), async || {
        let instance = object(plane, "instance", name).await;
        let found = instance["status"]["phase"].as_str().unwrap_or_default().to_owned();
        if found == phase { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_silent_counts_as_down_and_nothing_is_deleted() {
    let (plane, mut agent) = plane_with_agent(&["--agent-silence", SILENCE], &[]).await;
    busy(&plane, 1).await;

    // It runs, and says nothing: as behind a network that drops everything.
    let revision = object(&plane, "machine", "m").await["metadata"]["resourceVersion"].clone();
    agent.process().signal(quarterdeck_testing::process::Signal::STOP);
    let begun = Instant::now();
    let silent = condition(&plane, "m", "Reachable", "False").await;
    assert!(begun.elapsed() >= Duration::from_secs(4), "not before its deadline");
    assert_ne!(silent["metadata"]["resourceVersion"], revision);
    let conditions = silent["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|it| it["type"] == "Reachable").unwrap();
    assert_eq!(found["reason"], "AgentSilent", "{found:#}");
    phase(&plane, "web-0", "Unreachable").await;
    wait_for(DEADLINE, "the service to count it as down", async || {
        let service = object(&plane, "service", "web").await;
        (service["status"]["down"] == 1 || service["status"]["unavailable"] == 1)
            .then_some(())
            .ok_or(format!("{:#}", service["status"]))
    })
    .await;
    let events = plane.kubectl(&["get", "events", "--field-selector", "reason=AgentSilent"]).await;
    assert!(events.contains("machine/m"), "{events}");

    agent.process().signal(quarterdeck_testing::process::Signal::CONT);
    condition(&plane, "m", "Reachable", "True").await;
    phase(&plane, "web-0", "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_not_written_down() {
    let (plane, _agent) = plane_with_agent(&["--agent-silence", "4"], &[]).await;
    let revision =
        async || object(&plane, "machine", "m").await["metadata"]["resourceVersion"].clone();
    let mut before = revision().await;
    let calm = wait_for(DEADLINE, "a machine that nobody writes", async || {
        // Several heartbeats of a second each.
        heard_for(&plane, "m", 5).await;
        let now = revision().await;
        if now == before {
            return Ok(());
        }
        before = now;
        Err(format!("{before}"))
    });
    calm.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_go_on_at_another_replica_and_no_task_is_lost_or_done_twice() {
    let server = Postgres::start().await;
    let url = server.url();
    let arguments = ["--store", url.as_str(), "--agent-silence", SILENCE];
    let mut first = Plane::start_with(BINARY, &arguments).await;
    let second = Plane::start_beside(&first, BINARY, &arguments).await;
    let balancer = Balancer::start(&[first.address(), second.address()]).await;
    wait_for(DEADLINE, "both to be ready", async || {
        let ready = balancer.ready().await;
        if ready == 2 { Ok(()) } else { Err(ready) }
    })
    .await;
    let mut agents: Vec<Agent> = Vec::new();
    for number in 0..4 {
        agents.push(joined(&second, &format!("m{number}"), balancer.address(), &[]).await);
    }
    // One connection each, in turns, whereas each had two when it joined.
    balancer.cut(0).await;
    balancer.cut(1).await;
    wait_for(DEADLINE, "agents at both replicas", async || {
        let mut at = Vec::new();
        for number in 0..4 {
            let agent = machine(&second, &format!("m{number}")).await["status"]["agent"].clone();
            if agent["disconnectedSince"].is_null() {
                at.push(agent["replica"].as_str().unwrap_or_default().to_owned());
            }
        }
        let both = [first.address(), second.address()].map(|it| at.contains(&it.to_string()));
        if at.len() == 4 && both == [true, true] { Ok(()) } else { Err(format!("{at:?}")) }
    })
    .await;

    let place = agents[0].path("count");
    let runbook = format!(
        "apiVersion: workflows.quarterdeck.dev/v1alpha1\nkind: Runbook\nmetadata: {{name: slow}}\nspec:\n  target: {{kind: Machine}}\n  steps:\n    - name: it\n      timeout: 2m\n      action: agent.exec\n      with: {{argv: [sh, -c, 'echo x >> {}-$1; sleep 6', sh, '${{ target.metadata.name }}']}}\n",
        place.display()
    );
    second.apply(&runbook).await;
    let runs: String = (0..4)
        .map(|number| format!("---\napiVersion: workflows.quarterdeck.dev/v1alpha1\nkind: Run\nmetadata: {{name: r{number}}}\nspec: {{runbook: slow, target: {{kind: Machine, name: m{number}}}}}\n"))
        .collect();
    second.apply(&runs).await;
    let count = |number: usize| {
        let file = format!("{}-m{number}", place.display());
        std::fs::read_to_string(file).unwrap_or_default().lines().count()
    };
    wait_for(DEADLINE, "all to be at it", async || {
        let begun: Vec<usize> = (0..4).map(count).collect();
        if begun.iter().all(|it| *it > 0) { Ok(()) } else { Err(format!("{begun:?}")) }
    })
    .await;
    first.kill9();
    let at_second = second.address().to_string();
    wait_for(DEADLINE, "all to be at the other", async || {
        let mut at = Vec::new();
        for number in 0..4 {
            let machine = machine(&second, &format!("m{number}")).await;
            at.push(machine["status"]["agent"]["replica"].as_str().unwrap_or_default().to_owned());
        }
        if at.iter().all(|it| *it == at_second) { Ok(()) } else { Err(format!("{at:?}")) }
    })
    .await;
    for number in 0..4 {
        wait_for(DEADLINE, "the run to end", async || {
            let run = object(&second, "run", &format!("r{number}")).await;
            let status = &run["status"];
            if status["phase"] == "Succeeded" { Ok(()) } else { Err(format!("{status:#}")) }
        })
        .await;
        assert_eq!(count(number), 1, "m{number} did it once");
        let machine = machine(&second, &format!("m{number}")).await;
        let text = machine["status"]["conditions"].to_string();
        assert!(!text.contains("AgentSilent"), "no gap was told: {text}");
    }

    // One that does not come back from a replica that died is found out all the same.
    let mut third = Plane::start_beside(&second, BINARY, &arguments).await;
    let mut lone = joined(&second, "lone", third.address(), &[]).await;
    lone.process().signal(quarterdeck_testing::process::Signal::STOP);
    third.kill9();
    condition(&second, "lone", "Reachable", "False").await;
}
