//! Rules of admission that need more than the object itself: runbooks are type-checked against the
//! actions and runbooks there are, runs against their runbook; racks name what their site declares, and no
//! two servers fill one unit. What they read of the world they find by an index, never by going through a
//! kind. Two writes at once can pass them together: what they refuse, a controller must still tell of.

use crate::{
    actions::{Actions, Known},
    controllers::{campaign::preview, machine::choose},
    declared::{Undeclared, undeclared},
    depends::acyclic,
    secrets::of_bmc,
    starting,
    units::{highest, taken},
};
use quarterdeck_model::{
    FieldError, FieldErrors, Kind as _, KindRef, Object, Time, kinds,
    kinds::{
        AgentTask, Campaign, CampaignSpec, Machine, MachineClass, Permit, Rack, Remedy, Run,
        RunSpec, RunTarget, Runbook, RunbookSpec, Schedule, SecretReference, Server, Service, Site,
        WorkloadRevision,
    },
};
use quarterdeck_store::World;
use serde::Deserialize as _;
use serde_json::Value;
use std::sync::Arc;

/// A rule: the world, the object as it would be written, and as it was.
pub type Rule = Box<dyn Fn(&World, &Value, Option<&Value>) -> FieldErrors + Send + Sync>;

/// Why an object may not be deleted, if it may not.
pub type DeletionRule = fn(&Object) -> Option<String>;

/// The rules of deletions, each with the kind it is about.
pub fn deletion_rules() -> Vec<(KindRef, DeletionRule)> {
    vec![(Server::info(), carries_a_machine)]
}

/// Why a server is not to be deleted: with it would go what is known of the machine that is on it, and of its disks.
pub(crate) fn carries_a_machine(server: &Object) -> Option<String> {
    if server.kind != Server::info() {
        return None;
    }
    let field = |path| server.field(path).filter(|value| !value.is_empty());
    let machine = field("status.machineRef.namespace").zip(field("status.machineRef.name"));
    machine.map(|(namespace, name)| {
        format!(
            "it has Machine {namespace}/{name}; delete that first, which wipes the server, or run detach-server on the \
             server to take it from its machine"
        )
    })
}

/// What would become of an object, as its status, and what its writer is told of that.
pub type PreviewRule = fn(&World, &Value, Time) -> Option<(Value, Vec<String>)>;

/// What answers to dry runs show besides, each with the kind it is about.
pub fn previews() -> Vec<(KindRef, PreviewRule)> {
    vec![(Campaign::info(), preview)]
}

/// All rules, each with the kind it is about.
pub fn rules(actions: &Arc<Actions>) -> Vec<(KindRef, Rule)> {
    let actions = actions.clone();
    let runbook = move |world: &World, new: &Value, old: Option<&Value>| {
        if unchanged(new, old) {
            return FieldErrors::new();
        }
        let Ok(runbook) = Runbook::deserialize(new) else { return FieldErrors::new() };
        let known = Known { actions: &actions, world };
        quarterdeck_runbook::check(&runbook.metadata.name, &runbook.spec, &known)
    };
    let run = |world: &World, new: &Value, old: Option<&Value>| {
        // What a run is cannot change, so it is checked once.
        if old.is_some() {
            return FieldErrors::new();
        }
        let Ok(run) = Run::deserialize(new) else { return FieldErrors::new() };
        let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
        check_new_run(world, namespace, &run.spec)
    };
    vec![
        (AgentTask::info(), Box::new(agent_task)),
        (Campaign::info(), Box::new(campaign)),
        (Machine::info(), Box::new(machine)),
        (Permit::info(), Box::new(permit)),
        (Runbook::info(), Box::new(runbook)),
        (Run::info(), Box::new(run)),
        (Rack::info(), Box::new(rack)),
        (Remedy::info(), Box::new(starting::remedy)),
        (Schedule::info(), Box::new(starting::schedule)),
        (Server::info(), Box::new(placed)),
        (Service::info(), Box::new(acyclic)),
        (WorkloadRevision::info(), Box::new(revision)),
    ]
}

