//! Evictions. Instances that are of no Workload go with leave of the ledger, and nobody makes others in their place; those of a
//! Workload are for that, which has another one serve first. And a run that drains a machine asks here all that Workloads
//! have on it.

use super::{Controller, workload::write};
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object,
    kinds::{
        Instance, Permit, Workload, instance::EVICT, instances_on_machine, permit::instance_permit,
    },
};
use quarterdeck_providers::agent::drain::Leaving;
use quarterdeck_store::{Precondition, Store, World};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Has instances go that were asked to.
pub(crate) struct Evictions {
    store: Arc<Store>,
}

impl Evictions {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl Controller for Evictions {
    const NAME: &'static str = "evictions";

    fn follows(&self) -> Vec<KindRef> {
        vec![Instance::info(), Permit::info()]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        if object.kind == Instance::info() {
            // There are a million of them, and hardly one is asked to go: the text is asked first.
            let asked = !gone && str::from_utf8(&object.json).is_ok_and(|it| it.contains(EVICT));
            return if asked { vec![object.key.clone()] } else { Vec::new() };
        }
        if object.field("spec.target.kind") != Some(Instance::KIND) {
            return Vec::new();
        }
        let name = object.field("spec.target.name").unwrap_or_default();
        let found = self.store.world().get(Instance::info(), object.namespace(), name);
        found
            .filter(|it| !is_kept(&self.store.world(), it))
            .map(|it| it.key.clone())
            .into_iter()
            .collect()
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().world();
        let Some(instance) = world.get(Instance::info(), &key.namespace, &key.name) else {
            return Ok(None);
        };
        if instance.deleting() || is_kept(&world, &instance) {
            return Ok(None);
        }
        let annotations = instance.value();
        let asked = annotations.pointer("/metadata/annotations").and_then(|all| all.get(EVICT));
        let permit = world.get(Permit::info(), &key.namespace, &instance_permit(&key.name));
        let permit = permit.filter(|it| it.field("spec.runUID") == Some(instance.uid()));
        let granted = permit.as_ref().is_some_and(|it| it.field("status.phase") == Some("Granted"));
        let mutation = match (asked, permit) {
            (Some(_), None) => {
                let named = (instance.name(), instance.uid());
                let why = write::Reason::Move;
                let permit = write::permit(instance.namespace(), named, why, objects.now());
                Some(objects.put(&permit, Precondition::Absent)?)
            }
            (Some(_), Some(_)) if granted => objects.removal(&instance),
            // It was taken back.
            (None, Some(permit)) if moves(&permit) => {
                Some(objects.delete(permit.key.clone(), Precondition::At(permit.revision)))
            }
            _ => None,
        };
        // Whoever came between made a change that brings us here again.
        objects.commit(mutation.into_iter().collect()).await?;
        Ok(None)
    }
}

/// Asks all instances that Workloads have on a machine to go, or takes that back. Answers who is left.
pub(crate) async fn ask(
    objects: &Objects,
    (namespace, machine): (&str, &str),
    withdraw: bool,
) -> Result<Leaving, EngineError> {
    let world = objects.store().fresh().await?;
    let on = world.with_fields(Instance::info(), &instances_on_machine(namespace, machine));
    let mut leaving = Leaving::default();
    for instance in on {
        if !is_kept(&world, &instance) {
            leaving.stay += 1;
            continue;
        }
        if !instance.deleting() {
            objects.modify(&instance.key, |value| mark(value, withdraw)).await?;
        }
        let permit = world.get(Permit::info(), namespace, &instance_permit(instance.name()));
        let permit = permit.and_then(|permit| permit.decode::<Permit>().ok());
        let why = match permit.and_then(|permit| permit.status.message) {
            _ if instance.deleting() => "it ends".to_owned(),
            Some(why) => why,
            None => "another instance is to serve in its place first".to_owned(),
        };
        leaving.left.push((instance.name().to_owned(), why));
    }
    Ok(leaving)
}

/// Whether there is anything to write.
fn mark(instance: &mut Value, withdraw: bool) -> bool {
    let metadata = instance.get_mut("metadata").and_then(Value::as_object_mut);
    let Some(metadata) = metadata else { return false };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    let Some(annotations) = annotations.as_object_mut() else { return false };
    match withdraw {
        true => annotations.remove(EVICT).is_some(),
        false if annotations.contains_key(EVICT) => false,
        false => annotations.insert(EVICT.into(), "its machine is drained".into()).is_none(),
    }
}

/// Whether it is one of ours, and not of a Workload that needs the place.
fn moves(permit: &Object) -> bool {
    let permit = permit.decode::<Permit>();
    permit.is_ok_and(|permit| permit.spec.runbook == write::Reason::Move.name())
}

/// Whether a Workload keeps it.
fn is_kept(world: &World, instance: &Object) -> bool {
    let workload = instance.field("spec.workload").unwrap_or_default();
    world.get(Workload::info(), instance.namespace(), workload).is_some_and(|workload| {
        let owners = instance.value();
        let owners = owners.pointer("/metadata/ownerReferences").and_then(|all| all.as_array());
        owners
            .into_iter()
            .flatten()
            .any(|owner| owner.get("uid").and_then(|uid| uid.as_str()) == Some(workload.uid()))
    })
}
