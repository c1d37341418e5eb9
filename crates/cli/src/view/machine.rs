//! Machines: one line each in a list; all that is joined to one; how one comes to run, or goes.

use super::{
    parts::{self, Page},
    refusal::refused,
    run,
    time::{age, clock},
};
use quarterdeck_model::{
    Condition, Time, condition,
    kinds::{Event, Instance, Machine, MachinePhase, Permit, Rack, Run, Server, Service, Site},
};

/// A machine and what is joined to it.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub(crate) machine: Machine,
    pub(crate) server: Option<Server>,
    pub(crate) rack: Option<Rack>,
    pub(crate) site: Option<Site>,
    /// The one that acts on it now.
    pub(crate) run: Option<Run>,
    pub(crate) permits: Vec<Permit>,
    /// Of the machine, and of its server itself.
    pub(crate) instances: Vec<Instance>,
    pub(crate) services: Vec<Service>,
    /// Newest last.
    pub(crate) events: Vec<Event>,
}

/// What following a machine comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Runs,
    Failed,
}

/// `shop/web-1`.
pub(crate) fn full_name(machine: &Machine) -> String {
    let namespace = machine.metadata.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", machine.metadata.name)
}

/// Columns of a list of machines.
pub(crate) fn heading(wide: bool) -> Vec<&'static str> {
    let mut heading =
        vec!["NAMESPACE", "NAME", "PHASE", "READY", "CLASS", "SERVER", "IMAGE", "REASON", "AGE"];
    heading.extend(wide.then_some(["WANTED", "ADDRESS", "RUN", "MESSAGE"]).iter().flatten());
    heading
}

/// A machine in a list.
pub(crate) fn row(machine: &Machine, wide: bool, now: Time) -> Vec<String> {
    let (spec, status) = (&machine.spec, &machine.status);
    let ready = ready(machine);
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let mut row = vec![
        text(machine.metadata.namespace.as_ref()),
        machine.metadata.name.clone(),
        format!("{:?}", status.phase),
        ready.map_or_else(|| "Unknown".into(), |ready| format!("{:?}", ready.status)),
        spec.class.clone(),
        text(status.server.as_ref()),
        text(status.image.as_ref()),
        text(ready.map(|it| &it.reason)),
        age(machine.metadata.creation_timestamp, now),
    ];
    if wide {
        row.extend([
            spec.image.clone(),
            text(status.address.as_ref()),
            text(status.current_run.as_ref()),
            text(ready.map(|it| &it.message)),
        ]);
    }
    row
}

pub(crate) fn ready(machine: &Machine) -> Option<&Condition> {
    condition::find(&machine.status.conditions, "Ready")
}

/// A machine and all that is joined to it.
pub(crate) fn show(joined: &Joined, now: Time) -> String {
    let machine = &joined.machine;
    let (spec, status) = (&machine.spec, &machine.status);
    let mut page = Page::new(&format!("machine {}", full_name(machine)));
    page.fact("phase", &phase(machine, now));
    page.fact("class", &spec.class);
    page.fact("image", &image(machine));
    page.fact("server", &server(joined));
    if let Some(address) = &status.address {
        page.fact("address", address);
    }
    match &status.current_run {
        None => page.fact("run", "none acts on it now"),
        Some(name) => {
            let lines = joined.run.as_ref().map(acts).unwrap_or_default();
            page.fact("run", name);
            lines.iter().for_each(|line| page.fact("", line));
        }
    }
    if !status.failed_servers.is_empty() {
        page.fact("failed on", &status.failed_servers.join(", "));
    }
    page.section("conditions", status.conditions.iter().map(|it| parts::condition(it, now)));
    page.section("permits", joined.permits.iter().map(|it| parts::permit(it, now)));
    page.section("instances", joined.instances.iter().map(parts::instance));
    page.section("services", joined.services.iter().map(parts::service));
    page.section("events", parts::events(&joined.events, now));
    page.text()
}

fn phase(machine: &Machine, now: Time) -> String {
    let status = &machine.status;
    let since = status.phase_since.map(|_| format!(" for {}", age(status.phase_since, now)));
    let goes = machine.metadata.deletion_timestamp.map(|_| ", being deleted");
    format!("{:?}{}{}", status.phase, since.unwrap_or_default(), goes.unwrap_or_default())
}

/// The image wanted and the one that is installed.
fn image(machine: &Machine) -> String {
    let wanted = &machine.spec.image;
    match &machine.status.image {
        None => format!("{wanted} is wanted, none is installed"),
        Some(installed) if installed == wanted => format!("{wanted}, installed"),
        Some(installed) => format!("{wanted} is wanted, {installed} is installed"),
    }
}

fn server(joined: &Joined) -> String {
    let Some(name) = &joined.machine.status.server else { return "none yet".into() };
    let Some(server) = &joined.server else { return name.clone() };
    let place =
        parts::place(server.spec.location.as_ref(), joined.rack.as_ref(), joined.site.as_ref());
    format!("{name}, {:?}, {place}", server.status.phase)
}

