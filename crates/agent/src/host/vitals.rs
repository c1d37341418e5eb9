//! How a machine is at one moment, in numbers. What they mean is for [`super::health`].

use super::{Host, facts::mounts, usage::kilobytes};
use rustix::fs::StatVfsMountFlags;

/// Numbers of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Vitals {
    /// File systems on disks, and how much of each is free, of one.
    pub(crate) free: Vec<(String, f64)>,
    /// How much of the memory can be had, of one.
    pub(crate) memory: Option<f64>,
    /// The root file system cannot be written.
    pub(crate) read_only: bool,
    /// Units of systemd that have failed; none where it does not run.
    pub(crate) failed_units: Option<Vec<String>>,
}

pub(super) async fn vitals(host: &Host) -> Vitals {
    let mut vitals = Vitals::default();
    for (mount, _) in mounts(host) {
        let Ok(seen) = rustix::fs::statvfs(host.path(&mount)) else { continue };
        if mount == "/" {
            vitals.read_only = seen.f_flag.contains(StatVfsMountFlags::RDONLY);
        }
        if seen.f_blocks > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a share of a disk is not that exact")]
            let share = seen.f_bavail as f64 / seen.f_blocks as f64;
            vitals.free.push((mount, share));
        }
    }
    let memory = host.read("/proc/meminfo").unwrap_or_default();
    let part = |name| kilobytes(&memory, name);
    if let Some((free, total)) = part("MemAvailable:").zip(part("MemTotal:").filter(|it| *it > 0)) {
        #[expect(clippy::cast_precision_loss, reason = "a share of memory is not that exact")]
        let share = free as f64 / total as f64;
        vitals.memory = Some(share);
    }
    if host.path("/run/systemd/system").exists() {
        let arguments = ["list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"];
        vitals.failed_units = host.ask("systemctl", &arguments).await.map(|text| failed(&text));
    }
    vitals
}

/// Names of units, as `systemctl list-units --plain --no-legend` prints them.
fn failed(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_units_are_told_by_name() {
        // Written by hand, in the form of systemctl list-units.
        let text = "nginx.service loaded failed failed A high performance web server\n\
                    run-x.mount   loaded failed failed /run/x\n";
        assert_eq!(failed(text), ["nginx.service", "run-x.mount"]);
    }

    #[tokio::test]
    async fn this_machine_says_how_it_is() {
        let vitals = vitals(&Host::new("/".as_ref())).await;
        assert!(vitals.memory.is_some_and(|share| share > 0.0 && share <= 1.0), "{vitals:?}");
        assert!(vitals.free.iter().any(|(mount, _)| mount == "/"), "{vitals:?}");
    }
}
