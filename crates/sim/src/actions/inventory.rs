//! The twin of `inventory.refresh`.

use super::Twin;
use crate::{faults::Fault, latency::INVENTORY, simulation::Machines};
use quarterdeck_providers::{
    ActionContext, ActionError,
    redfish::{
        InventoryReport, LogEntry,
        twin::inventory_refresh::{Input, InventoryRefresh},
    },
};
use tokio::time::Instant;

impl Twin for InventoryRefresh {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        _input: Input,
    ) -> Result<InventoryReport, ActionError> {
        let mut visit = machines.visit(context).await?;
        visit.takes(INVENTORY).await;
        let (power, _until) = visit.state(|state| state.power(Instant::now()));
        let mut inventory = visit.inventory();
        if visit.have(Fault::MissingPart) {
            let module = inventory.memory_modules.pop().and_then(|module| module.bytes);
            let rest = |bytes: u64| bytes.saturating_sub(module.unwrap_or_default());
            inventory.memory_bytes = inventory.memory_bytes.map(rest);
        }
        // A simulated BMC has no clock, so its log tells no times.
        let event = |problem: &quarterdeck_model::inventory::Problem| LogEntry {
            created: None,
            severity: Some(problem.health.clone()),
            message: format!(
                "{}: {}",
                problem.part,
                problem.message.as_deref().unwrap_or("failed")
            ),
            message_id: None,
        };
        Ok(InventoryReport {
            power_state: power.as_str().to_owned(),
            events: inventory.problems.iter().map(event).collect(),
            inventory,
            unread: Vec::new(),
        })
    }
}
