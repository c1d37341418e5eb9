//! A plane in a test, told as a story: what a person writes, what they see.

use crate::outside::Outside;
use jiff::Timestamp;
use quarterdeck_engine::{Actions, Engine};
use quarterdeck_model::{
    FieldSelector, Key, Kind, KindRef, LabelSelector, Object,
    kinds::{Event, Image, Run, RunPhase, Runbook, Server},
    object,
};
use quarterdeck_providers::http::{self, Reach};
use quarterdeck_simtest::{Disk, Process};
use quarterdeck_store::{Mutation, Outcome, Precondition, Store, WatchQuery, Write};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

/// Longest anything may take, by the clock that moves only when nothing else can.
const LIMIT: Duration = Duration::from_secs(12 * 3600);

/// When every test begins.
pub(crate) fn beginning() -> Timestamp {
    "2026-11-02T08:00:00Z".parse().unwrap()
}

fn at(clock: (Timestamp, Instant), skipped: &AtomicU64) -> Timestamp {
    clock.0 + clock.1.elapsed() + Duration::from_secs(skipped.load(Ordering::Relaxed))
}

/// A plane that runs.
pub(crate) struct Plane {
    pub(crate) disk: Arc<Disk>,
    pub(crate) outside: Arc<Outside>,
    pub(crate) store: Arc<Store>,
    process: Arc<Process>,
    stop: watch::Sender<bool>,
    engine: JoinHandle<()>,
    /// The time at some instant.
    clock: (Timestamp, Instant),
    /// Seconds that passed at once.
    skipped: Arc<AtomicU64>,
}

impl Plane {
    /// A plane with nothing in it.
    pub(crate) async fn new() -> Self {
        let (disk, outside) = (Arc::default(), Arc::default());
        Self::start(disk, outside, (beginning(), Instant::now())).await
    }

    /// A plane on what `disk` holds.
    pub(crate) async fn start(
        disk: Arc<Disk>,
        outside: Arc<Outside>,
        clock: (Timestamp, Instant),
    ) -> Self {
        let process = Process::alone(&disk);
        Self::with(process, disk, outside, clock).await
    }

    /// One more plane on the same disk.
    pub(crate) async fn another(&self) -> Self {
        let process = Process::one_of_many(&self.disk);
        Self::with(process, self.disk.clone(), self.outside.clone(), self.clock).await
    }

    /// The same, which acts on a world of its own.
    pub(crate) async fn another_elsewhere(&self) -> Self {
        let process = Process::one_of_many(&self.disk);
        Self::with(process, self.disk.clone(), Arc::default(), self.clock).await
    }

