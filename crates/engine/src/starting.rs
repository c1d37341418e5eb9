//! Rules of admission for what starts runs by itself, a schedule or a remedy: it is checked as what it starts
//! would be.

use crate::rules::{check_campaign, check_new_run, check_run, same, unknown_runbook};
use quarterdeck_model::{
    FieldError, FieldErrors, Kind as _, kinds,
    kinds::{Remedy, RemedySpec, RunSpec, RunTarget, Runbook, Schedule},
};
use quarterdeck_runbook::Condition;
use quarterdeck_store::World;
use serde::Deserialize as _;
use serde_json::Value;

/// What a schedule starts can work as things stand.
pub(crate) fn schedule(world: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    if same(new, old, &["run", "campaign"]) {
        return FieldErrors::new();
    }
    let Ok(schedule) = Schedule::deserialize(new) else { return FieldErrors::new() };
    let namespace = schedule.metadata.namespace.as_deref().unwrap_or_default();
    let spec = schedule.spec;
    if let Some(run) = spec.run {
        let run = RunSpec {
            runbook: run.runbook,
            target: run.target,
            params: run.params,
            ..RunSpec::default()
        };
        return renamed(check_new_run(world, namespace, &run), "spec", "spec.run");
    }
    let errors = spec.campaign.map(|campaign| check_campaign(world, campaign));
    renamed(errors.unwrap_or_default(), "spec", "spec.campaign")
}

/// The runbook of a remedy can be run on its objects, and its expression asked of them.
pub(crate) fn remedy(world: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    if same(new, old, &["kind", "when", "runbook", "params"]) {
        return FieldErrors::new();
    }
    let Ok(remedy) = Remedy::deserialize(new) else { return FieldErrors::new() };
    let spec = remedy.spec;
    let Some(kind) = kinds::all().iter().copied().find(|kind| kind.kind == spec.kind) else {
        // It was refused for that.
        return FieldErrors::new();
    };
    let mut errors: FieldErrors = Condition::mistakes(&spec.when, kind)
        .into_iter()
        .map(|why| FieldError::invalid("spec.when", format!("{:?}", spec.when), why))
        .collect();
    errors.extend(mends(world, spec));
    errors
}

fn mends(world: &World, spec: RemedySpec) -> FieldErrors {
    let Some(runbook) = world.get(Runbook::info(), "", &spec.runbook) else {
        return unknown_runbook(world, &spec.runbook);
    };
    let Ok(runbook) = runbook.decode::<Runbook>() else { return FieldErrors::new() };
    let target = Some(RunTarget::new(spec.kind, ""));
    let run = RunSpec { runbook: spec.runbook, target, params: spec.params, ..RunSpec::default() };
    let mut errors = check_run(&runbook.spec, &run);
    for error in &mut errors {
        // A runbook that takes no target mends none.
        if error.field == "spec.target" {
            error.field = "spec.runbook".into();
        }
    }
    renamed(errors, "spec.target", "spec")
}

/// Mistakes of what is started, where they are written.
fn renamed(mut errors: FieldErrors, from: &str, to: &str) -> FieldErrors {
    for error in &mut errors {
        if let Some(rest) = error.field.strip_prefix(from) {
            error.field = format!("{to}{rest}");
        }
    }
    errors
}
