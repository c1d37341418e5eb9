//! Agents of machines: what one that is connected takes of memory beside a TLS connection that does nothing, how soon a change
//! reaches its agent, and what becomes of a plane that loses all of them at once; and how many heartbeats a core takes in, beside
//! single-row updates of PostgreSQL. Agents are simulated, in processes of their own and from loopback addresses of their own, since file
//! descriptors are limited by process and ports by address. `AGENTS=10000 make bench ONLY=agents` takes fewer.

pub(crate) mod hosts;
pub(crate) mod server;

use super::writes_postgres;
use crate::{
    Failure,
    client::Client,
    machine,
    report::{Aim, Quantity, Row},
    samples::Samples,
    served::binary,
    talk::Other,
};
use hosts::How;
use quarterdeck_testing::postgres::Postgres;
use serde_json::Value;
use std::{path::Path, time::Duration};
use tokio::time::{Instant, interval};

/// Agents there are, unless `AGENTS` says otherwise.
const AGENTS: usize = 100_000;
/// Agents of a process: each has a file descriptor, of which a process has some 20,000 at most.
const OF_A_PROCESS: usize = 15_000;
/// Changes that are waited for, and not more than one agent in ten has one.
const CHANGES: usize = 2_000;
/// Between two reads of somebody else.
const PACE: Duration = Duration::from_millis(10);
/// How long those are measured while nothing goes on.
const CALM: Duration = Duration::from_secs(5);
/// What an agent may take beside a TLS connection.
const BYTES_BESIDE_TLS: f64 = 20_000.0;
/// How long it may take until all [`AGENTS`] have another stream.
const STORM_SECONDS: f64 = 60.0;
/// Agents that say without end that they live, and for how long.
const TALKERS: usize = 200;
const TALK_SECONDS: usize = 10;

fn count() -> Result<usize, Failure> {
    match std::env::var("AGENTS") {
        Err(_) => Ok(AGENTS),
        Ok(text) => {
            let number = text.parse().ok().filter(|number| *number >= 10);
            number.ok_or_else(|| {
                format!("AGENTS is {text:?}; it must be a number, of 10 at least").into()
            })
        }
    }
}

/// Starts this binary with as many file descriptors as `count` connections need.
async fn other(arguments: &[&str], count: usize, nice: bool) -> Result<Other, Failure> {
    let (binary, files) = (binary()?, format!("--nofile={}", count + 1_000));
    let mut all: Vec<&str> = Vec::new();
    // Hosts are other machines: they take what the plane leaves.
    if nice {
        all.extend(["nice", "-n", "19"]);
    }
    // Only whoever may raises the limit, and only where it is needed.
    if count > OF_A_PROCESS {
        all.extend(["prlimit", &files]);
    }
    all.push(&binary);
    all.extend(arguments);
    Other::start(&all).await
}

/// Simulated agents.
struct Hosts(Vec<Other>);

impl Hosts {
    async fn start(server: &Other, folder: &Path, how: How, count: usize) -> Result<Self, Failure> {
        let folder = folder.to_str().ok_or("the folder is not UTF-8")?;
        let address = address(server)?;
        let mut processes = Vec::new();
        for first in (0..count).step_by(OF_A_PROCESS) {
            let of = OF_A_PROCESS.min(count - first);
            let numbers = [first.to_string(), of.to_string()];
            let [first, of] = &numbers;
            let arguments = [hosts::HOSTS, folder, address, how.name(), first, of];
            processes.push(other(&arguments, OF_A_PROCESS, true).await?);
        }
        Ok(Self(processes))
    }

    /// Says something to all, and answers what they answer.
    async fn ask(&mut self, line: &str) -> Result<Vec<Value>, Failure> {
        for process in &mut self.0 {
            process.say(line).await?;
        }
        let mut answers = Vec::new();
        for process in &mut self.0 {
            answers.push(process.hear().await?);
        }
        Ok(answers)
    }

    /// The slowest, in seconds.
    async fn seconds(&mut self, line: &str) -> Result<f64, Failure> {
        let answers = self.ask(line).await?;
        Ok(answers.iter().filter_map(|it| it.get("seconds")?.as_f64()).fold(0.0, f64::max))
    }
}

