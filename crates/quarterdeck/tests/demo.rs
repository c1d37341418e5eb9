//! `quarterdeck demo` as a process: a fleet to look at, kept by its folder, and apart from real planes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

use quarterdeck_testing::{
    port::free_address,
    process::{Process, Signal, run},
    redfish::{FakeSystem, PASSWORD, Redfish, USER},
    user::RunAs,
    wait::wait_for,
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const DEADLINE: Duration = Duration::from_secs(60);

fn quarterdeck(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
    command.args(arguments);
    command
}

/// A demo that runs, and its folder.
struct Demo {
    process: Process,
    folder: PathBuf,
    home: PathBuf,
}

impl Demo {
    async fn start(home: &Path, arguments: &[&str]) -> Self {
        let folder = home.join("demo");
        let mut command = quarterdeck(&["demo", "--listen", "127.0.0.1:0", "--speed", "1000"]);
        command.arg("--data-dir").arg(&folder).args(arguments);
        // What a real plane of this machine is set to must not matter.
        command.env("QUARTERDECK_STORE", "postgres://nobody@127.0.0.1:1/real");
        command.env("QUARTERDECK_DATA_DIR", home.join("real"));
        let mut process = Process::start("quarterdeck", &command, RunAs::Caller, &home.join("log"));
        process.wait_for_line("Quarterdeck is ready at https://127.0.0.1:", DEADLINE).await;
        process.wait_for_line("kubectl get runs --watch", DEADLINE).await;
        Self { process, folder, home: home.into() }
    }

    async fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("kubectl");
        command.args(arguments).env("HOME", &self.home);
        command.env("KUBECONFIG", self.folder.join("kubeconfig"));
        run(&command, "").await.unwrap_or_else(|error| panic!("{error}")).stdout
    }

    /// The servers once each is ready or says what is wrong with it.
    async fn settled(&self, wanted: usize) -> Vec<Value> {
        wait_for(DEADLINE, "every server to be ready or to say why not", async || {
            let list = self.kubectl(&["get", "servers", "-o", "json"]).await;
            let list: Value = serde_json::from_str(&list).unwrap();
            let servers = list["items"].as_array().unwrap().clone();
            let settled = |server: &&Value| {
                let conditions = server["status"]["conditions"].as_array();
                let mut conditions = conditions.into_iter().flatten();
                conditions.any(|it| {
                    let waits = ["Queued", "Inspecting"];
                    it["type"] == "Ready" && waits.iter().all(|reason| it["reason"] != *reason)
                })
            };
            let done = servers.iter().filter(settled).count();
            if done == wanted { Ok(servers) } else { Err(format!("{done} of {wanted}")) }
        })
        .await
    }

    async fn stop(mut self) {
        let status = self.process.end(Signal::TERM, Duration::from_secs(20)).await;
        assert!(status.success(), "{status}\n{}", self.process.output());
    }
}

