//! Real agents, each a process of the real binary with folders of its own; and what the tests of them do: have runs act on their machines.

use quarterdeck_testing::{
    plane::Plane,
    process::{self, CommandError, Process, Signal},
    user::RunAs,
    wait::wait_for,
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_quarterdeck");
/// How long an agent may take for what it does.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A machine whose system is there already.
pub(crate) fn preinstalled(name: &str) -> String {
    format!(
        "apiVersion: compute.quarterdeck.dev/v1alpha1\nkind: Machine\nmetadata: {{name: {name}}}\nspec: {{preinstalled: true}}\n---\n"
    )
}

/// `quarterdeck` with arguments, as the plane's administrator.
pub(crate) fn verb(plane: &Plane, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).env("KUBECONFIG", plane.kubeconfig());
    command
}

pub(crate) async fn run(command: &Command) -> Result<String, CommandError> {
    process::run(command, "").await.map(|output| output.stdout)
}

/// Folders for an agent, and what it is started with.
pub(crate) struct Agent {
    process: Option<Process>,
    folder: TempDir,
    /// In memory, for Secrets.
    memory: TempDir,
    server: String,
    authority: PathBuf,
    more: Vec<String>,
}

impl Agent {
    /// One that does not run yet, for a plane at that address.
    pub(crate) fn prepare(plane: &Plane, address: std::net::SocketAddr) -> Self {
        let folder = || tempfile::Builder::new().prefix("quarterdeck-agent-").to_owned();
        let memory = folder().tempdir_in("/dev/shm").expect("a folder in memory");
        let folder = folder().tempdir().expect("a folder");
        let server = format!("https://{address}");
        let authority = plane.data_folder().join("pki/ca.crt");
        Self { process: None, folder, memory, server, authority, more: Vec::new() }
    }

    pub(crate) fn with(mut self, more: &[&str]) -> Self {
        self.more.extend(more.iter().map(|&it| it.to_owned()));
        self
    }

