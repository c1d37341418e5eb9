//! What hosts and their containers take, as agents said last. Each replica knows that of the agents which it holds, in memory
//! alone; whoever asks gets that of all replicas which answer in time. Nothing of it is history.

use super::Agents;
use crate::answer::{self, Answer};
use futures_util::future;
use http::Method;
use http_body_util::{BodyExt as _, Empty, Limited};
use jiff::Timestamp;
use quarterdeck_model::{
    Time,
    agent::{ContainerUsage, STREAMS_LEASE, Usage},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::timeout;
use tracing::debug;

/// How long other replicas may take: what is not known by then is left out.
const ANSWER: Duration = Duration::from_secs(5);
/// Largest answer of a replica: a hundred thousand hosts with ten containers each.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Replicas that are asked: more than there can be shards for.
const REPLICAS_MAX: usize = 64;

/// What a host and its containers take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostUsage {
    pub(crate) namespace: String,
    pub(crate) machine: String,
    /// When that was so.
    pub(crate) at: Time,
    pub(crate) host: Usage,
    pub(crate) containers: Vec<ContainerUsage>,
}

/// Of which hosts it is asked.
#[derive(Debug, Clone, Copy, Default)]
struct Within<'a> {
    namespace: Option<&'a str>,
    machine: Option<&'a str>,
}

impl Within<'_> {
    fn has(&self, namespace: &str, machine: &str) -> bool {
        self.namespace.is_none_or(|it| it == namespace)
            && self.machine.is_none_or(|it| it == machine)
    }
}

impl Agents {
    /// What hosts take, by namespace and name of their Machines: of one machine, of a namespace, or all.
    pub(crate) async fn usage(
        &self,
        namespace: Option<&str>,
        machine: Option<&str>,
    ) -> HashMap<(String, String), HostUsage> {
        let within = Within { namespace, machine };
        let here = self.usage_here(within);
        let replicas = self.others(within).await;
        let asked = replicas.iter().take(REPLICAS_MAX).map(|replica| async move {
            let answer = timeout(ANSWER, self.usage_at(replica, within)).await;
            let answer = answer.unwrap_or_else(|_| Err("it did not answer in time".into()));
            answer.unwrap_or_else(|why| {
                debug!(replica, why, "what the hosts of a replica take is not known");
                Vec::new()
            })
        });
        let elsewhere = future::join_all(asked).await.into_iter().flatten();
        let mut all: HashMap<_, HostUsage> = HashMap::new();
        // Of a host that has just gone to another replica the newer word counts.
        for usage in here.into_iter().chain(elsewhere) {
            let of = (usage.namespace.clone(), usage.machine.clone());
            if all.get(&of).is_none_or(|known| known.at < usage.at) {
                all.insert(of, usage);
            }
        }
        all
    }

    /// Answers another replica with what is known here.
    pub(super) fn usage_for_another(&self, query: Option<&str>) -> Answer {
        let query: HashMap<_, _> =
            form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect();
        let of = |name: &str| query.get(name).map(AsRef::as_ref);
        let within = Within { namespace: of("namespace"), machine: of("machine") };
        answer::json(&json!(self.usage_here(within)))
    }

    fn usage_here(&self, within: Within<'_>) -> Vec<HostUsage> {
        let mut all = Vec::new();
        self.registry.each(|session| {
            let agent = session.agent.get().filter(|it| within.has(&it.namespace, &it.name));
            if let (Some(agent), Some(host)) = (agent, session.usage()) {
                all.push(HostUsage {
                    namespace: agent.namespace.clone(),
                    machine: agent.name.clone(),
                    at: Time::seconds(Timestamp::now() - session.silent_for()),
                    host,
                    containers: session.containers_usage().to_vec(),
                });
            }
        });
        all
    }

    /// Where the other replicas are reached that hold agents of these hosts.
    async fn others(&self, within: Within<'_>) -> BTreeSet<String> {
        if let (Some(namespace), Some(machine)) = (within.namespace, within.machine) {
            return match self.registry.get(namespace, machine) {
                Some(_) => BTreeSet::new(),
                None => self.replica_of(namespace, machine).into_iter().collect(),
            };
        }
        let leases = self.store.leases().await.unwrap_or_default().into_iter();
        let others = leases.filter(|lease| {
            lease.name.strip_prefix(STREAMS_LEASE).is_some_and(|process| process != self.process)
        });
        others.map(|lease| lease.holder).collect()
    }

    async fn usage_at(&self, replica: &str, within: Within<'_>) -> Result<Vec<HostUsage>, String> {
        // Names of both are letters, digits and hyphens: nothing that an address would have otherwise.
        let named = [("namespace", within.namespace), ("machine", within.machine)];
        let named =
            named.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        let path = format!("usage?{}", named.collect::<Vec<_>>().join("&"));
        let (answer, _connection) =
            self.ask(replica, Method::GET, &path, Empty::new().boxed_unsync()).await?;
        if !answer.status().is_success() {
            return Err(format!("it answered {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }
}
