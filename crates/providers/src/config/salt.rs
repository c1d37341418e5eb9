//! `salt.apply` brings a machine to its Salt states, and `salt.check` says what that would change: with states that the step gives, with
//! those on the machine, or with those of the master that the machine's minion has. Source: salt-call(1), and Salt's documentation,
//! `salt.modules.state.apply`.

use super::{MACHINES, OWN, Output, Sources, list, outcome, run, target, words};
use crate::action::{Action, ActionContext, ActionError};
use quarterdeck_model::kinds::tool_task::{Archive, ReportFile, ReportFormat};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Input of both.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Input {
    /// The states; what `top.sls` says (a highstate) when left out.
    pub states: Vec<String>,
    /// Values of the pillar, in place of others of their names.
    pub pillar: Map<String, Value>,
    /// A tar file of states to fetch and unpack. With it, with files or with Secrets, no master is asked.
    pub archive: Option<Archive>,
    /// Texts by relative path: states, those of the pillar in `pillar/`, and `minion` in `config/` for the minion's own settings.
    pub files: BTreeMap<String, String>,
    /// Secrets in the machine's namespace, whose keys are names of files.
    pub file_secrets: Vec<String>,
    /// States are those in the machine's own folder, and no master is asked.
    pub local: bool,
    /// The program; `salt-call` when left out.
    pub command: Option<String>,
}

/// The action that changes.
pub struct SaltApply;
/// The action that only looks.
pub struct SaltCheck;

impl Action for SaltApply {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "salt.apply";
    const SUMMARY: &'static str = "Brings a machine to its Salt states.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = true;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        apply(context, input, false).await
    }
}

impl Action for SaltCheck {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "salt.check";
    const SUMMARY: &'static str = "Says what Salt would change to bring a machine to its states.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        apply(context, input, true).await
    }
}

async fn apply(context: &ActionContext, input: Input, check: bool) -> Result<Output, ActionError> {
    let at = target(context)?;
    let Input { states, pillar, archive, files, file_secrets, local, command } = input;
    let pillars = files.keys().any(|path| path.starts_with("pillar/"));
    let configured = files.keys().any(|path| path.starts_with("config/"));
    let sources = Sources { archive, files, file_secrets };
    let given = !sources.none();
    let program = command.unwrap_or_else(|| "salt-call".into());
    let mut task = sources.task(context, &at.namespace)?;
    let report = format!("{OWN}.json");
    let mut argv = words(&[&program, "--retcode-passthrough", "--no-color", "--log-level=warning"]);
    argv.extend(words(&["--out=json", "--out-file", &report]));
    let flags = [
        (local || given, "--local"),
        (given, "--file-root=."),
        (pillars, "--pillar-root=pillar"),
        (configured, "--config-dir=config"),
    ];
    argv.extend(flags.into_iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag.to_owned()));
    argv.push("state.apply".into());
    if !states.is_empty() {
        argv.push(list("states", &states)?);
    }
    if !pillar.is_empty() {
        argv.push(format!("pillar={}", Value::from(pillar)));
    }
    // Said either way: the minion's own settings may say another thing.
    argv.push(format!("test={}", if check { "True" } else { "False" }));
    task.argv = argv;
    task.report = Some(ReportFile { path: report, format: ReportFormat::Salt });
    outcome(&program, check, run(context, at, task).await?)
}
