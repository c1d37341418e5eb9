//! The twins of the actions at machines, a file for each subject. A twin is the real action with its name, types
//! and flags, and does the work at a simulated machine: what is said of it cannot differ.

mod boot;
mod credentials;
mod disk;
mod firmware;
mod host;
mod inventory;
mod media;
mod power;

use crate::simulation::{Machines, Simulation};
use quarterdeck_providers::{
    Action, ActionContext, ActionError, Catalog, Declared, SecretChange,
    host::wait::HostWait,
    redfish::twin::{
        boot_next::BootNext, boot_order::BootOrder, credentials_apply::CredentialsApply,
        credentials_generate::CredentialsGenerate, disk_erase::DiskErase,
        firmware_update::FirmwareUpdate, firmware_wait::FirmwareWait,
        inventory_refresh::InventoryRefresh, media_eject::MediaEject, media_insert::MediaInsert,
        power_reset::PowerReset, power_set::PowerSet,
    },
};
use serde_json::{Map, Value};
use std::{future::Future, marker::PhantomData};

/// How a real action is done at a simulated machine.
trait Twin: Action {
    fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, ActionError>> + Send;
}

/// The twin of a real action.
struct Simulated<A> {
    simulation: Simulation,
    real: PhantomData<fn() -> A>,
}

impl<A: Twin> Action for Simulated<A> {
    type Input = A::Input;
    type Output = A::Output;

    const NAME: &'static str = A::NAME;
    const SUMMARY: &'static str = A::SUMMARY;
    const TARGET_KINDS: &'static [&'static str] = A::TARGET_KINDS;
    const EFFECTS: bool = A::EFFECTS;
    const DISRUPTIVE: bool = A::DISRUPTIVE;

    fn observed(output: &A::Output) -> Option<Map<String, Value>> {
        A::observed(output)
    }

    fn declared(output: &A::Output) -> Option<Declared> {
        A::declared(output)
    }

    fn kept(output: &A::Output) -> Option<SecretChange> {
        A::kept(output)
    }

    fn perform(
        &self,
        context: &ActionContext,
        input: A::Input,
    ) -> impl Future<Output = Result<A::Output, ActionError>> + Send {
        A::simulate(&self.simulation.0, context, input)
    }
}

pub(crate) fn add(simulation: &Simulation, catalog: &mut Catalog) {
    fn twin<A: Twin>(simulation: &Simulation) -> Simulated<A> {
        Simulated { simulation: simulation.clone(), real: PhantomData }
    }
    catalog
        .add(twin::<BootNext>(simulation))
        .add(twin::<BootOrder>(simulation))
        .add(twin::<CredentialsApply>(simulation))
        .add(twin::<CredentialsGenerate>(simulation))
        .add(twin::<DiskErase>(simulation))
        .add(twin::<FirmwareUpdate>(simulation))
        .add(twin::<FirmwareWait>(simulation))
        .add(twin::<HostWait>(simulation))
        .add(twin::<InventoryRefresh>(simulation))
        .add(twin::<MediaEject>(simulation))
        .add(twin::<MediaInsert>(simulation))
        .add(twin::<PowerReset>(simulation))
        .add(twin::<PowerSet>(simulation));
}
