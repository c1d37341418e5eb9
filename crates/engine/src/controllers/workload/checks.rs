//! Checks of a rollout, as they are performed: each once, with a deadline. What comes of them is decided on in [`super::plan`].
//!
//! Requests are those of the action `http.request`, and reach as far. Nothing of an answer is told but its status, or the
//! number that was asked for: whoever may write a URL down must not read the plane's network with it.

use super::plan::{Member, aim, available, checks};
use crate::{actions::Actions, objects::Objects, runs::Call};
use quarterdeck_model::{
    Time,
    kinds::{
        CheckStatus, HttpCheck, PrometheusCheck, ReadyCheck, RolloutCheck, RolloutStatus,
        WorkloadSpec,
    },
    share::Share,
};
use quarterdeck_runbook::Perform;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// How long one check may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Performs those of the checks of a step that are due, all at once; answers the statuses of all.
pub(super) async fn perform(
    (objects, actions): (&Objects, &Arc<Actions>),
    spec: &WorkloadSpec,
    rollout: &RolloutStatus,
    members: &[Member],
    due: &[usize],
) -> Vec<CheckStatus> {
    let now = objects.now();
    let all = checks(spec, rollout);
    let mut work = tokio::task::JoinSet::new();
    let mut came: Vec<(String, Result<String, String>)> = Vec::new();
    for check in due.iter().filter_map(|at| all.get(*at)) {
        if let Some(ready) = &check.ready {
            came.push((check.name.clone(), is_ready(ready, spec, rollout, members, now)));
            continue;
        }
        let (objects, actions, check) = (objects.clone(), actions.clone(), check.clone());
        work.spawn(async move {
            let outcome = outside(&objects, &actions, &check).await;
            (check.name, outcome)
        });
    }
    while let Some(ended) = work.join_next().await {
        came.extend(ended.ok());
    }
    noted(all, &rollout.checks, came, now)
}

/// The statuses of all checks of a step, with what came of some of them.
fn noted(
    all: &[RolloutCheck],
    before: &[CheckStatus],
    came: Vec<(String, Result<String, String>)>,
    now: Time,
) -> Vec<CheckStatus> {
    let mut statuses: Vec<CheckStatus> = all
        .iter()
        .map(|check| {
            let known = before.iter().find(|known| known.name == check.name).cloned();
            known.unwrap_or_else(|| CheckStatus {
                name: check.name.clone(),
                ..CheckStatus::default()
            })
        })
        .collect();
    for (name, outcome) in came {
        let Some(status) = statuses.iter_mut().find(|status| status.name == name) else { continue };
        status.time = Some(now);
        match outcome {
            Ok(message) => {
                (status.passed, status.failed) = (status.passed.saturating_add(1), 0);
                status.message = Some(message);
            }
            Err(message) => {
                status.failed = status.failed.saturating_add(1);
                status.message = Some(message);
            }
        }
    }
    statuses
}

fn is_ready(
    check: &ReadyCheck,
    spec: &WorkloadSpec,
    rollout: &RolloutStatus,
    members: &[Member],
    now: Time,
) -> Result<String, String> {
    let all = aim(spec, rollout);
    let least = check.at_least.unwrap_or(Share::Percent(100)).of(all);
    let of = members.iter().filter(|member| member.revision == rollout.revision);
    let ready = of.filter(|member| available(spec, member, now)).count();
    let message = format!("{ready} of {all} new instances are ready, of which {least} must be");
    if u32::try_from(ready).unwrap_or(u32::MAX) >= least { Ok(message) } else { Err(message) }
}

async fn outside(
    objects: &Objects,
    actions: &Actions,
    check: &RolloutCheck,
) -> Result<String, String> {
    if let Some(http) = &check.http {
        return answers(objects, actions, check, http).await;
    }
    match &check.prometheus {
        Some(prometheus) => is_within(objects, actions, check, prometheus).await,
        None => Err("the check says nothing that this release knows".into()),
    }
}

async fn answers(
    objects: &Objects,
    actions: &Actions,
    check: &RolloutCheck,
    http: &HttpCheck,
) -> Result<String, String> {
    let input = json!({"url": http.url, "expectStatus": http.statuses, "timeout": "10s"});
    let answer = request(objects, actions, &check.name, input).await?;
    let status = answer.get("status").and_then(Value::as_u64).unwrap_or_default();
    Ok(format!("answered {status}"))
}

