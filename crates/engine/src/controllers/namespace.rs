//! Namespaces that are being deleted: empties them, then removes them.

use super::Controller;
use crate::objects::{EngineError, Objects};
use jiff::Timestamp;
use quarterdeck_model::{
    FieldSelector, Key, Kind, KindRef, LabelSelector, Object, Time, kinds, kinds::Namespace,
};
use quarterdeck_store::{ListQuery, Precondition};
use std::time::Duration;

/// Objects removed in one step; the next step follows at once.
const STEP_MAX: usize = 256;
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
        vec![object.key.clone()]
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let Some((at, namespace)) = objects.read::<Namespace>("", &key.name)? else {
            return Ok(None);
        };
        if namespace.metadata.deletion_timestamp.is_none() {
            return Ok(None);
        }
        let world = objects.store().fresh().await?;
        let mut left = Vec::new();
        for kind in kinds::all().iter().filter(|kind| kind.namespaced()) {
            let page = world.list(&ListQuery {
                kind,
                namespace: Some(&key.name),
                labels: &LabelSelector::default(),
                fields: &FieldSelector::default(),
                after: None,
                limit: Some(STEP_MAX),
            });
            left.extend(page.items);
        }
        for object in &left {
            remove(objects, object).await?;
        }
        if !left.is_empty() {
            return Ok(Some(AGAIN));
        }
        if namespace.metadata.finalizers.is_empty() && namespace.spec.finalizers.is_empty() {
            // Creations are refused since it is terminating, so it stays empty.
            objects.commit(vec![objects.delete(key.clone(), Precondition::At(at))]).await?;
        }
        Ok(None)
    }
}

/// Deletes an object, or marks it when finalizers hold it.
pub(crate) async fn remove(objects: &Objects, object: &Object) -> Result<(), EngineError> {
    let value = object.value();
    let held = value
        .pointer("/metadata/finalizers")
        .and_then(|list| list.as_array())
        .is_some_and(|list| !list.is_empty());
    if !held {
        let delete = objects.delete(object.key.clone(), Precondition::At(object.revision));
        objects.commit(vec![delete]).await?;
        return Ok(());
    }
    objects
        .modify(&object.key, |value| {
            let Some(meta) = value.get_mut("metadata").and_then(|meta| meta.as_object_mut()) else {
                return false;
            };
            if meta.contains_key("deletionTimestamp") {
                return false;
            }
            let now = Time::seconds(Timestamp::now()).to_string();
            meta.insert("deletionTimestamp".into(), now.into());
            true
        })
        .await?;
    Ok(())
}
