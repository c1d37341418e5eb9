//! What services say of each other, and their workloads of them: how many instances there are to be, and what uses what.

use crate::{
    book::{Book, Service},
    refusal::Blocker,
    table::Number,
};
use quarterdeck_model::kinds::ServiceDependency;
use std::collections::BTreeMap;

impl Book {
    /// Notes that a workload, named `namespace/name`, is to have so many instances of a service of that name.
    pub fn set_workload(&mut self, name: &str, service: &str, replicas: u32) {
        let number = self.services.entry(service, Service::new);
        if let Some(before) = self.workloads.get(name).copied().filter(|before| *before != number) {
            self.expect(name, before, None);
        }
        self.workloads.insert(name.into(), number);
        self.expect(name, number, Some(replicas));
    }

    /// Forgets a workload.
    pub fn remove_workload(&mut self, name: &str) {
        if let Some(number) = self.workloads.remove(name) {
            self.expect(name, number, None);
        }
    }

    fn expect(&mut self, workload: &str, service: Number, replicas: Option<u32>) {
        let Some(of) = self.services.get_mut(service) else { return };
        let before = match replicas {
            Some(replicas) => of.workloads.insert(workload.into(), replicas),
            None => of.workloads.remove(workload),
        };
        if before != replicas {
            self.touch(service);
            self.gave_way(Blocker::Service(service));
        }
        self.drop_service(service);
    }

    /// Notes that an instance is of a workload: how many there are to be is what that says.
    pub fn manage(&mut self, name: &str) {
        let Some(number) = self.instances.number(name) else { return };
        let Some(instance) = self.instances.get_mut(number) else { return };
        let service = instance.service;
        if std::mem::replace(&mut instance.managed, true) {
            return;
        }
        if let Some(service) = self.services.get_mut(service) {
            service.managed = service.managed.saturating_add(1);
        }
        self.touch(service);
        self.gave_way(Blocker::Service(service));
    }

    /// Has a service depend on these, and on no others. Names without a namespace are of its own.
    pub(crate) fn depend(&mut self, number: Number, on: &[ServiceDependency]) {
        let Some(service) = self.services.get(number) else { return };
        let name = service.name.clone();
        let namespace = name.split_once('/').map_or("", |(namespace, _)| namespace);
        let mut now = BTreeMap::new();
        for dependency in on {
            let full = dependency.full_name(namespace);
            let other = self.services.entry(&full, Service::new);
            now.insert(other, dependency.kind);
        }
        let Some(service) = self.services.get_mut(number) else { return };
        let before = std::mem::replace(&mut service.depends_on, now.clone());
        for other in before.keys().filter(|other| !now.contains_key(other)) {
            if let Some(other) = self.services.get_mut(*other) {
                other.dependents.remove(&number);
            }
        }
        for (other, kind) in now {
            if let Some(other) = self.services.get_mut(other) {
                other.dependents.insert(number, kind);
            }
        }
        before.into_keys().for_each(|other| self.drop_service(other));
    }
}
