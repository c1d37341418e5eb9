//! Remedy: a condition on objects, and the runbook that mends it. How often it may try, and when it gives up, is
//! part of it: what mends by itself can break by itself.

use super::{ObjectSelector, Resource, V1ALPHA1, WORKFLOWS};
use crate::{
    Column, ColumnType, Condition, Duration, FieldError, FieldErrors, Kind, ObjectMeta, Scope,
    Time, kind_info, share::Share, validate,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A condition on objects, and the runbook that mends it.
pub type Remedy = Resource<RemedySpec, RemedyStatus>;

/// Longest name: its runs carry it, as a label and in their own.
const NAME_MAX: usize = 52;
/// Most runs of one remedy in work at once, or begun in an hour.
const RUNS_MAX: u32 = 1_000;
/// Most attempts on one target, and most runs by which a remedy is judged: all of them are looked at.
const JUDGED_MAX: u32 = 100;
/// Longest time that is waited for something: a month.
const WAIT_MAX: Duration = Duration::from_secs(31 * 86_400);

/// What is wanted of a remedy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemedySpec {
    /// Kind of the objects, such as `Server`: one whose objects are in no namespace.
    pub kind: String,
    /// Labels they have; all objects of the kind, when not set.
    #[serde(default)]
    pub selector: ObjectSelector,
    /// What is wrong with one: an expression over `target`, as in runbooks. A field that is not there counts as
    /// nothing wrong.
    pub when: String,
    /// How long that must have been so.
    #[serde(default = "ten_minutes", rename = "for")]
    pub holds_for: Duration,
    /// Name of the Runbook that mends it.
    pub runbook: String,
    /// Values of the runbook's parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "anything")]
    pub params: Map<String, Value>,
    /// Most of its runs in work at once, those that wait for the ledger among them.
    #[serde(default = "one")]
    pub concurrency: u32,
    /// Most of its runs in work at once in one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_domain: Option<RemedyDomain>,
    /// Most of its runs begun in an hour.
    #[serde(default = "ten")]
    pub max_per_hour: u32,
    /// How long an object is left alone after a run on it.
    #[serde(default = "an_hour")]
    pub cooldown: Duration,
    /// After so many runs on an object that did not mend it, it is left to people.
    #[serde(default = "three")]
    pub give_up_after: u32,
    /// It is judged by its last so many runs.
    #[serde(default = "five")]
    pub stop_after: u32,
    /// How many of those must have mended their target: with fewer, the remedy stops itself. One, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub must_mend: Option<Share>,
    /// While the same is wrong with more objects than this, nothing is begun: so many have a common cause, which
    /// is not in them. Ten of a hundred, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_affected: Option<Share>,
    /// Begins nothing until this is false again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Raise it to have the remedy go on after it has stopped itself, or given objects up. Any other change of
    /// its spec does the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resume: u32,
}

/// How many at once in one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemedyDomain {
    /// The place.
    pub domain: RemedyPlace,
    /// Most of its runs in work at once in one of these.
    pub max: u32,
}

/// A place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RemedyPlace {
    /// The rack that a server stands in.
    #[default]
    Rack,
    /// The site of that.
    Site,
}

fn one() -> u32 {
    1
}

fn three() -> u32 {
    3
}

fn five() -> u32 {
    5
}

fn ten() -> u32 {
    10
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

fn an_hour() -> Duration {
    Duration::from_secs(3_600)
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", (crate::schema::PRESERVE): true})
}

impl RemedySpec {
    /// How many of so many objects may be affected.
    pub fn affected_max(&self, objects: u32) -> u32 {
        self.max_affected.unwrap_or(Share::Percent(10)).of(objects)
    }

    /// How many of those that it is judged by must have mended their target.
    pub fn mended_min(&self) -> u32 {
        self.must_mend.unwrap_or(Share::Count(1)).of(self.stop_after)
    }
}

/// Where a remedy is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RemedyPhase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// Mends what it can.
    Active,
    /// Begins nothing: it mended too little.
    Stopped,
    /// Begins nothing: it was asked so.
    Suspended,
}

