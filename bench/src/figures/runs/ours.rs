//! Quarterdeck's engine over SQLite, with an action that does nothing.

use super::{Caller, Engine};
use crate::Failure;
use quarterdeck_engine::Actions;
use quarterdeck_model::{
    FieldSelector, Key, Kind, KindRef, LabelSelector, kinds,
    kinds::{Namespace, Run, Runbook},
    object,
};
use quarterdeck_providers::{Action, ActionContext, ActionError, Catalog};
use quarterdeck_store::{
    Mutation, Outcome, Precondition, Sqlite, Store, WatchQuery, Watcher, Write,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{oneshot, watch};

/// Namespace of the runs.
const NAMESPACE: &str = "default";

/// Nothing goes in and nothing comes out.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Nothing {}

/// Does nothing, and says that it changed the world.
struct DoNothing;

impl Action for DoNothing {
    type Input = Nothing;
    type Output = Nothing;

    const NAME: &'static str = "bench.nothing";
    const SUMMARY: &'static str = "Does nothing.";
    const TARGET_KINDS: &'static [&'static str] = &[];
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, _: &ActionContext, _: Nothing) -> Result<Nothing, ActionError> {
        Ok(Nothing {})
    }
}

/// Who waits for which run.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<String>>>>;

/// An engine at work. Ends with the process.
pub(super) struct Ours {
    store: Store,
    waiting: Waiting,
    number: Arc<AtomicU64>,
    _stop: watch::Sender<bool>,
}

/// Someone who wants runs.
pub(super) struct Wanting {
    store: Store,
    waiting: Waiting,
    number: Arc<AtomicU64>,
}

impl Ours {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failure> {
        let data = folder.join("quarterdeck");
        std::fs::create_dir(&data)?;
        let store = Store::open(Arc::new(Sqlite::open(&data)?)).await?;
        let mut mutations = vec![create(Namespace::info(), "", NAMESPACE, json!({}))];
        for steps in [super::SHORT, super::LONG] {
            mutations.push(create(Runbook::info(), "", &runbook(steps), runbook_spec(steps)));
        }
        commit(&store, mutations).await?;
        let mut catalog = Catalog::new();
        catalog.add(DoNothing);
        let (stop, stopping) = watch::channel(false);
        let actions = Arc::new(Actions::new(catalog));
        let engine = quarterdeck_engine::Engine::new(Arc::new(store.clone()), actions, stopping);
        tokio::spawn(engine.run());
        let waiting = Waiting::default();
        tokio::spawn(tell(watcher(&store), waiting.clone()));
        Ok(Self { store, waiting, number: Arc::default(), _stop: stop })
    }
}

fn runbook(steps: u32) -> String {
    format!("steps-{steps}")
}

fn runbook_spec(steps: u32) -> Value {
    let step = |number| json!({"name": format!("step-{number}"), "action": "bench.nothing"});
    json!({"summary": "Does nothing, durably.", "steps": (0..steps).map(step).collect::<Vec<_>>()})
}

/// A create as the API would commit it.
fn create(kind: KindRef, namespace: &str, name: &str, spec: Value) -> Mutation {
    let mut value = json!({
        "metadata": {
            "name": name,
            "uid": uuid(name),
            "generation": 1,
            "creationTimestamp": "2026-03-14T09:26:53Z",
        },
        "spec": spec,
    });
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut)
        && !namespace.is_empty()
    {
        meta.insert("namespace".into(), namespace.into());
    }
    Mutation {
        key: Key::new(kind, namespace, name),
        write: Write::Put(object::encode(kind, &value).into()),
        precondition: Precondition::Absent,
        fence: None,
    }
}

/// Names are unique here, and nobody looks at the form of a uid.
fn uuid(name: &str) -> String {
    format!("00000000-0000-4000-8000-{name}")
}

async fn commit(store: &Store, mutations: Vec<Mutation>) -> Result<(), Failure> {
    let outcomes = store.commit(mutations).await?;
    match outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed(_))) {
        true => Ok(()),
        false => Err(format!("an object was not created: {outcomes:?}").into()),
    }
}

fn watcher(store: &Store) -> Watcher {
    store.watch(WatchQuery {
        kind: Run::info(),
        namespace: None,
        labels: LabelSelector::default(),
        fields: FieldSelector::default(),
        since: store.world().revision(),
    })
}

/// Tells those who wait for a run that it has ended, and how.
async fn tell(mut runs: Watcher, waiting: Waiting) {
    while let Ok(events) = runs.next().await {
        for event in events {
            let phase = event.object.field("status.phase").unwrap_or_default();
            if matches!(phase, "Succeeded" | "Failed" | "Cancelled") {
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(caller) = waiting.remove(event.object.name()) {
                    // A caller that went away does not need its answer.
                    let _ = caller.send(phase.to_owned());
                }
            }
        }
    }
    // Whoever waits hears nothing more: their channels close.
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

impl Engine for Ours {
    type Caller = Wanting;

    async fn caller(&self) -> Result<Wanting, Failure> {
        let (store, waiting, number) =
            (self.store.clone(), self.waiting.clone(), self.number.clone());
        Ok(Wanting { store, waiting, number })
    }
}

impl Caller for Wanting {
    async fn run(&mut self, steps: u32) -> Result<(), Failure> {
        let name = format!("run-{:09}", self.number.fetch_add(1, Ordering::Relaxed));
        let (ended, phase) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), ended);
        let spec = json!({"runbook": runbook(steps)});
        commit(&self.store, vec![create(kinds::Run::info(), NAMESPACE, &name, spec)]).await?;
        match phase.await?.as_str() {
            "Succeeded" => Ok(()),
            phase => Err(format!("run {name} ended as {phase}").into()),
        }
    }
}
