//! `agent.file`: has a file of a machine be as it is written here.

use super::{MACHINES, perform};
use crate::action::{Action, ActionContext, ActionError};
use quarterdeck_model::kinds::{AgentTaskSpec, FileTask};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Input of `agent.file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// Where, as an absolute path.
    pub path: String,
    /// What it holds; at most 512 KiB.
    #[serde(default)]
    pub content: String,
    /// Its mode in octal, such as `"0644"`; as it is, or 0644, when left out.
    #[serde(default)]
    pub mode: Option<String>,
    /// The user it belongs to.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group it belongs to.
    #[serde(default)]
    pub group: Option<String>,
    /// There is to be no such file.
    #[serde(default)]
    pub absent: bool,
}

/// Whether anything had to be done.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// It was not so before.
    pub changed: bool,
}

/// The action.
pub struct AgentFile;

impl Action for AgentFile {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "agent.file";
    const SUMMARY: &'static str = "Writes or removes a file of a machine, unless it is so already.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let Input { path, content, mode, owner, group, absent } = input;
        let file = Some(FileTask { path, content, mode, owner, group, absent });
        let status = perform(context, AgentTaskSpec { file, ..AgentTaskSpec::default() }).await?;
        Ok(Output { changed: status.changed.unwrap_or(true) })
    }
}
