//! `quarterdeck agent`: reads flags and runs the agent until it is asked to stop.

use crate::{command::Error, logs, settings::LogFormat};
use quarterdeck_agent::{ContainerSettings, Settings};
use std::path::PathBuf;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

/// Flags of `agent`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:
  quarterdeck machine join-token web-1 -n shop > token      # where you are; the token is good once, for an hour
  quarterdeck agent --join-token-file token --server https://plane.example.com:6443 --ca-file ca.crt   # on the machine

Once it has joined it needs none of the three any more: it keeps its own key and certificate in its data folder.")]
pub(crate) struct Flags {
    /// Folder of the agent: its key, its certificate, what it was asked to do
    #[arg(
        long,
        value_name = "DIR",
        env = "QUARTERDECK_AGENT_DATA_DIR",
        default_value = "/var/lib/quarterdeck-agent"
    )]
    data_dir: PathBuf,
    /// Where the plane is [default: as when it joined]
    #[arg(long, value_name = "https://HOST:PORT", env = "QUARTERDECK_AGENT_SERVER")]
    server: Option<String>,
    /// Certificate of the plane's authority, pki/ca.crt in its data folder [default: as when it joined]
    #[arg(long, value_name = "FILE", env = "QUARTERDECK_AGENT_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// File with a token of `quarterdeck machine join-token`; needed until it has joined, and to join anew with a new one
    #[arg(long, value_name = "FILE", env = "QUARTERDECK_AGENT_JOIN_TOKEN_FILE")]
    join_token_file: Option<PathBuf>,
    /// Where the files of the host are, for an agent in a container
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// What restarts the operating system
    #[arg(long, value_name = "COMMAND", default_value = "systemctl reboot")]
    reboot_command: String,
    /// Socket of the Docker Engine, or of Podman's service that speaks its API
    #[arg(long, value_name = "SOCKET", default_value = "/run/docker.sock")]
    engine_socket: PathBuf,
    /// Folder in memory for the Secrets of containers
    #[arg(long, value_name = "DIR", default_value = "/dev/shm/quarterdeck-agent")]
    secrets_dir: PathBuf,
    /// A path of the host that containers may mount, with :rw if they may write there; may be repeated
    #[arg(long, value_name = "PATH[:rw]")]
    allow_host_path: Vec<String>,
    /// A capability of the kernel that containers may add; may be repeated
    #[arg(long, value_name = "CAPABILITY")]
    allow_capability: Vec<String>,
    /// Containers may have the network of the host
    #[arg(long)]
    allow_host_network: bool,
    /// What is logged: a level, or filters
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter)]
    log: String,
}

impl Flags {
    /// What containers may do.
    fn containers(&self) -> ContainerSettings {
        let path = |text: &String| match text.strip_suffix(":rw") {
            Some(path) => (path.into(), true),
            None => (text.into(), false),
        };
        ContainerSettings {
            engine: self.engine_socket.clone(),
            secrets: self.secrets_dir.clone(),
            host_paths: self.allow_host_path.iter().map(path).collect(),
            capabilities: self.allow_capability.clone(),
            host_network: self.allow_host_network,
        }
    }
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Runs it.
pub(crate) fn run(flags: Flags) -> Result<(), Error> {
    let containers = flags.containers();
    let Flags { data_dir, server, ca_file, join_token_file, root, reboot_command, log, .. } = flags;
    logs::start(EnvFilter::new(log), LogFormat::Text);
    let reboot_command = reboot_command.split_whitespace().map(str::to_owned).collect();
    let settings =
        Settings { data_dir, server, ca_file, join_token_file, root, reboot_command, containers };
    // One thread: it shall not be noticed.
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::System)?;
    runtime.block_on(async {
        let (stop, stopping) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::System)?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.send_replace(true);
        });
        Ok(quarterdeck_agent::run(settings, stopping).await?)
    })
}
