//! A private libvirt with QEMU guests: machines that really go off and on, behind which
//! [`crate::redfish::Redfish`] puts a BMC. Must never touch the machine's own libvirt.
//!
//! How it is kept private: as root, libvirtd keeps its state in the machine's own folders, so it
//! runs as an ordinary user, where the XDG variables put everything under one folder. It runs in
//! its own process namespace, because QEMU detaches from it: when the namespace's first process is
//! killed, the kernel ends all guests with it, however the test ended. Guests run without hardware
//! acceleration (TCG), which works on every machine, nested or not.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, run};
use crate::user::RunAs;

/// How long libvirtd may take to listen: it asks QEMU for its abilities first, about a second.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The name of the storage pool that holds the disks. sushy-tools reports only disks that are
/// volumes of a pool, and looks for virtual media in a pool of this name.
const POOL: &str = "default";

/// A libvirt of its own, gone with all its guests when dropped.
#[derive(Debug)]
pub struct Libvirt {
    process: Process,
    folder: TempDir,
}

/// What a guest is made of.
#[derive(Debug, Clone, Copy)]
pub struct Hardware {
    /// Virtual processors.
    pub processors: u32,
    /// Memory; whole GiB, since sushy-tools leaves out what is less. Only what the guest touches
    /// is taken from the machine, and firmware alone touches little.
    pub memory_gib: u32,
    /// The size of its one disk, which is empty and takes no room.
    pub disk_bytes: u64,
    /// The hardware address of its one network card. The network leads nowhere, but the firmware
    /// gets an address on it and looks for something to boot.
    pub mac: &'static str,
}

/// One guest of a [`Libvirt`].
#[derive(Debug, Clone)]
pub struct Guest {
    name: String,
    uuid: String,
    uri: String,
    console: PathBuf,
    /// Where libvirt itself writes down when the guest was started and stopped, and why. Unlike
    /// the events of `virsh event`, it is written before the call that does so returns.
    log: PathBuf,
}

/// A power change of a guest, from libvirt's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifecycle {
    /// The guest was powered on.
    Started,
    /// The guest went off, and libvirt's word for why: `destroyed` when it was forced off,
    /// `shutdown` when it did so itself.
    Stopped(String),
}

/// Something a guest can boot from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootDevice {
    /// A hard disk.
    Disk,
    /// A network card.
    Network,
    /// A CD drive.
    Cdrom,
}

/// Which of a guest's two definitions is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Definition {
    /// What the guest runs with now.
    Running,
    /// What it gets when it is powered on next.
    Next,
}

impl Libvirt {
    /// Starts a libvirtd with an empty storage pool and no guests.
    ///
    /// # Panics
    /// When libvirt is not installed, or process namespaces are not allowed.
    pub async fn start() -> Self {
        // A short name: the paths of libvirt's sockets are long, and the kernel takes 107 bytes.
        let folder = tempfile::Builder::new()
            .prefix("libvirt-")
            .tempdir()
            .expect("a temporary folder for libvirt");
        let root = folder.path();
        // No confinement: the host's security modules know nothing of our folders. Logs are left to
        // virtlogd, which libvirtd starts by itself (in our namespace): without it, an ordinary
        // user's libvirtd empties a guest's log at every start, and its history is lost.
        let configuration = "security_driver = \"none\"\n";
        let folders = ["config", "config/libvirt", "run", "cache", "data", "pool"];
        for name in folders {
            std::fs::create_dir(root.join(name)).expect("a folder for libvirt");
        }
        std::fs::write(root.join("config/libvirt/qemu.conf"), configuration).expect("qemu.conf");
        RunAs::Unprivileged.give(root);
        for name in folders {
            RunAs::Unprivileged.give(&root.join(name));
        }

        let mut command = Command::new("unshare");
        command.args(namespace_arguments()).current_dir(root);
        // The shell is the namespace's first process: it waits for guests that libvirtd leaves
        // behind, as libvirtd itself would not, and libvirtd would wait for their end forever.
        command.args(["bash", "-c", "/usr/sbin/libvirtd & wait"]).env("HOME", root);
        let xdg = [("CONFIG_HOME", "config"), ("RUNTIME_DIR", "run"), ("CACHE_HOME", "cache")];
        for (variable, name) in xdg.into_iter().chain([("DATA_HOME", "data")]) {
            command.env(format!("XDG_{variable}"), root.join(name));
        }
        let log = root.join("libvirtd.log");
        let process = Process::start("libvirtd", &command, RunAs::Caller, &log);
        let mut libvirt = Self { process, folder };

        let uri = libvirt.uri();
        libvirt
            .process
            .wait_until_ready(START_DEADLINE, "libvirt answered", async |_| {
                try_virsh(&uri, &["list"]).await
            })
            .await;
        let pool = path(&libvirt.folder.path().join("pool"));
        virsh(&uri, &["pool-define-as", POOL, "dir", "--target", &pool]).await;
        virsh(&uri, &["pool-start", POOL]).await;
        libvirt
    }

