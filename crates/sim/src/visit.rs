//! One call at one BMC: what every action does first, what it may meet, and how it sends a command. The order
//! is that of the real provider: reach it, log in, make sure of the machine, and only then act.

use crate::{
    faults::{Fault, Troubles},
    hardware::{Hardware, USER, password},
    latency::{COMMAND, Delay, NOBODY_THERE, OPEN, SLOW, SLOW_HOST, WEDGE},
    random::{Dice, name},
    simulation::{Effect, Machines},
    state::State,
};
use quarterdeck_model::inventory::Inventory;
use quarterdeck_providers::{
    ActionContext, ActionError,
    redfish::{
        errors,
        twin::{Credentials, POLL_MAX, REQUEST_TIMEOUT, Target, TransportError, same},
    },
};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// What a BMC says to a wrong password (DSP2065, Base.NoValidSession).
const NO_SESSION: &str = "There is no valid session established with the implementation.";
/// The request that is sent first, and the one that reads the system.
const ROOT: &str = "GET /redfish/v1/";
/// The request that changes its power, and interrupts what runs on the machine.
pub(crate) const RESET: &str = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
/// Id of the one system of each BMC.
const SYSTEM: &str = "1";

/// A call of an action that has reached its machine.
pub(crate) struct Visit<'m> {
    machines: &'m Machines,
    machine: u64,
    /// What this call draws from.
    pub(crate) dice: Dice,
    troubles: Troubles,
    authority: String,
    key: String,
    deadline: Instant,
    pub(crate) hardware: Hardware,
}

impl Machines {
    /// Reaches the machine that the call is aimed at, and makes sure that it is the one declared.
    pub(crate) async fn visit(&self, context: &ActionContext) -> Result<Visit<'_>, ActionError> {
        let target = Target::read(context)?;
        let authority = target.endpoint.authority.to_string();
        let machine = name(&authority);
        let seen_on = power_seen_before(context);
        let (call, by_hand) = self.states.with(machine, |state| {
            state.on = state.on.or(seen_on);
            state.calls = state.calls.wrapping_add(1);
            (state.calls, state.by_hand)
        });
        let mut dice = self.dice_of_call(machine, call);
        let troubles = self.troubles(machine, by_hand).and_of_call(by_hand, &mut dice);
        let hardware = Hardware::of(self.seed, &authority);
        let deadline = Instant::from_std(context.deadline);
        let key = context.idempotency_key.clone();
        let machines = self;
        let mut visit =
            Visit { machines, machine, dice, troubles, authority, key, deadline, hardware };
        visit.reach().await?;
        visit.log_in(&target)?;
        visit.make_sure(&target)?;
        Ok(visit)
    }
}

/// The machines outlive the process, but their state here does not: a machine is found as it was last seen.
fn power_seen_before(context: &ActionContext) -> Option<bool> {
    let seen = context.target.as_deref()?.pointer("/status/powerState")?.as_str()?;
    match seen {
        "On" => Some(true),
        "Off" => Some(false),
        _ => None,
    }
}