/// How far a run is, and what it waits for.
fn acts(run: &Run) -> Vec<String> {
    let status = &run.status;
    let progress = status.progress.as_ref().map_or_else(String::new, |it| format!(" {it}"));
    let step = status.step.as_ref().map_or_else(String::new, |step| format!(", step {step}"));
    let mut lines = vec![format!("{} {}{progress}{step}", run.spec.runbook, run::phase(run))];
    match refused(run) {
        Some(refused) => lines.push(format!("waits for leave: {}", refused.sentence)),
        None => lines.extend(status.message.clone().filter(|message| !message.is_empty())),
    }
    lines
}

const fn mark(phase: MachinePhase) -> &'static str {
    match phase {
        MachinePhase::Running => "✓",
        MachinePhase::Failed => "✗",
        MachinePhase::Pending => "◌",
        MachinePhase::Provisioning
        | MachinePhase::Updating
        | MachinePhase::Draining
        | MachinePhase::Deleting => "●",
    }
}

/// A machine that is followed, as it is drawn.
pub(crate) fn frame(machine: &Machine, now: Time) -> Vec<String> {
    let (mark, phase) = (mark(machine.status.phase), phase(machine, now));
    let mut lines =
        vec![format!("{mark} machine {}: {}, {phase}", full_name(machine), image(machine))];
    lines.extend(ready(machine).map(|ready| format!("  {}", ready.message)));
    lines
}

/// What is new since a machine was seen last.
pub(crate) fn news(before: Option<&Machine>, machine: &Machine, now: Time) -> Vec<String> {
    fn told(machine: &Machine) -> (MachinePhase, Option<&str>) {
        (machine.status.phase, ready(machine).map(|ready| ready.message.as_str()))
    }
    let mut lines = Vec::new();
    if before.is_none() {
        let spec = &machine.spec;
        let name = full_name(machine);
        lines.push(format!("machine {name}: {} of class {}", spec.image, spec.class));
    }
    if before.map(told) != Some(told(machine)) {
        let (phase, message) = told(machine);
        let message = message.map_or_else(String::new, |message| format!(": {message}"));
        lines.push(format!("{} {} {phase:?}{message}", clock(now), mark(phase)));
    }
    lines
}

/// What it came to, once nothing more is to be waited for. One that is deleted is gone in the end, which is not seen here.
pub(crate) fn ended(machine: &Machine) -> Option<End> {
    let (meta, spec, status) = (&machine.metadata, &machine.spec, &machine.status);
    let failed = status.phase == MachinePhase::Failed;
    if meta.deletion_timestamp.is_some() {
        // It may have failed before; that it cannot be wiped is what keeps it.
        let wiping = format!("/{}-clean-", meta.name);
        let wipes = status.current_run.as_ref().is_some_and(|run| run.contains(&wiping));
        return (failed && wipes).then_some(End::Failed);
    }
    if status.observed_generation != meta.generation {
        return None;
    }
    let installed = status.image.as_ref() == Some(&spec.image);
    if status.phase == MachinePhase::Running && installed {
        return Some(End::Runs);
    }
    // What failed is over, and another image is about to be tried.
    let again = status.current_run.is_none()
        && ready(machine).is_some_and(|ready| ready.reason == "RunFailed");
    (failed && !again).then_some(End::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ends(meta: Value, status: Value) -> Option<End> {
        let mut all = json!({"name": "web-1", "namespace": "shop", "generation": 2});
        all.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        let machine = json!({
            "metadata": all, "spec": {"class": "c", "image": "new"}, "status": status,
        });
        ended(&serde_json::from_value(machine).unwrap())
    }

    #[test]
    fn a_machine_is_followed_until_it_is_as_wanted_or_cannot_be() {
        let failed = |reason: &str, run: Value| {
            json!({
                "phase": "Failed", "observedGeneration": 2, "currentRun": run,
                "conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": "m",
                                "lastTransitionTime": "2026-03-01T12:00:00Z"}],
            })
        };
        let clean = "quarterdeck-system/web-1-clean-01234567";
        let gone = json!({"deletionTimestamp": "2026-03-01T12:00:00Z"});
        let runs = json!({"phase": "Running", "image": "new", "observedGeneration": 2});
        for (meta, status, end) in [
            (json!({}), json!({"phase": "Pending", "observedGeneration": 2}), None),
            (json!({}), runs.clone(), Some(End::Runs)),
            (gone.clone(), runs, None),
            (json!({}), json!({"phase": "Running", "image": "old", "observedGeneration": 2}), None),
            (json!({}), json!({"phase": "Running", "image": "new", "observedGeneration": 1}), None),
            (json!({}), failed("InstallFailed", Value::Null), Some(End::Failed)),
            (json!({}), failed("RunFailed", "x/web-1-reinstall-1".into()), Some(End::Failed)),
            (json!({}), failed("RunFailed", Value::Null), None),
            (gone.clone(), failed("ServerOutOfService", Value::Null), None),
            (gone, failed("RunFailed", clean.into()), Some(End::Failed)),
        ] {
            assert_eq!(ends(meta.clone(), status.clone()), end, "{meta} {status}");
        }
    }
}
