//! What has changed at the machines: of each that was asked anything, a hundred bytes. What never changes is
//! derived in `hardware.rs`. The fleet is in shards, so that nobody waits for it as a whole.

use crate::{faults::ByHand, outages::Outage, redfish::Service};
use quarterdeck_providers::redfish::twin::{Device, Mode};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// One less than there are shards: far more than there are threads.
const OTHERS: u64 = 63;

type Shard<T> = Mutex<HashMap<u64, T>>;

/// What has changed, by the number of a machine's BMC address, or of a place's name.
pub(crate) struct States<T = State> {
    first: Shard<T>,
    others: [Shard<T>; OTHERS as usize],
}

impl<T> Default for States<T> {
    fn default() -> Self {
        Self { first: Shard::default(), others: std::array::from_fn(|_shard| Shard::default()) }
    }
}

impl<T: Default> States<T> {
    /// Looks at one, or changes it.
    pub(crate) fn with<R>(&self, number: u64, look: impl FnOnce(&mut T) -> R) -> R {
        // Each change is of one, so a poisoned lock guards a good map.
        let mut shard = self.shard(number).lock().unwrap_or_else(PoisonError::into_inner);
        look(shard.entry(number).or_default())
    }

    /// Looks at one, if anything of it has changed.
    pub(crate) fn get<R>(&self, number: u64, look: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        let shard = self.shard(number).lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(&number).and_then(look)
    }

    fn shard(&self, number: u64) -> &Shard<T> {
        let shard = usize::try_from(number % (OTHERS + 1)).unwrap_or_default();
        self.others.get(shard).unwrap_or(&self.first)
    }
}

/// What has changed at one machine.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// How often its BMC was asked.
    pub(crate) calls: u32,
    /// How often something was done to it.
    pub(crate) effects: u32,
    /// Whether it is on; nothing before anybody has asked.
    pub(crate) on: Option<bool>,
    /// What it turns to, and when it is there.
    moving: Option<(bool, Instant)>,
    /// Its BMC answers nothing before.
    pub(crate) wedged_until: Option<Instant>,
    pub(crate) by_hand: ByHand,
    /// Number of the step that restarted it last.
    pub(crate) restarted_by: u64,
    /// The last time that it lost its power, by the outage's id.
    lost_power: u64,
    /// It has no power now; whether it was on before.
    dark: Option<bool>,
    /// What few machines have.
    pub(crate) rest: Option<Box<Rest>>,
}

/// What few machines have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rest {
    /// What it starts from the next time.
    pub(crate) next: Option<Next>,
    /// Order of its boot options; as it was made when empty.
    pub(crate) order: Vec<String>,
    /// What is in its virtual drives.
    pub(crate) media: [Option<String>; 2],
    /// What runs on it; unknown until it has started here.
    pub(crate) host: Option<Host>,
    /// What its BMC keeps for those who speak Redfish with it.
    pub(crate) service: Service,
}

impl Rest {
    /// Sets the boot order, now or, where it waits, with the next start.
    pub(crate) fn set_order(&mut self, order: Vec<String>, waits: bool) {
        if waits {
            self.service.next_order = order;
        } else {
            self.order = order;
        }
    }
}

/// What a machine runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// The image that is on its disks.
    pub(crate) installed: Option<String>,
    /// When its operating system takes connections, if it does.
    pub(crate) up: Option<Instant>,
}

impl Host {
    /// What a machine has run since before this process: it is not known what, and it starts whenever the machine does.
    pub(crate) fn from_before() -> Self {
        Self { installed: Some("what was there before".into()), up: None }
    }
}

/// How a machine that is turned on starts, should anything be there to start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start {
    /// From power on until the operating system takes connections.
    pub(crate) boot: Duration,
    /// The same when it is installed first.
    pub(crate) install: Duration,
    /// The image arrives whole.
    pub(crate) whole: bool,
    /// The operating system comes up at all.
    pub(crate) alive: bool,
}

/// A choice for one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) device: Device,
    pub(crate) mode: Option<Mode>,
    pub(crate) http_boot_uri: Option<String>,
}

/// A power state as a BMC shows it (DSP0268, Resource.PowerState).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    On,
    Off,
    PoweringOn,
    PoweringOff,
}

impl Power {
    pub(crate) const fn of(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::On => "On",
            Self::Off => "Off",
            Self::PoweringOn => "PoweringOn",
            Self::PoweringOff => "PoweringOff",
        }
    }
}

impl State {
    /// What the BMC shows now, and when that ends by itself.
    pub(crate) fn power(&mut self, now: Instant) -> (Power, Option<Instant>) {
        if let Some((on, at)) = self.moving {
            if at > now {
                let power = if on { Power::PoweringOn } else { Power::PoweringOff };
                return (power, Some(at));
            }
            (self.on, self.moving) = (Some(on), None);
        }
        (Power::of(self.on.unwrap_or(true)), None)
    }

    /// Begins to turn on, again if it is on; it is there at that time.
    pub(crate) fn turn_on(&mut self, at: Instant, start: Start) {
        self.moving = Some((true, at));
        let Some(rest) = &mut self.rest else { return };
        rest.service.host_starts(at);
        if let Some(order) = rest.service.take_order() {
            rest.order = order;
        }
        let next = rest.next.take();
        let host = rest.host.get_or_insert_with(Host::from_before);
        let up = |after: Duration| start.alive.then(|| at + after);
        host.up = match next.map(|next| next.device) {
            Some(Device::VirtualMedia) => {
                let [drive, _] = &rest.media;
                // An installer that finds its image broken stops, and what was there before is gone.
                host.installed = drive.clone().filter(|_image| start.whole);
                host.installed.as_ref().and_then(|_image| up(start.install))
            }
            Some(Device::FirmwareSetup) => None,
            _ => host.installed.as_ref().and_then(|_image| up(start.boot)),
        };
    }

