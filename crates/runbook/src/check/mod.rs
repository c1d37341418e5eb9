//! Checking: whether a runbook can work, asked when it is admitted and again when a run freezes it.
//!
//! All that is wrong is told at once, each with its field and step. The check refuses what cannot
//! work, never what might: where a type is known only when it runs, the run checks.
//!
//! - [`shape`]: what a schema cannot say of steps, names and bounds;
//! - [`calls`]: runbooks calling each other;
//! - [`steps`]: goes through steps with what each can see; [`values`] checks what they are given;
//! - [`expression`], [`functions`], [`types`]: the types of expressions.
//!
//! It must never depend on the state of any object: what is right today is right tomorrow, until an
//! action or a called runbook changes.

mod calls;
pub(crate) mod expression;
mod functions;
mod shape;
mod steps;
pub(crate) mod types;
pub(crate) mod values;

use quarterdeck_model::{ActionSignature, FieldError, FieldErrors, kinds::RunbookSpec};
use std::{collections::BTreeMap, sync::Arc};

/// Most errors told at once: a person mends the first ones first.
const ERRORS_MAX: usize = 50;

/// The actions and runbooks there are.
pub trait Definitions {
    /// The action of that name.
    fn action(&self, name: &str) -> Option<&ActionSignature>;
    /// Names of all actions, to suggest one.
    fn action_names(&self) -> Vec<&str>;
    /// The runbook of that name.
    fn runbook(&self, name: &str) -> Option<Arc<RunbookSpec>>;
}

/// All that is wrong with the runbook `name`, as `known` stands. Paths begin with `spec`.
pub fn check(name: &str, spec: &RunbookSpec, known: &dyn Definitions) -> FieldErrors {
    let mut found = Found::default();
    shape::check(spec, &mut found);
    // What a step does is looked at only when it is clear what it is meant to do.
    if found.errors.is_empty() {
        calls::check(name, spec, known, &mut found);
        steps::check(name, spec, known, &mut found);
    }
    found.into_errors()
}

/// All that is wrong with runbooks that were frozen together, of which one calls the others. Paths
/// begin with `runbooks[NAME].spec`.
pub fn check_frozen(
    runbooks: &BTreeMap<String, RunbookSpec>,
    actions: &dyn Definitions,
) -> FieldErrors {
    let known = Frozen { runbooks, actions };
    let mut errors = FieldErrors::new();
    for (name, spec) in runbooks {
        errors.extend(check(name, spec, &known).into_iter().map(|error| FieldError {
            field: format!("runbooks[{name}].{}", error.field),
            ..error
        }));
    }
    errors.truncate(ERRORS_MAX);
    errors
}

struct Frozen<'a> {
    runbooks: &'a BTreeMap<String, RunbookSpec>,
    actions: &'a dyn Definitions,
}

impl Definitions for Frozen<'_> {
    fn action(&self, name: &str) -> Option<&ActionSignature> {
        self.actions.action(name)
    }

    fn action_names(&self) -> Vec<&str> {
        self.actions.action_names()
    }

    fn runbook(&self, name: &str) -> Option<Arc<RunbookSpec>> {
        self.runbooks.get(name).cloned().map(Arc::new)
    }
}

/// The errors found so far.
#[derive(Default)]
struct Found {
    errors: FieldErrors,
    more: usize,
}

impl Found {
    fn push(&mut self, error: FieldError) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        } else {
            self.more += 1;
        }
    }

    fn into_errors(mut self) -> FieldErrors {
        if self.more > 0 {
            let why = format!("and {} more mistakes; mend these first", self.more);
            self.errors.push(FieldError::forbidden("spec", why));
        }
        self.errors
    }
}
