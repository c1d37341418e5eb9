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
pub(crate) use request::{Attempt, Doing, TOKEN};

use crate::{
    answer::{Answer, WARNINGS_MAX},
    identity::Caller,
    server::Api,
    status::ApiError,
};
use index::Bound;
use quarterdeck_model::{
    KindRef,
    kinds::{
        ADMISSION,
        admission_policy::{FailurePolicy, ValidationAction, ValidationReason},
    },
};
use quarterdeck_runbook::{
    Budget,
    policy::{Failure, Findings},
};
use quarterdeck_store::World;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Where the audit log says which validations were not met.
const VALIDATION_FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";

/// Most that the audit log is told under one name: a deleted collection may have any number of objects.
const NOTE_BYTES_MAX: usize = 64 * 1024;

/// What is told of a write besides whether it may be: its writer is warned, the audit log notes. It goes
/// along with the answer, or with the refusal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    warnings: Vec<String>,
    notes: Vec<Note>,
}

/// What the audit log is told under one name.
#[derive(Debug, Clone)]
struct Note {
    name: String,
    text: String,
    /// No more fits, and it says so.
    full: bool,
}

impl Told {
    /// Adds it to the answer.
    pub(crate) fn tell(self, answer: &mut Answer) {
        crate::answer::warn(answer, &self.warnings);
        answer.extensions_mut().insert(self);
    }

    /// What the audit log is told: name and text.
    pub(crate) fn notes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.notes.iter().map(|note| (&*note.name, &*note.text))
    }

    /// What was told of each object of a deleted collection, as one.
    pub(crate) fn of_all<'a>(each: impl Iterator<Item = &'a Result<Answer, ApiError>>) -> Self {
        let mut all = Self::default();
        let told = each.filter_map(|one| match one {
            Ok(answer) => answer.extensions().get::<Self>(),
            Err(refusal) => refusal.told.as_deref(),
        });
        for one in told {
            let room = WARNINGS_MAX.saturating_sub(all.warnings.len());
            all.warnings.extend(one.warnings.iter().take(room).cloned());
            one.notes().for_each(|(name, text)| all.note(name, text));
        }
        all
    }

    /// Two bindings of a policy may have the same to say.
    fn note(&mut self, name: &str, text: &str) {
        match self.notes.iter_mut().find(|note| note.name == name) {
            Some(known) => known.add(text),
            None => {
                let mut note = Note { name: name.into(), text: String::new(), full: false };
                note.add(text);
                self.notes.push(note);
            }
        }
    }
}

impl Note {
    /// Adds to the text. Failures are one list of all, which stays one when no more fits.
    fn add(&mut self, more: &str) {
        if self.full || self.text == more {
            return;
        }
        let room = NOTE_BYTES_MAX.saturating_sub(self.text.len());
        self.full = more.len() > room;
        let failures = self.name == VALIDATION_FAILURE;
        let more = match (self.full, failures) {
            (false, _) => Cow::from(more),
            (true, true) => Cow::from(r#"["…"]"#),
            (true, false) => {
                let (fits, _) = more.split_at(more.floor_char_boundary(room));
                Cow::from(format!("{fits}…"))
            }
        };
        if self.text.is_empty() {
            self.text = more.into_owned();
        } else if failures {
            self.text.pop();
            self.text.push(',');
            self.text.push_str(more.strip_prefix('[').unwrap_or(&more));
        } else {
            self.text.push_str(", ");
            self.text.push_str(&more);
        }
    }
}

/// Judges a write by the policies of this world.
pub(crate) fn admit(api: &Api, world: &World, attempt: &Attempt<'_>) -> Result<Told, ApiError> {
    let mut told = Told::default();
    let mut denied = None;
    if attempt.kind.group == ADMISSION || *attempt.caller == Caller::plane() {
        return Ok(told);
    }
    let index = api.policies.index(&api.store, world);
    let bound = index.about(attempt);
    if bound.is_empty() {
        return Ok(told);
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
                told.note(&format!("{}/{key}", by.policy), &text);
            }
            for failure in failures.into_iter().filter(|failure| !(failure.broken && ignored)) {
                let actions = &binding.spec.validation_actions;
                // The first refuses; the log is told of all.
                denied = denied.or(by.act(attempt, actions, &failure, &mut told));
            }
        }
    }
    match denied {
        None => Ok(told),
        Some(error) => Err(ApiError { told: Some(Box::new(told)), ..error }),
    }
}

impl Api {
    /// Whether policies let a controller of the plane, of that name, make an object that people have asked for by way of
    /// another.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(
        &self,
        world: &World,
        controller: &str,
        kind: KindRef,
        object: &Value,
    ) -> Result<(), String> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let caller = Caller::controller(controller);
        let attempt = Attempt {
            caller: &caller,
            doing: Doing::Create,
            kind,
            part: "",
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            dry_run: false,
            new: Some(object),
            old: None,
        };
        admit(self, world, &attempt).map(drop).map_err(|refused| refused.message)
    }
}

fn broken(message: String) -> Findings {
    Findings { failures: vec![Failure::broken(message)], annotations: Vec::new() }
}

/// Who judges.
struct By<'a> {
    policy: &'a str,
    binding: &'a str,
}

impl By<'_> {
    /// Does what the binding says of a failure; answers the refusal if that is part of it.
    fn act(
        &self,
        attempt: &Attempt<'_>,
        actions: &[ValidationAction],
        failure: &Failure,
        told: &mut Told,
    ) -> Option<ApiError> {
        let Self { policy, binding } = self;
        let message = &failure.message;
        let mut denied = None;
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
                    denied =
                        Some(ApiError::denied(attempt.kind, attempt.name, &why, (code, reason)));
                }
                ValidationAction::Warn => told.warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
                )),
                ValidationAction::Audit => {
                    let failure = json!({
                        "message": message,
                        "policy": policy,
                        "binding": binding,
                        "expressionIndex": failure.index.unwrap_or(0),
                        "validationActions": actions,
                    });
                    told.note(VALIDATION_FAILURE, &format!("[{failure}]"));
                }
            }
        }
        denied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_grows_to_its_limit_and_says_that_there_was_more() {
        let mut told = Told::default();
        let failure = format!("[{}]", json!({"message": "é".repeat(5_000)}));
        for number in 0..1_000 {
            told.note("p/short", "same");
            told.note("p/long", &format!("{number}{}", "é".repeat(50)));
            told.note(VALIDATION_FAILURE, &failure.replacen('é', &number.to_string(), 1));
        }
        let texts: Vec<_> = told.notes().collect();
        assert_eq!(texts[0], ("p/short", "same"));
        assert!(texts[1].1.ends_with('…') && texts[1].1.starts_with("0éé"));
        let failures: Vec<serde_json::Value> = serde_json::from_str(texts[2].1).unwrap();
        assert_eq!((failures.len(), &failures[6]), (7, &json!("…")));
        for (name, text) in texts {
            assert!(text.len() < NOTE_BYTES_MAX + 10, "{name}: {}", text.len());
        }
        let mut once = Told::default();
        once.note("p/huge", &"é".repeat(NOTE_BYTES_MAX));
        assert!(
            once.notes[0].text.ends_with("é…") && once.notes[0].text.len() < NOTE_BYTES_MAX + 10
        );
    }
}
