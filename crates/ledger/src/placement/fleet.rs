//! The machines of a namespace, what is on them, and the workloads that it belongs to; kept with each change.

use super::{
    Host, HostPort, Quota, Resources, Taken,
    rules::{Class, Rules},
    view::{Standing, View},
};
use crate::table::{Number, Table};
use quarterdeck_model::kinds::{TopologyLevel, WorkloadPlacement};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Views that are kept. The one that was asked for least lately is given up for another; it is made anew when it is asked
/// for again, which costs one look at each machine.
const VIEWS_MAX: usize = 16;
pub(super) const LEVELS: usize = TopologyLevel::ALL.len();

/// All that is decided on.
#[derive(Debug, Default)]
pub struct Fleet {
    pub(super) machines: Table<Machine>,
    pub(super) instances: Table<Instance>,
    pub(super) workloads: Table<Workload>,
    /// Names of places, with the level of each.
    places: Table<()>,
    pub(super) views: Vec<View>,
    views_made: u64,
    asked: u64,
    pub(super) quotas: BTreeMap<String, Quota>,
    /// What all instances take together.
    pub(super) used: Resources,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) name: Arc<str>,
    /// None while it is only known by what is said to run on it.
    pub(super) host: Option<Host>,
    pub(super) places: [Option<Number>; LEVELS],
    pub(super) used: Resources,
    pub(super) ports: Vec<HostPort>,
    pub(super) instances: Vec<Number>,
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: Arc<str>,
    pub(super) machine: Number,
    pub(super) workload: Option<Number>,
    pub(super) requests: Resources,
    pub(super) ports: Box<[HostPort]>,
    pub(super) priority: i32,
}

#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: Arc<str>,
    declared: bool,
    pub(super) rules: Arc<Rules>,
    pub(super) instances: BTreeSet<Number>,
    /// By level, where somebody has asked.
    pub(super) counts: [Option<Counts>; LEVELS],
    /// Workloads that keep away from it, and in places of which level.
    pub(super) repels: BTreeSet<(Number, TopologyLevel)>,
}

/// How many instances of a workload are in each place of a level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) by_place: BTreeMap<Number, u32>,
    pub(super) by_count: BTreeMap<u32, BTreeSet<Number>>,
    /// The view, and its version, of which every place is known to have an instance.
    pub(super) none_empty: Option<(u64, u64)>,
}

impl Machine {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            host: None,
            places: [None; LEVELS],
            used: Resources::default(),
            ports: Vec::new(),
            instances: Vec::new(),
        }
    }

    pub(super) fn free(&self) -> Resources {
        let all = self.host.as_ref().map(|host| host.allocatable).unwrap_or_default();
        all.minus(self.used)
    }

    pub(super) fn place(&self, level: TopologyLevel) -> Option<Number> {
        self.places.get(level.number()).copied().flatten()
    }
}

impl Workload {
    /// One that nobody has declared: it has no rules.
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            declared: false,
            rules: Arc::default(),
            instances: BTreeSet::new(),
            counts: [const { None }; LEVELS],
            repels: BTreeSet::new(),
        }
    }

    pub(super) fn counts(&self, level: TopologyLevel) -> Option<&Counts> {
        self.counts.get(level.number())?.as_ref()
    }
}

impl Counts {
    pub(super) fn of(&self, place: Number) -> u32 {
        self.by_place.get(&place).copied().unwrap_or_default()
    }

    fn add(&mut self, place: Number, more: bool) {
        let before = self.of(place);
        let after = if more { before.saturating_add(1) } else { before.saturating_sub(1) };
        if let Some(places) = self.by_count.get_mut(&before) {
            places.remove(&place);
            if places.is_empty() {
                self.by_count.remove(&before);
            }
        }
        if after == 0 {
            self.by_place.remove(&place);
            self.none_empty = None;
        } else {
            self.by_place.insert(place, after);
            self.by_count.entry(after).or_default().insert(place);
        }
    }
}

impl Fleet {
    /// Notes a machine as it is now.
    pub fn set_machine(&mut self, name: &str, host: Host) {
        let number = self.machines.entry(name, Machine::new);
        let mut places = [None; LEVELS];
        for ((at, level), name) in places.iter_mut().zip(TopologyLevel::ALL).zip(&host.places) {
            *at = name.as_ref().map(|name| self.places.entry(&format!("{level:?}/{name}"), |_| ()));
        }
        let Some(machine) = self.machines.get_mut(number) else { return };
        let moved = machine.places != places;
        let instances = if moved { machine.instances.clone() } else { Vec::new() };
        for instance in &instances {
            self.count(*instance, false);
        }
        if let Some(machine) = self.machines.get_mut(number) {
            (machine.host, machine.places) = (Some(host), places);
        }
        for instance in &instances {
            self.count(*instance, true);
        }
        self.refresh(number);
    }

