//! How fast servers are installed: the shipped runbook, durable step by step, over BMCs that answer at once; beside
//! Ironic, whose fake hardware does nothing either. Ours makes every call that a real machine would need.

mod ironic;

use super::{BATCH, LONGEST, LOOK, Running, SEED, declare, open, until_ready, write};
use crate::{
    Failure,
    report::{Aim, Quantity, Row},
};
use ironic::Ironic;
use quarterdeck_model::{
    FieldSelector, Kind as _, LabelSelector,
    kinds::{Run, Runbook, Server},
};
use quarterdeck_sim::{Latency, Simulation};
use quarterdeck_store::{ListQuery, Store};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

const SERVERS: u32 = 4_000;
/// Servers of Ironic: it takes ten seconds and more for them.
const NODES: usize = 100;
/// Of those that are installed, so many are waited for: the others have faults that take their time.
const SHARE: f64 = 0.95;
const AT_LEAST: f64 = 50.0;
const NAMESPACE: &str = "default";
/// What is performed, and what that calls.
const RUNBOOKS: [&str; 4] = [
    include_str!("../../../../../runbooks/provision-server.yaml"),
    include_str!("../../../../../runbooks/power-off-server.yaml"),
    include_str!("../../../../../runbooks/power-on-server.yaml"),
    include_str!("../../../../../runbooks/quarantine-server.yaml"),
];

fn with_phase(store: &Store, phase: &str) -> usize {
    let fields = format!("spec.runbook=provision-server,status.phase={phase}");
    let fields = FieldSelector::parse(&fields).unwrap_or_default();
    let labels = &LabelSelector::default();
    let (kind, namespace) = (Run::info(), Some(NAMESPACE));
    let query = ListQuery { kind, namespace, labels, fields: &fields, after: None, limit: None };
    store.world().list(&query).items.len()
}

/// Servers a second, and calls that changed something at the BMC of each.
async fn ours(store: &Arc<Store>) -> Result<(f64, f64), Failure> {
    declare(store, SERVERS).await?;
    let mut all = Vec::new();
    for runbook in RUNBOOKS {
        all.push(write(Runbook::info(), serde_saphyr::from_str::<Value>(runbook)?));
    }
    store.commit(std::mem::take(&mut all)).await?;
    let simulation = Simulation::new(SEED, Latency::None);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    simulation.witnessed_by(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let running = Running::over(&simulation, store);
    until_ready(store, SERVERS).await?;
    let world = store.world();
    let ready = world.with_fields(Server::info(), "status.phase=Ready");
    let begin = Instant::now();
    for server in &ready {
        let name = server.name();
        let params = json!({"image": "https://images.example/debian.iso"});
        let target = json!({"kind": "Server", "name": name});
        let spec = json!({"runbook": "provision-server", "target": target, "params": params});
        let metadata = json!({"name": format!("provision-{name}"), "namespace": NAMESPACE});
        all.push(write(Run::info(), json!({"metadata": metadata, "spec": spec})));
        if all.len() == BATCH {
            store.commit(std::mem::take(&mut all)).await?;
        }
    }
    store.commit(all).await?;
    #[expect(clippy::cast_precision_loss, reason = "a fleet is small as numbers go")]
    let (wanted, installed) =
        (ready.len() as f64 * SHARE, |store| with_phase(store, "Succeeded") as f64);
    while installed(store) < wanted {
        if begin.elapsed() > LONGEST {
            let done = installed(store);
            return Err(format!("{done} of {} servers were installed", ready.len()).into());
        }
        tokio::time::sleep(LOOK).await;
    }
    let took = begin.elapsed();
    running.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "a fleet is small as numbers go")]
    let each = calls.load(Ordering::Relaxed) as f64 / installed(store);
    Ok((wanted / took.as_secs_f64(), each))
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let (rate, calls) = ours(&open(&folder.join("store")).await?).await?;
    let ironic = Ironic::start(&folder.join("ironic")).await?;
    let nodes = ironic.available(NODES).await?;
    let theirs = ironic.deploy(&nodes).await?;
    Ok(vec![Row {
        what: format!(
            "servers installed by the shipped runbook, with {calls:.1} commands to the BMC of each, all durable"
        ),
        ours: Quantity::per_second(rate),
        peer: format!("{}, fake-hardware, {NODES} nodes from available to active", ironic.version),
        theirs: Quantity::per_second(theirs),
        aim: Aim::AtLeast(AT_LEAST),
    }])
}
