//! What a run executes: its runbook and all it calls, frozen when it begins, so that a changed
//! runbook never changes a run under way.

use crate::objects::EngineError;
use quarterdeck_model::{
    FieldErrors, Kind as _, ObjectMeta, Revision, Time,
    kinds::{Runbook, RunbookRevision, RunbookRevisionSpec, RunbookSpec, Step},
};
use quarterdeck_runbook::{Definition, Definitions, check_frozen};
use quarterdeck_store::World;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Most compiled definitions kept; each is some tens of kilobytes.
const KEPT_MAX: usize = 1_024;
/// Most runbooks one run may reach through its calls.
const REACHED_MAX: usize = 64;

/// Why a run cannot begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// One CamelCase word.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) message: String,
}

/// A frozen runbook, compiled.
pub(crate) struct Frozen {
    pub(crate) root: RunbookSpec,
    pub(crate) definition: Definition,
    /// Some action in it changes the world, so a run of it holds its target.
    pub(crate) effects: bool,
    /// What is wrong with it as actions are now. No run of it begins; one that has begun goes on.
    pub(crate) problems: FieldErrors,
}

/// What was frozen and compiled lately: most runs execute what others did.
#[derive(Default)]
pub(crate) struct FrozenCache {
    /// By the name of the revision.
    compiled: Mutex<HashMap<String, Arc<Frozen>>>,
    /// By the name of the runbook.
    newest: Mutex<HashMap<String, Newest>>,
}

/// The newest revision of a runbook.
#[derive(Clone)]
struct Newest {
    /// It holds as long as each of these runbooks is at that revision of the store.
    of: Vec<(String, Revision)>,
    revision: Arc<RunbookRevision>,
}

/// The names of runbooks and actions a step uses, those around failures included.
fn used(step: &Step, runbooks: &mut Vec<String>, actions: &mut Vec<String>) {
    runbooks.extend(step.call.clone());
    actions.extend(step.action.clone());
    for handler in [&step.on_failure, &step.on_timeout].into_iter().flatten() {
        runbooks.extend(handler.call.clone());
        actions.extend(handler.action.clone());
    }
    if let Some(compensate) = &step.compensate {
        runbooks.extend(compensate.call.clone());
        actions.extend(compensate.action.clone());
    }
    let nested = step.for_each.iter().flat_map(|each| &each.steps);
    for inner in step.parallel.iter().flatten().chain(nested) {
        used(inner, runbooks, actions);
    }
}

/// Gathers a runbook and all it calls as they are now.
fn freeze(world: &World, runbook: &str, now: Time) -> Result<Result<Newest, Refusal>, EngineError> {
    let mut of = Vec::new();
    let mut runbooks: BTreeMap<String, RunbookSpec> = BTreeMap::new();
    let mut open = vec![runbook.to_owned()];
    while let Some(name) = open.pop() {
        if runbooks.contains_key(&name) {
            continue;
        }
        let Some(object) = world.get(Runbook::info(), "", &name) else {
            let reason = "RunbookNotFound";
            let message = if name == runbook {
                format!("Runbook {name} does not exist; create it, or create a run of another")
            } else {
                format!(
                    "Runbook {name}, which {runbook} calls, does not exist; create it and retry"
                )
            };
            return Ok(Err(Refusal { reason, message }));
        };
        if runbooks.len() == REACHED_MAX {
            let message = format!("{runbook} calls more than {REACHED_MAX} other runbooks");
            return Ok(Err(Refusal { reason: "RunbookInvalid", message }));
        }
        of.push((name.clone(), object.revision));
        let spec = crate::objects::decode::<Runbook>(&object)?.spec;
        for step in &spec.steps {
            used(step, &mut open, &mut Vec::new());
        }
        runbooks.insert(name, spec);
    }
    let spec = RunbookRevisionSpec { runbook: runbook.into(), runbooks };
    let text = serde_json::to_string(&spec)
        .map_err(|error| EngineError::Unreadable(format!("Runbook {runbook}: {error}")))?;
    let digest: String =
        Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let stem = runbook.get(..200).unwrap_or(runbook);
    let revision = RunbookRevision {
        metadata: ObjectMeta {
            name: format!("{stem}-{digest}"),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            ..ObjectMeta::default()
        },
        spec,
        ..RunbookRevision::default()
    };
    Ok(Ok(Newest { of, revision: Arc::new(revision) }))
}

fn open<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts into a map that must not grow for ever; what is dropped is made again when it is needed.
fn keep<T>(map: &Mutex<HashMap<String, T>>, name: &str, value: T) {
    let mut map = open(map);
    if map.len() >= KEPT_MAX {
        map.clear();
    }
    map.insert(name.into(), value);
}

impl FrozenCache {
    /// The runbook and all it calls as they are in `world`.
    pub(crate) fn newest(
        &self,
        world: &World,
        runbook: &str,
        now: Time,
    ) -> Result<Result<Arc<RunbookRevision>, Refusal>, EngineError> {
        let found = open(&self.newest).get(runbook).cloned();
        let holds = |newest: &Newest| {
            newest.of.iter().all(|(name, at)| {
                world.get(Runbook::info(), "", name).is_some_and(|object| object.revision == *at)
            })
        };
        if let Some(newest) = found.filter(holds) {
            return Ok(Ok(newest.revision));
        }
        Ok(freeze(world, runbook, now)?.map(|newest| {
            keep(&self.newest, runbook, newest.clone());
            newest.revision
        }))
    }

    /// A compiled revision, if it was lately.
    pub(crate) fn compiled(&self, name: &str) -> Option<Arc<Frozen>> {
        open(&self.compiled).get(name).cloned()
    }

    /// Compiles and checks a revision, once.
    pub(crate) fn compile(
        &self,
        name: &str,
        spec: &RunbookRevisionSpec,
        actions: &dyn Definitions,
    ) -> Result<Arc<Frozen>, FieldErrors> {
        if let Some(found) = self.compiled(name) {
            return Ok(found);
        }
        let definition = Definition::compile(&spec.runbook, &spec.runbooks)?;
        let mut performed = Vec::new();
        for step in spec.runbooks.values().flat_map(|runbook| &runbook.steps) {
            used(step, &mut Vec::new(), &mut performed);
        }
        let effects = |name: &String| actions.action(name).is_none_or(|action| action.effects);
        let frozen = Arc::new(Frozen {
            root: spec.runbooks.get(&spec.runbook).cloned().unwrap_or_default(),
            definition,
            effects: performed.iter().any(effects),
            problems: check_frozen(&spec.runbooks, actions),
        });
        keep(&self.compiled, name, frozen.clone());
        Ok(frozen)
    }
}
