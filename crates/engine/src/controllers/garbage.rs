//! Owner references: what belongs to something that is gone goes too, as Kubernetes has it.
//!
//! Nothing is removed on the word of a world that may be behind: an owner is missing only when a
//! fresh one lacks it, and a removal holds only for the version that was looked at.

use super::Controller;
use crate::{
    objects::{EngineError, Objects, RETRIES_MAX},
    rules::carries_a_machine,
};
use quarterdeck_model::{Key, KindRef, Object, OwnerReference, Time, kinds, object};
use quarterdeck_store::{BATCH_MAX, Mutation, Outcome, Precondition, Store, StoreError, World};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::HashSet, sync::Arc, time::Duration};

/// Finalizer that keeps an owner until its dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer that keeps an owner until its dependents are cut loose.
const ORPHAN: &str = "orphan";
/// How soon an owner whose dependents are on their way out is looked at again, should none of them go:
/// one of them may have stopped to block it.
const AGAIN: Duration = Duration::from_secs(10);
/// Objects that are walked in search of a circle of owners: more are in no circle that people make.
const CIRCLE_MAX: usize = 1_000;
/// The kind of a key whose name is the uid of an object that is gone.
const GONE: &str = "gone";

/// Removes dependents.
pub(crate) struct Garbage {
    store: Arc<Store>,
}

impl Garbage {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl Controller for Garbage {
    const NAME: &'static str = "garbage";

    fn follows(&self) -> Vec<KindRef> {
        kinds::all().to_vec()
    }

    fn matters(&self, before: &Object, after: &Object) -> bool {
        // What loses an owner is found when that one goes; a server that had a machine then is kept until it has none.
        let free = carries_a_machine(before).is_some() && carries_a_machine(after).is_none();
        free || after.deleting() || !before.owners().eq(after.owners())
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        if gone {
            // Its owners may have waited for it.
            let mut keys = owner_keys(object);
            // One that belongs to it and comes later is looked at when it comes.
            if self.store.world().owned_by(object.uid()).next().is_some() {
                let name = object.uid().into();
                keys.push(Key { kind: GONE.into(), namespace: "".into(), name });
            }
            return keys;
        }
        let waits = object.deleting() && object.held();
        if waits || object.owners().next().is_some() {
            vec![object.key.clone()]
        } else {
            Vec::new()
        }
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        if &*key.kind == GONE {
            return owner_gone(objects, &key.name).await;
        }
        let Some(object) = objects.get(key) else { return Ok(None) };
        // A look at what is in memory first: hardly ever is there anything to do.
        let links = links(&object)?;
        let lost = links.lost(&objects.store().world(), &object);
        let (orphan, foreground) = (links.held_by(ORPHAN), links.held_by(FOREGROUND));
        if !(lost || object.deleting() && (orphan || foreground)) {
            return Ok(None);
        }
        let world = objects.store().fresh().await?;
        let Some(object) = world.get(object.kind, &key.namespace, &key.name) else {
            return Ok(None);
        };
        if object.deleting() && orphan {
            return cut_loose(objects, &world, &object).await;
        }
        if object.deleting() && foreground {
            return remove_dependents(objects, &world, &object).await;
        }
        let removal = dependent(objects, &world, &object)?.into_iter().collect();
        let outcomes = objects.commit(removal).await?;
        // Most changes of it lead nobody here: when one came between, it is looked at again without being told.
        let lost = outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Committed(_)));
        Ok(lost.then_some(Duration::ZERO))
    }
}

/// Looks at what belonged to an object that is gone.
async fn owner_gone(objects: &Objects, uid: &str) -> Result<Option<Duration>, EngineError> {
    let world = objects.store().fresh().await?;
    let dependents = world.owned_by(uid).filter(|object| carries_a_machine(object).is_none());
    let dependents: Vec<_> = dependents.take(BATCH_MAX).cloned().collect();
    let mut mutations = Vec::with_capacity(dependents.len());
    for object in &dependents {
        mutations.extend(dependent(objects, &world, object)?);
    }
    if mutations.is_empty() {
        // Those that are left wait for their finalizers.
        return Ok(None);
    }
    objects.commit(mutations).await?;
    Ok(Some(Duration::ZERO))
}

