//! Dry runs: goes through all steps in one decision and says what each would do. Nothing is
//! performed, and nothing is waited for.
//!
//! What a step gives back is unknown here, so what depends on it is said to be known only then.

use super::{
    Admission, Frame, Machine,
    journal::{self, JOURNAL_STEPS_MAX},
};
use crate::{
    definition::{Node, Verb},
    params,
};
use quarterdeck_model::{
    ConditionStatus,
    kinds::{RunPhase, StepPhase, StepStatus},
};
use serde_json::Value;

const UNKNOWN: &str = "known only when it runs";

impl Machine<'_> {
    /// Says what the run would do, and ends it.
    pub(super) fn rehearse(&mut self) {
        let program = &self.definition.root;
        self.rehearse_steps(&program.steps, Frame::root(program), true);
        let entries = &self.journal.status.steps;
        let done = entries.iter().filter(|entry| entry.phase == StepPhase::Succeeded).count();
        let skipped = entries.len() - done;
        let message = format!(
            "dry run: {done} steps would be done, {skipped} skipped; nothing was performed"
        );
        self.set_complete(ConditionStatus::True, "DryRun", &message);
        self.finish(RunPhase::Succeeded, message);
    }

    fn rehearse_steps(&mut self, nodes: &[Node], frame: Frame<'_>, in_order: bool) {
        for (at, node) in nodes.iter().enumerate() {
            let path = format!("{}{}", frame.prefix, node.name);
            let upto = if in_order { at } else { frame.upto };
            self.rehearse_step(node, &path, Frame { upto, ..frame });
        }
    }

    fn rehearse_step(&mut self, node: &Node, path: &str, frame: Frame<'_>) {
        if self.journal.len() >= JOURNAL_STEPS_MAX {
            return;
        }
        let mut entry = StepStatus {
            name: path.to_owned(),
            phase: StepPhase::Succeeded,
            start_time: Some(self.now),
            ..StepStatus::default()
        };
        let mut condition = String::new();
        if let Some(when) = &node.when {
            match when.truth(&self.scope(&frame, when.references(), None)) {
                Ok(true) => {}
                Ok(false) => {
                    entry.phase = StepPhase::Skipped;
                    entry.does =
                        Some(journal::bounded(format!("skipped: {} is false", when.text())));
                    entry.end_time = Some(self.journal.end_time(self.now));
                    self.journal.push(entry);
                    return;
                }
                Err(_) => condition = format!("if {} ({UNKNOWN}): ", when.text()),
            }
        }
        let does = self.foretell(node, &frame, &mut entry);
        entry.does = Some(journal::bounded(format!("{condition}{does}")));
        entry.end_time = Some(self.journal.end_time(self.now));
        let items = entry.items.as_ref().map_or(0, Vec::len);
        let at = self.journal.push(entry);
        let prefix = format!("{path}/");
        match &node.verb {
            Verb::Parallel(steps) => {
                self.rehearse_steps(steps, frame.inner(&prefix, steps, None), false);
            }
            Verb::Call { program, .. } => {
                self.rehearse_steps(&program.steps, Frame::of(program, &prefix, Some(at)), true);
            }
            Verb::ForEach { steps, .. } => {
                for index in 0..items {
                    let prefix = format!("{path}[{index}]/");
                    let inner = frame.inner(&prefix, steps, Some((at, index)));
                    self.rehearse_steps(steps, inner, true);
                }
            }
            _ => {}
        }
    }

    /// What a step would do, in words; keeps the parameters and items that are known.
    fn foretell(&self, node: &Node, frame: &Frame<'_>, entry: &mut StepStatus) -> String {
        let render = |template: &crate::Template| {
            template.render(&self.scope(frame, template.references(), None))
        };
        match &node.verb {
            Verb::Action { name, input } => {
                let action = self.view.actions.action(name);
                let ledger = match self.view.admission {
                    Admission::Unknown => {
                        ", of which the ledger has said nothing, as no replica keeps it now".into()
                    }
                    Admission::Permitted => ", which would be permitted now".into(),
                    Admission::Refused(why) => format!(", which would have to wait now: {why}"),
                };
                let interrupts = match self.disrupts(node, name) {
                    true => format!("; can interrupt what runs on the target{ledger}"),
                    false => String::new(),
                };
                let unknown =
                    if action.is_none() { "; but no provider offers this action" } else { "" };
                match render(input) {
                    Ok(input) => {
                        let given = input.as_object().is_none_or(|fields| !fields.is_empty());
                        let with = if given { format!(" with {input}") } else { String::new() };
                        if self.journal.admit("with", &input, super::OUTPUT_BYTES_MAX).is_ok() {
                            entry.input = Some(input);
                        }
                        format!("would perform {name}{with}{interrupts}{unknown}")
                    }
                    Err(error) if error.is_missing() => {
                        format!("would perform {name} with input {UNKNOWN}{interrupts}{unknown}")
                    }
                    Err(error) => format!("would fail: with: {error}"),
                }
            }
            Verb::WaitFor(expression) => {
                let now = match expression.truth(&self.scope(frame, expression.references(), None))
                {
                    Ok(true) => "true now",
                    Ok(false) => "not true now",
                    Err(error) if error.is_missing() => "not known now",
                    Err(_) => "cannot be evaluated now",
                };
                let longest = node.longest().unwrap_or_default();
                format!("would wait up to {longest} for {} ({now})", expression.text())
            }
            Verb::Pause(time) => format!("would pause {time}"),
            Verb::Approve { message, .. } => match render(message) {
                Ok(Value::String(text)) => format!("would wait for approval: {text}"),
                Ok(other) => format!("would wait for approval: {other}"),
                Err(_) => format!("would wait for approval (the text is {UNKNOWN})"),
            },
            Verb::Parallel(steps) => format!("would do {} steps at once", steps.len()),
            Verb::Call { name, program, input } => match render(input) {
                Ok(Value::Object(given)) => {
                    if let Some(error) = params::check_params(&program.spec, &given).first() {
                        return format!("would fail to call {name}: {error}");
                    }
                    let given = params::with_defaults(&program.spec, &given);
                    entry.input = Some(Value::Object(given));
                    format!("would call {name}")
                }
                _ => format!("would call {name} with parameters {UNKNOWN}"),
            },
            Verb::ForEach { list, .. } => {
                match list.evaluate(&self.scope(frame, list.references(), None)) {
                    Ok(Value::Array(items)) if items.len() <= super::ITEMS_MAX => {
                        let text = format!("would do its steps for {} items", items.len());
                        entry.items = Some(items);
                        text
                    }
                    Ok(_) => {
                        format!("would fail: {} is not a list that can be worked on", list.text())
                    }
                    Err(_) => format!("would do its steps for each of {} ({UNKNOWN})", list.text()),
                }
            }
        }
    }
}
