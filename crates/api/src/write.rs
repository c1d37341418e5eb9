//! create, replace, patch, apply: admission, then one conditional commit.

use crate::{
    admission,
    answer::{self, Answer},
    apply::{self, Config, Managed, Writer},
    authorize::{self, Ask},
    change::Change,
    identity::Caller,
    modify::{self, Wanted, modify},
    negotiate::Form,
    path::{Query, Subresource},
    policies::{self, Attempt, Doing},
    quota::Limits,
    read,
    server::Api,
    status::ApiError,
    written::Written,
};
use bytes::Bytes;
use jiff::Timestamp;
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object, Revision, Time, kinds::Namespace, object,
};
use quarterdeck_store::{BODY_BYTES_MAX, Mutation, Outcome, Precondition, World, Write};
use serde_json::Value;

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
    let name = name_of(&decoded.value);
    let now = Time::seconds(Timestamp::now());
    let writer = Writer { kind, part: None, name: &query.manager, now };
    let new = New { wanted: decoded.value, managed: None };
    for _ in 0..RETRIES_MAX {
        if let Some(mut answer) = make(api, &writer, namespace, query, &new, form, caller).await? {
            answer::warn(&mut answer, &decoded.warnings);
            return Ok(answer);
        }
        if !name.is_empty() {
            return Err(ApiError::already_exists(kind, &name));
        }
    }
    Err(ApiError::timeout("no unused name was found for generateName; try again"))
}

/// An object that is to be made.
struct New {
    wanted: Value,
    /// Who manages its fields; none when that is whoever writes it.
    managed: Option<Managed>,
}

/// Makes an object. None when one of its name exists.
async fn make(
    api: &Api,
    writer: &Writer<'_>,
    namespace: &str,
    query: &Query,
    new: &New,
    form: Form,
    caller: &Caller,
) -> Result<Option<Answer>, ApiError> {
    for _ in 0..RETRIES_MAX {
        match try_to_make(api, writer, namespace, query, new, form, caller).await? {
            Made::Now(answer) => return Ok(Some(answer)),
            Made::Before => return Ok(None),
            Made::NotWhereItWas => {}
        }
    }
    Err(ApiError::timeout(format!("the namespace {namespace:?} changes too often; try again")))
}

/// What became of an object that was to be made.
enum Made {
    Now(Answer),
    /// One of its name exists.
    Before,
    /// Its namespace is no longer what it was seen to be.
    NotWhereItWas,
}

async fn try_to_make(
    api: &Api,
    writer: &Writer<'_>,
    namespace: &str,
    query: &Query,
    new: &New,
    form: Form,
    caller: &Caller,
) -> Result<Made, ApiError> {
    let Writer { kind, now, .. } = *writer;
    let world = api.store.fresh().await?;
    let seen = if kind.namespaced() { Some(in_namespace(&world, kind, namespace)?) } else { None };
    let uid = uuid::Uuid::new_v4().to_string();
    let wanted = new.wanted.clone();
    let mut value = admission::create(kind, namespace, wanted, &uid, &suffix(), now.timestamp())?;
    api.check_write(caller, (&world, kind), &mut value, None)?;
    let name = name_of(&value);
    let attempt = Attempt {
        caller,
        doing: Doing::Create,
        kind,
        part: "",
        namespace,
        name: &name,
        dry_run: query.dry_run,
        new: Some(&value),
        old: None,
    };
    let passed = policies::admit(api, &world, &attempt)?;
    if world.get(kind, namespace, &name).is_some() {
        return Ok(Made::Before);
    }
    let mut managed = new.managed.clone().unwrap_or_default();
    match &new.managed {
        Some(_) => apply::settle(kind, &mut managed, &value),
        None => apply::record(writer, &mut managed, None, &value),
    }
    modify::put_managed(&mut value, managed)?;
    let previewed = match query.dry_run {
        true => api.rules.preview(&world, kind, &mut value).await,
        false => Vec::new(),
    };
    let key = Key::new(kind, namespace, &name);
    let limits = Limits::of(&world, kind, namespace);
    let precondition = Precondition::AbsentIf { seen, below: limits.below() };
    let object = match put(api, query.dry_run, kind, key, &value, precondition).await? {
        Put::Done(object) => object,
        Put::Changed(Some(_)) => return Ok(Made::Before),
        Put::Changed(None) => return Ok(Made::NotWhereItWas),
        Put::Full(count) => return Err(limits.exceeded(&name, count)),
    };
    let mut answer = read::one(&object, query, form)?;
    *answer.status_mut() = http::StatusCode::CREATED;
    passed.tell(&mut answer);
    answer::warn(&mut answer, &previewed);
    Ok(Made::Now(answer))
}

