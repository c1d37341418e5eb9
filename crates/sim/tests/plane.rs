//! A simulated fleet under the real engine, with the shipped runbooks, over a store on disk: every server
//! gets ready or says why not, and a run does its work once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use quarterdeck_engine::{Actions, Engine, SYSTEM_NAMESPACE};
use quarterdeck_model::{
    ConditionStatus, Key, Kind as _, KindRef, condition,
    kinds::{Namespace, Run, RunPhase, Runbook, Server},
    object,
};
use quarterdeck_providers::Catalog;
use quarterdeck_sim::{Fault, Fleet, FleetObject, Latency, Simulation};
use quarterdeck_store::{Mutation, Outcome, Precondition, Sqlite, Store, Write};
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};

const SERVERS: u32 = 200;
const SEED: u64 = 20;
/// A machine's minutes are milliseconds; the pauses of runbooks stay as they are.
const FAST: Latency = Latency::Realistic { speed: 2_000.0 };
/// A server whose BMC was wedged is inspected again after 15 s or a little more.
const DEADLINE: Duration = Duration::from_secs(120);

/// Of `power-off-server`, with no more patience than a test has.
const IMPATIENT: &str = "
apiVersion: workflows.quarterdeck.dev/v1alpha1
kind: Runbook
metadata: {name: impatient}
spec:
  target: {kind: Server}
  steps:
    - {name: power-off, action: power.set, with: {state: 'Off'}, timeout: 2s}
";

struct Plane {
    store: Arc<Store>,
    simulation: Simulation,
    servers: Vec<Server>,
    stop: watch::Sender<bool>,
    engine: JoinHandle<()>,
    _folder: TempDir,
}

impl Plane {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Arc::new(Sqlite::open(folder.path()).unwrap());
        let store = Arc::new(Store::open(backend).await.unwrap());
        let simulation = Simulation::new(SEED, FAST);
        let mut catalog = Catalog::new();
        simulation.add_actions(&mut catalog);
        let (stop, stopping) = watch::channel(false);
        let engine = Engine::new(store.clone(), Arc::new(Actions::new(catalog)), stopping);
        let mut mutations: Vec<Mutation> = ["default", SYSTEM_NAMESPACE]
            .map(|name| {
                created(Namespace::info(), &json!({"metadata": {"name": name}, "spec": {}}))
            })
            .into();
        mutations.extend(runbooks().iter().map(|runbook| created(Runbook::info(), runbook)));
        let mut servers = Vec::new();
        for object in Fleet::new(SEED, SERVERS).objects() {
            mutations.push(created(object.kind(), &object.manifest()));
            if let FleetObject::Server(server) = object {
                servers.push(*server);
            }
        }
        for outcome in store.commit(mutations).await.unwrap() {
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        }
        let engine = tokio::spawn(engine.run());
        Self { store, simulation, servers, stop, engine, _folder: folder }
    }

    fn address(&self, server: usize) -> &str {
        &self.servers[server].spec.bmc.address
    }

    fn see(&self, server: usize) -> Server {
        let name = &self.servers[server].metadata.name;
        self.store.world().get(Server::info(), "", name).unwrap().decode().unwrap()
    }

    /// The reason of the condition Ready, and whether it is true.
    fn ready(&self, server: usize) -> Option<(bool, String)> {
        let server = self.see(server);
        let ready = condition::find(&server.status.conditions, "Ready")?;
        Some((ready.status == ConditionStatus::True, ready.reason.clone()))
    }

    /// Runs a runbook against a server until it has ended.
    async fn run(&self, runbook: &str, server: usize) -> Run {
        let name = format!("{runbook}-{server}");
        let target = &self.servers[server].metadata.name;
        let run = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"runbook": runbook, "target": {"kind": "Server", "name": target}},
        });
        self.store.commit(vec![created(Run::info(), &run)]).await.unwrap();
        wait_for(DEADLINE, &format!("run {name} to end"), async || {
            let run = self.store.world().get(Run::info(), "default", &name).ok_or("gone")?;
            let run: Run = run.decode().unwrap();
            if run.status.phase.ended() { Ok(run) } else { Err("under way") }
        })
        .await
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.engine.await.unwrap();
    }
}

