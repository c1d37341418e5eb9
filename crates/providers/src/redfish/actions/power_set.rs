//! `power.set`: a power state, observed before and after.
//!
//! Repeating it is harmless at any moment: it reads the state first and sends nothing when the
//! machine is there.

use std::time::Duration;

use quarterdeck_model::Duration as SpecDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::Redfish;
use super::super::power::{Goal, ResetType};
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError};

/// What an operating system gets to shut down by itself before the power is cut.
pub const GRACE: Duration = Duration::from_secs(60);

/// The state wanted, and how it may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum State {
    /// Powered on.
    On,
    /// Powered off: the operating system is asked first; the power is cut when it does not answer
    /// within `grace`.
    Off,
    /// Powered off at once, without asking the operating system.
    ForceOff,
    /// Powered off by the operating system alone; never forced.
    GracefulShutdown,
}

/// Input of `power.set`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The state wanted.
    pub state: State,
    /// For `Off`: how long the operating system gets before the power is cut; 60s by default, and
    /// at most half the time the step has.
    #[serde(default)]
    pub grace: Option<SpecDuration>,
}

/// Output of `power.set`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The state seen last.
    pub power_state: &'static str,
    /// Whether a command was sent; false when the machine was there already.
    pub changed: bool,
}

/// The action, at real BMCs.
pub struct PowerSet {
    pub(super) redfish: Redfish,
}

impl Action for PowerSet {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "power.set";
    const SUMMARY: &'static str = "Powers a server on or off and waits until it is seen there.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = true;

    fn observed(output: &Output) -> Option<Map<String, Value>> {
        Some(super::power_seen(output.power_state))
    }

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let mut system = self.redfish.open(context).await?;
        let action = system.reset_action().await?;
        let goal = match input.state {
            State::On => Goal::On,
            State::ForceOff => Goal::OffNow,
            State::GracefulShutdown if !action.allows(ResetType::GracefulShutdown) => {
                return Err(system.unsupported("it cannot shut down gracefully; use Off"));
            }
            State::GracefulShutdown => Goal::OffGracefully { force_after: None },
            State::Off => {
                let grace = input.grace.map_or(GRACE, SpecDuration::as_std);
                let force_after = Some(grace.min(context.remaining() / 2));
                Goal::OffGracefully { force_after }
            }
        };
        let changed = system.drive(&action, goal).await?;
        Ok(Output { power_state: system.power_state().as_str(), changed })
    }
}
