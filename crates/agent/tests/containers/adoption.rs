//! The agent dies at any moment, and another one goes on.

use crate::support::{DEADLINE, Host, STAYS, Secrets, only, script, settings};
use quarterdeck_agent::containers::Assignment;
use quarterdeck_testing::{
    docker::Docker,
    process::{Process, Signal},
    user::RunAs,
    wait::wait_for,
};
use serde_json::json;
use std::{path::PathBuf, process::Command, time::Duration};

/// Says to the child what it is.
const CHILD: &str = "QUARTERDECK_TEST_HOST";

/// An agent in a process of its own, which the tests below kill: it does nothing unless it is started by one of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_its_own() {
    let Ok(text) = std::env::var(CHILD) else { return };
    let (socket, rest) = text.split_once('|').unwrap();
    let (secrets, data) = rest.split_once('|').unwrap();
    let mut settings = quarterdeck_agent::containers::Settings::new("adopted", data);
    settings.engine = PathBuf::from(socket);
    settings.secrets = PathBuf::from(secrets);
    let host = Host::open(settings);
    let assigned: Vec<Assignment> =
        serde_json::from_str(&std::fs::read_to_string(format!("{data}.assign")).unwrap()).unwrap();
    host.containers.assign(assigned).unwrap();
    std::future::pending::<()>().await;
}

fn child(settings: &quarterdeck_agent::containers::Settings, assigned: &[Assignment]) -> Process {
    let data = settings.data.display().to_string();
    std::fs::write(format!("{data}.assign"), serde_json::to_string(assigned).unwrap()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "adoption::an_agent_of_its_own", "--nocapture"]);
    command
        .env(CHILD, format!("{}|{}|{data}", settings.engine.display(), settings.secrets.display()));
    Process::start("an agent", &command, RunAs::Caller, &PathBuf::from(format!("{data}.log")))
}

async fn containers(engine: &Docker, state: &str) -> Vec<String> {
    let format = "{{.ID}} {{.State}}";
    let all = engine.client(&["ps", "--all", "--no-trunc", "--format", format]).await;
    let mut ids: Vec<String> = all
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, now)| state.is_empty() || *now == state)
        .map(|(id, _)| id.to_owned())
        .collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_taken_over_as_it_is() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("adopted");
    let settings = settings(&engine, "adopted", &secrets);
    let probed = json!({"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": 20}});
    let all = [script("u1", STAYS, json!({})), script("u2", STAYS, probed)];
    let mut agent = child(&settings, &all);
    wait_for(DEADLINE, "both run", async || match containers(&engine, "running").await {
        ids if ids.len() == 2 => Ok(()),
        ids => Err(format!("{ids:?}")),
    })
    .await;
    let before = containers(&engine, "running").await;
    agent.kill();
    assert_eq!(containers(&engine, "running").await, before, "they run on");

    // No word of the plane: what was kept says what is to run.
    let host = Host::open(settings.clone());
    for uid in ["u1", "u2"] {
        let report = host.ready(uid).await;
        assert_eq!(only(&report).restart_count, 0);
    }
    assert_eq!(containers(&engine, "").await, before);
    // What dies is started again with the plane away.
    engine.client(&["kill", &before[0], &before[1]]).await;
    for uid in ["u1", "u2"] {
        host.wait(uid, "it runs again", |it| only(it).restart_count == 1 && only(it).ready).await;
    }
    host.containers.assign(Vec::new()).unwrap();
    wait_for(DEADLINE, "nothing is left", async || match containers(&engine, "").await {
        ids if ids.is_empty() => Ok(()),
        ids => Err(format!("{ids:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_neither_doubles_nor_loses_anything() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("killed");
    let settings = quarterdeck_agent::containers::Settings {
        host: "adopted".into(),
        ..settings(&engine, "killed", &secrets)
    };
    // Killed ever later, from before the first container is made to after the last one is started.
    for (round, millis) in [0_u64, 60, 120, 200, 300, 450].into_iter().enumerate() {
        let uid = |number: usize| format!("r{round}-{number}");
        let all: Vec<Assignment> =
            (0..3).map(|number| script(&uid(number), STAYS, json!({}))).collect();
        let mut agent = child(&settings, &all);
        // Until it has begun; and then for as long as this round says, which is no proof of anything.
        wait_for(DEADLINE, "it is kept", async || {
            let kept = settings.data.join("assigned").join(format!("{}.json", uid(0)));
            if kept.exists() { Ok(()) } else { Err("not yet") }
        })
        .await;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        agent.signal(Signal::KILL);
        agent.kill();
        let host = Host::open(settings.clone());
        host.containers.assign(all.clone()).unwrap();
        for number in 0..3 {
            host.ready(&uid(number)).await;
        }
        assert_eq!(containers(&engine, "").await.len(), 3, "round {round}: one of each");
        let ends = all.iter().map(|it| Assignment {
            deleting_grace: Some(quarterdeck_model::Duration::from_secs(5)),
            ..it.clone()
        });
        let ends: Vec<Assignment> = ends.collect();
        host.containers.assign(ends.clone()).unwrap();
        // Killed midway through the end of some, another one ends the rest.
        drop(host);
        let host = Host::open(settings.clone());
        host.containers.assign(ends).unwrap();
        for number in 0..3 {
            host.gone(&uid(number)).await;
        }
        assert_eq!(containers(&engine, "").await.len(), 0, "round {round}");
        host.containers.assign(Vec::new()).unwrap();
    }
}
