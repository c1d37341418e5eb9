//! Shape: what a step may have besides what it does, names, and bounds.

use super::Found;
use crate::{
    definition::{COMPENSATE, ON_FAILURE, ON_TIMEOUT, ONE_VERB},
    params,
};
use quarterdeck_model::{
    Duration, FieldError, FieldErrors, kinds,
    kinds::{Handler, NESTING_MAX, Parameter, Retry, RunbookSpec, Step, Then},
};
use std::collections::BTreeSet;

/// Most steps of one runbook, those inside steps included: a person still reads it.
const STEPS_MAX: usize = 200;
/// Most parameters of a runbook, and most outputs of a runbook or step.
const NAMED_MAX: usize = 64;
/// Longest name of a step or parameter.
const NAME_BYTES_MAX: usize = 63;
/// Most attempts of a step; with the longest pause that is more than an hour.
const ATTEMPTS_MAX: u32 = 100;
/// Most items of a `forEach` worked on at once.
const CONCURRENCY_MAX: u32 = 100;

pub(super) fn check(spec: &RunbookSpec, found: &mut Found) {
    if let Some(target) = &spec.target {
        let known: Vec<&str> = kinds::all().iter().map(|kind| kind.kind).collect();
        if !known.contains(&target.kind.as_str()) {
            let field = "spec.target.kind";
            found.push(FieldError::not_supported(field, format!("{:?}", target.kind), &known));
        }
    }
    positive(spec.timeout, "spec.timeout", found);
    parameters(&spec.parameters, found);
    outputs(spec.outputs.keys(), "spec.outputs", found);
    let mut count = 0;
    steps(&spec.steps, "spec.steps", 0, &mut count, found);
    if count > STEPS_MAX {
        found.push(FieldError::too_many("spec.steps", count, STEPS_MAX));
    }
}

fn parameters(parameters: &[Parameter], found: &mut Found) {
    if parameters.len() > NAMED_MAX {
        found.push(FieldError::too_many("spec.parameters", parameters.len(), NAMED_MAX));
    }
    let mut names = BTreeSet::new();
    for (at, parameter) in parameters.iter().enumerate() {
        let path = format!("spec.parameters[{at}]");
        let name = parameter.name.as_str();
        if !is_identifier(name) {
            let why =
                "a parameter's name is a letter and then letters, digits and \"_\", at most 63";
            found.push(FieldError::invalid(format!("{path}.name"), format!("{name:?}"), why));
        }
        if !names.insert(name) {
            found.push(FieldError::duplicate(format!("{path}.name"), format!("{name:?}")));
        }
        let mut errors = FieldErrors::new();
        for (at, allowed) in parameter.one_of.iter().enumerate() {
            let only = Parameter { one_of: Vec::new(), ..parameter.clone() };
            params::check_value(&only, allowed, &format!("{path}.enum[{at}]"), &mut errors);
        }
        if !parameter.default.is_null() {
            let default = format!("{path}.default");
            params::check_value(parameter, &parameter.default, &default, &mut errors);
            if parameter.required {
                let why = "a parameter with a default need not be given; remove one of them";
                errors.push(FieldError::forbidden(format!("{path}.required"), why));
            }
        }
        errors.into_iter().for_each(|error| found.push(error));
    }
}

fn outputs<'n>(names: impl ExactSizeIterator<Item = &'n String>, path: &str, found: &mut Found) {
    if names.len() > NAMED_MAX {
        found.push(FieldError::too_many(path, names.len(), NAMED_MAX));
    }
    for name in names.filter(|name| !is_identifier(name)) {
        let why = "an output's name is a letter and then letters, digits and \"_\", at most 63";
        found.push(FieldError::invalid(path, format!("{name:?}"), why));
    }
}

