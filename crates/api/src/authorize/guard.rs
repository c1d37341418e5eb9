//! What a watcher may see, looked at again whenever roles or bindings have changed; and whether what
//! it showed is still good.

use super::{Authorizer, Policy, Sight};
use crate::{
    fairness::Open,
    identity::{Caller, Shown},
};
use jiff::Timestamp;
use quarterdeck_model::{KindRef, Object};
use quarterdeck_store::Store;
use std::{sync::Arc, time::Duration};

/// What is watched, and by whom.
pub(crate) struct Guard {
    pub(crate) store: Arc<Store>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) shown: Shown,
    pub(crate) kind: KindRef,
    pub(crate) namespace: Option<String>,
    /// The one name that is watched; empty for all.
    pub(crate) name: String,
    /// What may be seen, by that policy.
    pub(crate) sight: Sight,
    pub(crate) policy: Arc<Policy>,
    /// Counts the watch for as long as it is open.
    pub(crate) _open: Open,
}

impl Guard {
    /// What may be seen.
    pub(crate) fn sight(&self) -> &Sight {
        &self.sight
    }

    /// Whether an object may be seen.
    pub(crate) fn sees(&self, object: &Object) -> bool {
        self.sight.sees(object.namespace(), object.name())
    }

    /// How long what the caller showed is good for, if it ends.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.shown.left(Timestamp::now())
    }

    /// Whether the caller may still see the same. Costs next to nothing while no role or binding changes.
    pub(crate) fn holds(&mut self) -> bool {
        if !self.shown.holds(Timestamp::now(), &self.store.world()) {
            return false;
        }
        let policy = self.authorizer.policy(&self.store);
        if Arc::ptr_eq(&policy, &self.policy) {
            return true;
        }
        let Self { caller, kind, namespace, name, .. } = self;
        let sight = policy.sight(caller, "watch", kind, namespace.as_deref(), name);
        self.policy = policy;
        sight.as_ref() == Some(&self.sight)
    }
}
