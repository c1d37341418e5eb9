//! `credentials.adopt`: the password that was set is the one in force from now on, and the server names the Secret that
//! is its alone. Reaches nothing outside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::super::credentials::Held;
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError, Declared, SecretChange};
use quarterdeck_model::kinds::SecretReference;

/// Input of `credentials.adopt`: nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {}

/// Output of `credentials.adopt`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// `namespace/name` of the Secret that the server names now.
    secret: String,
    /// Whether anything was to be done.
    changed: bool,
    #[serde(skip)]
    #[schemars(skip)]
    named: SecretReference,
    /// What becomes of the Secret.
    #[serde(skip)]
    #[schemars(skip)]
    change: Option<SecretChange>,
}

/// The action.
pub(super) struct CredentialsAdopt;

impl Action for CredentialsAdopt {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "credentials.adopt";
    const SUMMARY: &'static str = "Takes the new password of a server's BMC into force.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    fn declared(output: &Output) -> Option<Declared> {
        let bmc = json!({"credentialsSecretRef": output.named});
        let patch = Map::from_iter([("bmc".to_owned(), bmc)]);
        Some(Declared { patch, check_only: false })
    }

    fn kept(output: &Output) -> Option<SecretChange> {
        output.change.clone()
    }

    async fn perform(
        &self,
        context: &ActionContext,
        Input {}: Input,
    ) -> Result<Output, ActionError> {
        let held = Held::read(context)?;
        let change = held.adopt()?;
        let (secret, named) = (held.secret(), held.own);
        Ok(Output { secret, changed: change.is_some(), named, change })
    }
}
