//! Patches: from an object and a patch to the object wanted. Pure.
//! Sources: RFC 6902 (JSON patch), RFC 7386 (merge patch), Kubernetes "Strategic Merge Patch"
//! (for core kinds, whose clients send nothing else).

use crate::status::ApiError;
use quarterdeck_model::KindRef;
use serde_json::{Map, Value};

/// Operations in one JSON patch: each can copy the document, so their number is bounded.
const OPERATIONS_MAX: usize = 10_000;
/// Size a patched object may grow to while it is patched (`copy` can double it at each step).
const PATCHED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
}

impl PatchType {
    /// Reads the content type; strategic merge is for core kinds only.
    pub(crate) fn of(content_type: &str, kind: KindRef) -> Result<Self, ApiError> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        match media {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if kind.group.is_empty() => {
                Ok(Self::Strategic)
            }
            _ if kind.group.is_empty() => Err(ApiError::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
            ])),
            _ => Err(ApiError::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
            ])),
        }
    }
}

/// A patch that was read and can be applied, again if the object changes meanwhile.
pub(crate) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Map<String, Value>),
}

impl Patch {
    /// Reads a patch.
    pub(crate) fn parse(kind: PatchType, body: &[u8]) -> Result<Self, ApiError> {
        let wrong = |error: serde_json::Error| {
            ApiError::bad_request(format!("error decoding patch: {error}"))
        };
        match kind {
            PatchType::Json => {
                let patch: json_patch::Patch = serde_json::from_slice(body).map_err(wrong)?;
                if patch.0.len() > OPERATIONS_MAX {
                    return Err(ApiError::bad_request(format!(
                        "the allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
                        patch.0.len()
                    )));
                }
                Ok(Self::Json(patch))
            }
            PatchType::Merge => Ok(Self::Merge(serde_json::from_slice(body).map_err(wrong)?)),
            PatchType::Strategic => {
                Ok(Self::Strategic(serde_json::from_slice(body).map_err(wrong)?))
            }
        }
    }

    /// Applies it to `object`.
    pub(crate) fn apply(&self, object: &mut Value) -> Result<(), ApiError> {
        match self {
            Self::Json(patch) => {
                for operation in &patch.0 {
                    let one = std::slice::from_ref(operation);
                    json_patch::patch(object, one).map_err(|error| ApiError {
                        code: http::StatusCode::UNPROCESSABLE_ENTITY,
                        reason: "Invalid",
                        message: format!("the JSON patch cannot be applied: {error}"),
                        details: None,
                        next: None,
                    })?;
                    if matches!(operation, json_patch::PatchOperation::Copy(_))
                        && object.to_string().len() > PATCHED_BYTES_MAX
                    {
                        return Err(ApiError::too_large(PATCHED_BYTES_MAX));
                    }
                }
            }
            Self::Merge(patch) => json_patch::merge(object, patch),
            Self::Strategic(patch) => {
                if let Some(object) = object.as_object_mut() {
                    strategic(object, patch)?;
                }
            }
        }
        if object.is_object() {
            Ok(())
        } else {
            Err(ApiError::bad_request("the patched object is not an object"))
        }
    }
}

/// Lists of core kinds that are merged instead of replaced: by key, or as a set.
fn list_key(field: &str) -> Option<Option<&'static str>> {
    match field {
        "ownerReferences" => Some(Some("uid")),
        "conditions" => Some(Some("type")),
        "finalizers" => Some(None),
        _ => None,
    }
}