impl Visit<'_> {
    async fn reach(&mut self) -> Result<(), ActionError> {
        if self.have(Fault::DeadBmc) {
            self.pass(NOBODY_THERE).await;
            let reason = "No route to host (os error 113)".to_owned();
            let error = TransportError::NotConnected { reason };
            return Err(errors::no_answer(&self.authority, ROOT, error, true));
        }
        let wedge = WEDGE.draw(&mut self.dice);
        let begins = self.have(Fault::WedgedBmc);
        let now = Instant::now();
        let until = now + self.machines.latency.scaled(wedge);
        let wedged = self.state(|state| {
            if begins && state.wedged_until.is_none_or(|until| until <= now) {
                state.wedged_until = Some(until);
            }
            begins || state.wedged_until.is_some_and(|until| until > now)
        });
        if wedged {
            self.pass(REQUEST_TIMEOUT).await;
            let error = TransportError::TimedOut { after: REQUEST_TIMEOUT };
            return Err(errors::no_answer(&self.authority, ROOT, error, true));
        }
        self.takes(OPEN).await;
        Ok(())
    }

    fn log_in(&self, target: &Target) -> Result<(), ActionError> {
        let Some(given) = &target.endpoint.credentials else {
            return Err(errors::login_wanted(&self.authority));
        };
        // A rotation that was cut off may have left another in force.
        let known = [given].into_iter().chain(&target.others).any(|it| self.takes_login(it));
        if known {
            return Ok(());
        }
        Err(errors::refused(&self.authority, &given.username, NO_SESSION))
    }

    /// Whether the BMC takes these.
    pub(crate) fn takes_login(&self, given: &Credentials) -> bool {
        let set = self.state(|state| state.rest.as_ref().and_then(|rest| rest.password.clone()));
        let known = set.unwrap_or_else(|| password(self.machines.seed));
        given.username == USER && given.password == known && !self.have(Fault::WrongCredentials)
    }

    /// The machine's BMC as messages name it.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    fn make_sure(&self, target: &Target) -> Result<(), ActionError> {
        let serial = self.serial();
        match &target.serial {
            Some(declared) if !same(&serial, declared) => {
                Err(errors::another_machine(&self.authority, &serial, declared))
            }
            _ => Ok(()),
        }
    }

    /// The serial number that the BMC shows.
    pub(crate) fn serial(&self) -> String {
        if self.have(Fault::WrongSerial) {
            return self.hardware.serial_of_another();
        }
        self.hardware.serial()
    }

    /// What the BMC shows of the machine: as it was built, with the firmware that was updated since.
    pub(crate) fn inventory(&self) -> Inventory {
        let mut inventory = self.hardware.inventory(self.serial());
        let updated = self.state(|state| state.rest.as_ref().map(|rest| rest.firmware.clone()));
        for (name, version) in updated.unwrap_or_default() {
            if name == "BIOS" {
                inventory.bios_version = Some(version.clone());
            }
            if let Some(it) = inventory.firmware.iter_mut().find(|it| it.name == name) {
                it.version = Some(version);
            }
        }
        inventory
    }

    /// How messages name the machine.
    pub(crate) fn system(&self) -> String {
        errors::system_name(&self.authority, SYSTEM)
    }

    /// Whether the call meets this.
    pub(crate) fn have(&self, fault: Fault) -> bool {
        self.troubles.have(fault)
    }

    /// Looks at the machine, or changes it.
    pub(crate) fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        self.machines.states.with(self.machine, look)
    }

    /// Draws how long something takes at this machine, as time passes here.
    pub(crate) fn draw(&mut self, delay: Delay) -> Duration {
        let drawn = delay.draw(&mut self.dice);
        let drawn = if self.have(Fault::SlowBmc) { drawn.mul_f64(SLOW) } else { drawn };
        self.machines.latency.scaled(drawn)
    }

    /// The same for what the machine runs.
    pub(crate) fn draw_of_host(&mut self, delay: Delay) -> Duration {
        let drawn = delay.draw(&mut self.dice);
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

    async fn pass(&self, time: Duration) {
        pause(self.scaled(time)).await;
    }

    /// Sends `request`, whose effect is `change`. An error says that the effect may have happened, and here it
    /// has: only its answer is lost.
    pub(crate) async fn command(
        &mut self,
        request: &str,
        change: impl FnOnce(&mut State),
    ) -> Result<(), ActionError> {
        self.takes(COMMAND).await;
        self.state(|state| {
            change(state);
            state.effects = state.effects.saturating_add(1);
        });
        if let Some(witness) = self.machines.witness.get() {
            let disrupts = request == RESET;
            witness(&Effect { address: &self.authority, request, disrupts, key: &self.key });
        }
        self.answer(request)
    }

    /// The same for a command that the BMC takes and that has no effect.
    pub(crate) async fn command_in_vain(&mut self, request: &str) -> Result<(), ActionError> {
        self.takes(COMMAND).await;
        self.answer(request)
    }

    fn answer(&self, request: &str) -> Result<(), ActionError> {
        if !self.have(Fault::ReplyLost) {
            return Ok(());
        }
        let reason = "Connection reset by peer (os error 104)".to_owned();
        Err(errors::no_answer(&self.authority, request, TransportError::Lost { reason }, false))
    }

    /// Time left before the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits for what is there at `at`, or never; fails with `why` once it cannot be there in time.
    pub(crate) async fn wait(
        &self,
        at: Option<Instant>,
        why: impl FnOnce() -> String,
    ) -> Result<(), ActionError> {
        let left = self.left();
        // The real one gives up when the next look would be too late.
        let last = self.deadline.checked_sub(POLL_MAX.min(left / 4)).unwrap_or(self.deadline);
        match at {
            Some(at) if at <= last => {
                sleep_until(at).await;
                Ok(())
            }
            _ => {
                sleep_until(last).await;
                Err(errors::not_in_time(&self.system(), &why()))
            }
        }
    }
}

/// A pause of nothing is none: the timer would make a millisecond of it.
async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}
