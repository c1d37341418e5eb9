//! What people do: operators, and owners of services. Each is drawn, and may be refused or lost: they act on
//! what one replica shows them.

use crate::{
    company::{OPERATORS, OWNERS, SERVICES, SITES, budget, instance},
    machines,
    plane::Plane,
    procedures,
};
use jiff::SignedDuration;
use quarterdeck_model::{
    Kind as _, KindRef, Object,
    kinds::{Campaign, Freeze, Instance, Permit, Rack, Run, Server, Service, Site},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// What runs are made of, the more usual more often.
const RUNBOOKS: [&str; 9] = [
    "power-off-server",
    "power-on-server",
    "power-cycle-server",
    "power-cycle-server",
    "maintain-server",
    "maintain-server",
    "network-boot-server",
    "inspect-server",
    "work-on-rack",
];
/// Most runs that have not ended: what operators begin must be done some day.
const OPEN_MAX: usize = 14;

/// One thing that somebody does.
pub(crate) async fn one(plane: &mut Plane) {
    match plane.dice.below(100) {
        0..20 => create_run(plane).await,
        20..26 => machines::one(plane).await,
        26..30 => procedures::one(plane).await,
        30..38 => ask(plane, "cancel", |run| run["cancel"] = json!(true)).await,
        38..43 => ask(plane, "suspend", |run| run["suspend"] = json!(true)).await,
        43..50 => ask(plane, "resume", |run| run["suspend"] = json!(false)).await,
        50..54 => retry(plane).await,
        54..58 => delete(plane, Run::info(), "operator deletes run").await,
        58..60 => ask(plane, "force", |run| run["force"] = json!(true)).await,
        60..63 => campaign(plane).await,
        63..68 => change_campaign(plane).await,
        68..70 => freeze(plane).await,
        70 => toggle_freeze(plane).await,
        71 => delete(plane, Freeze::info(), "operator lifts").await,
        72..75 => limit(plane).await,
        75 => move_server(plane).await,
        76 => remove_or_declare(plane).await,
        77 => delete(plane, Permit::info(), "operator deletes permit").await,
        78..90 => report(plane).await,
        90..93 => change_budget(plane).await,
        93..95 => {
            let service = plane.dice.pick(&SERVICES).unwrap();
            plane.trace.say(format!("owner starts an instance of {service}"));
            instance(plane, service).await;
        }
        95..97 => delete(plane, Instance::info(), "owner stops").await,
        _ => fail_instance(plane).await,
    }
}

/// One of the objects of a kind that a replica shows.
async fn pick(plane: &mut Plane, kind: KindRef) -> Option<Arc<Object>> {
    let all = plane.see(kind);
    plane.dice.pick(&all)
}

/// A run that people have created.
fn own(run: &Arc<Object>) -> bool {
    run.namespace() == OPERATORS
}

pub(crate) fn open(run: &Arc<Object>) -> bool {
    !matches!(run.field("status.phase"), Some("Succeeded" | "Failed" | "Cancelled"))
}

async fn create_run(plane: &mut Plane) {
    if plane.see(Run::info()).iter().filter(|run| own(run) && open(run)).count() >= OPEN_MAX {
        return;
    }
    let runbook = plane.dice.pick(&RUNBOOKS).unwrap();
    let server = plane.dice.pick(&plane.machines.clone()).unwrap().0;
    let name = plane.name(runbook.trim_end_matches("-server"));
    let target = match runbook {
        "work-on-rack" => {
            json!({"kind": "Rack", "name": format!("r-{}", plane.dice.below(plane.racks))})
        }
        _ => json!({"kind": "Server", "name": server}),
    };
    let mut spec = json!({"runbook": runbook, "target": target});
    match plane.dice.below(12) {
        0 => spec["force"] = json!(true),
        1 => spec["dryRun"] = json!(true),
        2 | 3 => spec["timeout"] = json!("3m"),
        _ => {}
    }
    plane.trace.say(format!("operator creates run {name}: {spec}"));
    let value = json!({"metadata": {"name": name, "namespace": OPERATORS}, "spec": spec});
    plane.create(Run::info(), &value).await;
}

/// Asks something of a run that goes on.
async fn ask(plane: &mut Plane, what: &str, change: impl FnOnce(&mut Value)) {
    let mut runs = plane.see(Run::info());
    runs.retain(|run| open(run) && own(run));
    let Some(run) = plane.dice.pick(&runs) else { return };
    plane.trace.say(format!("operator asks run {} to {what}", run.name()));
    plane.change(&run, |value| change(&mut value["spec"])).await;
}

/// Has a run that failed go on from the step that failed.
async fn retry(plane: &mut Plane) {
    let mut runs = plane.see(Run::info());
    let failed = |run: &Arc<Object>| {
        matches!(run.field("status.phase"), Some("Failed" | "Cancelled")) && own(run)
    };
    runs.retain(failed);
    let Some(object) = plane.dice.pick(&runs) else { return };
    let run: Run = object.decode().unwrap();
    let step = run.status.steps.iter().map(|step| step.name.clone()).find(|it| !it.contains('/'));
    let Some(from) = step else { return };
    let retry = json!({"from": from, "number": run.status.retries + 1});
    plane.trace.say(format!("operator retries run {} from {from}", object.name()));
    let change = |value: &mut Value| {
        value["spec"]["retry"] = retry;
        value["spec"]["cancel"] = json!(false);
    };
    plane.change(&object, change).await;
}

async fn delete(plane: &mut Plane, kind: KindRef, what: &str) {
    let Some(object) = pick(plane, kind).await else { return };
    plane.trace.say(format!("{what} {}", object.name()));
    plane.delete(&object).await;
}

async fn campaign(plane: &mut Plane) {
    let goes_on = |it: &Arc<Object>| {
        !matches!(it.field("status.phase"), Some("Succeeded" | "Failed" | "Cancelled"))
    };
    if plane.see(Campaign::info()).iter().any(goes_on) {
        return;
    }
    let name = plane.name("campaign");
    let role = plane.dice.pick(&["even", "odd"]).unwrap();
    let runbook = plane.dice.pick(&["power-cycle-server", "maintain-server"]).unwrap();
    let spec = json!({
        "runbook": runbook,
        "targets": {"kind": "Server", "selector": {"matchLabels": {"role": role}}},
        "failureDomain": plane.dice.pick(&["Rack", "Site", "None"]).unwrap(),
        "domainsAtOnce": 1 + plane.dice.below(2),
        "concurrency": 1 + plane.dice.below(3),
        "retries": plane.dice.below(2),
        "paused": plane.dice.one_in(4),
    });
    plane.trace.say(format!("operator creates campaign {name}: {spec}"));
    let value = json!({"metadata": {"name": name, "namespace": OPERATORS}, "spec": spec});
    plane.create(Campaign::info(), &value).await;
}

async fn change_campaign(plane: &mut Plane) {
    let Some(campaign) = pick(plane, Campaign::info()).await else { return };
    let name = campaign.name().to_owned();
    let number = 1 + plane.dice.below(3);
    let (field, value) = match plane.dice.below(6) {
        0 => ("paused", json!(true)),
        1 | 2 => ("paused", json!(false)),
        3 => ("concurrency", json!(number)),
        4 => ("acceptedFailures", json!(number)),
        _ if plane.dice.one_in(3) => {
            plane.trace.say(format!("operator deletes campaign {name}"));
            plane.delete(&campaign).await;
            return;
        }
        _ => ("cancel", json!(true)),
    };
    plane.trace.say(format!("operator sets {field} of campaign {name} to {value}"));
    plane.change(&campaign, |object| object["spec"][field] = value).await;
}

async fn freeze(plane: &mut Plane) {
    let name = plane.name("freeze");
    let minutes = 2 + plane.dice.below(20) as i64;
    let end = plane.clock.now() + SignedDuration::from_mins(minutes);
    let mut spec = json!({"reason": "a launch", "end": end.to_string()});
    match plane.dice.below(3) {
        0 => spec["racks"] = json!([format!("r-{}", plane.dice.below(plane.racks))]),
        1 => spec["sites"] = json!([format!("site-{}", plane.dice.below(SITES))]),
        _ => {}
    }
    if plane.dice.one_in(3) {
        spec["except"] = json!({"runbooks": ["power-on-server"]});
    }
    plane.trace.say(format!("operator declares {name}: {spec}"));
    plane.create(Freeze::info(), &json!({"metadata": {"name": name}, "spec": spec})).await;
}

/// Ends a freeze now, or has it go on, or go on again.
async fn toggle_freeze(plane: &mut Plane) {
    let Some(freeze) = pick(plane, Freeze::info()).await else { return };
    let minutes = plane.dice.below(15) as i64;
    let end = (plane.clock.now() + SignedDuration::from_mins(minutes)).to_string();
    plane.trace.say(format!("operator has {} end at {end}", freeze.name()));
    plane.change(&freeze, |value| value["spec"]["end"] = json!(end)).await;
}

/// How many servers of a place may be disrupted at once.
async fn limit(plane: &mut Plane) {
    let kind = plane.dice.pick(&[Rack::info(), Rack::info(), Site::info()]).unwrap();
    let Some(place) = pick(plane, kind).await else { return };
    let limit = [json!(null), json!(1), json!(2), json!(0)];
    let limit = plane.dice.pick(&limit).unwrap();
    plane.trace.say(format!("operator limits {} to {limit}", place.name()));
    let change = |value: &mut Value| match limit {
        Value::Null => {
            value["spec"].as_object_mut().unwrap().remove("maxDisruptedServers");
        }
        limit => value["spec"]["maxDisruptedServers"] = limit,
    };
    plane.change(&place, change).await;
}

async fn move_server(plane: &mut Plane) {
    let Some(server) = pick(plane, Server::info()).await else { return };
    let rack = format!("r-{}", plane.dice.below(plane.racks));
    plane.trace.say(format!("operator moves {} to {rack}", server.name()));
    plane.change(&server, |value| value["spec"]["location"] = json!({"rack": rack})).await;
}

/// Takes a server out of the inventory, or declares one again that was taken out.
async fn remove_or_declare(plane: &mut Plane) {
    let known = plane.see(Server::info());
    let missing = |value: &&Value| {
        let name = value["metadata"]["name"].as_str();
        !known.iter().any(|server| Some(server.name()) == name)
    };
    if let Some(value) = plane.manifests.iter().find(missing).cloned() {
        plane.trace.say(format!("operator declares server {} again", value["metadata"]["name"]));
        plane.create(Server::info(), &value).await;
        return;
    }
    let Some(server) = plane.dice.pick(&known) else { return };
    plane.trace.say(format!("operator removes server {}", server.name()));
    plane.delete(&server).await;
}

/// What agents do: say of the instances on a machine whether they run, by whether it does.
async fn report(plane: &mut Plane) {
    let (server, address) = plane.dice.pick(&plane.machines.clone()).unwrap();
    let phase = match plane.simulation.is_on(&address) {
        Some(true) => "Ready",
        Some(false) | None => "NotReady",
    };
    for instance in plane.see(Instance::info()) {
        let here = instance.field("spec.host.name") == Some(&server);
        if here && instance.field("status.phase") != Some(phase) {
            plane.trace.say(format!("agent of {server} says {} is {phase}", instance.name()));
            set_phase(plane, &instance, phase).await;
        }
    }
}

pub(crate) async fn set_phase(plane: &mut Plane, instance: &Object, phase: &str) -> bool {
    let since = crate::plane::second(&plane.clock);
    let status = json!({"phase": phase, "phaseSince": since});
    plane.change(instance, |value| value["status"] = status).await
}

/// An instance breaks by itself.
async fn fail_instance(plane: &mut Plane) {
    let Some(instance) = pick(plane, Instance::info()).await else { return };
    plane.trace.say(format!("instance {} fails", instance.name()));
    set_phase(plane, &instance, "Failed").await;
}

async fn change_budget(plane: &mut Plane) {
    let Some(service) = pick(plane, Service::info()).await else { return };
    let budget = budget(plane);
    plane.trace.say(format!("owner gives {OWNERS}/{} the budget {budget}", service.name()));
    plane.change(&service, |value| value["spec"]["disruptionBudget"] = budget).await;
}
