//! Hosts in a test: whoever plays the agents of machines. It makes instances ready, stops what is to go, and is silent
//! where it is told to be.

use crate::scenario::Plane;
use quarterdeck_model::{
    Kind as _, KindRef, Object,
    kinds::{Instance, Machine, Rack, Server},
    object,
};
use quarterdeck_store::{Mutation, Precondition, Store, Write};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

/// How often the agents look.
const TICK: Duration = Duration::from_millis(500);

/// The agents of all machines.
#[derive(Default)]
pub(crate) struct Agents {
    /// Machines that are not heard of.
    pub(crate) silent: Mutex<BTreeSet<String>>,
    /// The fewest instances of each workload that were ready at once, since this was asked last.
    least: Mutex<BTreeMap<String, usize>>,
    /// The most that instances took of any machine, in thousandths of a core.
    pub(crate) most: Mutex<u64>,
}

/// Free thousandths of a core of each machine.
pub(crate) const CORES: u64 = 4_000;

impl Agents {
    /// Plays the agents of a plane until the test ends.
    pub(crate) fn of(plane: &Plane) -> Arc<Self> {
        let (agents, store) = (Arc::<Self>::default(), plane.store.clone());
        let (mine, clock) = (agents.clone(), plane.clock_now());
        tokio::spawn(async move {
            loop {
                mine.tick(&store, &clock()).await;
                tokio::time::sleep(TICK).await;
            }
        });
        agents
    }

    /// The fewest instances of a workload that were ready at once since this was asked last.
    pub(crate) fn least(&self, workload: &str) -> usize {
        self.least.lock().unwrap().remove(workload).unwrap_or(usize::MAX)
    }

    pub(crate) fn silence(&self, machines: &[&str]) {
        self.silent.lock().unwrap().extend(machines.iter().map(|name| (*name).to_owned()));
    }

    pub(crate) fn speak(&self) {
        self.silent.lock().unwrap().clear();
    }

    fn note(&self, used: u64, ready: BTreeMap<String, usize>) {
        let mut most = self.most.lock().unwrap();
        *most = used.max(*most);
        let mut least = self.least.lock().unwrap();
        for (workload, count) in ready {
            let known = least.entry(workload).or_insert(count);
            *known = count.min(*known);
        }
    }

    async fn tick(&self, store: &Store, now: &str) {
        let world = store.world();
        let silent = self.silent.lock().unwrap().clone();
        let (mut ready, mut used) =
            (BTreeMap::<String, usize>::new(), BTreeMap::<String, u64>::new());
        for instance in world.all(Instance::info()) {
            let value = instance.value();
            let host = instance.field("spec.host.name").unwrap_or_default().to_owned();
            let phase = instance.field("status.phase").unwrap_or_default().to_owned();
            let workload = instance.field("spec.workload").unwrap_or_default().to_owned();
            let decoded: Instance = instance.decode().unwrap();
            let (cpu, _) = decoded.spec.template.unwrap_or_default().requests();
            let lost = silent.contains(&host);
            if !lost {
                *used.entry(host.clone()).or_default() += cpu;
            }
            *ready.entry(workload).or_default() +=
                usize::from(phase == "Ready" && !instance.deleting());
            let image =
                value["spec"]["template"]["containers"][0]["image"].as_str().unwrap_or_default();
            let wanted = match () {
                () if lost => "Unreachable",
                () if image.contains("sick") => "Starting",
                () => "Ready",
            };
            if instance.deleting() && !lost {
                let write = Write::Delete;
                let precondition = Precondition::At(instance.revision);
                let gone = Mutation { key: instance.key.clone(), write, precondition, fence: None };
                let _ = store.commit(vec![gone]).await;
            } else if phase != wanted {
                say(store, instance, |value| {
                    value["status"]["phase"] = json!(wanted);
                    value["status"]["phaseSince"] = json!(now);
                    if wanted == "Starting" {
                        value["status"]["message"] = json!("the container ends with exit code 1");
                    }
                })
                .await;
            }
        }
        self.note(used.values().copied().max().unwrap_or_default(), ready);
        for machine in world.all(Machine::info()) {
            let value = machine.value();
            let reachable = if silent.contains(machine.name()) { "False" } else { "True" };
            let mut conditions =
                value["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let says = |kind: &str| {
                let found = conditions.iter().find(|it| it["type"] == kind);
                found.map(|it| it["status"].as_str().unwrap_or_default().to_owned())
            };
            let right = says("Reachable").as_deref() == Some(reachable)
                && says("AgentConnected").as_deref() == Some(reachable);
            if right && value["status"]["allocatable"]["cpu"] == CORES {
                continue;
            }
            conditions.retain(|it| it["type"] != "Reachable" && it["type"] != "AgentConnected");
            for kind in ["Reachable", "AgentConnected"] {
                conditions.push(json!({
                    "type": kind, "status": reachable, "reason": "Test", "message": "",
                    "lastTransitionTime": now
                }));
            }
            say(store, machine, |value| {
                value["status"]["conditions"] = json!(conditions);
                value["status"]["allocatable"] = json!({"cpu": CORES, "memory": 8_u64 << 30});
            })
            .await;
        }
    }
}

async fn say(store: &Store, object: &Object, change: impl FnOnce(&mut Value)) {
    let mut value = object.value();
    if value.get("status").is_none() {
        value["status"] = json!({});
    }
    change(&mut value);
    let write = Write::Put(object::encode(object.kind, &value).into());
    let precondition = Precondition::At(object.revision);
    let said = Mutation { key: object.key.clone(), write, precondition, fence: None };
    // Whoever came between is looked at with the next tick.
    let _ = store.commit(vec![said]).await;
}

/// A machine on a server of a rack, which runs.
pub(crate) async fn machine(plane: &Plane, name: &str, rack: &str) {
    let there = |kind: KindRef, name: &str| plane.store.world().get(kind, "", name).is_some();
    if !there(Rack::info(), rack) {
        plane.create(Rack::info(), "", rack, json!({"spec": {"site": "fra1"}})).await;
    }
    let spec = json!({"class": "any", "image": "debian"});
    let status = json!({
        "phase": "Running", "server": format!("s-{name}"), "image": "debian", "observedGeneration": 1,
        "allocatable": {"cpu": CORES, "memory": 8_u64 << 30},
    });
    let metadata = json!({"finalizers": ["compute.quarterdeck.dev/machine"]});
    let object = json!({"metadata": metadata, "spec": spec, "status": status});
    plane.create(Machine::info(), "shop", name, object).await;
    let uid = plane.store.world().get(Machine::info(), "shop", name).unwrap().uid().to_owned();
    let spec = json!({"bmc": {"address": "192.0.2.1"}, "location": {"rack": rack}});
    let held = json!({"namespace": "shop", "name": name, "uid": uid});
    let status = json!({"phase": "InUse", "machineRef": held});
    plane
        .create(Server::info(), "", &format!("s-{name}"), json!({"spec": spec, "status": status}))
        .await;
}
