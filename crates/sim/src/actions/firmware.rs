//! The twins of `firmware.update` and `firmware.wait`. Images are never fetched.

use super::Twin;
use crate::{latency::FLASH, simulation::Machines, visit::Visit};
use quarterdeck_model::kinds::FirmwareActivation;
use quarterdeck_providers::{
    ActionContext, ActionError,
    redfish::{
        errors,
        twin::{
            firmware_update::{self, FirmwareUpdate},
            firmware_wait::{self, FirmwareWait},
        },
    },
};

const UPDATE: &str = "POST /redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate";

impl Twin for FirmwareUpdate {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: firmware_update::Input,
    ) -> Result<firmware_update::Output, ActionError> {
        let _checksum = input.check()?;
        let mut visit = machines.visit(context).await?;
        let firmware_update::Input { component, version: wanted, activation, .. } = input;
        let before = version(&visit, &component)?;
        let output = |version: Option<String>, changed, pending| firmware_update::Output {
            component: component.clone(),
            wanted: wanted.clone(),
            before: before.clone(),
            version,
            changed,
            pending,
        };
        if before.as_ref() == Some(&wanted) {
            return Ok(output(before.clone(), false, false));
        }
        let waits = activation == FirmwareActivation::HostReset;
        let written = visit.state(|state| {
            state.rest.as_ref().is_some_and(|rest| rest.service.is_staged(&component, &wanted))
        });
        if !written {
            let (name, version) = (component.clone(), wanted.clone());
            visit
                .command(UPDATE, |state| {
                    state.rest().service.write_firmware(name, version, waits);
                })
                .await?;
            visit.takes(FLASH).await;
        }
        Ok(output(version(&visit, &component)?, true, waits))
    }
}

impl Twin for FirmwareWait {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: firmware_wait::Input,
    ) -> Result<firmware_wait::Output, ActionError> {
        let visit = machines.visit(context).await?;
        let firmware_wait::Input { component, version: wanted } = input;
        let seen = version(&visit, &component)?;
        if seen.as_ref() != Some(&wanted) {
            // Nothing changes it while it is only looked at.
            let why = || errors::not_that_firmware(&component, &wanted, seen.as_deref());
            visit.wait(None, why).await?;
        }
        Ok(firmware_wait::Output { version: wanted })
    }
}

/// The version of a component that runs.
fn version(visit: &Visit<'_>, component: &str) -> Result<Option<String>, ActionError> {
    let firmware = visit.inventory().firmware;
    if let Some(found) = firmware.iter().find(|it| it.name == component) {
        return Ok(found.version.clone());
    }
    let names: Vec<String> = firmware.into_iter().map(|it| it.name).collect();
    Err(errors::no_such_firmware(&visit.system(), component, &names))
}
