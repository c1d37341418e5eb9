//! Which images go. Only those that this agent pulled are looked at: what somebody else brought is theirs.

use super::settings::ImageRules;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An image that this agent pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pulled {
    /// Names it was pulled by.
    pub(super) names: BTreeSet<String>,
    /// When something needed it last.
    pub(super) used: Timestamp,
    /// Its size. Layers that it shares are counted with each.
    pub(super) bytes: u64,
}

/// The disk that images are on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk {
    pub(super) used_bytes: u64,
    pub(super) total_bytes: u64,
}

/// Which of them go, by their identities, in order: those unused for too long; then, while the disk is too full, those
/// unused for longest. Pure.
pub(super) fn which_go(
    pulled: &BTreeMap<String, Pulled>,
    needed: &BTreeSet<String>,
    now: Timestamp,
    disk: Option<Disk>,
    rules: &ImageRules,
) -> Vec<String> {
    let signed = |it| SignedDuration::try_from(it).unwrap_or(SignedDuration::MAX);
    let (most, least) = (signed(rules.unused_max), signed(rules.unused_min));
    let mut unused: Vec<(&String, &Pulled, SignedDuration)> = pulled
        .iter()
        .filter(|(id, _)| !needed.contains(*id))
        .map(|(id, it)| (id, it, now.duration_since(it.used)))
        .filter(|(_, _, age)| *age >= least)
        .collect();
    unused.sort_by(|a, b| (a.1.used, a.0).cmp(&(b.1.used, b.0)));
    let percent = |bytes: u64, share: u8| bytes / 100 * u64::from(share);
    let mut excess = match disk {
        Some(disk) if disk.used_bytes >= percent(disk.total_bytes, rules.disk_high_percent) => {
            disk.used_bytes.saturating_sub(percent(disk.total_bytes, rules.disk_low_percent))
        }
        _ => 0,
    };
    let mut go = Vec::new();
    for (id, it, age) in unused {
        if age < most && excess == 0 {
            continue;
        }
        excess = excess.saturating_sub(it.bytes);
        go.push(id.clone());
    }
    go
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pulled(all: &[(&str, i64)]) -> BTreeMap<String, Pulled> {
        let one = |used: i64| Pulled { names: BTreeSet::new(), used: at(used), bytes: 10 };
        all.iter().map(|(id, used)| ((*id).to_owned(), one(*used))).collect()
    }

    #[test]
    fn old_ones_go_and_on_a_full_disk_the_oldest_first() {
        let rules = ImageRules::default();
        let day = 24 * 3600;
        let images = pulled(&[
            ("old", 0),
            ("older", -day),
            ("young", 14 * day - 3600),
            ("now", 14 * day - 10),
        ]);
        let go = |disk: Option<u64>, needed: &[&str]| {
            let disk = disk.map(|used_bytes| Disk { used_bytes, total_bytes: 100 });
            let needed = needed.iter().map(|it| (*it).to_owned()).collect();
            which_go(&images, &needed, at(14 * day), disk, &rules)
        };
        assert_eq!(go(None, &[]), ["older", "old"]);
        assert_eq!(go(Some(84), &[]), ["older", "old"]);
        assert_eq!(go(Some(84), &["old"]), ["older"]);
        // 100 % down to 80 %: two of 10 %, and one more.
        assert_eq!(go(Some(100), &[]), ["older", "old"]);
        assert_eq!(go(Some(100), &["old"]), ["older", "young"]);
        // However full it is, what was used just now stays.
        assert_eq!(go(Some(100), &["old", "older", "young"]), [""; 0]);
    }
}
