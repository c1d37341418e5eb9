//! The book: counts of what is down, kept with each change, so that a decision reads and does not count.
//!
//! An instance is down when it is not available, or when its server is under a permit: then it may go at any
//! moment. Each service knows its instances that are down, each server its instances and permits. What is kept of
//! places is in `place.rs`.

use crate::{
    place::{Place, PlaceName},
    refusal::Blocker,
    table::{Number, Table},
};
use quarterdeck_model::{
    Time,
    kinds::{Dependency, FreezeSpec, RunTarget, ServiceSpec},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// All that decisions are made on.
#[derive(Debug, Default)]
pub struct Book {
    pub(crate) services: Table<Service>,
    pub(crate) instances: Table<Instance>,
    pub(crate) hosts: Table<Host>,
    pub(crate) places: Table<Place>,
    /// By the uid of the run that has it.
    pub(crate) permits: HashMap<Arc<str>, Permit>,
    pub(crate) freezes: BTreeMap<String, FreezeSpec>,
    /// The service of each workload, by `namespace/name`.
    pub(crate) workloads: HashMap<String, Number>,
    gave_way: HashSet<Blocker>,
    changed: BTreeSet<Arc<str>>,
}

/// What is disrupted as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A server.
    Server(&'a str),
    /// All servers of a place.
    Place(PlaceName<'a>),
    /// One instance, named `namespace/name`.
    Instance(&'a str),
    /// Something that no service runs on.
    Nothing,
}

impl<'a> From<&'a RunTarget> for Target<'a> {
    fn from(target: &'a RunTarget) -> Self {
        match target.kind.as_str() {
            "Server" => Self::Server(&target.name),
            "Rack" => Self::Place(PlaceName::Rack(&target.name)),
            "Instance" => Self::Instance(&target.name),
            "Site" => Self::Place(PlaceName::of_part(&target.name, &target.part)),
            _ => Self::Nothing,
        }
    }
}

/// Who has a permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Identity of the run.
    pub uid: Arc<str>,
    /// `namespace/name`, for people.
    pub name: String,
}

#[derive(Debug)]
pub(crate) struct Service {
    /// `namespace/name`.
    pub(crate) name: Arc<str>,
    /// Somebody declared it.
    declared: bool,
    pub(crate) spec: ServiceSpec,
    pub(crate) total: u32,
    pub(crate) down: BTreeSet<Number>,
    /// How many instances each of its workloads is to have.
    pub(crate) workloads: BTreeMap<Arc<str>, u32>,
    /// Those of `total` that are of a workload.
    pub(crate) managed: u32,
    /// Services that it depends on, and whether it is down without them.
    pub(crate) depends_on: BTreeMap<Number, Dependency>,
    /// Services that depend on it.
    pub(crate) dependents: BTreeMap<Number, Dependency>,
}

#[derive(Debug)]
pub(crate) struct Instance {
    /// `namespace/name`.
    name: Arc<str>,
    pub(crate) service: Number,
    pub(crate) host: Number,
    pub(crate) available: bool,
    /// Since when it is so.
    pub(crate) since: Option<Time>,
    /// It is of a workload.
    pub(crate) managed: bool,
    /// Uids of those who have leave to stop it alone.
    pub(crate) permits: Vec<Arc<str>>,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: Arc<str>,
    /// Somebody declared it.
    declared: bool,
    pub(crate) rack: Option<Number>,
    pub(crate) instances: Vec<Number>,
    /// Uids of the runs that have leave to disrupt it.
    pub(crate) permits: Vec<Arc<str>>,
}

#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) holder: Holder,
    aim: Aim,
    pub(crate) since: Time,
}

/// What a permit is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Aim {
    Host(Number),
    Place(Number),
    /// By its name: its number is another's once it is gone.
    Instance(Arc<str>),
    Nothing,
}

impl Service {
    pub(crate) fn new(name: Arc<str>) -> Self {
        let (spec, down) = (ServiceSpec::default(), BTreeSet::new());
        Self {
            name,
            declared: false,
            spec,
            total: 0,
            down,
            workloads: BTreeMap::new(),
            managed: 0,
            depends_on: BTreeMap::new(),
            dependents: BTreeMap::new(),
        }
    }

    /// Instances that there are to be: as many as its workloads say, and those that are of none.
    pub(crate) fn expected(&self) -> u32 {
        if self.workloads.is_empty() {
            return self.total;
        }
        let loose = self.total.saturating_sub(self.managed);
        self.workloads.values().fold(loose, |sum, more| sum.saturating_add(*more))
    }

