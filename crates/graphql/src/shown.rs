//! What of an object is shown. A Secret is shown without what it holds, whoever asks: a page has no use for it, and
//! `kubectl get secret` is there for who has. Pure.

use quarterdeck_model::{Kind as _, KindRef, Object, kinds::Secret};
use serde_json::Value;

/// Deepest path that is read.
const STEPS_MAX: usize = 16;

/// Fields of a Secret that are shown.
const OF_SECRETS: [&str; 5] = ["apiVersion", "kind", "metadata", "type", "immutable"];
/// Metadata of a Secret that may repeat what it holds, or the names of it.
const REPEATS: [&str; 2] = ["managedFields", "annotations"];

/// Whether what objects of a kind hold is shown to nobody.
pub(crate) fn is_confidential(kind: KindRef) -> bool {
    kind == Secret::info()
}

/// The object, as far as it is shown.
pub(crate) fn value(object: &Object) -> Value {
    let mut value = object.value();
    if is_confidential(object.kind) {
        hide(&mut value);
    }
    value
}

/// Leaves of a Secret what may be shown.
pub(crate) fn hide(value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    fields.retain(|name, _| OF_SECRETS.contains(&name.as_str()));
    if let Some(meta) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        REPEATS.iter().for_each(|name| drop(meta.remove(*name)));
    }
}

/// The value at a dotted path; `[type=Ready]` picks from a list of objects, and a key with dots stands in brackets,
/// such as `metadata.labels[a.b/c]`. Null when there is none.
pub(crate) fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    let mut at = value;
    for step in steps(path).into_iter().take(STEPS_MAX) {
        let next = match (at, step) {
            (Value::Object(fields), name) => fields.get(name),
            (Value::Array(list), name) => {
                let pick = |(field, wanted): (&str, &str)| {
                    list.iter().find(|item| item.get(field).is_some_and(|value| value == wanted))
                };
                match name.split_once('=') {
                    Some(pair) => pick(pair),
                    None => name.parse().ok().and_then(|at: usize| list.get(at)),
                }
            }
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return &Value::Null,
        }
    }
    at
}

/// Each step of a path takes at least a letter of it.
fn steps(path: &str) -> Vec<&str> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() && steps.len() <= STEPS_MAX {
        let (name, behind) = match rest.strip_prefix('[') {
            // A bracket that does not close names nothing.
            Some(inner) => inner.split_once(']').unwrap_or((inner, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        steps.push(name);
        rest = behind.strip_prefix('.').unwrap_or(behind);
    }
    steps
}

/// A field of an object, as a text.
pub(crate) fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_found_by_their_paths() {
        let value = json!({
            "metadata": {"labels": {"a.b/c": "x"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "list": [1, 2]},
        });
        for (path, wanted) in [
            ("status.conditions[type=Ready].status", json!("True")),
            ("status.conditions[type=Other].status", Value::Null),
            ("metadata.labels[a.b/c]", json!("x")),
            ("status.list[1]", json!(2)),
            ("status.list.x", Value::Null),
            ("nothing", Value::Null),
            ("", value.clone()),
            ("..[", Value::Null),
        ] {
            assert_eq!(at(&value, path), &wanted, "{path}");
        }
    }

    #[test]
    fn a_secret_is_shown_without_what_it_holds() {
        let mut secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "a", "annotations": {"last-applied": "cGFzcw=="}, "managedFields": [{}]},
            "data": {"password": "cGFzcw=="}, "stringData": {"password": "pass"},
        });
        hide(&mut secret);
        let wanted = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "a"}});
        assert_eq!(secret, wanted);
    }
}
