//! What must hold of machines, pools and schedules, whoever asks for them: no server is given to two machines, no pool
//! has more than it may, and nothing is started twice for one time. Brought along from the log; it only answers what
//! broke.

use quarterdeck_model::{
    Key,
    kinds::{Machine, MachinePhase, MachinePool, MachinePoolSpec, Run, Server},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// Annotation of what a schedule started: the time it was started for.
const DUE: &str = "quarterdeck.dev/scheduled-for";

/// All that was promised.
#[derive(Default)]
pub(crate) struct Promises {
    machines: BTreeMap<Key, Machine>,
    /// Which machine each server says it belongs to: the server's name, and the machine's uid.
    tenants: BTreeMap<String, String>,
    /// Pools by uid: what was wanted, and until when.
    pools: BTreeMap<String, VecDeque<(Duration, MachinePoolSpec)>>,
    /// Whose schedule started something, and for when.
    started: BTreeSet<(String, String)>,
}

/// Whether a machine has the server that it names: one that waits has none yet, one that failed may have lost it, and
/// one that is handed over leaves it to another.
fn has_server(machine: &Machine) -> bool {
    use MachinePhase::{Failed, Pending};
    !matches!(machine.status.phase, Pending | Failed) && machine.status.transferring_to.is_none()
}

fn owner(machine: &Machine) -> Option<&str> {
    let owner = machine.metadata.owner_references.iter().find(|it| it.kind == "MachinePool");
    owner.map(|owner| owner.uid.as_str())
}

impl Promises {
    /// A machine is written, or is gone.
    pub(crate) fn machine(&mut self, key: &Key, machine: Option<Machine>) -> Option<String> {
        let Some(machine) = machine else {
            self.machines.remove(key);
            return None;
        };
        let before = self.machines.insert(key.clone(), machine.clone());
        let server = machine.status.server.as_deref().filter(|_| has_server(&machine));
        let other = server.and_then(|server| {
            let on = |other: &Machine| other.status.server.as_deref() == Some(server);
            let mut others = self.machines.iter().filter(|(it, other)| *it != key && on(other));
            others.find(|(_, other)| self.keeps(other, server)).map(|(other, _)| (server, other))
        });
        if let Some((server, other)) = other {
            return Some(format!("server {server} is given to {} and to {}", key.name, other.name));
        }
        let new = before.is_none_or(|before| before.metadata.uid != machine.metadata.uid);
        owner(&machine).filter(|_| new).and_then(|pool| self.one_more(key, pool))
    }

    /// Whether a machine keeps a server from others: one that goes has it until that was taken from it.
    fn keeps(&self, machine: &Machine, server: &str) -> bool {
        let goes = machine.status.phase == MachinePhase::Deleting;
        has_server(machine) && (!goes || self.tenants.get(server) == Some(&machine.metadata.uid))
    }

    /// A pool has one more machine: at no moment of late may that have been too many.
    fn one_more(&self, key: &Key, pool: &str) -> Option<String> {
        let live = |machine: &&Machine| {
            owner(machine) == Some(pool) && machine.metadata.deletion_timestamp.is_none()
        };
        let there = self.machines.values().filter(live).count();
        let may = |spec: &MachinePoolSpec| spec.replicas + spec.surge();
        let specs = self.pools.get(pool).into_iter().flatten();
        let most = specs.map(|(_, spec)| may(spec)).max().unwrap_or(0);
        let name = &key.name;
        (there > usize::try_from(most).unwrap())
            .then(|| format!("pool of {name} may have {most} machines, and has {there} with it"))
    }

    /// A pool is written; `within` is how old a decision about it may be.
    pub(crate) fn pool(&mut self, pool: MachinePool, now: Duration, within: Duration) {
        let specs = self.pools.entry(pool.metadata.uid).or_default();
        if let Some((until, _)) = specs.back_mut() {
            *until = now;
        }
        specs.retain(|(until, _)| *until + within >= now);
        specs.push_back((Duration::MAX / 2, pool.spec));
    }

    /// A server is written: whose it is passes to nobody while that one has it.
    pub(crate) fn server(&mut self, server: &Server) -> Option<String> {
        let name = &server.metadata.name;
        let Some(tenant) = &server.status.machine_ref else {
            self.tenants.remove(name);
            return None;
        };
        let before = self.tenants.insert(name.clone(), tenant.uid.clone())?;
        let still = self.machines.values().find(|machine| {
            machine.metadata.uid == before
                && machine.status.server.as_ref() == Some(name)
                && has_server(machine)
        });
        let still = still.filter(|_| before != tenant.uid)?;
        let (was, is) = (&still.metadata.name, &tenant.name);
        Some(format!("server {name} is given to {is}, and {was} has it"))
    }

    /// A run is created.
    pub(crate) fn run(&mut self, key: &Key, run: &Run) -> Option<String> {
        let due = run.metadata.annotations.get(DUE)?;
        let of = run.metadata.owner_references.iter().find(|owner| owner.kind == "Schedule")?;
        let new = self.started.insert((of.uid.clone(), due.clone()));
        (!new).then(|| format!("{} starts {} a second time for {due}", of.name, key.name))
    }
}
