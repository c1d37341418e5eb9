//! The engine: controllers that compare wanted with seen, and the durable execution of runs.
//!
//! It reads the cache, asks the pure parts what to do, calls providers, and commits. It must not
//! know HTTP, and nothing in it may decide what a runbook means: that is the runbook crate's.
//!
//! Start reading at [`Engine::run`], then `runs` (the run engine), `ledger` (who may disrupt what) and
//! `controllers`.

mod actions;
mod acts;
mod controllers;
mod declared;
mod events;
mod follow;
mod leadership;
mod ledger;
mod objects;
mod observe;
mod planted;
mod queue;
mod rules;
mod runs;
mod secrets;
mod shards;
mod starting;
mod units;

pub use actions::Actions;
pub use acts::{Act, Actor, BehindRun};
pub use objects::EngineError;
#[cfg(feature = "planted")]
pub use planted::{Planted, plant};
pub use rules::{Rule, rules};

use controllers::{
    campaign::Campaigns,
    garbage::Garbage,
    machine::Machines,
    namespace::Namespaces,
    place::Places,
    policies::Policies,
    pool::Pools,
    quotas::Quotas,
    remedy::Remedies,
    roles::Roles,
    schedule::Schedules,
    server::{Servers, refresh::Refreshes},
    service_accounts::ServiceAccounts,
    upkeep,
};
use objects::{Clock, Objects};
use quarterdeck_store::Store;
use std::sync::Arc;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Namespace of the plane's own runs.
pub const SYSTEM_NAMESPACE: &str = "quarterdeck-system";
/// The runbook that inspects servers.
pub const INSPECT_RUNBOOK: &str = "inspect-server";

/// The engine of one replica.
pub struct Engine {
    store: Arc<Store>,
    actions: Arc<Actions>,
    stop: watch::Receiver<bool>,
    clock: Clock,
    told: Option<mpsc::Sender<Act>>,
}

impl Engine {
    /// An engine over `store` that performs `actions`; it ends when `stop` turns true.
    pub fn new(store: Arc<Store>, actions: Arc<Actions>, stop: watch::Receiver<bool>) -> Self {
        Self { store, actions, stop, clock: Arc::new(jiff::Timestamp::now), told: None }
    }

    /// The same with another clock than the system's.
    #[must_use]
    pub fn with_clock(
        mut self,
        clock: impl Fn() -> jiff::Timestamp + Send + Sync + 'static,
    ) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The same, telling each write that it committed. Who listens must keep up: the engine waits.
    #[must_use]
    pub fn telling(mut self, told: mpsc::Sender<Act>) -> Self {
        self.told = Some(told);
        self
    }

    /// Acts whenever this replica is the one to act, until it is asked to stop. What is under way
    /// then is dropped where it stands: the next replica, or the next start, goes on from the journal.
    pub async fn run(self) {
        let Self { store, actions, stop, clock, told } = self;
        let holder = uuid::Uuid::new_v4().to_string();
        leadership::lead(store.clone(), &holder, stop, |term| {
            let objects = Objects::new(store.clone(), &term, clock.clone(), told.clone());
            let (actions, store) = (actions.clone(), store.clone());
            async move {
                let mut parts = JoinSet::new();
                parts.spawn(controllers::run(Places, objects.clone()));
                parts.spawn(controllers::run(Servers::default(), objects.clone()));
                parts.spawn(controllers::run(Machines::default(), objects.clone()));
                parts.spawn(controllers::run(Pools, objects.clone()));
                parts.spawn(controllers::run(Refreshes::new(actions.clone()), objects.clone()));
                parts.spawn(controllers::run(Namespaces, objects.clone()));
                parts.spawn(controllers::run(Roles, objects.clone()));
                parts.spawn(controllers::run(Policies, objects.clone()));
                parts.spawn(controllers::run(Quotas::new(store.clone()), objects.clone()));
                parts.spawn(controllers::run(ServiceAccounts, objects.clone()));
                parts.spawn(controllers::run(Campaigns, objects.clone()));
                parts.spawn(controllers::run(Schedules, objects.clone()));
                parts.spawn(controllers::run(Remedies::new(objects.clone()), objects.clone()));
                parts.spawn(controllers::run(Garbage::new(store.clone()), objects.clone()));
                parts.spawn(upkeep::run(objects.acting("upkeep")));
                parts.spawn(upkeep::history(objects.clone()));
                let (ledger, keeping) = ledger::start(objects.acting("ledger"));
                parts.spawn(keeping);
                parts.spawn(runs::run(objects.acting("runs"), actions, ledger));
                // None of them ends by itself; should one fail, the term is begun anew.
                if let Some(Err(error)) = parts.join_next().await {
                    tracing::error!(%error, "a part of the engine failed");
                }
            }
        })
        .await;
    }
}
