//! delete: at once, or marked until its finalizers are gone, as Kubernetes has it.
//! Source: Kubernetes "Garbage Collection" and "Finalizers".

use crate::{
    admission,
    answer::{self, Answer},
    audit::Subject,
    authorize::Sight,
    identity::Caller,
    negotiate::Form,
    path::Query,
    policies::{self, Attempt, Doing, Told},
    read,
    server::Api,
    status::ApiError,
    write::{Put, RETRIES_MAX, Target, emptied_first, finalizers, put, remove},
};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use quarterdeck_model::{KindRef, Object, Time, object::encode};
use quarterdeck_store::Precondition;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// `metav1.DeleteOptions`, as far as it is understood here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeleteOptions {
    preconditions: Option<Preconditions>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    dry_run: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// Finalizer that keeps an owner until its dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer that keeps an owner until its dependents are cut loose.
const ORPHAN: &str = "orphan";

impl DeleteOptions {
    /// Only the object of that identity.
    pub(crate) fn only(uid: &str) -> Self {
        let preconditions = Preconditions { uid: Some(uid.into()), ..Preconditions::default() };
        Self { preconditions: Some(preconditions), ..Self::default() }
    }

    /// Whether nothing is to be written, as the body or the query says.
    fn dry_run(&self, query: &Query) -> Result<bool, ApiError> {
        match self.dry_run.as_deref() {
            None | Some([]) => Ok(query.dry_run),
            Some([all]) if all == "All" => Ok(true),
            Some(_) => {
                Err(ApiError::bad_request("invalid dryRun: the only supported value is All"))
            }
        }
    }

    /// The finalizer that stands for what is to become of dependents.
    fn finalizer(&self, query: &Query) -> Result<Option<&'static str>, ApiError> {
        let policy = self.propagation_policy.as_deref().or(query.propagation.as_deref());
        match (policy, self.orphan_dependents.or(query.orphan)) {
            (None | Some("Background"), None) | (None, Some(false)) => Ok(None),
            (Some("Foreground"), None) => Ok(Some(FOREGROUND)),
            (Some("Orphan"), None) | (None, Some(true)) => Ok(Some(ORPHAN)),
            (Some(_), Some(_)) => Err(ApiError::bad_request(
                "orphanDependents and propagationPolicy cannot be both set",
            )),
            (Some(other), None) => Err(ApiError::bad_request(format!(
                "invalid propagationPolicy {other:?}: expected Orphan, Background or Foreground"
            ))),
        }
    }
}

/// Deletions of a collection under way at once: they share commits, and leave room for others.
const DELETIONS_AT_ONCE: usize = 64;

/// `DELETE` on a collection: each object by itself, those that the query selects.
pub(crate) async fn collection(
    api: &Api,
    kind: KindRef,
    namespace: Option<&str>,
    query: Query,
    options: &DeleteOptions,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let listed = read::page(api, kind, namespace, &query, &Sight::All).await?;
    let query = &query;
    let gone: Vec<Result<Answer, ApiError>> = stream::iter(listed.page.items)
        .map(|object: Arc<Object>| async move {
            let (namespace, name) = (object.namespace(), object.name());
            let target = Target { kind, namespace, name, part: None };
            self::object(api, &target, query, options, Form::Json, caller).await
        })
        .buffer_unordered(DELETIONS_AT_ONCE)
        .collect()
        .await;
    let told = Told::of_all(gone.iter());
    // One that somebody else deleted meanwhile is as gone as the others.
    if let Some(error) =
        gone.iter().filter_map(|it| it.as_ref().err()).find(|error| error.reason != "NotFound")
    {
        return Err(ApiError { told: Some(Box::new(told)), ..error.clone() });
    }
    let mut answer = answer::json(&json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"group": kind.group, "kind": kind.plural},
    }));
    told.tell(&mut answer);
    Ok(answer)
}

/// `DELETE` on an object.
pub(crate) async fn object(
    api: &Api,
    target: &Target<'_>,
    query: &Query,
    options: &DeleteOptions,
    form: Form,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let Target { kind, namespace, name, .. } = *target;
    let dry_run = options.dry_run(query)?;
    let finalizer = options.finalizer(query)?;
    for _ in 0..RETRIES_MAX {
        let world = api.store.fresh().await?;
        let old =
            world.get(kind, namespace, name).ok_or_else(|| ApiError::not_found(kind, name))?;
        check_preconditions(options, &old, kind, name)?;
        api.rules.check_delete(kind, &old)?;
        let mut value = old.value();
        let meta = admission::metadata_mut(&mut value)?;
        meta.remove("resourceVersion");
        let doing = Doing::Delete;
        let (part, new, old_value) = ("", None, Some(&value));
        let attempt =
            Attempt { caller, doing, kind, part, namespace, name, dry_run, new, old: old_value };
        let passed = policies::admit(api, &world, &attempt)?;
        let meta = admission::metadata_mut(&mut value)?;
        if let Some(finalizer) = finalizer {
            let list = meta.entry("finalizers").or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut()
                && !list.iter().any(|present| present == finalizer)
            {
                list.push(finalizer.into());
            }
        }
        if finalizers(&value).is_empty() && !emptied_first(kind) {
            if remove(api, dry_run, &old).await? {
                let mut answer = deleted(&old, query, form)?;
                passed.tell(&mut answer);
                return Ok(answer);
            }
            continue;
        }
        let meta = admission::metadata_mut(&mut value)?;
        if !meta.contains_key("deletionTimestamp") {
            let now = Time::seconds(Timestamp::now()).to_string();
            meta.insert("deletionTimestamp".into(), now.into());
            meta.insert("deletionGracePeriodSeconds".into(), 0.into());
        }
        // Defaulting shows the deletion in the phase of those kinds that have one.
        let value = (kind.admit)(&value, None).unwrap_or(value);
        if encode(kind, &value) == old.body() {
            let mut answer = read::one(&old, query, form)?;
            passed.tell(&mut answer);
            return Ok(answer);
        }
        let precondition = Precondition::At(old.revision);
        let written = put(api, dry_run, kind, old.key.clone(), &value, precondition).await?;
        if let Put::Done(object) = written {
            let mut answer = read::one(&object, query, form)?;
            *answer.status_mut() = http::StatusCode::OK;
            passed.tell(&mut answer);
            return Ok(answer);
        }
    }
    Err(ApiError::stale(kind, name))
}

fn check_preconditions(
    options: &DeleteOptions,
    old: &Object,
    kind: KindRef,
    name: &str,
) -> Result<(), ApiError> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    let uid = wanted.uid.as_deref().filter(|uid| *uid != old.uid());
    let revision = old.revision.to_string();
    let version = wanted.resource_version.as_deref().filter(|version| **version != revision);
    let why = match (uid, version) {
        (Some(uid), _) => format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old.uid()
        ),
        (None, Some(version)) => format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {revision}"
        ),
        (None, None) => return Ok(()),
    };
    Err(ApiError::conflict(kind, name, &why))
}

/// What a finished deletion answers: a Status that names what is gone.
fn deleted(object: &Object, query: &Query, form: Form) -> Result<Answer, ApiError> {
    if !matches!(form, Form::Json | Form::Aggregated(_)) {
        return read::one(object, query, form);
    }
    let mut answer = answer::json(&json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": object.name(),
            "group": object.kind.group,
            "kind": object.kind.plural,
            "uid": object.uid(),
        },
    }));
    answer.extensions_mut().insert(Subject::of(object));
    Ok(answer)
}
