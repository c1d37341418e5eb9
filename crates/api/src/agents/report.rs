//! What agents report, written into the objects that are theirs: the status of their machine, and of their tasks. An agent
//! names nothing but tasks, and those are looked up under its own machine.

use super::{Agent, Agents};
use crate::audit::OwnWrite;
use jiff::Timestamp;
use quarterdeck_model::{
    Condition, ConditionStatus, Key, Kind, Time,
    agent::{HostCondition, HostConditionKind, InstanceReport, TaskReport},
    condition,
    kinds::{
        AgentTask, Allocatable, HostKind, Instance, InstanceStatus, Machine, MachineFacts,
        container::CONTAINERS_FINALIZER,
        machine_agent::{AGENT_CONNECTED, HEALTHY, REACHABLE},
    },
    object,
};
use quarterdeck_store::{Mutation, Outcome, Precondition, StoreError, Write};
use std::fmt::Display;
use tracing::warn;

/// How often a write is repeated on a newer version.
const TRIES: usize = 16;
/// Longest sentence and word of a condition that an agent says.
const MESSAGE_BYTES_MAX: usize = 512;
/// What of an instance is told at most.
const CONTAINERS_MAX: usize = 64;
const PORTS_MAX: usize = 128;
const CONDITIONS_MAX: usize = 16;
/// Memory that is left to the system and the agent.
const RESERVED_BYTES: u64 = 256 << 20;

/// What is reported of an agent, or by it.
pub(super) enum Report<'r> {
    /// It has begun a stream here.
    Connected { session: &'r str, version: &'r str, since: Time },
    /// That stream has ended; nothing is said if the agent has another one by now.
    Disconnected { session: &'r str, heard: Time, why: &'r str },
    /// What the host is.
    Facts(Box<MachineFacts>),
    /// How the host is: all conditions there are.
    Conditions(Vec<HostCondition>),
    /// How far a task is.
    Task(Box<TaskReport>),
    /// How an instance is.
    Instance(Box<InstanceReport>),
}

impl Agents {
    /// Writes down what is reported.
    pub(super) async fn tell(&self, agent: &Agent, report: &Report<'_>) -> Result<(), StoreError> {
        match report {
            Report::Connected { session, version, since } => {
                self.tell_connected(agent, (session, version, *since)).await
            }
            Report::Disconnected { session, heard, why } => {
                self.tell_disconnected(agent, session, (*heard, why)).await
            }
            Report::Facts(facts) => self.tell_facts(agent, (**facts).clone()).await,
            Report::Conditions(said) => self.tell_conditions(agent, said).await,
            Report::Task(report) => self.tell_task(agent, (**report).clone()).await,
            Report::Instance(report) => self.tell_instance(agent, report).await,
        }
    }

    async fn tell_connected(
        &self,
        agent: &Agent,
        (session, version, since): (&str, &str, Time),
    ) -> Result<(), StoreError> {
        let now = Time::new(Timestamp::now());
        self.machine(agent, |machine| {
            let status = machine.status.agent.get_or_insert_default();
            status.session = Some(session.to_owned());
            status.replica = Some(self.address.clone());
            status.version = Some(version.to_owned());
            status.connected_since = Some(since);
            status.disconnected_since = None;
            let message = format!("Its agent holds a stream to the replica at {}.", self.address);
            let conditions = &mut machine.status.conditions;
            let said =
                Condition::new(AGENT_CONNECTED, ConditionStatus::True, "Connected", message, now);
            condition::set(conditions, said);
            let message = "Its agent is heard of.";
            let said =
                Condition::new(REACHABLE, ConditionStatus::True, "AgentConnected", message, now);
            condition::set(conditions, said);
        })
        .await
    }

    async fn tell_disconnected(
        &self,
        agent: &Agent,
        session: &str,
        (heard, why): (Time, &str),
    ) -> Result<(), StoreError> {
        let now = Time::new(Timestamp::now());
        self.machine(agent, |machine| {
            let Some(status) = &mut machine.status.agent else { return };
            if status.session.as_deref() != Some(session) || status.disconnected_since.is_some() {
                return;
            }
            status.disconnected_since = Some(heard);
            let message = format!("Its agent's stream ended: {why}.");
            let said = Condition::new(
                AGENT_CONNECTED,
                ConditionStatus::False,
                "Disconnected",
                message,
                now,
            );
            condition::set(&mut machine.status.conditions, said);
        })
        .await
    }

