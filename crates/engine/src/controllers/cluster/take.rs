//! What the plane asks the ledger before it brings something back in a cluster that takes pods: leave to stop so many of
//! the instances. Which of its pods a Deployment takes is Kubernetes' choice; how many are down is what the ledger counts. Pure.

use quarterdeck_model::{Time, kinds::PermitPhase};

/// An instance that could go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) created: Option<Time>,
    /// What became of the question whether it may go, and what was said.
    pub(super) asked: Option<(PermitPhase, Option<String>)>,
}

/// What is asked for, and what for is waited.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taking {
    /// All of them may go.
    pub(super) granted: bool,
    /// Those about whom the ledger is to be asked.
    pub(super) ask: Vec<String>,
    /// What the ledger says of those that may not go yet.
    pub(super) waits: Option<String>,
}

/// Asks for so many of those that are ready: those about whom it was asked already, then the newest, which Kubernetes takes first.
pub(super) fn take(mut ready: Vec<Candidate>, count: usize) -> Taking {
    ready.sort_by(|one, other| {
        let order = |it: &Candidate| (it.asked.is_none(), std::cmp::Reverse(it.created));
        order(one).cmp(&order(other)).then_with(|| one.name.cmp(&other.name))
    });
    let mut taking = Taking { granted: true, ..Taking::default() };
    for candidate in ready.into_iter().take(count) {
        match candidate.asked {
            Some((PermitPhase::Granted, _)) => continue,
            Some((_, said)) => taking.waits = taking.waits.or(said),
            None => taking.ask.push(candidate.name),
        }
        taking.granted = false;
    }
    taking
}
