//! From what a caller wrote to what is stored: system fields, defaults, rules. Pure: time and
//! identifiers are passed in.

use crate::{
    bench::{self, Part},
    path::FieldValidation,
    path::Subresource,
    status::ApiError,
    written::Written,
};
use jiff::Timestamp;
use quarterdeck_model::{FieldError, FieldErrors, KindRef, Time, schema};
use serde_json::{Map, Value};

/// Metadata that callers cannot set.
const SYSTEM_FIELDS: [&str; 7] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "selfLink",
];
/// Those among them that callers may repeat, but not change. (Others are put right silently, since
/// clients send what they have read.)
const IMMUTABLE_TIMES: [&str; 2] = ["creationTimestamp", "deletionTimestamp"];

/// Deepest nesting of an object. Less than the JSON reader accepts, so that what is stored can be read,
/// with managed fields that go as deep and a few levels more; and little enough that no recursion over
/// an object runs out of stack.
pub(crate) const DEPTH_MAX: usize = 100;

/// A checked object, and remarks for the caller (`Warning` headers).
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) value: Value,
    pub(crate) warnings: Vec<String>,
}

/// Checks that the body says it is of the kind its path says, and removes what the schema does not know.
pub(crate) fn decode(
    kind: KindRef,
    written: Written,
    validation: FieldValidation,
) -> Result<Admitted, ApiError> {
    let remarks = written.remarks();
    remarked(kind, written.value, remarks, validation)
}

/// The same of an object that came about by a change, with what is remarked on how that is written.
pub(crate) fn remarked(
    kind: KindRef,
    mut value: Value,
    remarks: Vec<String>,
    validation: FieldValidation,
) -> Result<Admitted, ApiError> {
    let said = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let (said_version, said_kind) = (said("apiVersion"), said("kind"));
    if !value.is_object() {
        return Err(ApiError::bad_request("the body must be a JSON object"));
    }
    let wrong_version = !said_version.is_empty() && said_version != kind.api_version();
    let wrong_kind = !said_kind.is_empty() && said_kind != kind.kind;
    if wrong_version || wrong_kind {
        return Err(ApiError::bad_request(format!(
            "the object provided is {said_version}, Kind={said_kind}; this path takes {}, Kind={}",
            kind.api_version(),
            kind.kind
        )));
    }
    let unknown = match bench::is_off(Part::Validation) {
        true => Vec::new(),
        false => schema::prune((kind.schema)(), &mut value),
    };
    let unknown = unknown.iter().map(|path| format!("unknown field {path:?}"));
    let warnings = report(remarks.into_iter().chain(unknown).collect(), validation)?;
    Ok(Admitted { value, warnings })
}

/// What is told of `remarks` as warnings, when they are no reason to refuse.
pub(crate) fn report(
    remarks: Vec<String>,
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    match validation {
        FieldValidation::Strict if !remarks.is_empty() => {
            Err(ApiError::bad_request(format!("strict decoding error: {}", remarks.join(", "))))
        }
        FieldValidation::Warn => Ok(remarks),
        _ => Ok(Vec::new()),
    }
}