/// What becomes of an object some of whose owners are gone.
fn dependent(
    objects: &Objects,
    world: &World,
    object: &Object,
) -> Result<Option<Mutation>, EngineError> {
    let links = links(object)?;
    let here = |owner: &OwnerReference| exists(world, owner, object);
    if !links.lost(world, object) {
        return Ok(None);
    }
    if links.owner_references.iter().any(here) {
        return Ok(Some(without_owners(objects, object, |owner| !here(owner))));
    }
    Ok(objects.removal(object))
}

/// Cuts an owner's dependents loose, then lets the owner go.
async fn cut_loose(
    objects: &Objects,
    world: &World,
    owner: &Object,
) -> Result<Option<Duration>, EngineError> {
    let mut mutations = Vec::new();
    for dependent in world.owned_by(owner.uid()).take(BATCH_MAX) {
        mutations.push(without_owners(objects, dependent, |other| other.uid == owner.uid()));
    }
    if mutations.is_empty() {
        release(objects, &owner.key, ORPHAN).await?;
        return Ok(None);
    }
    objects.commit(mutations).await?;
    Ok(Some(Duration::ZERO))
}

/// Removes an owner's dependents, then lets the owner go.
async fn remove_dependents(
    objects: &Objects,
    world: &World,
    owner: &Object,
) -> Result<Option<Duration>, EngineError> {
    let mut mutations = Vec::new();
    for dependent in world.owned_by(owner.uid()).filter(|dependent| !dependent.deleting()) {
        let links = links(dependent)?;
        let other =
            |other: &OwnerReference| other.uid != owner.uid() && exists(world, other, dependent);
        if links.owner_references.iter().any(other) {
            mutations.push(without_owners(objects, dependent, |other| other.uid == owner.uid()));
        } else {
            mutations.extend(foreground(objects, world, dependent, owner));
        }
        if mutations.len() == BATCH_MAX {
            break;
        }
    }
    if !mutations.is_empty() {
        objects.commit(mutations).await?;
        return Ok(Some(Duration::ZERO));
    }
    // As in Kubernetes, only those that say so keep their owner.
    for dependent in world.owned_by(owner.uid()) {
        if links(dependent)?.block(owner.uid()) && !leads_back(world, dependent, owner) {
            return Ok(Some(AGAIN));
        }
    }
    release(objects, &owner.key, FOREGROUND).await?;
    Ok(None)
}

/// What deletes a dependent of an owner that waits for it: one that owns something waits in its turn,
/// unless that leads back to the owner.
fn foreground(
    objects: &Objects,
    world: &World,
    dependent: &Object,
    owner: &Object,
) -> Option<Mutation> {
    if carries_a_machine(dependent).is_some() {
        return None;
    }
    if world.owned_by(dependent.uid()).next().is_none() || leads_back(world, dependent, owner) {
        return objects.removal(dependent);
    }
    let mut value = dependent.value();
    let meta = value.get_mut("metadata")?.as_object_mut()?;
    let now = Time::seconds(objects.now().timestamp()).to_string();
    meta.insert("deletionTimestamp".into(), now.into());
    let held = meta.entry("finalizers").or_insert_with(|| Value::Array(Vec::new()));
    held.as_array_mut()?.push(FOREGROUND.into());
    Some(objects.put_value(dependent, &value))
}

/// Whether what `object` owns, and waits for, leads back to `owner`: then neither may wait.
fn leads_back(world: &World, object: &Object, owner: &Object) -> bool {
    let mut seen = HashSet::new();
    let mut next: Vec<Box<str>> = vec![object.uid().into()];
    while let Some(uid) = next.pop() {
        if *uid == *owner.uid() {
            return true;
        }
        if seen.len() == CIRCLE_MAX {
            return false;
        }
        if seen.insert(uid.clone()) {
            let waiting = world.owned_by(&uid).filter(|owned| owned.deleting()).take(CIRCLE_MAX);
            next.extend(waiting.map(|owned| owned.uid().into()));
        }
    }
    false
}

