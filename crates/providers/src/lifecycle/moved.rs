//! `server.move`: the server stands elsewhere from now on. Whether that place is free and there is one is a rule of
//! admission, which holds for what this step declares.

use super::SERVER;
use crate::action::{Action, ActionContext, ActionError, Declared};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Input of `server.move`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Input {
    /// Name of the Rack.
    rack: String,
    /// Lowest rack unit it fills, counted from 1 at the bottom; 0 for none in particular.
    #[serde(default)]
    unit: u16,
    /// Only look whether it could stand there.
    #[serde(default)]
    check_only: bool,
}

/// Output of `server.move`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    /// Where it stood before, as `rack` or `rack, unit N`; empty when that was nowhere.
    before: String,
    /// Whether it was on.
    was_on: bool,
    #[serde(skip)]
    #[schemars(skip)]
    to: Map<String, Value>,
    #[serde(skip)]
    #[schemars(skip)]
    check_only: bool,
}

/// The action.
pub(super) struct ServerMove;

impl Action for ServerMove {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "server.move";
    const SUMMARY: &'static str = "Says that a server stands in another rack or unit.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    fn declared(output: &Output) -> Option<Declared> {
        let location = ("location".to_owned(), Value::Object(output.to.clone()));
        Some(Declared { patch: Map::from_iter([location]), check_only: output.check_only })
    }

    async fn perform(
        &self,
        context: &ActionContext,
        Input { rack, unit, check_only }: Input,
    ) -> Result<Output, ActionError> {
        let target = context.require_target()?;
        let at = |field: &str| target.pointer("/spec/location").and_then(|it| it.get(field));
        let before = match (at("rack").and_then(Value::as_str), at("unit")) {
            (Some(rack), Some(unit)) => format!("{rack}, unit {unit}"),
            (rack, _) => rack.unwrap_or_default().to_owned(),
        };
        let power = target.pointer("/status/powerState").and_then(Value::as_str);
        let unit = if unit == 0 { Value::Null } else { json!(unit) };
        let to = Map::from_iter([("rack".to_owned(), json!(rack)), ("unit".to_owned(), unit)]);
        Ok(Output { before, was_on: power != Some("Off"), to, check_only })
    }
}
