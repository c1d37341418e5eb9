//! What the ledger answered a run, read from its journal.

use quarterdeck_model::{
    Time,
    kinds::{Run, StepPhase, StepStatus},
};

/// The reason of a step that waits for leave and was refused.
const REFUSED: &str = "DisruptionRefused";

/// Who stands in the way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Blocker<'a> {
    Service {
        namespace: &'a str,
        name: &'a str,
    },
    /// `rack` or `site`.
    Place {
        kind: &'a str,
        name: &'a str,
    },
    Freeze(&'a str),
    /// Nothing that this release knows of.
    Other,
}

impl Blocker<'_> {
    /// As it is named elsewhere: `service/payments/api`, `rack/r-17`, `freeze/peak`.
    pub(crate) fn who(&self) -> Option<String> {
        match self {
            Self::Service { namespace, name } => Some(format!("service/{namespace}/{name}")),
            Self::Place { kind, name } => Some(format!("{kind}/{name}")),
            Self::Freeze(name) => Some(format!("freeze/{name}")),
            Self::Other => None,
        }
    }
}

/// A step that waits for leave to disrupt.
#[derive(Debug)]
pub(crate) struct Refused<'a> {
    pub(crate) step: &'a StepStatus,
    pub(crate) since: Option<Time>,
    pub(crate) until: Option<Time>,
    /// The ledger's own sentence.
    pub(crate) sentence: &'a str,
    pub(crate) blocker: Blocker<'a>,
}

/// What a run was refused, if it waits for leave now.
pub(crate) fn refused(run: &Run) -> Option<Refused<'_>> {
    let waits = |step: &&StepStatus| {
        step.phase == StepPhase::Waiting && step.reason.as_deref() == Some(REFUSED)
    };
    let step = run.status.steps.iter().rev().find(waits)?;
    let (_, sentence) = step.message.as_deref()?.split_once(": ")?;
    Some(Refused {
        step,
        since: step.start_time,
        until: step.deadline.or(run.status.deadline),
        sentence,
        blocker: blocker(sentence),
    })
}

/// `payments/api allows …`, `payments/api wants approval …`, `payments/api says never …`, `rack r-17 allows …`,
/// `freeze peak holds …`.
pub(crate) fn blocker(sentence: &str) -> Blocker<'_> {
    let mut words = sentence.split(' ');
    match (words.next().unwrap_or_default(), words.next(), words.next()) {
        ("freeze", Some(name), _) => Blocker::Freeze(name),
        (kind @ ("rack" | "site"), Some(name), Some("allows" | "wants")) => {
            Blocker::Place { kind, name }
        }
        (service, Some("allows" | "is" | "says" | "wants"), _) => match service.split_once('/') {
            Some((namespace, name)) => Blocker::Service { namespace, name },
            None => Blocker::Other,
        },
        _ => Blocker::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocker_is_named_first() {
        let service = Blocker::Service { namespace: "payments", name: "api" };
        assert_eq!(blocker("payments/api allows 1 of 10 down; 1 is: api-7 on m-1"), service);
        let place = Blocker::Place { kind: "rack", name: "r-17" };
        assert_eq!(blocker("rack r-17 allows 2 of its servers to be disrupted at once"), place);
        for sentence in ["wants approval by 1 of user ann", "says never", "is disturbed only in"] {
            assert_eq!(blocker(&format!("payments/api {sentence}")), service, "{sentence}");
        }
        let place = Blocker::Place { kind: "site", name: "fra1" };
        assert_eq!(blocker("site fra1 allows 1 of its servers in hall north to be"), place);
        assert_eq!(blocker("freeze peak holds until 2027"), Blocker::Freeze("peak"));
        assert_eq!(blocker("the ledger waits for the store"), Blocker::Other);
    }
}
