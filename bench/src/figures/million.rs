//! A plane with 1,000,000 servers: how long it takes to start and how much memory it holds, beside
//! its file and the JSON in it; and how much a company holds of 110,000 servers with a million instances. Every start is a process of its own, so that none profits from the
//! memory that another one has left.

use crate::{
    Failure, fleet,
    report::{Aim, Quantity, Row},
    samples::{Samples, timed},
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Instance, Service},
};
use quarterdeck_store::{BATCH_MAX, Backend as _, Mutation, Sqlite, Store};
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use std::{
    fs::File,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const OBJECTS: usize = 1_000_000;
const ROUNDS: usize = 3;
/// Piece in which the peer reads the file: enough that system calls cost nothing.
const READ_BYTES: usize = 1 << 20;

/// Of the company.
const SERVERS: usize = 110_000;
const SERVICES: usize = 9_000;
const INSTANCES: usize = 1_000_000;
const NAMESPACES: usize = 300;

/// Asks the binary to fill a folder with servers, or a company, or to open it.
pub(crate) const FILL: &str = "--fill";
pub(crate) const FILL_COMPANY: &str = "--fill-company";
pub(crate) const OPEN: &str = "--open";

/// What a start has cost.
#[derive(Serialize, Deserialize)]
struct Opened {
    seconds: f64,
    /// Growth of the process's resident memory.
    resident: u64,
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let json: u64 = child(&[FILL, text(folder)?, &OBJECTS.to_string()])?;
    let file = folder.join("quarterdeck.db");
    let (mut warm, mut warm_read) = (Samples::default(), Samples::default());
    let (mut cold, mut cold_read) = (Samples::default(), Samples::default());
    let mut resident = 0;
    read(&file)?;
    for _ in 0..ROUNDS {
        warm_read.push(read(&file)?);
        let opened: Opened = child(&[OPEN, text(folder)?])?;
        warm.push(Duration::from_secs_f64(opened.seconds));
        resident = resident.max(opened.resident);
        evict(&file)?;
        cold_read.push(read(&file)?);
        evict(&file)?;
        let opened: Opened = child(&[OPEN, text(folder)?])?;
        cold.push(Duration::from_secs_f64(opened.seconds));
    }
    let bytes = file.metadata()?.len() as f64;
    let company = folder.join("company");
    std::fs::create_dir_all(&company)?;
    let of_company: u64 = child(&[FILL_COMPANY, text(&company)?])?;
    let held: Opened = child(&[OPEN, text(&company)?])?;
    let start = |how: &str, ours: &Samples, theirs: &Samples| Row {
        what: format!(
            "cold start on 1,000,000 objects of {:.2} KB, file {how}, median of {ROUNDS}",
            json as f64 / OBJECTS as f64 / 1e3
        ),
        ours: Quantity::seconds(ours.median()),
        peer: format!("reading the file ({:.1} GB) once", bytes / 1e9),
        theirs: Quantity::seconds(theirs.median()),
        aim: Aim::AtMost(4.0),
    };
    Ok(vec![
        Row {
            what: "resident memory that 1,000,000 objects take, after a cold start".into(),
            ours: Quantity::bytes(resident as f64),
            peer: "the sum of their JSON".into(),
            theirs: Quantity::bytes(json as f64),
            aim: Aim::AtMost(1.6),
        },
        Row {
            what: format!(
                "resident memory that {SERVERS} servers, {SERVICES} services and {INSTANCES} instances take, after a cold \
                 start"
            ),
            ours: Quantity::bytes(held.resident as f64),
            peer: "the sum of their JSON".into(),
            theirs: Quantity::bytes(of_company as f64),
            aim: Aim::AtMost(1.6),
        },
        start("in the page cache", &warm, &warm_read),
        start("evicted from it", &cold, &cold_read),
    ])
}

/// Fills the folder with `count` servers; answers the sum of their JSON.
pub(crate) async fn fill(folder: &Path, count: usize) -> Result<u64, Failure> {
    fleet::fill(&Sqlite::open(folder)?, count).await
}

/// Fills the folder with servers, services and their instances; answers the sum of their JSON.
pub(crate) async fn fill_company(folder: &Path) -> Result<u64, Failure> {
    let backend = Sqlite::open(folder)?;
    let mut bytes = fleet::fill(&backend, SERVERS).await?;
    let services = (0..SERVICES).map(service);
    let instances = (0..INSTANCES).map(instance);
    let mut all = services.chain(instances).peekable();
    while all.peek().is_some() {
        let batch: Vec<Mutation> = all.by_ref().take(BATCH_MAX).collect();
        bytes += batch.iter().map(fleet::size).sum::<u64>();
        backend.commit(&batch).await?;
    }
    Ok(bytes)
}

fn namespace(service: usize) -> String {
    format!("team-{:03}", service % NAMESPACES)
}

fn service(number: usize) -> Mutation {
    let namespace = namespace(number);
    let meta = json!({"name": format!("service-{number:04}"), "namespace": namespace,
        "uid": fleet::uid(number, 40), "generation": 1, "creationTimestamp": "2026-02-01T00:00:00Z"});
    let spec = json!({"owner": namespace, "tier": 1 + number % 4, "disruptionBudget": {"maxUnavailable": "5%"}});
    let status =
        json!({"instances": 111, "down": 0, "disruptionsAllowed": 5, "observedGeneration": 1});
    fleet::write(Service::info(), &json!({"metadata": meta, "spec": spec, "status": status}))
}

fn instance(number: usize) -> Mutation {
    let (service, host) = (number % SERVICES, (number * 31) % SERVERS);
    let meta = json!({
        "name": format!("service-{service:04}-{:08x}", fleet::mixed(number, 41) >> 32), "namespace": namespace(service),
        "uid": fleet::uid(number, 42), "generation": 1, "creationTimestamp": "2026-03-01T00:00:00Z",
        "labels": {"app": format!("service-{service:04}")}});
    let spec = json!({"service": format!("service-{service:04}"), "host": {"kind": "Server", "name": fleet::name(host)}});
    let status = json!({"phase": "Ready", "phaseSince": "2026-03-01T00:01:00Z"});
    fleet::write(Instance::info(), &json!({"metadata": meta, "spec": spec, "status": status}))
}

/// Starts on the folder as a plane does.
pub(crate) async fn open(folder: &Path) -> Result<impl Serialize + use<>, Failure> {
    let before = resident()?;
    let (time, store) = timed(async {
        let backend = Arc::new(Sqlite::open(folder)?);
        Store::open(backend).await
    })
    .await;
    let store = store?;
    let resident = resident()?.saturating_sub(before);
    if store.world().count(fleet::kind()) == 0 {
        return Err("nothing was loaded".into());
    }
    Ok(Opened { seconds: time.as_secs_f64(), resident })
}

/// Runs this binary and reads the JSON it prints.
fn child<T: DeserializeOwned>(arguments: &[&str]) -> Result<T, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(arguments).stdout(Stdio::piped()).spawn()?.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{} ended with {}", arguments.join(" "), output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}

/// Reads the file from front to end.
fn read(path: &Path) -> Result<Duration, Failure> {
    let mut buffer = vec![0; READ_BYTES];
    let begin = Instant::now();
    let mut file = File::open(path)?;
    while file.read(&mut buffer)? > 0 {}
    Ok(begin.elapsed())
}

/// Asks the kernel to forget the file's pages.
fn evict(path: &Path) -> Result<(), Failure> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or("/proc/self/status has no VmRSS")?;
    Ok(kib * 1_024)
}
