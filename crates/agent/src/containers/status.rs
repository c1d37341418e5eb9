//! What is told of an instance, from what is seen and remembered of it. Pure.

use super::{
    decide::{Memory, Verdict, Wanted, restart_at, restarts},
    seen::{Ended, SANDBOX, Seen, SeenContainer, SeenState},
    settings::Timings,
};
use jiff::Timestamp;
use quarterdeck_model::{
    Condition, ConditionStatus, Time,
    kinds::{
        InstancePhase, InstanceStatus,
        container::{
            Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
            ContainerStateWaiting, ContainerStatus, PodSpec,
        },
    },
};

/// What else is known of it.
pub(super) struct Around<'a> {
    pub(super) now: Timestamp,
    pub(super) timings: &'a Timings,
    /// What is being done, by container, such as how far a pull is.
    pub(super) doing: Option<(&'a str, &'a str)>,
    /// Why the engine cannot be asked, once that has lasted.
    pub(super) engine: Option<&'a str>,
    /// What was told before.
    pub(super) before: &'a InstanceStatus,
}

/// What is told of an instance.
pub(super) fn status(
    pod: &PodSpec,
    wanted: Wanted<'_>,
    seen: &Seen,
    memory: &Memory,
    around: &Around<'_>,
) -> InstanceStatus {
    let containers: Vec<ContainerStatus> =
        pod.containers.iter().map(|it| container(it, pod, seen, memory, around)).collect();
    let (phase, message) = match (wanted, around.engine) {
        (Wanted::Gone { .. }, _) => (InstancePhase::Stopping, stopping(memory)),
        (_, Some(engine)) => (InstancePhase::NotReady, Some(engine.to_owned())),
        (Wanted::Running(_), None) => phase(pod, seen, &containers, memory),
    };
    let now = Time::seconds(around.now);
    let network =
        seen.newest(SANDBOX).or_else(|| seen.containers.iter().find(|it| it.is_running()));
    let started = seen.containers.iter().filter(|it| it.name != SANDBOX).filter_map(since).min();
    let before = around.before;
    let phase_since = if before.phase == phase { before.phase_since } else { None };
    let ports = seen.containers.iter().filter(|it| it.is_running()).flat_map(|it| &it.ports);
    InstanceStatus {
        observed_generation: None,
        phase,
        phase_since: Some(phase_since.unwrap_or(now)),
        conditions: vec![ready(phase, message.as_deref(), before, now)],
        message,
        containers,
        address: network.and_then(|it| it.address.clone()),
        ports: ports.cloned().collect(),
        started_at: before.started_at.or_else(|| started.map(Time::seconds)),
        // Those of clusters.
        pod: None,
        node: None,
        machine: None,
    }
}

fn since(it: &SeenContainer) -> Option<Timestamp> {
    match &it.state {
        SeenState::Running { since } => Some(*since),
        SeenState::Ended(ended) => Some(ended.started),
        SeenState::Created | SeenState::Going => None,
    }
}

fn ready(
    phase: InstancePhase,
    message: Option<&str>,
    before: &InstanceStatus,
    now: Time,
) -> Condition {
    let status = match phase {
        InstancePhase::Ready => ConditionStatus::True,
        _ => ConditionStatus::False,
    };
    let (reason, message) = (format!("{phase:?}"), message.unwrap_or_default().to_owned());
    let mut condition = Condition::new("Ready", status, reason, message, now);
    if let Some(before) =
        before.conditions.iter().find(|it| it.kind == "Ready" && it.status == status)
    {
        condition.last_transition_time = before.last_transition_time;
    }
    condition
}

fn stopping(memory: &Memory) -> Option<String> {
    memory.troubles.get(SANDBOX).map(|it| it.message.clone())
}

