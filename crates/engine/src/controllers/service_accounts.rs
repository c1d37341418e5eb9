//! The service account `default` of each namespace: what runs in a namespace is somebody even where
//! nobody said who. Made with the namespace, and again when it was deleted.

use super::Controller;
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object, ObjectMeta, Time,
    kinds::{Namespace, ServiceAccount},
};
use quarterdeck_store::Precondition;
use std::time::Duration;

/// What it is called.
const DEFAULT: &str = "default";

/// Keeps the default service accounts.
pub(crate) struct ServiceAccounts;

impl Controller for ServiceAccounts {
    const NAME: &'static str = "service-accounts";

    fn follows(&self) -> Vec<KindRef> {
        vec![Namespace::info(), ServiceAccount::info()]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        let namespace = match object.namespace() {
            "" if !gone && !object.deleting() => object.name(),
            // One that has just been made is looked at too: its namespace may be gone by now.
            namespace if object.name() == DEFAULT => namespace,
            _ => return Vec::new(),
        };
        vec![Key::new(ServiceAccount::info(), namespace, DEFAULT)]
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().fresh().await?;
        let namespace = world.get(Namespace::info(), "", &key.namespace);
        let account = world.get(ServiceAccount::info(), &key.namespace, DEFAULT);
        let write = match (namespace, account) {
            (Some(namespace), None) if !namespace.deleting() => {
                let account = ServiceAccount {
                    metadata: ObjectMeta {
                        name: DEFAULT.into(),
                        namespace: Some((&*key.namespace).into()),
                        uid: uuid::Uuid::new_v4().to_string(),
                        generation: Some(1),
                        creation_timestamp: Some(Time::seconds(objects.now().timestamp())),
                        ..ObjectMeta::default()
                    },
                    ..ServiceAccount::default()
                };
                Some(objects.put(&account, Precondition::Absent)?)
            }
            // The namespace went while it was made: nothing may be left in it.
            (None, Some(account)) => objects.removal(&account),
            _ => None,
        };
        if let Some(write) = write {
            // Who made it meanwhile made what was missing.
            objects.commit(vec![write]).await?;
        }
        Ok(None)
    }
}
