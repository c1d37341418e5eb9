//! The twin of `inventory.refresh`.

use super::Twin;
use crate::{contact::Event, latency::INVENTORY, simulation::Machines};
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
        let inventory = visit.inventory();
        let event = |event: Event| LogEntry {
            created: Some(event.created.to_string()),
            severity: Some(event.severity),
            message: event.message,
            message_id: None,
        };
        let mut events: Vec<LogEntry> = visit.events().into_iter().map(event).collect();
        events.sort_by(|a, b| b.created.cmp(&a.created));
        Ok(InventoryReport {
            power_state: power.as_str().to_owned(),
            events,
            inventory,
            unread: Vec::new(),
        })
    }
}
