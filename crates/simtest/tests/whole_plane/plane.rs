//! A simulated plane: replicas on one disk, over one simulated fleet, on one thread and one clock. It can be
//! broken in every way that a seed asks for, and writes what people write.

use crate::{clock::Clock, dice::Dice, rack, trace::Trace, watched, witness::Witness};
use jiff::SignedDuration;
use quarterdeck_engine::{Actions, Engine};
use quarterdeck_model::{Key, KindRef, Object, Revision, object};
use quarterdeck_providers::{Catalog, Providers, http::Reach};
use quarterdeck_sim::{Latency, Simulation};
use quarterdeck_simtest::{Disk, Process};
use quarterdeck_store::{Mutation, Outcome, Precondition, Store, Write};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

/// How many replicas there are.
pub(crate) const REPLICAS: usize = 2;
/// How long a person waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest way of a commit to the disk, and back.
const WAY_MAX: Duration = Duration::from_millis(50);

/// A replica that runs.
pub(crate) struct Replica {
    pub(crate) process: Arc<Process>,
    pub(crate) store: Arc<Store>,
    stop: watch::Sender<bool>,
    engine: JoinHandle<()>,
    /// It holds on to what it has in memory, and nothing reaches it.
    pub(crate) cut_off: bool,
}

/// The plane.
pub(crate) struct Plane {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) clock: Clock,
    /// Those of the hosts that replicas run on.
    pub(crate) hosts: Vec<Clock>,
    pub(crate) trace: Trace,
    pub(crate) disk: Arc<Disk>,
    pub(crate) simulation: Simulation,
    /// What there is to be done, by twins where a machine is needed.
    catalog: Catalog,
    pub(crate) witness: Arc<Mutex<Witness>>,
    pub(crate) replicas: Vec<Option<Replica>>,
    /// Servers, with the addresses of their BMCs.
    pub(crate) machines: Vec<(String, String)>,
    /// The same as they were declared.
    pub(crate) manifests: Vec<Value>,
    /// How many racks they are in.
    pub(crate) racks: usize,
    /// Gives each object that people create another name.
    pub(crate) number: usize,
    shared: bool,
    /// Batches on their way to the disk: one as with SQLite, or more as with PostgreSQL.
    at_once: usize,
}

impl Plane {
    /// The plane of a seed, with nothing in it and no replica.
    pub(crate) fn new(seed: u64, replicas: usize, aloud: bool) -> Self {
        let clock = Clock::new();
        let trace = Trace::new(clock.clone(), aloud);
        let disk = Arc::<Disk>::default();
        let simulation = Simulation::new(seed, Latency::Realistic { speed: 1.0 });
        let witness = Witness::new(clock.clone(), trace.clone(), simulation.clone());
        let witness = Arc::new(Mutex::new(witness));
        let of_disk = witness.clone();
        disk.witnessed_by(move |changes| of_disk.lock().unwrap().committed(changes));
        let of_machines = witness.clone();
        simulation.witnessed_by(move |effect| of_machines.lock().unwrap().done(effect));
        let mut catalog = Providers::new(Reach::default()).catalog().clone();
        simulation.add_actions(&mut catalog);
        rack::add(&mut catalog, &witness);
        watched::all(&mut catalog, &witness);
        Self {
            seed,
            dice: Dice::of(&[seed, 2]),
            hosts: (0..replicas).map(|_| clock.of_host()).collect(),
            clock,
            trace,
            disk,
            simulation,
            catalog,
            witness,
            replicas: (0..replicas).map(|_| None).collect(),
            machines: Vec::new(),
            manifests: Vec::new(),
            racks: 0,
            number: 0,
            shared: replicas > 1,
            at_once: [1, 3][Dice::of(&[seed, 5]).below(2)],
        }
    }

    /// From now on commits take time.
    pub(crate) fn delay_commits(&self) {
        let mut dice = Dice::of(&[self.seed, 3]);
        self.disk.delayed_by(move || match dice.below(4) {
            0 => dice.time(Duration::from_millis(1), WAY_MAX),
            _ => Duration::ZERO,
        });
    }

    /// Starts a replica; it stays down when the disk cannot be read.
    pub(crate) async fn start(&mut self, number: usize) {
        let process = match self.shared {
            true => Process::one_of_many(&self.disk),
            false => Process::alone(&self.disk),
        };
        process.commits_at_once(self.at_once);
        let store = match Store::open(process.clone()).await {
            Ok(store) => Arc::new(store),
            Err(why) => return self.trace.say(format!("replica {number} cannot start: {why}")),
        };
        let (stop, stopping) = watch::channel(false);
        // No two clocks are the same.
        let skew = SignedDuration::from_millis(self.dice.below(2_000) as i64 - 1_000);
        let clock = self.hosts[number].clone();
        let engine =
            Engine::new(store.clone(), Arc::new(Actions::new(self.catalog.clone())), stopping)
                .with_clock(move || clock.now() + skew);
        let engine = tokio::spawn(engine.run());
        self.replicas[number] = Some(Replica { process, store, stop, engine, cut_off: false });
        self.trace.say(format!("replica {number} starts"));
    }

    /// A replica dies where it stands, with all it had in memory.
    pub(crate) async fn kill(&mut self, number: usize) {
        let Some(replica) = self.replicas[number].take() else { return };
        replica.process.kill();
        replica.engine.abort();
        let _ = replica.engine.await;
        self.trace.say(format!("replica {number} dies"));
    }

