//! What placement decides on, kept from the cache's changes: one [`Fleet`] for each namespace, and which machines are
//! silent. One replica alone places (see [`super`]), so what was decided is noted here before it is written, and nothing
//! comes between.

use super::{
    lost::{RACK_MOST, Rate, SITE_MOST, Silence},
    seen::{Standing, ports, read, requests, seen, taken},
};
use quarterdeck_ledger::placement::{Fleet, Placed, Quota, Refusal, Taken, Wish};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object, Revision, Time,
    kinds::{Instance, Machine, Rack, ResourceQuota, Server, Workload, container::PodSpec},
};
use quarterdeck_store::{Store, World};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

/// What is known of all namespaces.
pub(super) struct Rooms {
    store: Arc<Store>,
    at: Option<Revision>,
    fleets: HashMap<Arc<str>, Fleet>,
    machines: HashMap<Key, Standing>,
    /// The machines of each rack.
    in_racks: HashMap<String, BTreeSet<Key>>,
    /// Machines there are in each rack and site, and how many of them are silent.
    silence: HashMap<String, (u32, u32)>,
    rates: HashMap<String, Rate>,
    /// Workloads for which room is made, and how much they matter: others wait until they have it.
    makes_room: BTreeMap<Key, i32>,
}

/// Why there is no machine for an instance.
pub(super) struct Unplaced {
    pub(super) message: String,
    /// Those that would have to make way.
    pub(super) victims: Vec<Arc<str>>,
}

/// In this order: where a machine is is known before it.
fn followed() -> [KindRef; 6] {
    [
        Rack::info(),
        Server::info(),
        ResourceQuota::info(),
        Workload::info(),
        Machine::info(),
        Instance::info(),
    ]
}

