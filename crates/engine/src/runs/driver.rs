//! Drives one run that may begin: asks the interpreter, records its decision in one commit, performs
//! what was recorded, and waits for what comes next.
//!
//! The order is the promise: the journal is durable before an effect begins, so after a crash at
//! any instant [`quarterdeck_runbook::in_flight`] says exactly what may have happened.

use super::{
    Context, FINALIZER,
    frozen::Frozen,
    job::Job,
    leave::{Asker, Leave},
    perform::{Call, Performing},
    prepare::Prepared,
    record::Stage,
    short,
    written::Written,
};
use crate::{
    actions::Known,
    controllers::garbage,
    objects::EngineError,
    observe,
    planted::{self, Planted},
};
use quarterdeck_model::{
    Key, Kind as _, Object, Revision, Time,
    kinds::{Run, RunSpec, RunbookRevision},
    object::Uid,
};
use quarterdeck_runbook::{Decision, Input, Perform, View, in_flight, step};
use quarterdeck_store::World;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};
use tracing::info;

/// How long a dry run waits for what the ledger would say. Longer than it takes another replica to lead in place of one
/// that died; without any it ends all the same, and says so.
const REHEARSAL_MAX: Duration = Duration::from_secs(45);
/// How soon a run that waits for nothing in particular looks again.
const IDLE: Duration = Duration::from_secs(3600);

/// What follows an attempt to drive a run.
pub(super) enum Next {
    /// Nothing.
    Over,
    /// Another attempt when something changes.
    Changed,
}

/// Sets a field, and says whether it was another.
fn set<T: PartialEq>(field: &mut T, value: T) -> bool {
    let new = *field != value;
    *field = value;
    new
}

/// A run in work, as its driver knows it.
pub(super) struct Driver<'a> {
    job: &'a Job,
    pub(super) context: &'a Arc<Context>,
    /// Some version of the run, for what does not change.
    pub(super) object: Arc<Object>,
    /// The version that `run` is.
    pub(super) at: Revision,
    pub(super) run: Run,
    /// The text of its journal, as it was recorded last.
    pub(super) written: Written,
    /// What is asked of the run, as the interpreter sees it.
    asked: RunSpec,
    frozen: Arc<Frozen>,
    /// Written together with the first step.
    pub(super) first: Option<Arc<RunbookRevision>>,
    pub(super) target: Option<Key>,
    seen: Seen,
    performing: Performing,
    /// Whether it may disrupt its target.
    leave: Leave,
}

/// The target as it was looked at last.
#[derive(Default)]
struct Seen {
    at: Option<Revision>,
    uid: Option<Uid>,
    value: Option<Arc<Value>>,
}

