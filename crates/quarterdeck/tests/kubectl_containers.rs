//! kubectl's own verbs on what agents run, with real agents and a real Docker Engine: `logs`, `exec`, `drain`, `cordon` and `top`.

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
mod support;

use agents::{Agent, BINARY, heard_for, joined};
use quarterdeck_testing::{
    docker::{BUSYBOX, Docker},
    plane::Plane,
    postgres::Postgres,
    process::{Process, run},
    user::RunAs,
    wait::wait_for,
};
use std::{net::SocketAddr, process::Command, time::Duration};
use support::other_kubectls;

/// How long containers, and what is waited for with them, may take.
const DEADLINE: Duration = Duration::from_secs(90);

const SERVICE: &str = "
apiVersion: services.quarterdeck.dev/v1alpha1
kind: Service
metadata: {name: api}
spec: {owner: team, disruptionBudget: {maxUnavailable: 1}}
---
";

/// A machine whose agent has an engine.
async fn machine(plane: &Plane, name: &str, at: SocketAddr, docker: &Docker) -> Agent {
    let socket = docker.socket();
    joined(plane, name, at, &["--engine-socket", socket.to_str().unwrap()]).await
}

/// A plane with a service, and its machine `m` whose agent has an engine.
async fn plane_with_engine(arguments: &[&str]) -> (Plane, Docker, Agent) {
    let (plane, docker) = tokio::join!(Plane::start_with(BINARY, arguments), Docker::start());
    let agent = machine(&plane, "m", plane.address(), &docker).await;
    plane.apply(SERVICE).await;
    (plane, docker, agent)
}

/// An instance on a machine, each of whose containers runs a script.
fn instance(name: &str, machine: &str, scripts: &[(&str, &str)]) -> String {
    let containers: String = scripts
        .iter()
        .map(|(name, script)| {
            format!(
                "      - {{name: {name}, image: '{BUSYBOX}', imagePullPolicy: Never, command: [sh, -c, '{script}']}}\n"
            )
        })
        .collect();
    format!(
        "apiVersion: services.quarterdeck.dev/v1alpha1\nkind: Instance\nmetadata: {{name: {name}}}\nspec:\n  service: api\n  host: {{kind: Machine, name: {machine}}}\n  template:\n    terminationGracePeriodSeconds: 1\n    containers:\n{containers}---\n"
    )
}

async fn ready(plane: &Plane, pod: &str) {
    wait_for(DEADLINE, &format!("{pod} to be ready"), async || {
        let json = plane.kubectl(&["get", "pod", pod, "-o", "json"]).await;
        let pod: serde_json::Value = serde_json::from_str(&json).unwrap();
        let all = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        let good = !all.is_empty() && all.iter().all(|it| it["ready"] == true);
        if good { Ok(()) } else { Err(format!("{:#}", pod["status"])) }
    })
    .await;
}

/// What kubectl says when it fails, and the code it ends with.
async fn fails(plane: &Plane, arguments: &[&str]) -> (String, Option<i32>) {
    match plane.try_kubectl(arguments).await {
        Err(error) => (error.reason, error.code),
        Ok(said) => panic!("kubectl {arguments:?} did what must fail: {said}"),
    }
}

const COUNTS: &str = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done";

#[tokio::test(flavor = "multi_thread")]
async fn what_containers_write_is_read_and_commands_run_in_them() {
    let (plane, _docker, _agent) = plane_with_engine(&[]).await;
    plane.apply(&instance("one", "m", &[("main", COUNTS)])).await;
    plane.apply(&instance("two", "m", &[("a", "echo of a; sleep 999"), ("b", "sleep 999")])).await;
    ready(&plane, "one").await;
    ready(&plane, "two").await;
    logs(&plane).await;
    commands(&plane).await;
    terminals(&plane).await;
    other_releases(&plane).await;
    rights(&plane).await;
    audited(&plane);
}

