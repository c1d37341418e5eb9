//! What of an object changed between two versions of it, field by field; who changed it, and when. Pure.

use crate::schema::timeline::FieldChange;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// Fields that are told of one change.
pub(crate) const FIELDS_MAX: usize = 100;
/// Longest value that is told, as JSON; of a longer one only that it changed.
const VALUE_BYTES_MAX: usize = 2_048;
/// How deep it is looked: what lies deeper changes as a whole.
const DEPTH_MAX: usize = 12;

/// Metadata that changes with every write, or says who wrote, which is told otherwise.
const UNTOLD: [&str; 3] =
    ["metadata.managedFields", "metadata.resourceVersion", "metadata.generation"];

/// Who the plane itself is.
pub(crate) const PLANE: &str = "quarterdeck";

/// The fields that differ, at most [`FIELDS_MAX`], and how many more.
pub(crate) fn fields(before: Option<&Value>, after: Option<&Value>) -> (Vec<FieldChange>, usize) {
    let mut changes = Vec::new();
    let mut more = 0;
    compare(String::new(), before, after, 0, &mut |path, before, after| {
        if UNTOLD.contains(&path.as_str()) {
            return;
        }
        if changes.len() == FIELDS_MAX {
            more += 1;
            return;
        }
        let told = |value: Option<&Value>| {
            let value = value.filter(|value| value.to_string().len() <= VALUE_BYTES_MAX);
            value.cloned()
        };
        changes.push(FieldChange { path, before: told(before), after: told(after) });
    });
    (changes, more)
}

type Tell<'t> = dyn FnMut(String, Option<&Value>, Option<&Value>) + 't;

fn compare(
    path: String,
    before: Option<&Value>,
    after: Option<&Value>,
    depth: usize,
    tell: &mut Tell<'_>,
) {
    if before == after {
        return;
    }
    let empty = Map::new();
    let fields = |value: Option<&Value>| match value {
        None => Some(None),
        Some(Value::Object(fields)) => Some(Some(fields.clone())),
        Some(_) => None,
    };
    // What comes or goes as a whole is told by its fields as well, but for small things at the ends.
    if depth < DEPTH_MAX
        && !UNTOLD.contains(&path.as_str())
        && let (Some(one), Some(other)) = (fields(before), fields(after))
    {
        let (one, other) = (one.unwrap_or_else(|| empty.clone()), other.unwrap_or(empty));
        if !one.is_empty() || !other.is_empty() {
            let new = other.keys().filter(|name| !one.contains_key(*name));
            for name in one.keys().chain(new) {
                let step = step(&path, name);
                compare(step, one.get(name), other.get(name), depth + 1, tell);
            }
            return;
        }
    }
    if let (Some(Value::Array(one)), Some(Value::Array(other))) = (before, after)
        && depth < DEPTH_MAX
        && let Some(key) = key_of(one, other)
    {
        let named = |item| named(item, key);
        let old: HashMap<&str, &Value> = one.iter().filter_map(named).collect();
        let new: HashMap<&str, &Value> = other.iter().filter_map(named).collect();
        let came = other.iter().filter_map(named).filter(|(name, _)| !old.contains_key(name));
        for (name, _) in one.iter().filter_map(named).chain(came) {
            let (before, after) = (old.get(name).copied(), new.get(name).copied());
            compare(format!("{path}[{key}={name}]"), before, after, depth + 1, tell);
        }
        return;
    }
    tell(path, before, after);
}

/// A key with dots stands in brackets.
fn step(path: &str, name: &str) -> String {
    match (path, name.contains(['.', '/', '['])) {
        (path, true) => format!("{path}[{name}]"),
        ("", false) => name.into(),
        (path, false) => format!("{path}.{name}"),
    }
}

/// The field that tells the items of a list apart, before and after, as lists of Kubernetes' objects have it.
fn key_of(one: &[Value], other: &[Value]) -> Option<&'static str> {
    let tells_apart = |list: &[Value], key: &'static str| {
        let mut seen = HashSet::new();
        list.iter().all(|item| named(item, key).is_some_and(|(name, _)| seen.insert(name)))
    };
    let keys = ["type", "name", "uid"];
    keys.into_iter().find(|key| tells_apart(one, key) && tells_apart(other, key))
}

