//! `server.detach`: no machine has the server any more, whatever state either is in. The machine finds that it has
//! lost its server, and says so.

use super::SERVER;
use crate::action::{Action, ActionContext, ActionError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Input of `server.detach`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {}

/// Output of `server.detach`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    /// The machine that had it, as `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
}

/// The action.
pub(super) struct ServerDetach;

impl Action for ServerDetach {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "server.detach";
    const SUMMARY: &'static str = "Takes a server away from the machine that has it.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    fn observed(_: &Output) -> Option<Map<String, Value>> {
        Some(Map::from_iter([("machineRef".to_owned(), Value::Null)]))
    }

    async fn perform(
        &self,
        context: &ActionContext,
        Input {}: Input,
    ) -> Result<Output, ActionError> {
        let target = context.require_target()?;
        let field = |name: &str| target.pointer("/status/machineRef")?.get(name)?.as_str();
        let machine = field("namespace").zip(field("name"));
        let machine = machine.map(|(namespace, name)| format!("{namespace}/{name}"));
        Ok(Output { machine })
    }
}
