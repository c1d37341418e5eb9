//! `agent.exec`: runs a command on a machine.

use super::{MACHINES, perform};
use crate::action::{Action, ActionContext, ActionError, Reason};
use quarterdeck_model::kinds::{AgentTaskSpec, ExecTask};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much of what was printed an error repeats.
const SHOWN_BYTES: usize = 400;

/// Input of `agent.exec`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The program and its arguments. No shell reads them; for one, write `[sh, -c, …]`.
    pub argv: Vec<String>,
    /// What its environment has besides `PATH`, `HOME` and `LANG`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// As whom it runs; as the agent, which is root, when left out.
    #[serde(default)]
    pub user: Option<String>,
    /// Where it runs; `/` when left out.
    #[serde(default)]
    pub cwd: Option<String>,
    /// What it reads from its standard input.
    #[serde(default)]
    pub stdin: Option<String>,
    /// What it may end with besides 0.
    #[serde(default)]
    pub expect: Vec<i32>,
}

/// Output of `agent.exec`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// What it ended with; with 128 added, the signal that ended it.
    pub exit_code: i32,
    /// What it printed on its standard output: the first and the last 16 KiB.
    pub stdout: String,
    /// The same of its standard error.
    pub stderr: String,
}

/// The action.
pub struct AgentExec;

impl Action for AgentExec {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "agent.exec";
    const SUMMARY: &'static str = "Runs a command on a machine, by its agent.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    // What it does is not known: a step that may interrupt says so itself.
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let Input { argv, env, user, cwd, stdin, expect } = input;
        let program = argv.first().cloned().unwrap_or_default();
        let exec = Some(ExecTask { argv, env, user, cwd, stdin });
        let status = perform(context, AgentTaskSpec { exec, ..AgentTaskSpec::default() }).await?;
        let output = Output {
            exit_code: status.exit_code.unwrap_or(-1),
            stdout: status.stdout.unwrap_or_default(),
            stderr: status.stderr.unwrap_or_default(),
        };
        if output.exit_code == 0 || expect.contains(&output.exit_code) {
            return Ok(output);
        }
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        let message = format!("{program} ended with {}: {}", output.exit_code, end_of(said.trim()));
        Err(ActionError::retryable(Reason::CommandFailed, message))
    }
}

fn end_of(text: &str) -> &str {
    let mut from = text.len().saturating_sub(SHOWN_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or_default()
}
