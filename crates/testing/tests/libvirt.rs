//! The libvirt and Redfish helpers together: a guest behind its BMC.

use std::process::Command;
use std::time::Duration;

use quarterdeck_testing::libvirt::{BootDevice, Definition, Hardware, Libvirt, Lifecycle};
use quarterdeck_testing::redfish::Redfish;
use quarterdeck_testing::user::RunAs;
use quarterdeck_testing::wait::wait_until;
use serde_json::{Value, json};

const HARDWARE: Hardware =
    Hardware { processors: 2, memory_gib: 1, disk_bytes: 64 << 20, mac: "52:54:00:12:34:56" };

/// The firmware takes seconds to look for a boot device, without hardware acceleration.
const BOOT_DEADLINE: Duration = Duration::from_secs(60);

mod virtual_machine {
    use super::*;

    #[tokio::test]
    async fn is_switched_by_its_bmc_and_boots_from_the_network() {
        let libvirt = Libvirt::start().await;
        let guest = libvirt.define("node-1", HARDWARE).await;
        let bmc = Redfish::over(&libvirt).await;
        let system = format!("/redfish/v1/Systems/{}", guest.uuid());

        let (_, systems) = bmc.request("GET", "/redfish/v1/Systems", &Value::Null).await;
        assert_eq!(systems["Members"], json!([{"@odata.id": system}]));
        assert!(!guest.is_on().await);
        assert_eq!(guest.boot_devices(Definition::Next).await, [BootDevice::Disk]);

        let once = json!({"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"});
        assert_eq!(bmc.request("PATCH", &system, &json!({"Boot": once})).await.0, 204);
        let reset = format!("{system}/Actions/ComputerSystem.Reset");
        for power in ["On", "On", "ForceOff", "ForceOff", "On"] {
            let (status, _) = bmc.request("POST", &reset, &json!({"ResetType": power})).await;
            assert_eq!(status, 204);
            assert_eq!(guest.is_on().await, power == "On");
        }

        let stopped = Lifecycle::Stopped("destroyed".to_owned());
        let changes = [Lifecycle::Started, stopped.clone(), Lifecycle::Started];
        assert_eq!(guest.lifecycle(), changes);
        let network_first = [BootDevice::Network, BootDevice::Disk];
        assert_eq!(guest.boot_devices(Definition::Running).await, network_first);
        assert_eq!(guest.boot_devices(Definition::Next).await, network_first);
        wait_until(BOOT_DEADLINE, "the firmware to boot from the network", async || {
            guest.console().contains("net0: 52:54:00:12:34:56")
        })
        .await;

        guest.cut_power().await;
        let (_, seen) = bmc.request("GET", &system, &Value::Null).await;
        assert_eq!(seen["PowerState"], "Off");
        assert_eq!(guest.lifecycle().last(), Some(&stopped));
    }

    #[tokio::test]
    async fn is_described_by_its_bmc() {
        let libvirt = Libvirt::start().await;
        let guest = libvirt.define("node-1", HARDWARE).await;
        let bmc = Redfish::over(&libvirt).await;
        let get = async |path: &str| {
            let path = format!("/redfish/v1/Systems/{}{path}", guest.uuid());
            let (status, value) = bmc.request("GET", &path, &Value::Null).await;
            assert_eq!(status, 200, "{path}: {value}");
            value
        };
        let system = get("").await;
        assert_eq!(system["PowerState"], "Off");
        assert_eq!(system["ProcessorSummary"]["Count"], 2);
        assert_eq!(system["MemorySummary"]["TotalSystemMemoryGiB"], 1);
        let card = get(&format!("/EthernetInterfaces/{}", HARDWARE.mac)).await;
        assert_eq!(card["MACAddress"], HARDWARE.mac);
        let storage = get("/SimpleStorage/virtio").await;
        assert_eq!(storage["Devices"][0]["CapacityBytes"], HARDWARE.disk_bytes);
    }

    /// QEMU detaches from libvirt, and libvirt may not see that its test is gone.
    #[tokio::test]
    async fn dies_with_the_test_that_started_it() {
        const NAME: &str = "QUARTERDECK_TESTING_GUEST";
        if let Ok(name) = std::env::var(NAME) {
            // The inner run of this test: start a guest, then wait to be killed.
            let libvirt = Libvirt::start().await;
            libvirt.define(&name, HARDWARE).await.power_on().await;
            wait_until(BOOT_DEADLINE, "the end", async || false).await;
        }

        // The inner run cannot clear away its folders, so they are made inside ours.
        let folder = tempfile::tempdir().unwrap();
        RunAs::Unprivileged.give(folder.path());
        let name = format!("inner-{}", std::process::id());
        let guest = || processes_with(&format!("guest={name},"));
        let mut inner = Command::new(std::env::current_exe().unwrap());
        inner.args(["--exact", "virtual_machine::dies_with_the_test_that_started_it"]);
        let mut inner = inner.env(NAME, &name).env("TMPDIR", folder.path()).spawn().unwrap();
        wait_until(BOOT_DEADLINE, "the guest to run", async || guest() > 0).await;
        inner.kill().unwrap();
        inner.wait().unwrap();
        wait_until(BOOT_DEADLINE, "the guest to be gone", async || guest() == 0).await;
    }

    /// How many processes have `text` in their command line.
    fn processes_with(text: &str) -> usize {
        std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
            .filter(|line| String::from_utf8_lossy(line).contains(text))
            .count()
    }
}
