//! Groups: steps that hold others (`parallel`, `forEach`, `call`), how they go on and end.

use super::{
    Frame, Machine,
    frame::Refused,
    walk::{Flow, TIMED_OUT},
};
use crate::definition::{Node, Program, Verb};
use serde_json::{Map, Value};
use std::fmt::Write as _;

impl Machine<'_> {
    /// Goes on with steps inside a step, and ends it when they have.
    pub(super) fn group(&mut self, node: &Node, path: &str, at: usize, frame: &Frame<'_>) {
        let due = self.is_due(at);
        let may_start = self.may_start;
        // What ended in time counts, but nothing new begins.
        self.may_start &= !due;
        let flow = self.inside(node, path, at, frame);
        self.may_start = may_start;
        match flow {
            Flow::Busy if due => {
                self.sweep(&format!("{path}/"), TIMED_OUT);
                self.sweep(&format!("{path}["), TIMED_OUT);
                self.time_out(node, path, at);
            }
            Flow::Busy => {
                let deadline = self.journal.entry(at).and_then(|entry| entry.deadline);
                self.wake_at(deadline);
            }
            Flow::Failed(trouble) => {
                let message = format!("step {trouble}");
                self.fail_quietly(at, &trouble.reason, message);
            }
            Flow::Done => match &node.verb {
                Verb::Call { program, .. } => {
                    let prefix = format!("{path}/");
                    match self.called(program, &prefix, at) {
                        Ok(output) => self.succeed(node, path, at, frame, output),
                        Err((reason, why)) => self.fail(path, at, reason, why),
                    }
                }
                _ => self.succeed(node, path, at, frame, Value::Null),
            },
        }
    }

    /// Goes on with the steps inside a step.
    fn inside(&mut self, node: &Node, path: &str, at: usize, frame: &Frame<'_>) -> Flow {
        let prefix = format!("{path}/");
        match &node.verb {
            Verb::Parallel(steps) => {
                let inner = frame.inner(&prefix, steps, None);
                let mut flow = Flow::Done;
                for step in steps {
                    let next = self.node(step, &format!("{prefix}{}", step.name), inner);
                    flow = both(flow, next);
                }
                flow
            }
            Verb::ForEach { concurrency, steps, .. } => {
                self.each(steps, *concurrency, path, at, frame)
            }
            Verb::Call { program, .. } => {
                self.sequence(&program.steps, Frame::of(program, &prefix, Some(at)))
            }
            _ => Flow::Done,
        }
    }

    fn each(
        &mut self,
        steps: &[Node],
        concurrency: usize,
        path: &str,
        at: usize,
        frame: &Frame<'_>,
    ) -> Flow {
        let items = self.journal.entry(at).and_then(|entry| entry.items.as_ref());
        let items = items.map_or(0, Vec::len);
        let mut flow = Flow::Done;
        let mut busy = 0;
        let mut failed = false;
        let mut prefix = path.to_owned();
        for index in 0..items {
            prefix.truncate(path.len());
            // Writing to memory does not fail.
            let _ = write!(prefix, "[{index}]/");
            let begun = steps.first().is_some_and(|first| {
                let own = prefix.len();
                prefix.push_str(&first.name);
                let begun = self.journal.place(&prefix).is_some();
                prefix.truncate(own);
                begun
            });
            // Items begin in order: those begun go on to their end, no other begins after a failure.
            if !begun && failed {
                break;
            }
            if !begun && (busy >= concurrency || !self.may_start) {
                flow = both(flow, Flow::Busy);
                break;
            }
            let inner = frame.inner(&prefix, steps, Some((at, index)));
            let next = self.sequence(steps, inner);
            busy += usize::from(matches!(next, Flow::Busy));
            failed |= matches!(next, Flow::Failed(_));
            flow = both(flow, next);
        }
        flow
    }

    /// The outputs of a called runbook that is done.
    fn called(&self, program: &Program, prefix: &str, at: usize) -> Result<Value, Refused> {
        let frame = Frame { upto: program.steps.len(), ..Frame::of(program, prefix, Some(at)) };
        let outputs = self.outputs(&program.outputs, &frame, None)?;
        Ok(Value::Object(outputs.into_iter().collect()))
    }

    /// What the steps inside a group gave back, by their names; of a `forEach` a list of that.
    pub(super) fn gathered(&self, node: &Node, path: &str) -> Value {
        let of = |steps: &[Node], prefix: &str| {
            let mut outputs = Map::new();
            for step in steps {
                let entry = self.journal.find(&format!("{prefix}{}", step.name));
                let output = entry.and_then(|entry| entry.output.clone());
                outputs.insert(step.name.clone(), output.unwrap_or_default());
            }
            Value::Object(outputs)
        };
        match &node.verb {
            Verb::Parallel(steps) => of(steps, &format!("{path}/")),
            Verb::ForEach { steps, .. } => {
                let items = self.journal.find(path).and_then(|entry| entry.items.as_ref());
                let items = 0..items.map_or(0, Vec::len);
                items.map(|index| of(steps, &format!("{path}[{index}]/"))).collect()
            }
            _ => Value::Null,
        }
    }
}

/// What two things side by side are together: both go on to their end before a failure counts.
fn both(one: Flow, other: Flow) -> Flow {
    match (one, other) {
        (Flow::Busy, _) | (_, Flow::Busy) => Flow::Busy,
        (Flow::Failed(trouble), _) | (_, Flow::Failed(trouble)) => Flow::Failed(trouble),
        (Flow::Done, Flow::Done) => Flow::Done,
    }
}
