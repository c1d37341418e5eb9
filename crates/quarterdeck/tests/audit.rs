//! The audit log of the real binary: what an operator finds in it, and that no acknowledged write is
//! missing when the plane is killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use quarterdeck_testing::{
    plane::Plane,
    process::run,
    redfish::{FakeSystem, PASSWORD, Redfish, USER},
    wait::wait_for,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{DEADLINE, plane};

/// All lines of the log, oldest first.
fn lines(plane: &Plane) -> Vec<Value> {
    let folder = plane.data_folder().join("audit");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The newest has no number.
    files.sort_by_key(|file| (file.ends_with("audit.log"), file.clone()));
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    texts.iter().flat_map(|text| text.lines()).map(|it| serde_json::from_str(it).unwrap()).collect()
}

async fn client(plane: &Plane) -> Client {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_missing_after_a_kill() {
    const WRITERS: usize = 12;
    const ROUNDS: usize = 3;
    // Each round fills more than a file.
    const WRITES: usize = 2_000;
    let settings = ["--audit-log-max-size", "1", "--audit-log-max-files", "100"];
    let mut plane = Plane::start_with(env!("CARGO_BIN_EXE_quarterdeck"), &settings).await;
    let acknowledged = Arc::<Mutex<Vec<String>>>::default();
    let site = GroupVersionKind::gvk("inventory.quarterdeck.dev", "v1alpha1", "Site");
    let site = ApiResource::from_gvk(&site);
    for round in 0..ROUNDS {
        let mut writers = Vec::new();
        let before = acknowledged.lock().unwrap().len();
        for writer in 0..WRITERS {
            let api: Api<DynamicObject> = Api::all_with(client(&plane).await, &site);
            let (site, acknowledged) = (site.clone(), acknowledged.clone());
            writers.push(tokio::spawn(async move {
                for number in 0.. {
                    let name = format!("r{round}-w{writer}-n{number}");
                    let object = DynamicObject::new(&name, &site)
                        .data(json!({"spec": {"region": "eu-west"}}));
                    if api.create(&PostParams::default(), &object).await.is_err() {
                        return;
                    }
                    acknowledged.lock().unwrap().push(name);
                }
            }));
        }
        wait_for(Duration::from_secs(90), "enough writes", async || {
            let done = acknowledged.lock().unwrap().len() - before;
            if done >= WRITES { Ok(()) } else { Err(format!("{done} writes")) }
        })
        .await;
        plane.kill9();
        for writer in writers {
            // It ends at its first refused connection.
            tokio::time::timeout(DEADLINE, writer).await.unwrap().unwrap();
        }
        plane.restart().await;
    }
    let mut logged: HashMap<String, usize> = HashMap::new();
    for line in lines(&plane) {
        if line["verb"] == "create" && line["responseStatus"]["code"] == 201 {
            let name = line["objectRef"]["name"].as_str().unwrap();
            *logged.entry(name.to_owned()).or_default() += 1;
        }
    }
    let acknowledged = acknowledged.lock().unwrap();
    assert!(acknowledged.len() >= ROUNDS * WRITES);
    for name in acknowledged.iter() {
        assert_eq!(logged.get(name), Some(&1), "{name}");
    }
    assert!(logged.values().all(|count| *count == 1));
    assert!(fs::read_dir(plane.data_folder().join("audit")).unwrap().count() > ROUNDS);
}

const SYSTEM: &str = "27946b59-9e44-4fa7-8e91-f3527a1ef094";

fn server(bmc: &Redfish) -> String {
    let (url, authority) = (bmc.url(), bmc.authority_pem());
    let objects = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
            "stringData": {"username": USER, "password": PASSWORD}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"},
            "stringData": {"ca.crt": authority}}),
        json!({"apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Server",
        "metadata": {"name": "node"}, "spec": {"bmc": {
            "address": url,
            "credentialsSecretRef": {"namespace": "default", "name": "login"},
            "tls": {"verify": "Full", "caSecretRef": {"namespace": "default", "name": "ca"}},
        }}}),
    ];
    objects.map(|object| object.to_string()).join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_who_is_behind_a_power_step() {
    let mut plane = plane().await;
    let system = FakeSystem {
        uuid: SYSTEM.to_owned(),
        name: "node".to_owned(),
        mac: "00:5c:52:31:3a:9c".to_owned(),
        on: true,
    };
    let bmc = Redfish::fake(&[system]).await;
    plane.apply(&server(&bmc)).await;
    plane.kubectl(&["wait", "server/node", "--for=condition=Ready", "--timeout=90s"]).await;
    plane
        .apply(
            "
apiVersion: workflows.quarterdeck.dev/v1alpha1
kind: Run
metadata: {name: night-off}
spec: {runbook: power-off-server, target: {kind: Server, name: node}, params: {grace: 1s}}
",
        )
        .await;
    let ended = "--for=jsonpath={.status.phase}=Succeeded";
    plane.kubectl(&["wait", "run/night-off", ended, "--timeout=90s"]).await;
    assert!(plane.stop().await.success());

    let lines = lines(&plane);
    // What was done to the server by a run, and by which.
    let by_run = |line: &&Value| {
        line["objectRef"]["resource"] == "servers"
            && line["user"]["username"] == "system:controller:runs"
            && line["annotations"]["quarterdeck.dev/run"] == "default/night-off"
    };
    let done = lines.iter().find(by_run).expect("a write of the run");
    assert_eq!(done["objectRef"]["name"], "node");
    assert_eq!(done["annotations"]["quarterdeck.dev/runbook"], "power-off-server");
    // Who asked for that run.
    let asked = lines.iter().find(|line| {
        line["objectRef"]["resource"] == "runs"
            && line["objectRef"]["name"] == "night-off"
            && line["verb"] == "create"
    });
    let asked = asked.expect("the creation of the run");
    assert_eq!(asked["user"]["username"], "quarterdeck-admin", "{asked:#}");
    assert!(asked["userAgent"].as_str().unwrap().starts_with("kubectl"), "{asked:#}");
    assert_eq!(asked["sourceIPs"], json!(["127.0.0.1"]));
    // What became of it: its phases, and not its steps. The plane has stopped, and the last is there.
    let phases: Vec<_> = lines
        .iter()
        .filter(|line| {
            line["objectRef"]["name"] == "night-off"
                && line["objectRef"]["resource"] == "runs"
                && line["user"]["username"] == "system:controller:runs"
        })
        .map(|line| line["annotations"]["quarterdeck.dev/phase"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(phases, ["Running", "Succeeded"]);
    // The inspection was the plane's own idea.
    let inspection = lines.iter().find(|line| {
        line["objectRef"]["resource"] == "runs"
            && line["user"]["username"] == "system:controller:servers"
    });
    assert_eq!(inspection.expect("the inspection")["verb"], "create");
    let text = json!(lines).to_string();
    assert!(!text.contains(PASSWORD) && !text.contains("BEGIN CERTIFICATE"));
    assert!(!lines.iter().any(|line| line["objectRef"]["resource"] == "events"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    fs::write(&policy, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{levle: None}]")
        .unwrap();
    let data = folder.path().join("data");
    let start = async |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()]);
        run(command.args(arguments), "").await.expect_err("a refusal").reason
    };
    let said = start(&["--audit-policy-file", policy.to_str().unwrap()]).await;
    assert!(said.contains("audit-policy-file") && said.contains("levle"), "{said}");
    let said = start(&["--audit-policy-file", "/no/such/file"]).await;
    assert!(said.contains("audit-policy-file: /no/such/file"), "{said}");
    let said = start(&["--audit-log", "/proc/no/such"]).await;
    assert!(said.contains("audit-log: cannot open /proc/no/such"), "{said}");
    let said = start(&["--audit-log-max-size", "0"]).await;
    assert!(said.contains("audit-log-max-size"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_stops_nothing() {
    let settings = ["--audit-log", "/dev/full"];
    let mut plane = Plane::start_with(env!("CARGO_BIN_EXE_quarterdeck"), &settings).await;
    plane.kubectl(&["create", "namespace", "team"]).await;
    let metrics = plane.kubectl(&["get", "--raw", "/metrics"]).await;
    let lost = metrics
        .lines()
        .find_map(|line| line.strip_prefix("quarterdeck_audit_lines_lost_total "))
        .unwrap();
    assert!(lost.parse::<u64>().unwrap() > 0, "{metrics}");
    let log = plane.process().unwrap().output();
    assert!(log.contains("the audit log cannot be written"), "{log}");
}