/// What a look at the run and its target found.
enum Look {
    Same,
    Changed,
    Gone,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        job: &'a Job,
        context: &'a Arc<Context>,
        object: Arc<Object>,
        run: Run,
        prepared: Prepared,
    ) -> Self {
        let Prepared { frozen, first } = prepared;
        let asker = run.spec.target.clone().map(|target| Asker {
            run: object.key.clone(),
            uid: (*job.uid).into(),
            target,
            runbook: run.spec.runbook.clone(),
            dry_run: run.spec.dry_run,
        });
        let mut driver = Self {
            job,
            context,
            at: object.revision,
            object,
            asked: RunSpec::default(),
            run,
            written: Written::default(),
            frozen,
            first,
            target: job.target.clone(),
            seen: Seen::default(),
            performing: Performing::default(),
            leave: Leave::new(asker, context.uses.clone()),
        };
        driver.understand();
        driver
    }

    pub(super) async fn run(mut self) -> Result<Next, EngineError> {
        let (context, job) = (self.context, self.job);
        let (objects, changed) = (&context.objects, &job.changed);
        let permit = self.leave.permit();
        let _listening = permit.map(|permit| context.listeners.listen(permit, changed.clone()));
        self.leave.look(&objects.store().world());
        self.resume().await?;
        if self.run.spec.dry_run {
            let end = Instant::now() + REHEARSAL_MAX;
            while !self.asked.cancel
                && Instant::now() < end
                && !self.leave.rehearse(objects, self.at, changed).await?
            {
                // It is asked for the run as it is by now.
                if matches!(self.adopt(&objects.store().world())?, Look::Gone) {
                    return Ok(Next::Over);
                }
            }
        }
        let mut input = Input::Wake;
        let mut shown = false;
        loop {
            let Some(decision) = self.advance(input).await? else { return Ok(Next::Over) };
            if decision.done {
                self.finish().await?;
                return Ok(Next::Over);
            }
            if !std::mem::replace(&mut shown, true) {
                self.show_current_run(true).await?;
            }
            match self.next_input(decision.wake).await? {
                Some(next) => input = next,
                None => return Ok(Next::Over),
            }
        }
    }

    /// What is asked of the run: defaults filled in, and a deletion is a cancellation.
    fn understand(&mut self) {
        self.asked = self.run.spec.clone();
        self.asked.params =
            quarterdeck_runbook::with_defaults(&self.frozen.root, &self.run.spec.params);
        self.asked.cancel |= self.run.metadata.deletion_timestamp.is_some();
    }

    /// Takes over what others wrote to the run.
    fn adopt(&mut self, world: &World) -> Result<Look, EngineError> {
        let key = &self.object.key;
        let found = world.get(Run::info(), &key.namespace, &key.name);
        let Some(object) = found.filter(|object| object.uid() == self.object.uid()) else {
            return Ok(Look::Gone);
        };
        if object.revision <= self.at {
            return Ok(Look::Same);
        }
        let Some((object, run)) = self.job.read(world)? else { return Ok(Look::Gone) };
        (self.at, self.object, self.run) = (object.revision, object, run);
        self.written = Written::default();
        self.understand();
        Ok(Look::Changed)
    }

    /// Begins again what the journal says was under way when the plane stopped.
    async fn resume(&mut self) -> Result<(), EngineError> {
        if self.run.status.steps.is_empty() {
            return Ok(());
        }
        let target = self.look_at_target();
        let now = self.context.objects.now();
        let performs = self.with_view(target.as_deref(), now, |driver, view| {
            in_flight(&driver.frozen.definition, &driver.run.status, view)
        });
        for perform in performs {
            info!(run = %self.object.key, step = perform.step, "goes on with a step");
            if !perform.disruptive || self.insist().await? {
                self.perform(perform, target.clone(), true);
            }
        }
        Ok(())
    }

    /// Has a disruption counted that may have begun; false when the run is to end, or is gone, before that was done:
    /// that is seen as soon as it is decided on, and the step is not begun again. What a run that ends undoes is begun
    /// again all the same: nothing else would bring the target back.
    async fn insist(&mut self) -> Result<bool, EngineError> {
        let (context, job) = (self.context, self.job);
        while !self.asked.cancel || self.run.status.ending.is_some() {
            if self.leave.insist(&context.objects, &job.changed).await? {
                return Ok(true);
            }
            if matches!(self.adopt(&context.objects.store().world())?, Look::Gone) {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// The target as it is now, read once for each version of it. None when it is gone: one of the
    /// same name that was created since is another.
    fn look_at_target(&mut self) -> Option<Arc<Value>> {
        let object = self.context.objects.get(self.target.as_ref()?);
        let began_on = self.run.status.target_uid.as_deref();
        let object = object.filter(|object| began_on.is_none_or(|uid| uid == object.uid()));
        let at = object.as_ref().map(|object| object.revision);
        if at != self.seen.at {
            self.seen = Seen {
                at,
                uid: object.as_ref().map(|object| object.uid().into()),
                value: object.map(|object| Arc::new(object.value())),
            };
        }
        self.seen.value.clone()
    }

    fn with_view<T>(
        &self,
        target: Option<&Value>,
        now: Time,
        look: impl FnOnce(&Self, &View<'_>) -> T,
    ) -> T {
        let world = self.context.objects.store().world();
        let actions = Known { actions: &self.context.actions, world: &world };
        let (uid, admission) = (&self.run.metadata.uid, self.leave.admission());
        look(self, &View { now, run: &self.asked, uid, target, actions: &actions, admission })
    }

    /// Whether the run changes its target.
    pub(super) fn acts(&self) -> bool {
        self.frozen.effects && !self.run.spec.dry_run && self.target.is_some()
    }

    /// Decides on `input`, records the decision, and performs it. None when the run is gone.
    async fn advance(&mut self, input: Input) -> Result<Option<Decision>, EngineError> {
        loop {
            let target = self.look_at_target();
            let now = self.context.objects.now();
            let before = Stage::of(&self.run.status);
            let status = std::mem::take(&mut self.run.status);
            let mut decision = self.with_view(target.as_deref(), now, |driver, view| {
                step(&driver.frozen.definition, status, view, input.clone())
            });
            self.complete(&mut decision);
            self.run.status = std::mem::take(&mut decision.status);
            let new = decision.changed.is_some() || !decision.notes.is_empty();
            if new && !self.record(&decision, before, now).await? {
                // Someone changed the run: decide again on what it is now.
                let world = self.context.objects.store().fresh().await?;
                if matches!(self.adopt(&world)?, Look::Gone) {
                    return Ok(None);
                }
                continue;
            }
            if decision.asks {
                // Once it is recorded that the run goes on: its permit is taken back when it has ended.
                self.leave.want(&self.context.objects, self.at).await?;
            }
            for path in &decision.cancel {
                self.performing.stop(path);
            }
            for perform in std::mem::take(&mut decision.perform) {
                self.perform(perform, target.clone(), false);
            }
            return Ok(Some(decision));
        }
    }

    /// Adds to a decision what the interpreter does not know.
    fn complete(&self, decision: &mut Decision) {
        let Decision { status, changed, .. } = decision;
        let mut new = set(&mut status.observed_generation, self.run.metadata.generation);
        new |= set(&mut status.queued_behind, None);
        if let Some(revision) = &self.first
            && status.start_time.is_some()
        {
            new |= set(&mut status.runbook_revision, Some(revision.metadata.name.clone()));
            new |= set(&mut status.target_uid, self.seen.uid.as_deref().map(str::to_owned));
        }
        if new {
            changed.get_or_insert(status.steps.len());
        }
    }

    /// Says on the target that this run acts on it, or no longer does.
    async fn show_current_run(&self, acts: bool) -> Result<(), EngineError> {
        let Some(target) = self.target.as_ref().filter(|_| self.acts()) else { return Ok(()) };
        let name = short(&self.object.key);
        let current = if acts { Some(name.as_str()) } else { None };
        observe::current_run(&self.context.objects, target, current, &name).await
    }

    fn perform(&mut self, perform: Perform, target: Option<Arc<Value>>, resumed: bool) {
        let mut entries = self.run.status.steps.iter().rev();
        let entry = entries.find(|entry| entry.name == perform.step);
        let since = entry.and_then(|entry| entry.start_time);
        let since = since.unwrap_or_else(|| self.context.objects.now());
        let target = self.target.clone().zip(target);
        let leave = self.leave.permitted();
        self.performing
            .begin(self.context.clone(), Call { perform, target, since, resumed, leave });
    }

    /// Waits for the next thing to decide on. None when the run is gone.
    async fn next_input(&mut self, wake: Option<Time>) -> Result<Option<Input>, EngineError> {
        let wake = wake.filter(|_| !planted::is(Planted::WaitWithoutDeadline));
        let wait = wake.map_or(IDLE, |wake| {
            let left = wake.timestamp().duration_since(self.context.objects.now().timestamp());
            Duration::try_from(left).unwrap_or(Duration::ZERO)
        });
        let wait = self.leave.again().map_or(wait, |again| wait.min(again));
        let at = Instant::now() + wait;
        loop {
            tokio::select! {
                input = self.performing.next() => return Ok(Some(input)),
                () = sleep_until(at) => {
                    self.leave.look(&self.context.objects.store().world());
                    return Ok(Some(Input::Wake));
                }
                () = self.job.changed.notified() => match self.look()? {
                    // Most changes are this driver's own.
                    Look::Same => {}
                    Look::Changed => return Ok(Some(Input::Wake)),
                    Look::Gone => return Ok(None),
                },
            }
        }
    }

    fn look(&mut self) -> Result<Look, EngineError> {
        let world = self.context.objects.store().world();
        let leave = self.leave.look(&world);
        let look = self.adopt(&world)?;
        if matches!(look, Look::Same) {
            let before = self.seen.at;
            self.look_at_target();
            let same = before == self.seen.at && !leave;
            return Ok(if same { Look::Same } else { Look::Changed });
        }
        Ok(look)
    }

    /// Lets go of everything after the end was recorded.
    async fn finish(&mut self) -> Result<(), EngineError> {
        self.performing = Performing::default();
        self.leave.let_go();
        self.show_current_run(false).await?;
        if self.run.metadata.finalizers.iter().any(|held| held == FINALIZER) {
            garbage::release(&self.context.objects, &self.object.key, FINALIZER).await?;
        }
        Ok(())
    }
}
