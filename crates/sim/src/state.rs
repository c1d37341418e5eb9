//! What has changed at the machines: of each that was asked anything, a hundred bytes. What never changes is
//! derived in `hardware.rs`. The fleet is in shards, so that nobody waits for it as a whole.

use crate::faults::ByHand;
use quarterdeck_providers::redfish::twin::{Device, Mode};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tokio::time::Instant;

/// One less than there are shards: far more than there are threads.
const OTHERS: u64 = 63;

type Shard = Mutex<HashMap<u64, State>>;

/// The machines, by the number of their BMC's address.
pub(crate) struct States {
    first: Shard,
    others: [Shard; OTHERS as usize],
}

impl Default for States {
    fn default() -> Self {
        Self { first: Shard::default(), others: std::array::from_fn(|_shard| Shard::default()) }
    }
}

impl States {
    /// Looks at a machine, or changes it.
    pub(crate) fn with<T>(&self, machine: u64, look: impl FnOnce(&mut State) -> T) -> T {
        let shard = usize::try_from(machine % (OTHERS + 1)).unwrap_or_default();
        let shard = self.others.get(shard).unwrap_or(&self.first);
        // Each change is of one machine, so a poisoned lock guards a good map.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        look(shard.entry(machine).or_default())
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
    /// What few machines have.
    pub(crate) rest: Option<Box<Rest>>,
}

/// What few machines have.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// What it starts from the next time.
    pub(crate) next: Option<Next>,
    /// Order of its boot options; as it was made when empty.
    pub(crate) order: Vec<String>,
    /// What is in its virtual drives.
    pub(crate) media: [Option<String>; 2],
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

    /// Begins to turn on, again if it is on, or off; it is there at that time.
    pub(crate) fn turn(&mut self, on: bool, at: Instant) {
        self.moving = Some((on, at));
        if on && let Some(rest) = &mut self.rest {
            rest.next = None;
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
    use std::time::Duration;

    #[test]
    fn a_machine_costs_little() {
        assert!(size_of::<State>() <= 96, "{} bytes", size_of::<State>());
    }

    #[test]
    fn every_machine_has_a_state_of_its_own() {
        let states = States::default();
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
        state.turn(false, then);
        assert_eq!(state.power(now), (Power::PoweringOff, Some(then)));
        assert_eq!(state.power(then), (Power::Off, None));
        assert!(state.rest().next.is_some(), "it has not started");
        state.turn(true, then);
        assert_eq!(state.rest().next, None, "it starts");
        assert_eq!(state.power(then), (Power::On, None));
    }
}
