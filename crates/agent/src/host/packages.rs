//! Which packages are installed, as dpkg or rpm has them; and how many, with a hash of them all, so that two hosts can be compared
//! without a list. Pure. Source: deb-control(5), the format of dpkg's status file; rpm(8), QUERY OPTIONS.

use quarterdeck_model::kinds::machine_agent::PackageFacts;
use sha2::{Digest as _, Sha256};

/// What `rpm` is to print of each.
pub(super) const RPM_FORMAT: &str = "%{NAME} %{EVR}\\n";

/// Who has installed them, and the file that changes with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packages {
    Dpkg(&'static str),
    Rpm(&'static str),
}

impl Packages {
    /// Where they can be. In the order of time: what is newer is there beside what was before.
    pub(super) const ALL: [Self; 6] = [
        Self::Dpkg("/var/lib/dpkg/status"),
        Self::Rpm("/usr/lib/sysimage/rpm/rpmdb.sqlite"),
        Self::Rpm("/usr/lib/sysimage/rpm/Packages.db"),
        Self::Rpm("/var/lib/rpm/rpmdb.sqlite"),
        Self::Rpm("/var/lib/rpm/Packages.db"),
        Self::Rpm("/var/lib/rpm/Packages"),
    ];

    pub(super) const fn file(self) -> &'static str {
        let (Self::Dpkg(file) | Self::Rpm(file)) = self;
        file
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dpkg(_) => "dpkg",
            Self::Rpm(_) => "rpm",
        }
    }
}

/// The same of those that rpm has installed. Keys that it trusts are none of them.
pub(super) fn of_rpm(printed: &str) -> Vec<String> {
    let lines = printed.lines().map(str::trim);
    let package = |line: &&str| line.contains(' ') && !line.starts_with("gpg-pubkey ");
    let mut packages: Vec<String> = lines.filter(package).map(str::to_owned).collect();
    packages.sort_unstable();
    packages
}

/// Those that are meant: all, or those whose names are one of these, in which `*` is anything.
pub(crate) fn named(mut packages: Vec<String>, names: &[String]) -> Vec<String> {
    if !names.is_empty() {
        packages.retain(|package| {
            let name = package.split(' ').next().unwrap_or_default();
            names.iter().any(|pattern| fits(pattern, name))
        });
    }
    packages
}

/// Whether a pattern with `*` fits: its first part is the beginning, its last the end, and those between follow each other.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// `NAME VERSION` of the packages that dpkg has installed, in order.
pub(crate) fn of_dpkg(status: &str) -> Vec<String> {
    let mut packages: Vec<String> = status
        .split("\n\n")
        .filter_map(|entry| {
            let field =
                |name: &str| entry.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let installed = field("Status:")?.ends_with(" installed");
            installed.then_some(())?;
            Some(format!("{} {}", field("Package:")?, field("Version:")?))
        })
        .collect();
    packages.sort_unstable();
    packages
}

/// What is told of packages.
pub(crate) fn summary(manager: &str, packages: &[String]) -> PackageFacts {
    let mut hash = Sha256::new();
    for package in packages {
        hash.update(package.as_bytes());
        hash.update(b"\n");
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let count = u32::try_from(packages.len()).unwrap_or(u32::MAX);
    PackageFacts { manager: manager.into(), count, sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_those_that_are_installed() {
        let status = "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: apt\nStatus: install ok installed\nDescription: a\n Version: no\nVersion: 2.6\n";
        let packages = of_dpkg(status);
        assert_eq!(packages, ["apt 2.6", "zlib1g 1:1.2"]);
        let facts = summary("dpkg", &packages);
        assert_eq!(facts.count, 2);
        assert_ne!(facts.sha256, summary("dpkg", &packages[..1]).sha256);
        let printed = "zlib 1.2-3\ngpg-pubkey fd431d51-4ae0493b\nbash 5.1-6.el9\n";
        assert_eq!(of_rpm(printed), ["bash 5.1-6.el9", "zlib 1.2-3"]);
    }

    #[test]
    fn some_are_chosen_by_name() {
        let all = ["linux-image-6.1 1", "linux-libc-dev 2", "openssl 3"].map(str::to_owned);
        let some = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            named(all.to_vec(), &names).join(",")
        };
        assert_eq!(some(&[]), all.join(","));
        assert_eq!(some(&["openssl"]), "openssl 3");
        assert_eq!(some(&["linux-*", "ssl"]), "linux-image-6.1 1,linux-libc-dev 2");
        assert_eq!(some(&["*ss*"]), "openssl 3");
        assert_eq!(some(&["l*-*-dev"]), "linux-libc-dev 2");
        // A letter counts once.
        assert!(!fits("a*a", "a") && fits("a*a", "aa") && fits("*", "") && !fits("", "a"));
    }
}
