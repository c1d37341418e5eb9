//! A real load balancer (HAProxy) before several replicas: TCP, in turns, with their `/readyz` asked all the
//! time. Must never end TLS: clients speak to the replica itself.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::{port::free_address, process::Process, user::RunAs};

/// How long a start may take on a loaded machine.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A load balancer, gone when dropped.
#[derive(Debug)]
pub struct Balancer {
    process: Process,
    address: SocketAddr,
    control: PathBuf,
    replicas: usize,
    _folder: TempDir,
}

impl Balancer {
    /// Starts one before servers that speak HTTPS.
    ///
    /// # Panics
    /// When HAProxy is not installed or does not start.
    pub async fn start(servers: &[SocketAddr]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("quarterdeck-balancer-")
            .tempdir()
            .expect("a temporary folder for the balancer");
        let (address, control) = (free_address(), folder.path().join("control"));
        let mut settings = format!(
            "global\n  stats socket {} mode 600 level admin\n\
             defaults\n  mode tcp\n  timeout connect 1s\n  timeout check 1s\n\
             \x20 timeout client 1h\n  timeout server 1h\n  retries 1\n  option redispatch\n\
             frontend plane\n  bind {address}\n  default_backend replicas\n\
             backend replicas\n  balance roundrobin\n  option httpchk\n\
             \x20 http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host plane\n\
             \x20 http-check expect status 200\n\
             \x20 default-server check check-ssl verify none inter 250ms fall 2 rise 1 on-marked-down shutdown-sessions\n",
            control.display()
        );
        for (at, server) in servers.iter().enumerate() {
            // Text in memory can always be written to.
            let _ = writeln!(settings, "  server r{at} {server}");
        }
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, settings).expect("a file in our own folder");
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-db").arg("-f").arg(&file);
        let log = folder.path().join("haproxy.log");
        let mut process = Process::start("HAProxy", &command, RunAs::Caller, &log);
        process.wait_for_port(address, START_DEADLINE).await;
        Self { process, address, control, replicas: servers.len(), _folder: folder }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loses every connection to that replica; new ones are made as before.
    pub async fn cut(&self, replica: usize) {
        self.say(&format!("shutdown sessions server replicas/r{replica}")).await;
    }

    /// Sends nobody to that replica any more, and whoever is there elsewhere.
    pub async fn drain(&self, replica: usize) {
        self.say(&format!("set server replicas/r{replica} state maint")).await;
        self.cut(replica).await;
    }

    /// Sends clients there again.
    pub async fn fill(&self, replica: usize) {
        self.say(&format!("set server replicas/r{replica} state ready")).await;
    }

    /// How many replicas clients are sent to: those that say they are ready.
    pub async fn ready(&self) -> usize {
        let state = self.say("show servers state replicas").await;
        // Fields: see "show servers state" in HAProxy's management guide; 2 is a server that is up.
        let up = |line: &&str| line.split_whitespace().nth(5) == Some("2");
        state.lines().filter(up).count().min(self.replicas)
    }

    /// Gives a command on the control socket, and answers what is said.
    async fn say(&self, command: &str) -> String {
        let talk = async {
            let mut control = UnixStream::connect(&self.control).await?;
            control.write_all(format!("{command}\n").as_bytes()).await?;
            let mut answer = String::new();
            control.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        talk.await.unwrap_or_else(|error| {
            panic!("HAProxy (pid {}) does not take {command:?}: {error}", self.process.id())
        })
    }
}
