//! Servers: a new one is inspected by a run, and becomes ready or says why not and what to do.
//!
//! What should happen is decided by [`decide`], which is pure; the rest carries it out.

use super::Controller;
use crate::{
    INSPECT_RUNBOOK, SYSTEM_NAMESPACE,
    objects::{EngineError, Objects},
};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    Condition, ConditionStatus, FieldSelector, Key, Kind, KindRef, LabelSelector, Object,
    ObjectMeta, OwnerReference, Time, condition,
    kinds::{
        Rack, Run, RunPhase, RunSpec, RunTarget, Runbook, Secret, SecretReference, Server,
        ServerPhase, ServerStatus, StepPhase,
    },
};
use quarterdeck_store::{ListQuery, Precondition, World};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Annotation of an inspection: what it was about (see [`basis`]).
const BASIS: &str = "quarterdeck.dev/inspection-of";
/// Annotation of an inspection: which try it is, for the same basis.
const TRY: &str = "quarterdeck.dev/inspection-try";

/// Pause after the first inspection that failed; doubles with each further one.
const RETRY_SECONDS: i64 = 15;
/// Longest such pause: a server that comes back is seen within this time.
const RETRY_SECONDS_MAX: i64 = 600;
/// A server that is well is looked at again after this long.
const REFRESH_SECONDS: i64 = 3600;

/// Keeps servers.
pub(crate) struct Servers;

impl Controller for Servers {
    const NAME: &'static str = "servers";

    fn follows(&self) -> Vec<KindRef> {
        vec![Server::info(), Run::info(), Rack::info(), Secret::info(), Runbook::info()]
    }

    fn affected(&self, object: &Object, _gone: bool) -> Vec<Key> {
        if object.kind == Server::info() {
            return vec![object.key.clone()];
        }
        if object.kind == Run::info() && object.field("spec.target.kind") == Some("Server") {
            let target = object.field("spec.target.name").unwrap_or_default();
            return vec![Key::new(Server::info(), "", target)];
        }
        // A rack, a secret or a runbook may matter to many servers; which, is found by one key.
        if object.kind == Runbook::info() && object.name() != INSPECT_RUNBOOK {
            return Vec::new();
        }
        if object.kind == Run::info() { Vec::new() } else { vec![object.key.clone()] }
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().world();
        if *key.kind == *Server::info().resource_name() {
            return server(objects, &world, key).await;
        }
        for server in servers_that_name(&world, key) {
            // Few at a time change what they point to; each is looked at in its turn.
            self::server(objects, &world, &server.key).await?;
        }
        Ok(None)
    }
}

/// Servers whose state depends on the object at `key`.
fn servers_that_name(world: &World, key: &Key) -> Vec<Arc<Object>> {
    let by_field = |selector: String| {
        let Ok(fields) = FieldSelector::parse(&selector) else { return Vec::new() };
        let labels = LabelSelector::default();
        let kind = Server::info();
        world
            .list(&ListQuery {
                kind,
                namespace: None,
                labels: &labels,
                fields: &fields,
                after: None,
                limit: None,
            })
            .items
    };
    if *key.kind == *Rack::info().resource_name() {
        return by_field(format!("spec.location.rack={}", key.name));
    }
    if *key.kind == *Secret::info().resource_name() {
        return by_field(format!("spec.bmc.credentialsSecretRef.name={}", key.name));
    }
    // The runbook of inspections: those that wait for it.
    by_field("status.phase=Registered".into())
}

/// Everything about a server that is decided on.
struct Situation<'a> {
    server: &'a Server,
    /// What an inspection now would be about.
    basis: String,
    inspection: Option<&'a Run>,
    /// The runbook of inspections exists.
    can_inspect: bool,
    rack_found: bool,
    now: Time,
}

/// What to do about the inspection.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Nothing,
    /// Begin one, in place of the one there is.
    Inspect {
        number: u32,
    },
    /// Ask the one there is to stop: it is about something else.
    Cancel,
}