/// Where the owners of an object are. None when it cannot be read, which is told where it matters.
fn owner_keys(object: &Object) -> Vec<Key> {
    if object.owners().next().is_none() {
        return Vec::new();
    }
    let owners = links(object).map(|links| links.owner_references).unwrap_or_default();
    let key = |owner: &OwnerReference| {
        let kind = kinds::by_kind(&owner.api_version, &owner.kind)?;
        let namespace = if kind.namespaced() { object.namespace() } else { "" };
        Some(Key::new(kind, namespace, &owner.name))
    };
    owners.iter().filter_map(key).collect()
}

/// What an object's metadata says of those it belongs to and what keeps it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Links {
    owner_references: Vec<OwnerReference>,
    finalizers: Vec<String>,
}

impl Links {
    fn held_by(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|held| held == finalizer)
    }

    /// Whether some owner of `object` is gone.
    fn lost(&self, world: &World, object: &Object) -> bool {
        self.owner_references.iter().any(|owner| !exists(world, owner, object))
    }

    /// Whether the owner with that uid waits for this object.
    fn block(&self, uid: &str) -> bool {
        let mut owners = self.owner_references.iter();
        owners.any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
    }
}

fn links(object: &Object) -> Result<Links, EngineError> {
    #[derive(Deserialize)]
    struct Whole {
        metadata: Links,
    }
    crate::objects::decode::<Whole>(object).map(|whole| whole.metadata)
}

/// Whether the owner of `object` exists. One of a kind that is not known here is left alone, and so is
/// a namespaced one of an object that is in no namespace, as in Kubernetes; one that has the name but
/// another uid is another object; one in another namespace cannot own.
fn exists(world: &World, owner: &OwnerReference, object: &Object) -> bool {
    let Some(kind) = kinds::by_kind(&owner.api_version, &owner.kind) else { return true };
    if kind.namespaced() && object.namespace().is_empty() {
        return true;
    }
    let namespace = if kind.namespaced() { object.namespace() } else { "" };
    world.get(kind, namespace, &owner.name).is_some_and(|found| found.uid() == owner.uid)
}

/// What takes owners out of an object.
fn without_owners(
    objects: &Objects,
    object: &Object,
    drop: impl Fn(&OwnerReference) -> bool,
) -> Mutation {
    let mut value = object.value();
    let meta = value.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(meta) = meta
        && let Some(owners) = meta.get_mut("ownerReferences").and_then(Value::as_array_mut)
    {
        owners.retain(|owner| !OwnerReference::deserialize(owner).is_ok_and(|owner| drop(&owner)));
        if owners.is_empty() {
            meta.remove("ownerReferences");
        }
    }
    objects.put_value(object, &value)
}

/// Takes a finalizer off. An object on its way out goes when it was the last one, in the same commit: nobody
/// would look again at one that is held by nothing any more.
pub(crate) async fn release(
    objects: &Objects,
    key: &Key,
    finalizer: &str,
) -> Result<(), EngineError> {
    for _ in 0..RETRIES_MAX {
        let Some(object) = objects.get(key) else { return Ok(()) };
        let Some(without) = without(&object, finalizer)? else { return Ok(()) };
        let released = match without.deleting() && !without.held() {
            true => objects.delete(key.clone(), Precondition::At(object.revision)),
            false => objects.put_value(&object, &without.value()),
        };
        if matches!(objects.commit(vec![released]).await?.first(), Some(Outcome::Committed(_))) {
            return Ok(());
        }
        objects.store().fresh().await?;
    }
    Err(StoreError::Unavailable(format!("{key} changes too often to be let go")).into())
}

/// The object without a finalizer; none when there is nothing to do about it.
fn without(object: &Object, finalizer: &str) -> Result<Option<Object>, EngineError> {
    let mut value = object.value();
    let held = value.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut);
    let taken_off = held.is_some_and(|held| {
        let before = held.len();
        held.retain(|other| other != finalizer);
        held.len() != before
    });
    // One that nothing holds was let go by an earlier release, which did not come to remove it.
    let forgotten = object.deleting() && !object.held();
    if !taken_off && !forgotten {
        return Ok(None);
    }
    let body = object::encode(object.kind, &value);
    let object = Object::from_body(object.kind, object.key.clone(), object.revision, &body);
    object.map(Some).map_err(|error| EngineError::Unreadable(error.to_string()))
}
