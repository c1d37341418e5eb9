//! Placement: on which machine a copy of a workload runs, and if on none, why not.
//!
//! A [`Fleet`] holds what a decision needs of the machines of one namespace: what is free on them, where they stand, what
//! they keep away, and which copies of which workloads they have. It is told each change, and answers a [`Wish`] at a
//! cost that grows with the rules of the wish, not with the fleet: machines are found by what is free on them and by the
//! place they stand in, a few are drawn from the fitting ones, and the tightest of these is taken. Only a wish that no
//! drawn machine meets is held against every one, and refused with how many machines fail it for which reason.
//!
//! Pure and deterministic: the same changes, wishes and seeds give the same answers. It must not know the store, how a
//! change is learned of, or what becomes of an answer: whoever places must note it with [`Fleet::set_instance`] before the
//! next wish.
//!
//! Start reading at [`Fleet::place`] in `choose.rs`; `fleet.rs` is how the counts are kept, `view.rs` and `index.rs` how
//! machines are found.

mod choose;
mod fleet;
mod index;
mod preempt;
mod random;
mod refusal;
mod rules;
mod view;

pub use fleet::Fleet;
pub use refusal::{Reason, Refusal};

use quarterdeck_model::kinds::{Taint, TopologyLevel};
use std::{collections::BTreeMap, sync::Arc};

/// What is taken of a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu: u64,
    /// Bytes of memory.
    pub memory: u64,
}

/// One core is worth as much as so much memory: what most machines are built with.
const MEMORY_PER_CORE: u64 = 4 << 30;

impl Resources {
    /// Whether so much can be taken of this.
    pub fn fits(self, wanted: Self) -> bool {
        wanted.cpu <= self.cpu && wanted.memory <= self.memory
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(other.cpu),
            memory: self.memory.saturating_sub(other.memory),
        }
    }

    /// One number for both, in thousandths of a core.
    pub(crate) fn weight(self) -> u64 {
        self.cpu.saturating_add(self.memory / (MEMORY_PER_CORE / 1_000))
    }
}

/// A port of a machine that one instance alone can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Its number.
    pub port: u16,
    /// Of UDP, not of TCP.
    pub udp: bool,
}

/// A machine as placement sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Host {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What its agent reports, by path.
    pub facts: BTreeMap<String, String>,
    /// What it keeps away.
    pub taints: Vec<Taint>,
    /// A person keeps everything new away.
    pub unschedulable: bool,
    /// It can run something now: its agent is heard of, and it is not on its way out.
    pub ready: bool,
    /// What instances may take of it, all together.
    pub allocatable: Resources,
    /// The place of each level that it is in, by number of [`TopologyLevel`]; none where that is not known.
    pub places: [Option<String>; TopologyLevel::ALL.len()],
}

/// An instance as placement sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken<'a> {
    /// Name of the machine.
    pub machine: &'a str,
    /// Name of its workload; none when it is of none.
    pub workload: Option<&'a str>,
    /// What it takes.
    pub requests: Resources,
    /// Ports it has for itself.
    pub ports: &'a [HostPort],
    /// Those of a lower number make way for those of a higher one.
    pub priority: i32,
}

/// What is to be placed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wish<'a> {
    /// Name of its workload, whose rules hold for it.
    pub workload: &'a str,
    /// What it takes.
    pub requests: Resources,
    /// Ports it needs for itself.
    pub ports: &'a [HostPort],
    /// It may ask those of a lower number to make way.
    pub priority: i32,
}

/// Where a wish is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Name of the machine.
    pub machine: Arc<str>,
}

/// The most that instances of a namespace may take together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    /// Name of the ResourceQuota.
    pub name: String,
    /// Thousandths of a core.
    pub cpu: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// How many there may be.
    pub instances: Option<u64>,
}
