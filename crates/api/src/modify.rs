//! Changes of an object that exists: it is read, changed, admitted and written back, again when it
//! changed meanwhile. Who manages which field follows from what changed.

use crate::{
    admission,
    answer::{self, Answer},
    apply::{self, Managed, Writer},
    authorize,
    identity::Caller,
    negotiate::Form,
    path::{Query, Subresource},
    policies::{self, Attempt, Doing},
    read, scale,
    server::Api,
    status::ApiError,
    write::{Put, RETRIES_MAX, Target, emptied_first, finalizers, put, remove},
};
use jiff::Timestamp;
use quarterdeck_model::{KindRef, Object, Time};
use quarterdeck_store::Precondition;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a change wants of an object.
pub(crate) struct Wanted {
    /// The object, with `resourceVersion` if it must be that version.
    pub(crate) value: Value,
    /// Who manages its fields; none when that follows from what changed.
    pub(crate) managed: Option<Managed>,
}

impl Wanted {
    /// The object, whose changed fields become the writer's.
    pub(crate) fn of(value: Value) -> Self {
        Self { value, managed: None }
    }
}

/// Reads, changes and writes back; `change` gets the object with all its metadata.
pub(crate) async fn modify(
    api: &Api,
    target: &Target<'_>,
    query: &Query,
    form: Form,
    caller: &Caller,
    mut change: impl FnMut(&Value) -> Result<Wanted, ApiError>,
) -> Result<Answer, ApiError> {
    let Target { kind, namespace, name, part } = *target;
    for _ in 0..RETRIES_MAX {
        let world = api.store.fresh().await?;
        let old =
            world.get(kind, namespace, name).ok_or_else(|| ApiError::not_found(kind, name))?;
        let mut old_value = old.value();
        let mut wanted = change(&old_value)?;
        // A version that is not named is the newest. After a lost race one that is named is stale.
        let version = admission::metadata_mut(&mut wanted.value)?.remove("resourceVersion");
        let version = version.as_ref().and_then(Value::as_str).unwrap_or_default();
        if !version.is_empty() && version != old.revision.to_string() {
            return Err(ApiError::stale(kind, name));
        }
        admission::metadata_mut(&mut old_value)?.remove("resourceVersion");
        let old_managed = take_managed(&mut old_value)?;
        let given = take_managed(&mut wanted.value)?;
        let mut value = admission::update(kind, namespace, name, &old_value, wanted.value, part)?;
        check_finalizers(kind, name, &old_value, &value)?;
        let of_others = wanted.managed.is_some() || given.is_some() && given != old_managed;
        if query.only_approves && (of_others || !authorize::only_approves(&old_value, &value)) {
            let why = "it may be approved, and nothing else of it changed, with the verb approve: add to spec.approvals, by a patch";
            return Err(ApiError::forbidden_resource(kind.group, kind.plural, name, why));
        }
        api.check_write(caller, (&world, kind), &mut value, Some(&old_value))?;
        let (doing, dry_run) = (Doing::Update, query.dry_run);
        let of = part.map_or("", Subresource::name);
        let scales = part.and(kind.scale).filter(|_| part == Some(Subresource::Scale));
        // Of a scale, that is what is judged, as in Kubernetes.
        let seen = scales.map(|scales| [scale::of(scales, &value), scale::of(scales, &old_value)]);
        let [new, before] = seen.as_ref().map_or([&value, &old_value], |[new, old]| [new, old]);
        let (new, old_seen) = (Some(new), Some(before));
        let attempt =
            Attempt { caller, doing, kind, part: of, namespace, name, dry_run, new, old: old_seen };
        let passed = policies::admit(api, &world, &attempt)?;

        let now = Time::seconds(Timestamp::now());
        let writer = Writer { kind, part, name: &query.manager, now };
        let old_managed = old_managed.as_ref();
        let managed = match wanted.managed {
            Some(managed) => applied(&writer, managed, old_managed, &old_value, &value),
            None => written(&writer, given.as_ref(), old_managed, &old_value, &value),
        };
        // A write that changes nothing is no change: no revision, no event.
        let Some(managed) = managed else {
            let mut answer = shown(part, &old, query, form)?;
            passed.tell(&mut answer);
            return Ok(answer);
        };
        put_managed(&mut value, managed)?;
        let previewed = match dry_run && part.is_none() {
            true => api.rules.preview(&world, kind, &mut value).await,
            false => Vec::new(),
        };
        let key = old.key.clone();
        let precondition = Precondition::At(old.revision);
        let written = if finished(kind, &value) {
            remove(api, query.dry_run, &old).await?.then(|| old.clone())
        } else {
            match put(api, query.dry_run, kind, key, &value, precondition).await? {
                Put::Done(object) => Some(Arc::new(object)),
                Put::Changed(_) | Put::Full(_) => None,
            }
        };
        if let Some(object) = written {
            let mut answer = shown(part, &object, query, form)?;
            passed.tell(&mut answer);
            answer::warn(&mut answer, &previewed);
            return Ok(answer);
        }
    }
    Err(ApiError::stale(kind, name))
}

