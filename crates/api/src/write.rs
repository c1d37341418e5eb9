//! create, replace, patch: admission, then one conditional commit.

use crate::{
    admission,
    answer::{self, Answer},
    identity::Caller,
    negotiate::Form,
    patch::Patch,
    path::{Query, Subresource},
    read,
    server::Api,
    status::ApiError,
    written::Written,
};
use jiff::Timestamp;
use quarterdeck_model::{Key, KindRef, Object, object};
use quarterdeck_store::{BODY_BYTES_MAX, Mutation, Outcome, Precondition, Write};
use serde_json::Value;
use std::sync::Arc;

/// How often a write that names no version is tried again when the object changes under it.
pub(crate) const RETRIES_MAX: usize = 16;

/// What a write is about.
pub(crate) struct Target<'a> {
    pub(crate) kind: KindRef,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) part: Option<Subresource>,
}

/// `POST` on a collection.
pub(crate) async fn create(
    api: &Api,
    kind: KindRef,
    namespace: &str,
    query: &Query,
    body: Written,
    form: Form,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let decoded = admission::decode(kind, body, query.validation)?;
    let world = api.store.fresh().await?;
    if kind.namespaced() {
        check_namespace(&world, kind, namespace)?;
    }
    for _ in 0..RETRIES_MAX {
        let uid = uuid::Uuid::new_v4().to_string();
        // Letters and digits without those that read as words or alike, as Kubernetes has it.
        let suffix: String = uuid::Uuid::new_v4()
            .as_bytes()
            .iter()
            .take(5)
            .filter_map(|byte| {
                SUFFIX_LETTERS.chars().nth(usize::from(*byte) % SUFFIX_LETTERS.len())
            })
            .collect();
        let mut value = admission::create(
            kind,
            namespace,
            decoded.value.clone(),
            &uid,
            &suffix,
            Timestamp::now(),
        )?;
        api.check_write(caller, (&world, kind), &mut value, None)?;
        let name = name_of(&value);
        let generated = decoded.value.pointer("/metadata/name").is_none_or(|name| name == "");
        if world.get(kind, namespace, &name).is_some() {
            if generated {
                continue;
            }
            return Err(ApiError::already_exists(kind, &name));
        }
        let key = Key::new(kind, namespace, &name);
        match put(api, query.dry_run, kind, key, &value, Precondition::Absent).await? {
            Some(object) => {
                let mut answer = read::one(&object, query, form)?;
                *answer.status_mut() = http::StatusCode::CREATED;
                answer::warn(&mut answer, &decoded.warnings);
                return Ok(answer);
            }
            None if generated => {}
            None => return Err(ApiError::already_exists(kind, &name)),
        }
    }
    Err(ApiError::timeout("no unused name was found for generateName; try again"))
}

const SUFFIX_LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";

fn name_of(value: &Value) -> String {
    value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().into()
}

fn check_namespace(
    world: &quarterdeck_store::World,
    kind: KindRef,
    namespace: &str,
) -> Result<(), ApiError> {
    use quarterdeck_model::{Kind as _, kinds::Namespace};
    let Some(found) = world.get(Namespace::info(), "", namespace) else {
        return Err(ApiError::not_found(Namespace::info(), namespace));
    };
    if found.field("status.phase") == Some("Terminating") {
        return Err(ApiError::forbidden(format!(
            "{} cannot be created in namespace {namespace} because it is being terminated",
            kind.resource_name()
        )));
    }
    Ok(())
}

/// `PUT` on an object or a part of it.
pub(crate) async fn replace(
    api: &Api,
    target: &Target<'_>,
    query: &Query,
    body: Written,
    form: Form,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let decoded = admission::decode(target.kind, body, query.validation)?;
    let mut answer =
        modify(api, target, query, form, caller, |_| Ok(decoded.value.clone())).await?;
    answer::warn(&mut answer, &decoded.warnings);
    Ok(answer)
}

/// `PATCH` on an object or a part of it.
pub(crate) async fn patch(
    api: &Api,
    target: &Target<'_>,
    query: &Query,
    patch: &Patch,
    form: Form,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let mut warnings = Vec::new();
    let mut answer = modify(api, target, query, form, caller, |old| {
        let mut value = old.value();
        // The patched object is compared with the newest version unless the patch names one.
        if let Ok(meta) = admission::metadata_mut(&mut value) {
            meta.remove("resourceVersion");
        }
        patch.apply(&mut value)?;
        let decoded = admission::decode(target.kind, value.into(), query.validation)?;
        warnings = decoded.warnings;
        Ok(decoded.value)
    })
    .await?;
    answer::warn(&mut answer, &warnings);
    Ok(answer)
}

