//! Open pages, as `ui/` has them: each is a session of its own on a connection of its own, holds a stream of what changes, and asks
//! again for what it shows when something of that changed, as often as its screen does (`ui/src/api/live.ts`). It counts how
//! often a page has something new to paint.

use super::questions::question;
use crate::{Failure, client::Trust, talk::say};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, stdin},
    sync::Notify,
    task::JoinSet,
    time::sleep,
};

/// Asks the binary to be pages.
pub(crate) const PAGES: &str = "--pages";
/// What is to be known of the plane, in the folder.
pub(super) const FILE: &str = "pages.json";
/// The campaign that is looked at.
pub(super) const CAMPAIGN: (&str, &str) = ("ops", "restart");
/// What is painted within one frame of a display is painted at once.
const FRAME: Duration = Duration::from_millis(16);

/// Who looks, and whom they trust.
#[derive(Serialize, Deserialize)]
pub(super) struct People {
    pub(super) authority: String,
    pub(super) tokens: Vec<String>,
}

/// Something that a screen shows: of which kinds, or of one object; and how soon it is asked again when that changed.
struct Part {
    about: Vec<(&'static str, Option<&'static str>)>,
    every: Duration,
    question: Bytes,
}

fn part(
    name: &str,
    variables: &Value,
    about: &[(&'static str, Option<&'static str>)],
    millis: u64,
) -> Result<Part, Failure> {
    let every = Duration::from_millis(millis);
    Ok(Part { about: about.to_vec(), every, question: question(name, variables)? })
}

/// A screen, and whether it is the fleet map, which has a stream of its own.
struct Screen {
    parts: Vec<Part>,
    is_map: bool,
}

/// Home, a table of servers, the campaign, and the fleet map; each within the frame that all have.
fn screens() -> Result<[Screen; 4], Failure> {
    let screen = |parts: Vec<Part>, is_map| {
        let waiting = part("WaitingOnMe", &json!({}), &[("Permit", None), ("Run", None)], 10_000)?;
        Ok::<_, Failure>(Screen { parts: parts.into_iter().chain([waiting]).collect(), is_map })
    };
    let all = |kind| vec![(kind, None)];
    let home = ["Run", "Campaign", "Service", "Permit"].map(|kind| (kind, None));
    let (namespace, name) = CAMPAIGN;
    let one = json!({"kind": "Campaign", "namespace": namespace, "name": name});
    let campaign = [("Campaign", Some(name)), ("Run", None)];
    let facets = [
        "status.phase",
        "metadata.labels.hardware",
        "metadata.labels.site",
        "spec.location.rack",
        "spec.profile",
        "status.machineRef.namespace",
        "status.powerState",
        "status.inventory.model",
    ];
    let head = json!({"kinds": ["Server"], "filters": [], "facets": facets, "first": 1});
    let rows = json!({"kinds": ["Server"], "filters": [], "facets": [], "first": 100, "skip": 0});
    Ok([
        screen(
            vec![
                part("HomePage", &json!({}), &home, 2_000)?,
                part("FleetStrip", &json!({}), &all("Server"), 5_000)?,
            ],
            false,
        )?,
        screen(
            vec![
                part("Search", &head, &all("Server"), 1_000)?,
                part("Search", &rows, &all("Server"), 1_000)?,
            ],
            false,
        )?,
        screen(
            vec![
                part("ObjectPage", &one, &campaign[..1], 250)?,
                part(
                    "CampaignPage",
                    &json!({"namespace": namespace, "name": name}),
                    &campaign,
                    500,
                )?,
            ],
            false,
        )?,
        screen(Vec::new(), true)?,
    ])
}

/// What one page has painted, and when last.
#[derive(Default)]
struct Painted(Mutex<(u64, Option<Instant>)>);

impl Painted {
    fn note(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.1.is_none_or(|last| now - last > FRAME) {
            *state = (state.0 + 1, Some(now));
        }
    }

    fn take(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.0)
    }
}

/// What all have done since it was asked last.
#[derive(Default)]
struct Counted {
    asked: AtomicU64,
    bytes: AtomicU64,
}

/// One page of one person.
#[derive(Clone)]
struct Page {
    requests: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    cookie: Arc<str>,
    painted: Arc<Painted>,
    counted: Arc<Counted>,
}

