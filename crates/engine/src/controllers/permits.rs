//! Permits: each is taken back when its run has ended, or is gone, and nothing acts on it any more. Whoever drives
//! the run does that, since he alone knows what still acts. It gives none: that is the ledger's.

use super::Controller;
use crate::{
    objects::{EngineError, Objects},
    planted::{self, Planted},
    runs::{InUses, goes_on, target_key},
    shards::Shard,
};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object,
    kinds::{Instance, Permit, Run},
};
use quarterdeck_store::{Precondition, Store, World};
use std::{sync::Arc, time::Duration};

/// What acts on the permit of a run that has ended stops in a moment.
const IN_A_MOMENT: Duration = Duration::from_millis(100);

/// Whether a run keeps its permit.
fn keeps(run: &Object) -> bool {
    let undoes = || run.field("status.phase") == Some("Compensating");
    goes_on(run) && !(planted::is(Planted::PermitReleasedWhileUsed) && undoes())
}

/// Takes permits back.
pub(crate) struct Permits {
    store: Arc<Store>,
    uses: Arc<InUses>,
}

impl Permits {
    pub(crate) fn new(store: Arc<Store>, uses: Arc<InUses>) -> Self {
        Self { store, uses }
    }
}

impl Controller for Permits {
    const NAME: &'static str = "permits";

    fn follows(&self) -> Vec<KindRef> {
        vec![Permit::info(), Run::info()]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        if object.kind == Permit::info() {
            if object.field("spec.target.kind") == Some(Instance::KIND) {
                // It belongs to the instance, and goes with it; else its workload sees to it.
                return Vec::new();
            }
            return if gone { Vec::new() } else { vec![object.key.clone()] };
        }
        // A permit has the name of its run.
        if !gone && keeps(object) {
            return Vec::new();
        }
        let found = self.store.world().get(Permit::info(), object.namespace(), object.name());
        found.map(|permit| permit.key.clone()).into_iter().collect()
    }

    /// That of the run, so that whoever drives it is in the same process.
    fn shard(&self, world: &World, key: &Key) -> Shard {
        let permit = world.get(Permit::info(), &key.namespace, &key.name);
        let target = permit.and_then(|permit| {
            let (kind, name) =
                (permit.field("spec.target.kind")?, permit.field("spec.target.name")?);
            target_key(kind, &key.namespace, name)
        });
        Shard::of(&target.unwrap_or_else(|| key.clone()))
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        // Nobody begins to act on it while this is there.
        let taking = self.uses.take_back(key);
        let world = objects.store().world();
        let Some(permit) = world.get(Permit::info(), &key.namespace, &key.name) else {
            return Ok(None);
        };
        let run = world.get(Run::info(), &key.namespace, &key.name);
        let uid = permit.field("spec.runUID").unwrap_or_default();
        if run.is_some_and(|run| run.uid() == uid && keeps(&run)) {
            return Ok(None);
        }
        if taking.is_none() && !planted::is(Planted::PermitReleasedWhileUsed) {
            return Ok(Some(IN_A_MOMENT));
        }
        // Its finalizer keeps it for nobody else. Should it have changed, that brings us here again.
        objects
            .commit(vec![objects.delete(key.clone(), Precondition::At(permit.revision))])
            .await?;
        Ok(None)
    }
}
