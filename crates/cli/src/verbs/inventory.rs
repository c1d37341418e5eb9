//! `quarterdeck inventory`: machines as Ansible's dynamic inventories have them, for playbooks that people run themselves. Source:
//! Ansible's documentation, "Developing dynamic inventory", script conventions.

use super::{Common, listing::within};
use crate::{
    Error, Outcome,
    output::{note, print},
    plane::{Plane, Selection, Within, seen},
};
use quarterdeck_model::{
    Kind,
    ansible::{InventoryHost, Place, host},
    kinds::{Machine, Rack, Server},
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most hosts: Ansible itself takes gigabytes for so many.
const HOSTS_MAX: usize = 100_000;
/// Objects up to which each is asked for by its name, where the whole of their kind may be very many.
const ONE_BY_ONE: usize = 64;

/// Which machines, and what of them.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("what").required(true)),
    after_long_help = "Examples:
  quarterdeck inventory --list -n shop -l tier=web
  quarterdeck inventory --host web-1 -n shop

Ansible wants one program without arguments. A script that it can run:
  #!/bin/sh
  exec quarterdeck inventory -n shop \"$@\"

With -A, hosts are named NAME.NAMESPACE. Groups are site_…, rack_…, namespace_…, class_…, os_… and label_KEY_VALUE. Annotations
ansible.quarterdeck.dev/NAME are variables; of those that begin with ansible_, only ansible_host, ansible_port and ansible_user."
)]
pub struct InventoryArguments {
    /// All machines, with their groups and variables
    #[arg(long, group = "what")]
    list: bool,
    /// The variables of one machine
    #[arg(long, group = "what", value_name = "NAME")]
    host: Option<String>,
    /// Machines of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Machines with these labels
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn inventory(arguments: &InventoryArguments) -> Result<Outcome, Error> {
    let InventoryArguments { host: name, all_namespaces, selector, common, .. } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let machines = match name {
        Some(name) => {
            let (name, namespace) = match name.split_once('.') {
                Some((name, namespace)) if *all_namespaces => (name, namespace),
                _ => (name.as_str(), plane.namespace.as_str()),
            };
            vec![plane.read::<Machine>(namespace, name).await?.object]
        }
        None => machines(&plane, within(&plane, *all_namespaces), selector).await?,
    };
    let places = Places::of(&plane, &machines).await?;
    let hosts = machines.iter().map(|machine| {
        let meta = &machine.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = meta.name.clone();
        let name = if *all_namespaces { format!("{name}.{namespace}") } else { name };
        (name, host(machine, &places.place(machine)))
    });
    let answer = match name {
        Some(_) => hosts.map(|(_, host)| host.vars).next().unwrap_or_default().into(),
        None => listed(hosts),
    };
    // Another form is not what Ansible reads.
    print(&format!("{answer:#}\n"))?;
    Ok(Outcome::Done)
}

async fn machines(
    plane: &Plane,
    within: Within<'_>,
    selector: &str,
) -> Result<Vec<Machine>, Error> {
    let (mut machines, mut failed) = (Vec::new(), None);
    let most = u32::try_from(HOSTS_MAX + 1).ok();
    let selection = Selection { most, ..Selection::labels(selector) };
    let take = |object| match seen::<Machine>(object) {
        Ok(it) => machines.push(it.object),
        Err(error) => failed = failed.take().or(Some(error)),
    };
    plane.each(Machine::info(), within, &selection, take).await?;
    match failed {
        Some(error) => Err(error),
        None if machines.len() > HOSTS_MAX => Err(Error::Usage(format!(
            "there are more than {HOSTS_MAX} such machines, more than Ansible can take; say which with -n or -l"
        ))),
        None => Ok(machines),
    }
}

/// What Ansible reads: groups with their hosts, and all variables at once, so that it does not ask for each host.
fn listed(hosts: impl Iterator<Item = (String, InventoryHost)>) -> Value {
    let (mut variables, mut groups) = (Map::new(), BTreeMap::<String, Vec<String>>::new());
    let mut all = Vec::new();
    for (name, InventoryHost { vars, groups: of }) in hosts {
        for group in of {
            groups.entry(group).or_default().push(name.clone());
        }
        all.push(name.clone());
        variables.insert(name, vars.into());
    }
    let mut answer = Map::from_iter([
        ("_meta".to_owned(), json!({"hostvars": variables})),
        ("all".to_owned(), json!({"hosts": all, "children": groups.keys().collect::<Vec<_>>()})),
    ]);
    answer.extend(groups.into_iter().map(|(group, hosts)| (group, json!({"hosts": hosts}))));
    answer.into()
}

/// Where machines are, by what they are on.
#[derive(Default)]
struct Places {
    /// Racks by server.
    racks: BTreeMap<String, String>,
    /// Sites by rack.
    sites: BTreeMap<String, String>,
}

impl Places {
    async fn of(plane: &Plane, machines: &[Machine]) -> Result<Self, Error> {
        let servers = machines.iter().filter_map(|machine| machine.status.server.clone()).collect();
        let rack = |server: Server| Some(server.spec.location?.rack);
        let racks = some(plane, servers, rack).await?;
        let site = |rack: Rack| Some(rack.spec.site);
        let sites = some(plane, racks.values().cloned().collect(), site).await?;
        Ok(Self { racks, sites })
    }

