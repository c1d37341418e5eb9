//! The main job on real parts: an operator describes a server with kubectl, and a durable run
//! power-cycles it through its BMC while the plane is killed in the middle.
//!
//! The server is a QEMU guest, the BMC is sushy-tools over libvirt, and it is libvirt that is
//! asked in the end what happened to the machine.

use std::time::Duration;

use quarterdeck_testing::libvirt::{BootDevice, Definition, Guest, Hardware, Libvirt, Lifecycle};
use quarterdeck_testing::plane::Plane;
use quarterdeck_testing::redfish::{PASSWORD, Redfish, USER};
use quarterdeck_testing::wait::{wait_for, wait_until};
use serde_json::{Value, json};

/// What is in the machine, and so must be in the server's inventory.
const HARDWARE: Hardware =
    Hardware { processors: 2, memory_gib: 1, disk_bytes: 64 << 20, mac: "52:54:00:6b:3c:58" };

/// The server and all it refers to, as an operator would write them.
fn objects(bmc: &Redfish, guest: &Guest) -> String {
    let url = bmc.url();
    let authority = bmc.authority_pem().replace('\n', "\n    ");
    let uuid = guest.uuid();
    format!(
        "
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Site
metadata: {{name: ams-1}}
spec: {{region: eu-west, halls: [north]}}
---
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Rack
metadata: {{name: ams-1-a01}}
spec: {{site: ams-1, hall: north, units: 42}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bmc-ams-1, namespace: default}}
type: kubernetes.io/basic-auth
stringData: {{username: {USER}, password: {PASSWORD}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bmc-authority, namespace: default}}
stringData:
  ca.crt: |
    {authority}
---
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Server
metadata: {{name: ams-1-a01-u07}}
spec:
  location: {{rack: ams-1-a01, unit: 7}}
  bmc:
    address: {url}
    protocol: Redfish
    systemId: {uuid}
    credentialsSecretRef: {{namespace: default, name: bmc-ams-1}}
    tls:
      verify: Full
      caSecretRef: {{namespace: default, name: bmc-authority}}
"
    )
}

