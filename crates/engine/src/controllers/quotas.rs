//! Quotas: keeps what their status says is used. It refuses nothing: that is done where objects are made.

use super::Controller;
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    FieldSelector, Key, Kind as _, KindRef, LabelSelector, Object, kinds,
    kinds::{ResourceQuota, ResourceQuotaStatus},
    quantity::Quantity,
};
use quarterdeck_store::{ListQuery, Precondition, Store};
use std::{sync::Arc, time::Duration};

/// Many objects come and go together: their quotas are written once.
const GATHER: Duration = Duration::from_millis(100);

/// Keeps quotas' status.
pub(crate) struct Quotas {
    store: Arc<Store>,
}

impl Quotas {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl Controller for Quotas {
    const NAME: &'static str = "quotas";

    fn follows(&self) -> Vec<KindRef> {
        kinds::all().iter().copied().filter(|kind| kind.namespaced()).collect()
    }

    /// The quotas of its namespace: hardly any has one.
    fn affected(&self, object: &Object, _gone: bool) -> Vec<Key> {
        let world = self.store.world();
        if world.count(ResourceQuota::info()) == 0 {
            return Vec::new();
        }
        let quotas = world.list(&ListQuery {
            kind: ResourceQuota::info(),
            namespace: Some(object.namespace()),
            labels: &LabelSelector::default(),
            fields: &FieldSelector::default(),
            after: None,
            limit: None,
        });
        quotas.items.iter().map(|quota| quota.key.clone()).collect()
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let Some((revision, mut quota)) =
            objects.read::<ResourceQuota>(&key.namespace, &key.name)?
        else {
            return Ok(None);
        };
        let world = objects.store().world();
        let used = quota.spec.limits().map(|(name, kind, _)| {
            let count = world.count_in(kind, &key.namespace) as u64;
            (name.to_owned(), Quantity::of(count))
        });
        let status = ResourceQuotaStatus { hard: quota.spec.hard.clone(), used: used.collect() };
        if status == quota.status {
            return Ok(None);
        }
        quota.status = status;
        // A quota that changed meanwhile brings us here again.
        objects.commit(vec![objects.put(&quota, Precondition::At(revision))?]).await?;
        Ok(None)
    }
}
