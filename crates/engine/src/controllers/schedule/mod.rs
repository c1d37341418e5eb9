//! Schedules: runs and campaigns that start by themselves. What should happen is decided by [`decide`], which is
//! pure; the rest carries it out. That something was started is written with what is started, at once, so that no
//! crash has it started twice, or not at all.

mod decide;

use super::{Controller, owned_by};
use crate::{
    events::{self, Happening},
    objects::{EngineError, Objects},
};
use decide::{Decision, Situation, Started, State, decide};
use jiff::Timestamp;
use quarterdeck_model::{
    Key, Kind, KindRef, Object, ObjectMeta, OwnerReference, Revision, Time,
    kinds::{Campaign, Namespace, Run, RunSpec, Schedule, ScheduleSpec},
};
use quarterdeck_store::{Mutation, Precondition, World};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Label of what a schedule started: its name.
const SCHEDULE: &str = "quarterdeck.dev/schedule";
/// Annotation of what a schedule started: the time it was started for.
const DUE: &str = "quarterdeck.dev/scheduled-for";

/// How soon a schedule looks again whose start has the name of something else.
const STUCK: Duration = Duration::from_secs(15);

/// Keeps schedules.
pub(crate) struct Schedules;

impl Controller for Schedules {
    const NAME: &'static str = "schedules";

    fn follows(&self) -> Vec<KindRef> {
        vec![Schedule::info(), Run::info(), Campaign::info()]
    }

    fn affected(&self, object: &Object, _gone: bool) -> Vec<Key> {
        if object.kind == Schedule::info() {
            return vec![object.key.clone()];
        }
        let name = object.label(SCHEDULE);
        name.map(|name| Key::new(Schedule::info(), object.namespace(), name)).into_iter().collect()
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let Some((at, schedule)) = objects.read::<Schedule>(&key.namespace, &key.name)? else {
            return Ok(None);
        };
        let within = objects.get(&Key::new(Namespace::info(), "", &key.namespace));
        let leaving = within.is_some_and(|namespace| namespace.deleting());
        if leaving || schedule.metadata.deletion_timestamp.is_some() {
            // What it started belongs to it, and is cancelled as it is deleted.
            return Ok(None);
        }
        let now = objects.now();
        let found = started_by(&objects.store().world(), &schedule);
        let started: Vec<Started> = found.iter().map(|object| started(object)).collect();
        let decision = decide(&Situation { schedule: &schedule, started: &started, now });
        if let Some(name) = decision.start.map(|due| decide::name(&schedule.metadata.name, due))
            && taken(&objects.store().world(), &schedule, &found, &name)
        {
            // It is not said to have started: it does once that one has gone.
            return name_taken(objects, key, &name, now).await.map(|()| Some(STUCK));
        }
        // Before anything takes its place: a start that is not written down yet is tried again.
        for object in named(&found, &decision.cancel) {
            cancel(objects, &object.key).await?;
        }
        let mut mutations = written(objects, key, (at, &schedule), &decision, now)?;
        let forgotten = named(&found, &decision.forget);
        mutations.extend(forgotten.filter_map(|object| objects.removal(object)));
        if !mutations.is_empty() {
            // Whoever came between made a change that brings us here again.
            objects.commit(mutations).await?;
        }
        Ok(decision.again)
    }
}

/// Whether what is to be started has the name of something that the schedule did not start.
fn taken(world: &World, schedule: &Schedule, found: &[Arc<Object>], name: &str) -> bool {
    let kind = if schedule.spec.run.is_some() { Run::info() } else { Campaign::info() };
    let namespace = schedule.metadata.namespace.as_deref().unwrap_or_default();
    let there = world.get(kind, namespace, name).is_some();
    there && !found.iter().any(|own| own.kind == kind && own.name() == name)
}

async fn name_taken(
    objects: &Objects,
    key: &Key,
    name: &str,
    now: Time,
) -> Result<(), EngineError> {
    let Some(object) = objects.get(key) else { return Ok(()) };
    let message = format!("{name} is there already and is not this schedule's; delete it");
    let happening = Happening {
        component: "schedules",
        reason: "NameTaken",
        message: &message,
        warning: true,
        number: object.revision.0,
        place: 0,
    };
    objects.commit(vec![objects.tell(&events::about(&object, &happening, now))?]).await?;
    Ok(())
}

/// Runs and campaigns that belong to a schedule.
fn started_by(world: &World, schedule: &Schedule) -> Vec<Arc<Object>> {
    let kinds = [Run::info(), Campaign::info()];
    let owned = owned_by(world, &schedule.metadata);
    owned.filter(|object| kinds.contains(&object.kind)).cloned().collect()
}

