//! The engine: controllers that compare wanted with seen, and the durable execution of runs.
//!
//! It reads the cache, asks the pure parts what to do, calls providers, and commits. It must not
//! know HTTP, and nothing in it may decide what a runbook means: that is the runbook crate's.
//!
//! Start reading at [`Engine::run`], then `runs` (the run engine), `ledger` (who may disrupt what) and
//! `controllers`. Which replica does what is said by `leadership`, `shards` and `tenure`.

mod actions;
mod acts;
mod agents;
mod controllers;
mod declare;
mod declared;
mod depends;
mod events;
mod follow;
mod impact;
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
mod spread;
mod starting;
mod tenure;
mod units;

pub use actions::Actions;
pub use acts::{Act, Actor, BehindRun};
pub use impact::Impacts;
pub use objects::EngineError;
#[cfg(feature = "planted")]
pub use planted::{Planted, plant};
pub use rules::{DeletionRule, PreviewRule, Rule, deletion_rules, previews, rules};

use controllers::{
    Controller,
    campaign::Campaigns,
    cluster::Clusters,
    evictions::Evictions,
    garbage::Garbage,
    instance::Instances,
    machine::Machines,
    namespace::Namespaces,
    permits::Permits,
    place::Places,
    policies::Policies,
    pool::Pools,
    quotas::Quotas,
    remedy::Remedies,
    roles::Roles,
    scan::Scans,
    schedule::Schedules,
    server::{Servers, refresh::Refreshes},
    service::Services,
    service_accounts::ServiceAccounts,
    upkeep,
    workload::Workloads,
};
use leadership::GiveUp;
use objects::{Clock, Objects, Wiring};
use quarterdeck_model::KindRef;
use quarterdeck_providers::http::{Reach, Webhooks};
use quarterdeck_store::{Lease, Store, World};
use runs::InUses;
use serde_json::Value;
use shards::Holding;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};

/// Namespace of the plane's own runs.
pub const SYSTEM_NAMESPACE: &str = "quarterdeck-system";
/// The runbook that inspects servers.
pub const INSPECT_RUNBOOK: &str = "inspect-server";

/// After so long a silence of its agent a machine is unreachable, unless it is told otherwise.
const SILENCE: Duration = Duration::from_secs(40);
/// Pause before a part of the engine that ended by a defect is begun anew.
const DEFECT_PAUSE: Duration = Duration::from_secs(3);

/// Whether operators' policies let a part of the engine, of that name, make an object; why not, if they do not.
pub type Judge = dyn Fn(&World, &str, KindRef, &Value) -> Result<(), String> + Send + Sync;

/// What is so while nobody tells of policies.
fn no_policy(_: &World, _: &str, _: KindRef, _: &Value) -> Result<(), String> {
    Ok(())
}

/// The engine of one replica.
pub struct Engine {
    store: Arc<Store>,
    actions: Arc<Actions>,
    stop: watch::Receiver<bool>,
    clock: Clock,
    told: Option<mpsc::Sender<Act>>,
    webhooks: Arc<Webhooks>,
    reach: Reach,
    judge: Arc<Judge>,
    silence: Duration,
}

