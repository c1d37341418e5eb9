//! Simulated agents: each is a certificate, a TLS connection from a loopback address and one stream, which says that it lives, takes its tasks
//! and begins anew when it is lost. Or no more than the connection.

use super::server::nanos;
use crate::{Failure, client::Trust, talk::say};
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quarterdeck_api::{bench::AgentKey, pki};
use quarterdeck_model::{
    agent::{
        Frames, FromAgent, Heartbeat, Hello, PROTOCOL, STREAM_PATH, TaskReport, ToAgent, encode,
    },
    kinds::{AgentTaskPhase, AgentTaskStatus},
};
use serde_json::json;
use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, stdin},
    sync::{Semaphore, mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

/// Asks the binary to be agents.
pub(crate) const HOSTS: &str = "--agents-hosts";
/// Handshakes at a time at the start, so that none times out.
const CONNECTING: usize = 64;
/// Heartbeats between two signs that all were taken in.
const BURST: usize = 64;
/// How long a change may take to get here.
const CHANGE: Duration = Duration::from_secs(10);

/// What they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Agents,
    Bare,
}

impl How {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Bare => "bare",
        }
    }
}

/// The name of a machine, and its uid.
pub(super) fn name(number: usize) -> String {
    format!("m-{number:06}")
}

/// What all share.
struct All {
    address: SocketAddr,
    connected: AtomicUsize,
    changed: watch::Sender<()>,
    /// How often all were told to lose their streams.
    storms: watch::Sender<u64>,
    /// Until when they talk without end.
    talk: watch::Sender<Option<Instant>>,
    heartbeats: AtomicUsize,
    latencies: Mutex<Vec<f64>>,
}

/// The process.
pub(crate) async fn run(
    folder: &Path,
    (address, how): (&str, &str),
    (first, count): (usize, usize),
) -> Result<(), Failure> {
    let authority = pki::Authority::open(&folder.join("pki"))?;
    let key = AgentKey::new()?;
    let all = Arc::new(All {
        address: address.parse()?,
        connected: AtomicUsize::new(0),
        changed: watch::Sender::new(()),
        storms: watch::Sender::new(0),
        talk: watch::Sender::new(None),
        heartbeats: AtomicUsize::new(0),
        latencies: Mutex::default(),
    });
    let mut hosts = Vec::with_capacity(count);
    for number in first..first + count {
        let name = name(number);
        let identity = key.certified(&authority, ("default", &name, &name))?;
        hosts.push((number, Trust::for_agents(authority.certificate(), &identity)?));
    }
    say(&json!({"agents": count}))?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let begun = Instant::now();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("connect", _) => {
                let places = Arc::new(Semaphore::new(CONNECTING));
                for (number, trust) in std::mem::take(&mut hosts) {
                    let (all, places) = (all.clone(), places.clone());
                    match how {
                        "bare" => drop(tokio::spawn(hold(all, number, trust, places))),
                        _ => drop(tokio::spawn(live(all, number, trust, places))),
                    }
                }
                all.connected(count).await?;
                say(&json!({"seconds": begun.elapsed().as_secs_f64()}))?;
            }
            ("latencies", _) => {
                sleep(CHANGE).await;
                let found = std::mem::take(&mut *all.latencies());
                say(&json!({"latencies": found}))?;
            }
            ("storm", _) => {
                // All at once, whenever each sees that.
                all.connected.store(0, Ordering::Release);
                all.storms.send_modify(|number| *number += 1);
                all.connected(count).await?;
                say(&json!({"seconds": begun.elapsed().as_secs_f64()}))?;
            }
            ("talk", seconds) => {
                let length = Duration::from_secs(seconds.parse()?);
                all.heartbeats.store(0, Ordering::Release);
                all.talk.send_replace(Some(begun + length));
                sleep(length).await;
                say(&json!({"heartbeats": all.heartbeats.load(Ordering::Acquire)}))?;
            }
            _ => break,
        }
    }
    Ok(())
}

impl All {
    fn latencies(&self) -> std::sync::MutexGuard<'_, Vec<f64>> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_more(&self) {
        self.connected.fetch_add(1, Ordering::AcqRel);
        self.changed.send_replace(());
    }

    /// Waits until all are.
    async fn connected(&self, count: usize) -> Result<(), Failure> {
        let mut changed = self.changed.subscribe();
        while self.connected.load(Ordering::Acquire) < count {
            changed.changed().await?;
        }
        Ok(())
    }

    /// The loopback address that an agent calls from: each has its own, as hosts do.
    fn from(number: usize) -> Ipv4Addr {
        let [.., high, middle, low] = u32::try_from(number).unwrap_or(0).to_be_bytes();
        Ipv4Addr::new(127, 1 + high % 250, middle, low)
    }
}

/// A connection that does nothing.
async fn hold(
    all: Arc<All>,
    number: usize,
    trust: Trust,
    places: Arc<Semaphore>,
) -> Result<(), Failure> {
    let place = places.acquire_owned().await?;
    let mut stream = trust.connect_from(All::from(number).into(), all.address).await?;
    drop(place);
    all.one_more();
    // Nothing comes until its end.
    stream.read_u8().await?;
    Ok(())
}

