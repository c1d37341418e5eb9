//! What the tests of twins share: a fleet, its simulation, and calls of actions at its servers.

#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

pub(crate) mod people;
pub(crate) mod plane;

use quarterdeck_model::kinds::Server;
use quarterdeck_providers::{
    ActionContext, ActionError, Catalog, Performed, SecretData, SecretSource,
};
use quarterdeck_sim::{Fleet, FleetObject, Latency, Simulation};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// As fast as in a data centre; the clock of these tests moves only when nothing else can.
pub(crate) const REAL: Latency = Latency::Realistic { speed: 1.0 };

/// The Secrets of a fleet.
struct Secrets(HashMap<(String, String), SecretData>);

impl SecretSource for Secrets {
    fn get(&self, namespace: &str, name: &str) -> Option<SecretData> {
        self.0.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }
}

/// A fleet whose BMCs can be asked.
pub(crate) struct Machines {
    pub(crate) simulation: Simulation,
    pub(crate) catalog: Catalog,
    pub(crate) servers: Vec<Server>,
    secrets: Arc<Secrets>,
}

impl Machines {
    pub(crate) fn new(seed: u64, servers: u32, latency: Latency) -> Self {
        let simulation = Simulation::new(seed, latency);
        let mut catalog = Catalog::new();
        simulation.add_actions(&mut catalog);
        let (mut secrets, mut all) = (HashMap::new(), Vec::new());
        for object in Fleet::new(seed, servers).objects() {
            match object {
                FleetObject::Secret(secret) => {
                    let name = (secret.metadata.namespace.unwrap(), secret.metadata.name);
                    let data = secret.string_data.into_iter();
                    secrets.insert(name, data.map(|(key, it)| (key, it.into_bytes())).collect());
                }
                FleetObject::Server(server) => all.push(*server),
                _ => {}
            }
        }
        Self { simulation, catalog, servers: all, secrets: Arc::new(Secrets(secrets)) }
    }

    /// The only server, which nothing befalls.
    pub(crate) fn one() -> Self {
        let machines = Self::new(1, 1, REAL);
        machines.simulation.heal(machines.address(0));
        machines
    }

    pub(crate) fn address(&self, server: usize) -> &str {
        &self.servers[server].spec.bmc.address
    }

    /// What a step with ten minutes knows.
    pub(crate) fn context(&self, server: usize, key: &str, attempt: u32) -> ActionContext {
        ActionContext {
            idempotency_key: key.to_owned(),
            attempt,
            resumed: false,
            first_attempt_at: jiff::Timestamp::UNIX_EPOCH,
            deadline: (Instant::now() + Duration::from_secs(600)).into_std(),
            target: Some(Arc::new(serde_json::to_value(&self.servers[server]).unwrap())),
            secrets: self.secrets.clone(),
            hosts: Arc::new(quarterdeck_providers::agent::NoHosts),
        }
    }

    /// Calls an action at a server, for the first time in its step.
    pub(crate) async fn call(
        &self,
        server: usize,
        action: &str,
        input: Value,
    ) -> Result<Performed, ActionError> {
        let context = self.context(server, action, 1);
        self.catalog.perform(action, input, &context).await
    }

    /// The same where it must succeed: its output.
    pub(crate) async fn output(&self, server: usize, action: &str, input: Value) -> Value {
        let done = self.call(server, action, input).await;
        done.unwrap_or_else(|error| panic!("{action}: {error}")).output
    }
}
