//! The twin of `disk.erase`.

use super::Twin;
use crate::{latency::ERASE, simulation::Machines, state::Host};
use quarterdeck_providers::{
    ActionContext, ActionError,
    redfish::twin::disk_erase::{self, DiskErase},
};

/// The command to the first of them; the others follow.
const ERASE_FIRST: &str = "POST /redfish/v1/Systems/1/Storage/1/Drives/1/Actions/Drive.SecureErase";

impl Twin for DiskErase {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        _: disk_erase::Input,
    ) -> Result<disk_erase::Output, ActionError> {
        let mut visit = machines.visit(context).await?;
        visit
            .command(ERASE_FIRST, |state| {
                state.rest().host = Some(Host::default());
            })
            .await?;
        visit.takes(ERASE).await;
        let disks = visit.hardware.inventory(visit.serial()).drives;
        Ok(disk_erase::Output { erased: disks.into_iter().map(|disk| disk.id).collect() })
    }
}