async fn is_within(
    objects: &Objects,
    actions: &Actions,
    check: &RolloutCheck,
    prometheus: &PrometheusCheck,
) -> Result<String, String> {
    let query = escaped(&prometheus.query);
    let url = format!("{}/api/v1/query?query={query}", prometheus.url.trim_end_matches('/'));
    // What it says with a refusal is not told, and which one it is says enough.
    let mut input = json!({"url": url, "timeout": "10s", "expectStatus": [200, 400, 422, 503]});
    if let Some(secret) = &prometheus.secret_ref {
        let header = json!({"secretRef": secret, "key": "token", "prefix": "Bearer "});
        if let Some(input) = input.as_object_mut() {
            input.insert("secretHeaders".into(), json!({"Authorization": header}));
        }
    }
    let answer = request(objects, actions, &check.name, input).await?;
    let status = answer.get("status").and_then(Value::as_u64).unwrap_or_default();
    let truncated = answer.get("truncated") == Some(&Value::Bool(true));
    if status == 200 && truncated {
        return Err(TOO_MUCH.into());
    }
    judged(status, answer.get("body").unwrap_or(&Value::Null), prometheus)
}

async fn request(
    objects: &Objects,
    actions: &Actions,
    name: &str,
    input: Value,
) -> Result<Value, String> {
    let now = objects.now();
    let deadline = Time::new(now.timestamp() + TIMEOUT);
    let perform = Perform {
        step: name.to_owned(),
        attempt: 1,
        action: "http.request".into(),
        idempotency_key: uuid::Uuid::new_v4().to_string(),
        input,
        deadline,
        disruptive: false,
    };
    let call = Call { perform, target: None, since: now, resumed: false, leave: None };
    let performed = tokio::time::timeout(TIMEOUT, actions.perform(objects, call)).await;
    match performed {
        Ok(Ok(performed)) => Ok(performed.output),
        Ok(Err(failure)) => Err(failure.message),
        Err(_) => Err(format!("no answer within {} seconds", TIMEOUT.as_secs())),
    }
}

const TOO_MUCH: &str = "the query has too many answers; aggregate it to one, as with sum()";

/// What a Prometheus answered, held against the bounds.
/// Source: Prometheus "HTTP API": format overview, and instant queries.
fn judged(status: u64, body: &Value, check: &PrometheusCheck) -> Result<String, String> {
    match (status, body.get("status").and_then(Value::as_str)) {
        (200, Some("success")) => {}
        (400, Some("error")) => {
            let why = "Prometheus does not understand the query (it answers 400); try prometheus.query in its own page, and correct it";
            return Err(why.into());
        }
        (422, Some("error")) => {
            let why = "Prometheus understands the query and cannot answer it (it answers 422); try prometheus.query in its own page, and correct it";
            return Err(why.into());
        }
        (503, Some("error")) => {
            let why = "Prometheus gave the query up (it answers 503): it takes too long, or Prometheus is stopping; make it cheaper, as with a recording rule";
            return Err(why.into());
        }
        _ => {
            return Err(format!(
                "it does not answer as a Prometheus does (it answers {status}); look at prometheus.url"
            ));
        }
    }
    let result = body.pointer("/data/result");
    let number = match (body.pointer("/data/resultType").and_then(Value::as_str), result) {
        (Some("scalar"), Some(result)) => result.get(1),
        (Some("vector"), Some(Value::Array(series))) => match series.as_slice() {
            [] => return Err("the query has no answer: no series is there".into()),
            [one] => one.pointer("/value/1"),
            more => {
                let count = more.len();
                return Err(format!(
                    "the query has {count} answers; aggregate it to one, as with sum()"
                ));
            }
        },
        (Some(kind @ ("matrix" | "string")), _) => {
            return Err(format!(
                "the query answers with a {kind}; ask for one number, as with rate() or last_over_time()"
            ));
        }
        _ => return Err("it answers with something that this release does not know".into()),
    };
    let number = number.and_then(Value::as_str).and_then(|text| text.parse::<f64>().ok());
    let number = number.ok_or("it does not answer with a number")?;
    let under = check.min.is_some_and(|min| number < min);
    let over = check.max.is_some_and(|max| number > max);
    match (under, over, number.is_nan()) {
        (_, _, true) => Err("the answer is no number (NaN)".into()),
        (true, ..) => {
            Err(format!("the answer is {number}, less than {}", check.min.unwrap_or_default()))
        }
        (_, true, _) => {
            Err(format!("the answer is {number}, more than {}", check.max.unwrap_or_default()))
        }
        _ => Ok(format!("the answer is {number}")),
    }
}

