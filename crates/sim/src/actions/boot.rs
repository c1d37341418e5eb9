//! The twins of `boot.next` and `boot.order`.

use super::Twin;
use crate::{
    latency::SETTLE,
    simulation::Machines,
    state::{Next, State},
};
use quarterdeck_providers::{
    ActionContext, ActionError,
    redfish::twin::{
        BootOption, Device,
        boot_next::{self, BootNext},
        boot_order::{self, BootOrder},
    },
};

const PATCH: &str = "PATCH /redfish/v1/Systems/1";

/// What the firmware of every machine offers, in the order it is made with.
pub(crate) const MENU: [Device; 5] =
    [Device::Disk, Device::Network, Device::HttpNetwork, Device::VirtualMedia, Device::Usb];

impl Twin for BootNext {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: boot_next::Input,
    ) -> Result<boot_next::Output, ActionError> {
        input.check()?;
        let mut visit = machines.visit(context).await?;
        let target = input.device.target();
        let shown = visit.state(|state| state.rest.as_ref().and_then(|rest| rest.next.clone()));
        if stands(&input, shown.as_ref()) {
            return Ok(boot_next::Output { target, changed: false, stays: false });
        }
        let boot_next::Input { device, mode, http_boot_uri } = input;
        let next = (device != Device::Default).then_some(Next { device, mode, http_boot_uri });
        visit.command(PATCH, |state| state.rest().next = next).await?;
        visit.takes(SETTLE).await;
        Ok(boot_next::Output { target, changed: true, stays: false })
    }
}

/// What the firmware calls an option.
pub(crate) fn option(number: u32) -> String {
    format!("Boot{number:04}")
}

/// Whether what is wanted is what the BMC shows. What is left out fits anything.
fn stands(wanted: &boot_next::Input, shown: Option<&Next>) -> bool {
    let Some(shown) = shown else { return wanted.device == Device::Default };
    let mode = wanted.mode.is_none() || wanted.mode == shown.mode;
    let uri = wanted.http_boot_uri.is_none() || wanted.http_boot_uri == shown.http_boot_uri;
    wanted.device == shown.device && mode && uri
}

impl Twin for BootOrder {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: boot_order::Input,
    ) -> Result<boot_order::Output, ActionError> {
        let mut visit = machines.visit(context).await?;
        let options = MENU.iter().zip(1..);
        let mut options: Vec<BootOption> =
            options.map(|(device, number)| BootOption::new(option(number), *device)).collect();
        let shown = visit
            .state(|state| state.rest.as_ref().map(|rest| rest.order.clone()).unwrap_or_default());
        // Before anybody has set an order there is none, and the sort keeps them as they were made.
        options.sort_by_key(|option| shown.iter().position(|shown| *shown == option.reference));
        let order = input.order(&options, &visit.system())?;
        if options.iter().map(|option| &option.reference).eq(&order) {
            return Ok(boot_order::Output { order, changed: false, pending: false });
        }
        let pending = visit.hardware.order_waits();
        if pending && visit.state(|state| state.rest().service.next_order == order) {
            return Ok(boot_order::Output { order, changed: false, pending });
        }
        let set = order.clone();
        let change = |state: &mut State| state.rest().set_order(set, pending);
        visit.command(PATCH, change).await?;
        visit.takes(SETTLE).await;
        Ok(boot_order::Output { order, changed: true, pending })
    }
}
