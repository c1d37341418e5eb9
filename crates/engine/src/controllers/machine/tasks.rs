//! What runs do for a machine: their names, their runbooks and what they are given. Pure.

use super::decide::{Action, Situation, enter, not_ready};
use quarterdeck_model::kinds::{MachinePhase, MachineStatus, Server, ServerPhase};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Annotation of a run: the image it installs.
pub(super) const IMAGE: &str = "quarterdeck.dev/image";

/// A run to make.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    pub(super) name: String,
    pub(super) runbook: &'static str,
    pub(super) params: Map<String, Value>,
    /// The image that is installed.
    pub(super) image: Option<String>,
}

/// What a run does for a machine; told from the name of its runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Install,
    Reinstall,
    Clean,
    /// The same for a server that somebody has quarantined: it stays so.
    Wipe,
}

impl Purpose {
    pub(super) const fn runbook(self) -> &'static str {
        match self {
            Self::Install => "provision-server",
            Self::Reinstall => "reinstall-server",
            Self::Clean | Self::Wipe => "clean-server",
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Reinstall => "reinstall",
            Self::Clean => "clean",
            Self::Wipe => "wipe",
        }
    }

    /// Names of runs begin with the machine's and its purpose's.
    pub(super) fn of(run: &str, machine: &str) -> Option<Self> {
        let rest = run.strip_prefix(machine)?.strip_prefix('-')?;
        let all = [Self::Install, Self::Reinstall, Self::Clean, Self::Wipe];
        all.into_iter().find(|it| rest.split('-').next() == Some(it.word()))
    }

    pub(super) const fn phase(self) -> MachinePhase {
        match self {
            Self::Install => MachinePhase::Provisioning,
            Self::Reinstall => MachinePhase::Updating,
            Self::Clean | Self::Wipe => MachinePhase::Draining,
        }
    }

    /// It ends what the machine has on its server.
    pub(super) const fn ends(self) -> bool {
        matches!(self, Self::Clean | Self::Wipe)
    }
}

/// A run is decided on: it is made once that is written down.
pub(super) fn decided(
    situation: &Situation<'_>,
    status: &mut MachineStatus,
    purpose: Purpose,
    server: &Server,
) -> Action {
    enter(status, purpose.phase(), situation.now);
    let meta = &situation.machine.metadata;
    // Each is told apart by what it is for. The same again, as back to an image, comes with another generation, or after
    // a run that failed.
    let before = situation.run.map_or("", |run| &run.metadata.uid);
    let basis = format!(
        "{}\n{}\n{}\n{}\n{}\n{before}",
        meta.uid,
        meta.generation.unwrap_or_default(),
        purpose.word(),
        server.metadata.uid,
        status.phase_since.map(|since| since.to_string()).unwrap_or_default()
    );
    let digest: String =
        Sha256::digest(basis).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{}-{}-{digest}", meta.name, purpose.word());
    let run = format!("{}/{name}", crate::SYSTEM_NAMESPACE);
    let message = format!("Run {run} is to {} Server {}.", purpose.word(), server.metadata.name);
    not_ready(status, "Waiting", message, situation.now);
    (status.current_run, status.current_run_uid) = (Some(run), None);
    Action::Nothing
}

/// The run of a name, if all that it needs is there.
pub(super) fn task(situation: &Situation<'_>, purpose: Purpose, name: &str) -> Option<Task> {
    let mut params = Map::new();
    let machine = situation.machine;
    if !purpose.ends() {
        params.insert("image".into(), json!(situation.image?.spec.url));
    }
    if purpose == Purpose::Install {
        let namespace = machine.metadata.namespace.as_deref().unwrap_or_default();
        let message =
            format!("It is being installed for Machine {namespace}/{}.", machine.metadata.name);
        params.insert("message".into(), json!(message));
    }
    if purpose == Purpose::Wipe {
        let message = situation.server.and_then(|server| server.status.phase_message.clone());
        params.insert("phase".into(), json!(ServerPhase::Quarantined));
        params.insert(
            "message".into(),
            json!(message.unwrap_or_else(|| "It was quarantined before it was cleaned.".into())),
        );
    }
    let image = (!purpose.ends()).then(|| machine.spec.image.clone());
    Some(Task { name: short(name).to_owned(), runbook: purpose.runbook(), params, image })
}

/// The name of a run without its namespace.
pub(super) fn short(run: &str) -> &str {
    run.split_once('/').map_or(run, |(_, name)| name)
}
