//! Instances: what they name and is not there. An instance says so in a condition, and says nothing while all is there:
//! there are a million of them, and hardly one is wrong.
//!
//! An instance that changes is looked at where the change is heard of, by two looks into indexes. Only one that has
//! something to say, or to take back, is put into the queue. It must not refuse anything, as what is named may come
//! later.

use super::Controller;
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    Condition, ConditionStatus, Key, Kind as _, KindRef, Object, Time, condition,
    kinds::{Cluster, Instance, Machine, Server, Service, instances_on_machine},
};
use quarterdeck_store::{Precondition, Store, World};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Condition of an instance that names something that does not exist; absent otherwise.
const LINKS_FOUND: &str = "LinksFound";
/// What comes and goes does so in crowds.
const GATHER: Duration = Duration::from_secs(1);

/// Keeps what instances say of their links.
pub(crate) struct Instances {
    store: Arc<Store>,
    /// What instances may name, and is there: only its coming and going matters, and it changes all the time.
    there: Mutex<HashSet<Key>>,
}

impl Instances {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, there: Mutex::default() }
    }
}

impl Controller for Instances {
    const NAME: &'static str = "instances";

    fn follows(&self) -> Vec<KindRef> {
        vec![Service::info(), Server::info(), Machine::info(), Cluster::info(), Instance::info()]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        if object.kind == Instance::info() {
            let right = gone || is_right(&self.store.world(), object);
            return if right { Vec::new() } else { vec![object.key.clone()] };
        }
        // Each change is one insertion or removal, so a poisoned lock guards a good set.
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let news = if gone { there.remove(&object.key) } else { there.insert(object.key.clone()) };
        drop(there);
        if !news {
            return Vec::new();
        }
        let world = self.store.world();
        let named = world.with_fields(Instance::info(), &that_name(&object.key));
        named.iter().filter(|it| !is_right(&world, it)).map(|it| it.key.clone()).collect()
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().world();
        let Some(object) = world.get(Instance::info(), &key.namespace, &key.name) else {
            return Ok(None);
        };
        if is_right(&world, &object) {
            return Ok(None);
        }
        let mut instance: Instance = crate::objects::decode(&object)?;
        let before = instance.status.conditions.clone();
        say(&mut instance, missing(&world, &object), objects.now());
        if instance.status.conditions == before {
            // Its text only looked as if there was something to say.
            return Ok(None);
        }
        // Whoever changed it meanwhile made a change that brings us here again.
        objects.commit(vec![objects.put(&instance, Precondition::At(object.revision))?]).await?;
        Ok(None)
    }
}

/// Fields of the instances that name the object at `key`.
fn that_name(key: &Key) -> String {
    let Key { namespace, name, .. } = key;
    if *key.kind == *Service::info().resource_name() {
        return format!("metadata.namespace={namespace},spec.service={name}");
    }
    if *key.kind == *Machine::info().resource_name() {
        return instances_on_machine(namespace, name);
    }
    if *key.kind == *Cluster::info().resource_name() {
        return format!(
            "metadata.namespace={namespace},spec.host.kind=Cluster,spec.host.name={name}"
        );
    }
    format!("spec.host.name={name}")
}

/// What an instance names that does not exist.
struct Missing {
    field: &'static str,
    kind: KindRef,
    name: String,
}

fn missing(world: &World, instance: &Object) -> Option<Missing> {
    let field = |path| instance.field(path).unwrap_or_default();
    let (service, host) = (field("spec.service"), field("spec.host.name"));
    let (host_kind, within) = match field("spec.host.kind") {
        Machine::KIND => (Machine::info(), instance.namespace()),
        Cluster::KIND => (Cluster::info(), instance.namespace()),
        _ => (Server::info(), ""),
    };
    [
        ("spec.service", Service::info(), instance.namespace(), service),
        ("spec.host.name", host_kind, within, host),
    ]
    .into_iter()
    .find(|(_, kind, namespace, name)| world.get(kind, namespace, name).is_none())
    .map(|(field, kind, _, name)| Missing { field, kind, name: name.to_owned() })
}

impl Missing {
    fn message(&self) -> String {
        let Self { field, kind, name } = self;
        format!(
            "{field} names {} {name}, which does not exist; create it, or delete the instance and create it with the right name.",
            kind.kind
        )
    }
}

/// Whether an instance says what is missing, and nothing else. Its names need no escapes in JSON.
fn is_right(world: &World, instance: &Object) -> bool {
    let says = |text: &str| str::from_utf8(&instance.json).is_ok_and(|json| json.contains(text));
    match missing(world, instance) {
        Some(missing) => says(&missing.message()),
        None => !says(LINKS_FOUND),
    }
}

fn say(instance: &mut Instance, missing: Option<Missing>, now: Time) {
    let conditions = &mut instance.status.conditions;
    let Some(missing) = missing else {
        conditions.retain(|condition| condition.kind != LINKS_FOUND);
        return;
    };
    let (status, reason) = (ConditionStatus::False, format!("{}NotFound", missing.kind.kind));
    let said = Condition::new(LINKS_FOUND, status, reason, missing.message(), now);
    condition::set(conditions, said);
}
