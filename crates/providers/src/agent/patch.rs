//! `os.updates` looks at, or fetches, updates of a machine's packages; `os.patch` installs them, which may restart what runs there.

use super::{MACHINES, perform};
use crate::action::{Action, ActionContext, ActionError};
use quarterdeck_model::kinds::{AgentTaskSpec, PatchMode, PatchTask};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Input of `os.updates`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UpdatesInput {
    /// Only these packages; all when left out.
    pub packages: Vec<String>,
    /// Fetch them too, so that installing takes less time.
    pub download: bool,
}

/// Input of `os.patch`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PatchInput {
    /// Only these packages; all when left out.
    pub packages: Vec<String>,
}

/// Output of both.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Packages that can be, or were, updated, as `NAME VERSION`.
    pub packages: Vec<String>,
    /// Something was installed.
    pub changed: bool,
    /// The machine asks to be restarted.
    pub reboot_required: bool,
}

/// The action that looks and fetches.
pub struct OsUpdates;
/// The action that installs.
pub struct OsPatch;

async fn patch(
    context: &ActionContext,
    mode: PatchMode,
    packages: Vec<String>,
) -> Result<Output, ActionError> {
    let patch = Some(PatchTask { mode, packages });
    let status = perform(context, AgentTaskSpec { patch, ..AgentTaskSpec::default() }).await?;
    Ok(Output {
        packages: status.packages,
        changed: status.changed.unwrap_or(false),
        reboot_required: status.reboot_required.unwrap_or(false),
    })
}

impl Action for OsUpdates {
    type Input = UpdatesInput;
    type Output = Output;

    const NAME: &'static str = "os.updates";
    const SUMMARY: &'static str =
        "Says which packages of a machine can be updated, and fetches them if asked.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(
        &self,
        context: &ActionContext,
        input: UpdatesInput,
    ) -> Result<Output, ActionError> {
        let mode = if input.download { PatchMode::Download } else { PatchMode::List };
        patch(context, mode, input.packages).await
    }
}

impl Action for OsPatch {
    type Input = PatchInput;
    type Output = Output;

    const NAME: &'static str = "os.patch";
    const SUMMARY: &'static str = "Installs updates of a machine's packages.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = true;

    async fn perform(
        &self,
        context: &ActionContext,
        input: PatchInput,
    ) -> Result<Output, ActionError> {
        patch(context, PatchMode::Install, input.packages).await
    }
}