    /// The address at which libvirt's own clients reach this libvirt.
    #[must_use]
    pub fn uri(&self) -> String {
        let socket = self.folder.path().join("run/libvirt/libvirt-sock");
        format!("qemu:///session?socket={}", path(&socket))
    }

    /// Defines a guest, powered off, that boots from its disk.
    ///
    /// # Panics
    /// When libvirt refuses, as when the name is taken.
    pub async fn define(&self, name: &str, hardware: Hardware) -> Guest {
        let root = self.folder.path();
        let uri = self.uri();
        let disk = format!("{name}.raw");
        let capacity = hardware.disk_bytes.to_string();
        virsh(&uri, &["vol-create-as", POOL, &disk, &capacity, "--format", "raw"]).await;
        let console = root.join(format!("{name}.console"));
        let definition = root.join(format!("{name}.xml"));
        let disk = root.join("pool").join(disk);
        std::fs::write(&definition, domain_xml(name, hardware, &disk, &console))
            .expect("the guest's definition");
        virsh(&uri, &["define", &path(&definition)]).await;
        let uuid = virsh(&uri, &["domuuid", name]).await.trim().to_owned();
        let log = root.join(format!("cache/libvirt/qemu/log/{name}.log"));
        Guest { name: name.to_owned(), uuid, uri, console, log }
    }
}

impl Guest {
    /// The name it was defined with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine's UUID, which is also its id in the Redfish service.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// True while libvirt says the guest is powered on.
    ///
    /// # Panics
    /// When libvirt does not answer, or names a state that is neither.
    pub async fn is_on(&self) -> bool {
        match virsh(&self.uri, &["domstate", &self.name]).await.trim() {
            // Its operating system was asked to shut down and has not.
            "running" | "in shutdown" => true,
            "shut off" => false,
            state => panic!("guest {} is neither on nor off but {state}", self.name),
        }
    }

    /// Powers the guest on by libvirt itself, as someone at the machine would.
    ///
    /// # Panics
    /// When libvirt refuses, as when it is on already.
    pub async fn power_on(&self) {
        virsh(&self.uri, &["start", &self.name]).await;
    }

    /// Cuts the guest's power by libvirt itself, as someone at the machine would.
    ///
    /// # Panics
    /// When libvirt refuses, as when it is off already.
    pub async fn cut_power(&self) {
        virsh(&self.uri, &["destroy", &self.name]).await;
    }

    /// What the guest boots from, first choice first.
    ///
    /// # Panics
    /// When libvirt does not answer.
    pub async fn boot_devices(&self, definition: Definition) -> Vec<BootDevice> {
        let mut arguments = vec!["dumpxml", self.name.as_str()];
        if definition == Definition::Next {
            arguments.push("--inactive");
        }
        boot_devices(&virsh(&self.uri, &arguments).await)
    }

