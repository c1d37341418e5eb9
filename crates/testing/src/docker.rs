//! A real Docker Engine of its own: its data, its socket and its bridge are under a temporary folder or carry a name of
//! their own, and it ends with all that it started, also when the test is killed. Must never touch another engine.
//!
//! It runs under a small supervisor in process and mount namespaces of their own. So it can be killed while containers
//! run on, as happens to a real one, and the kernel ends what is left with the supervisor.

use crate::{
    process::{Process, Signal, run},
    user::RunAs,
    wait::wait_for,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// The client of Debian's package, whatever else is called `docker` on the path.
const CLIENT: &str = "/usr/bin/docker";
/// The engine of Debian's package.
const ENGINE: &str = "/usr/sbin/dockerd";
/// Podman of Debian's package.
const PODMAN: &str = "/usr/bin/podman";
/// How long a start may take while other tests have the processors.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Bridges at a time: the third number of their networks' addresses.
const BRIDGES_MAX: u8 = 200;

/// The image that [`Docker::start`] brings along: busybox, with `sh`.
pub const BUSYBOX: &str = "quarterdeck.local/busybox:1";

/// Whose engine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Docker Engine.
    Docker,
    /// Podman's service that speaks Docker's API.
    Podman,
}

/// A container engine of its own.
#[derive(Debug)]
pub struct Docker {
    supervisor: Process,
    bridge: Option<String>,
    folder: TempDir,
    flavour: Flavour,
}

impl Docker {
    /// Starts a Docker Engine with the image [`BUSYBOX`] in it.
    ///
    /// # Panics
    /// When Docker is not installed or does not start.
    pub async fn start() -> Self {
        Self::start_as(Flavour::Docker).await
    }

    /// Starts a Docker Engine for a kubelet, which wants some containers to be killed last when memory is short: here they are as
    /// others, since not everybody who runs tests may ask for that.
    ///
    /// # Panics
    /// When Docker is not installed or does not start.
    pub async fn start_for_kubelet() -> Self {
        Self::start_with(Flavour::Docker, true).await
    }

    /// Starts either.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start_as(flavour: Flavour) -> Self {
        Self::start_with(flavour, false).await
    }

    async fn start_with(flavour: Flavour, for_kubelet: bool) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("quarterdeck-docker-")
            .tempdir()
            .expect("a temporary folder for an engine");
        let at = folder.path();
        let (command, bridge) = match flavour {
            Flavour::Docker => {
                let bridge = bridge();
                let runtime = if for_kubelet { runtime_for_kubelet(at) } else { String::new() };
                (docker(at, &bridge) + &runtime, Some(bridge))
            }
            Flavour::Podman => (podman(at), None),
        };
        // Started again whenever it ends, unless it is held. What it was when it was killed outright is in the way.
        let script = format!(
            "while :; do while [ -e {hold} ]; do sleep 0.05; done; rm -f {pid}; {command}; sleep 0.1; done",
            hold = at.join("hold").display(),
            pid = at.join("pid").display(),
        );
        let mut supervisor = Command::new("unshare");
        supervisor.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
        supervisor.arg(script);
        let supervisor = Process::start("the engine", &supervisor, RunAs::Caller, &at.join("log"));
        let mut engine = Self { supervisor, bridge, folder, flavour };
        engine.wait_until_up().await;
        engine.import_busybox().await;
        engine
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// A folder of the test's own, gone with the engine.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the client answers.
    ///
    /// # Panics
    /// When it fails.
    pub async fn client(&self, arguments: &[&str]) -> String {
        self.try_client(arguments).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the client answers, or why it fails.
    ///
    /// # Errors
    /// What it says.
    pub async fn try_client(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(CLIENT);
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(arguments);
        match run(&command, "").await {
            Ok(output) => Ok(output.stdout.trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub async fn wait_until_up(&mut self) {
        let socket = self.socket();
        self.supervisor
            .wait_until_ready(START_DEADLINE, "it answers", async |_| {
                let mut command = Command::new("curl");
                command
                    .args(["--silent", "--fail", "--unix-socket"])
                    .arg(&socket)
                    .arg("http://engine/_ping");
                run(&command, "").await
            })
            .await;
    }

    /// Kills the engine outright; what it runs goes on. It comes back at once, unless it is held.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn kill(&self) {
        let pid = self.id();
        let id = rustix::process::Pid::from_raw(pid).expect("it has an id");
        let _ = rustix::process::kill_process(id, Signal::KILL);
        wait_for(START_DEADLINE, "the engine to end", async || {
            let there = self.children().into_iter().any(|(other, _)| other == pid);
            if there { Err("it is there") } else { Ok(()) }
        })
        .await;
    }

    /// The process id of the engine.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn id(&self) -> i32 {
        let engine = match self.flavour {
            Flavour::Docker => "dockerd",
            Flavour::Podman => "podman",
        };
        let found = self.children().into_iter().find(|(_, name)| name == engine);
        found.expect("the engine runs").0
    }

    /// Keeps the engine from coming back, or lets it.
    ///
    /// # Panics
    /// When the file that says so cannot be written.
    pub fn hold(&self, held: bool) {
        let file = self.folder.path().join("hold");
        let done = if held { std::fs::write(file, "") } else { std::fs::remove_file(file) };
        done.expect("the engine is told");
    }

    /// Programs that the supervisor's shell has started.
    fn children(&self) -> Vec<(i32, String)> {
        let of = |id: u32| {
            let path = format!("/proc/{id}/task/{id}/children");
            let ids = std::fs::read_to_string(path).unwrap_or_default();
            ids.split_whitespace().filter_map(|id| id.parse::<u32>().ok()).collect::<Vec<_>>()
        };
        // unshare, the shell, and what that runs.
        let shells = of(self.supervisor.id()).into_iter().chain([self.supervisor.id()]);
        let name =
            |id: &u32| std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        shells
            .flat_map(of)
            .filter_map(|id| Some((i32::try_from(id).ok()?, name(&id).trim().to_owned())))
            .collect()
    }

    async fn import_busybox(&self) {
        let tree = self.folder.path().join("busybox");
        let script = format!(
            "set -e; mkdir -p {tree}/bin {tree}/tmp {tree}/etc; cp /bin/busybox {tree}/bin/; \
             for it in $(/bin/busybox --list); do [ $it = busybox ] || ln -sf busybox {tree}/bin/$it; done; \
             tar -C {tree} -c . | {CLIENT} --host unix://{socket} import -c 'ENV PATH=/bin' - {BUSYBOX}",
            tree = tree.display(),
            socket = self.socket().display(),
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        run(&command, "")
            .await
            .unwrap_or_else(|error| panic!("busybox cannot be imported: {error}"));
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.supervisor.kill();
        if let Some(bridge) = &self.bridge {
            let _ = Command::new("ip").args(["link", "delete", bridge]).status();
        }
    }
}

/// What of an engine's command has it run containers by way of a script that takes a wish out of what runc is told.
fn runtime_for_kubelet(at: &Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    const SCRIPT: &str = r#"#!/bin/sh
bundle=. before=
for word in "$@"; do [ "$before" = --bundle ] && bundle=$word; before=$word; done
[ -f "$bundle/config.json" ] && sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$bundle/config.json"
exec runc "$@"
"#;
    let script = at.join("runc-for-kubelet");
    std::fs::write(&script, SCRIPT)
        .and_then(|()| std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)))
        .unwrap_or_else(|error| panic!("cannot write {script:?}: {error}"));
    format!(" --add-runtime kubelet={} --default-runtime kubelet", script.display())
}

