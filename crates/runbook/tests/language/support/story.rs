//! Stories: a run as a person would tell it. Each line says what happened and what followed, and
//! the journal stands at the end; tests keep the whole as a snapshot.

use super::{
    actions::Known,
    world::{Event, World, failure, output},
};
use quarterdeck_model::{
    Duration, Time,
    kinds::{Approval, Decision as Verdict, RetryFrom, RunPhase, StepPhase},
};
use quarterdeck_runbook::Decision;
use serde_json::Value;
use std::fmt::Write as _;

pub(crate) struct Story {
    pub(crate) world: World,
    start: Time,
    text: String,
}

impl Story {
    /// A run of `yaml`, which must be a runbook that is admitted.
    pub(crate) fn of(yaml: &str) -> Self {
        Self::among(Known::new().with("main", yaml), "main")
    }

    /// A run of one of the runbooks known, all of which must be admitted.
    pub(crate) fn among(known: Known, runbook: &str) -> Self {
        for (name, spec) in &known.runbooks {
            let errors = quarterdeck_runbook::check(name, spec, &known);
            assert!(errors.is_empty(), "{name} is not admitted: {errors:#?}");
        }
        let world = World::new(known, runbook);
        Self { start: world.now, world, text: String::new() }
    }

    pub(crate) fn param(mut self, name: &str, value: Value) -> Self {
        self.world.run.params.insert(name.into(), value);
        self
    }

    pub(crate) fn dry_run(mut self) -> Self {
        self.world.run.dry_run = true;
        self
    }

    pub(crate) fn timeout(mut self, time: &str) -> Self {
        self.world.run.timeout = Some(time.parse().expect("a duration"));
        self
    }

    /// The run is looked at for the first time.
    pub(crate) fn start(self) -> Self {
        self.happens("start", Event::Wake)
    }

    /// An action gives back a value.
    pub(crate) fn done(self, path: &str) -> Self {
        self.gives(path, output())
    }

    pub(crate) fn gives(self, path: &str, output: Value) -> Self {
        self.is_under_way(path);
        let what = format!("{path} gives {output}");
        self.happens(&what, Event::Done(path.into(), output))
    }

    /// An action fails in a way that may pass.
    pub(crate) fn fails(self, path: &str, reason: &str) -> Self {
        self.is_under_way(path);
        self.happens(
            &format!("{path} fails: {reason}"),
            Event::Failed(path.into(), failure(reason, true)),
        )
    }

    /// An action fails for good.
    pub(crate) fn breaks(self, path: &str, reason: &str) -> Self {
        self.is_under_way(path);
        self.happens(
            &format!("{path} fails for good: {reason}"),
            Event::Failed(path.into(), failure(reason, false)),
        )
    }

    fn is_under_way(&self, path: &str) {
        let open: Vec<_> = self.world.pending.keys().collect();
        assert!(self.world.pending.contains_key(path), "{path} is not under way; {open:?} are");
    }

    /// A reply that nobody waits for any more.
    pub(crate) fn late(mut self, path: &str, attempt: u32) -> Self {
        let before = self.world.status.clone();
        let result = Ok(output());
        let input = quarterdeck_runbook::Input::Performed { step: path.into(), attempt, result };
        let decision = self.world.decide(input);
        assert_eq!(before, decision.status, "a late reply changes nothing");
        self.tell(&format!("late reply of {path}, attempt {attempt}"), &decision);
        self
    }

    /// Time passes; the run is woken only when it asked to be.
    pub(crate) fn passes(mut self, time: &str) -> Self {
        let time: Duration = time.parse().expect("a duration");
        self.world.pass(time.as_std());
        // Ends are recorded a microsecond apart, so what is due now may be due that much later.
        if let Some(wake) = self.world.wake
            && wake.timestamp() <= self.world.now.timestamp() + std::time::Duration::from_millis(1)
        {
            self.world.now = self.world.now.max(wake);
            return self.happens(&format!("{time} pass"), Event::Wake);
        }
        let _ = writeln!(self.text, "{} {time} pass", self.clock(self.world.now));
        self
    }

    /// The target shows a new power state.
    pub(crate) fn power_state(mut self, state: &str) -> Self {
        self.world.target["status"]["powerState"] = state.into();
        self.happens(&format!("the target is {state}"), Event::Wake)
    }

    /// The ledger has not been asked yet.
    pub(crate) fn without_leave(mut self) -> Self {
        self.world.leave = None;
        self
    }

    /// The ledger says no.
    pub(crate) fn refused(mut self, why: &str) -> Self {
        self.world.leave = Some(Err(why.into()));
        self.happens(&format!("refused: {why}"), Event::Wake)
    }

    /// The ledger says yes.
    pub(crate) fn permitted(mut self) -> Self {
        self.world.leave = Some(Ok(()));
        self.happens("permitted", Event::Wake)
    }