    /// A replica ends in order, as with an upgrade.
    pub(crate) async fn stop(&mut self, number: usize) {
        let Some(replica) = self.replicas[number].take() else { return };
        replica.stop.send_replace(true);
        if timeout(PATIENCE, replica.engine).await.is_err() {
            self.trace.say(format!("replica {number} does not end in time, and is killed"));
        }
        replica.process.kill();
        self.trace.say(format!("replica {number} ends in order"));
    }

    /// Takes away what is left of replicas that died by themselves.
    async fn bury(&mut self) {
        for number in 0..self.replicas.len() {
            let dead = self.replicas[number].as_ref().is_some_and(|it| !it.process.is_alive());
            if dead {
                self.kill(number).await;
            }
        }
    }

    /// Lets time pass, and all that happens meanwhile.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let disk = self.disk.clone();
            tokio::select! {
                biased;
                () = disk.died.notified() => self.bury().await,
                () = sleep_until(until) => return,
            }
        }
    }

    /// A replica that answers people, if there is one.
    fn answering(&mut self) -> Option<(usize, Arc<Store>)> {
        let up = |(number, replica): (usize, &Option<Replica>)| {
            replica.as_ref().map(|replica| (number, replica.store.clone()))
        };
        let up: Vec<_> = self.replicas.iter().enumerate().filter_map(up).collect();
        self.dice.pick(&up)
    }

    /// What is stored, as a replica shows it.
    pub(crate) fn see(&mut self, kind: KindRef) -> Vec<Arc<Object>> {
        let store = self.answering().map(|(_, store)| store);
        store.map(|store| store.world().all(kind).cloned().collect()).unwrap_or_default()
    }

    /// Writes as the API does on behalf of a person, and keeps the plane to its answer.
    pub(crate) async fn write(
        &mut self,
        key: Key,
        write: Write,
        precondition: Precondition,
    ) -> bool {
        let Some((number, store)) = self.answering() else {
            self.trace.say("  ... and nobody answers");
            return false;
        };
        let mutation = Mutation { key: key.clone(), write, precondition, fence: None };
        let answer = timeout(PATIENCE, store.commit(vec![mutation.clone()])).await;
        let outcome = match answer {
            Err(_) => format!("no answer within {PATIENCE:?}"),
            Ok(Err(why)) => why.to_string(),
            Ok(Ok(outcomes)) => match outcomes[0] {
                Outcome::Committed(revision) => {
                    self.acknowledged(number, &store, &mutation, revision);
                    format!("revision {revision}")
                }
                other => format!("{other:?}"),
            },
        };
        self.trace.say(format!("  ... {key} by way of replica {number}: {outcome}"));
        outcome.starts_with("revision")
    }

    /// What a person was told is durable, and is shown by whoever told them.
    fn acknowledged(&self, number: usize, store: &Store, mutation: &Mutation, at: Revision) {
        let body = match &mutation.write {
            Write::Put(body) => Some(body.clone()),
            Write::Delete => None,
        };
        let stored = self.disk.change(at);
        let same = stored.is_some_and(|it| it.key == mutation.key && it.body == body);
        if !same {
            self.trace.broken(format!("{} was acknowledged and is not stored", mutation.key));
        }
        let cut_off = self.replicas[number].as_ref().is_some_and(|replica| replica.cut_off);
        if !cut_off && !self.disk.is_away() && store.world().revision() < at {
            self.trace.broken(format!("replica {number} answers {at} and shows an older state"));
        }
    }

    /// Creates an object as the API would.
    pub(crate) async fn create(&mut self, kind: KindRef, value: &Value) -> bool {
        let mut value = (kind.admit)(value, None).unwrap_or_else(|why| panic!("{value}: {why:?}"));
        let meta = json!({
            "uid": uuid::Uuid::new_v4().to_string(),
            "generation": 1,
            "creationTimestamp": second(&self.clock),
        });
        value["metadata"].as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
        let key = Key::new(kind, text("namespace"), text("name"));
        let write = Write::Put(object::encode(kind, &value).into());
        self.write(key, write, Precondition::Absent).await
    }

    /// Changes an object as the API would, in the version that a replica shows; gives up when somebody came
    /// between.
    pub(crate) async fn change(
        &mut self,
        object: &Object,
        change: impl FnOnce(&mut Value),
    ) -> bool {
        let before = object.value();
        let mut value = before.clone();
        change(&mut value);
        if value.get("spec") != before.get("spec") {
            let generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
            value["metadata"]["generation"] = json!(generation + 1);
        }
        if value == before {
            return false;
        }
        let write = Write::Put(object::encode(object.kind, &value).into());
        self.write(object.key.clone(), write, Precondition::At(object.revision)).await
    }

    /// Deletes an object as the API would.
    pub(crate) async fn delete(&mut self, object: &Object) -> bool {
        if object.held() {
            let now = second(&self.clock);
            let mark = |value: &mut Value| value["metadata"]["deletionTimestamp"] = json!(now);
            return !object.deleting() && self.change(object, mark).await;
        }
        self.write(object.key.clone(), Write::Delete, Precondition::At(object.revision)).await
    }

    /// A name that nothing had before.
    pub(crate) fn name(&mut self, what: &str) -> String {
        self.number += 1;
        format!("{what}-{}", self.number)
    }
}

/// The time as objects have it.
pub(crate) fn second(clock: &Clock) -> String {
    jiff::Timestamp::from_second(clock.now().as_second()).unwrap().to_string()
}
