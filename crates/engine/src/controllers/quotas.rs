//! Quotas: keeps what their status says is used. It refuses nothing: that is done where objects are made.

use super::Controller;
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    FieldSelector, Key, Kind as _, KindRef, LabelSelector, Object, kinds,
    kinds::{
        Instance, ResourceQuota, ResourceQuotaStatus,
        resource_quota::{REQUESTS_CPU, REQUESTS_MEMORY},
    },
    quantity::Quantity,
};
use quarterdeck_store::{ListQuery, Precondition, Store, World};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

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

/// The quotas of a namespace: hardly any has one.
fn quotas_of(world: &World, namespace: &str) -> Vec<Arc<Object>> {
    if world.count(ResourceQuota::info()) == 0 {
        return Vec::new();
    }
    let query = ListQuery {
        kind: ResourceQuota::info(),
        namespace: Some(namespace),
        labels: &LabelSelector::default(),
        fields: &FieldSelector::default(),
        after: None,
        limit: None,
    };
    world.list(&query).items
}

/// What the tightest quota on a kind in a namespace says, for those parts of the engine that make what people have
/// asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    /// The quota's name.
    pub(super) quota: String,
    /// Most objects there may be.
    pub(super) most: u64,
    /// Those there are.
    pub(super) used: u64,
}

impl Limit {
    pub(super) fn of(world: &World, kind: KindRef, namespace: &str) -> Option<Self> {
        let used = world.count_in(kind, namespace) as u64;
        let quotas = quotas_of(world, namespace);
        let quotas = quotas.iter().filter_map(|quota| quota.decode::<ResourceQuota>().ok());
        let limits = quotas.flat_map(|quota| {
            let about = quota.spec.limits().filter(|(_, about, _)| *about == kind);
            let limit = |(_, _, most)| Self { quota: quota.metadata.name.clone(), most, used };
            about.map(limit).collect::<Vec<_>>()
        });
        limits.min_by_key(|limit| limit.most)
    }

    /// How many more there may be.
    pub(super) fn room(&self) -> u64 {
        self.most.saturating_sub(self.used)
    }
}

impl Controller for Quotas {
    const NAME: &'static str = "quotas";

    fn follows(&self) -> Vec<KindRef> {
        kinds::all().iter().copied().filter(|kind| kind.namespaced()).collect()
    }

    fn affected(&self, object: &Object, _gone: bool) -> Vec<Key> {
        let quotas = quotas_of(&self.store.world(), object.namespace());
        quotas.iter().map(|quota| quota.key.clone()).collect()
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
        let mut used: BTreeMap<String, Quantity> = used.collect();
        if quota.spec.requests() != (None, None) {
            let (cpu, memory) = requested(&world, &key.namespace);
            used.insert(REQUESTS_CPU.into(), Quantity::thousandths_of(cpu));
            used.insert(REQUESTS_MEMORY.into(), Quantity::of(memory));
            used.retain(|key, _| quota.spec.hard.contains_key(key));
        }
        let status = ResourceQuotaStatus { hard: quota.spec.hard.clone(), used };
        if status == quota.status {
            return Ok(None);
        }
        quota.status = status;
        // A quota that changed meanwhile brings us here again.
        objects.commit(vec![objects.put(&quota, Precondition::At(revision))?]).await?;
        Ok(None)
    }
}

/// What all instances of a namespace ask for together. All of them are read: few namespaces have such a quota.
fn requested(world: &World, namespace: &str) -> (u64, u64) {
    let instances = world.with_fields(Instance::info(), &format!("metadata.namespace={namespace}"));
    let templates = instances.iter().filter_map(|it| it.decode::<Instance>().ok()?.spec.template);
    templates.fold((0, 0), |(cpu, memory), template| {
        let (more, bytes) = template.requests();
        (cpu.saturating_add(more), memory.saturating_add(bytes))
    })
}
