//! What a run executes, and whether it can begin.

use super::{
    Context,
    frozen::{Frozen, Refusal},
};
use crate::{
    actions::Known,
    events::{self, Happening},
    objects::EngineError,
};
use quarterdeck_model::{
    Condition, ConditionStatus, FieldErrors, Key, Object, condition,
    kinds::{Run, RunPhase, RunbookRevision},
};
use quarterdeck_store::{Outcome, Precondition, World};
use std::sync::Arc;

/// What a run executes.
pub(super) struct Prepared {
    pub(super) frozen: Arc<Frozen>,
    /// Written together with the first step; none when the run had begun.
    pub(super) first: Option<Arc<RunbookRevision>>,
}

/// What was frozen when the run began, or the runbook as it is now.
pub(super) fn prepare(
    context: &Context,
    world: &World,
    run: &Run,
    target: Option<&Key>,
) -> Result<Result<Prepared, Refusal>, EngineError> {
    let invalid = |errors: &FieldErrors| Refusal {
        reason: "RunbookInvalid",
        message: format!(
            "Runbook {}: {}; mend it, then create the run again",
            run.spec.runbook,
            sentence(errors)
        ),
    };
    let known = Known { actions: &context.actions, world };
    let compile = |revision: &RunbookRevision| {
        let name = &revision.metadata.name;
        context.frozen.compile(name, &revision.spec, &known).map_err(|errors| invalid(&errors))
    };
    if let Some(name) = &run.status.runbook_revision {
        if let Some(frozen) = context.frozen.compiled(name) {
            return Ok(Ok(Prepared { frozen, first: None }));
        }
        let Some((_, revision)) = context.objects.read::<RunbookRevision>("", name)? else {
            let message = format!("RunbookRevision {name}, which this run executes, was deleted");
            return Ok(Err(Refusal { reason: "RunbookNotFound", message }));
        };
        return Ok(compile(&revision).map(|frozen| Prepared { frozen, first: None }));
    }
    let newest = context.frozen.newest(world, &run.spec.runbook, context.objects.now())?;
    let prepared = newest.and_then(|revision| {
        let frozen = compile(&revision)?;
        if !frozen.problems.is_empty() {
            return Err(invalid(&frozen.problems));
        }
        check(world, run, &frozen, target)?;
        Ok(Prepared { frozen, first: Some(revision) })
    });
    Ok(prepared)
}

fn check(world: &World, run: &Run, frozen: &Frozen, target: Option<&Key>) -> Result<(), Refusal> {
    let errors = crate::rules::check_run(&frozen.root, &run.spec);
    if !errors.is_empty() {
        return Err(Refusal { reason: "RunInvalid", message: sentence(&errors) });
    }
    let Some(wanted) = &run.spec.target else { return Ok(()) };
    let found = target.and_then(|key| {
        let kind = quarterdeck_model::kinds::by_resource_name(&key.kind)?;
        world.get(kind, &key.namespace, &key.name)
    });
    if found.is_none() {
        let message = format!(
            "{} {} does not exist; create it, then create the run again",
            wanted.kind, wanted.name
        );
        return Err(Refusal { reason: "TargetNotFound", message });
    }
    Ok(())
}

/// Most errors told in one message; the rest shows when these are mended.
const TOLD_MAX: usize = 3;

fn sentence(errors: &FieldErrors) -> String {
    let told: Vec<String> = errors.iter().take(TOLD_MAX).map(ToString::to_string).collect();
    match errors.len().saturating_sub(TOLD_MAX) {
        0 => told.join("; "),
        more => format!("{}; and {more} more", told.join("; ")),
    }
}

/// Ends a run that cannot begin.
pub(super) async fn refuse(
    context: &Context,
    object: &Object,
    mut run: Run,
    refusal: &Refusal,
) -> Result<(), EngineError> {
    let now = context.objects.now();
    let message = &refusal.message;
    run.status.phase = RunPhase::Failed;
    run.status.message = Some(message.clone());
    run.status.completion_time = Some(now);
    run.status.queued_behind = None;
    run.status.step = None;
    run.status.observed_generation = run.metadata.generation;
    if let Some(retry) = &run.spec.retry {
        run.status.retries = retry.number;
    }
    let complete =
        Condition::new("Complete", ConditionStatus::False, refusal.reason, message.clone(), now);
    condition::set(&mut run.status.conditions, complete);
    let happening = Happening {
        component: "runs",
        reason: "Failed",
        message,
        warning: true,
        number: object.revision.0,
        place: 0,
    };
    let event = events::about(object, &happening, now);
    let objects = &context.objects;
    let ended = objects.put(&run, Precondition::At(object.revision))?;
    let told = objects.tell(&event)?;
    let key = told.key.clone();
    let outcomes = objects.commit(vec![ended, told]).await?;
    if matches!(outcomes.first(), Some(Outcome::Committed(_))) {
        return Ok(());
    }
    // It changed meanwhile: its driver starts again with what it is now, and nothing is told.
    if let Some(Outcome::Committed(at)) = outcomes.get(1) {
        objects.commit(vec![objects.delete(key, Precondition::At(*at))]).await?;
    }
    objects.store().fresh().await?;
    Ok(())
}
