//! What the tests with kubectl share: a plane with something on it, and words for what is asked.

#![allow(dead_code, reason = "each test file uses some of it")]

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use quarterdeck_testing::{plane::Plane, process, wait::wait_for};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

/// How long the plane may take for what it does by itself.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A site with two racks and no servers: nothing that the plane would act on.
pub(crate) const SITE: &str = "
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Site
metadata: {name: ams1, labels: {tier: gold}}
spec: {region: eu-west, halls: [north, south, east], powerFeeds: [a, b]}
---
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Rack
metadata: {name: ams1-n01, labels: {hall: north}}
spec: {site: ams1, hall: north, units: 42}
---
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Rack
metadata: {name: ams1-s01, labels: {hall: south}}
spec: {site: ams1, hall: south, units: 48}
";

/// A client of kube-rs, as the plane's administrator.
pub(crate) async fn client(plane: &Plane) -> Client {
    Client::try_from(config(plane).await).expect("it can be used")
}

/// The same, which shows each answer as it comes: kube-rs asks again after 503 and 504 otherwise.
pub(crate) async fn plain_client(plane: &Plane) -> Client {
    let mut config = config(plane).await;
    config.default_retry = false;
    Client::try_from(config).expect("it can be used")
}

async fn config(plane: &Plane) -> Config {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).expect("the plane wrote it");
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("it is whole")
}

/// A plane of its own, empty.
pub(crate) async fn plane() -> Plane {
    Plane::start(env!("CARGO_BIN_EXE_quarterdeck")).await
}

/// The repository's `examples/`.
pub(crate) fn examples() -> String {
    format!("{}/../../examples", env!("CARGO_MANIFEST_DIR"))
}

/// What kubectl says when it fails.
pub(crate) async fn refusal(plane: &Plane, arguments: &[&str]) -> String {
    match plane.try_kubectl(arguments).await {
        Err(error) => error.reason,
        Ok(output) => panic!("kubectl {arguments:?} did what must be refused: {output}"),
    }
}

/// `kubectl apply --filename -` that must be refused, and what it says.
pub(crate) async fn apply_refusal(plane: &Plane, arguments: &[&str], yaml: &str) -> String {
    let mut all = vec!["apply", "--filename", "-"];
    all.extend(arguments);
    match process::run(&plane.kubectl_command(&all), yaml).await {
        Err(error) => error.reason,
        Ok(output) => panic!("apply did what must be refused: {}", output.stdout),
    }
}

/// An object as JSON.
pub(crate) async fn object(plane: &Plane, arguments: &[&str]) -> Value {
    let mut all = vec!["get", "--output", "json"];
    all.extend(arguments);
    serde_json::from_str(&plane.kubectl(&all).await).expect("kubectl prints JSON")
}

/// Waits until the plane has counted what is in [`SITE`] and has nothing more to write about it.
pub(crate) async fn places_counted(plane: &Plane) {
    wait_for(DEADLINE, "the places to be counted", async || {
        let places = object(plane, &["sites,racks"]).await;
        let seen = |place: &Value| {
            let status = &place["status"];
            let counted = place["kind"] != "Site" || status["racks"] == 2;
            counted && status["observedGeneration"] == place["metadata"]["generation"]
        };
        let all = places["items"].as_array().is_some_and(|all| all.iter().all(seen));
        if all { Ok(()) } else { Err(format!("{:#}", places["items"])) }
    })
    .await;
}

/// Waits until an object is gone.
pub(crate) async fn gone(plane: &Plane, arguments: &[&str]) {
    let mut all = vec!["get", "--ignore-not-found", "--output", "name"];
    all.extend(arguments);
    wait_for(DEADLINE, &format!("{arguments:?} to be gone"), async || {
        match plane.kubectl(&all).await.as_str() {
            "" => Ok(()),
            name => Err(name.to_owned()),
        }
    })
    .await;
}

/// The columns of a table's rows, heading first.
pub(crate) fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

/// Other releases of kubectl that are installed beside the default one, oldest first:
/// `kubectl.1.29` and newer, in the folders of `PATH` or beside the real file of `kubectl`.
pub(crate) fn other_kubectls() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let real = folders.iter().filter_map(|folder| folder.join("kubectl").canonicalize().ok());
    folders.extend(real.filter_map(|file| file.parent().map(Into::into)).collect::<Vec<_>>());
    folders.push("/usr/lib/google-cloud-sdk/bin".into());
    let release = |minor: u32| {
        folders
            .iter()
            .map(|folder| folder.join(format!("kubectl.1.{minor}")))
            .find(|file| file.is_file())
    };
    (29..60).filter_map(release).collect()
}

/// Where `make setup` installs the clients.
pub(crate) fn python() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folder = variable("QUARTERDECK_CLIENTS").unwrap_or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .unwrap_or_default()
            .join("quarterdeck/clients")
    });
    let python = folder.join("bin/python3");
    assert!(python.exists(), "no {python:?}: run `make setup`");
    python
}