    /// Begins to turn off; it is there at that time.
    pub(crate) fn turn_off(&mut self, at: Instant) {
        self.moving = Some((false, at));
        if let Some(host) = self.rest.as_mut().and_then(|rest| rest.host.as_mut()) {
            host.up = None;
        }
    }

    /// What an outage of its power makes of it, which may have begun and ended unseen. `restores` says whether it
    /// turns on when the power is back, by whether it was on; then it is there at `on_at`.
    pub(crate) fn suffer(
        &mut self,
        outage: Outage,
        now: Instant,
        restores: impl FnOnce(bool) -> bool,
        on_at: Instant,
        start: Start,
    ) {
        if self.lost_power != outage.id {
            self.lost_power = outage.id;
            let (power, _) = self.power(outage.from);
            self.turn_off(outage.from);
            (self.on, self.moving) = (Some(false), None);
            self.dark = Some(matches!(power, Power::On | Power::PoweringOn));
            if let Some(rest) = &mut self.rest {
                rest.service.lose_power();
            }
        }
        if now >= outage.until
            && let Some(was_on) = self.dark.take()
            && restores(was_on)
        {
            self.turn_on(on_at, start);
        }
    }

    /// To change what few machines have.
    pub(crate) fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_costs_little() {
        assert!(size_of::<State>() <= 112, "{} bytes", size_of::<State>());
    }

    #[test]
    fn every_machine_has_a_state_of_its_own() {
        let states: States = States::default();
        for machine in 0..200 {
            states.with(machine, |state| state.calls += 1);
        }
        assert!((0..200).all(|machine| states.with(machine, |state| state.calls) == 1));
    }

    #[test]
    fn power_turns_when_its_time_has_come() {
        let now = Instant::now();
        let then = now + Duration::from_secs(5);
        let mut state = State::default();
        assert_eq!(state.power(now), (Power::On, None));
        state.rest().next = Some(Next { device: Device::Disk, mode: None, http_boot_uri: None });
        state.turn_off(then);
        assert_eq!(state.power(now), (Power::PoweringOff, Some(then)));
        assert_eq!(state.power(then), (Power::Off, None));
        assert!(state.rest().next.is_some(), "it has not started");
        state.turn_on(then, Start::default());
        assert_eq!(state.rest().next, None, "it starts");
        assert_eq!(state.power(then), (Power::On, None));
    }

    #[test]
    fn power_that_was_lost_comes_back_as_the_machine_is_set() {
        use crate::hardware::PowerRestorePolicy as Policy;
        let now = Instant::now();
        let hour = Duration::from_secs(3600);
        let start = Start { alive: true, ..Start::default() };
        for (was_on, policy, on) in [
            (true, Policy::LastState, true),
            (false, Policy::LastState, false),
            (false, Policy::AlwaysOn, true),
            (true, Policy::AlwaysOff, false),
        ] {
            let outage = Outage { id: 5, from: now, until: now + hour };
            let mut state = State { on: Some(was_on), ..State::default() };
            state.rest().host = Some(Host { installed: Some("a".into()), up: Some(now) });
            let suffer = |state: &mut State, now| {
                state.suffer(outage, now, |was| policy.turns_on(was), outage.until, start);
            };
            suffer(&mut state, now);
            assert_eq!(state.power(now), (Power::Off, None), "while it lasts");
            assert_eq!(state.rest().host.as_ref().unwrap().up, None);
            suffer(&mut state, outage.until);
            suffer(&mut state, outage.until);
            assert_eq!(state.power(outage.until).0, Power::of(on), "{was_on} {policy:?}");
            state.turn_off(outage.until);
            suffer(&mut state, outage.until + hour);
            let after = state.power(outage.until).0;
            assert_eq!(after, Power::Off, "what comes later is another thing");
        }
    }

    #[test]
    fn what_is_installed_runs_when_it_is_on() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let start = Start { boot: second, install: 10 * second, whole: true, alive: true };
        let mut state = State::default();
        let host = |state: &State| state.rest.as_ref().unwrap().host.clone().unwrap();
        let choose = |state: &mut State, device| {
            state.rest().next = Some(Next { device, mode: None, http_boot_uri: None });
        };
        state.rest().media[0] = Some("a.iso".to_owned());
        state.turn_on(now, start);
        assert_eq!(host(&state).up, Some(now + second), "what was there before starts again");
        state.rest().host = Some(Host::default());
        state.turn_on(now, start);
        assert_eq!(host(&state), Host::default(), "nothing is on its disks");
        choose(&mut state, Device::VirtualMedia);
        state.turn_on(now, start);
        let installed = Some("a.iso".to_owned());
        assert_eq!(
            host(&state),
            Host { installed: installed.clone(), up: Some(now + 10 * second) }
        );
        state.turn_off(now);
        assert_eq!(host(&state), Host { installed: installed.clone(), up: None });
        state.turn_on(now, start);
        assert_eq!(host(&state), Host { installed: installed.clone(), up: Some(now + second) });
        choose(&mut state, Device::FirmwareSetup);
        state.turn_on(now, start);
        assert_eq!(host(&state).up, None);
        state.turn_on(now, Start { alive: false, ..start });
        assert_eq!(host(&state).up, None);
        choose(&mut state, Device::VirtualMedia);
        state.turn_on(now, Start { whole: false, ..start });
        assert_eq!(host(&state), Host::default());
    }
}
