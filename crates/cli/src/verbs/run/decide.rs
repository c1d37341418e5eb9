//! Approving and rejecting what a run waits for. The plane writes down who it was; whether their word is wanted is for
//! those who ask for it to say.

use crate::{
    Error, Outcome,
    plane::{Plane, Seen},
    verbs::Common,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Approval, Decision, Run, StepPhase},
};
use serde_json::{Value, json};

/// What is decided on.
#[derive(Debug, clap::Args)]
pub struct DecideArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// The step, as `quarterdeck run show` names it [default: the one that waits for approval, or the disruption]
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Why, for others to read
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn decide(
    arguments: &DecideArguments,
    decision: Decision,
) -> Result<Outcome, Error> {
    let DecideArguments { name, step, note, common } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let namespace = &plane.namespace;
    let run: Seen<Run> = plane.read(namespace, name).await?;
    let step = about(&run.object, step.as_deref())?;
    let said = Approval { step: step.clone(), decision, note: note.clone(), ..Approval::default() };
    let before = run.raw.pointer("/spec/approvals").and_then(Value::as_array).cloned();
    let mut approvals = before.unwrap_or_default();
    approvals.push(json!(said));
    // Whoever decides at the same moment is not passed over.
    let seen = run.raw.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
    let patch = json!({"metadata": {"resourceVersion": seen}, "spec": {"approvals": approvals}});
    let changed = plane.change(Run::info(), namespace, name, &patch).await?;
    let what = match step.as_str() {
        "" => "the disruption of its target".into(),
        step => format!("step {step}"),
    };
    let text = || format!("run {namespace}/{name}: {what} is {decision:?} by you\n");
    common.output.print(text, || changed.clone())?;
    Ok(Outcome::Done)
}

/// The step that is meant; empty for the disruption as a whole.
fn about(run: &Run, asked: Option<&str>) -> Result<String, Error> {
    let name = crate::view::run::full_name(run);
    if run.status.phase.ended() {
        let phase = run.status.phase;
        return Err(Error::Refused(format!("run {name} has ended already: it is {phase:?}")));
    }
    let steps = run.status.steps.iter();
    let waits = steps
        .filter(|step| step.phase == StepPhase::Waiting && step.does.as_deref() == Some("approve"));
    let waiting: Vec<&str> = waits.map(|step| step.name.as_str()).collect();
    match (asked, waiting.as_slice()) {
        (Some(step), _) if run.status.steps.iter().any(|it| it.name == step) => Ok(step.to_owned()),
        (Some(step), _) => Err(Error::Usage(format!(
            "run {name} has no step {step:?}; those that wait for approval: {}",
            if waiting.is_empty() { "none".into() } else { waiting.join(", ") }
        ))),
        (None, []) => Ok(String::new()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, several) => Err(Error::Usage(format!(
            "several steps of run {name} wait for approval; choose one with --step: {}",
            several.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_about_the_step_that_waits_or_about_the_disruption() {
        let run = |steps: Value, phase: &str| -> Run {
            serde_json::from_value(json!({
                "metadata": {"name": "x", "namespace": "ops"}, "spec": {"runbook": "r"},
                "status": {"phase": phase, "steps": steps},
            }))
            .unwrap()
        };
        let waits = |name: &str| json!({"name": name, "phase": "Waiting", "does": "approve"});
        let other = json!({"name": "off", "phase": "Waiting", "does": "power.set"});
        let about = |run: &Run, asked| about(run, asked).map_err(|error| error.to_string());
        assert_eq!(about(&run(json!([other]), "Running"), None), Ok(String::new()));
        let one = run(json!([other, waits("go")]), "Running");
        assert_eq!(about(&one, None), Ok("go".into()));
        assert_eq!(about(&one, Some("off")), Ok("off".into()));
        assert!(about(&one, Some("on")).unwrap_err().contains("those that wait for approval: go"));
        let two = run(json!([waits("a"), waits("b")]), "Running");
        assert!(about(&two, None).unwrap_err().contains("choose one with --step: a, b"));
        assert!(about(&run(json!([]), "Failed"), None).unwrap_err().contains("has ended already"));
    }
}
