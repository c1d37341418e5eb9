//! `ansible.playbook` runs a playbook, and `ansible.check` says what it would change: on the machine itself, or on a control machine which
//! reaches it over ssh. The inventory is the plane's: the target with its labels and place. Source: ansible-playbook(1), and Ansible's
//! documentation, "Ansible Configuration Settings".

use super::{MACHINES, OWN, Output, Sources, list, outcome, run, target, words};
use crate::{
    action::{Action, ActionContext, ActionError, Reason},
    agent::HostName,
    secrets,
};
use quarterdeck_model::{
    ansible::{InventoryHost, host},
    kinds::{
        Machine, SecretReference,
        container::SecretKeySelector,
        tool_task::{Archive, ReportFile, ReportFormat, ToolTask},
    },
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What writes down what the playbook did: what it prints is for people, and each release prints other things.
const CALLBACK: &str = include_str!("quarterdeck_report.py");
/// Key of a Secret of type `kubernetes.io/ssh-auth`.
const SSH_KEY: &str = "ssh-privatekey";
/// Key of the same, if it has one: which keys hosts may have.
const KNOWN_HOSTS: &str = "known_hosts";

/// Input of both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The playbook, by its path in the archive or among the files.
    pub playbook: String,
    /// A tar file of playbooks and roles to fetch and unpack.
    #[serde(default)]
    pub archive: Option<Archive>,
    /// Texts by relative path.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Secrets in the machine's namespace, whose keys are names of files.
    #[serde(default)]
    pub file_secrets: Vec<String>,
    /// Variables, in place of all others of their names.
    #[serde(default)]
    pub vars: Map<String, Value>,
    /// Only what has one of these tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Not what has one of these.
    #[serde(default)]
    pub skip_tags: Vec<String>,
    /// The machine, in the namespace of the target, on which ansible-playbook runs and from which the target is reached over ssh. The
    /// target itself when left out.
    #[serde(default)]
    pub control: Option<String>,
    /// Secret in the target's namespace with the key `ssh-privatekey`, and `known_hosts` if hosts are to be known by that.
    #[serde(default)]
    pub ssh_secret: Option<String>,
    /// Secret in the target's namespace with the key `password`, which opens what is encrypted by ansible-vault.
    #[serde(default)]
    pub vault_secret: Option<String>,
    /// The program; `ansible-playbook` when left out.
    #[serde(default)]
    pub command: Option<String>,
}

/// The action that changes.
pub struct AnsiblePlaybook;
/// The action that only looks.
pub struct AnsibleCheck;

impl Action for AnsiblePlaybook {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "ansible.playbook";
    const SUMMARY: &'static str =
        "Runs an Ansible playbook on a machine, or against it from a control machine.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = true;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        play(context, input, false).await
    }
}

impl Action for AnsibleCheck {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "ansible.check";
    const SUMMARY: &'static str = "Says what an Ansible playbook would change on a machine.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        play(context, input, true).await
    }
}

async fn play(context: &ActionContext, input: Input, check: bool) -> Result<Output, ActionError> {
    let at = target(context)?;
    let on = match &input.control {
        Some(name) => context.hosts.find(&at.namespace, name).ok_or_else(|| {
            let why =
                format!("control: there is no Machine {name:?} in namespace {}", at.namespace);
            ActionError::permanent(Reason::NotFound, why)
        })?,
        None => at.clone(),
    };
    let program = input.command.clone().unwrap_or_else(|| "ansible-playbook".into());
    let tool = task(context, &at, (&program, input), check)?;
    outcome(&program, check, run(context, on, tool).await?)
}

