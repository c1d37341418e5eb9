//! Leave to disrupt: a disruptive step waits until the ledger permits the run to disrupt its target. Its own
//! time begins when it does; until then the run's deadline, or whoever cancels it, ends the wait.

use super::{
    Admission, Machine,
    journal::{self, after},
    verbs::{clock, span},
};
use crate::definition::Node;
use quarterdeck_model::kinds::StepPhase;

/// Reason of a step that the ledger does not let begin.
const REFUSED: &str = "DisruptionRefused";

impl Machine<'_> {
    /// Whether an action can interrupt what runs on the target.
    pub(super) fn disrupts(&self, node: &Node, action: &str) -> bool {
        node.disruptive || self.view.actions.action(action).is_some_and(|action| action.disruptive)
    }

    pub(super) fn may_disrupt(&self) -> bool {
        self.view.admission == Admission::Permitted
    }

    /// Has a step wait, from its beginning on.
    pub(super) fn await_leave(&mut self, path: &str, at: usize) {
        let undoing = self.undoing;
        if let Some(entry) = self.journal.entry_mut(at) {
            entry.phase = StepPhase::Waiting;
            // What is undone has no deadline but its own.
            entry.deadline = entry.deadline.filter(|_| undoing);
        }
        self.say_why(path, at);
    }

    /// Goes on with a step that waits: it begins, or says why not. Answers whether it begins.
    pub(super) fn has_leave(&mut self, node: &Node, path: &str, at: usize) -> bool {
        if self.is_due(at) {
            self.time_out(node, path, at);
            return false;
        }
        if !self.may_disrupt() || !self.may_start {
            self.say_why(path, at);
            return false;
        }
        let (now, longest) = (self.now, node.longest());
        if let Some(entry) = self.journal.entry_mut(at) {
            entry.phase = StepPhase::Running;
            // What happened to the target while it waited is not its own doing.
            entry.start_time = Some(now);
            entry.deadline = longest.map(|longest| after(now, longest));
            entry.reason = None;
            entry.message = None;
        }
        true
    }

    /// Says in the journal what a step waits for, asks for leave, and comes back in time.
    fn say_why(&mut self, path: &str, at: usize) {
        self.asks = true;
        let Some(entry) = self.journal.entry(at) else { return };
        let (since, deadline) = (entry.start_time.unwrap_or(self.now), entry.deadline);
        let until = deadline.or(self.journal.status.deadline);
        let span =
            until.map_or_else(|| format!("since {}", clock(since)), |until| span(since, until));
        let target = self.view.run.target.as_ref();
        let target = target.map_or_else(String::new, |on| format!(" {on}"));
        let mut message = format!("waiting for leave to disrupt{target} {span}");
        let why = match self.view.admission {
            Admission::Refused(why) => Some(why),
            Admission::Unknown | Admission::Permitted => None,
        };
        if let Some(why) = why {
            message = format!("{message}: {why}");
        }
        let message = journal::bounded(message);
        let told = entry.reason.as_deref() == Some(REFUSED);
        if entry.message.as_ref() != Some(&message)
            && let Some(entry) = self.journal.entry_mut(at)
        {
            entry.message = Some(message);
            entry.reason = why.map(|_| REFUSED.to_owned()).or(entry.reason.take());
        }
        if let Some(why) = why
            && !told
        {
            self.note(true, REFUSED, format!("step {path}: may not disrupt{target} yet: {why}"));
        }
        self.wake_at(deadline);
    }
}
