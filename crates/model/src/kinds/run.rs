//! Run: one durable execution of a runbook. Its status is the journal: all that the engine knows
//! of the run is here, so that any replica can go on with it.

use super::{Resource, SitePart, V1ALPHA1, WORKFLOWS};
use crate::{
    Column, ColumnType, Condition, Duration, FieldError, FieldErrors, Kind, ObjectMeta, Scope,
    Time, kind_info,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One durable execution of a runbook.
pub type Run = Resource<RunSpec, RunStatus>;

/// Most decisions on one run: each is looked at whenever the run goes on.
pub(super) const APPROVALS_MAX: usize = 200;

/// What is wanted of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunSpec {
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
    /// Asks the run to stop: what was done is undone where the runbook says how.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
    /// Asks the run to start no further step until this is false again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Cancels the run that holds the target instead of queueing behind it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Performs nothing: the status says what would happen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Runs a failed or cancelled run again from a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryFrom>,
    /// Who asked for it, as the plane knows them. The plane writes it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// Decisions on steps that wait for approval, and on the disruption as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
}

/// What a run is run against.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct RunTarget {
    /// Kind of the target, such as `Server`.
    pub kind: String,
    /// Name of the target. Of a namespaced kind, the target is in the run's namespace.
    pub name: String,
    /// The part of a Site that it is about.
    #[serde(flatten)]
    pub part: SitePart,
}

impl RunTarget {
    /// An object as a whole.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into(), part: SitePart::default() }
    }

    /// What is wrong with it, wherever it is written.
    pub fn validate(&self, path: &str, errors: &mut FieldErrors) {
        self.part.validate(path, errors);
        if self.kind != "Site" && !self.part.is_whole() {
            let why = "only a target of kind Site has halls, rows and power feeds";
            errors.push(FieldError::forbidden(format!("{path}.kind"), why));
        }
    }
}

/// `Server s-1`, `Site fra1, hall north`.
impl std::fmt::Display for RunTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        if self.part.is_whole() { Ok(()) } else { write!(f, ", {}", self.part) }
    }
}

/// From where a run that ended is run again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryFrom {
    /// Path of the step, as `status.steps` names it.
    pub from: String,
    /// Which retry this is, counted from 1: raise it to ask once more.
    #[serde(default = "one")]
    pub number: u32,
}

fn one() -> u32 {
    1
}

/// A decision on a step that waits for approval, or on the disruption as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Path of the step, as `status.steps` names it. Without one, it is about the disruption of the target, for
    /// every service and place that wants an approval of whoever gives it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// What was decided.
    pub decision: Decision,
    /// Who decided. The plane fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Groups they were in. The plane writes it down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub groups: Vec<String>,
    /// When. The plane writes it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What was decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Decision {
    /// Go on.
    #[default]
    Approved,
    /// The step fails.
    Rejected,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RunPhase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// Waits for another run to let go of the target.
    Queued,
    /// Steps are being done.
    Running,
    /// Starts no further step until resumed.
    Suspended,
    /// What was done is being undone, on the way to `Failed` or `Cancelled`.
    Compensating,
    /// Ended well.
    Succeeded,
    /// Ended because a step failed or the time was up.
    Failed,
    /// Ended because someone asked.
    Cancelled,
}

impl RunPhase {
    /// The run has ended; only a retry changes it.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What is seen of a run: its journal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is.
    pub phase: RunPhase,
    /// Name of the RunbookRevision it executes: what it was when the run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook_revision: Option<String>,
    /// The step or steps in work, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Steps done of all that are known so far, such as `2/5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// What it waits for or why it failed, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the first step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// When its time is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// The run just before this one in line for the target, while this one is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_behind: Option<String>,
    /// When it lined up for the target; it keeps its place by this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_time: Option<Time>,
    /// Identity of the target it began on: another object of the same name is not it.
    #[serde(skip_serializing_if = "Option::is_none", rename = "targetUID")]
    pub target_uid: Option<String>,
    /// How it will end once what was done is undone: `Failed` or `Cancelled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<RunPhase>,
    /// Number of the last retry that was begun or refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Every step begun so far, in the order they began.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStatus>,
    /// What the run gives back.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "anything")]
    pub outputs: BTreeMap<String, Value>,
    /// What is true of it: `Complete`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StepPhase {
    /// In work, or about to be tried again.
    #[default]
    Running,
    /// Waits for a condition, a time or a person.
    Waiting,
    /// Done.
    Succeeded,
    /// Failed for good.
    Failed,
    /// Its `when` was false.
    Skipped,
    /// Ended because the run was cancelled or a neighbour failed.
    Cancelled,
}

impl StepPhase {
    /// The step has ended.
    pub const fn ended(self) -> bool {
        !matches!(self, Self::Running | Self::Waiting)
    }
}

