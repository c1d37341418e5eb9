//! What hosts and their containers take, as agents said last. Each replica knows that of the agents which it holds, in memory
//! alone; whoever asks says of which hosts and instances, and gets nothing else, from whichever replicas answer in time. Nothing
//! of it is history.

use super::{Agents, registry::Session};
use crate::{
    answer::{self, Answer},
    status::ApiError,
};
use bytes::Bytes;
use futures_util::future;
use http::Method;
use http_body_util::{BodyExt as _, Full, Limited};
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
/// Hosts and instances that are asked for at once: what is known of them takes some megabytes at most.
pub(crate) const ASKED_MAX: usize = 500;
/// Largest answer of a replica: so many hosts, or instances with all the containers that one may have.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Replicas that are asked: more than there can be shards for.
const REPLICAS_MAX: usize = 64;

/// What is asked for: a host, and the instances on it of whose containers it is asked as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) namespace: String,
    /// The name of its Machine.
    pub(crate) machine: String,
    /// Their identities.
    pub(crate) instances: BTreeSet<String>,
}

/// What a host takes, and those of its containers that are asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostUsage {
    pub(crate) namespace: String,
    pub(crate) machine: String,
    /// When that was so.
    pub(crate) at: Time,
    pub(crate) host: Usage,
    pub(crate) containers: Vec<ContainerUsage>,
}

/// What hosts take, by namespace and name of their Machines.
pub(crate) type Known = HashMap<(String, String), HostUsage>;

impl Agents {
    /// What is known of one host.
    pub(crate) async fn usage_of_one(&self, asked: Asked) -> Known {
        let replica = self.replica_of(&asked.namespace, &asked.machine);
        self.usage(&[asked], &replica.into_iter().collect()).await
    }

    /// What is known of hosts; of those that this replica does not hold, by what `others` say.
    pub(crate) async fn usage(&self, asked: &[Asked], others: &BTreeSet<String>) -> Known {
        let (mut known, mut missing) = (Known::new(), Vec::new());
        for asked in asked {
            match self.registry.get(&asked.namespace, &asked.machine) {
                Some(session) => known.extend(taken(&session, asked).map(keyed)),
                None => missing.push(asked),
            }
        }
        if missing.is_empty() {
            return known;
        }
        let body = match serde_json::to_vec(&missing) {
            Ok(body) => Bytes::from(body),
            Err(_) => return known,
        };
        let answers = others.iter().take(REPLICAS_MAX).map(|replica| {
            let body = body.clone();
            async move {
                let answer = timeout(ANSWER, self.usage_at(replica, body)).await;
                let answer = answer.unwrap_or_else(|_| Err("it did not answer in time".into()));
                answer.unwrap_or_else(|why| {
                    debug!(replica, why, "what the hosts of a replica take is not known");
                    Vec::new()
                })
            }
        });
        for usage in future::join_all(answers).await.into_iter().flatten() {
            let (of, usage) = keyed(usage);
            // Of a host that has just gone from one to the other the newer word counts.
            if known.get(&of).is_none_or(|known| known.at < usage.at) {
                known.insert(of, usage);
            }
        }
        known
    }

    /// Answers another replica with what is known here.
    pub(super) fn usage_for_another(&self, body: &[u8]) -> Result<Answer, ApiError> {
        let asked: Vec<Asked> = serde_json::from_slice(body).map_err(|error| {
            ApiError::bad_request(format!("of which hosts is unclear: {error}"))
        })?;
        let held = asked.iter().take(ASKED_MAX).filter_map(|asked| {
            taken(&*self.registry.get(&asked.namespace, &asked.machine)?, asked)
        });
        Ok(answer::json(&json!(held.collect::<Vec<_>>())))
    }

    /// Where the other replicas are reached that may hold agents.
    pub(crate) async fn other_replicas(&self) -> BTreeSet<String> {
        let leases = self.store.leases().await.unwrap_or_default().into_iter();
        let others = leases.filter(|lease| {
            lease.name.strip_prefix(STREAMS_LEASE).is_some_and(|process| process != self.process)
        });
        others.map(|lease| lease.holder).collect()
    }

    async fn usage_at(&self, replica: &str, body: Bytes) -> Result<Vec<HostUsage>, String> {
        let body = Full::new(body).boxed_unsync();
        let (answer, _connection) = self.ask(replica, Method::POST, "usage", body).await?;
        if !answer.status().is_success() {
            return Err(format!("it answered {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }
}

fn keyed(usage: HostUsage) -> ((String, String), HostUsage) {
    ((usage.namespace.clone(), usage.machine.clone()), usage)
}

/// What was said on a stream of what is asked for; none, while nothing was.
fn taken(session: &Session, Asked { namespace, machine, instances }: &Asked) -> Option<HostUsage> {
    let host = session.usage()?;
    let containers = match instances.is_empty() {
        true => Vec::new(),
        false => {
            let all = session.containers_usage();
            all.iter().filter(|it| instances.contains(&it.uid)).cloned().collect()
        }
    };
    Some(HostUsage {
        namespace: namespace.clone(),
        machine: machine.clone(),
        at: Time::seconds(Timestamp::now() - session.silent_for()),
        host,
        containers,
    })
}
