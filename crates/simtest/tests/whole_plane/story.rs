//! What a change means, in a sentence.

use quarterdeck_model::{
    Key, Kind as _,
    kinds::{Run, Server, Service},
};
use quarterdeck_store::Change;
use serde_json::Value;

/// What became of a run; nothing when only what nobody reads has changed.
pub(crate) fn of_run(key: &Key, before: Option<&Run>, run: &Run) -> Option<String> {
    let name = format!("run {}/{}", key.namespace, key.name);
    let Some(before) = before else {
        let on = run.spec.target.as_ref().map_or("", |target| target.name.as_str());
        return Some(format!("{name} is created: {} on {on}", run.spec.runbook));
    };
    let (was, is) = (&before.status, &run.status);
    if was == is {
        return (before.spec != run.spec).then(|| format!("{name} is asked something else"));
    }
    let step = is.step.as_deref().map_or_else(String::new, |step| format!(" at {step}"));
    let message = is.message.as_deref().map_or_else(String::new, |it| format!(": {it}"));
    Some(format!("{name} is {:?}{step}{message}", is.phase))
}

/// What became of something else; nothing when it is only the plane's own note.
pub(crate) fn of_fact(change: &Change) -> Option<String> {
    let key = &change.key;
    let name = match &*key.namespace {
        "" => format!("{} {}", key.kind, key.name),
        namespace => format!("{} {namespace}/{}", key.kind, key.name),
    };
    let Some(body) = &change.body else { return Some(format!("{name} is removed")) };
    let value: Value = serde_json::from_slice(body).ok()?;
    if *key.kind == *Server::info().resource_name() || *key.kind == *Service::info().resource_name()
    {
        // Their status is the plane's, and says what is told elsewhere.
        return change.previous.is_none().then(|| format!("{name} is created"));
    }
    let phase = value.pointer("/status/phase").and_then(Value::as_str);
    let phase = phase.map_or_else(String::new, |phase| format!(", {phase}"));
    Some(format!("{name} is written{phase}"))
}