impl Engine {
    /// An engine over `store` that performs `actions`; it ends when `stop` turns true.
    pub fn new(store: Arc<Store>, actions: Arc<Actions>, stop: watch::Receiver<bool>) -> Self {
        let reach = Reach::default();
        let webhooks = Arc::new(Webhooks::new(reach));
        let clock = Arc::new(jiff::Timestamp::now);
        let judge = Arc::new(no_policy);
        Self { store, actions, stop, clock, told: None, webhooks, reach, judge, silence: SILENCE }
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

    /// The same, whose questions to the hooks of services, and to clusters, are kept to `reach`.
    #[must_use]
    pub fn reaching(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self.webhooks = Arc::new(Webhooks::new(reach));
        self
    }

    /// The same, which makes what people have asked for only where policies allow it.
    #[must_use]
    pub fn judged_by(
        mut self,
        judge: impl Fn(&World, &str, KindRef, &Value) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.judge = Arc::new(judge);
        self
    }

    /// The same, to which a machine is unreachable after so long a silence of its agent.
    #[must_use]
    pub fn silent_after(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// The same, telling each write that it committed. Who listens must keep up: the engine waits.
    #[must_use]
    pub fn telling(mut self, told: mpsc::Sender<Act>) -> Self {
        self.told = Some(told);
        self
    }

    /// Acts on this replica's part of the fleet, until it is asked to stop. What is under way then is dropped where it
    /// stands: the next replica, or the next start, goes on from the journal.
    pub async fn run(self) {
        let Self { store, actions, stop, clock, told, webhooks, reach, judge, silence } = self;
        let (leases, holding, give_up) = leadership::leases(store.clone());
        let wiring = Wiring { store: store.clone(), clock, told };
        let mut parts = Parts { parts: JoinSet::new(), wiring, holding };
        parts.control(|| Places);
        parts.control(|| Scans);
        parts.control({
            let store = store.clone();
            move || Servers::new(store.clone())
        });
        parts.control({
            let store = store.clone();
            move || Machines::new(store.clone())
        });
        parts.control({
            let store = store.clone();
            move || Instances::new(store.clone())
        });
        parts.control({
            let store = store.clone();
            move || Evictions::new(store.clone())
        });
        parts.control(move || Pools::new(judge.clone()));
        parts.control(Services::default);
        parts.control({
            let (store, actions) = (store.clone(), actions.clone());
            move || Workloads::new(store.clone(), actions.clone())
        });
        parts.control({
            let store = store.clone();
            move || Clusters::new(store.clone(), reach)
        });
        parts.control({
            let actions = actions.clone();
            move || Refreshes::new(actions.clone())
        });
        parts.control(|| Namespaces);
        parts.control(|| Roles);
        parts.control(|| Policies);
        parts.control({
            let store = store.clone();
            move || Quotas::new(store.clone())
        });
        parts.control(|| ServiceAccounts);
        parts.control(|| Campaigns);
        parts.control(|| Schedules);
        parts.control({
            let wiring = parts.wiring.clone();
            move || Remedies::new(wiring.clone())
        });
        parts.control({
            let store = store.clone();
            move || Garbage::new(store.clone())
        });
        let uses = Arc::<InUses>::default();
        parts.control({
            let (store, uses) = (store.clone(), uses.clone());
            move || Permits::new(store.clone(), uses.clone())
        });
        parts.keep("runs", move |wiring, holding| {
            runs::run(wiring, holding, actions.clone(), uses.clone())
        });
        parts.keep("leading", move |wiring, holding| {
            lead(wiring, holding, give_up.clone(), (webhooks.clone(), silence))
        });
        leases.keep(stop).await;
        parts.parts.shutdown().await;
    }
}

/// The parts of an engine.
struct Parts {
    parts: JoinSet<()>,
    wiring: Wiring,
    holding: Holding,
}

impl Parts {
    /// Runs a controller.
    fn control<C: Controller>(&mut self, made: impl Fn() -> C + Send + 'static) {
        self.keep(C::NAME, move |wiring, holding| controllers::run(made(), wiring, holding));
    }

    /// Runs a part; one that ends by a defect is begun anew.
    fn keep<W: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &'static str,
        part: impl Fn(Wiring, Holding) -> W + Send + 'static,
    ) {
        let (wiring, holding) = (self.wiring.clone(), self.holding.clone());
        self.parts.spawn(async move {
            let mut work = JoinSet::new();
            loop {
                work.spawn(part(wiring.clone(), holding.clone()));
                if let Some(Err(error)) = work.join_next().await {
                    tracing::error!(%error, "{name} failed; begun anew in {DEFECT_PAUSE:?}");
                }
                sleep(DEFECT_PAUSE).await;
            }
        });
    }
}

/// Does what there is one of in the fleet, whenever this replica is the one to do it.
async fn lead(
    wiring: Wiring,
    mut holding: Holding,
    give_up: GiveUp,
    (webhooks, silence): (Arc<Webhooks>, Duration),
) {
    let mut before: Option<Lease> = None;
    loop {
        let tenure = holding.fleet(before.as_ref()).await;
        let lease = tenure.lease().clone();
        let objects = |part| Objects::new(wiring.clone(), tenure.clone(), part);
        let mut parts = JoinSet::new();
        parts.spawn(upkeep::run(objects("upkeep")));
        parts.spawn(upkeep::history(objects("upkeep")));
        parts.spawn(ledger::keep(objects("ledger"), webhooks.clone()));
        parts.spawn(agents::keep(objects("agents"), silence));
        // None of them ends by itself.
        if let Some(ended) = tenure.during(parts.join_next()).await {
            tracing::error!(?ended, "a part of what leads failed; it is begun anew");
            give_up.give_up(lease.clone());
        }
        parts.shutdown().await;
        before = Some(lease);
    }
}
