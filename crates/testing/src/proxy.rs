//! A TCP proxy before a real server, for networks that fail: all connections are lost and none can
//! be made, or one is lost at exactly the moment that a test is about. Must never change a byte.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Most bytes passed on at once.
const CHUNK: usize = 64 << 10;

/// What is lost with a connection, told by some bytes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// What the client sends with these bytes never arrives.
    Request(&'static [u8]),
    /// It arrives, and the answer, which has the second bytes, is made but does not arrive.
    Answer(&'static [u8], &'static [u8]),
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    open: watch::Sender<bool>,
    next: Mutex<Option<Loss>>,
    lost: AtomicUsize,
}

/// A proxy on a loopback port, gone when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy before `server`.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port");
        let address = listener.local_addr().expect("the address of a bound port");
        let shared = Arc::new(Shared {
            server,
            open: watch::Sender::new(true),
            next: Mutex::default(),
            lost: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    /// Where to connect to instead of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with the proxy's address instead of the server's.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        url.replace(&self.shared.server.to_string(), &self.address.to_string())
    }

    /// Loses all connections, and lets none be made until [`Self::mend`].
    pub fn cut(&self) {
        self.shared.open.send_replace(false);
    }

    /// Lets connections be made again.
    pub fn mend(&self) {
        self.shared.open.send_replace(true);
    }

    /// Loses one connection, once `loss` comes by on any.
    pub fn lose(&self, loss: Loss) {
        *self.shared.next() = Some(loss);
    }

    /// How often [`Self::lose`] came true.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Shared {
    fn next(&self) -> MutexGuard<'_, Option<Loss>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut open = shared.open.subscribe();
            if !*open.borrow_and_update() {
                return;
            }
            tokio::select! {
                _ = open.wait_for(|open| !*open) => {}
                _ = carry(client, &shared) => {}
            }
        });
    }
}

/// What has come by in one direction, as far as it is needed to find bytes that came in two pieces.
#[derive(Default)]
struct Seen(Vec<u8>);

impl Seen {
    fn has(&mut self, chunk: &[u8], wanted: &[u8]) -> bool {
        self.0.extend_from_slice(chunk);
        let found = self.0.windows(wanted.len()).any(|window| window == wanted);
        let rest = self.0.len().saturating_sub(wanted.len().saturating_sub(1));
        self.0.drain(..rest);
        found
    }
}

/// Carries bytes both ways until either side ends, or the connection is to be lost.
async fn carry(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut server = TcpStream::connect(shared.server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut up, mut down) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut sent, mut answered) = (Seen::default(), Seen::default());
    let mut withheld: Option<&'static [u8]> = None;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let chunk = up.get(..read?).unwrap_or_default();
                if chunk.is_empty() {
                    return Ok(());
                }
                let next = *shared.next();
                match next {
                    Some(Loss::Request(wanted)) if sent.has(chunk, wanted) => {
                        *shared.next() = None;
                        shared.lost.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    Some(Loss::Answer(wanted, answer)) if sent.has(chunk, wanted) => {
                        *shared.next() = None;
                        withheld = Some(answer);
                    }
                    _ => {}
                }
                server.write_all(chunk).await?;
            }
            read = server.read(&mut down) => {
                let chunk = down.get(..read?).unwrap_or_default();
                if chunk.is_empty() {
                    return Ok(());
                }
                match withheld {
                    None => client.write_all(chunk).await?,
                    Some(answer) if answered.has(chunk, answer) => {
                        shared.lost.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    Some(_) => {}
                }
            }
        }
    }
}
