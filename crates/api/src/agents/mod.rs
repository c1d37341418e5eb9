//! The plane's side of its agents: how one joins, and the one stream that each keeps open.
//!
//! - [`identity`]: which machine's agent calls, and whether its certificate still counts; [`join`] gives certificates out.
//! - [`stream`]: one stream from its beginning to its end; [`registry`]: those that this replica holds; [`said`]: what agents
//!   say, which [`report`] writes into objects as often as [`limit`] lets them; [`follow`]: what changes for them.
//! - [`order`]: which of an agent's streams is the newest; [`listening`]: the time in which silence counts.
//! - [`sessions`]: what people have with containers; [`elsewhere`]: with those of agents that another replica holds; [`usage`]:
//!   what hosts and containers take, as all replicas have heard.
//!
//! What is desired is objects, read from the cache; what is reported is written to objects. Heartbeats stay in memory, and
//! nothing here decides what silence means: that is the engine's. An agent is never trusted: what it says is bounded,
//! and written only where it is its own.

mod elsewhere;
mod follow;
mod identity;
mod instances;
mod join;
mod limit;
mod listening;
mod order;
mod registry;
mod report;
mod said;
mod sessions;
mod stream;
mod tasks;
mod usage;

pub(crate) use elsewhere::{REPLICA_PATH, is_replica};
pub(crate) use identity::{Agent, is_agent};
pub(crate) use join::{join, join_token, renew};
pub(crate) use sessions::{Hears, Place, Says, Talk, ended};
pub(crate) use stream::stream;
pub(crate) use usage::{ASKED_MAX, Asked, Known};

use crate::{
    Audit,
    answer::Answer,
    authorize::{self, Ask, Decision},
    body,
    identity::Caller,
    path::{AgentCall, ReplicaCall},
    pki::Authority,
    server::Api,
    status::ApiError,
};
use elsewhere::Elsewhere;
use http::Request;
use hyper::body::Incoming;
use jiff::Timestamp;
use quarterdeck_model::{
    agent::{STREAMS_LEASE, session::SESSION_PATH},
    kinds::Machine,
};
use quarterdeck_store::Store;
use registry::{Registry, Session};
use sessions::Waiting;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::warn;

/// How long a process that fell silent is taken to hold its streams.
const TTL: Duration = Duration::from_secs(10);
/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(3);
/// Sweeps between two looks at what changes seldom: what hosts have taken of what they may, and whether two are one still.
const SWEEPS_A_LOOK: u64 = 60;

/// The agents of one replica.
pub struct Agents {
    store: Arc<Store>,
    authority: Arc<Authority>,
    audit: Option<Arc<Audit>>,
    /// Names this process, in sessions.
    process: String,
    /// Where this replica is reached.
    address: String,
    /// After so long a silence a machine counts as unreachable.
    silence: Duration,
    registry: Registry,
    waiting: Waiting,
    elsewhere: Elsewhere,
    stop: watch::Receiver<bool>,
}

