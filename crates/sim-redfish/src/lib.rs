//! The BMCs of a simulated fleet over real HTTP and HTTPS: each at an address of its own on the loopback network, all of
//! them behind one listener. A plane, or any other client of Redfish, meets them as it would meet those of a data
//! centre, with everything between them that real ones have: sockets, TLS, connections that break.
//!
//! What a BMC shows and does is decided in `quarterdeck-sim`; here is only how it travels. Nothing outside of this
//! machine can reach it: the listener takes what comes by the loopback device alone.

mod exchange;
mod tls;

pub use tls::{Authority, AuthorityError};

use exchange::Bmc;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use quarterdeck_sim::Simulation;
use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::debug;

/// The device that everything within one machine goes through.
const LOOPBACK: &[u8] = b"lo";
/// Connections that wait to be taken: many actions begin at the same moment.
const BACKLOG: u32 = 4_096;
/// Connections at once: a plane has 512 requests in flight, and keeps each connection for some seconds.
const CONNECTIONS_MAX: usize = 16_384;
/// A client says within this what it speaks, and then what it wants.
const GREETING: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Wait after a failed accept (out of file descriptors): others must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// First byte of a TLS connection: the record type of a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// Listens for all BMCs at once, at a port of each of their addresses; port 0 picks a free one.
///
/// # Errors
/// When the port is taken at any address, or the system keeps the device from this user.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    // All addresses, of one device: nothing that comes from elsewhere gets here.
    socket.bind_device(Some(LOOPBACK))?;
    socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.listen(BACKLOG)
}

/// Serves the BMCs of a fleet, until its future is dropped. They speak HTTPS, with certificates of that authority, and
/// plain HTTP, as the client begins.
pub async fn serve(listener: TcpListener, simulation: Simulation, authority: Authority) {
    let authority = Arc::new(authority);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    loop {
        // It is never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _client)) => stream,
            Err(error) => {
                debug!(%error, "no connection could be taken");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (simulation, authority) = (simulation.clone(), authority.clone());
        open.spawn(async move {
            if let Err(error) = converse(stream, simulation, &authority).await {
                debug!(%error, "a connection to a simulated BMC ended");
            }
            drop(place);
        });
        while open.try_join_next().is_some() {}
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Speaks with one client, at the BMC that it has called.
async fn converse(
    stream: TcpStream,
    simulation: Simulation,
    authority: &Authority,
) -> Result<(), Failure> {
    let IpAddr::V4(address) = stream.local_addr()?.ip() else { return Ok(()) };
    // Where nobody is, the connection ends before a byte: one listener cannot leave a call unanswered.
    let name = simulation.bmc_at(address).filter(|name| !simulation.is_away(name));
    let Some(name) = name else { return Ok(()) };
    stream.set_nodelay(true)?;
    let mut first = [0];
    timeout(GREETING, stream.peek(&mut first)).await??;
    let times = simulation.certificate_times(&name, jiff::Timestamp::now());
    let bmc = Bmc::new(simulation, name);
    if first != [HANDSHAKE] {
        return answer(TokioIo::new(stream), bmc).await;
    }
    let acceptor = authority.acceptor(address, bmc.name(), times)?;
    let stream = timeout(GREETING, acceptor.accept(stream)).await??;
    answer(TokioIo::new(stream), bmc).await
}

async fn answer<S>(stream: S, bmc: Bmc) -> Result<(), Failure>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    Ok(server.serve_connection(stream, bmc).await?)
}
