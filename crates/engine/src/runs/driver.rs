//! Drives one run to its end: asks the interpreter, records its decision in one commit, performs
//! what was recorded, and waits for what comes next.
//!
//! The order is the promise: the journal is durable before an effect begins, so after a crash at
//! any instant [`quarterdeck_runbook::in_flight`] says exactly what may have happened.

use super::{
    Context, FINALIZER,
    frozen::{self, Frozen, Refusal},
    targets::Place,
    wants_retry,
};
use crate::{
    actions::Known,
    controllers::garbage,
    events::{self, Happening},
    objects::EngineError,
    observe,
};
use jiff::Timestamp;
use quarterdeck_model::{
    Condition, ConditionStatus, Key, Kind as _, KindRef, Object, Time, condition, kinds,
    kinds::{Run, RunPhase, RunSpec, RunbookRevision},
};
use quarterdeck_providers::Performed;
use quarterdeck_runbook::{Decision, Failure, Input, Note, Perform, View, in_flight, step};
use quarterdeck_store::{Mutation, Outcome, Precondition};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};
use tracing::{error, warn};

/// Pause before a run goes on after the store could not be used; doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Results of actions that may wait. Each belongs to a step that runs, and a driver takes them quickly.
const RESULTS_MAX: usize = 64;

/// Drives the run at `key` until it has ended or is gone.
pub(super) async fn drive(context: Arc<Context>, key: Key, number: u64, changed: Arc<Notify>) {
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        match attempt(&context, &key, number, &changed).await {
            Ok(()) | Err(EngineError::Fenced) => return,
            Err(EngineError::Unreadable(why)) => {
                error!(run = %key, why, "a run cannot be read; waiting until it changes");
                changed.notified().await;
            }
            Err(EngineError::Store(cause)) => {
                if began.elapsed() > PAUSE_MAX {
                    pause = PAUSE;
                }
                warn!(run = %key, %cause, ?pause, "a run waits for the store");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// The run as this driver knows it.
struct Driver<'a> {
    context: &'a Arc<Context>,
    object: Arc<Object>,
    run: Run,
    frozen: Arc<Frozen>,
    /// Written together with the first step.
    revision: Option<RunbookRevision>,
    target: Option<Key>,
    performing: HashMap<String, AbortHandle>,
    results: mpsc::Sender<Input>,
}

/// Goes on from what is recorded.
async fn attempt(
    context: &Arc<Context>,
    key: &Key,
    number: u64,
    changed: &Arc<Notify>,
) -> Result<(), EngineError> {
    let Some((object, run)) = read(context, key)? else { return Ok(()) };
    if run.status.phase.ended() && !wants_retry(&run) {
        return garbage::release(&context.objects, key, FINALIZER).await;
    }
    let (frozen, revision) = match prepare(context, &run)? {
        Ok(prepared) => prepared,
        Err(refusal) => return refuse(context, &object, run, &refusal).await,
    };
    let target = target_of(&run);
    let place = target.clone().filter(|_| frozen.effects && !run.spec.dry_run).map(|target| {
        let run = object.key.clone();
        context.targets.line_up(target, run, number, changed.clone())
    });
    let (results, mut finished) = mpsc::channel(RESULTS_MAX);
    let mut driver = Driver {
        context,
        object,
        run,
        frozen,
        revision,
        target,
        performing: HashMap::new(),
        results,
    };
    if let Some(place) = &place
        && !driver.wait_for_target(place, changed).await?
    {
        return Ok(());
    }
    let _listening = driver.target.clone().map(|target| {
        // The run's own changes and its target's wake the same way: either is a reason to look.
        context.listeners.listen(target, changed.clone())
    });
    driver.resume();
    let mut input = Input::Wake;
    loop {
        let decision = match driver.advance(input).await? {
            Advance::Decided(decision) => decision,
            Advance::Gone => return Ok(()),
        };
        if decision.done {
            return driver.finish().await;
        }
        input = driver.next_input(&mut finished, changed, decision.wake).await?;
        if driver.is_gone() {
            return Ok(());
        }
    }
}

fn read(context: &Context, key: &Key) -> Result<Option<(Arc<Object>, Run)>, EngineError> {
    let Some(object) = context.objects.get(key) else { return Ok(None) };
    let run = crate::objects::decode(&object)?;
    Ok(Some((object, run)))
}

fn kind_named(name: &str) -> Option<KindRef> {
    kinds::all().iter().copied().find(|kind| kind.kind == name)
}

fn target_of(run: &Run) -> Option<Key> {
    let target = run.spec.target.as_ref()?;
    let kind = kind_named(&target.kind)?;
    let namespace = if kind.namespaced() { run.metadata.namespace.as_deref() } else { None };
    Some(Key::new(kind, namespace.unwrap_or_default(), &target.name))
}

type Prepared = (Arc<Frozen>, Option<RunbookRevision>);

/// What the run executes: what was frozen when it began, or the runbook as it is now.
fn prepare(context: &Context, run: &Run) -> Result<Result<Prepared, Refusal>, EngineError> {
    let world = context.objects.store().world();
    let refuse = |reason, message| Ok(Err(Refusal { reason, message }));
    let compile = |revision: &RunbookRevision| {
        let changes_the_world =
            |action: &str| context.actions.signature(action).is_none_or(|action| action.effects);
        let name = &revision.metadata.name;
        context.frozen.compile(name, &revision.spec, changes_the_world).map_err(|errors| Refusal {
            reason: "RunbookInvalid",
            message: format!("Runbook {}: {}", run.spec.runbook, sentence(&errors)),
        })
    };
    if let Some(name) = &run.status.runbook_revision {
        let Some((_, revision)) = context.objects.read::<RunbookRevision>("", name)? else {
            let message = format!("RunbookRevision {name}, which this run executes, was deleted");
            return refuse("RunbookNotFound", message);
        };
        return Ok(compile(&revision).map(|frozen| (frozen, None)));
    }
    let revision = match frozen::freeze(&world, &run.spec.runbook, Time::new(Timestamp::now()))? {
        Ok(revision) => revision,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let frozen = match compile(&revision) {
        Ok(frozen) => frozen,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let errors = crate::rules::check_run(&frozen.root, &run.spec);
    if !errors.is_empty() {
        return refuse("RunInvalid", sentence(&errors));
    }
    if let Some(target) = target_of(run)
        && context.objects.get(&target).is_none()
    {
        return refuse("TargetNotFound", format!("{target} does not exist; create it and retry"));
    }
    Ok(Ok((frozen, Some(revision))))
}

fn sentence(errors: &quarterdeck_model::FieldErrors) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Ends a run that cannot begin.
async fn refuse(
    context: &Context,
    object: &Object,
    mut run: Run,
    refusal: &Refusal,
) -> Result<(), EngineError> {
    let now = Time::new(Timestamp::now());
    run.status.phase = RunPhase::Failed;
    run.status.message = Some(refusal.message.clone());
    run.status.completion_time = Some(now);
    run.status.observed_generation = run.metadata.generation;
    if let Some(retry) = &run.spec.retry {
        run.status.retries = retry.number;
    }
    let complete = Condition::new(
        "Complete",
        ConditionStatus::False,
        refusal.reason,
        refusal.message.clone(),
        now,
    );
    condition::set(&mut run.status.conditions, complete);
    let happening = Happening {
        component: "runs",
        reason: "Failed",
        message: &refusal.message,
        warning: true,
        number: u64::from(run.status.retries),
    };
    let event = events::about(object, &happening, now);
    let mutations = vec![
        context.objects.put(&run, Precondition::At(object.revision))?,
        context.objects.put(&event, Precondition::Absent)?,
    ];
    // Should the run have changed meanwhile, its driver starts again with what it is now.
    context.objects.commit(mutations).await?;
    Ok(())
}

enum Advance {
    Decided(Box<Decision>),
    Gone,
}

impl Driver<'_> {
    /// Waits in line for the target. False when the run ended while it waited.
    async fn wait_for_target(
        &mut self,
        place: &Place,
        changed: &Notify,
    ) -> Result<bool, EngineError> {
        while let Err(holder) = place.take() {
            let begun = self.run.status.runbook_revision.is_some();
            let now = Time::new(Timestamp::now());
            let mut run = self.run.clone();
            let cancelled = run.spec.cancel || run.metadata.deletion_timestamp.is_some();
            if cancelled && !begun {
                run.status.phase = RunPhase::Cancelled;
                run.status.completion_time = Some(now);
                run.status.queued_behind = None;
                run.status.message = Some("cancelled before it began".into());
            } else {
                if !begun {
                    run.status.phase = RunPhase::Queued;
                }
                let target = self.target.as_ref().map_or("its target", |target| &target.name);
                run.status.message =
                    Some(format!("waits until run {} lets go of {target}", short(&holder)));
                run.status.queued_behind = Some(short(&holder));
            }
            run.status.observed_generation = run.metadata.generation;
            if run.status != self.run.status {
                let put = self.context.objects.put(&run, Precondition::At(self.object.revision))?;
                self.context.objects.commit(vec![put]).await?;
            }
            if cancelled && !begun {
                return Ok(false);
            }
            if self.run.spec.force {
                self.cancel(&holder).await?;
            }
            changed.notified().await;
            let Some((object, run)) = read(self.context, &self.object.key)? else {
                return Ok(false);
            };
            (self.object, self.run) = (object, run);
        }
        Ok(true)
    }

    /// Asks the run that holds the target to stop.
    async fn cancel(&self, holder: &Key) -> Result<(), EngineError> {
        let asked = self
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
            tracing::info!(run = %self.object.key, %holder, "a run was forced aside");
        }
        Ok(())
    }

    /// Begins again what the journal says was under way when the plane stopped.
    fn resume(&mut self) {
        let spec = self.spec();
        let target = self.target_value();
        let world = self.context.objects.store().world();
        let known = Known { actions: &self.context.actions, world: &world };
        let view = View {
            now: Time::new(Timestamp::now()),
            run: &spec,
            uid: &self.run.metadata.uid,
            target: target.as_deref(),
            actions: &known,
        };
        for perform in in_flight(&self.frozen.definition, &self.run.status, &view) {
            tracing::info!(run = %self.object.key, step = perform.step, "goes on with a step");
            self.perform(perform, true, target.clone());
        }
    }

    /// The spec as the interpreter sees it: defaults filled in, and a deletion is a cancellation.
    fn spec(&self) -> RunSpec {
        let mut spec = self.run.spec.clone();
        spec.params = quarterdeck_runbook::with_defaults(&self.frozen.root, &spec.params);
        spec.cancel |= self.run.metadata.deletion_timestamp.is_some();
        spec
    }

    fn target_value(&self) -> Option<Arc<Value>> {
        let object = self.context.objects.get(self.target.as_ref()?)?;
        Some(Arc::new(object.value()))
    }

    /// Asks the interpreter.
    fn decide(&self, input: Input, target: Option<&Value>, now: Time) -> Decision {
        let spec = self.spec();
        let world = self.context.objects.store().world();
        let known = Known { actions: &self.context.actions, world: &world };
        let uid = &self.run.metadata.uid;
        let view = View { now, run: &spec, uid, target, actions: &known };
        step(&self.frozen.definition, &self.run.status, &view, input)
    }

    /// Decides on `input`, records the decision, and performs it.
    async fn advance(&mut self, input: Input) -> Result<Advance, EngineError> {
        loop {
            let target = self.target_value();
            let now = Time::new(Timestamp::now());
            let mut decision = self.decide(input.clone(), target.as_deref(), now);
            decision.status.observed_generation = self.run.metadata.generation;
            decision.status.queued_behind = None;
            let first = self.revision.is_some();
            if let Some(revision) = &self.revision {
                decision.status.runbook_revision = Some(revision.metadata.name.clone());
            }
            if decision.status != self.run.status || !decision.notes.is_empty() {
                if !self.record(&decision, now).await? {
                    // Someone changed the run: decide again on what it is now.
                    let fresh = self.context.objects.store().fresh().await?;
                    let key = &self.object.key;
                    let Some(object) = fresh.get(Run::info(), &key.namespace, &key.name) else {
                        return Ok(Advance::Gone);
                    };
                    self.run = crate::objects::decode(&object)?;
                    self.object = object;
                    continue;
                }
                if first {
                    self.tell_target("RunStarted", "started", false, now).await?;
                }
            }
            for step in &decision.cancel {
                if let Some(task) = self.performing.remove(step) {
                    task.abort();
                }
            }
            for perform in std::mem::take(&mut decision.perform) {
                self.perform(perform, false, target.clone());
            }
            return Ok(Advance::Decided(Box::new(decision)));
        }
    }

    /// Writes the journal and the story. False when the run changed meanwhile.
    async fn record(&mut self, decision: &Decision, now: Time) -> Result<bool, EngineError> {
        let objects = &self.context.objects;
        let mut run = self.run.clone();
        run.status = decision.status.clone();
        if !decision.done && !run.metadata.finalizers.iter().any(|held| held == FINALIZER) {
            run.metadata.finalizers.push(FINALIZER.into());
        }
        if decision.done && run.metadata.deletion_timestamp.is_none() {
            run.metadata.finalizers.retain(|held| held != FINALIZER);
        }
        let mut mutations: Vec<Mutation> = Vec::with_capacity(2 + decision.notes.len());
        // Named by its content, so one that exists is the same.
        if let Some(revision) = &self.revision {
            mutations.push(objects.put(revision, Precondition::Absent)?);
        }
        let place = mutations.len();
        mutations.push(objects.put(&run, Precondition::At(self.object.revision))?);
        for note in &decision.notes {
            let Note { warning, reason, message } = note;
            let attempts: u32 = run.status.steps.iter().map(|step| step.attempts).sum();
            let number = u64::from(run.status.retries) << 32 | u64::from(attempts);
            let happening =
                Happening { component: "runs", reason, message, warning: *warning, number };
            let event = events::about(&self.object, &happening, now);
            mutations.push(objects.put(&event, Precondition::Absent)?);
        }
        let outcomes = objects.commit(mutations).await?;
        let Some(Outcome::Committed(revision)) = outcomes.get(place) else { return Ok(false) };
        self.revision = None;
        let mut object = (*self.object).clone();
        object.revision = *revision;
        self.object = Arc::new(object);
        self.run = run;
        Ok(true)
    }

    /// Says on the target what this run does to it. A run without effects is no news to it.
    async fn tell_target(
        &self,
        reason: &str,
        what: &str,
        warning: bool,
        now: Time,
    ) -> Result<(), EngineError> {
        if !self.frozen.effects || self.run.spec.dry_run {
            return Ok(());
        }
        let Some(target) = self.target.as_ref().and_then(|key| self.context.objects.get(key))
        else {
            return Ok(());
        };
        let name = short(&self.object.key);
        let message = format!("run {name} ({}) {what}", self.run.spec.runbook);
        let number = u64::from(self.run.status.retries);
        let happening = Happening { component: "runs", reason, message: &message, warning, number };
        let event = events::about(&target, &happening, now);
        self.context
            .objects
            .commit(vec![self.context.objects.put(&event, Precondition::Absent)?])
            .await?;
        let current = if self.run.status.phase.ended() { None } else { Some(name.as_str()) };
        observe::current_run(&self.context.objects, &target.key, current, &name).await
    }

    /// Begins an attempt, or begins one again that was `resumed` from the journal.
    fn perform(&mut self, perform: Perform, resumed: bool, target: Option<Arc<Value>>) {
        let now = Time::new(Timestamp::now());
        let journal = self.run.status.steps.iter().find(|step| step.name == perform.step);
        let first_attempt = journal.and_then(|step| step.start_time).unwrap_or(now);
        let (step, number) = (perform.step.clone(), perform.attempt);
        let (context, results) = (self.context.clone(), self.results.clone());
        let (key, running) = (self.target.clone(), step.clone());
        let task = tokio::spawn(async move {
            let store = context.objects.store().clone();
            let work = context.actions.perform(store, perform, resumed, target, first_attempt, now);
            let result = work.await;
            // First what was seen, then the step's end: the next step may look at the target.
            let result = match result {
                Ok(Performed { output, observed }) => match key.zip(observed) {
                    Some((key, observed)) => observe::record(&context.objects, &key, &observed)
                        .await
                        .map(|()| output)
                        .map_err(|error| Failure {
                            reason: "StoreUnavailable".into(),
                            message: format!("what was seen could not be recorded: {error}"),
                            retryable: true,
                        }),
                    None => Ok(output),
                },
                Err(failure) => Err(failure),
            };
            // A driver that is gone has been replaced by one that performs the step itself.
            let _ = results.send(Input::Performed { step, attempt: number, result }).await;
        });
        if let Some(earlier) = self.performing.insert(running, task.abort_handle()) {
            earlier.abort();
        }
    }

    /// Waits for the next thing to decide on.
    async fn next_input(
        &mut self,
        finished: &mut mpsc::Receiver<Input>,
        changed: &Notify,
        wake: Option<Time>,
    ) -> Result<Input, EngineError> {
        let wait = wake.map(|wake| {
            let left = wake.timestamp().duration_since(Timestamp::now());
            Duration::try_from(left).unwrap_or(Duration::ZERO)
        });
        let at = Instant::now() + wait.unwrap_or(Duration::from_secs(3600));
        tokio::select! {
            Some(input) = finished.recv() => {
                if let Input::Performed { step, .. } = &input {
                    self.performing.remove(step);
                }
                Ok(input)
            }
            () = sleep_until(at) => Ok(Input::Wake),
            () = changed.notified() => {
                self.adopt()?;
                Ok(Input::Wake)
            }
        }
    }

    /// Takes over what others wrote to the run.
    fn adopt(&mut self) -> Result<(), EngineError> {
        if let Some((object, run)) = read(self.context, &self.object.key)?
            && object.revision > self.object.revision
        {
            (self.object, self.run) = (object, run);
        }
        Ok(())
    }

    fn is_gone(&self) -> bool {
        self.context
            .objects
            .get(&self.object.key)
            .is_none_or(|object| object.uid != self.object.uid)
    }

    /// Lets go of everything after the end was recorded.
    async fn finish(&mut self) -> Result<(), EngineError> {
        for (_, task) in self.performing.drain() {
            task.abort();
        }
        let now = Time::new(Timestamp::now());
        let (reason, what, warning) = match self.run.status.phase {
            RunPhase::Succeeded => ("RunSucceeded", "succeeded", false),
            RunPhase::Cancelled => ("RunCancelled", "was cancelled", true),
            _ => ("RunFailed", "failed", true),
        };
        self.tell_target(reason, what, warning, now).await?;
        garbage::release(&self.context.objects, &self.object.key, FINALIZER).await
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        // What was under way is begun again by the next driver, from the journal.
        for task in self.performing.values() {
            task.abort();
        }
    }
}

/// `namespace/name`, as people write it.
fn short(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
}
