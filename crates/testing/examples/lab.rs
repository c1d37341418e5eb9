//! A machine to try Quarterdeck on: a QEMU guest, with a real Redfish service as its BMC. `make lab`
//! runs it. Writes the objects that describe the machine to a file, and ends all on Ctrl-C.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "it is a command for people")]

use quarterdeck_testing::libvirt::{Guest, Hardware, Libvirt};
use quarterdeck_testing::redfish::{PASSWORD, Redfish, USER};

const HARDWARE: Hardware =
    Hardware { processors: 2, memory_gib: 1, disk_bytes: 1 << 30, mac: "52:54:00:6b:3c:58" };

const NAME: &str = "lab-a01-u07";

#[tokio::main]
async fn main() {
    let file = std::env::args().nth(1).unwrap_or_else(|| "lab.yaml".to_owned());
    let libvirt = Libvirt::start().await;
    let guest = libvirt.define(NAME, HARDWARE).await;
    guest.power_on().await;
    let bmc = Redfish::over(&libvirt).await;
    std::fs::write(&file, objects(&bmc, &guest)).expect("the file can be written");
    let uri = libvirt.uri();
    println!("A machine is on, and its BMC answers at {}.", bmc.url());
    println!("Describe it to Quarterdeck:   kubectl apply -f {file}");
    println!("Ask libvirt what it is doing: virsh -c '{uri}' domstate {NAME}");
    println!("Ctrl-C takes it away.");
    tokio::signal::ctrl_c().await.expect("Ctrl-C can be waited for");
}

/// The machine and all it refers to, as an operator would describe them.
fn objects(bmc: &Redfish, guest: &Guest) -> String {
    let url = bmc.url();
    let uuid = guest.uuid();
    let authority = bmc.authority_pem().replace('\n', "\n    ");
    format!(
        "apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Site
metadata: {{name: lab}}
spec: {{region: eu-west}}
---
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Rack
metadata: {{name: lab-a01}}
spec: {{site: lab, units: 42}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bmc-lab, namespace: default}}
type: kubernetes.io/basic-auth
stringData: {{username: {USER}, password: {PASSWORD}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bmc-lab-authority, namespace: default}}
stringData:
  ca.crt: |
    {authority}
---
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Server
metadata: {{name: {NAME}}}
spec:
  location: {{rack: lab-a01, unit: 7}}
  bmc:
    address: {url}
    systemId: {uuid}
    credentialsSecretRef: {{namespace: default, name: bmc-lab}}
    tls:
      verify: Full
      caSecretRef: {{namespace: default, name: bmc-lab-authority}}
"
    )
}
