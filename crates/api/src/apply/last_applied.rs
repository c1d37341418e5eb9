//! Moving from client-side apply: what `kubectl apply` remembered in an annotation, and keeping
//! that annotation for those who still apply so. For the manager `kubectl` only, as Kubernetes has it.

use super::{
    Config,
    fields::FieldSet,
    shape::Shape,
    walk::{changed, given, keep_present},
};
use quarterdeck_model::{KindRef, schema, validate::ANNOTATIONS_BYTES_MAX};
use serde_json::{Map, Value};

/// The manager that moves.
pub(crate) const KUBECTL: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.pointer("/metadata/annotations")?.as_object()
}

fn annotation(object: &Value) -> Option<&str> {
    annotations(object)?.get(ANNOTATION)?.as_str().filter(|text| !text.is_empty())
}

/// The fields that client-side apply gave `live` and that are still as it gave them: to change
/// those is no conflict.
pub(crate) fn given_by_client(kind: KindRef, live: &Value) -> FieldSet {
    let Some(mut applied) = annotation(live)
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .filter(|applied| applied.get("apiVersion") == Some(&kind.api_version().into()))
    else {
        return FieldSet::EMPTY;
    };
    schema::prune((kind.schema)(), &mut applied);
    let shape = Shape::of(kind);
    let mut set = given(shape, &applied).unwrap_or_default();
    set.subtract(&changed(shape, Some(live), &applied));
    keep_present(shape, live, &mut set);
    set
}

/// Brings the annotation of `object` up to what was applied now, where there is one.
pub(crate) fn remember(object: &mut Value, config: &Config) {
    if annotation(object).is_none() {
        return;
    }
    let mut applied = config.sent.clone();
    let noted = applied.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(noted) = noted {
        noted.remove(ANNOTATION);
    }
    // As Go writes JSON, which is what kubectl compares with.
    let mut text = applied.to_string();
    for (letter, escaped) in [
        ("&", "\\u0026"),
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ] {
        text = text.replace(letter, escaped);
    }
    text.push('\n');
    let Some(notes) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    else {
        return;
    };
    notes.remove(ANNOTATION);
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    let others: usize = notes.iter().map(size).sum();
    // One that would not fit is left out: client-side apply then starts afresh.
    if others + ANNOTATION.len() + text.len() <= ANNOTATIONS_BYTES_MAX {
        notes.insert(ANNOTATION.into(), text.into());
    }
}
