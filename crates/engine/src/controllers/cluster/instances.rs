//! The pods of a workload in a cluster, as Instances: which come, which change, which go. Pure, but for identities.

use super::super::{
    numbered,
    workload::{REVISION, WORKLOAD, write},
};
use quarterdeck_clusters::{node::Link, pod::Pod};
use quarterdeck_model::{
    Time,
    kinds::{
        HostKind, HostReference, Instance, InstancePhase, InstanceSpec, InstanceStatus, Workload,
    },
};
use std::collections::{BTreeMap, HashMap};

/// Letters of an instance's name after the workload's. They are made from its pod's identity.
const LETTERS: usize = 8;

/// What instances are made of.
pub(super) struct Pods<'a> {
    pub(super) workload: &'a Workload,
    pub(super) cluster: &'a str,
    pub(super) pods: &'a BTreeMap<String, Pod>,
    pub(super) links: &'a BTreeMap<String, Link>,
    pub(super) now: Time,
}

/// What is to be written.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) create: Vec<Instance>,
    /// Statuses, by the name of the instance.
    pub(super) change: Vec<(String, InstanceStatus)>,
    /// Names of those that are gone.
    pub(super) remove: Vec<String>,
}

impl Pods<'_> {
    /// What brings the instances there are to what the pods are.
    pub(super) fn changes(&self, own: &HashMap<String, Instance>) -> Changes {
        let mut changes = Changes::default();
        let mut there: HashMap<String, ()> = HashMap::new();
        for (pod_name, pod) in self.pods {
            // One that has ended by itself, as by eviction, is no copy: Kubernetes keeps it for people to look at, and has made another one.
            if pod.phase == InstancePhase::Failed {
                continue;
            }
            let name = numbered(&self.workload.metadata.name, &pod.uid, 0, LETTERS);
            let before = own.get(&name).map(|instance| &instance.status);
            let status = self.status(pod_name, pod, before);
            match before {
                Some(before) if *before == status => {}
                Some(_) => changes.change.push((name.clone(), status)),
                None => changes.create.push(self.instance(name.clone(), pod, status)),
            }
            there.insert(name, ());
        }
        changes.remove = own.keys().filter(|name| !there.contains_key(*name)).cloned().collect();
        changes
    }

    fn status(&self, name: &str, pod: &Pod, before: Option<&InstanceStatus>) -> InstanceStatus {
        let machine = pod.node.as_ref().and_then(|node| match self.links.get(node) {
            Some(Link::Machine(machine)) => Some(machine.clone()),
            _ => None,
        });
        let since = before.filter(|before| before.phase == pod.phase);
        let since = since.and_then(|before| before.phase_since);
        InstanceStatus {
            observed_generation: before.and_then(|before| before.observed_generation),
            phase: pod.phase,
            phase_since: since.or(pod.ready_since).or(Some(self.now)),
            message: pod.message.clone(),
            address: pod.address.clone(),
            pod: Some(name.to_owned()),
            node: pod.node.clone(),
            machine,
            started_at: pod.started,
            conditions: before.map(|before| before.conditions.clone()).unwrap_or_default(),
            ..InstanceStatus::default()
        }
    }

    fn instance(&self, name: String, pod: &Pod, status: InstanceStatus) -> Instance {
        let workload = self.workload;
        let mut metadata = write::meta(workload, name, self.now);
        metadata.labels.insert(WORKLOAD.into(), workload.metadata.name.clone());
        if let Some(revision) = pod.revision {
            metadata.labels.insert(REVISION.into(), revision.to_string());
        }
        Instance {
            metadata,
            spec: InstanceSpec {
                service: workload.spec.service.clone(),
                workload: Some(workload.metadata.name.clone()),
                revision: pod.revision.filter(|number| *number > 0),
                host: HostReference { kind: HostKind::Cluster, name: self.cluster.to_owned() },
                ..InstanceSpec::default()
            },
            status,
        }
    }
}

/// The status of an instance of whose cluster nothing is heard; none, when it says so already.
pub(super) fn unreachable(before: &InstanceStatus, why: &str, now: Time) -> Option<InstanceStatus> {
    let says = before.phase == InstancePhase::Unreachable && before.message.as_deref() == Some(why);
    let since = before.phase_since.filter(|_| before.phase == InstancePhase::Unreachable);
    (!says).then(|| InstanceStatus {
        phase: InstancePhase::Unreachable,
        phase_since: since.or(Some(now)),
        message: Some(why.to_owned()),
        ..before.clone()
    })
}