/// What is seen of a remedy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RemedyStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is.
    pub phase: RemedyPhase,
    /// What it does, or why it does not, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when it is active with this spec: runs from before that do not count against it, nor against
    /// their targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_since: Option<Time>,
    /// Objects with which this is wrong.
    pub affected: u32,
    /// Those of them that wait for their turn, or until it has been so for long enough.
    pub waiting: u32,
    /// Its runs in work.
    pub running: u32,
    /// Those of its runs that mended their target, as far as they are kept.
    pub succeeded: u32,
    /// Those that did not.
    pub failed: u32,
    /// Objects that are left to people.
    pub given_up: u32,
    /// When its last run was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_time: Option<Time>,
    /// The objects with which this is wrong, those for the longest time first; not more than are worth reading.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub objects: Vec<AffectedObject>,
    /// What is true of it: `Stopped`, `CommonCause`, `GivenUp`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// An object with which something is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AffectedObject {
    /// Its name.
    pub name: String,
    /// Since when, as this plane saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

impl Kind for Remedy {
    const GROUP: &'static str = WORKFLOWS;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Remedy";
    const PLURAL: &'static str = "remedies";
    const SINGULAR: &'static str = "remedy";
    const SHORT_NAMES: &'static [&'static str] = &["rem"];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("Runbook", "spec.runbook", "What mends it"),
        Column::new("Phase", "status.phase", "Where it is"),
        Column::new("Affected", "status.affected", "Objects with which this is wrong")
            .of(ColumnType::Integer),
        Column::new("Running", "status.running", "Its runs in work").of(ColumnType::Integer),
        Column::new("Succeeded", "status.succeeded", "Runs that mended their target")
            .of(ColumnType::Integer),
        Column::new("Failed", "status.failed", "Runs that did not").of(ColumnType::Integer),
        Column::new("Last", "status.lastRunTime", "When its last run was begun")
            .of(ColumnType::Date),
        Column::new("When", "spec.when", "What is wrong with them").wide(),
        Column::new("Message", "status.message", "What it does, or why it does not").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.runbook", "spec.kind", "status.phase"];
    const DESCRIPTION: &'static str = "Remedy is a condition on objects and the runbook that mends it, a few at a time. It stops itself when it mends nothing.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        let name = &self.metadata.name;
        let named = match validate::label_value(name) {
            Ok(()) if name.len() > NAME_MAX => {
                Err(format!("must be no more than {NAME_MAX} characters"))
            }
            other => other,
        };
        if let Err(why) = named {
            errors.push(FieldError::invalid("metadata.name", format!("{name:?}"), why));
        }
        check_kind(&spec.kind, errors);
        spec.selector.validate("spec.selector", errors);
        if spec.runbook.is_empty() {
            errors.push(FieldError::required("spec.runbook", "name the Runbook that mends it"));
        }
        let in_place = spec.per_domain.as_ref().map_or(1, |domain| domain.max);
        for (field, number, most) in [
            ("spec.concurrency", spec.concurrency, RUNS_MAX),
            ("spec.perDomain.max", in_place, RUNS_MAX),
            ("spec.maxPerHour", spec.max_per_hour, RUNS_MAX),
            ("spec.giveUpAfter", spec.give_up_after, JUDGED_MAX),
            ("spec.stopAfter", spec.stop_after, JUDGED_MAX),
        ] {
            if number == 0 || number > most {
                let why = format!("must be between 1 and {most}");
                errors.push(FieldError::invalid(field, number, why));
            }
        }
        for (field, time) in [("spec.for", spec.holds_for), ("spec.cooldown", spec.cooldown)] {
            if time > WAIT_MAX {
                let why = format!("must be at most {WAIT_MAX}");
                errors.push(FieldError::invalid(field, format!("\"{time}\""), why));
            }
        }
        if spec.mended_min() > spec.stop_after {
            let why = format!("must be at most spec.stopAfter, which is {}", spec.stop_after);
            errors.push(FieldError::invalid("spec.mustMend", spec.mended_min(), why));
        }
    }

    kind_info!(Remedy);
}

fn check_kind(name: &str, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.push(FieldError::required("spec.kind", "name the kind of the objects"));
        return;
    }
    let kind = super::all().iter().find(|known| known.kind == name);
    let why = match kind {
        Some(kind) if kind.namespaced() => {
            "its objects are in namespaces, where the runs of a remedy are not; name a kind without, such as Server"
        }
        Some(_) => return,
        None => "there is no such kind; name one such as Server",
    };
    errors.push(FieldError::invalid("spec.kind", format!("{name:?}"), why));
}
