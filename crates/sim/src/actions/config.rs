//! The twins of Ansible, Salt and Chef. The real actions read the input, the Secrets and what came of it; only the agent that they ask is
//! simulated: it takes its time and says what a tool says whose one task changes a machine once. It knows nothing of what is in
//! a playbook, a state or a recipe.

use super::{Twin, twin};
use crate::simulation::{Machines, Simulation};
use async_trait::async_trait;
use quarterdeck_model::{
    ansible::Place,
    kinds::{
        AgentTaskPhase, AgentTaskSpec, AgentTaskStatus,
        tool_task::{ToolHost, ToolReport},
    },
};
use quarterdeck_providers::{
    Action, ActionContext, ActionError, Catalog,
    agent::{HostName, Hosts, drain::Leaving},
    config::{
        Output,
        ansible::{self, AnsibleCheck, AnsiblePlaybook},
        chef::{self, ChefCheck, ChefConverge},
        salt::{self, SaltApply, SaltCheck},
    },
};
use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// What a look at what would be changed takes, and what changing it takes.
const CHECK: Duration = Duration::from_secs(20);
const CHANGE: Duration = Duration::from_secs(90);
/// Of so many things that machines were brought to it is known that they are so; beyond that they are brought to all of them anew.
const DONE_MAX: usize = 100_000;

pub(super) fn add(simulation: &Simulation, catalog: &mut Catalog) {
    catalog
        .add(twin::<AnsiblePlaybook>(simulation))
        .add(twin::<AnsibleCheck>(simulation))
        .add(twin::<SaltApply>(simulation))
        .add(twin::<SaltCheck>(simulation))
        .add(twin::<ChefConverge>(simulation))
        .add(twin::<ChefCheck>(simulation));
}

/// What machines were brought to, and which task did so.
#[derive(Default)]
pub(crate) struct Converged(Mutex<HashMap<u64, String>>);

impl Converged {
    /// Whether a task changes a machine to what it is asked for, or has; a check only looks.
    fn changes(&self, what: u64, task: &str, check: bool) -> bool {
        // Each change is one insertion.
        let mut done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = done.get(&what).is_none_or(|by| by == task);
        if changes && !check {
            if done.len() >= DONE_MAX {
                done.clear();
            }
            done.insert(what, task.to_owned());
        }
        changes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tool {
    Ansible,
    Salt,
    Chef,
}

/// The agent of a machine, as one action asks it.
struct Agent {
    tool: Tool,
    check: bool,
    /// What the machine is asked to be.
    what: u64,
    takes: Duration,
    converged: Arc<Converged>,
    real: Arc<dyn Hosts>,
}

#[async_trait]
impl Hosts for Agent {
    async fn perform(
        &self,
        host: &HostName,
        key: &str,
        _: AgentTaskSpec,
        _: Instant,
    ) -> Result<AgentTaskStatus, ActionError> {
        sleep(self.takes).await;
        let changed = u32::from(self.converged.changes(self.what, key, self.check));
        let report = |name: &str| {
            let host = ToolHost { host: name.to_owned(), ok: 1, changed, ..ToolHost::default() };
            Some(ToolReport { hosts: vec![host], ..ToolReport::default() })
        };
        let (report, stdout) = match self.tool {
            Tool::Ansible => (report(&host.name), None),
            Tool::Salt => (report("local"), None),
            // Its last line is all that is read of it.
            Tool::Chef => {
                (None, Some(format!("Infra Phase complete, {changed}/1 resources updated")))
            }
        };
        Ok(AgentTaskStatus {
            phase: AgentTaskPhase::Succeeded,
            exit_code: Some(0),
            report,
            stdout,
            ..AgentTaskStatus::default()
        })
    }

    fn find(&self, namespace: &str, name: &str) -> Option<HostName> {
        self.real.find(namespace, name)
    }

    fn place(&self, host: &HostName) -> Place {
        self.real.place(host)
    }

    async fn evict(&self, host: &HostName, withdraw: bool) -> Result<Leaving, ActionError> {
        self.real.evict(host, withdraw).await
    }
}

/// Has the real action ask a simulated agent.
async fn ask<A>(
    action: A,
    (tool, check): (Tool, bool),
    machines: &Machines,
    context: &ActionContext,
    input: A::Input,
) -> Result<Output, ActionError>
where
    A: Action<Output = Output>,
    A::Input: Debug,
{
    let mut what = DefaultHasher::new();
    let target = context.require_target()?;
    let uid = target.pointer("/metadata/uid").and_then(|uid| uid.as_str());
    (uid, tool, format!("{input:?}")).hash(&mut what);
    let agent = Agent {
        tool,
        check,
        what: what.finish(),
        takes: machines.latency.scaled(if check { CHECK } else { CHANGE }),
        converged: machines.converged.clone(),
        real: context.hosts.clone(),
    };
    action.perform(&ActionContext { hosts: Arc::new(agent), ..context.clone() }, input).await
}

impl Twin for AnsiblePlaybook {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: ansible::Input,
    ) -> Result<Output, ActionError> {
        ask(Self, (Tool::Ansible, false), machines, context, input).await
    }
}

impl Twin for AnsibleCheck {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: ansible::Input,
    ) -> Result<Output, ActionError> {
        ask(Self, (Tool::Ansible, true), machines, context, input).await
    }
}

impl Twin for SaltApply {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: salt::Input,
    ) -> Result<Output, ActionError> {
        ask(Self, (Tool::Salt, false), machines, context, input).await
    }
}

impl Twin for SaltCheck {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: salt::Input,
    ) -> Result<Output, ActionError> {
        ask(Self, (Tool::Salt, true), machines, context, input).await
    }
}

impl Twin for ChefConverge {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: chef::Input,
    ) -> Result<Output, ActionError> {
        ask(Self, (Tool::Chef, false), machines, context, input).await
    }
}

impl Twin for ChefCheck {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: chef::Input,
    ) -> Result<Output, ActionError> {
        ask(Self, (Tool::Chef, true), machines, context, input).await
    }
}