/// A campaign is checked as each of its runs would be. What it runs cannot change, so that is done once.
fn campaign(world: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    if old.is_some() {
        return FieldErrors::new();
    }
    let Ok(campaign) = Campaign::deserialize(new) else { return FieldErrors::new() };
    check_campaign(world, campaign.spec)
}

/// Checks a campaign as a run of it.
pub(crate) fn check_campaign(world: &World, spec: CampaignSpec) -> FieldErrors {
    let Some(runbook) = world.get(Runbook::info(), "", &spec.runbook) else {
        return unknown_runbook(world, &spec.runbook);
    };
    let Ok(runbook) = runbook.decode::<Runbook>() else { return FieldErrors::new() };
    let target = RunTarget::new(spec.targets.kind, "");
    let run = RunSpec {
        runbook: spec.runbook,
        target: Some(target),
        params: spec.params,
        ..RunSpec::default()
    };
    let mut errors = check_run(&runbook.spec, &run);
    for error in &mut errors {
        if let Some(rest) = error.field.strip_prefix("spec.target") {
            error.field = format!("spec.targets{rest}");
        }
    }
    errors
}

pub(crate) fn unknown_runbook(world: &World, name: &str) -> FieldErrors {
    if name.is_empty() {
        return FieldErrors::new();
    }
    let known: Vec<&str> = world.all(Runbook::info()).map(|found| found.name()).take(20).collect();
    let why = format!("there is no such Runbook; there are: {}", known.join(", "));
    vec![FieldError::invalid("spec.runbook", format!("{name:?}"), why)]
}

/// A machine becomes one of another class where it is, if its server is of that one, too: then nothing is to be done.
fn machine(world: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    if old.is_none() || same(new, old, &["class"]) {
        return FieldErrors::new();
    }
    let Ok(machine) = Machine::deserialize(new) else { return FieldErrors::new() };
    let refused = |why: String| {
        let why = format!(
            "{why}; a machine is resized where it is, or not at all: create another one of that class, and delete this one"
        );
        vec![FieldError::forbidden("spec.class", why)]
    };
    let held = format!("status.machineRef.uid={}", machine.metadata.uid);
    let Some(server) = world.with_fields(Server::info(), &held).into_iter().next() else {
        return refused("it has no server yet".into());
    };
    let name = &machine.spec.class;
    let class = world.get(MachineClass::info(), "", name);
    let Some(Ok(class)) = class.map(|class| class.decode::<MachineClass>()) else {
        let why = "there is no such MachineClass; create it first, or correct the name";
        return vec![FieldError::invalid("spec.class", format!("{name:?}"), why)];
    };
    match choose::is_of(world, &machine, &class, &server) {
        Ok(()) => FieldErrors::new(),
        Err(why) => refused(format!("Server {}, which it is on, {why}", server.name())),
    }
}

/// Only the ledger gives permits.
fn permit(_: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    if unchanged(new, old) {
        return FieldErrors::new();
    }
    let why =
        "permits are given by the ledger alone; create a Run, which asks for one when it needs it";
    vec![FieldError::forbidden("spec", why)]
}

/// Only the plane writes down what a workload was: whoever could would have instances run what nobody was asked about.
fn revision(_: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    if unchanged(new, old) {
        return FieldErrors::new();
    }
    let why = "revisions are written by the plane alone; change spec.template of the Workload";
    vec![FieldError::forbidden("spec", why)]
}

/// Only steps of runs have agents do something: what is disruptive asks the ledger there.
fn agent_task(_: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    if unchanged(new, old) {
        return FieldErrors::new();
    }
    let why = "tasks of agents are written by the plane alone; create a Run with a step such as agent.exec";
    vec![FieldError::forbidden("spec", why)]
}

