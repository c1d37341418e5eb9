//! What a machine is, from the files of its kernel and system. What cannot be read is left out.
//! Source: os-release(5), proc(5), sysfs(5), ip-address(8).

use super::{Host, usage::kilobytes};
use jiff::Timestamp;
use quarterdeck_model::{
    Time,
    kinds::{
        MachineFacts,
        machine_agent::{CpuFacts, DiskFacts, FileSystemFacts, InterfaceFacts, OsFacts},
    },
};
use serde::Deserialize;
use std::fs;

/// Block devices that are not disks.
const NOT_DISKS: [&str; 5] = ["loop", "ram", "zram", "dm-", "md"];
/// Interfaces that come and go with what runs on the host (`ip -details`, `info_kind`): each would be a change of its facts.
const PASSING: [&str; 4] = ["veth", "ifb", "tun", "dummy"];
/// File systems on disks.
const ON_DISKS: [&str; 7] = ["ext4", "ext3", "ext2", "xfs", "btrfs", "zfs", "f2fs"];
/// Where container engines are heard.
const ENGINES: [(&str, &str); 2] =
    [("docker", "/var/run/docker.sock"), ("podman", "/run/podman/podman.sock")];

pub(super) async fn facts(host: &Host) -> MachineFacts {
    let text = |path: &str| host.read(path).unwrap_or_default();
    let trimmed = |path: &str| text(path).trim().to_owned();
    let memory = text("/proc/meminfo");
    let engine = ENGINES.iter().find(|(_, socket)| host.path(socket).exists());
    let facts = MachineFacts {
        hostname: trimmed("/proc/sys/kernel/hostname"),
        boot_id: host.boot_id(),
        booted: booted(&text("/proc/stat")),
        os: OsFacts {
            kernel: trimmed("/proc/sys/kernel/osrelease"),
            architecture: architecture().into(),
            ..os(&text("/etc/os-release"))
        },
        cpu: cpu(&text("/proc/cpuinfo")),
        memory_bytes: kilobytes(&memory, "MemTotal:").unwrap_or(0) * 1_024,
        disks: disks(host),
        file_systems: file_systems(host),
        interfaces: interfaces(host).await,
        packages: host.package_facts().await,
        container_engine: engine.map(|(name, _)| (*name).into()),
        reboot_required: host.path("/var/run/reboot-required").exists(),
    };
    facts.bounded()
}

fn booted(stat: &str) -> Option<Time> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Timestamp::from_second(line.trim().parse().ok()?).ok().map(Time::seconds)
}

fn os(release: &str) -> OsFacts {
    let field = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches(['"', '\'']).to_owned()).unwrap_or_default()
    };
    let (id, version, name) = (field("ID"), field("VERSION_ID"), field("PRETTY_NAME"));
    OsFacts { id, version, name, ..OsFacts::default() }
}

fn cpu(info: &str) -> CpuFacts {
    let field = |line: &str, name: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    };
    let count = info.lines().filter(|line| field(line, "processor").is_some()).count();
    let model = info.lines().find_map(|line| field(line, "model name")).unwrap_or_default();
    CpuFacts { count: u32::try_from(count).unwrap_or(u32::MAX), model }
}

/// As Kubernetes names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn names(host: &Host, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(host.path(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

fn disks(host: &Host) -> Vec<DiskFacts> {
    let disk = |name: String| {
        let read = |file: &str| {
            host.read(&format!("/sys/block/{name}/{file}")).map(|text| text.trim().to_owned())
        };
        // In sectors of 512 bytes, whatever the disk has.
        let size_bytes = read("size")?.parse::<u64>().ok()?.saturating_mul(512);
        let rotational = read("queue/rotational").as_deref() == Some("1");
        let model = read("device/model").filter(|model| !model.is_empty());
        (size_bytes > 0).then_some(DiskFacts { name, size_bytes, model, rotational })
    };
    let all = names(host, "/sys/block").into_iter();
    all.filter(|name| !NOT_DISKS.iter().any(|start| name.starts_with(start)))
        .filter_map(disk)
        .collect()
}

/// Mounts of file systems on disks: where, and of what type.
pub(super) fn mounts(host: &Host) -> Vec<(String, String)> {
    let mounts = host.read("/proc/mounts").unwrap_or_default();
    let mut found: Vec<(String, String)> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (mount, kind) = (fields.next()?, fields.next()?);
            // Spaces are written in octal.
            let mount = mount.replace("\\040", " ");
            (ON_DISKS.contains(&kind) || mount == "/").then(|| (mount, kind.to_owned()))
        })
        .collect();
    found.sort_unstable();
    found.dedup_by(|one, other| one.0 == other.0);
    found
}

fn file_systems(host: &Host) -> Vec<FileSystemFacts> {
    let sized = |(mount, kind): (String, String)| {
        let seen = rustix::fs::statvfs(host.path(&mount)).ok()?;
        let size_bytes = seen.f_blocks.saturating_mul(seen.f_frsize);
        Some(FileSystemFacts { mount, kind, size_bytes })
    };
    mounts(host).into_iter().filter_map(sized).collect()
}

