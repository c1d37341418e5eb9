//! Steps: goes through a runbook with what each part of a step can see, as the interpreter runs it.
//!
//! A step sees the steps that ended before it begins: those before it among its neighbours, and
//! those before the steps around it. Neighbours in a `parallel` begin together and see none of each
//! other; what is inside a `parallel` or `forEach` is seen outside only through its `outputs`. A step
//! whose `when` was false, or whose failure was handled, is seen, but has no `output`: whether it
//! has is a question for the run (`has(steps.x.output)`), not for the check.

use super::{
    Definitions, Found,
    expression::{Names, RUNBOOK_VARIABLES},
    types::{Type, any_of, hint},
    values::{Values, Wanted},
};
use crate::{
    definition::{COMPENSATE, ON_FAILURE, ON_TIMEOUT},
    params::type_name,
};
use quarterdeck_model::{
    FieldError, FieldErrors, kinds,
    kinds::{Parameter, RunbookSpec, Step},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) fn check(name: &str, spec: &RunbookSpec, known: &dyn Definitions, found: &mut Found) {
    let mut everywhere = BTreeMap::new();
    places(&spec.steps, None, &mut everywhere);
    let mut walk = Walk { known, name, spec, fixed: fixed(spec), everywhere, found };
    let seen = walk.steps(root_of(spec), "spec.steps", None);
    let root = Level { at: spec.steps.len(), seen, ..root_of(spec) };
    let names = walk.names(&root, &[], None);
    for (name, value) in &spec.outputs {
        let mut values = Values { names: &names, step: "outputs", found: walk.found };
        values.any(value, &format!("spec.outputs.{name}"));
    }
}

fn root_of(spec: &RunbookSpec) -> Level<'_> {
    Level { steps: &spec.steps, at: 0, at_once: false, seen: Vec::new(), outer: None }
}

/// The steps inside which each step stands.
fn places<'s>(
    steps: &'s [Step],
    around: Option<&'s str>,
    all: &mut BTreeMap<&'s str, Option<&'s str>>,
) {
    for step in steps {
        all.entry(&step.name).or_insert(around);
        let inner = step.parallel.iter().flatten();
        let inner = inner.chain(step.for_each.iter().flat_map(|each| &each.steps));
        for inner in inner {
            places(std::slice::from_ref(inner), Some(&step.name), all);
        }
    }
}

/// The variables that are the same everywhere in a runbook.
fn fixed(spec: &RunbookSpec) -> BTreeMap<&'static str, Type> {
    let mut variables = BTreeMap::new();
    let parameters = spec.parameters.iter();
    let parameters = parameters
        .map(|parameter| (parameter.name.clone(), Type::of_schema(&schema_of(parameter))));
    variables.insert("params", Type::object(parameters));
    let text = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Type::TEXT)).collect();
    let target: Vec<_> = text(&["kind", "name", "hall", "row", "powerFeed"]);
    let mut run: Vec<_> = text(&["uid", "runbook"]);
    run.push(("attempt".into(), Type::Int));
    run.push(("target".into(), Type::object(target)));
    variables.insert("run", Type::object(run));
    if let Some(target) = &spec.target {
        let kind = kinds::all().iter().find(|kind| kind.kind == target.kind);
        variables.insert("target", kind.map_or(Type::Dyn, |kind| Type::of_schema((kind.schema)())));
    }
    variables
}

fn schema_of(parameter: &Parameter) -> Value {
    let mut schema = json!({"type": type_name(parameter.kind)});
    if let Some(schema) = schema.as_object_mut() {
        match type_name(parameter.kind) {
            "object" => {
                schema.insert(quarterdeck_model::schema::PRESERVE.into(), true.into());
            }
            "array" => {
                schema.insert("items".into(), json!({}));
            }
            _ => {}
        }
        if !parameter.one_of.is_empty() {
            schema.insert("enum".into(), parameter.one_of.clone().into());
        }
        if let Some(description) = &parameter.description {
            schema.insert("description".into(), description.clone().into());
        }
    }
    schema
}

