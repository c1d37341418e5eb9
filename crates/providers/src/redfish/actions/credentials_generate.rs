//! `credentials.generate`: makes a new password for a server's BMC, and keeps it in the Secret that is the server's
//! alone, before any BMC hears of it.
//!
//! A password that an earlier run made and may have sent to the BMC is never dropped, even if the BMC still takes the
//! one before it: a change can land late. It is set again, whatever its length; another length is for the rotation after
//! this one. Only one of a length that the BMC refuses, which is never sent, gives way to one of another length.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Redfish;
use super::super::credentials::{Held, LENGTH, LENGTHS, random_password};
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError, Reason, SecretChange};

/// Input of `credentials.generate`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// How many characters a new one has, from 12 to 64: 20 when left out, the most that IPMI takes. One that is still
    /// to be set keeps its length, where the BMC takes that: rotate once more for another.
    #[serde(default = "length")]
    pub length: u8,
}

const fn length() -> u8 {
    LENGTH
}

impl Input {
    /// Refuses a length that makes no sense.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`].
    pub fn check(&self) -> Result<(), ActionError> {
        if LENGTHS.contains(&self.length) {
            return Ok(());
        }
        let (least, most) = (LENGTHS.start(), LENGTHS.end());
        let message = format!("credentials.generate: length must be from {least} to {most}");
        Err(ActionError::permanent(Reason::InvalidInput, message))
    }
}

/// Output of `credentials.generate`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// `namespace/name` of the Secret that has it.
    pub secret: String,
    /// Whether it was made now.
    pub generated: bool,
    /// What is kept. It goes into the Secret and nowhere else.
    #[serde(skip)]
    #[schemars(skip)]
    pub change: Option<SecretChange>,
}

/// The action, at real BMCs.
pub struct CredentialsGenerate {
    pub(super) redfish: Redfish,
}

impl Action for CredentialsGenerate {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "credentials.generate";
    const SUMMARY: &'static str =
        "Makes a new password for a server's BMC and keeps it in a Secret.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    fn kept(output: &Output) -> Option<SecretChange> {
        output.change.clone()
    }

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        input.check()?;
        let held = Held::read(context)?;
        let secret = held.secret();
        if let Some(pending) = held.pending()? {
            let same_length = pending.password.len() == usize::from(input.length);
            if same_length || !self.redfish.was_never_sent(context, &held, &pending).await? {
                return Ok(Output { secret, generated: false, change: None });
            }
        }
        let change = Some(held.keep_pending(random_password(input.length)?));
        Ok(Output { secret, generated: true, change })
    }
}
