//! A simulated fleet under the real engine, with the shipped runbooks, over a store on disk.

use quarterdeck_engine::{Actions, Engine, SYSTEM_NAMESPACE};
use quarterdeck_model::{
    ConditionStatus, Key, Kind as _, KindRef, condition,
    kinds::{Namespace, Run, Runbook, Server},
    object,
};
use quarterdeck_providers::{Providers, http::Reach};
use quarterdeck_sim::{Fleet, FleetObject, Latency, Simulation};
use quarterdeck_store::{Mutation, Outcome, Precondition, Sqlite, Store, Write};
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};

const SEED: u64 = 20;
/// A machine's minutes are milliseconds; the pauses of runbooks stay as they are.
const FAST: Latency = Latency::Realistic { speed: 2_000.0 };
/// A server whose BMC was wedged is inspected again after 15 s or a little more.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

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

pub(crate) struct Plane {
    pub(crate) store: Arc<Store>,
    pub(crate) simulation: Simulation,
    pub(crate) servers: Vec<Server>,
    stop: watch::Sender<bool>,
    engine: JoinHandle<()>,
    _folder: TempDir,
}

impl Plane {
    /// With so many servers.
    pub(crate) async fn start(servers_wanted: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Arc::new(Sqlite::open(folder.path()).unwrap());
        let store = Arc::new(Store::open(backend).await.unwrap());
        let simulation = Simulation::new(SEED, FAST);
        let real = Providers::new(Reach::default());
        let providers = real.with_actions(|catalog| simulation.add_actions(catalog));
        let catalog = providers.catalog().clone();
        let (stop, stopping) = watch::channel(false);
        let engine = Engine::new(store.clone(), Arc::new(Actions::new(catalog)), stopping);
        let mut mutations: Vec<Mutation> = ["default", SYSTEM_NAMESPACE]
            .map(|name| {
                created(Namespace::info(), &json!({"metadata": {"name": name}, "spec": {}}))
            })
            .into();
        mutations.extend(runbooks().iter().map(|runbook| created(Runbook::info(), runbook)));
        let mut servers = Vec::new();
        for object in Fleet::new(SEED, servers_wanted).objects() {
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

    pub(crate) fn address(&self, server: usize) -> &str {
        &self.servers[server].spec.bmc.address
    }

    pub(crate) fn see(&self, server: usize) -> Server {
        let name = &self.servers[server].metadata.name;
        self.store.world().get(Server::info(), "", name).unwrap().decode().unwrap()
    }

    /// The reason of the condition Ready, and whether it is true.
    pub(crate) fn ready(&self, server: usize) -> Option<(bool, String)> {
        let server = self.see(server);
        let ready = condition::find(&server.status.conditions, "Ready")?;
        Some((ready.status == ConditionStatus::True, ready.reason.clone()))
    }

    /// Runs a runbook against a server until it has ended.
    pub(crate) async fn run(&self, runbook: &str, server: usize) -> Run {
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

    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.engine.await.unwrap();
    }
}

/// An object as the API would store it.
pub(crate) fn created(kind: KindRef, value: &Value) -> Mutation {
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
