//! A real Prometheus that scrapes one server every second.

use std::{net::SocketAddr, process::Command, time::Duration};

use tempfile::TempDir;

use crate::{port::free_address, process::Process, user::RunAs};

/// How long a start may take on a loaded machine.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A Prometheus, gone when dropped.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that asks `target` for `/metrics`.
    ///
    /// # Panics
    /// When Prometheus is not installed or does not start.
    pub async fn start(target: SocketAddr) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("quarterdeck-prometheus-")
            .tempdir()
            .expect("a temporary folder for Prometheus");
        let (address, file) = (free_address(), folder.path().join("prometheus.yml"));
        let settings = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n  - job_name: test\n    static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(&file, settings).expect("a file in our own folder");
        let mut command = Command::new("/usr/bin/prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let log = folder.path().join("prometheus.log");
        let mut process = Process::start("Prometheus", &command, RunAs::Caller, &log);
        process.wait_for_line("Server is ready to receive web requests", START_DEADLINE).await;
        Self { _process: process, address, _folder: folder }
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
