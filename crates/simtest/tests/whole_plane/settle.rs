//! When faults end: everything comes to rest in bounded time, what lives is what a fresh start makes of the
//! log, and a start changes nothing.

use crate::{
    company::OPERATORS,
    faults,
    operations::{open, set_phase},
    plane::{Plane, REPLICAS},
};
use jiff::SignedDuration;
use quarterdeck_model::{
    ConditionStatus, Kind as _, condition, kinds,
    kinds::{
        Campaign, CampaignPhase, Freeze, Instance, Machine, MachinePhase, Rack, Remedy, Run,
        Schedule, Server, Service, Site,
    },
};
use quarterdeck_simtest::Process;
use quarterdeck_store::Store;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How often it is looked whether all is at rest.
const LOOK: Duration = Duration::from_secs(5);
/// How often people look after servers that are not well.
const MEND: Duration = Duration::from_secs(10 * 60);
/// Longest until it is: two runs of the longest runbook on one target, one after the other, with what is undone.
const REST_WITHIN: Duration = Duration::from_secs(5 * 3600);
/// How long after faults end a replica acts for certain, and has caught up.
const TAKEN_OVER: Duration = Duration::from_secs(60);
/// How long people go on to hold up what others do.
const HELD: Duration = Duration::from_secs(45 * 60);
/// How late a run may see that its time is up.
const LATE: SignedDuration = SignedDuration::from_secs(60);
/// How long the permit of a run that has ended may stay.
const PERMIT_STAYS: Duration = Duration::from_secs(30);
/// How long nothing may change after a start.
const QUIET: Duration = Duration::from_secs(30);

/// Has all of it come to rest; what does not is told in the trace.
pub(crate) async fn settle(plane: &mut Plane) {
    // People who hold others up do so for longer than most runs may wait, in some seeds.
    let mut held = if plane.dice.one_in(3) { HELD } else { Duration::ZERO };
    faults::heal(plane).await;
    plane.pass(TAKEN_OVER).await;
    let (mut waited, mut orphaned) = (Duration::ZERO, Duration::ZERO);
    loop {
        plane.pass(LOOK).await;
        waited += LOOK;
        let (late, orphans) = {
            let witness = plane.witness.lock().unwrap();
            (witness.overdue(LATE), witness.orphans())
        };
        if let Some(why) = late {
            return plane.trace.broken(why);
        }
        orphaned = if orphans.is_empty() { Duration::ZERO } else { orphaned + LOOK };
        if orphaned > PERMIT_STAYS {
            return plane.trace.broken(format!("permits of ended runs stay: {orphans:?}"));
        }
        if plane.trace.verdict().is_some() {
            return;
        }
        if waited >= held {
            lift(plane).await;
            held = Duration::MAX;
        }
        if waited.as_secs().is_multiple_of(MEND.as_secs()) {
            mend(plane).await;
        }
        match restless(plane) {
            _ if held < Duration::MAX => {}
            None => break,
            Some(why) if waited > REST_WITHIN => {
                return plane.trace.broken(format!("after {REST_WITHIN:?} without faults, {why}"));
            }
            Some(_) => {}
        }
    }
    plane.trace.say("all is at rest");
    replay(plane).await;
    start_anew(plane).await;
}

/// People let go of what they have held up.
async fn lift(plane: &mut Plane) {
    for instance in plane.see(Instance::info()) {
        if instance.field("status.phase") != Some("Ready") {
            set_phase(plane, &instance, "Ready").await;
        }
    }
    for freeze in plane.see(Freeze::info()) {
        plane.delete(&freeze).await;
    }
    for kind in [Rack::info(), Site::info()] {
        for place in plane.see(kind) {
            let unlimited = |value: &mut Value| {
                value["spec"].as_object_mut().unwrap().remove("maxDisruptedServers");
            };
            plane.change(&place, unlimited).await;
        }
    }
    for service in plane.see(Service::info()) {
        let budget = json!({"maxUnavailable": "100%"});
        plane.change(&service, |value| value["spec"]["disruptionBudget"] = budget).await;
    }
    for kind in [Schedule::info(), Remedy::info()] {
        for starter in plane.see(kind) {
            plane.change(&starter, |value| value["spec"]["suspend"] = json!(true)).await;
        }
    }
    for run in plane.see(Run::info()) {
        if run.field("status.phase") == Some("Suspended") {
            plane.change(&run, |value| value["spec"]["suspend"] = json!(false)).await;
        }
    }
}

/// People look after servers that a run has left behind: what may hold data is cleaned, which ends in use again.
async fn mend(plane: &mut Plane) {
    let mut runs = plane.see(Run::info());
    runs.retain(open);
    for object in plane.see(Server::info()) {
        let runbook = match object.field("status.phase") {
            Some("Quarantined" | "Repairing") => "clean-server",
            Some("Provisioning" | "Cleaning") => "quarantine-server",
            _ => continue,
        };
        if runs.iter().any(|run| run.field("spec.target.name") == Some(object.name())) {
            continue;
        }
        let (name, target) = (plane.name("mend"), json!({"kind": "Server", "name": object.name()}));
        let mut spec = json!({"runbook": runbook, "target": target});
        if runbook == "quarantine-server" {
            spec["params"] = json!({"message": "Nothing acts on it any more."});
        }
        plane.trace.say(format!("operator creates run {name}: {spec}"));
        let value = json!({"metadata": {"name": name, "namespace": OPERATORS}, "spec": spec});
        plane.create(Run::info(), &value).await;
    }
}

