//! `bmc.scan`: looks for BMCs in the ranges of a BMCScan. Changes nothing: what becomes of those that may be servers is
//! decided from what is found.

use quarterdeck_model::Time;
use quarterdeck_model::kinds::{BMCScanSpec, FoundBMC};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::Redfish;
use super::super::scan::scan;
use crate::action::{Action, ActionContext, ActionError, Reason};

/// Systems that are told of.
const FOUND_MAX: usize = 1_000;

/// Input of `bmc.scan`: nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {}

/// Output of `bmc.scan`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// Addresses that were tried.
    addresses: usize,
    /// Those where a BMC answered.
    answered: usize,
    /// Systems that may become servers.
    allowed: usize,
    /// What was found. It goes to the target's status.
    #[serde(skip)]
    #[schemars(skip)]
    found: Vec<FoundBMC>,
    #[serde(skip)]
    #[schemars(skip)]
    at: Option<Time>,
}

#[derive(Deserialize)]
struct View {
    spec: BMCScanSpec,
}

/// The action.
pub(super) struct BmcScan {
    pub(super) redfish: Redfish,
}

impl Action for BmcScan {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "bmc.scan";
    const SUMMARY: &'static str = "Looks for BMCs in ranges of addresses.";
    const TARGET_KINDS: &'static [&'static str] = &["BMCScan"];
    const EFFECTS: bool = false;
    const DISRUPTIVE: bool = false;

    fn observed(output: &Output) -> Option<Map<String, Value>> {
        let told = output.found.len().min(FOUND_MAX);
        let more = output.found.len() - told;
        let found: Vec<&FoundBMC> = output.found.iter().take(told).collect();
        let seen = json!({
            "scanTime": output.at, "addresses": output.addresses, "answered": output.answered,
            "found": found, "leftOut": (more > 0).then_some(more),
        });
        seen.as_object().cloned()
    }

    async fn perform(
        &self,
        context: &ActionContext,
        Input {}: Input,
    ) -> Result<Output, ActionError> {
        let target = context.require_target()?;
        let View { spec } = View::deserialize(target.as_ref()).map_err(|error| {
            let message = format!("the target is not a BMCScan: {error}");
            ActionError::permanent(Reason::InvalidInput, message).because(error)
        })?;
        let scanned = scan(&self.redfish, context, &spec).await?;
        let pending =
            |it: &&FoundBMC| it.result == quarterdeck_model::kinds::BMCScanResult::Pending;
        Ok(Output {
            addresses: scanned.addresses,
            answered: scanned.answered,
            allowed: scanned.found.iter().filter(pending).count(),
            found: scanned.found,
            at: Some(Time::seconds(context.first_attempt_at)),
        })
    }
}
