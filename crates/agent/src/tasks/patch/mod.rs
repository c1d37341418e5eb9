//! Looks at, fetches or installs updates of packages with what manages them on this host: apt-get, zypper or dnf, a file each. They
//! ask nobody anything. This has what they share: one deadline for all commands, and the order of things.

mod apt;
mod dnf;
mod zypper;

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

/// What manages packages. In order of whom to ask where several are installed: Debian has all of them in its archive, and SUSE has dnf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Zypper,
    Dnf,
}

impl Manager {
    const ALL: [Self; 3] = [Self::Apt, Self::Zypper, Self::Dnf];

    const fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Zypper => "zypper",
            Self::Dnf => "dnf",
        }
    }

    fn of(host: &Host) -> Option<Self> {
        let there = |it: &Self| host.path(&format!("/usr/bin/{}", it.program())).exists();
        Self::ALL.into_iter().find(there)
    }

    /// Whether that can be the name of a package, and is no option.
    fn names(self, name: &str) -> bool {
        let letter = |byte: u8| match self {
            Self::Apt => {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.:".contains(&byte)
            }
            Self::Zypper | Self::Dnf => byte.is_ascii_alphanumeric() || b"+-._".contains(&byte),
        };
        !name.is_empty() && name.bytes().all(letter) && !name.starts_with(['-', '+'])
    }
}

pub(super) async fn patch(
    host: &Host,
    task: &PatchTask,
    left: Duration,
    progress: Progress<'_>,
) -> Outcome {
    let Some(manager) = Manager::of(host) else {
        let why =
            "this host has none of apt-get, zypper and dnf; packages of others are not updated yet";
        return Err(Failure::new("NotSupported", why));
    };
    let env = BTreeMap::from([("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned())]);
    let asked = Asked { host, progress, deadline: Instant::now() + left, env, options: Vec::new() };
    patched(manager, &asked, task).await
}

async fn patched(manager: Manager, asked: &Asked<'_>, task: &PatchTask) -> Outcome {
    if let Some(wrong) = task.packages.iter().find(|name| !manager.names(name)) {
        return Err(Failure::invalid(format!("{wrong:?} is not the name of a package")));
    }
    let some = &task.packages;
    let packages = match manager {
        Manager::Apt => apt::updates(asked, some).await?,
        Manager::Zypper => zypper::updates(asked, some).await?,
        Manager::Dnf => dnf::updates(asked, some).await?,
    };
    // What was asked for and has no update is no reason for the others to fail.
    let names = packages.iter().filter_map(|package| package.split(' ').next());
    let names: Vec<&str> = if some.is_empty() { Vec::new() } else { names.collect() };
    let worth = !packages.is_empty();
    let go = async |download: bool| match manager {
        Manager::Apt => asked.ask(apt::arguments(download, some), &[]).await,
        Manager::Zypper => asked.ask(zypper::arguments(download, &names), zypper::DONE).await,
        Manager::Dnf => asked.ask(dnf::arguments(download, &names), &[]).await,
    };
    let (stdout, changed) = match task.mode {
        PatchMode::Download if worth => {
            go(true).await?;
            (None, false)
        }
        PatchMode::Install if worth => (said(go(false).await?.stdout), true),
        PatchMode::List | PatchMode::Download | PatchMode::Install => (None, false),
    };
    let reboot_required = match manager {
        Manager::Apt => asked.host.path("/var/run/reboot-required").exists(),
        Manager::Zypper => zypper::reboot_required(asked).await?,
        Manager::Dnf => dnf::reboot_required(asked).await?,
    };
    Ok(AgentTaskStatus {
        packages,
        stdout,
        changed: Some(changed),
        reboot_required: Some(reboot_required),
        ..AgentTaskStatus::default()
    })
}

/// Of whom things are asked, and until when: one deadline for all commands, so that what ends one in order is there and nothing goes
/// on unseen.
struct Asked<'a> {
    host: &'a Host,
    progress: Progress<'a>,
    deadline: Instant,
    env: BTreeMap<String, String>,
    /// What each command is told besides, after its program.
    options: Vec<String>,
}

/// What a command ended with and printed.
struct Answer {
    code: i32,
    stdout: String,
}

impl Asked<'_> {
    /// Runs a command, which may end with 0 or one of `good`.
    async fn ask(&self, argv: Vec<String>, good: &[i32]) -> Result<Answer, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let told = argv.join(" ");
        let mut argv = argv.into_iter();
        let argv =
            argv.next().into_iter().chain(self.options.iter().cloned()).chain(argv).collect();
        let command = ExecTask { argv, env: self.env.clone(), ..ExecTask::default() };
        let ran = exec::run(self.host, &command, left, self.progress).await?;
        let code = exec::exit_code(ran.status);
        if code == 0 || good.contains(&code) {
            return Ok(Answer { code, stdout: ran.stdout });
        }
        let why = [&ran.stderr, &ran.stdout].into_iter().find_map(|text| last_line(text));
        let why = why.unwrap_or("it said nothing");
        Err(Failure::new("PackagesFailed", format!("{told}: {why}")))
    }
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|&word| word.to_owned()).collect()
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{
        rpms::{installed, system},
        *,
    };

    pub(super) const ROOT: &str = "/";

    /// Commands that are told these options, in this environment.
    pub(super) fn asked<'a>(
        host: &'a Host,
        options: &[String],
        env: &[(&str, String)],
    ) -> Asked<'a> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let deadline = Instant::now() + Duration::from_secs(120);
        Asked { host, progress: &|_, _| {}, deadline, env, options: options.to_vec() }
    }

    /// Does one thing with all packages.
    pub(super) async fn go(
        manager: Manager,
        asked: &Asked<'_>,
        mode: PatchMode,
    ) -> AgentTaskStatus {
        patched(manager, asked, &PatchTask { mode, packages: Vec::new() }).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_no_package_is_refused() {
        let host = Host::new(ROOT.as_ref());
        for manager in Manager::ALL {
            for wrong in ["", "-y", "a b", "a;b", "+a", "ü"] {
                let task = PatchTask { packages: vec![wrong.into()], ..PatchTask::default() };
                let failure = patched(manager, &asked(&host, &[], &[]), &task).await.unwrap_err();
                assert_eq!(failure.reason, "InvalidInput", "{wrong}");
            }
        }
        assert!(!Manager::Apt.names("A") && Manager::Dnf.names("NetworkManager"));
    }

    #[tokio::test]
    async fn a_host_is_asked_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::new(folder.path());
        let task = PatchTask::default();
        let none = patch(&host, &task, Duration::from_secs(1), &|_, _| {}).await.unwrap_err();
        assert_eq!(none.reason, "NotSupported");
        std::fs::create_dir_all(host.path("/usr/bin")).unwrap();
        for manager in [Manager::Dnf, Manager::Zypper, Manager::Apt] {
            std::fs::write(host.path(&format!("/usr/bin/{}", manager.program())), "").unwrap();
            assert_eq!(Manager::of(&host), Some(manager));
        }
    }

    /// They differ in where they look for repositories, and in how they are told where the system is.
    #[tokio::test]
    async fn real_managers_of_rpm_packages_list_fetch_and_install() {
        let host = Host::new(ROOT.as_ref());
        for (manager, repositories, root, more) in [
            (Manager::Dnf, "etc/yum.repos.d", "--installroot", &["--releasever=1"][..]),
            (Manager::Zypper, "etc/zypp/repos.d", "--root", &[]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let installed = || installed(folder.path());
            system(folder.path(), repositories);
            let root = format!("{root}={}", folder.path().join("root").display());
            let options = [vec![root], words(more)].concat();
            let asked = asked(&host, &options, &[]);
            let listed = go(manager, &asked, PatchMode::List).await;
            assert_eq!(listed.packages, ["x 2-1"], "{manager:?}");
            assert_eq!((listed.changed, listed.reboot_required), (Some(false), Some(false)));
            go(manager, &asked, PatchMode::Download).await;
            assert_eq!(installed(), "x-1-1.noarch", "{manager:?}: nothing was installed yet");
            // One that is not there is no reason for the other to fail.
            let packages = words(&["x", "none"]);
            let some = PatchTask { mode: PatchMode::Install, packages };
            let done = patched(manager, &asked, &some).await.unwrap();
            assert_eq!((done.packages, done.changed), (words(&["x 2-1"]), Some(true)));
            assert_eq!(installed(), "x-2-1.noarch", "{manager:?}");
            let none = go(manager, &asked, PatchMode::Install).await;
            assert_eq!((none.packages, none.changed), (Vec::new(), Some(false)), "{manager:?}");
        }
    }
}