fn named<'f>(
    found: &'f [Arc<Object>],
    names: &'f [String],
) -> impl Iterator<Item = &'f Arc<Object>> {
    found.iter().filter(|object| names.iter().any(|name| name == object.name()))
}

/// What is asked of something that was started.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Times {
    metadata: Annotated,
    status: Ended,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotated {
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ended {
    completion_time: Option<Time>,
}

fn started(object: &Object) -> Started {
    let times: Times = object.decode().unwrap_or_default();
    let ended = times.status.completion_time;
    Started {
        name: object.name().to_owned(),
        due: times.metadata.annotations.get(DUE).and_then(|due| due.parse().ok()),
        state: match object.field("status.phase") {
            Some("Succeeded") => State::Succeeded(ended),
            Some("Failed" | "Cancelled") => State::Failed(ended),
            _ => State::InWork,
        },
    }
}

/// What is started, and what the schedule says of it.
fn written(
    objects: &Objects,
    key: &Key,
    (at, schedule): (Revision, &Schedule),
    decision: &Decision,
    now: Time,
) -> Result<Vec<Mutation>, EngineError> {
    let mut mutations = Vec::new();
    if let Some(due) = decision.start {
        // Nothing else was asked of the schedule meanwhile, and it is still there.
        let precondition = Precondition::AbsentIf { seen: Some((key.clone(), at)), below: None };
        mutations.extend(start(objects, schedule, due, precondition, now)?);
    }
    if decision.status != schedule.status {
        let next = Schedule { status: decision.status.clone(), ..schedule.clone() };
        mutations.push(objects.put(&next, Precondition::At(at))?);
    }
    if let Some((reason, message)) = &decision.news
        && let Some(object) = objects.get(key)
    {
        let happening = Happening {
            component: "schedules",
            reason,
            message,
            warning: *reason != "Started",
            number: object.revision.0,
            place: 0,
        };
        mutations.push(objects.tell(&events::about(&object, &happening, now))?);
    }
    Ok(mutations)
}

/// The run or campaign that is started for a time.
fn start(
    objects: &Objects,
    schedule: &Schedule,
    due: Timestamp,
    precondition: Precondition,
    now: Time,
) -> Result<Option<Mutation>, EngineError> {
    let metadata = metadata(schedule, due, now);
    let ScheduleSpec { run, campaign, .. } = &schedule.spec;
    if let Some(run) = run {
        let spec = RunSpec {
            runbook: run.runbook.clone(),
            target: run.target.clone(),
            params: run.params.clone(),
            timeout: run.timeout,
            requested_by: schedule.spec.requested_by.clone(),
            ..RunSpec::default()
        };
        return objects.put(&Run { metadata, spec, ..Run::default() }, precondition).map(Some);
    }
    let Some(mut spec) = campaign.clone() else { return Ok(None) };
    spec.requested_by.clone_from(&schedule.spec.requested_by);
    objects.put(&Campaign { metadata, spec, ..Campaign::default() }, precondition).map(Some)
}

fn metadata(schedule: &Schedule, due: Timestamp, now: Time) -> ObjectMeta {
    let of = &schedule.metadata;
    ObjectMeta {
        name: decide::name(&of.name, due),
        namespace: of.namespace.clone(),
        uid: uuid::Uuid::new_v4().to_string(),
        generation: Some(1),
        creation_timestamp: Some(Time::seconds(now.timestamp())),
        labels: BTreeMap::from([(SCHEDULE.to_owned(), of.name.clone())]),
        annotations: BTreeMap::from([(DUE.to_owned(), due.to_string())]),
        owner_references: vec![OwnerReference {
            api_version: Schedule::info().api_version(),
            kind: Schedule::KIND.into(),
            name: of.name.clone(),
            uid: of.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }],
        ..ObjectMeta::default()
    }
}

/// Asks a run or a campaign to stop.
async fn cancel(objects: &Objects, key: &Key) -> Result<(), EngineError> {
    let asked = |value: &mut serde_json::Value| {
        let spec = value.get_mut("spec").and_then(serde_json::Value::as_object_mut);
        let Some(spec) = spec else { return false };
        if spec.insert("cancel".into(), true.into()) == Some(true.into()) {
            return false;
        }
        if let Some(generation) = value.pointer_mut("/metadata/generation") {
            *generation = generation.as_i64().unwrap_or(0).saturating_add(1).into();
        }
        true
    };
    objects.modify(key, asked).await.map(drop)
}

#[cfg(test)]
mod tests;
