//! What callers may ask about access: who they are, what they or others may do.
//! Source: Kubernetes `authentication.k8s.io/v1` and `authorization.k8s.io/v1`.

use crate::{
    admission::{self, Admitted},
    answer::{self, Answer},
    authorize::{Ask, Decision, Policy},
    discovery::REVIEWS,
    identity::{Caller, Refused, Unverified},
    path::FieldValidation,
    server::Api,
    status::ApiError,
};
use http::StatusCode;
use quarterdeck_model::{FieldError, FieldErrors, Kind as _, kinds::ImpactReport};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What a review may hold, all of them together. A token is among it: never to be printed.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    resource_attributes: Option<ResourceAttributes>,
    non_resource_attributes: Option<PathAttributes>,
    user: String,
    groups: Vec<String>,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
    namespace: String,
    token: String,
    audiences: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResourceAttributes {
    namespace: String,
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PathAttributes {
    path: String,
    verb: String,
}

/// Answers one review.
pub(crate) async fn answer(
    api: &Api,
    policy: &Policy,
    caller: &Caller,
    (plural, namespace): (&str, Option<&str>),
    validation: FieldValidation,
    body: &Value,
) -> Result<Answer, ApiError> {
    let review = REVIEWS
        .into_iter()
        .find(|review| review.plural == plural)
        .ok_or_else(ApiError::no_such_path)?;
    if plural == "impactreports" {
        return impact(api, body, validation).await;
    }
    let said = body.get("spec").cloned().unwrap_or_else(|| json!({}));
    let given = without_nulls(said.clone());
    let spec = Spec::deserialize(given).map_err(|error| {
        ApiError::bad_request(format!("error decoding {}: {error}", review.kind))
    })?;
    let refuse = |field: &str, why: &str| {
        let errors: FieldErrors = vec![FieldError::invalid(field, "\"\"", why)];
        ApiError::invalid_fields(review.group, review.kind, "", &errors)
    };
    let status = match plural {
        "selfsubjectreviews" => json!({"userInfo": user_info(caller)}),
        "tokenreviews" => token(api, &spec).await?,
        "selfsubjectrulesreviews" => {
            if spec.namespace.is_empty() {
                return Err(ApiError::bad_request("no namespace on request"));
            }
            rules(policy, caller, &spec.namespace)
        }
        _ => {
            let asked = asked(&spec).ok_or_else(|| {
                let why =
                    "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                refuse("spec.resourceAttributes", why)
            })?;
            let other;
            let about = if plural == "selfsubjectaccessreviews" {
                caller
            } else {
                if spec.user.is_empty() && spec.groups.is_empty() {
                    return Err(refuse(
                        "spec.user",
                        "at least one of user or group must be specified",
                    ));
                }
                if namespace.is_some_and(|namespace| asked.namespace() != namespace) {
                    let why = "must match metadata.namespace";
                    return Err(refuse("spec.resourceAttributes.namespace", why));
                }
                let uid = Some(spec.uid.clone()).filter(|uid| !uid.is_empty());
                let (user, groups) = (spec.user.clone(), spec.groups.clone());
                other = Caller { user, uid, groups, extra: spec.extra.clone() };
                &other
            };
            decided(&policy.decide(about, &asked))
        }
    };
    let meta = match namespace {
        Some(namespace) => json!({"namespace": namespace, "creationTimestamp": null}),
        None => json!({"creationTimestamp": null}),
    };
    let mut answer = answer::json(&json!({
        "kind": review.kind,
        "apiVersion": format!("{}/{}", review.group, review.version),
        "metadata": meta,
        "spec": said,
        "status": status,
    }));
    *answer.status_mut() = StatusCode::CREATED;
    Ok(answer)
}

/// What breaks if something goes ([`ImpactReport`]).
async fn impact(api: &Api, body: &Value, validation: FieldValidation) -> Result<Answer, ApiError> {
    let impacts = api.impacts.clone().ok_or_else(ApiError::no_such_path)?;
    let info = ImpactReport::info();
    let refuse = |errors: &FieldErrors| ApiError::invalid_fields(info.group, info.kind, "", errors);
    let Admitted { value: mut asked, warnings } =
        admission::remarked(info, body.clone(), Vec::new(), validation)?;
    if let Some(asked) = asked.as_object_mut() {
        // It has no name, and is never found by one.
        let meta = asked.entry("metadata").or_insert_with(|| json!({}));
        if let Some(meta) = meta.as_object_mut() {
            meta.entry("name").or_insert_with(|| "asked".into());
        }
    }
    let admitted = (info.admit)(&asked, None).map_err(|errors| refuse(&errors))?;
    let mut report = ImpactReport::deserialize(&admitted)
        .map_err(|error| ApiError::bad_request(format!("error decoding {}: {error}", info.kind)))?;
    let spec = report.spec.clone();
    // The first question reads the whole fleet.
    let answered = tokio::task::spawn_blocking(move || impacts(&spec)).await;
    report.status = answered
        .map_err(|_| ApiError::internal("the answer ended in a defect of this release"))?
        .map_err(|errors| refuse(&errors))?;
    let mut answer = answer::json(&json!({
        "kind": info.kind,
        "apiVersion": info.api_version(),
        "metadata": {"creationTimestamp": null},
        "spec": report.spec,
        "status": report.status,
    }));
    *answer.status_mut() = StatusCode::CREATED;
    answer::warn(&mut answer, &warnings);
    Ok(answer)
}

/// Null is not given, at any depth that a review has.
fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
        for field in fields.values_mut().filter_map(Value::as_object_mut) {
            field.retain(|_, field| !field.is_null());
        }
    }
    value
}