/// What a called runbook asks for, as a schema.
fn schema_of_all(parameters: &[Parameter]) -> Value {
    let properties: Map<String, Value> =
        parameters.iter().map(|parameter| (parameter.name.clone(), schema_of(parameter))).collect();
    let required: Vec<&str> = parameters
        .iter()
        .filter(|parameter| parameter.required && parameter.default.is_null())
        .map(|parameter| parameter.name.as_str())
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

/// Steps beside each other, and the place among them.
struct Level<'l> {
    steps: &'l [Step],
    at: usize,
    /// They begin together.
    at_once: bool,
    /// Those that have ended, with what is known of them.
    seen: Vec<(String, Type)>,
    outer: Option<&'l Level<'l>>,
}

/// The input of an action or call.
struct Given<'a> {
    action: Option<&'a String>,
    call: Option<&'a String>,
    input: &'a Map<String, Value>,
}

struct Walk<'a> {
    known: &'a dyn Definitions,
    name: &'a str,
    spec: &'a RunbookSpec,
    fixed: BTreeMap<&'static str, Type>,
    /// Every step of the runbook, and the step around it.
    everywhere: BTreeMap<&'a str, Option<&'a str>>,
    found: &'a mut Found,
}

impl Walk<'_> {
    /// Checks steps; gives what is known of each afterwards.
    fn steps(
        &mut self,
        mut level: Level<'_>,
        path: &str,
        item: Option<&Type>,
    ) -> Vec<(String, Type)> {
        let mut all = Vec::new();
        for (at, step) in level.steps.iter().enumerate() {
            level.at = at;
            let shown = self.step(step, &level, &format!("{path}[{at}]"), item);
            if !level.at_once {
                level.seen.push((step.name.clone(), shown.clone()));
            }
            all.push((step.name.clone(), shown));
        }
        all
    }

    fn step(&mut self, step: &Step, level: &Level<'_>, path: &str, item: Option<&Type>) -> Type {
        let name = format!("step {:?}", step.name);
        let names = self.names(level, &[], item);
        let mut values = Values { names: &names, step: &name, found: self.found };
        if let Some(when) = &step.when {
            values.condition(when, &format!("{path}.when"));
        }
        if let Some(wait) = &step.wait_for {
            values.condition(wait, &format!("{path}.waitFor"));
        }
        if let Some(approve) = &step.approve {
            let message = Value::String(approve.message.clone());
            values.any(&message, &format!("{path}.approve.message"));
            if let Some(policy) = &approve.policy {
                let mut errors = FieldErrors::new();
                policy.validate(&format!("{path}.approve.policy"), &mut errors);
                errors.into_iter().for_each(|error| self.found.push(error));
            }
        }
        let given =
            Given { action: step.action.as_ref(), call: step.call.as_ref(), input: &step.input };
        let output = if given.action.is_some() || given.call.is_some() {
            self.given(&given, &names, &name, path)
        } else {
            self.inside(step, level, path, item, &names, &name)
        };
        if let Some(action) = &step.action {
            self.disruption(step, action, path);
        }
        let after = self.names(level, &[("output", output.clone())], item);
        let mut outputs = Vec::new();
        for (output, value) in &step.outputs {
            let mut values = Values { names: &after, step: &name, found: self.found };
            let found = values.any(value, &format!("{path}.outputs.{output}"));
            outputs.push((output.clone(), found));
        }
        let shown = shown(output.clone(), outputs);
        self.parts(step, level, path, item, &shown, &output);
        shown
    }

    /// Checks what handles a step's failure and what undoes it.
    fn parts(
        &mut self,
        step: &Step,
        level: &Level<'_>,
        path: &str,
        item: Option<&Type>,
        shown: &Type,
        output: &Type,
    ) {
        let text = ["step", "reason", "message"].map(|name| (name.to_owned(), Type::TEXT));
        let error = Type::object(text);
        for (handler, part) in [(&step.on_failure, ON_FAILURE), (&step.on_timeout, ON_TIMEOUT)] {
            let Some(handler) = handler else { continue };
            let names = self.names(level, &[("error", error.clone())], item);
            let given = Given {
                action: handler.action.as_ref(),
                call: handler.call.as_ref(),
                input: &handler.input,
            };
            let name = format!("step {:?}, {part}", step.name);
            self.given(&given, &names, &name, &format!("{path}.{part}"));
        }
        if let Some(undo) = &step.compensate {
            let mut names = self.names(level, &[("output", output.clone())], item);
            // What undoes a step sees the step itself.
            if let Some(Type::Object(steps)) = names.variables.get("steps") {
                let mut known = steps.known.clone();
                known.insert(step.name.clone(), shown.clone());
                names.variables.insert("steps", Type::object(known));
            }
            let given = Given {
                action: undo.action.as_ref(),
                call: undo.call.as_ref(),
                input: &undo.input,
            };
            let name = format!("step {:?}, {COMPENSATE}", step.name);
            self.given(&given, &names, &name, &format!("{path}.{COMPENSATE}"));
        }
    }

    /// Checks the steps inside a step; gives the type of its output.
    fn inside(
        &mut self,
        step: &Step,
        level: &Level<'_>,
        path: &str,
        item: Option<&Type>,
        names: &Names,
        name: &str,
    ) -> Type {
        let outputs = |all: Vec<(String, Type)>| {
            Type::object(all.into_iter().map(|(name, shown)| (name, output_of(&shown))))
        };
        if let Some(steps) = &step.parallel {
            let inner = Level { steps, at: 0, at_once: true, seen: Vec::new(), outer: Some(level) };
            return outputs(self.steps(inner, &format!("{path}.parallel"), item));
        }
        if let Some(each) = &step.for_each {
            let mut values = Values { names, step: name, found: self.found };
            let item = values.list(&each.list, &format!("{path}.forEach.in"));
            let steps = &each.steps;
            let inner =
                Level { steps, at: 0, at_once: false, seen: Vec::new(), outer: Some(level) };
            let all = self.steps(inner, &format!("{path}.forEach.steps"), Some(&item));
            return Type::list(outputs(all));
        }
        Type::Null
    }

    /// Checks an action or call and what it is given; gives the type of its output.
    fn given(&mut self, given: &Given<'_>, names: &Names, step: &str, path: &str) -> Type {
        let input = Value::Object(given.input.clone());
        if let Some(action) = given.action {
            let Some(signature) = self.known.action(action) else {
                let names = self.known.action_names();
                let why = format!("{step}: there is no such action{}", hint(action, names));
                let field = format!("{path}.action");
                self.found.push(FieldError::invalid(field, format!("{action:?}"), why));
                return Type::Dyn;
            };
            let target = self.spec.target.as_ref().map(|target| target.kind.as_str());
            let kinds = signature.target_kinds;
            if !kinds.is_empty() && !target.is_some_and(|target| kinds.contains(&target)) {
                let has =
                    target.map_or("no target".to_owned(), |target| format!("target {target}"));
                let why = format!(
                    "{step}: {action} acts on a {}, and the runbook has {has}",
                    any_of(kinds)
                );
                let field = format!("{path}.action");
                self.found.push(FieldError::invalid(field, format!("{action:?}"), why));
            }
            let mut values = Values { names, step, found: self.found };
            let wanted = Wanted { schema: &signature.input, by: action };
            values.wanted(&input, wanted, &format!("{path}.with"));
            return Type::of_schema(&signature.output);
        }
        match given.call {
            Some(call) => self.call(call, &input, names, step, path),
            None => Type::Null,
        }
    }

    fn call(&mut self, call: &str, input: &Value, names: &Names, step: &str, path: &str) -> Type {
        let field = format!("{path}.call");
        // One that calls itself is told as a circle.
        if call == self.name {
            return Type::Dyn;
        }
        let Some(called) = self.known.runbook(call) else {
            let why = format!("{step}: there is no Runbook of this name; create it first");
            self.found.push(FieldError::invalid(field, format!("{call:?}"), why));
            return Type::Dyn;
        };
        if let Some(wanted) = &called.target {
            let target = self.spec.target.as_ref();
            if target != Some(wanted) {
                let has =
                    target.map_or("no target".to_owned(), |has| format!("target {}", has.kind));
                let why = format!(
                    "{step}: runbook {call} acts on a {}, and this runbook has {has}",
                    wanted.kind
                );
                self.found.push(FieldError::invalid(field, format!("{call:?}"), why));
            }
        }
        let schema = schema_of_all(&called.parameters);
        let by = format!("runbook {call}");
        let mut values = Values { names, step, found: self.found };
        values.wanted(input, Wanted { schema: &schema, by: &by }, &format!("{path}.with"));
        Type::object(called.outputs.keys().map(|name| (name.clone(), Type::Dyn)))
    }

    /// An action that disrupts needs the ledger's permit whatever the step says, so a step may add
    /// `disruptive: true` where the action cannot know, but not take it away.
    fn disruption(&mut self, step: &Step, action: &str, path: &str) {
        let always = self.known.action(action).is_some_and(|action| action.disruptive);
        if always && step.disruptive == Some(false) {
            let why = format!(
                "step {:?}: {action} can interrupt what runs on the target, so it is always disruptive; \
                 remove the field",
                step.name
            );
            self.found.push(FieldError::forbidden(format!("{path}.disruptive"), why));
        }
    }

    /// What expressions can see from a place, with `more` of their own.
    fn names(
        &self,
        level: &Level<'_>,
        more: &[(&'static str, Type)],
        item: Option<&Type>,
    ) -> Names {
        let mut variables = self.fixed.clone();
        variables.extend(more.iter().cloned());
        if let Some(item) = item {
            variables.insert("item", item.clone());
            variables.insert("index", Type::Int);
        }
        let mut seen = BTreeMap::new();
        let mut next = Some(level);
        while let Some(level) = next {
            for (name, shown) in &level.seen {
                seen.entry(name.clone()).or_insert_with(|| shown.clone());
            }
            next = level.outer;
        }
        let mut unseen = BTreeMap::new();
        for (name, around) in &self.everywhere {
            if !seen.contains_key(*name) {
                unseen.insert((*name).to_owned(), why_unseen(name, *around, level));
            }
        }
        variables.insert("steps", Type::object(seen));
        Names { variables, unseen, unknown: RUNBOOK_VARIABLES.into() }
    }
}

fn why_unseen(name: &str, around: Option<&str>, level: &Level<'_>) -> String {
    let mut next = Some(level);
    while let Some(level) = next {
        if let Some(at) = level.steps.iter().position(|step| step.name == name) {
            return if at == level.at {
                "it has not ended here; what it gave back is \"output\" in its own outputs".into()
            } else if level.at_once {
                "it runs at the same time".into()
            } else {
                "it runs later".into()
            };
        }
        next = level.outer;
    }
    let around = around.unwrap_or_default();
    format!(
        "it is inside step {around:?}; what it gave back is seen through the outputs of that step"
    )
}

/// What is seen of a step that ended.
fn shown(output: Type, outputs: Vec<(String, Type)>) -> Type {
    let phases = ["Running", "Waiting", "Succeeded", "Failed", "Skipped", "Cancelled"];
    let fields = [
        ("phase", Type::one_of(&phases)),
        ("output", output),
        ("outputs", Type::object(outputs)),
        ("attempts", Type::Int),
        ("reason", Type::TEXT),
        ("message", Type::TEXT),
    ];
    Type::object(fields.map(|(name, field)| (name.to_owned(), field)))
}

fn output_of(shown: &Type) -> Type {
    match shown {
        Type::Object(fields) => fields.known.get("output").cloned().unwrap_or(Type::Dyn),
        _ => Type::Dyn,
    }
}
