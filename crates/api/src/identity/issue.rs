//! `POST …/serviceaccounts/NAME/token`: makes a token (`authentication.k8s.io/v1` TokenRequest).
//! Source: Kubernetes, the API reference of TokenRequest and the checks of its API server.

use super::{
    Caller, credential,
    service_accounts::{Binding, Named, Wanted},
};
use crate::{
    answer::{self, Answer},
    policies::{self, Attempt, Doing},
    server::Api,
    status::ApiError,
};
use http::StatusCode;
use jiff::Timestamp;
use quarterdeck_model::{
    FieldError, FieldErrors, Kind as _, Time,
    kinds::{Secret, ServiceAccount},
};
use serde::Deserialize;
use serde_json::{Value, json};

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
/// What is given when nothing else is asked for.
const SECONDS: i64 = 3600;
/// Shorter ones are of no use: clients renew theirs at four fifths of their time.
const SECONDS_MIN: i64 = 600;
/// Longer ones are not meant to end.
const SECONDS_MAX: i64 = 1 << 32;
/// Most audiences of one token, and the longest: a token has to fit a header.
const AUDIENCES_MAX: usize = 32;
const AUDIENCE_BYTES_MAX: usize = 256;

/// Which token was made, in the extensions of the answer, for the audit log.
#[derive(Debug, Clone)]
pub(crate) struct IssuedCredential(pub(crate) String);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    metadata: Option<Metadata>,
    spec: Option<Spec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    audiences: Option<Vec<String>>,
    expiration_seconds: Option<i64>,
    bound_object_ref: Option<Reference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reference {
    kind: String,
    api_version: String,
    name: String,
    uid: String,
}

/// Makes a token for a service account, if policies let this caller.
pub(crate) async fn request(
    api: &Api,
    caller: &Caller,
    (namespace, name): (&str, &str),
    dry_run: bool,
    body: Value,
) -> Result<Answer, ApiError> {
    let authentication = api.authentication.as_ref().ok_or_else(ApiError::no_such_path)?;
    said_kind(&body)?;
    let Request { metadata, spec } = Request::deserialize(body)
        .map_err(|error| ApiError::bad_request(format!("error decoding TokenRequest: {error}")))?;
    let (metadata, spec) = (metadata.unwrap_or_default(), spec.unwrap_or_default());
    let audiences = spec.audiences.filter(|all| !all.is_empty());
    let audiences = audiences.unwrap_or_else(|| authentication.audiences.clone());
    let seconds = spec.expiration_seconds.unwrap_or(SECONDS);
    let errors = check(&metadata, (namespace, name), &audiences, seconds);
    if !errors.is_empty() {
        return Err(ApiError::invalid_fields(GROUP, KIND, name, &errors));
    }
    let world = api.store.fresh().await?;
    let kind = ServiceAccount::info();
    let account = world.get(kind, namespace, name);
    let account = account.ok_or_else(|| ApiError::not_found(kind, name))?;
    if account.deleting() {
        return Err(ApiError::conflict(kind, name, "it is being deleted"));
    }
    let secret = match &spec.bound_object_ref {
        None => None,
        Some(wanted) => Some(bound(&world, namespace, wanted)?),
    };
    let time = |second: i64| {
        let time = Timestamp::from_second(second);
        time.map(|time| Time::seconds(time).to_string())
            .map_err(|error| ApiError::internal(error.to_string()))
    };
    let now = Timestamp::now().as_second();
    let bound = spec.bound_object_ref.as_ref().zip(secret.as_ref()).map(|(said, secret)| {
        json!({"kind": said.kind, "apiVersion": said.api_version, "name": secret.name, "uid": secret.uid})
    });
    let mut said = json!({
        "kind": KIND,
        "apiVersion": format!("{GROUP}/v1"),
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": time(now)?},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound},
    });
    let (doing, part, new) = (Doing::Create, policies::TOKEN, Some(&said));
    let attempt = Attempt { caller, doing, kind, part, namespace, name, dry_run, new, old: None };
    let passed = policies::admit(api, &world, &attempt)?;
    let account = Named { name: name.into(), uid: account.uid().into() };
    let binding = Binding::new(namespace, account, secret);
    let id = uuid::Uuid::new_v4().to_string();
    let issuer = &authentication.issuer;
    let wanted = Wanted { issuer, audiences: &audiences, binding: &binding, now, seconds, id: &id };
    // What is only tried leaves nothing behind that can be used.
    let token = if dry_run {
        String::new()
    } else {
        let token = authentication.keys.current().sign(&wanted.claims());
        token.map_err(|error| ApiError::internal(error.to_string()))?
    };
    if let Some(said) = said.as_object_mut() {
        let ends = time(now.saturating_add(seconds))?;
        said.insert("status".into(), json!({"expirationTimestamp": ends, "token": token}));
    }
    let mut answer = answer::json(&said);
    passed.tell(&mut answer);
    *answer.status_mut() = StatusCode::CREATED;
    if !dry_run {
        answer.extensions_mut().insert(IssuedCredential(credential(&id)));
    }
    Ok(answer)
}

