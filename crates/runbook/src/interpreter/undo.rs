//! Undoing: when a run fails or is cancelled, what was done is undone, last first.
//!
//! A step is undone when it succeeded and says how (`compensate`). A step that holds others and is
//! undone as a whole hides the compensations inside it. One compensation runs at a time; one that
//! fails is told and does not keep the others from running.

use super::{Frame, Machine, walk::Flow};
use crate::definition::{COMPENSATE, Node, Verb, without_item};
use quarterdeck_model::kinds::{RunPhase, StepPhase};

impl Machine<'_> {
    /// Goes on with undoing, and ends the run when all is undone.
    pub(super) fn undo(&mut self, ending: RunPhase) {
        self.undoing = true;
        // Undoing goes on while the run is suspended or cancelled: it leaves the target in order.
        self.may_start = true;
        let mut left = Vec::new();
        for path in self.done_steps() {
            let undo = format!("{path}/{COMPENSATE}");
            let begins = self.journal.place(&undo).is_none();
            if begins {
                self.note(false, "Compensating", format!("step {path} is undone"));
            }
            let running = self.journal.find(&undo).is_none_or(|entry| !entry.phase.ended());
            match self.undo_step(&path) {
                Flow::Busy => return,
                Flow::Done if running => {
                    self.note(false, "Compensated", format!("step {path} was undone"));
                }
                Flow::Done => {}
                Flow::Failed(trouble) => {
                    if running {
                        let why = format!("step {path} was not undone: {}", trouble.message);
                        self.note(true, "CompensationFailed", why);
                    }
                    left.push(path);
                }
            }
        }
        let why = self.journal.status.message.clone();
        let mut message = why.unwrap_or_else(|| "it was stopped".into());
        if !left.is_empty() {
            message = format!("{message}; not undone: {}", left.join(", "));
        }
        self.finish(ending, message);
    }

    /// Paths of the steps to undo, last done first.
    fn done_steps(&self) -> Vec<String> {
        let mut done = Vec::new();
        for (at, entry) in self.journal.status.steps.iter().enumerate() {
            if entry.phase == StepPhase::Succeeded && self.is_undone(&entry.name) {
                done.push((entry.end_time, at, entry.name.clone()));
            }
        }
        done.sort_by_key(|(ended, at, _)| std::cmp::Reverse((*ended, *at)));
        done.into_iter().map(|(.., path)| path).collect()
    }

    /// Whether the step at `path` is undone itself, and not with one around it.
    fn is_undone(&self, path: &str) -> bool {
        if path.split('/').any(|part| part == COMPENSATE) {
            return false;
        }
        if self.definition.find(path).is_none_or(|node| node.compensate.is_none()) {
            return false;
        }
        let around = path.match_indices(['/', '[']).filter_map(|(end, _)| path.get(..end));
        !around.into_iter().any(|around| {
            let whole = self.definition.find(around).is_some_and(|node| node.compensate.is_some());
            let done = self.journal.find(around);
            whole && done.is_some_and(|entry| entry.phase == StepPhase::Succeeded)
        })
    }

    fn undo_step(&mut self, path: &str) -> Flow {
        let program = &self.definition.root;
        let parts: Vec<&str> = path.split('/').collect();
        self.undo_in(&program.steps, Frame::root(program), &parts, path)
    }

    /// Finds the step that `parts` name from `frame` on, so that its compensation sees what the step
    /// saw, and the step itself.
    fn undo_in(&mut self, nodes: &[Node], frame: Frame<'_>, parts: &[&str], path: &str) -> Flow {
        let Some((first, rest)) = parts.split_first() else { return Flow::Done };
        let name = without_item(first);
        let Some(at) = nodes.iter().position(|node| node.name == name) else { return Flow::Done };
        let Some(node) = nodes.get(at) else { return Flow::Done };
        let own = format!("{}{name}", frame.prefix);
        let frame = Frame { upto: at, ..frame };
        self.undo_at(node, &own, frame, first, rest, path)
    }

    fn undo_at(
        &mut self,
        node: &Node,
        own: &str,
        frame: Frame<'_>,
        part: &str,
        rest: &[&str],
        path: &str,
    ) -> Flow {
        let entry = self.journal.place(own);
        let Some((next, further)) = rest.split_first() else {
            let Some(undo) = node.compensate.as_deref() else { return Flow::Done };
            let seen = Frame { upto: frame.upto + 1, about: entry, ..frame };
            return self.node(undo, &format!("{path}/{COMPENSATE}"), seen);
        };
        if let Some(handler) = handler(node, next) {
            let about = Frame { about: entry, ..frame };
            return self.undo_at(handler, &format!("{own}/{next}"), about, next, further, path);
        }
        match &node.verb {
            Verb::Parallel(steps) => {
                let prefix = format!("{own}/");
                self.undo_in_group(steps, frame.inner(&prefix, steps, None), rest, path)
            }
            Verb::ForEach { steps, .. } => {
                let index = part.split_once('[').and_then(|(_, item)| item.strip_suffix(']'));
                let index = index.and_then(|index| index.parse().ok()).unwrap_or(0);
                let prefix = format!("{own}[{index}]/");
                let item = entry.map(|at| (at, index));
                self.undo_in(steps, frame.inner(&prefix, steps, item), rest, path)
            }
            Verb::Call { program, .. } => {
                let prefix = format!("{own}/");
                self.undo_in(&program.steps, Frame::of(program, &prefix, entry), rest, path)
            }
            _ => Flow::Done,
        }
    }

    /// As [`Self::undo_in`]; steps at once do not see each other.
    fn undo_in_group(
        &mut self,
        nodes: &[Node],
        frame: Frame<'_>,
        parts: &[&str],
        path: &str,
    ) -> Flow {
        let Some((first, rest)) = parts.split_first() else { return Flow::Done };
        let Some(at) = nodes.iter().position(|node| node.name == without_item(first)) else {
            return Flow::Done;
        };
        let Some(node) = nodes.get(at) else { return Flow::Done };
        let own = format!("{}{}", frame.prefix, node.name);
        self.undo_at(node, &own, frame, first, rest, path)
    }
}

/// The handler of `node` that `part` names.
fn handler<'n>(node: &'n Node, part: &str) -> Option<&'n Node> {
    let is_handler = part == crate::definition::ON_FAILURE || part == crate::definition::ON_TIMEOUT;
    if is_handler { node.part(part) } else { None }
}
