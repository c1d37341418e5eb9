//! `quarterdeck demo`: a plane over a simulated fleet with a company on it, in a data folder of its own that
//! remembers which fleet it holds. It must never write to the store of a real plane.

mod bmcs;
mod tenants;

use crate::{
    command::Error,
    serve::{self, Hints, refused},
    settings::{self, Settings, SettingsError},
};
use bmcs::Bmcs;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use quarterdeck_api::Api;
use quarterdeck_model::Time;
use quarterdeck_providers::{Providers, http::Reach};
use quarterdeck_sim::{Company, Fleet, FleetObject, Latency, Simulation};
use quarterdeck_store::Store;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::task::JoinSet;
use tracing::{error, info};

/// What a folder says of the fleet it holds.
const FILE: &str = "demo.toml";
/// A run to try.
const RUN_FILE: &str = "power-cycle.yaml";
const SERVERS: u32 = 1_000;
const SEED: u64 = 1;
/// The largest whole number of TOML.
const SEED_MAX: u64 = i64::MAX.unsigned_abs();
/// Objects written at once: as many as the store commits together.
const WRITES_AT_ONCE: usize = 256;

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// How many servers [default: those the folder holds, or 1000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(Fleet::SERVERS_MAX)))]
    servers: Option<u32>,
    /// What all of the fleet follows from [default: that of the folder, or 1]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(..=SEED_MAX))]
    seed: Option<u64>,
    /// How many times as fast as in a data centre things happen at the machines
    #[arg(long, value_name = "TIMES", default_value = "10", value_parser = speed)]
    speed: f64,
    /// Folder of the plane: store, certificates, kubeconfig
    #[arg(long, value_name = "DIR", default_value = "./demo-data")]
    data_dir: String,
    /// Address and port; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    listen: String,
    /// Folder of YAML files to create objects from at start, as `serve` has it
    #[arg(long, value_name = "DIR")]
    load: Option<PathBuf>,
    /// Act on the simulated BMCs through HTTPS, by real Redfish, each at an address of 127.0.0.0/8 and this port
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "8443", value_parser = clap::value_parser!(u16).range(1..))]
    serve_bmcs: Option<u16>,
    /// Only sites, racks and servers: no teams, services, machines or campaigns
    #[arg(long)]
    idle: bool,
    /// What is logged: a level, or filters such as info,quarterdeck_engine=debug
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
}

fn speed(text: &str) -> Result<f64, String> {
    let wrong = || "must be a number above 0, such as 1 or 100".to_owned();
    let speed: f64 = text.parse().map_err(|_not_a_number| wrong())?;
    Some(speed).filter(|speed| *speed > 0.0 && speed.is_finite()).ok_or_else(wrong)
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error(
        "{} holds {servers} servers of seed {seed}, and {asked} was asked for; leave that flag out to go on with them, or choose another --data-dir", folder.display()
    )]
    AnotherFleet { folder: PathBuf, servers: u32, seed: u64, asked: String },
    #[error(
        "{} holds a fleet whose BMCs are {}, and {asked} was asked for; leave that flag out to go on with them, or choose another --data-dir", folder.display(), describe(*held)
    )]
    OtherBmcs { folder: PathBuf, held: Option<u16>, asked: String },
    #[error(
        "{} holds a fleet that another release has made; choose another --data-dir", folder.display()
    )]
    AnotherRelease { folder: PathBuf },
    #[error(
        "{} holds something else than a demo, perhaps a real plane; choose another --data-dir", folder.display()
    )]
    NoDemo { folder: PathBuf },
    #[error("{} cannot be read: {cause}; remove its folder to begin anew", file.display())]
    Unreadable { file: PathBuf, cause: String },
}

/// How BMCs are met.
fn describe(port: Option<u16>) -> String {
    port.map_or_else(|| "met in the process".into(), |port| format!("served at port {port}"))
}

/// The fleet of a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Held {
    /// Which rules its fleet was made by.
    version: u32,
    servers: u32,
    seed: u64,
    /// At which port its BMCs are served, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bmc_port: Option<u16>,
    /// All of it was written; what is missing since then was deleted by somebody.
    complete: bool,
}

