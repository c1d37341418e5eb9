//! `credentials.apply`: sets the password that `credentials.generate` has kept, and makes sure that the BMC takes it.
//!
//! Whether it is set already is seen by logging in: first by the password in force, since a BMC locks an account after
//! a few wrong ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Redfish;
use super::super::credentials::Held;
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError};

/// Input of `credentials.apply`: nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {}

/// Output of `credentials.apply`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// User name of the account.
    pub username: String,
    /// Whether it was set now; false when the BMC had it already.
    pub changed: bool,
}

/// The action, at real BMCs.
pub struct CredentialsApply {
    pub(super) redfish: Redfish,
}

impl Action for CredentialsApply {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "credentials.apply";
    const SUMMARY: &'static str = "Sets the new password of a server's BMC and logs in with it.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(
        &self,
        context: &ActionContext,
        Input {}: Input,
    ) -> Result<Output, ActionError> {
        let held = Held::read(context)?;
        let changed = self.redfish.set_pending(context, &held).await?;
        Ok(Output { username: held.current().username.clone(), changed })
    }
}
