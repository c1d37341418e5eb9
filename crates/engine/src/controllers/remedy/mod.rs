//! Remedies: what is wrong with objects is mended by runs, a few at a time, as long as that helps. What should
//! happen is decided by [`decide`], which is pure; the rest carries it out.
//!
//! Which objects are affected is remembered by [`watching`], so that a look costs no more than those are many. All
//! that must outlive the process is in the runs: each says which attempt on its target it is, and what became of it.

mod decide;
mod watching;
mod words;

use super::Controller;
use crate::{
    SYSTEM_NAMESPACE,
    events::{self, Happening},
    objects::{EngineError, Objects, Wiring},
};
use decide::{Affected, Attempt, Begin, Decision, Outcome, Situation, State, decide};
use quarterdeck_model::{
    FieldSelector, Key, Kind, KindRef, LabelSelector, Object, ObjectMeta, OwnerReference, Revision,
    Time, kinds,
    kinds::{Rack, Remedy, RemedyPlace, Run, RunSpec, RunTarget, Server, Site},
    selector::LabelRequirement,
};
use quarterdeck_runbook::Condition;
use quarterdeck_store::{ListQuery, Mutation, Precondition, World};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::task::yield_now;
use watching::{Question, Watched, Watching};

/// Label of a remedy's runs: its name.
const REMEDY: &str = "quarterdeck.dev/remedy";
/// Label of a remedy's runs: which run on its target it is, from 1.
const TRY: &str = "quarterdeck.dev/try";
/// Label of a remedy's runs that ended: whether that mended the target.
const OUTCOME: &str = "quarterdeck.dev/outcome";
/// Changes are gathered for so long: what breaks together is counted together.
const GATHER: Duration = Duration::from_secs(1);
/// How long it is trusted how many objects there are.
const COUNTED_FOR: Duration = Duration::from_secs(60);
/// Objects asked of before others get their turn: a few milliseconds of work.
const ASK_MAX: usize = 64;

/// Keeps remedies.
pub(crate) struct Remedies {
    watching: Watching,
}

impl Remedies {
    pub(crate) fn new(wiring: Wiring) -> Self {
        Self { watching: Watching::new(wiring) }
    }
}

impl Controller for Remedies {
    const NAME: &'static str = "remedies";

    fn follows(&self) -> Vec<KindRef> {
        // Those that a remedy can be about, and its runs.
        let about = kinds::all().iter().copied().filter(|kind| !kind.namespaced());
        about.chain([Run::info()]).collect()
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        if object.kind == Run::info() {
            let Some(remedy) = object.label(REMEDY) else { return Vec::new() };
            if !gone && object.namespace() == SYSTEM_NAMESPACE {
                self.watching.with(remedy, |it| {
                    it.runs.insert(object.name().to_owned());
                });
            }
            return vec![Key::new(Remedy::info(), "", remedy)];
        }
        let mut keys = self.watching.changed(&object.key, object.kind);
        if object.kind == Remedy::info() {
            keys.push(object.key.clone());
        }
        keys
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let Some((at, remedy)) = objects.read::<Remedy>("", &key.name)? else {
            self.watching.forget(&key.name);
            return Ok(None);
        };
        if remedy.metadata.deletion_timestamp.is_some() {
            self.watching.forget(&key.name);
            return Ok(None);
        }
        self.watch(objects, &remedy).await;
        // One that went while changes were not followed is told of by nobody.
        let there = objects.store().world();
        self.watching.with(&key.name, |it| {
            let kind = it.question.kind;
            it.affected.retain(|name, _| there.get(kind, "", name).is_some());
        });
        let Some(watched) = self.watching.get(&key.name) else {
            // Its expression or its kind cannot be read: it was refused when it was written, or is older than this.
            return Ok(None);
        };
        let (world, now) = (objects.store().world(), objects.now());
        let affected = affected(&world, &remedy, &watched);
        let attempts = self.attempts(&world, &remedy, &watched);
        let count = if affected.is_empty() { 0 } else { self.count(&world, &watched, key, now) };
        let situation = Situation {
            remedy: &remedy,
            affected: &affected,
            attempts: &attempts,
            objects: count,
            now,
        };
        let decision = decide(&situation);
        let mutations =
            self.written(objects, (key, watched.question.kind), (at, &remedy), &decision, now)?;
        if !mutations.is_empty() {
            // Whoever came between made a change that brings us here again.
            objects.commit(mutations).await?;
        }
        Ok(decision.again)
    }
}