/// What is not at rest, if anything.
fn restless(plane: &mut Plane) -> Option<String> {
    for object in plane.see(Run::info()) {
        if open(&object) {
            let run: Run = object.decode().unwrap();
            let message = run.status.message.unwrap_or_default();
            let (name, phase) = (object.name(), run.status.phase);
            return Some(format!("run {name} is {phase:?}: {message}"));
        }
        if object.deleting() {
            return Some(format!("run {} has ended, and is not gone", object.name()));
        }
    }
    let permits = plane.see(kinds::Permit::info());
    if let Some(permit) = permits.first() {
        return Some(format!("permit {} is kept", permit.name()));
    }
    for object in plane.see(Server::info()) {
        let server: Server = object.decode().unwrap();
        let ready = condition::find(&server.status.conditions, "Ready");
        // Its machine is well now, so there is nothing to say.
        if ready.is_none_or(|ready| ready.status != ConditionStatus::True) {
            let why = ready.map_or_else(String::new, |ready| ready.message.clone());
            return Some(format!("server {} is not ready: {why}", object.name()));
        }
        if let Some(run) = server.status.current_run {
            return Some(format!("server {} says that {run} acts on it", object.name()));
        }
    }
    for object in plane.see(Machine::info()) {
        let machine: Machine = object.decode().unwrap();
        use MachinePhase::{Failed, Pending, Running};
        let phase = machine.status.phase;
        if !matches!(phase, Failed | Pending | Running) || object.deleting() {
            return Some(format!("machine {} is {phase:?}", object.name()));
        }
    }
    for object in plane.see(Campaign::info()) {
        let campaign: Campaign = object.decode().unwrap();
        use CampaignPhase::{Paused, Planned};
        let phase = campaign.status.phase;
        if !(phase.ended() || matches!(phase, Paused | Planned)) || object.deleting() {
            let message = campaign.status.message.unwrap_or_default();
            return Some(format!("campaign {} is {phase:?}: {message}", object.name()));
        }
    }
    services(plane)
}

/// Which service does not say what a model counts.
fn services(plane: &mut Plane) -> Option<String> {
    for object in plane.see(Service::info()) {
        let service: Service = object.decode().unwrap();
        let name = format!("{}/{}", object.namespace(), object.name());
        let (all, down, most) = plane.witness.lock().unwrap().facts.count(&name, &BTreeSet::new());
        let wanted = (Some(all), Some(down), Some(most.saturating_sub(down)));
        let status = &service.status;
        let said = (status.instances, status.down, status.disruptions_allowed);
        // One that never had an instance says nothing.
        if said != wanted && !(all == 0 && said.0.is_none()) {
            return Some(format!("service {name} says {said:?}, and it is {wanted:?}"));
        }
    }
    None
}

/// Whether what each replica has in memory is what a fresh start reads from the disk.
pub(crate) async fn replay(plane: &mut Plane) {
    let fresh = match Store::open(Process::one_of_many(&plane.disk)).await {
        Ok(fresh) => fresh,
        Err(why) => return plane.trace.say(format!("the disk cannot be read: {why}")),
    };
    let stores: Vec<(usize, Arc<Store>)> = plane
        .replicas
        .iter()
        .enumerate()
        .filter_map(|(number, it)| it.as_ref().map(|it| (number, it)))
        .filter(|(_, replica)| !replica.cut_off && replica.process.is_alive())
        .map(|(number, replica)| (number, replica.store.clone()))
        .collect();
    for (number, store) in stores {
        let Ok(living) = store.fresh().await else { continue };
        let Ok(world) = fresh.fresh().await else { continue };
        if living.revision() != world.revision() {
            // Something was committed meanwhile; there is a next time.
            continue;
        }
        for kind in kinds::all() {
            let bodies = |world: &quarterdeck_store::World| -> Vec<_> {
                let all = world.all(kind);
                all.map(|it| (it.key.clone(), it.revision, it.body().to_vec())).collect()
            };
            let (live, read) = (bodies(&living), bodies(&world));
            if live != read {
                plane.trace.broken(format!(
                    "replica {number} shows {} {} at {}, and the disk holds {} or others",
                    live.len(),
                    kind.plural,
                    living.revision(),
                    read.len()
                ));
            }
        }
        if plane.disk.head() == world.revision() {
            let all = kinds::all().iter().flat_map(|kind| world.all(kind));
            let held: BTreeMap<_, _> = all.map(|it| (it.key.clone(), it.revision)).collect();
            if held != plane.witness.lock().unwrap().bodies {
                plane.trace.broken("what is stored is not what the log leaves");
            }
        }
    }
}

/// All replicas start anew, and nothing changes by that.
async fn start_anew(plane: &mut Plane) {
    for number in 0..REPLICAS {
        plane.kill(number).await;
    }
    for number in 0..REPLICAS {
        plane.start(number).await;
    }
    plane.pass(QUIET).await;
    if let Some(why) = restless(plane) {
        plane.trace.broken(format!("after a start, {why}"));
    }
    replay(plane).await;
}
