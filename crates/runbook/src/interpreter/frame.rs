//! Frames: what the expressions of a step can see, built only of what they use.

use super::{Machine, journal};
use crate::{
    Scope, Template, Uses,
    definition::{Node, Program},
    params,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The place of a step among others. Inside a called runbook the chain of frames begins anew: it
/// sees its own parameters and steps only.
#[derive(Clone, Copy)]
pub(super) struct Frame<'f> {
    /// What precedes the names of these steps in their paths.
    pub(super) prefix: &'f str,
    /// The steps beside it.
    pub(super) nodes: &'f [Node],
    /// How many of them, from the first, have run.
    pub(super) upto: usize,
    /// Entry of the call whose input are the parameters; none: the run's own.
    pub(super) call: Option<usize>,
    /// Entry of the `forEach` around it, and which item.
    pub(super) item: Option<(usize, usize)>,
    /// Entry of the step that is handled or undone.
    pub(super) about: Option<usize>,
    /// The steps around it.
    pub(super) outer: Option<&'f Frame<'f>>,
}

impl<'f> Frame<'f> {
    /// The frame of a run's own steps.
    pub(super) fn root(program: &'f Program) -> Self {
        Self::of(program, "", None)
    }

    /// The frame of a called runbook's steps.
    pub(super) fn of(program: &'f Program, prefix: &'f str, call: Option<usize>) -> Self {
        Self { prefix, nodes: &program.steps, upto: 0, call, item: None, about: None, outer: None }
    }

    /// The frame of steps inside a step of this one.
    pub(super) fn inner(
        &'f self,
        prefix: &'f str,
        nodes: &'f [Node],
        item: Option<(usize, usize)>,
    ) -> Self {
        Self {
            prefix,
            nodes,
            upto: 0,
            call: self.call,
            item: item.or(self.item),
            about: self.about,
            outer: Some(self),
        }
    }
}

/// Why something could not be computed: a reason and a sentence.
pub(super) type Refused = (&'static str, String);

impl Machine<'_> {
    /// The variables that `uses` names, as seen from `frame`. `output` is what the step itself
    /// gave back.
    pub(super) fn scope<'s>(
        &'s self,
        frame: &Frame<'_>,
        uses: &Uses,
        output: Option<&'s Value>,
    ) -> Scope<'s> {
        let mut scope = Scope::new();
        for name in &uses.variables {
            scope = match name.as_str() {
                "params" => match frame.call {
                    None => scope.with_ref("params", self.root_params()),
                    Some(call) => {
                        let input = self.journal.entry(call).and_then(|entry| entry.input.clone());
                        scope.with("params", input.unwrap_or_else(|| json!({})))
                    }
                },
                "target" => scope.with_ref("target", self.target()),
                "steps" => scope.with("steps", self.steps(frame, uses)),
                "run" => scope.with("run", self.run()),
                "item" | "index" => match self.item(frame) {
                    Some((item, _)) if name == "item" => scope.with("item", item),
                    Some((_, index)) => scope.with("index", index.into()),
                    None => scope,
                },
                "output" => match (output, frame.about.and_then(|at| self.journal.entry(at))) {
                    (Some(output), _) => scope.with_ref("output", output),
                    (None, Some(entry)) => {
                        scope.with("output", entry.output.clone().unwrap_or_default())
                    }
                    (None, None) => scope,
                },
                "error" => match frame.about.and_then(|at| self.journal.entry(at)) {
                    Some(entry) => {
                        let reason = entry.reason.as_deref().unwrap_or_default();
                        let message = entry.message.as_deref().unwrap_or_default();
                        let step = entry.name.as_str();
                        let error = json!({"step": step, "reason": reason, "message": message});
                        scope.with("error", error)
                    }
                    None => scope,
                },
                _ => scope,
            };
        }
        scope
    }

    /// Values of `outputs`, seen from `frame`.
    pub(super) fn outputs(
        &self,
        outputs: &[(String, Template)],
        frame: &Frame<'_>,
        output: Option<&Value>,
    ) -> Result<BTreeMap<String, Value>, Refused> {
        let mut values = BTreeMap::new();
        for (name, template) in outputs {
            let value = template
                .render(&self.scope(frame, template.references(), output))
                .map_err(|error| ("OutputsFailed", format!("outputs.{name}: {error}")))?;
            values.insert(name.clone(), value);
        }
        if !values.is_empty() {
            self.journal.admit("outputs", &values, super::OUTPUT_BYTES_MAX)?;
        }
        Ok(values)
    }

    fn root_params(&self) -> &Value {
        self.params.get_or_init(|| {
            let spec = &self.definition.root.spec;
            Value::Object(params::with_defaults(spec, &self.view.run.params))
        })
    }

    /// The target. `spec` and `status` are there even when they are empty, so that
    /// `has(target.status.x)` can be asked of an object without status.
    fn target(&self) -> &Value {
        self.target.get_or_init(|| {
            let mut target = self.view.target.cloned().unwrap_or_else(|| json!({}));
            if let Some(fields) = target.as_object_mut() {
                for name in ["metadata", "spec", "status"] {
                    fields.entry(name).or_insert_with(|| json!({}));
                }
            }
            target
        })
    }

    fn run(&self) -> Value {
        let run = self.view.run;
        let target = run.target.as_ref().and_then(|on| serde_json::to_value(on).ok());
        json!({
            "uid": self.view.uid,
            "runbook": run.runbook,
            "attempt": self.journal.status.retries.saturating_add(1),
            "target": target.unwrap_or_else(|| json!({})),
        })
    }

    fn item(&self, frame: &Frame<'_>) -> Option<(Value, usize)> {
        let (at, index) = frame.item?;
        let item = self.journal.entry(at)?.items.as_ref()?.get(index)?;
        Some((item.clone(), index))
    }

    /// The steps that ran before: those beside it, then those around it; the nearer hides the
    /// farther of the same name.
    fn steps(&self, frame: &Frame<'_>, uses: &Uses) -> Value {
        let mut shown = Map::new();
        let mut next = Some(frame);
        while let Some(frame) = next {
            for node in frame.nodes.iter().take(frame.upto) {
                if !uses.all_steps && !uses.steps.contains(&node.name)
                    || shown.contains_key(&node.name)
                {
                    continue;
                }
                let path = format!("{}{}", frame.prefix, node.name);
                if let Some(entry) = self.journal.find(&path) {
                    let value = journal::shown(entry, self.view.run.dry_run);
                    shown.insert(node.name.clone(), value);
                }
            }
            next = frame.outer;
        }
        Value::Object(shown)
    }
}
