//! The twin of `host.wait`: a host is reached over its own network, whatever its BMC does.

use super::Twin;
use crate::{latency::INSTALL, simulation::Machines, state::Host};
use quarterdeck_providers::{
    ActionContext, ActionError,
    host::wait::{HostWait, Input, Output, silent},
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often a host is looked for that has not begun to start.
const LOOK: Duration = Duration::from_secs(5);
/// It says that nobody came rather than being stopped.
const BEFORE_THE_END: Duration = Duration::from_millis(500);

impl Twin for HostWait {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: Input,
    ) -> Result<Output, ActionError> {
        let address = input.address(context)?;
        let target = context.require_target()?;
        let bmc = target.pointer("/spec/bmc/address").and_then(Value::as_str).unwrap_or_default();
        let contact = machines.contact(bmc);
        let installs = target.pointer("/status/phase").is_some_and(|phase| phase == "Provisioning");
        let last = Instant::from_std(context.deadline);
        let last = last.checked_sub(BEFORE_THE_END).unwrap_or(last);
        let from_now = machines.latency.scaled(INSTALL.draw(&mut contact.dice.clone()));
        loop {
            let now = Instant::now();
            let up = contact.state(|state| {
                let host = &mut state.rest().host;
                // The machines outlive the process, but their state here does not.
                if host.is_none() && installs {
                    host.get_or_insert_with(Host::from_before).up = Some(now + from_now);
                }
                host.as_ref().and_then(|host| host.up)
            });
            match up {
                Some(at) if at <= now => return Ok(Output { address }),
                _ if now >= last => return Err(silent(&address, input.port, "No route to host")),
                Some(at) => sleep_until(at.min(last)).await,
                None => sleep_until((now + LOOK).min(last)).await,
            }
        }
    }
}
