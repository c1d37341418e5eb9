//! The machine that the agent is on: what it is ([`facts`]), how it is ([`vitals`], judged by [`health`]) and what of it is in
//! use ([`usage`]). It only looks. Everything is read below one folder, so that an agent in a container sees the host.

mod facts;
mod health;
mod packages;
mod usage;
mod vitals;

pub(crate) use health::Health;
pub(crate) use packages::named;

use packages::{Packages, RPM_FORMAT};
use quarterdeck_model::{
    agent::Usage,
    kinds::{MachineFacts, machine_agent::PackageFacts},
};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    time::{Duration, SystemTime},
};
use tokio::{process::Command, time::timeout};
use usage::Meter;
use vitals::Vitals;

/// Largest file that is read whole. `/var/lib/dpkg/status` of a large host has some megabytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// How long a command that only looks may take.
const LOOK: Duration = Duration::from_secs(10);

/// A machine.
pub(crate) struct Host {
    root: PathBuf,
    meter: Mutex<Meter>,
    /// What is told of packages, and when they changed last: looking takes long, and they change seldom.
    packages: Mutex<Option<(SystemTime, PackageFacts)>>,
}

impl Host {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.into(), meter: Mutex::default(), packages: Mutex::default() }
    }

    /// Where a file of the host is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What a file holds, as text; none when it cannot be read.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.path(path)).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        // Without a copy, where it is text.
        Some(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(other) => String::from_utf8_lossy(other.as_bytes()).into_owned(),
        })
    }

    /// How many packages are installed, and a hash of them all; none where nobody knows.
    async fn package_facts(&self) -> Option<PackageFacts> {
        let (manager, changed) = self.package_manager()?;
        if let Some((at, facts)) = &*self.kept_packages()
            && *at == changed
        {
            return Some(facts.clone());
        }
        let facts = packages::summary(manager.name(), &self.packages_of(&manager).await?);
        *self.kept_packages() = Some((changed, facts.clone()));
        Some(facts)
    }

    /// Installed packages as `NAME VERSION`, in order; none where nobody knows.
    pub(crate) async fn packages(&self) -> Option<Vec<String>> {
        let (manager, _) = self.package_manager()?;
        self.packages_of(&manager).await
    }

    fn kept_packages(&self) -> std::sync::MutexGuard<'_, Option<(SystemTime, PackageFacts)>> {
        // It holds one value, whole.
        self.packages.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What knows of packages, and when they changed last.
    fn package_manager(&self) -> Option<(Packages, SystemTime)> {
        Packages::ALL.into_iter().find_map(|it| {
            let changed = self.path(it.file()).metadata().and_then(|file| file.modified()).ok()?;
            Some((it, changed))
        })
    }

    async fn packages_of(&self, manager: &Packages) -> Option<Vec<String>> {
        match manager {
            Packages::Dpkg(file) => Some(packages::of_dpkg(&self.read(file)?)),
            Packages::Rpm(file) => {
                let folder = self.path(file).parent()?.to_str()?.to_owned();
                let arguments =
                    ["--dbpath", &folder, "--query", "--all", "--queryformat", RPM_FORMAT];
                Some(packages::of_rpm(&look("rpm", &arguments).await?))
            }
        }
    }

    /// Which start of the operating system this is; empty when it does not say.
    pub(crate) fn boot_id(&self) -> String {
        self.read("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }

    /// How it calls itself; empty when it does not say.
    pub(crate) fn name(&self) -> String {
        self.read("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
    }

    /// What the machine is.
    pub(crate) async fn facts(&self) -> MachineFacts {
        facts::facts(self).await
    }

    /// How it is now.
    pub(crate) async fn vitals(&self) -> Vitals {
        vitals::vitals(self).await
    }

    /// What of it is in use, since that was asked last.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let (stat, memory) = (self.read("/proc/stat")?, self.read("/proc/meminfo")?);
        // It holds two numbers, either of which is good.
        let mut meter = self.meter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        meter.read(&stat, &memory, std::time::Instant::now())
    }

    /// What a command of the host prints, if it does so in time.
    async fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        // In a container, the host's programs are not this system's.
        if self.root != Path::new("/") {
            return None;
        }
        look(program, arguments).await
    }
}

/// What a command that only looks prints, if it does so in time.
async fn look(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LOOK, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
