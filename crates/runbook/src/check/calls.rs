//! Calls: runbooks that call each other in a circle, or too deeply.

use super::{Definitions, Found};
use crate::definition::CALL_DEPTH_MAX;
use quarterdeck_model::{
    FieldError,
    kinds::{RunbookSpec, Step},
};
use std::collections::HashMap;

/// Checks the calls that `spec` makes, which is to be known as `name`.
pub(super) fn check(name: &str, spec: &RunbookSpec, known: &dyn Definitions, found: &mut Found) {
    let mut walk = Walk { known, depths: HashMap::new(), callers: vec![name.to_owned()] };
    for (step, path) in numbered(&spec.steps, "spec.steps") {
        for (part, called) in calls(step) {
            if let Err(why) = walk.depth(called) {
                let why = format!("step {:?}: {why}", step.name);
                let field = format!("{path}{part}.call");
                found.push(FieldError::invalid(field, format!("{called:?}"), why));
            }
        }
    }
}

struct Walk<'a> {
    known: &'a dyn Definitions,
    /// How deep the calls below a runbook go.
    depths: HashMap<String, usize>,
    callers: Vec<String>,
}

impl Walk<'_> {
    /// How deep calls go from a call of `name` on, 1 when it calls nothing. One that does not exist
    /// is told by whoever looks at its parameters.
    fn depth(&mut self, name: &str) -> Result<usize, String> {
        if let Some(at) = self.callers.iter().position(|caller| caller == name) {
            let circle = self.callers.iter().skip(at).map(String::as_str).chain([name]);
            let circle = circle.collect::<Vec<_>>().join(" → ");
            return Err(format!("runbooks call each other in a circle: {circle}"));
        }
        if self.callers.len() > CALL_DEPTH_MAX {
            return Err(too_deep());
        }
        if let Some(depth) = self.depths.get(name) {
            let whole = self.callers.len() - 1 + depth;
            return if whole > CALL_DEPTH_MAX { Err(too_deep()) } else { Ok(*depth) };
        }
        let Some(spec) = self.known.runbook(name) else { return Ok(1) };
        self.callers.push(name.to_owned());
        let mut deepest = 0;
        for (step, _) in numbered(&spec.steps, "") {
            for (_, called) in calls(step) {
                deepest = deepest.max(self.depth(called)?);
            }
        }
        self.callers.pop();
        self.depths.insert(name.to_owned(), deepest + 1);
        Ok(deepest + 1)
    }
}

fn too_deep() -> String {
    format!("runbooks call each other more than {CALL_DEPTH_MAX} levels deep")
}

/// Steps and those inside them, each with its path.
fn numbered<'s>(steps: &'s [Step], path: &str) -> Vec<(&'s Step, String)> {
    let mut all = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let path = format!("{path}[{at}]");
        if let Some(inner) = &step.parallel {
            all.extend(numbered(inner, &format!("{path}.parallel")));
        }
        if let Some(each) = &step.for_each {
            all.extend(numbered(&each.steps, &format!("{path}.forEach.steps")));
        }
        all.push((step, path));
    }
    all
}

/// The runbooks a step calls, each with the part of the step that does.
fn calls(step: &Step) -> Vec<(&'static str, &String)> {
    let parts = [
        ("", step.call.as_ref()),
        (".onFailure", step.on_failure.as_ref().and_then(|handler| handler.call.as_ref())),
        (".onTimeout", step.on_timeout.as_ref().and_then(|handler| handler.call.as_ref())),
        (".compensate", step.compensate.as_ref().and_then(|undo| undo.call.as_ref())),
    ];
    parts.into_iter().filter_map(|(part, call)| Some((part, call?))).collect()
}
