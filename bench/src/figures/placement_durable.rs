//! Placement as a plane does it: how many instances a second find a machine and are written, by the whole engine over SQLite,
//! once their workloads are declared. The machines have no agents: nothing runs, and what is counted is what was written.

use super::fleet::{BATCH, Running, open, write};
use crate::{
    Failure,
    report::{Aim, Quantity, Row},
    served,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Instance, Machine, Namespace, Rack, Service, Site, Workload},
};
use quarterdeck_store::{Mutation, Store};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    path::Path,
    time::{Duration, Instant},
};

const MACHINES: usize = 110_000;
const MACHINES_PER_RACK: usize = 40;
const RACKS_PER_SITE: usize = 250;
const WORKLOADS: usize = 900;
const REPLICAS: usize = 111;
/// Placements a second that are wanted.
const RATE: f64 = 5_000.0;
const TEAM: &str = "team";
const LOOK: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(600);

fn named(name: &str, rest: &Value) -> Value {
    let meta = json!({"name": name, "namespace": TEAM});
    let mut value = json!({"metadata": meta});
    if let (Some(value), Some(rest)) = (value.as_object_mut(), rest.as_object()) {
        value.extend(rest.clone());
    }
    value
}

fn rack(machine: usize) -> usize {
    machine / MACHINES_PER_RACK
}

/// A machine whose agent has joined, as the engine leaves it.
fn machine(number: usize) -> Mutation {
    let rack = rack(number);
    let time = "2026-03-14T09:26:53Z";
    let says = |kind: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "message": message,
               "observedGeneration": 1, "lastTransitionTime": time})
    };
    let status = json!({
        "observedGeneration": 1, "phase": "Running", "phaseSince": time,
        "agent": {"joined": time, "version": "1.0.0"},
        "allocatable": {"cpu": 64_000, "memory": 256_u64 << 30},
        "conditions": [
            says("Ready", "Running", "Its agent has joined."),
            says("AgentConnected", "Connected", "Its agent holds a stream."),
            says("Reachable", "Heard", "It was heard of in time."),
        ],
    });
    let location =
        json!({"site": format!("site-{}", rack / RACKS_PER_SITE), "rack": format!("r-{rack}")});
    let spec = json!({"preinstalled": true, "location": location});
    write(Machine::info(), named(&format!("m-{number}"), &json!({"spec": spec, "status": status})))
}

fn fleet() -> impl Iterator<Item = Mutation> {
    let racks = rack(MACHINES - 1) + 1;
    let namespaces = [TEAM, quarterdeck_engine::SYSTEM_NAMESPACE];
    let namespaces = namespaces
        .into_iter()
        .map(|name| write(Namespace::info(), json!({"metadata": {"name": name}})));
    let sites = (0..racks.div_ceil(RACKS_PER_SITE)).map(|number| {
        let name = format!("site-{number}");
        write(Site::info(), json!({"metadata": {"name": name}, "spec": {"region": "eu"}}))
    });
    let racks = (0..racks).map(|number| {
        let spec = json!({"site": format!("site-{}", number / RACKS_PER_SITE)});
        write(Rack::info(), json!({"metadata": {"name": format!("r-{number}")}, "spec": spec}))
    });
    let service = json!({"spec": {"owner": TEAM, "disruptionBudget": {"maxUnavailable": "5%"}}});
    let services = (0..=WORKLOADS)
        .map(move |number| write(Service::info(), named(&format!("s-{number}"), &service)));
    namespaces.chain(sites).chain(racks).chain(services).chain((0..MACHINES).map(machine))
}

/// Spread over racks, and never two of one on a server; of a few sizes, as workloads have.
fn workload(number: usize, replicas: usize) -> Mutation {
    const SIZES: [(&str, &str); 5] =
        [("500m", "1Gi"), ("1", "4Gi"), ("2", "6Gi"), ("4", "16Gi"), ("8", "24Gi")];
    let (cpu, memory) = SIZES.get(number % SIZES.len()).copied().unwrap_or_default();
    let resources = json!({"requests": {"cpu": cpu, "memory": memory}});
    let container = json!({"name": "main", "image": "registry.example.com/web:1", "resources": resources,
        "env": [{"name": "REGION", "value": "eu"}], "ports": [{"name": "http", "containerPort": 8080}]});
    let spec = json!({
        "service": format!("s-{number}"), "replicas": replicas,
        "placement": {"spread": [{"topology": "Rack", "maxSkew": 1}], "antiAffinity": [{"topology": "Server"}]},
        "template": {"spec": {"containers": [container]}},
    });
    write(Workload::info(), named(&format!("w-{number}"), &json!({"spec": spec})))
}

async fn write_all(store: &Store, all: impl Iterator<Item = Mutation>) -> Result<(), Failure> {
    let mut all = all.peekable();
    while all.peek().is_some() {
        store.commit(all.by_ref().take(BATCH).collect()).await?;
    }
    Ok(())
}

/// How long it takes until there are so many instances.
async fn placed(store: &Store, wanted: usize) -> Result<Duration, Failure> {
    let begin = Instant::now();
    loop {
        let placed = store.world().count(Instance::info());
        if placed >= wanted {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > LONGEST {
            return Err(format!("{placed} of {wanted} were placed after {LONGEST:?}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// No two instances of a workload are in one rack: there are more racks than a workload has instances.
fn check(store: &Store) -> Result<(), Failure> {
    let mut taken = HashSet::new();
    let world = store.world();
    for instance in world.all(Instance::info()) {
        let field = |field| instance.field(field).unwrap_or_default();
        let (workload, host) = (field("spec.workload"), field("spec.host.name"));
        let number: usize = host.trim_start_matches("m-").parse()?;
        if !taken.insert((workload, rack(number))) {
            return Err(format!("two instances of {workload} are in the rack of {host}").into());
        }
    }
    Ok(())
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let store = open(folder).await?;
    write_all(&store, fleet()).await?;
    let running = Running::start(&store);
    // A plane that runs has read its machines.
    write_all(&store, std::iter::once(workload(WORKLOADS, 1))).await?;
    placed(&store, 1).await?;
    served::quiet(std::process::id()).await?;
    let (before, cpu) = (store.world().revision(), served::cpu(std::process::id())?);
    let wanted = WORKLOADS * REPLICAS;
    let (declared, took) = tokio::join!(
        write_all(&store, (0..WORKLOADS).map(|number| workload(number, REPLICAS))),
        placed(&store, wanted + 1)
    );
    declared?;
    let took = took?;
    let cpu = served::cpu(std::process::id())? - cpu;
    let writes = store.world().revision().0 - before.0;
    running.stop().await?;
    check(&store)?;
    Ok(vec![Row {
        what: format!(
            "{wanted} instances of {WORKLOADS} declared workloads placed on {MACHINES} machines of one namespace by the whole engine, \
             spread over racks by 1 and never two of one on a server, all durable on SQLite (with {writes} writes in all, in {cpu:.0} s of \
             processor time)"
        ),
        ours: Quantity::per_second(wanted as f64 / took.as_secs_f64()),
        peer: "the aim itself".into(),
        theirs: Quantity::per_second(RATE),
        aim: Aim::AtLeast(1.0),
    }])
}
