//! Nodes of a cluster, and which machine each one is. Pure.
//!
//! A node says three things by which it can be known: the identifier of its provider, its addresses, and its name. The
//! first of them that any machine answers to decides. Whatever is not clear is told, and never guessed: two machines that
//! answer to one node, and two nodes that are one machine, are no link.

use crate::error::cut;
use k8s_openapi::api::core::v1;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most addresses of a node that are looked at.
const ADDRESSES_MAX: usize = 16;
/// Scheme of the identifiers of nodes that are machines of a plane: `quarterdeck://NAMESPACE/NAME`.
pub const PROVIDER_ID: &str = "quarterdeck://";

/// What is kept of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Identifier of its provider (`spec.providerID`).
    pub provider_id: Option<String>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Name of its host.
    pub hostname: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
}

impl Node {
    pub(crate) fn of(node: &v1::Node) -> Self {
        let status = node.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let ready = conditions.into_iter().flatten().find(|it| it.type_ == "Ready");
        let addresses = status.and_then(|status| status.addresses.as_ref());
        let of_kind = |kinds: &'static [&'static str]| {
            let all = addresses.into_iter().flatten();
            all.filter(move |it| kinds.contains(&it.type_.as_str())).map(|it| cut(&it.address))
        };
        let given = node.spec.as_ref().and_then(|spec| spec.provider_id.as_deref().map(cut));
        Self {
            provider_id: given.filter(|id| !id.is_empty()),
            addresses: of_kind(&["InternalIP", "ExternalIP"]).take(ADDRESSES_MAX).collect(),
            hostname: of_kind(&["Hostname"]).next(),
            ready: ready.is_some_and(|ready| ready.status == "True"),
        }
    }
}

/// What machines answer to, by which nodes are found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineNames {
    /// Addresses that are its own.
    pub addresses: BTreeSet<String>,
    /// Name of its host.
    pub hostname: Option<String>,
}

/// The machines of a namespace, found by what they answer to.
#[derive(Debug, Default)]
pub struct Machines {
    namespace: String,
    all: HashMap<String, MachineNames>,
    by_address: HashMap<String, BTreeSet<String>>,
    by_hostname: HashMap<String, BTreeSet<String>>,
}

impl Machines {
    /// Those of a namespace; none yet.
    #[must_use]
    pub fn of(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::default() }
    }

    /// Takes in what a machine answers to, or that it is gone; answers whether that is another thing than before.
    pub fn note(&mut self, name: &str, names: Option<MachineNames>) -> bool {
        if self.all.get(name) == names.as_ref() {
            return false;
        }
        if let Some(before) = self.all.remove(name) {
            for address in &before.addresses {
                leave(&mut self.by_address, address, name);
            }
            if let Some(hostname) = &before.hostname {
                leave(&mut self.by_hostname, hostname, name);
            }
        }
        if let Some(names) = names {
            for address in &names.addresses {
                self.by_address.entry(address.clone()).or_default().insert(name.to_owned());
            }
            if let Some(hostname) = &names.hostname {
                self.by_hostname.entry(hostname.clone()).or_default().insert(name.to_owned());
            }
            self.all.insert(name.to_owned(), names);
        }
        true
    }

    /// Machines that answer to a node by the first thing that any answers to.
    fn that_are(&self, name: &str, node: &Node) -> BTreeSet<String> {
        let own = node.provider_id.as_deref().and_then(|id| id.strip_prefix(PROVIDER_ID));
        if let Some((namespace, machine)) = own.and_then(|own| own.split_once('/')) {
            // Whoever is said to be a machine of a plane is no other.
            let here = namespace == self.namespace && self.all.contains_key(machine);
            return BTreeSet::from_iter(here.then(|| machine.to_owned()));
        }
        let at = node.addresses.iter().filter_map(|it| self.by_address.get(it));
        let found: BTreeSet<String> = at.flatten().cloned().collect();
        if !found.is_empty() {
            return found;
        }
        let hostname = node.hostname.as_deref().unwrap_or(name);
        let named = [name, hostname].into_iter().filter(|it| self.all.contains_key(*it));
        let called = [name, hostname].into_iter().filter_map(|it| self.by_hostname.get(it));
        named.map(str::to_owned).chain(called.flatten().cloned()).collect()
    }
}

fn leave(index: &mut HashMap<String, BTreeSet<String>>, at: &str, name: &str) {
    if let Some(those) = index.get_mut(at) {
        those.remove(name);
        if those.is_empty() {
            index.remove(at);
        }
    }
}

/// Which machine a node is, or why that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The machine of that name.
    Machine(String),
    /// No machine answers to it.
    Missing,
    /// Several answer to it, or it is not the only node that is one.
    Ambiguous(String),
}