/// An agent, which begins anew whenever its stream is lost.
async fn live(all: Arc<All>, number: usize, trust: Trust, places: Arc<Semaphore>) {
    let mut place = places.acquire_owned().await.ok();
    let mut storms = all.storms.subscribe();
    let mut limit = Duration::from_secs(1);
    loop {
        storms.borrow_and_update();
        let lived = one(&all, (number, &trust), &mut storms, &mut place).await;
        limit = match lived {
            // As the plane has told it.
            Ok(spread) => spread,
            Err(_) => (limit * 2).min(Duration::from_secs(60)),
        };
        let part = f64::from(u32::try_from(nanos() % 1_000).unwrap_or(0)) / 1e3;
        sleep(limit.mul_f64(part)).await;
    }
}

/// One stream; answers over how long to spread when it was lost.
async fn one<P>(
    all: &All,
    (number, trust): (usize, &Trust),
    storms: &mut watch::Receiver<u64>,
    place: &mut Option<P>,
) -> Result<Duration, Failure> {
    let tls = trust.connect_from(All::from(number).into(), all.address).await?;
    let builder = http2::Builder::new(TokioExecutor::new());
    let (mut requests, connection) = builder.handshake(TokioIo::new(tls)).await?;
    let connection = tokio::spawn(connection);
    let (out, frames) = mpsc::channel::<Bytes>(8);
    let body = stream::unfold(frames, |mut frames| async move {
        frames.recv().await.map(|bytes| (Ok::<_, Infallible>(Frame::data(bytes)), frames))
    });
    let request = Request::post(format!("https://{}{STREAM_PATH}", all.address))
        .body(StreamBody::new(body).boxed_unsync())?;
    let answer = requests.send_request(request).await?;
    if !answer.status().is_success() {
        return Err(format!("the plane answers {}", answer.status()).into());
    }
    let mut reader = Reader { body: answer.into_body(), frames: Frames::default() };
    let hello = Hello {
        protocol: PROTOCOL,
        version: "bench".into(),
        boot_id: name(number),
        stream: Some(nanos() / 1_000_000),
        start: name(number),
        hostname: name(number),
    };
    out.send(encode(&FromAgent::Hello(hello))?.into()).await?;
    let ToAgent::Welcome(welcome) = reader.next().await? else {
        return Err("the plane did not begin with a welcome".into());
    };
    drop(place.take());
    all.one_more();
    let spread = Duration::from_millis(welcome.reconnect_spread_millis.into());
    let every = Duration::from_secs(welcome.heartbeat_seconds.into());
    // However it ends, it has lived.
    let _ = serve(all, &out, (&mut reader, every), storms).await;
    connection.abort();
    Ok(spread)
}

async fn serve(
    all: &All,
    out: &mpsc::Sender<Bytes>,
    (reader, every): (&mut Reader, Duration),
    storms: &mut watch::Receiver<u64>,
) -> Result<(), Failure> {
    let mut heartbeats = interval(every);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut talk = all.talk.subscribe();
    let beat = |wants_time| encode(&FromAgent::Heartbeat(Heartbeat { usage: None, wants_time }));
    loop {
        tokio::select! {
            frame = reader.next() => match frame? {
                ToAgent::Tasks(tasks) => for task in tasks {
                    let sent = task.spec.exec.as_ref().and_then(|exec| exec.argv.first()?.parse().ok());
                    let passed = Duration::from_nanos(nanos().saturating_sub(sent.unwrap_or(0)));
                    all.latencies().push(passed.as_secs_f64());
                    let status = AgentTaskStatus { phase: AgentTaskPhase::Succeeded, ..Default::default() };
                    let report = TaskReport { name: task.name, uid: task.uid, status };
                    out.send(encode(&FromAgent::Task(Box::new(report)))?.into()).await?;
                },
                ToAgent::Goodbye(goodbye) => return Err(goodbye.message.into()),
                _ => {}
            },
            _ = heartbeats.tick() => out.send(beat(false)?.into()).await?,
            changed = storms.changed() => return Ok(changed?),
            changed = talk.changed() => {
                changed?;
                let until = *talk.borrow_and_update();
                let (one, last): (Bytes, Bytes) = (beat(false)?.into(), beat(true)?.into());
                while until.is_some_and(|until| Instant::now() < until) {
                    for _ in 1..BURST {
                        out.send(one.clone()).await?;
                    }
                    out.send(last.clone()).await?;
                    while !matches!(timeout(CHANGE, reader.next()).await??, ToAgent::Time(_)) {}
                    all.heartbeats.fetch_add(BURST, Ordering::AcqRel);
                }
            }
        }
    }
}

/// Reads frames.
struct Reader {
    body: Incoming,
    frames: Frames,
}

impl Reader {
    /// The next one. May be dropped and called again.
    async fn next(&mut self) -> Result<ToAgent, Failure> {
        loop {
            if let Some(frame) = self.frames.pop()? {
                return Ok(frame);
            }
            let frame = self.body.frame().await.ok_or("the plane ended the stream")??;
            if let Ok(bytes) = frame.into_data() {
                self.frames.push(&bytes);
            }
        }
    }
}