    pub(crate) fn trusting(mut self, authority: &Path) -> Self {
        self.authority = authority.into();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A place among its Secrets.
    pub(crate) fn secret_path(&self, name: &str) -> PathBuf {
        self.memory.path().join(name)
    }

    /// Writes the token file.
    pub(crate) fn token(&self, token: &str) {
        std::fs::write(self.path("token"), token).expect("a file in our own folder");
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("agent").arg("--data-dir").arg(self.path("data"));
        command.arg("--secrets-dir").arg(self.memory.path());
        command.args(["--server", &self.server]).arg("--ca-file").arg(&self.authority);
        if self.path("token").exists() {
            command.arg("--join-token-file").arg(self.path("token"));
        }
        command.args(&self.more);
        command
    }

    pub(crate) fn start(&mut self) {
        let log = self.path("agent.log");
        self.process = Some(Process::start("agent", &self.command(), RunAs::Caller, &log));
    }

    pub(crate) fn kill9(&mut self) {
        self.process = None;
    }

    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.process.take().expect("it runs").end(Signal::TERM, DEADLINE).await
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// What it says as it ends by itself.
    pub(crate) async fn refusal(&self) -> String {
        match run(&self.command()).await {
            Err(error) => error.reason,
            Ok(said) => panic!("it ended well: {said}"),
        }
    }
}

/// A plane, and its machine `m` whose agent is connected; with further arguments of either.
pub(crate) async fn plane_with_agent(plane: &[&str], agent: &[&str]) -> (Plane, Agent) {
    let plane = Plane::start_with(BINARY, plane).await;
    let agent = joined(&plane, "m", plane.address(), agent).await;
    (plane, agent)
}

/// A machine whose agent has joined and is connected.
pub(crate) async fn joined(
    plane: &Plane,
    name: &str,
    address: std::net::SocketAddr,
    more: &[&str],
) -> Agent {
    plane.apply(&preinstalled(name)).await;
    let token = run(&verb(plane, &["machine", "join-token", name])).await.expect("a token");
    let mut agent = Agent::prepare(plane, address).with(more);
    agent.token(&token);
    agent.start();
    connected(plane, name).await;
    agent
}

/// Waits until a machine says that its agent is connected, and answers the machine.
pub(crate) async fn connected(plane: &Plane, name: &str) -> Value {
    condition(plane, name, "AgentConnected", "True").await
}

/// An object.
pub(crate) async fn object(plane: &Plane, kind: &str, name: &str) -> Value {
    let text = plane.kubectl(&["get", kind, name, "--output", "json"]).await;
    serde_json::from_str(&text).expect("kubectl prints JSON")
}

pub(crate) async fn machine(plane: &Plane, name: &str) -> Value {
    object(plane, "machine", name).await
}

/// Waits until a machine's agent was heard of for so many seconds more.
pub(crate) async fn heard_for(plane: &Plane, name: &str, seconds: i64) {
    let path = format!("/apis/metrics.k8s.io/v1beta1/nodes/{name}.default");
    let mut begun = None;
    wait_for(DEADLINE, "more heartbeats", async || {
        let said = plane.try_kubectl(&["get", "--raw", &path]).await.map_err(|it| it.reason)?;
        let said: Value = serde_json::from_str(&said).expect("kubectl prints JSON");
        let now = said["timestamp"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let now = now.expect("when it was heard of");
        let passed = now.duration_since(*begun.get_or_insert(now)).as_secs();
        if passed >= seconds { Ok(()) } else { Err(format!("{passed} s")) }
    })
    .await;
}

/// Waits for a condition of a machine.
pub(crate) async fn condition(plane: &Plane, name: &str, kind: &str, status: &str) -> Value {
    wait_for(DEADLINE, &format!("{kind}={status} of {name}"), async || {
        let machine = machine(plane, name).await;
        let conditions = machine["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().any(|it| it["type"] == kind && it["status"] == status);
        if found { Ok(machine) } else { Err(format!("{:#}", machine["status"])) }
    })
    .await
}

/// A service `web` that has an instance on machine `m` which is ready, and may be down to that number.
pub(crate) async fn busy(plane: &Plane, max_unavailable: u32) {
    plane
        .apply(&format!(
            "apiVersion: services.quarterdeck.dev/v1alpha1\nkind: Service\nmetadata: {{name: web}}\nspec: {{owner: shop, tier: 1, disruptionBudget: {{maxUnavailable: {max_unavailable}}}}}\n---\n\
             apiVersion: services.quarterdeck.dev/v1alpha1\nkind: Instance\nmetadata: {{name: web-0}}\nspec: {{service: web, host: {{kind: Machine, name: m}}}}\n"
        ))
        .await;
    let ready = r#"{"status":{"phase":"Ready"}}"#;
    let patch =
        ["patch", "instance", "web-0", "--subresource", "status", "--type", "merge", "-p", ready];
    plane.kubectl(&patch).await;
}

/// Waits until the ledger says that `web` blocks a run, and then lets one of its instances be down.
pub(crate) async fn blocked_and_then_let(plane: &Plane, run: &str, nothing_was_done: impl Fn()) {
    wait_for(DEADLINE, "the ledger to say who blocks", async || {
        let told = object(plane, "run", run).await["status"].to_string();
        if told.contains("default/web") { Ok(()) } else { Err(told) }
    })
    .await;
    nothing_was_done();
    let allows = r#"{"spec":{"disruptionBudget":{"maxUnavailable":1}}}"#;
    plane.kubectl(&["patch", "service", "web", "--type", "merge", "-p", allows]).await;
}

/// A runbook with one step, and a run of it on a machine; both have that name.
pub(crate) async fn begin(plane: &Plane, name: &str, machine: &str, step: Value) {
    let mut whole = json!({"name": "it", "timeout": "2m"});
    for (field, value) in step.as_object().expect("fields of a step") {
        whole[field] = value.clone();
    }
    let api = "workflows.quarterdeck.dev/v1alpha1";
    let all = [
        json!({"apiVersion": api, "kind": "Runbook", "metadata": {"name": name},
            "spec": {"target": {"kind": "Machine"}, "steps": [whole]}}),
        json!({"apiVersion": api, "kind": "Run", "metadata": {"name": name},
            "spec": {"runbook": name, "target": {"kind": "Machine", "name": machine}}}),
    ];
    plane.apply(&all.map(|object| object.to_string()).join("\n")).await;
}

/// The status of a run once it has ended.
pub(crate) async fn ended(plane: &Plane, name: &str) -> Value {
    wait_for(DEADLINE, &format!("run {name} to end"), async || {
        let run = object(plane, "run", name).await;
        match run["status"]["phase"].as_str() {
            Some("Succeeded" | "Failed") => Ok(run["status"].clone()),
            _ => Err(format!("{:#}", run["status"])),
        }
    })
    .await
}

/// The output of the one step of a run that succeeds.
pub(crate) async fn output(plane: &Plane, name: &str) -> Value {
    let status = ended(plane, name).await;
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    status["steps"][0]["output"].clone()
}

/// What a run that fails is said to have failed of.
pub(crate) async fn failure(plane: &Plane, name: &str) -> String {
    let status = ended(plane, name).await;
    assert_eq!(status["phase"], "Failed", "{status:#}");
    status.to_string()
}
