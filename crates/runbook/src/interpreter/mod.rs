//! The interpreter: from what is recorded of a run and what just happened to what is recorded next
//! and what is to be done.
//!
//! The journal (`RunStatus`) is all the interpreter knows of a run: [`step`] walks the definition
//! along it, so a run that is picked up by another process goes on exactly where it was. It must
//! never depend on anything that is not recorded, except the target as it is now, the time and what
//! is asked in the run's spec.
//!
//! - [`walk`] goes through steps; [`verbs`] begins and continues one, [`groups`] one that holds
//!   others; [`frame`] gives expressions their variables; [`journal`] keeps the entries and their bounds.
//! - [`leave`] has disruptive steps wait for the ledger, [`approval`] others for people.
//! - [`undo`] compensates, [`retry`] reopens a run that ended, [`dry`] only says what would be done,
//!   [`summary`] writes what people follow.

mod approval;
mod dry;
mod frame;
mod groups;
mod journal;
mod leave;
mod retry;
mod summary;
mod undo;
mod verbs;
mod walk;

use crate::{Definition, Definitions, params};
use frame::Frame;
use journal::Journal;
use quarterdeck_model::{
    Condition, ConditionStatus, Time, condition,
    kinds::{RunPhase, RunSpec, RunStatus},
};
use serde_json::Value;
use std::cell::OnceCell;
use walk::Flow;

pub use journal::{JOURNAL_BYTES_MAX, JOURNAL_STEPS_MAX};
pub use verbs::{ITEMS_MAX, OUTPUT_BYTES_MAX};

/// What the interpreter sees besides the journal.
pub struct View<'a> {
    /// The time.
    pub now: Time,
    /// What is asked of the run.
    pub run: &'a RunSpec,
    /// The run's uid.
    pub uid: &'a str,
    /// The target as it is now, as JSON; none when there is none (any more).
    pub target: Option<&'a Value>,
    /// The actions there are.
    pub actions: &'a dyn Definitions,
    /// What the ledger says of disrupting the target.
    pub admission: Admission<'a>,
}

/// What the ledger says of disrupting the target of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission<'a> {
    /// Nothing yet.
    Unknown,
    /// The run may disrupt it until it ends.
    Permitted,
    /// Not now: who blocks and why, as a sentence.
    Refused(&'a str),
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// Nothing in particular: a time came, the target or the spec changed.
    Wake,
    /// An action ended.
    Performed {
        /// Path of the step, as [`Perform`] named it.
        step: String,
        /// Which attempt, as [`Perform`] named it.
        attempt: u32,
        /// What it gave back.
        result: Result<Value, Failure>,
    },
}

/// Why an action failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One CamelCase word.
    pub reason: String,
    /// A sentence: what failed, on what, why, what to do.
    pub message: String,
    /// Trying again can help.
    pub retryable: bool,
}

/// An action to perform.
#[derive(Debug, Clone, PartialEq)]
pub struct Perform {
    /// Path of the step.
    pub step: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Name of the action.
    pub action: String,
    /// Its input.
    pub input: Value,
    /// The same for every attempt of the same execution of the step: `UID/PATH`, and
    /// `UID/PATH/retry N` in the run's Nth retry.
    pub idempotency_key: String,
    /// When it is given up.
    pub deadline: Time,
    /// It can interrupt what runs on the target.
    pub disruptive: bool,
}

/// Something worth an Event on the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Something is wrong.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence that names the step.
    pub message: String,
}

/// What follows. The status is recorded before anything is performed.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The journal.
    pub status: RunStatus,
    /// From which of its entries on the journal is another one; the end of what was recorded when only
    /// what precedes the entries is. None when nothing changed.
    pub changed: Option<usize>,
    /// Actions to begin.
    pub perform: Vec<Perform>,
    /// Paths of steps whose action should be stopped.
    pub cancel: Vec<String>,
    /// When to come back if nothing else happens.
    pub wake: Option<Time>,
    /// A step waits for leave to disrupt the target: the ledger is to be asked.
    pub asks: bool,
    /// What to tell.
    pub notes: Vec<Note>,
    /// The run has ended.
    pub done: bool,
}

/// Decides what follows. Results of attempts that are not running are ignored; when nothing changes
/// the status is equal and nothing is to be done.
pub fn step(definition: &Definition, status: RunStatus, view: &View<'_>, input: Input) -> Decision {
    let mut machine = Machine::new(definition, status, view);
    if let Input::Performed { step, attempt, result } = input {
        machine.performed = Some(Performed { step, attempt, result });
    }
    machine.decide();
    machine.into_decision()
}

