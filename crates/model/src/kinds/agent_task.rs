//! AgentTask: one piece of work for the agent on a machine. An action writes it, the agent does it once and reports its one
//! result; the plane removes it when nobody needs it any more. It is how a run reaches a machine whose agent is
//! connected to another replica. Written by the plane alone.

use super::{
    COMPUTE, Resource, V1ALPHA1,
    tool_task::{ToolReport, ToolTask},
};
use crate::{
    Column, ColumnType, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time, kind_info,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most bytes that are kept of the beginning and of the end of what a command printed, for each of its two outputs.
pub const OUTPUT_BYTES_MAX: usize = 16 << 10;
/// Largest file that is written.
pub const FILE_BYTES_MAX: usize = 512 << 10;

/// A piece of work for an agent.
pub type AgentTask = Resource<AgentTaskSpec, AgentTaskStatus>;

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentTaskSpec {
    /// Name of the Machine, in the same namespace.
    pub machine: String,
    /// Its identity: one that was made anew under the same name does not do it.
    #[serde(rename = "machineUID")]
    pub machine_uid: String,
    /// What is not done by then is not begun, and what is under way is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// Run a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecTask>,
    /// Write a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileTask>,
    /// Bring a service of systemd to a state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceTask>,
    /// Restart the operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reboot: Option<RebootTask>,
    /// Look at, fetch or install packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchTask>,
    /// Say which packages are installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackagesTask>,
    /// Run a tool with files of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolTask>,
}

/// A command to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecTask {
    /// The program and its arguments. No shell reads them.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub argv: Vec<String>,
    /// What its environment has besides `PATH`, `HOME` and `LANG`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// As whom it runs; as the agent itself when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it runs; `/` when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// What it reads from its standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
}

/// A file to write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FileTask {
    /// Where, as an absolute path.
    pub path: String,
    /// What it holds.
    pub content: String,
    /// Its mode in octal, such as `0644`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The user it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The group it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// There is to be no such file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

/// A service and what is wanted of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceTask {
    /// Its unit, such as `nginx.service`.
    pub unit: String,
    /// What to do.
    pub state: ServiceState,
    /// Whether it starts with the system; as it is when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// What a service is to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceState {
    /// As it is.
    #[default]
    Unchanged,
    /// Running.
    Started,
    /// Not running.
    Stopped,
    /// Started anew once.
    Restarted,
    /// Told to read its settings anew.
    Reloaded,
}

/// A restart of the operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RebootTask {
    /// Which start of the operating system is to end: another one means that it is done.
    #[serde(rename = "bootID")]
    pub boot_id: String,
}

/// Packages to look at, fetch or install.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PatchTask {
    /// How far to go.
    pub mode: PatchMode,
    /// Only these packages; all that can be updated when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub packages: Vec<String>,
}

/// Packages to tell of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PackagesTask {
    /// Only those whose names are one of these, in which `*` is anything; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub names: Vec<String>,
}

/// How far an update goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PatchMode {
    /// Say what would be updated.
    #[default]
    List,
    /// Fetch it.
    Download,
    /// Install it.
    Install,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AgentTaskPhase {
    /// The agent has not said that it began.
    #[default]
    Pending,
    /// It is at it.
    Running,
    /// It is done.
    Succeeded,
    /// It is not, and will not be.
    Failed,
}

/// What became of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentTaskStatus {
    /// How far it is.
    pub phase: AgentTaskPhase,
    /// Why it failed, in one CamelCase word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// What a command ended with; with 128 added, the signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What it printed on its standard output: the beginning and the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// The same of its standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// Whether anything had to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
    /// Packages that can be, or were, updated, or are installed, as `NAME VERSION`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub packages: Vec<String>,
    /// How many there are, of which those are told of that fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_count: Option<u32>,
    /// What a tool did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<ToolReport>,
    /// The host asks to be restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reboot_required: Option<bool>,
    /// Which start of the operating system it is.
    #[serde(rename = "bootID", skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// Most packages that are told of.
const PACKAGES_MAX: usize = 2_000;
/// Longest sentence and longest name of a package.
const TEXT_BYTES_MAX: usize = 1_024;

impl AgentTaskStatus {
    /// Whether nothing more comes.
    #[must_use]
    pub const fn ended(&self) -> bool {
        matches!(self.phase, AgentTaskPhase::Succeeded | AgentTaskPhase::Failed)
    }

    /// The same within bounds: agents are not trusted.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        use super::machine_agent::cut;
        self.packages.truncate(PACKAGES_MAX);
        self.report = self.report.map(ToolReport::bounded);
        let short = [&mut self.reason, &mut self.message, &mut self.boot_id];
        let texts = short.into_iter().flatten().chain(&mut self.packages);
        texts.for_each(|text| cut(text, TEXT_BYTES_MAX));
        for output in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            // Twice as much, and the words between the two parts.
            let mut end = (3 * OUTPUT_BYTES_MAX).min(output.len());
            while !output.is_char_boundary(end) {
                end -= 1;
            }
            output.truncate(end);
        }
        self
    }
}

impl Kind for AgentTask {
    const GROUP: &'static str = COMPUTE;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "AgentTask";
    const PLURAL: &'static str = "agenttasks";
    const SINGULAR: &'static str = "agenttask";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Namespaced;
    const STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::new("Machine", "spec.machine", "Machine whose agent does it"),
        Column::new("Phase", "status.phase", "How far it is"),
        Column::new("Exit", "status.exitCode", "What the command ended with")
            .of(ColumnType::Integer),
        Column::new("Message", "status.message", "Why it failed").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.machine", "status.phase"];
    const DESCRIPTION: &'static str = "AgentTask is one piece of work for the agent on a machine. A step of a run writes it, the agent does it once, and the plane removes it.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        if old.is_some_and(|old| old.spec != self.spec) {
            errors.push(FieldError::forbidden("spec", "what is to be done never changes"));
        }
    }

    kind_info!(AgentTask);
}
