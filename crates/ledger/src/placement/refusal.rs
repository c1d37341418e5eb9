//! Why a wish cannot be met: how many machines fail it, for which reason.

use quarterdeck_model::kinds::TopologyLevel;
use std::{cmp::Reverse, collections::BTreeMap, fmt, sync::Arc};

/// Reasons that a sentence names; the rest are counted together.
const NAMED_MAX: usize = 5;

/// Why one machine does not do. Of several reasons, the first in this order counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing can run on it now.
    NotReady,
    /// It has not the labels.
    Labels,
    /// What its agent reports is not so.
    Fact(String),
    /// A person keeps everything new away.
    Unschedulable,
    /// It keeps those away that do not tolerate this.
    Taint(String),
    /// It is not known in which place of that level it is.
    NoPlace(TopologyLevel),
    /// Not enough free CPU.
    Cpu,
    /// Not enough free memory.
    Memory,
    /// Not enough of either.
    CpuAndMemory,
    /// Another has the port.
    Port(u16),
    /// That workload, from which this one keeps away, is in the same place.
    Away(Arc<str>, TopologyLevel),
    /// That workload keeps away from this one.
    KeptAwayBy(Arc<str>, TopologyLevel),
    /// That workload, near which this one is to be, is not there.
    Near(Arc<str>, TopologyLevel),
    /// Its place has as many instances as the spread lets it.
    Spread(TopologyLevel),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => f.write_str("not ready"),
            Self::Labels => f.write_str("without the labels"),
            Self::Fact(key) => write!(f, "fact {key}"),
            Self::Unschedulable => f.write_str("unschedulable"),
            Self::Taint(key) => write!(f, "taint {key}"),
            Self::NoPlace(level) => write!(f, "in no known {level}"),
            Self::Cpu => f.write_str("too little CPU"),
            Self::Memory => f.write_str("too little memory"),
            Self::CpuAndMemory => f.write_str("too little CPU and memory"),
            Self::Port(port) => write!(f, "port {port} taken"),
            Self::Away(other, level) => write!(f, "kept apart from {other} by {level}"),
            Self::KeptAwayBy(other, level) => write!(f, "{other} keeps away by {level}"),
            Self::Near(other, level) => write!(f, "no {other} in the {level}"),
            Self::Spread(level) => write!(f, "spread over {level}s"),
        }
    }
}

/// Why a wish cannot be met now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Machines there are in the namespace.
    pub machines: u32,
    /// How many of them do not do, for which reason. Together they are all.
    pub reasons: BTreeMap<Reason, u32>,
    /// The quota that is used up, as a sentence; then no machine was looked at.
    pub quota: Option<String>,
    /// The machine on which it could be placed if these instances made way, and these: each of a lower priority. Whoever
    /// takes them asks the ledger.
    pub victims: Option<(Arc<str>, Vec<Arc<str>>)>,
}

impl fmt::Display for Refusal {
    /// `of 412 machines: 310 too little memory, 80 taint dedicated, 22 spread over racks`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(quota) = &self.quota {
            return f.write_str(quota);
        }
        if self.machines == 0 {
            return f.write_str("there is no machine in the namespace");
        }
        let machines = if self.machines == 1 { "machine" } else { "machines" };
        write!(f, "of {} {machines}: ", self.machines)?;
        let mut reasons: Vec<_> =
            self.reasons.iter().map(|(reason, count)| (count, reason)).collect();
        reasons.sort_by_key(|(count, reason)| (Reverse(**count), (*reason).clone()));
        for (at, (count, reason)) in reasons.iter().take(NAMED_MAX).enumerate() {
            let before = if at == 0 { "" } else { ", " };
            write!(f, "{before}{count} {reason}")?;
        }
        let rest: u32 = reasons.iter().skip(NAMED_MAX).map(|(count, _)| **count).sum();
        if rest > 0 {
            write!(f, ", {rest} for other reasons")?;
        }
        Ok(())
    }
}