/// Makes the object that a create stores.
pub(crate) fn create(
    kind: KindRef,
    namespace: &str,
    mut value: Value,
    uid: &str,
    suffix: &str,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let meta = metadata_mut(&mut value)?;
    if meta.get("resourceVersion").and_then(Value::as_str).is_some_and(|v| !v.is_empty()) {
        return Err(ApiError::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    for field in SYSTEM_FIELDS {
        meta.remove(field);
    }
    set_namespace(kind, namespace, meta)?;
    let named = meta.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if !named && let Some(prefix) = meta.get("generateName").and_then(Value::as_str) {
        let name = format!("{prefix}{suffix}");
        meta.insert("name".into(), name.into());
    }
    meta.insert("uid".into(), uid.into());
    meta.insert("creationTimestamp".into(), Time::seconds(now).to_string().into());
    meta.insert("generation".into(), 1.into());
    if kind.has_status
        && let Some(object) = value.as_object_mut()
    {
        object.remove("status");
        // An object without a spec is one with an empty spec, as the core's Namespace.
        object.entry("spec").or_insert_with(|| Map::new().into());
    }
    admit(kind, &value, None)
}

/// Makes the object that replaces `old` when a caller wrote `new`.
pub(crate) fn update(
    kind: KindRef,
    namespace: &str,
    name: &str,
    old: &Value,
    mut new: Value,
    part: Option<Subresource>,
) -> Result<Value, ApiError> {
    let meta = metadata_mut(&mut new)?;
    set_namespace(kind, namespace, meta)?;
    let said = meta.get("name").and_then(Value::as_str).unwrap_or_default();
    if said != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({said}) does not match the name on the URL ({name})"
        )));
    }
    let old_meta = old.get("metadata").and_then(Value::as_object);
    let said_uid = meta.get("uid").and_then(Value::as_str).unwrap_or_default();
    let old_uid = old_meta.and_then(|meta| meta.get("uid")).and_then(Value::as_str);
    if !said_uid.is_empty() && Some(said_uid) != old_uid {
        return Err(ApiError::conflict(
            kind,
            name,
            &format!(
                "Precondition failed: UID in precondition: {said_uid}, UID in object meta: {}",
                old_uid.unwrap_or_default()
            ),
        ));
    }
    if part.is_none() {
        check_times(kind, name, old_meta, meta)?;
    }
    for field in SYSTEM_FIELDS {
        match old_meta.and_then(|meta| meta.get(field)) {
            Some(value) => meta.insert(field.into(), value.clone()),
            None => meta.remove(field),
        };
    }
    match part {
        Some(Subresource::Status) => {
            let status = new.get("status").cloned();
            new = old.clone();
            put(&mut new, "status", status);
        }
        // What is written of it is put into what there is.
        Some(Subresource::Scale) => {}
        None if kind.has_status => put(&mut new, "status", old.get("status").cloned()),
        None => {}
    }
    let mut admitted = admit(kind, &new, Some(old))?;
    if part != Some(Subresource::Status) && body_changed(old, &admitted) {
        let generation = old_meta.and_then(|m| m.get("generation")).and_then(Value::as_i64);
        let meta = metadata_mut(&mut admitted)?;
        meta.insert("generation".into(), (generation.unwrap_or(0) + 1).into());
    }
    Ok(admitted)
}

fn check_times(
    kind: KindRef,
    name: &str,
    old: Option<&Map<String, Value>>,
    new: &Map<String, Value>,
) -> Result<(), ApiError> {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let errors: FieldErrors = IMMUTABLE_TIMES
        .iter()
        .filter_map(|field| {
            let said = new.get(*field).filter(|said| !said.is_null())?;
            let same =
                old.and_then(|old| old.get(*field)).is_some_and(|old| time(old) == time(said));
            let field = format!("metadata.{field}");
            (!same).then(|| FieldError::invalid(field, said, "field is immutable"))
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, name, &errors)) }
}

/// Whether anything but metadata and status changed: what `generation` counts.
fn body_changed(old: &Value, new: &Value) -> bool {
    let fields = |value: &Value| -> Map<String, Value> {
        let object = value.as_object().cloned().unwrap_or_default();
        let outside = ["metadata", "status", "apiVersion", "kind"];
        object.into_iter().filter(|(name, _)| !outside.contains(&name.as_str())).collect()
    };
    fields(old) != fields(new)
}

fn put(object: &mut Value, name: &str, value: Option<Value>) {
    if let Some(object) = object.as_object_mut() {
        match value {
            Some(value) => object.insert(name.into(), value),
            None => object.remove(name),
        };
    }
}

/// Refuses what nests too deeply.
pub(crate) fn check_depth(value: &Value) -> Result<(), ApiError> {
    fn fits(value: &Value, levels: usize) -> bool {
        let fits = |inner: &Value| levels > 0 && fits(inner, levels - 1);
        match value {
            Value::Array(items) => items.iter().all(fits),
            Value::Object(fields) => fields.values().all(fits),
            _ => true,
        }
    }
    if fits(value, DEPTH_MAX) { Ok(()) } else { Err(too_deep()) }
}

pub(crate) fn too_deep() -> ApiError {
    ApiError::inapplicable(format!("the object would nest deeper than {DEPTH_MAX} levels"))
}

