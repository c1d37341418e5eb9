//! What it would hurt to take down what runs on a machine or a server. Only told: what may happen is for the ledger to
//! say, when it happens.

use super::words::{are, size};
use quarterdeck_model::kinds::{Instance, Service};
use std::collections::BTreeMap;

/// A line for each service that has instances there; `waits` when the ledger is asked before.
pub(crate) fn harm(instances: &[Instance], services: &[Service], waits: bool) -> Vec<String> {
    let mut here: BTreeMap<String, usize> = BTreeMap::new();
    for instance in instances {
        let namespace = instance.metadata.namespace.as_deref().unwrap_or_default();
        *here.entry(format!("{namespace}/{}", instance.spec.service)).or_default() += 1;
    }
    let line =
        |(name, here): (String, usize)| match services.iter().find(|it| full_name(it) == name) {
            Some(service) => budgeted(&name, here, service, waits),
            None => format!("◌ service {name}: {here} of its instances {} here", are(here)),
        };
    here.into_iter().map(line).collect()
}

fn full_name(service: &Service) -> String {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", service.metadata.name)
}

fn budgeted(name: &str, here: usize, service: &Service, waits: bool) -> String {
    let (spec, status) = (&service.spec, &service.status);
    let allowed = status.disruptions_allowed.unwrap_or(0);
    let (mark, then) = match size(allowed) >= here {
        true => ("◌", ""),
        false if waits => ("✗", ", so it waits until the ledger permits it"),
        false => ("✗", ", and the ledger is not asked"),
    };
    let contacts = match spec.contacts.is_empty() {
        true => String::new(),
        false => format!(" ({})", spec.contacts.join(", ")),
    };
    let owner = spec.owner.as_ref();
    let owner = owner.map_or_else(String::new, |it| format!("; its owner is {it}{contacts}"));
    format!(
        "{mark} service {name}: {here} of its {} instances {} here, and {allowed} more may go{then}{owner}",
        status.instances.unwrap_or(0),
        are(here)
    )
}
