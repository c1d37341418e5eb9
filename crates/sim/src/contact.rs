//! One machine as whoever reaches it finds it: what is drawn for this exchange, what is wrong, where its power is. What an
//! action does there is a visit (`visit.rs`), what a client of its BMC does a request (`redfish/`).

use crate::{
    faults::{Fault, Troubles},
    hardware::{Hardware, password},
    latency::{BOOT, COMMAND, Delay, INSTALL, POWER_ON, SLOW, SLOW_HOST, WEDGE},
    outages::{Cause, Place},
    random::{Dice, name},
    simulation::{Effect, Machines},
    state::{Start, State},
};
use jiff::Timestamp;
use quarterdeck_model::inventory::{Inventory, Problem};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The request that changes its power, and interrupts what runs on the machine.
pub(crate) const RESET: &str = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset";

/// A machine that is reached, or would be.
pub(crate) struct Contact<'m> {
    pub(crate) machines: &'m Machines,
    machine: u64,
    /// What this exchange draws from.
    pub(crate) dice: Dice,
    troubles: Troubles,
    /// Name of its BMC.
    pub(crate) name: String,
    pub(crate) hardware: Hardware,
}

/// An entry of a BMC's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) created: Timestamp,
    pub(crate) severity: String,
    pub(crate) message: String,
}

/// Whether a BMC can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It answers.
    Answers,
    /// Nobody is there, or the way there is cut.
    Away,
    /// It takes connections and says nothing.
    Wedged,
}

/// What an exchange is, as faults befall it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// All requests of an action.
    Call,
    /// One request.
    Request,
}

impl Machines {
    /// The machine whose BMC is at an address, apart from any exchange with it.
    pub(crate) fn contact(&self, address: &str) -> Contact<'_> {
        let name_of = self.name_of(address);
        let machine = name(&name_of);
        let by_hand = self.states.with(machine, |state| state.by_hand);
        let hardware = Hardware::of(self.seed, &name_of);
        let (dice, troubles) = (self.dice_of_call(machine, 0), self.troubles(machine, by_hand));
        Contact { machines: self, machine, dice, troubles, name: name_of, hardware }
    }

    /// The next exchange with the BMC at an address, of a machine that was seen on or off before, if it was.
    pub(crate) fn exchange(
        &self,
        address: &str,
        exchange: Exchange,
        seen_on: Option<bool>,
    ) -> Contact<'_> {
        let mut contact = self.contact(address);
        let (call, by_hand) = self.states.with(contact.machine, |state| {
            state.on = state.on.or(seen_on);
            state.calls = state.calls.wrapping_add(1);
            (state.calls, state.by_hand)
        });
        contact.dice = self.dice_of_call(contact.machine, call);
        let troubles = contact.troubles;
        contact.troubles = troubles.and_of(exchange, by_hand, &mut contact.dice);
        contact
    }
}

