//! Workloads: placed, scaled, rolled out, returned, moved and mended, with hosts that a test plays.

use crate::{
    hosts::{Agents, CORES, machine},
    scenario::Plane,
};
use quarterdeck_model::{
    Kind as _, condition,
    kinds::{
        Freeze, Instance, Machine, Permit, ResourceQuota, Service, Workload, WorkloadPhase,
        WorkloadRevision, WorkloadStatus,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Machines m-0 … in racks r-0 …, so many in each, and a service of which so many may be down.
async fn shop(racks: usize, each: usize, budget: u32) -> (Plane, Arc<Agents>) {
    shop_of(Plane::new().await, racks, each, budget).await
}

/// The same of a plane that is there.
pub(crate) async fn shop_of(
    plane: Plane,
    racks: usize,
    each: usize,
    budget: u32,
) -> (Plane, Arc<Agents>) {
    furnish(&plane, racks, each, budget).await;
    let agents = Agents::of(&plane);
    (plane, agents)
}

async fn furnish(plane: &Plane, racks: usize, each: usize, budget: u32) {
    let spec = json!({"owner": "shop", "disruptionBudget": {"maxUnavailable": budget}});
    plane.create(Service::info(), "shop", "web", json!({"spec": spec})).await;
    for number in 0..racks * each {
        machine(plane, &format!("m-{number}"), &format!("r-{}", number / each)).await;
    }
}

pub(crate) fn pod(image: &str, cpu: &str) -> Value {
    let resources = json!({"requests": {"cpu": cpu, "memory": "256Mi"}});
    json!({"containers": [{"name": "web", "image": image, "resources": resources}]})
}

pub(crate) async fn workload(plane: &Plane, name: &str, spec: Value) {
    let mut all = json!({"service": "web", "template": {"spec": pod("web:1", "1")}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    plane.create(Workload::info(), "shop", name, json!({"spec": all})).await;
}

pub(crate) async fn change(plane: &Plane, name: &str, at: &str, value: Value) {
    let (parent, last) = at.rsplit_once('/').unwrap();
    plane
        .patch(Workload::info(), "shop", name, |object| {
            object.pointer_mut(parent).unwrap()[last] = value.clone();
        })
        .await;
}

fn see(plane: &Plane, name: &str) -> WorkloadStatus {
    let object = plane.store.world().get(Workload::info(), "shop", name).unwrap();
    object.decode::<Workload>().unwrap().status
}

pub(crate) fn says(plane: &Plane, name: &str, kind: &str) -> String {
    let status = see(plane, name);
    let found = condition::find(&status.conditions, kind);
    found.map_or_else(String::new, |found| format!("{}: {}", found.reason, found.message))
}

pub(crate) async fn until(
    plane: &Plane,
    name: &str,
    what: &str,
    wanted: impl Fn(&WorkloadStatus) -> bool,
) -> WorkloadStatus {
    let what = format!("workload {name} to be {what}");
    let deadline = plane.now() + Duration::from_secs(3 * 3_600);
    plane
        .when(Workload::info(), &what, || {
            let status = see(plane, name);
            assert!(plane.now() < deadline, "{what}: {status:#?}\n{:#?}", instances(plane, name));
            wanted(&status).then_some(status)
        })
        .await
}

pub(crate) async fn stable(plane: &Plane, name: &str, revision: i64) -> WorkloadStatus {
    let is = |it: &WorkloadStatus| {
        it.phase == WorkloadPhase::Stable
            && it.stable_revision == Some(revision)
            && it.revision == revision
    };
    until(plane, name, &format!("stable at revision {revision}"), is).await
}

/// Instances of a workload: revision, machine and phase of each.
fn instances(plane: &Plane, name: &str) -> BTreeMap<String, (i64, String, String)> {
    let world = plane.store.world();
    let own = world.all(Instance::info()).filter(|it| it.field("spec.workload") == Some(name));
    own.map(|object| {
        let it: Instance = object.decode().unwrap();
        let phase =
            if object.deleting() { "Deleting".into() } else { format!("{:?}", it.status.phase) };
        let revision = it.spec.revision.unwrap();
        (object.name().to_owned(), (revision, it.spec.host.name, phase))
    })
    .collect()
}

async fn rest(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn instances_are_placed_spread_and_scaled() {
    let (plane, _agents) = shop(3, 2, 1).await;
    let spread =
        json!({"spread": [{"topology": "Rack"}], "antiAffinity": [{"topology": "Server"}]});
    workload(&plane, "web", json!({"replicas": 3, "placement": spread})).await;
    let status = stable(&plane, "web", 1).await;
    assert_eq!((status.replicas, status.available_replicas, status.unplaced_replicas), (3, 3, 0));
    let racks = |plane: &Plane| {
        let mut racks: Vec<usize> = instances(plane, "web")
            .values()
            .map(|(_, machine, _)| machine[2..].parse::<usize>().unwrap() / 2)
            .collect();
        racks.sort_unstable();
        racks
    };
    assert_eq!(racks(&plane), [0, 1, 2]);
    change(&plane, "web", "/spec/replicas", json!(6)).await;
    until(&plane, "web", "six", |it| it.available_replicas == 6).await;
    assert_eq!(racks(&plane), [0, 0, 1, 1, 2, 2]);
    // No machine is left that has none.
    change(&plane, "web", "/spec/replicas", json!(8)).await;
    until(&plane, "web", "partly unplaced", |it| it.unplaced_replicas == 2).await;
    assert_eq!(
        says(&plane, "web", "Placed"),
        "Unplaceable: 2 instances have no machine: of 6 machines: 6 kept apart from web by server"
    );
    machine(&plane, "m-6", "r-0").await;
    until(&plane, "web", "one more", |it| it.available_replicas == 7).await;
    change(&plane, "web", "/spec/replicas", json!(2)).await;
    until(&plane, "web", "two", |it| it.replicas == 2 && it.phase == WorkloadPhase::Stable).await;
    // What goes with its workload is stopped as well.
    plane.delete(Workload::info(), "shop", "web").await;
    let gone = || instances(&plane, "web").is_empty().then_some(());
    plane.when(Instance::info(), "all instances to be gone", gone).await;
    // What they were stopped under is given back after them.
    let given_back = || (plane.store.world().count(Permit::info()) == 0).then_some(());
    plane.when(Permit::info(), "all permits to be given back", given_back).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollout_surges_and_never_has_fewer_than_it_may() {
    // Nothing at all may be down: what is more than there are to be may go.
    let (plane, agents) = shop(2, 2, 0).await;
    workload(&plane, "web", json!({"replicas": 4})).await;
    stable(&plane, "web", 1).await;
    agents.least("web");
    change(&plane, "web", "/spec/template/spec", pod("web:2", "1")).await;
    stable(&plane, "web", 2).await;
    assert_eq!(agents.least("web"), 4);
    let mut all = instances(&plane, "web").into_values();
    assert!(all.all(|(revision, _, phase)| revision == 2 || phase == "Deleting"));
    // Undone by the template, it is the same revision again.
    change(&plane, "web", "/spec/template/spec", pod("web:1", "1")).await;
    stable(&plane, "web", 1).await;
    assert_eq!(plane.store.world().count(WorkloadRevision::info()), 2);
    assert_eq!(agents.least("web"), 4);
}

#[tokio::test(start_paused = true)]
async fn a_sick_revision_returns_by_itself_within_its_deadline() {
    let (plane, agents) = shop(2, 2, 1).await;
    let spec = json!({"replicas": 4, "progressDeadlineSeconds": 120});
    workload(&plane, "web", spec).await;
    stable(&plane, "web", 1).await;
    agents.least("web");
    change(&plane, "web", "/spec/template/spec", pod("web:sick", "1")).await;
    let status = until(&plane, "web", "returned", |it| {
        it.phase == WorkloadPhase::RolledBack && it.replicas == 4 && it.available_replicas == 4
    })
    .await;
    assert_eq!((status.revision, status.stable_revision), (2, Some(1)));
    assert_eq!(agents.least("web"), 4);
    assert_eq!(
        says(&plane, "web", "Progressing"),
        "RolledBack: Revision 2 failed, and all return to revision 1: no progress for 2m: 0 of 4 instances are available; the \
         container ends with exit code 1. Change spec.template, or undo it, to roll out again."
    );
    rest(3_600).await;
    assert!(instances(&plane, "web").values().all(|(revision, ..)| *revision == 1), "it stays so");
    change(&plane, "web", "/spec/template/spec", pod("web:3", "1")).await;
    stable(&plane, "web", 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_canary_goes_step_by_step_and_waits_for_a_person() {
    let (plane, agents) = shop(2, 3, 1).await;
    let steps = json!([
        {"instances": 1, "checks": [{"name": "up", "ready": {}, "interval": "10s", "successThreshold": 3}],
         "pause": {"duration": "5m"}},
        {"instances": "50%", "pause": {}},
    ]);
    let strategy = json!({"type": "Canary", "canary": {"steps": steps}});
    workload(&plane, "web", json!({"replicas": 6, "strategy": strategy})).await;
    stable(&plane, "web", 1).await;
    agents.least("web");
    let began = plane.now();
    change(&plane, "web", "/spec/template/spec", pod("web:2", "500m")).await;
    let step = |it: &WorkloadStatus| it.rollout.as_ref().map(|rollout| rollout.step);
    until(&plane, "web", "at its second step", |it| step(it) == Some(1)).await;
    assert!(plane.now().duration_since(began) >= jiff::SignedDuration::from_mins(5));
    until(&plane, "web", "waiting for a person", |it| it.phase == WorkloadPhase::Paused).await;
    rest(7_200).await;
    let status = see(&plane, "web");
    assert_eq!((status.updated_replicas, status.replicas), (3, 6));
    assert!(
        says(&plane, "web", "Progressing")
            .starts_with("WaitsForPerson: Rolls out revision 2: 3 of 6")
    );
    plane
        .patch(Workload::info(), "shop", "web", |object| {
            object["metadata"]["annotations"] = json!({"quarterdeck.dev/resume-rollout": "2/1"});
        })
        .await;
    stable(&plane, "web", 2).await;
    assert_eq!(agents.least("web"), 6);
}

#[tokio::test(start_paused = true)]
async fn a_canary_whose_check_fails_returns_and_has_hurt_one_instance_only() {
    let (plane, _agents) = shop(2, 3, 1).await;
    let checks =
        json!([{"name": "errors", "http": {"url": "http://127.0.0.1:1/"}, "failuresAllowed": 1}]);
    let steps = json!([{"instances": 1, "checks": checks, "pause": {"duration": "1h"}}]);
    let strategy = json!({"type": "Canary", "canary": {"steps": steps}});
    workload(&plane, "web", json!({"replicas": 6, "strategy": strategy})).await;
    stable(&plane, "web", 1).await;
    change(&plane, "web", "/spec/template/spec", pod("web:2", "500m")).await;
    let returned = |it: &WorkloadStatus| {
        assert!(it.updated_replicas <= 1 || it.revision == 1);
        it.phase == WorkloadPhase::RolledBack
            && it.available_replicas == 6
            && it.updated_replicas == 0
    };
    until(&plane, "web", "returned", returned).await;
    let said = says(&plane, "web", "Progressing");
    assert!(said.contains("check errors failed 2 times in sequence: http://127.0.0.1:1"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn blue_and_green_stand_side_by_side_until_all_are_switched_to() {
    let (plane, agents) = shop(2, 3, 1).await;
    let strategy = json!({"type": "BlueGreen", "blueGreen": {"scaleDownDelay": "2m"}});
    workload(&plane, "web", json!({"replicas": 3, "strategy": strategy})).await;
    stable(&plane, "web", 1).await;
    agents.least("web");
    change(&plane, "web", "/spec/template/spec", pod("web:2", "500m")).await;
    let active = |plane: &Plane| {
        let world = plane.store.world();
        let all = world
            .all(Instance::info())
            .filter(|it| it.label("quarterdeck.dev/active") == Some("true"));
        let mut revisions: Vec<String> =
            all.map(|it| it.label("quarterdeck.dev/revision").unwrap().to_owned()).collect();
        revisions.sort_unstable();
        revisions
    };
    let switched =
        |it: &WorkloadStatus| it.rollout.as_ref().is_some_and(|it| it.switched.is_some());
    let status = until(&plane, "web", "switched", switched).await;
    assert_eq!((status.replicas, status.available_replicas), (6, 6));
    rest(60).await;
    assert_eq!((active(&plane), see(&plane, "web").replicas), (vec!["2".to_owned(); 3], 6));
    stable(&plane, "web", 2).await;
    assert_eq!((active(&plane), agents.least("web")), (vec!["2".to_owned(); 3], 3));
}

#[tokio::test(start_paused = true)]
async fn a_freeze_holds_a_rollout_and_says_so() {
    let (plane, _agents) = shop(2, 2, 1).await;
    workload(&plane, "web", json!({"replicas": 2, "progressDeadlineSeconds": 60})).await;
    stable(&plane, "web", 1).await;
    let freeze = json!({"spec": {"reason": "year end", "start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}});
    plane.create(Freeze::info(), "", "year-end", freeze).await;
    rest(5).await;
    change(&plane, "web", "/spec/template/spec", pod("web:2", "1")).await;
    rest(1_200).await;
    let said = says(&plane, "web", "Progressing");
    assert!(said.starts_with("WaitsForLedger: Rolls out revision 2: 1 of 2"), "{said}");
    assert!(said.contains("freeze year-end holds"), "{said}");
    plane.delete(Freeze::info(), "", "year-end").await;
    stable(&plane, "web", 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_drained_is_left_once_others_serve() {
    let (plane, agents) = shop(2, 2, 0).await;
    workload(&plane, "web", json!({"replicas": 6})).await;
    stable(&plane, "web", 1).await;
    let on = |plane: &Plane, machine: &str| {
        instances(plane, "web")
            .values()
            .filter(|(_, at, phase)| at == machine && phase != "Deleting")
            .count()
    };
    let busiest = instances(&plane, "web").values().next().unwrap().1.clone();
    assert!(on(&plane, &busiest) > 1, "{:?}", instances(&plane, "web"));
    agents.least("web");
    plane
        .patch(Machine::info(), "shop", &busiest, |machine| {
            machine["spec"]["unschedulable"] = json!(true);
            machine["spec"]["taints"] = json!([{"key": "drain", "effect": "NoExecute"}]);
        })
        .await;
    until(&plane, "web", "moved", |it| {
        on(&plane, &busiest) == 0 && it.phase == WorkloadPhase::Stable && it.available_replicas == 6
    })
    .await;
    assert_eq!(agents.least("web"), 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_on_a_lost_host_is_placed_elsewhere_and_stopped_when_that_returns() {
    let (plane, agents) = shop(2, 4, 1).await;
    let apart = json!({"antiAffinity": [{"topology": "Server"}]});
    workload(&plane, "web", json!({"replicas": 3, "placement": apart})).await;
    stable(&plane, "web", 1).await;
    let before = instances(&plane, "web");
    let (name, (_, host, _)) = before.iter().next().unwrap();
    let began = plane.now();
    agents.silence(&[host]);
    until(&plane, "web", "less available", |it| it.available_replicas == 2).await;
    until(&plane, "web", "whole again", |it| it.available_replicas == 3).await;
    let took = plane.now().duration_since(began);
    assert!(
        took >= jiff::SignedDuration::from_mins(5) && took < jiff::SignedDuration::from_mins(6),
        "{took}"
    );
    rest(3_600).await;
    assert_eq!(instances(&plane, "web")[name].2, "Deleting", "nobody knows whether it still runs");
    agents.speak();
    let gone = || (!instances(&plane, "web").contains_key(name)).then_some(());
    plane.when(Instance::info(), "the old one to be stopped", gone).await;
    assert_eq!(instances(&plane, "web").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn when_a_whole_rack_is_silent_nothing_is_moved_for_long() {
    let (plane, agents) = shop(2, 4, 1).await;
    let spread = json!({"spread": [{"topology": "Rack"}]});
    workload(&plane, "web", json!({"replicas": 4, "placement": spread})).await;
    stable(&plane, "web", 1).await;
    agents.silence(&["m-0", "m-1", "m-2", "m-3"]);
    rest(1_200).await;
    assert_eq!(instances(&plane, "web").len(), 4);
    let said = says(&plane, "web", "Available");
    assert!(said.contains("4 of 4 machines of rack r-0 are silent at once"), "{said}");
    agents.speak();
    until(&plane, "web", "as before", |it| it.phase == WorkloadPhase::Stable).await;
    assert_eq!(instances(&plane, "web").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn whoever_matters_more_has_others_make_way_with_leave_of_the_ledger() {
    let (plane, _agents) = shop(1, 1, 5).await;
    workload(&plane, "batch", json!({"replicas": 4})).await;
    stable(&plane, "batch", 1).await;
    workload(&plane, "web", json!({"replicas": 2, "priority": 100})).await;
    stable(&plane, "web", 1).await;
    let status = until(&plane, "batch", "smaller", |it| it.unplaced_replicas == 2).await;
    assert_eq!(status.available_replicas, 2);
    // What may not be missed does not make way.
    plane
        .patch(Service::info(), "shop", "web", |service| {
            service["spec"]["disruptionBudget"] = json!({"maxUnavailable": 0});
        })
        .await;
    rest(5).await;
    change(&plane, "web", "/spec/replicas", json!(3)).await;
    rest(600).await;
    assert_eq!(see(&plane, "web").available_replicas, 2);
}

#[tokio::test(start_paused = true)]
async fn two_planes_never_fill_a_machine_twice_and_go_on_after_a_crash() {
    let one = Plane::sharing().await;
    let two = one.another().await;
    one.shared_by(2).await;
    furnish(&one, 2, 3, 2).await;
    let agents = Agents::of(&one);
    for number in 0..4 {
        workload(&one, &format!("w-{number}"), json!({"replicas": 6})).await;
    }
    for number in 0..4 {
        until(&one, &format!("w-{number}"), "full", |it| it.available_replicas == 6).await;
    }
    assert_eq!(*agents.most.lock().unwrap(), CORES);
    workload(&one, "more", json!({"replicas": 1})).await;
    until(&one, "more", "unplaced", |it| it.unplaced_replicas == 1).await;
    assert_eq!(
        says(&one, "more", "Placed"),
        "Unplaceable: 1 instance has no machine: of 6 machines: 6 too little CPU"
    );
    two.freeze();
    one.delete(Workload::info(), "shop", "w-0").await;
    until(&one, "more", "placed", |it| it.available_replicas == 1).await;
    assert_eq!(*agents.most.lock().unwrap(), CORES);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn a_quota_holds_instances_back_and_shows_what_is_used() {
    let (plane, _agents) = shop(1, 2, 1).await;
    let hard = json!({"requests.cpu": "2500m", "count/instances.services.quarterdeck.dev": "100"});
    plane.create(ResourceQuota::info(), "shop", "team", json!({"spec": {"hard": hard}})).await;
    workload(&plane, "web", json!({"replicas": 3})).await;
    until(&plane, "web", "held back", |it| it.unplaced_replicas == 1 && it.available_replicas == 2)
        .await;
    assert_eq!(
        says(&plane, "web", "Placed"),
        "Unplaceable: 1 instance has no machine: quota team allows 2500m of requests.cpu in the namespace; 2000m are used, \
         and this would take 1000m more"
    );
    let used = || {
        let quota = plane.store.world().get(ResourceQuota::info(), "shop", "team")?.value();
        (quota["status"]["used"]["requests.cpu"] == "2").then_some(())
    };
    plane.when(ResourceQuota::info(), "what is used to be shown", used).await;
}