    /// Every power change since the guest was defined, in order.
    #[must_use]
    pub fn lifecycle(&self) -> Vec<Lifecycle> {
        // The log does not exist before the first start.
        lifecycle(&std::fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// What the guest has printed on its serial console since it was defined: its firmware says
    /// what it boots from.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes = std::fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Arguments of `unshare` for a process namespace, with the user who runs libvirtd inside.
fn namespace_arguments() -> Vec<OsString> {
    let mut arguments = vec!["--pid", "--fork", "--mount-proc"];
    if !rustix::process::geteuid().is_root() {
        // An ordinary user may make such a namespace only inside one for users.
        arguments.extend(["--user", "--map-current-user"]);
    }
    // The wish to die with `unshare` is lost when the user changes, so it is not left to
    // `unshare --kill-child` but expressed after that.
    arguments.extend(["--", "setpriv", "--pdeathsig", "KILL"]);
    let mut arguments: Vec<_> = arguments.into_iter().map(OsString::from).collect();
    arguments.extend(RunAs::Unprivileged.setpriv_arguments());
    arguments.push("--".into());
    arguments
}

fn domain_xml(name: &str, hardware: Hardware, disk: &Path, console: &Path) -> String {
    let Hardware { processors, memory_gib, mac, .. } = hardware;
    let (disk, console) = (path(disk), path(console));
    // `graphics=off` makes the firmware talk on the serial console. libvirt has no word for it.
    format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <memory unit='GiB'>{memory_gib}</memory>
  <vcpu>{processors}</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
    </disk>
    <interface type='user'><mac address='{mac}'/><model type='virtio'/></interface>
    <serial type='file'><source path='{console}' append='on'/><target port='0'/></serial>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-machine'/><qemu:arg value='graphics=off'/>
  </qemu:commandline>
</domain>
"
    )
}

/// The boot devices of a definition as libvirt prints it, one element a line. There are two forms,
/// never both in one definition: `<boot dev='hd'/>` of the whole machine, in order, and
/// `<boot order='1'/>` inside a device.
fn boot_devices(xml: &str) -> Vec<BootDevice> {
    let mut in_order = Vec::new();
    let mut numbered = BTreeMap::new();
    let mut device = None;
    for line in xml.lines().map(str::trim) {
        if line.starts_with("<interface ") {
            device = Some(BootDevice::Network);
        } else if line.starts_with("<disk ") {
            let cdrom = line.contains("device='cdrom'");
            device = Some(if cdrom { BootDevice::Cdrom } else { BootDevice::Disk });
        } else if let Some(order) = quoted(line, "<boot order='") {
            numbered.extend(order.parse::<u32>().ok().zip(device));
        } else if let Some(name) = quoted(line, "<boot dev='") {
            in_order.extend(match name {
                "hd" => Some(BootDevice::Disk),
                "network" => Some(BootDevice::Network),
                "cdrom" => Some(BootDevice::Cdrom),
                _ => None,
            });
        }
    }
    in_order.into_iter().chain(numbered.into_values()).collect()
}

/// The power changes in a guest's log. The lines are libvirt's, from `qemu_process.c`:
/// `TIME: starting up libvirt version: …` and `TIME: shutting down, reason=WORD`.
fn lifecycle(log: &str) -> Vec<Lifecycle> {
    log.lines()
        .filter_map(|line| {
            if line.contains(": starting up libvirt version: ") {
                return Some(Lifecycle::Started);
            }
            let (_, reason) = line.split_once(": shutting down, reason=")?;
            Some(Lifecycle::Stopped(reason.trim().to_owned()))
        })
        .collect()
}

/// What stands between `prefix` at the start of `line` and the next quote.
fn quoted<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    Some(line.strip_prefix(prefix)?.split_once('\'')?.0)
}

async fn virsh(uri: &str, arguments: &[&str]) -> String {
    try_virsh(uri, arguments).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn try_virsh(uri: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("virsh");
    command.args(["--quiet", "--connect", uri]).args(arguments);
    run(&command, "").await.map(|output| output.stdout).map_err(|error| {
        let mut text = error.to_string();
        let _ = write!(text, " (virsh {})", arguments.join(" "));
        text
    })
}

/// A path under the temporary folder as text.
fn path(path: &Path) -> String {
    path.to_str().unwrap_or_else(|| panic!("the temporary folder {path:?} is not UTF-8")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_devices_are_read_in_both_forms() {
        let machine = "<os>\n  <boot dev='network'/>\n  <boot dev='hd'/>\n</os>\n";
        assert_eq!(boot_devices(machine), [BootDevice::Network, BootDevice::Disk]);

        let devices = "<disk type='file' device='disk'>\n  <boot order='3'/>\n</disk>
            <disk type='file' device='cdrom'>\n  <boot order='2'/>\n</disk>
            <interface type='user'>\n  <boot order='1'/>\n</interface>\n";
        assert_eq!(
            boot_devices(devices),
            [BootDevice::Network, BootDevice::Cdrom, BootDevice::Disk]
        );
        assert_eq!(boot_devices("<os>\n</os>\n"), []);
    }

    #[test]
    fn power_changes_are_read_from_the_log() {
        let log = "2026-11-23 20:40:43.123+0000: starting up libvirt version: 9.0.0, package: x
            LC_ALL=C \\
            /usr/bin/qemu-system-x86_64 \\
            2026-11-23T20:40:44.0Z qemu-system-x86_64: terminating on signal 15
            2026-11-23 20:40:45.133+0000: shutting down, reason=destroyed\n";
        let stopped = Lifecycle::Stopped("destroyed".to_owned());
        assert_eq!(lifecycle(log), [Lifecycle::Started, stopped]);
    }
}
