//! The real `quarterdeck` binary as a server, and the real `kubectl` against it. Must never use
//! the kubeconfig or the caches of whoever runs the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use crate::port::free_address;
use crate::process::{CommandError, Process, Signal, run};
use crate::user::RunAs;

/// How long a start may take, migrations and the making of certificates included.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long a graceful stop may take.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// A plane of its own, gone when dropped.
#[derive(Debug)]
pub struct Plane {
    /// `None` between a kill and a restart.
    process: Option<Process>,
    binary: PathBuf,
    arguments: Vec<String>,
    address: SocketAddr,
    folder: TempDir,
}

impl Plane {
    /// Starts `binary` (`env!("CARGO_BIN_EXE_quarterdeck")`) on an empty data folder.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start(binary: &str) -> Self {
        Self::start_with(binary, &[]).await
    }

    /// Starts `binary` with further `arguments` of `serve`, such as `["--store", url]`.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start_with(binary: &str, arguments: &[&str]) -> Self {
        let mut plane = Self::prepare(binary, arguments);
        plane.launch().await;
        plane
    }

    /// Starts another replica, with the certificate authority and the keys of `first`, as an operator who
    /// adds one copies them.
    ///
    /// # Panics
    /// When it does not get ready, or `first` has no such files.
    pub async fn start_beside(first: &Self, binary: &str, arguments: &[&str]) -> Self {
        let mut plane = Self::prepare(binary, arguments);
        plane.copy_identity(&first.data_folder());
        plane.launch().await;
        plane
    }

    /// A plane that does not run yet, with a data folder that is not there yet.
    ///
    /// # Panics
    /// When there is no place for its files.
    #[must_use]
    pub fn prepare(binary: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("quarterdeck-plane-")
            .tempdir()
            .expect("a temporary folder for the plane");
        std::fs::create_dir(folder.path().join("home")).expect("a home for kubectl");
        Self {
            process: None,
            binary: PathBuf::from(binary),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            // Chosen here rather than by the plane (port 0), so that a restart finds it free.
            address: free_address(),
            folder,
        }
    }

    /// Copies what a plane is known by, and its keys, from another one's data folder.
    ///
    /// # Panics
    /// When there are no such files.
    pub fn copy_identity(&self, from: &Path) {
        let to = self.data_folder();
        std::fs::create_dir_all(to.join("pki")).expect("a folder in our own");
        for file in ["pki/ca.crt", "pki/ca.key", "secrets.key"] {
            let copied = std::fs::copy(from.join(file), to.join(file));
            copied.unwrap_or_else(|error| panic!("cannot copy {file} of {from:?}: {error}"));
        }
    }

    /// The address the plane listens on; the same after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder the plane keeps its data in.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The administrator's kubeconfig, which the plane has written.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.data_folder().join("kubeconfig")
    }

    /// The running plane. `None` after a kill or a stop.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Kills the plane with SIGKILL.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Starts the plane again on the same data and address, killing it first if it runs.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn restart(&mut self) {
        self.kill9();
        self.launch().await;
    }

    /// Asks the plane to end and answers how it did.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a plane that runs");
        process.end(Signal::TERM, STOP_DEADLINE).await
    }

    /// `kubectl` with `arguments` as the plane's administrator, not run yet.
    #[must_use]
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.args(arguments);
        command.env("KUBECONFIG", self.kubeconfig());
        // kubectl keeps what it has discovered under its home, by address.
        command.env("HOME", self.folder.path().join("home"));
        command
    }

    /// Runs `kubectl` and answers what it printed.
    ///
    /// # Errors
    /// When kubectl ends with a failure, or does not end.
    pub async fn try_kubectl(&self, arguments: &[&str]) -> Result<String, CommandError> {
        run(&self.kubectl_command(arguments), "").await.map(|output| output.stdout)
    }

    /// Runs `kubectl` and answers what it printed.
    ///
    /// # Panics
    /// When kubectl ends with a failure, or does not end.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs `kubectl apply` on objects written as YAML, and answers what it printed.
    ///
    /// # Panics
    /// When kubectl ends with a failure, or does not end.
    pub async fn apply(&self, yaml: &str) -> String {
        run(&self.kubectl_command(&["apply", "--filename", "-"]), yaml)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
            .stdout
    }

    async fn launch(&mut self) {
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--data-dir").arg(self.data_folder());
        command.args(["--listen", &self.address.to_string()]).args(&self.arguments);
        let process = Process::start("quarterdeck", &command, RunAs::Caller, &self.log());
        let process = self.process.insert(process);
        process.wait_for_line(&format!("https://{}", self.address), START_DEADLINE).await;
    }

    fn log(&self) -> PathBuf {
        Path::new(self.folder.path()).join("quarterdeck.log")
    }
}