fn admit(kind: KindRef, value: &Value, old: Option<&Value>) -> Result<Value, ApiError> {
    if bench::is_off(Part::Validation) {
        return Ok(value.clone());
    }
    check_depth(value)?;
    (kind.admit)(value, old).map_err(|errors| {
        let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        ApiError::invalid(kind, name, &errors)
    })
}

pub(crate) fn metadata_mut(value: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    value
        .as_object_mut()
        .map(|object| object.entry("metadata").or_insert_with(|| Map::new().into()))
        .and_then(Value::as_object_mut)
        .ok_or_else(|| ApiError::bad_request("metadata must be an object"))
}

fn set_namespace(
    kind: KindRef,
    namespace: &str,
    meta: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    let said = meta.get("namespace").and_then(Value::as_str).unwrap_or_default();
    if !kind.namespaced() {
        // An empty one is what some clients send for none.
        if said.is_empty() {
            meta.remove("namespace");
            return Ok(());
        }
        let name = meta.get("name").and_then(Value::as_str).unwrap_or_default();
        let errors = vec![FieldError::forbidden("metadata.namespace", "not allowed on this type")];
        return Err(ApiError::invalid(kind, name, &errors));
    }
    if !said.is_empty() && said != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    meta.insert("namespace".into(), namespace.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{Kind as _, kinds::Server};
    use serde_json::json;

    fn server() -> Value {
        json!({"metadata": {"name": "s1"}, "spec": {"bmc": {"address": "bmc1"}}})
    }

    fn created() -> Value {
        create(Server::info(), "", server(), "u-1", "x", Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_create_gets_system_fields_and_no_status() {
        let mut asked = server();
        asked["status"] = json!({"phase": "Ready"});
        asked["metadata"]["uid"] = json!("mine");
        let made = create(Server::info(), "", asked, "u-1", "x", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(made["metadata"]["uid"], "u-1");
        assert_eq!(made["metadata"]["generation"], 1);
        assert_eq!(made["metadata"]["creationTimestamp"], "1970-01-01T00:00:00Z");
        assert!(made.get("status").is_none());
    }

    #[test]
    fn an_update_keeps_system_fields_and_counts_generations() {
        let old = created();
        let mut new = old.clone();
        new["metadata"]["generation"] = json!(99);
        new["metadata"]["labels"] = json!({"a": "b"});
        let same = update(Server::info(), "", "s1", &old, new.clone(), None).unwrap();
        assert_eq!(same["metadata"]["generation"], 1);
        new["spec"]["serial"] = json!("123");
        new["status"] = json!({"phase": "Ready"});
        let next = update(Server::info(), "", "s1", &old, new.clone(), None).unwrap();
        assert_eq!(next["metadata"]["generation"], 2);
        assert!(next.get("status").is_none());
        let status =
            update(Server::info(), "", "s1", &old, new, Some(Subresource::Status)).unwrap();
        assert_eq!(status["status"]["phase"], "Ready");
        assert!(status["spec"].get("serial").is_none());
    }

    #[test]
    fn mistakes_are_refused_with_their_reason() {
        let kind = Server::info();
        let wrong_kind = json!({"kind": "Rack", "metadata": {}});
        assert_eq!(decode(kind, wrong_kind.into(), FieldValidation::Ignore).unwrap_err().code, 400);
        let mut typo = server();
        typo["spec"]["seriall"] = json!(1);
        let strict = decode(kind, typo.clone().into(), FieldValidation::Strict).unwrap_err();
        assert_eq!(strict.message, "strict decoding error: unknown field \"spec.seriall\"");
        assert_eq!(decode(kind, typo.into(), FieldValidation::Warn).unwrap().warnings.len(), 1);
        let mut bad = server();
        bad["spec"]["location"] = json!({"rack": "r1", "unit": 0});
        let refusal = create(kind, "", bad, "u", "x", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!((refusal.code.as_u16(), refusal.reason), (422, "Invalid"));
        assert!(refusal.message.contains("spec.location.unit"), "{}", refusal.message);
        let renamed = update(kind, "", "s2", &created(), created(), None).unwrap_err();
        assert_eq!(renamed.code, 400);
    }
}
