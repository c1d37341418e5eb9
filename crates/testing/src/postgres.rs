//! A real PostgreSQL server in a temporary folder, which can be killed and restarted at will.
//! Must never touch a server that it did not start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::port::free_address;
use crate::process::Process;
use crate::user::RunAs;

/// The oldest version that Quarterdeck promises to work with.
const VERSION_MIN: u32 = 15;

/// How long a start may take: well under a second by itself, longer when it has to recover from a
/// kill while other tests have the disk.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long an immediate shutdown may take before the server is killed instead.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// The superuser that the server is made with; anyone on loopback may log in as it.
const USER: &str = "quarterdeck";

/// A PostgreSQL server of its own, gone when dropped.
#[derive(Debug)]
pub struct Postgres {
    /// `None` between a kill and a restart.
    process: Option<Process>,
    binaries: PathBuf,
    address: SocketAddr,
    settings: Vec<(String, String)>,
    folder: TempDir,
}

impl Postgres {
    /// Starts a server as safe as PostgreSQL is by default: what is committed is on disk.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with `settings` (as in `postgresql.conf`) over the defaults, such as
    /// `("fsync", "off")` for a test that kills no server and wants speed.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let binaries = binaries();
        let folder = tempfile::Builder::new()
            .prefix("quarterdeck-postgres-")
            .tempdir()
            .expect("a temporary folder for PostgreSQL");
        RunAs::Unprivileged.give(folder.path());
        create_cluster(&binaries, folder.path());
        let settings =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut server =
            Self { process: None, binaries, address: free_address(), settings, folder };
        server.launch().await;
        server
    }

    /// The address of the database `postgres`, which is empty at first.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Creates an empty database and answers its address.
    ///
    /// # Panics
    /// When the server refuses, as when the database is already there.
    pub async fn create_database(&self, name: &str) -> String {
        self.psql(&self.url(), ["--command", &format!("CREATE DATABASE \"{name}\"")]).await;
        self.url_of(name)
    }

    /// Creates a database with what is in the file, as `pg_dump` writes it, and answers its address.
    ///
    /// # Panics
    /// When the server refuses some of it.
    pub async fn create_database_from(&self, name: &str, dump: &Path) -> String {
        let url = self.create_database(name).await;
        self.psql(&url, ["--file", dump.to_str().expect("a path in UTF-8")]).await;
        url
    }

    async fn psql(&self, url: &str, what: [&str; 2]) {
        let output = tokio::process::Command::new(self.binaries.join("psql"))
            .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", url])
            .args(what)
            .output()
            .await
            .expect("psql runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "psql {what:?} on {url}: {said}");
    }

    /// The loopback address the server listens on; the same after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills the server and all its backends with SIGKILL: the nearest thing to a power cut.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts the server again on the same files and port, killing it first if it runs.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.kill9();
        self.launch().await;
    }

    async fn launch(&mut self) {
        let mut command = Command::new(self.binaries.join("postgres"));
        command.arg("-D").arg(data_folder(self.folder.path())).current_dir(self.folder.path());
        let port = self.address.port().to_string();
        let fixed = [
            ("listen_addresses", "127.0.0.1"),
            ("port", port.as_str()),
            // The default folder for it does not exist on every machine, and TCP is what we test.
            ("unix_socket_directories", ""),
            ("max_connections", "200"),
        ];
        let chosen = self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in fixed.into_iter().chain(chosen) {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        let log = self.folder.path().join("postgres.log");
        let mut process = Process::start("PostgreSQL", &command, RunAs::Unprivileged, &log);
        process
            .wait_for_line("database system is ready to accept connections", START_DEADLINE)
            .await;
        self.process = Some(process);
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}@{}/{database}", self.address)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        // An immediate shutdown, not a kill: a killed server leaves a System V shared memory
        // segment behind, and the machine has only so many.
        process.signal(Signal::QUIT);
        let end = std::time::Instant::now() + STOP_DEADLINE;
        while process.exit_status().is_none() && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn data_folder(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn create_cluster(binaries: &Path, folder: &Path) {
    let output = Command::new("setpriv")
        .args(RunAs::Unprivileged.setpriv_arguments())
        .arg("--")
        .arg(binaries.join("initdb"))
        .arg("--pgdata")
        .arg(data_folder(folder))
        .args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale"])
        // Nothing is worth saving yet; the server itself still syncs what is committed.
        .arg("--no-sync")
        .current_dir(folder)
        .output()
        .expect("setpriv runs initdb");
    assert!(
        output.status.success(),
        "initdb failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The folder of the oldest PostgreSQL installed that we promise to work with: Debian keeps them
/// side by side, off the PATH.
fn binaries() -> PathBuf {
    let root = Path::new("/usr/lib/postgresql");
    std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| *version >= VERSION_MIN)
        .min()
        .map(|version| root.join(version.to_string()).join("bin"))
        .unwrap_or_else(|| {
            panic!("no PostgreSQL {VERSION_MIN} or newer under {root:?}: run `make setup`")
        })
}
