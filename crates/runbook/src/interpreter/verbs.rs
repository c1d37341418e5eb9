//! Verbs: how each kind of step begins, goes on and ends.

use super::{
    Frame, Machine, Perform,
    frame::Refused,
    journal::{self, JOURNAL_STEPS_MAX, after},
    walk::{TIMED_OUT, Trouble},
};
use crate::{
    Failure, Template,
    definition::{BACKOFF, BACKOFF_MAX, Node, Verb},
    params,
};
use jiff::tz::Offset;
use quarterdeck_model::{
    ApprovalPolicy, Duration, Time,
    kinds::{RunPhase, StepPhase, StepStatus},
    schema,
};
use serde_json::{Map, Value};

/// Most bytes of what a step gives back, and of what it is given.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// Most items of a `forEach`.
pub const ITEMS_MAX: usize = 1_000;
/// Most bytes of the items of a `forEach`.
const ITEMS_BYTES_MAX: usize = 64 * 1024;

impl Machine<'_> {
    /// Puts a step into the journal.
    ///
    /// # Errors
    /// When the journal has no room for it.
    pub(super) fn begin(
        &mut self,
        node: &Node,
        path: &str,
        frame: &Frame<'_>,
    ) -> Result<usize, Trouble> {
        // Half of the room is kept for undoing, which may need an entry for every step.
        let room = if self.undoing { JOURNAL_STEPS_MAX } else { self.room() };
        if self.journal.len() >= room {
            return Err(Trouble {
                step: path.into(),
                reason: "JournalFull".into(),
                message: format!("the run would have more than {room} steps; split it"),
            });
        }
        let mut entry = StepStatus {
            name: path.to_owned(),
            does: Some(journal::bounded(node.verb.does())),
            start_time: Some(self.now),
            ..StepStatus::default()
        };
        if let Some(when) = &node.when {
            match when.truth(&self.scope(frame, when.references(), None)) {
                Ok(true) => {}
                Ok(false) => {
                    entry.phase = StepPhase::Skipped;
                    entry.end_time = Some(self.journal.end_time(self.now));
                    return Ok(self.journal.push(entry));
                }
                Err(error) => {
                    let at = self.journal.push(entry);
                    self.fail(path, at, "ExpressionFailed", format!("when: {error}"));
                    return Ok(at);
                }
            }
        }
        entry.attempts = 1;
        entry.deadline = node.longest().map(|longest| after(self.now, longest));
        let prepared = self.prepare(node, frame, &mut entry);
        let at = self.journal.push(entry);
        match prepared {
            Ok(()) => {
                if let Verb::Action { name, .. } = &node.verb {
                    if self.disrupts(node, name) && !self.may_disrupt() {
                        self.await_leave(path, at);
                    } else {
                        self.begin_action(node, name, path, at);
                    }
                }
            }
            Err((reason, why)) => self.fail(path, at, reason, why),
        }
        Ok(at)
    }

    fn begin_action(&mut self, node: &Node, name: &str, path: &str, at: usize) {
        // That others begin shows in the journal; this one people may feel.
        if self.disrupts(node, name) {
            self.told(name, "StepStarted", format!("step {path}: {name} begins"));
        }
        self.perform(at);
    }

    /// How many entries there may be before undoing: each step that can be undone keeps one free.
    fn room(&self) -> usize {
        if self.journal.len() < JOURNAL_STEPS_MAX / 2 {
            return JOURNAL_STEPS_MAX;
        }
        let undoable = self.journal.status.steps.iter().filter(|entry| {
            self.definition.find(&entry.name).is_some_and(|node| node.compensate.is_some())
        });
        JOURNAL_STEPS_MAX.saturating_sub(undoable.count())
    }

    /// Computes all that a step needs from now on, so that it is recorded.
    fn prepare(
        &self,
        node: &Node,
        frame: &Frame<'_>,
        entry: &mut StepStatus,
    ) -> Result<(), Refused> {
        let wait = |entry: &mut StepStatus, what: &str| {
            entry.phase = StepPhase::Waiting;
            let until = entry.deadline.unwrap_or(self.now);
            let span = span(self.now, until);
            entry.message = Some(journal::bounded(format!("{what} {span}")));
        };
        match &node.verb {
            Verb::Action { name, input } => {
                let input = self.render("with", input, frame)?;
                let signature = self.view.actions.action(name).ok_or_else(|| {
                    let why = format!(
                        "no provider offers the action {name}; see `kubectl get providers`"
                    );
                    ("UnknownAction", why)
                })?;
                if let Some(error) = schema::check(&signature.input, &input).first() {
                    return Err(("InvalidInput", format!("with.{error}")));
                }
                entry.input = Some(input);
            }
            Verb::Call { program, input, .. } => {
                let input = self.render("with", input, frame)?;
                let given = input.as_object().cloned().unwrap_or_default();
                if let Some(error) = params::check_params(&program.spec, &given).first() {
                    let place = error.field.strip_prefix("spec.params").unwrap_or(&error.field);
                    return Err(("InvalidInput", format!("with{place}: {}", error.message)));
                }
                entry.input = Some(Value::Object(params::with_defaults(&program.spec, &given)));
            }
            Verb::WaitFor(expression) => {
                wait(entry, &format!("waiting for {}", expression.text()));
            }
            Verb::Pause(time) => wait(entry, &format!("pausing {time}")),
            Verb::Approve { message, policy } => {
                let text = self.render("approve.message", message, frame)?;
                let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
                let by = match *policy == ApprovalPolicy::default() {
                    true => String::new(),
                    false => format!(" by {policy}"),
                };
                wait(entry, &format!("waiting for approval{by}: {text}"));
            }
            Verb::ForEach { list, .. } => {
                let value = list
                    .evaluate(&self.scope(frame, list.references(), None))
                    .map_err(|error| ("ExpressionFailed", format!("forEach.in: {error}")))?;
                let Value::Array(items) = value else {
                    let why = format!("forEach.in: {} is not a list", list.text());
                    return Err(("ExpressionFailed", why));
                };
                if items.len() > ITEMS_MAX {
                    let why = format!(
                        "forEach.in: {} has {} items; at most {ITEMS_MAX} are worked on",
                        list.text(),
                        items.len()
                    );
                    return Err(("TooLarge", why));
                }
                self.journal.admit("forEach.in", &items, ITEMS_BYTES_MAX)?;
                entry.items = Some(items);
            }
            Verb::Parallel(_) => {}
        }
        Ok(())
    }

    fn render(&self, what: &str, template: &Template, frame: &Frame<'_>) -> Result<Value, Refused> {
        let value = template
            .render(&self.scope(frame, template.references(), None))
            .map_err(|error| ("ExpressionFailed", format!("{what}: {error}")))?;
        self.journal.admit(what, &value, OUTPUT_BYTES_MAX)?;
        Ok(value)
    }

    /// Goes on with a step that has begun and not ended.
    pub(super) fn go_on(&mut self, node: &Node, path: &str, at: usize, frame: &Frame<'_>) {
        match &node.verb {
            Verb::Action { name, .. } => self.action(node, name, path, at, frame),
            Verb::WaitFor(expression) => {
                match expression.truth(&self.scope(frame, expression.references(), None)) {
                    Ok(true) => self.succeed(node, path, at, frame, Value::Null),
                    Err(error) if !error.is_missing() => {
                        self.fail(path, at, "ExpressionFailed", format!("waitFor: {error}"));
                    }
                    Ok(false) | Err(_) => {
                        self.wait(path, at, "WaitStarted");
                    }
                }
            }
            Verb::Pause(_) => {
                if self.is_due(at) {
                    self.succeed(node, path, at, frame, Value::Null);
                } else {
                    self.wait(path, at, "WaitStarted");
                }
            }
            Verb::Approve { policy, .. } => self.approve(node, policy, path, at, frame),
            Verb::Parallel(_) | Verb::ForEach { .. } | Verb::Call { .. } => {
                self.group(node, path, at, frame);
            }
        }
    }

    fn action(&mut self, node: &Node, name: &str, path: &str, at: usize, frame: &Frame<'_>) {
        if self.journal.entry(at).is_some_and(|entry| entry.phase == StepPhase::Waiting) {
            if !self.has_leave(node, path, at) {
                return;
            }
            self.begin_action(node, name, path, at);
        }
        let Some(entry) = self.journal.entry(at) else { return };
        let (attempt, retry_time, deadline) = (entry.attempts, entry.retry_time, entry.deadline);
        let mine = retry_time.is_none()
            && self
                .performed
                .as_ref()
                .is_some_and(|done| done.step == path && done.attempt == attempt);
        if mine && let Some(done) = self.performed.take() {
            return match done.result {
                Ok(output) => {
                    self.succeed(node, path, at, frame, output);
                    // As with its beginning: of others the journal tells.
                    if self.disrupts(node, name)
                        && self
                            .journal
                            .entry(at)
                            .is_some_and(|entry| entry.phase == StepPhase::Succeeded)
                    {
                        let message = format!("step {path}: {name} done");
                        self.told(name, "StepSucceeded", message);
                    }
                }
                // An action that keeps its deadline says so just when the step's time is up.
                Err(_) if self.is_due(at) => self.time_out(node, path, at),
                Err(failure) => self.attempt_failed(node, path, at, failure),
            };
        }
        if self.is_due(at) {
            if retry_time.is_none() {
                self.cancel.push(path.to_owned());
            }
            return self.time_out(node, path, at);
        }
        if let Some(retry_time) = retry_time {
            if retry_time > self.now {
                self.wake_at(Some(retry_time));
            } else if self.disrupts(node, name) && !self.may_disrupt() {
                // Another plane goes on with it, which has to find the permit first.
                self.asks = true;
            } else if self.may_start {
                if let Some(entry) = self.journal.entry_mut(at) {
                    entry.attempts = attempt.saturating_add(1);
                    entry.retry_time = None;
                }
                self.perform(at);
            }
        }
        self.wake_at(deadline);
    }

    fn attempt_failed(&mut self, node: &Node, path: &str, at: usize, failure: Failure) {
        let Some(entry) = self.journal.entry(at) else { return };
        let attempt = entry.attempts.max(1);
        let most = node.retry.as_ref().map_or(1, |retry| retry.attempts);
        let again = after(self.now, backoff(node, attempt));
        let deadline = entry.deadline;
        let in_time = deadline.is_none_or(|deadline| again < deadline);
        if !failure.retryable || attempt >= most || !in_time {
            let tried =
                if attempt > 1 { format!(" (tried {attempt} times)") } else { String::new() };
            let message = format!("{}{tried}", failure.message);
            return self.fail(path, at, &failure.reason, message);
        }
        let message = format!(
            "step {path}: attempt {attempt} of {most} failed: {}; again at {}",
            failure.message,
            clock(again)
        );
        self.note(true, "StepRetrying", message);
        self.wake_at(Some(again));
        self.wake_at(deadline);
        if let Some(entry) = self.journal.entry_mut(at) {
            entry.retry_time = Some(again);
            entry.reason = Some(journal::bounded(failure.reason));
            entry.message = Some(journal::bounded(failure.message));
        }
    }

    pub(super) fn succeed(
        &mut self,
        node: &Node,
        path: &str,
        at: usize,
        frame: &Frame<'_>,
        output: Value,
    ) {
        if let Err((reason, why)) = self.journal.admit("the output", &output, OUTPUT_BYTES_MAX) {
            return self.fail(path, at, reason, why);
        }
        let outputs = if node.outputs.is_empty() {
            Ok(Default::default())
        } else if matches!(node.verb, Verb::Parallel(_) | Verb::ForEach { .. }) {
            self.outputs(&node.outputs, frame, Some(&self.gathered(node, path)))
        } else {
            self.outputs(&node.outputs, frame, Some(&output))
        };
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err((reason, why)) => return self.fail(path, at, reason, why),
        };
        let (end, known) = (self.journal.end_time(self.now), self.known);
        let Some(entry) = self.journal.entry_mut(at) else { return };
        let waited = entry.phase == StepPhase::Waiting && at < known;
        entry.phase = StepPhase::Succeeded;
        entry.end_time = Some(end);
        entry.retry_time = None;
        entry.reason = None;
        entry.message = None;
        // Null is not told from nothing once it is written.
        entry.output = Some(output).filter(|output| !output.is_null());
        entry.outputs = outputs;
        if waited && !matches!(node.verb, Verb::Approve { .. }) {
            let does = node.verb.does();
            self.note(false, "WaitEnded", format!("step {path}: {does}: done"));
        }
    }

    /// Keeps waiting, and says so once.
    pub(super) fn wait(&mut self, path: &str, at: usize, reason: &str) {
        if self.is_due(at) {
            let message = self.journal.entry(at).and_then(|entry| entry.message.clone());
            let message = message.unwrap_or_else(|| "waiting".into());
            return self.fail(path, at, TIMED_OUT, format!("time is up {message}"));
        }
        let Some(entry) = self.journal.entry(at) else { return };
        let deadline = entry.deadline;
        if at >= self.known {
            let message = entry.message.clone().unwrap_or_default();
            self.note(false, reason, format!("step {path}: {message}"));
        }
        self.wake_at(deadline);
    }

    pub(super) fn time_out(&mut self, node: &Node, path: &str, at: usize) {
        let longest = node.longest().unwrap_or_default();
        let last = self.journal.entry(at).and_then(|entry| entry.message.clone());
        let last = last.map_or_else(String::new, |last| format!("; last: {last}"));
        let message = format!("{} was not done within {longest}{last}", node.verb.does());
        self.fail(path, at, TIMED_OUT, message);
    }

    /// Ends a step as failed and tells.
    pub(super) fn fail(&mut self, path: &str, at: usize, reason: &str, message: String) {
        self.note(true, "StepFailed", format!("step {path}: {message}"));
        self.fail_quietly(at, reason, message);
    }

    pub(super) fn fail_quietly(&mut self, at: usize, reason: &str, message: String) {
        let end = self.journal.end_time(self.now);
        let Some(entry) = self.journal.entry_mut(at) else { return };
        entry.phase = StepPhase::Failed;
        entry.end_time = Some(end);
        entry.retry_time = None;
        entry.reason = Some(journal::bounded(reason.to_owned()));
        entry.message = Some(journal::bounded(message));
    }

    /// Ends whatever is in work under `prefix`, and has the actions among it stopped.
    pub(super) fn sweep(&mut self, prefix: &str, reason: &str) {
        for at in self.journal.unended(prefix) {
            let end = self.journal.end_time(self.now);
            let Some(entry) = self.journal.entry_mut(at) else { continue };
            let in_flight = entry.phase == StepPhase::Running && entry.retry_time.is_none();
            entry.phase = StepPhase::Cancelled;
            entry.end_time = Some(end);
            entry.retry_time = None;
            entry.reason = Some(reason.to_owned());
            let path = entry.name.clone();
            let action = self
                .definition
                .find(&path)
                .is_some_and(|node| matches!(node.verb, Verb::Action { .. }));
            if in_flight && action {
                self.perform.retain(|perform| perform.step != path);
                self.cancel.push(path);
            }
        }
    }

    /// Has the action at an entry performed, if it is one that is in flight.
    pub(super) fn perform(&mut self, at: usize) {
        let Some(entry) = self.journal.entry(at) else { return };
        let in_flight = entry.phase == StepPhase::Running && entry.retry_time.is_none();
        let Some(node) = self.definition.find(&entry.name).filter(|_| in_flight) else { return };
        let Verb::Action { name, .. } = &node.verb else { return };
        let disruptive = self.disrupts(node, name);
        let retries = self.journal.status.retries;
        let retry = if retries > 0 { format!("/retry {retries}") } else { String::new() };
        let own = entry.deadline;
        let run = self.journal.status.deadline;
        let run = run.filter(|_| self.journal.status.phase != RunPhase::Compensating);
        let deadline = [own, run].into_iter().flatten().min().unwrap_or(self.now);
        self.perform.push(Perform {
            step: entry.name.clone(),
            attempt: entry.attempts,
            action: name.clone(),
            input: entry.input.clone().unwrap_or_else(|| Value::Object(Map::new())),
            idempotency_key: format!("{}/{}{retry}", self.view.uid, entry.name),
            deadline,
            disruptive,
        });
    }

    pub(super) fn is_due(&self, at: usize) -> bool {
        let deadline = self.journal.entry(at).and_then(|entry| entry.deadline);
        deadline.is_some_and(|deadline| deadline <= self.now)
    }

    /// Notes what an action with effects does; others only fill the log.
    fn told(&mut self, action: &str, reason: &str, message: String) {
        if self.view.actions.action(action).is_some_and(|action| action.effects) {
            self.note(false, reason, message);
        }
    }
}

/// Pause after a failed attempt: doubles each time, without randomness, so that the same journal
/// always gives the same time.
fn backoff(node: &Node, attempt: u32) -> Duration {
    let retry = node.retry.as_ref();
    let first = retry.and_then(|retry| retry.backoff).unwrap_or(BACKOFF).as_std();
    let most = retry.and_then(|retry| retry.max_backoff).unwrap_or(BACKOFF_MAX).as_std();
    let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    let pause = first.saturating_mul(factor).min(most.max(first));
    Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
}

/// `since 12:01:02 until 12:06:02`, with dates when they differ.
pub(super) fn span(since: Time, until: Time) -> String {
    let (since_text, until_text) = (since.to_string(), until.to_string());
    if since_text.get(..10) == until_text.get(..10) {
        return format!("since {} until {}", clock(since), clock(until));
    }
    format!("since {} until {}", Time::seconds(since.timestamp()), Time::seconds(until.timestamp()))
}

/// `12:01:02` (UTC).
pub(super) fn clock(time: Time) -> String {
    let time = Offset::UTC.to_datetime(time.timestamp());
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}