/// An object as the API would store it.
fn created(kind: KindRef, value: &Value) -> Mutation {
    let mut value = (kind.admit)(value, None).unwrap();
    let meta = json!({
        "uid": uuid::Uuid::new_v4().to_string(),
        "generation": 1,
        "creationTimestamp": "2026-11-02T08:00:00Z",
    });
    value["metadata"].as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
    let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
    let key = Key::new(kind, text("namespace"), text("name"));
    let write = Write::Put(object::encode(kind, &value).into());
    Mutation { key, write, precondition: Precondition::Absent, fence: None }
}

/// The shipped ones, and one more.
fn runbooks() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runbooks");
    let files = std::fs::read_dir(folder).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let texts = texts.chain([IMPATIENT.to_owned()]);
    texts.map(|text| serde_saphyr::from_str(&text).unwrap()).collect()
}

/// What a server says in the end that has these faults; none of them keeps the others from being ready.
fn reason(faults: &[Fault]) -> (bool, &'static str) {
    for (fault, reason) in [
        (Fault::DeadBmc, "Unreachable"),
        (Fault::WrongCredentials, "Unauthorized"),
        (Fault::WrongSerial, "SerialMismatch"),
    ] {
        if faults.contains(&fault) {
            return (false, reason);
        }
    }
    (true, "Inspected")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_is_ready_or_says_why_and_runs_do_their_work_once() {
    let plane = Plane::start().await;
    for (server, fault) in [
        (0, Fault::DeadBmc),
        (1, Fault::WrongCredentials),
        (2, Fault::WrongSerial),
        (3, Fault::WedgedBmc),
        (4, Fault::SlowBmc),
        (5, Fault::ReplyLost),
        (6, Fault::PowerStuck),
    ] {
        plane.simulation.force(plane.address(server), fault);
    }
    plane.simulation.heal(plane.address(7));
    let wanted = |server: usize| reason(&plane.simulation.faults(plane.address(server)));
    wait_for(DEADLINE, "every server to be ready or to say why not", async || {
        for server in 0..plane.servers.len() {
            let (seen, (ready, reason)) = (plane.ready(server), wanted(server));
            if seen != Some((ready, reason.to_owned())) {
                return Err(format!("server {server}: {seen:?}, not {reason}"));
            }
        }
        Ok(())
    })
    .await;
    assert_eq!(wanted(0), (false, "Unreachable"));
    let seen = plane.see(4);
    let inventory = seen.status.inventory.unwrap();
    assert_eq!(inventory.serial_number, plane.servers[4].spec.serial);

    // The answer is lost after the effect: the next attempt finds the work done.
    let lost = plane.run("power-off-server", 5).await;
    assert_eq!(lost.status.phase, RunPhase::Succeeded, "{:?}", lost.status);
    assert_eq!(lost.status.steps[0].attempts, 2, "{:?}", lost.status);
    assert_eq!(plane.simulation.effects(plane.address(5)), 1);
    assert_eq!(plane.see(5).status.power_state.as_deref(), Some("Off"));

    // The command is taken and nothing happens.
    let stuck = plane.run("impatient", 6).await;
    assert_eq!(stuck.status.phase, RunPhase::Failed, "{:?}", stuck.status);
    assert_eq!(stuck.status.steps[0].reason.as_deref(), Some("Timeout"), "{:?}", stuck.status);
    assert_eq!(plane.simulation.effects(plane.address(6)), 0);

    let cycled = plane.run("network-boot-server", 7).await;
    assert_eq!(cycled.status.phase, RunPhase::Succeeded, "{:?}", cycled.status);
    assert_eq!(plane.simulation.effects(plane.address(7)), 3, "boot choice, off, on");
    plane.stop().await;
}
