//! Schedule: when a run or a campaign starts by itself. What it started is seen from what belongs to it.
//! Source: Kubernetes `batch/v1` CronJob, whose fields it has where it has the same ones.

use super::{CampaignSpec, Resource, RunTarget, V1ALPHA1, WORKFLOWS};
use crate::{
    Column, ColumnType, Condition, Duration, FieldError, FieldErrors, Kind, ObjectMeta, Scope,
    Time, cron::Cron, kind_info, validate,
};
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// When a run or a campaign starts by itself.
pub type Schedule = Resource<ScheduleSpec, ScheduleStatus>;

/// Longest name, as of a CronJob: what it starts has its name and eleven letters more.
const NAME_MAX: usize = 52;
/// Most ended runs that are kept of either sort: each look goes through them.
const HISTORY_MAX: u32 = 100;
/// Longest deadline, in seconds: ten years, so that no sum of times can overflow.
const DEADLINE_MAX: u32 = 10 * 366 * 86_400;

/// What is wanted of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleSpec {
    /// When it starts something: minute, hour, day of the month, month and day of the week, such as
    /// `30 2 * * sat`, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    pub schedule: String,
    /// Whose clocks these are times of, such as `Europe/Amsterdam`; UTC, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// By how many seconds a start may be late, should something have kept it from its time. However late, when
    /// not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<u32>,
    /// What becomes of a start while what was started before is still in work.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// Starts nothing until this is false again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// How many of those that succeeded are kept.
    #[serde(default = "three")]
    pub successful_runs_history_limit: u32,
    /// How many of those that failed or were cancelled are kept.
    #[serde(default = "one")]
    pub failed_runs_history_limit: u32,
    /// The Run it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<ScheduledRun>,
    /// The Campaign it starts, instead of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignSpec>,
    /// Who wrote it last, and so asks for what it starts. The plane writes it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

/// What becomes of a start while what was started before is still in work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// Both are in work.
    #[default]
    Allow,
    /// It waits for that to end, as long as its deadline allows.
    Forbid,
    /// What was started before is cancelled.
    Replace,
}

/// A run that is started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledRun {
    /// Name of the Runbook.
    pub runbook: String,
    /// What it is run against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<RunTarget>,
    /// Values of the runbook's parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "anything")]
    pub params: Map<String, Value>,
    /// Longest the run may take; shortens what the runbook says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

fn one() -> u32 {
    1
}

fn three() -> u32 {
    3
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", (crate::schema::PRESERVE): true})
}

impl ScheduleSpec {
    /// The minutes it names.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub fn cron(&self) -> Result<Cron, String> {
        Cron::parse(&self.schedule)
    }

    /// Whose clocks they are times of; none when there is no such zone.
    pub fn zone(&self) -> Option<TimeZone> {
        match &self.time_zone {
            None => Some(TimeZone::UTC),
            Some(name) => TimeZone::get(name).ok().filter(|zone| !zone.is_unknown()),
        }
    }
}

/// Where a schedule is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchedulePhase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// Waits for the next time.
    Scheduled,
    /// What it started is in work.
    Running,
    /// Starts nothing: it was asked so.
    Suspended,
    /// No time that it names will come.
    NeverDue,
}

