//! How a step of a run reaches the agent of a machine: by an AgentTask, which whichever replica holds the agent's stream hands to it.
//! Its name is made of the step's key, so that a step that is begun again after a crash finds what became of it. It stays for
//! a while after it ended, until the run has long noted that.

use crate::{
    controllers::evictions,
    objects::{EngineError, Objects},
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    FieldSelector, Key, Kind as _, LabelSelector, Object, ObjectMeta, OwnerReference, Time,
    condition,
    kinds::{AgentTask, AgentTaskSpec, AgentTaskStatus, Machine, machine_agent::AGENT_CONNECTED},
};
use quarterdeck_providers::{
    ActionError, Reason,
    agent::{HostName, Hosts, drain::Leaving},
};
use quarterdeck_store::{Precondition, WatchQuery};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// The agent is to be done so long before the step's own end, so that its result gets here.
const BEFORE_THE_END: Duration = Duration::from_secs(2);

/// Agents, as those who act under a lease reach them.
pub(crate) struct StoreHosts(pub(crate) Objects);

#[async_trait]
impl Hosts for StoreHosts {
    async fn perform(
        &self,
        host: &HostName,
        key: &str,
        task: AgentTaskSpec,
        deadline: Instant,
    ) -> Result<AgentTaskStatus, ActionError> {
        let unknown = |error: EngineError| {
            let message = format!(
                "the task of machine {}/{} could not be written: {error}",
                host.namespace, host.name
            );
            ActionError::retryable(Reason::Unreachable, message).effect_unknown()
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.checked_sub(BEFORE_THE_END).unwrap_or(left / 2);
        let left = SignedDuration::try_from(left).unwrap_or(SignedDuration::ZERO);
        let ends = self.0.now().timestamp().checked_add(left).unwrap_or(Timestamp::MAX);
        let task = AgentTaskSpec { deadline: Some(Time::new(ends)), ..task };
        let name = name(key);
        self.create(host, &name, task).await.map_err(unknown)?;
        match timeout_at(deadline.into(), self.ended(&host.namespace, &name)).await {
            Ok(Some(status)) => Ok(status),
            Ok(None) => {
                let message =
                    format!("AgentTask {}/{name} was deleted before it had ended", host.namespace);
                Err(ActionError::retryable(Reason::OutcomeUnknown, message).effect_unknown())
            }
            Err(_) => Err(self.late(host)),
        }
    }

    async fn evict(&self, host: &HostName, withdraw: bool) -> Result<Leaving, ActionError> {
        evictions::ask(&self.0, (&host.namespace, &host.name), withdraw).await.map_err(|error| {
            let HostName { namespace, name, .. } = host;
            let message = format!(
                "the instances on machine {namespace}/{name} could not be asked to go: {error}"
            );
            ActionError::retryable(Reason::Unreachable, message)
        })
    }
}

/// The name of the task of a step.
fn name(key: &str) -> String {
    let digest: String =
        Sha256::digest(key).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("task-{digest}")
}

impl StoreHosts {
    async fn create(
        &self,
        host: &HostName,
        name: &str,
        spec: AgentTaskSpec,
    ) -> Result<(), EngineError> {
        let HostName { namespace, name: machine, uid } = host;
        let objects = &self.0;
        let task = AgentTask {
            metadata: ObjectMeta {
                name: name.into(),
                namespace: Some(namespace.clone()),
                uid: uuid::Uuid::new_v4().to_string(),
                generation: Some(1),
                creation_timestamp: Some(Time::seconds(objects.now().timestamp())),
                owner_references: vec![OwnerReference {
                    api_version: Machine::info().api_version(),
                    kind: Machine::KIND.into(),
                    name: machine.clone(),
                    uid: uid.clone(),
                    controller: Some(false),
                    block_owner_deletion: None,
                }],
                ..ObjectMeta::default()
            },
            spec,
            status: AgentTaskStatus::default(),
        };
        // One that is there is this one: its name is made of what it is for.
        objects.commit(vec![objects.put(&task, Precondition::Absent)?]).await?;
        Ok(())
    }

    /// What became of a task, once it has ended; none when it is gone.
    async fn ended(&self, namespace: &str, name: &str) -> Option<AgentTaskStatus> {
        let store = self.0.store();
        let key = Key::new(AgentTask::info(), namespace, name);
        loop {
            // From before it is looked at, so that no change is missed.
            let since = store.world().revision();
            let Ok(fields) = FieldSelector::parse(&format!("metadata.name={name}")) else {
                return None;
            };
            let mut watcher = store.watch(WatchQuery {
                kind: AgentTask::info(),
                namespace: Some(namespace.to_owned()),
                labels: LabelSelector::default(),
                fields,
                since,
            });
            loop {
                let task = self.0.get(&key)?;
                let task = Object::decode::<AgentTask>(&task).ok()?;
                if task.status.ended() {
                    return Some(task.status);
                }
                if watcher.next().await.is_err() {
                    break;
                }
            }
        }
    }

    /// It was not done in time.
    fn late(&self, host: &HostName) -> ActionError {
        let HostName { namespace, name, .. } = host;
        let machine = self.0.read::<Machine>(namespace, name).ok().flatten();
        let said = machine.and_then(|(_, machine)| {
            let found = condition::find(&machine.status.conditions, AGENT_CONNECTED)?;
            Some(found.message.clone())
        });
        let said = said.unwrap_or_else(|| "It has no agent.".to_owned());
        let message = format!("machine {namespace}/{name} did not do it by the deadline. {said}");
        ActionError::retryable(Reason::Timeout, message).effect_unknown()
    }
}
