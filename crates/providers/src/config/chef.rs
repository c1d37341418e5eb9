//! `chef.converge` has Chef bring a machine to its run list, and `chef.check` says what that would change (Chef's why-run): with
//! cookbooks that the step gives, or with those of the server that the machine's client has. Cinc's client is the same program under
//! another name. Source: Chef's documentation, "chef-client (executable)".

use super::{MACHINES, OWN, Output, Sources, list, outcome, run, target, words};
use crate::action::{Action, ActionContext, ActionError};
use quarterdeck_model::kinds::tool_task::{Archive, ToolHost};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Input of both.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Input {
    /// Its run list, such as `recipe[web]`, for this time alone; that of the node when left out.
    pub run_list: Vec<String>,
    /// Attributes of the node.
    pub attributes: Map<String, Value>,
    /// A tar file of a Chef repository (`cookbooks/`, `roles/`, …) to fetch and unpack. With it, with files or with Secrets, no server
    /// is asked.
    pub archive: Option<Archive>,
    /// Texts by relative path.
    pub files: BTreeMap<String, String>,
    /// Secrets in the machine's namespace, whose keys are names of files.
    pub file_secrets: Vec<String>,
    /// The program; `chef-client` when left out.
    pub command: Option<String>,
}

/// The action that changes.
pub struct ChefConverge;
/// The action that only looks.
pub struct ChefCheck;

impl Action for ChefConverge {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "chef.converge";
    const SUMMARY: &'static str = "Has Chef bring a machine to its run list.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = true;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        converge(context, input, false).await
    }
}

impl Action for ChefCheck {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "chef.check";
    const SUMMARY: &'static str = "Says what Chef would change to bring a machine to its run list.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        converge(context, input, true).await
    }
}

async fn converge(
    context: &ActionContext,
    input: Input,
    check: bool,
) -> Result<Output, ActionError> {
    let at = target(context)?;
    let Input { run_list, attributes, archive, files, file_secrets, command } = input;
    let sources = Sources { archive, files, file_secrets };
    let given = !sources.none();
    let program = command.unwrap_or_else(|| "chef-client".into());
    let mut task = sources.task(context, &at.namespace)?;
    let mut argv = words(&[&program, "--once", "--no-color"]);
    if given {
        argv.push("--local-mode".into());
    }
    if check {
        argv.push("--why-run".into());
    }
    if !run_list.is_empty() {
        argv.extend(["--override-runlist".to_owned(), list("runList", &run_list)?]);
    }
    if !attributes.is_empty() {
        let path = format!("{OWN}.json");
        argv.extend(words(&["--json-attributes", &path]));
        task.files.insert(path, Value::from(attributes).to_string());
    }
    task.argv = argv;
    let name = at.name.clone();
    let mut status = run(context, at, task).await?;
    if let Some((updated, all)) = status.stdout.as_deref().and_then(counted) {
        let host = ToolHost { host: name, ok: all, changed: updated, ..ToolHost::default() };
        status.report.get_or_insert_default().hosts.push(host);
    }
    outcome(&program, check, status)
}

/// Resources that were updated, of how many: `finished, 3/15 resources updated in 04 seconds`, as every release since 12 ends with,
/// with other words before; in a why-run, `would have been updated`.
fn counted(printed: &str) -> Option<(u32, u32)> {
    let line = printed.lines().rev().find(|line| line.contains(" resources "))?;
    let (before, _) = line.split_once(" resources ")?;
    let (updated, all) = before.rsplit(' ').next()?.split_once('/')?;
    Some((updated.parse().ok()?, all.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_chef_prints_is_understood() {
        // Of Chef's documentation and release notes.
        for (line, found) in [
            ("Chef Client finished, 1/3 resources updated in 4.6 seconds", Some((1, 3))),
            ("Chef Infra Client finished, 0/12 resources updated in 02 seconds", Some((0, 12))),
            ("Infra Phase complete, 3/15 resources updated in 04 seconds", Some((3, 15))),
            ("Chef Infra Client finished, 2/2 resources would have been updated", Some((2, 2))),
            ("Chef Infra Client failed. 1 resources updated in 02 seconds", None),
            ("nothing", None),
        ] {
            assert_eq!(
                counted(&format!("a\n  * b resources c/d\n\nRunning handlers:\n{line}\n")),
                found,
                "{line}"
            );
        }
    }
}
