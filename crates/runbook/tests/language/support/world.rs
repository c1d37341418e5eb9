//! A world in which one run is interpreted: a clock, a target, and the actions under way. It keeps
//! the engine's side of the contract (record, then perform) and asserts the interpreter's at every
//! decision.

use super::actions::{Known, server};
use quarterdeck_model::{
    Time,
    kinds::{RunPhase, RunSpec, RunStatus, RunTarget, StepPhase, StepStatus},
};
use quarterdeck_runbook::{
    Admission, Decision, Definition, Failure, Input, JOURNAL_STEPS_MAX, Perform, View, in_flight,
    step,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What can happen to a run.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Its time came, or its spec or target changed.
    Wake,
    /// An action under way gave this back.
    Done(String, Value),
    /// An action under way failed.
    Failed(String, Failure),
    /// The plane was killed and another goes on from the journal.
    Crash,
}

pub(crate) struct World {
    pub(crate) definition: Definition,
    pub(crate) known: Known,
    pub(crate) run: RunSpec,
    pub(crate) target: Value,
    pub(crate) now: Time,
    pub(crate) status: RunStatus,
    /// What the ledger says: permitted unless a test says otherwise; a text is a refusal.
    pub(crate) leave: Option<Result<(), String>>,
    /// What is performed outside now.
    pub(crate) pending: BTreeMap<String, Perform>,
    /// When the interpreter wants to be asked again.
    pub(crate) wake: Option<Time>,
    /// Idempotency keys of every effect that was begun, with the action and its input.
    pub(crate) effects: BTreeMap<String, (String, Value)>,
}

impl World {
    /// A run of one of the runbooks known, against a server if it asks for one.
    pub(crate) fn new(known: Known, runbook: &str) -> Self {
        let definition = Definition::compile(runbook, &known.runbooks)
            .unwrap_or_else(|errors| panic!("{runbook} does not compile: {errors:?}"));
        let wants_target = known.runbooks[runbook].target.is_some();
        let target = RunTarget::new("Server", "ams1-r7-u12");
        Self {
            definition,
            known,
            run: RunSpec {
                runbook: runbook.into(),
                target: wants_target.then_some(target),
                ..RunSpec::default()
            },
            target: server(),
            now: Time::new(jiff::Timestamp::constant(1_772_366_400, 0)),
            status: RunStatus::default(),
            leave: Some(Ok(())),
            pending: BTreeMap::new(),
            wake: None,
            effects: BTreeMap::new(),
        }
    }

    fn view(&self) -> View<'_> {
        View {
            now: self.now,
            run: &self.run,
            uid: "run-1",
            target: self.run.target.as_ref().map(|_| &self.target),
            actions: &self.known,
            admission: match &self.leave {
                None => Admission::Unknown,
                Some(Ok(())) => Admission::Permitted,
                Some(Err(why)) => Admission::Refused(why),
            },
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = Time::new(self.now.timestamp() + time);
    }

    /// The result of an attempt of a step that is under way.
    pub(crate) fn result(&self, path: &str, result: Result<Value, Failure>) -> Input {
        let attempt = self.pending.get(path).map_or(1, |perform| perform.attempt);
        Input::Performed { step: path.into(), attempt, result }
    }

    /// Lets something happen, and checks all that must hold whatever happens.
    pub(crate) fn happen(&mut self, event: Event) -> Decision {
        let input = match event {
            Event::Wake => Input::Wake,
            Event::Done(path, output) => self.result(&path, Ok(output)),
            Event::Failed(path, failure) => self.result(&path, Err(failure)),
            Event::Crash => {
                // Memory is gone: the journal, as it was written, is all there is.
                let written = serde_json::to_string(&self.status).expect("a journal is JSON");
                self.status = serde_json::from_str(&written).expect("a journal can be read");
                self.resume();
                Input::Wake
            }
        };
        if let Input::Performed { step, .. } = &input {
            self.pending.remove(step);
        }
        self.decide(input)
    }

    /// Begins again what the journal says was under way.
    fn resume(&mut self) {
        let again = in_flight(&self.definition, &self.status, &self.view());
        let again: BTreeMap<String, Perform> =
            again.into_iter().map(|perform| (perform.step.clone(), perform)).collect();
        assert_eq!(again, self.pending, "a crash must lose nothing and begin nothing new");
        self.pending = again;
    }

