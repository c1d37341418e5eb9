//! The book: counts of what is down, kept with each change, so that a decision reads and does not count.
//!
//! An instance is down when it is not available, or when its server is under a permit: then it may go at any
//! moment. Each service knows its instances that are down, each server its instances and permits, each
//! place how many of its servers are under one.

use crate::{
    refusal::Blocker,
    table::{Number, Table},
};
use quarterdeck_model::{
    Time,
    kinds::{FreezeSpec, ServiceSpec},
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
    gave_way: HashSet<Blocker>,
    changed: BTreeSet<Arc<str>>,
}

/// What is disrupted as one: a kind and a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its kind, such as `Server` or `Rack`.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PlaceKind {
    Rack,
    Site,
}

#[derive(Debug)]
pub(crate) struct Place {
    /// `rack/name` or `site/name`.
    name: Arc<str>,
    pub(crate) kind: PlaceKind,
    /// Somebody declared it.
    declared: bool,
    /// The place around it.
    pub(crate) within: Option<Number>,
    pub(crate) limit: Option<u32>,
    /// Servers, of a rack; racks, of a site.
    holds: BTreeSet<Number>,
    /// Servers in it under a permit.
    pub(crate) disrupted: u32,
    /// Uids of the runs that have leave to disrupt it as a whole: also what comes into it.
    permits: Vec<Arc<str>>,
}

#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) holder: Holder,
    hosts: Vec<Number>,
    /// The place that is its target.
    place: Option<Number>,
    pub(crate) since: Time,
}

impl Service {
    fn new(name: Arc<str>) -> Self {
        let (spec, down) = (ServiceSpec::default(), BTreeSet::new());
        Self { name, declared: false, spec, total: 0, down }
    }

    /// Most instances that may be down.
    pub(crate) fn most_down(&self) -> u32 {
        self.spec.most_down(self.total)
    }
}

impl Instance {
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

impl Place {
    fn new(kind: PlaceKind) -> impl FnOnce(Arc<str>) -> Self {
        move |name| Self {
            name,
            kind,
            declared: false,
            within: None,
            limit: None,
            holds: BTreeSet::new(),
            disrupted: 0,
            permits: Vec::new(),
        }
    }

    /// Its name without what it is.
    pub(crate) fn short_name(&self) -> &str {
        self.name.split_once('/').map_or(&self.name, |(_, name)| name)
    }
}

fn place_name(kind: PlaceKind, name: &str) -> String {
    match kind {
        PlaceKind::Rack => format!("rack/{name}"),
        PlaceKind::Site => format!("site/{name}"),
    }
}

impl Book {
    /// Notes a service, named `namespace/name`.
    pub fn set_service(&mut self, name: &str, spec: ServiceSpec) {
        let number = self.services.entry(name, Service::new);
        if let Some(service) = self.services.get_mut(number) {
            (service.declared, service.spec) = (true, spec);
        }
        self.touch(number);
        self.gave_way(Blocker::Service(number));
    }

    /// Forgets a service. While there are instances of it, one of them may be down.
    pub fn remove_service(&mut self, name: &str) {
        let Some(number) = self.services.number(name) else { return };
        if let Some(service) = self.services.get_mut(number) {
            (service.declared, service.spec) = (false, ServiceSpec::default());
        }
        self.gave_way(Blocker::Service(number));
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
        if let Some(number) = self.instances.number(name)
            && let Some(known) = self.instances.get_mut(number)
        {
            let same = self.services.get(known.service).is_some_and(|it| *it.name == *service)
                && self.hosts.get(known.host).is_some_and(|it| *it.name == *host);
            if same {
                (known.available, known.since) = (available, since);
                return self.count(number);
            }
            self.remove_instance(name);
        }
        let service = self.services.entry(service, Service::new);
        let host = self.hosts.entry(host, Host::new);
        let new = |name| Instance { name, service, host, available, since };
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
        let Some(&Instance { service, host, .. }) = self.instances.get(number) else { return };
        if let Some(service) = self.services.get_mut(service) {
            service.total = service.total.saturating_sub(1);
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
        let rack = rack.map(|rack| {
            let name = place_name(PlaceKind::Rack, rack);
            self.places.entry(&name, Place::new(PlaceKind::Rack))
        });
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
            let Some(at) = place else { continue };
            if disrupted {
                self.disrupted(Some(at), joins);
            }
            if let Some(place) = self.places.get_mut(at) {
                if joins {
                    place.holds.insert(number);
                } else {
                    place.holds.remove(&number);
                }
            }
            self.drop_place(at);
        }
        self.inherit(number);
        self.leave(number);
    }