    /// Waits until this many shards are held, each by one of so many planes.
    pub(crate) async fn shared_by(&self, planes: usize) {
        let settled = async {
            loop {
                let held = self.store.leases().await.unwrap();
                let mut shards: BTreeMap<String, usize> = BTreeMap::new();
                for lease in held.iter().filter(|lease| lease.name.starts_with("shard-")) {
                    *shards.entry(lease.holder.clone()).or_default() += 1;
                }
                let even = shards.values().all(|count| *count <= 16_usize.div_ceil(planes));
                if shards.len() == planes && even && shards.values().sum::<usize>() == 16 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(60), settled).await.expect("all shards are held evenly");
    }

    /// A plane that shares its disk with others.
    pub(crate) async fn sharing() -> Self {
        let (disk, outside) = (Arc::<Disk>::default(), Arc::default());
        let process = Process::one_of_many(&disk);
        Self::with(process, disk, outside, (beginning(), Instant::now())).await
    }

    async fn with(
        process: Arc<Process>,
        disk: Arc<Disk>,
        outside: Arc<Outside>,
        clock: (Timestamp, Instant),
    ) -> Self {
        let store = Arc::new(Store::open(process.clone()).await.unwrap());
        let mut catalog = outside.catalog();
        // What checks of rollouts ask is asked over real connections.
        http::add_actions(Reach::NetworkAndLoopback, &mut catalog);
        let actions = Arc::new(Actions::new(catalog));
        let (stop, stopping) = watch::channel(false);
        let skipped = Arc::<AtomicU64>::default();
        let engine = Engine::new(store.clone(), actions, stopping);
        let engine = engine.reaching(Reach::NetworkAndLoopback).with_clock({
            let skipped = skipped.clone();
            move || at(clock, &skipped)
        });
        let engine = tokio::spawn(engine.run());
        Self { disk, outside, store, process, stop, engine, clock, skipped }
    }

    pub(crate) fn now(&self) -> Timestamp {
        at(self.clock, &self.skipped)
    }

    /// Tells the time, also once the plane is gone.
    pub(crate) fn clock_now(&self) -> impl Fn() -> String + Send + use<> {
        let (clock, skipped) = (self.clock, self.skipped.clone());
        move || at(clock, &skipped).to_string()
    }

    /// Lets time pass at once by the calendar, without what would happen meanwhile.
    pub(crate) fn skip(&self, time: Duration) {
        self.skipped.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    /// The process dies, with all it had in memory; another starts on what is on the disk.
    pub(crate) async fn crash_and_restart(self) -> Self {
        let (disk, outside, clock) = self.crash().await;
        Self::start(disk, outside, clock).await
    }

    /// The same, and somebody does something to what is on the disk in between, leases among it.
    pub(crate) async fn crash_and_restart_after(self, meanwhile: impl AsyncFnOnce(&Store)) -> Self {
        let (disk, outside, clock) = self.crash().await;
        let process = Process::alone(&disk);
        meanwhile(&Store::open(process.clone()).await.unwrap()).await;
        process.kill();
        let process = Process::one_of_many(&disk);
        Self::with(process, disk, outside, clock).await
    }

    async fn crash(self) -> (Arc<Disk>, Arc<Outside>, (Timestamp, Instant)) {
        self.process.kill();
        self.engine.abort();
        let _ = self.engine.await;
        (self.disk, self.outside, self.clock)
    }

    /// The process is cut off from the store and the world, and holds on to what it has.
    pub(crate) fn freeze(&self) {
        self.process.kill();
    }

    /// Ends in order.
    pub(crate) async fn stop(self) -> (Arc<Disk>, Arc<Outside>) {
        self.stop.send_replace(true);
        self.engine.await.unwrap();
        (self.disk, self.outside)
    }

    /// Writes an object as the API would.
    pub(crate) async fn create(&self, kind: KindRef, namespace: &str, name: &str, fields: Value) {
        let key = Key::new(kind, namespace, name);
        let mut value = fields;
        let meta = json!({
            "name": name, "uid": uuid::Uuid::new_v4().to_string(), "generation": 1,
            "creationTimestamp": Timestamp::from_second(self.now().as_second()).unwrap().to_string(),
        });
        let own = value.as_object_mut().unwrap().entry("metadata").or_insert_with(|| json!({}));
        let own = own.as_object_mut().unwrap();
        own.extend(meta.as_object().unwrap().clone());
        if kind.namespaced() {
            own.insert("namespace".into(), namespace.into());
        }
        let outcome = self.write(kind, key, Precondition::Absent, &value).await;
        assert!(matches!(outcome, Outcome::Committed(_)), "{name}: {outcome:?}");
    }

    async fn write(
        &self,
        kind: KindRef,
        key: Key,
        precondition: Precondition,
        value: &Value,
    ) -> Outcome {
        let write = Write::Put(object::encode(kind, value).into());
        let mutation = Mutation { key, write, precondition, fence: None };
        self.store.commit(vec![mutation]).await.unwrap()[0]
    }

    /// Changes an object as a person would, until nobody came between.
    pub(crate) async fn patch(
        &self,
        kind: KindRef,
        namespace: &str,
        name: &str,
        change: impl Fn(&mut Value),
    ) {
        loop {
            let world = self.store.fresh().await.unwrap();
            let object = world.get(kind, namespace, name).unwrap();
            let mut value = object.value();
            change(&mut value);
            if value.get("spec") != object.value().get("spec") {
                let generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
                value["metadata"]["generation"] = json!(generation + 1);
            }
            let at = Precondition::At(object.revision);
            let outcome = self.write(kind, object.key.clone(), at, &value).await;
            if matches!(outcome, Outcome::Committed(_)) {
                return;
            }
        }
    }

    /// Asks for an object's deletion, as the API does.
    pub(crate) async fn delete(&self, kind: KindRef, namespace: &str, name: &str) {
        let object = self.store.world().get(kind, namespace, name).unwrap();
        if object.held() {
            let now = Timestamp::from_second(self.now().as_second()).unwrap().to_string();
            self.patch(kind, namespace, name, |value| {
                value["metadata"]["deletionTimestamp"] = json!(now);
            })
            .await;
            return;
        }
        let precondition = Precondition::At(object.revision);
        let key = object.key.clone();
        let gone = Mutation { key, write: Write::Delete, precondition, fence: None };
        let outcomes = self.store.commit(vec![gone]).await.unwrap();
        assert!(matches!(outcomes[0], Outcome::Committed(_)), "{name}: {outcomes:?}");
    }

    /// Creates a runbook out of its spec in YAML.
    pub(crate) async fn runbook(&self, name: &str, spec: &str) {
        let spec: Value = serde_saphyr::from_str(spec).unwrap();
        self.create(Runbook::info(), "", name, json!({"spec": spec})).await;
    }

    /// Changes a runbook.
    pub(crate) async fn change_runbook(&self, name: &str, spec: &str) {
        let spec: Value = serde_saphyr::from_str(spec).unwrap();
        self.patch(Runbook::info(), "", name, |value| value["spec"] = spec.clone()).await;
    }

    /// Creates an image, to be a target: nothing but runs looks at one.
    pub(crate) async fn image(&self, name: &str) {
        let spec =
            json!({"url": "https://images.example/a", "checksum": "sha256:00", "format": "Raw"});
        self.create(Image::info(), "", name, json!({"spec": spec})).await;
    }

    /// Creates a server, to be a target that shows which run acts on it.
    pub(crate) async fn server(&self, name: &str) {
        let spec = json!({"bmc": {"address": "192.0.2.1"}});
        self.create(Server::info(), "", name, json!({"spec": spec})).await;
    }

    /// Creates a run out of its spec in YAML.
    pub(crate) async fn run(&self, name: &str, spec: &str) {
        let spec: Value = serde_saphyr::from_str(spec).unwrap();
        self.create(Run::info(), "default", name, json!({"spec": spec})).await;
    }

    /// Asks something of a run: one field of its spec, by JSON.
    pub(crate) async fn ask(&self, name: &str, field: &str, value: Value) {
        self.patch(Run::info(), "default", name, |run| run["spec"][field] = value.clone()).await;
    }

    /// A run as it is now.
    pub(crate) fn see(&self, name: &str) -> Run {
        self.find(name).unwrap_or_else(|| panic!("there is no run {name}"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Run> {
        let object = self.store.world().get(Run::info(), "default", name)?;
        Some(object.decode().unwrap())
    }

    /// Waits until something is true of the objects of `kind`.
    pub(crate) async fn when<T>(
        &self,
        kind: KindRef,
        what: &str,
        mut look: impl FnMut() -> Option<T>,
    ) -> T {
        let watch = || {
            self.store.watch(WatchQuery {
                kind,
                namespace: None,
                labels: LabelSelector::default(),
                fields: FieldSelector::default(),
                since: self.store.world().revision(),
            })
        };
        let mut watcher = watch();
        let looking = async {
            loop {
                if let Some(found) = look() {
                    return found;
                }
                if watcher.next().await.is_err() {
                    // Nothing changed for so long that history was forgotten up to there.
                    watcher = watch();
                }
            }
        };
        if let Ok(found) = timeout(LIMIT, looking).await {
            return found;
        }
        let world = self.store.world();
        let runs: Vec<Value> = world.all(Run::info()).map(|run| run.value()).collect();
        panic!(
            "waited {LIMIT:?} for {what}; runs: {}",
            serde_json::to_string_pretty(&runs).unwrap()
        );
    }

    /// Waits until a run is as wanted.
    pub(crate) async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Run) -> bool) -> Run {
        let what = format!("run {name} to be {what}");
        self.when(Run::info(), &what, || self.find(name).filter(&wanted)).await
    }

    /// Waits until a run is in a phase.
    pub(crate) async fn phase(&self, name: &str, phase: RunPhase) -> Run {
        self.until(name, &format!("{phase:?}"), |run| run.status.phase == phase).await
    }

    /// Waits until a run is gone.
    pub(crate) async fn gone(&self, name: &str) {
        self.when(Run::info(), &format!("run {name} to be gone"), || {
            self.find(name).is_none().then_some(())
        })
        .await;
    }

    /// Waits until a run, which has ended, asks nothing more of the engine.
    pub(crate) async fn ends(&self, name: &str) -> Run {
        self.until(name, "ended", |run| run.status.phase.ended()).await
    }

    /// `Reason: message` of the events about an object, in the order they were written.
    pub(crate) fn story(&self, kind: &str, name: &str) -> Vec<String> {
        let world = self.store.world();
        let mut events: Vec<&Arc<Object>> = world
            .all(Event::info())
            .filter(|event| event.field("involvedObject.kind") == Some(kind))
            .filter(|event| event.field("involvedObject.name") == Some(name))
            .collect();
        events.sort_by_key(|event| event.revision);
        events
            .iter()
            .map(|event| {
                let event: Event = event.decode().unwrap();
                format!("{}: {}", event.reason, event.message)
            })
            .collect()
    }

    /// Only the reasons of those.
    pub(crate) fn reasons(&self, kind: &str, name: &str) -> Vec<String> {
        let story = self.story(kind, name);
        story.iter().map(|event| event.split(':').next().unwrap().to_owned()).collect()
    }

    /// Phases a run was in, one after the other, as a watcher sees them.
    pub(crate) fn phases(&self, name: &str) -> Vec<String> {
        let kind = Run::info().resource_name();
        let versions = self.disk.versions(|key| key.kind == kind && &*key.name == name);
        let mut phases: Vec<String> = versions
            .iter()
            .map(|run| run["status"]["phase"].as_str().unwrap_or("Pending").to_owned())
            .collect();
        phases.dedup();
        phases
    }
}

/// Name and phase of each step of a run.
pub(crate) fn steps(run: &Run) -> Vec<(String, String)> {
    let steps = run.status.steps.iter();
    steps.map(|step| (step.name.clone(), format!("{:?}", step.phase))).collect()
}

/// The same as one line.
pub(crate) fn line(run: &Run) -> String {
    let steps = steps(run);
    steps.iter().map(|(name, phase)| format!("{name} {phase}")).collect::<Vec<_>>().join(", ")
}
