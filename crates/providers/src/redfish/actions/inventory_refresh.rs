//! `inventory.refresh`: reads what is in the machine. Changes nothing.

use quarterdeck_model::inventory::Inventory;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::Redfish;
use super::super::inventory::{self, InventoryReport};
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError};

/// Input of `inventory.refresh`: nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {}

/// The action, at real BMCs.
pub struct InventoryRefresh {
    pub(super) redfish: Redfish,
}

impl Action for InventoryRefresh {
    type Input = Input;
    type Output = InventoryReport;

    const NAME: &'static str = "inventory.refresh";
    const SUMMARY: &'static str = "Reads a server's hardware, firmware, health and event log.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = false;
    const DISRUPTIVE: bool = false;

    fn observed(output: &InventoryReport) -> Option<Map<String, Value>> {
        let mut seen = super::power_seen(&output.power_state);
        seen.insert("inventory".into(), serde_json::to_value(&output.inventory).ok()?);
        Some(seen)
    }

    async fn perform(
        &self,
        context: &ActionContext,
        _input: Input,
    ) -> Result<InventoryReport, ActionError> {
        let system = self.redfish.open(context).await?;
        let mut found = inventory::read(&system).await?;
        let known =
            context.target.as_deref().and_then(|target| target.pointer("/status/inventory"));
        if let Some(known) = known.and_then(|known| Inventory::deserialize(known).ok()) {
            inventory::keep_unread(&mut found.inventory, known);
        }
        Ok(InventoryReport {
            power_state: system.power_state().as_str().to_owned(),
            unread: found.inventory.unread.clone(),
            inventory: found.inventory,
            events: found.events,
        })
    }
}
