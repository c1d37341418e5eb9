//! Refusals as `metav1.Status`: code, reason, message and the fields concerned.
//! Source: Kubernetes API conventions, "Response Status Kind".

use crate::{answer::DISRUPTION_BUDGET, policies::Told};
use http::StatusCode;
use quarterdeck_model::{DecodeError, FieldErrors, KindRef};
use quarterdeck_store::StoreError;
use serde_json::{Value, json};

/// A refused or failed request.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// HTTP status.
    pub code: StatusCode,
    /// Word that clients match on.
    pub reason: &'static str,
    /// Sentence for people.
    pub message: String,
    /// More for machines.
    pub details: Option<Value>,
    /// Where an expired list can go on, inconsistently.
    pub next: Option<String>,
    /// What policies told of the writes it is about.
    pub(crate) told: Option<Box<Told>>,
}

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, next: None, told: None }
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: what the caller showed is not good; `why` may say nothing that was shown.
    pub(crate) fn unauthorized(why: &str) -> Self {
        let message = format!("Unauthorized: {why}");
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403: the caller may not.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// 403: the caller may not do that to a resource; `name` is empty for all of them.
    pub(crate) fn forbidden_resource(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let full = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        let named = if name.is_empty() { full } else { format!("{full} {name:?}") };
        let mut error = Self::forbidden(format!("{named} is forbidden: {why}"));
        error.details = Some(json!({"name": name, "group": group, "kind": plural}));
        error
    }

    /// 403: the caller may not write that into a field.
    pub(crate) fn forbidden_field(kind: KindRef, name: &str, field: &str, why: &str) -> Self {
        let message = format!("{field}: {why}");
        let mut error = Self::forbidden_resource(kind.group, kind.plural, name, &message);
        if let Some(details) = error.details.as_mut().and_then(Value::as_object_mut) {
            let cause = json!({"reason": "FieldValueForbidden", "message": why, "field": field});
            details.insert("causes".into(), json!([cause]));
        }
        error
    }

    /// A policy of admission does not let it pass; `answer` is what kind of refusal it says it is.
    pub(crate) fn denied(
        kind: KindRef,
        name: &str,
        why: &str,
        (code, reason): (u16, &'static str),
    ) -> Self {
        let mut error = Self::forbidden_resource(kind.group, kind.plural, name, why);
        error.code = StatusCode::from_u16(code).unwrap_or(StatusCode::FORBIDDEN);
        error.reason = reason;
        if let Some(details) = error.details.as_mut().and_then(Value::as_object_mut) {
            details.insert("causes".into(), json!([{"message": why}]));
        }
        error
    }

    /// 404: no such path.
    pub fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 404: no such object.
    pub fn not_found(kind: KindRef, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.resource_name());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(kind, name)
    }

    /// 405: the path does not do that.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 405: objects of that kind are as the server brings them.
    pub fn comes_with_the_server(kind: KindRef) -> Self {
        let message = format!(
            "{} come with this server and cannot be created, changed or deleted; a new kind comes \
             with a new release",
            kind.resource_name()
        );
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 405: what is only viewed is not written.
    pub fn only_a_view(kind: KindRef) -> Self {
        let message = format!(
            "{} are a view and cannot be created, changed or deleted; write the {}",
            kind.plural,
            if kind.plural == "pods" {
                "Instances, or the Workloads they are of"
            } else {
                "Machines"
            }
        );
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 406: no form of the answer is acceptable to the client.
    pub fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, \
                       application/json;as=Table;v=v1;g=meta.k8s.io, \
                       application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 409: the name is taken.
    pub fn already_exists(kind: KindRef, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.resource_name());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(kind, name)
    }

    /// 409: the object changed since it was read, or a precondition does not hold.
    pub fn conflict(kind: KindRef, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.resource_name());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(kind, name)
    }

    /// 409: the object changed since it was read.
    pub fn stale(kind: KindRef, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 409: an applied configuration would change what others manage.
    pub fn apply_conflict(message: impl Into<String>, causes: Vec<Value>) -> Self {
        let mut error = Self::new(StatusCode::CONFLICT, "Conflict", message);
        error.details = Some(json!({"causes": causes}));
        error
    }

    /// 410: that revision can no longer be read.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 413: the body is too large.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the request body is larger than the limit of {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 415: the body is of a type that is not read here.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 422: the object breaks the rules of its kind; every field at fault is named.
    pub fn invalid(kind: KindRef, name: &str, errors: &FieldErrors) -> Self {
        Self::invalid_fields(kind.group, kind.kind, name, errors)
    }

    /// 422: parameters of the query do not go together; `kind` is what they are, as `ListOptions`.
    pub fn invalid_options(kind: &str, errors: &FieldErrors) -> Self {
        Self::invalid_fields("meta.k8s.io", kind, "", errors)
    }

    /// 422: a patch does not fit the object.
    pub fn inapplicable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    pub(crate) fn invalid_fields(
        group: &str,
        kind: &str,
        name: &str,
        errors: &FieldErrors,
    ) -> Self {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let list = match texts.as_slice() {
            [only] => only.clone(),
            _ => format!("[{}]", texts.join(", ")),
        };
        let full = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut error = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("{full} {name:?} is invalid: {list}"),
        );
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| {
                json!({"reason": error.kind.reason(), "message": error.message, "field": error.field})
            })
            .collect();
        error.details = Some(json!({"name": name, "group": group, "kind": kind, "causes": causes}));
        error
    }

    /// 429: more is asked than can be answered now.
    pub fn too_many_requests() -> Self {
        let message = "too many requests are being answered; please try again later";
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        error.details = Some(json!({"retryAfterSeconds": 1}));
        error
    }

    /// 429: it may not go now; whoever wants it to asks again.
    pub(crate) fn not_now(kind: KindRef, name: &str, why: &str) -> Self {
        let message = format!("Cannot evict pod as it would disrupt too much now: {why}");
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        let cause = json!({"reason": DISRUPTION_BUDGET, "message": why});
        error.details = Some(json!({"name": name, "kind": kind.plural, "causes": [cause]}));
        error
    }

    /// 500: our own fault.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = format!("Internal error occurred: {}", message.into());
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 503: try again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// 504: it took too long.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
    }

    fn about(mut self, kind: KindRef, name: &str) -> Self {
        self.details = Some(json!({"name": name, "group": kind.group, "kind": kind.plural}));
        self
    }

    /// The `metav1.Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.next.as_ref().map_or_else(|| json!({}), |next| json!({"continue": next})),
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        if let (Some(details), Some(status)) = (&self.details, status.as_object_mut()) {
            status.insert("details".into(), details.clone());
        }
        status
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Compacted { .. } => Self::expired(format!(
                "The provided continue parameter or resourceVersion is too old: {error}"
            )),
            StoreError::Unavailable(_) => Self::unavailable(error.to_string()),
            StoreError::OutcomeUnknown(_) => Self::timeout(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        Self::internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{FieldError, Kind as _, kinds::Server};

    #[test]
    fn invalid_names_every_field() {
        let errors = vec![
            FieldError::required("spec.bmc", ""),
            FieldError::invalid("spec.location.unit", 0, "units are counted from 1"),
        ];
        let status = ApiError::invalid(Server::info(), "s1", &errors).status();
        assert_eq!(status["code"], 422);
        assert_eq!(
            status["message"],
            "Server.inventory.quarterdeck.dev \"s1\" is invalid: [spec.bmc: Required value, \
             spec.location.unit: Invalid value: 0: units are counted from 1]"
        );
        assert_eq!(status["details"]["causes"][1]["field"], "spec.location.unit");
    }
}
