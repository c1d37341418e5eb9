//! A real Prometheus that scrapes one server every second.

use std::{net::SocketAddr, process::Command, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{port::free_address, process::Process, user::RunAs, wait::wait_for};

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
    /// Starts one that asks `target` for `/metrics`, and waits until it has.
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
        process.wait_for_port(address, START_DEADLINE).await;
        let prometheus = Self { _process: process, address, _folder: folder };
        wait_for(START_DEADLINE, "Prometheus to have scraped its target", async || {
            let answer = prometheus.ask("up == 1").await.map_err(|error| error.to_string())?;
            if answer.contains("\"value\"") { Ok(()) } else { Err(answer) }
        })
        .await;
        prometheus
    }

    /// What it answers to a query, with its head.
    async fn ask(&self, query: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        let request = format!(
            "GET /api/v1/query?query={} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            query.replace(' ', "%20").replace('=', "%3D"),
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