/// Which machine each node is.
#[must_use]
pub fn links<'n>(
    nodes: impl Iterator<Item = (&'n String, &'n Node)>,
    machines: &Machines,
) -> BTreeMap<String, Link> {
    let mut links: BTreeMap<String, Link> = BTreeMap::new();
    let mut claimed: HashMap<String, Vec<String>> = HashMap::new();
    for (name, node) in nodes {
        let mut found = machines.that_are(name, node).into_iter();
        let link = match (found.next(), found.next()) {
            (None, _) => Link::Missing,
            (Some(only), None) => {
                claimed.entry(only.clone()).or_default().push(name.clone());
                Link::Machine(only)
            }
            (Some(one), Some(other)) => {
                Link::Ambiguous(format!("both Machine {one} and Machine {other} answer to it"))
            }
        };
        links.insert(name.clone(), link);
    }
    for (machine, nodes) in claimed.into_iter().filter(|(_, nodes)| nodes.len() > 1) {
        for name in &nodes {
            let other = nodes.iter().find(|other| *other != name).map_or("", String::as_str);
            let why = format!("it and node {other} are both Machine {machine}");
            links.insert(name.clone(), Link::Ambiguous(why));
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn machines(of: &[(&str, &[&str], Option<&str>)]) -> Machines {
        let mut all = Machines::of("shop");
        for (name, addresses, hostname) in of {
            let names = MachineNames {
                addresses: addresses.iter().map(|it| (*it).to_owned()).collect(),
                hostname: hostname.map(str::to_owned),
            };
            assert!(all.note(name, Some(names)));
        }
        all
    }

    fn node(id: Option<&str>, addresses: &[&str], hostname: Option<&str>) -> Node {
        let addresses = addresses.iter().map(|it| (*it).to_owned()).collect();
        let (provider_id, hostname) = (id.map(str::to_owned), hostname.map(str::to_owned));
        Node { provider_id, addresses, hostname, ready: true }
    }

    #[test]
    fn a_node_is_known_by_identifier_then_address_then_name() {
        let machines = machines(&[
            ("m-1", &["10.0.0.1", "10.1.0.1"], Some("one")),
            ("m-2", &["10.0.0.2"], Some("two")),
            ("m-3", &["10.0.0.3"], Some("twin")),
            ("m-4", &["10.0.0.3"], Some("twin")),
        ]);
        let is = |name: &str| Link::Machine(name.to_owned());
        let both = || Link::Ambiguous("both Machine m-3 and Machine m-4 answer to it".into());
        for (name, node, wanted) in [
            ("a", node(Some("quarterdeck://shop/m-1"), &["10.0.0.2"], None), is("m-1")),
            ("a", node(Some("quarterdeck://other/m-1"), &["10.0.0.2"], None), Link::Missing),
            ("a", node(Some("quarterdeck://shop/m-9"), &["10.0.0.2"], None), Link::Missing),
            ("a", node(Some("aws:///eu/i-1"), &["10.0.0.2"], None), is("m-2")),
            ("m-2", node(None, &["10.1.0.1"], Some("two")), is("m-1")),
            ("a", node(None, &["10.0.0.1", "10.1.0.1"], None), is("m-1")),
            ("a", node(None, &["10.0.0.3"], None), both()),
            ("m-2", node(None, &["10.9.9.9"], None), is("m-2")),
            ("two", node(None, &[], None), is("m-2")),
            ("a", node(None, &[], Some("one")), is("m-1")),
            ("a", node(None, &[], Some("twin")), both()),
            ("a", node(None, &[], Some("b")), Link::Missing),
        ] {
            let nodes = BTreeMap::from([(name.to_owned(), node)]);
            let found = links(nodes.iter(), &machines);
            assert_eq!(found.get(name), Some(&wanted), "{nodes:?}");
        }
    }

    #[test]
    fn two_nodes_are_not_one_machine() {
        let machines = machines(&[("m-1", &["10.0.0.1"], Some("one"))]);
        let nodes = BTreeMap::from([
            ("a".to_owned(), node(None, &["10.0.0.1"], None)),
            ("one".to_owned(), node(None, &[], None)),
        ]);
        let found = links(nodes.iter(), &machines);
        assert_eq!(found["a"], Link::Ambiguous("it and node one are both Machine m-1".into()));
        assert_eq!(found["one"], Link::Ambiguous("it and node a are both Machine m-1".into()));
    }

    #[test]
    fn machines_that_change_are_found_by_what_they_are_now() {
        let mut all = machines(&[("m-1", &["10.0.0.1"], Some("one"))]);
        let now = MachineNames { addresses: ["10.0.0.9".to_owned()].into(), hostname: None };
        assert!(all.note("m-1", Some(now.clone())));
        assert!(!all.note("m-1", Some(now)));
        let at = |address: &str, all: &Machines| {
            let nodes = BTreeMap::from([("a".to_owned(), node(None, &[address], None))]);
            links(nodes.iter(), all).remove("a").unwrap()
        };
        assert_eq!(at("10.0.0.1", &all), Link::Missing);
        assert_eq!(at("10.0.0.9", &all), Link::Machine("m-1".into()));
        assert!(all.note("m-1", None));
        assert_eq!(at("10.0.0.9", &all), Link::Missing);
        assert!(all.by_address.is_empty() && all.by_hostname.is_empty());
    }

    #[test]
    fn what_a_node_says_is_read() {
        let read: v1::Node = serde_json::from_value(json!({
            "metadata": {"name": "n"}, "spec": {"providerID": "aws:///eu/i-1"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "n"},
                    {"type": "ExternalIP", "address": "192.0.2.1"}, {"type": "InternalDNS", "address": "x"}],
                "conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "True"}]},
        }))
        .unwrap();
        assert_eq!(
            Node::of(&read),
            node(Some("aws:///eu/i-1"), &["10.0.0.1", "192.0.2.1"], Some("n"))
        );
        assert!(!Node::of(&v1::Node::default()).ready);
    }
}
