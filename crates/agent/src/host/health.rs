//! What the numbers of a machine mean: conditions with hysteresis, so that one that is at a limit does not come and go.
//! A condition begins at one limit and ends at a better one; and one that comes from moments, as memory does, only after some
//! of them. Pure: times are passed in.

use super::vitals::Vitals;
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    ConditionStatus, Time,
    agent::{HostCondition, HostConditionKind},
};

/// Share of a file system that is free when it is nearly full, and when it is not any more.
const DISK: (f64, f64) = (0.05, 0.10);
/// The same of memory.
const MEMORY: (f64, f64) = (0.05, 0.10);
/// Looks in a row that must say so.
const LOOKS: u32 = 3;
/// How far the clock is off when that matters (certificates and tokens allow less than a minute), and when it is right again.
const CLOCK: (SignedDuration, SignedDuration) =
    (SignedDuration::from_secs(5), SignedDuration::from_secs(2));
/// Units that are named.
const UNITS_MAX: usize = 5;

/// What is bad, and what was seen that is not told yet.
#[derive(Debug, Default)]
pub(crate) struct Health {
    disk: bool,
    memory: bool,
    /// Looks in a row that say otherwise.
    memory_looks: u32,
    clock: bool,
    skew: Option<SignedDuration>,
}

impl Health {
    /// The plane says what time it is, which took no longer than a message takes.
    pub(crate) fn plane_says(&mut self, plane: Time, own: Timestamp) {
        self.skew = Some(own.duration_since(plane.timestamp()));
    }

