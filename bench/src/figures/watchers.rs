//! One event to 10,000 watchers, each on a TLS connection of its own, beside the same bytes written
//! to 10,000 such connections without a plane behind them, and to 10,000 bare sockets. The readers
//! are in a process of their own, as file descriptors are limited per process; they read all
//! in the same way. Time runs until the last of them has the event.

use crate::{
    Failure,
    client::Trust,
    fleet,
    plane::Plane,
    report::{Aim, Quantity, Row},
    samples::Samples,
};
use quarterdeck_api::pki;
use quarterdeck_store::{Sqlite, Store};
use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    io::{BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command},
    sync::{Semaphore, broadcast},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

const WATCHERS: usize = 10_000;
const ROUNDS: usize = 15;
const WARM_UP: usize = 3;
/// Connections being made at a time, so that handshakes do not time out.
const CONNECTING: usize = 64;
/// Wait after a failed accept, before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(120);

/// Asks the binary to be the readers of an address.
pub(crate) const READ: &str = "--read";

/// What every event ends with on the wire, chunk framing included; no event has it within.
const END: &[u8] = b"}\n\r\n";

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let store = Store::open(Arc::new(Sqlite::open(folder)?)).await?;
    store.commit(vec![fleet::put(0, 0)]).await?;
    let plane = Plane::start(store.clone(), folder).await?;
    let mut readers = Readers::start(plane.address, folder, "tls").await?;
    let mut ours = Samples::default();
    let mut event = 0;
    for round in 0..ROUNDS + WARM_UP {
        let change = fleet::put(0, 1 + round);
        event = change.size_bytes();
        let begin = Instant::now();
        store.commit(vec![change]).await?;
        let time = readers.all_have_it().await? - begin;
        if round >= WARM_UP {
            ours.push(time);
        }
    }
    drop(readers);
    let tls = peer(Some(plane.tls.clone()), folder, event).await?;
    let bare = peer(None, folder, event).await?;
    let row = |peer: &str, theirs: &Samples| Row {
        what: format!(
            "one event of {:.1} KB to 10,000 watchers on 10,000 TLS connections, committed to received by the last, median of {ROUNDS}",
            event as f64 / 1e3
        ),
        ours: Quantity::seconds(ours.median()),
        peer: peer.into(),
        theirs: Quantity::seconds(theirs.median()),
        aim: Aim::AtMost(2.0),
    };
    Ok(vec![
        row("writing the same bytes to 10,000 TLS connections", &tls),
        row("writing the same bytes to 10,000 sockets without TLS", &bare),
    ])
}

/// Writes as many bytes to as many connections, from one task for each, woken by one channel.
async fn peer(
    tls: Option<Arc<rustls::ServerConfig>>,
    folder: &Path,
    event: usize,
) -> Result<Samples, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let how = if tls.is_some() { "tls" } else { "bare" };
    let (events, _) = broadcast::channel(4);
    let sender = events.clone();
    let accepting = tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                // File descriptors of the round before are still being closed.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (tls, events) = (tls.clone(), sender.subscribe());
            tokio::spawn(async move {
                socket.set_nodelay(true)?;
                match tls {
                    Some(tls) => {
                        write_all(TlsAcceptor::from(tls).accept(socket).await?, events).await
                    }
                    None => write_all(socket, events).await,
                }
            });
        }
    });
    let mut readers = Readers::start(address, folder, how).await?;
    let mut bytes = vec![b'x'; event];
    bytes.extend_from_slice(END);
    let bytes: Arc<[u8]> = bytes.into();
    let mut samples = Samples::default();
    for round in 0..ROUNDS + WARM_UP {
        let begin = Instant::now();
        events.send(bytes.clone())?;
        let time = readers.all_have_it().await? - begin;
        if round >= WARM_UP {
            samples.push(time);
        }
    }
    // With the last sender gone every connection ends, and its file descriptor is free for the next.
    accepting.abort();
    Ok(samples)
}

/// Answers the reader's request, then writes what comes.
async fn write_all(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut events: broadcast::Receiver<Arc<[u8]>>,
) -> Result<(), Failure> {
    let mut request = [0; 1_024];
    let _ = stream.read(&mut request).await?;
    stream.write_all(END).await?;
    stream.flush().await?;
    while let Ok(event) = events.recv().await {
        stream.write_all(&event).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// The process that reads.
struct Readers {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Readers {
    /// Connects all of them and waits until each has its first bytes.
    async fn start(address: SocketAddr, folder: &Path, how: &str) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([READ, &address.to_string(), how]).arg(folder);
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let out = process.stdout.take().ok_or("the readers have no output")?;
        let mut readers = Self { process, lines: BufReader::new(out).lines() };
        readers.all_have_it().await?;
        Ok(readers)
    }

    /// When the last of them had the next event.
    async fn all_have_it(&mut self) -> Result<Instant, Failure> {
        match timeout(DEADLINE, self.lines.next_line()).await {
            Ok(Ok(Some(_))) => Ok(Instant::now()),
            Ok(Ok(None)) => {
                Err(format!("the readers ended: {:?}", self.process.wait().await).into())
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(format!("not all watchers had the event after {DEADLINE:?}").into()),
        }
    }
}

/// The readers: prints a line whenever all of them have one more event.
pub(crate) async fn read(address: &str, how: &str, folder: &Path) -> Result<(), Failure> {
    let address: SocketAddr = address.parse()?;
    let authority = pki::Authority::open(&folder.join("pki"))?;
    let trust = Trust::new(authority.certificate(), &authority.admin()?)?;
    let counted = Arc::new(AtomicUsize::new(0));
    let places = Arc::new(Semaphore::new(CONNECTING));
    let mut reading = tokio::task::JoinSet::new();
    for _ in 0..WATCHERS {
        let place = places.clone().acquire_owned().await?;
        let (trust, counted, bare) = (trust.clone(), counted.clone(), how == "bare");
        reading.spawn(async move {
            if bare {
                follow(TcpStream::connect(address).await?, &counted, place).await
            } else {
                follow(trust.connect(address).await?, &counted, place).await
            }
        });
    }
    match reading.join_next().await {
        Some(ended) => ended?,
        None => Ok(()),
    }
}

/// Asks for a watch and counts what comes; `place` is given back when the first event is there.
async fn follow<P>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    counted: &AtomicUsize,
    place: P,
) -> Result<(), Failure> {
    let request = "GET /apis/inventory.quarterdeck.dev/v1alpha1/servers?watch=true HTTP/1.1\r\n\
        host: plane\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut buffer = vec![0; 8_192];
    let mut tail = Vec::new();
    let mut place = Some(place);
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err("a watch ended".into());
        }
        tail.extend_from_slice(buffer.get(..read).unwrap_or_default());
        tail.drain(..tail.len().saturating_sub(END.len()));
        if tail == END {
            drop(place.take());
            tail.clear();
            let all = counted.fetch_add(1, Ordering::AcqRel) + 1;
            if all.is_multiple_of(WATCHERS) {
                println!("{all}");
            }
        }
    }
}
