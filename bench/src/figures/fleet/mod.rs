//! How fast servers come from first contact to ready: the whole engine over SQLite, everything durable, with
//! simulated BMCs that answer at once. The limit is a rate; beside it stands what another system's makers have
//! measured. Ten times fewer servers show whether the time for each grows with the fleet. Then a campaign goes over
//! many of them, under services with a million instances.

mod campaign;
pub(crate) mod latency;
pub(crate) mod provision;

use crate::{
    Failure,
    report::{Aim, Quantity, Row},
};
use quarterdeck_engine::{Actions, Engine, INSPECT_RUNBOOK, SYSTEM_NAMESPACE};
use quarterdeck_model::{
    FieldSelector, Key, Kind as _, KindRef, LabelSelector,
    kinds::{Namespace, Runbook, Server},
    object,
};
use quarterdeck_providers::{Providers, http::Reach};
use quarterdeck_sim::{Fleet, Latency, Simulation};
use quarterdeck_store::{ListQuery, Mutation, Precondition, Sqlite, Store, Write};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinHandle};

const SERVERS: u32 = 110_000;
const FEWER: u32 = 11_000;
const SEED: u64 = 7;
/// Servers that are ready or say why not, a second.
const RATE: f64 = 1_000.0;
/// Share of servers that is waited for: the rest has faults that take their time.
const SHARE: f64 = 0.98;
const LOOK: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(1_200);
/// Objects in one commit.
pub(super) const BATCH: usize = 512;

/// An object as the API would write it.
pub(super) fn write(kind: KindRef, mut value: Value) -> Mutation {
    let text = |value: &Value, path: &str| {
        value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (namespace, name) = (text(&value, "/metadata/namespace"), text(&value, "/metadata/name"));
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.insert("uid".into(), format!("{}-{namespace}-{name}", kind.plural).into());
        meta.insert("generation".into(), 1.into());
        meta.insert("creationTimestamp".into(), "2026-01-01T00:00:00Z".into());
    }
    // What admission fills in, such as the data of a Secret given as text.
    let value = (kind.admit)(&value, None).unwrap_or(value);
    Mutation {
        key: Key::new(kind, &namespace, &name),
        write: Write::Put(object::encode(kind, &value).into()),
        precondition: Precondition::Absent,
        fence: None,
    }
}

pub(super) fn with_phase(store: &Store, phase: &str) -> usize {
    let fields = FieldSelector::parse(&format!("status.phase={phase}")).unwrap_or_default();
    let world = store.world();
    world
        .list(&ListQuery {
            kind: Server::info(),
            namespace: None,
            labels: &LabelSelector::default(),
            fields: &fields,
            after: None,
            limit: None,
        })
        .items
        .len()
}

/// An engine over the simulated fleet, as long as it is kept.
pub(super) struct Running {
    stop: watch::Sender<bool>,
    engine: JoinHandle<()>,
}

impl Running {
    /// BMCs answer at once.
    pub(super) fn start(store: &Arc<Store>) -> Self {
        Self::over(&Simulation::new(SEED, Latency::None), store)
    }

    fn over(simulation: &Simulation, store: &Arc<Store>) -> Self {
        let real = Providers::new(Reach::default());
        let providers = real.with_actions(|catalog| simulation.add_actions(catalog));
        let actions = Arc::new(Actions::new(providers.catalog().clone()));
        let (stop, stopping) = watch::channel(false);
        let engine = tokio::spawn(Engine::new(store.clone(), actions, stopping).run());
        Self { stop, engine }
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.stop.send_replace(true);
        Ok(self.engine.await?)
    }
}

/// Writes what an inspection needs, and a fleet of servers, each as `change` leaves it.
pub(super) async fn open_fleet(
    store: &Store,
    seed: u64,
    servers: u32,
    mut change: impl FnMut(KindRef, &mut Value),
) -> Result<(), Failure> {
    let namespaces = ["default", SYSTEM_NAMESPACE]
        .map(|name| write(Namespace::info(), json!({"metadata": {"name": name}})));
    let runbook = json!({"metadata": {"name": INSPECT_RUNBOOK}, "spec": {
        "target": {"kind": "Server"}, "timeout": "30m",
        "steps": [{"name": "inventory", "action": "inventory.refresh", "timeout": "5m",
                   "retry": {"attempts": 3, "backoff": "2s", "maxBackoff": "30s"}}],
    }});
    let mut all: Vec<Mutation> = namespaces.into();
    all.push(write(Runbook::info(), runbook));
    for object in Fleet::new(seed, servers).objects() {
        let mut manifest = object.manifest();
        change(object.kind(), &mut manifest);
        all.push(write(object.kind(), manifest));
        if all.len() >= BATCH {
            store.commit(std::mem::take(&mut all)).await?;
        }
    }
    store.commit(all).await?;
    Ok(())
}

/// Writes a fleet that nobody has looked at yet, with those that the campaign is for.
async fn declare(store: &Store, servers: u32) -> Result<(), Failure> {
    let mut labelled = 0;
    let label = |kind: KindRef, manifest: &mut Value| {
        if kind == Server::info()
            && labelled < campaign::TARGETS
            && let Some(labels) = manifest.pointer_mut("/metadata/labels")
            && let Some(labels) = labels.as_object_mut()
        {
            labelled += 1;
            labels.insert(campaign::LABEL.into(), "yes".into());
        }
    };
    open_fleet(store, SEED, servers, label).await
}

/// How long it takes until nearly all servers are ready.
async fn until_ready(store: &Store, servers: u32) -> Result<Duration, Failure> {
    let begin = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let ready = with_phase(store, "Ready");
        #[expect(clippy::cast_precision_loss, reason = "a fleet is small as numbers go")]
        if ready as f64 >= f64::from(servers) * SHARE {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > LONGEST {
            return Err(format!("{ready} of {servers} servers were ready after {LONGEST:?}").into());
        }
    }
}

/// Servers a second, from the moment the engine begins.
async fn enrol(store: &Arc<Store>, servers: u32) -> Result<f64, Failure> {
    declare(store, servers).await?;
    let running = Running::start(store);
    let took = until_ready(store, servers).await?;
    running.stop().await?;
    Ok(f64::from(servers) * SHARE / took.as_secs_f64())
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let fewer = enrol(&open(&folder.join("fewer")).await?, FEWER).await?;
    let store = open(&folder.join("all")).await?;
    let all = enrol(&store, SERVERS).await?;
    let mut rows = vec![
        Row {
            what: format!("{SERVERS} servers from Registered to Ready, BMCs without latency, all durable"),
            ours: Quantity::per_second(all),
            peer: "the aim itself (60,000 a minute); NVIDIA Infra Controller has published 45 to 58 a minute on three \
                   hosts"
                .into(),
            theirs: Quantity::per_second(RATE),
            aim: Aim::AtLeast(1.0),
        },
        Row {
            what: format!("the same: servers a second of {SERVERS}"),
            ours: Quantity::per_second(all),
            peer: format!("of {FEWER}"),
            theirs: Quantity::per_second(fewer),
            aim: Aim::AtLeast(0.8),
        },
    ];
    rows.extend(campaign::run(&store).await?);
    Ok(rows)
}

/// An empty store in a folder.
pub(super) async fn open(folder: &Path) -> Result<Arc<Store>, Failure> {
    std::fs::create_dir_all(folder)?;
    Ok(Arc::new(Store::open(Arc::new(Sqlite::open(folder)?)).await?))
}
