//! Updates by `dnf`, of release 4 or 5; `yum` of Enterprise Linux 8 and newer is this program too. What people changed in
//! configuration files is kept where the package says so (`%config(noreplace)`), else beside it as `.rpmsave`.
//! Source: dnf(8), dnf-needs-restarting(8).

use super::{Asked, words};
use crate::tasks::Failure;

/// What can be updated, from fresh lists.
pub(super) async fn updates(asked: &Asked<'_>, some: &[String]) -> Result<Vec<String>, Failure> {
    let mut argv = words(&["dnf", "--quiet", "--refresh", "repoquery", "--upgrades"]);
    // Release 5 ends no line by itself, and release 4 does.
    argv.extend(words(&["--latest-limit=1", "--queryformat", "%{name} %{evr}\\n"]));
    argv.extend(some.iter().cloned());
    Ok(listed(&asked.ask(argv, &[]).await?.stdout))
}

/// A package that is there for two architectures is told of once.
fn listed(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| line.split(' ').count() == 2);
    let mut packages: Vec<String> = lines.map(str::to_owned).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

pub(super) fn arguments(download: bool, some: &[&str]) -> Vec<String> {
    let mut argv = words(&["dnf", "--quiet", "--assumeyes", "upgrade"]);
    if download {
        argv.push("--downloadonly".into());
    }
    argv.extend(words(some));
    argv
}

/// It is a plugin that says so (`dnf-utils`, or `dnf-plugins-core`): without it nobody knows, and that is what an unknown command
/// ends with too: 1 of dnf 4, 2 of dnf 5.
pub(super) async fn reboot_required(asked: &Asked<'_>) -> Result<bool, Failure> {
    const REQUIRED: i32 = 1;
    const UNKNOWN: i32 = 2;
    let argv = words(&["dnf", "needs-restarting", "--reboothint"]);
    let answer = asked.ask(argv, &[REQUIRED, UNKNOWN]).await?;
    Ok(answer.code == REQUIRED && answer.stdout.contains("eboot is required"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dnf_prints_is_understood() {
        assert_eq!(
            listed("\nx 2-1\n\nglibc 1:2.34-5.el9\nglibc 1:2.34-5.el9\n"),
            ["glibc 1:2.34-5.el9", "x 2-1"]
        );
        assert!(listed("Error: a b c\n").is_empty());
    }
}