/// What the operator wants done, and the order to do it. There is no operating system in the
/// machine that would answer, so it gets only a moment to shut down.
const RUNBOOK: &str = "
apiVersion: workflows.quarterdeck.dev/v1alpha1
kind: Runbook
metadata: {name: boot-from-network}
spec:
  target: {kind: Server}
  steps:
    - name: choose-network
      action: boot.next
      with: {device: Network}
    - name: power-off
      action: power.set
      with: {state: \"Off\", grace: 2s}
      disruptive: true
      timeout: 1m
      retry: {attempts: 4, backoff: 1s, maxBackoff: 5s}
    - name: power-on
      action: power.set
      with: {state: \"On\"}
      timeout: 1m
      retry: {attempts: 4, backoff: 1s, maxBackoff: 5s}
";

/// One execution of it.
fn run(name: &str) -> String {
    format!(
        "
apiVersion: workflows.quarterdeck.dev/v1alpha1
kind: Run
metadata: {{name: {name}, namespace: default}}
spec:
  runbook: boot-from-network
  target: {{kind: Server, name: ams-1-a01-u07}}
"
    )
}

/// The steps of the runbook.
const STEPS: [&str; 3] = ["choose-network", "power-off", "power-on"];
/// Those of them that disrupt.
const FELT: [&str; 2] = ["power-off", "power-on"];

/// A moment in a run at which the plane is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The run has just been accepted.
    Accepted,
    /// The journal says that a step has begun; its action may be anywhere in what it does.
    Begun(&'static str),
    /// The machine has gone off, which the journal cannot know yet.
    Off,
    /// The machine is on again, which the journal cannot know yet.
    On,
}

impl Moment {
    /// Waits for it.
    async fn wait(self, plane: &Plane, run: &str, guest: &Guest, changes_before: usize) {
        match self {
            Moment::Accepted => {}
            Moment::Begun(step) => {
                let what = format!("{step} to begin");
                wait_until(PLANE_DEADLINE, &what, async || begun(plane, run, step).await).await;
            }
            // libvirt's log tells, since the machine may be on again before the next look.
            Moment::Off | Moment::On => {
                let more = if matches!(self, Moment::Off) { 1 } else { 2 };
                let changed = async || guest.lifecycle().len() >= changes_before + more;
                wait_until(PLANE_DEADLINE, &format!("{self:?}"), changed).await;
            }
        }
    }
}

/// Whether a step is in the journal of a run.
async fn begun(plane: &Plane, run: &str, step: &str) -> bool {
    let template = "jsonpath={.status.steps[?(@.startTime)].name}";
    let steps = plane.kubectl(&["get", run, "--output", template]).await;
    steps.split_whitespace().any(|name| name == step)
}

/// How long the plane may take for what it does by itself: reach and inspect a server, end a run.
const PLANE_DEADLINE: Duration = Duration::from_secs(90);

/// The firmware takes seconds to look for a boot device, without hardware acceleration.
const BOOT_DEADLINE: Duration = Duration::from_secs(60);

/// Waits until a field of an object, by its JSON pointer, has `value`, and answers the object.
async fn wait_for_field(plane: &Plane, object: &str, field: &str, value: &str) -> Value {
    wait_for(PLANE_DEADLINE, &format!("{field} of {object} to be {value}"), async || {
        let text = plane.try_kubectl(&["get", object, "--output", "json"]).await;
        let seen: Value = serde_json::from_str(&text.map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?;
        if seen.pointer(field).is_some_and(|found| found == value) {
            Ok(seen)
        } else {
            Err(format!("{:#}", seen.pointer("/status").unwrap_or(&seen)))
        }
    })
    .await
}

/// The reasons and messages of an object's events, in the order they happened.
async fn events(plane: &Plane, kind: &str, name: &str) -> Vec<String> {
    let selector = format!("involvedObject.kind={kind},involvedObject.name={name}");
    let template = "jsonpath={range .items[*]}{.reason}{\" \"}{.message}{\"\\n\"}{end}";
    let arguments = ["get", "events", "--sort-by", ".eventTime"];
    let more = ["--field-selector", &selector, "--output", template];
    let text = plane.kubectl(&[&arguments[..], &more[..]].concat()).await;
    text.lines().map(str::to_owned).collect()
}

mod virtual_machine {
    use super::*;

    #[tokio::test]
    async fn is_power_cycled_once_by_a_run_that_outlives_a_kill_of_the_plane() {
        // A machine in a rack, on, with a BMC that can be reached.
        let libvirt = Libvirt::start().await;
        let guest = libvirt.define("ams-1-a01-u07", HARDWARE).await;
        guest.power_on().await;
        let bmc = Redfish::over(&libvirt).await;
        let mut plane = Plane::start(env!("CARGO_BIN_EXE_quarterdeck")).await;

        // The operator describes it; the plane finds out the rest.
        plane.apply(&objects(&bmc, &guest)).await;
        let server = "server/ams-1-a01-u07";
        let seen = wait_for_field(&plane, server, "/status/phase", "Ready").await;
        let status = &seen["status"];
        assert_eq!(status["powerState"], "On");
        let found = &status["inventory"];
        assert_eq!(found["uuid"], guest.uuid());
        assert_eq!(found["cpus"], HARDWARE.processors);
        assert_eq!(found["memoryBytes"], u64::from(HARDWARE.memory_gib) << 30);
        assert_eq!(found["networkInterfaces"][0]["macAddress"], HARDWARE.mac);
        assert_eq!(found["drives"][0]["bytes"], HARDWARE.disk_bytes);
        assert_eq!(guest.lifecycle(), [Lifecycle::Started], "looking must not touch the machine");

        // The run begins. At the moment the machine is off, the plane is killed: it cannot yet
        // have recorded all that it did.
        plane.apply(RUNBOOK).await;
        plane.apply(&run("reboot-u07")).await;
        Moment::Off.wait(&plane, "run/reboot-u07", &guest, 1).await;
        plane.kill9();

        // It comes back by itself and ends what it began.
        plane.restart().await;
        let ended = wait_for_field(&plane, "run/reboot-u07", "/status/phase", "Succeeded").await;
        let steps: Vec<_> = ended["status"]["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| (step["name"].clone(), step["phase"].clone()))
            .collect();
        assert_eq!(steps, STEPS.map(|name| (json!(name), json!("Succeeded"))));

        // libvirt is asked: off and on exactly once, and booted from the network.
        let stopped = Lifecycle::Stopped("destroyed".to_owned());
        assert_eq!(guest.lifecycle(), [Lifecycle::Started, stopped, Lifecycle::Started]);
        assert!(guest.is_on().await);
        let network_first = [BootDevice::Network, BootDevice::Disk];
        assert_eq!(guest.boot_devices(Definition::Running).await, network_first);
        wait_until(BOOT_DEADLINE, "the firmware to boot from the network", async || {
            guest.console().contains(&format!("net0: {}", HARDWARE.mac))
        })
        .await;

        // The events tell of what people may feel, to whoever asks about the run or the machine; the journal of the rest.
        let story = events(&plane, "Run", "reboot-u07").await;
        let told: Vec<&str> = FELT
            .into_iter()
            .filter(|step| {
                let done = format!("StepSucceeded step {step}:");
                story.iter().any(|event| event.starts_with(&done))
            })
            .collect();
        assert_eq!(told, FELT, "{story:#?}");
        assert!(story.iter().any(|event| event.starts_with("Succeeded")), "{story:#?}");
        let described = plane.kubectl(&["describe", "server", "ams-1-a01-u07"]).await;
        assert!(described.contains("reboot-u07"), "{described}");
        wait_for_field(&plane, server, "/status/powerState", "On").await;

        // So it is at whatever moment the plane is killed.
        let moments = [
            Moment::Accepted,
            Moment::Begun("choose-network"),
            Moment::Begun("power-off"),
            Moment::Begun("power-on"),
            Moment::On,
        ];
        for (number, moment) in moments.into_iter().enumerate() {
            let before = guest.lifecycle();
            let name = format!("reboot-{number}");
            plane.apply(&run(&name)).await;
            let object = format!("run/{name}");
            moment.wait(&plane, &object, &guest, before.len()).await;
            plane.kill9();
            plane.restart().await;
            wait_for_field(&plane, &object, "/status/phase", "Succeeded").await;
            let stopped = Lifecycle::Stopped("destroyed".to_owned());
            let changes = guest.lifecycle().split_off(before.len());
            assert_eq!(changes, [stopped, Lifecycle::Started], "killed at {moment:?}");
        }
    }
}