    async fn tell_facts(&self, agent: &Agent, facts: MachineFacts) -> Result<(), StoreError> {
        let facts = facts.bounded();
        self.machine(agent, |machine| {
            let reserved = RESERVED_BYTES.min(facts.memory_bytes / 2);
            machine.status.allocatable = Some(Allocatable {
                cpu: u64::from(facts.cpu.count) * 1_000,
                memory: facts.memory_bytes - reserved,
            });
            if machine.spec.preinstalled {
                let outward = facts.interfaces.iter().filter(|it| leads_out(&it.name));
                let addresses = outward.flat_map(|it| &it.addresses);
                let address = addresses
                    .filter_map(|it| it.split('/').next()?.parse::<std::net::IpAddr>().ok())
                    .next();
                machine.status.address = address.map(|it| it.to_string());
            }
            machine.status.facts = Some(facts.clone());
        })
        .await
    }

    /// Each of the conditions there are, and whether one of them is bad.
    async fn tell_conditions(
        &self,
        agent: &Agent,
        said: &[HostCondition],
    ) -> Result<(), StoreError> {
        let now = Time::new(Timestamp::now());
        self.machine(agent, |machine| {
            let mut bad: Option<&HostCondition> = None;
            for kind in HostConditionKind::ALL {
                let conditions = &mut machine.status.conditions;
                let Some(found) = said.iter().find(|condition| condition.kind == kind) else {
                    conditions.retain(|condition| condition.kind != kind.name());
                    continue;
                };
                if found.status == ConditionStatus::True {
                    bad = bad.or(Some(found));
                }
                let (reason, message) = (word(&found.reason), sentence(&found.message));
                condition::set(
                    conditions,
                    Condition::new(kind.name(), found.status, reason, message, now),
                );
            }
            let healthy = match bad {
                None => Condition::new(
                    HEALTHY,
                    ConditionStatus::True,
                    "Healthy",
                    "Nothing that its agent looks at is wrong.",
                    now,
                ),
                Some(bad) => Condition::new(
                    HEALTHY,
                    ConditionStatus::False,
                    bad.kind.name(),
                    sentence(&bad.message),
                    now,
                ),
            };
            condition::set(&mut machine.status.conditions, healthy);
        })
        .await
    }

    async fn tell_task(&self, agent: &Agent, report: TaskReport) -> Result<(), StoreError> {
        let TaskReport { name, uid, status } = report;
        let (status, now) = (status.bounded(), Time::new(Timestamp::now()));
        self.modify::<AgentTask>(agent, &name, |task| {
            let own = task.metadata.uid == uid
                && task.spec.machine == agent.name
                && task.spec.machine_uid == agent.uid;
            if own && !task.status.ended() {
                task.status = status.clone();
                // How long it is kept follows from that, so a host's own clock does not say it.
                if task.status.ended() {
                    task.status.finished_at = Some(now);
                }
            }
        })
        .await
    }

    /// How an instance on its machine is; one that is to go and of which nothing is left there is let go.
    async fn tell_instance(
        &self,
        agent: &Agent,
        report: &InstanceReport,
    ) -> Result<(), StoreError> {
        let here = |instance: &Instance| {
            instance.metadata.uid == report.uid
                && instance.spec.template.is_some()
                && instance.spec.host.kind == HostKind::Machine
                && instance.spec.host.name == agent.name
        };
        self.modify::<Instance>(agent, &report.name, |instance| {
            if !here(instance) {
                return;
            }
            let mut status = bounded(report.status.clone());
            // Those of the plane's own stay.
            let own = |condition: &Condition| {
                !status.conditions.iter().any(|said| said.kind == condition.kind)
            };
            let kept: Vec<Condition> = instance
                .status
                .conditions
                .iter()
                .filter(|it| own(it))
                .take(CONDITIONS_MAX)
                .cloned()
                .collect();
            status.conditions.extend(kept);
            instance.status = status;
            if report.gone && instance.metadata.deletion_timestamp.is_some() {
                instance.metadata.finalizers.retain(|held| held != CONTAINERS_FINALIZER);
            }
        })
        .await
    }

