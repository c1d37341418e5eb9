//! What agents report, written into the objects that are theirs: the status of their machine, and of their tasks. An agent
//! names nothing but tasks, and those are looked up under its own machine.

use super::{
    Agent, Agents,
    order::{self, Place},
    said::{CONDITIONS_MAX, Said},
};
use crate::audit::OwnWrite;
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    Condition, ConditionStatus, Key, Kind, Time,
    agent::{HostCondition, HostConditionKind, InstanceReport, TaskReport},
    condition,
    kinds::{
        AgentHost, AgentTask, Allocatable, HostKind, Instance, Machine, MachineFacts, PHASE_BEFORE,
        container::CONTAINERS_FINALIZER,
        machine_agent::{AGENT_CONNECTED, HEALTHY, IDENTITY_CONFLICT, REACHABLE},
    },
    object,
};
use quarterdeck_store::{Mutation, Outcome, Precondition, StoreError, Write};
use std::fmt::Display;
use tracing::warn;

/// How often a write is repeated on a newer version.
const TRIES: usize = 16;
/// Memory that is left to the system and the agent.
const RESERVED_BYTES: u64 = 256 << 20;

/// How long after it was last seen that two hosts have one identity that is told to be over.
const CONFLICT_OVER: SignedDuration = SignedDuration::from_mins(15);
/// How often at most it is written that they still do.
const CONFLICT_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// A stream, as it is written down.
pub(super) struct Own {
    pub(super) agent: Agent,
    /// What it is called.
    pub(super) id: String,
    /// Its number among the agent's streams.
    pub(super) number: Option<u64>,
    pub(super) host: AgentHost,
    pub(super) version: String,
    pub(super) since: Time,
}

/// What is reported of an agent's stream.
pub(super) enum Report<'r> {
    /// It has begun here, or goes on here though something else was written.
    Connected,
    /// It has ended; nothing is said if the agent has another one by now.
    Disconnected { heard: Time, why: &'r str },
    /// It was refused, since another host has the agent's identity and holds its stream.
    Refused,
    /// What the agent says on it.
    Said(&'r Said),
}

/// What became of a report.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is written, as far as it says something new.
    Done,
    /// The stream is written down, with this number; and whether two hosts have the identity.
    Connected { number: u64, rival: bool },
    /// Another stream is written down, or none: what is said on this one does not count.
    NotOwn,
    /// A later one is known, of this number.
    Older(u64),
}

impl Agents {
    /// Writes down what is reported.
    pub(super) async fn tell(&self, own: &Own, report: &Report<'_>) -> Result<Told, StoreError> {
        match report {
            Report::Connected => self.tell_connected(own).await,
            Report::Disconnected { heard, why } => self.tell_disconnected(own, (*heard, why)).await,
            Report::Refused => self.tell_refused(own).await,
            Report::Said(Said::Facts(facts)) => self.tell_facts(own, (**facts).clone()).await,
            Report::Said(Said::Conditions(said)) => self.tell_conditions(own, said).await,
            Report::Said(Said::Task(report)) => self.tell_task(own, (**report).clone()).await,
            Report::Said(Said::Instance(report)) => self.tell_instance(own, report).await,
        }
    }

    async fn tell_connected(&self, own: &Own) -> Result<Told, StoreError> {
        let now = Time::new(Timestamp::now());
        let mut told = Told::NotOwn;
        self.modify::<Machine>(own, &own.agent.name, None, |machine| {
            told = Told::NotOwn;
            if machine.metadata.uid != own.agent.uid || own.agent.counts(machine).is_err() {
                return;
            }
            let status = machine.status.agent.get_or_insert_default();
            let number = match order::place(Some(status), &own.id, own.number) {
                Place::Own => status.stream.unwrap_or_default(),
                Place::Newer(number) => number,
                Place::Older(newest) => return told = Told::Older(newest),
            };
            status.session = Some(own.id.clone());
            status.stream = Some(number);
            if status.host.as_ref().is_none_or(|host| !order::same(host, &own.host)) {
                status.host_before = status.host.take();
            }
            status.host = Some(own.host.clone());
            status.replica = Some(self.address.clone());
            status.version = Some(own.version.clone());
            status.connected_since = Some(own.since);
            status.disconnected_since = None;
            let conditions = &mut machine.status.conditions;
            let over =
                |seen: Time| now.timestamp().duration_since(seen.timestamp()) > CONFLICT_OVER;
            if status.conflict_seen.is_some_and(over) {
                status.conflict_seen = None;
                conditions.retain(|condition| condition.kind != IDENTITY_CONFLICT);
            }
            told = Told::Connected { number, rival: status.conflict_seen.is_some() };
            let message = format!("Its agent holds a stream to the replica at {}.", self.address);
            let said =
                Condition::new(AGENT_CONNECTED, ConditionStatus::True, "Connected", message, now);
            condition::set(conditions, said);
            let message = "Its agent is heard of.";
            let said =
                Condition::new(REACHABLE, ConditionStatus::True, "AgentConnected", message, now);
            condition::set(conditions, said);
        })
        .await?;
        Ok(told)
    }

