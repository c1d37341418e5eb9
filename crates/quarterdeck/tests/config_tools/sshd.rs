//! A real ssh server on loopback, for the user who runs the tests, with keys of its own.

use quarterdeck_testing::{process::Process, user::RunAs, wait::wait_for};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// How long it may take to listen.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Sshd {
    pub(crate) port: u16,
    pub(crate) user: String,
    folder: TempDir,
    _process: Process,
}

impl Sshd {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["host", "client"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(name)));
        }
        let user = run(Command::new("id").arg("--user").arg("--name")).trim().to_owned();
        if user == "root" {
            // Where it wants to be alone, of which it says so otherwise.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let here = folder.path().display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {here}/host\nAuthorizedKeysFile {here}/client.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        );
        fs::write(path("config"), config).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(path("config"));
        let process = Process::start("sshd", &command, RunAs::Caller, &path("log"));
        let sshd = Self { port, user, folder, _process: process };
        wait_for(DEADLINE, "sshd to listen", async || {
            TcpStream::connect(("127.0.0.1", port)).map(|_| ()).map_err(|_| sshd.log())
        })
        .await;
        sshd
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The key with which it lets one in.
    pub(crate) fn key(&self) -> String {
        self.read("client")
    }

    /// What it is known by.
    pub(crate) fn known_hosts(&self) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.read("host.pub"))
    }

    pub(crate) fn log(&self) -> String {
        self.read("log")
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