    /// Changes the status of the agent's own machine.
    async fn machine(
        &self,
        agent: &Agent,
        change: impl Fn(&mut Machine),
    ) -> Result<(), StoreError> {
        self.modify::<Machine>(agent, &agent.name, |machine| {
            if machine.metadata.uid == agent.uid {
                change(machine);
            }
        })
        .await
    }

    /// Changes an object in the agent's namespace until nobody else changed it meanwhile; one that is gone is
    /// left.
    async fn modify<K: Kind + Clone + PartialEq>(
        &self,
        agent: &Agent,
        name: &str,
        change: impl Fn(&mut K),
    ) -> Result<(), StoreError> {
        let kind = K::info();
        for _ in 0..TRIES {
            let found = self.store.world().get(kind, &agent.namespace, name);
            // It may only not be here yet; an agent forgets what it is told is gone.
            let found = match found {
                None => self.store.fresh().await?.get(kind, &agent.namespace, name),
                found => found,
            };
            let Some(found) = found else { return Ok(()) };
            // Told again it would be as unreadable: what is not understood here must not hold up all that the agent says.
            let dropped = |error: &dyn Display| {
                let what = "what an agent said of it is dropped: it cannot be read or written; update this replica";
                warn!(kind = kind.kind, namespace = agent.namespace, name, %error, "{what}");
            };
            let mut value: K = match found.decode() {
                Ok(value) => value,
                Err(error) => {
                    dropped(&error);
                    return Ok(());
                }
            };
            let before = value.clone();
            change(&mut value);
            if value == before {
                return Ok(());
            }
            // What nobody holds any more goes with the last who let go.
            let meta = value.meta();
            let gone = meta.deletion_timestamp.is_some() && meta.finalizers.is_empty();
            let body = match object::encode_typed(&value) {
                Ok(body) => body,
                Err(error) => {
                    dropped(&error);
                    return Ok(());
                }
            };
            let key = Key::new(kind, &agent.namespace, name);
            let write = if gone { Write::Delete } else { Write::Put(body.into()) };
            let precondition = Precondition::At(found.revision);
            let mutation = Mutation { key: key.clone(), write, precondition, fence: None };
            if let Some(Outcome::Committed(revision)) =
                self.store.commit(vec![mutation]).await?.first()
            {
                self.told(agent, &key, (found.uid(), revision.0)).await;
                return Ok(());
            }
            self.store.fresh().await?;
        }
        Err(StoreError::Unavailable(format!("{} {name} changes too often", kind.kind)))
    }

    /// Writes it into the audit log.
    async fn told(&self, agent: &Agent, key: &Key, (uid, revision): (&str, u64)) {
        let Some(audit) = &self.audit else { return };
        let user = format!("machine:{}:{}", agent.namespace, agent.name);
        let (user, verb, annotations) = (user.as_str(), "update", Vec::new());
        audit
            .own_writes(&[OwnWrite { user, verb, key, uid: Some(uid), revision, annotations }])
            .await;
    }
}

/// The same within bounds: agents are not trusted.
fn bounded(mut status: InstanceStatus) -> InstanceStatus {
    status.containers.truncate(CONTAINERS_MAX);
    status.ports.truncate(PORTS_MAX);
    status.conditions.truncate(CONDITIONS_MAX);
    for condition in &mut status.conditions {
        (condition.kind, condition.reason) = (word(&condition.kind), word(&condition.reason));
        condition.message = sentence(&condition.message);
    }
    status.message = status.message.as_deref().map(sentence);
    status.address = status.address.as_deref().map(sentence);
    status
}

/// Whether others may reach the host by an interface of that name: not by those of its own containers, nor by its loopback.
fn leads_out(name: &str) -> bool {
    let inner = ["br-", "veth", "cni"].iter().any(|prefix| name.starts_with(prefix));
    !inner && !["lo", "docker0"].contains(&name)
}

/// A word for machines, whatever an agent says.
fn word(said: &str) -> String {
    let word: String = said.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    if word.is_empty() { "Unknown".into() } else { word }
}

fn sentence(said: &str) -> String {
    let mut text: String = said.chars().filter(|letter| !letter.is_control()).collect();
    let mut end = MESSAGE_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
