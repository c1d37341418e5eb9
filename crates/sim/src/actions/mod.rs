//! The twins of the actions at machines, a file for each subject. A twin is the real action with its name, types
//! and flags, and does the work at a simulated machine: what is said of it cannot differ.

mod agent;
pub(crate) mod boot;
pub(crate) mod config;
mod credentials;
mod disk;
mod firmware;
mod host;
mod inventory;
pub(crate) mod media;
mod power;

use crate::simulation::{Machines, Simulation};
use async_trait::async_trait;
use quarterdeck_model::ActionSignature;
use quarterdeck_providers::{
    Action, ActionContext, ActionError, Catalog, Declared, DynAction, Performed, SecretChange,
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
use std::{future::Future, marker::PhantomData, sync::Arc};

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

/// Twins in place of the real actions, whatever they are aimed at.
pub(crate) fn add(simulation: &Simulation, catalog: &mut Catalog) {
    add_twins(simulation, catalog);
    catalog.add(twin::<HostWait>(simulation));
    agent::add(simulation, catalog);
    config::add(simulation, catalog);
}

fn add_twins(simulation: &Simulation, catalog: &mut Catalog) {
    catalog
        .add(twin::<BootNext>(simulation))
        .add(twin::<BootOrder>(simulation))
        .add(twin::<CredentialsApply>(simulation))
        .add(twin::<CredentialsGenerate>(simulation))
        .add(twin::<DiskErase>(simulation))
        .add(twin::<FirmwareUpdate>(simulation))
        .add(twin::<FirmwareWait>(simulation))
        .add(twin::<InventoryRefresh>(simulation))
        .add(twin::<MediaEject>(simulation))
        .add(twin::<MediaInsert>(simulation))
        .add(twin::<PowerReset>(simulation))
        .add(twin::<PowerSet>(simulation));
}

fn twin<A: Twin>(simulation: &Simulation) -> Simulated<A> {
    Simulated { simulation: simulation.clone(), real: PhantomData }
}

/// Twins beside the real actions: a target whose BMC is simulated goes to the twin, any other to the real one. With
/// `bmcs`, BMCs are met over the network by the real actions, and only what waits for a host has a twin.
pub(crate) fn add_beside(simulation: &Simulation, catalog: &mut Catalog, bmcs: bool) {
    let mut twins = Catalog::new();
    twins.add(twin::<HostWait>(simulation));
    agent::add(simulation, &mut twins);
    config::add(simulation, &mut twins);
    if !bmcs {
        add_twins(simulation, &mut twins);
    }
    for signature in twins.signatures() {
        let pair = twins.get(signature.name).zip(catalog.get(signature.name));
        let Some((twin, real)) = pair else { continue };
        let beside =
            Beside { simulation: simulation.clone(), twin: twin.clone(), real: real.clone() };
        catalog.put(signature.name, Arc::new(beside));
    }
}

/// An action that is done by its twin where the machine is simulated.
struct Beside {
    simulation: Simulation,
    twin: Arc<dyn DynAction>,
    real: Arc<dyn DynAction>,
}

#[async_trait]
impl DynAction for Beside {
    fn signature(&self) -> ActionSignature {
        self.real.signature()
    }

    async fn perform(
        &self,
        context: &ActionContext,
        input: Value,
    ) -> Result<Performed, ActionError> {
        let target = context.target.as_deref();
        let address = target.and_then(|target| target.pointer("/spec/bmc/address")?.as_str());
        let simulated = address.is_some_and(|address| self.simulation.has(address))
            || target.is_some_and(agent::is_simulated);
        let action = if simulated { &self.twin } else { &self.real };
        action.perform(context, input).await
    }
}