/// An interface, as `ip -json address` prints it.
#[derive(Deserialize)]
struct Interface {
    ifname: String,
    #[serde(default)]
    link_type: String,
    address: Option<String>,
    #[serde(default)]
    addr_info: Vec<Address>,
    #[serde(default)]
    linkinfo: LinkInfo,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LinkInfo {
    info_kind: String,
}

#[derive(Deserialize)]
struct Address {
    local: String,
    prefixlen: u8,
    #[serde(default)]
    scope: String,
}

async fn interfaces(host: &Host) -> Vec<InterfaceFacts> {
    let main = main_interface(&host.read("/proc/net/route").unwrap_or_default());
    match host.ask("ip", &["-json", "-details", "address"]).await {
        Some(text) => addresses(&text, &main),
        // Without that, what there is.
        None => {
            let all = names(host, "/sys/class/net").into_iter().filter(|name| name != "lo");
            all.map(|name| {
                let mac = host.read(&format!("/sys/class/net/{name}/address"));
                let mac = mac.map(|mac| mac.trim().to_owned());
                InterfaceFacts { name, mac, addresses: Vec::new() }
            })
            .collect()
        }
    }
}

/// The interface of the default route; empty when there is none. Source: proc_net_route(5).
fn main_interface(routes: &str) -> String {
    let line = routes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let main = line.filter(|fields| fields.get(1) == Some(&"00000000"));
    main.filter_map(|fields| fields.first().map(|name| (*name).to_owned()))
        .next()
        .unwrap_or_default()
}

/// That of the default route first: its address is the host's.
fn addresses(text: &str, main: &str) -> Vec<InterfaceFacts> {
    let all: Vec<Interface> = serde_json::from_str(text).unwrap_or_default();
    let stays =
        |it: &Interface| it.link_type != "loopback" && !PASSING.contains(&&*it.linkinfo.info_kind);
    let all = all.into_iter().filter(stays);
    let mut all: Vec<InterfaceFacts> = all
        .map(|Interface { ifname, address, addr_info, .. }| {
            let addresses = addr_info.into_iter().filter(|it| it.scope != "link");
            let addresses = addresses.map(|it| format!("{}/{}", it.local, it.prefixlen)).collect();
            InterfaceFacts { name: ifname, mac: address, addresses }
        })
        .collect();
    all.sort_by_key(|interface| (interface.name != main, interface.name.clone()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_understood() {
        let release =
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n";
        let found = os(release);
        assert_eq!((&*found.id, &*found.version), ("debian", "12"));
        assert_eq!(found.name, "Debian GNU/Linux 12 (bookworm)");
        let info = "processor\t: 0\nmodel name\t: A B\nprocessor\t: 1\nmodel name\t: A B\n";
        assert_eq!(cpu(info), CpuFacts { count: 2, model: "A B".into() });
        assert_eq!(
            booted("cpu 1\nbtime 1772366400\n").unwrap().to_string(),
            "2026-03-01T12:00:00Z"
        );
        // As iproute2 6.1 prints it.
        let ip = r#"[{"ifindex":1,"ifname":"lo","link_type":"loopback","address":"00:00:00:00:00:00",
            "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
            {"ifindex":2,"ifname":"eth0","link_type":"ether","address":"52:54:00:12:34:56","addr_info":[
            {"family":"inet","local":"192.0.2.7","prefixlen":24,"scope":"global"},
            {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
            {"ifindex":3,"ifname":"docker0","link_type":"ether","linkinfo":{"info_kind":"bridge"},
            "addr_info":[{"family":"inet","local":"172.17.0.1","prefixlen":16,"scope":"global"}]},
            {"ifindex":4,"ifname":"veth1","link_type":"ether","linkinfo":{"info_kind":"veth"}}]"#;
        let routes =
            "Iface\tDestination\tGateway\neth0\t00000000\t010200C0\ndocker0\t000011AC\t00000000\n";
        let found = addresses(ip, &main_interface(routes));
        let names: Vec<&str> = found.iter().map(|interface| interface.name.as_str()).collect();
        assert_eq!(names, ["eth0", "docker0"]);
        assert_eq!(found[0].addresses, ["192.0.2.7/24"]);
        assert!(addresses("nonsense", "").is_empty());
    }

    #[tokio::test]
    async fn this_machine_says_what_it_is() {
        let facts = facts(&Host::new("/".as_ref())).await;
        assert!(facts.cpu.count > 0 && facts.memory_bytes > 0, "{facts:?}");
        assert!(!facts.boot_id.is_empty() && !facts.os.kernel.is_empty(), "{facts:?}");
        assert!(facts.file_systems.iter().any(|system| system.mount == "/"), "{facts:?}");
    }
}
