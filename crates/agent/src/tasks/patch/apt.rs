//! Looks at, fetches or installs updates of packages by `apt-get`. It keeps configuration files that people changed, and asks
//! nobody anything. Source: apt-get(8), dpkg(1) `--force-confold`.

use super::{Asked, words};
use crate::tasks::Failure;

/// What would be updated, from fresh lists.
pub(super) async fn updates(asked: &Asked<'_>, some: &[String]) -> Result<Vec<String>, Failure> {
    asked.ask(words(&["apt-get", "--quiet", "update"]), &[]).await?;
    Ok(listed(&asked.ask(upgrade(&["--simulate"], some), &[]).await?.stdout))
}

/// Fetches or installs them.
pub(super) fn arguments(download: bool, some: &[String]) -> Vec<String> {
    upgrade(if download { &["--download-only"] } else { &[] }, some)
}

/// The command line: an upgrade of all, or of some that are installed.
fn upgrade(more: &[&str], packages: &[String]) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::super::{
        Manager,
        tests::{ROOT, asked, go},
    };
    use super::*;
    use crate::host::Host;
    use quarterdeck_model::kinds::PatchMode;

    #[test]
    fn what_apt_prints_is_understood() {
        // Written by hand, in the form of apt-get --simulate.
        let text = "Reading package lists...\nInst libssl3 [3.0.11-1] (3.0.15-1 Debian:12.8/stable [amd64]) []\n\
                    Inst new (1.0 Debian:12/stable [all])\nConf libssl3 (3.0.15-1 Debian:12.8/stable [amd64])\n";
        assert_eq!(listed(text), ["libssl3 3.0.15-1", "new 1.0"]);
        let argv = upgrade(&["--simulate"], &["a".into()]).join(" ");
        assert!(argv.ends_with("--simulate install --only-upgrade -- a"), "{argv}");
        assert!(arguments(false, &[]).join(" ").ends_with("--force-confold upgrade"));
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
        let config = folder.path().join("apt.conf").display().to_string();
        let env = [("DEBIAN_FRONTEND", "noninteractive".to_owned()), ("APT_CONFIG", config)];
        let host = Host::new(ROOT.as_ref());
        let asked = asked(&host, &[], &env);
        let go = async |mode| go(Manager::Apt, &asked, mode).await;
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
