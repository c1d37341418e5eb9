//! `agent.service`: brings a service of systemd to a state.

use super::{MACHINES, file::Output, perform};
use crate::action::{Action, ActionContext, ActionError};
use quarterdeck_model::kinds::{AgentTaskSpec, ServiceState, ServiceTask};
use schemars::JsonSchema;
use serde::Deserialize;

/// Input of `agent.service`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// Its unit, such as `nginx.service`.
    pub unit: String,
    /// What it is to be.
    #[serde(default)]
    pub state: ServiceState,
    /// Whether it starts with the system; as it is when left out.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// The action.
pub struct AgentService;

impl Action for AgentService {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "agent.service";
    const SUMMARY: &'static str =
        "Starts, stops, restarts, enables or disables a service of systemd on a machine.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    // Whether anybody uses the service is for whoever writes the step to say.
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let Input { unit, state, enabled } = input;
        let service = Some(ServiceTask { unit, state, enabled });
        let task = AgentTaskSpec { service, ..AgentTaskSpec::default() };
        let status = perform(context, task).await?;
        Ok(Output { changed: status.changed.unwrap_or(true) })
    }
}