/// What is put behind `generateName`: letters and digits without those that read as words or alike,
/// as Kubernetes has it.
fn suffix() -> String {
    let letter = |byte: &u8| SUFFIX_LETTERS.chars().nth(usize::from(*byte) % SUFFIX_LETTERS.len());
    uuid::Uuid::new_v4().as_bytes().iter().take(5).filter_map(letter).collect()
}

const SUFFIX_LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";

fn name_of(value: &Value) -> String {
    let name = value.get("metadata").and_then(|meta| meta.get("name"));
    name.and_then(Value::as_str).unwrap_or_default().into()
}

/// The namespace that an object is to be made in, which must still be as it is seen here when it is made.
/// So nothing comes into it once its deletion has begun, or after it was found to be empty.
fn in_namespace(
    world: &World,
    kind: KindRef,
    namespace: &str,
) -> Result<(Key, Revision), ApiError> {
    let Some(found) = world.get(Namespace::info(), "", namespace) else {
        return Err(ApiError::not_found(Namespace::info(), namespace));
    };
    if found.field("status.phase") == Some("Terminating") {
        return Err(ApiError::forbidden(format!(
            "{} cannot be created in namespace {namespace} because it is being terminated",
            kind.resource_name()
        )));
    }
    Ok((found.key.clone(), found.revision))
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
        modify(api, target, query, form, caller, |_| Ok(Wanted::of(decoded.value.clone()))).await?;
    answer::warn(&mut answer, &decoded.warnings);
    Ok(answer)
}

/// `PATCH` on an object or a part of it.
pub(crate) async fn patch(
    api: &Api,
    target: &Target<'_>,
    query: &Query,
    change: &Change,
    form: Form,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    match change {
        Change::Patch(patch) => {
            let mut warnings = Vec::new();
            let mut answer = modify(api, target, query, form, caller, |old| {
                let mut value = old.clone();
                patch.apply(&mut value)?;
                let (kind, remarks) = (target.kind, patch.remarks.clone());
                let decoded = admission::remarked(kind, value, remarks, query.validation)?;
                warnings = decoded.warnings;
                Ok(Wanted::of(decoded.value))
            })
            .await?;
            answer::warn(&mut answer, &warnings);
            Ok(answer)
        }
        Change::Apply(config) => {
            let warnings = admission::report(config.remarks.clone(), query.validation)?;
            let mut answer = apply(api, target, query, config, form, caller).await?;
            answer::warn(&mut answer, &warnings);
            Ok(answer)
        }
    }
}

/// An apply: makes the object if there is none.
async fn apply(
    api: &Api,
    target: &Target<'_>,
    query: &Query,
    config: &Config,
    form: Form,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let Target { kind, namespace, name, part } = *target;
    let writer =
        || Writer { kind, part, name: &query.manager, now: Time::seconds(Timestamp::now()) };
    let force = query.force == Some(true);
    for _ in 0..RETRIES_MAX {
        // Newest or not: both ways look again. A part is never made without its whole.
        if part.is_some() || api.store.world().get(kind, namespace, name).is_some() {
            let changed = modify(api, target, query, form, caller, |old| {
                let mut live = old.clone();
                let managed = modify::take_managed(&mut live)?;
                admission::metadata_mut(&mut live)?.remove("resourceVersion");
                let managed = managed.and_then(|managed| Managed::read(&managed).ok());
                let managed = managed.unwrap_or_default();
                let (value, managed) =
                    apply::apply(&writer(), managed, Some(&live), config, force)?;
                Ok(Wanted { value, managed: Some(managed) })
            })
            .await;
            match changed {
                Err(gone) if gone.reason == "NotFound" && part.is_none() => continue,
                changed => return changed,
            }
        }
        check_may_create(api, caller, target)?;
        let writer = writer();
        let (wanted, managed) = apply::apply(&writer, Managed::default(), None, config, force)?;
        check_new(kind, name, &wanted)?;
        let new = New { wanted, managed: Some(managed) };
        if let Some(answer) = make(api, &writer, namespace, query, &new, form, caller).await? {
            return Ok(answer);
        }
    }
    Err(ApiError::stale(kind, name))
}

