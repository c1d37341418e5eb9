//! What would report from the machines of a company: which copies of services run on them, and whether they can work.
//! Agents do that on real machines; here it follows from the machines themselves. It must touch nothing but instances
//! of the company's own teams.

use quarterdeck_api::{Api, ApiError};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object, Revision, Time,
    kinds::{Instance, InstancePhase, InstanceStatus, Machine, Server},
};
use quarterdeck_sim::{Fleet, Simulation, instances_on, is_team};
use quarterdeck_store::{Store, World};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

/// How often the machines are looked at that changed.
const TICK: Duration = Duration::from_secs(1);
/// Writes at once.
const WRITES_AT_ONCE: usize = 64;

/// Reports until its future is dropped.
pub(super) async fn run(api: Arc<Api>, store: Arc<Store>, fleet: Fleet, simulation: Simulation) {
    let mut racks = Racks::of(fleet);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since = None;
    // Machines that are away, or of which something could not be written, are looked at again.
    let mut left: BTreeSet<Key> = BTreeSet::new();
    loop {
        ticks.tick().await;
        let world = store.world();
        let mut look = std::mem::take(&mut left);
        look.extend(changed(&store, &world, since));
        look.extend(racks.turned(&simulation).iter().flat_map(|rack| in_rack(&world, rack)));
        since = Some(world.revision());
        let mut writes = JoinSet::new();
        for machine in look {
            while writes.len() >= WRITES_AT_ONCE {
                left.extend(written(writes.join_next().await));
            }
            let phase = phase(&world, &machine, &simulation);
            if phase == Some(InstancePhase::Unreachable) {
                left.insert(machine.clone());
            }
            let wanted = wanted(&world, &machine, phase);
            if !wanted.is_empty() {
                let api = api.clone();
                writes.spawn(async move { (machine, write(&api, wanted).await) });
            }
        }
        while !writes.is_empty() {
            left.extend(written(writes.join_next().await));
        }
    }
}

type Written = Option<Result<(Key, Result<(), ApiError>), tokio::task::JoinError>>;

/// The machine to look at again, if its instances could not be written.
fn written(write: Written) -> Option<Key> {
    let (machine, result) = write?.ok()?;
    let error = result.err()?;
    warn!(%machine, message = error.message, "instances could not be written; they will be");
    Some(machine)
}

/// Machines that changed after `since`, or whose server did; all when that is not known any more.
fn changed(store: &Store, world: &World, since: Option<Revision>) -> Vec<Key> {
    let of = |kind: KindRef| store.changes(kind, since?).ok();
    let (Some(machines), Some(servers)) = (of(Machine::info()), of(Server::info())) else {
        return world.all(Machine::info()).map(|machine| machine.key.clone()).collect();
    };
    let servers = servers.iter().filter_map(|(_, server)| machine_on(server.as_ref()?));
    machines.into_iter().map(|(key, _)| key).chain(servers).collect()
}

/// The machine that has a server.
fn machine_on(server: &Object) -> Option<Key> {
    let field = |path| server.field(path).filter(|value| !value.is_empty());
    let machine = field("status.machineRef.namespace").zip(field("status.machineRef.name"));
    machine.map(|(namespace, name)| Key::new(Machine::info(), namespace, name))
}

/// Machines on the servers of a rack.
fn in_rack(world: &World, rack: &str) -> Vec<Key> {
    let servers = world.with_fields(Server::info(), &format!("spec.location.rack={rack}"));
    servers.iter().filter_map(|server| machine_on(server)).collect()
}

/// The racks of the fleet, and which of them had no power when it was looked last.
struct Racks {
    all: Vec<String>,
    dark: BTreeSet<String>,
}

impl Racks {
    fn of(fleet: Fleet) -> Self {
        Self { all: fleet.rack_names().collect(), dark: BTreeSet::new() }
    }

    /// Those that lost their power since, or got it back: what runs there goes silent, and no BMC is left to say so.
    fn turned(&mut self, simulation: &Simulation) -> Vec<String> {
        let dark = self.all.iter().filter(|rack| simulation.is_dark(rack)).cloned().collect();
        let turned = self.dark.symmetric_difference(&dark).cloned().collect();
        self.dark = dark;
        turned
    }
}