async fn logs(plane: &Plane) {
    wait_for(DEADLINE, "some lines", async || {
        let said = plane.kubectl(&["logs", "one"]).await;
        if said.contains("line 5\n") { Ok(()) } else { Err(said) }
    })
    .await;
    let said = plane.kubectl(&["logs", "one", "--tail=2"]).await;
    assert_eq!(said.lines().count(), 2, "{said}");
    let said = plane.kubectl(&["logs", "one", "--tail=1", "--timestamps"]).await;
    let (time, line) = said.split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok() && line.starts_with("line "), "{said}");
    let said = plane.kubectl(&["logs", "one", "--limit-bytes=6"]).await;
    assert_eq!(said, "line 0");
    let said = plane.kubectl(&["logs", "one", "--since=1h"]).await;
    assert!(said.starts_with("line 0\n"), "{said}");
    assert_eq!(plane.kubectl(&["logs", "two", "-c", "a"]).await, "of a\n");
    let (why, _) = fails(plane, &["logs", "one", "--previous"]).await;
    assert!(why.contains("was not started again"), "{why}");
    let (why, _) = fails(plane, &["logs", "two", "-c", "z"]).await;
    assert!(why.contains('z'), "{why}");

    // It goes on while it writes, and what is written comes at once.
    let log = tempfile::NamedTempFile::new().unwrap();
    let follow = plane.kubectl_command(&["logs", "one", "--follow", "--tail=1"]);
    let mut follow = Process::start("a follower", &follow, RunAs::Caller, log.path());
    let lines = |process: &Process| process.output().matches("line ").count();
    for wanted in [3, 8] {
        wait_for(DEADLINE, "more lines", async || {
            let seen = lines(&follow);
            if seen >= wanted { Ok(()) } else { Err(seen) }
        })
        .await;
    }
    assert_eq!(follow.exit_status(), None);
}

async fn commands(plane: &Plane) {
    let script = "echo out; echo err >&2; exit 7";
    let (why, code) = fails(plane, &["exec", "one", "--", "sh", "-c", script]).await;
    assert!(why.contains("err") && why.contains("exit code 7"), "{why}");
    assert_eq!(code, Some(7));
    let said = plane.kubectl(&["exec", "two", "-c", "b", "--", "echo", "in b"]).await;
    assert_eq!(said, "in b\n");
    let command = plane.kubectl_command(&["exec", "-i", "one", "--", "sh", "-c", "cat; echo end"]);
    let said = run(&command, "what is said\n").await.unwrap();
    assert_eq!(said.stdout, "what is said\nend\n");
    // More than fits all windows and buffers on the way, there and back.
    let much = "0123456789abcdef".repeat(200_000);
    let command = plane.kubectl_command(&["exec", "-i", "one", "--", "cat"]);
    let said = run(&command, &much).await.unwrap();
    assert!(said.stdout == much, "{} of {} bytes came back", said.stdout.len(), much.len());
    let (why, code) = fails(plane, &["exec", "one", "--", "no-such-program"]).await;
    assert!(why.contains("no-such-program") || code.is_some_and(|code| code > 0), "{why}");

    // Whoever is killed leaves nothing behind that waits for them.
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("sh");
    let sleeps = plane.kubectl_command(&["exec", "-i", "one", "--", "sh", "-c", "echo begun; cat"]);
    command.arg("-c").arg("sleep 300 | exec \"$@\"").arg("sh").arg(sleeps.get_program());
    command.args(sleeps.get_args());
    command.envs(sleeps.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut sleeps = Process::start("a command", &command, RunAs::Caller, log.path());
    sleeps.wait_for_line("begun", DEADLINE).await;
    sleeps.kill();
    wait_for(DEADLINE, "the command to end", async || {
        let said = plane.kubectl(&["exec", "one", "--", "ps"]).await;
        if said.contains("echo begun") { Err(said) } else { Ok(()) }
    })
    .await;
}

/// A terminal has a size, and one stream for both.
async fn terminals(plane: &Plane) {
    let exec = plane.kubectl_command(&["exec", "-it", "one", "--", "sh"]);
    let words: Vec<String> =
        exec.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let script = format!("stty rows 33 cols 101; kubectl {}", words.join(" "));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &script, "/dev/null"]);
    command.envs(exec.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // kubectl tells the size once it has begun: the shell is asked until it knows.
    let input = "until stty size | grep -q '33 101'; do sleep 0.1; done; echo size is $(stty size); echo err >&2; exit 4\n";
    let error = match run(&command, input).await {
        Err(error) => error,
        Ok(said) => panic!("the shell ended with 4: {}", said.stdout),
    };
    assert_eq!(error.code, Some(4), "{error}");
}

