//! `agent.reboot`: restarts the operating system of a machine, and waits until its agent says that it is another start.

use super::{MACHINES, perform};
use crate::action::{Action, ActionContext, ActionError, Reason};
use quarterdeck_model::kinds::{AgentTaskSpec, RebootTask};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Input of `agent.reboot`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {}

/// Output of `agent.reboot`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Which start of the operating system it is now.
    #[serde(rename = "bootID")]
    pub boot_id: String,
}

/// The action.
pub struct AgentReboot;

impl Action for AgentReboot {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "agent.reboot";
    const SUMMARY: &'static str =
        "Restarts the operating system of a machine, and waits until it has started.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = true;

    async fn perform(&self, context: &ActionContext, _: Input) -> Result<Output, ActionError> {
        let target = context.require_target()?;
        let boot_id = target.pointer("/status/facts/bootID").and_then(Value::as_str);
        let Some(boot_id) = boot_id.filter(|it| !it.is_empty()).map(str::to_owned) else {
            let message = "the machine's agent has not said yet which start of its system this is; try again once status.facts is there";
            return Err(ActionError::retryable(Reason::Unreachable, message));
        };
        let reboot = Some(RebootTask { boot_id });
        let status = perform(context, AgentTaskSpec { reboot, ..AgentTaskSpec::default() }).await?;
        Ok(Output { boot_id: status.boot_id.unwrap_or_default() })
    }
}
