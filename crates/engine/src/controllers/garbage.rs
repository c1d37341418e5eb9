//! Owner references: what belongs to something that is gone goes too, as Kubernetes has it.

use super::{Controller, namespace::remove};
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{Key, KindRef, Object, ObjectMeta, OwnerReference, kinds};
use quarterdeck_store::{Precondition, World};
use serde::Deserialize as _;
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Finalizer that keeps an owner until its dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer that keeps an owner until its dependents are cut loose.
const ORPHAN: &str = "orphan";
/// How soon an owner whose dependents are on their way out is looked at again.
const AGAIN: Duration = Duration::from_secs(1);

/// Removes dependents.
#[derive(Default)]
pub(crate) struct Garbage {
    links: Mutex<Links>,
}

/// Who belongs to whom, by uid of the owner. Only objects with owners are in it.
#[derive(Default)]
struct Links {
    dependents: HashMap<String, HashSet<Key>>,
    owners: HashMap<Key, Vec<String>>,
}

impl Links {
    fn set(&mut self, dependent: &Key, owners: Vec<String>) {
        for uid in self.owners.remove(dependent).unwrap_or_default() {
            if let Some(dependents) = self.dependents.get_mut(&uid) {
                dependents.remove(dependent);
                if dependents.is_empty() {
                    self.dependents.remove(&uid);
                }
            }
        }
        if owners.is_empty() {
            return;
        }
        for uid in &owners {
            self.dependents.entry(uid.clone()).or_default().insert(dependent.clone());
        }
        self.owners.insert(dependent.clone(), owners);
    }

    fn of(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }
}

impl Garbage {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn meta(value: &Value) -> ObjectMeta {
    value.get("metadata").and_then(|meta| ObjectMeta::deserialize(meta).ok()).unwrap_or_default()
}

/// Whether the JSON mentions a field at all: most objects have neither owners nor finalizers, and
/// need not be read.
fn mentions(object: &Object, field: &str) -> bool {
    object.json.windows(field.len()).any(|window| window == field.as_bytes())
}

impl Controller for Garbage {
    const NAME: &'static str = "garbage";

    fn follows(&self) -> Vec<KindRef> {
        kinds::all().to_vec()
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        let mut links = self.links();
        if gone {
            links.set(&object.key, Vec::new());
            return links.of(&object.uid);
        }
        let owned = mentions(object, "\"ownerReferences\"");
        let waits = mentions(object, FOREGROUND) || mentions(object, ORPHAN);
        let owners = if owned {
            let owners = meta(&object.value()).owner_references;
            owners.into_iter().map(|owner| owner.uid).collect()
        } else {
            Vec::new()
        };
        links.set(&object.key, owners);
        if owned || waits { vec![object.key.clone()] } else { Vec::new() }
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().fresh().await?;
        let Some(object) = objects.get(key) else { return Ok(None) };
        let meta = meta(&object.value());
        let deleting = meta.deletion_timestamp.is_some();
        let has = |finalizer: &str| meta.finalizers.iter().any(|held| held == finalizer);
        if deleting && (has(ORPHAN) || has(FOREGROUND)) {
            let orphan = has(ORPHAN);
            let dependents = self.links().of(&object.uid);
            let mut left = false;
            for dependent in &dependents {
                if orphan || has_other_owner(&world, objects, dependent, &object.uid) {
                    drop_owners(objects, dependent, |owner| owner.uid == *object.uid).await?;
                } else if let Some(dependent) = objects.get(dependent) {
                    remove(objects, &dependent).await?;
                    left |= objects.get(&dependent.key).is_some();
                }
            }
            if left {
                return Ok(Some(AGAIN));
            }
            let finalizer = if orphan { ORPHAN } else { FOREGROUND };
            release(objects, key, finalizer).await?;
            return Ok(None);
        }
        let (here, lost): (Vec<_>, Vec<_>) =
            meta.owner_references.iter().partition(|owner| exists(&world, owner));
        if lost.is_empty() {
            return Ok(None);
        }
        if here.is_empty() {
            remove(objects, &object).await?;
        } else {
            drop_owners(objects, key, |owner| lost.iter().any(|gone| gone.uid == owner.uid))
                .await?;
        }
        Ok(None)
    }
}

/// Whether the owner exists. One of a kind that is not known here is left alone.
fn exists(world: &World, owner: &OwnerReference) -> bool {
    kinds::by_kind(&owner.api_version, &owner.kind)
        .is_none_or(|kind| world.by_uid(kind, &owner.uid).is_some())
}

fn has_other_owner(world: &World, objects: &Objects, dependent: &Key, owner: &str) -> bool {
    objects.get(dependent).is_some_and(|object| {
        let owners = meta(&object.value()).owner_references;
        owners.iter().any(|other| other.uid != owner && exists(world, other))
    })
}

async fn drop_owners(
    objects: &Objects,
    key: &Key,
    drop: impl Fn(&OwnerReference) -> bool,
) -> Result<(), EngineError> {
    objects
        .modify(key, |value| {
            let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) else {
                return false;
            };
            let Some(owners) = meta.get_mut("ownerReferences").and_then(Value::as_array_mut) else {
                return false;
            };
            let before = owners.len();
            owners.retain(|owner| {
                !OwnerReference::deserialize(owner).is_ok_and(|owner| drop(&owner))
            });
            let changed = owners.len() != before;
            if owners.is_empty() {
                meta.remove("ownerReferences");
            }
            changed
        })
        .await?;
    Ok(())
}

/// Takes a finalizer off; the object goes when it was the last one.
pub(crate) async fn release(
    objects: &Objects,
    key: &Key,
    finalizer: &str,
) -> Result<(), EngineError> {
    objects
        .modify(key, |value| {
            value.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut).is_some_and(
                |list| {
                    let before = list.len();
                    list.retain(|held| held != finalizer);
                    list.len() != before
                },
            )
        })
        .await?;
    let Some(object) = objects.get(key) else { return Ok(()) };
    let meta = meta(&object.value());
    if meta.deletion_timestamp.is_some() && meta.finalizers.is_empty() {
        let delete = objects.delete(key.clone(), Precondition::At(object.revision));
        objects.commit(vec![delete]).await?;
    }
    Ok(())
}