fn names(servers: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut names: Vec<_> = servers
        .iter()
        .map(|server| (text(&server["metadata"]["name"]), text(&server["spec"]["serial"])))
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_shows_a_fleet_and_goes_on_with_it() {
    let home = tempfile::tempdir().unwrap();
    let demo = Demo::start(home.path(), &["--servers", "60", "--seed", "5", "--idle"]).await;
    let first = demo.settled(60).await;
    let ready = first.iter().filter(|it| it["status"]["phase"] == "Ready").count();
    assert!(ready > 50, "{ready} of 60 are ready");
    let run_file = demo.folder.join("power-cycle.yaml");
    let created = demo.kubectl(&["create", "-f", run_file.to_str().unwrap()]).await;
    assert!(created.contains("created"), "{created}");
    wait_for(DEADLINE, "the fleet to be whole", async || {
        let held = std::fs::read_to_string(demo.folder.join("demo.toml")).unwrap();
        if held.contains("complete = true") { Ok(()) } else { Err(held) }
    })
    .await;
    let gone = names(&first)[59].0.clone();
    demo.kubectl(&["delete", "server", &gone]).await;
    demo.stop().await;

    // What was deleted stays so, and all else is as it was.
    let demo = Demo::start(home.path(), &["--idle"]).await;
    let again = demo.settled(59).await;
    assert_eq!(names(&again), names(&first)[..59]);
    demo.stop().await;

    let folder = home.path().join("demo");
    for (flag, other) in [("--seed", "6"), ("--servers", "61")] {
        let arguments = ["demo", "--data-dir", folder.to_str().unwrap(), flag, other];
        let said = run(&quarterdeck(&arguments), "").await.unwrap_err().reason;
        assert!(said.contains("holds 60 servers of seed 5"), "{said}");
        assert!(said.contains(&format!("{flag} {other}")) && said.contains("--data-dir"), "{said}");
    }
    assert!(!home.path().join("real").exists());
}

/// A company lives on the fleet: teams get machines, their services run on them, and a campaign goes over the servers.
/// A plane that is killed in the middle goes on with all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_company_lives_on_the_fleet() {
    let home = tempfile::tempdir().unwrap();
    let demo = Demo::start(home.path(), &["--servers", "60", "--seed", "2"]).await;
    let count = async |demo: &Demo, arguments: &[&str]| {
        demo.kubectl(&[&["get", "-A", "-o", "name"], arguments].concat()).await.lines().count()
    };
    wait_for(DEADLINE, "a machine to be installed", async || {
        let running = ["machines", "--field-selector", "status.phase=Running"];
        match count(&demo, &running).await {
            0 => Err("none runs yet"),
            _ => Ok(()),
        }
    })
    .await;
    let mut demo = demo;
    demo.process.end(Signal::KILL, DEADLINE).await;
    let demo = Demo::start(home.path(), &[]).await;
    wait_for(DEADLINE, "most machines to run, and services on them", async || {
        let all = count(&demo, &["machines"]).await;
        let running = count(&demo, &["machines", "--field-selector", "status.phase=Running"]).await;
        let ready = count(&demo, &["instances", "--field-selector", "status.phase=Ready"]).await;
        // One or two may have met a fault for which a runbook is more patient than a test.
        let most = running + 4 >= all && ready + 12 >= running * 3;
        if all > 20 && most { Ok(()) } else { Err(format!("{running} of {all}, {ready} ready")) }
    })
    .await;
    let campaign = ["get", "campaign", "restart-compute-gen4", "-n", "platform", "-o", "json"];
    let campaign: Value = serde_json::from_str(&demo.kubectl(&campaign).await).unwrap();
    assert!(campaign["status"]["phase"].is_string(), "{campaign}");
    let freeze =
        demo.kubectl(&["get", "freeze", "end-of-year", "-o", "jsonpath={.spec.reason}"]).await;
    assert!(freeze.contains("sales"), "{freeze}");
    demo.stop().await;
}

/// As the README tells it, with kubectl alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_over_a_simulated_fleet_hurts_no_service() {
    let home = tempfile::tempdir().unwrap();
    let demo = Demo::start(home.path(), &["--servers", "40", "--seed", "1", "--idle"]).await;
    let servers = demo.settled(40).await;
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/disruption");
    demo.kubectl(&["apply", "-f", examples]).await;
    for number in 0..4 {
        let name = format!("web-{number}");
        let ready = r#"{"status":{"phase":"Ready"}}"#;
        let patch = ["patch", "instance", &name, "-n", "shop", "--subresource", "status"];
        demo.kubectl(&[&patch[..], &["--type", "merge", "-p", ready]].concat()).await;
        let host = ["get", "instance", &name, "-n", "shop", "-o", "jsonpath={.spec.host.name}"];
        let host = demo.kubectl(&host).await;
        assert!(servers.iter().any(|it| it["metadata"]["name"] == *host), "{host} is of the fleet");
        demo.kubectl(&["label", "server", &host, "role=web"]).await;
    }
    let planned = ["wait", "campaign/restart-web", "-n", "ops", "--timeout=30s"];
    demo.kubectl(&[&planned[..], &["--for=jsonpath={.status.targets}=4"]].concat()).await;
    let go = r#"{"spec":{"paused":false}}"#;
    demo.kubectl(&["patch", "campaign", "restart-web", "-n", "ops", "--type", "merge", "-p", go])
        .await;
    let done = wait_for(DEADLINE, "the campaign to be done", async || {
        let granted =
            ["get", "permits", "-A", "--field-selector", "status.phase=Granted", "-o", "name"];
        let permits = demo.kubectl(&granted).await;
        assert!(permits.lines().count() <= 1, "the service can spare one: {permits}");
        let campaign = ["get", "campaign", "restart-web", "-n", "ops", "-o", "json"];
        let campaign: Value = serde_json::from_str(&demo.kubectl(&campaign).await).unwrap();
        let status = campaign["status"].clone();
        let ended = ["Succeeded", "Failed"].iter().any(|phase| status["phase"] == *phase);
        if ended { Ok(status) } else { Err(status.to_string()) }
    })
    .await;
    // A simulated machine may fail; what must hold is that all were tried.
    assert_eq!((&done["targets"], &done["left"]), (&Value::from(4), &Value::from(0)), "{done}");
    let refused = ["get", "events", "-n", "ops", "--field-selector", "reason=DisruptionRefused"];
    let refused = demo.kubectl(&refused).await;
    assert!(refused.contains("shop/web allows 1 of 4 down; 1 is"), "{refused}");
    demo.stop().await;
}