    /// Forgets a machine. What is said to run on it keeps what it counts.
    pub fn remove_machine(&mut self, name: &str) {
        let Some(number) = self.machines.number(name) else { return };
        let Some(machine) = self.machines.get_mut(number) else { return };
        let instances = machine.instances.clone();
        instances.iter().for_each(|instance| self.count(*instance, false));
        if let Some(machine) = self.machines.get_mut(number) {
            (machine.host, machine.places) = (None, [None; LEVELS]);
        }
        self.refresh(number);
        self.drop_machine(number);
    }

    /// Notes an instance: one that is there, or one that was just decided on.
    pub fn set_instance(&mut self, name: &str, taken: &Taken<'_>) {
        if self.instances.number(name).is_some() {
            if self.is(name, taken) {
                return;
            }
            self.remove_instance(name);
        }
        let machine = self.machines.entry(taken.machine, Machine::new);
        let workload = taken.workload.map(|name| self.workloads.entry(name, Workload::new));
        let (requests, ports, priority) = (taken.requests, taken.ports.into(), taken.priority);
        let number = self.instances.entry(name, |name| Instance {
            name,
            machine,
            workload,
            requests,
            ports,
            priority,
        });
        self.used = self.used.plus(requests);
        if let Some(machine) = self.machines.get_mut(machine) {
            machine.used = machine.used.plus(requests);
            machine.ports.extend_from_slice(taken.ports);
            machine.instances.push(number);
        }
        if let Some(workload) = workload.and_then(|at| self.workloads.get_mut(at)) {
            workload.instances.insert(number);
        }
        self.count(number, true);
        self.refresh(machine);
    }

    fn is(&self, name: &str, taken: &Taken<'_>) -> bool {
        let known = self.instances.number(name).and_then(|number| self.instances.get(number));
        known.is_some_and(|known| {
            let workload = known.workload.and_then(|at| self.workloads.get(at));
            let machine = self.machines.get(known.machine);
            machine.is_some_and(|machine| *machine.name == *taken.machine)
                && workload.map(|workload| &*workload.name) == taken.workload
                && (known.requests, &*known.ports, known.priority)
                    == (taken.requests, taken.ports, taken.priority)
        })
    }

    /// Forgets an instance.
    pub fn remove_instance(&mut self, name: &str) {
        let Some(number) = self.instances.number(name) else { return };
        self.count(number, false);
        let Some(instance) = self.instances.get(number) else { return };
        let (at, workload, requests) = (instance.machine, instance.workload, instance.requests);
        self.used = self.used.minus(requests);
        if let Some(machine) = self.machines.get_mut(at) {
            machine.used = machine.used.minus(requests);
            machine.instances.retain(|other| *other != number);
            for port in &instance.ports {
                if let Some(spot) = machine.ports.iter().position(|other| other == port) {
                    machine.ports.swap_remove(spot);
                }
            }
        }
        self.instances.remove(name);
        self.refresh(at);
        self.drop_machine(at);
        if let Some(workload) = workload {
            if let Some(workload) = self.workloads.get_mut(workload) {
                workload.instances.remove(&number);
            }
            self.drop_workload(workload);
        }
    }

    /// Notes what a workload wants of machines.
    pub fn set_workload(&mut self, name: &str, placement: &WorkloadPlacement) {
        let number = self.workloads.entry(name, Workload::new);
        let rules = Arc::new(Rules::of(name, placement));
        let Some(workload) = self.workloads.get_mut(number) else { return };
        workload.declared = true;
        if workload.rules == rules {
            return;
        }
        self.repel(number, false);
        if let Some(workload) = self.workloads.get_mut(number) {
            workload.rules = rules;
        }
        self.repel(number, true);
    }

    /// Forgets a workload. While there are instances of it, they are counted.
    pub fn remove_workload(&mut self, name: &str) {
        let Some(number) = self.workloads.number(name) else { return };
        self.repel(number, false);
        if let Some(workload) = self.workloads.get_mut(number) {
            (workload.declared, workload.rules) = (false, Arc::default());
        }
        self.drop_workload(number);
    }

    /// Notes the most that all instances may take together, by one of the quotas there are.
    pub fn set_quota(&mut self, quota: Quota) {
        self.quotas.insert(quota.name.clone(), quota);
    }

    /// Forgets a quota.
    pub fn remove_quota(&mut self, name: &str) {
        self.quotas.remove(name);
    }

    /// What all instances take together.
    pub fn used(&self) -> Resources {
        self.used
    }

    /// What is free on a machine.
    pub fn free(&self, machine: &str) -> Option<Resources> {
        Some(self.machines.get(self.machines.number(machine)?)?.free())
    }

    /// Machines there are.
    pub fn len(&self) -> usize {
        self.declared().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.declared().next().is_none()
    }

