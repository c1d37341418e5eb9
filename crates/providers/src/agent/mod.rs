//! What the agent on a machine is asked to do, a file for each subject. An action here only says what is to be done and reads what
//! came of it: how it gets to the agent, and that it is done once, is [`Hosts`]'.

pub mod drain;
pub mod exec;
pub mod file;
pub mod packages;
pub mod patch;
pub mod reboot;
pub mod service;

use crate::{
    action::{ActionContext, ActionError, Reason},
    catalog::Catalog,
};
use async_trait::async_trait;
use drain::Leaving;
use quarterdeck_model::{
    ansible::Place,
    kinds::{AgentTaskPhase, AgentTaskSpec, AgentTaskStatus},
};
use serde_json::Value;
use std::time::Instant;

/// The kind of target that has an agent.
pub(crate) const MACHINES: &[&str] = &["Machine"];

/// A machine that has an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// Namespace of the Machine.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
}

/// The agents on machines, as actions reach them.
#[async_trait]
pub trait Hosts: Send + Sync {
    /// Has the agent of a machine do a task, and answers what became of it. Asked again under the same `key`, it answers
    /// what became of it the first time: the agent does it once.
    ///
    /// # Errors
    /// When it was not done by the deadline, or the plane cannot say.
    async fn perform(
        &self,
        host: &HostName,
        key: &str,
        task: AgentTaskSpec,
        deadline: Instant,
    ) -> Result<AgentTaskStatus, ActionError>;

    /// The machine of that name; none when there is none.
    fn find(&self, namespace: &str, name: &str) -> Option<HostName>;

    /// Where a machine is, as far as that is known.
    fn place(&self, host: &HostName) -> Place;

    /// Asks all instances of Workloads on a machine to go elsewhere, or takes that back; and says who is left.
    ///
    /// # Errors
    /// When the plane cannot say.
    async fn evict(&self, host: &HostName, withdraw: bool) -> Result<Leaving, ActionError>;
}

/// No agents, for actions that need none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHosts;

#[async_trait]
impl Hosts for NoHosts {
    async fn perform(
        &self,
        host: &HostName,
        _: &str,
        _: AgentTaskSpec,
        _: Instant,
    ) -> Result<AgentTaskStatus, ActionError> {
        let message = format!("there is no agent on machine {}/{}", host.namespace, host.name);
        Err(ActionError::permanent(Reason::Unreachable, message))
    }

    fn find(&self, _: &str, _: &str) -> Option<HostName> {
        None
    }

    fn place(&self, _: &HostName) -> Place {
        Place::default()
    }

    async fn evict(&self, _: &HostName, _: bool) -> Result<Leaving, ActionError> {
        Ok(Leaving::default())
    }
}

/// Adds every action to the catalogue.
pub(crate) fn add_actions(catalog: &mut Catalog) {
    catalog
        .add(exec::AgentExec)
        .add(file::AgentFile)
        .add(service::AgentService)
        .add(reboot::AgentReboot)
        .add(packages::OsPackages)
        .add(drain::MachineCordon)
        .add(drain::InstancesEvict)
        .add(patch::OsUpdates)
        .add(patch::OsPatch);
}

/// Has the target's agent do a task, and answers what became of it if that is good.
async fn perform(
    context: &ActionContext,
    task: AgentTaskSpec,
) -> Result<AgentTaskStatus, ActionError> {
    perform_on(context, target(context)?, task).await
}

/// The target, as a machine.
pub(crate) fn target(context: &ActionContext) -> Result<HostName, ActionError> {
    let target = context.require_target()?;
    let text =
        |path: &str| target.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(HostName {
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        uid: text("/metadata/uid"),
    })
}

/// Has the agent of a machine do a task, and answers what became of it if that is good.
pub(crate) async fn perform_on(
    context: &ActionContext,
    host: HostName,
    task: AgentTaskSpec,
) -> Result<AgentTaskStatus, ActionError> {
    let task = AgentTaskSpec { machine: host.name.clone(), machine_uid: host.uid.clone(), ..task };
    // Another attempt is another task; one that is resumed is the same.
    let key = format!("{}/{}", context.idempotency_key, context.attempt);
    let status = context.hosts.perform(&host, &key, task, context.deadline).await?;
    if status.phase == AgentTaskPhase::Succeeded {
        return Ok(status);
    }
    Err(failed(&host, &status))
}

fn failed(host: &HostName, status: &AgentTaskStatus) -> ActionError {
    let said = status.message.as_deref().unwrap_or("its agent did not say why");
    let message = format!("machine {}/{}: {said}", host.namespace, host.name);
    let (reason, permanent) = match status.reason.as_deref() {
        Some("InvalidInput") => (Reason::InvalidInput, true),
        Some("NotSupported") => (Reason::NotSupported, true),
        Some("NotFound") => (Reason::NotFound, true),
        Some("Timeout") => (Reason::Timeout, false),
        Some("OutcomeUnknown") => (Reason::OutcomeUnknown, true),
        _ => (Reason::CommandFailed, false),
    };
    let error = match permanent {
        true => ActionError::permanent(reason, message),
        false => ActionError::retryable(reason, message),
    };
    match reason {
        Reason::Timeout | Reason::OutcomeUnknown => error.effect_unknown(),
        _ => error,
    }
}
