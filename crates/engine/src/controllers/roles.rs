//! ClusterRoles with an aggregation rule: gathers their rules from the roles it selects.

use super::Controller;
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object,
    kinds::{ClusterRole, rbac::aggregated},
};
use quarterdeck_store::Precondition;
use std::{sync::Arc, time::Duration};

/// Keeps gathered rules.
pub(crate) struct Roles;

impl Controller for Roles {
    const NAME: &'static str = "roles";

    fn follows(&self) -> Vec<KindRef> {
        vec![ClusterRole::info()]
    }

    /// Any role may be gathered into any other, and there are few: all are looked at together.
    fn affected(&self, _: &Object, _gone: bool) -> Vec<Key> {
        vec![Key::new(ClusterRole::info(), "", "")]
    }

    async fn reconcile(&self, objects: &Objects, _: &Key) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().world();
        let found: Vec<(Arc<Object>, ClusterRole)> = world
            .all(ClusterRole::info())
            .filter_map(|object| Some((object.clone(), object.decode().ok()?)))
            .collect();
        let all: Vec<ClusterRole> = found.iter().map(|(_, role)| role.clone()).collect();
        let mut writes = Vec::new();
        for (object, mut role) in found {
            let Some(rules) = aggregated(&role, &all).filter(|rules| *rules != role.rules) else {
                continue;
            };
            role.rules = rules;
            // Conflicts and roles that gather this one bring us here again.
            writes.push(objects.put(&role, Precondition::At(object.revision))?);
        }
        if !writes.is_empty() {
            objects.commit(writes).await?;
        }
        Ok(None)
    }
}