/// A query as it stands in a URL: all but unreserved characters are escaped (RFC 3986, section 2.3).
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to memory does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(min: Option<f64>, max: Option<f64>) -> PrometheusCheck {
        PrometheusCheck { min, max, ..PrometheusCheck::default() }
    }

    #[test]
    fn an_answer_is_held_against_the_bounds() {
        let vector = |values: &[&str]| {
            let series = values.iter().map(|value| json!({"metric": {}, "value": [1, value]}));
            let result: Vec<Value> = series.collect();
            json!({"status": "success", "data": {"resultType": "vector", "result": result}})
        };
        let result = |kind: &str, result: Value| json!({"status": "success", "data": {"resultType": kind, "result": result}});
        let refused = json!({"status": "error", "errorType": "bad_data", "error": "a secret"});
        let up_to = |max: f64| (None, Some(max));
        for (status, body, (min, max), wanted) in [
            (200, vector(&["0.01"]), up_to(0.05), Ok("the answer is 0.01")),
            (200, vector(&["0.1"]), up_to(0.05), Err("the answer is 0.1, more than 0.05")),
            (200, vector(&["3"]), (Some(5.0), None), Err("the answer is 3, less than 5")),
            (200, result("scalar", json!([1, "2"])), (Some(1.0), Some(3.0)), Ok("the answer is 2")),
            (200, vector(&["+Inf"]), up_to(1.0), Err("the answer is inf, more than 1")),
            (200, vector(&[]), up_to(1.0), Err("the query has no answer: no series is there")),
            (
                200,
                vector(&["1", "2"]),
                up_to(1.0),
                Err("the query has 2 answers; aggregate it to one, as with sum()"),
            ),
            (200, vector(&["NaN"]), up_to(1.0), Err("the answer is no number (NaN)")),
            (200, vector(&["x"]), up_to(1.0), Err("it does not answer with a number")),
            (
                200,
                result("matrix", json!([])),
                up_to(1.0),
                Err(
                    "the query answers with a matrix; ask for one number, as with rate() or last_over_time()",
                ),
            ),
            (
                200,
                result("tensor", json!([])),
                up_to(1.0),
                Err("it answers with something that this release does not know"),
            ),
            (
                400,
                refused.clone(),
                up_to(1.0),
                Err(
                    "Prometheus does not understand the query (it answers 400); try prometheus.query in its own page, and correct it",
                ),
            ),
            (
                422,
                refused.clone(),
                up_to(1.0),
                Err(
                    "Prometheus understands the query and cannot answer it (it answers 422); try prometheus.query in its own page, and correct it",
                ),
            ),
            (
                503,
                refused.clone(),
                up_to(1.0),
                Err(
                    "Prometheus gave the query up (it answers 503): it takes too long, or Prometheus is stopping; make it cheaper, as with a recording rule",
                ),
            ),
            (
                200,
                refused,
                up_to(1.0),
                Err(
                    "it does not answer as a Prometheus does (it answers 200); look at prometheus.url",
                ),
            ),
            (
                200,
                json!("<html>"),
                up_to(1.0),
                Err(
                    "it does not answer as a Prometheus does (it answers 200); look at prometheus.url",
                ),
            ),
            (
                503,
                Value::Null,
                up_to(1.0),
                Err(
                    "it does not answer as a Prometheus does (it answers 503); look at prometheus.url",
                ),
            ),
        ] {
            let found = judged(status, &body, &check(min, max));
            assert_eq!(found, wanted.map(str::to_owned).map_err(str::to_owned), "{status} {body}");
        }
    }

    #[test]
    fn what_holds_ends_a_sequence_of_failures() {
        let all = [RolloutCheck { name: "c".into(), ..RolloutCheck::default() }];
        let now = Time::new(jiff::Timestamp::UNIX_EPOCH);
        let mut statuses = Vec::new();
        for (outcome, wanted) in
            [(Err("a"), (0, 1)), (Err("b"), (0, 2)), (Ok("c"), (1, 0)), (Err("d"), (1, 1))]
        {
            let outcome = outcome.map(str::to_owned).map_err(str::to_owned);
            statuses = noted(&all, &statuses, vec![("c".into(), outcome)], now);
            assert_eq!((statuses[0].passed, statuses[0].failed), wanted);
        }
        assert_eq!(escaped("sum(a{b=\"c\"}) > 1"), "sum%28a%7Bb%3D%22c%22%7D%29%20%3E%201");
    }
}
