//! The twins of what agents do: on a machine whose system was installed on a simulated server there is no agent, and what it would be
//! asked is done after a while. They know nothing of the host but that it was asked.

use super::{Twin, twin};
use crate::simulation::{Machines, Simulation};
use quarterdeck_providers::{
    ActionContext, ActionError, Catalog,
    agent::{
        exec::{self, AgentExec},
        file::{self, AgentFile},
        packages::{self, OsPackages},
        patch::{self, OsPatch, OsUpdates},
        reboot::{self, AgentReboot},
        service::{self, AgentService},
    },
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;

/// What a command, or a look at packages, takes.
const COMMAND: Duration = Duration::from_secs(2);
/// What installing packages takes.
const INSTALL: Duration = Duration::from_secs(90);
/// What a restart takes.
const RESTART: Duration = Duration::from_secs(120);

pub(super) fn add(simulation: &Simulation, catalog: &mut Catalog) {
    catalog
        .add(twin::<AgentExec>(simulation))
        .add(twin::<AgentFile>(simulation))
        .add(twin::<AgentService>(simulation))
        .add(twin::<AgentReboot>(simulation))
        .add(twin::<OsPackages>(simulation))
        .add(twin::<OsUpdates>(simulation))
        .add(twin::<OsPatch>(simulation));
}

/// Whether a target is a machine that runs on a server, and no agent of it ever joined.
pub(super) fn is_simulated(target: &Value) -> bool {
    target.get("kind").is_some_and(|kind| kind == "Machine")
        && target.pointer("/status/agent").is_none()
        && target.pointer("/status/server").is_some()
}

async fn takes(machines: &Machines, usual: Duration) {
    sleep(machines.latency.scaled(usual)).await;
}

impl Twin for AgentExec {
    async fn simulate(
        machines: &Machines,
        _: &ActionContext,
        _: exec::Input,
    ) -> Result<exec::Output, ActionError> {
        takes(machines, COMMAND).await;
        Ok(exec::Output { exit_code: 0, stdout: String::new(), stderr: String::new() })
    }
}

impl Twin for AgentFile {
    async fn simulate(
        machines: &Machines,
        _: &ActionContext,
        _: file::Input,
    ) -> Result<file::Output, ActionError> {
        takes(machines, COMMAND).await;
        Ok(file::Output { changed: true })
    }
}

impl Twin for AgentService {
    async fn simulate(
        machines: &Machines,
        _: &ActionContext,
        _: service::Input,
    ) -> Result<file::Output, ActionError> {
        takes(machines, COMMAND).await;
        Ok(file::Output { changed: true })
    }
}

impl Twin for AgentReboot {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        _: reboot::Input,
    ) -> Result<reboot::Output, ActionError> {
        takes(machines, RESTART).await;
        // Another for each time it is asked, and the same when that is repeated.
        Ok(reboot::Output { boot_id: context.idempotency_key.clone() })
    }
}

impl Twin for OsPackages {
    async fn simulate(
        machines: &Machines,
        _: &ActionContext,
        _: packages::Input,
    ) -> Result<packages::Output, ActionError> {
        takes(machines, COMMAND).await;
        Ok(packages::Output { packages: Vec::new(), count: 0 })
    }
}

impl Twin for OsUpdates {
    async fn simulate(
        machines: &Machines,
        _: &ActionContext,
        _: patch::UpdatesInput,
    ) -> Result<patch::Output, ActionError> {
        takes(machines, COMMAND).await;
        Ok(patch::Output { packages: Vec::new(), changed: false, reboot_required: false })
    }
}

impl Twin for OsPatch {
    async fn simulate(
        machines: &Machines,
        _: &ActionContext,
        _: patch::PatchInput,
    ) -> Result<patch::Output, ActionError> {
        takes(machines, INSTALL).await;
        Ok(patch::Output { packages: Vec::new(), changed: false, reboot_required: false })
    }
}
