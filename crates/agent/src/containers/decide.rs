//! What is to be done next about one instance. Pure, level-triggered: what is wanted, what is seen, what is remembered
//! and the time go in, acts come out; performing them and looking again leads to what is wanted, from wherever it began.
//!
//! It never stops what is well, never starts anything sooner than its backoff, and is empty when there is nothing to do.

use super::{
    backoff::{self, Trouble},
    seen::{Ended, SANDBOX, Seen, SeenContainer, SeenState},
    settings::Timings,
};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::kinds::container::{Container, PodSpec, RestartPolicy};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt::Write as _};

/// What is wanted of an instance.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// That it runs.
    Running(&'a PodSpec),
    /// That it ends: in order until then, and by force after.
    Gone { deadline: Timestamp },
}

/// What is remembered of an instance between looks, and can be lost: it is found out again.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Its volumes are as they should be.
    pub(super) prepared: bool,
    /// Images that were pulled for containers yet to be made.
    pub(super) images: BTreeMap<String, String>,
    /// What failed last, by container; by [`SANDBOX`] what is about the instance.
    pub(super) troubles: BTreeMap<String, Trouble>,
    /// What checks say, by identity of the container.
    pub(super) verdicts: BTreeMap<String, Verdict>,
}

/// What checks say of one running container.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Verdict {
    /// It has started.
    pub(super) started: bool,
    /// It can do its work.
    pub(super) ready: bool,
    /// Why it has to be started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<String>,
    /// What the readiness check said last, when it was bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unready: Option<String>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Make its volumes.
    Prepare,
    /// Have the image of a container there. `again` is when one of it ran before.
    Pull { name: String, again: bool },
    /// Make a container.
    Create { name: String, attempt: u32, streak: u32, sandbox: Option<String> },
    /// Start one that was made.
    Start { name: String, id: String },
    /// End these, in order until the deadline and by force after; what they hold ends with them.
    Stop { containers: Vec<(String, String)>, deadline: Timestamp },
    /// Remove one that does not run.
    Remove { id: String },
    /// Remove its volumes: nothing of it is left.
    Finish,
}

/// What to do now, and when to look again though nothing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) acts: Vec<Act>,
    pub(super) wake: Option<Timestamp>,
}

impl Decision {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// What a container is made from, in few letters: one that was made from something else is made anew.
pub(super) fn hash(container: &Container) -> String {
    // A type of our own whose keys are texts can always be written.
    let json = serde_json::to_vec(container).unwrap_or_default();
    let mut text = String::new();
    for byte in Sha256::digest(json).iter().take(8) {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether its containers need one that holds the network which they share.
pub(super) fn needs_sandbox(pod: &PodSpec) -> bool {
    pod.containers.len() > 1 && !pod.host_network
}

/// What is to be done next.
pub(super) fn decide(
    wanted: Wanted<'_>,
    seen: &Seen,
    memory: &Memory,
    now: Timestamp,
    timings: &Timings,
) -> Decision {
    match wanted {
        Wanted::Running(pod) => run(pod, seen, memory, now, timings),
        Wanted::Gone { deadline } => end(seen, memory, deadline, now),
    }
}

fn end(seen: &Seen, memory: &Memory, deadline: Timestamp, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    if let Some(trouble) = memory.troubles.get(SANDBOX).filter(|it| it.again > now) {
        decision.wake_at(trouble.again);
        return decision;
    }
    let running = |it: &&SeenContainer| it.is_running() && it.name != SANDBOX;
    let running: Vec<_> = seen.containers.iter().filter(running).map(named).collect();
    if !running.is_empty() {
        decision.acts.push(Act::Stop { containers: running, deadline });
        return decision;
    }
    // What holds the network ends after those that have it. It has nothing to end in order.
    let sandboxes: Vec<_> = seen.of(SANDBOX).filter(|it| it.is_running()).map(named).collect();
    if !sandboxes.is_empty() {
        decision.acts.push(Act::Stop { containers: sandboxes, deadline: now });
    }
    for it in seen.containers.iter().filter(|it| !it.is_running()) {
        match it.state {
            SeenState::Going => decision.wake_at(soon(now)),
            _ => decision.acts.push(Act::Remove { id: it.id.clone() }),
        }
    }
    if seen.containers.is_empty() {
        decision.acts.push(Act::Finish);
    }
    decision
}

/// When what the engine does by itself is looked at again.
fn soon(now: Timestamp) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}

fn named(it: &SeenContainer) -> (String, String) {
    (it.name.clone(), it.id.clone())
}

fn run(pod: &PodSpec, seen: &Seen, memory: &Memory, now: Timestamp, timings: &Timings) -> Decision {
    let grace = SignedDuration::from_secs(pod.termination_grace_period_seconds.into());
    let deadline = now.saturating_add(grace).unwrap_or(Timestamp::MAX);
    let mut next = Next { memory, now, timings, deadline, decision: Decision::default() };
    if !memory.prepared {
        if next.may(SANDBOX) {
            next.decision.acts.push(Act::Prepare);
        }
        return next.decision;
    }
    let wanted = |name: &str| pod.containers.iter().any(|it| it.name == name);
    for stray in seen.containers.iter().filter(|it| it.name != SANDBOX && !wanted(&it.name)) {
        next.away(stray);
    }
    let sandbox = match next.sandbox(needs_sandbox(pod), seen) {
        Ok(sandbox) => sandbox,
        Err(Unready) => return next.decision,
    };
    for container in &pod.containers {
        next.container(container, pod.restart_policy, sandbox.as_deref(), seen);
    }
    next.decision
}

/// The network is not there yet.
struct Unready;

struct Next<'a> {
    memory: &'a Memory,
    now: Timestamp,
    timings: &'a Timings,
    deadline: Timestamp,
    decision: Decision,
}

impl Next<'_> {
    /// Whether something may be tried, after what failed last. If not, it is looked at again then.
    fn may(&mut self, name: &str) -> bool {
        let waits = self.memory.troubles.get(name).filter(|it| it.again > self.now);
        if let Some(trouble) = waits {
            self.decision.wake_at(trouble.again);
        }
        waits.is_none()
    }

