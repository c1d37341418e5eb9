//! How a step of a run reaches the agent of a machine: by an AgentTask, which whichever replica holds the agent's stream hands to it.
//! Its name is made of the step's key, so that a step that is begun again after a crash finds what became of it. It stays for
//! a while after it ended, until the run has long noted that.

use super::ends::Ends;
use crate::{
    controllers::evictions,
    objects::{EngineError, Objects},
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    Key, Kind as _, Object, ObjectMeta, OwnerReference, Time,
    ansible::Place,
    condition,
    kinds::{
        AgentTask, AgentTaskSpec, AgentTaskStatus, Machine, Rack, Server,
        machine_agent::AGENT_CONNECTED,
    },
};
use quarterdeck_providers::{
    ActionError, Reason,
    agent::{HostName, Hosts, drain::Leaving},
};
use quarterdeck_store::{Precondition, World};
use sha2::{Digest as _, Sha256};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::timeout_at;

/// The agent is to be done so long before the step's own end, so that its result gets here.
const BEFORE_THE_END: Duration = Duration::from_secs(2);

/// Agents, as those who act under a lease reach them.
pub(crate) struct StoreHosts {
    pub(crate) objects: Objects,
    pub(crate) ends: Arc<Ends>,
}

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
        let ends = self.objects.now().timestamp().checked_add(left).unwrap_or(Timestamp::MAX);
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

    fn find(&self, namespace: &str, name: &str) -> Option<HostName> {
        let machine = self.objects.store().world().get(Machine::info(), namespace, name)?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Some(HostName { namespace, name, uid: machine.uid().to_owned() })
    }

    fn place(&self, host: &HostName) -> Place {
        place(&self.objects.store().world(), host).unwrap_or_default()
    }

    async fn evict(&self, host: &HostName, withdraw: bool) -> Result<Leaving, ActionError> {
        evictions::ask(&self.objects, (&host.namespace, &host.name), withdraw).await.map_err(
            |error| {
                let HostName { namespace, name, .. } = host;
                let message = format!(
                    "the instances on machine {namespace}/{name} could not be asked to go: {error}"
                );
                ActionError::retryable(Reason::Unreachable, message)
            },
        )
    }
}

/// That of its server, or where it is said to be.
fn place(world: &World, host: &HostName) -> Option<Place> {
    let machine = world.get(Machine::info(), &host.namespace, &host.name)?;
    if let Some(server) = machine.field("status.server") {
        let server = world.get(Server::info(), "", server)?;
        let rack = server.field("spec.location.rack")?;
        let site = world.get(Rack::info(), "", rack);
        let site = site.and_then(|rack| rack.field("spec.site").map(str::to_owned));
        return Some(Place { site, rack: Some(rack.to_owned()) });
    }
    let location = machine.decode::<Machine>().ok()?.spec.location?;
    Some(Place { site: Some(location.site), rack: location.rack })
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
        let objects = &self.objects;
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
        let key = Key::new(AgentTask::info(), namespace, name);
        let waiter = self.ends.wait(self.objects.store(), key.clone());
        loop {
            let task = self.objects.get(&key)?;
            let task = Object::decode::<AgentTask>(&task).ok()?;
            if task.status.ended() {
                return Some(task.status);
            }
            waiter.changed().await;
        }
    }

    /// It was not done in time.
    fn late(&self, host: &HostName) -> ActionError {
        let HostName { namespace, name, .. } = host;
        let machine = self.objects.read::<Machine>(namespace, name).ok().flatten();
        let said = machine.and_then(|(_, machine)| {
            let found = condition::find(&machine.status.conditions, AGENT_CONNECTED)?;
            Some(found.message.clone())
        });
        let said = said.unwrap_or_else(|| "It has no agent.".to_owned());
        let message = format!("machine {namespace}/{name} did not do it by the deadline. {said}");
        ActionError::retryable(Reason::Timeout, message).effect_unknown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::kinds::AgentTaskPhase;
    use quarterdeck_store::{Sqlite, Store};

    const COUNT: usize = 60;

    #[tokio::test]
    async fn however_many_steps_wait_one_looks_at_what_changes() {
        let folder = tempfile::tempdir().unwrap();
        let backend = Arc::new(Sqlite::open(folder.path()).unwrap());
        let store = Arc::new(Store::open(backend).await.unwrap());
        let objects = Objects::for_test(store.clone(), Arc::new(Timestamp::now)).await;
        let ends = Arc::<Ends>::default();
        let before = store.stats().watchers;
        let waiting: Vec<_> = (0..COUNT)
            .map(|number| {
                let hosts = StoreHosts { objects: objects.clone(), ends: ends.clone() };
                let host = HostName {
                    namespace: "a".into(),
                    name: format!("m{number}"),
                    uid: format!("u{number}"),
                };
                let deadline = Instant::now() + Duration::from_secs(60);
                tokio::spawn(async move {
                    let spec = AgentTaskSpec::default();
                    hosts.perform(&host, &format!("step{number}"), spec, deadline).await
                })
            })
            .collect();
        let all = async {
            while store.world().count(AgentTask::info()) < COUNT {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
        assert!(store.stats().watchers <= before + 1, "{}", store.stats().watchers);
        let tasks: Vec<_> = store.world().all(AgentTask::info()).cloned().collect();
        for object in tasks {
            let mut task: AgentTask = object.decode().unwrap();
            task.status.phase = AgentTaskPhase::Succeeded;
            let put = objects.put(&task, Precondition::At(object.revision)).unwrap();
            objects.commit(vec![put]).await.unwrap();
        }
        for step in waiting {
            assert_eq!(step.await.unwrap().unwrap().phase, AgentTaskPhase::Succeeded);
        }
    }
}
