//! The clock of a BMC: a few seconds off, or, at machines with that fault, somewhere else every few hours. Pure.

use crate::{
    contact::Contact,
    faults::Fault,
    random::{Dice, name},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::time::Instant;

const CLOCK: u64 = 31;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// A clock that jumps is where it is for so long, as time passes at machines. Assumed: as long as it takes until its
/// battery, its network or somebody sets it again.
const STAYS: Duration = Duration::from_secs(2 * 3_600);
/// What one without a fault is off by at most, in seconds: as far as a clock drifts that asks for the time now and then.
const DRIFT: i64 = 2;
/// A certificate is good from the day before it was made, for a year.
const BEFORE: SignedDuration = SignedDuration::from_hours(24);
const GOOD: SignedDuration = SignedDuration::from_hours(24 * 365);

impl Contact<'_> {
    /// What the BMC's clock shows at the true time `now`.
    pub(crate) fn clock(&self, now: Timestamp, at: Instant) -> Timestamp {
        let machine = name(&self.name);
        let mut dice = Dice::of(&[self.machines.seed, machine, CLOCK]);
        if !self.have(Fault::ClockJumps) {
            let drift = i64::try_from(dice.any() % 5).unwrap_or_default() - DRIFT;
            return later(now, SignedDuration::from_secs(drift));
        }
        let stretch = self.machines.age(at).as_secs() / STAYS.as_secs();
        jumped(now, self.machines.age(at), Dice::of(&[self.machines.seed, machine, CLOCK, stretch]))
    }
}

/// Where a clock is that has jumped.
fn jumped(now: Timestamp, age: Duration, mut dice: Dice) -> Timestamp {
    let up_to = |dice: &mut Dice, most: i64| {
        SignedDuration::from_secs(1 + i64::try_from(dice.any() % most.unsigned_abs()).unwrap_or(0))
    };
    match dice.any() % 4 {
        // Its battery is empty: it counts from the epoch since it started.
        0 => later(Timestamp::UNIX_EPOCH, SignedDuration::try_from(age).unwrap_or_default()),
        // Somebody took local time for universal time.
        1 => later(now, up_to(&mut dice, 12 * HOUR)),
        2 => later(now, -up_to(&mut dice, 12 * HOUR)),
        // Set by hand, to another year.
        _ => later(now, up_to(&mut dice, 400 * DAY)),
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(time)
}

/// From when to when a certificate is good that was made when a clock showed `clock`.
pub(crate) fn certificate(clock: Timestamp) -> (Timestamp, Timestamp) {
    // Nothing is dated before the epoch that clocks begin at.
    let from = later(clock, -BEFORE).max(Timestamp::UNIX_EPOCH);
    (from, later(from, GOOD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Latency, Simulation};

    #[test]
    fn most_clocks_are_right_and_some_are_anywhere() {
        let simulation = Simulation::new(1, Latency::Realistic { speed: 1.0 });
        let address = "u01.ams1-a01-01.bmc.example.com";
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let at = Instant::now();
        simulation.heal(address);
        let seen = simulation.0.contact(address).clock(now, at);
        assert!(seen.duration_since(now).abs() <= SignedDuration::from_secs(DRIFT), "{seen}");
        simulation.force(address, Fault::ClockJumps);
        let jumps: Vec<SignedDuration> = (0..40)
            .map(|stretch| {
                let at = at + STAYS * stretch;
                simulation.0.contact(address).clock(now, at).duration_since(now)
            })
            .collect();
        for (what, found) in [
            ("since the epoch", jumps.iter().any(|it| it.as_hours() < -24 * 365)),
            ("back", jumps.iter().any(|it| (-12..0).contains(&it.as_hours()))),
            ("ahead", jumps.iter().any(|it| (1..12).contains(&it.as_hours()))),
            ("another year", jumps.iter().any(|it| it.as_hours() > 24 * 30)),
        ] {
            assert!(found, "{what}: {jumps:?}");
        }
    }
}
