//! How a workload comes to be as another template says: a few at a time, step by step with checks, or all beside those
//! that serve.

use super::SecretReference;
use crate::{Duration, FieldError, FieldErrors, share::Share};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most steps of a canary.
const STEPS_MAX: usize = 20;
/// Most checks of a step.
const CHECKS_MAX: usize = 10;
/// Longest query, in letters.
const QUERY_MAX: usize = 4_096;
/// Longest a pause or an interval may be: a week.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// How instances come to be as another template says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStrategy {
    /// What is done.
    #[serde(rename = "type")]
    pub kind: WorkloadStrategyType,
    /// How many at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<WorkloadRollingUpdate>,
    /// Step by step, for `Canary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// All at once beside the others, for `BlueGreen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blue_green: Option<BlueGreen>,
}

/// What is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadStrategyType {
    /// New instances take the place of others, a few at a time.
    #[default]
    RollingUpdate,
    /// The same, step by step, each with checks and a pause.
    Canary,
    /// All new instances are ready before any of the others goes, and then they are switched to at once.
    BlueGreen,
}

/// How many instances are replaced at once. A share is one of `replicas`, and a part of one counts as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadRollingUpdate {
    /// How many more instances than `replicas` there may be. One, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<Share>,
    /// How many fewer than `replicas` may be available. None, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Share>,
}

/// A rollout in steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Canary {
    /// Its steps. After the last, all others are replaced.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub steps: Vec<CanaryStep>,
}

/// One step of a canary.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStep {
    /// How many instances are of the new revision by its end, such as `1` or `"10%"`.
    pub instances: Option<Share>,
    /// What must hold once these are available.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub checks: Vec<RolloutCheck>,
    /// How long is waited then, while the checks go on; none, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<RolloutPause>,
}

/// A pause of a rollout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutPause {
    /// How long; until a person resumes it, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// All new instances beside the others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlueGreen {
    /// What must hold once all new instances are available, before they are switched to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub checks: Vec<RolloutCheck>,
    /// How long is waited then, before they are switched to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<RolloutPause>,
    /// How long the others stay after that. 30s, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down_delay: Option<Duration>,
}

impl BlueGreen {
    /// How long the others stay once they are switched away from.
    pub fn scale_down_delay(&self) -> Duration {
        self.scale_down_delay.unwrap_or(Duration::from_secs(30))
    }
}

/// Something that must hold of a new revision: one of the three.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutCheck {
    /// What it is called.
    pub name: String,
    /// So many of the new instances are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<ReadyCheck>,
    /// A URL answers as it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// A query of a Prometheus answers a number within bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusCheck>,
    /// How often it is looked at. 30s, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// How often it must hold before the rollout goes on. Once, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<u32>,
    /// How often in sequence it may fail to hold before the rollout returns. Never, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures_allowed: Option<u32>,
}

/// So many of the new instances are ready.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadyCheck {
    /// At least so many, such as `"90%"` of those there are to be. All, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Share>,
}

/// A URL answers as it should.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCheck {
    /// What is asked with GET.
    pub url: String,
    /// Statuses that are right. Any from 200 to 299, when not set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub statuses: Vec<u16>,
}

/// A query of a Prometheus answers a number within bounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusCheck {
    /// Where it is, such as `http://prometheus:9090`.
    pub url: String,
    /// What is asked: one number, or one series.
    pub query: String,
    /// Secret with `token`, which is sent as a bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// The answer is at least this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The answer is at most this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl RolloutCheck {
    /// How often it is looked at.
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_secs(30))
    }

    /// How often it must hold.
    pub fn successes(&self) -> u32 {
        self.success_threshold.unwrap_or(1)
    }

    /// How often in sequence it may fail to hold.
    pub fn failures(&self) -> u32 {
        self.failures_allowed.unwrap_or(0)
    }

    fn validate(&self, path: &str, errors: &mut FieldErrors) {
        if self.name.is_empty() || self.name.len() > 63 {
            let name = format!("{:?}", self.name);
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                name,
                "must have 1 to 63 letters",
            ));
        }
        let kinds = [self.ready.is_some(), self.http.is_some(), self.prometheus.is_some()];
        if kinds.iter().filter(|is| **is).count() != 1 {
            errors.push(FieldError::required(path, "give one of ready, http and prometheus"));
        }
        if let Some(interval) = self.interval
            && !(Duration::from_secs(1)..=LONGEST).contains(&interval)
        {
            let why = format!("must be between 1s and {LONGEST}");
            errors.push(FieldError::invalid(format!("{path}.interval"), interval, why));
        }
        for (field, number, least) in [
            ("successThreshold", self.success_threshold, 1),
            ("failuresAllowed", self.failures_allowed, 0),
        ] {
            if let Some(number) = number.filter(|number| !(least..=1_000).contains(number)) {
                let why = format!("must be between {least} and 1000");
                errors.push(FieldError::invalid(format!("{path}.{field}"), number, why));
            }
        }
        let url = |field: &str, url: &str, errors: &mut FieldErrors| {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
            if host.is_empty() || host.contains('@') || url.contains(char::is_whitespace) {
                let why = "must be https:// or http:// with a host, and without a user or password";
                errors.push(FieldError::invalid(
                    format!("{path}.{field}.url"),
                    format!("{url:?}"),
                    why,
                ));
            }
        };
        if let Some(http) = &self.http {
            url("http", &http.url, errors);
            if http.statuses.len() > CHECKS_MAX {
                let field = format!("{path}.http.statuses");
                errors.push(FieldError::too_many(field, http.statuses.len(), CHECKS_MAX));
            }
        }
        if let Some(prometheus) = &self.prometheus {
            url("prometheus", &prometheus.url, errors);
            let field = format!("{path}.prometheus");
            if prometheus.query.is_empty() {
                errors.push(FieldError::required(format!("{field}.query"), "say what is asked"));
            }
            if prometheus.query.len() > QUERY_MAX {
                errors.push(FieldError::too_long(format!("{field}.query"), QUERY_MAX));
            }
            if prometheus.min.is_none() && prometheus.max.is_none() {
                errors
                    .push(FieldError::required(format!("{field}.max"), "give min or max, or both"));
            }
            if let Some(secret) = &prometheus.secret_ref {
                secret.validate(&format!("{field}.secretRef"), errors);
            }
        }
    }
}