fn named<'v>(item: &'v Value, key: &str) -> Option<(&'v str, &'v Value)> {
    Some((item.get(key)?.as_str()?, item))
}

/// The entry of the managed fields that says who wrote: the newest that changed; or else that of who manages what
/// changed, since two writes within a second leave the same entry. The plane itself manages nothing.
fn writer<'v>(
    before: Option<&'v Value>,
    after: Option<&'v Value>,
    changes: &[FieldChange],
) -> Option<&'v Value> {
    let old = entries(before);
    let newest = |entry: &&Value| stamp(entry.get("time"));
    let changed = entries(after).iter().filter(|entry| !old.contains(entry)).max_by_key(newest);
    let owned = |entry: &&Value| {
        let fields = entry.get("fieldsV1").unwrap_or(&Value::Null);
        changes.iter().any(|change| owns(fields, &change.path))
    };
    changed.or_else(|| entries(after).iter().filter(owned).max_by_key(newest))
}

/// Who made a change, as fields are managed by.
pub(crate) fn who(
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &[FieldChange],
) -> String {
    let manager = writer(before, after, changes).and_then(|entry| entry.get("manager")?.as_str());
    manager.unwrap_or(PLANE).into()
}

/// Whether a field, or the list it is in, is among those of an entry (`FieldsV1`).
fn owns(fields: &Value, path: &str) -> bool {
    let plain = path.split('[').next().unwrap_or_default();
    let mut at = Some(fields);
    for step in plain.split('.').filter(|step| !step.is_empty()) {
        at = at.and_then(|fields| fields.get(format!("f:{step}")));
    }
    !plain.is_empty() && at.is_some()
}

fn entries(object: Option<&Value>) -> &[Value] {
    let list = object.and_then(|it| it.pointer("/metadata/managedFields")?.as_array());
    list.map_or(&[][..], Vec::as_slice)
}