impl Rooms {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            at: None,
            fleets: HashMap::new(),
            machines: HashMap::new(),
            in_racks: HashMap::new(),
            silence: HashMap::new(),
            rates: HashMap::new(),
            makes_room: BTreeMap::new(),
        }
    }

    /// Brings all to the newest world. What is newer than that comes once more: each change says what is.
    pub(super) fn catch_up(&mut self) {
        let world = self.store.world();
        let Some(at) = self.at else { return self.read_all(&world) };
        if at == world.revision() {
            return;
        }
        self.at = Some(world.revision());
        for kind in followed() {
            let Ok(changes) = self.store.changes(kind, at) else { return self.read_all(&world) };
            for (key, object) in changes {
                match object {
                    Some(object) => self.note(&world, &object),
                    None => self.forget(kind, &key),
                }
            }
        }
    }

    fn read_all(&mut self, world: &World) {
        let rates = std::mem::take(&mut self.rates);
        *self = Self { at: Some(world.revision()), rates, ..Self::new(self.store.clone()) };
        for kind in [ResourceQuota::info(), Workload::info(), Machine::info(), Instance::info()] {
            world.all(kind).for_each(|object| self.note(world, object));
        }
    }

    /// All is read anew with the next look: it is not known what was written.
    pub(super) fn read_again(&mut self) {
        self.at = None;
    }

    fn fleet(&mut self, namespace: &str) -> &mut Fleet {
        if !self.fleets.contains_key(namespace) {
            self.fleets.insert(namespace.into(), Fleet::default());
        }
        self.fleets.entry(namespace.into()).or_default()
    }

    fn note(&mut self, world: &World, object: &Object) {
        let (kind, namespace) = (object.kind, object.namespace());
        if kind == Instance::info() {
            if let Some(taken) = taken(object) {
                self.fleet(namespace).set_instance(object.name(), &taken.as_taken());
            } else {
                self.fleet(namespace).remove_instance(object.name());
            }
        } else if kind == Machine::info() {
            self.note_machine(world, object);
        } else if kind == Workload::info() {
            if let Some(workload) = read::<Workload>(object) {
                self.fleet(namespace).set_workload(object.name(), &workload.spec.placement);
            }
        } else if kind == ResourceQuota::info() {
            if let Some(quota) = read::<ResourceQuota>(object) {
                let (cpu, memory) = quota.spec.requests();
                let limits = quota.spec.limits();
                let instances = limits.filter(|(_, kind, _)| *kind == Instance::info());
                let instances = instances.map(|(_, _, most)| most).min();
                let name = object.name().to_owned();
                self.fleet(namespace).set_quota(Quota { name, cpu, memory, instances });
            }
        } else if kind == Server::info() {
            let on = format!("status.server={}", object.name());
            for machine in world.with_fields(Machine::info(), &on) {
                self.note_machine(world, &machine);
            }
        } else if kind == Rack::info() {
            // Racks change one by one, and each has few of all machines.
            let there = self.in_racks.get(object.name()).cloned().unwrap_or_default();
            for Key { namespace, name, .. } in there {
                if let Some(machine) = world.get(Machine::info(), &namespace, &name) {
                    self.note_machine(world, &machine);
                }
            }
        }
    }

    fn note_machine(&mut self, world: &World, object: &Object) {
        let Some(machine) = read::<Machine>(object) else { return };
        let (host, standing) = seen(world, &machine);
        self.stands(&object.key, Some(standing));
        self.fleet(object.namespace()).set_machine(object.name(), host);
    }

    /// Counts a machine where it is, and no longer where it was.
    fn stands(&mut self, key: &Key, now: Option<Standing>) {
        let before = match &now {
            Some(now) => self.machines.insert(key.clone(), now.clone()),
            None => self.machines.remove(key),
        };
        if before == now {
            return;
        }
        for (standing, joins) in [(before, false), (now, true)] {
            let Some(standing) = standing else { continue };
            if let Some(rack) = &standing.rack {
                self.moves(key, rack, joins);
            }
            for place in standing.places() {
                let (all, silent) = self.silence.entry(place).or_default();
                let quiet = u32::from(standing.silent.is_some());
                if joins {
                    (*all, *silent) = (*all + 1, *silent + quiet);
                } else {
                    (*all, *silent) = (all.saturating_sub(1), silent.saturating_sub(quiet));
                }
            }
        }
    }

    fn moves(&mut self, machine: &Key, rack: &str, joins: bool) {
        if joins {
            self.in_racks.entry(rack.to_owned()).or_default().insert(machine.clone());
        } else if let Some(left) = self.in_racks.get_mut(rack) {
            left.remove(machine);
            if left.is_empty() {
                self.in_racks.remove(rack);
            }
        }
    }

    fn forget(&mut self, kind: KindRef, key: &Key) {
        if kind == Instance::info() {
            self.fleet(&key.namespace).remove_instance(&key.name);
        } else if kind == Machine::info() {
            self.stands(key, None);
            self.fleet(&key.namespace).remove_machine(&key.name);
        } else if kind == Workload::info() {
            self.makes_room.remove(key);
            self.fleet(&key.namespace).remove_workload(&key.name);
        } else if kind == ResourceQuota::info() {
            self.fleet(&key.namespace).remove_quota(&key.name);
        }
    }

    /// Finds a machine for a new instance, and notes that it is there.
    pub(super) fn place(
        &mut self,
        workload: &Key,
        name: &str,
        (template, priority): (&PodSpec, i32),
        seed: u64,
    ) -> Result<Placed, Unplaced> {
        let own = |key: &Key| key.namespace == workload.namespace && *key != *workload;
        let first = self.makes_room.iter().find(|(key, other)| own(key) && **other > priority);
        if let Some((first, _)) = first {
            let message = format!(
                "room is being made for Workload {}, which has a higher priority; it comes first",
                first.name
            );
            return Err(Unplaced { message, victims: Vec::new() });
        }
        let (requests, ports) = (requests(template), ports(template));
        let wish = Wish { workload: &workload.name, requests, ports: &ports, priority };
        let fleet = self.fleet(&workload.namespace);
        match fleet.place(&wish, seed) {
            Ok(placed) => {
                let taken = Taken {
                    machine: &placed.machine,
                    workload: Some(&workload.name),
                    requests,
                    ports: &ports,
                    priority,
                };
                fleet.set_instance(name, &taken);
                Ok(placed)
            }
            Err(refusal) => {
                let message = refusal.to_string();
                let Refusal { victims, .. } = *refusal;
                let victims = victims.map(|(_, victims)| victims).unwrap_or_default();
                Err(Unplaced { message, victims })
            }
        }
    }

    /// Notes whether room is made for a workload.
    pub(super) fn makes_room(&mut self, workload: &Key, priority: Option<i32>) {
        match priority {
            Some(priority) => self.makes_room.insert(workload.clone(), priority),
            None => self.makes_room.remove(workload),
        };
    }

    /// What was decided could not be written.
    pub(super) fn not_placed(&mut self, namespace: &str, name: &str) {
        self.fleet(namespace).remove_instance(name);
        // Another one may have the name.
        let world = self.store.world();
        if let Some(object) = world.get(Instance::info(), namespace, name) {
            self.note(&world, &object);
        }
    }

    /// The taint for which an instance is to leave its machine.
    pub(super) fn leaves(&self, workload: &Key, machine: &str) -> Option<String> {
        let fleet = self.fleets.get(&*workload.namespace)?;
        fleet.leaves(&workload.name, machine).map(str::to_owned)
    }

    /// Since when a machine is silent, and how silent its rack and site are; none when it is heard of.
    pub(super) fn silence(&self, namespace: &str, machine: &str) -> Option<(Time, Vec<Silence>)> {
        let standing = self.machines.get(&Key::new(Machine::info(), namespace, machine))?;
        let places = standing.places().into_iter().map(|place| {
            let (all, silent) = self.silence.get(&place).copied().unwrap_or_default();
            Silence { place, silent, all }
        });
        Some((standing.silent?, places.collect()))
    }

    /// How long until one more instance of a machine may be given up; none when it was counted now.
    pub(super) fn give_up(
        &mut self,
        namespace: &str,
        machine: &str,
        now: Time,
    ) -> Option<Duration> {
        let key = Key::new(Machine::info(), namespace, machine);
        let places = self.machines.get(&key).map(Standing::places).unwrap_or_default();
        let most = |place: &str| if place.starts_with("rack ") { RACK_MOST } else { SITE_MOST };
        let waits = places.iter().filter_map(|place| {
            self.rates.entry(place.clone()).or_default().wait(most(place), now)
        });
        if let Some(wait) = waits.max() {
            return Some(wait);
        }
        for place in places {
            self.rates.entry(place).or_default().note(now);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::object;
    use quarterdeck_store::{Mutation, Precondition, Sqlite, Write};
    use serde_json::{Value, json};

    async fn put(store: &Store, kind: KindRef, namespace: &str, name: &str, mut value: Value) {
        value["metadata"] = json!({"name": name, "namespace": namespace, "uid": name});
        let key = Key::new(kind, namespace, name);
        let write = Write::Put(object::encode(kind, &value).into());
        let mutation = Mutation { key, write, precondition: Precondition::None, fence: None };
        store.commit(vec![mutation]).await.unwrap();
    }

    #[tokio::test]
    async fn a_rack_that_goes_to_another_site_takes_its_own_machines_along_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let backend = Arc::new(Sqlite::open(folder.path()).unwrap());
        let store = Arc::new(Store::open(backend).await.unwrap());
        let rack = async |name: &str, site: &str| {
            put(&store, Rack::info(), "", name, json!({"spec": {"site": site}})).await;
        };
        let machine = async |name: &str, rack: &str, server: Option<&str>| {
            let location = json!({"site": "told", "rack": rack});
            let silent = json!({"type": "Reachable", "status": "False", "reason": "AgentSilent", "message": "",
                "lastTransitionTime": "2026-03-01T12:00:00Z"});
            let status = json!({"phase": "Running", "server": server, "conditions": [silent]});
            let spec = json!({"preinstalled": true, "location": location});
            let value = json!({"spec": spec, "status": status});
            put(&store, Machine::info(), "team", name, value).await;
        };
        let mut rooms = Rooms::new(store.clone());
        let mut site = |name: &str| {
            rooms.catch_up();
            let (_, places) = rooms.silence("team", name).unwrap();
            places.into_iter().map(|it| it.place).find(|it| it.starts_with("site")).unwrap()
        };
        rack("r-1", "a").await;
        rack("r-2", "b").await;
        let on = json!({"spec": {"bmc": {"address": "192.0.2.1"}, "location": {"rack": "r-1", "unit": 1}}});
        put(&store, Server::info(), "", "s", on).await;
        machine("alone", "r-1", None).await;
        machine("on-server", "r-9", Some("s")).await;
        machine("other", "r-2", None).await;
        assert_eq!(
            [site("alone"), site("on-server"), site("other")],
            ["site a", "site a", "site b"]
        );
        rack("r-1", "c").await;
        assert_eq!(
            [site("alone"), site("on-server"), site("other")],
            ["site c", "site c", "site b"]
        );
        // It was carried to another rack: what becomes of the first is nothing to it.
        machine("alone", "r-2", None).await;
        assert_eq!(site("alone"), "site b");
        rack("r-1", "d").await;
        assert_eq!(
            [site("alone"), site("on-server"), site("other")],
            ["site b", "site d", "site b"]
        );
    }
}
