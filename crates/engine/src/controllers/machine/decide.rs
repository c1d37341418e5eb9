//! What a machine's status should be and what to do next for it. Pure.
//!
//! A machine has a server as long as the Server says so; it does one thing at a time to it, each by a run. Which run
//! is written down before the run is made, so that a crash in between makes neither two of them nor none.

use super::{
    follow::follow,
    tasks::{Purpose, Task, decided, short},
};
use quarterdeck_model::{
    Condition, ConditionStatus, Time, condition,
    kinds::{
        Image, ImageFormat, Machine, MachineClass, MachinePhase, MachineStatus, Run, Server,
        ServerPhase,
    },
};

/// Servers that are tried before a machine fails: what is wrong is hardly with all of them.
const SERVERS_TRIED_MAX: usize = 3;

/// Everything about a machine that is decided on.
pub(super) struct Situation<'a> {
    pub(super) machine: &'a Machine,
    pub(super) class: Option<&'a MachineClass>,
    pub(super) image: Option<&'a Image>,
    /// The server that it has.
    pub(super) server: Option<&'a Server>,
    /// The run that its status names, if that exists.
    pub(super) run: Option<&'a Run>,
    pub(super) now: Time,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Nothing,
    /// Find a server and take it.
    Choose,
    /// Let the server go: nothing of the machine is on it.
    Release,
    /// Make the run that the status names.
    Begin(Task),
    /// Ask the run that the status names to stop.
    Cancel,
    /// Let the machine go: nothing is left of it.
    Finish,
}

/// Decides.
pub(super) fn decide(situation: &Situation<'_>) -> (MachineStatus, Action) {
    let machine = situation.machine;
    let mut status = machine.status.clone();
    status.observed_generation = machine.metadata.generation;
    let run = status.current_run.clone();
    let name = &machine.metadata.name;
    let under_way = run.and_then(|run| Some((Purpose::of(short(&run), name)?, run)));
    let action = match under_way {
        Some((purpose, run)) => follow(situation, &mut status, purpose, &run),
        None if machine.metadata.deletion_timestamp.is_some() => remove(situation, &mut status),
        None => keep(situation, &mut status),
    };
    (status, action)
}

/// Nothing is under way, and the machine is to be.
pub(super) fn keep(situation: &Situation<'_>, status: &mut MachineStatus) -> Action {
    let now = situation.now;
    let Some(server) = situation.server else {
        return if status.server.is_some() {
            lost(situation, status)
        } else {
            find(situation, status)
        };
    };
    let name = &server.metadata.name;
    status.server = Some(name.clone());
    status.address.clone_from(&server.spec.host_address);
    let installed = status.image.as_ref() == Some(&situation.machine.spec.image);
    let free = server.status.phase == ServerPhase::Ready && status.image.is_none();
    if (free || server.status.phase == ServerPhase::InUse && !installed)
        && let Err((reason, message)) = image(situation)
    {
        not_ready(status, reason, message, now);
        return Action::Nothing;
    }
    match server.status.phase {
        ServerPhase::Ready if free => decided(situation, status, Purpose::Install, server),
        ServerPhase::InUse if installed => {
            enter(status, MachinePhase::Running, now);
            let message = format!("It runs on Server {name}.");
            set(status, ConditionStatus::True, "Running", message, now);
            Action::Nothing
        }
        ServerPhase::InUse => decided(situation, status, Purpose::Reinstall, server),
        phase if phase.out_of_service() => {
            let why = server.status.phase_message.as_deref().unwrap_or("its status says why");
            let message = format!(
                "Server {name} is {phase}: {why} Once it is well, run return-server on it; to let the machine go, delete it."
            );
            enter(status, MachinePhase::Failed, now);
            not_ready(status, "ServerOutOfService", message, now);
            Action::Nothing
        }
        phase => {
            let message = format!("Server {name} is {phase}, by a run that is not this machine's.");
            not_ready(status, "Waiting", message, now);
            Action::Nothing
        }
    }
}

