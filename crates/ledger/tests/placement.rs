//! Placement against a model that looks at every machine and counts everything anew: what is placed may be there, what is
//! refused can be nowhere, and a fleet that was told of each change decides as one that is told all at once.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use proptest::prelude::*;
use quarterdeck_ledger::placement::{Fleet, Host, HostPort, Quota, Reason, Resources, Taken, Wish};
use quarterdeck_model::kinds::{
    FactOperator, FactRequirement, ObjectSelector, Taint, TaintEffect, Toleration,
    TolerationOperator, TopologyLevel, WorkloadAffinity, WorkloadPlacement, WorkloadSpread,
};
use std::collections::{BTreeMap, BTreeSet};

const MACHINES: u8 = 10;
const WORKLOADS: u8 = 3;
const INSTANCES: u8 = 24;

#[derive(Debug, Clone)]
enum Step {
    Machine(u8, Host),
    NoMachine(u8),
    Workload(u8, WorkloadPlacement),
    NoWorkload(u8),
    /// Places an instance, or moves it.
    Place {
        name: u8,
        workload: u8,
        cpu: u64,
        memory: u64,
        port: Option<u16>,
        priority: i32,
        seed: u64,
    },
    /// Somebody says where it is.
    Put {
        name: u8,
        workload: Option<u8>,
        machine: u8,
        cpu: u64,
    },
    NoInstance(u8),
}

fn level() -> impl Strategy<Value = TopologyLevel> {
    prop::sample::select(&TopologyLevel::ALL[..])
}

fn host() -> impl Strategy<Value = Host> {
    let flags = (prop::bool::weighted(0.9), prop::bool::weighted(0.1), prop::bool::weighted(0.2));
    let places = (prop::option::weighted(0.9, 0..4_u8), 0..2_u8);
    (flags, 0..3_u8, 0..3_u8, places, 1..9_u64, 1..9_u64).prop_map(
        |((ready, unschedulable, tainted), label, fact, (rack, feed), cpu, memory)| {
            let taint = Taint { key: "dedicated".into(), ..Taint::default() };
            let mut places: [Option<String>; 6] = [const { None }; 6];
            if let Some(rack) = rack {
                places[TopologyLevel::Rack.number()] = Some(format!("r-{rack}"));
                places[TopologyLevel::Row.number()] = Some(format!("row-{}", rack / 2));
                places[TopologyLevel::Hall.number()] = Some("hall".into());
                places[TopologyLevel::Feed.number()] = Some(format!("f-{feed}"));
                places[TopologyLevel::Site.number()] = Some(format!("site-{}", rack % 2));
            }
            places[TopologyLevel::Server.number()] = Some(format!("{label}{fact}{cpu}{memory}"));
            Host {
                labels: BTreeMap::from([("zone".into(), label.to_string())]),
                facts: BTreeMap::from([("cores".into(), fact.to_string())]),
                taints: if tainted { vec![taint] } else { Vec::new() },
                unschedulable,
                ready,
                allocatable: Resources { cpu: cpu * 1_000, memory: memory << 30 },
                places,
            }
        },
    )
}

fn affinity() -> impl Strategy<Value = Vec<WorkloadAffinity>> {
    let one = (prop::option::of(0..WORKLOADS), level()).prop_map(|(workload, topology)| {
        let workload = workload.map(|number| format!("w-{number}"));
        WorkloadAffinity { workload, topology }
    });
    prop::collection::vec(one, 0..2)
}

