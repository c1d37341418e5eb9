//! What callers may ask about themselves: who they are and what they may do.
//! Source: Kubernetes `authentication.k8s.io/v1` and `authorization.k8s.io/v1`.

use crate::{
    answer::{self, Answer},
    discovery::REVIEWS,
    identity::Caller,
    status::ApiError,
};
use http::StatusCode;
use serde_json::{Value, json};

/// Answers one review.
pub(crate) fn answer(caller: &Caller, plural: &str, body: Value) -> Result<Answer, ApiError> {
    let (group, _, kind) =
        REVIEWS.into_iter().find(|(_, p, _)| *p == plural).ok_or_else(ApiError::no_such_path)?;
    let status = match plural {
        "selfsubjectreviews" => {
            json!({"userInfo": {"username": caller.user, "groups": caller.groups}})
        }
        "selfsubjectaccessreviews" if caller.is_admin() => {
            json!({"allowed": true, "reason": "group system:masters may do everything"})
        }
        "selfsubjectaccessreviews" => {
            json!({"allowed": false, "reason": "only group system:masters may act"})
        }
        _ => {
            let all: &[&str] = if caller.is_admin() { &["*"] } else { &[] };
            let rules: Vec<Value> = all
                .iter()
                .map(|all| json!({"verbs": [all], "apiGroups": [all], "resources": [all]}))
                .collect();
            let paths: Vec<Value> =
                all.iter().map(|all| json!({"verbs": [all], "nonResourceURLs": [all]})).collect();
            json!({"resourceRules": rules, "nonResourceRules": paths, "incomplete": false})
        }
    };
    let mut answer = answer::json(&json!({
        "kind": kind,
        "apiVersion": format!("{group}/v1"),
        "metadata": {"creationTimestamp": null},
        "spec": body.get("spec").cloned().unwrap_or_else(|| json!({})),
        "status": status,
    }));
    *answer.status_mut() = StatusCode::CREATED;
    Ok(answer)
}
