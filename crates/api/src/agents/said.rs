//! What agents say, within bounds: they are not trusted, and what they say may have to wait before it is written. Pure.

use super::limit::Thing;
use quarterdeck_model::{
    agent::{HostCondition, HostConditionKind, InstanceReport, TaskReport},
    kinds::{InstanceStatus, MachineFacts},
};

/// Longest sentence and word of a condition that an agent says.
const MESSAGE_BYTES_MAX: usize = 512;
/// What of an instance is told at most.
const CONTAINERS_MAX: usize = 64;
const PORTS_MAX: usize = 128;
pub(super) const CONDITIONS_MAX: usize = 16;
/// Longest name and identity, as those of all objects.
const NAME_BYTES_MAX: usize = 253;

/// What an agent says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// What the host is.
    Facts(Box<MachineFacts>),
    /// How the host is: all conditions there are.
    Conditions(Vec<HostCondition>),
    /// How far a task is.
    Task(Box<TaskReport>),
    /// How an instance is.
    Instance(Box<InstanceReport>),
}

impl Said {
    /// What it is of.
    pub(super) fn thing(&self) -> Thing {
        match self {
            Self::Facts(_) => Thing::Facts,
            Self::Conditions(_) => Thing::Conditions,
            Self::Instance(report) => Thing::Instance(report.uid.clone()),
            Self::Task(report) => Thing::Task(report.uid.clone()),
        }
    }
}

impl Said {
    /// The same within bounds: agents are not trusted, and what they say may have to wait.
    ///
    /// # Errors
    /// When it is of something that cannot be, as a sentence.
    pub(super) fn bounded(self) -> Result<Self, String> {
        let named = |name: &str, uid: &str| match name.len().max(uid.len()) > NAME_BYTES_MAX {
            true => Err(format!("it names something in more than {NAME_BYTES_MAX} bytes")),
            false => Ok(()),
        };
        Ok(match self {
            Self::Facts(facts) => Self::Facts(Box::new(facts.bounded())),
            Self::Conditions(said) => {
                let of = |kind| said.iter().find(|condition| condition.kind == kind);
                let bounded = |it: &HostCondition| HostCondition {
                    reason: word(&it.reason),
                    message: sentence(&it.message),
                    ..*it
                };
                Self::Conditions(
                    HostConditionKind::ALL.into_iter().filter_map(of).map(bounded).collect(),
                )
            }
            Self::Task(mut report) => {
                named(&report.name, &report.uid)?;
                report.status = report.status.bounded();
                Self::Task(report)
            }
            Self::Instance(mut report) => {
                named(&report.name, &report.uid)?;
                report.status = bounded(report.status);
                Self::Instance(report)
            }
        })
    }

    /// About what it takes: its bytes in JSON.
    pub(super) fn bytes(&self) -> usize {
        let text = match self {
            Self::Facts(facts) => serde_json::to_vec(facts),
            Self::Conditions(said) => serde_json::to_vec(said),
            Self::Task(report) => serde_json::to_vec(report),
            Self::Instance(report) => serde_json::to_vec(report),
        };
        text.map_or(usize::MAX, |text| text.len())
    }
}

/// The same within bounds: agents are not trusted.
fn bounded(mut status: InstanceStatus) -> InstanceStatus {
    status.containers.truncate(CONTAINERS_MAX);
    status.ports.truncate(PORTS_MAX);
    status.conditions.truncate(CONDITIONS_MAX);
    for condition in &mut status.conditions {
        (condition.kind, condition.reason) = (word(&condition.kind), word(&condition.reason));
        condition.message = sentence(&condition.message);
    }
    status.message = status.message.as_deref().map(sentence);
    status.address = status.address.as_deref().map(sentence);
    // Where an instance of a cluster is, which no agent says.
    (status.pod, status.node, status.machine) = (None, None, None);
    status
}

/// A word for machines, whatever an agent says.
fn word(said: &str) -> String {
    let word: String = said.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    if word.is_empty() { "Unknown".into() } else { word }
}

fn sentence(said: &str) -> String {
    let mut text: String = said.chars().filter(|letter| !letter.is_control()).collect();
    let mut end = MESSAGE_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_bounded_before_it_waits() {
        let long = |bytes: usize| "a".repeat(bytes);
        let instance = |name: String, uid: String| {
            let message = Some(long(100_000));
            let status = InstanceStatus { message, ..Default::default() };
            let report = InstanceReport { name, uid, status, ..Default::default() };
            Said::Instance(Box::new(report)).bounded()
        };
        let fits = instance(long(253), long(253)).unwrap();
        assert!(fits.bytes() < 2_000, "{}", fits.bytes());
        assert!(instance(long(254), long(1)).unwrap_err().contains("253"));
        assert!(instance(long(1), long(254)).unwrap_err().contains("253"));
        let condition = |kind| HostCondition {
            kind,
            status: quarterdeck_model::ConditionStatus::True,
            reason: long(1_000),
            message: long(10_000),
        };
        let all = HostConditionKind::ALL.into_iter().cycle().take(1_000).map(condition).collect();
        let bounded = Said::Conditions(all).bounded().unwrap();
        let Said::Conditions(said) = &bounded else { panic!("{bounded:?}") };
        assert_eq!(said.len(), HostConditionKind::ALL.len());
        assert_eq!((said[0].reason.len(), said[0].message.len()), (64, MESSAGE_BYTES_MAX));
    }
}
