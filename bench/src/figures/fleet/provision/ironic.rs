//! Ironic on this machine: one process, no authentication, SQLite, hardware that does nothing.

use crate::{Failure, machine};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use quarterdeck_testing::{port::free_address, process::Process, user::RunAs};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};

const START_DEADLINE: Duration = Duration::from_secs(120);
/// How long all nodes may take to a state.
const LONGEST: Duration = Duration::from_secs(600);
/// Who asks at once; more made it no faster.
const CONNECTIONS: usize = 8;
/// Between two looks at all nodes, and two tries of one that was busy.
const LOOK: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(100);

/// A running service, gone when dropped.
pub(super) struct Ironic {
    _process: Process,
    address: SocketAddr,
    /// Its name and version.
    pub(super) version: String,
}

struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (requests, connection) = handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(Self(requests))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "ironic")
            .header(header::CONTENT_TYPE, "application/json")
            .header("X-OpenStack-Ironic-API-Version", "1.80")
            .body(Full::from(body))?;
        self.0.ready().await?;
        let answer = self.0.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Asks a node to move on, until it is not busy with something else.
    async fn ask(&mut self, node: &str, target: &str) -> Result<(), Failure> {
        let (path, body) =
            (format!("/v1/nodes/{node}/states/provision"), json!({"target": target}));
        let end = Instant::now() + LONGEST;
        loop {
            match self.send(Method::PUT, &path, Some(&body)).await? {
                (StatusCode::ACCEPTED, _) => return Ok(()),
                (StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE, _)
                    if Instant::now() < end =>
                {
                    sleep(AGAIN).await;
                }
                (status, why) => return Err(format!("{target} {node}: {status} {why}").into()),
            }
        }
    }
}

impl Ironic {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let folder = &folder.canonicalize()?;
        let programs = machine::peers()?.join("venv/bin");
        if !programs.join("ironic").exists() {
            let programs = programs.display();
            return Err(format!("no ironic in {programs}; run scripts/setup-bench.sh").into());
        }
        let (address, config) = (free_address(), folder.join("ironic.conf"));
        std::fs::write(&config, configuration(folder, address))?;
        let program = |name: &str| {
            let mut command = Command::new(programs.join(name));
            command.arg("--config-file").arg(&config);
            command
        };
        let made = program("ironic-dbsync").arg("create_schema").output()?;
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(format!("Ironic's schema could not be made: {why}").into());
        }
        let log = folder.join("ironic.log");
        let mut process = Process::start("Ironic", &program("ironic"), RunAs::Caller, &log);
        process.wait_for_port(address, START_DEADLINE).await;
        let version =
            machine::printed(&programs.join("ironic").display().to_string(), &["--version"]);
        let version = format!("Ironic {}", version.trim());
        let ironic = Self { _process: process, address, version };
        // The conductor comes a moment after the API.
        let end = Instant::now() + START_DEADLINE;
        while ironic.create("first").await.is_err() {
            if Instant::now() > end {
                return Err(format!("Ironic takes no node; see {}", log.display()).into());
            }
            sleep(LOOK).await;
        }
        Ok(ironic)
    }

    async fn create(&self, name: &str) -> Result<String, Failure> {
        let mut connection = Connection::open(self.address).await?;
        let node = json!({"driver": "fake-hardware", "name": name});
        let (status, node) = connection.send(Method::POST, "/v1/nodes", Some(&node)).await?;
        let uuid = node.get("uuid").and_then(Value::as_str);
        uuid.map(str::to_owned).ok_or_else(|| format!("{status} {node}").into())
    }

    /// New nodes, ready to be deployed.
    pub(super) async fn available(&self, count: usize) -> Result<Vec<String>, Failure> {
        let mut nodes = Vec::new();
        for number in 0..count {
            nodes.push(self.create(&format!("node-{number}")).await?);
        }
        self.all(&nodes, "manage", "manageable").await?;
        self.all(&nodes, "provide", "available").await?;
        Ok(nodes)
    }

    /// Nodes a second that become active.
    pub(super) async fn deploy(&self, nodes: &[String]) -> Result<f64, Failure> {
        let begin = Instant::now();
        self.all(nodes, "active", "active").await?;
        #[expect(clippy::cast_precision_loss, reason = "nodes are few as numbers go")]
        Ok(nodes.len() as f64 / begin.elapsed().as_secs_f64())
    }

    /// Asks all nodes to move on, and waits until they have. Each question costs it, so all are looked at in one.
    async fn all(&self, nodes: &[String], target: &str, state: &str) -> Result<(), Failure> {
        let mut asking = JoinSet::new();
        for some in nodes.chunks(nodes.len().div_ceil(CONNECTIONS).max(1)) {
            let (some, target, address) = (some.to_vec(), target.to_owned(), self.address);
            asking.spawn(async move {
                let mut connection = Connection::open(address).await?;
                for node in &some {
                    connection.ask(node, &target).await?;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(asked) = asking.join_next().await {
            asked??;
        }
        let (path, end) =
            (format!("/v1/nodes?provision_state={state}&fields=uuid"), Instant::now() + LONGEST);
        loop {
            let mut connection = Connection::open(self.address).await?;
            let (_, found) = connection.send(Method::GET, &path, None).await?;
            let there = found.get("nodes").and_then(Value::as_array).map_or(0, Vec::len);
            if there >= nodes.len() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{there} of {} nodes became {state}", nodes.len()).into());
            }
            sleep(LOOK).await;
        }
    }
}

/// As its own documentation has it for a service that stands alone, with nothing left on that takes time by itself.
fn configuration(folder: &Path, address: SocketAddr) -> String {
    let (folder, host, port) = (folder.display(), address.ip(), address.port());
    format!(
        "[DEFAULT]
auth_strategy = noauth
rpc_transport = none
host = bench
my_ip = {host}
state_path = {folder}
log_file = {folder}/ironic-service.log
enabled_hardware_types = fake-hardware
enabled_bios_interfaces = fake
enabled_boot_interfaces = fake
enabled_console_interfaces = no-console
enabled_deploy_interfaces = fake
enabled_inspect_interfaces = no-inspect
enabled_management_interfaces = fake
enabled_network_interfaces = noop
enabled_power_interfaces = fake
enabled_raid_interfaces = fake
enabled_rescue_interfaces = no-rescue
enabled_storage_interfaces = noop
enabled_vendor_interfaces = no-vendor
[api]
host_ip = {host}
port = {port}
api_workers = 1
[conductor]
automated_clean = false
sync_power_state_interval = 0
[database]
connection = sqlite:///{folder}/ironic.db
"
    )
}
