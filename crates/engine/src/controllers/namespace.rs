//! Namespaces that are being deleted: empties them, then removes them.

use super::Controller;
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    FieldSelector, Key, Kind, KindRef, LabelSelector, Object, kinds, kinds::Namespace,
};
use quarterdeck_store::{BATCH_MAX, ListQuery, Precondition};
use std::{sync::Arc, time::Duration};

/// How soon a namespace whose objects wait for finalizers is looked at again.
const AGAIN: Duration = Duration::from_secs(2);

/// Empties namespaces.
pub(crate) struct Namespaces;

impl Controller for Namespaces {
    const NAME: &'static str = "namespaces";

    fn follows(&self) -> Vec<KindRef> {
        vec![Namespace::info()]
    }

    fn affected(&self, object: &Object, _gone: bool) -> Vec<Key> {
        if object.deleting() { vec![object.key.clone()] } else { Vec::new() }
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().fresh().await?;
        let Some(object) = world.get(Namespace::info(), "", &key.name) else { return Ok(None) };
        let namespace: Namespace = crate::objects::decode(&object)?;
        if !object.deleting() {
            return Ok(None);
        }
        let (left, more) = content(&world, &key.name);
        let removals: Vec<_> = left.iter().filter_map(|object| objects.removal(object)).collect();
        if !removals.is_empty() {
            objects.commit(removals).await?;
        }
        if more {
            return Ok(Some(Duration::ZERO));
        }
        if !left.is_empty() {
            return Ok(Some(AGAIN));
        }
        if namespace.metadata.finalizers.is_empty() && namespace.spec.finalizers.is_empty() {
            // Creations depend on the namespace as it was before, so none comes in any more: it stays empty.
            let gone = objects.delete(key.clone(), Precondition::At(object.revision));
            objects.commit(vec![gone]).await?;
        }
        Ok(None)
    }
}

/// Some objects of a namespace, a batch at most, and whether there are more that are not on their
/// way out yet.
fn content(world: &quarterdeck_store::World, namespace: &str) -> (Vec<Arc<Object>>, bool) {
    let mut found = Vec::new();
    for kind in kinds::all().iter().filter(|kind| kind.namespaced()) {
        let mut after: Option<Arc<Object>> = None;
        loop {
            let page = world.list(&ListQuery {
                kind,
                namespace: Some(namespace),
                labels: &LabelSelector::default(),
                fields: &FieldSelector::default(),
                after: after.as_ref().map(|object| (object.namespace(), object.name())),
                limit: Some(BATCH_MAX),
            });
            after = page.items.last().cloned();
            let marked = |object: &Arc<Object>| object.deleting() && object.held();
            let (waiting, open): (Vec<_>, Vec<_>) = page.items.into_iter().partition(marked);
            // Of those that only wait for their finalizers, one is enough to know.
            found.extend(open);
            found.extend(waiting.into_iter().take(1));
            if found.len() >= BATCH_MAX {
                return (found, true);
            }
            if !page.more {
                break;
            }
        }
    }
    (found, false)
}
