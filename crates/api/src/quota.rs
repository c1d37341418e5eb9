//! Quotas: how many objects of a kind a namespace may still get. Here is only what quotas say and how a
//! refusal reads; that no two creates get past a limit is the store's, which counts as it commits.
//! Source: Kubernetes "Resource Quotas", and the words of its admission plugin.

use crate::status::ApiError;
use quarterdeck_model::{FieldSelector, Kind as _, KindRef, LabelSelector, kinds::ResourceQuota};
use quarterdeck_store::{ListQuery, World};

/// What quotas say of one kind in one namespace.
#[derive(Debug)]
pub(crate) struct Limits {
    kind: KindRef,
    /// Each with the quota it is of, the key it is written under, and how many may be.
    limits: Vec<(String, String, u64)>,
}

impl Limits {
    /// Those in this world: nothing is looked at but the quotas of the namespace.
    pub(crate) fn of(world: &World, kind: KindRef, namespace: &str) -> Self {
        let mut limits = Vec::new();
        if kind.namespaced() && world.count(ResourceQuota::info()) > 0 {
            let quotas = world.list(&ListQuery {
                kind: ResourceQuota::info(),
                namespace: Some(namespace),
                labels: &LabelSelector::default(),
                fields: &FieldSelector::default(),
                after: None,
                limit: None,
            });
            for object in quotas.items {
                let Ok(quota) = object.decode::<ResourceQuota>() else { continue };
                for (key, _, most) in quota.spec.limits().filter(|(_, about, _)| *about == kind) {
                    limits.push((object.name().to_owned(), key.to_owned(), most));
                }
            }
        }
        Self { kind, limits }
    }

    /// How many objects there must be fewer of for one more to be made.
    pub(crate) fn below(&self) -> Option<u64> {
        self.limits.iter().map(|(_, _, most)| *most).min()
    }

    /// The refusal of an object when there are `count`.
    pub(crate) fn exceeded(&self, name: &str, count: u64) -> ApiError {
        let reached = || self.limits.iter().filter(|(_, _, most)| count >= *most);
        let quota = reached().next().map_or("", |(quota, ..)| quota);
        let list = |text: &dyn Fn(u64) -> u64| {
            let of_it = reached().filter(|(of, ..)| of == quota);
            let texts: Vec<String> =
                of_it.map(|(_, key, most)| format!("{key}={}", text(*most))).collect();
            texts.join(",")
        };
        let why = format!(
            "exceeded quota: {quota}, requested: {}, used: {}, limited: {}",
            list(&|_| 1),
            list(&|_| count),
            list(&|most| most)
        );
        ApiError::forbidden_resource(self.kind.group, self.kind.plural, name, &why)
    }
}