/// Reads, changes and writes back; again when the object changed meanwhile and the caller named no
/// version.
async fn modify(
    api: &Api,
    target: &Target<'_>,
    query: &Query,
    form: Form,
    caller: &Caller,
    mut change: impl FnMut(&Object) -> Result<Value, ApiError>,
) -> Result<Answer, ApiError> {
    let Target { kind, namespace, name, part } = *target;
    for _ in 0..RETRIES_MAX {
        let world = api.store.fresh().await?;
        let old =
            world.get(kind, namespace, name).ok_or_else(|| ApiError::not_found(kind, name))?;
        let mut wanted = change(&old)?;
        let version = admission::metadata_mut(&mut wanted)?.remove("resourceVersion");
        let version =
            version.as_ref().and_then(Value::as_str).filter(|version| !version.is_empty());
        if let Some(version) = version
            && version != old.revision.to_string()
        {
            return Err(ApiError::stale(kind, name));
        }
        let mut old_value = old.value();
        admission::metadata_mut(&mut old_value)?.remove("resourceVersion");
        let mut value = admission::update(kind, namespace, name, &old_value, wanted, part)?;
        check_finalizers(kind, name, &old_value, &value)?;
        api.check_write(caller, (&world, kind), &mut value, Some(&old_value))?;
        // A write that changes nothing is no change: no revision, no event.
        if object::encode(kind, &value) == old.body() {
            return read::one(&old, query, form);
        }
        let key = old.key.clone();
        let precondition = Precondition::At(old.revision);
        let written = if finished(kind, &value) {
            remove(api, query.dry_run, &old).await?.then(|| old.clone())
        } else {
            put(api, query.dry_run, kind, key, &value, precondition).await?.map(Arc::new)
        };
        match written {
            Some(object) => return read::one(&object, query, form),
            None if version.is_some() => return Err(ApiError::stale(kind, name)),
            None => {}
        }
    }
    Err(ApiError::stale(kind, name))
}

/// Whether a deletion that waited for finalizers is through.
fn finished(kind: KindRef, value: &Value) -> bool {
    value.pointer("/metadata/deletionTimestamp").is_some()
        && finalizers(value).is_empty()
        && !emptied_first(kind)
}

/// Kinds that go only when what is in them is gone; the engine removes them.
pub(crate) fn emptied_first(kind: KindRef) -> bool {
    kind.group.is_empty() && kind.kind == "Namespace"
}

pub(crate) fn finalizers(value: &Value) -> Vec<&str> {
    let list = value.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// An object that is being deleted gets no new finalizers.
fn check_finalizers(kind: KindRef, name: &str, old: &Value, new: &Value) -> Result<(), ApiError> {
    if old.pointer("/metadata/deletionTimestamp").is_none() {
        return Ok(());
    }
    let before = finalizers(old);
    let added: Vec<&str> =
        finalizers(new).into_iter().filter(|finalizer| !before.contains(finalizer)).collect();
    if added.is_empty() {
        return Ok(());
    }
    let error = quarterdeck_model::FieldError::forbidden(
        "metadata.finalizers",
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
        ),
    );
    Err(ApiError::invalid(kind, name, &vec![error]))
}

/// Writes the object. None when the precondition did not hold.
pub(crate) async fn put(
    api: &Api,
    dry_run: bool,
    kind: KindRef,
    key: Key,
    value: &Value,
    precondition: Precondition,
) -> Result<Option<Object>, ApiError> {
    let body = object::encode(kind, value);
    if body.len() > BODY_BYTES_MAX {
        return Err(ApiError::too_large(BODY_BYTES_MAX));
    }
    let revision = if dry_run {
        match precondition {
            Precondition::At(revision) => revision,
            _ => api.store.world().revision(),
        }
    } else {
        let mutation = Mutation {
            key: key.clone(),
            write: Write::Put(body.clone().into()),
            precondition,
            fence: None,
        };
        match api.store.commit(vec![mutation]).await?.first() {
            Some(Outcome::Committed(revision)) => *revision,
            _ => return Ok(None),
        }
    };
    Ok(Some(Object::from_body(kind, key, revision, &body)?))
}

/// Removes the object. False when it changed meanwhile.
pub(crate) async fn remove(api: &Api, dry_run: bool, object: &Object) -> Result<bool, ApiError> {
    if dry_run {
        return Ok(true);
    }
    let mutation = Mutation {
        key: object.key.clone(),
        write: Write::Delete,
        precondition: Precondition::At(object.revision),
        fence: None,
    };
    let outcomes = api.store.commit(vec![mutation]).await?;
    Ok(matches!(outcomes.first(), Some(Outcome::Committed(_))))
}