impl WorkloadStrategy {
    pub(super) fn validate(&self, path: &str, errors: &mut FieldErrors) {
        let none =
            |share: Option<Share>| matches!(share, Some(Share::Count(0) | Share::Percent(0)));
        let update = self.rolling_update.unwrap_or_default();
        if none(update.max_surge)
            && (none(update.max_unavailable) || update.max_unavailable.is_none())
        {
            let why = "must be at least 1 when maxSurge is 0: no instance could be replaced";
            errors.push(FieldError::invalid(
                format!("{path}.rollingUpdate.maxUnavailable"),
                0,
                why,
            ));
        }
        for (field, given, kind) in [
            ("canary", self.canary.is_some(), WorkloadStrategyType::Canary),
            ("blueGreen", self.blue_green.is_some(), WorkloadStrategyType::BlueGreen),
        ] {
            if given && self.kind != kind {
                let why = format!("is for type {kind:?}; leave it out, or set the type");
                errors.push(FieldError::forbidden(format!("{path}.{field}"), why));
            }
        }
        if self.kind == WorkloadStrategyType::Canary {
            let steps = self.canary.as_ref().map_or(&[][..], |canary| &canary.steps);
            if steps.is_empty() {
                let why = "name at least one step, such as {instances: 1, pause: {duration: 10m}}";
                errors.push(FieldError::required(format!("{path}.canary.steps"), why));
            }
            if steps.len() > STEPS_MAX {
                let field = format!("{path}.canary.steps");
                errors.push(FieldError::too_many(field, steps.len(), STEPS_MAX));
            }
            for (at, step) in steps.iter().take(STEPS_MAX).enumerate() {
                let path = format!("{path}.canary.steps[{at}]");
                if step.instances.is_none() {
                    let why = "say how many instances are new by the end of the step, such as 1 or \"10%\"";
                    errors.push(FieldError::required(format!("{path}.instances"), why));
                }
                check_all(&step.checks, step.pause, &path, errors);
            }
        }
        if let Some(blue_green) = &self.blue_green {
            let path = format!("{path}.blueGreen");
            check_all(&blue_green.checks, blue_green.pause, &path, errors);
            if blue_green.scale_down_delay() > LONGEST {
                let (delay, why) =
                    (blue_green.scale_down_delay(), format!("must be at most {LONGEST}"));
                errors.push(FieldError::invalid(format!("{path}.scaleDownDelay"), delay, why));
            }
        }
    }
}

fn check_all(
    checks: &[RolloutCheck],
    pause: Option<RolloutPause>,
    path: &str,
    errors: &mut FieldErrors,
) {
    if checks.len() > CHECKS_MAX {
        errors.push(FieldError::too_many(format!("{path}.checks"), checks.len(), CHECKS_MAX));
    }
    for (at, check) in checks.iter().take(CHECKS_MAX).enumerate() {
        check.validate(&format!("{path}.checks[{at}]"), errors);
        if checks.iter().take(at).any(|other| other.name == check.name) {
            let field = format!("{path}.checks[{at}].name");
            let name = format!("{:?}", check.name);
            errors.push(FieldError::invalid(
                field,
                name,
                "is the name of another check of the step",
            ));
        }
    }
    if let Some(duration) = pause.and_then(|pause| pause.duration)
        && duration > LONGEST
    {
        let why = format!("must be at most {LONGEST}");
        errors.push(FieldError::invalid(format!("{path}.pause.duration"), duration, why));
    }
}
