//! Retrying: a run that ended goes on again from a step; what came before it is kept.
//!
//! What is kept was done and stays done, except that a step which was undone stays undone: retry
//! from it, or from a step before it, to do it again.

use super::{Machine, journal};
use crate::definition::{COMPENSATE, Node, ON_FAILURE, ON_TIMEOUT, Verb, without_item};
use quarterdeck_model::kinds::{RunPhase, StepPhase, Then};
use quarterdeck_model::{ConditionStatus, kinds::StepStatus};
use std::collections::BTreeSet;

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    /// It holds the step retried from: it goes on.
    Reopen,
    Remove,
}

impl Machine<'_> {
    /// Reopens a run that ended when a retry is asked for that was not answered. Says whether it did.
    pub(super) fn reopen(&mut self) -> bool {
        let Some(retry) = self.view.run.retry.clone() else { return false };
        if retry.number <= self.journal.status.retries {
            return false;
        }
        if let Err(why) = self.can_retry(&retry.from) {
            let why = format!(
                "cannot retry from {:?}: {why}; then raise spec.retry.number to ask again",
                retry.from
            );
            self.note(true, "RetryRefused", why.clone());
            self.journal.status.message = Some(journal::bounded(why));
            // It is answered: what was asked once is not refused for ever.
            self.journal.status.retries = retry.number;
            return false;
        }
        self.rewind(&retry.from);
        let deadline = self.run_deadline();
        let status = &mut self.journal.status;
        status.retries = retry.number;
        status.phase = RunPhase::Running;
        status.ending = None;
        status.completion_time = None;
        status.deadline = Some(deadline);
        status.outputs.clear();
        status.message = None;
        let message = format!("retry {} from step {}", retry.number, retry.from);
        self.set_complete(ConditionStatus::False, "Retried", &message);
        self.note(false, "Retried", message);
        let undone = self.undone();
        if !undone.is_empty() {
            let message = format!("these steps were undone and are not done again: {undone}");
            self.note(true, "NotRepeated", message);
        }
        true
    }

    fn can_retry(&self, from: &str) -> Result<(), &'static str> {
        if self.journal.status.phase == RunPhase::Succeeded {
            return Err("the run went well; create another run");
        }
        if self.view.run.cancel {
            return Err("set spec.cancel to false first");
        }
        let handlers = [ON_FAILURE, ON_TIMEOUT, COMPENSATE];
        if from.split('/').any(|part| handlers.contains(&part)) {
            return Err("it handles or undoes a step; name the step itself");
        }
        if self.journal.find(from).is_none() || self.definition.find(from).is_none() {
            return Err("no such step was begun; status.steps names them");
        }
        Ok(())
    }

    fn rewind(&mut self, from: &str) {
        let names: Vec<String> =
            self.journal.status.steps.iter().map(|entry| entry.name.clone()).collect();
        let mut removed = BTreeSet::new();
        let mut reopened = BTreeSet::new();
        for name in names {
            match self.fate(&name, from) {
                Fate::Keep => {}
                Fate::Reopen => {
                    reopened.insert(name);
                }
                Fate::Remove => {
                    removed.insert(name);
                }
            }
        }
        let (now, definition) = (self.now, self.definition);
        self.journal.rewrite(|steps| {
            steps.retain(|entry| !removed.contains(&entry.name));
            for entry in steps.iter_mut().filter(|entry| reopened.contains(&entry.name)) {
                let longest = definition.find(&entry.name).and_then(Node::longest);
                *entry = StepStatus {
                    name: std::mem::take(&mut entry.name),
                    does: entry.does.take(),
                    start_time: entry.start_time,
                    deadline: longest.map(|longest| journal::after(now, longest)),
                    attempts: entry.attempts,
                    input: entry.input.take(),
                    items: entry.items.take(),
                    ..StepStatus::default()
                };
            }
        });
        self.known = self.journal.len();
    }

    /// What becomes of the entry `name` when the run goes on from `from`.
    fn fate(&self, name: &str, from: &str) -> Fate {
        // What undid a step stays when it did; else it is tried again if it comes to that.
        if let Some((_, rest)) = name.split_once("/compensate")
            && (rest.is_empty() || rest.starts_with('/'))
        {
            let end = name.len() - rest.len();
            let root = name.get(..end).unwrap_or(name);
            let done =
                self.journal.find(root).is_some_and(|entry| entry.phase == StepPhase::Succeeded);
            if !done {
                return Fate::Remove;
            }
        }
        let mut nodes: &[Node] = &self.definition.root.steps;
        let mut at_once = false;
        let mut path = String::new();
        let mut ours = name.split('/');
        let mut theirs = from.split('/');
        loop {
            let (own, other) = match (ours.next(), theirs.next()) {
                (None, Some(_)) => return Fate::Reopen,
                (_, None) => return Fate::Remove,
                (Some(own), Some(other)) => (own, other),
            };
            let place = |part| nodes.iter().position(|node| node.name == without_item(part));
            let (own_place, other_place) = (place(own), place(other));
            let (Some(own_at), Some(other_at)) = (own_place, other_place) else {
                // A handler of a step that is gone on with.
                return Fate::Remove;
            };
            let child = format!("{path}{}", without_item(own));
            if own_at != other_at {
                let keep = if at_once { self.went_well(&child) } else { own_at < other_at };
                return if keep { Fate::Keep } else { Fate::Remove };
            }
            if own != other {
                return match (item(own), item(other)) {
                    // The `forEach` around the item retried from; what handled its failure goes.
                    (None, Some(_)) if ours.next().is_none() => Fate::Reopen,
                    (Some(own_item), Some(other_item)) if own_item < other_item => {
                        let inside = ours.next().unwrap_or_default();
                        let top = format!("{path}{own}/{}", without_item(inside));
                        if self.went_well(&top) { Fate::Keep } else { Fate::Remove }
                    }
                    _ => Fate::Remove,
                };
            }
            let Some(node) = nodes.get(own_at) else { return Fate::Remove };
            at_once = matches!(node.verb, Verb::Parallel(_));
            nodes = node.children();
            path = format!("{path}{own}/");
        }
    }

    /// Whether the step needs not be done again.
    pub(super) fn went_well(&self, path: &str) -> bool {
        match self.journal.find(path).map(|entry| entry.phase) {
            Some(StepPhase::Succeeded | StepPhase::Skipped) => true,
            Some(StepPhase::Failed) => {
                let Some(node) = self.definition.find(path) else { return false };
                [(&node.on_failure, ON_FAILURE), (&node.on_timeout, ON_TIMEOUT)].iter().any(
                    |(handling, name)| {
                        let Some(handling) = handling else { return false };
                        let handler = self.journal.find(&format!("{path}/{name}"));
                        handling.then == Then::Continue
                            && (handling.node.is_none()
                                || handler.is_some_and(|entry| entry.phase == StepPhase::Succeeded))
                    },
                )
            }
            _ => false,
        }
    }

    /// The steps that were undone and are kept.
    fn undone(&self) -> String {
        let entries = self.journal.status.steps.iter();
        let names = entries.filter_map(|entry| entry.name.strip_suffix("/compensate"));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The 2 of `racks[2]`.
fn item(part: &str) -> Option<usize> {
    part.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}
