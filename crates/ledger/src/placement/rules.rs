//! What a workload wants of machines, as it is compared: what a machine either meets or does not, whatever runs in the
//! fleet, and what depends on where others are.

use super::{Host, refusal::Reason};
use quarterdeck_model::{
    LabelSelector,
    kinds::{FactRequirement, TaintEffect, Toleration, TopologyLevel, WorkloadPlacement},
};

/// What a machine either meets or does not. Workloads that want the same share what is known of the machines that do.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Class {
    labels: LabelSelector,
    facts: Vec<FactRequirement>,
    tolerations: Vec<Toleration>,
}

/// All rules of a workload.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rules {
    pub(super) class: Class,
    /// Near which workloads; the workload itself, when none is named.
    pub(super) near: Vec<(Option<String>, TopologyLevel)>,
    /// Away from which.
    pub(super) away: Vec<(Option<String>, TopologyLevel)>,
    pub(super) spread: Vec<(TopologyLevel, u32)>,
}

impl Rules {
    pub(super) fn of(workload: &str, placement: &WorkloadPlacement) -> Self {
        let selector = placement.machines.as_ref().and_then(|machines| machines.selector());
        let labels = selector.unwrap_or_default();
        let other = |name: &Option<String>| name.clone().filter(|name| name != workload);
        let pairs = |rules: &[quarterdeck_model::kinds::WorkloadAffinity]| {
            rules.iter().map(|rule| (other(&rule.workload), rule.topology)).collect()
        };
        let mut spread: Vec<(TopologyLevel, u32)> =
            placement.spread.iter().map(|spread| (spread.topology, spread.skew())).collect();
        // Where there are the most places comes first: there it is chosen.
        spread.sort_unstable();
        Self {
            class: Class {
                labels,
                facts: placement.required_facts.clone(),
                tolerations: placement.tolerations.clone(),
            },
            near: pairs(&placement.affinity),
            away: pairs(&placement.anti_affinity),
            spread,
        }
    }

    /// Never two of its own in one place of this level; the largest such level.
    pub(super) fn alone_in(&self) -> Option<TopologyLevel> {
        let own = self.away.iter().filter(|(other, _)| other.is_none());
        own.map(|(_, level)| *level).max()
    }
}

impl Class {
    /// Why a machine does not meet it.
    pub(super) fn unmet(&self, host: &Host) -> Option<Reason> {
        if !host.ready {
            return Some(Reason::NotReady);
        }
        let label = |name: &str| host.labels.get(name).map(String::as_str);
        if !self.labels.matches_labels(label) {
            return Some(Reason::Labels);
        }
        let met =
            |fact: &&FactRequirement| fact.is_met(host.facts.get(&fact.key).map(String::as_str));
        if let Some(fact) = self.facts.iter().find(|fact| !met(fact)) {
            return Some(Reason::Fact(fact.key.clone()));
        }
        if host.unschedulable {
            return Some(Reason::Unschedulable);
        }
        let tolerated = |taint| self.tolerations.iter().any(|it| it.tolerates(taint));
        let taint = host.taints.iter().find(|taint| !tolerated(taint));
        taint.map(|taint| Reason::Taint(taint.key.clone()))
    }

    /// The taint for which an instance is to leave a machine.
    pub(super) fn leaves<'h>(&self, host: &'h Host) -> Option<&'h str> {
        let tolerated = |taint| self.tolerations.iter().any(|it| it.tolerates(taint));
        let mut taints = host.taints.iter().filter(|it| it.effect == TaintEffect::NoExecute);
        taints.find(|taint| !tolerated(taint)).map(|taint| taint.key.as_str())
    }
}
