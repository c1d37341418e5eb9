//! Runbook: a procedure as data. Its meaning is the runbook crate's; here is only its shape.

use super::{Resource, V1ALPHA1, WORKFLOWS};
use crate::{
    ApprovalPolicy, Column, Condition, Duration, FieldError, FieldErrors, Kind, ObjectMeta, Scope,
    kind_info,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{cell::Cell, collections::BTreeMap};

/// A procedure that runs execute.
pub type Runbook = Resource<RunbookSpec, RunbookStatus>;

/// How deep `parallel` and `forEach` may nest below a runbook's own steps.
pub const NESTING_MAX: usize = 3;

/// A procedure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunbookSpec {
    /// What it is for, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What it is run against; absent when it needs no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<RunbookTarget>,
    /// What a run must or may be given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<Parameter>,
    /// Longest a run may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What a run gives back: values with `${ }` expressions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "anything")]
    pub outputs: BTreeMap<String, Value>,
}

/// What a runbook is run against.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunbookTarget {
    /// Kind of the target, such as `Server`.
    pub kind: String,
}

/// One parameter of a runbook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// Name, used as `params.<name>`.
    pub name: String,
    /// Type of its value.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// A run must give it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Value when a run gives none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub default: Value,
    /// The only values allowed.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Value>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Type of a parameter, by its JSON schema name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// Text.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// A list.
    Array,
    /// Fields and values.
    Object,
}

/// One step. Exactly one of `action`, `waitFor`, `call`, `approve`, `parallel`, `forEach` and
/// `pause` says what it does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Name, unique among its neighbours, used as `steps.<name>`.
    pub name: String,
    /// Performs this action of a provider, such as `power.set`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Waits until this CEL expression is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for: Option<String>,
    /// Runs the steps of this runbook on the same target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Waits for a person's approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Approve>,
    /// Does all of these at once, and is done when all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "nested_steps")]
    pub parallel: Option<Vec<Self>>,
    /// Does steps once for each item of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "nested_for_each")]
    pub for_each: Option<ForEach>,
    /// Waits this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Duration>,
    /// Input of the action, or parameters of the called runbook: values with `${ }` expressions.
    #[serde(default, rename = "with", skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "anything")]
    pub input: Map<String, Value>,
    /// The step is skipped when this CEL expression is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The step can interrupt what runs on the target. Actions that always can say so themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruptive: Option<bool>,
    /// Longest the step may take, all attempts included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How its action is tried again when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// What is done when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Handler>,
    /// What is done when its time is up; without it, `onFailure` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<Handler>,
    /// What undoes it. When a run fails or is cancelled, the steps that were done are undone, last first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<Compensation>,
    /// Values made when the step is done, with `${ }` expressions over `output`: `steps.<step>.outputs.<name>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "anything")]
    pub outputs: BTreeMap<String, Value>,
}

/// What is asked of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approve {
    /// What to approve, with `${ }` expressions.
    pub message: String,
    /// Whose approval is wanted. Anybody's who may change the run, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ApprovalPolicy>,
}

/// Steps for each item of a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForEach {
    /// CEL expression of the list. Each item is `item`, its place from 0 is `index`.
    #[serde(rename = "in")]
    pub list: String,
    /// How many items are worked on at once. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// What is done for each.
    #[schemars(schema_with = "nested_steps")]
    pub steps: Vec<Step>,
}

/// How a step is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How often it is tried in all.
    pub attempts: u32,
    /// Pause before the second attempt; doubles with each further one. Default 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
    /// Longest pause. Default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<Duration>,
}

/// What is done about a failure: one action or one called runbook, or neither.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Handler {
    /// Performs this action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Runs the steps of this runbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Input, with `${ }` expressions; `error` is what went wrong.
    #[serde(default, rename = "with", skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "anything")]
    pub input: Map<String, Value>,
    /// Whether the run fails afterwards, or goes on.
    #[serde(default, rename = "then", skip_serializing_if = "is_fail")]
    pub then: Then,
}

/// What follows a handled failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Then {
    /// The run fails.
    #[default]
    Fail,
    /// The run goes on with the next step.
    Continue,
}

/// What undoes a step: one action or one called runbook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compensation {
    /// Performs this action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Runs the steps of this runbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Input, with `${ }` expressions.
    #[serde(default, rename = "with", skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "anything")]
    pub input: Map<String, Value>,
}

fn is_fail(then: &Then) -> bool {
    *then == Then::Fail
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", (crate::schema::PRESERVE): true})
}

thread_local! {
    // Structural schemas have no `$ref`, so a type that contains itself is written out to the depth
    // it may nest; the generator has no place of its own to count in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Runs `inner` one level further in, or gives the schema of a list that must be empty.
fn nest(inner: impl FnOnce() -> Schema, innermost: Schema) -> Schema {
    DEPTH.with(|depth| {
        if depth.get() >= NESTING_MAX {
            return innermost;
        }
        depth.set(depth.get() + 1);
        let schema = inner();
        depth.set(depth.get() - 1);
        schema
    })
}

fn nested_steps(generator: &mut SchemaGenerator) -> Schema {
    nest(
        || {
            let step = Step::json_schema(generator);
            json_schema!({"type": "array", "items": step})
        },
        json_schema!({"type": "array", "maxItems": 0, "items": {"type": "object"}}),
    )
}

fn nested_for_each(generator: &mut SchemaGenerator) -> Schema {
    ForEach::json_schema(generator)
}

/// What is seen of a runbook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunbookStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Runbook {
    const GROUP: &'static str = WORKFLOWS;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Runbook";
    const PLURAL: &'static str = "runbooks";
    const SINGULAR: &'static str = "runbook";
    const SHORT_NAMES: &'static [&'static str] = &["rb"];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("Target", "spec.target.kind", "Kind it is run against"),
        Column::new("Summary", "spec.summary", "What it is for"),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.target.kind"];
    const DESCRIPTION: &'static str =
        "Runbook is a procedure as data: typed parameters and steps that runs execute.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        if self.spec.steps.is_empty() {
            errors.push(FieldError::required("spec.steps", "a runbook has at least one step"));
        }
    }

    kind_info!(Runbook);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_nest_in_the_schema_as_deep_as_they_may() {
        let schema = (Runbook::info().schema)();
        let mut node = &schema["properties"]["spec"]["properties"]["steps"]["items"];
        for _ in 0..NESTING_MAX {
            assert_eq!(node["properties"]["name"]["type"], "string");
            node = &node["properties"]["parallel"]["items"];
        }
        assert_eq!(node["properties"]["parallel"]["maxItems"], 0);
        assert_eq!(node["properties"]["forEach"]["properties"]["steps"]["maxItems"], 0);
    }
}
