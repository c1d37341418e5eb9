//! Looks at, fetches or installs updates of packages by `apt-get`. It keeps configuration files that people changed, and asks
//! nobody anything. Source: apt-get(8), dpkg(1) `--force-confold`.

use super::{
    Failure, Outcome,
    exec::{self, Progress},
    said,
};
use crate::host::Host;
use quarterdeck_model::kinds::{AgentTaskStatus, ExecTask, PatchMode, PatchTask};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

pub(super) async fn patch(
    host: &Host,
    task: &PatchTask,
    left: Duration,
    progress: Progress<'_>,
) -> Outcome {
    let env = BTreeMap::from([("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned())]);
    patched(host, task, (left, progress), &env).await
}

async fn patched(
    host: &Host,
    task: &PatchTask,
    (left, progress): (Duration, Progress<'_>),
    env: &BTreeMap<String, String>,
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
        let why = "this host has no apt-get; packages of others are not updated yet";
        return Err(Failure::new("NotSupported", why));
    }
    // One deadline for all of them: what ends a command in order is there, and no dpkg goes on unseen.
    let deadline = Instant::now() + left;
    let ask = async |argv: Vec<String>| {
        let left = deadline.saturating_duration_since(Instant::now());
        let said = argv.join(" ");
        let command = ExecTask { argv, env: env.clone(), ..ExecTask::default() };
        let ran = exec::run(host, &command, left, progress).await?;
        if ran.status.success() {
            return Ok(ran.stdout);
        }
        Err(Failure::new("PackagesFailed", format!("{said}: {}", last_line(&ran.stderr))))
    };
    let some = &task.packages;
    ask(words(&["apt-get", "--quiet", "update"])).await?;
    let packages = listed(&ask(arguments(&["--simulate"], some)).await?);
    let worth = !packages.is_empty();
    let mut status =
        AgentTaskStatus { packages, changed: Some(false), ..AgentTaskStatus::default() };
    match task.mode {
        PatchMode::Download if worth => drop(ask(arguments(&["--download-only"], some)).await?),
        PatchMode::Install if worth => {
            status.stdout = said(ask(arguments(&[], some)).await?);
            status.changed = Some(true);
        }
        PatchMode::List | PatchMode::Download | PatchMode::Install => {}
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
        // Written by hand, in the form of apt-get --simulate.
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

    /// A system of one package, `x` of version 1, and a repository that has version 2 of it.
    fn system(folder: &std::path::Path) {
        let write = |path: &str, text: String| {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let about = |version: u8| {
            format!(
                "Package: x\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@example.com>\nDescription: a\n"
            )
        };
        write("x/DEBIAN/control", about(2));
        write("x/usr/share/x/version", "2\n".into());
        let repository = folder.join("repository");
        std::fs::create_dir(&repository).unwrap();
        let mut build = std::process::Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(folder.join("x")).arg(&repository);
        assert!(build.output().unwrap().status.success());
        let file = std::fs::read(repository.join("x_2_all.deb")).unwrap();
        use sha2::{Digest as _, Sha256};
        let hash: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        let entry =
            format!("{}Filename: ./x_2_all.deb\nSize: {}\nSHA256: {hash}\n", about(2), file.len());
        write("repository/Packages", entry);
        write("root/var/lib/dpkg/status", format!("{}Status: install ok installed\n", about(1)));
        write("root/var/lib/dpkg/info/x.list", "/.\n".into());
        write("root/var/lib/dpkg/updates/none", String::new());
        std::fs::remove_file(folder.join("root/var/lib/dpkg/updates/none")).unwrap();
        let here = folder.display();
        write("sources.list", format!("deb [trusted=yes] file:{here}/repository ./\n"));
        for place in ["state/lists/partial", "cache/archives/partial", "log"] {
            std::fs::create_dir_all(folder.join(place)).unwrap();
        }
        write(
            "apt.conf",
            format!(
                "Dir::State \"{here}/state\";\nDir::State::status \"{here}/root/var/lib/dpkg/status\";\n\
                 Dir::Cache \"{here}/cache\";\nDir::Log \"{here}/log\";\n\
                 Dir::Etc::sourcelist \"{here}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
                 Dir::Etc::parts \"/dev/null\";\nAPT::Sandbox::User \"root\";\n\
                 DPkg::Options {{ \"--root={here}/root\"; \"--log={here}/log/dpkg\"; \"--force-not-root\"; \"--force-bad-path\"; }};\n\
                 #clear DPkg::Pre-Install-Pkgs;\n#clear DPkg::Post-Invoke;\n"
            ),
        );
    }

    #[tokio::test]
    async fn a_real_apt_lists_fetches_and_installs() {
        let folder = tempfile::tempdir().unwrap();
        system(folder.path());
        let env = BTreeMap::from([
            ("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned()),
            ("APT_CONFIG".to_owned(), folder.path().join("apt.conf").display().to_string()),
        ]);
        let host = Host::new("/".as_ref());
        let go = async |mode| {
            let task = PatchTask { mode, packages: Vec::new() };
            patched(&host, &task, (Duration::from_secs(60), &|_, _| {}), &env).await.unwrap()
        };
        let status =
            || std::fs::read_to_string(folder.path().join("root/var/lib/dpkg/status")).unwrap();
        let listed = go(PatchMode::List).await;
        assert_eq!((listed.packages, listed.changed), (vec!["x 2".to_owned()], Some(false)));
        go(PatchMode::Download).await;
        assert!(status().contains("Version: 1"), "nothing was installed yet");
        let installed = go(PatchMode::Install).await;
        assert_eq!((installed.packages, installed.changed), (vec!["x 2".to_owned()], Some(true)));
        assert!(status().contains("Version: 2"), "{}", status());
        assert!(folder.path().join("root/usr/share/x/version").exists());
        let none = go(PatchMode::Install).await;
        assert_eq!((none.packages, none.changed), (Vec::new(), Some(false)));
    }
}
