//! The machines of one seed: the way in for whoever sets up a plane, and the hooks of tests.

use crate::{
    actions,
    faults::{ByHand, Fault, Troubles},
    latency::{Latency, WEDGE},
    random::{Dice, name},
    state::{Power, State, States},
};
use quarterdeck_providers::Catalog;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// What is drawn for a machine, for each call of it, and when a test asks, are sequences of their own.
const MACHINE: u64 = 11;
const CALL: u64 = 12;
const HAND: u64 = 13;

/// Something that is done to a machine, at the moment when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect<'a> {
    /// Address of its BMC.
    pub address: &'a str,
    /// The request that has this effect.
    pub request: &'a str,
    /// What runs on the machine is interrupted.
    pub disrupts: bool,
    /// Idempotency key of the action that sends it.
    pub key: &'a str,
}

type Witness = Box<dyn Fn(&Effect<'_>) + Send + Sync>;

/// All simulated machines of a process. There is one at any address. Cloning shares them.
#[derive(Clone)]
pub struct Simulation(pub(crate) Arc<Machines>);

pub(crate) struct Machines {
    pub(crate) seed: u64,
    pub(crate) latency: Latency,
    pub(crate) states: States,
    /// Who looks at every effect.
    pub(crate) witness: OnceLock<Witness>,
}

impl Simulation {
    /// The machines that follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, latency: Latency) -> Self {
        let (states, witness) = (States::default(), OnceLock::new());
        Self(Arc::new(Machines { seed, latency, states, witness }))
    }

    /// Has everything looked at that is done to a machine. Only the first witness is ever asked.
    pub fn witnessed_by(&self, witness: impl Fn(&Effect<'_>) + Send + Sync + 'static) {
        let _ = self.0.witness.set(Box::new(witness));
    }

    /// Whether the machine at `address` is on; none while it turns on or off.
    #[must_use]
    pub fn is_on(&self, address: &str) -> Option<bool> {
        let power = |state: &mut State| state.power(Instant::now()).0;
        match self.0.states.with(name(authority(address)), power) {
            Power::On => Some(true),
            Power::Off => Some(false),
            Power::PoweringOn | Power::PoweringOff => None,
        }
    }

    /// Puts the twins of the Redfish actions into a catalogue, in place of the real ones.
    pub fn add_actions(&self, catalog: &mut Catalog) {
        actions::add(self, catalog);
    }

    /// From now on, each call of the BMC at `address` meets this fault and no other. A wedge begins now and
    /// ends by itself.
    pub fn force(&self, address: &str, fault: Fault) {
        let machine = name(authority(address));
        let wedge = self.0.latency.scaled(WEDGE.draw(&mut self.0.dice(machine, HAND)));
        self.0.states.with(machine, |state| {
            state.by_hand = ByHand::Only(fault);
            if fault == Fault::WedgedBmc {
                state.by_hand = ByHand::Healthy;
                state.wedged_until = Some(Instant::now() + wedge);
            }
        });
    }

    /// From now on, calls of the BMC at `address` meet no fault.
    pub fn heal(&self, address: &str) {
        self.0.states.with(name(authority(address)), |state| {
            state.by_hand = ByHand::Healthy;
            state.wedged_until = None;
        });
    }

    /// How often something was done to the machine at `address`: commands for its power, settings, media.
    #[must_use]
    pub fn effects(&self, address: &str) -> u32 {
        self.0.states.with(name(authority(address)), |state| state.effects)
    }

    /// What is wrong with the machine at `address` itself, whatever befalls single calls.
    #[must_use]
    pub fn faults(&self, address: &str) -> Vec<Fault> {
        let machine = name(authority(address));
        let by_hand = self.0.states.with(machine, |state| state.by_hand);
        self.0.troubles(machine, by_hand).all()
    }
}

impl Machines {
    /// What is wrong with a machine itself.
    pub(crate) fn troubles(&self, machine: u64, by_hand: ByHand) -> Troubles {
        Troubles::of_machine(by_hand, &mut self.dice(machine, MACHINE))
    }

    /// The sequence of one call of a machine.
    pub(crate) fn dice_of_call(&self, machine: u64, call: u32) -> Dice {
        Dice::of(&[self.seed, machine, CALL, u64::from(call)])
    }

    fn dice(&self, machine: u64, purpose: u64) -> Dice {
        Dice::of(&[self.seed, machine, purpose])
    }
}

/// `host` or `host:port` of an address as Servers have it.
pub(crate) fn authority(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_scheme, rest)| rest);
    rest.trim_end_matches('/')
}