fn task(
    context: &ActionContext,
    at: &HostName,
    (program, input): (&str, Input),
    check: bool,
) -> Result<ToolTask, ActionError> {
    let Input { playbook, archive, files, file_secrets, .. } = input;
    let invalid = |why: String| ActionError::permanent(Reason::InvalidInput, why);
    if playbook.is_empty() || playbook.starts_with(['-', '/']) {
        return Err(invalid(format!("playbook: {playbook:?} must be the relative path of a file")));
    }
    let mut task = Sources { archive, files, file_secrets }.task(context, &at.namespace)?;
    let own = |name: &str| format!("{OWN}/{name}");
    let mut argv = words(&[program, "--inventory", &own("inventory.json"), "--diff"]);
    if check {
        argv.push("--check".into());
    }
    if !input.vars.is_empty() {
        // A file that begins with @: they can be large, and a command line is for all to read.
        argv.extend(words(&["--extra-vars", &format!("@{}", own("vars.json"))]));
        task.files.insert(own("vars.json"), Value::from(input.vars).to_string());
    }
    for (flag, field, tags) in
        [("--tags", "tags", &input.tags), ("--skip-tags", "skipTags", &input.skip_tags)]
    {
        if !tags.is_empty() {
            argv.extend([flag.to_owned(), list(field, tags)?]);
        }
    }
    let mut local = Map::new();
    let mut env = BTreeMap::from(
        [
            ("ANSIBLE_CALLBACK_PLUGINS", own("callback")),
            ("ANSIBLE_CALLBACKS_ENABLED", "quarterdeck_report".into()),
            ("QUARTERDECK_REPORT", own("report.json")),
            ("ANSIBLE_NOCOLOR", "1".into()),
            ("ANSIBLE_RETRY_FILES_ENABLED", "0".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    match input.control {
        None => drop(local.insert("ansible_connection".into(), "local".into())),
        // Nobody is there to answer.
        Some(_) => {
            drop(env.insert("ANSIBLE_SSH_ARGS".into(), ssh_arguments(input.ssh_secret.is_some())))
        }
    }
    let mut secret = |name: &str, key: &str, path: &str| -> Result<bool, ActionError> {
        let reference = SecretReference { namespace: at.namespace.clone(), name: name.into() };
        let there = secrets::read(context, &reference)?;
        let optional = key == KNOWN_HOSTS;
        if !optional {
            secrets::value(&there, &reference, key)?;
        }
        let of = SecretKeySelector { name: name.into(), key: key.into(), optional };
        task.secret_files.insert(own(path), of);
        Ok(there.contains_key(key))
    };
    if let Some(name) = &input.ssh_secret {
        secret(name, SSH_KEY, "ssh_key")?;
        argv.extend(words(&["--private-key", &own("ssh_key")]));
        secret(name, KNOWN_HOSTS, "known_hosts")?;
    }
    if let Some(name) = &input.vault_secret {
        secret(name, "password", "vault_password")?;
        argv.extend(words(&["--vault-password-file", &own("vault_password")]));
    }
    argv.push(playbook);
    task.files.insert(own("callback/quarterdeck_report.py"), CALLBACK.into());
    task.files.insert(own("inventory.json"), inventory(context, at, local)?.to_string());
    task.report = Some(ReportFile { path: own("report.json"), format: ReportFormat::Plain });
    (task.argv, task.env) = (argv, env);
    Ok(task)
}

/// Hosts that the Secret knows, and those that the control machine does. Connections end with the folder, so none is kept.
fn ssh_arguments(known: bool) -> String {
    let own = if known { format!("{OWN}/known_hosts ") } else { String::new() };
    format!(
        "-o BatchMode=yes -o ControlMaster=no -o UserKnownHostsFile=\"{own}~/.ssh/known_hosts\""
    )
}

/// The target with its variables, and its groups.
fn inventory(
    context: &ActionContext,
    at: &HostName,
    own: Map<String, Value>,
) -> Result<Value, ActionError> {
    let machine = Machine::deserialize(&**context.require_target()?).map_err(|error| {
        let why = format!("machine {}/{} cannot be understood: {error}", at.namespace, at.name);
        ActionError::permanent(Reason::InvalidInput, why).because(error)
    })?;
    let InventoryHost { mut vars, groups } = host(&machine, &context.hosts.place(at));
    vars.extend(own);
    let member = json!({"hosts": {&at.name: {}}});
    let children: Map<String, Value> =
        groups.into_iter().map(|group| (group, member.clone())).collect();
    Ok(json!({"all": {"hosts": {&at.name: vars}, "children": children}}))
}
