//! `kubectl cordon`: whether a Node takes more is written into the Machine that it is, and nothing else of it is written here.
//! Whoever takes a cordon back takes back with it that Pods were asked to go.

use super::{View, evict, machine_of};
use crate::{
    answer::Answer,
    body,
    change::{Change, ChangeType},
    identity::Caller,
    negotiate::Form,
    patch::{Patch, PatchType},
    path::Query,
    read,
    server::Api,
    status::ApiError,
    write::{self, Target},
};
use http::{Method, Request, header};
use hyper::body::Incoming;
use quarterdeck_model::{FieldError, Key, Kind as _, Object, kinds::Machine, object};
use serde_json::{Value, json};

const UNSCHEDULABLE: &str = "unschedulable";

/// Writes a Node, by a patch or whole.
pub(crate) async fn write(
    api: &Api,
    name: &str,
    query: &Query,
    form: Form,
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let kind = View::Nodes.kind();
    let (namespace, machine) = machine_of(name);
    let gone = || ApiError::not_found(kind, name);
    let world = api.store.fresh().await?;
    let source = world.get(Machine::info(), namespace, machine).ok_or_else(gone)?;
    let before = View::Nodes.project(&source).ok_or_else(gone)?.value();
    let after = match *request.method() {
        Method::PUT => body::written(request).await?.value,
        _ => {
            let media = request.headers().get(header::CONTENT_TYPE);
            let media = media.and_then(|value| value.to_str().ok()).unwrap_or_default();
            let ChangeType::Patch(media) = ChangeType::of(media, kind)? else {
                return Err(ApiError::bad_request(
                    "a Node is not applied: apply the Machine that it is",
                ));
            };
            let mut after = before.clone();
            Patch::parse(media, &body::bytes(request).await?)?.apply(&mut after)?;
            after
        }
    };
    let wanted = wanted(name, &before, &after)?;
    let patch = json!({"spec": {UNSCHEDULABLE: wanted}}).to_string();
    let patch = Change::Patch(Patch::parse(PatchType::Merge, patch.as_bytes())?);
    let target = Target { kind: Machine::info(), namespace, name: machine, part: None };
    write::patch(api, &target, query, &patch, Form::Json, caller).await?;
    if query.dry_run {
        let mut shown = after;
        if let Some(metadata) = shown.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        let (key, body) = (Key::new(kind, "", name), object::encode(kind, &shown));
        let shown = Object::from_body(kind, key, source.revision, &body);
        let shown = shown.map_err(|error| ApiError::internal(error.to_string()))?;
        return read::one(&shown, query, form);
    }
    if !wanted {
        evict::take_back(api, namespace, machine).await?;
    }
    let now = api.store.fresh().await?.get(Machine::info(), namespace, machine);
    let shown = now.and_then(|it| View::Nodes.project(&it)).ok_or_else(gone)?;
    read::one(&shown, query, form)
}

/// Whether it is to take nothing more. Refuses what else a write would change.
fn wanted(name: &str, before: &Value, after: &Value) -> Result<bool, ApiError> {
    let kind = View::Nodes.kind();
    let wanted = match after.pointer("/spec/unschedulable") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(wanted)) => *wanted,
        Some(other) => {
            let field = "spec.unschedulable";
            let error = FieldError::invalid(field, other.to_string(), "must be true or false");
            return Err(ApiError::invalid(kind, name, &vec![error]));
        }
    };
    let version = |value: &Value| value.pointer("/metadata/resourceVersion").cloned();
    let named = version(after).filter(|version| version.as_str() != Some(""));
    if named.is_some() && named != version(before) {
        return Err(ApiError::stale(kind, name));
    }
    if rest(before) != rest(after) {
        let why = "of a Node nothing is written but this: write the Machine that it is";
        let error = FieldError::forbidden("spec", format!("{UNSCHEDULABLE}: {why}"));
        return Err(ApiError::invalid(kind, name, &vec![error]));
    }
    Ok(wanted)
}

/// All that is not written.
fn rest(node: &Value) -> Value {
    let mut rest = node.clone();
    if let Some(spec) = rest.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove(UNSCHEDULABLE);
    }
    if let Some(metadata) = rest.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    if rest.get("spec") == Some(&json!({}))
        && let Some(rest) = rest.as_object_mut()
    {
        rest.remove("spec");
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_cordon_is_written() {
        let node = json!({"metadata": {"name": "n", "resourceVersion": "7"}, "spec": {}});
        let with = |change: Value| {
            let mut after = node.clone();
            json_patch::merge(&mut after, &change);
            wanted("n", &node, &after)
        };
        assert!(with(json!({"spec": {"unschedulable": true}})).unwrap());
        assert!(!with(json!({"spec": {"unschedulable": null}})).unwrap());
        assert!(!with(json!({"spec": null})).unwrap());
        for (wrong, reason) in [
            (json!({"spec": {"unschedulable": "yes"}}), "Invalid"),
            (json!({"spec": {"taints": []}}), "Invalid"),
            (json!({"metadata": {"labels": {"a": "b"}}}), "Invalid"),
            (json!({"metadata": {"resourceVersion": "6"}}), "Conflict"),
        ] {
            assert_eq!(with(wrong.clone()).unwrap_err().reason, reason, "{wrong}");
        }
    }
}