/// Whose token it is, for a server that was shown it (`authentication.k8s.io/v1` TokenReview).
async fn token(api: &Api, spec: &Spec) -> Result<Value, ApiError> {
    if spec.token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let authentication = api.authentication.as_ref().ok_or_else(ApiError::no_such_path)?;
    let audiences = match spec.audiences.as_slice() {
        [] => authentication.own_audiences(),
        some => some,
    };
    Ok(match authentication.verify(&spec.token, audiences, &api.store).await {
        Ok((verified, meant)) => {
            json!({"authenticated": true, "user": user_info(&verified.caller), "audiences": meant})
        }
        Err(Unverified::Unknown(error)) => return Err(error.into()),
        Err(Unverified::Refused(Refused(why))) => {
            json!({"authenticated": false, "error": why, "user": {}})
        }
    })
}

fn asked(spec: &Spec) -> Option<Ask<'_>> {
    match (&spec.resource_attributes, &spec.non_resource_attributes) {
        (Some(about), None) => Some(Ask::Resource {
            verb: &about.verb,
            group: &about.group,
            resource: &about.resource,
            subresource: &about.subresource,
            namespace: &about.namespace,
            name: &about.name,
        }),
        (None, Some(about)) => Some(Ask::Path { verb: &about.verb, path: &about.path }),
        _ => None,
    }
}

fn decided(decision: &Decision) -> Value {
    let mut status = Map::new();
    status.insert("allowed".into(), decision.allowed().into());
    let reason = decision.reason();
    if !reason.is_empty() {
        status.insert("reason".into(), reason.into());
    }
    status.into()
}

fn user_info(caller: &Caller) -> Value {
    let mut info = json!({"username": caller.user, "groups": caller.groups});
    if let Some(info) = info.as_object_mut() {
        if let Some(uid) = &caller.uid {
            info.insert("uid".into(), uid.clone().into());
        }
        if !caller.extra.is_empty() {
            info.insert("extra".into(), json!(caller.extra));
        }
    }
    info
}

/// All that the caller may do in a namespace, rule by rule.
fn rules(policy: &Policy, caller: &Caller, namespace: &str) -> Value {
    let (held, missing) = policy.held(caller, namespace);
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in held {
        if !rule.resources.is_empty() {
            let mut one = json!({
                "verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources,
            });
            if !rule.resource_names.is_empty()
                && let Some(one) = one.as_object_mut()
            {
                one.insert("resourceNames".into(), json!(rule.resource_names));
            }
            resources.push(one);
        }
        if !rule.non_resource_urls.is_empty() {
            paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    let mut status = json!({
        "resourceRules": resources, "nonResourceRules": paths, "incomplete": !missing.is_empty(),
    });
    if !missing.is_empty()
        && let Some(status) = status.as_object_mut()
    {
        status.insert("evaluationError".into(), missing.join(", ").into());
    }
    status
}