    async fn tell_disconnected(
        &self,
        own: &Own,
        (heard, why): (Time, &str),
    ) -> Result<Told, StoreError> {
        let now = Time::new(Timestamp::now());
        self.modify::<Machine>(own, &own.agent.name, None, |machine| {
            let Some(status) = &mut machine.status.agent else { return };
            if status.session.as_deref() != Some(&*own.id) || status.disconnected_since.is_some() {
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

    /// Says which two hosts they are; once in a while, however often one of them is refused.
    async fn tell_refused(&self, own: &Own) -> Result<Told, StoreError> {
        let now = Time::new(Timestamp::now());
        self.modify::<Machine>(own, &own.agent.name, None, |machine| {
            let Some(status) = &mut machine.status.agent else { return };
            let Some(holder) = order::rival(Some(status), &own.host).cloned() else { return };
            let passed = |seen: Time| now.timestamp().duration_since(seen.timestamp());
            if status.conflict_seen.is_some_and(|seen| passed(seen) < CONFLICT_AGAIN) {
                return;
            }
            status.conflict_seen = Some(now);
            let message = format!(
                "Two hosts have its identity, as after a disk was copied: {holder} holds the stream, and {} was refused. On the one that is not this machine, empty the agent's data folder and join it with a token of its own Machine.",
                own.host
            );
            let said =
                Condition::new(IDENTITY_CONFLICT, ConditionStatus::True, "TwoHosts", message, now);
            condition::set(&mut machine.status.conditions, said);
        })
        .await
    }

    async fn tell_facts(&self, own: &Own, facts: MachineFacts) -> Result<Told, StoreError> {
        self.machine(own, |machine| {
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
    async fn tell_conditions(&self, own: &Own, said: &[HostCondition]) -> Result<Told, StoreError> {
        let now = Time::new(Timestamp::now());
        self.machine(own, |machine| {
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
                let (reason, message) = (found.reason.clone(), found.message.clone());
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
                    bad.message.clone(),
                    now,
                ),
            };
            condition::set(&mut machine.status.conditions, healthy);
        })
        .await
    }

    /// What became of a task is so on whichever stream it is told: it is written though that is not the newest.
    async fn tell_task(&self, own: &Own, report: TaskReport) -> Result<Told, StoreError> {
        let TaskReport { name, uid, status } = report;
        let now = Time::new(Timestamp::now());
        let held = (!status.ended()).then_some(own);
        self.modify::<AgentTask>(own, &name, held, |task| {
            let its = task.metadata.uid == uid
                && task.spec.machine == own.agent.name
                && task.spec.machine_uid == own.agent.uid;
            if its && !task.status.ended() {
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
    async fn tell_instance(&self, own: &Own, report: &InstanceReport) -> Result<Told, StoreError> {
        let here = |instance: &Instance| {
            instance.metadata.uid == report.uid
                && instance.spec.template.is_some()
                && instance.spec.host.kind == HostKind::Machine
                && instance.spec.host.name == own.agent.name
        };
        self.modify::<Instance>(own, &report.name, Some(own), |instance| {
            if !here(instance) {
                return;
            }
            let mut status = report.status.clone();
            // Those of the plane's own stay.
            let planes = |condition: &Condition| {
                !status.conditions.iter().any(|said| said.kind == condition.kind)
            };
            let kept: Vec<Condition> = instance
                .status
                .conditions
                .iter()
                .filter(|it| planes(it))
                .take(CONDITIONS_MAX)
                .cloned()
                .collect();
            status.conditions.extend(kept);
            instance.status = status;
            // What it was before its host fell silent is of no use any more.
            instance.metadata.annotations.remove(PHASE_BEFORE);
            if report.gone && instance.metadata.deletion_timestamp.is_some() {
                instance.metadata.finalizers.retain(|held| held != CONTAINERS_FINALIZER);
            }
        })
        .await
    }

    /// Changes the status of the agent's own machine, as long as it says that this stream is its agent's.
    async fn machine(&self, own: &Own, change: impl Fn(&mut Machine)) -> Result<Told, StoreError> {
        let mut told = Told::NotOwn;
        self.modify::<Machine>(own, &own.agent.name, None, |machine| {
            told = if own.holds(machine) { Told::Done } else { Told::NotOwn };
            if told == Told::Done {
                change(machine);
            }
        })
        .await?;
        Ok(told)
    }

    /// Changes an object in the agent's namespace until nobody else changed it meanwhile; one that is gone is
    /// left. With `held`, nothing is changed unless the machine says that this stream is its agent's.
    async fn modify<K: Kind + Clone + PartialEq>(
        &self,
        Own { agent, .. }: &Own,
        name: &str,
        held: Option<&Own>,
        mut change: impl FnMut(&mut K),
    ) -> Result<Told, StoreError> {
        let kind = K::info();
        for _ in 0..TRIES {
            let mut seen = Vec::new();
            if let Some(own) = held {
                let machine =
                    self.store.world().get(Machine::info(), &agent.namespace, &agent.name);
                match machine.filter(|it| it.decode().is_ok_and(|machine| own.holds(&machine))) {
                    Some(machine) => seen.push((machine.key.clone(), machine.revision)),
                    None => return Ok(Told::NotOwn),
                }
            }
            let found = self.store.world().get(kind, &agent.namespace, name);
            // It may only not be here yet; an agent forgets what it is told is gone.
            let found = match found {
                None => self.store.fresh().await?.get(kind, &agent.namespace, name),
                found => found,
            };
            let Some(found) = found else { return Ok(Told::Done) };
            // Told again it would be as unreadable: what is not understood here must not hold up all that the agent says.
            let dropped = |error: &dyn Display| {
                let what = "what an agent said of it is dropped: it cannot be read or written; update this replica";
                warn!(kind = kind.kind, namespace = agent.namespace, name, %error, "{what}");
            };
            let mut value: K = match found.decode() {
                Ok(value) => value,
                Err(error) => {
                    dropped(&error);
                    return Ok(Told::Done);
                }
            };
            let before = value.clone();
            change(&mut value);
            if value == before {
                return Ok(Told::Done);
            }
            // What nobody holds any more goes with the last who let go.
            let meta = value.meta();
            let gone = meta.deletion_timestamp.is_some() && meta.finalizers.is_empty();
            let body = match object::encode_typed(&value) {
                Ok(body) => body,
                Err(error) => {
                    dropped(&error);
                    return Ok(Told::Done);
                }
            };
            let key = Key::new(kind, &agent.namespace, name);
            let write = if gone { Write::Delete } else { Write::Put(body.into()) };
            let precondition = match seen.is_empty() {
                true => Precondition::At(found.revision),
                false => Precondition::AtIf { at: found.revision, seen },
            };
            let mutation = Mutation { key: key.clone(), write, precondition, fence: None };
            if let Some(Outcome::Committed(revision)) =
                self.store.commit(vec![mutation]).await?.first()
            {
                self.told(agent, &key, (found.uid(), revision.0)).await;
                return Ok(Told::Done);
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

impl Own {
    /// Whether a machine says that this stream is its agent's, and that still counts.
    fn holds(&self, machine: &Machine) -> bool {
        let written = machine.status.agent.as_ref().is_some_and(|status| {
            status.is_connected() && status.session.as_deref() == Some(&*self.id)
        });
        written && machine.metadata.uid == self.agent.uid && self.agent.counts(machine).is_ok()
    }
}

/// Whether others may reach the host by an interface of that name: not by those of its own containers, nor by its loopback.
fn leads_out(name: &str) -> bool {
    let inner = ["br-", "veth", "cni"].iter().any(|prefix| name.starts_with(prefix));
    !inner && !["lo", "docker0"].contains(&name)
}
