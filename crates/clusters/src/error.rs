//! Why a cluster did not do what it was asked, by what the caller can do about it.

use kube::Error;
use std::error::Error as _;

/// Longest part of another's sentence that is repeated, in letters.
const REPEATED_MAX: usize = 400;
/// Most managers of fields that are named.
const MANAGERS_MAX: usize = 16;

/// Why a cluster did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// It does not answer, or not in order: it is asked again later.
    #[error("it does not answer: {0}")]
    Away(String),
    /// It does not let the plane do that: somebody has to give it the right, or other credentials.
    #[error("it does not let the plane do that: {0}")]
    Forbidden(String),
    /// It does not take what was asked for.
    #[error("it does not take that: {0}")]
    Invalid(String),
    /// Others manage fields that were to be changed.
    #[error("others manage the same fields: {}", managers.join(", "))]
    Conflict {
        /// Who, as they call themselves.
        managers: Vec<String>,
    },
    /// There is no such object.
    #[error("it is not there: {0}")]
    NotFound(String),
}

impl From<Error> for ClusterError {
    fn from(error: Error) -> Self {
        let Error::Api(status) = &error else {
            return Self::Away(whole(&error));
        };
        let said = cut(&status.message);
        match status.code {
            401 | 403 => Self::Forbidden(said),
            404 => Self::NotFound(said),
            409 if status.reason == "Conflict" => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let managers = causes.filter_map(|cause| quoted(&cause.message));
                let mut managers: Vec<String> = managers.take(MANAGERS_MAX).collect();
                managers.sort_unstable();
                managers.dedup();
                Self::Conflict { managers }
            }
            400..=499 if status.code != 408 && status.code != 429 => Self::Invalid(said),
            _ => Self::Away(said),
        }
    }
}

/// The manager that a cause names: `conflict with "kubectl-edit" using apps/v1`.
fn quoted(message: &str) -> Option<String> {
    let (_, rest) = message.split_once('"')?;
    rest.split_once('"').map(|(name, _)| cut(name))
}

/// An error with what caused it: the outermost says little.
fn whole(error: &Error) -> String {
    let (mut said, mut cause) = (error.to_string(), error.source());
    // Errors nest a few levels deep; the bound keeps a chain that leads back to itself finite.
    for _ in 0..8 {
        let Some(inner) = cause else { break };
        let inner_says = inner.to_string();
        if !said.contains(&inner_says) {
            said = format!("{said}: {inner_says}");
        }
        cause = inner.source();
    }
    cut(&said)
}

/// A bounded part of a text, without a full stop at its end.
pub(crate) fn cut(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    if text.chars().count() <= REPEATED_MAX {
        return text.to_owned();
    }
    text.chars().take(REPEATED_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn api(status: Value) -> ClusterError {
        ClusterError::from(Error::Api(serde_json::from_value(status).unwrap()))
    }

    #[test]
    fn errors_are_told_apart_by_what_can_be_done() {
        let conflict = json!({"status": "Failure", "code": 409, "reason": "Conflict", "message": "Apply failed", "details": {"causes": [
            {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-edit\" using apps/v1", "field": ".spec.replicas"},
            {"reason": "FieldManagerConflict", "message": "conflict with \"argo\"", "field": ".spec.template"},
            {"reason": "FieldManagerConflict", "message": "conflict with \"argo\"", "field": ".spec.x"}]}});
        let managers = vec!["argo".to_owned(), "kubectl-edit".to_owned()];
        assert_eq!(api(conflict), ClusterError::Conflict { managers });
        let said = |code: u16, reason: &str| {
            api(json!({"code": code, "reason": reason, "message": "No."}))
        };
        assert_eq!(said(403, "Forbidden"), ClusterError::Forbidden("No".into()));
        assert_eq!(said(401, "Unauthorized"), ClusterError::Forbidden("No".into()));
        assert_eq!(said(404, "NotFound"), ClusterError::NotFound("No".into()));
        assert_eq!(said(422, "Invalid"), ClusterError::Invalid("No".into()));
        assert_eq!(said(429, "TooManyRequests"), ClusterError::Away("No".into()));
        assert_eq!(said(503, "ServiceUnavailable"), ClusterError::Away("No".into()));
    }

    #[test]
    fn what_others_say_is_cut() {
        let long = "x".repeat(10_000);
        assert_eq!(cut(&long).chars().count(), REPEATED_MAX + 1);
    }
}
