//! Policies of admission: what operators say, as objects, of what others may write.
//!
//! [`index`] keeps what policies say by the write it is said of, so that a write nobody says anything of
//! costs one look; [`matching`] says which writes are meant; [`request`] is a write as expressions see it;
//! [`admit`] evaluates and says what becomes of it. What expressions mean is the runbook crate's.
//! Policies and bindings themselves are never judged, so that nobody is locked out; nor are the plane's own
//! writes.
//! Source: Kubernetes "Validating Admission Policy"; the words of its admission plugin.

mod check;
mod index;
mod matching;
mod params;
mod request;

pub(crate) use check::check;
pub(crate) use index::Policies;
pub(crate) use request::{Attempt, Doing};

use crate::{
    answer::{Answer, WARNINGS_MAX},
    audit::Annotations,
    identity::Caller,
    server::Api,
    status::ApiError,
};
use http::header;
use index::Bound;
use quarterdeck_model::kinds::{
    ADMISSION,
    admission_policy::{FailurePolicy, ValidationAction, ValidationReason},
};
use quarterdeck_runbook::{
    Budget,
    policy::{Failure, Findings},
};
use quarterdeck_store::World;
use serde_json::json;

/// Where the audit log says which validations were not met.
const VALIDATION_FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";

/// What is told of a write that policies let pass.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    warnings: Vec<String>,
    annotations: Vec<(String, String)>,
}

impl Passed {
    /// Adds it to the answer.
    pub(crate) fn tell(self, answer: &mut Answer) {
        crate::answer::warn(answer, &self.warnings);
        if !self.annotations.is_empty() {
            answer.extensions_mut().insert(Annotations(self.annotations));
        }
    }
}

/// Adds to the answer of a deleted collection what was told of its objects.
pub(crate) fn tell_all<'a>(answers: impl Iterator<Item = &'a Answer>, whole: &mut Answer) {
    let mut all = Passed::default();
    for one in answers {
        let headers = whole.headers_mut();
        let room = WARNINGS_MAX.saturating_sub(headers.get_all(header::WARNING).iter().count());
        for warning in one.headers().get_all(header::WARNING).iter().take(room) {
            headers.append(header::WARNING, warning.clone());
        }
        if let Some(Annotations(told)) = one.extensions().get() {
            told.iter().for_each(|(name, text)| all.annotate(name.clone(), text.clone()));
        }
    }
    all.tell(whole);
}

/// Judges a write by the policies of this world.
pub(crate) fn admit(api: &Api, world: &World, attempt: &Attempt<'_>) -> Result<Passed, ApiError> {
    let mut passed = Passed::default();
    if attempt.kind.group == ADMISSION || *attempt.caller == Caller::plane() {
        return Ok(passed);
    }
    let index = api.policies.index(&api.store, world);
    let bound = index.about(attempt);
    if bound.is_empty() {
        return Ok(passed);
    }
    let namespace = request::namespace(world, attempt);
    let meant = bound.iter().filter(|it| it.matches(attempt, namespace.as_ref()));
    let request = request::request(attempt);
    for Bound { policy, binding } in meant {
        // One for all its parameters, so that no number of them holds up a write.
        let budget = Budget::default();
        let findings = match &policy.program {
            Err(why) => vec![broken(format!("failed to configure policy: {why}"))],
            Ok(program) => match params::of(world, policy, binding, attempt) {
                Err(why) => vec![broken(format!("failed to configure binding: {why}"))],
                Ok(params) => params
                    .iter()
                    .filter_map(|params| {
                        let scope =
                            request::scope(attempt, &request, namespace.as_ref(), params.as_ref());
                        program.evaluate(&scope, &budget)
                    })
                    .collect(),
            },
        };
        let by = By { policy: &policy.name, binding: &binding.name };
        let ignored = policy.spec.failure_policy == Some(FailurePolicy::Ignore);
        for Findings { failures, annotations } in findings {
            for (key, text) in annotations {
                passed.annotate(format!("{}/{key}", by.policy), text);
            }
            for failure in failures.into_iter().filter(|failure| !(failure.broken && ignored)) {
                by.act(attempt, &binding.spec.validation_actions, &failure, &mut passed)?;
            }
        }
    }
    Ok(passed)
}

fn broken(message: String) -> Findings {
    Findings { failures: vec![Failure::broken(message)], annotations: Vec::new() }
}

impl Passed {
    /// Two bindings of a policy may have the same to say. Failures are one list of all.
    fn annotate(&mut self, name: String, text: String) {
        match self.annotations.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) if *known == text => {}
            Some((name, known)) if name == VALIDATION_FAILURE => {
                *known =
                    format!("{},{}", known.trim_end_matches(']'), text.trim_start_matches('['));
            }
            Some((_, known)) => *known = format!("{known}, {text}"),
            None => self.annotations.push((name, text)),
        }
    }
}

/// Who judges.
struct By<'a> {
    policy: &'a str,
    binding: &'a str,
}

impl By<'_> {
    fn act(
        &self,
        attempt: &Attempt<'_>,
        actions: &[ValidationAction],
        failure: &Failure,
        passed: &mut Passed,
    ) -> Result<(), ApiError> {
        let Self { policy, binding } = self;
        let message = &failure.message;
        for action in actions {
            match action {
                ValidationAction::Deny => {
                    let why = format!(
                        "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {message}"
                    );
                    let (code, reason) = match failure.reason {
                        ValidationReason::Unauthorized => (401, "Unauthorized"),
                        ValidationReason::Forbidden => (403, "Forbidden"),
                        ValidationReason::Invalid => (422, "Invalid"),
                        ValidationReason::RequestEntityTooLarge => (413, "RequestEntityTooLarge"),
                    };
                    return Err(ApiError::denied(attempt.kind, attempt.name, &why, (code, reason)));
                }
                ValidationAction::Warn => passed.warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
                )),
                ValidationAction::Audit => {
                    let told = json!({
                        "message": message,
                        "policy": policy,
                        "binding": binding,
                        "expressionIndex": failure.index.unwrap_or(0),
                        "validationActions": actions,
                    });
                    passed.annotate(VALIDATION_FAILURE.into(), format!("[{told}]"));
                }
            }
        }
        Ok(())
    }
}