/// A rack names halls and power feeds that its site declares. A site that is not there yet is told of by a
/// condition, since a folder of objects is created in any order.
fn rack(world: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    let place = ["site", "hall", "powerFeeds"];
    if same(new, old, &place) {
        return FieldErrors::new();
    }
    let Ok(rack) = Rack::deserialize(new) else { return FieldErrors::new() };
    let site = world.get(Site::info(), "", &rack.spec.site);
    let Some(Ok(site)) = site.map(|site| site.decode::<Site>()) else { return FieldErrors::new() };
    undeclared(&rack.spec, &site.spec).iter().map(Undeclared::error).collect()
}

/// The rules about what runs act on: they hold for what a run declares, too.
pub(crate) fn of_targets(
    world: &World,
    kind: KindRef,
    new: &Value,
    old: Option<&Value>,
) -> FieldErrors {
    if kind != Server::info() {
        return FieldErrors::new();
    }
    let mut errors = server(world, new, old);
    let rack = new.pointer("/spec/location/rack").and_then(Value::as_str);
    if let Some(rack) = rack.filter(|_| !same(new, old, &["location"]))
        && world.get(Rack::info(), "", rack).is_none()
    {
        let why = "there is no such Rack; create it first, or correct the name";
        errors.push(FieldError::invalid("spec.location.rack", format!("{rack:?}"), why));
    }
    if let Some(why) = other_credentials(world, new, old) {
        errors.push(FieldError::forbidden("spec.location.rack", why));
    }
    errors
}

/// Why a server cannot be declared to stand there: its BMC would be sent what another Site lends, and whoever had the
/// run begun need not be allowed to read that.
fn other_credentials(world: &World, new: &Value, old: Option<&Value>) -> Option<String> {
    let lent = |server: &Value| {
        let server = Server::deserialize(server).ok()?;
        let own = server.spec.bmc.credentials_secret_ref.is_some();
        of_bmc(world, &server.spec).filter(|_| !own)
    };
    let (after, before) = (lent(new)?, old.and_then(lent));
    if before.as_ref() == Some(&after) {
        return None;
    }
    let SecretReference { namespace, name } = after;
    Some(format!(
        "there its BMC would be sent Secret {namespace}/{name}, which the Site lends; name the Secret that it has now in \
         its spec.bmc.credentialsSecretRef first"
    ))
}

/// A server that carries something is moved by a run, which asks the ledger; else where it stands is free.
fn placed(world: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    let mut errors = server(world, new, old);
    let text = |object: &Value, path: &str| {
        object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let Some(old) = old else { return errors };
    let rack = "/spec/location/rack";
    let before = text(old, rack);
    // What said nothing of its place before may be told of it at any time.
    if before.is_empty() || before == text(new, rack) {
        return errors;
    }
    let (machine, phase) = (text(old, "/status/machineRef/name"), text(old, "/status/phase"));
    let free = ["", "Registered", "Inspecting", "Ready", "Quarantined", "Repairing", "Retired"];
    let what = match machine.as_str() {
        "" if free.contains(&phase.as_str()) => return errors,
        "" => format!("the server is {phase}"),
        machine => {
            format!("it has Machine {}/{machine}", text(old, "/status/machineRef/namespace"))
        }
    };
    let why = format!(
        "{what}; run move-server, which powers it off with leave of the ledger (with recordOnly: true when it stands there \
         already), or detach-server first"
    );
    errors.push(FieldError::forbidden("spec.location.rack", why));
    errors
}

/// A server fills units of its rack that there are, and that no other fills.
fn server(world: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    if same(new, old, &["location"]) {
        return FieldErrors::new();
    }
    let Ok(server) = Server::deserialize(new) else { return FieldErrors::new() };
    let Some(location) = &server.spec.location else { return FieldErrors::new() };
    let rack = &location.rack;
    let others = world.with_fields(Server::info(), &format!("spec.location.rack={rack}"));
    let there = world.get(Rack::info(), "", rack).and_then(|rack| rack.decode::<Rack>().ok());
    if let Some(units) = there.map(|rack| rack.spec.units)
        && let Some(highest) = highest(location).filter(|highest| *highest > units)
    {
        let why = format!(
            "Rack {rack} has {units} units, and the server would fill unit {highest}; choose a lower one, or correct \
             spec.units of the Rack"
        );
        let unit = location.unit.unwrap_or_default();
        return vec![FieldError::invalid("spec.location.unit", unit, why)];
    }
    let Some((unit, other)) = taken(&server, &others) else { return FieldErrors::new() };
    let other = other.name();
    let why = format!(
        "Server {other} fills unit {unit} of Rack {rack}; choose free units, or move Server {other} first"
    );
    vec![FieldError::invalid("spec.location.unit", location.unit.unwrap_or_default(), why)]
}

/// Whether these fields of the spec are as they were. What came to be wrong later is not refused with each
/// change of something else.
pub(crate) fn same(new: &Value, old: Option<&Value>, fields: &[&str]) -> bool {
    fn field<'o>(object: &'o Value, name: &str) -> Option<&'o Value> {
        object.get("spec")?.get(name)
    }
    old.is_some_and(|old| fields.iter().all(|name| field(new, name) == field(old, name)))
}

