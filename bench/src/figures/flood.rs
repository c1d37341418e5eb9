//! What one caller notices of another who asks for more than there is: the 99th percentile of small
//! reads at a steady pace, beside the same while nothing else goes on. The flood is a process of its own
//! that yields the processors to all others, since it stands for clients on other machines.

use crate::{
    Failure,
    client::Client,
    fleet,
    report::{Aim, Quantity, Row},
    samples::Samples,
    served::{self, Place, Process, binary},
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt as _,
    task::JoinSet,
    time::{Instant, interval, sleep},
};

/// Asks the binary to flood a plane until its input ends.
pub(crate) const FLOOD: &str = "--flood";

const SERVERS: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/servers";
/// Objects there are.
const OBJECTS: usize = 20_000;
/// Between two reads of the caller who is watched.
const PACE: Duration = Duration::from_millis(4);
/// How long it reads.
const LENGTH: Duration = Duration::from_secs(8);
/// A flood has reached its height by then.
const RISE: Duration = Duration::from_secs(4);
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_secs(1);

/// A flood, and what the table calls it.
const FLOODS: [(&str, &str); 6] = [
    ("gets", "256 connections that read an object each, again and again"),
    ("tables", "64 connections that list 500 objects as a table, again and again"),
    ("writes", "256 connections that create objects, again and again"),
    ("handshakes", "64 connections made and dropped at once, again and again"),
    (
        "slow",
        "2,000 connections that never end their request, 200 that read none of a list of 40 MB",
    ),
    ("watchers", "10,000 idle watches"),
];

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let (server, place) = served::start(folder, OBJECTS)?;
    let text = serde_json::to_string(&place)?;
    let trust = place.trust(0)?;
    let connect = || Client::connect(place.address, &trust);
    reads(&mut connect().await?).await?;
    let mut rows = Vec::new();
    for (name, about) in FLOODS {
        let idle = reads(&mut connect().await?).await?;
        let nice = ["-n", "19", &binary()?, FLOOD, name, &text];
        let (flood, _): (_, Value) = Process::start("nice", &nice)?;
        sleep(RISE).await;
        // One that was idle while a large flood rose is closed by now.
        let mut ann = connect().await?;
        let (took, theirs) = (server.cpu()?, flood.cpu()?);
        let mut memory = Vec::new();
        let flooded = {
            let looking = async {
                let mut looks = interval(LOOK);
                loop {
                    looks.tick().await;
                    memory.push(server.resident());
                }
            };
            tokio::select! {
                flooded = reads(&mut ann) => flooded?,
                () = looking => Samples::default(),
            }
        };
        let (took, theirs) = (server.cpu()? - took, flood.cpu()? - theirs);
        drop(flood);
        let memory = memory.into_iter().collect::<Result<Vec<f64>, _>>()?;
        let curve: Vec<String> = memory.iter().map(|bytes| format!("{:.0}", bytes / 1e6)).collect();
        rows.push(Row {
            what: format!(
                "small reads of one caller, p99, while another has {about} (the plane took {took:.1} s of \
                 processor time and, second by second, {} MB; the flood {theirs:.1} s)",
                curve.join(" ")
            ),
            ours: Quantity::seconds(flooded.p99()),
            peer: "the same while nothing else goes on".into(),
            theirs: Quantity::seconds(idle.p99()),
            aim: Aim::AtMost(2.0),
        });
        settle(&mut ann).await?;
    }
    Ok(rows)
}

/// Reads at a steady pace; each counts from when it was due.
async fn reads(client: &mut Client) -> Result<Samples, Failure> {
    let mut samples = Samples::default();
    let mut paces = interval(PACE);
    let begin = Instant::now();
    let mut number = 0;
    while begin.elapsed() < LENGTH {
        let due = paces.tick().await;
        number = (number + 1) % OBJECTS;
        client.get(&format!("{SERVERS}/{}", fleet::name(number)), |_| ()).await?;
        samples.push(due.elapsed());
    }
    Ok(samples)
}

/// Waits until the connections of a flood that was stopped are gone.
async fn settle(client: &mut Client) -> Result<(), Failure> {
    let end = Instant::now() + Duration::from_secs(90);
    while Instant::now() < end {
        let mut text = Vec::new();
        client.get("/metrics", |piece| text.extend_from_slice(piece)).await?;
        let text = String::from_utf8_lossy(&text);
        let open = text.lines().find_map(|line| line.strip_prefix("quarterdeck_api_connections "));
        if open.and_then(|open| open.parse::<u64>().ok()).is_some_and(|open| open <= 1) {
            return Ok(());
        }
        sleep(LOOK).await;
    }
    Err("the connections of a flood are still open".into())
}

/// What the other process does.
pub(crate) async fn flood(name: &str, place: &str) -> Result<(), Failure> {
    let place: Place = serde_json::from_str(place)?;
    let trust = place.trust(1)?;
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    let count = match name {
        "gets" | "writes" => 256,
        "tables" | "handshakes" => 64,
        "slow" => 2_200,
        _ => 10_000,
    };
    let next = Arc::new(AtomicU64::new(0));
    for number in 0..count {
        let (name, trust, address) = (name.to_owned(), trust.clone(), place.address);
        let next = next.clone();
        if name == "handshakes" {
            tasks.spawn(async move {
                loop {
                    drop(trust.connect(address).await?);
                }
            });
            continue;
        }
        // One after another: the connections are no part of the flood.
        if matches!(&*name, "slow" | "watchers") {
            let mut stream = trust.connect(address).await?;
            let head = match (&*name, number) {
                ("watchers", _) => {
                    format!(
                        "GET {SERVERS}?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Dnone HTTP/1.1\r\nhost: a\r\n\r\n"
                    )
                }
                (_, 0..2_000) => format!("GET {SERVERS} HTTP/1.1\r\nhost"),
                _ => format!("GET {SERVERS} HTTP/1.1\r\nhost: a\r\n\r\n"),
            };
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            tasks.spawn(async move {
                let _open = stream;
                std::future::pending().await
            });
            continue;
        }
        tasks.spawn(async move {
            let mut client = Client::connect(address, &trust).await?;
            loop {
                match &*name {
                    "gets" => drop(
                        client.get(&format!("{SERVERS}/{}", fleet::name(number)), |_| ()).await?,
                    ),
                    "tables" => drop(client.table(&format!("{SERVERS}?limit=500")).await?),
                    _ => {
                        let number = 1_000_000 + next.fetch_add(1, Ordering::Relaxed) as usize;
                        client
                            .create(SERVERS, Bytes::from(fleet::server(number, 1).to_string()))
                            .await?;
                    }
                }
            }
        });
    }
    let mut output = std::io::stdout();
    writeln!(output, "{}", json!({"connections": count}))?;
    output.flush()?;
    let stopped = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        stopped = stopped => drop(stopped??),
        Some(ended) = tasks.join_next() => ended??,
    }
    Ok(())
}