impl Remedies {
    /// Has the remedy's question asked of all objects, if it was not yet.
    async fn watch(&self, objects: &Objects, remedy: &Remedy) {
        let (meta, spec) = (&remedy.metadata, &remedy.spec);
        let known = self.watching.get(&meta.name).filter(|known| known.uid == meta.uid);
        if known.as_ref().is_some_and(|known| known.generation == meta.generation) {
            return;
        }
        let world = objects.store().world();
        let kind = kinds::all().iter().copied().find(|kind| kind.kind == spec.kind);
        let question = kind.zip(spec.selector.selector()).and_then(|(kind, selector)| {
            let condition = Condition::parse(&spec.when).ok()?;
            let when = spec.when.clone();
            Some(Arc::new(Question { kind, selector, when, condition }))
        });
        let Some(question) = question else {
            self.watching.forget(&meta.name);
            return;
        };
        let seen = match known {
            // Something else may be asked now, and then it is not known since when it is so.
            Some(known) if known.question.asks_as(&question) => known.affected,
            // A plane that starts goes on where the last one was.
            None if remedy.status.observed_generation == meta.generation => {
                let said = remedy.status.objects.iter();
                said.filter_map(|it| Some((it.name.clone(), it.since?))).collect()
            }
            _ => BTreeMap::new(),
        };
        let watched = Watched {
            uid: meta.uid.clone(),
            generation: meta.generation,
            question: question.clone(),
            affected: seen.clone(),
            asked: None,
            runs: runs_of(&world, &meta.name),
            counted: None,
        };
        self.watching.watch(&meta.name, watched);
        for name in seen.keys().filter(|name| world.get(question.kind, "", name).is_none()) {
            self.watching.note(&meta.name, &question, name, None);
        }
        for (at, object) in world.all(question.kind).enumerate() {
            self.watching.note(&meta.name, &question, object.name(), Some(object));
            if at % ASK_MAX == ASK_MAX - 1 {
                yield_now().await;
            }
        }
    }

    /// How many objects there are; not counted with each look.
    fn count(&self, world: &World, watched: &Watched, key: &Key, now: Time) -> u32 {
        let young = |at: Time| {
            let age = now.timestamp().duration_since(at.timestamp());
            Duration::try_from(age).is_ok_and(|age| age < COUNTED_FOR)
        };
        if let Some((_, count)) = watched.counted.filter(|(at, _)| young(*at)) {
            return count;
        }
        let found = listed(world, watched.question.kind, None, &watched.question.selector);
        let count = decide::number(found.len());
        self.watching.with(&key.name, |it| it.counted = Some((now, count)));
        count
    }

    /// The runs of a remedy, as they are now.
    fn attempts(&self, world: &World, remedy: &Remedy, watched: &Watched) -> Vec<Attempt> {
        let name = &remedy.metadata.name;
        let mut attempts = Vec::with_capacity(watched.runs.len());
        for run in &watched.runs {
            // One that somebody took its labels from is known by its name.
            match world.get(Run::info(), SYSTEM_NAMESPACE, run) {
                Some(found) => attempts.extend(attempt(world, remedy, &found)),
                None => self.watching.with(name, |it| {
                    it.runs.remove(run);
                }),
            }
        }
        attempts
    }

    fn written(
        &self,
        objects: &Objects,
        (key, kind): (&Key, KindRef),
        (at, remedy): (Revision, &Remedy),
        decision: &Decision,
        now: Time,
    ) -> Result<Vec<Mutation>, EngineError> {
        let mut mutations = Vec::new();
        let run = |name: &str| objects.get(&Key::new(Run::info(), SYSTEM_NAMESPACE, name));
        for (name, outcome) in &decision.judged {
            mutations.extend(run(name).and_then(|found| judged(objects, &found, *outcome)));
        }
        for begin in &decision.begin {
            let target = objects.get(&Key::new(kind, "", &begin.target));
            let Some(target) = target else { continue };
            let run = new_run(remedy, &target, begin, now);
            // Known before it is there, so that no look comes in between.
            self.watching.with(&key.name, |it| {
                it.runs.insert(run.metadata.name.clone());
            });
            // Nothing else was asked of the remedy meanwhile, and it is still there.
            let seen = Some((key.clone(), at));
            let precondition = Precondition::AbsentIf { seen, below: None };
            mutations.push(objects.put(&run, precondition)?);
        }
        for name in &decision.forget {
            mutations.extend(run(name).and_then(|found| objects.removal(&found)));
        }
        if decision.status != remedy.status {
            let next = Remedy { status: decision.status.clone(), ..remedy.clone() };
            mutations.push(objects.put(&next, Precondition::At(at))?);
        }
        let object = objects.get(key);
        for (place, told) in decision.news.iter().enumerate() {
            let Some(object) = &object else { break };
            let happening = Happening {
                component: "remedies",
                reason: told.reason,
                message: &told.message,
                warning: told.warning,
                number: object.revision.0,
                place,
            };
            mutations.push(objects.tell(&events::about(object, &happening, now))?);
        }
        Ok(mutations)
    }
}

/// Objects of a kind with these labels.
fn listed(
    world: &World,
    kind: KindRef,
    namespace: Option<&str>,
    labels: &LabelSelector,
) -> Vec<Arc<Object>> {
    let fields = &FieldSelector::default();
    world.list(&ListQuery { kind, namespace, labels, fields, after: None, limit: None }).items
}

fn runs_of(world: &World, remedy: &str) -> BTreeSet<String> {
    let labels = LabelSelector(vec![LabelRequirement::In(REMEDY.into(), vec![remedy.to_owned()])]);
    let found = listed(world, Run::info(), Some(SYSTEM_NAMESPACE), &labels);
    found.iter().map(|run| run.name().to_owned()).collect()
}

