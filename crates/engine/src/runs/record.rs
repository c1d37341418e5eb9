//! Writing a decision down: the run's journal, what it executes, and the story that people read,
//! in one transaction.
//!
//! The journal tells every step already, so events are for what people watch: warnings, waits,
//! approvals and undoing of any run, and of runs that act on a target their steps that disrupt it. A run without
//! a target that goes well writes none.

use super::{FINALIZER, driver::Driver, short};
use crate::{
    events::{self, Happening},
    objects::EngineError,
};
use quarterdeck_model::{
    Kind as _, Object, Time,
    kinds::{Event, RunPhase, RunStatus, RunbookRevision},
};
use quarterdeck_runbook::Decision;
use quarterdeck_store::{Mutation, Outcome, Precondition};

/// Reasons of events that only say that a run goes on as it should.
const PROGRESS: [&str; 4] = ["Started", "StepStarted", "StepSucceeded", "Succeeded"];

/// Where a run is: what its story needs to know of it as it was.
#[derive(Clone, Copy)]
pub(super) struct Stage {
    begun: bool,
    ended: bool,
}

impl Stage {
    pub(super) fn of(status: &RunStatus) -> Self {
        Self { begun: status.start_time.is_some(), ended: status.phase.ended() }
    }

    /// It is between its beginning and its end.
    fn in_work(self) -> bool {
        self.begun && !self.ended
    }
}

impl Driver<'_> {
    /// Writes the journal, which is the driver's already, and its story. False when the run changed meanwhile,
    /// and nothing was written.
    pub(super) async fn record(
        &mut self,
        decision: &Decision,
        before: Stage,
        now: Time,
    ) -> Result<bool, EngineError> {
        let story = self.story(decision, before, now);
        self.keep_or_let_go(decision.done);
        let objects = &self.context.objects;
        let mut mutations: Vec<Mutation> = Vec::with_capacity(2 + story.len());
        if let Some(revision) = self.new_revision() {
            // Named by its content, so one that exists meanwhile is the same.
            mutations.push(objects.put(revision, Precondition::Absent)?);
        }
        let place = mutations.len();
        let same = decision.changed.unwrap_or(self.run.status.steps.len());
        let key = &self.object.key;
        let body = self.written.body(&mut self.run, same).map_err(|error| {
            EngineError::Unreadable(format!("{key} cannot be written: {error}"))
        })?;
        mutations.push(objects.put_body(key.clone(), body, Precondition::At(self.at)));
        for event in &story {
            mutations.push(objects.tell(event)?);
        }
        let told: Vec<_> =
            mutations.iter().skip(place + 1).map(|mutation| mutation.key.clone()).collect();
        let outcomes = objects.commit(mutations).await?;
        if let Some(Outcome::Committed(revision)) = outcomes.get(place) {
            self.at = *revision;
            if self.run.status.runbook_revision.is_some() {
                self.first = None;
            }
            return Ok(true);
        }
        // What was not decided must not be told: mutations are applied each by itself.
        let untold = told.into_iter().zip(outcomes.iter().skip(place + 1));
        let untold: Vec<Mutation> = untold
            .filter_map(|(key, outcome)| match outcome {
                Outcome::Committed(at) => Some(objects.delete(key, Precondition::At(*at))),
                _ => None,
            })
            .collect();
        if !untold.is_empty() {
            objects.commit(untold).await?;
        }
        Ok(false)
    }

    /// A run in work is kept until it has ended, so that deleting it undoes what it did.
    fn keep_or_let_go(&mut self, done: bool) {
        let finalizers = &mut self.run.metadata.finalizers;
        if !done && !finalizers.iter().any(|held| held == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
        // One on its way out is let go when all else is done, since that is its end.
        if done && self.run.metadata.deletion_timestamp.is_none() {
            finalizers.retain(|held| held != FINALIZER);
        }
    }

    /// What the run executes, when it begins now and is the first of its text.
    fn new_revision(&self) -> Option<&RunbookRevision> {
        let revision = self.first.as_deref()?;
        self.run.status.runbook_revision.as_ref()?;
        let world = self.context.objects.store().world();
        let there = world.get(RunbookRevision::info(), "", &revision.metadata.name);
        if there.is_some() { None } else { Some(revision) }
    }

    /// Events about the run and its target that tell of `decision`.
    fn story(&self, decision: &Decision, before: Stage, now: Time) -> Vec<Event> {
        let acts = self.acts();
        // A decision on the same version of the run is the same decision.
        let number = self.at.0;
        let mut place = 0;
        let mut tell = |object: &Object, reason: &str, message: &str, warning: bool| {
            place += 1;
            let happening =
                Happening { component: "runs", reason, message, warning, number, place };
            events::about(object, &happening, now)
        };
        let notes = decision.notes.iter();
        let mut story: Vec<Event> = notes
            .filter(|note| acts || note.warning || !PROGRESS.contains(&note.reason.as_str()))
            .map(|note| tell(&self.object, &note.reason, &note.message, note.warning))
            .collect();
        let target = self.target.as_ref().filter(|_| acts);
        let Some(target) = target.and_then(|key| self.context.objects.get(key)) else {
            return story;
        };
        let status = &self.run.status;
        let after = Stage::of(status);
        let name = short(&self.object.key);
        let runbook = &self.run.spec.runbook;
        let began = !before.in_work() && (after.in_work() || !before.begun && after.begun);
        if began {
            let message = format!("run {name} ({runbook}) started");
            story.push(tell(&target, "RunStarted", &message, false));
        }
        if decision.done && !before.ended && after.begun {
            let (reason, what, warning) = match status.phase {
                RunPhase::Succeeded => ("RunSucceeded", "succeeded", false),
                RunPhase::Cancelled => ("RunCancelled", "was cancelled", true),
                _ => ("RunFailed", "failed", true),
            };
            let message = format!("run {name} ({runbook}) {what}");
            story.push(tell(&target, reason, &message, warning));
        }
        story
    }
}
