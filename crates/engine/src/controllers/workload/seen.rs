//! Machines and instances as placement sees them, read from their objects. It decides nothing.

use crate::objects::decode;
use quarterdeck_ledger::placement::{Host, HostPort, Resources, Taken};
use quarterdeck_model::{
    ConditionStatus, Kind as _, Object, Time, condition,
    kinds::{
        Instance, Machine, MachinePhase, Rack, Server, TopologyLevel,
        container::{PodSpec, Protocol},
        machine_agent::{AGENT_CONNECTED, REACHABLE},
    },
};
use quarterdeck_store::World;
use serde_json::Value;
use std::collections::BTreeMap;
use tracing::error;

/// Facts of a machine that placement looks at, and letters of each.
const FACTS_MAX: usize = 128;
const FACT_BYTES_MAX: usize = 256;
/// How deep facts are read.
const FACTS_DEPTH_MAX: usize = 4;

/// Where a machine is, and since when it is silent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Standing {
    pub(super) rack: Option<String>,
    pub(super) site: Option<String>,
    pub(super) silent: Option<Time>,
}

impl Standing {
    pub(super) fn places(&self) -> Vec<String> {
        let rack = self.rack.as_ref().map(|rack| format!("rack {rack}"));
        let site = self.site.as_ref().map(|site| format!("site {site}"));
        rack.into_iter().chain(site).collect()
    }
}

/// What a template takes.
pub(super) fn requests(template: &PodSpec) -> Resources {
    let (cpu, memory) = template.requests();
    Resources { cpu, memory }
}

pub(super) fn ports(template: &PodSpec) -> Vec<HostPort> {
    let ports = template.host_ports();
    ports.map(|(port, protocol)| HostPort { port, udp: protocol == Protocol::UDP }).collect()
}

/// An instance on a machine.
pub(super) struct Own {
    machine: String,
    workload: Option<String>,
    requests: Resources,
    ports: Vec<HostPort>,
    priority: i32,
}

impl Own {
    pub(super) fn as_taken(&self) -> Taken<'_> {
        Taken {
            machine: &self.machine,
            workload: self.workload.as_deref(),
            requests: self.requests,
            ports: &self.ports,
            priority: self.priority,
        }
    }
}

pub(super) fn taken(object: &Object) -> Option<Own> {
    if object.field("spec.host.kind") != Some(Machine::KIND) {
        return None;
    }
    let Instance { spec, .. } = read(object)?;
    let template = spec.template.unwrap_or_default();
    Some(Own {
        machine: spec.host.name,
        workload: spec.workload,
        requests: requests(&template),
        ports: ports(&template),
        priority: spec.priority.unwrap_or_default(),
    })
}

/// A machine as placement sees it, and where it stands.
pub(super) fn seen(world: &World, machine: &Machine) -> (Host, Standing) {
    let conditions = &machine.status.conditions;
    let says = |kind| condition::find(conditions, kind);
    let connected = says(AGENT_CONNECTED).is_some_and(|it| it.status == ConditionStatus::True);
    let unreachable = says(REACHABLE).filter(|it| it.status == ConditionStatus::False);
    let allocatable = machine.status.allocatable.as_ref();
    let allocatable = allocatable
        .map_or_else(Resources::default, |it| Resources { cpu: it.cpu, memory: it.memory });
    let mut facts = BTreeMap::new();
    if let Some(Ok(all)) = machine.status.facts.as_ref().map(serde_json::to_value) {
        flatten("", &all, FACTS_DEPTH_MAX, &mut facts);
    }
    let location = machine.spec.location.as_ref();
    let server = machine.status.server.as_deref();
    let placed = server.and_then(|server| world.get(Server::info(), "", server));
    let of_server = placed.and_then(|server| server.field("spec.location.rack").map(str::to_owned));
    let rack_name = of_server
        .filter(|rack| !rack.is_empty())
        .or_else(|| location.and_then(|it| it.rack.clone()));
    let rack = rack_name.as_ref().and_then(|rack| world.get(Rack::info(), "", rack));
    let rack = rack.and_then(|rack| read::<Rack>(&rack)).map(|rack| rack.spec);
    let site =
        rack.as_ref().map(|rack| rack.site.clone()).or_else(|| location.map(|it| it.site.clone()));
    let mut places: [Option<String>; TopologyLevel::ALL.len()] = Default::default();
    let mut set = |level: TopologyLevel, name: Option<String>| {
        if let Some(place) = places.get_mut(level.number()) {
            *place = name;
        }
    };
    let name = &machine.metadata.name;
    set(
        TopologyLevel::Server,
        Some(server.map_or_else(|| format!("machine {name}"), str::to_owned)),
    );
    set(TopologyLevel::Rack, rack_name.clone());
    if let Some(rack) = &rack {
        let hall = rack.hall.as_ref().map(|hall| format!("{}/{hall}", rack.site));
        let row = rack
            .row
            .as_ref()
            .map(|row| format!("{}/{}/{row}", rack.site, rack.hall.as_deref().unwrap_or_default()));
        let mut feeds = rack.power_feeds.clone();
        feeds.sort_unstable();
        let feeds = (!feeds.is_empty()).then(|| format!("{}/{}", rack.site, feeds.join("+")));
        set(TopologyLevel::Hall, hall);
        set(TopologyLevel::Row, row);
        set(TopologyLevel::Feed, feeds);
    }
    set(TopologyLevel::Site, site.clone());
    let meta = &machine.metadata;
    let runs = machine.status.phase == MachinePhase::Running && meta.deletion_timestamp.is_none();
    let silent = unreachable.map(|it| it.last_transition_time);
    let host = Host {
        labels: meta.labels.clone(),
        facts,
        taints: machine.spec.taints.clone(),
        unschedulable: machine.spec.unschedulable,
        ready: runs && connected && unreachable.is_none(),
        allocatable,
        places,
    };
    (host, Standing { rack: rack_name, site, silent })
}

/// Facts by their path: what is text, a number, or whether something is so.
fn flatten(path: &str, value: &Value, depth: usize, facts: &mut BTreeMap<String, String>) {
    if facts.len() >= FACTS_MAX {
        return;
    }
    let text = match value {
        Value::Object(fields) if depth > 0 => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, depth - 1, facts);
            }
            return;
        }
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(is) => is.to_string(),
        _ => return,
    };
    if path.len() + text.len() <= FACT_BYTES_MAX {
        facts.insert(path.to_owned(), text);
    }
}

pub(super) fn read<K: serde::de::DeserializeOwned>(object: &Object) -> Option<K> {
    let read = decode::<K>(object);
    read.inspect_err(|cause| error!(object = %object.key, %cause, "cannot be placed: unreadable"))
        .ok()
}
