//! Rules of admission that need more than the object itself: runbooks are type-checked against the
//! actions and runbooks there are, runs against their runbook.

use crate::actions::{Actions, Known};
use quarterdeck_model::{
    FieldError, FieldErrors, Kind as _, KindRef, kinds,
    kinds::{Run, RunSpec, Runbook, RunbookSpec},
};
use quarterdeck_store::World;
use serde::Deserialize as _;
use serde_json::Value;
use std::sync::Arc;

/// A rule: the world, the object as it would be written, and as it was.
pub type Rule = Box<dyn Fn(&World, &Value, Option<&Value>) -> FieldErrors + Send + Sync>;

/// All rules, each with the kind it is about.
pub fn rules(actions: &Arc<Actions>) -> Vec<(KindRef, Rule)> {
    let actions = actions.clone();
    let runbook = move |world: &World, new: &Value, old: Option<&Value>| {
        if unchanged(new, old) {
            return FieldErrors::new();
        }
        let Ok(runbook) = Runbook::deserialize(new) else { return FieldErrors::new() };
        let known = Known { actions: &actions, world };
        quarterdeck_runbook::check(&runbook.metadata.name, &runbook.spec, &known)
    };
    let run = |world: &World, new: &Value, old: Option<&Value>| {
        // What a run is cannot change, so it is checked once.
        if old.is_some() {
            return FieldErrors::new();
        }
        let Ok(run) = Run::deserialize(new) else { return FieldErrors::new() };
        let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
        check_new_run(world, namespace, &run.spec)
    };
    vec![(Runbook::info(), Box::new(runbook)), (Run::info(), Box::new(run))]
}

fn unchanged(new: &Value, old: Option<&Value>) -> bool {
    old.is_some_and(|old| old.get("spec") == new.get("spec"))
}

fn check_new_run(world: &World, namespace: &str, spec: &RunSpec) -> FieldErrors {
    let Some(runbook) = world.get(Runbook::info(), "", &spec.runbook) else {
        if spec.runbook.is_empty() {
            return FieldErrors::new();
        }
        let known: Vec<&str> =
            world.all(Runbook::info()).map(|found| found.name()).take(20).collect();
        let why = format!("there is no such Runbook; there are: {}", known.join(", "));
        return vec![FieldError::invalid("spec.runbook", format!("{:?}", spec.runbook), why)];
    };
    let Ok(runbook) = runbook.decode::<Runbook>() else { return FieldErrors::new() };
    let mut errors = check_run(&runbook.spec, spec);
    if errors.is_empty()
        && let Some(target) = &spec.target
        && !target_exists(world, namespace, &target.kind, &target.name)
    {
        let why = format!("there is no {} of this name; create it first", target.kind);
        errors.push(FieldError::invalid("spec.target.name", format!("{:?}", target.name), why));
    }
    errors
}

fn target_exists(world: &World, namespace: &str, kind: &str, name: &str) -> bool {
    kinds::all().iter().find(|known| known.kind == kind).is_some_and(|kind| {
        let namespace = if kind.namespaced() { namespace } else { "" };
        world.get(kind, namespace, name).is_some()
    })
}

/// Checks a run against its runbook: target and parameters.
pub(crate) fn check_run(runbook: &RunbookSpec, run: &RunSpec) -> FieldErrors {
    let mut errors = quarterdeck_runbook::check_params(runbook, &run.params);
    match (&runbook.target, &run.target) {
        (Some(wanted), None) => {
            let why = format!("runbook {} is run against a {}", run.runbook, wanted.kind);
            errors.push(FieldError::required("spec.target", why));
        }
        (None, Some(_)) => {
            let why = format!("runbook {} takes no target", run.runbook);
            errors.push(FieldError::forbidden("spec.target", why));
        }
        (Some(wanted), Some(given)) if wanted.kind != given.kind => {
            errors.push(FieldError::not_supported(
                "spec.target.kind",
                format!("{:?}", given.kind),
                &[&wanted.kind],
            ));
        }
        _ => {}
    }
    errors
}