/// The BMCs of the fleet speak Redfish on the network, and the plane acts through it; the folder remembers that.
#[tokio::test(flavor = "multi_thread")]
async fn bmcs_are_met_over_https() {
    let home = tempfile::tempdir().unwrap();
    let port = free_address().port().to_string();
    let fleet = ["--servers", "40", "--seed", "5", "--idle", "--serve-bmcs", &port];
    let demo = Demo::start(home.path(), &fleet).await;
    let servers = demo.settled(40).await;
    let ready = servers.iter().filter(|it| it["status"]["phase"] == "Ready").count();
    assert!(ready > 30, "{ready} of 40 are ready");
    let address = |server: &Value| server["spec"]["bmc"]["address"].as_str().unwrap().to_owned();
    let ends = format!(":{port}");
    assert!(servers.iter().all(|it| {
        let address = address(it);
        address.starts_with("127.16.") && address.ends_with(&ends)
    }));
    demo.stop().await;

    let demo = Demo::start(home.path(), &["--idle"]).await;
    let first = &servers.iter().find(|it| it["status"]["phase"] == "Ready").unwrap()["metadata"];
    let run_file = home.path().join("run.yaml");
    let manifest = json!({
        "apiVersion": "workflows.quarterdeck.dev/v1alpha1", "kind": "Run",
        "metadata": {"name": "again", "namespace": "default"},
        "spec": {"runbook": "power-cycle-server", "target": {"kind": "Server", "name": first["name"]}},
    });
    std::fs::write(&run_file, manifest.to_string()).unwrap();
    demo.kubectl(&["create", "-f", run_file.to_str().unwrap()]).await;
    let done = ["wait", "run/again", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"];
    demo.kubectl(&done).await;
    demo.stop().await;

    let folder = home.path().join("demo");
    let arguments = ["demo", "--data-dir", folder.to_str().unwrap(), "--serve-bmcs", "1"];
    let said = run(&quarterdeck(&arguments), "").await.unwrap_err().reason;
    assert!(said.contains("served at port") && said.contains("--serve-bmcs 1"), "{said}");
}

/// Beside the fleet there are the objects of a folder, whose servers do not exist, and a real BMC: each is met as what it is.
#[tokio::test(flavor = "multi_thread")]
async fn real_servers_are_managed_beside_the_fleet() {
    let home = tempfile::tempdir().unwrap();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let fleet = ["--servers", "30", "--seed", "5", "--idle", "--load", examples];
    let demo = Demo::start(home.path(), &fleet).await;
    let system = FakeSystem {
        uuid: "27946b59-9e44-4fa7-8e91-f3527a1ef094".into(),
        name: "node".into(),
        mac: "00:5c:52:31:3a:9c".into(),
        on: true,
    };
    let bmc = Redfish::fake(&[system]).await;
    let secret = |name: &str, data: Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "stringData": data,
               "metadata": {"name": name, "namespace": "default"}})
    };
    let reference = |name: &str| json!({"namespace": "default", "name": name});
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        secret("lab", json!({"username": USER, "password": PASSWORD})),
        secret("lab-authority", json!({"ca.crt": bmc.authority_pem()})),
        {"apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Server",
         "metadata": {"name": "lab-1"},
         "spec": {"bmc": {"address": bmc.url(), "credentialsSecretRef": reference("lab"),
                          "tls": {"verify": "Full", "caSecretRef": reference("lab-authority")}}}},
    ]});
    let file = home.path().join("lab.json");
    std::fs::write(&file, objects.to_string()).unwrap();
    demo.kubectl(&["apply", "-f", file.to_str().unwrap()]).await;
    let servers = demo.settled(30 + 5 + 1).await;
    let reason = |name: &str| {
        let server = servers.iter().find(|it| it["metadata"]["name"] == *name).unwrap();
        let conditions = server["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|it| it["type"] == "Ready").unwrap();
        ready["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason("lab-1"), "Inspected", "the real provider has reached it");
    assert_eq!(reason("lhr1-n01-u05"), "Unreachable", "nobody is at the name of an example");
    let simulated = servers.iter().filter(|it| it["status"]["phase"] == "Ready").count();
    assert!(simulated > 25, "{simulated} of 31 are ready");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_holds_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("quarterdeck.db"), "real").unwrap();
    let data = folder.path().to_str().unwrap();
    let said = run(&quarterdeck(&["demo", "--data-dir", data]), "").await.unwrap_err().reason;
    assert!(said.contains("holds something else than a demo"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    for wrong in ["0", "-1", "fast", "inf"] {
        let arguments = ["demo", "--data-dir", data, &format!("--speed={wrong}")];
        let said = run(&quarterdeck(&arguments), "").await.unwrap_err().reason;
        assert!(said.contains("must be a number above 0"), "{said}");
    }
}