    /// Most instances that may be down. Those that are more than there are to be may be down as well, and those that are
    /// missing are: so Kubernetes counts a PodDisruptionBudget, and so a rollout that surges goes on under any budget.
    pub(crate) fn most_down(&self) -> u32 {
        let expected = self.expected();
        let most = u64::from(self.spec.most_down(expected)) + u64::from(self.total);
        u32::try_from(most.saturating_sub(expected.into())).unwrap_or(u32::MAX)
    }

    /// How many are up once so many more are lost, and how many must be.
    pub(crate) fn left(&self, lost: u32) -> (u32, u32) {
        let down = u32::try_from(self.down.len()).unwrap_or(u32::MAX);
        let left = self.total.saturating_sub(down).saturating_sub(lost);
        (left, self.total.saturating_sub(self.most_down()))
    }

    /// Nothing speaks of it any more.
    fn is_forgotten(&self) -> bool {
        !self.declared && self.total == 0 && self.workloads.is_empty() && self.dependents.is_empty()
    }
}

impl Instance {
    /// Whether it does its work, and nobody may stop it alone.
    pub(crate) fn is_up(&self) -> bool {
        self.available && self.permits.is_empty()
    }

    /// Its name without the namespace.
    pub(crate) fn short_name(&self) -> &str {
        self.name.split_once('/').map_or(&self.name, |(_, name)| name)
    }
}

impl Host {
    fn new(name: Arc<str>) -> Self {
        Self { name, declared: false, rack: None, instances: Vec::new(), permits: Vec::new() }
    }
}

impl Book {
    /// Notes a service, named `namespace/name`.
    pub fn set_service(&mut self, name: &str, spec: ServiceSpec) {
        let number = self.services.entry(name, Service::new);
        self.depend(number, &spec.depends_on);
        self.specify(number, true, spec);
        self.touch(number);
    }

    /// Notes what a service says of itself. Whoever is asked on behalf of another is asked no more.
    fn specify(&mut self, number: Number, declared: bool, spec: ServiceSpec) {
        let Some(service) = self.services.get_mut(number) else { return };
        let asked = service.spec.disruption_hook != spec.disruption_hook;
        (service.declared, service.spec) = (declared, spec);
        let name = service.name.clone();
        if asked {
            self.gave_way(Blocker::Hook(name));
        }
        self.gave_way(Blocker::Service(number));
    }

    /// Forgets a service. While there are instances of it, one of them may be down.
    pub fn remove_service(&mut self, name: &str) {
        let Some(number) = self.services.number(name) else { return };
        self.depend(number, &[]);
        self.specify(number, false, ServiceSpec::default());
        self.drop_service(number);
    }

    /// Notes an instance, named `namespace/name`, of the service of that name, on a server; and since when it is
    /// available, or is not.
    pub fn set_instance(
        &mut self,
        name: &str,
        service: &str,
        host: &str,
        available: bool,
        since: Option<Time>,
    ) {
        let mut permits = Vec::new();
        if let Some(number) = self.instances.number(name)
            && let Some(known) = self.instances.get_mut(number)
        {
            let same = self.services.get(known.service).is_some_and(|it| *it.name == *service)
                && self.hosts.get(known.host).is_some_and(|it| *it.name == *host);
            if same {
                (known.available, known.since) = (available, since);
                return self.count(number);
            }
            // Whoever may stop it may stop it where it is now.
            permits = known.permits.clone();
            self.remove_instance(name);
        }
        let service = self.services.entry(service, Service::new);
        let host = self.hosts.entry(host, Host::new);
        let managed = false;
        let new = |name| Instance { name, service, host, available, since, managed, permits };
        let number = self.instances.entry(name, new);
        if let Some(service) = self.services.get_mut(service) {
            service.total = service.total.saturating_add(1);
        }
        if let Some(host) = self.hosts.get_mut(host) {
            host.instances.push(number);
        }
        self.touch(service);
        // More instances can mean that more may be down.
        self.gave_way(Blocker::Service(service));
        self.count(number);
    }