/// An apply that makes an object needs the right to create as well, as Kubernetes has it.
fn check_may_create(api: &Api, caller: &Caller, target: &Target<'_>) -> Result<(), ApiError> {
    let Target { kind, namespace, name, .. } = *target;
    let ask = Ask::Resource {
        verb: "create",
        group: kind.group,
        resource: kind.plural,
        subresource: "",
        namespace,
        name,
    };
    let decision = api.policy().decide(caller, &ask);
    if decision.allowed() {
        return Ok(());
    }
    Err(authorize::refusal(caller, &ask, &decision.reason()))
}

/// What must be true of a configuration that makes an object.
fn check_new(kind: KindRef, name: &str, wanted: &Value) -> Result<(), ApiError> {
    let said = |field: &str| wanted.pointer(field).and_then(Value::as_str).unwrap_or_default();
    match (said("/metadata/name"), said("/metadata/uid")) {
        ("", _) => Err(ApiError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        (other, _) if other != name => Err(ApiError::bad_request(format!(
            "the name of the object ({other}) does not match the name on the URL ({name})"
        ))),
        (_, "") => Ok(()),
        (_, uid) => Err(ApiError::conflict(
            kind,
            name,
            &format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            ),
        )),
    }
}

/// Kinds that go only when what is in them is gone; the engine removes them.
pub(crate) fn emptied_first(kind: KindRef) -> bool {
    kind.group.is_empty() && kind.kind == "Namespace"
}

pub(crate) fn finalizers(value: &Value) -> Vec<&str> {
    let list = value.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What became of a write.
pub(crate) enum Put {
    Done(Object),
    /// The precondition does not hold: the object is at that revision, if it exists.
    Changed(Option<Revision>),
    /// There are so many objects of its kind in its namespace, as many as may be.
    Full(u64),
}

/// Writes the object.
pub(crate) async fn put(
    api: &Api,
    dry_run: bool,
    kind: KindRef,
    key: Key,
    value: &Value,
    precondition: Precondition,
) -> Result<Put, ApiError> {
    let body = Bytes::from(object::encode(kind, value));
    if body.len() > BODY_BYTES_MAX {
        return Err(ApiError::too_large(BODY_BYTES_MAX));
    }
    let revision = if dry_run {
        let world = api.store.world();
        match precondition {
            Precondition::At(revision) => revision,
            Precondition::AbsentIf { below: Some(most), .. } => {
                let count = world.count_in(kind, &key.namespace) as u64;
                if count >= most {
                    return Ok(Put::Full(count));
                }
                world.revision()
            }
            _ => world.revision(),
        }
    } else {
        let mutation = Mutation {
            key: key.clone(),
            write: Write::Put(body.clone()),
            precondition,
            fence: None,
        };
        match api.store.commit(vec![mutation]).await?.first() {
            Some(Outcome::Committed(revision)) => *revision,
            Some(Outcome::Full(count)) => return Ok(Put::Full(*count)),
            Some(Outcome::Conflict(at)) => return Ok(Put::Changed(*at)),
            Some(Outcome::Fenced) | None => return Ok(Put::Changed(None)),
        }
    };
    Ok(Put::Done(Object::from_body(kind, key, revision, &body)?))
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