fn strategic(object: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), ApiError> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            object.clear();
            object.extend(patch.iter().filter(|(name, _)| *name != "$patch").map(owned));
            return Ok(());
        }
        Some("delete") => {
            object.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            return Err(ApiError::bad_request(format!("unknown patch directive {other:?}")));
        }
    }
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        object.retain(|name, _| kept.iter().any(|kept| kept == name));
    }
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(list) = object.get_mut(field).and_then(Value::as_array_mut) {
                list.retain(|item| !gone.contains(item));
            }
            continue;
        }
        // `$setElementOrder/…` only orders lists; those of core kinds here have no order that matters.
        if name.starts_with('$') {
            continue;
        }
        match (value, list_key(name)) {
            (Value::Null, _) => {
                object.remove(name);
            }
            (Value::Object(patch), _) => {
                let slot = object.entry(name.clone()).or_insert_with(|| Map::new().into());
                if !slot.is_object() {
                    *slot = Map::new().into();
                }
                if let Some(slot) = slot.as_object_mut() {
                    strategic(slot, patch)?;
                }
            }
            (Value::Array(items), Some(key)) => {
                let slot = object.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
                if let Some(list) = slot.as_array_mut() {
                    merge_list(list, items, key)?;
                }
            }
            (value, _) => {
                object.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(())
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn merge_list(list: &mut Vec<Value>, items: &[Value], key: Option<&str>) -> Result<(), ApiError> {
    for item in items {
        let Some(key) = key else {
            if !list.contains(item) {
                list.push(item.clone());
            }
            continue;
        };
        let (Some(patch), Some(id)) = (item.as_object(), item.get(key)) else {
            return Err(ApiError::bad_request(format!("a list item in the patch has no {key:?}")));
        };
        let at = list.iter().position(|old| old.get(key) == Some(id));
        let delete = patch.get("$patch").and_then(Value::as_str) == Some("delete");
        match (at, delete) {
            (Some(at), true) => {
                list.remove(at);
            }
            (None, true) => {}
            (Some(at), false) => {
                if let Some(old) = list.get_mut(at).and_then(Value::as_object_mut) {
                    strategic(old, patch)?;
                }
            }
            (None, false) => list.push(item.clone()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(kind: PatchType, object: Value, patch: Value) -> Result<Value, String> {
        let mut object = object;
        Patch::parse(kind, patch.to_string().as_bytes())
            .and_then(|patch| patch.apply(&mut object))
            .map(|()| object)
            .map_err(|error| format!("{} {}", error.code.as_u16(), error.reason))
    }

    #[test]
    fn three_ways_to_patch() {
        let object = json!({"a": {"b": 1, "c": 2}, "finalizers": ["x", "y"]});
        let merge = json!({"a": {"b": null, "d": 3}, "finalizers": ["z"]});
        assert_eq!(
            patched(PatchType::Merge, object.clone(), merge.clone()).unwrap(),
            json!({"a": {"c": 2, "d": 3}, "finalizers": ["z"]})
        );
        assert_eq!(
            patched(PatchType::Strategic, object.clone(), merge).unwrap(),
            json!({"a": {"c": 2, "d": 3}, "finalizers": ["x", "y", "z"]})
        );
        let delete = json!({"$deleteFromPrimitiveList/finalizers": ["x"],
            "$setElementOrder/finalizers": ["y"], "a": {"$patch": "replace", "e": 1}});
        assert_eq!(
            patched(PatchType::Strategic, object.clone(), delete).unwrap(),
            json!({"a": {"e": 1}, "finalizers": ["y"]})
        );
        let json = json!([{"op": "replace", "path": "/a/b", "value": 9}]);
        assert_eq!(patched(PatchType::Json, object.clone(), json).unwrap()["a"]["b"], 9);
        for (patch, refusal) in [
            (json!([{"op": "test", "path": "/a/b", "value": 2}]), "422 Invalid"),
            (json!([{"op": "remove", "path": "/none"}]), "422 Invalid"),
            (json!({"op": "remove"}), "400 BadRequest"),
            (json!([{"op": "replace", "path": "", "value": 1}]), "400 BadRequest"),
        ] {
            assert_eq!(patched(PatchType::Json, object.clone(), patch).unwrap_err(), refusal);
        }
    }

    #[test]
    fn a_copy_bomb_is_refused() {
        let object = json!({"a": "x".repeat(1000)});
        let bomb: Vec<Value> =
            (0..40).map(|n| json!({"op": "copy", "from": "", "path": format!("/b{n}")})).collect();
        let refusal = patched(PatchType::Json, object, bomb.into()).unwrap_err();
        assert_eq!(refusal, "413 RequestEntityTooLarge");
    }
}
