//! Real agents, each a process of the real binary with a folder of its own.

use quarterdeck_testing::{
    plane::Plane,
    process::{self, CommandError, Process, Signal},
    user::RunAs,
    wait::wait_for,
};
use serde_json::Value;
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

/// A folder for an agent, and what it is started with.
pub(crate) struct Agent {
    process: Option<Process>,
    folder: TempDir,
    server: String,
    authority: PathBuf,
    more: Vec<String>,
}

impl Agent {
    /// One that does not run yet, for a plane at that address.
    pub(crate) fn prepare(plane: &Plane, address: std::net::SocketAddr) -> Self {
        let folder =
            tempfile::Builder::new().prefix("quarterdeck-agent-").tempdir().expect("a folder");
        let server = format!("https://{address}");
        let authority = plane.data_folder().join("pki/ca.crt");
        Self { process: None, folder, server, authority, more: Vec::new() }
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

    /// Writes the token file.
    pub(crate) fn token(&self, token: &str) {
        std::fs::write(self.path("token"), token).expect("a file in our own folder");
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("agent").arg("--data-dir").arg(self.path("data"));
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

pub(crate) async fn machine(plane: &Plane, name: &str) -> Value {
    let text = plane.kubectl(&["get", "machine", name, "--output", "json"]).await;
    serde_json::from_str(&text).expect("kubectl prints JSON")
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
