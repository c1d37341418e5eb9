//! A run that was decided on for a machine: it is made, followed, and what it came to is noted. Pure.

use super::{
    decide::{Action, Situation, enter, keep, lost, not_ready, remove},
    tasks::{IMAGE, Purpose, decided, task},
};
use quarterdeck_model::{
    Time,
    kinds::{MachinePhase, MachineStatus, Run, RunPhase, ServerPhase, StepPhase},
};

/// A run was decided on: it is made, followed, and what it came to is noted.
pub(super) fn follow(
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