impl Page {
    /// Logs in with a token, as a person does once.
    async fn begin(
        (address, trust): (SocketAddr, &Trust),
        token: &str,
        counted: &Arc<Counted>,
    ) -> Result<Self, Failure> {
        let io = TokioIo::new(trust.connect(address).await?);
        let (requests, connection) =
            http2::Builder::new(TokioExecutor::new()).handshake(io).await?;
        tokio::spawn(connection);
        let (painted, counted) = (Arc::default(), counted.clone());
        let mut page = Self { requests, address, cookie: "".into(), painted, counted };
        let answer = page.send("POST", "/session", Bytes::new(), Some(token)).await?;
        let cookie = answer.headers().get(header::SET_COOKIE).ok_or("the plane set no cookie")?;
        page.cookie = cookie.to_str()?.split(';').next().unwrap_or_default().into();
        Ok(page)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: Bytes,
        token: Option<&str>,
    ) -> Result<http::Response<Incoming>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.address))
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "gzip, deflate, br, zstd")
            .header("x-quarterdeck-csrf", "1")
            .header(header::COOKIE, &*self.cookie);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = self.requests.clone().send_request(request.body(Full::new(body))?).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said = answer.into_body().collect().await?.to_bytes();
        Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&said)).into())
    }

    fn received(&self, bytes: usize) {
        self.counted.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    async fn ask(&self, question: &Bytes) -> Result<(), Failure> {
        let answer = self.send("POST", "/graphql", question.clone(), None).await?;
        let packed = answer.headers().contains_key(header::CONTENT_ENCODING);
        let body = answer.into_body().collect().await?.to_bytes();
        if !packed && (!body.starts_with(b"{\"data\":{") || contains(&body, b"\"errors\":[")) {
            return Err(String::from_utf8_lossy(&body).into_owned().into());
        }
        self.counted.asked.fetch_add(1, Ordering::Relaxed);
        self.received(body.len());
        self.painted.note();
        Ok(())
    }

    /// Asks at once, and again when it was told that something changed: not sooner than it may, and never twice at once.
    async fn show(
        self,
        (question, every): (Bytes, Duration),
        changed: Arc<Notify>,
    ) -> Result<(), Failure> {
        loop {
            self.ask(&question).await?;
            changed.notified().await;
            sleep(every).await;
            // What changed until now is in the answer.
            let _ = futures_util::FutureExt::now_or_never(changed.notified());
        }
    }

    /// The stream of the fleet map.
    async fn map(self) -> Result<(), Failure> {
        let path = "/stream/fleetmap?by=status.phase";
        let mut body = self.send("GET", path, Bytes::new(), None).await?.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame?.into_data() {
                self.received(bytes.len());
                self.painted.note();
            }
        }
        Err("the plane ended a fleet map".into())
    }

    /// The stream of what changes, and all that follows from it.
    async fn live(self, screen: Arc<Screen>) -> Result<(), Failure> {
        let mut tasks = JoinSet::new();
        if screen.is_map {
            tasks.spawn(self.clone().map());
        }
        let told: Vec<Arc<Notify>> = screen.parts.iter().map(|_| Arc::default()).collect();
        for (part, changed) in screen.parts.iter().zip(&told) {
            tasks.spawn(self.clone().show((part.question.clone(), part.every), changed.clone()));
        }
        let mut kinds: Vec<&str> =
            screen.parts.iter().flat_map(|part| &part.about).map(|(kind, _)| *kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let path = format!("/stream/changes?kind={}", kinds.join("&kind="));
        let mut body = self.send("GET", &path, Bytes::new(), None).await?.into_body();
        let mut rest = Vec::new();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame.ok_or("the plane ended a stream of changes")??,
                Some(ended) = tasks.join_next() => return ended?,
            };
            let Ok(bytes) = frame.into_data() else { continue };
            self.received(bytes.len());
            rest.extend_from_slice(&bytes);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line: Value = serde_json::from_slice(&line)?;
                for (part, changed) in screen.parts.iter().zip(&told) {
                    if part.about.iter().any(|about| concerns(&line, *about)) {
                        changed.notify_one();
                    }
                }
            }
        }
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|part| part == text)
}

/// Whether a line is about objects of a kind, or about one of them.
fn concerns(line: &Value, (kind, name): (&str, Option<&str>)) -> bool {
    let changes = line.get("changes").and_then(Value::as_array).into_iter().flatten();
    let mut changes = changes.filter(|it| it.get("kind").and_then(Value::as_str) == Some(kind));
    changes.any(|change| {
        let Some(name) = name else { return true };
        let objects = change.get("objects").and_then(Value::as_array).into_iter().flatten();
        let mut names = objects.filter_map(|it| it.get(1)?.as_str());
        change.get("all").is_some() || change.get("more").is_some() || names.any(|it| it == name)
    })
}

/// The process.
pub(crate) async fn run(folder: &Path, address: &str) -> Result<(), Failure> {
    let people: People = serde_json::from_slice(&std::fs::read(folder.join(FILE))?)?;
    let (address, trust) = (address.parse()?, Trust::for_pages(&people.authority)?);
    let screens = screens()?.map(Arc::new);
    let counted = Arc::<Counted>::default();
    let mut painted: Vec<Arc<Painted>> = Vec::new();
    let mut pages: JoinSet<Result<(), Failure>> = JoinSet::new();
    say(&json!({}))?;
    let mut lines = BufReader::new(stdin()).lines();
    let mut since = Instant::now();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            Some(ended) = pages.join_next() => match ended {
                Ok(ended) => return ended,
                // It was closed.
                Err(_) => continue,
            },
        };
        match line.as_deref() {
            Some("open") => {
                for (token, screen) in people.tokens.iter().zip(screens.iter().cycle()) {
                    let page = Page::begin((address, &trust), token, &counted).await?;
                    painted.push(page.painted.clone());
                    pages.spawn(page.live(screen.clone()));
                }
                say(&json!({"pages": pages.len()}))?;
            }
            Some("count") => {
                let seconds = since.elapsed().as_secs_f64();
                since = Instant::now();
                let most = painted.iter().map(|page| page.take()).max().unwrap_or_default();
                say(&json!({
                    "paints": most as f64 / seconds,
                    "asked": counted.asked.swap(0, Ordering::Relaxed) as f64 / seconds,
                    "bytes": counted.bytes.swap(0, Ordering::Relaxed) as f64 / seconds,
                }))?;
            }
            Some("close") => {
                pages.abort_all();
                painted.clear();
                say(&json!({}))?;
            }
            _ => return Ok(()),
        }
    }
}
