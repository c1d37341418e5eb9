//! How long things take at a simulated machine: one table, log-normal each, and what it is divided by.

use crate::random::Dice;
use std::time::Duration;

/// How time passes at the simulated machines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// As the table says, divided by `speed`.
    Realistic {
        /// 1 is as in a data centre; 10 is ten times as fast.
        speed: f64,
    },
    /// Everything is done at once: for benchmarks of the plane alone.
    None,
}

impl Latency {
    /// A time at a machine as it passes here.
    pub(crate) fn scaled(self, time: Duration) -> Duration {
        match self {
            Self::Realistic { speed } if speed > 0.0 && speed.is_finite() => {
                Duration::try_from_secs_f64(time.as_secs_f64() / speed).unwrap_or(Duration::MAX)
            }
            Self::Realistic { .. } => time,
            Self::None => Duration::ZERO,
        }
    }

    /// A time that passed here, as it passes at a machine; none where everything is done at once.
    pub(crate) fn at_machines(self, time: Duration) -> Option<Duration> {
        match self {
            Self::Realistic { speed } if speed > 0.0 && speed.is_finite() => {
                Some(Duration::try_from_secs_f64(time.as_secs_f64() * speed).unwrap_or(time))
            }
            Self::Realistic { .. } => Some(time),
            Self::None => None,
        }
    }
}

/// A log-normal distribution: what takes several steps, each of which can be slow, is spread so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delay {
    /// Half of them take longer.
    median: Duration,
    /// Standard deviation of the logarithm: 0.5 has one in forty take 2.7 times the median.
    sigma: f64,
    /// None takes longer than this.
    most: Duration,
}

const fn delay(median_ms: u64, sigma: f64, most_ms: u64) -> Delay {
    Delay { median: Duration::from_millis(median_ms), sigma, most: Duration::from_millis(most_ms) }
}

/// Finding and reading the system, login included. Assumed: some four exchanges of a quarter of a second.
pub(crate) const OPEN: Delay = delay(1_000, 0.5, 20_000);
/// One read of those. Assumed.
pub(crate) const READ: Delay = delay(200, 0.6, 20_000);
/// Reading everything: some 40 exchanges, two at once. Slow firmwares need 10–20 s for a first read
/// (`REQUEST_TIMEOUT` of the Redfish provider); the median is assumed.
pub(crate) const INVENTORY: Delay = delay(8_000, 0.6, 90_000);
/// A command until it is answered. Assumed.
pub(crate) const COMMAND: Delay = delay(700, 0.6, 20_000);
/// From the command to power on, as the BMC shows it. Seen: 10–15 s (chaos/powerman #47), 46 s on an HPE
/// Cray EX235a (chaos/powerman #67).
pub(crate) const POWER_ON: Delay = delay(12_000, 0.6, 90_000);
/// From the command to power off without asking the system. Seen: 6 s on an HPE Cray EX235a
/// (chaos/powerman #67), more than 30 s on others (metal3-io/baremetal-operator #445).
pub(crate) const POWER_OFF: Delay = delay(6_000, 0.6, 60_000);
/// Writing firmware, from the command to the end of its task. Assumed: vendors' guides say a few minutes.
pub(crate) const FLASH: Delay = delay(180_000, 0.5, 1_200_000);
/// An operating system that shuts down. Assumed, beside the minute that `power.set` gives it.
pub(crate) const SHUTDOWN: Delay = delay(25_000, 0.5, 300_000);
/// A BMC restarts, as when it is told to or has new firmware. Assumed: a minute or two.
pub(crate) const BMC_RESTART: Delay = delay(100_000, 0.3, 300_000);
/// A firmware image is fetched, checked and written. Assumed: tens of megabytes into flash memory.
pub(crate) const UPDATE: Delay = delay(180_000, 0.5, 1_800_000);
/// A restart as the BMC shows it: off and on again, or only a blink. Assumed.
pub(crate) const RESTART: Delay = delay(15_000, 0.5, 120_000);
/// A setting or a medium until it shows. The slowest are iDRACs with 5–10 s (`SETTLING_MAX` of the Redfish
/// provider); the median is assumed.
pub(crate) const SETTLE: Delay = delay(2_000, 0.6, 15_000);
/// From power on until the operating system takes connections, its firmware's self-tests included. Seen with servers:
/// several minutes (metal3-io's and Ironic's guides plan for them); the median is assumed.
pub(crate) const BOOT: Delay = delay(150_000, 0.4, 1_200_000);
/// The same with an installation from a virtual drive before it. Assumed: an image of 2 GB at some 5 MB/s, which is what
/// BMCs give.
pub(crate) const INSTALL: Delay = delay(600_000, 0.4, 3_600_000);
/// All disks of a machine erased. Assumed: disks that encrypt themselves forget their key within seconds, and a few are
/// written over.
pub(crate) const ERASE: Delay = delay(60_000, 1.0, 14_400_000);
/// A host whose network or disks are slow takes so many times as long. Assumed.
pub(crate) const SLOW_HOST: f64 = 4.0;
/// How long a wedged BMC answers nothing. Firmwares hang now and then until they are reset
/// (cybozu-go/setup-hw resets iDRACs daily for it); that a watchdog does it within minutes is assumed.
pub(crate) const WEDGE: Delay = delay(240_000, 0.7, 1_800_000);

/// How long a host that is not there is looked for: three ARP requests, a second apart (arp(7)), at each of
/// the provider's four tries, and the pauses between those.
pub(crate) const NOBODY_THERE: Duration = Duration::from_secs(15);

/// A slow BMC takes so many times as long. Assumed: as long as a first read of the slowest firmwares.
pub(crate) const SLOW: f64 = 6.0;

impl Delay {
    /// That median and longest, in milliseconds.
    pub(crate) const fn new(median_ms: u64, sigma: f64, most_ms: u64) -> Self {
        delay(median_ms, sigma, most_ms)
    }

    /// The longest.
    pub(crate) const fn most(&self) -> Duration {
        self.most
    }

    /// One of them, not yet scaled.
    pub(crate) fn draw(&self, dice: &mut Dice) -> Duration {
        let factor = (self.sigma * dice.normal()).exp();
        Duration::try_from_secs_f64(self.median.as_secs_f64() * factor)
            .map_or(self.most, |drawn| drawn.min(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spread_around_their_median_and_end() {
        for delay in
            [OPEN, INVENTORY, COMMAND, POWER_ON, POWER_OFF, SHUTDOWN, RESTART, SETTLE, WEDGE, ERASE]
        {
            let mut dice = Dice::of(&[3]);
            let mut drawn: Vec<Duration> = (0..2001).map(|_draw| delay.draw(&mut dice)).collect();
            drawn.sort();
            let ratio = drawn[1000].as_secs_f64() / delay.median.as_secs_f64();
            assert!((0.9..1.1).contains(&ratio), "{delay:?}: {ratio}");
            assert!(drawn[2000] <= delay.most && drawn[0] > Duration::ZERO, "{delay:?}");
            assert!(drawn[1950] > delay.median * 2, "{delay:?} has a tail");
        }
    }

    #[test]
    fn speed_divides_and_none_is_nothing() {
        let minute = Duration::from_secs(60);
        assert_eq!(Latency::Realistic { speed: 10.0 }.scaled(minute), Duration::from_secs(6));
        assert_eq!(Latency::Realistic { speed: 0.0 }.scaled(minute), minute, "no way to divide");
        assert_eq!(Latency::None.scaled(minute), Duration::ZERO);
    }
}
