//! `/scale`: how many of something an object wants and has, as one shape for every kind that says where it keeps that.
//! It is read from the object and written into it; nothing is kept beside it.
//! Source: Kubernetes `autoscaling/v1` Scale.

use crate::{
    answer::{self, Answer},
    audit::Subject,
    change::{Change, ChangeType},
    identity::Caller,
    modify::{Wanted, modify},
    negotiate::Form,
    path::Query,
    server::Api,
    status::ApiError,
    write::Target,
    written::Written,
};
use quarterdeck_model::{KindRef, Object, Scale};
use serde_json::{Map, Value, json};

/// Group, version and kind of what is read and written.
pub(crate) const SCALE: (&str, &str, &str) = ("autoscaling", "v1", "Scale");
/// How it can be patched. It is too small to be applied.
pub(crate) const PATCHES: [&str; 2] =
    ["application/json-patch+json", "application/merge-patch+json"];

/// The scale of an object.
pub(crate) fn of(scale: Scale, object: &Value) -> Value {
    let field = |path: &str| object.pointer(&pointer(path)).cloned();
    let kept = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let meta = object.get("metadata").and_then(Value::as_object).into_iter().flatten();
    let meta = meta.filter(|(name, _)| kept.contains(&name.as_str()));
    let meta: Map<String, Value> =
        meta.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut status = json!({"replicas": field(scale.seen).unwrap_or_else(|| 0.into())});
    if let (Some(selector), Some(status)) = (field(scale.selector), status.as_object_mut()) {
        status.insert("selector".into(), selector);
    }
    json!({
        "apiVersion": format!("{}/{}", SCALE.0, SCALE.1),
        "kind": SCALE.2,
        "metadata": meta,
        "spec": {"replicas": field(scale.wanted).unwrap_or_else(|| 0.into())},
        "status": status,
    })
}

/// The scale of a stored object, as an answer.
pub(crate) fn one(scale: Scale, object: &Object) -> Answer {
    let mut answer = answer::json(&of(scale, &object.value()));
    answer.extensions_mut().insert(Subject::of(object));
    answer
}

/// `GET`.
pub(crate) async fn get(api: &Api, target: &Target<'_>) -> Result<Answer, ApiError> {
    let Target { kind, namespace, name, .. } = *target;
    let world = api.store.fresh().await?;
    let object = world.get(kind, namespace, name);
    let object = object.ok_or_else(|| ApiError::not_found(kind, name))?;
    Ok(one(declared(kind)?, &object))
}

/// `PUT`.
pub(crate) async fn replace(
    api: &Api,
    target: &Target<'_>,
    query: &Query,
    body: Written,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let scale = declared(target.kind)?;
    modify(api, target, query, Form::Json, caller, |old| scaled(scale, old, &body.value)).await
}

/// `PATCH`, of the scale as it is read.
pub(crate) async fn patch(
    api: &Api,
    target: &Target<'_>,
    query: &Query,
    (media, body): (ChangeType, &[u8]),
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let scale = declared(target.kind)?;
    let Change::Patch(patch) = media.read(target.kind, target.part, body)? else {
        return Err(ApiError::unsupported_media_type(&PATCHES));
    };
    modify(api, target, query, Form::Json, caller, |old| {
        let mut said = of(scale, old);
        patch.apply(&mut said)?;
        scaled(scale, old, &said)
    })
    .await
}

fn declared(kind: KindRef) -> Result<Scale, ApiError> {
    kind.scale.ok_or_else(ApiError::no_such_path)
}

/// An object that wants as many as was said, and is that version and that object if those were named.
fn scaled(scale: Scale, old: &Value, said: &Value) -> Result<Wanted, ApiError> {
    let text = |path: &str| said.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    let own_version = format!("{}/{}", SCALE.0, SCALE.1);
    if !version.is_empty() && version != own_version || !kind.is_empty() && kind != SCALE.2 {
        return Err(ApiError::bad_request(format!(
            "the object provided is {version}, Kind={kind}; this path takes {own_version}, Kind={}",
            SCALE.2
        )));
    }
    // None is nought: that is how Kubernetes writes it.
    let replicas = said.pointer("/spec/replicas").filter(|value| !value.is_null());
    let replicas = replicas
        .map_or(Some(0), Value::as_u64)
        .ok_or_else(|| ApiError::bad_request("spec.replicas must be a whole number from 0"))?;
    let mut value = old.clone();
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.insert("resourceVersion".into(), text("/metadata/resourceVersion").into());
        for field in ["name", "uid"] {
            let given = text(&format!("/metadata/{field}"));
            if !given.is_empty() {
                meta.insert(field.into(), given.into());
            }
        }
    }
    put(&mut value, scale.wanted, replicas.into());
    Ok(Wanted::of(value))
}

/// Puts a value at a dotted path, making what is on the way there.
fn put(object: &mut Value, path: &str, value: Value) {
    let mut at = object;
    for name in path.split('.') {
        let Some(fields) = at.as_object_mut() else { return };
        at = fields.entry(name).or_insert_with(|| Map::new().into());
    }
    *at = value;
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}
