//! Evictions, as `kubectl drain` asks for them: that a Pod is to go elsewhere is written onto its Instance, and whoever keeps
//! that brings it about with leave of the ledger, and for a Workload once another instance serves in its place. Here it is
//! only waited for a moment: who asks is told that it goes, or who blocks, and asks again as often as it likes.
//! Source: Kubernetes, "API-initiated eviction".

use super::{View, pod_part};
use crate::{
    answer::{self, Answer},
    body,
    identity::Caller,
    modify::{Wanted, modify},
    negotiate::Form,
    path::Query,
    server::Api,
    status::ApiError,
    write::Target,
};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use quarterdeck_model::{
    ConditionStatus, Kind as _, Object, condition,
    kinds::{
        Instance, Permit, PermitPhase, Workload, instance::EVICT, instances_on_machine,
        permit::instance_permit,
    },
};
use quarterdeck_store::World;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How long it is waited for an answer of the ledger, before who asks is told what it waits for.
const WAIT: Duration = Duration::from_secs(5);

/// What is asked. Source: Kubernetes, `policyv1.Eviction`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Eviction {
    kind: String,
    metadata: Metadata,
    delete_options: Option<Options>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    dry_run: Vec<String>,
    preconditions: Option<Preconditions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Preconditions {
    uid: Option<String>,
}

/// What became of it by now.
#[derive(Debug, PartialEq, Eq)]
enum Goes {
    /// It goes, or is gone.
    Yes,
    /// Who blocks.
    Blocked(String),
    /// Nobody has said anything yet; what it waits for.
    NotYet(String),
}

/// Answers an eviction.
pub(super) async fn answer(
    api: &Api,
    (namespace, name): (&str, &str),
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let body = body::optional_object(request).await?.unwrap_or_else(|| json!({}));
    let asked: Eviction = serde_json::from_value(body)
        .map_err(|error| ApiError::bad_request(format!("error decoding Eviction: {error}")))?;
    if !["", "Eviction"].contains(&asked.kind.as_str()) {
        let why = format!("kind: expected Eviction, found {:?}", asked.kind);
        return Err(ApiError::bad_request(why));
    }
    if !["", name].contains(&asked.metadata.name.as_str()) {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = asked.delete_options.unwrap_or_default();
    let dry_run = query.dry_run || options.dry_run.iter().any(|it| it == "All");
    let uid = options.preconditions.and_then(|it| it.uid);
    let world = api.store.fresh().await?;
    let (object, _) = pod_part::instance(&world, namespace, name)?;
    if let Some(uid) = uid.filter(|uid| uid != object.uid()) {
        let why = format!("the UID in the precondition ({uid}) does not match that of the pod");
        return Err(ApiError::conflict(View::Pods.kind(), name, &why));
    }
    if dry_run {
        return Ok(goes());
    }
    mark(api, (namespace, name), Some("it was asked to go by an eviction")).await?;
    let until = Instant::now() + WAIT;
    let mut world = api.store.fresh().await?;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match look(&world, &object) {
            Goes::Yes => return Ok(goes()),
            Goes::Blocked(why) => return Err(ApiError::not_now(View::Pods.kind(), name, &why)),
            Goes::NotYet(why) if left.is_zero() => {
                return Err(ApiError::not_now(View::Pods.kind(), name, &why));
            }
            Goes::NotYet(_) => {}
        }
        world = match api.store.wait_for(world.revision().next(), left).await {
            Ok(world) => world,
            Err(_) => api.store.world(),
        };
    }
}

fn goes() -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    let mut answer = answer::json(&status);
    *answer.status_mut() = StatusCode::CREATED;
    answer
}

/// What became of the eviction of an instance.
fn look(world: &World, instance: &Object) -> Goes {
    let (namespace, name) = (instance.namespace(), instance.name());
    let now = world.get(Instance::info(), namespace, name);
    let Some(now) = now.filter(|now| now.uid() == instance.uid() && !now.deleting()) else {
        return Goes::Yes;
    };
    let permit = world.get(Permit::info(), namespace, &instance_permit(name));
    let permit = permit.and_then(|permit| permit.decode::<Permit>().ok());
    match permit.filter(|permit| permit.spec.run_uid == instance.uid()) {
        Some(permit) => match (permit.status.phase, permit.status.message) {
            (PermitPhase::Waiting, Some(why)) => Goes::Blocked(why),
            _ => Goes::NotYet("the ledger has not answered yet".into()),
        },
        None => Goes::NotYet(replacement(world, &now)),
    }
}

/// What an instance waits for that nobody has asked the ledger for yet.
fn replacement(world: &World, instance: &Object) -> String {
    let name = instance.name();
    let workload = instance.field("spec.workload").unwrap_or_default();
    let found = world.get(Workload::info(), instance.namespace(), workload);
    let Some(workload) = found.and_then(|it| it.decode::<Workload>().ok()) else {
        return format!("{name} was not looked at yet");
    };
    let placed = condition::find(&workload.status.conditions, "Placed");
    let missing = placed.filter(|it| it.status == ConditionStatus::False);
    let missing = missing.map(|it| format!("; {}", it.message)).unwrap_or_default();
    format!("{name} goes once another instance serves in its place{missing}")
}

/// Takes back that instances of a machine were asked to go.
pub(super) async fn take_back(api: &Api, namespace: &str, machine: &str) -> Result<(), ApiError> {
    let world = api.store.fresh().await?;
    let on = world.with_fields(Instance::info(), &instances_on_machine(namespace, machine));
    for instance in on.iter().filter(|it| has_mark(&it.value())) {
        match mark(api, (namespace, instance.name()), None).await {
            // It is gone by now.
            Err(error) if error.reason == "NotFound" => {}
            done => done?,
        }
    }
    Ok(())
}

fn has_mark(instance: &Value) -> bool {
    instance.pointer("/metadata/annotations").is_some_and(|all| all.get(EVICT).is_some())
}

/// Writes that an instance is to go, and why; or takes it back. Who may ask for it need not be allowed to write instances.
async fn mark(
    api: &Api,
    (namespace, name): (&str, &str),
    why: Option<&str>,
) -> Result<(), ApiError> {
    let target = Target { kind: Instance::info(), namespace, name, part: None };
    let query = Query { manager: "eviction".into(), ..Query::default() };
    let plane = Caller::plane();
    let marked = modify(api, &target, &query, Form::Json, &plane, |old| {
        let mut value = old.clone();
        if has_mark(old) != why.is_some()
            && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
        {
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            if let Some(annotations) = annotations.as_object_mut() {
                match why {
                    Some(why) => drop(annotations.insert(EVICT.into(), why.into())),
                    None => drop(annotations.remove(EVICT)),
                }
            }
        }
        Ok(Wanted::of(value))
    });
    marked.await.map(drop)
}
