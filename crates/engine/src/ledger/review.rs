//! What a service's hook is asked, and what it answers. Pure.
//!
//! As an `AdmissionReview` of Kubernetes, a `DisruptionReview` is sent with a `request` and comes back with a `response`
//! of the same uid.

use super::hooks::Asker;
use quarterdeck_ledger::Concern;
use quarterdeck_model::{Duration, Time, kinds::SERVICES, kinds::V1ALPHA1};
use serde::Deserialize;
use serde_json::{Value, json};

const KIND: &str = "DisruptionReview";
/// Longest reason that is kept, in letters: it stands in the run's message.
const REASON_MAX: usize = 200;

/// What a hook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// It may happen.
    Now { reason: Option<String> },
    /// Not before.
    After { time: Time, reason: Option<String> },
    /// Not this.
    Never { reason: Option<String> },
}

/// The question.
pub(super) fn request(uid: &str, concern: &Concern, asker: &Asker<'_>) -> Value {
    let (run, spec) = (asker.permit, asker.spec);
    let (namespace, name) = concern.service.split_once('/').unwrap_or_default();
    json!({
        "apiVersion": format!("{SERVICES}/{V1ALPHA1}"),
        "kind": KIND,
        "request": {
            "uid": uid,
            "service": {"namespace": namespace, "name": name},
            "run": {"namespace": run.namespace, "name": run.name, "uid": **asker.uid},
            "runbook": spec.runbook,
            "target": spec.target,
            "lost": concern.lost,
            "instances": concern.instances,
        },
    })
}

#[derive(Deserialize)]
struct Review {
    kind: String,
    response: Response,
}

#[derive(Deserialize)]
struct Response {
    uid: String,
    answer: Answer,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
enum Answer {
    Now,
    After,
    Never,
}

/// Reads the answer to the question of that uid.
///
/// # Errors
/// Why it is none.
pub(super) fn read(review: &Value, uid: &str, now: Time) -> Result<Said, String> {
    // What is wrong with it is said of its shape alone: nothing of it is repeated.
    let read = Review::deserialize(review);
    let Review { kind, response } = read.map_err(|_wrong| {
        format!("its answer is no {KIND} with response.uid and response.answer Now, After or Never")
    })?;
    if kind != KIND || response.uid != uid {
        return Err(format!("its answer is not a {KIND} of the uid that it was asked with"));
    }
    let reason = response.reason.map(|reason| bounded(&reason)).filter(|it| !it.is_empty());
    Ok(match (response.answer, response.after) {
        (Answer::Now, _) => Said::Now { reason },
        (Answer::Never, _) => Said::Never { reason },
        (Answer::After, after) => {
            let time = after.and_then(|after| time(&after, now)).ok_or_else(|| {
                "its answer is After, and response.after is neither a time nor a duration"
                    .to_owned()
            })?;
            // A time that has come is now.
            if time <= now { Said::Now { reason } } else { Said::After { time, reason } }
        }
    })
}

/// A time, or how long from now.
fn time(text: &str, now: Time) -> Option<Time> {
    if let Ok(time) = text.parse() {
        return Some(Time::new(time));
    }
    let length: Duration = text.parse().ok()?;
    now.timestamp().checked_add(length.as_std()).ok().map(Time::new)
}

/// One line of a bounded length.
fn bounded(reason: &str) -> String {
    let plain = reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(REASON_MAX).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Time {
        Time::new("2026-03-01T12:00:00Z".parse().unwrap())
    }

    fn answer(response: Value) -> Result<Said, String> {
        read(&json!({"kind": KIND, "response": response}), "u", now())
    }

    #[test]
    fn answers_are_now_after_or_never() {
        let at = |text: &str| Time::new(text.parse().unwrap());
        let text = |text: &str| Some(text.to_owned());
        for (response, wanted) in [
            (json!({"uid": "u", "answer": "Now"}), Said::Now { reason: None }),
            (
                json!({"uid": "u", "answer": "Never", "reason": "  we\nsell "}),
                Said::Never { reason: text("we sell") },
            ),
            (
                json!({"uid": "u", "answer": "After", "after": "90m", "reason": ""}),
                Said::After { time: at("2026-03-01T13:30:00Z"), reason: None },
            ),
            (
                json!({"uid": "u", "answer": "After", "after": "2026-03-02T00:00:00+01:00"}),
                Said::After { time: at("2026-03-01T23:00:00Z"), reason: None },
            ),
            (
                json!({"uid": "u", "answer": "After", "after": "2026-03-01T11:00:00Z"}),
                Said::Now { reason: None },
            ),
        ] {
            assert_eq!(answer(response.clone()), Ok(wanted), "{response}");
        }
        let long = answer(json!({"uid": "u", "answer": "Never", "reason": "é".repeat(5_000)}));
        assert_eq!(long, Ok(Said::Never { reason: Some("é".repeat(REASON_MAX)) }));
    }

    #[test]
    fn what_is_no_answer_is_told_and_not_repeated() {
        for wrong in [
            json!({}),
            json!({"uid": "other", "answer": "Now"}),
            json!({"uid": "u", "answer": "SECRET"}),
            json!({"uid": "u", "answer": "After"}),
            json!({"uid": "u", "answer": "After", "after": "SECRET"}),
            json!({"uid": "u", "answer": "After", "after": "99999999999999d"}),
            json!({"uid": 7, "answer": "Now"}),
        ] {
            let why = answer(wrong.clone()).unwrap_err();
            assert!(!why.contains("SECRET"), "{wrong}: {why}");
        }
        for review in [json!(null), json!("Now"), json!([]), json!({"kind": "X", "response": {}})] {
            assert!(read(&review, "u", now()).is_err(), "{review}");
        }
    }
}
