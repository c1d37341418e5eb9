//! What the machines of a namespace answer to, kept with each change, so that their nodes are found.

use quarterdeck_clusters::node::{MachineNames, Machines};
use quarterdeck_model::{Kind as _, Object, kinds::Machine};
use quarterdeck_store::World;

/// The machines of a namespace.
pub(super) struct MachinesOf(Machines);

impl MachinesOf {
    /// Reads all of a namespace: once, when there is a cluster in it.
    pub(super) fn read(world: &World, namespace: &str) -> Self {
        let mut all = Self(Machines::of(namespace));
        for machine in
            world.with_fields(Machine::info(), &format!("metadata.namespace={namespace}"))
        {
            all.note(&machine, false);
        }
        all
    }

    /// Takes a machine in; answers whether it answers to something else than before.
    pub(super) fn note(&mut self, object: &Object, gone: bool) -> bool {
        let machine = object.decode::<Machine>().ok().filter(|_| !gone);
        self.0.note(object.name(), machine.as_ref().map(names))
    }

    pub(super) fn names(&self) -> &Machines {
        &self.0
    }
}

/// What a machine answers to: the addresses that its agent found, where it is reached, and the name of its host.
fn names(machine: &Machine) -> MachineNames {
    let facts = machine.status.facts.as_ref();
    let interfaces = facts.into_iter().flat_map(|facts| &facts.interfaces);
    let found = interfaces.flat_map(|interface| &interface.addresses);
    // With the length of its prefix.
    let found = found.map(|address| address.split('/').next().unwrap_or_default());
    let addresses = found.chain(machine.status.address.as_deref());
    MachineNames {
        addresses: addresses.filter(|it| !it.is_empty()).map(str::to_owned).collect(),
        hostname: facts.map(|facts| facts.hostname.clone()).filter(|name| !name.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_machine_answers_to_what_its_agent_found() {
        let machine = json!({
            "metadata": {"name": "m-1"}, "spec": {},
            "status": {"address": "10.0.0.7", "facts": {"hostname": "one", "interfaces": [
                {"name": "eth0", "addresses": ["10.0.0.1/24", "fe80::1/64"]}, {"name": "eth1"}]}},
        });
        let names = names(&serde_json::from_value(machine).unwrap());
        let addresses: Vec<&str> = names.addresses.iter().map(String::as_str).collect();
        assert_eq!(addresses, ["10.0.0.1", "10.0.0.7", "fe80::1"]);
        assert_eq!(names.hostname.as_deref(), Some("one"));
    }
}