/// Refuses what says that it is something else.
fn said_kind(body: &Value) -> Result<(), ApiError> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let fits = ["", "authentication.k8s.io/v1"].contains(&version) && ["", KIND].contains(&kind);
    if fits {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "the object provided is a {kind:?} of {version:?}; a TokenRequest of authentication.k8s.io/v1 is expected"
    )))
}

fn check(
    metadata: &Metadata,
    (namespace, name): (&str, &str),
    audiences: &[String],
    seconds: i64,
) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut refuse = |field: &str, value: String, why: &str| {
        errors.push(FieldError::invalid(field, value, why));
    };
    for (field, said, is, why) in [
        ("metadata.name", &metadata.name, name, "must match the service account name if specified"),
        (
            "metadata.namespace",
            &metadata.namespace,
            namespace,
            "must match the service account namespace if specified",
        ),
    ] {
        if let Some(said) = said.as_deref().filter(|said| !said.is_empty() && *said != is) {
            refuse(field, format!("{said:?}"), why);
        }
    }
    let field = "spec.expirationSeconds";
    if seconds < SECONDS_MIN {
        refuse(field, seconds.to_string(), "may not specify a duration less than 10 minutes");
    }
    if seconds > SECONDS_MAX {
        refuse(field, seconds.to_string(), "may not specify a duration larger than 2^32 seconds");
    }
    if audiences.len() > AUDIENCES_MAX {
        let why = format!("may not be more than {AUDIENCES_MAX}");
        refuse("spec.audiences", audiences.len().to_string(), &why);
    }
    for (at, audience) in audiences.iter().take(AUDIENCES_MAX).enumerate() {
        if audience.is_empty() || audience.len() > AUDIENCE_BYTES_MAX {
            let why = format!("must have 1 to {AUDIENCE_BYTES_MAX} bytes");
            refuse(&format!("spec.audiences[{at}]"), audience.len().to_string(), &why);
        }
    }
    errors
}

/// The Secret that the token shall end with.
fn bound(
    world: &quarterdeck_store::World,
    namespace: &str,
    wanted: &Reference,
) -> Result<Named, ApiError> {
    let Reference { kind, api_version, name, uid } = wanted;
    if (api_version.as_str(), kind.as_str()) != ("v1", "Secret") {
        return Err(ApiError::bad_request(format!(
            "cannot bind token to object of type {api_version}, Kind={kind}; only a Secret (v1) can be bound to"
        )));
    }
    let found = world.get(Secret::info(), namespace, name).filter(|secret| !secret.deleting());
    let found = found.ok_or_else(|| ApiError::not_found(Secret::info(), name))?;
    if !uid.is_empty() && found.uid() != uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(Secret::info(), name, &why));
    }
    Ok(Named { name: name.clone(), uid: found.uid().into() })
}