/// The actions that a recorded status says are running, as they were begun: to be begun again with
/// the same attempt and key after a restart.
pub fn in_flight(definition: &Definition, status: &RunStatus, view: &View<'_>) -> Vec<Perform> {
    if status.phase.ended() {
        return Vec::new();
    }
    let mut machine = Machine::new(definition, status.clone(), view);
    for at in 0..machine.journal.len() {
        machine.perform(at);
    }
    machine.perform
}

struct Performed {
    step: String,
    attempt: u32,
    result: Result<Value, Failure>,
}

/// One decision in the making.
struct Machine<'a> {
    definition: &'a Definition,
    view: &'a View<'a>,
    /// The time; never before anything recorded, whatever the clocks of other machines said.
    now: Time,
    journal: Journal,
    /// How many entries there were before this decision: those from there on began in it.
    known: usize,
    performed: Option<Performed>,
    /// New steps may begin.
    may_start: bool,
    /// Steps are being undone; their time is not the run's.
    undoing: bool,
    perform: Vec<Perform>,
    cancel: Vec<String>,
    wake: Option<Time>,
    asks: bool,
    notes: Vec<Note>,
    params: OnceCell<Value>,
    target: OnceCell<Value>,
}

/// Most notes of one decision: a long `forEach` of steps that end at once must not flood a run's
/// events.
const NOTES_MAX: usize = 100;

impl<'a> Machine<'a> {
    fn new(definition: &'a Definition, status: RunStatus, view: &'a View<'a>) -> Self {
        let journal = Journal::new(status);
        Self {
            definition,
            view,
            now: view.now.max(journal.latest()),
            known: journal.len(),
            journal,
            performed: None,
            may_start: false,
            undoing: false,
            perform: Vec::new(),
            cancel: Vec::new(),
            wake: None,
            asks: false,
            notes: Vec::new(),
            params: OnceCell::new(),
            target: OnceCell::new(),
        }
    }

    fn into_decision(self) -> Decision {
        let (status, changed) = self.journal.finish();
        let done = status.phase.ended();
        Decision {
            status,
            changed,
            perform: self.perform,
            cancel: self.cancel,
            wake: self.wake.filter(|_| !done),
            asks: self.asks && !done,
            notes: self.notes,
            done,
        }
    }

    fn decide(&mut self) {
        let phase = self.journal.status.phase;
        if phase.ended() {
            if !self.reopen() {
                return;
            }
        } else if matches!(phase, RunPhase::Pending | RunPhase::Queued) {
            if self.view.run.cancel {
                return self.finish(RunPhase::Cancelled, "cancelled before it began".into());
            }
            self.begin_run();
            if let Err(why) = self.check_run() {
                self.set_complete(ConditionStatus::False, "InvalidRun", &why);
                return self.finish(RunPhase::Failed, why);
            }
        }
        if self.view.run.dry_run {
            return self.rehearse();
        }
        if self.journal.status.ending.is_none() {
            self.advance();
        }
        if let Some(ending) = self.journal.status.ending {
            self.undo(ending);
        }
        if !self.journal.status.phase.ended() {
            self.summarise();
        }
    }

    fn begin_run(&mut self) {
        let deadline = self.run_deadline();
        let now = self.now;
        let status = &mut self.journal.status;
        status.phase = RunPhase::Running;
        status.start_time = Some(now);
        status.deadline = Some(deadline);
        status.queued_behind = None;
        status.message = None;
        let (runbook, target) = (&self.view.run.runbook, self.view.run.target.as_ref());
        let on = target.map_or_else(String::new, |on| format!(" on {} {}", on.kind, on.name));
        self.note(false, "Started", format!("runbook {runbook} began{on}"));
    }

    fn run_deadline(&self) -> Time {
        let longest = self.definition.timeout();
        let longest = self.view.run.timeout.map_or(longest, |asked| asked.min(longest));
        journal::after(self.now, longest)
    }

    /// Whether the run was given what its runbook needs.
    fn check_run(&self) -> Result<(), String> {
        let program = &self.definition.root;
        let wanted = program.spec.target.as_ref().map(|target| target.kind.as_str());
        let given = self.view.run.target.as_ref().map(|target| target.kind.as_str());
        if let Some(wanted) = wanted
            && given != Some(wanted)
        {
            let given = given.unwrap_or("nothing");
            return Err(format!("the runbook is for a {wanted}; the run's target is {given}"));
        }
        let errors = params::check_params(&program.spec, &self.view.run.params);
        match errors.first() {
            Some(error) => Err(error.to_string()),
            None => Ok(()),
        }
    }

