//! Which packages are installed: how many, and a hash of them all, so that two hosts can be compared without a list. Pure.
//! Source: deb-control(5), the format of dpkg's status file.

use quarterdeck_model::kinds::machine_agent::PackageFacts;
use sha2::{Digest as _, Sha256};

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
    }
}