/// The object, or the part of it that was written, as an answer.
fn shown(
    part: Option<Subresource>,
    object: &Object,
    query: &Query,
    form: Form,
) -> Result<Answer, ApiError> {
    match (part, object.kind.scale) {
        (Some(Subresource::Scale), Some(scales)) => Ok(scale::one(scales, object)),
        _ => read::one(object, query, form),
    }
}

/// Takes `metadata.managedFields` out of an object.
pub(crate) fn take_managed(object: &mut Value) -> Result<Option<Value>, ApiError> {
    Ok(admission::metadata_mut(object)?.remove("managedFields"))
}

/// Puts `metadata.managedFields` into an object that has none.
pub(crate) fn put_managed(object: &mut Value, managed: Managed) -> Result<(), ApiError> {
    if let Some(managed) = managed.write() {
        admission::metadata_mut(object)?.insert("managedFields".into(), managed);
    }
    Ok(())
}

/// Who manages the fields of an object after an apply; none when nothing is changed by it.
fn applied(
    writer: &Writer<'_>,
    mut managed: Managed,
    old_managed: Option<&Value>,
    old: &Value,
    new: &Value,
) -> Option<Managed> {
    apply::settle(writer.kind, &mut managed, new);
    if old == new {
        let mut before = read_managed(old_managed);
        apply::settle(writer.kind, &mut before, old);
        if before.same_fields(&managed) {
            return None;
        }
    }
    Some(managed)
}

/// Who manages the fields of an object after any other write; none when nothing is changed by it.
/// Callers may write `managedFields` themselves: an empty entry forgets who manages what; none, or
/// ones that cannot be read, come from clients that do not know of them.
fn written(
    writer: &Writer<'_>,
    given: Option<&Value>,
    old_managed: Option<&Value>,
    old: &Value,
    new: &Value,
) -> Option<Managed> {
    let given = given.filter(|given| writer.part.is_none() && Some(*given) != old_managed);
    if old == new && given.is_none() {
        return None;
    }
    let before = read_managed(old_managed);
    let mut managed = match given {
        Some(given) if *given == json!([{}]) => Managed::default(),
        Some(given) => match Managed::read(given) {
            Ok(managed) if !managed.is_empty() => managed,
            _ => before.clone(),
        },
        None => before.clone(),
    };
    // What nobody keeps track of, nobody begins to by chance: only an apply does.
    if old != new && !managed.is_empty() {
        apply::record(writer, &mut managed, Some(old), new);
    }
    (old != new || !managed.same_fields(&before)).then_some(managed)
}

fn read_managed(value: Option<&Value>) -> Managed {
    value.and_then(|value| Managed::read(value).ok()).unwrap_or_default()
}

/// Whether a deletion that waited for finalizers is through.
fn finished(kind: KindRef, value: &Value) -> bool {
    value.pointer("/metadata/deletionTimestamp").is_some()
        && finalizers(value).is_empty()
        && !emptied_first(kind)
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