fn unchanged(new: &Value, old: Option<&Value>) -> bool {
    old.is_some_and(|old| old.get("spec") == new.get("spec"))
}

pub(crate) fn check_new_run(world: &World, namespace: &str, spec: &RunSpec) -> FieldErrors {
    let Some(runbook) = world.get(Runbook::info(), "", &spec.runbook) else {
        return unknown_runbook(world, &spec.runbook);
    };
    let Ok(runbook) = runbook.decode::<Runbook>() else { return FieldErrors::new() };
    let mut errors = check_run(&runbook.spec, spec);
    if errors.is_empty()
        && let Some(target) = &spec.target
        && !target_exists(world, namespace, &target.kind, &target.name)
    {
        let why = format!("there is no {} of this name; create it first", target.kind);
        errors.push(FieldError::invalid("spec.target.name", format!("{:?}", target.name), why));
    }
    if errors.is_empty()
        && let Some(target) = spec.target.as_ref().filter(|target| !target.part.is_whole())
        && !part_exists(world, target)
    {
        let why = format!("no rack of Site {} stands in it, or hangs on it", target.name);
        errors.push(FieldError::invalid("spec.target", format!("\"{}\"", target.part), why));
    }
    errors
}

/// Whether a rack says that it is in a part of a site: parts come to be with those.
fn part_exists(world: &World, target: &RunTarget) -> bool {
    let racks = world.with_fields(Rack::info(), &format!("spec.site={}", target.name));
    let specs = racks.iter().filter_map(|rack| rack.decode::<Rack>().ok());
    specs.map(|rack| rack.spec).any(|rack| rack.is_in(&target.name, &target.part))
}

fn target_exists(world: &World, namespace: &str, kind: &str, name: &str) -> bool {
    kinds::all().iter().find(|known| known.kind == kind).is_some_and(|kind| {
        let namespace = if kind.namespaced() { namespace } else { "" };
        world.get(kind, namespace, name).is_some()
    })
}

/// Checks a run against its runbook: target and parameters.
pub(crate) fn check_run(runbook: &RunbookSpec, run: &RunSpec) -> FieldErrors {
    let mut errors = quarterdeck_runbook::check_params(runbook, &run.params);
    match (&runbook.target, &run.target) {
        (Some(wanted), None) => {
            let why = format!("runbook {} is run against a {}", run.runbook, wanted.kind);
            errors.push(FieldError::required("spec.target", why));
        }
        (None, Some(_)) => {
            let why = format!("runbook {} takes no target", run.runbook);
            errors.push(FieldError::forbidden("spec.target", why));
        }
        (Some(wanted), Some(given)) if wanted.kind != given.kind => {
            errors.push(FieldError::not_supported(
                "spec.target.kind",
                format!("{:?}", given.kind),
                &[&wanted.kind],
            ));
        }
        _ => {}
    }
    errors
}