    /// Ends it, or removes it if it has ended.
    fn away(&mut self, it: &SeenContainer) {
        self.decision.acts.push(match it.state {
            SeenState::Going => return self.decision.wake_at(soon(self.now)),
            SeenState::Running { .. } => {
                Act::Stop { containers: vec![named(it)], deadline: self.deadline }
            }
            _ => Act::Remove { id: it.id.clone() },
        });
    }

    /// The one that holds the network, if one is needed.
    fn sandbox(&mut self, needed: bool, seen: &Seen) -> Result<Option<String>, Unready> {
        let newest = seen.newest(SANDBOX);
        for older in seen
            .of(SANDBOX)
            .filter(|it| !needed || Some(it.id.as_str()) != newest.map(|it| it.id.as_str()))
        {
            self.away(older);
        }
        if !needed {
            return Ok(None);
        }
        match newest {
            Some(it) if it.is_running() => return Ok(Some(it.id.clone())),
            Some(SeenContainer { state: SeenState::Created, id, .. }) => {
                if self.may(SANDBOX) {
                    self.decision.acts.push(Act::Start { name: SANDBOX.into(), id: id.clone() });
                }
            }
            Some(ended) => self.away(ended),
            None => {
                // Those that have the network of one that is gone would never be reached.
                let lost: Vec<_> =
                    seen.containers.iter().filter(|it| it.is_running()).map(named).collect();
                if !lost.is_empty() {
                    self.decision
                        .acts
                        .push(Act::Stop { containers: lost, deadline: self.deadline });
                } else if self.may(SANDBOX) {
                    let (attempt, streak, sandbox) = (0, 0, None);
                    let name = SANDBOX.into();
                    self.decision.acts.push(Act::Create { name, attempt, streak, sandbox });
                }
            }
        }
        Err(Unready)
    }

    fn container(
        &mut self,
        container: &Container,
        policy: RestartPolicy,
        sandbox: Option<&str>,
        seen: &Seen,
    ) {
        let name = container.name.as_str();
        let Some(newest) = seen.newest(name) else {
            self.begin(name, 0, 0, sandbox);
            return;
        };
        // The last one that ended is kept, for its log.
        for older in seen.of(name).rev().skip(1) {
            let kept = older.attempt.saturating_add(1) == newest.attempt;
            if older.is_running() || !kept || !matches!(older.state, SeenState::Ended(_)) {
                self.away(older);
            }
        }
        let asked = newest.hash == hash(container);
        let same = asked && newest.sandbox.as_deref() == sandbox;
        match &newest.state {
            SeenState::Running { .. } => {
                let failed =
                    self.memory.verdicts.get(&newest.id).is_some_and(|it| it.failed.is_some());
                if !same || failed {
                    self.away(newest);
                }
            }
            SeenState::Created if !same => self.away(newest),
            SeenState::Created => {
                if self.may(name) {
                    let (name, id) = (name.to_owned(), newest.id.clone());
                    self.decision.acts.push(Act::Start { name, id });
                }
            }
            SeenState::Ended(ended) => self.again(container, policy, sandbox, newest, ended, asked),
            SeenState::Going => self.away(newest),
        }
    }

    /// Makes one that ended anew, if and when it should be.
    fn again(
        &mut self,
        container: &Container,
        policy: RestartPolicy,
        sandbox: Option<&str>,
        newest: &SeenContainer,
        ended: &Ended,
        asked: bool,
    ) {
        // One that was made from something else was stopped for that.
        if asked && !restarts(policy, ended) {
            return;
        }
        let streak = next_streak(newest.streak, ended, self.timings);
        let at = restart_at(newest.streak, ended, self.timings);
        if asked && at > self.now {
            self.decision.wake_at(at);
            return;
        }
        self.begin(&container.name, newest.attempt.saturating_add(1), streak, sandbox);
    }

    fn begin(&mut self, name: &str, attempt: u32, streak: u32, sandbox: Option<&str>) {
        if !self.may(name) {
            return;
        }
        let name = name.to_owned();
        let act = match self.memory.images.contains_key(&name) {
            true => Act::Create { name, attempt, streak, sandbox: sandbox.map(Into::into) },
            false => Act::Pull { name, again: attempt > 0 },
        };
        self.decision.acts.push(act);
    }
}

/// Whether one that ended so is started again.
pub(super) fn restarts(policy: RestartPolicy, ended: &Ended) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => !ended.is_success(),
        RestartPolicy::Never => false,
    }
}

fn next_streak(streak: u32, ended: &Ended, timings: &Timings) -> u32 {
    let reset = SignedDuration::try_from(timings.backoff_reset).unwrap_or(SignedDuration::MAX);
    let long = ended.finished.duration_since(ended.started) >= reset;
    if long { 1 } else { streak.saturating_add(1) }
}

/// When one that ended so may be started again.
pub(super) fn restart_at(streak: u32, ended: &Ended, timings: &Timings) -> Timestamp {
    let wait = backoff::before_restart(next_streak(streak, ended, timings), timings);
    ended.finished.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