/// The journal of one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepStatus {
    /// Path: names of the steps around it and its own, such as `racks[2]/power-off`; what handles or
    /// undoes a step is `step/onFailure`, `step/onTimeout` and `step/compensate`.
    pub name: String,
    /// Where it is.
    pub phase: StepPhase,
    /// What it does, such as `power.set`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub does: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// When its time is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// How often it was begun.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_time: Option<Time>,
    /// One CamelCase word on its last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it waits for or why it failed, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the action or the called runbook was given, so that it can be given the same again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub input: Option<Value>,
    /// Items of a `forEach`, taken when it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_list")]
    pub items: Option<Vec<Value>>,
    /// What the action gave back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub output: Option<Value>,
    /// Values its `outputs` made.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "anything")]
    pub outputs: BTreeMap<String, Value>,
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", (crate::schema::PRESERVE): true})
}

fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({(crate::schema::PRESERVE): true})
}

fn any_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {(crate::schema::PRESERVE): true}})
}

impl Kind for Run {
    const GROUP: &'static str = WORKFLOWS;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Run";
    const PLURAL: &'static str = "runs";
    const SINGULAR: &'static str = "run";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Namespaced;
    const COLUMNS: &'static [Column] = &[
        Column::new("Runbook", "spec.runbook", "What is executed"),
        Column::new("Target", "spec.target.name", "What it is run against"),
        Column::new("Phase", "status.phase", "Where it is"),
        Column::new("Step", "status.step", "What it does now"),
        Column::new("Progress", "status.progress", "Steps done of those known"),
        Column::new("Started", "status.startTime", "When it began").of(ColumnType::Date).wide(),
        Column::new("Message", "status.message", "What it waits for, or why it failed").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &[
        "spec.runbook",
        "spec.target.kind",
        "spec.target.name",
        "spec.retry.from",
        "status.phase",
        "status.runbookRevision",
    ];
    const COMMON_FIELDS: &'static [&'static str] = &["spec.target.kind"];
    const DESCRIPTION: &'static str =
        "Run is one durable execution of a runbook. Its status is the journal of its steps.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        if self.spec.runbook.is_empty() {
            errors.push(FieldError::required("spec.runbook", "name the Runbook to execute"));
        }
        if let Some(target) = &self.spec.target {
            target.validate("spec.target", errors);
        }
        if self.spec.approvals.len() > APPROVALS_MAX {
            let count = self.spec.approvals.len();
            errors.push(FieldError::too_many("spec.approvals", count, APPROVALS_MAX));
        }
        if let Some(old) = old {
            // What a run is cannot change under it; what is asked of it (cancel, suspend, retry,
            // approvals) can.
            let fixed = [
                ("spec.runbook", self.spec.runbook == old.spec.runbook),
                ("spec.target", self.spec.target == old.spec.target),
                ("spec.params", self.spec.params == old.spec.params),
                ("spec.dryRun", self.spec.dry_run == old.spec.dry_run),
            ];
            for (field, _) in fixed.into_iter().filter(|(_, same)| !same) {
                errors.push(FieldError::forbidden(
                    field,
                    "cannot change once the run exists; create another run",
                ));
            }
            if old.spec.cancel && !self.spec.cancel && !old.status.phase.ended() {
                errors.push(FieldError::forbidden(
                    "spec.cancel",
                    "a run that is being cancelled cannot be called back; retry it when it has ended",
                ));
            }
        }
    }

    kind_info!(Run);
}

/// What a run executes, frozen when it began: the runbook and all it calls. Named by content, so
/// that runs of the same text share one.
pub type RunbookRevision = Resource<RunbookRevisionSpec, RunbookRevisionStatus>;

/// A frozen runbook and all it calls.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunbookRevisionSpec {
    /// Name of the Runbook.
    pub runbook: String,
    /// Specs of it and of every runbook it calls, by name.
    #[schemars(schema_with = "anything")]
    pub runbooks: BTreeMap<String, super::RunbookSpec>,
}

/// A frozen runbook has no state of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunbookRevisionStatus {}

impl Kind for RunbookRevision {
    const GROUP: &'static str = WORKFLOWS;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "RunbookRevision";
    const PLURAL: &'static str = "runbookrevisions";
    const SINGULAR: &'static str = "runbookrevision";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const CATEGORIES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Cluster;
    const STATUS: bool = false;
    const COLUMNS: &'static [Column] =
        &[Column::new("Runbook", "spec.runbook", "The runbook this is a version of")];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.runbook"];
    const DESCRIPTION: &'static str = "RunbookRevision is what a run executes, frozen when it began: the runbook and all it calls.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        if old.is_some_and(|old| old.spec != self.spec) {
            errors.push(FieldError::forbidden("spec", "a revision never changes"));
        }
    }

    kind_info!(RunbookRevision);
}
