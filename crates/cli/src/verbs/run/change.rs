//! Steering a run: cancel, pause, resume, retry. Each is a change of its spec, as `kubectl patch` would make it.

use super::STORY;
use crate::verbs::One;
use crate::{
    Error, Outcome,
    follow::follow,
    plane::{Plane, Seen},
    verbs::Common,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Run, RunPhase, StepPhase},
};
use serde_json::{Value, json};

/// Which run, and from where.
#[derive(Debug, clap::Args)]
pub struct RetryArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// The step, as `quarterdeck run show` names it [default: the one that failed]
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
    /// Show its progress until it has ended
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn cancel(one: &One) -> Result<Outcome, Error> {
    let patch = json!({"spec": {"cancel": true}});
    change(one, &patch, "is being cancelled: what it did is undone where its runbook says how")
        .await
}

pub(super) async fn pause(one: &One) -> Result<Outcome, Error> {
    let patch = json!({"spec": {"suspend": true}});
    change(one, &patch, "begins no further step; what is under way goes on to its end").await
}

pub(super) async fn resume(one: &One) -> Result<Outcome, Error> {
    change(one, &json!({"spec": {"suspend": false}}), "goes on").await
}

/// Changes a run that has not ended.
async fn change(one: &One, patch: &Value, done: &str) -> Result<Outcome, Error> {
    let plane = Plane::open(&one.common.connection).await?;
    let namespace = &plane.namespace;
    let run: Seen<Run> = plane.read(namespace, &one.name).await?;
    if run.object.status.phase.ended() {
        return Err(Error::Refused(format!(
            "run {namespace}/{} has ended already: it is {:?}",
            one.name, run.object.status.phase
        )));
    }
    let changed = plane.change(Run::info(), namespace, &one.name, patch).await?;
    let text = || format!("run {namespace}/{} {done}\n", one.name);
    one.common.output.print(text, || changed.clone())?;
    Ok(Outcome::Done)
}

pub(super) async fn retry(arguments: &RetryArguments) -> Result<Outcome, Error> {
    let RetryArguments { name, from, follow: follows, common } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let namespace = &plane.namespace;
    let run: Seen<Run> = plane.read(namespace, name).await?;
    let from = from_step(&run.object, from.as_deref())?;
    let asked = run.object.spec.retry.as_ref().map_or(0, |retry| retry.number);
    let number = asked.max(run.object.status.retries).saturating_add(1);
    let mut spec = json!({"retry": {"from": from, "number": number}});
    if let Some(fields) = spec.as_object_mut().filter(|_| run.object.spec.cancel) {
        fields.insert("cancel".into(), false.into());
    }
    let changed = plane.change(Run::info(), namespace, name, &json!({"spec": spec})).await?;
    if *follows {
        return follow(&plane, namespace, name, common.output, &STORY).await;
    }
    let text = || {
        format!(
            "run {namespace}/{name} goes on from step {from}; follow it: quarterdeck run follow {name} -n {namespace}\n"
        )
    };
    common.output.print(text, || changed.clone())?;
    Ok(Outcome::Done)
}

/// The step to go on from: the one asked for, if there is such a one, or the one that failed.
fn from_step(run: &Run, asked: Option<&str>) -> Result<String, Error> {
    let (name, status) = (crate::view::run::full_name(run), &run.status);
    if !matches!(status.phase, RunPhase::Failed | RunPhase::Cancelled) {
        return Err(Error::Refused(format!(
            "run {name} is {:?}; only one that failed or was cancelled can be retried",
            status.phase
        )));
    }
    // What handles or undoes a step is not gone on from.
    let own = |path: &str| {
        let last = path.rsplit('/').next().unwrap_or(path);
        !["onFailure", "onTimeout", "compensate"].contains(&last)
    };
    let names = || status.steps.iter().map(|step| step.name.as_str()).filter(|path| own(path));
    match asked {
        Some(step) if names().any(|it| it == step) => Ok(step.to_owned()),
        Some(step) => {
            let there: Vec<&str> = names().collect();
            Err(Error::Usage(format!(
                "run {name} has no step {step:?}; it has: {}",
                there.join(", ")
            )))
        }
        None => {
            let ended = |wanted: StepPhase| {
                let mut steps = status.steps.iter().rev();
                steps.find(|step| step.phase == wanted && own(&step.name))
            };
            let step = ended(StepPhase::Failed).or_else(|| ended(StepPhase::Cancelled));
            step.map(|step| step.name.clone()).ok_or_else(|| {
                Error::Refused(format!(
                    "no step of run {name} failed: {}; start another run",
                    status.message.as_deref().unwrap_or_default()
                ))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(phase: &str) -> Run {
        let steps = json!([
            {"name": "off", "phase": "Failed"}, {"name": "off/set", "phase": "Failed"},
            {"name": "off/onFailure", "phase": "Failed"}, {"name": "late", "phase": "Cancelled"},
        ]);
        let status = json!({"phase": phase, "steps": steps});
        let meta = json!({"name": "x", "namespace": "ops"});
        serde_json::from_value(
            json!({"metadata": meta, "spec": {"runbook": "r"}, "status": status}),
        )
        .unwrap()
    }

    #[test]
    fn a_retry_is_from_the_innermost_step_that_failed_unless_another_is_named() {
        let from = |phase: &str, asked: Option<&str>| {
            from_step(&run(phase), asked).map_err(|error| error.to_string())
        };
        assert_eq!(from("Failed", None), Ok("off/set".into()));
        assert_eq!(from("Cancelled", Some("off")), Ok("off".into()));
        let unknown = from("Failed", Some("on")).unwrap_err();
        assert_eq!(unknown, "run ops/x has no step \"on\"; it has: off, off/set, late");
        assert!(from("Running", None).unwrap_err().contains("is Running; only one that failed"));
    }
}