async fn other_releases(plane: &Plane) {
    for kubectl in other_kubectls() {
        let with = |variable: Option<(&str, &str)>| {
            let known = plane.kubectl_command(&["exec", "one", "--", "echo", "it runs"]);
            let mut command = Command::new(&kubectl);
            command.args(known.get_args());
            command.envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.envs(variable);
            command
        };
        let sockets = Some(("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true"));
        assert_eq!(run(&with(sockets), "").await.unwrap().stdout, "it runs\n", "{kubectl:?}");
        match (run(&with(None), "").await, kubectl.ends_with("kubectl.1.29")) {
            (Err(error), true) => assert!(error.reason.contains("use kubectl 1.30"), "{error}"),
            (Ok(said), false) => assert_eq!(said.stdout, "it runs\n", "{kubectl:?}"),
            (wrong, _) => panic!("{kubectl:?}: {wrong:?}"),
        }
    }
}

async fn rights(plane: &Plane) {
    for role in ["view", "edit"] {
        let (role, user) = (format!("--clusterrole={role}"), format!("--user={role}er"));
        plane.kubectl(&["create", "rolebinding", &user[7..], &role, &user]).await;
    }
    plane.kubectl(&["logs", "one", "--tail=1", "--as=viewer"]).await;
    let (why, _) = fails(plane, &["exec", "one", "--as=viewer", "--", "echo", "no"]).await;
    assert!(why.contains("cannot create resource \"pods/exec\""), "{why}");
    let said = plane.kubectl(&["exec", "one", "--as=editer", "--", "echo", "yes"]).await;
    assert_eq!(said, "yes\n");
    let (why, _) = fails(plane, &["logs", "one", "--as=nobody"]).await;
    assert!(why.contains("cannot get resource"), "{why}");
}

fn audited(plane: &Plane) {
    let log = std::fs::read_to_string(plane.data_folder().join("audit/audit.log")).unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |part: &str, code: u16, user: &str| {
        lines.iter().find(|line| {
            let as_user = &line["impersonatedUser"]["username"];
            line["objectRef"]["subresource"] == part
                && line["responseStatus"]["code"] == code
                && as_user.as_str().unwrap_or_default() == user
        })
    };
    let ran = of("exec", 101, "editer").expect("a line about who ran what");
    assert_eq!((&ran["verb"], &ran["objectRef"]["name"]), (&"create".into(), &"one".into()));
    assert!(ran["requestURI"].as_str().unwrap().contains("command=echo&command=yes"), "{ran:#}");
    assert!(of("log", 200, "viewer").is_some(), "a line about who read a log");
    assert!(of("exec", 403, "viewer").is_some(), "a line about who was refused");
}