    /// Has a server under the permits of the places it stands in.
    fn inherit(&mut self, number: Number) {
        let Some(host) = self.hosts.get(number) else { return };
        let (mut next, mut uids) = (host.rack, Vec::new());
        while let Some(place) = next.and_then(|at| self.places.get(at)) {
            uids.extend(place.permits.iter().filter(|uid| !host.permits.contains(uid)).cloned());
            next = place.within;
        }
        for uid in uids {
            self.put_under(&uid, number);
        }
    }

    /// Has a server no longer under the permits of places that it does not stand in any more: a permit is
    /// about who is in its target now, so that a book made anew counts the same.
    fn leave(&mut self, number: Number) {
        let Some(host) = self.hosts.get(number) else { return };
        let (mut next, mut around) = (host.rack, Vec::new());
        while let Some((at, place)) = next.and_then(|at| Some((at, self.places.get(at)?))) {
            around.push(at);
            next = place.within;
        }
        let left = |uid: &&Arc<str>| {
            let place = self.permits.get(*uid).and_then(|permit| permit.place);
            place.is_some_and(|place| !around.contains(&place))
        };
        let left: Vec<Arc<str>> = host.permits.iter().filter(left).cloned().collect();
        for uid in left {
            if let Some(permit) = self.permits.get_mut(&uid) {
                permit.hosts.retain(|other| *other != number);
            }
            self.take_from_under(&uid, number);
        }
    }

    /// Has a server no longer under a permit.
    fn take_from_under(&mut self, uid: &str, number: Number) {
        let Some(host) = self.hosts.get_mut(number) else { return };
        host.permits.retain(|other| **other != *uid);
        if host.permits.is_empty() {
            let (rack, instances) = (host.rack, host.instances.clone());
            self.disrupted(rack, false);
            instances.into_iter().for_each(|instance| self.count(instance));
            self.drop_host(number);
        }
    }

    /// Has a server under a permit.
    fn put_under(&mut self, uid: &Arc<str>, number: Number) {
        let (Some(permit), Some(host)) = (self.permits.get_mut(uid), self.hosts.get_mut(number))
        else {
            return;
        };
        if host.permits.contains(uid) {
            return;
        }
        permit.hosts.push(number);
        host.permits.push(uid.clone());
        if host.permits.len() == 1 {
            let (rack, instances) = (host.rack, host.instances.clone());
            self.disrupted(rack, true);
            instances.into_iter().for_each(|instance| self.count(instance));
        }
    }

    /// Notes a rack, the site it stands in, and how many of its servers may be disrupted at once.
    pub fn set_rack(&mut self, name: &str, site: &str, limit: Option<u32>) {
        let site = place_name(PlaceKind::Site, site);
        let site = self.places.entry(&site, Place::new(PlaceKind::Site));
        self.set_place(PlaceKind::Rack, name, Some(site), limit);
    }

    /// Forgets a rack.
    pub fn remove_rack(&mut self, name: &str) {
        self.remove_place(PlaceKind::Rack, name);
    }

    /// Notes a site, and how many of its servers may be disrupted at once.
    pub fn set_site(&mut self, name: &str, limit: Option<u32>) {
        self.set_place(PlaceKind::Site, name, None, limit);
    }

    /// Forgets a site.
    pub fn remove_site(&mut self, name: &str) {
        self.remove_place(PlaceKind::Site, name);
    }

    fn set_place(
        &mut self,
        kind: PlaceKind,
        name: &str,
        within: Option<Number>,
        limit: Option<u32>,
    ) {
        let number = self.places.entry(&place_name(kind, name), Place::new(kind));
        if let Some(place) = self.places.get_mut(number) {
            (place.declared, place.limit) = (true, limit);
        }
        self.stand(number, within);
        self.gave_way(Blocker::Place(number));
    }

    fn remove_place(&mut self, kind: PlaceKind, name: &str) {
        let Some(number) = self.places.number(&place_name(kind, name)) else { return };
        if let Some(place) = self.places.get_mut(number) {
            (place.declared, place.limit) = (false, None);
        }
        self.stand(number, None);
        self.gave_way(Blocker::Place(number));
        self.drop_place(number);
    }

