//! What a workload has, as it is decided on: its instances and its revisions. Read from the world, and nothing else.

use super::{
    PREEMPT, RESUME,
    plan::{Leave, Member},
};
use crate::{
    controllers::owned_by,
    objects::{EngineError, decode},
};
use quarterdeck_model::{
    ConditionStatus, Kind as _, Object, condition,
    kinds::{
        HostKind, Instance, InstancePhase, InstanceTemplate, Machine, Permit, PermitPhase,
        Workload, WorkloadRevision, instance::EVICT, permit::instance_permit,
    },
};
use quarterdeck_store::World;
use std::{collections::BTreeMap, sync::Arc};

/// The instances of a workload: as they are decided on, as they are written, and what asks for them, in the same order.
#[derive(Default)]
pub(super) struct Own {
    pub(super) members: Vec<Member>,
    pub(super) objects: Vec<Arc<Object>>,
    pub(super) permits: Vec<Option<Arc<Object>>>,
    /// Why instances on silent hosts are not given up.
    pub(super) held: Option<String>,
}

/// The revisions of a workload that are kept.
pub(in crate::controllers) struct Revisions {
    pub(super) all: BTreeMap<i64, (Arc<Object>, WorkloadRevision)>,
}

impl Revisions {
    pub(in crate::controllers) fn of(
        world: &World,
        workload: &Workload,
    ) -> Result<Self, EngineError> {
        let mut all = BTreeMap::new();
        for object in owned_by(world, &workload.metadata) {
            if object.kind == WorkloadRevision::info() {
                let revision: WorkloadRevision = decode(object)?;
                all.insert(revision.spec.revision, (object.clone(), revision));
            }
        }
        Ok(Self { all })
    }

    /// The revision that a template is: the same template is the same revision.
    pub(in crate::controllers) fn number(&self, template: &InstanceTemplate) -> Option<i64> {
        let mut newest_first = self.all.iter().rev();
        let found = newest_first.find(|(_, (_, revision))| revision.spec.template == *template);
        found.map(|(number, _)| *number)
    }

    pub(super) fn next(&self) -> i64 {
        self.all.keys().next_back().map_or(1, |last| last + 1)
    }

    pub(in crate::controllers) fn template<'r>(
        &'r self,
        number: i64,
        workload: &'r Workload,
    ) -> Option<&'r InstanceTemplate> {
        let known = self.all.get(&number).map(|(_, revision)| &revision.spec.template);
        // One that somebody has deleted can only be made of what is wanted now.
        known.or(Some(&workload.spec.template))
    }
}

/// The step of the rollout of a revision past which a person has let it go on.
pub(super) fn resumed(workload: &Workload, target: i64) -> Option<u32> {
    let (revision, step) = workload.metadata.annotations.get(RESUME)?.split_once('/')?;
    (revision.parse() == Ok(target)).then(|| step.parse().ok())?
}

pub(in crate::controllers) fn permit_of(world: &World, instance: &Object) -> Option<Arc<Object>> {
    let name = instance_permit(instance.name());
    let permit = world.get(Permit::info(), instance.namespace(), &name)?;
    (permit.field("spec.runUID") == Some(instance.uid())).then_some(permit)
}

/// An instance as it is decided on.
pub(super) fn member(world: &World, instance: &Instance, permit: Option<&Object>) -> Member {
    let (meta, status) = (&instance.metadata, &instance.status);
    let permit = permit.and_then(|permit| permit.decode::<Permit>().ok());
    let leave = permit.as_ref().map_or(Leave::Unasked, |permit| match permit.status.phase {
        PermitPhase::Granted => Leave::Granted,
        _ => Leave::Waiting,
    });
    let refused = permit.as_ref().and_then(|permit| permit.status.message.clone());
    let ready = condition::find(&status.conditions, "Ready")
        .filter(|said| said.status == ConditionStatus::True)
        .map(|said| said.last_transition_time)
        .or(status.phase_since)
        .or(meta.creation_timestamp)
        .filter(|_| status.phase == InstancePhase::Ready);
    let failed = status.phase == InstancePhase::Failed;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let machine = world.get(Machine::info(), namespace, &instance.spec.host.name);
    let leaves = machine.as_ref().filter(|machine| machine.deleting());
    let moving = meta
        .annotations
        .get(EVICT)
        .map(|why| if why.is_empty() { "it was asked to go".to_owned() } else { why.clone() });
    let moving = moving.or_else(|| leaves.map(|it| format!("Machine {} is to go", it.name())));
    Member {
        name: meta.name.clone(),
        revision: instance.spec.revision.unwrap_or_default(),
        created: meta.creation_timestamp,
        deleting: meta.deletion_timestamp.is_some(),
        ready,
        failed: status.phase_since.or(meta.creation_timestamp).filter(|_| failed),
        lost: instance.spec.host.kind == HostKind::Machine && machine.is_none(),
        moving,
        preempted: permit.as_ref().is_some_and(|permit| permit.spec.runbook == PREEMPT),
        leave,
        message: refused.or_else(|| status.message.clone()),
        machine: instance.spec.host.name.clone(),
    }
}

pub(super) fn machine_is_gone(world: &World, instance: &Object) -> bool {
    let machine = instance.field("spec.host.name").unwrap_or_default();
    instance.field("spec.host.kind") == Some(Machine::KIND)
        && world.get(Machine::info(), instance.namespace(), machine).is_none()
}
