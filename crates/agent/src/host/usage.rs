//! What of a machine is in use, from what the kernel counts. Pure but for the numbers of the last time.
//! Source: proc_stat(5), proc_meminfo(5).

use quarterdeck_model::agent::Usage;
use std::time::Instant;

/// Ticks of a second that the kernel counts in; `USER_HZ` is 100 on every architecture of Linux that matters.
const TICKS: u64 = 100;

/// Remembers what was counted last.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    last: Option<(u64, Instant)>,
}

impl Meter {
    /// What is in use; none when the files are not understood.
    pub(crate) fn read(&mut self, stat: &str, memory: &str, now: Instant) -> Option<Usage> {
        let busy = busy_ticks(stat)?;
        let passed = self.last.map(|(before, at)| (busy.saturating_sub(before), now - at));
        self.last = Some((busy, now));
        let cpu_millis = passed.map_or(0, |(ticks, passed)| {
            let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
            // Thousandths of a second of work, in thousandths of a second.
            ticks.saturating_mul(1_000 * 1_000 / TICKS) / millis
        });
        let (total, free) = (kilobytes(memory, "MemTotal:")?, kilobytes(memory, "MemAvailable:")?);
        Some(Usage { cpu_millis, memory_bytes: total.saturating_sub(free).saturating_mul(1_024) })
    }
}

/// Ticks that all processors worked: all but idle and waiting for disks.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|it| it.parse().ok()).collect();
    // Time of guests is in that of users.
    Some(
        ticks
            .iter()
            .take(8)
            .enumerate()
            .filter(|(at, _)| ![3, 4].contains(at))
            .map(|(_, it)| it)
            .sum(),
    )
}

/// A line of `/proc/meminfo`.
pub(crate) fn kilobytes(memory: &str, name: &str) -> Option<u64> {
    let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn usage_is_of_the_time_between_two_looks() {
        let memory = "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n";
        let (mut meter, now) = (Meter::default(), Instant::now());
        let first = meter.read("cpu  100 0 50 1000 10 0 0 0 7 0\ncpu0 1", memory, now).unwrap();
        assert_eq!(first, Usage { cpu_millis: 0, memory_bytes: 600 * 1_024 });
        let later = now + Duration::from_secs(10);
        let second = meter.read("cpu  600 0 550 2000 99 0 0 0 9 0", memory, later).unwrap();
        assert_eq!(second.cpu_millis, 1_000, "a thousand ticks in ten seconds are one processor");
        assert_eq!(meter.read("", memory, later), None);
    }
}
