//! Patches: from an object and a patch to the object wanted. Pure.
//! Sources: RFC 6902 (JSON patch), RFC 7386 (merge patch), Kubernetes "Strategic Merge Patch"
//! (for core kinds, whose clients send nothing else).

use crate::{
    admission::{DEPTH_MAX, too_deep},
    status::ApiError,
    written::Written,
};
use json_patch::PatchOperation;
use serde_json::{Map, Value};

/// Operations in one JSON patch: each can copy the document, so their number is bounded.
const OPERATIONS_MAX: usize = 10_000;
/// All that the operations of one JSON patch may copy and move (`copy` can double the object at
/// each step): a few times the largest object, so that no patch keeps a processor busy for long.
const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
}

/// A patch that was read and can be applied, again if the object changes meanwhile.
pub(crate) struct Patch {
    change: Change,
    /// What is remarked on how it is written.
    pub(crate) remarks: Vec<String>,
}

enum Change {
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
        let written = Written::from_json(body).map_err(wrong)?;
        let mut remarks = written.remarks();
        let value = written.value;
        let change = match kind {
            PatchType::Json => {
                let patch: json_patch::Patch = serde_json::from_value(value).map_err(wrong)?;
                if patch.0.len() > OPERATIONS_MAX {
                    return Err(ApiError::bad_request(format!(
                        "the allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
                        patch.0.len()
                    )));
                }
                // Their paths are of the patch, not of the object.
                remarks = remarks.iter().map(|remark| format!("json patch {remark}")).collect();
                Change::Json(patch)
            }
            PatchType::Merge => Change::Merge(value),
            PatchType::Strategic => {
                Change::Strategic(serde_json::from_value(value).map_err(wrong)?)
            }
        };
        Ok(Self { change, remarks })
    }

    /// Applies it to `object`.
    pub(crate) fn apply(&self, object: &mut Value) -> Result<(), ApiError> {
        match &self.change {
            Change::Json(patch) => {
                let mut budget = COPIED_BYTES_MAX;
                for operation in &patch.0 {
                    check_growth(object, operation, &mut budget)?;
                    // One at a time, so that there is never anything to undo: the object is the
                    // caller's copy, thrown away when the patch fails.
                    json_patch::patch_unsafe(object, std::slice::from_ref(operation)).map_err(
                        |error| {
                            ApiError::inapplicable(format!(
                                "the JSON patch cannot be applied: {error}"
                            ))
                        },
                    )?;
                }
            }
            Change::Merge(patch) => json_patch::merge(object, patch),
            Change::Strategic(patch) => {
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

/// Refuses an operation that would copy too much or nest too deeply, before it is done.
fn check_growth(
    object: &Value,
    operation: &PatchOperation,
    budget: &mut usize,
) -> Result<(), ApiError> {
    // What is in the patch was bounded with the body; only its depth is of interest.
    let mut unbounded = usize::MAX;
    let (path, value, budget) = match operation {
        PatchOperation::Add(add) => (&add.path, Some(&add.value), &mut unbounded),
        PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value), &mut unbounded),
        PatchOperation::Copy(copy) => (&copy.path, object.pointer(copy.from.as_str()), budget),
        PatchOperation::Move(moved) => (&moved.path, object.pointer(moved.from.as_str()), budget),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    let depth = DEPTH_MAX.checked_sub(path.count()).ok_or_else(too_deep)?;
    value.map_or(Ok(()), |value| measure(value, depth, budget))
}

/// Takes the size of `value` from `budget`; fails when that runs out, or `value` is deeper than `depth`.
fn measure(value: &Value, depth: usize, budget: &mut usize) -> Result<(), ApiError> {
    let own = match value {
        Value::String(text) => text.len(),
        Value::Object(fields) => fields.keys().map(String::len).sum(),
        _ => 0,
    };
    // Brackets, commas, numbers and literals: about this many bytes a value.
    let size = own + 8;
    *budget = budget.checked_sub(size).ok_or_else(|| ApiError::too_large(COPIED_BYTES_MAX))?;
    let inner: &mut dyn Iterator<Item = &Value> = match value {
        Value::Array(items) => &mut items.iter(),
        Value::Object(fields) => &mut fields.values(),
        _ => return Ok(()),
    };
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    for value in inner {
        measure(value, depth, budget)?;
    }
    Ok(())
}

/// Lists of core kinds that are merged instead of replaced: by key, or as a set.
fn list_key(field: &str) -> Option<Option<&'static str>> {
    match field {
        "ownerReferences" => Some(Some("uid")),
        "conditions" => Some(Some("type")),
        "matchConditions" | "variables" => Some(Some("name")),
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
mod tests;