impl Contact<'_> {
    /// Whether its BMC can be reached now; one that wedges in this exchange does so here.
    pub(crate) fn reach(&mut self) -> Reach {
        let now = Instant::now();
        let wedge = WEDGE.draw(&mut self.dice);
        if self.is_away() {
            return Reach::Away;
        }
        let begins = self.have(Fault::WedgedBmc);
        let until = now + self.machines.latency.scaled(wedge);
        self.state(|state| {
            if begins && state.wedged_until.is_none_or(|until| until <= now) {
                state.wedged_until = Some(until);
            }
            let wedged = begins || state.wedged_until.is_some_and(|until| until > now);
            if wedged { Reach::Wedged } else { Reach::Answers }
        })
    }

    /// Whether nobody answers at its BMC's address: nobody ever did, it restarts, or the way there is cut.
    pub(crate) fn is_away(&self) -> bool {
        let now = Instant::now();
        let restarts =
            |state: &mut State| state.rest.as_ref().is_some_and(|rest| rest.service.restarts(now));
        self.have(Fault::DeadBmc) || self.is_cut_off(now) || self.state(restarts)
    }

    /// It has no power, or the network between is away.
    fn is_cut_off(&self, now: Instant) -> bool {
        let Some(place) = Place::of(&self.name) else { return false };
        let power = self.machines.power_outage(place, now);
        let switch = self.machines.outage(Cause::BmcSwitch, place.rack, now);
        [power, switch].into_iter().flatten().any(|outage| outage.is_on(now))
    }

    /// The serial number that the BMC shows.
    pub(crate) fn serial(&self) -> String {
        if self.have(Fault::WrongSerial) {
            return self.hardware.serial_of_another();
        }
        self.hardware.serial()
    }

    /// Everything that the BMC shows.
    pub(crate) fn inventory(&self) -> Inventory {
        let mut inventory = self.hardware.inventory(self.serial());
        if self.have(Fault::MissingPart) {
            let module = inventory.memory_modules.pop().and_then(|module| module.bytes);
            let rest = |bytes: u64| bytes.saturating_sub(module.unwrap_or_default());
            inventory.memory_bytes = inventory.memory_bytes.map(rest);
        }
        self.state(|state| {
            if let Some(rest) = &state.rest {
                rest.service.show_firmware(&mut inventory);
            }
        });
        let dark = self.dark_supplies();
        if !dark.is_empty() {
            inventory.health = Some("Critical".to_owned());
        }
        inventory.problems.extend(dark.into_iter().map(|supply| Problem {
            part: format!("PSU {supply}"),
            health: "Critical".to_owned(),
            message: Some(INPUT_LOST.to_owned()),
        }));
        inventory
    }

    /// What the BMC has in its log, oldest first, with the times that its clock showed then.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        if self.have(Fault::ClockJumps) {
            events.push(Event {
                created: Timestamp::UNIX_EPOCH,
                severity: "Warning".to_owned(),
                message: "System clock: the battery is low, and the time was lost".to_owned(),
            });
        }
        events.extend(self.inventory().problems.into_iter().map(|problem| Event {
            created: self.hardware.built(),
            severity: problem.health,
            message: format!(
                "{}: {}",
                problem.part,
                problem.message.as_deref().unwrap_or("failed")
            ),
        }));
        events
    }

    /// The password that the account was delivered with.
    pub(crate) fn first_password(&self) -> String {
        password(self.machines.seed)
    }

    /// Numbers of the power supplies whose feed is away.
    pub(crate) fn dark_supplies(&self) -> Vec<u32> {
        let now = Instant::now();
        let Some(place) = Place::of(&self.name) else { return Vec::new() };
        let feeds = (1..).zip(place.feeds());
        let away = feeds.filter(|(_, feed)| {
            let outage = self.machines.outage(Cause::PowerFeed, feed, now);
            outage.is_some_and(|outage| outage.is_on(now))
        });
        away.map(|(number, _)| number).collect()
    }

    /// Whether the exchange meets this.
    pub(crate) fn have(&self, fault: Fault) -> bool {
        self.troubles.have(fault)
    }

    /// Looks at the machine, or changes it. What an outage has done to it since is seen first.
    pub(crate) fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let now = Instant::now();
        let place = Place::of(&self.name);
        let outage = place.and_then(|place| self.machines.power_outage(place, now));
        let Some(outage) = outage else {
            return self.machines.states.with(self.machine, look);
        };
        let mut dice = self.machines.dice_of_restore(self.machine, outage);
        let latency = self.machines.latency;
        let on_at = outage.until + latency.scaled(POWER_ON.draw(&mut dice));
        let start = self.start_from(&mut dice);
        let policy = self.hardware.power_restore_policy();
        self.machines.states.with(self.machine, |state| {
            state.suffer(outage, now, |was_on| policy.turns_on(was_on), on_at, start);
            look(state)
        })
    }

    /// How its operating system comes up when it is turned on now.
    pub(crate) fn start(&mut self) -> Start {
        let mut dice = self.dice.clone();
        let start = self.start_from(&mut dice);
        self.dice = dice;
        start
    }

    fn start_from(&self, dice: &mut Dice) -> Start {
        Start {
            boot: self.drawn_of_host(BOOT, dice),
            install: self.drawn_of_host(INSTALL, dice),
            whole: !self.have(Fault::ImageCorrupt),
            alive: !self.have(Fault::DeadHost),
        }
    }

    /// Draws how long something takes at this machine, as time passes here.
    pub(crate) fn draw(&mut self, delay: Delay) -> Duration {
        let drawn = delay.draw(&mut self.dice);
        let drawn = if self.have(Fault::SlowBmc) { drawn.mul_f64(SLOW) } else { drawn };
        self.machines.latency.scaled(drawn)
    }

    fn drawn_of_host(&self, delay: Delay, dice: &mut Dice) -> Duration {
        let drawn = delay.draw(dice);
        let drawn = if self.have(Fault::SlowHost) { drawn.mul_f64(SLOW_HOST) } else { drawn };
        self.machines.latency.scaled(drawn)
    }

    /// A time at the machine as it passes here.
    pub(crate) fn scaled(&self, time: Duration) -> Duration {
        self.machines.latency.scaled(time)
    }

    /// Lets that long pass.
    pub(crate) async fn takes(&mut self, delay: Delay) {
        let time = self.draw(delay);
        pause(time).await;
    }

    pub(crate) async fn pass(&self, time: Duration) {
        pause(self.scaled(time)).await;
    }

    /// Does what `request` asks for, after the time that takes. `key` is of the step that asks, where that is known.
    pub(crate) async fn act<T>(
        &mut self,
        request: &str,
        key: &str,
        change: impl FnOnce(&mut State) -> T,
    ) -> T {
        self.takes(COMMAND).await;
        let done = self.state(|state| {
            state.effects = state.effects.saturating_add(1);
            change(state)
        });
        if let Some(witness) = self.machines.witness.get() {
            witness(&Effect { address: &self.name, request, disrupts: request == RESET, key });
        }
        done
    }
}

/// What is said of a power supply without power.
pub(crate) const INPUT_LOST: &str = "the input voltage is lost";

/// A pause of nothing is none: the timer would make a millisecond of it.
async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}