fn docker(at: &Path, bridge: &str) -> String {
    let at = at.display();
    // Ports are published by a program of Docker's, and no rule of the host's firewall is touched.
    format!(
        "{ENGINE} --data-root {at}/data --exec-root {at}/exec --host unix://{at}/docker.sock --pidfile {at}/pid \
         --bridge {bridge} --iptables=false --ip6tables=false --ip-masq=false --storage-driver overlay2 \
         --default-ulimit nofile=1024:1024 --log-level warn"
    )
}

fn podman(at: &Path) -> String {
    let configuration = at.join("containers.conf");
    let network = at.join("networks");
    std::fs::create_dir_all(&network).expect("a folder for networks");
    let text = format!(
        "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n\
         [engine]\nruntime=\"runc\"\ncgroup_manager=\"cgroupfs\"\nevents_logger=\"file\"\nlock_type=\"file\"\n\
         [network]\nnetwork_config_dir=\"{}\"\n",
        network.display()
    );
    std::fs::write(&configuration, text).expect("podman's configuration");
    let at = at.display();
    format!(
        "CONTAINERS_CONF={at}/containers.conf {PODMAN} --root {at}/data --runroot {at}/exec --tmpdir {at}/tmp \
         system service --time 0 unix://{at}/docker.sock"
    )
}

/// A bridge of its own, with a network that no other has.
fn bridge() -> String {
    let first = u8::try_from(std::process::id() % u32::from(BRIDGES_MAX)).unwrap_or(0);
    for step in 0..BRIDGES_MAX {
        let number = (first + step) % BRIDGES_MAX;
        let name = format!("qdt{number}");
        let ip = |arguments: &[&str]| {
            let done = Command::new("ip").args(arguments).output();
            done.is_ok_and(|output| output.status.success())
        };
        // Who makes it has it.
        if ip(&["link", "add", "name", &name, "type", "bridge"]) {
            let address = format!("172.29.{number}.1/24");
            assert!(ip(&["address", "add", &address, "dev", &name]), "{name} gets {address}");
            assert!(ip(&["link", "set", &name, "up"]), "{name} comes up");
            return name;
        }
    }
    panic!("no bridge can be made: is iproute2 installed, and is this root?");
}
