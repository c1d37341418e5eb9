//! Walking: goes through steps in order along the journal, and follows up failures.

use super::{Frame, Machine};
use crate::definition::{Node, ON_FAILURE, ON_TIMEOUT};
use quarterdeck_model::kinds::{StepPhase, StepStatus, Then};
use std::fmt;

/// Reason of a step whose time was up.
pub(super) const TIMED_OUT: &str = "TimedOut";

/// Where a step or a sequence of steps is.
pub(super) enum Flow {
    /// The next may begin.
    Done,
    /// Something in it is in work or held.
    Busy,
    /// It failed and nothing goes on after it.
    Failed(Trouble),
}

/// What failed and why.
#[derive(Clone)]
pub(super) struct Trouble {
    pub(super) step: String,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Trouble {
    fn of(entry: &StepStatus) -> Self {
        Self {
            step: entry.name.clone(),
            reason: entry.reason.clone().unwrap_or_else(|| "Failed".into()),
            message: entry.message.clone().unwrap_or_else(|| "it failed".into()),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.message)
    }
}

impl Machine<'_> {
    /// One step after the other.
    pub(super) fn sequence(&mut self, nodes: &[Node], frame: Frame<'_>) -> Flow {
        let mut path = frame.prefix.to_owned();
        for (at, node) in nodes.iter().enumerate() {
            path.truncate(frame.prefix.len());
            path.push_str(&node.name);
            match self.node(node, &path, Frame { upto: at, ..frame }) {
                Flow::Done => {}
                other => return other,
            }
        }
        Flow::Done
    }

    /// One step: begun, gone on with, or followed up.
    pub(super) fn node(&mut self, node: &Node, path: &str, frame: Frame<'_>) -> Flow {
        let at = match self.journal.place(path) {
            Some(at) => at,
            None if !self.may_start => return Flow::Busy,
            None => match self.begin(node, path, &frame) {
                Ok(at) => at,
                Err(trouble) => return Flow::Failed(trouble),
            },
        };
        if self.journal.entry(at).is_some_and(|entry| !entry.phase.ended()) {
            self.go_on(node, path, at, &frame);
        }
        match self.journal.entry(at).map(|entry| entry.phase) {
            Some(StepPhase::Succeeded | StepPhase::Skipped) => Flow::Done,
            Some(StepPhase::Failed) => self.follow_up(node, path, at, &frame),
            Some(StepPhase::Cancelled) | None => Flow::Failed(self.trouble(at)),
            Some(StepPhase::Running | StepPhase::Waiting) => Flow::Busy,
        }
    }

    fn trouble(&self, at: usize) -> Trouble {
        self.journal.entry(at).map(Trouble::of).unwrap_or_else(|| Trouble {
            step: String::new(),
            reason: "Failed".into(),
            message: "it is not in the journal".into(),
        })
    }

    /// Handles a step that failed for good.
    fn follow_up(&mut self, node: &Node, path: &str, at: usize, frame: &Frame<'_>) -> Flow {
        let mut trouble = self.trouble(at);
        let (name, handling) = match (&node.on_timeout, &node.on_failure) {
            (Some(handling), _) if trouble.reason == TIMED_OUT => (ON_TIMEOUT, handling),
            (_, Some(handling)) => (ON_FAILURE, handling),
            _ => return Flow::Failed(trouble),
        };
        if let Some(handler) = &handling.node {
            let frame = Frame { about: Some(at), ..*frame };
            match self.node(handler, &format!("{path}/{name}"), frame) {
                Flow::Done => {}
                Flow::Busy => return Flow::Busy,
                Flow::Failed(second) => {
                    trouble.message =
                        format!("{}; and {name}: {}", trouble.message, second.message);
                    return Flow::Failed(trouble);
                }
            }
        }
        match handling.then {
            Then::Continue => Flow::Done,
            Then::Fail => Flow::Failed(trouble),
        }
    }
}
