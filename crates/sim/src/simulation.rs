//! The machines of one seed: the way in for whoever sets up a plane, and the hooks of tests.

use crate::{
    actions::{self, config::Converged},
    addresses::Addresses,
    faults::{ByHand, Fault, Troubles},
    fleet::Fleet,
    latency::{Latency, WEDGE},
    outages::{self, Cause, Outage, Place},
    random::{Dice, name},
    state::{Power, States},
};
use quarterdeck_providers::Catalog;
use std::{
    net::Ipv4Addr,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::time::Instant;

/// What is drawn for a machine, for each call of it, and when a test asks, are sequences of their own.
const MACHINE: u64 = 11;
const CALL: u64 = 12;
const HAND: u64 = 13;
const RESTORE: u64 = 14;

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

/// All simulated machines of a process. Cloning shares them.
#[derive(Clone)]
pub struct Simulation(pub(crate) Arc<Machines>);

pub(crate) struct Machines {
    pub(crate) seed: u64,
    pub(crate) latency: Latency,
    pub(crate) states: States,
    /// What was cut by hand, by cause and place.
    cuts: States<Cut>,
    /// Where there are machines; at any address when nothing is said.
    fleet: Option<Addresses>,
    began: Instant,
    /// What configuration tools have brought machines to.
    pub(crate) converged: Arc<Converged>,
    /// Who looks at every effect.
    pub(crate) witness: OnceLock<Witness>,
}

#[derive(Default)]
struct Cut {
    times: u64,
    outage: Option<Outage>,
}

impl Simulation {
    /// The machines that follow from `seed`. There is one at any address, and nothing befalls many at once but by hand.
    #[must_use]
    pub fn new(seed: u64, latency: Latency) -> Self {
        Self::with(seed, latency, None)
    }

    /// The machines of a fleet, and none elsewhere. Racks lose their power and their switch, and halls a feed.
    #[must_use]
    pub fn of(fleet: Fleet, latency: Latency) -> Self {
        Self::with(fleet.seed(), latency, Some(fleet.addresses()))
    }

    fn with(seed: u64, latency: Latency, fleet: Option<Addresses>) -> Self {
        Self(Arc::new(Machines {
            seed,
            latency,
            states: States::default(),
            cuts: States::default(),
            fleet,
            began: Instant::now(),
            converged: Arc::default(),
            witness: OnceLock::new(),
        }))
    }

    /// Has everything looked at that is done to a machine. Only the first witness is ever asked.
    pub fn witnessed_by(&self, witness: impl Fn(&Effect<'_>) + Send + Sync + 'static) {
        let _ = self.0.witness.set(Box::new(witness));
    }

    /// Whether the machine at `address` is one of these.
    #[must_use]
    pub fn has(&self, address: &str) -> bool {
        self.0.has(address)
    }

    /// The name of the BMC that is served at an address of the loopback network, if there is one.
    #[must_use]
    pub fn bmc_at(&self, address: Ipv4Addr) -> Option<String> {
        self.0.fleet.as_ref()?.name(address)
    }

    /// Whether the machine at `address` is on; none while it turns on or off.
    #[must_use]
    pub fn is_on(&self, address: &str) -> Option<bool> {
        match self.0.contact(address).state(|state| state.power(Instant::now()).0) {
            Power::On => Some(true),
            Power::Off => Some(false),
            Power::PoweringOn | Power::PoweringOff => None,
        }
    }

    /// Whether what runs on the machine at `address` is there for others: what is not known to have started here, of a
    /// machine that is on, has been since before.
    #[must_use]
    pub fn host_is_up(&self, address: &str) -> bool {
        let now = Instant::now();
        self.0.contact(address).state(|state| {
            let on = state.power(now).0 == Power::On;
            let host = state.rest.as_ref().and_then(|rest| rest.host.as_ref());
            on && host.is_none_or(|host| host.up.is_some_and(|at| at <= now))
        })
    }

    /// Whether the rack of that name has no power now.
    #[must_use]
    pub fn is_dark(&self, rack: &str) -> bool {
        let now = Instant::now();
        let place = Place::of_rack(rack);
        place.and_then(|place| self.0.power_outage(place, now)).is_some_and(|it| it.is_on(now))
    }

    /// From now on and for `time`, as it passes here, what the machine at `address` shares with others is away.
    pub fn cut(&self, address: &str, cause: Cause, time: Duration) {
        let name = self.0.name_of(address);
        let Some(place) = Place::of(&name) else { return };
        let from = Instant::now();
        self.0.cuts.with(cause.key(place), |cut| {
            cut.times += 1;
            let id = Dice::of(&[cause.key(place), cut.times]).any() | 1;
            cut.outage = Some(Outage { id, from, until: from + time });
        });
    }

    /// Puts the twins of the Redfish actions into a catalogue, in place of the real ones.
    pub fn add_actions(&self, catalog: &mut Catalog) {
        actions::add(self, catalog);
    }

    /// Puts twins beside the real actions of a catalogue: targets of this simulation go to them, others to the real ones.
    pub fn add_beside(&self, catalog: &mut Catalog) {
        actions::add_beside(self, catalog, false);
    }

    /// The same where the BMCs are served over a network, so that the real actions act on them: only what waits for a
    /// host is a twin's.
    pub fn add_hosts_beside(&self, catalog: &mut Catalog) {
        actions::add_beside(self, catalog, true);
    }

    /// From now on, each call of the BMC at `address` meets this fault and no other. A wedge begins now and
    /// ends by itself.
    pub fn force(&self, address: &str, fault: Fault) {
        let machine = self.0.number_of(address);
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
        self.0.states.with(self.0.number_of(address), |state| {
            state.by_hand = ByHand::Healthy;
            state.wedged_until = None;
        });
    }

    /// How often something was done to the machine at `address`: commands for its power, settings, media.
    #[must_use]
    pub fn effects(&self, address: &str) -> u32 {
        self.0.states.with(self.0.number_of(address), |state| state.effects)
    }

    /// What is wrong with the machine at `address` itself, whatever befalls single calls.
    #[must_use]
    pub fn faults(&self, address: &str) -> Vec<Fault> {
        let machine = self.0.number_of(address);
        let by_hand = self.0.states.with(machine, |state| state.by_hand);
        self.0.troubles(machine, by_hand).all()
    }
}

impl Machines {
    pub(crate) fn has(&self, address: &str) -> bool {
        self.fleet.is_none() || Place::of(&self.name_of(address)).is_some()
    }

    /// What a BMC is called, which all of its machine follows from, at an address as Servers have it: the name itself, or
    /// where it is served.
    pub(crate) fn name_of(&self, address: &str) -> String {
        let authority = authority(address);
        let host = authority.split_once(':').map_or(authority, |(host, _port)| host);
        let served = host.parse().ok().and_then(|host| self.fleet.as_ref()?.name(host));
        served.unwrap_or_else(|| authority.to_owned())
    }

    pub(crate) fn number_of(&self, address: &str) -> u64 {
        name(&self.name_of(address))
    }

    /// What is wrong with a machine itself.
    pub(crate) fn troubles(&self, machine: u64, by_hand: ByHand) -> Troubles {
        Troubles::of_machine(by_hand, &mut self.dice(machine, MACHINE))
    }

    /// The sequence of one call of a machine.
    pub(crate) fn dice_of_call(&self, machine: u64, call: u32) -> Dice {
        Dice::of(&[self.seed, machine, CALL, u64::from(call)])
    }

    /// The sequence of a machine whose power comes back.
    pub(crate) fn dice_of_restore(&self, machine: u64, outage: Outage) -> Dice {
        Dice::of(&[self.seed, machine, RESTORE, outage.id])
    }

    /// The last time that both feeds of a rack or its own power were away.
    pub(crate) fn power_outage(&self, place: Place<'_>, now: Instant) -> Option<Outage> {
        let rack = self.outage(Cause::RackPower, place.rack, now);
        let [one, other] = place.feeds().map(|feed| self.outage(Cause::PowerFeed, &feed, now));
        let hall = one.zip(other).and_then(|(one, other)| one.both(other));
        [rack, hall].into_iter().flatten().max_by_key(|outage| outage.from)
    }

    /// The last time that something was away at a place.
    pub(crate) fn outage(&self, cause: Cause, place: &str, now: Instant) -> Option<Outage> {
        if let Some(cut) = self.cuts.get(cause.key_of(place), |cut| cut.outage) {
            return Some(cut);
        }
        self.fleet.as_ref()?;
        let age = self.latency.at_machines(now.duration_since(self.began))?;
        let (id, from, until) = outages::last(self.seed, cause, place, age)?;
        let at = |time| self.began + self.latency.scaled(time);
        Some(Outage { id, from: at(from), until: at(until) })
    }

    /// How long the simulation has run, as time passes at machines.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.latency.at_machines(now.duration_since(self.began)).unwrap_or_default()
    }

    fn dice(&self, machine: u64, purpose: u64) -> Dice {
        Dice::of(&[self.seed, machine, purpose])
    }
}

/// `host` or `host:port` of an address as Servers have it.
fn authority(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_scheme, rest)| rest);
    rest.trim_end_matches('/')
}