    /// Forgets an instance.
    pub fn remove_instance(&mut self, name: &str) {
        let Some(number) = self.instances.number(name) else { return };
        let Some(&Instance { service, host, managed, .. }) = self.instances.get(number) else {
            return;
        };
        if let Some(service) = self.services.get_mut(service) {
            service.total = service.total.saturating_sub(1);
            service.managed = service.managed.saturating_sub(u32::from(managed));
            service.down.remove(&number);
        }
        if let Some(host) = self.hosts.get_mut(host) {
            host.instances.retain(|other| *other != number);
        }
        self.instances.remove(name);
        self.touch(service);
        self.gave_way(Blocker::Service(service));
        self.drop_service(service);
        self.drop_host(host);
    }

    /// Counts an instance as down, or as not.
    fn count(&mut self, number: Number) {
        let Some(instance) = self.instances.get(number) else { return };
        let permitted = self.hosts.get(instance.host).is_some_and(|it| !it.permits.is_empty());
        let permitted = permitted || !instance.permits.is_empty();
        let (down, at) = (!instance.available || permitted, instance.service);
        let Some(service) = self.services.get_mut(at) else { return };
        if down {
            if service.down.insert(number) {
                self.touch(at);
            }
        } else if service.down.remove(&number) {
            self.touch(at);
            self.gave_way(Blocker::Service(at));
        }
    }

    /// Notes a server and the rack it stands in.
    pub fn set_server(&mut self, name: &str, rack: Option<&str>) {
        let rack = rack.map(|rack| self.place(PlaceName::Rack(rack)));
        let number = self.hosts.entry(name, Host::new);
        if let Some(host) = self.hosts.get_mut(number) {
            host.declared = true;
        }
        self.mount(number, rack);
    }

    /// Forgets a server. Instances that are said to run on it, and permits, keep what they count.
    pub fn remove_server(&mut self, name: &str) {
        let Some(number) = self.hosts.number(name) else { return };
        self.mount(number, None);
        if let Some(host) = self.hosts.get_mut(number) {
            host.declared = false;
        }
        self.drop_host(number);
    }

    /// Moves a server to a rack, or out of all.
    fn mount(&mut self, number: Number, rack: Option<Number>) {
        let Some(host) = self.hosts.get_mut(number) else { return };
        let before = std::mem::replace(&mut host.rack, rack);
        if before == rack {
            return;
        }
        let disrupted = !host.permits.is_empty();
        for (place, joins) in [(before, false), (rack, true)] {
            if disrupted {
                self.disrupted(place, joins);
            }
            if let Some(at) = place {
                self.hold(at, number, joins);
            }
        }
        self.settle(number);
    }

    /// Has a server under the permits that are about it, and no others: its own, and those of the place it stands in
    /// now, so that a book made anew counts the same.
    pub(crate) fn settle(&mut self, number: Number) {
        let Some(host) = self.hosts.get(number) else { return };
        let around = host.rack.map_or_else(Vec::new, |rack| self.permits_on(rack));
        let own = |uid: &&Arc<str>| {
            self.permits.get(*uid).is_some_and(|permit| permit.aim == Aim::Host(number))
        };
        let keeps = host.permits.iter().filter(|uid| own(uid) || around.contains(uid));
        let mut permits: Vec<Arc<str>> = keeps.cloned().collect();
        permits.extend(around.into_iter().filter(|uid| !host.permits.contains(uid)));
        self.put_under(number, permits);
    }

    /// Has a server under these permits.
    fn put_under(&mut self, number: Number, permits: Vec<Arc<str>>) {
        let Some(host) = self.hosts.get_mut(number) else { return };
        let is = !permits.is_empty();
        let was = !std::mem::replace(&mut host.permits, permits).is_empty();
        if was == is {
            return;
        }
        let (rack, instances) = (host.rack, host.instances.clone());
        self.disrupted(rack, is);
        instances.into_iter().for_each(|instance| self.count(instance));
        self.drop_host(number);
    }

    /// Notes a permit, from `since` on. A second one of the same run changes nothing. What nobody has declared yet can
    /// be permitted, too: what comes to run on it, or into it, counts.
    pub fn permit(&mut self, holder: Holder, target: Target<'_>, since: Time) {
        if self.permits.contains_key(&holder.uid) {
            return;
        }
        let aim = match target {
            Target::Server(name) => Aim::Host(self.hosts.entry(name, Host::new)),
            Target::Place(name) => Aim::Place(self.place(name)),
            Target::Instance(name) => Aim::Instance(name.into()),
            Target::Nothing => Aim::Nothing,
        };
        let uid = holder.uid.clone();
        self.permits.insert(uid.clone(), Permit { holder, aim: aim.clone(), since });
        match aim {
            Aim::Host(number) => {
                let under = self.hosts.get(number).map(|host| host.permits.clone());
                let under = under.into_iter().flatten().chain([uid]).collect();
                self.put_under(number, under);
            }
            Aim::Place(number) => self.permit_place(number, &uid, true),
            Aim::Instance(name) => self.permit_instance(&name, &uid, true),
            Aim::Nothing => {}
        }
    }