/// What is seen of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScheduleStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is.
    pub phase: SchedulePhase,
    /// The time for which something was started last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// The last time for which nothing was started, as it was too late for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_missed_time: Option<Time>,
    /// When something it started last succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,
    /// The time for which something is started next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// Names of what it started and is in work; not more than are worth reading.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub active: Vec<String>,
    /// What is true of it: `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Schedule {
    const GROUP: &'static str = WORKFLOWS;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Schedule";
    const PLURAL: &'static str = "schedules";
    const SINGULAR: &'static str = "schedule";
    const SHORT_NAMES: &'static [&'static str] = &["sched"];
    const SCOPE: Scope = Scope::Namespaced;
    const COLUMNS: &'static [Column] = &[
        Column::new("Schedule", "spec.schedule", "When it starts something"),
        Column::new("Zone", "spec.timeZone", "Whose clocks these are times of"),
        Column::new("Phase", "status.phase", "Where it is"),
        Column::new("Last", "status.lastScheduleTime", "When it started something last")
            .of(ColumnType::Date),
        Column::new("Next", "status.nextScheduleTime", "When it starts something next"),
        Column::new("Run", "spec.run.runbook", "Runbook of the run it starts").wide(),
        Column::new("Campaign", "spec.campaign.runbook", "Runbook of the campaign it starts")
            .wide(),
        Column::new("Message", "status.conditions[type=Ready].message", "What it does").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] =
        &["spec.run.runbook", "spec.campaign.runbook", "status.phase"];
    const DESCRIPTION: &'static str =
        "Schedule is when a run or a campaign starts by itself, as a CronJob says for a job.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        check_name(&self.metadata.name, errors);
        if let Some(target) = spec.run.as_ref().and_then(|run| run.target.as_ref()) {
            target.validate("spec.run.target", errors);
        }
        if spec.campaign.as_ref().is_some_and(|campaign| !campaign.approvals.is_empty()) {
            let why = "approvals are given to a campaign when there is one; nobody approves all that a schedule starts";
            errors.push(FieldError::forbidden("spec.campaign.approvals", why));
        }
        if let Err(why) = spec.cron() {
            let schedule = format!("{:?}", spec.schedule);
            errors.push(FieldError::invalid("spec.schedule", schedule, why));
        }
        if spec.zone().is_none() {
            let zone = format!("{:?}", spec.time_zone.as_deref().unwrap_or_default());
            let why =
                "there is no such time zone; name one as IANA does, such as \"Europe/Amsterdam\"";
            errors.push(FieldError::invalid("spec.timeZone", zone, why));
        }
        let deadline = spec.starting_deadline_seconds.unwrap_or(0);
        for (field, number, most) in [
            ("spec.startingDeadlineSeconds", deadline, DEADLINE_MAX),
            ("spec.successfulRunsHistoryLimit", spec.successful_runs_history_limit, HISTORY_MAX),
            ("spec.failedRunsHistoryLimit", spec.failed_runs_history_limit, HISTORY_MAX),
        ] {
            if number > most {
                errors.push(FieldError::invalid(field, number, format!("must be at most {most}")));
            }
        }
        match (&spec.run, &spec.campaign) {
            (Some(run), None) if run.runbook.is_empty() => {
                let why = "name the Runbook to execute";
                errors.push(FieldError::required("spec.run.runbook", why));
            }
            (Some(_), None) => {}
            (None, Some(campaign)) => check_campaign(campaign, errors),
            (Some(_), Some(_)) => {
                let why = "give spec.run or spec.campaign, not both";
                errors.push(FieldError::forbidden("spec.campaign", why));
            }
            (None, None) => {
                let why = "say what is started, by spec.run or spec.campaign";
                errors.push(FieldError::required("spec.run", why));
            }
        }
    }

    kind_info!(Schedule);
}

/// What it starts carries its name, as a label and in its own.
fn check_name(name: &str, errors: &mut FieldErrors) {
    let why = match validate::label_value(name) {
        Ok(()) if name.len() > NAME_MAX => format!("must be no more than {NAME_MAX} characters"),
        Ok(()) => return,
        Err(why) => why,
    };
    errors.push(FieldError::invalid("metadata.name", format!("{name:?}"), why));
}

fn check_campaign(campaign: &CampaignSpec, errors: &mut FieldErrors) {
    campaign.validate("spec.campaign", errors);
    if campaign.cancel {
        let why = "a campaign that is cancelled from the start does nothing; use spec.suspend";
        errors.push(FieldError::forbidden("spec.campaign.cancel", why));
    }
}
