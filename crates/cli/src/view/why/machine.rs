//! Why a machine does not run, or does not go: its server, and the run that acts on it.

use super::{
    Finding, Why,
    server::{acts, conditions, exits, phase, profile},
};
use crate::view::{
    machine::{full_name, ready},
    run,
};
use quarterdeck_model::{
    Time,
    kinds::{Machine, MachinePhase, Run, Server},
};

/// `server` is the one it has or had, `run` the one that acts on it now.
pub(crate) fn machine(
    machine: &Machine,
    server: Option<&Server>,
    run: Option<&Run>,
    now: Time,
) -> Why {
    let status = &machine.status;
    let subject = format!("machine/{}", full_name(machine));
    let mut why = Why::new(subject, format!("{:?}", status.phase), summary(machine));
    why.findings.extend(conditions(&status.conditions));
    if let Some(at) = machine.metadata.deletion_timestamp {
        why.findings.push(Finding {
            what: "it is being deleted".into(),
            since: Some(at),
            message: "it is gone once its server is wiped".into(),
            ..Finding::default()
        });
    }
    if let Some(server) = server {
        why.findings.extend(on(server, now));
    }
    if let Some(run) = run {
        why.findings.extend(acts(run));
        let name = run::full_name(run);
        let why_not = if run.status.phase.ended() {
            "how that run ended"
        } else {
            "why that run does not go on"
        };
        why.next.push(format!("see {why_not}: quarterdeck why run/{name}"));
    }
    next(&mut why, machine, server);
    why
}

fn summary(machine: &Machine) -> &'static str {
    match machine.status.phase {
        _ if machine.metadata.deletion_timestamp.is_some() => "it is to go, and is not gone yet",
        MachinePhase::Pending => "it has no server yet",
        MachinePhase::Provisioning => "it is being installed",
        MachinePhase::Running if machine.status.image.as_ref() != Some(&machine.spec.image) => {
            "it runs, and another image is wanted"
        }
        MachinePhase::Running => "nothing stands in its way: it runs",
        MachinePhase::Updating => "it is being installed anew",
        MachinePhase::Draining | MachinePhase::Deleting => "it is to go, and is not gone yet",
        MachinePhase::Failed => "it does not go on by itself",
    }
}

/// What is not as it should be with its server.
fn on(server: &Server, now: Time) -> Vec<Finding> {
    let name = &server.metadata.name;
    let mut all: Vec<Finding> = conditions(&server.status.conditions).collect();
    all.extend(phase(server, now));
    for finding in &mut all {
        finding.what = format!("server {name}: {}", finding.what);
        finding.who.get_or_insert(format!("server/{name}"));
    }
    all
}

fn next(why: &mut Why, machine: &Machine, server: Option<&Server>) {
    let namespace = machine.metadata.namespace.as_deref().unwrap_or_default();
    let name = &machine.metadata.name;
    let (spec, status) = (&machine.spec, &machine.status);
    let reason = ready(machine).map(|ready| ready.reason.as_str()).unwrap_or_default();
    let delete = format!("quarterdeck machine delete {name} -n {namespace}");
    match reason {
        "NoServer" => {
            why.next.push("wait: it takes the next server of its class that is free".into());
            why.next.push("see which are free: quarterdeck server list --phase Ready".into());
            let class = &spec.class;
            why.next.push(format!("see what its class asks for: kubectl describe mclass {class}"));
        }
        "ClassNotFound" => why.next.push("see which there are: kubectl get machineclasses".into()),
        "ImageNotFound" | "ImageFormat" => {
            why.next.push("see which there are: kubectl get images".into());
            let command =
                format!("quarterdeck machine reinstall {name} -n {namespace} --image IMAGE");
            why.next.push(format!("choose another one: {command}"));
        }
        "InstallFailed" | "ServerLost" => {
            why.next.push(format!("let it go, and create it again: {delete}"));
        }
        "RunFailed" => {
            let run = status.current_run.as_deref().and_then(|run| run.split_once('/'));
            if let Some((namespace, run)) = run {
                why.next.push(format!("try again: quarterdeck run retry {run} -n {namespace}"));
            }
            if let Some(server) = &status.server {
                why.next.push(format!("let its server go: quarterdeck server detach {server}"));
            }
        }
        _ => {}
    }
    why.next.extend(server.into_iter().flat_map(exits));
    why.next.extend(server.and_then(profile));
    why.next.push(format!("see all about it: quarterdeck machine show {name} -n {namespace}"));
}
