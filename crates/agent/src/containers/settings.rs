//! What a host lets containers do, and how long things take. Whoever owns the host says so; no object can.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

/// Settings of the containers of one host.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Socket of the Docker Engine, or of Podman's service that speaks its API.
    pub engine: PathBuf,
    /// Identity of this host. Several agents may share an engine; each touches only what carries its own.
    pub host: String,
    /// Folder for what must outlive a restart of the host. Only root reads it.
    pub data: PathBuf,
    /// Folder for secrets. It is in memory, so that they are gone with the power.
    pub secrets: PathBuf,
    /// Address of the host at which ports are published.
    pub publish: IpAddr,
    /// Paths of the host that containers may mount, with all that is below them.
    pub host_paths: Vec<HostPath>,
    /// Rights of the kernel that may be added to those that the engine gives.
    pub capabilities: BTreeSet<String>,
    /// Whether containers may have the network of the host.
    pub host_network: bool,
    /// How long things take.
    pub timings: Timings,
    /// When images go.
    pub images: ImageRules,
}

/// A path of the host that containers may mount.
#[derive(Debug, Clone)]
pub struct HostPath {
    /// The path.
    pub path: PathBuf,
    /// Whether they may write there.
    pub writable: bool,
}

/// How long things take. The defaults are Kubernetes' where it has one.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// How long it is waited before the second restart of a container; doubled for each after it.
    pub backoff: Duration,
    /// Longest wait.
    pub backoff_max: Duration,
    /// A container that ran so long begins with no wait again.
    pub backoff_reset: Duration,
    /// How often all is looked at, though nothing was heard.
    pub resync: Duration,
    /// How long the engine may be silent until what it runs is no longer taken for ready.
    pub engine_silence: Duration,
    /// How long a pull may go without progress.
    pub pull_stall: Duration,
    /// What a container that nobody asked for is given to end.
    pub orphan_grace: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            backoff: Duration::from_secs(10),
            backoff_max: Duration::from_secs(300),
            backoff_reset: Duration::from_secs(600),
            resync: Duration::from_secs(60),
            engine_silence: Duration::from_secs(30),
            pull_stall: Duration::from_secs(120),
            orphan_grace: Duration::from_secs(30),
        }
    }
}

/// When images that this agent pulled are removed. Those that somebody else brought are never touched.
#[derive(Debug, Clone, Copy)]
pub struct ImageRules {
    /// How often they are looked at.
    pub every: Duration,
    /// An image that nothing has used for so long goes.
    pub unused_max: Duration,
    /// One that was used within so long stays, however full the disk is.
    pub unused_min: Duration,
    /// Share of the disk, in percent, from which unused ones go, those unused for longest first.
    pub disk_high_percent: u8,
    /// Share at which that ends.
    pub disk_low_percent: u8,
}

impl Default for ImageRules {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(300),
            unused_max: Duration::from_secs(14 * 24 * 3600),
            unused_min: Duration::from_secs(120),
            disk_high_percent: 85,
            disk_low_percent: 80,
        }
    }
}

impl Settings {
    /// Settings of a host with nothing allowed, and folders under `data`.
    #[must_use]
    pub fn new(host: impl Into<String>, data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        Self {
            engine: "/run/docker.sock".into(),
            host: host.into(),
            data,
            secrets: "/dev/shm/quarterdeck-agent".into(),
            publish: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            host_paths: Vec::new(),
            capabilities: BTreeSet::new(),
            host_network: false,
            timings: Timings::default(),
            images: ImageRules::default(),
        }
    }

    /// Whether a path of the host, with all links followed, may be mounted; and whether it may be written.
    pub(super) fn allows(&self, path: &Path) -> Option<bool> {
        let rules = self.host_paths.iter().filter(|rule| path.starts_with(&rule.path));
        rules.map(|rule| rule.writable).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_an_allowed_path_is_allowed() {
        let rule = |path: &str, writable| HostPath { path: path.into(), writable };
        let settings = Settings {
            host_paths: vec![rule("/srv", false), rule("/srv/data", true)],
            ..Settings::new("h", "/x")
        };
        for (path, allowed) in [
            ("/srv", Some(false)),
            ("/srv/a", Some(false)),
            ("/srv/data/b", Some(true)),
            ("/srv2", None),
            ("/", None),
            ("/etc", None),
        ] {
            assert_eq!(settings.allows(Path::new(path)), allowed, "{path}");
        }
        assert_eq!(Settings::new("h", "/x").allows(Path::new("/srv")), None);
    }
}