/// Bytes that one connection takes of a server.
#[expect(clippy::cast_precision_loss, reason = "there are not that many")]
async fn each(server: &Other, hosts: &mut Hosts, count: usize) -> Result<f64, Failure> {
    let before = server.resident()?;
    hosts.seconds("connect").await?;
    Ok((server.resident()? - before) / count as f64)
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let count = count()?;
    let number = count.to_string();
    let bare = {
        let server = other(&[server::HOLD, path(folder)?], count, false).await?;
        let mut hosts = Hosts::start(&server, folder, How::Bare, count).await?;
        each(&server, &mut hosts, count).await?
    };
    let mut plane = other(&[server::SERVE, path(folder)?, &number], count, false).await?;
    let mut hosts = Hosts::start(&plane, folder, How::Agents, count).await?;
    let ours = each(&plane, &mut hosts, count).await?;

    let changes = CHANGES.min(count / 10).max(1);
    plane.say(&format!("changes {changes}")).await?;
    plane.hear().await?;
    let mut latencies = Samples::default();
    for answer in hosts.ask("latencies").await? {
        let seconds = answer.get("latencies").and_then(Value::as_array).into_iter().flatten();
        latencies.extend(seconds.filter_map(Value::as_f64).map(Duration::from_secs_f64));
    }
    if latencies.count() < changes {
        return Err(format!("{} of {changes} changes reached an agent", latencies.count()).into());
    }

    let address = address(&plane)?.parse()?;
    let trust = server::trust(folder)?;
    let mut ann = Client::connect(address, &trust).await?;
    let calm = reads(&mut ann, tokio::time::sleep(CALM)).await?.0;
    let (stormy, seconds) = reads(&mut ann, hosts.seconds("storm")).await?;
    let seconds = seconds?;
    #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
    let aim = STORM_SECONDS * count as f64 / AGENTS as f64;
    Ok(vec![
        Row {
            what: format!(
                "resident bytes that each of {count} connected agents takes beside its TLS connection"
            ),
            ours: Quantity::count(ours - bare),
            peer: format!("the aim itself; the connection alone takes {bare:.0}"),
            theirs: Quantity::count(BYTES_BESIDE_TLS),
            aim: Aim::AtMost(1.0),
        },
        Row {
            what: format!(
                "from the commit of a task to its agent's eyes, 99th percentile of {changes} (median {:.1} ms)",
                latencies.median() * 1e3
            ),
            ours: Quantity::seconds(latencies.p99()),
            peer: "the aim itself".into(),
            theirs: Quantity::seconds(1.0),
            aim: Aim::AtMost(1.0),
        },
        Row {
            what: format!("all {count} agents lose their streams at once: until each has another"),
            ours: Quantity::seconds(seconds),
            peer: format!(
                "the aim itself: {STORM_SECONDS:.0} s for {AGENTS}, hosts on the same cores"
            ),
            theirs: Quantity::seconds(aim),
            aim: Aim::AtMost(1.0),
        },
        Row {
            what: format!(
                "small reads of somebody else meanwhile, p99 of {} ({} failed)",
                stormy.samples.count(),
                stormy.failed
            ),
            ours: Quantity::seconds(stormy.samples.p99()),
            peer: "the same while nothing goes on".into(),
            theirs: Quantity::seconds(calm.samples.p99()),
            aim: Aim::AtMost(if stormy.failed == 0 { 10.0 } else { 0.0 }),
        },
    ])
}

/// Where a server is.
fn address(server: &Other) -> Result<&str, Failure> {
    let address = server.said.get("address").and_then(Value::as_str);
    Ok(address.ok_or("a server without an address")?)
}

fn path(folder: &Path) -> Result<&str, Failure> {
    Ok(folder.to_str().ok_or("the folder is not UTF-8")?)
}

/// Reads of one caller.
#[derive(Default)]
struct Reads {
    samples: Samples,
    failed: usize,
}

/// Reads at a steady pace while something goes on; each counts from when it was due.
async fn reads<T>(
    client: &mut Client,
    work: impl Future<Output = T>,
) -> Result<(Reads, T), Failure> {
    let mut found = Reads::default();
    let mut paces = interval(PACE);
    let mut work = std::pin::pin!(work);
    loop {
        let due: Instant = tokio::select! {
            done = &mut work => return Ok((found, done)),
            due = paces.tick() => due,
        };
        match client.get(server::SMALL, |_| ()).await {
            Ok(_) => found.samples.push(due.elapsed()),
            Err(_) => found.failed += 1,
        }
    }
}

/// Heartbeats that one core takes in.
pub(crate) async fn heartbeats(folder: &Path) -> Result<Vec<Row>, Failure> {
    let number = TALKERS.to_string();
    let mut plane = other(&[server::SERVE, path(folder)?, &number], TALKERS, false).await?;
    let mut hosts = Hosts::start(&plane, folder, How::Agents, TALKERS).await?;
    hosts.seconds("connect").await?;
    hosts.ask("talk 2").await?;
    let before = plane.cpu()?;
    let said = hosts.ask(&format!("talk {TALK_SECONDS}")).await?;
    let took = plane.cpu()? - before;
    let said: f64 = said.iter().filter_map(|it| it.get("heartbeats")?.as_f64()).sum();
    plane.say("end").await?;
    drop((plane, hosts));
    let server = Postgres::start_with(&writes_postgres::SETTINGS).await;
    let theirs = writes_postgres::updates(&server, folder).await?;
    let version = machine::printed("pgbench", &["--version"]);
    let version = version.split('(').next().unwrap_or_default().trim().to_owned();
    Ok(vec![Row {
        what: format!(
            "heartbeats of {TALKERS} agents taken in for each second of processor time, over {TALK_SECONDS} s"
        ),
        ours: Quantity::per_second(said / took),
        peer: format!("{version}: single-row updates, all processors, best of 16 and 64 clients"),
        theirs: Quantity::per_second(theirs),
        aim: Aim::AtLeast(5.0),
    }])
}