    /// The taint of its machine for which an instance of a workload is to move.
    pub fn leaves(&self, workload: &str, machine: &str) -> Option<&str> {
        let workload = self.workloads.get(self.workloads.number(workload)?)?;
        let machine = self.machines.get(self.machines.number(machine)?)?;
        workload.rules.class.leaves(machine.host.as_ref()?)
    }

    pub(super) fn declared(&self) -> impl Iterator<Item = (Number, &Machine)> {
        let machines = self.machines.numbers().filter_map(|at| Some((at, self.machines.get(at)?)));
        machines.filter(|(_, machine)| machine.host.is_some())
    }

    /// Has others know, or no longer, that a workload keeps away from them.
    fn repel(&mut self, number: Number, is: bool) {
        let Some(workload) = self.workloads.get(number) else { return };
        let rules = workload.rules.clone();
        for (other, level) in &rules.away {
            let Some(other) = other else { continue };
            let other = self.workloads.entry(other, Workload::new);
            if let Some(workload) = self.workloads.get_mut(other) {
                if is {
                    workload.repels.insert((number, *level));
                } else {
                    workload.repels.remove(&(number, *level));
                }
            }
            self.drop_workload(other);
        }
    }

    /// Counts an instance where it is, or takes it out of the counts.
    fn count(&mut self, number: Number, more: bool) {
        let Some(instance) = self.instances.get(number) else { return };
        let Some(machine) = self.machines.get(instance.machine) else { return };
        let Some(workload) = instance.workload.and_then(|at| self.workloads.get_mut(at)) else {
            return;
        };
        for (counts, place) in workload.counts.iter_mut().zip(machine.places) {
            if let (Some(counts), Some(place)) = (counts, place) {
                counts.add(place, more);
            }
        }
    }

    /// Counts the instances of a workload by places of a level from now on.
    pub(super) fn count_by(&mut self, workload: Number, level: TopologyLevel) {
        let Self { workloads, instances, machines, .. } = self;
        let Some(workload) = workloads.get_mut(workload) else { return };
        let Some(kept) = workload.counts.get_mut(level.number()) else { return };
        if kept.is_some() {
            return;
        }
        let mut counts = Counts::default();
        for instance in workload.instances.iter().filter_map(|at| instances.get(*at)) {
            if let Some(place) = machines.get(instance.machine).and_then(|it| it.place(level)) {
                counts.add(place, true);
            }
        }
        *kept = Some(counts);
    }

    /// Brings a machine to where it belongs in every view.
    fn refresh(&mut self, number: Number) {
        let Self { machines, views, .. } = self;
        let Some(machine) = machines.get(number) else { return };
        for view in views {
            view.set(number, standing(machine, &view.class));
        }
    }

    /// The view of machines that meet a class, by places of these levels; made when it is not there.
    pub(super) fn view(&mut self, class: &Class, levels: &BTreeSet<TopologyLevel>) -> usize {
        self.asked += 1;
        let found = self.views.iter().position(|view| view.class == *class);
        let at = found.unwrap_or_else(|| {
            if self.views.len() >= VIEWS_MAX {
                let oldest = self.views.iter().enumerate().min_by_key(|(_, view)| view.asked);
                if let Some(at) = oldest.map(|(at, _)| at) {
                    self.views.remove(at);
                }
            }
            self.views_made += 1;
            let mut view = View::new(self.views_made, class.clone());
            for number in self.machines.numbers() {
                if let Some(machine) = self.machines.get(number) {
                    view.set(number, standing(machine, class));
                }
            }
            self.views.push(view);
            self.views.len() - 1
        });
        let Self { machines, views, asked, .. } = self;
        if let Some(view) = views.get_mut(at) {
            view.asked = *asked;
            view.keep(levels, |machine| {
                machines.get(machine).map(Machine::free).unwrap_or_default()
            });
        }
        at
    }

    fn drop_machine(&mut self, number: Number) {
        if let Some(machine) = self.machines.get(number)
            && machine.host.is_none()
            && machine.instances.is_empty()
        {
            let name = machine.name.clone();
            self.machines.remove(&name);
        }
    }

    /// Lets go of a workload that nothing speaks of any more.
    pub(super) fn drop_workload(&mut self, number: Number) {
        if let Some(workload) = self.workloads.get(number)
            && !workload.declared
            && workload.instances.is_empty()
            && workload.repels.is_empty()
        {
            let name = workload.name.clone();
            self.workloads.remove(&name);
        }
    }
}

/// Where a machine stands, when it meets a class.
fn standing(machine: &Machine, class: &Class) -> Option<Standing> {
    let host = machine.host.as_ref()?;
    let meets = class.unmet(host).is_none();
    meets.then(|| Standing { free: machine.free(), places: machine.places })
}
