//! The Redfish provider: physical machines through their BMCs.
//!
//! One [`Redfish`] serves all actions of a process: it shares a client per BMC, so that logins,
//! pace and limits hold whoever asks. Layers, from below: `transport` (one bounded exchange),
//! `client` and `auth` (one BMC), `collection` and `system` (its resources), `power` (states and
//! how to reach them), `actions` (one file each).
//!
//! Invariants: no system id is ever assumed, it is found from the service root; nothing is done to
//! a machine that is not the one declared; an answer can be late, huge or nonsense and costs at
//! most its bounds in `limits`.

mod actions;
mod auth;
mod boot;
mod bounded;
mod client;
mod collection;
mod credentials;
mod erase;
pub mod errors;
mod firmware;
mod inventory;
mod limits;
mod media;
mod pace;
mod power;
mod quirks;
mod resource;
mod scan;
mod system;
mod target;
mod task;
pub mod twin;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::http::{Images, Reach};
use crate::transport::tls::Configs;

pub use inventory::{InventoryReport, LogEntry};

use crate::action::{ActionContext, ActionError, Reason};
use crate::catalog::Catalog;
use bounded::Budget;
use client::Bmc;
use limits::{CONCURRENT_IN_ALL, IDLE_MAX};
use system::System;
use target::{Credentials, Endpoint, Target};

/// All BMCs this process talks to. Cloning shares them.
#[derive(Clone)]
pub struct Redfish {
    shared: Arc<Shared>,
}

struct Shared {
    clients: Mutex<HashMap<Endpoint, Client>>,
    slots: Arc<Semaphore>,
    tls: Configs,
    sweeping: AtomicBool,
    images: Images,
}

struct Client {
    bmc: Arc<Bmc>,
    last_used: Instant,
}

impl Default for Redfish {
    fn default() -> Self {
        Self::new()
    }
}

impl Redfish {
    /// No BMC yet; clients are made as actions need them.
    #[must_use]
    pub fn new() -> Self {
        Self::with_reach(Reach::default())
    }

    /// The same, where images that BMCs are told to fetch are looked at only within `reach`.
    #[must_use]
    pub fn with_reach(reach: Reach) -> Self {
        Self {
            shared: Arc::new(Shared {
                clients: Mutex::default(),
                slots: Arc::new(Semaphore::new(CONCURRENT_IN_ALL)),
                tls: Configs::default(),
                sweeping: AtomicBool::new(false),
                images: Images::new(reach),
            }),
        }
    }

    /// Adds every Redfish action to the catalogue.
    pub fn add_actions(&self, catalog: &mut Catalog) {
        actions::add(self, catalog);
    }

    /// Closes every client and deletes its session. For a graceful stop.
    pub async fn close(&self) {
        let all: Vec<Client> = {
            let mut clients = self.shared.lock();
            clients.drain().map(|(_endpoint, client)| client).collect()
        };
        close_all(all).await;
    }

    /// The system that the call is aimed at, read and verified to be the one declared.
    async fn open(&self, context: &ActionContext) -> Result<System, ActionError> {
        let target = Target::read(context)?;
        let found = self.open_at(context, &target, &target.endpoint).await;
        for other in &target.others {
            if found.as_ref().is_err_and(|error| error.reason == Reason::Unauthorized) {
                let endpoint = target.endpoint.with(other.clone());
                let with_other = self.open_at(context, &target, &endpoint).await;
                if with_other.is_ok() {
                    return with_other;
                }
            }
        }
        found
    }

    async fn open_at(
        &self,
        context: &ActionContext,
        target: &Target,
        endpoint: &Endpoint,
    ) -> Result<System, ActionError> {
        let bmc = self.client(endpoint)?;
        System::find(bmc, target, Budget::until(context.deadline)).await
    }

    /// The same by credentials that are tried now, with a login of its own: none when the BMC refuses them. Whoever
    /// has the system must close its client.
    async fn try_login(
        &self,
        context: &ActionContext,
        target: &Target,
        credentials: &Credentials,
    ) -> Result<Option<System>, ActionError> {
        let endpoint = target.endpoint.with(credentials.clone());
        let slots = Arc::clone(&self.shared.slots);
        let bmc = Arc::new(Bmc::new(endpoint, &self.shared.tls, slots)?);
        let found = System::find(Arc::clone(&bmc), target, Budget::until(context.deadline)).await;
        if found.is_err() {
            // The login may have been taken before what failed: BMCs have room for few sessions.
            bmc.close().await;
        }
        match found {
            Ok(system) => Ok(Some(system)),
            Err(error) if error.reason == Reason::Unauthorized => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn client(&self, endpoint: &Endpoint) -> Result<Arc<Bmc>, ActionError> {
        self.start_sweeping();
        let mut clients = self.shared.lock();
        if let Some(client) = clients.get_mut(endpoint) {
            client.last_used = Instant::now();
            return Ok(Arc::clone(&client.bmc));
        }
        let slots = Arc::clone(&self.shared.slots);
        let bmc = Arc::new(Bmc::new(endpoint.clone(), &self.shared.tls, slots)?);
        let client = Client { bmc: Arc::clone(&bmc), last_used: Instant::now() };
        clients.insert(endpoint.clone(), client);
        Ok(bmc)
    }

    /// Starts the task that closes idle clients, once. It ends with the last `Redfish`.
    fn start_sweeping(&self) {
        if self.shared.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = Arc::downgrade(&self.shared);
        tokio::spawn(sweep(shared));
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Endpoint, Client>> {
        // The map is whole between any two statements, so a poisoned lock guards a good map.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out clients that nobody holds and nobody used for [`IDLE_MAX`].
    fn take_idle(&self, now: Instant) -> Vec<Client> {
        let mut clients = self.lock();
        let idle = |client: &Client| {
            Arc::strong_count(&client.bmc) == 1
                && now.saturating_duration_since(client.last_used) >= IDLE_MAX
        };
        clients.extract_if(|_endpoint, client| idle(client)).map(|(_key, idle)| idle).collect()
    }
}

async fn sweep(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(IDLE_MAX / 4).await;
        let Some(shared) = shared.upgrade() else { return };
        let idle = shared.take_idle(Instant::now());
        drop(shared);
        close_all(idle).await;
    }
}

async fn close_all(clients: Vec<Client>) {
    let closing = clients.iter().map(|client| client.bmc.close());
    futures_util::future::join_all(closing).await;
}