/// A system of one package, `x` of version 1, and a repository that has version 2 of it, as rpm has them.
#[cfg(test)]
pub(in crate::tasks) mod rpms {
    use std::{path::Path, process::Command};

    /// Runs a command that must end well, and answers what it printed.
    pub(in crate::tasks) fn run(program: &str, arguments: &[&str]) -> String {
        // As the agent's own commands have it: Debian's rpm keeps its database there.
        let mut command = Command::new(program);
        let output = command.args(arguments).env("HOME", "/root").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes it, its system in `root`, with what says where the repository is in a file there.
    pub(in crate::tasks) fn system(folder: &Path, repositories: &str) {
        let here = folder.to_str().unwrap();
        let spec = format!("{here}/x.spec");
        let text = "Name: x\nVersion: %{v}\nRelease: 1\nSummary: a\nLicense: MIT\nBuildArch: noarch\n%description\na\n\
                    %install\nmkdir -p %{buildroot}/usr/share/x\necho %{v} > %{buildroot}/usr/share/x/version\n\
                    %files\n/usr/share/x/version\n";
        std::fs::write(&spec, text).unwrap();
        let (top, out) = (format!("_topdir {here}/build"), format!("_rpmdir {here}/repository"));
        for version in ["v 1", "v 2"] {
            let defines =
                ["-bb", "--quiet", "--define", version, "--define", &top, "--define", &out];
            run("rpmbuild", &[&defines[..], &[&spec]].concat());
        }
        run("createrepo_c", &["--quiet", &format!("{here}/repository")]);
        let root = format!("{here}/root");
        std::fs::create_dir_all(&root).unwrap();
        run("rpm", &["--root", &root, "--initdb"]);
        let first = format!("{here}/repository/noarch/x-1-1.noarch.rpm");
        run("rpm", &["--root", &root, "--install", "--nodeps", &first]);
        let text = format!(
            "[local]\nname=local\nbaseurl=file://{here}/repository\ngpgcheck=0\nenabled=1\n"
        );
        let file = folder.join("root").join(repositories).join("local.repo");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// What is installed.
    pub(in crate::tasks) fn installed(folder: &Path) -> String {
        let root = folder.join("root");
        run("rpm", &["--root", root.to_str().unwrap(), "--query", "--all"]).trim().to_owned()
    }
}