impl Flags {
    /// The settings of the plane.
    pub(crate) fn settings(&self) -> Result<Settings, SettingsError> {
        settings::for_show(&self.data_dir, &self.listen, &self.log)
    }
}

/// Runs the plane until it is asked to stop.
pub(crate) async fn demo(settings: Settings, flags: &Flags) -> Result<(), Error> {
    let folder = settings.data_dir.clone();
    let held = hold(&folder, flags)?;
    let fleet = Fleet::new(held.seed, held.servers);
    let fleet = held.bmc_port.map_or(fleet, |port| fleet.served_at(port));
    let simulation = Simulation::of(fleet, Latency::Realistic { speed: flags.speed });
    let served = held.bmc_port.map(|port| Bmcs::prepare(port, &folder, &simulation)).transpose()?;
    let providers = Providers::new(Reach::default()).with_actions(|catalog| match served {
        Some(_) => simulation.add_hosts_beside(catalog),
        None => simulation.add_beside(catalog),
    });
    let hints = hints(&folder, fleet, &held, flags.speed)?;
    // It goes on after the plane is ready: there is something to look at long before a large fleet is whole.
    let (idle, load) = (flags.idle, &flags.load);
    let bring = async |api: Arc<Api>, store: Arc<Store>| {
        if let Some(served) = served {
            served.serve(&api).await?;
        }
        if let Some(load) = load {
            serve::load_folder(&api, load).await?;
        }
        let company = (!idle).then(|| Company::of(fleet));
        if !held.complete {
            tokio::spawn(fill(api.clone(), fleet, company, held, folder));
        }
        if !idle {
            tokio::spawn(tenants::run(api, store, fleet, simulation));
        }
        Ok(())
    };
    serve::run(settings, providers, bring, hints).await
}

/// The fleet that the folder holds, from now on if it held none.
fn hold(folder: &Path, flags: &Flags) -> Result<Held, Error> {
    let file = folder.join(FILE);
    let failed = |action, path: &Path, cause| Error::File { action, path: path.into(), cause };
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            let servers = flags.servers.unwrap_or(SERVERS);
            let seed = flags.seed.unwrap_or(SEED);
            let (version, bmc_port) = (Fleet::VERSION, flags.serve_bmcs);
            let held = Held { version, servers, seed, bmc_port, complete: false };
            serve::make_folder(folder)?;
            let mut found = fs::read_dir(folder).map_err(|cause| failed("read", folder, cause))?;
            if found.next().is_some() {
                return Err(DemoError::NoDemo { folder: folder.into() }.into());
            }
            if let Some(port) = bmc_port {
                // A folder keeps its port for good: it must be one that can be had.
                bmcs::try_listening(port)?;
            }
            write(folder, &held)?;
            return Ok(held);
        }
        Err(cause) => return Err(failed("read", &file, cause)),
    };
    let held: Held = toml::from_str(&text)
        .map_err(|error| DemoError::Unreadable { file, cause: error.message().to_owned() })?;
    check(folder, &held, flags)?;
    Ok(held)
}

/// Refuses to go on with a fleet that is not the one asked for.
fn check(folder: &Path, held: &Held, flags: &Flags) -> Result<(), DemoError> {
    if held.version != Fleet::VERSION {
        return Err(DemoError::AnotherRelease { folder: folder.into() });
    }
    if let Some(asked) = flags.serve_bmcs.filter(|asked| Some(*asked) != held.bmc_port) {
        let (folder, held) = (folder.into(), held.bmc_port);
        return Err(DemoError::OtherBmcs { folder, held, asked: format!("--serve-bmcs {asked}") });
    }
    let servers = flags.servers.filter(|asked| *asked != held.servers);
    let seed = flags.seed.filter(|asked| *asked != held.seed);
    let servers = servers.map(|asked| format!("--servers {asked}"));
    let Some(asked) = servers.or_else(|| seed.map(|asked| format!("--seed {asked}"))) else {
        return Ok(());
    };
    let Held { servers, seed, .. } = *held;
    Err(DemoError::AnotherFleet { folder: folder.into(), servers, seed, asked })
}

/// Notes which fleet the folder holds. Whole or not at all, whatever happens meanwhile.
fn write(folder: &Path, held: &Held) -> Result<(), Error> {
    let (file, new) = (folder.join(FILE), folder.join("demo.toml.new"));
    toml::to_string(held)
        .map_err(io::Error::other)
        .and_then(|text| fs::write(&new, text))
        .and_then(|()| fs::rename(&new, &file))
        .map_err(|cause| Error::File { action: "write", path: file, cause })
}