/// What a server's status should be, what to do, and when to look again.
fn decide(situation: &Situation<'_>) -> (ServerStatus, Action, Option<Duration>) {
    let Situation { server, now, .. } = *situation;
    let mut status = server.status.clone();
    status.observed_generation = server.metadata.generation;
    link_condition(situation, &mut status);
    let annotation = |name: &str| {
        situation.inspection.and_then(|run| run.metadata.annotations.get(name)).map(String::as_str)
    };
    let current = annotation(BASIS) == Some(situation.basis.as_str());
    let number: u32 = annotation(TRY).and_then(|text| text.parse().ok()).unwrap_or(1);
    let begin = |status: &mut ServerStatus, number| {
        if situation.can_inspect {
            return Action::Inspect { number };
        }
        let message = format!(
            "Runbook {INSPECT_RUNBOOK} does not exist; restart the plane to install it again, or create your own of that name."
        );
        not_ready(status, "RunbookNotFound", message, now);
        Action::Nothing
    };
    let Some(run) = situation.inspection else {
        let action = begin(&mut status, 1);
        if matches!(action, Action::Inspect { .. }) {
            inspecting(&mut status, "Inspecting", "The first inspection begins.".into(), now);
        }
        return (status, action, None);
    };
    if !current {
        if !run.status.phase.ended() {
            return (status, if run.spec.cancel { Action::Nothing } else { Action::Cancel }, None);
        }
        let action = begin(&mut status, 1);
        return (status, action, None);
    }
    status.phase_deadline = run.status.deadline.filter(|_| status.phase == ServerPhase::Inspecting);
    match run.status.phase {
        RunPhase::Succeeded => {
            status.phase_deadline = None;
            if matches!(status.phase, ServerPhase::Registered | ServerPhase::Inspecting) {
                enter(&mut status, ServerPhase::Ready, now);
            }
            let message = "The server was reached and inspected.";
            set(&mut status, "Ready", ConditionStatus::True, "Inspected", message.into(), now);
            let (due, left) = due_in(run, REFRESH_SECONDS, now);
            let action = if due { begin(&mut status, 1) } else { Action::Nothing };
            (status, action, left)
        }
        RunPhase::Failed | RunPhase::Cancelled => {
            let (reason, message) = why(run);
            let pause = RETRY_SECONDS
                .saturating_mul(1 << (number.saturating_sub(1)).min(10))
                .min(RETRY_SECONDS_MAX);
            let (due, left) = due_in(run, pause, now);
            not_ready(&mut status, &reason, message, now);
            status.phase_deadline = None;
            let action =
                if due { begin(&mut status, number.saturating_add(1)) } else { Action::Nothing };
            (status, action, left)
        }
        _ => {
            // A step that failed and will be tried again already says what is wrong.
            let failing = run
                .status
                .steps
                .iter()
                .rev()
                .find(|step| !step.phase.ended() && step.reason.is_some());
            let first = status.inventory.is_none();
            match failing {
                Some(_) => {
                    let (reason, message) = why(run);
                    not_ready(&mut status, &reason, message, now);
                }
                // What an earlier inspection found holds until this one has ended.
                None if condition::find(&status.conditions, "Ready").is_none() || first => {
                    let shown = condition::find(&status.conditions, "Ready");
                    if shown.is_none() {
                        inspecting(&mut status, "Inspecting", "The inspection runs.".into(), now);
                    }
                }
                None => {}
            }
            if status.phase == ServerPhase::Registered {
                enter(&mut status, ServerPhase::Inspecting, now);
            }
            (status, Action::Nothing, None)
        }
    }
}

/// Whether `seconds` have passed since the run ended, and how long is left.
fn due_in(run: &Run, seconds: i64, now: Time) -> (bool, Option<Duration>) {
    // Spread by name, so that servers that failed together do not come back together.
    let spread: i64 = run.metadata.name.bytes().map(i64::from).sum::<i64>() % (seconds / 4).max(1);
    let ended = run.status.completion_time.unwrap_or(now).timestamp();
    let due = ended.saturating_add(SignedDuration::from_secs(seconds + spread)).unwrap_or(ended);
    let left = due.duration_since(now.timestamp());
    if left.is_positive() { (false, Duration::try_from(left).ok()) } else { (true, None) }
}

/// Why an inspection fails: the reason and sentence of the step that did.
fn why(run: &Run) -> (String, String) {
    let step = run
        .status
        .steps
        .iter()
        .rev()
        .find(|step| step.reason.is_some() && step.phase != StepPhase::Succeeded);
    let reason = step
        .and_then(|step| step.reason.clone())
        .or_else(|| condition::find(&run.status.conditions, "Complete").map(|c| c.reason.clone()))
        .unwrap_or_else(|| "InspectionFailed".into());
    let message = step
        .and_then(|step| step.message.clone())
        .or_else(|| run.status.message.clone())
        .unwrap_or_else(|| "The inspection failed; see its run.".into());
    (reason, message)
}

fn link_condition(situation: &Situation<'_>, status: &mut ServerStatus) {
    let Some(location) = &situation.server.spec.location else {
        status.conditions.retain(|condition| condition.kind != "LinksFound");
        return;
    };
    let rack = &location.rack;
    let (found, reason, message) = if situation.rack_found {
        (ConditionStatus::True, "Found", format!("Rack {rack} exists."))
    } else {
        let message = format!(
            "spec.location.rack names Rack {rack}, which does not exist; create it or correct the name."
        );
        (ConditionStatus::False, "RackNotFound", message)
    };
    set(status, "LinksFound", found, reason, message, situation.now);
}

fn enter(status: &mut ServerStatus, phase: ServerPhase, now: Time) {
    if status.phase != phase {
        status.phase = phase;
        status.phase_since = Some(now);
    }
}

fn inspecting(status: &mut ServerStatus, reason: &str, message: String, now: Time) {
    if status.phase == ServerPhase::Registered {
        enter(status, ServerPhase::Inspecting, now);
    }
    not_ready(status, reason, message, now);
}