/// What to write about one instance.
enum Wanted {
    Create(Value, Value),
    Report(Value),
    Remove(String, String),
}

/// What is not as it is on the machine.
fn wanted(world: &World, key: &Key, phase: Option<InstancePhase>) -> Vec<Wanted> {
    if !is_team(&key.namespace) {
        return Vec::new();
    }
    let all = instances_on(&key.namespace, &key.name).into_iter();
    all.filter_map(|instance| {
        let name = &instance.metadata.name;
        let found = world.get(Instance::info(), &key.namespace, name);
        let Some(phase) = phase else {
            return found.map(|_| Wanted::Remove(key.namespace.to_string(), name.clone()));
        };
        if found.as_ref().is_some_and(|found| shows(found, phase)) {
            return None;
        }
        let now = Time::seconds(jiff::Timestamp::now());
        let status = InstanceStatus { phase, phase_since: Some(now), ..InstanceStatus::default() };
        let reported = manifest(&Instance { status, ..instance.clone() });
        Some(match found {
            None => Wanted::Create(manifest(&instance), reported),
            Some(_) => Wanted::Report(reported),
        })
    })
    .collect()
}

fn shows(instance: &Object, phase: InstancePhase) -> bool {
    let wanted = serde_json::to_value(phase).unwrap_or_default();
    instance.field("status.phase") == wanted.as_str()
}

/// How the copies on a machine are; none are there when nothing is installed on it.
fn phase(world: &World, key: &Key, simulation: &Simulation) -> Option<InstancePhase> {
    let machine = world.get(Machine::info(), &key.namespace, &key.name)?;
    let field = |path| machine.field(path).filter(|value| !value.is_empty());
    let server = world.get(Server::info(), "", field("status.server")?)?;
    // An agent would be heard as long as its host is up; nobody needs to have asked the BMC.
    let bmc = server.field("spec.bmc.address").unwrap_or_default();
    let on = server.field("status.powerState") == Some("On") && simulation.host_is_up(bmc);
    match field("status.phase")? {
        "Running" | "Failed" | "Draining" if on => Some(InstancePhase::Ready),
        "Running" | "Failed" | "Draining" => Some(InstancePhase::Unreachable),
        _ => None,
    }
}

fn manifest(instance: &Instance) -> Value {
    // Kinds are made to be written as JSON, which is an object.
    let mut value = serde_json::to_value(instance).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("apiVersion".into(), json!(Instance::info().api_version()));
        fields.insert("kind".into(), json!(Instance::KIND));
    }
    value
}

async fn write(api: &Api, wanted: Vec<Wanted>) -> Result<(), ApiError> {
    for one in wanted {
        match one {
            Wanted::Create(manifest, reported) => {
                api.ensure(manifest).await?;
                api.report(reported).await?;
            }
            Wanted::Report(reported) => api.report(reported).await?,
            Wanted::Remove(namespace, name) => {
                api.remove(Instance::info(), &namespace, &name).await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_sim::{Cause, Latency};

    #[test]
    fn a_rack_is_looked_at_when_it_goes_dark_and_when_it_is_back() {
        let fleet = Fleet::new(1, 100);
        let simulation = Simulation::of(fleet, Latency::None);
        let mut racks = Racks::of(fleet);
        assert!(racks.turned(&simulation).is_empty());
        let bmc = "u01.ams1-a01-02.bmc.example.com";
        simulation.cut(bmc, Cause::RackPower, Duration::from_secs(3_600));
        assert_eq!(racks.turned(&simulation), ["ams1-a01-02"]);
        assert!(racks.turned(&simulation).is_empty(), "it was told");
        assert!(!simulation.host_is_up(bmc), "and what ran there is gone");
        simulation.cut(bmc, Cause::RackPower, Duration::ZERO);
        assert_eq!(racks.turned(&simulation), ["ams1-a01-02"]);
        simulation.cut(bmc, Cause::BmcSwitch, Duration::from_secs(3_600));
        assert!(racks.turned(&simulation).is_empty(), "hosts go on");
    }
}