    pub(crate) fn cancel(mut self) -> Self {
        self.world.run.cancel = true;
        self.happens("cancel", Event::Wake)
    }

    pub(crate) fn suspend(mut self) -> Self {
        self.world.run.suspend = true;
        self.happens("suspend", Event::Wake)
    }

    pub(crate) fn resume(mut self) -> Self {
        self.world.run.suspend = false;
        self.happens("resume", Event::Wake)
    }

    pub(crate) fn approve(self, step: &str) -> Self {
        self.says(step, Verdict::Approved)
    }

    pub(crate) fn reject(self, step: &str) -> Self {
        self.says(step, Verdict::Rejected)
    }

    fn says(self, step: &str, decision: Verdict) -> Self {
        self.person_says("ana@example.com", &[], step, decision)
    }

    /// A person says something, as the plane writes it down.
    pub(crate) fn person_says(
        mut self,
        by: &str,
        groups: &[&str],
        step: &str,
        decision: Verdict,
    ) -> Self {
        let (by, time) = (Some(by.to_owned()), Some(self.world.now));
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let step = step.to_owned();
        let given = Approval { step: step.clone(), decision, by, groups, time, note: None };
        self.world.run.approvals.push(given);
        self.happens(&format!("{step}: {decision:?}"), Event::Wake)
    }

    pub(crate) fn retry(mut self, from: &str) -> Self {
        let number = self.world.status.retries + 1;
        self.world.run.cancel = false;
        self.world.run.retry = Some(RetryFrom { from: from.into(), number });
        self.happens(&format!("retry from {from}"), Event::Wake)
    }

    pub(crate) fn crash(self) -> Self {
        self.happens("crash and restart", Event::Crash)
    }

    fn happens(mut self, what: &str, event: Event) -> Self {
        let decision = self.world.happen(event);
        self.tell(what, &decision);
        self
    }

    fn tell(&mut self, what: &str, decision: &Decision) {
        let _ = writeln!(self.text, "{} {what}", self.clock(self.world.now));
        for path in &decision.cancel {
            let _ = writeln!(self.text, "      stop {path}");
        }
        for perform in &decision.perform {
            let attempt = match perform.attempt {
                1 => String::new(),
                attempt => format!(", attempt {attempt}"),
            };
            let _ = writeln!(
                self.text,
                "      begin {}: {} {} until {}{attempt}",
                perform.step,
                perform.action,
                perform.input,
                self.clock(perform.deadline),
            );
        }
        for note in &decision.notes {
            let sign = if note.warning { "!" } else { "·" };
            let _ = writeln!(self.text, "    {sign} {}: {}", note.reason, note.message);
        }
    }

    /// The run is in that phase.
    pub(crate) fn is(self, phase: RunPhase) -> Self {
        assert_eq!(self.world.status.phase, phase, "{}", self.told());
        self
    }

    /// The step is in that phase.
    pub(crate) fn step_is(self, path: &str, phase: StepPhase) -> Self {
        let entry = self.world.entry(path).unwrap_or_else(|| panic!("no {path}\n{}", self.told()));
        assert_eq!(entry.phase, phase, "{path}\n{}", self.told());
        self
    }

    /// These actions are under way, and no other.
    pub(crate) fn under_way(self, paths: &[&str]) -> Self {
        let open: Vec<&str> = self.world.pending.keys().map(String::as_str).collect();
        assert_eq!(open, paths, "{}", self.told());
        self
    }

    /// All that happened, and the journal.
    pub(crate) fn told(&self) -> String {
        let mut text = self.text.clone();
        let status = &self.world.status;
        let _ = writeln!(
            text,
            "\n{:?} {}: {}",
            status.phase,
            status.progress.as_deref().unwrap_or("-"),
            status.message.as_deref().unwrap_or("-"),
        );
        for entry in &status.steps {
            let _ = write!(text, "  {} {:?}", entry.name, entry.phase);
            if entry.attempts > 1 {
                let _ = write!(text, " ×{}", entry.attempts);
            }
            if let Some(reason) = &entry.reason {
                let _ = write!(text, " {reason}");
            }
            if let Some(message) = &entry.message {
                let _ = write!(text, " ({message})");
            }
            if !entry.outputs.is_empty() {
                let outputs: Vec<String> =
                    entry.outputs.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let _ = write!(text, " → {}", outputs.join(" "));
            }
            text.push('\n');
        }
        for (name, value) in &status.outputs {
            let _ = writeln!(text, "  outputs.{name} = {value}");
        }
        text
    }

    /// Minutes and seconds since the start.
    fn clock(&self, time: Time) -> String {
        let seconds = time.timestamp().duration_since(self.start.timestamp()).as_secs();
        match seconds {
            0..3600 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
            _ => format!("{}h{:02}", seconds / 3600, seconds / 60 % 60),
        }
    }
}
