//! What the provider tests share: contexts, targets, and BMCs to talk to.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what cannot go on fails the test"
)]

pub mod emulator;
pub mod fake_bmc;
pub mod updating;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quarterdeck_providers::http::Reach;
use quarterdeck_providers::redfish::Redfish;
use quarterdeck_providers::{
    ActionContext, ActionError, Catalog, Performed, SecretData, SecretSource,
};
use serde_json::{Value, json};

pub const USER: &str = "admin";
pub const PASSWORD: &str = "correct horse";

/// Secrets by `namespace/name`.
#[derive(Default, Clone)]
pub struct Secrets(pub BTreeMap<String, SecretData>);

impl SecretSource for Secrets {
    fn get(&self, namespace: &str, name: &str) -> Option<SecretData> {
        self.0.get(&format!("{namespace}/{name}")).cloned()
    }
}

impl Secrets {
    pub fn with_bmc_login(password: &str) -> Self {
        let data = [("username", USER), ("password", password)];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        Self([("fleet/bmc".to_owned(), data.into())].into())
    }

    pub fn and_ca(mut self, pem: &str) -> Self {
        let data = [("ca.crt".to_owned(), pem.as_bytes().to_vec())].into();
        self.0.insert("fleet/bmc-ca".to_owned(), data);
        self
    }
}

/// A Server whose BMC is at `address`, with extra fields of `spec.bmc`.
pub fn server(address: &str, bmc: Value) -> Value {
    let mut spec_bmc = json!({
        "address": address,
        "protocol": "Redfish",
        "credentialsSecretRef": {"namespace": "fleet", "name": "bmc"},
    });
    for (field, value) in bmc.as_object().unwrap() {
        spec_bmc[field] = value.clone();
    }
    json!({
        "apiVersion": "inventory.quarterdeck.dev/v1alpha1",
        "kind": "Server",
        "metadata": {"name": "s-1"},
        "spec": {"bmc": spec_bmc},
    })
}

/// One plane's view of a target: the catalogue and how calls are made.
#[derive(Clone)]
pub struct Caller {
    pub catalog: Catalog,
    pub redfish: Redfish,
    pub target: Value,
    pub secrets: Secrets,
    pub deadline: Duration,
}

impl Caller {
    pub fn new(target: Value) -> Self {
        // Their images are served on this machine.
        let redfish = Redfish::with_reach(Reach::NetworkAndLoopback);
        let mut catalog = Catalog::new();
        redfish.add_actions(&mut catalog);
        let secrets = Secrets::with_bmc_login(PASSWORD);
        Self { catalog, redfish, target, secrets, deadline: Duration::from_secs(60) }
    }

    pub fn context(&self, key: &str, attempt: u32) -> ActionContext {
        ActionContext {
            idempotency_key: key.to_owned(),
            attempt,
            resumed: false,
            first_attempt_at: jiff::Timestamp::now(),
            deadline: Instant::now() + self.deadline,
            target: Some(Arc::new(self.target.clone())),
            secrets: Arc::new(self.secrets.clone()),
            hosts: std::sync::Arc::new(quarterdeck_providers::agent::NoHosts),
        }
    }

    pub async fn call(&self, action: &str, input: Value) -> Result<Value, ActionError> {
        self.call_as(&self.context("key", 1), action, input).await
    }

    /// What `inventory.refresh` says of the target.
    pub async fn seen(&self) -> Result<Value, ActionError> {
        let read = self.perform(&self.context("key", 1), "inventory.refresh", json!({})).await?;
        Ok(Value::Object(read.observed.expect("it says what it saw")))
    }

    pub async fn call_as(
        &self,
        context: &ActionContext,
        action: &str,
        input: Value,
    ) -> Result<Value, ActionError> {
        Ok(self.perform(context, action, input).await?.output)
    }

    /// The same with what was seen of the target.
    pub async fn perform(
        &self,
        context: &ActionContext,
        action: &str,
        input: Value,
    ) -> Result<Performed, ActionError> {
        self.catalog.perform(action, input, context).await
    }
}
