//! Tools that bring a machine to a described state, as actions: Ansible, Salt and Chef, a file each. An action says what is run, with which
//! files, and reads what came of it; that it is run once, on a machine, in a folder that goes with it, is the agent's. A check of what
//! would be done is an action of its own, since it needs no leave to disrupt.

pub mod ansible;
pub mod chef;
pub mod salt;

use crate::{
    action::{ActionContext, ActionError, Reason},
    agent::{HostName, MACHINES, perform_on, target},
    catalog::Catalog,
    secrets,
};
use quarterdeck_model::kinds::{
    AgentTaskSpec, AgentTaskStatus, SecretReference,
    container::SecretKeySelector,
    tool_task::{Archive, TOOL_BYTES_MAX, ToolHost, ToolTask},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much of the end of what was printed a step gives back. All that was kept of it is in the AgentTask.
const PRINTED_BYTES: usize = 4 << 10;
/// How much of it an error repeats, where the tool does not say what failed.
const SHOWN_BYTES: usize = 400;
/// Folder of the plane's own files, among those of the tool.
const OWN: &str = ".quarterdeck";

/// Adds every action to the catalogue.
pub(crate) fn add_actions(catalog: &mut Catalog) {
    catalog
        .add(ansible::AnsiblePlaybook)
        .add(ansible::AnsibleCheck)
        .add(salt::SaltApply)
        .add(salt::SaltCheck)
        .add(chef::ChefConverge)
        .add(chef::ChefCheck);
}

/// What a tool works from: all of these together, later ones in place of earlier ones.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sources {
    /// A tar file to fetch and unpack.
    pub archive: Option<Archive>,
    /// Texts by relative path.
    pub files: BTreeMap<String, String>,
    /// Secrets in the machine's namespace, whose keys are names of files.
    pub file_secrets: Vec<String>,
}

impl Sources {
    fn none(&self) -> bool {
        self.archive.is_none() && self.files.is_empty() && self.file_secrets.is_empty()
    }

    /// A task that has them.
    fn task(self, context: &ActionContext, namespace: &str) -> Result<ToolTask, ActionError> {
        let Self { archive, files, file_secrets } = self;
        let mut secret_files = BTreeMap::new();
        let mut bytes = 0;
        for name in file_secrets {
            let reference = SecretReference { namespace: namespace.into(), name: name.clone() };
            for (key, value) in secrets::read(context, &reference)? {
                bytes += value.len();
                let of =
                    SecretKeySelector { name: name.clone(), key: key.clone(), optional: false };
                secret_files.insert(key, of);
            }
        }
        if bytes > TOOL_BYTES_MAX {
            let why = format!(
                "fileSecrets: they hold {bytes} bytes, and at most {TOOL_BYTES_MAX} can be; put what is no secret into the archive"
            );
            return Err(ActionError::permanent(Reason::InvalidInput, why));
        }
        Ok(ToolTask { archive, files, secret_files, ..ToolTask::default() })
    }
}

/// Output of all of them.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Nothing was done: it was only asked what would be.
    pub check: bool,
    /// Something was changed, or would be.
    pub changed: bool,
    /// What was done on each host, of tasks, states or resources.
    pub hosts: Vec<ToolHost>,
    /// The end of what it printed, of 4 KiB.
    pub printed: String,
}

/// Has a machine run a tool that was given all it needs, and answers what became of it, however that ended.
async fn run(
    context: &ActionContext,
    on: HostName,
    tool: ToolTask,
) -> Result<AgentTaskStatus, ActionError> {
    let invalid = |why| ActionError::permanent(Reason::InvalidInput, why);
    tool.check().map_err(invalid)?;
    perform_on(context, on, AgentTaskSpec { tool: Some(tool), ..AgentTaskSpec::default() }).await
}

/// What a tool came to; a failure unless it ended with 0.
fn outcome(program: &str, check: bool, status: AgentTaskStatus) -> Result<Output, ActionError> {
    let code = status.exit_code.unwrap_or(-1);
    let (stdout, stderr) = (status.stdout.unwrap_or_default(), status.stderr.unwrap_or_default());
    let report = status.report.unwrap_or_default();
    if code != 0 {
        let said = if stderr.trim().is_empty() { &stdout } else { &stderr };
        let why = match report.failures.is_empty() {
            true => end_of(said.trim(), SHOWN_BYTES).to_owned(),
            false => report.failures.join("; "),
        };
        let message = format!("{program} ended with {code}: {why}");
        return Err(ActionError::retryable(Reason::CommandFailed, message));
    }
    let changed = report.hosts.iter().any(|host| host.changed > 0);
    let printed = end_of(&stdout, PRINTED_BYTES).to_owned();
    Ok(Output { check, changed, hosts: report.hosts, printed })
}

fn end_of(text: &str, most: usize) -> &str {
    let mut from = text.len().saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or_default()
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|&word| word.to_owned()).collect()
}

/// A list in one word, which no part of it can break out of.
fn list(field: &str, parts: &[String]) -> Result<String, ActionError> {
    let wrong = |part: &&String| part.is_empty() || part.contains(',') || part.starts_with('-');
    match parts.iter().find(wrong) {
        Some(part) => {
            let why =
                format!("{field}: {part:?} must be a name without a comma; give them one by one");
            Err(ActionError::permanent(Reason::InvalidInput, why))
        }
        None => Ok(parts.join(",")),
    }
}
