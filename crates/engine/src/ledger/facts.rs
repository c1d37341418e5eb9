//! What the book is told: objects of the kinds it is about, as the cache has them. It reads what is indexed, and
//! decodes an object only where that does not say enough.

use super::approvals::speaks;
use crate::{
    planted::{self, Planted},
    runs,
};
use quarterdeck_ledger::{Book, Holder, Target};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object, Revision, Time,
    kinds::{
        Freeze, Instance, Machine, Permit, PermitPhase, Rack, Run, RunTarget, Server, Service,
        Site, Workload, instances_on_machine,
    },
};
use quarterdeck_store::{Store, World};
use std::{borrow::Cow, collections::HashMap, sync::Arc};
use tracing::error;

/// The book, and how far it is brought.
pub(crate) struct Facts {
    store: Arc<Store>,
    pub(crate) book: Book,
    /// All changes up to here are in it; none before the first time.
    at: Option<Revision>,
    /// Permits that were granted, with the identity of the run that has each.
    permits: HashMap<Key, Arc<str>>,
    /// Those that were not.
    asks: HashMap<Key, Ask>,
    /// Those among them that wait for a first answer, or for another, with since when.
    asked: Vec<(Option<Time>, Key)>,
    /// The server that each machine has, by the machine's `namespace/name`; and the machine that each server is of.
    machines: HashMap<String, String>,
    servers: HashMap<String, String>,
}

/// A permit that was not granted yet.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) revision: Revision,
    /// Identity of its run.
    pub(super) uid: Arc<str>,
    pub(super) permit: Permit,
}

/// In this order: what an instance is on is known before the instance.
fn followed() -> [KindRef; 10] {
    [
        Site::info(),
        Rack::info(),
        Server::info(),
        Machine::info(),
        Service::info(),
        Workload::info(),
        Instance::info(),
        Freeze::info(),
        Permit::info(),
        Run::info(),
    ]
}

