//! `firmware.wait`: waits until a component runs a version. Changes nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Redfish;
use super::super::firmware::wait;
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError};

/// Input of `firmware.wait`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// What it is for, as the server's inventory names it; `BIOS` is that of the system.
    pub component: String,
    /// The version that is waited for.
    pub version: String,
}

/// Output of `firmware.wait`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The version that runs.
    pub version: String,
}

/// The action, at real BMCs.
pub struct FirmwareWait {
    pub(super) redfish: Redfish,
}

impl Action for FirmwareWait {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "firmware.wait";
    const SUMMARY: &'static str = "Waits until a component's firmware runs in a version.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = false;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let mut system = self.redfish.open(context).await?;
        wait(&mut system, &input.component, &input.version).await?;
        Ok(Output { version: input.version })
    }
}
