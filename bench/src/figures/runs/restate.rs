//! Restate on this machine, with the worker of `bench/peers/restate-worker`.

use super::{Caller, Engine};
use crate::{Failure, machine};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use quarterdeck_testing::{port::free_address, process::Process, user::RunAs};
use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// How long the server and the worker may take to start.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Pause before the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// A running server and its worker; both end when it is dropped.
pub(super) struct Restate {
    _server: Process,
    _worker: Process,
    ingress: SocketAddr,
    version: String,
}

/// One connection to the ingress.
pub(super) struct Connection {
    requests: SendRequest<Full<Bytes>>,
}

impl Restate {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failure> {
        let peers = machine::peers()?.join("restate");
        let (node, ingress, admin, service) =
            (free_address(), free_address(), free_address(), free_address());
        let mut server = Command::new(peers.join("node_modules/.bin/restate-server"));
        server.args(["--no-logo", "--base-dir"]).arg(folder.join("restate"));
        let settings = [
            ("RESTATE_LISTEN_MODE", "tcp".to_owned()),
            ("RESTATE_BIND_IP", "127.0.0.1".to_owned()),
            ("RESTATE_DISABLE_TELEMETRY", "true".to_owned()),
            ("RESTATE_BIND_PORT", node.port().to_string()),
            ("RESTATE_INGRESS__BIND_PORT", ingress.port().to_string()),
            ("RESTATE_ADMIN__BIND_PORT", admin.port().to_string()),
            ("RUST_LOG", "warn".to_owned()),
        ];
        server.envs(settings);
        let mut server = start(&server, "Restate", &folder.join("restate.log"))?;
        let mut worker = Command::new(peers.join("worker/bin/restate-worker"));
        worker.arg(service.to_string());
        let mut worker = start(&worker, "the Restate worker", &folder.join("worker.log"))?;
        worker.wait_for_port(service, START_DEADLINE).await;
        server.wait_for_port(admin, START_DEADLINE).await;
        let deployment = format!("{{\"uri\":\"http://{service}\"}}");
        until_done(admin, "/deployments", &deployment).await?;
        server.wait_for_port(ingress, START_DEADLINE).await;
        // It elects leaders of its partitions at first; calls that come before them stall it.
        until_done(ingress, "/Steps/run", "1").await?;
        let version = std::fs::read_to_string(peers.join("installed-version"))?;
        let version = format!("Restate {}, a Rust worker", version.trim());
        Ok(Self { _server: server, _worker: worker, ingress, version })
    }

    /// Its name and version.
    pub(super) fn version(&self) -> String {
        self.version.clone()
    }
}

fn start(command: &Command, name: &str, log: &Path) -> Result<Process, Failure> {
    let program = Path::new(command.get_program());
    if !program.exists() {
        let program = program.display();
        return Err(format!("{program} is missing: run `make bench`, which installs it").into());
    }
    Ok(Process::start(name, command, RunAs::Caller, log))
}

/// Posts until the answer is a success.
async fn until_done(address: SocketAddr, path: &str, body: &str) -> Result<(), Failure> {
    let end = Instant::now() + START_DEADLINE;
    loop {
        let mut connection = Connection::open(address).await?;
        match connection.post(path, body.to_owned()).await {
            Err(_) if Instant::now() < end => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (requests, connection) = handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(Self { requests })
    }

    async fn post(&mut self, path: &str, body: String) -> Result<(), Failure> {
        let request = Request::post(path)
            .header(header::HOST, "restate")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))?;
        self.requests.ready().await?;
        let answer = self.requests.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(());
        }
        Err(format!("POST {path}: {status} {}", String::from_utf8_lossy(&body)).into())
    }
}

impl Engine for Restate {
    type Caller = Connection;

    async fn caller(&self) -> Result<Connection, Failure> {
        Connection::open(self.ingress).await
    }
}

impl Caller for Connection {
    async fn run(&mut self, steps: u32) -> Result<(), Failure> {
        self.post("/Steps/run", steps.to_string()).await
    }
}