/// It needs a server.
fn find(situation: &Situation<'_>, status: &mut MachineStatus) -> Action {
    let (spec, now) = (&situation.machine.spec, situation.now);
    if status.failed_servers.len() >= SERVERS_TRIED_MAX {
        let message = format!(
            "It could not be installed on {}; their runs say why. Mend the image or the servers, and create it again.",
            status.failed_servers.join(", ")
        );
        enter(status, MachinePhase::Failed, now);
        not_ready(status, "InstallFailed", message, now);
        return Action::Nothing;
    }
    enter(status, MachinePhase::Pending, now);
    status.address = None;
    if situation.class.is_none() {
        let message = format!(
            "spec.class names MachineClass {}, which does not exist; create it.",
            spec.class
        );
        not_ready(status, "ClassNotFound", message, now);
        return Action::Nothing;
    }
    match image(situation) {
        Err((reason, message)) => {
            not_ready(status, reason, message, now);
            Action::Nothing
        }
        Ok(()) => Action::Choose,
    }
}

/// Whether the image is there and can be installed.
fn image(situation: &Situation<'_>) -> Result<(), (&'static str, String)> {
    let name = &situation.machine.spec.image;
    let Some(image) = situation.image else {
        let message = format!("spec.image names Image {name}, which does not exist; create it.");
        return Err(("ImageNotFound", message));
    };
    if image.spec.format == ImageFormat::Iso {
        return Ok(());
    }
    let message = format!(
        "Image {name} is {:?}; servers are installed from virtual media, which takes images of format Iso.",
        image.spec.format
    );
    Err(("ImageFormat", message))
}

/// It had a server, and the server is another's or nobody's.
pub(super) fn lost(situation: &Situation<'_>, status: &mut MachineStatus) -> Action {
    if situation.machine.metadata.deletion_timestamp.is_some() {
        return Action::Finish;
    }
    let server = status.server.clone().unwrap_or_default();
    let message = format!(
        "Server {server} was taken from it, and what ran on it with that; delete the machine and create it again."
    );
    enter(status, MachinePhase::Failed, situation.now);
    not_ready(status, "ServerLost", message, situation.now);
    Action::Nothing
}

/// Nothing is under way, and the machine is to go.
pub(super) fn remove(situation: &Situation<'_>, status: &mut MachineStatus) -> Action {
    let Some(server) = situation.server else { return Action::Finish };
    status.server = Some(server.metadata.name.clone());
    // Nothing was written to a server that is still as it was when it was taken.
    if server.status.phase == ServerPhase::Ready && status.image.is_none() {
        return Action::Release;
    }
    match server.status.phase {
        ServerPhase::InUse | ServerPhase::Provisioning => {
            decided(situation, status, Purpose::Clean, server)
        }
        ServerPhase::Quarantined => decided(situation, status, Purpose::Wipe, server),
        phase => {
            let name = &server.metadata.name;
            let message = format!(
                "Server {name} is {phase}; it is wiped when it is returned. To let the machine go at once, run detach-server on it."
            );
            enter(status, MachinePhase::Draining, situation.now);
            not_ready(status, "Waiting", message, situation.now);
            Action::Nothing
        }
    }
}

pub(super) fn enter(status: &mut MachineStatus, phase: MachinePhase, now: Time) {
    if status.phase != phase || status.phase_since.is_none() {
        status.phase = phase;
        status.phase_since = Some(Time::seconds(now.timestamp()));
    }
}

pub(super) fn not_ready(status: &mut MachineStatus, reason: &str, message: String, now: Time) {
    set(status, ConditionStatus::False, reason, message, now);
}

pub(super) fn set(
    status: &mut MachineStatus,
    value: ConditionStatus,
    reason: &str,
    message: String,
    now: Time,
) {
    condition::set(&mut status.conditions, Condition::new("Ready", value, reason, message, now));
}