    /// Goes on with the steps of the run, or stops them.
    fn advance(&mut self) {
        let stop = if self.view.run.cancel {
            Some((RunPhase::Cancelled, "Cancelled", "cancelled on request".to_owned()))
        } else if let Some(deadline) = self.journal.status.deadline
            && deadline <= self.now
        {
            let why = format!("the run was not done by {deadline}, its deadline");
            Some((RunPhase::Failed, "DeadlineExceeded", why))
        } else if let Some(target) = &self.view.run.target
            && self.view.target.is_none()
        {
            let why =
                format!("{} {} was deleted while the run was under way", target.kind, target.name);
            Some((RunPhase::Failed, "TargetNotFound", why))
        } else {
            None
        };
        self.may_start = stop.is_none() && !self.view.run.suspend;
        // A result that comes together with the wish to stop still counts: what was done must be
        // known to be undone.
        let flow = if stop.is_none() || self.performed.is_some() {
            let program = &self.definition.root;
            self.sequence(&program.steps, Frame::root(program))
        } else {
            Flow::Busy
        };
        match (flow, stop) {
            (Flow::Done, _) => self.succeed_run(),
            (_, Some((ending, reason, why))) => self.stop(ending, reason, why),
            (Flow::Failed(trouble), None) => {
                let reason = trouble.reason.clone();
                self.stop(RunPhase::Failed, &reason, format!("step {trouble}"));
            }
            (Flow::Busy, None) => {
                let deadline = self.journal.status.deadline;
                self.wake_at(deadline);
                self.show_suspended();
            }
        }
    }

    fn show_suspended(&mut self) {
        let suspend = self.view.run.suspend;
        match (self.journal.status.phase, suspend) {
            (RunPhase::Running, true) => {
                self.journal.status.phase = RunPhase::Suspended;
                let message = "starts no further step until spec.suspend is false";
                self.note(false, "Suspended", message.into());
            }
            (RunPhase::Suspended, false) => {
                self.journal.status.phase = RunPhase::Running;
                self.note(false, "Resumed", "goes on".into());
            }
            _ => {}
        }
    }

    fn succeed_run(&mut self) {
        let program = &self.definition.root;
        let frame = Frame { upto: program.steps.len(), ..Frame::root(program) };
        match self.outputs(&program.outputs, &frame, None) {
            Ok(outputs) => {
                self.journal.status.outputs = outputs;
                let message = self.took();
                self.set_complete(ConditionStatus::True, "Succeeded", &message);
                self.finish(RunPhase::Succeeded, message);
            }
            Err((reason, why)) => {
                self.stop(RunPhase::Failed, reason, format!("the runbook's outputs: {why}"));
            }
        }
    }

    /// Ends all that is in work, to undo what was done.
    fn stop(&mut self, ending: RunPhase, reason: &str, why: String) {
        self.sweep("", reason);
        let why = journal::bounded(why);
        self.set_complete(ConditionStatus::False, reason, &why);
        let status = &mut self.journal.status;
        status.phase = RunPhase::Compensating;
        status.ending = Some(ending);
        status.message = Some(why);
    }

    fn finish(&mut self, phase: RunPhase, message: String) {
        let now = self.now.max(self.journal.latest());
        let message = journal::bounded(message);
        self.count_progress();
        if phase == RunPhase::Cancelled {
            self.set_complete(ConditionStatus::False, "Cancelled", &message);
        }
        let status = &mut self.journal.status;
        status.phase = phase;
        status.ending = None;
        status.completion_time = Some(now);
        status.queued_behind = None;
        status.step = None;
        status.message = Some(message.clone());
        let (warning, reason) = match phase {
            RunPhase::Succeeded => (false, "Succeeded"),
            RunPhase::Cancelled => (true, "Cancelled"),
            _ => (true, "Failed"),
        };
        self.notes.push(Note { warning, reason: reason.into(), message });
    }

    fn set_complete(&mut self, status: ConditionStatus, reason: &str, message: &str) {
        let next = Condition::new("Complete", status, reason, message, self.now);
        condition::set(&mut self.journal.status.conditions, next);
    }

    fn note(&mut self, warning: bool, reason: &str, message: String) {
        if self.notes.len() < NOTES_MAX {
            let message = journal::bounded(message);
            self.notes.push(Note { warning, reason: reason.into(), message });
        }
    }

    fn wake_at(&mut self, time: Option<Time>) {
        self.wake = match (self.wake, time) {
            (Some(wake), Some(time)) => Some(wake.min(time)),
            (wake, time) => wake.or(time),
        };
    }
}