    pub(crate) fn decide(&mut self, input: Input) -> Decision {
        let decision = step(&self.definition, self.status.clone(), &self.view(), input.clone());
        let again = step(&self.definition, self.status.clone(), &self.view(), input);
        assert_eq!(decision, again, "the same journal and event give the same decision");
        self.check(&decision);
        for path in &decision.cancel {
            self.pending.remove(path);
        }
        for perform in &decision.perform {
            let effect = (perform.action.clone(), perform.input.clone());
            let before = self.effects.insert(perform.idempotency_key.clone(), effect.clone());
            assert!(
                before.is_none_or(|before| before == effect),
                "one key, one effect: {}",
                perform.idempotency_key
            );
            self.pending.insert(perform.step.clone(), perform.clone());
        }
        self.status = decision.status.clone();
        self.wake = decision.wake;
        decision
    }

    /// What must hold of every decision.
    fn check(&self, decision: &Decision) {
        let entries: BTreeMap<&str, &StepStatus> =
            decision.status.steps.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        assert_eq!(entries.len(), decision.status.steps.len(), "each step has one entry");
        for perform in &decision.perform {
            let entry = entries
                .get(perform.step.as_str())
                .unwrap_or_else(|| panic!("{} begins and is not in the journal", perform.step));
            assert_eq!(entry.phase, StepPhase::Running, "{}", perform.step);
            assert_eq!(entry.attempts, perform.attempt, "{}", perform.step);
            assert!(entry.retry_time.is_none(), "{}", perform.step);
            assert!(
                !perform.disruptive || self.leave == Some(Ok(())),
                "{} begins without leave",
                perform.step
            );
            assert!(perform.deadline >= self.now, "{} begins when its time is up", perform.step);
        }
        assert_eq!(decision.changed.is_some(), decision.status != self.status);
        let same = decision.changed.unwrap_or(self.status.steps.len());
        let same = (self.status.steps.get(..same), decision.status.steps.get(..same));
        assert!(same.0.is_some() && same.0 == same.1, "entries before the first that changed");
        assert_eq!(decision.done, decision.status.phase.ended());
        let waits = |entry: &&&StepStatus| {
            entry.phase == StepPhase::Waiting
                && entry.does.as_deref().is_some_and(|does| self.is_action(does))
        };
        let waiting = entries.values().filter(waits).count();
        assert!(!decision.asks || waiting > 0, "it asks for a step that waits");
        assert!(
            decision.asks || waiting == 0 || decision.status.phase == RunPhase::Suspended,
            "what waits for leave asks for it"
        );
        let retried = decision.status.retries != self.status.retries;
        for before in self.status.steps.iter().filter(|before| before.phase.ended() && !retried) {
            let after = entries.get(before.name.as_str());
            assert_eq!(after.copied(), Some(before), "what is recorded of a step never changes");
        }
        assert!(decision.status.steps.len() <= JOURNAL_STEPS_MAX);
        if decision.done {
            assert!(decision.perform.is_empty(), "a run that ended performs nothing");
            assert!(decision.wake.is_none());
            let open: Vec<_> = entries.values().filter(|entry| !entry.phase.ended()).collect();
            assert!(open.is_empty(), "a run that ended has open steps: {open:?}");
        } else {
            assert!(decision.wake.is_some(), "a run that goes on says until when it waits");
            assert!(
                decision.status.message.is_some() || decision.status.steps.is_empty(),
                "a run that goes on says what it does"
            );
        }
        let mut begun: BTreeSet<&str> = self.pending.keys().map(String::as_str).collect();
        decision.cancel.iter().for_each(|path| {
            begun.remove(path.as_str());
        });
        begun.extend(decision.perform.iter().map(|perform| perform.step.as_str()));
        let open: BTreeSet<&str> = entries
            .values()
            .filter(|entry| {
                entry.phase == StepPhase::Running
                    && entry.retry_time.is_none()
                    && entry.does.as_deref().is_some_and(|does| self.is_action(does))
            })
            .map(|entry| entry.name.as_str())
            .collect();
        assert_eq!(open, begun, "what the journal says is under way is what is under way");
    }

    fn is_action(&self, does: &str) -> bool {
        use quarterdeck_runbook::Definitions as _;
        self.known.action(does).is_some()
    }

    pub(crate) fn entry(&self, path: &str) -> Option<&StepStatus> {
        self.status.steps.iter().find(|entry| entry.name == path)
    }
}

/// A failure of an action.
pub(crate) fn failure(reason: &str, retryable: bool) -> Failure {
    Failure { reason: reason.into(), message: format!("it was {reason}"), retryable }
}

/// What an action gives back when nothing else is said.
pub(crate) fn output() -> Value {
    json!({"id": "n-1", "count": 3})
}
