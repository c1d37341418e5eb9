//! One run from when it is seen to its end: whether it may begin, in line for its target, and again after a store that was
//! away. What happens in between is its [`Driver`]'s.

use super::{
    Context, FINALIZER,
    driver::{Driver, Next},
    prepare::{prepare, refuse},
    short, target_of,
    targets::{Behind, Place},
    wants_retry,
};
use crate::{controllers::garbage, objects, objects::EngineError};
use quarterdeck_model::{
    Key, Kind as _, Object, Time,
    kinds::{Run, RunPhase},
    object::Uid,
};
use quarterdeck_store::{Precondition, World};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::{error, info, warn};

/// Pause before a run goes on after the store could not be used; doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// One run to drive.
pub(super) struct Job {
    context: Arc<Context>,
    key: Key,
    pub(super) uid: Uid,
    /// Its place in line for its target; none when it has no target or needs not hold it.
    place: Option<Place>,
    pub(super) target: Option<Key>,
    queued: Time,
    pub(super) changed: Arc<Notify>,
    /// The cache may not know yet what was written.
    stale: bool,
}

impl Job {
    pub(super) fn new(
        context: Arc<Context>,
        run: &Object,
        place: Option<Place>,
        queued: Time,
        changed: Arc<Notify>,
    ) -> Self {
        let (key, uid, target) = (run.key.clone(), run.uid().into(), target_of(run));
        Self { context, key, uid, place, target, queued, changed, stale: false }
    }

    /// The run as `world` has it; none when it is gone.
    pub(super) fn read(&self, world: &World) -> Result<Option<(Arc<Object>, Run)>, EngineError> {
        let found = world.get(Run::info(), &self.key.namespace, &self.key.name);
        let Some(object) = found.filter(|object| *object.uid() == *self.uid) else {
            return Ok(None);
        };
        let mut run: Run = objects::decode(&object)?;
        run.metadata.resource_version = None;
        Ok(Some((object, run)))
    }
}

/// Drives a run until it has ended or is gone.
pub(super) async fn drive(mut job: Job) {
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        match attempt(&mut job).await {
            Ok(Next::Over) => return,
            Ok(Next::Changed) => job.changed.notified().await,
            // The term is ending, and this task with it.
            Err(EngineError::Fenced) => std::future::pending().await,
            Err(EngineError::Unreadable(why)) => {
                error!(run = %job.key, why, "a run cannot be read; waiting until it changes");
                job.changed.notified().await;
            }
            Err(EngineError::Store(cause)) => {
                if began.elapsed() > PAUSE_MAX {
                    pause = PAUSE;
                }
                warn!(run = %job.key, %cause, ?pause, "a run waits for the store");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                job.stale = true;
            }
        }
    }
}

/// Goes on from what is recorded.
async fn attempt(job: &mut Job) -> Result<Next, EngineError> {
    let context = job.context.clone();
    let store = context.objects.store();
    let world = if job.stale { store.fresh().await? } else { store.world() };
    job.stale = false;
    let Some((object, run)) = job.read(&world)? else { return Ok(Next::Over) };
    if run.status.phase.ended() && !wants_retry(&run) {
        garbage::release(&context.objects, &job.key, FINALIZER).await?;
        return Ok(Next::Over);
    }
    let prepared = match prepare(&context, &world, &run, job.target.as_ref())? {
        Ok(prepared) => prepared,
        Err(refusal) => {
            refuse(&context, &object, run, &refusal).await?;
            return Ok(Next::Over);
        }
    };
    if !prepared.frozen.effects || run.spec.dry_run {
        job.place = None;
    }
    if let Some(place) = &mut job.place
        && let Err(behind) = place.take(run.spec.force)
    {
        let stops = run.spec.cancel || run.metadata.deletion_timestamp.is_some();
        if !stops {
            queue(job, &object, run, &behind).await?;
            return Ok(Next::Changed);
        }
        // It ends without having held its target.
        job.place = None;
    }
    let _listening = job.target.clone().map(|target| {
        // The run's own changes and its target's wake the same way: either is a reason to look.
        context.listeners.listen(target, job.changed.clone())
    });
    Driver::new(job, &context, object, run, prepared).run().await
}

/// Says in the run behind whom it waits, and asks the holder to stop when the run is forced.
async fn queue(
    job: &Job,
    object: &Object,
    mut run: Run,
    behind: &Behind,
) -> Result<(), EngineError> {
    let objects = &job.context.objects;
    let before = run.status.clone();
    // One that is to be retried has ended, and says so until it begins again.
    if run.status.phase == RunPhase::Pending {
        run.status.phase = RunPhase::Queued;
    }
    let since = *run.status.queued_time.get_or_insert(job.queued);
    let ahead = short(&behind.ahead);
    let target = run.spec.target.clone().unwrap_or_default();
    run.status.message = Some(format!(
        "queued since {} behind run {ahead} for {target}; spec.force cancels what holds it, \
         spec.cancel gives up",
        Time::seconds(since.timestamp()),
    ));
    run.status.queued_behind = Some(ahead);
    run.status.observed_generation = run.metadata.generation;
    if run.status != before {
        // Should it have changed meanwhile, that wakes this driver again.
        objects.commit(vec![objects.put(&run, Precondition::At(object.revision))?]).await?;
    }
    if run.spec.force
        && let Some(holder) = &behind.holder
    {
        cancel(job, holder).await?;
    }
    Ok(())
}

/// Asks the run that holds the target to stop.
async fn cancel(job: &Job, holder: &Key) -> Result<(), EngineError> {
    let asked = job
        .context
        .objects
        .modify(holder, |value| {
            let cancelled = value.pointer("/spec/cancel") == Some(&Value::Bool(true));
            let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else {
                return false;
            };
            spec.insert("cancel".into(), true.into());
            if let Some(generation) = value.pointer_mut("/metadata/generation") {
                *generation = (generation.as_i64().unwrap_or(0) + 1).into();
            }
            !cancelled
        })
        .await?;
    if asked {
        info!(run = %job.key, %holder, "a run was forced aside");
    }
    Ok(())
}