impl Facts {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            book: Book::default(),
            at: None,
            permits: HashMap::new(),
            asks: HashMap::new(),
            asked: Vec::new(),
            machines: HashMap::new(),
            servers: HashMap::new(),
        }
    }

    /// All changes up to here are known.
    pub(super) fn at(&self) -> Revision {
        self.at.unwrap_or(Revision::ZERO)
    }

    /// Brings the book to the newest world; answers whether it was made anew.
    pub(crate) fn catch_up(&mut self, now: Time) -> bool {
        let world = self.store.world();
        let Some(at) = self.at else {
            self.read_all(&world, now);
            return true;
        };
        // What is newer than that world comes once more: each change says what is, not what became. Every kind is asked
        // about: a world is seen before it is known which kinds are newer in it.
        self.at = Some(world.revision());
        for kind in followed() {
            let Ok(changes) = self.store.changes(kind, at) else {
                self.read_all(&world, now);
                return true;
            };
            for (key, object) in changes {
                match object {
                    Some(object) => self.note(&object, now),
                    None => self.forget(kind, &key, now),
                }
            }
        }
        false
    }

    fn read_all(&mut self, world: &World, now: Time) {
        let Self { store, .. } = self;
        *self = Self { at: Some(world.revision()), ..Self::new(store.clone()) };
        for kind in followed().into_iter().filter(|kind| *kind != Run::info()) {
            world.all(kind).for_each(|object| self.note(object, now));
        }
        self.book.take_gave_way();
    }

    /// All is read anew with the next look.
    pub(crate) fn read_again(&mut self) {
        self.at = None;
    }

    /// Forgets what somebody might want to be told of: nobody asks for it.
    pub(crate) fn forget_news(&mut self) {
        self.asked.clear();
        self.book.take_gave_way();
        self.book.take_changed();
    }

    fn note(&mut self, object: &Object, now: Time) {
        let kind = object.kind;
        let field = |path| object.field(path).filter(|value| !value.is_empty());
        let full = || format!("{}/{}", object.namespace(), object.name());
        if kind == Instance::info() {
            let (Some(service), Some(host)) = (field("spec.service"), field("spec.host.name"))
            else {
                return;
            };
            let (machine, elsewhere) = match field("spec.host.kind") {
                Some("Machine") => (Some(host), None),
                // The machine is the node's. Where that is not known, nobody who disrupts machines disrupts it.
                Some("Cluster") => {
                    let cluster = format!("Cluster {}/{host}", object.namespace());
                    (field("status.machine"), Some(cluster))
                }
                _ => (None, None),
            };
            let machine = machine.map(|machine| format!("{}/{machine}", object.namespace()));
            // One on a machine that has no server yet is on nothing that anybody can disrupt.
            let server =
                machine.as_ref().map(|machine| self.machines.get(machine).unwrap_or(machine));
            let host = server.or(elsewhere.as_ref()).map_or(host, String::as_str);
            let service = format!("{}/{service}", object.namespace());
            let available = field("status.phase") == Some("Ready");
            // Few are down, and since when is said only of those.
            let since = match available {
                true => None,
                false => read::<Instance>(object).and_then(|it| it.status.phase_since),
            };
            self.book.set_instance(&full(), &service, host, available, since);
            if field("spec.workload").is_some() {
                self.book.manage(&full());
            }
        } else if kind == Machine::info() {
            // One whose server is not managed here stands for it.
            match field("spec.location.rack") {
                Some(rack) => self.book.set_server(&full(), Some(rack)),
                None => self.book.remove_server(&full()),
            }
        } else if kind == Server::info() {
            self.book.set_server(object.name(), field("spec.location.rack"));
            let of = field("status.machineRef.namespace").zip(field("status.machineRef.name"));
            self.server_is_of(object.name(), of, now);
        } else if kind == Rack::info() {
            if let Some(rack) = read::<Rack>(object) {
                self.book.set_rack(object.name(), &rack.spec);
            }
        } else if kind == Site::info() {
            if let Some(site) = read::<Site>(object) {
                self.book.set_site(object.name(), &site.spec);
            }
        } else if kind == Service::info() {
            if let Some(service) = read::<Service>(object) {
                self.book.set_service(&full(), service.spec);
            }
        } else if kind == Workload::info() {
            if let Some(Workload { spec, .. }) = read::<Workload>(object) {
                let service = format!("{}/{}", object.namespace(), spec.service);
                self.book.set_workload(&full(), &service, spec.replicas);
            }
        } else if kind == Freeze::info() {
            if let Some(freeze) = read::<Freeze>(object) {
                self.book.set_freeze(object.name(), freeze.spec);
            }
        } else if kind == Permit::info() {
            if let Some(permit) = read::<Permit>(object) {
                self.note_permit(object, permit, now);
            }
        } else if kind == Run::info() {
            // What people say of one that waits.
            let permit = Key::new(Permit::info(), object.namespace(), object.name());
            if let Some(ask) = self.asks.get(&permit).filter(|_| speaks(object)) {
                self.asked.push((ask.permit.spec.asked, permit));
            }
        }
    }

    fn note_permit(&mut self, object: &Object, mut permit: Permit, now: Time) {
        let (key, spec) = (&object.key, &permit.spec);
        let uid: Arc<str> = spec.run_uid.as_str().into();
        let granted = permit.is_granted();
        if self.permits.get(key).is_some_and(|before| !granted || *before != uid) {
            self.taken_back(key);
        }
        if granted {
            self.asks.remove(key);
            let name = format!("{}/{}", object.namespace(), object.name());
            let target = on_server(&self.machines, &spec.target, object.namespace());
            if self.permits.insert(key.clone(), uid.clone()).is_none() {
                // One that was decided here a moment ago was noted where its target was then.
                self.book.release(&uid);
            }
            let (holder, since) = (Holder { uid, name }, permit.status.granted.unwrap_or(now));
            self.book.permit(holder, Target::from(&*target), since);
            return;
        }
        let before = self.asks.get(key).filter(|before| before.uid == uid);
        // An answer that was written here is no question.
        let known = before.is_some_and(|before| before.permit.spec == *spec);
        if !known || permit.status.phase == PermitPhase::Asked {
            self.asked.push((spec.asked, key.clone()));
        }
        permit.metadata.resource_version = None;
        self.asks.insert(key.clone(), Ask { revision: object.revision, uid, permit });
    }

    /// Those who ask since this was called last, or ask something else.
    pub(super) fn take_asked(&mut self) -> Vec<(Option<Time>, Key)> {
        std::mem::take(&mut self.asked)
    }

    /// A permit that was not granted yet.
    pub(super) fn ask(&self, permit: &Key) -> Option<&Ask> {
        self.asks.get(permit)
    }

    fn forget(&mut self, kind: KindRef, key: &Key, now: Time) {
        let full = || format!("{}/{}", key.namespace, key.name);
        if kind == Instance::info() {
            self.book.remove_instance(&full());
        } else if kind == Machine::info() {
            self.book.remove_server(&full());
        } else if kind == Server::info() {
            self.book.remove_server(&key.name);
            self.server_is_of(&key.name, None, now);
        } else if kind == Rack::info() {
            self.book.remove_rack(&key.name);
        } else if kind == Site::info() {
            self.book.remove_site(&key.name);
        } else if kind == Service::info() {
            self.book.remove_service(&full());
        } else if kind == Workload::info() {
            self.book.remove_workload(&full());
        } else if kind == Freeze::info() {
            self.book.remove_freeze(&key.name);
        } else if kind == Permit::info() {
            self.asks.remove(key);
            self.taken_back(key);
        }
    }

    /// Notes whose a server is, as it says itself: a machine that has lost it still says where it was, and is not on
    /// the server of the next one.
    fn server_is_of(&mut self, server: &str, machine: Option<(&str, &str)>, now: Time) {
        let full = machine.map(|(namespace, name)| format!("{namespace}/{name}"));
        let before = self.servers.get(server);
        if before == full.as_ref() {
            return;
        }
        let left =
            before.filter(|before| self.machines.get(*before).is_some_and(|it| it == server));
        if let Some(left) = left.cloned() {
            self.machines.remove(&left);
            let (namespace, name) = left.split_once('/').unwrap_or_default();
            self.machine_has_moved(namespace, name, now);
        }
        match full {
            Some(machine) => {
                self.machines.insert(machine.clone(), server.to_owned());
                self.servers.insert(server.to_owned(), machine);
            }
            None => drop(self.servers.remove(server)),
        }
        if let Some((namespace, name)) = machine {
            self.machine_has_moved(namespace, name, now);
        }
    }

    /// Brings the instances of a machine to where it is now.
    fn machine_has_moved(&mut self, namespace: &str, name: &str, now: Time) {
        let fields = instances_on_machine(namespace, name);
        let by_node = format!("metadata.namespace={namespace},status.machine={name}");
        let world = self.store.world();
        for fields in [fields, by_node] {
            for instance in world.with_fields(Instance::info(), &fields) {
                self.note(&instance, now);
            }
        }
        if self.permits.is_empty() {
            return;
        }
        // Whoever may disrupt the machine may disrupt it where it is now.
        let fields = format!(
            "metadata.namespace={namespace},spec.target.kind=Machine,spec.target.name={name}"
        );
        for permit in world.with_fields(Permit::info(), &fields) {
            if let Some(uid) = self.permits.get(&permit.key) {
                self.book.release(uid);
                self.note(&permit, now);
            }
        }
    }

    /// What a run in a namespace is about: of a machine, what it is on.
    pub(crate) fn on_server<'t>(
        &self,
        target: &'t RunTarget,
        namespace: &str,
    ) -> Cow<'t, RunTarget> {
        on_server(&self.machines, target, namespace)
    }

    /// Whether the run of a permit goes on, which may have been another of the same name; of an instance that is to be
    /// stopped alone, whether it is there.
    pub(super) fn goes_on(&self, permit: &Key, uid: &str) -> bool {
        let target = self.ask(permit).map(|ask| &ask.permit.spec.target);
        if let Some(target) = target.filter(|target| target.kind == Instance::KIND) {
            let world = self.store.world();
            let found = world.get(Instance::info(), &permit.namespace, &target.name);
            return found.is_some_and(|found| *found.uid() == *uid);
        }
        let found = self.store.world().get(Run::info(), &permit.namespace, &permit.name);
        found.is_some_and(|found| *found.uid() == *uid && runs::goes_on(&found))
    }

    /// A permit that was granted is there no more.
    fn taken_back(&mut self, key: &Key) {
        let Some(uid) = self.permits.remove(key) else { return };
        self.book.release(&uid);
        if planted::is(Planted::PermitReleasedTwice) {
            let another = self.book.holders().next().map(|holder| holder.uid.clone());
            another.map(|uid| self.book.release(&uid));
        }
    }

    /// What was to be granted could not be written.
    pub(super) fn not_granted(&mut self, permit: &Key) {
        if let Some(ask) = self.asks.get(permit) {
            self.book.release(&ask.uid);
        }
    }

    /// What changed in the numbers of services: all of its instances, those down, and how many may be.
    pub(super) fn take_changed(&mut self) -> Vec<(Arc<str>, (u32, u32, u32))> {
        let changed = self.book.take_changed();
        let numbers = |name: &Arc<str>| self.book.numbers(name);
        changed.into_iter().filter_map(|name| Some((name.clone(), numbers(&name)?))).collect()
    }
}

fn on_server<'t>(
    machines: &HashMap<String, String>,
    target: &'t RunTarget,
    namespace: &str,
) -> Cow<'t, RunTarget> {
    if target.kind == Instance::KIND {
        let name = format!("{namespace}/{}", target.name);
        return Cow::Owned(RunTarget::new(Instance::KIND, &name));
    }
    if target.kind != Machine::KIND {
        return Cow::Borrowed(target);
    }
    let machine = format!("{namespace}/{}", target.name);
    let host = machines.get(&machine).unwrap_or(&machine);
    Cow::Owned(RunTarget::new(Server::KIND, host))
}

fn read<K: serde::de::DeserializeOwned>(object: &Object) -> Option<K> {
    let read = object.decode::<K>();
    read.inspect_err(
        |cause| error!(object = %object.key, %cause, "the ledger cannot read an object"),
    )
    .ok()
}
