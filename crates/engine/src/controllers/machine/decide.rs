//! What a machine's status should be and what to do next for it. Pure.
//!
//! A machine has a server as long as the Server says so; it does one thing at a time to it, each by a run. Which run
//! is written down before the run is made, so that a crash in between makes neither two of them nor none.

use quarterdeck_model::{
    Condition, ConditionStatus, Time, condition,
    kinds::{
        Image, ImageFormat, Machine, MachineClass, MachinePhase, MachineStatus, Run, RunPhase,
        Server, ServerPhase, StepPhase,
    },
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Annotation of a run: the image it installs.
pub(super) const IMAGE: &str = "quarterdeck.dev/image";
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
enum Purpose {
    Install,
    Reinstall,
    Clean,
    /// The same for a server that somebody has quarantined: it stays so.
    Wipe,
}

impl Purpose {
    const fn runbook(self) -> &'static str {
        match self {
            Self::Install => "provision-server",
            Self::Reinstall => "reinstall-server",
            Self::Clean | Self::Wipe => "clean-server",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Reinstall => "reinstall",
            Self::Clean => "clean",
            Self::Wipe => "wipe",
        }
    }

    /// Names of runs begin with the machine's and its purpose's.
    fn of(run: &str, machine: &str) -> Option<Self> {
        let rest = run.strip_prefix(machine)?.strip_prefix('-')?;
        let all = [Self::Install, Self::Reinstall, Self::Clean, Self::Wipe];
        all.into_iter().find(|it| rest.split('-').next() == Some(it.word()))
    }

    const fn phase(self) -> MachinePhase {
        match self {
            Self::Install => MachinePhase::Provisioning,
            Self::Reinstall => MachinePhase::Updating,
            Self::Clean | Self::Wipe => MachinePhase::Draining,
        }
    }

    /// It ends what the machine has on its server.
    const fn ends(self) -> bool {
        matches!(self, Self::Clean | Self::Wipe)
    }
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

/// A run was decided on: it is made, followed, and what it came to is noted.
fn follow(
    situation: &Situation<'_>,
    status: &mut MachineStatus,
    purpose: Purpose,
    name: &str,
) -> Action {
    let deleting = situation.machine.metadata.deletion_timestamp.is_some();
    let server = status.server.clone().unwrap_or_default();
    let Some(run) = situation.run else {
        let deleted = status.current_run_uid.is_some();
        if situation.server.is_none() {
            forget_run(status);
            if status.failed_servers.contains(&server) && !deleting {
                // It was let go since it could not be installed.
                status.server = None;
                return keep(situation, status);
            }
            // It was taken away meanwhile: what there was to do has nothing to be done to.
            return lost(situation, status);
        }
        if deleting && !purpose.ends() {
            forget_run(status);
            return remove(situation, status);
        }
        if deleted {
            return run_deleted(situation, status, purpose, name);
        }
        enter(status, purpose.phase(), situation.now);
        let message = format!("Run {name} is to {} Server {server}.", purpose.word());
        not_ready(status, "Waiting", message, situation.now);
        return match task(situation, purpose, name) {
            Some(task) => Action::Begin(task),
            None => {
                forget_run(status);
                Action::Nothing
            }
        };
    };
    status.current_run_uid = Some(run.metadata.uid.clone());
    if !run.status.phase.ended() {
        working(situation, status, purpose, run, name);
        // Nothing is done any more to a server that is another's by now.
        let in_vain = deleting || situation.server.is_none();
        let stop = in_vain && !purpose.ends() && !run.spec.cancel;
        return if stop { Action::Cancel } else { Action::Nothing };
    }
    match (purpose, run.status.phase) {
        (Purpose::Clean | Purpose::Wipe, RunPhase::Succeeded) => {
            forget_run(status);
            remove(situation, status)
        }
        (_, RunPhase::Succeeded) => {
            forget_run(status);
            status.image = run.metadata.annotations.get(IMAGE).cloned();
            if deleting { remove(situation, status) } else { keep(situation, status) }
        }
        (Purpose::Install, _) if deleting => {
            forget_run(status);
            match situation.server {
                // It is quarantined by that run alone.
                Some(server) => decided(situation, status, Purpose::Clean, server),
                None => remove(situation, status),
            }
        }
        (Purpose::Install, _) => try_another(situation, status, server),
        (_, _) if returned(situation, run) => {
            forget_run(status);
            if deleting { remove(situation, status) } else { keep(situation, status) }
        }
        (_, _) => {
            stuck(situation, status, purpose, run, name);
            Action::Nothing
        }
    }
}

/// A server on which it was not installed is let go first, and forgotten when it is: another is looked for then.
fn try_another(situation: &Situation<'_>, status: &mut MachineStatus, server: String) -> Action {
    if !status.failed_servers.contains(&server) {
        status.failed_servers.push(server);
    }
    if situation.server.is_some() {
        return Action::Release;
    }
    forget_run(status);
    status.server = None;
    keep(situation, status)
}

/// Somebody has deleted the run that was under way. What it overwrites is not overwritten again without a word: of an
/// install it is as if that had been cancelled, whether the end of the run was seen or not, and a new one of a machine
/// that runs waits for a person. What is to go goes on, and says so: nothing else would end that.
fn run_deleted(
    situation: &Situation<'_>,
    status: &mut MachineStatus,
    purpose: Purpose,
    name: &str,
) -> Action {
    let server = status.server.clone().unwrap_or_default();
    let what = format!("Run {name}, which was to {} Server {server}, was deleted", purpose.word());
    match purpose {
        Purpose::Install => return try_another(situation, status, server),
        Purpose::Clean | Purpose::Wipe => {
            forget_run(status);
            let action = remove(situation, status);
            not_ready(status, "RunDeleted", format!("{what}; another one does it."), situation.now);
            return action;
        }
        Purpose::Reinstall => {}
    }
    let seen = situation.machine.status.observed_generation;
    let out = situation.server.is_some_and(|server| server.status.phase != ServerPhase::InUse);
    if out || seen != situation.machine.metadata.generation {
        if out {
            // What was on its disks may be gone in part.
            status.image = None;
        }
        forget_run(status);
        return keep(situation, status);
    }
    let has = status.image.as_deref().unwrap_or("unknown");
    let message = format!(
        "{what}, and image {has} is still on it. Set spec.image to that to leave it so; then to the one you want, to have it installed."
    );
    enter(status, MachinePhase::Failed, situation.now);
    not_ready(status, "RunDeleted", message, situation.now);
    Action::Nothing
}

/// Nothing is under way any more.
fn forget_run(status: &mut MachineStatus) {
    (status.current_run, status.current_run_uid) = (None, None);
}

/// Whether somebody has put the server back to work since a run of it failed, so that it is tried again.
fn returned(situation: &Situation<'_>, run: &Run) -> bool {
    situation.server.is_some_and(|server| {
        let (since, failed) = (server.status.phase_since, run.status.completion_time);
        let failed = failed.map(|failed| Time::seconds(failed.timestamp()));
        server.status.phase == ServerPhase::InUse && failed.is_some() && since >= failed
    })
}

/// What a run in work says of the machine.
fn working(
    situation: &Situation<'_>,
    status: &mut MachineStatus,
    purpose: Purpose,
    run: &Run,
    name: &str,
) {
    let wiped = situation.server.is_some_and(|server| server.status.phase == ServerPhase::Cleaning);
    let phase = match purpose {
        purpose if wiped && purpose.ends() => MachinePhase::Deleting,
        purpose => purpose.phase(),
    };
    enter(status, phase, situation.now);
    let what = match phase {
        MachinePhase::Provisioning => "is being installed",
        MachinePhase::Updating => "is being installed anew",
        MachinePhase::Deleting => "is being wiped",
        _ => "is to be wiped",
    };
    let server = status.server.as_deref().unwrap_or_default();
    let waits = waiting(run).map(|why| format!(" It waits: {why}")).unwrap_or_default();
    let message = format!("Server {server} {what} by run {name}.{waits}");
    not_ready(status, phase_word(phase), message, situation.now);
}

/// What a run waits for, if it does. Progress is not said here: each word would be a write.
fn waiting(run: &Run) -> Option<String> {
    let waits = run.status.steps.iter().filter(|step| step.phase == StepPhase::Waiting);
    waits.filter_map(|step| step.message.clone()).next_back()
}

/// A run that failed, of which the machine cannot get free by itself.
fn stuck(
    situation: &Situation<'_>,
    status: &mut MachineStatus,
    purpose: Purpose,
    run: &Run,
    name: &str,
) {
    let machine = situation.machine;
    let server = status.server.clone().unwrap_or_default();
    let deleting = machine.metadata.deletion_timestamp.is_some();
    let Some(has) = situation.server else {
        // Somebody has detached the server: there is nothing to wait for.
        forget_run(status);
        return;
    };
    if purpose == Purpose::Reinstall {
        if has.status.phase != ServerPhase::InUse {
            // What was on its disks may be gone in part.
            status.image = None;
        }
        let wanted = run.metadata.annotations.get(IMAGE);
        if deleting || wanted != Some(&machine.spec.image) {
            // Something else is wanted of it now.
            forget_run(status);
            return;
        }
    }
    let why = run.status.message.clone().unwrap_or_else(|| "see that run".to_owned());
    // One that is in service has nothing to come back from, and only that run can be tried again.
    let again = match has.status.phase {
        ServerPhase::InUse => "retry that run",
        _ => "run return-server on it, or retry that run",
    };
    let message = format!(
        "Run {name} could not {} Server {server}: {why}; mend it and {again}; or run detach-server on the server to let it go.",
        purpose.word()
    );
    enter(status, MachinePhase::Failed, situation.now);
    not_ready(status, "RunFailed", message, situation.now);
}

/// Nothing is under way, and the machine is to be.
fn keep(situation: &Situation<'_>, status: &mut MachineStatus) -> Action {
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
fn lost(situation: &Situation<'_>, status: &mut MachineStatus) -> Action {
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
fn remove(situation: &Situation<'_>, status: &mut MachineStatus) -> Action {
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

/// A run is decided on: it is made once that is written down.
fn decided(
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
fn task(situation: &Situation<'_>, purpose: Purpose, name: &str) -> Option<Task> {
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
fn short(run: &str) -> &str {
    run.split_once('/').map_or(run, |(_, name)| name)
}

const fn phase_word(phase: MachinePhase) -> &'static str {
    match phase {
        MachinePhase::Pending => "Pending",
        MachinePhase::Provisioning => "Provisioning",
        MachinePhase::Running => "Running",
        MachinePhase::Updating => "Updating",
        MachinePhase::Draining => "Draining",
        MachinePhase::Deleting => "Deleting",
        MachinePhase::Failed => "Failed",
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