    fn place(&self, machine: &Machine) -> Place {
        match (&machine.status.server, &machine.spec.location) {
            (Some(server), _) => {
                let rack = self.racks.get(server).cloned();
                let site = rack.as_ref().and_then(|rack| self.sites.get(rack)).cloned();
                Place { site, rack }
            }
            (None, Some(location)) => {
                Place { site: Some(location.site.clone()), rack: location.rack.clone() }
            }
            (None, None) => Place::default(),
        }
    }
}

/// A field of some objects, by name. Whoever may not see them has an inventory without.
async fn some<K: Kind>(
    plane: &Plane,
    names: BTreeSet<String>,
    field: impl Fn(K) -> Option<String>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut found = BTreeMap::new();
    let mut take = |name: String, object: Value| -> Result<(), Error> {
        if let Some(value) = field(seen::<K>(object)?.object) {
            found.insert(name, value);
        }
        Ok(())
    };
    let mut failed = Ok(());
    if names.len() <= ONE_BY_ONE {
        for name in names {
            match plane.find(K::info(), "", &name).await {
                Ok(Some(object)) => take(name, object)?,
                Ok(None) => {}
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
        }
    } else {
        let take = |object: Value| {
            let name = object.pointer("/metadata/name").and_then(Value::as_str);
            if let Some(name) = name.filter(|name| names.contains(*name)).map(str::to_owned) {
                // What cannot be understood has no place.
                let _ = take(name, object);
            }
        };
        failed = plane.each(K::info(), Within::Everywhere, &Selection::default(), take).await;
    }
    match failed {
        Err(Error::Refused(why)) => note(&format!("without places: {}: {why}", K::PLURAL)),
        other => other?,
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_their_hosts_and_variables_are_in_one_place() {
        let host = |groups: &[&str]| InventoryHost {
            vars: Map::from_iter([("a".to_owned(), json!(1))]),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
        };
        let hosts = [("x".to_owned(), host(&["g", "h"])), ("y".to_owned(), host(&["g"]))];
        let expected = json!({
            "_meta": {"hostvars": {"x": {"a": 1}, "y": {"a": 1}}},
            "all": {"hosts": ["x", "y"], "children": ["g", "h"]},
            "g": {"hosts": ["x", "y"]},
            "h": {"hosts": ["x"]},
        });
        assert_eq!(listed(hosts.into_iter()), expected);
        let none = json!({"_meta": {"hostvars": {}}, "all": {"hosts": [], "children": []}});
        assert_eq!(listed([].into_iter()), none);
    }
}