/// So that it can be written after a dot.
fn is_identifier(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn steps(steps: &[Step], path: &str, depth: usize, count: &mut usize, found: &mut Found) {
    if depth > NESTING_MAX {
        let why = format!("parallel and forEach nest at most {NESTING_MAX} deep; call a runbook");
        return found.push(FieldError::forbidden(path, why));
    }
    let mut names = BTreeSet::new();
    for (at, step) in steps.iter().enumerate() {
        *count += 1;
        if *count > STEPS_MAX {
            continue;
        }
        let path = format!("{path}[{at}]");
        name(&step.name, &path, found);
        if !names.insert(step.name.as_str()) {
            let field = format!("{path}.name");
            found.push(FieldError::duplicate(field, format!("{:?}", step.name)));
        }
        one_step(step, &path, found);
        if let Some(inner) = &step.parallel {
            not_empty(inner, &format!("{path}.parallel"), found);
            self::steps(inner, &format!("{path}.parallel"), depth + 1, count, found);
        }
        if let Some(each) = &step.for_each {
            not_empty(&each.steps, &format!("{path}.forEach.steps"), found);
            let concurrency = each.concurrency.unwrap_or(1);
            if !(1..=CONCURRENCY_MAX).contains(&concurrency) {
                let field = format!("{path}.forEach.concurrency");
                let why = format!("must be from 1 to {CONCURRENCY_MAX}");
                found.push(FieldError::invalid(field, concurrency, why));
            }
            self::steps(&each.steps, &format!("{path}.forEach.steps"), depth + 1, count, found);
        }
    }
}

fn not_empty(steps: &[Step], path: &str, found: &mut Found) {
    if steps.is_empty() {
        found.push(FieldError::required(path, "it has at least one step"));
    }
}

fn name(name: &str, path: &str, found: &mut Found) {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let why = if !letters || !first || name.len() > NAME_BYTES_MAX {
        "a step's name is letters, digits, \"-\" and \"_\", at most 63, such as power-off"
    } else if [ON_FAILURE, ON_TIMEOUT, COMPENSATE].contains(&name) {
        "the name is taken by the part of a step that is called so"
    } else {
        return;
    };
    found.push(FieldError::invalid(format!("{path}.name"), format!("{name:?}"), why));
}

/// What one step may have, by what it does.
fn one_step(step: &Step, path: &str, found: &mut Found) {
    let verbs = [
        step.action.is_some(),
        step.wait_for.is_some(),
        step.call.is_some(),
        step.approve.is_some(),
        step.parallel.is_some(),
        step.for_each.is_some(),
        step.pause.is_some(),
    ];
    if verbs.iter().filter(|verb| **verb).count() != 1 {
        return found.push(FieldError::invalid(path, format!("{:?}", step.name), ONE_VERB));
    }
    let step_name = format!("step {:?}", step.name);
    let mut forbid = |given: bool, field: &str, why: &str| {
        if given {
            found.push(FieldError::forbidden(
                format!("{path}.{field}"),
                format!("{step_name}: {why}"),
            ));
        }
    };
    let (action, call) = (step.action.is_some(), step.call.is_some());
    forbid(
        !step.input.is_empty() && !action && !call,
        "with",
        "only action and call are given values",
    );
    forbid(
        step.retry.is_some() && !action,
        "retry",
        "only an action is tried again; a call's steps have their own retry",
    );
    forbid(step.disruptive.is_some() && !action, "disruptive", "only an action can be disruptive");
    forbid(
        step.timeout.is_some() && step.pause.is_some(),
        "timeout",
        "a pause says how long it takes",
    );
    forbid(
        step.on_timeout.is_some() && step.pause.is_some(),
        "onTimeout",
        "a pause cannot time out",
    );
    positive(step.timeout, &format!("{path}.timeout"), found);
    positive(step.pause, &format!("{path}.pause"), found);
    outputs(step.outputs.keys(), &format!("{path}.outputs"), found);
    if let Some(given) = &step.retry {
        retry(given, &format!("{path}.retry"), found);
    }
    for (handler, name) in [(&step.on_failure, ON_FAILURE), (&step.on_timeout, ON_TIMEOUT)] {
        if let Some(handler) = handler {
            one_handler(handler, &format!("{path}.{name}"), found);
        }
    }
    if let Some(undo) = &step.compensate
        && undo.action.is_some() == undo.call.is_some()
    {
        let why = format!("{step_name}: give either action or call");
        found.push(FieldError::forbidden(format!("{path}.{COMPENSATE}"), why));
    }
}

fn one_handler(handler: &Handler, path: &str, found: &mut Found) {
    if handler.action.is_some() && handler.call.is_some() {
        found.push(FieldError::forbidden(path, "give action or call, not both"));
    } else if handler.action.is_none() && handler.call.is_none() {
        if !handler.input.is_empty() {
            let field = format!("{path}.with");
            found.push(FieldError::forbidden(field, "only action and call are given values"));
        }
        if handler.then == Then::Fail {
            let why = "it does nothing; give action, call or \"then: Continue\"";
            found.push(FieldError::required(path, why));
        }
    }
}

fn retry(retry: &Retry, path: &str, found: &mut Found) {
    if !(1..=ATTEMPTS_MAX).contains(&retry.attempts) {
        let why = format!("must be from 1 to {ATTEMPTS_MAX}, the first attempt included");
        found.push(FieldError::invalid(format!("{path}.attempts"), retry.attempts, why));
    }
    positive(retry.backoff, &format!("{path}.backoff"), found);
    positive(retry.max_backoff, &format!("{path}.maxBackoff"), found);
    if let (Some(first), Some(most)) = (retry.backoff, retry.max_backoff)
        && first > most
    {
        let why = format!("is shorter than the first pause, {first}");
        found.push(FieldError::invalid(format!("{path}.maxBackoff"), most, why));
    }
}

fn positive(time: Option<Duration>, path: &str, found: &mut Found) {
    if let Some(time) = time
        && time == Duration::default()
    {
        found.push(FieldError::invalid(path, time, "must be more than nothing"));
    }
}