fn container(
    wanted: &Container,
    pod: &PodSpec,
    seen: &Seen,
    memory: &Memory,
    around: &Around<'_>,
) -> ContainerStatus {
    let name = &wanted.name;
    let trouble = memory.troubles.get(name).or_else(|| memory.troubles.get(SANDBOX));
    let waiting = |reason: &str, message: &str| ContainerState {
        waiting: Some(ContainerStateWaiting { reason: reason.into(), message: message.into() }),
        ..ContainerState::default()
    };
    let begins = || match (trouble, around.doing.filter(|(of, _)| of == name)) {
        (_, Some((_, doing))) => waiting("ContainerCreating", doing),
        // While it is waited with it, it is backed off from: Kubernetes has a word of its own for that.
        (Some(it), _) if it.reason == "ErrImagePull" && it.failures > 1 => {
            waiting("ImagePullBackOff", &it.message)
        }
        (Some(it), _) => waiting(it.reason, &it.message),
        (None, None) => waiting("ContainerCreating", ""),
    };
    let mut status = ContainerStatus {
        name: name.clone(),
        image: wanted.image.clone(),
        ..ContainerStatus::default()
    };
    let Some(newest) = seen.newest(name) else {
        status.state = begins();
        return status;
    };
    status.image_id.clone_from(&newest.image_id);
    status.container_id = format!("docker://{}", newest.id);
    status.restart_count = newest.attempt;
    if let Some(SeenState::Ended(ended)) = seen.previous(name).map(|it| &it.state) {
        status.last_state = terminated(ended);
    }
    match &newest.state {
        SeenState::Created | SeenState::Going => status.state = begins(),
        SeenState::Running { since } => {
            let started_at = Some(Time::seconds(*since));
            let running = Some(ContainerStateRunning { started_at });
            status.state = ContainerState { running, ..ContainerState::default() };
            let verdict = memory.verdicts.get(&newest.id).cloned().unwrap_or_else(|| first(wanted));
            status.started = verdict.started;
            status.ready = verdict.ready && verdict.failed.is_none();
        }
        SeenState::Ended(ended) if restarts(pod.restart_policy, ended) => {
            status.last_state = terminated(ended);
            let at = restart_at(newest.streak, ended, around.timings);
            let left = at.duration_since(around.now).as_secs();
            status.state = match left > 0 {
                true => {
                    let message =
                        format!("{}; it is started again at {}", ending(ended), Time::seconds(at));
                    waiting("CrashLoopBackOff", &message)
                }
                false => begins(),
            };
        }
        SeenState::Ended(ended) => status.state = terminated(ended),
    }
    status
}

/// What a check that was not asked yet says.
pub(super) fn first(container: &Container) -> Verdict {
    let started = container.startup_probe.is_none();
    let ready = started && container.readiness_probe.is_none();
    Verdict { started, ready, ..Verdict::default() }
}

fn terminated(ended: &Ended) -> ContainerState {
    let reason = match ended {
        Ended { out_of_memory: true, .. } => "OOMKilled",
        Ended { error, .. } if !error.is_empty() => "ContainerCannotRun",
        ended if ended.is_success() => "Completed",
        _ => "Error",
    };
    let terminated = Some(ContainerStateTerminated {
        reason: reason.into(),
        message: ended.error.clone(),
        exit_code: ended.exit_code,
        started_at: Some(Time::seconds(ended.started)),
        finished_at: Some(Time::seconds(ended.finished)),
    });
    ContainerState { terminated, ..ContainerState::default() }
}

/// How one ended, as the beginning of a sentence.
fn ending(ended: &Ended) -> String {
    match ended {
        Ended { out_of_memory: true, .. } => {
            "the kernel killed it, since it took more memory than its limit".into()
        }
        Ended { error, .. } if !error.is_empty() => format!("it could not run: {error}"),
        Ended { exit_code, .. } => format!("it ended with {exit_code}"),
    }
}

fn phase(
    pod: &PodSpec,
    seen: &Seen,
    containers: &[ContainerStatus],
    memory: &Memory,
) -> (InstancePhase, Option<String>) {
    let ended = containers.iter().filter(|it| it.state.terminated.is_some());
    if !containers.is_empty() && ended.count() == containers.len() {
        let codes = containers.iter().filter_map(|it| Some((it, it.state.terminated.as_ref()?)));
        let failed = codes.into_iter().find(|(_, it)| it.reason != "Completed");
        let message = match failed {
            Some((it, end)) => format!("{} ended with {} ({})", it.name, end.exit_code, end.reason),
            None => "it did what it was for, and is not started again".into(),
        };
        return (InstancePhase::Failed, Some(message));
    }
    if containers.iter().all(|it| it.ready) {
        return (InstancePhase::Ready, None);
    }
    let first_start = containers.iter().all(|it| {
        it.restart_count == 0
            && it.last_state.is_empty()
            && it.state.terminated.is_none()
            && !it.ready
    });
    let starts = containers.iter().any(|it| it.state.running.is_none() || !it.started);
    let message = containers.iter().find_map(|it| why(it, pod, seen, memory));
    match first_start && starts {
        true => (InstancePhase::Starting, message),
        false => (InstancePhase::NotReady, message),
    }
}

/// Why a container is not ready.
fn why(it: &ContainerStatus, pod: &PodSpec, seen: &Seen, memory: &Memory) -> Option<String> {
    if it.ready {
        return None;
    }
    let said = |what: &str| Some(format!("{}: {what}", it.name));
    let state = &it.state;
    if let Some(ContainerStateWaiting { reason, message }) = &state.waiting {
        return said(if message.is_empty() { reason } else { message });
    }
    if let Some(end) = &state.terminated {
        return said(&format!("ended with {} ({})", end.exit_code, end.reason));
    }
    let newest = seen.newest(&it.name)?;
    let verdict = memory.verdicts.get(&newest.id).cloned().unwrap_or_default();
    if let Some(failed) = verdict.failed.or(verdict.unready) {
        return said(&failed);
    }
    let probe = pod.containers.iter().find(|container| container.name == it.name)?;
    said(match probe.startup_probe.is_some() && !it.started {
        true => "its startup probe has not passed yet",
        false => "its readiness probe has not passed yet",
    })
}

#[cfg(test)]
mod tests;