/// Writes the fleet, and notes when all of it is there.
async fn fill(api: Arc<Api>, fleet: Fleet, company: Option<Company>, held: Held, folder: PathBuf) {
    let company = company.iter().flat_map(|company| {
        let plans = company.plans(end_of_year(jiff::Zoned::now().date()));
        company.objects().chain(plans).collect::<Vec<_>>()
    });
    let filled = match bring(&api, fleet.objects().chain(company)).await {
        Ok(()) => write(&folder, &Held { complete: true, ..held }),
        Err(error) => Err(error),
    };
    match filled {
        Ok(()) => info!("the fleet is whole"),
        Err(error) => error!("{error}; the fleet is not whole; start the demo again to go on"),
    }
}

/// The end of that year, or of the next when it is too near to be prepared for.
fn end_of_year(today: Date) -> (Time, Time) {
    let year = if today.month() == 12 { today.year() + 1 } else { today.year() };
    let at = |year, month, day| {
        let noon = Date::new(year, month, day)
            .ok()
            .and_then(|day| day.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).ok());
        Time::new(noon.map_or(Timestamp::MAX, |noon| noon.timestamp()))
    };
    (at(year, 12, 18), at(year + 1, 1, 4))
}

/// Writes what is not there, each kind after those it names.
async fn bring(api: &Arc<Api>, objects: impl Iterator<Item = FleetObject>) -> Result<(), Error> {
    let mut writes = JoinSet::new();
    let mut kind = None;
    for object in objects {
        let next = Some(object.kind());
        let limit = if next == kind { WRITES_AT_ONCE } else { 1 };
        kind = next;
        while writes.len() >= limit {
            done(writes.join_next().await)?;
        }
        let api = api.clone();
        writes.spawn(async move {
            let manifest = object.manifest();
            let made = api.ensure(manifest.clone()).await;
            made.map(drop).map_err(|cause| refused("the simulated fleet", &manifest, cause))
        });
    }
    while !writes.is_empty() {
        done(writes.join_next().await)?;
    }
    Ok(())
}

type Written = Option<Result<Result<(), Error>, tokio::task::JoinError>>;

fn done(write: Written) -> Result<(), Error> {
    match write {
        Some(Ok(written)) => written,
        Some(Err(error)) => Err(Error::System(io::Error::other(error))),
        None => Ok(()),
    }
}

/// What to try, and the file that one of the commands needs.
fn hints(folder: &Path, fleet: Fleet, held: &Held, speed: f64) -> Result<Hints, Error> {
    let server = fleet.first_server().unwrap_or_default();
    let run = format!(
        "# Powers a simulated server off and on again.\n\
         apiVersion: workflows.quarterdeck.dev/v1alpha1\n\
         kind: Run\n\
         metadata: {{generateName: power-cycle-, namespace: default}}\n\
         spec:\n  runbook: power-cycle-server\n  target: {{kind: Server, name: {server}}}\n"
    );
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.into());
    let file = folder.join(RUN_FILE);
    // One that is there may have been changed to try something else.
    if !file.exists() {
        fs::write(&file, run).map_err(|cause| Error::File {
            action: "write",
            path: file.clone(),
            cause,
        })?;
    }
    let Held { servers, seed, .. } = held;
    let mut about = format!(
        "Its fleet is simulated: {servers} servers of seed {seed}, where things happen {speed} times as fast as in a data centre.\n"
    );
    if let Some(port) = held.bmc_port {
        about.push_str(&format!(
            "Its BMCs speak Redfish: the first is at https://127.16.0.1:{port}/redfish/v1/.\n"
        ));
    }
    let commands = vec![
        "kubectl get sites,campaigns,services -A".into(),
        "kubectl get servers --field-selector status.phase=Ready | head".into(),
        "kubectl get servers --field-selector status.phase!=Ready    # and why".into(),
        format!("kubectl describe server {server}"),
        format!("kubectl create -f {}", file.display()),
        "kubectl get runs --watch".into(),
    ];
    Ok(Hints { about, commands })
}