    /// Notes that somebody may stop an instance, or no longer may.
    fn permit_instance(&mut self, name: &str, uid: &Arc<str>, may: bool) {
        let Some(number) = self.instances.number(name) else { return };
        let Some(instance) = self.instances.get_mut(number) else { return };
        instance.permits.retain(|other| other != uid);
        if may {
            instance.permits.push(uid.clone());
        }
        self.count(number);
    }

    /// Takes a permit back, once: answers whether the run had one.
    pub fn release(&mut self, uid: &str) -> bool {
        let Some(permit) = self.permits.remove(uid) else { return false };
        match permit.aim {
            Aim::Host(number) => self.settle(number),
            Aim::Place(number) => self.permit_place(number, &permit.holder.uid, false),
            Aim::Instance(name) => self.permit_instance(&name, &permit.holder.uid, false),
            Aim::Nothing => {}
        }
        true
    }

    /// Whether a run has a permit.
    pub fn permitted(&self, uid: &str) -> bool {
        self.permits.contains_key(uid)
    }

    /// Runs that have a permit.
    pub fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.permits.values().map(|permit| &permit.holder)
    }

    /// Servers that are lost with a target, each once.
    pub(crate) fn hosts_of(&self, target: Target<'_>) -> Vec<Number> {
        match target {
            Target::Server(name) => self.hosts.number(name).into_iter().collect(),
            Target::Place(name) => {
                self.find_place(name).map_or_else(Vec::new, |place| self.lost_with(place))
            }
            // It takes none with it.
            Target::Instance(_) | Target::Nothing => Vec::new(),
        }
    }

    /// The instance that a target is alone.
    pub(crate) fn instance_of(&self, target: Target<'_>) -> Option<&Instance> {
        let Target::Instance(name) = target else { return None };
        self.instances.get(self.instances.number(name)?)
    }

    /// Every place that the disruption of a target, which takes these servers, is in. One of a feed concerns all racks
    /// that hang on it: it takes what they have to fall back on.
    pub(crate) fn places_of(&self, target: Target<'_>, hosts: &[Number]) -> BTreeSet<Number> {
        let of_instance = self.instance_of(target).map(|instance| instance.host);
        let hosts = hosts.iter().copied().chain(of_instance);
        let hosts = hosts.filter_map(|host| self.hosts.get(host));
        let mut racks: BTreeSet<Number> = hosts.filter_map(|host| host.rack).collect();
        if let Target::Place(name) = target
            && let Some(place) = self.find_place(name)
        {
            racks.extend(self.racks_of(place));
        }
        racks.into_iter().flat_map(|rack| self.around(rack)).collect()
    }

    /// What gave way since this was asked last: whoever was refused for it may ask again.
    pub fn take_gave_way(&mut self) -> HashSet<Blocker> {
        std::mem::take(&mut self.gave_way)
    }

    /// Services whose numbers changed since this was asked last, by name.
    pub fn take_changed(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.changed)
    }

    /// Instances of a service: all, those down, and how many may be.
    pub fn numbers(&self, service: &str) -> Option<(u32, u32, u32)> {
        let service = self.services.get(self.services.number(service)?)?;
        let down = u32::try_from(service.down.len()).unwrap_or(u32::MAX);
        Some((service.total, down, service.most_down()))
    }

    pub(crate) fn gave_way(&mut self, blocker: Blocker) {
        self.gave_way.insert(blocker);
    }

    pub(crate) fn touch(&mut self, service: Number) {
        if let Some(service) = self.services.get(service) {
            self.changed.insert(service.name.clone());
        }
    }

    /// Lets go of a service that nothing speaks of any more.
    pub(crate) fn drop_service(&mut self, number: Number) {
        if let Some(service) = self.services.get(number)
            && service.is_forgotten()
        {
            let name = service.name.clone();
            self.services.remove(&name);
        }
    }

    fn drop_host(&mut self, number: Number) {
        if let Some(host) = self.hosts.get(number)
            && !host.declared
            && host.instances.is_empty()
            && host.permits.is_empty()
        {
            let name = host.name.clone();
            self.hosts.remove(&name);
        }
    }
}
