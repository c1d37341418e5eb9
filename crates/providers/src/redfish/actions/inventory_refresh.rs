//! `inventory.refresh`: reads what is in the machine. Changes nothing.

use quarterdeck_model::inventory::Inventory;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Redfish;
use super::super::inventory::{self, LogEntry, Unread};
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError};

/// Input of `inventory.refresh`: nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {}

/// Output of `inventory.refresh`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    /// `On`, `Off`, or a transition between.
    power_state: &'static str,
    /// The hardware and firmware found.
    inventory: Inventory,
    /// The newest entries of the system event log, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<LogEntry>,
    /// Parts that could not be read, and why. They are missing from the inventory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<Unread>,
}

pub(super) struct InventoryRefresh {
    pub(super) redfish: Redfish,
}

impl Action for InventoryRefresh {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "inventory.refresh";
    const SUMMARY: &'static str = "Reads a server's hardware, firmware, health and event log.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = false;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, _input: Input) -> Result<Output, ActionError> {
        let system = self.redfish.open(context).await?;
        let found = inventory::read(&system).await?;
        Ok(Output {
            power_state: system.power_state().as_str(),
            inventory: found.inventory,
            events: found.events,
            unread: found.unread,
        })
    }
}
