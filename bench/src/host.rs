//! A host as a company has it: a plane and an agent, each the real `quarterdeck`, and a Docker Engine of its own for that agent.

use crate::{
    Failure,
    client::{Client, Trust},
};
use bytes::Bytes;
use quarterdeck_api::pki::Authority;
use quarterdeck_testing::{
    docker::{BUSYBOX, Docker},
    plane::Plane,
    process::{self, Process},
    user::RunAs,
};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Command, time::Duration};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const MACHINE: &str = "
apiVersion: compute.quarterdeck.dev/v1alpha1
kind: Machine
metadata: {name: m}
spec: {preinstalled: true}
---
apiVersion: services.quarterdeck.dev/v1alpha1
kind: Service
metadata: {name: web}
spec: {owner: team}
";
const WORKLOADS: &str = "/apis/services.quarterdeck.dev/v1alpha1/namespaces/default/workloads";
/// How long anything here may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at a workload. It is seldom beside what is waited for, and costs next to nothing.
const LOOK: Duration = Duration::from_millis(20);

/// All three; they are stopped with this, the agent first.
pub(crate) struct Host {
    agent: Process,
    pub(crate) docker: Docker,
    plane: Plane,
    client: Client,
    _folder: TempDir,
    /// In memory, as an agent wants it.
    _secrets: TempDir,
}

/// The binary, which is built beside this one.
pub(crate) fn binary() -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name("quarterdeck");
    if path.exists() {
        return Ok(path);
    }
    let path = path.display();
    Err(format!("there is no {path}; build it with: cargo build --release --package quarterdeck")
        .into())
}

impl Host {
    /// Starts them, and waits until instances can be placed there.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let binary = binary()?;
        let text = binary.to_str().ok_or("the path of the binary is not UTF-8")?;
        let (plane, docker) = tokio::join!(Plane::start(text), Docker::start());
        plane.apply(MACHINE).await;
        let mut token = Command::new(&binary);
        token.args(["machine", "join-token", "m"]).env("KUBECONFIG", plane.kubeconfig());
        let token = process::run(&token, "").await?.stdout;
        let folder = tempfile::Builder::new().prefix("quarterdeck-agent-").tempdir()?;
        let at = folder.path();
        std::fs::write(at.join("token"), token)?;
        let pki = plane.data_folder().join("pki");
        let mut agent = Command::new(&binary);
        agent.arg("agent").arg("--data-dir").arg(at.join("data"));
        agent.args(["--server", &format!("https://{}", plane.address())]);
        agent.arg("--ca-file").arg(pki.join("ca.crt"));
        agent.arg("--join-token-file").arg(at.join("token"));
        agent.arg("--engine-socket").arg(docker.socket());
        let secrets =
            tempfile::Builder::new().prefix("quarterdeck-agent-").tempdir_in("/dev/shm")?;
        agent.arg("--secrets-dir").arg(secrets.path());
        let agent = Process::start("agent", &agent, RunAs::Caller, &at.join("log"));
        let authority = Authority::open(&pki)?;
        let trust = Trust::new(authority.certificate(), &authority.admin()?)?;
        let client = Client::connect(plane.address(), &trust).await?;
        let mut host = Self { agent, docker, plane, client, _folder: folder, _secrets: secrets };
        let machine = "/apis/compute.quarterdeck.dev/v1alpha1/namespaces/default/machines/m";
        host.until(machine, |machine| machine.pointer("/status/allocatable").is_some()).await?;
        Ok(host)
    }

    /// The agent's process.
    pub(crate) fn agent(&self) -> u32 {
        self.agent.id()
    }

    /// Declares a workload whose containers only sleep.
    pub(crate) async fn declare(&mut self, name: &str, replicas: usize) -> Result<(), Failure> {
        let container = json!({"name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "99999"]});
        let spec = json!({
            "service": "web", "replicas": replicas,
            "template": {"spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}},
        });
        let workload = json!({"apiVersion": "services.quarterdeck.dev/v1alpha1", "kind": "Workload",
            "metadata": {"name": name}, "spec": spec});
        self.client.create(WORKLOADS, Bytes::from(workload.to_string())).await
    }

    /// Waits until all its instances are ready.
    pub(crate) async fn ready(&mut self, name: &str, replicas: usize) -> Result<(), Failure> {
        let ready = |workload: &Value| {
            let ready = workload.pointer("/status/readyReplicas").and_then(Value::as_u64);
            ready == u64::try_from(replicas).ok()
        };
        self.until(&format!("{WORKLOADS}/{name}"), ready).await
    }

    /// Takes it back, and waits until its containers are gone.
    pub(crate) async fn undeclare(&self, name: &str) -> Result<(), Failure> {
        self.plane.kubectl(&["delete", "workload", name]).await;
        let end = Instant::now() + DEADLINE;
        while !self.docker.client(&["ps", "--all", "--quiet"]).await.is_empty() {
            if Instant::now() > end {
                return Err(format!("containers of {name} are there after {DEADLINE:?}").into());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn until(&mut self, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<(), Failure> {
        let end = Instant::now() + DEADLINE;
        loop {
            let object = self.client.object(path).await?;
            if wanted(&object) {
                return Ok(());
            }
            if Instant::now() > end {
                let status = object.get("status").cloned().unwrap_or_default();
                let said = self.agent.output();
                return Err(format!(
                    "waited {DEADLINE:?} for {path}: {status:#}; the agent says:\n{said}"
                )
                .into());
            }
            sleep(LOOK).await;
        }
    }
}