fn not_ready(status: &mut ServerStatus, reason: &str, message: String, now: Time) {
    set(status, "Ready", ConditionStatus::False, reason, message, now);
}

fn set(
    status: &mut ServerStatus,
    kind: &str,
    value: ConditionStatus,
    reason: &str,
    message: String,
    now: Time,
) {
    condition::set(&mut status.conditions, Condition::new(kind, value, reason, message, now));
}

/// What an inspection of the server is about: its spec and the secrets it names, each in one
/// version. A corrected password is a reason to look again at once.
fn basis(world: &World, server: &Server) -> String {
    let version = |secret: &Option<SecretReference>| {
        secret
            .as_ref()
            .and_then(|secret| world.get(Secret::info(), &secret.namespace, &secret.name))
            .map_or(0, |secret| secret.revision.0)
    };
    let bmc = &server.spec.bmc;
    format!(
        "{}/{}/{}",
        server.metadata.generation.unwrap_or(0),
        version(&bmc.credentials_secret_ref),
        version(&bmc.tls.ca_secret_ref)
    )
}

fn inspection_name(server: &str) -> String {
    format!("inspect-{}", server.get(..240).unwrap_or(server))
}

async fn server(
    objects: &Objects,
    world: &World,
    key: &Key,
) -> Result<Option<Duration>, EngineError> {
    let Some((at, server)) = objects.read::<Server>("", &key.name)? else { return Ok(None) };
    if server.status.phase == ServerPhase::Retired {
        return Ok(None);
    }
    let name = inspection_name(&server.metadata.name);
    let inspection = objects.read::<Run>(SYSTEM_NAMESPACE, &name)?;
    let rack = server.spec.location.as_ref().map(|location| location.rack.as_str());
    let situation = Situation {
        server: &server,
        basis: basis(world, &server),
        inspection: inspection.as_ref().map(|(_, run)| run),
        can_inspect: world.get(Runbook::info(), "", INSPECT_RUNBOOK).is_some(),
        rack_found: rack.is_some_and(|rack| world.get(Rack::info(), "", rack).is_some()),
        now: Time::new(Timestamp::now()),
    };
    let (mut status, action, again) = decide(&situation);
    drop_stale_run(objects, &mut status)?;
    let mut mutations = Vec::new();
    if status != server.status {
        let next = Server { status, ..server.clone() };
        mutations.push(objects.put(&next, Precondition::At(at))?);
    }
    match action {
        Action::Nothing => {}
        Action::Cancel => {
            if let Some((at, run)) = &inspection {
                let mut run = run.clone();
                run.spec.cancel = true;
                run.metadata.generation = run.metadata.generation.map(|number| number + 1);
                mutations.push(objects.put(&run, Precondition::At(*at))?);
            }
        }
        Action::Inspect { number } => {
            let run = inspection_run(&server, &name, &situation.basis, number, situation.now);
            let precondition = match &inspection {
                Some((at, old)) => {
                    let key = Key::new(Run::info(), SYSTEM_NAMESPACE, &old.metadata.name);
                    mutations.push(objects.delete(key, Precondition::At(*at)));
                    Precondition::Absent
                }
                None => Precondition::Absent,
            };
            mutations.push(objects.put(&run, precondition)?);
        }
    }
    if !mutations.is_empty() {
        // Whoever got in between made a change that brings us here again.
        objects.commit(mutations).await?;
    }
    Ok(again)
}

/// A run that ended or is gone acts on nothing, whatever it could still write before it ended.
fn drop_stale_run(objects: &Objects, status: &mut ServerStatus) -> Result<(), EngineError> {
    let Some((namespace, name)) = status.current_run.as_deref().and_then(|run| run.split_once('/'))
    else {
        return Ok(());
    };
    let run = objects.read::<Run>(namespace, name)?;
    if run.is_none_or(|(_, run)| run.status.phase.ended()) {
        status.current_run = None;
    }
    Ok(())
}

fn inspection_run(server: &Server, name: &str, basis: &str, number: u32, now: Time) -> Run {
    Run {
        metadata: ObjectMeta {
            name: name.into(),
            namespace: Some(SYSTEM_NAMESPACE.into()),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            annotations: BTreeMap::from([
                (BASIS.to_owned(), basis.to_owned()),
                (TRY.to_owned(), number.to_string()),
            ]),
            owner_references: vec![OwnerReference {
                api_version: Server::info().api_version(),
                kind: Server::KIND.into(),
                name: server.metadata.name.clone(),
                uid: server.metadata.uid.clone(),
                controller: Some(true),
                block_owner_deletion: None,
            }],
            ..ObjectMeta::default()
        },
        spec: RunSpec {
            runbook: INSPECT_RUNBOOK.into(),
            target: Some(RunTarget {
                kind: Server::KIND.into(),
                name: server.metadata.name.clone(),
            }),
            ..RunSpec::default()
        },
        ..Run::default()
    }
}

#[cfg(test)]
mod tests;