    /// All conditions, after another look.
    pub(crate) fn look(&mut self, vitals: &Vitals) -> Vec<HostCondition> {
        use HostConditionKind::{
            ClockSkewed, DiskPressure, MemoryPressure, ReadonlyFilesystem, UnitsFailed,
        };
        let mut all = Vec::new();
        let mut say = |kind, bad: bool, words: (&str, String), good: &str| {
            let (reason, message) = if bad { words } else { ("AsExpected", good.to_owned()) };
            let status = if bad { ConditionStatus::True } else { ConditionStatus::False };
            all.push(HostCondition { kind, status, reason: reason.into(), message });
        };
        let fullest = vitals.free.iter().min_by(|one, other| one.1.total_cmp(&other.1));
        if let Some((mount, free)) = fullest {
            self.disk = *free < if self.disk { DISK.1 } else { DISK.0 };
            // No number that changes with each look: each change is written down.
            let message =
                format!("Less than {:.0} % of {mount} is free; make room.", DISK.1 * 100.0);
            say(
                DiskPressure,
                self.disk,
                ("DiskNearlyFull", message),
                "All file systems have room.",
            );
        }
        if let Some(free) = vitals.memory {
            let would = free < if self.memory { MEMORY.1 } else { MEMORY.0 };
            self.memory_looks = if would == self.memory { 0 } else { self.memory_looks + 1 };
            if self.memory_looks >= LOOKS {
                (self.memory, self.memory_looks) = (would, 0);
            }
            let message = format!("Less than {:.0} % of the memory can be had.", MEMORY.1 * 100.0);
            say(MemoryPressure, self.memory, ("MemoryNearlyUsed", message), "Memory can be had.");
        }
        let message = "The root file system is mounted read-only, as after an error of its disk; look at the kernel's log.";
        say(
            ReadonlyFilesystem,
            vitals.read_only,
            ("RootReadOnly", message.into()),
            "The root file system can be written.",
        );
        if let Some(skew) = self.skew {
            let off = skew.abs();
            self.clock = off > if self.clock { CLOCK.1 } else { CLOCK.0 };
            let side = if skew.is_negative() { "behind" } else { "ahead of" };
            let message = format!(
                "The clock is {side} the plane's by some {} s; see to its time service.",
                nearby(off.as_secs())
            );
            say(ClockSkewed, self.clock, ("ClockOff", message), "The clock is as the plane's.");
        }
        if let Some(units) = &vitals.failed_units {
            let mut units = units.clone();
            units.sort_unstable();
            let more = units.len().saturating_sub(UNITS_MAX);
            units.truncate(UNITS_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message = format!("{}{more} failed; see systemctl status.", units.join(", "));
            say(
                UnitsFailed,
                !units.is_empty(),
                ("Failed", message),
                "No unit of systemd has failed.",
            );
        }
        all
    }
}

/// A number that changes seldom: the power of two below.
fn nearby(seconds: i64) -> i64 {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    i64::try_from(seconds.checked_ilog2().map_or(0, |power| 1_u64 << power)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is(all: &[HostCondition], kind: HostConditionKind) -> Option<bool> {
        let found = all.iter().find(|condition| condition.kind == kind)?;
        Some(found.status == ConditionStatus::True)
    }

    #[test]
    fn conditions_begin_at_one_limit_and_end_at_a_better_one() {
        let mut health = Health::default();
        let mut look = |free: f64, memory: f64| {
            let free = vec![("/".into(), 0.9), ("/var".into(), free)];
            let all = health.look(&Vitals { free, memory: Some(memory), ..Vitals::default() });
            (
                is(&all, HostConditionKind::DiskPressure).unwrap(),
                is(&all, HostConditionKind::MemoryPressure).unwrap(),
            )
        };
        assert_eq!(look(0.06, 0.5), (false, false));
        assert_eq!(look(0.04, 0.01), (true, false), "memory is not believed at once");
        assert_eq!(look(0.09, 0.01), (true, false));
        assert_eq!(look(0.11, 0.01), (false, true));
        assert_eq!(look(0.06, 0.09), (false, true));
        for expected in [true, true, false] {
            assert_eq!(look(0.06, 0.5), (false, expected));
        }
    }

    #[test]
    fn a_clock_is_off_until_it_is_right_and_units_are_named() {
        let mut health = Health::default();
        let plane: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let look = |health: &mut Health, seconds: i64| {
            health.plane_says(Time::new(plane), plane + SignedDuration::from_secs(seconds));
            health.look(&Vitals {
                failed_units: Some(vec!["a.service".into(); 7]),
                ..Vitals::default()
            })
        };
        let skewed = |all: &[HostCondition]| is(all, HostConditionKind::ClockSkewed).unwrap();
        assert!(!skewed(&look(&mut health, -4)));
        let all = look(&mut health, -6);
        assert!(skewed(&all));
        let told: Vec<&str> = all.iter().map(|it| it.message.as_str()).collect();
        assert!(
            told.contains(&"The clock is behind the plane's by some 4 s; see to its time service."),
            "{told:?}"
        );
        assert!(told.iter().any(|it| it.contains("and 2 more failed")), "{told:?}");
        assert!(skewed(&look(&mut health, 4)), "not yet");
        assert!(!skewed(&look(&mut health, 1)));
        let all = Health::default().look(&Vitals::default());
        assert_eq!(is(&all, HostConditionKind::UnitsFailed), None, "there is no systemd");
    }

    proptest! {
        /// Whatever is seen: what stays between the two limits changes nothing.
        #[test]
        fn nothing_flaps_between_the_limits(
            before in prop::collection::vec(0.0..1.0_f64, 0..20),
            between in prop::collection::vec(0.051..0.099_f64, 1..20),
        ) {
            let mut health = Health::default();
            let vitals = |share: f64| Vitals {
                free: vec![("/".into(), share)], memory: Some(share), ..Vitals::default()
            };
            for share in before {
                health.look(&vitals(share));
            }
            let (disk, memory) = (health.disk, health.memory);
            let first = health.look(&vitals(0.075));
            for share in between {
                prop_assert_eq!(&health.look(&vitals(share)), &first);
            }
            prop_assert_eq!((health.disk, health.memory), (disk, memory));
        }
    }
}