/// Those of which the condition is true, for the longest time first.
fn affected(world: &World, remedy: &Remedy, watched: &Watched) -> Vec<Affected> {
    let mut found: Vec<Affected> = watched
        .affected
        .iter()
        .map(|(name, since)| Affected {
            name: name.clone(),
            domain: domain(world, remedy, name),
            since: *since,
        })
        .collect();
    found.sort_by(|one, other| (one.since, &one.name).cmp(&(other.since, &other.name)));
    found
}

/// The place that an object is in; empty where there is none, or none is asked for.
fn domain(world: &World, remedy: &Remedy, name: &str) -> String {
    let Some(wanted) = &remedy.spec.per_domain else { return String::new() };
    let field = |kind: KindRef, name: &str, path: &str| {
        let object = world.get(kind, "", name)?;
        object.field(path).map(str::to_owned)
    };
    let rack = match &remedy.spec.kind {
        kind if *kind == Server::KIND => field(Server::info(), name, "spec.location.rack"),
        kind if *kind == Rack::KIND => Some(name.to_owned()),
        _ => None,
    };
    let place = match wanted.domain {
        RemedyPlace::Rack => rack,
        RemedyPlace::Site if remedy.spec.kind == Site::KIND => Some(name.to_owned()),
        RemedyPlace::Site => rack.and_then(|rack| field(Rack::info(), &rack, "spec.site")),
    };
    place.unwrap_or_default()
}

/// What is asked of a run.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Times {
    metadata: Created,
    status: Ended,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Created {
    creation_timestamp: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ended {
    completion_time: Option<Time>,
}

fn attempt(world: &World, remedy: &Remedy, run: &Object) -> Option<Attempt> {
    let times: Times = run.decode().ok()?;
    let target = run.field("spec.target.name")?.to_owned();
    Some(Attempt {
        name: run.name().to_owned(),
        domain: domain(world, remedy, &target),
        target,
        number: run.label(TRY).and_then(|number| number.parse().ok()).unwrap_or(1),
        created: times.metadata.creation_timestamp?,
        ended: times.status.completion_time,
        state: match run.field("status.phase") {
            Some("Succeeded") => State::Succeeded,
            Some("Failed") => State::Failed,
            Some("Cancelled") => State::Cancelled,
            _ => State::InWork,
        },
        outcome: run.label(OUTCOME).and_then(outcome),
    })
}

const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Mended, "Mended"),
    (Outcome::NotMended, "NotMended"),
    (Outcome::Failed, "Failed"),
    (Outcome::Cancelled, "Cancelled"),
];

fn outcome(word: &str) -> Option<Outcome> {
    OUTCOMES.into_iter().find(|(_, known)| *known == word).map(|(outcome, _)| outcome)
}

/// Writes on a run what became of it.
fn judged(objects: &Objects, run: &Object, outcome: Outcome) -> Option<Mutation> {
    let (_, word) = OUTCOMES.into_iter().find(|(known, _)| *known == outcome)?;
    let mut value = run.value();
    let meta = value.get_mut("metadata")?.as_object_mut()?;
    let labels = meta.entry("labels").or_insert_with(|| Value::Object(serde_json::Map::new()));
    labels.as_object_mut()?.insert(OUTCOME.into(), word.into());
    Some(objects.put_value(run, &value))
}

fn new_run(remedy: &Remedy, target: &Object, begin: &Begin, now: Time) -> Run {
    let of = &remedy.metadata;
    Run {
        metadata: ObjectMeta {
            name: run_name(of, &begin.target, target.uid(), begin.number),
            namespace: Some(SYSTEM_NAMESPACE.into()),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            labels: BTreeMap::from([
                (REMEDY.to_owned(), of.name.clone()),
                (TRY.to_owned(), begin.number.to_string()),
            ]),
            owner_references: vec![OwnerReference {
                api_version: target.kind.api_version(),
                kind: target.kind.kind.into(),
                name: begin.target.clone(),
                uid: target.uid().to_owned(),
                controller: Some(false),
                block_owner_deletion: None,
            }],
            ..ObjectMeta::default()
        },
        spec: RunSpec {
            runbook: remedy.spec.runbook.clone(),
            target: Some(RunTarget::new(&remedy.spec.kind, &begin.target)),
            params: remedy.spec.params.clone(),
            ..RunSpec::default()
        },
        ..Run::default()
    }
}

/// The same for the same attempt, so that none is made twice; and another for a remedy or a target of the same name
/// that comes later.
fn run_name(remedy: &ObjectMeta, target: &str, uid: &str, number: u32) -> String {
    let mark = Sha256::digest(format!("{}/{uid}/{number}", remedy.uid).as_bytes());
    let mark: String = mark.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let short = target.get(..150).unwrap_or(target).trim_end_matches(['.', '-']);
    format!("{}-{short}-{mark}", remedy.name)
}

#[cfg(test)]
mod tests;