/// Sessions that there may be with containers of a host.
const SESSIONS_MAX: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_nothing_holds_up_nobody_else() {
    let (plane, _docker, _agent) = plane_with_engine(&["--agent-silence", "8"]).await;
    // More than fits all buffers on its way.
    let much = "yes 0123456789abcdef | head -c 40000000; sleep 999";
    plane.apply(&instance("much", "m", &[("main", much)])).await;
    ready(&plane, "much").await;
    let session = async || {
        let field = "jsonpath={.status.agent.session}";
        plane.kubectl(&["get", "machine", "m", "-o", field]).await
    };
    let before = session().await;
    let folder = tempfile::tempdir().unwrap();
    let mut stopped = Vec::new();
    for number in 0..SESSIONS_MAX {
        // Its first line is read, and nothing more.
        let logs = plane.kubectl_command(&["logs", "much", "--follow"]);
        let mut follow = Command::new("sh");
        follow.args(["-c", "\"$@\" | { head -c 17; sleep 999; }", "sh", "kubectl"]);
        follow.args(logs.get_args());
        follow.envs(logs.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let log = folder.path().join(number.to_string());
        stopped.push(Process::start("a follower", &follow, RunAs::Caller, &log));
    }
    for follow in &mut stopped {
        follow.wait_for_line("0123456789abcdef", DEADLINE).await;
    }
    let (why, _) = fails(&plane, &["logs", "much", "--tail=1"]).await;
    assert!(why.contains("as many as there may be"), "{why}");

    // The agent says that it lives, and does what is asked of it.
    heard_for(&plane, "m", 6).await;
    plane.apply(&instance("more", "m", &[("main", "sleep 999")])).await;
    ready(&plane, "more").await;
    assert_eq!(session().await, before, "it is the same stream");

    // Their places are given back with them.
    drop(stopped);
    wait_for(DEADLINE, "a place", async || {
        plane.try_kubectl(&["exec", "much", "--", "true"]).await.map_err(|error| error.reason)
    })
    .await;
}

fn workload(replicas: u32) -> String {
    format!(
        "apiVersion: services.quarterdeck.dev/v1alpha1\nkind: Workload\nmetadata: {{name: web}}\nspec:\n  service: api\n  replicas: {replicas}\n  placement: {{antiAffinity: []}}\n  template:\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n        - {{name: main, image: '{BUSYBOX}', imagePullPolicy: Never, command: [sh, -c, 'sleep 9999']}}\n---\n"
    )
}

/// Names of the pods on a node.
async fn pods_on(plane: &Plane, node: &str) -> Vec<String> {
    let field = format!("spec.nodeName={node}");
    let said = plane.kubectl(&["get", "pods", "--field-selector", &field, "-o", "name"]).await;
    said.lines().map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_drained_with_leave_of_the_ledger() {
    let (plane, docker) = tokio::join!(Plane::start(BINARY), Docker::start());
    let _first = machine(&plane, "m1", plane.address(), &docker).await;
    plane.apply(SERVICE).await;
    plane.apply(&workload(2)).await;
    let all_ready = async || {
        wait_for(DEADLINE, "two instances that are ready", async || {
            let ready = "jsonpath={.status.readyReplicas} {.status.replicas}";
            let said = plane.kubectl(&["get", "workload", "web", "-o", ready]).await;
            if said == "2 2" { Ok(()) } else { Err(said) }
        })
        .await;
    };
    all_ready().await;
    assert_eq!(pods_on(&plane, "m1.default").await.len(), 2);

    // While the ledger refuses, kubectl tells why and tries again.
    plane.kubectl(&["cordon", "m1.default"]).await;
    let said = plane.kubectl(&["get", "machine", "m1", "-o", "jsonpath={.spec}"]).await;
    assert!(said.contains("\"unschedulable\":true"), "{said}");
    assert!(plane.kubectl(&["get", "nodes"]).await.contains("SchedulingDisabled"));
    let _second = machine(&plane, "m2", plane.address(), &docker).await;
    plane
        .apply("apiVersion: workflows.quarterdeck.dev/v1alpha1\nkind: Freeze\nmetadata: {name: sale}\nspec: {reason: the sale, start: '2020-01-01T00:00:00Z', end: '2099-01-01T00:00:00Z'}\n")
        .await;
    let (why, _) = fails(&plane, &["drain", "m1.default", "--timeout=60s"]).await;
    assert!(why.contains("will retry after 5s") && why.contains("freeze sale holds"), "{why}");
    plane.kubectl(&["delete", "freeze", "sale"]).await;
    let said = plane.kubectl(&["drain", "m1.default", "--timeout=90s"]).await;
    assert!(said.contains("node/m1.default drained"), "{said}");
    assert_eq!(pods_on(&plane, "m1.default").await, Vec::<String>::new());
    all_ready().await;
    assert_eq!(pods_on(&plane, "m2.default").await.len(), 2);
    plane.kubectl(&["uncordon", "m1.default"]).await;
    assert!(!plane.kubectl(&["get", "nodes"]).await.contains("SchedulingDisabled"));

    // What nobody keeps goes only when that is said, and with leave as well.
    plane.apply(&instance("alone", "m1", &[("main", "sleep 999")])).await;
    ready(&plane, "alone").await;
    let (why, _) = fails(&plane, &["drain", "m1.default", "--timeout=30s"]).await;
    assert!(why.contains("declare no controller"), "{why}");
    plane.kubectl(&["drain", "m1.default", "--force", "--timeout=60s"]).await;
    assert!(plane.try_kubectl(&["get", "instance", "alone"]).await.is_err());
    plane.kubectl(&["uncordon", "m1.default"]).await;

    // Nothing else of a node is written.
    let (why, _) = fails(&plane, &["label", "node", "m1.default", "a=b"]).await;
    assert!(why.contains("write the Machine"), "{why}");
    drained_by_a_run(&plane).await;
    all_ready().await;
    usage(&plane).await;
}

async fn drained_by_a_run(plane: &Plane) {
    plane
        .apply("apiVersion: workflows.quarterdeck.dev/v1alpha1\nkind: Run\nmetadata: {name: drain}\nspec: {runbook: drain-machine, target: {kind: Machine, name: m2}}\n")
        .await;
    wait_for(DEADLINE, "the run to end", async || {
        let run = plane.kubectl(&["get", "run", "drain", "-o", "json"]).await;
        let run: serde_json::Value = serde_json::from_str(&run).unwrap();
        if run["status"]["phase"] == "Succeeded" {
            return Ok(());
        }
        let said = plane.kubectl(&["get", "workload,instances,permits", "-o", "yaml"]).await;
        Err(format!("{:#}\n{said}", run["status"]))
    })
    .await;
    assert_eq!(pods_on(plane, "m2.default").await, Vec::<String>::new());
    let said = plane.kubectl(&["get", "machine", "m2", "-o", "jsonpath={.spec}"]).await;
    assert!(said.contains("\"unschedulable\":true"), "{said}");
}

async fn usage(plane: &Plane) {
    let told = async |arguments: &[&str], wanted: &str| {
        wait_for(DEADLINE, &format!("{arguments:?} to be known"), async || {
            let said = plane.try_kubectl(arguments).await.map_err(|error| error.reason)?;
            if said.contains(wanted) { Ok(said) } else { Err(said) }
        })
        .await
    };
    let nodes = told(&["top", "node"], "m2.default").await;
    let row = nodes.lines().find(|row| row.starts_with("m2.default")).unwrap();
    assert!(row.split_whitespace().nth(3).unwrap().ends_with("Mi"), "{nodes}");
    let pods = told(&["top", "pod", "--containers"], "web-").await;
    let row = pods.lines().find(|row| row.starts_with("web-")).unwrap();
    let row: Vec<&str> = row.split_whitespace().collect();
    assert!(row[1] == "main" && row[2].ends_with('m') && row[3].ends_with("Mi"), "{pods}");
    told(&["top", "pod", row[0]], row[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_matter_which_replica_holds_the_agent() {
    let (server, docker) = tokio::join!(Postgres::start(), Docker::start());
    let url = server.url();
    let arguments = ["--store", url.as_str()];
    let first = Plane::start_with(BINARY, &arguments).await;
    let second = Plane::start_beside(&first, BINARY, &arguments).await;
    let _agent = machine(&first, "m", second.address(), &docker).await;
    first.apply(SERVICE).await;
    first.apply(&instance("one", "m", &[("main", COUNTS)])).await;
    ready(&first, "one").await;
    for plane in [&first, &second] {
        assert_eq!(plane.kubectl(&["logs", "one", "--limit-bytes=6"]).await, "line 0");
        let command =
            plane.kubectl_command(&["exec", "-i", "one", "--", "sh", "-c", "cat; exit 3"]);
        let error = run(&command, "said\n").await.unwrap_err();
        assert_eq!(error.code, Some(3), "{error}");
        let (why, _) = fails(plane, &["logs", "one", "--previous"]).await;
        assert!(why.contains("was not started again"), "{why}");
        wait_for(DEADLINE, "what the host takes", async || {
            let said = plane.try_kubectl(&["top", "node"]).await.map_err(|error| error.reason)?;
            if said.contains("m.default") { Ok(()) } else { Err(said) }
        })
        .await;
    }
    // Who is no replica asks none.
    let asks = ["get", "--raw", "/replica/v1alpha1/usage"];
    let as_one = ["--as=system:quarterdeck:replica", "--as-group=system:quarterdeck:replicas"];
    for asks in [asks.to_vec(), [&asks[..], &as_one].concat()] {
        let (why, _) = fails(&first, &asks).await;
        assert!(why.contains("replicas of the plane ask each other"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_read_nothing_give_their_places_back_when_people_are_gone() {
    let (plane, _docker, _agent) = plane_with_engine(&[]).await;
    plane.apply(&instance("one", "m", &[("main", COUNTS)])).await;
    ready(&plane, "one").await;
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    let script = "echo begun; exec sleep 999";
    let deaf = plane.kubectl_command(&["exec", "-i", "one", "--", "sh", "-c", script]);
    for number in 0..SESSIONS_MAX {
        let mut command = Command::new("sh");
        command.args(["-c", "cat /dev/zero | exec \"$@\"", "sh"]);
        command.arg(deaf.get_program()).args(deaf.get_args());
        command.envs(deaf.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let log = folder.path().join(number.to_string());
        all.push(Process::start("a command", &command, RunAs::Caller, &log));
    }
    for command in &mut all {
        command.wait_for_line("begun", DEADLINE).await;
    }
    let (why, _) = fails(&plane, &["exec", "one", "--", "true"]).await;
    assert!(why.contains("as many as there may be"), "{why}");
    drop(all);
    wait_for(DEADLINE, "a place", async || {
        plane.try_kubectl(&["exec", "one", "--", "true"]).await.map_err(|error| error.reason)
    })
    .await;
}
