//! What can be owned at all: not the system's own fields, and by a write of one part of an object
//! nothing of the other part.
//! Source: Kubernetes "Server-Side Apply"; the fields that each endpoint resets.

use super::fields::FieldSet;
use crate::path::Subresource;
use quarterdeck_model::KindRef;
use serde_json::Value;

/// Fields of `metadata` that are the system's.
const SYSTEM: [&str; 11] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "clusterName",
    "managedFields",
];

/// The name of a part, as managed fields have it.
pub(crate) fn part_name(part: Option<Subresource>) -> &'static str {
    match part {
        Some(part) => part.name(),
        None => "",
    }
}

/// Takes out of a set what a write of `part` cannot own.
pub(crate) fn strip(kind: KindRef, part: Option<Subresource>, set: &mut FieldSet) {
    set.here = false;
    set.fields.retain(|name, _| match (name.as_str(), part) {
        ("apiVersion" | "kind", _) => false,
        ("status", None) => !kind.has_status,
        (name, Some(Subresource::Status)) => name == "status",
        (name, Some(Subresource::Scale)) => name == "spec",
        _ => true,
    });
    if let Some(meta) = set.fields.get_mut("metadata") {
        meta.here = false;
        for name in SYSTEM {
            meta.fields.remove(name);
        }
        if meta.is_empty() {
            set.fields.remove("metadata");
        }
    }
}

/// Leaves of an object what a write of `part` can change.
pub(crate) fn only_part(kind: KindRef, part: Option<Subresource>, object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    match part {
        Some(Subresource::Status) => {
            fields.retain(|name, _| {
                matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status")
            });
            if let Some(meta) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
                meta.retain(|name, _| SYSTEM.contains(&name.as_str()));
            }
        }
        // A scale is not applied.
        Some(Subresource::Scale) => {}
        None if kind.has_status => drop(fields.remove("status")),
        None => {}
    }
}
