//! What carries a plan out: the writes that ask the ledger, stop instances, and forget old revisions.

use super::{
    ACTIVE, REVISION,
    members::{Own, Revisions},
    plan::{Leave, Plan},
    write::{self, Reason},
};
use crate::{
    controllers::owned_by,
    objects::{EngineError, Objects},
};
use quarterdeck_model::{
    Key, Kind as _, Object,
    kinds::{Instance, Permit, Workload, permit::instance_permit},
};
use quarterdeck_store::{Mutation, Precondition, World};
use std::collections::HashSet;

/// What one look is about.
pub(super) struct Work<'a> {
    pub(super) objects: &'a Objects,
    pub(super) world: &'a World,
    pub(super) object: &'a Object,
    pub(super) workload: &'a Workload,
    pub(super) revisions: Revisions,
    pub(super) target: i64,
}

impl Work<'_> {
    pub(super) fn key(&self) -> &Key {
        &self.object.key
    }

    /// What takes instances: leave is asked for those that are up, and those that have it go. Whoever is no longer to go
    /// no longer asks.
    pub(super) fn taken(&self, own: &Own, plan: &Plan) -> Result<Vec<Mutation>, EngineError> {
        let objects = self.objects;
        let mut mutations = Vec::new();
        for at in &plan.remove {
            mutations.extend(own.objects.get(*at).and_then(|object| objects.removal(object)));
        }
        let mut asked: HashSet<usize> = HashSet::new();
        for (at, own_change) in &plan.take {
            let (Some(member), Some(object)) = (own.members.get(*at), own.objects.get(*at)) else {
                continue;
            };
            asked.insert(*at);
            match member.leave {
                Leave::Granted => mutations.extend(objects.removal(object)),
                Leave::Waiting => {}
                Leave::Unasked => {
                    let why = if *own_change { Reason::Rollout } else { Reason::Move };
                    let named = (object.name(), object.uid());
                    let permit = write::permit(object.namespace(), named, why, objects.now());
                    mutations.push(objects.put(&permit, Precondition::Absent)?);
                }
            }
        }
        let touched: HashSet<Key> = mutations.iter().map(|it| it.key.clone()).collect();
        for (at, member) in own.members.iter().enumerate() {
            let no_longer = !asked.contains(&at) && !member.deleting && !member.preempted;
            if let Some(Some(permit)) = own.permits.get(at)
                && no_longer
                && !plan.remove.contains(&at)
            {
                let gone = Precondition::At(permit.revision);
                mutations.push(objects.delete(permit.key.clone(), gone));
            }
            if let Some(object) = own.objects.get(at)
                && !member.deleting
            {
                let active = (member.revision == plan.active).to_string();
                if object.label(ACTIVE).is_some_and(|is| is != active)
                    && !touched.contains(&object.key)
                {
                    let mut value = object.value();
                    if let Some(label) = value.pointer_mut("/metadata/labels")
                        && let Some(labels) = label.as_object_mut()
                    {
                        labels.insert(ACTIVE.into(), active.into());
                    }
                    mutations.push(objects.put_value(object, &value));
                }
            }
        }
        Ok(mutations)
    }

    /// What asks the ledger to have an instance of another workload make way.
    pub(super) fn preempting(&self, victim: &str) -> Result<Option<Mutation>, EngineError> {
        let namespace = &*self.object.key.namespace;
        let Some(object) = self.world.get(Instance::info(), namespace, victim) else {
            return Ok(None);
        };
        let asked = self.world.get(Permit::info(), namespace, &instance_permit(victim));
        if asked.is_some() || object.deleting() {
            return Ok(None);
        }
        let named = (object.name(), object.uid());
        let permit = write::permit(namespace, named, Reason::Preempt, self.objects.now());
        Ok(Some(self.objects.put(&permit, Precondition::Absent)?))
    }

    /// What removes revisions that nothing is of, but for the newest few.
    pub(super) fn pruned(&self, plan: &Plan) -> Vec<Mutation> {
        let used: HashSet<i64> = [Some(self.target), plan.stable].into_iter().flatten().collect();
        let instances = owned_by(self.world, &self.workload.metadata);
        let instances = instances.filter(|object| object.kind == Instance::info());
        let named = instances.filter_map(|object| object.label(REVISION)?.parse::<i64>().ok());
        let used: HashSet<i64> = used.into_iter().chain(named).collect();
        let limit = usize::try_from(self.workload.spec.history_limit()).unwrap_or(usize::MAX);
        let unused = self.revisions.all.iter().rev().filter(|(number, _)| !used.contains(number));
        let old = unused.skip(limit);
        old.map(|(_, (object, _))| {
            self.objects.delete(object.key.clone(), Precondition::At(object.revision))
        })
        .collect()
    }
}