fn placement() -> impl Strategy<Value = WorkloadPlacement> {
    let spread = (level(), 1..3_u32)
        .prop_map(|(topology, skew)| WorkloadSpread { topology, max_skew: Some(skew) });
    let spread = prop::collection::vec(spread, 0..3);
    let wants = (prop::option::weighted(0.3, 0..3_u8), prop::bool::weighted(0.3), any::<bool>());
    let near = prop_oneof![3 => Just(Vec::new()), 1 => affinity()];
    (wants, spread, near, affinity()).prop_map(
        |((label, wants_fact, tolerates), mut spread, affinity, anti_affinity)| {
            spread.dedup_by_key(|spread| spread.topology);
            let label = label.map(|label| ObjectSelector {
                match_labels: BTreeMap::from([("zone".into(), label.to_string())]),
                ..ObjectSelector::default()
            });
            let fact = FactRequirement {
                key: "cores".into(),
                operator: FactOperator::Gt,
                values: vec!["0".into()],
            };
            let operator = TolerationOperator::Exists;
            let toleration = Toleration { operator, ..Toleration::default() };
            WorkloadPlacement {
                machines: label,
                required_facts: if wants_fact { vec![fact] } else { Vec::new() },
                affinity,
                anti_affinity,
                spread,
                tolerations: if tolerates { vec![toleration] } else { Vec::new() },
                ..WorkloadPlacement::default()
            }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let instance = || 0..INSTANCES;
    prop_oneof![
        4 => (0..MACHINES, host()).prop_map(|(name, host)| Step::Machine(name, host)),
        1 => (0..MACHINES).prop_map(Step::NoMachine),
        2 => (0..WORKLOADS, placement()).prop_map(|(name, wants)| Step::Workload(name, wants)),
        1 => (0..WORKLOADS).prop_map(Step::NoWorkload),
        12 => (
            (instance(), 0..WORKLOADS), (0..4_u64, 0..4_u64), prop::option::weighted(0.2, 80..82_u16),
            0..3_i32, any::<u64>()
        ).prop_map(|((name, workload), (cpu, memory), port, priority, seed)| Step::Place {
            name, workload, cpu: cpu * 700, memory: memory << 29, port, priority, seed
        }),
        2 => (instance(), prop::option::of(0..WORKLOADS), 0..MACHINES, 0..4_u64).prop_map(
            |(name, workload, machine, cpu)| Step::Put { name, workload, machine, cpu: cpu * 900 }
        ),
        2 => instance().prop_map(Step::NoInstance),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct There {
    machine: String,
    workload: Option<String>,
    requests: Resources,
    ports: Vec<HostPort>,
    priority: i32,
}

/// What is so, and nothing that is derived from it.
#[derive(Debug, Clone, Default)]
struct Model {
    machines: BTreeMap<String, Host>,
    workloads: BTreeMap<String, WorkloadPlacement>,
    instances: BTreeMap<String, There>,
}

impl Model {
    fn used(&self, machine: &str) -> Resources {
        let on = self.instances.values().filter(|it| it.machine == machine);
        on.fold(Resources::default(), |sum, it| Resources {
            cpu: sum.cpu + it.requests.cpu,
            memory: sum.memory + it.requests.memory,
        })
    }

    fn place(&self, machine: &str, level: TopologyLevel) -> Option<&String> {
        self.machines.get(machine)?.places[level.number()].as_ref()
    }

    fn count(&self, workload: &str, level: TopologyLevel, place: Option<&String>) -> u32 {
        let of = self.instances.values().filter(|it| it.workload.as_deref() == Some(workload));
        let there = of.filter(|it| place.is_some() && self.place(&it.machine, level) == place);
        u32::try_from(there.count()).unwrap()
    }

    fn eligible(&self, host: &Host, wants: &WorkloadPlacement) -> bool {
        let selector = wants.machines.clone().unwrap_or_default().selector().unwrap();
        host.ready
            && !host.unschedulable
            && selector.matches_labels(|name| host.labels.get(name).map(String::as_str))
            && wants
                .required_facts
                .iter()
                .all(|it| it.is_met(host.facts.get(&it.key).map(|it| &**it)))
            && (host.taints.is_empty() || !wants.tolerations.is_empty())
    }

    fn may(&self, machine: &str, wish: &Wish<'_>) -> bool {
        let wants = self.workloads.get(wish.workload).cloned().unwrap_or_default();
        let host = &self.machines[machine];
        let (used, all) = (self.used(machine), host.allocatable);
        let fits = wish.requests.cpu <= all.cpu.saturating_sub(used.cpu)
            && wish.requests.memory <= all.memory.saturating_sub(used.memory);
        let on = self.instances.values().filter(|it| it.machine == machine);
        let ports: BTreeSet<HostPort> = on.flat_map(|it| it.ports.clone()).collect();
        let apart = wants.anti_affinity.iter().all(|rule| {
            let other = rule.workload.as_deref().unwrap_or(wish.workload);
            self.count(other, rule.topology, self.place(machine, rule.topology)) == 0
        });
        let kept = self.workloads.iter().all(|(other, theirs)| {
            theirs.anti_affinity.iter().all(|rule| {
                let me = rule.workload.as_deref() == Some(wish.workload) && other != wish.workload;
                !me || self.count(other, rule.topology, self.place(machine, rule.topology)) == 0
            })
        });
        let none = !self.instances.values().any(|it| it.workload.as_deref() == Some(wish.workload));
        let near = wants.affinity.iter().all(|rule| {
            let other = rule.workload.as_deref().unwrap_or(wish.workload);
            other == wish.workload && none
                || self.count(other, rule.topology, self.place(machine, rule.topology)) > 0
        });
        let spread = wants.spread.iter().all(|spread| {
            let level = spread.topology;
            let Some(here) = self.place(machine, level) else { return false };
            let eligible = self.machines.iter().filter(|(_, host)| self.eligible(host, &wants));
            let places: BTreeSet<&String> =
                eligible.filter_map(|(name, _)| self.place(name, level)).collect();
            let least = places.iter().map(|at| self.count(wish.workload, level, Some(at))).min();
            self.count(wish.workload, level, Some(here)) < least.unwrap_or_default() + spread.skew()
        });
        self.eligible(host, &wants)
            && fits
            && wish.ports.iter().all(|port| !ports.contains(port))
            && apart
            && kept
            && near
            && spread
    }

    fn fleet(&self) -> Fleet {
        let mut fleet = Fleet::default();
        for (name, there) in &self.instances {
            fleet.set_instance(name, &taken(there));
        }
        for (name, wants) in self.workloads.iter().rev() {
            fleet.set_workload(name, wants);
        }
        for (name, host) in self.machines.iter().rev() {
            fleet.set_machine(name, host.clone());
        }
        fleet
    }
}

fn taken(there: &There) -> Taken<'_> {
    Taken {
        machine: &there.machine,
        workload: there.workload.as_deref(),
        requests: there.requests,
        ports: &there.ports,
        priority: there.priority,
    }
}

fn wish<'w>(workload: &'w str, requests: Resources, ports: &'w [HostPort]) -> Wish<'w> {
    Wish { workload, requests, ports, priority: 0 }
}

/// Lives through steps; checks each answer, and answers with all of them.
fn live(steps: &[Step]) -> Vec<String> {
    let (mut fleet, mut model, mut answers) = (Fleet::default(), Model::default(), Vec::new());
    for step in steps {
        match step.clone() {
            Step::Machine(name, host) => {
                let name = format!("m-{name}");
                fleet.set_machine(&name, host.clone());
                model.machines.insert(name, host);
            }
            Step::NoMachine(name) => {
                fleet.remove_machine(&format!("m-{name}"));
                model.machines.remove(&format!("m-{name}"));
            }
            Step::Workload(name, wants) => {
                fleet.set_workload(&format!("w-{name}"), &wants);
                model.workloads.insert(format!("w-{name}"), wants);
            }
            Step::NoWorkload(name) => {
                fleet.remove_workload(&format!("w-{name}"));
                model.workloads.remove(&format!("w-{name}"));
            }
            Step::NoInstance(name) => {
                fleet.remove_instance(&format!("i-{name}"));
                model.instances.remove(&format!("i-{name}"));
            }
            Step::Put { name, workload, machine, cpu } => {
                let there = There {
                    machine: format!("m-{machine}"),
                    workload: workload.map(|number| format!("w-{number}")),
                    requests: Resources { cpu, memory: 0 },
                    ports: Vec::new(),
                    priority: 0,
                };
                fleet.set_instance(&format!("i-{name}"), &taken(&there));
                model.instances.insert(format!("i-{name}"), there);
            }
            Step::Place { name, workload, cpu, memory, port, priority, seed } => {
                let (name, workload) = (format!("i-{name}"), format!("w-{workload}"));
                let ports: Vec<HostPort> =
                    port.into_iter().map(|port| HostPort { port, udp: false }).collect();
                let requests = Resources { cpu, memory };
                let wish = Wish { workload: &workload, requests, ports: &ports, priority };
                fleet.remove_instance(&name);
                model.instances.remove(&name);
                let possible: Vec<&String> =
                    model.machines.keys().filter(|machine| model.may(machine, &wish)).collect();
                let anew = model.fleet().place(&wish, seed);
                match fleet.place(&wish, seed) {
                    Ok(placed) => {
                        assert!(
                            possible.iter().any(|it| ***it == *placed.machine),
                            "{wish:?} is on {}, and might be on {possible:?}: {model:#?}",
                            placed.machine
                        );
                        assert!(anew.is_ok(), "{anew:?}");
                        answers.push(placed.machine.to_string());
                        let there = There {
                            machine: placed.machine.to_string(),
                            workload: Some(workload.clone()),
                            requests,
                            ports: ports.clone(),
                            priority,
                        };
                        fleet.set_instance(&name, &taken(&there));
                        model.instances.insert(name, there);
                    }
                    Err(refusal) => {
                        assert!(
                            possible.is_empty(),
                            "{wish:?} fits {possible:?}: {refusal}\n{model:#?}"
                        );
                        let sum: u32 = refusal.reasons.values().sum();
                        assert_eq!(sum as usize, model.machines.len(), "{refusal}");
                        assert_eq!(sum, refusal.machines);
                        assert_eq!(anew.unwrap_err(), refusal);
                        if let Some((machine, victims)) = &refusal.victims {
                            enough(
                                &model,
                                machine,
                                victims.iter().map(|it| &**it).collect(),
                                &wish,
                            );
                        }
                        answers.push(refusal.to_string());
                    }
                }
            }
        }
        for machine in model.machines.keys() {
            let (used, all) = (model.used(machine), model.machines[machine].allocatable);
            let free = Resources {
                cpu: all.cpu.saturating_sub(used.cpu),
                memory: all.memory.saturating_sub(used.memory),
            };
            assert_eq!(fleet.free(machine), Some(free), "{machine}");
        }
    }
    answers
}

/// Victims are less important, and without them there is room; with any one of them there is not.
fn enough(model: &Model, machine: &str, victims: BTreeSet<&str>, wish: &Wish<'_>) {
    let without = |gone: &BTreeSet<&str>| {
        let mut model = model.clone();
        model.instances.retain(|name, _| !gone.contains(&**name));
        // Only room is asked about: who makes way also makes way for the spread.
        model.workloads.clear();
        model
    };
    let bare = |model: &Model| {
        let mut model = model.clone();
        let host = model.machines.get_mut(machine).unwrap();
        host.taints.clear();
        model.may(machine, wish)
    };
    assert!(victims.iter().all(|victim| model.instances[*victim].priority < wish.priority));
    assert!(bare(&without(&victims)), "{victims:?} are not enough for {wish:?} on {machine}");
    for victim in &victims {
        let mut fewer = victims.clone();
        fewer.remove(victim);
        assert!(!bare(&without(&fewer)), "{victim} need not go for {wish:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn what_is_placed_may_be_there_and_what_is_refused_can_be_nowhere(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        // The same twice: nothing depends on anything but what was told, and the seeds.
        prop_assert_eq!(live(&steps), live(&steps));
    }
}

fn machine(rack: usize, cpu: u64) -> Host {
    let mut places: [Option<String>; 6] = [const { None }; 6];
    places[TopologyLevel::Rack.number()] = Some(format!("r-{rack}"));
    Host { ready: true, allocatable: Resources { cpu, memory: 8 << 30 }, places, ..Host::default() }
}

#[test]
fn a_refusal_says_how_many_machines_fail_for_which_reason() {
    let mut fleet = Fleet::default();
    for number in 0..412 {
        let mut host = machine(number % 3, 1_000);
        if number < 310 {
            host.allocatable.memory = 1 << 20;
        } else if number < 390 {
            host.taints.push(Taint { key: "dedicated".into(), ..Taint::default() });
        }
        fleet.set_machine(&format!("m-{number}"), host);
    }
    let spread = vec![WorkloadSpread { topology: TopologyLevel::Rack, max_skew: Some(1) }];
    fleet.set_workload("web", &WorkloadPlacement { spread, ..WorkloadPlacement::default() });
    let requests = Resources { cpu: 800, memory: 1 << 30 };
    let mut placed = 0;
    let refusal = loop {
        match fleet.place(&wish("web", requests, &[]), placed) {
            Ok(at) => {
                let taken = Taken {
                    machine: &at.machine,
                    workload: Some("web"),
                    requests,
                    ..Taken::default()
                };
                fleet.set_instance(&format!("web-{placed}"), &taken);
                placed += 1;
            }
            Err(refusal) => break refusal,
        }
    };
    assert!(placed >= 20, "{placed}");
    let left = 22 - placed;
    let spread = if left == 0 { String::new() } else { format!(", {left} spread over racks") };
    let wanted = format!(
        "of 412 machines: 310 too little memory, 80 taint dedicated, {placed} too little CPU{spread}"
    );
    assert_eq!(refusal.to_string(), wanted);
}

#[test]
fn the_tightest_machine_is_taken() {
    let mut fleet = Fleet::default();
    for (name, cpu) in [("large", 64_000), ("small", 2_000), ("medium", 8_000)] {
        fleet.set_machine(name, machine(0, cpu));
    }
    for (cpu, wanted) in [(1_000, "small"), (4_000, "medium"), (9_000, "large")] {
        let requests = Resources { cpu, memory: 0 };
        assert_eq!(&*fleet.place(&wish("w", requests, &[]), 1).unwrap().machine, wanted);
    }
}

#[test]
fn more_than_a_quota_is_refused_by_its_name() {
    let mut fleet = Fleet::default();
    fleet.set_machine("m", machine(0, 64_000));
    fleet.set_quota(Quota { name: "team".into(), cpu: Some(1_500), ..Quota::default() });
    let requests = Resources { cpu: 1_000, memory: 0 };
    let taken = Taken { machine: "m", requests, ..Taken::default() };
    fleet.set_instance("a", &taken);
    let refusal = fleet.place(&wish("w", requests, &[]), 1).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "quota team allows 1500m of requests.cpu in the namespace; 1000m are used, and this would take 1000m more"
    );
    fleet.remove_instance("a");
    assert!(fleet.place(&wish("w", requests, &[]), 1).is_ok());
}

#[test]
fn a_taint_that_evicts_is_told_of() {
    let mut fleet = Fleet::default();
    let mut host = machine(0, 1_000);
    host.taints = vec![Taint { key: "drain".into(), value: None, effect: TaintEffect::NoExecute }];
    fleet.set_machine("m", host);
    fleet.set_workload("w", &WorkloadPlacement::default());
    assert_eq!(fleet.leaves("w", "m"), Some("drain"));
    let operator = TolerationOperator::Exists;
    let tolerations = vec![Toleration { operator, ..Toleration::default() }];
    fleet.set_workload("w", &WorkloadPlacement { tolerations, ..WorkloadPlacement::default() });
    assert_eq!(fleet.leaves("w", "m"), None);
    let refusal = fleet.place(&wish("x", Resources::default(), &[]), 1).unwrap_err();
    assert_eq!(refusal.reasons.keys().collect::<Vec<_>>(), [&Reason::Taint("drain".into())]);
}
