//! The objects that a workload's controller writes: instances, revisions, and what asks the ledger. Pure.

use super::{ACTIVE, DRIFT, MOVE, PREEMPT, REVISION, ROLLOUT, WORKLOAD};
use quarterdeck_model::{
    Kind as _, ObjectMeta, OwnerReference, Time,
    kinds::{
        HostKind, HostReference, Instance, InstanceSpec, InstanceTemplate, Permit, PermitSpec,
        PermitStatus, RunTarget, Workload, WorkloadRevision, WorkloadRevisionSpec,
        container::CONTAINERS_FINALIZER, permit::instance_permit,
    },
};
use sha2::{Digest as _, Sha256};

pub(in crate::controllers) fn meta(workload: &Workload, name: String, now: Time) -> ObjectMeta {
    let of = &workload.metadata;
    ObjectMeta {
        name,
        namespace: of.namespace.clone(),
        uid: uuid::Uuid::new_v4().to_string(),
        generation: Some(1),
        creation_timestamp: Some(Time::seconds(now.timestamp())),
        owner_references: vec![OwnerReference {
            api_version: Workload::info().api_version(),
            kind: Workload::KIND.into(),
            name: of.name.clone(),
            uid: of.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }],
        ..ObjectMeta::default()
    }
}

/// A new instance of a revision, on a machine.
pub(super) fn instance(
    workload: &Workload,
    (name, machine): (String, &str),
    (revision, template): (i64, &InstanceTemplate),
    active: bool,
    now: Time,
) -> Instance {
    let mut metadata = meta(workload, name, now);
    metadata.labels.clone_from(&template.metadata.labels);
    metadata.annotations.clone_from(&template.metadata.annotations);
    metadata.labels.insert(WORKLOAD.into(), workload.metadata.name.clone());
    metadata.labels.insert(REVISION.into(), revision.to_string());
    metadata.labels.insert(ACTIVE.into(), active.to_string());
    metadata.finalizers = vec![CONTAINERS_FINALIZER.into()];
    let mut template = template.spec.clone();
    template.set_defaults();
    Instance {
        metadata,
        spec: InstanceSpec {
            service: workload.spec.service.clone(),
            workload: Some(workload.metadata.name.clone()),
            revision: Some(revision),
            host: HostReference { kind: HostKind::Machine, name: machine.to_owned() },
            priority: workload.spec.priority,
            template: Some(template),
        },
        ..Instance::default()
    }
}

/// What the template of a workload is now, as a revision.
pub(super) fn revision(workload: &Workload, number: i64, now: Time) -> WorkloadRevision {
    let name = format!("{}-{number}", workload.metadata.name);
    WorkloadRevision {
        metadata: meta(workload, name, now),
        spec: WorkloadRevisionSpec {
            workload: workload.metadata.name.clone(),
            revision: number,
            template: workload.spec.template.clone(),
        },
        ..WorkloadRevision::default()
    }
}

/// Why leave is asked to stop an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::controllers) enum Reason {
    /// Its workload changes, or has fewer.
    Rollout,
    /// It is to be elsewhere.
    Move,
    /// One of a higher priority needs its place.
    Preempt,
    /// Somebody has changed in a cluster what the workload says.
    Drift,
}

impl Reason {
    pub(in crate::controllers) fn name(self) -> &'static str {
        match self {
            Self::Rollout => ROLLOUT,
            Self::Move => MOVE,
            Self::Preempt => PREEMPT,
            Self::Drift => DRIFT,
        }
    }
}

/// What asks the ledger for leave to stop an instance. It belongs to that, and goes with it.
pub(in crate::controllers) fn permit(
    namespace: &str,
    (name, uid): (&str, &str),
    why: Reason,
    now: Time,
) -> Permit {
    Permit {
        metadata: ObjectMeta {
            name: instance_permit(name),
            namespace: Some(namespace.to_owned()),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            owner_references: vec![OwnerReference {
                api_version: Instance::info().api_version(),
                kind: Instance::KIND.into(),
                name: name.to_owned(),
                uid: uid.to_owned(),
                controller: Some(true),
                block_owner_deletion: None,
            }],
            ..ObjectMeta::default()
        },
        spec: PermitSpec {
            run_uid: uid.to_owned(),
            target: RunTarget::new(Instance::KIND, name),
            runbook: why.name().into(),
            asked: Some(now),
            own_change: why == Reason::Rollout,
            ..PermitSpec::default()
        },
        status: PermitStatus::default(),
    }
}

/// The seed by which a machine is found for it.
pub(super) fn seed(uid: &str, number: u64) -> u64 {
    let digest = Sha256::digest(format!("{uid}/{number}/seed").as_bytes());
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}