    /// Moves a place into another, or out of all.
    fn stand(&mut self, number: Number, within: Option<Number>) {
        let Some(place) = self.places.get_mut(number) else { return };
        let before = std::mem::replace(&mut place.within, within);
        if before == within {
            return;
        }
        let disrupted = place.disrupted;
        for (around, joins) in [(before, false), (within, true)] {
            let Some(at) = around else { continue };
            let Some(place) = self.places.get_mut(at) else { continue };
            if joins {
                place.holds.insert(number);
                place.disrupted = place.disrupted.saturating_add(disrupted);
            } else {
                place.holds.remove(&number);
                place.disrupted = place.disrupted.saturating_sub(disrupted);
                self.gave_way(Blocker::Place(at));
            }
            self.drop_place(at);
        }
        let held = self.places.get(number).map(|place| (place.kind, place.holds.clone()));
        if let Some((PlaceKind::Rack, hosts)) = held {
            for host in hosts {
                self.inherit(host);
                self.leave(host);
            }
        }
    }

    /// Counts a server that is disrupted, or no longer is, in a place and those around it.
    fn disrupted(&mut self, from: Option<Number>, is: bool) {
        let mut next = from;
        while let Some(at) = next {
            let Some(place) = self.places.get_mut(at) else { return };
            next = place.within;
            if is {
                place.disrupted = place.disrupted.saturating_add(1);
            } else {
                place.disrupted = place.disrupted.saturating_sub(1);
                self.gave_way(Blocker::Place(at));
            }
        }
    }

    /// Notes a permit, from `since` on. A second one of the same run changes nothing.
    pub fn permit(&mut self, holder: Holder, target: Target<'_>, since: Time) {
        if self.permits.contains_key(&holder.uid) {
            return;
        }
        let mut hosts = self.hosts_of(target);
        if target.kind == "Server" && hosts.is_empty() {
            // A server that nobody has declared yet: what comes to run on it counts.
            hosts.push(self.hosts.entry(target.name, Host::new));
        }
        let kind = match target.kind {
            "Rack" => Some(PlaceKind::Rack),
            "Site" => Some(PlaceKind::Site),
            _ => None,
        };
        // One that nobody has declared yet, too: what comes into it goes with it.
        let place =
            kind.map(|kind| self.places.entry(&place_name(kind, target.name), Place::new(kind)));
        let uid = holder.uid.clone();
        if let Some(place) = place.and_then(|at| self.places.get_mut(at)) {
            place.permits.push(uid.clone());
        }
        let permit = Permit { holder, hosts: Vec::with_capacity(hosts.len()), place, since };
        self.permits.insert(uid.clone(), permit);
        hosts.into_iter().for_each(|host| self.put_under(&uid, host));
    }

    /// Takes a permit back, once: answers whether the run had one.
    pub fn release(&mut self, uid: &str) -> bool {
        let Some(permit) = self.permits.remove(uid) else { return false };
        if let Some(at) = permit.place {
            if let Some(place) = self.places.get_mut(at) {
                place.permits.retain(|other| **other != *uid);
            }
            self.drop_place(at);
        }
        permit.hosts.into_iter().for_each(|number| self.take_from_under(uid, number));
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

    /// Servers that a target is, each once.
    pub(crate) fn hosts_of(&self, target: Target<'_>) -> Vec<Number> {
        let place = |kind| {
            let number = self.places.number(&place_name(kind, target.name))?;
            self.places.get(number)
        };
        match target.kind {
            "Server" => self.hosts.number(target.name).into_iter().collect(),
            "Rack" => {
                place(PlaceKind::Rack).into_iter().flat_map(|rack| &rack.holds).copied().collect()
            }
            "Site" => {
                let racks = place(PlaceKind::Site).into_iter().flat_map(|site| &site.holds);
                let racks = racks.filter_map(|rack| self.places.get(*rack));
                racks.flat_map(|rack| &rack.holds).copied().collect()
            }
            _ => Vec::new(),
        }
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

    fn touch(&mut self, service: Number) {
        if let Some(service) = self.services.get(service) {
            self.changed.insert(service.name.clone());
        }
    }

    /// Lets go of a service that nothing speaks of any more.
    fn drop_service(&mut self, number: Number) {
        if let Some(service) = self.services.get(number)
            && !service.declared
            && service.total == 0
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

    fn drop_place(&mut self, number: Number) {
        if let Some(place) = self.places.get(number)
            && !place.declared
            && place.holds.is_empty()
            && place.permits.is_empty()
        {
            let (name, within) = (place.name.clone(), place.within);
            if within.is_none() {
                self.places.remove(&name);
            }
        }
    }
}
