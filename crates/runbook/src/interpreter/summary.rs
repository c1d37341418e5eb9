//! What people follow in `kubectl get runs -w`: step, progress and message.

use super::{Machine, verbs::clock};
use crate::definition::{Node, Verb};
use quarterdeck_model::{
    Duration,
    kinds::{RunPhase, StepPhase, StepStatus},
};
use std::fmt::Write as _;

/// Most steps named at once.
const NAMED_MAX: usize = 3;

impl Machine<'_> {
    /// Writes step, progress and message of a run that has not ended.
    pub(super) fn summarise(&mut self) {
        self.count_progress();
        let current: Vec<&StepStatus> = self.current().collect();
        let mut names: Vec<&str> = current.iter().map(|entry| entry.name.as_str()).collect();
        let more = names.len().saturating_sub(NAMED_MAX);
        names.truncate(NAMED_MAX);
        let mut step = names.join(", ");
        if more > 0 {
            step = format!("{step} and {more} more");
        }
        let message = current.first().map(|entry| describe(entry));
        let held = if step.is_empty() { "" } else { "; what runs goes on to its end" };
        let message = match self.journal.status.phase {
            // It says why the run ends; that must not be lost.
            RunPhase::Compensating => self.journal.status.message.clone(),
            RunPhase::Suspended => {
                Some(format!("suspended: no further step begins until spec.suspend is false{held}"))
            }
            _ => message,
        };
        let status = &mut self.journal.status;
        status.step = Some(step).filter(|step| !step.is_empty());
        status.message = message.map(super::journal::bounded);
    }

    /// The steps in work that do something themselves.
    fn current(&self) -> impl Iterator<Item = &StepStatus> {
        self.journal.status.steps.iter().filter(|entry| {
            !entry.phase.ended()
                && self.definition.find(&entry.name).is_some_and(|node| node.children().is_empty())
        })
    }

    pub(super) fn count_progress(&mut self) {
        let (done, known) = self.count(&self.definition.root.steps, &mut String::new());
        self.journal.status.progress = Some(format!("{done}/{known}"));
    }

    /// Steps done and known of those whose paths begin with `prefix`, which is as it was afterwards.
    fn count(&self, nodes: &[Node], prefix: &mut String) -> (u64, u64) {
        let mut sum = (0_u64, 0_u64);
        let own = prefix.len();
        for node in nodes {
            prefix.push_str(&node.name);
            let (done, known) = self.count_node(node, prefix);
            prefix.truncate(own);
            sum = (sum.0.saturating_add(done), sum.1.saturating_add(known));
        }
        sum
    }

    fn count_node(&self, node: &Node, path: &mut String) -> (u64, u64) {
        let Some(entry) = self.journal.find(path) else { return (0, node.leaves) };
        match entry.phase {
            StepPhase::Skipped => return (node.leaves, node.leaves),
            // A journal of a rehearsal or of an earlier retry may lack what is inside.
            StepPhase::Succeeded if node.children().is_empty() => return (1, 1),
            _ => {}
        }
        match &node.verb {
            Verb::Parallel(_) | Verb::Call { .. } => {
                path.push('/');
                self.count(node.children(), path)
            }
            Verb::ForEach { steps, .. } => {
                let items = entry.items.as_ref().map_or(0, Vec::len);
                let mut sum = (0_u64, 0_u64);
                let own = path.len();
                for index in 0..items {
                    path.truncate(own);
                    // Writing to memory does not fail.
                    let _ = write!(path, "[{index}]/");
                    let (done, known) = self.count(steps, path);
                    sum = (sum.0.saturating_add(done), sum.1.saturating_add(known));
                }
                sum
            }
            _ => (u64::from(self.went_well(path)), 1),
        }
    }

    /// `done in 3m2s`.
    pub(super) fn took(&self) -> String {
        let began = self.journal.status.start_time.unwrap_or(self.now);
        let span = self.now.timestamp().duration_since(began.timestamp());
        let millis = u64::try_from(span.as_millis()).unwrap_or(0);
        // Fractions of a second say nothing once it took minutes.
        let shown = if millis >= 10_000 { millis / 1000 * 1000 } else { millis };
        format!("done in {}", Duration::from_millis(shown))
    }
}

/// What a step in work does, in a few words.
fn describe(entry: &StepStatus) -> String {
    let does = entry.does.as_deref().unwrap_or("it");
    match (entry.phase, &entry.message, entry.retry_time) {
        (_, Some(message), Some(retry)) => {
            let attempt = entry.attempts.saturating_add(1);
            format!("{does} failed: {message}; attempt {attempt} at {}", clock(retry))
        }
        (StepPhase::Waiting, Some(message), _) => message.clone(),
        _ => {
            let since = entry.start_time.map(|time| format!(" since {}", clock(time)));
            let until = entry.deadline.map(|time| format!(" until {}", clock(time)));
            let attempt = match entry.attempts {
                0 | 1 => String::new(),
                attempt => format!(", attempt {attempt}"),
            };
            let (since, until) = (since.unwrap_or_default(), until.unwrap_or_default());
            format!("{does}{since}{until}{attempt}")
        }
    }
}
