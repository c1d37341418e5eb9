//! A fleet whose BMCs are served, and the real provider to act on them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what cannot go on fails the test"
)]

use quarterdeck_providers::{
    ActionContext, ActionError, Catalog, Performed, Providers, SecretData, SecretSource,
    http::Reach,
};
use quarterdeck_sim::{Fleet, FleetObject, Latency, Simulation};
use quarterdeck_sim_redfish::{Authority, listen, serve};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// The Secrets of a fleet, by namespace and name.
#[derive(Default, Clone)]
pub struct Secrets(pub HashMap<(String, String), SecretData>);

impl SecretSource for Secrets {
    fn get(&self, namespace: &str, name: &str) -> Option<SecretData> {
        self.0.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }
}

/// A fleet that is served until this is dropped.
pub struct Served {
    pub simulation: Simulation,
    /// What acts through HTTP.
    pub real: Providers,
    /// What acts on the same machines without.
    pub twins: Catalog,
    /// Manifests.
    pub servers: Vec<Value>,
    pub secrets: Secrets,
    pub port: u16,
    keys: AtomicUsize,
    serving: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Served {
    pub fn start(seed: u64, servers: u32, latency: Latency) -> Self {
        let listener = listen(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let fleet = Fleet::new(seed, servers).served_at(port);
        let simulation = Simulation::of(fleet, latency);
        let (authority, certificate) = Authority::new().unwrap();
        let serving = tokio::spawn(serve(listener, simulation.clone(), authority));
        let mut secrets = Secrets::default();
        let (namespace, name) = Fleet::AUTHORITY;
        let trusted = [("ca.crt".to_owned(), certificate.into_bytes())].into();
        secrets.0.insert((namespace.to_owned(), name.to_owned()), trusted);
        let mut all = Vec::new();
        for object in fleet.objects() {
            match object {
                FleetObject::Secret(secret) => {
                    let name = (secret.metadata.namespace.unwrap(), secret.metadata.name);
                    let data = secret.string_data.into_iter();
                    secrets.0.insert(name, data.map(|(key, it)| (key, it.into_bytes())).collect());
                }
                FleetObject::Server(_) => all.push(object.manifest()),
                _ => {}
            }
        }
        let real = Providers::new(Reach::default());
        let mut twins = Catalog::new();
        simulation.add_actions(&mut twins);
        let keys = AtomicUsize::new(0);
        Self { simulation, real, twins, servers: all, secrets, port, keys, serving }
    }

    /// One server, which nothing befalls.
    pub fn one(seed: u64, latency: Latency) -> Self {
        let served = Self::start(seed, 1, latency);
        served.simulation.heal(&served.address(0));
        served
    }

    /// Address of a BMC.
    pub fn address(&self, server: usize) -> String {
        self.servers[server]["spec"]["bmc"]["address"].as_str().unwrap().to_owned()
    }

    /// What a step at a server knows, which has a minute.
    pub fn context(&self, server: usize) -> ActionContext {
        ActionContext {
            idempotency_key: format!("key-{}", self.keys.fetch_add(1, Ordering::Relaxed)),
            attempt: 1,
            resumed: false,
            first_attempt_at: jiff::Timestamp::now(),
            deadline: Instant::now() + Duration::from_secs(60),
            target: Some(Arc::new(self.servers[server].clone())),
            secrets: Arc::new(self.secrets.clone()),
            hosts: std::sync::Arc::new(quarterdeck_providers::agent::NoHosts),
        }
    }

    /// Calls an action over HTTP.
    pub async fn call(
        &self,
        server: usize,
        action: &str,
        input: Value,
    ) -> Result<Performed, ActionError> {
        self.real.catalog().perform(action, input, &self.context(server)).await
    }

    /// The same where it must succeed: its output.
    pub async fn output(&self, server: usize, action: &str, input: Value) -> Value {
        let done = self.call(server, action, input).await;
        done.unwrap_or_else(|error| panic!("{action}: {}: {error}", error.reason)).output
    }

    /// What a look at a server sees, over HTTP or by its twin.
    pub async fn seen(&self, server: usize, catalog: &Catalog) -> Value {
        let done = catalog.perform("inventory.refresh", json!({}), &self.context(server)).await;
        let done = done.unwrap_or_else(|error| panic!("{server}: {}: {error}", error.reason));
        Value::Object(done.observed.expect("it says what it saw"))
    }
}