fn stamp(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

/// When it was: as its managed fields say, or else the latest moment among what changed that is not to come.
pub(crate) fn when(
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &[FieldChange],
    now: Timestamp,
) -> Option<Timestamp> {
    let managed = writer(before, after, changes).and_then(|entry| stamp(entry.get("time")));
    let created = || match before {
        None => stamp(after?.pointer("/metadata/creationTimestamp")),
        Some(_) => None,
    };
    let moments = || changes.iter().filter_map(|change| stamp(change.after.as_ref()));
    managed.or_else(created).or_else(|| moments().filter(|moment| *moment <= now).max())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(before: &Value, after: &Value) -> Vec<(String, Value, Value)> {
        let (changes, _) = fields(Some(before), Some(after));
        let null = |value: Option<Value>| value.unwrap_or_default();
        changes.into_iter().map(|it| (it.path, null(it.before), null(it.after))).collect()
    }

    #[test]
    fn fields_are_told_by_their_paths() {
        let before = json!({
            "metadata": {"labels": {"a.b/c": "1"}, "generation": 1},
            "spec": {"size": 1, "same": true, "gone": {"x": 1}},
            "status": {"conditions": [
                {"type": "Ready", "status": "False", "reason": "A"},
                {"type": "Old", "status": "True"}], "list": [1, 2]},
        });
        let after = json!({
            "metadata": {"labels": {"a.b/c": "2"}, "generation": 2},
            "spec": {"size": 2, "same": true},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "A"}], "list": [2]},
        });
        let row = |path: &str, before: Value, after: Value| (path.to_owned(), before, after);
        let mut seen = told(&before, &after);
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(
            seen,
            [
                row("metadata.labels[a.b/c]", json!("1"), json!("2")),
                row("spec.gone.x", json!(1), Value::Null),
                row("spec.size", json!(1), json!(2)),
                row("status.conditions[type=Old].status", json!("True"), Value::Null),
                row("status.conditions[type=Old].type", json!("Old"), Value::Null),
                row("status.conditions[type=Ready].status", json!("False"), json!("True")),
                row("status.list", json!([1, 2]), json!([2])),
            ]
        );
        assert!(told(&before, &before).is_empty());
    }

    #[test]
    fn items_are_told_apart_by_what_no_two_of_them_have() {
        let item =
            |kind: &str, name: &str, size: u8| json!({"type": kind, "name": name, "size": size});
        let before = json!({"disks": [item("NVMe", "a", 1), item("NVMe", "b", 2)]});
        let after = json!({"disks": [item("NVMe", "a", 1), item("NVMe", "b", 3)]});
        assert_eq!(told(&before, &after), [("disks[name=b].size".into(), json!(2), json!(3))]);
        let same = json!({"disks": [item("NVMe", "a", 1), item("NVMe", "a", 3)]});
        assert_eq!(told(&before, &same).len(), 1);
        assert_eq!(told(&before, &same)[0].0, "disks", "as a whole, and nothing is lost");
    }

    #[test]
    fn many_fields_and_long_values_are_cut() {
        let many: Map<String, Value> =
            (0..FIELDS_MAX + 5).map(|at| (format!("f{at}"), json!(at))).collect();
        let (changes, more) = fields(None, Some(&Value::Object(many)));
        assert_eq!((changes.len(), more), (FIELDS_MAX, 5));
        let long = json!({"a": "x".repeat(VALUE_BYTES_MAX)});
        assert_eq!(told(&json!({"a": "y"}), &long), [("a".into(), json!("y"), Value::Null)]);
        let mut deep = json!(1);
        (0..2 * DEPTH_MAX).for_each(|_| deep = json!({"a": deep}));
        assert_eq!(fields(None, Some(&deep)).0.len(), 1);
    }

    #[test]
    fn who_and_when_are_those_of_the_newest_managed_fields() {
        let entry = |manager: &str, time: &str| json!({"manager": manager, "time": time});
        let of = |entries: Value| json!({"metadata": {"managedFields": entries}});
        let before = of(json!([entry("kubectl", "2026-01-01T00:00:00Z")]));
        let after = of(json!([
            entry("kubectl", "2026-01-01T00:00:00Z"),
            entry("page", "2026-01-02T00:00:00Z")
        ]));
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        assert_eq!(who(Some(&before), Some(&after), &[]), "page");
        assert_eq!(who(Some(&after), Some(&after), &[]), PLANE);
        // Twice within a second: the entry is the same, and the field is its manager's.
        let tier = |tier: u8| {
            let fields = json!({"f:spec": {"f:tier": {}}});
            json!({"metadata": {"managedFields": [{"manager": "page", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields}]},
                   "spec": {"tier": tier}, "status": {"phase": tier}})
        };
        let (changes, _) = fields(Some(&tier(1)), Some(&tier(2)));
        assert_eq!(who(Some(&tier(1)), Some(&tier(2)), &changes), "page");
        let status: Vec<FieldChange> =
            changes.into_iter().filter(|it| it.path == "status.phase").collect();
        assert_eq!((status.len(), who(Some(&tier(1)), Some(&tier(2)), &status)), (1, PLANE.into()));
        let when = |before: &Value, after: &Value| {
            let (changes, _) = fields(Some(before), Some(after));
            super::when(Some(before), Some(after), &changes, now).map(|it| it.to_string())
        };
        assert_eq!(when(&before, &after).as_deref(), Some("2026-01-02T00:00:00Z"));
        let status =
            |since: &str, until: &str| json!({"status": {"since": since, "deadline": until}});
        let (old, new) = (
            status("2026-01-01T00:00:00Z", ""),
            status("2026-01-03T00:00:00Z", "2027-01-01T00:00:00Z"),
        );
        assert_eq!(when(&old, &new).as_deref(), Some("2026-01-03T00:00:00Z"));
        assert_eq!(when(&old, &old), None);
    }
}
