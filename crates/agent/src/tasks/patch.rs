//! Looks at, fetches or installs updates of packages by `apt-get`. It keeps configuration files that people changed, and asks
//! nobody anything. Source: apt-get(8), dpkg(1) `--force-confold`.

use super::{
    Failure, Outcome,
    exec::{self, Progress},
    said,
};
use crate::host::Host;
use quarterdeck_model::kinds::{AgentTaskStatus, ExecTask, PatchMode, PatchTask};
use std::{collections::BTreeMap, time::Duration};

pub(super) async fn patch(
    host: &Host,
    task: &PatchTask,
    left: Duration,
    progress: Progress<'_>,
) -> Outcome {
    for name in &task.packages {
        let letter = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.:".contains(&byte)
        };
        if name.is_empty() || !name.bytes().all(letter) || name.starts_with(['-', '+']) {
            return Err(Failure::invalid(format!("{name:?} is not the name of a package")));
        }
    }
    if !host.path("/usr/bin/apt-get").exists() {
        return Err(Failure::new(
            "NotSupported",
            "this host has no apt-get; packages of others are not updated yet",
        ));
    }
    let ask = async |words: Vec<&str>| {
        let argv = arguments(&words, &task.packages);
        let env = BTreeMap::from([("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned())]);
        let command = ExecTask { argv, env, ..ExecTask::default() };
        let ran = exec::run(host, &command, left, progress).await?;
        if ran.status.success() {
            return Ok(ran.stdout);
        }
        Err(Failure::new(
            "PackagesFailed",
            format!("apt-get {}: {}", words.join(" "), last_line(&ran.stderr)),
        ))
    };
    let update = ExecTask { argv: words(&["apt-get", "--quiet", "update"]), ..ExecTask::default() };
    let updated = exec::run(host, &update, left, progress).await?;
    if !updated.status.success() {
        return Err(Failure::new(
            "PackagesFailed",
            format!("apt-get update: {}", last_line(&updated.stderr)),
        ));
    }
    let listed = listed(&ask(vec!["--simulate"]).await?);
    let mut status =
        AgentTaskStatus { packages: listed, changed: Some(false), ..AgentTaskStatus::default() };
    let worth = !status.packages.is_empty();
    match task.mode {
        PatchMode::List => {}
        PatchMode::Download if worth => drop(ask(vec!["--download-only"]).await?),
        PatchMode::Install if worth => {
            status.stdout = said(ask(vec![]).await?);
            status.changed = Some(true);
        }
        PatchMode::Download | PatchMode::Install => {}
    }
    status.reboot_required = Some(host.path("/var/run/reboot-required").exists());
    Ok(status)
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|&word| word.to_owned()).collect()
}

/// The command line: an upgrade of all, or of some that are installed.
fn arguments(more: &[&str], packages: &[String]) -> Vec<String> {
    let mut argv = words(&["apt-get", "--quiet", "--yes"]);
    argv.extend(words(&[
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
    ]));
    argv.extend(words(more));
    if packages.is_empty() {
        argv.push("upgrade".into());
    } else {
        argv.extend(words(&["install", "--only-upgrade", "--"]));
        argv.extend(packages.iter().cloned());
    }
    argv
}

/// What would be installed, as `apt-get --simulate` prints it: `Inst NAME [OLD] (NEW …)`.
fn listed(simulated: &str) -> Vec<String> {
    let package = |line: &str| {
        let mut words = line.strip_prefix("Inst ")?.split_whitespace();
        let name = words.next()?;
        let version = words.find_map(|word| word.strip_prefix('('))?;
        Some(format!("{name} {version}"))
    };
    simulated.lines().filter_map(package).collect()
}

fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_prints_is_understood() {
        // As apt 2.6 printed it.
        let text = "Reading package lists...\nInst libssl3 [3.0.11-1] (3.0.15-1 Debian:12.8/stable [amd64]) []\n\
                    Inst new (1.0 Debian:12/stable [all])\nConf libssl3 (3.0.15-1 Debian:12.8/stable [amd64])\n";
        assert_eq!(listed(text), ["libssl3 3.0.15-1", "new 1.0"]);
        let argv = arguments(&["--simulate"], &["a".into()]).join(" ");
        assert!(argv.ends_with("--simulate install --only-upgrade -- a"), "{argv}");
        assert!(arguments(&[], &[]).join(" ").ends_with("--force-confold upgrade"));
    }

    #[tokio::test]
    async fn what_is_no_package_is_refused() {
        let host = Host::new("/".as_ref());
        for wrong in ["", "-y", "a b", "a;b", "A"] {
            let task = PatchTask { packages: vec![wrong.into()], ..PatchTask::default() };
            let failure =
                patch(&host, &task, Duration::from_secs(1), &|_, _| {}).await.unwrap_err();
            assert_eq!(failure.reason, "InvalidInput", "{wrong}");
        }
    }
}