impl Agents {
    /// Those of a replica that is reached at `address`. A machine counts as unreachable after a `silence`; its agent says
    /// that it lives four times in that.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        authority: Arc<Authority>,
        audit: Option<Arc<Audit>>,
        (address, silence): (String, Duration),
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let process = uuid::Uuid::new_v4().simple().to_string();
        Arc::new(Self {
            store,
            authority,
            audit,
            process,
            address,
            silence,
            registry: Registry::default(),
            waiting: Waiting::default(),
            elsewhere: Elsewhere::default(),
            stop,
        })
    }

    /// Keeps this replica's streams right, until it stops.
    pub async fn keep(self: Arc<Self>) {
        let mut stop = self.stop.clone();
        let keeping =
            async { tokio::join!(self.keep_lease(), self.sweep(), follow::follow(&self)) };
        tokio::select! {
            _ = keeping => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        self.registry.each(|session| session.end("this replica stops; go to another", false));
    }

    /// How many agents are connected here.
    pub fn connected(&self) -> usize {
        self.registry.count()
    }

    fn heartbeat(&self) -> Duration {
        self.silence / 4
    }

    async fn keep_lease(&self) {
        let name = format!("{STREAMS_LEASE}{}", self.process);
        loop {
            let names = std::slice::from_ref(&name);
            if let Err(error) = self.store.acquire_leases(names, &self.address, TTL).await {
                warn!(%error, "the lease of this replica's agents could not be renewed");
            }
            sleep(RENEW).await;
        }
    }

    /// Ends streams that have fallen silent though nobody closed them, and those whose certificate has ended. One look at all of
    /// them costs about a millisecond for 100,000.
    async fn sweep(&self) {
        // What came late twice has most likely been lost.
        let longest = self.silence / 2;
        let (mut last, mut sweep) = (Instant::now(), 0_u64);
        loop {
            sleep(listening::STEP).await;
            self.registry.listening.step(last.elapsed());
            (last, sweep) = (Instant::now(), sweep.wrapping_add(1));
            let (now, look) = (Timestamp::now(), sweep.is_multiple_of(SWEEPS_A_LOOK));
            self.registry.each(|session| {
                if session.silent_for() > longest {
                    session.end("nothing was heard for too long", false);
                } else if session.agent.get().is_some_and(|agent| agent.has_ended(now)) {
                    session.end("the certificate that it was begun with has ended", false);
                } else if look && session.has_rival() {
                    session.record_changed();
                }
            });
            if look {
                self.registry.forget();
            }
        }
    }

    /// What a stream is called in its machine's status.
    fn id(&self, session: &Session) -> String {
        format!("{}/{}", self.process, session.number)
    }

    /// Whether a machine says that this stream is open.
    fn is_written(&self, session: &Session, machine: &Machine) -> bool {
        machine.status.agent.as_ref().is_some_and(|agent| {
            agent.is_connected() && agent.session.as_deref() == Some(&*self.id(session))
        })
    }
}

impl Api {
    /// The same API, to which agents connect.
    #[must_use]
    pub fn with_agents(mut self, agents: Arc<Agents>) -> Self {
        self.agents = Some(agents);
        self
    }
}

impl Api {
    /// What an agent may, if it still is one.
    pub(crate) fn agent_decision(
        &self,
        caller: &Caller,
        ask: &Ask<'_>,
    ) -> Result<Decision, ApiError> {
        let (world, agent) = (self.store.world(), Agent::of(caller)?);
        agent.machine(&world)?;
        Ok(match authorize::agent_may(&world, &agent, ask) {
            true => Decision::Allowed(None),
            false => {
                let why = "the agent of a machine reads that machine, its instances, what they mount and its tasks, and nothing else";
                Decision::Denied(why.into())
            }
        })
    }

    /// Answers an agent, or who becomes one.
    pub(crate) async fn agent(
        &self,
        call: AgentCall,
        caller: &Caller,
        request: Request<Incoming>,
    ) -> Result<Answer, ApiError> {
        let agents = self.agents.as_ref().ok_or_else(ApiError::no_such_path)?;
        match call {
            AgentCall::Join => join(self, agents, request).await,
            AgentCall::Renew => renew(self, agents, &Agent::of(caller)?, request).await,
            AgentCall::Stream => stream(self, agents, Agent::of(caller)?, request),
            AgentCall::Session => {
                let id = request.uri().path().strip_prefix(SESSION_PATH).unwrap_or_default();
                let id = id.to_owned();
                agents.opened(&Agent::of(caller)?, &id, request.into_body())
            }
        }
    }

    /// Answers another replica.
    pub(crate) async fn replica(
        &self,
        call: ReplicaCall,
        request: Request<Incoming>,
    ) -> Result<Answer, ApiError> {
        let agents = self.agents.as_ref().ok_or_else(ApiError::no_such_path)?;
        match call {
            ReplicaCall::Session => agents.session_for_another(request.into_body()).await,
            ReplicaCall::Usage => agents.usage_for_another(&body::bytes(request).await?),
        }
    }
}
