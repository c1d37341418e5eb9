//! Creates through HTTPS with all that a plane usually has (callers with certificates, roles, validation,
//! the audit log) and how soon a watcher sees each. The plane is a process of its own. The limits are
//! absolute: a kube-apiserver with etcd on such a machine made 1,221 creates a second, with 135 ms for
//! the 99th percentile, and its watchers saw an object after 665 ms in 99 of 100 cases.

use crate::{
    Failure,
    client::Client,
    fleet,
    load::drive,
    report::{Aim, Quantity, Row},
    samples::Samples,
    served::{self, CALLERS},
};
use bytes::Bytes;
use serde_json::Value;
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

const SERVERS: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/servers";
const WRITERS: usize = 128;
const WARM_UP: Duration = Duration::from_secs(2);
const ROUND: Duration = Duration::from_secs(10);
/// Objects there are before.
const OBJECTS: usize = 20_000;
const RATE: f64 = 8_000.0;
const P99: f64 = 0.060;
const SEEN_P99: f64 = 0.050;
/// What a name is written behind.
const NAME: &[u8] = br#""name":""#;

/// When each object was asked for.
type Asked = Arc<std::sync::Mutex<HashMap<String, Instant>>>;

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let (server, place) = served::start(folder, OBJECTS)?;
    let mut clients = Vec::new();
    for writer in 0..WRITERS {
        let trust = place.trust(writer % CALLERS)?;
        clients.push(Mutex::new(Client::connect(place.address, &trust).await?));
    }
    let clients = Arc::new(clients);
    let next = Arc::new(AtomicUsize::new(OBJECTS));
    let asked = Asked::default();
    let size = object(OBJECTS).len();
    let creates = |length| {
        let (clients, next, asked) = (clients.clone(), next.clone(), asked.clone());
        drive(WRITERS, length, move |writer, _| {
            let (clients, next, asked) = (clients.clone(), next.clone(), asked.clone());
            async move {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let body = object(number);
                let client = clients.get(writer).ok_or("there are no clients")?;
                let mut client = client.lock().await;
                asked
                    .lock()
                    .map_err(|_| "a writer panicked")?
                    .insert(fleet::name(number), Instant::now());
                client.create(SERVERS, body).await
            }
        })
    };
    creates(WARM_UP).await?;
    asked.lock().map_err(|_| "a writer panicked")?.clear();
    let mut watcher = Client::connect(place.address, &place.trust(0)?).await?;
    let seen = Arc::new(std::sync::Mutex::new(Samples::default()));
    let watching = {
        let (seen, asked) = (seen.clone(), asked.clone());
        tokio::spawn(async move {
            let mut lines = Vec::new();
            // What is there before is sent first, and was not asked for since.
            let path = format!("{SERVERS}?watch=true&resourceVersion=0");
            let watched = watcher.get(&path, |piece| see(piece, &mut lines, &asked, &seen)).await;
            watched.map(drop)
        })
    };
    tokio::time::sleep(WARM_UP).await;
    let (took, own) = (server.cpu()?, own_cpu()?);
    let load = creates(ROUND).await?;
    let (took, own) = (server.cpu()? - took, own_cpu()? - own);
    if watching.is_finished() {
        watching.await??;
        return Err("the watch ended".into());
    }
    watching.abort();
    let seen = seen.lock().map_err(|_| "the watcher panicked")?;
    let costs = format!(
        "the plane took {took:.1} s of processor time and {:.0} MB, its clients {own:.1} s",
        server.resident()? / 1e6
    );
    let limit =
        |text: &str| format!("the aim itself; kube-apiserver with etcd on such a machine: {text}");
    Ok(vec![
        Row {
            what: format!(
                "creates of {size} bytes through HTTPS with certificates, roles, validation and audit log, \
                 {WRITERS} connections ({costs})"
            ),
            ours: Quantity::per_second(load.rate),
            peer: limit("1,221/s"),
            theirs: Quantity::per_second(RATE),
            aim: Aim::AtLeast(1.0),
        },
        Row {
            what: "the same: 99th percentile".into(),
            ours: Quantity::seconds(load.times.p99()),
            peer: limit("135 ms"),
            theirs: Quantity::seconds(P99),
            aim: Aim::AtMost(1.0),
        },
        Row {
            what: format!(
                "the same: from the request to a watcher's eyes, 99th percentile (median {:.1} ms)",
                seen.median() * 1e3
            ),
            ours: Quantity::seconds(seen.p99()),
            peer: limit("665 ms"),
            theirs: Quantity::seconds(SEEN_P99),
            aim: Aim::AtMost(1.0),
        },
    ])
}

/// A server as a client writes it, without a status, which is not a client's to write, and filled up to
/// what is measured.
pub(crate) fn object(number: usize) -> Bytes {
    let mut server = fleet::server(number, 0);
    if let Some(server) = server.as_object_mut() {
        server.remove("status");
    }
    if let Some(notes) = server.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        let filler = "installed by the hardware team; see the runbook of the site. ".repeat(33);
        notes.insert("example.com/notes".into(), filler.into());
    }
    server.to_string().into()
}

/// Notes when the objects of a piece of a watch were seen.
fn see(piece: &[u8], lines: &mut Vec<u8>, asked: &Asked, seen: &std::sync::Mutex<Samples>) {
    lines.extend_from_slice(piece);
    let Some(end) = lines.iter().rposition(|byte| *byte == b'\n') else { return };
    let now = Instant::now();
    let (Ok(mut asked), Ok(mut seen)) = (asked.lock(), seen.lock()) else { return };
    for line in lines.get(..end).unwrap_or_default().split(|byte| *byte == b'\n') {
        let name = line.windows(NAME.len()).position(|part| part == NAME);
        let rest = name.and_then(|at| line.get(at + NAME.len()..)).unwrap_or_default();
        let name = rest.split(|byte| *byte == b'"').next().unwrap_or_default();
        if let Some(begin) = asked.remove(String::from_utf8_lossy(name).as_ref()) {
            seen.push(now - begin);
        }
    }
    lines.drain(..=end);
}

/// Processor time that this process has taken, in seconds.
fn own_cpu() -> Result<f64, Failure> {
    served::cpu(std::process::id())
}
