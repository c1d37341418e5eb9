//! What a schedule starts, waits for, misses and forgets. Pure.
//! Source: Kubernetes "CronJob", its limitations, deadlines and concurrency policies.

use jiff::{Timestamp, tz::TimeZone};
use quarterdeck_model::{
    Condition, ConditionStatus, Time, condition,
    cron::Cron,
    kinds::{ConcurrencyPolicy, Schedule, SchedulePhase, ScheduleStatus},
};
use std::time::Duration;

/// Names that a status shows of what is in work.
const ACTIVE_SHOWN: usize = 10;
/// A schedule looks at least so often whether it is due, since clocks are set.
const LOOK: Duration = Duration::from_secs(60);

/// What a schedule started before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Started {
    pub(super) name: String,
    /// The time it was started for.
    pub(super) due: Option<Timestamp>,
    pub(super) state: State,
}

/// How far something is that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    InWork,
    Succeeded(Option<Time>),
    Failed(Option<Time>),
}

/// Everything about a schedule that is decided on.
pub(super) struct Situation<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) started: &'a [Started],
    pub(super) now: Time,
}

/// What to do.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decision {
    pub(super) status: ScheduleStatus,
    /// Start something for this time.
    pub(super) start: Option<Timestamp>,
    /// Names of what is to be cancelled before.
    pub(super) cancel: Vec<String>,
    /// Names of what is not kept any longer.
    pub(super) forget: Vec<String>,
    /// One word and a sentence on what happened.
    pub(super) news: Option<(&'static str, String)>,
    /// When to look again.
    pub(super) again: Option<Duration>,
}

/// The name of what is started for a time: the same however often it is tried.
pub(super) fn name(schedule: &str, due: Timestamp) -> String {
    format!("{schedule}-{}", due.as_second().div_euclid(60))
}

/// Decides.
pub(super) fn decide(situation: &Situation<'_>) -> Decision {
    let (schedule, now) = (situation.schedule, situation.now);
    let mut status = schedule.status.clone();
    status.observed_generation = schedule.metadata.generation;
    status.last_schedule_time = last_start(situation);
    status.last_successful_time = last_success(situation);
    let mut decision =
        Decision { status, forget: forgotten(situation), again: Some(LOOK), ..Decision::default() };
    let (Ok(cron), Some(zone)) = (schedule.spec.cron(), schedule.spec.zone()) else {
        let why = "spec.schedule or spec.timeZone cannot be read; correct it";
        ready(&mut decision.status, (false, "Unreadable"), why.into(), now);
        decision.again = None;
        return decision;
    };
    let next = cron.next(now.timestamp(), &zone);
    if schedule.spec.suspend {
        let why = "It starts nothing until spec.suspend is false.";
        ready(&mut decision.status, (false, "Suspended"), why.into(), now);
    } else {
        begin(situation, &mut decision, (&cron, &zone), next);
    }
    finish(situation, &mut decision, next);
    decision
}

/// Whether something is due, and what comes of it.
fn begin(
    situation: &Situation<'_>,
    decision: &mut Decision,
    (cron, zone): (&Cron, &TimeZone),
    next: Option<Timestamp>,
) {
    let (schedule, now) = (situation.schedule, situation.now);
    let status = &mut decision.status;
    let created = schedule.metadata.creation_timestamp;
    let seen = [created, status.last_schedule_time, status.last_missed_time];
    // Without any of them it begins now.
    let after = seen.into_iter().flatten().max().unwrap_or(now).timestamp();
    // Of several that were missed, the latest alone is started.
    let due = cron.latest(after, now.timestamp(), zone);
    let in_work = || situation.started.iter().filter(|it| it.state == State::InWork);
    let policy = schedule.spec.concurrency_policy;
    let message = next.map_or_else(
        || "No day in the next years is one of spec.schedule; correct it.".to_owned(),
        |next| format!("It starts something next for {next}."),
    );
    let reason = if next.is_some() { "Scheduled" } else { "NeverDue" };
    let Some(due) = due else {
        ready(status, (next.is_some(), reason), message, now);
        return;
    };
    let late = now.timestamp().duration_since(due).as_secs();
    let deadline = schedule.spec.starting_deadline_seconds.map(i64::from);
    if deadline.is_some_and(|deadline| late > deadline) {
        status.last_missed_time = Some(Time::new(due));
        let why = format!(
            "nothing was started for {due}: it is {late}s late, more than spec.startingDeadlineSeconds allows"
        );
        decision.news = Some(("Missed", why));
    } else if policy == ConcurrencyPolicy::Forbid
        && let Some(before) = in_work().next()
    {
        let why = format!("What is due for {due} waits for {} to end.", before.name);
        if condition::find(&status.conditions, "Ready").is_none_or(|it| it.message != why) {
            decision.news = Some(("StillRunning", why.clone()));
        }
        ready(status, (true, "StillRunning"), why, now);
        return;
    } else {
        status.last_schedule_time = Some(Time::new(due));
        decision.start = Some(due);
        if policy == ConcurrencyPolicy::Replace {
            decision.cancel = in_work().map(|it| it.name.clone()).collect();
        }
        let name = name(&schedule.metadata.name, due);
        decision.news = Some(("Started", format!("started {name} for {due}")));
    }
    ready(status, (next.is_some(), reason), message, now);
}

/// What the status says of all that, and when to look again.
fn finish(situation: &Situation<'_>, decision: &mut Decision, next: Option<Timestamp>) {
    let spec = &situation.schedule.spec;
    let started = decision.start.map(|due| name(&situation.schedule.metadata.name, due));
    let in_work = situation.started.iter().filter(|it| it.state == State::InWork);
    let mut active: Vec<String> = in_work.map(|it| it.name.clone()).collect();
    active.extend(started);
    active.sort();
    active.dedup();
    // The newest are the last.
    let hidden = active.len().saturating_sub(ACTIVE_SHOWN);
    let status = &mut decision.status;
    status.active = active.into_iter().skip(hidden).collect();
    status.next_schedule_time = next.filter(|_| !spec.suspend).map(Time::new);
    status.phase = match (status.active.is_empty(), next) {
        _ if spec.suspend => SchedulePhase::Suspended,
        (false, _) => SchedulePhase::Running,
        (true, Some(_)) => SchedulePhase::Scheduled,
        (true, None) => SchedulePhase::NeverDue,
    };
    let until = next
        .and_then(|next| Duration::try_from(next.duration_since(situation.now.timestamp())).ok());
    decision.again = Some(until.unwrap_or(LOOK).min(LOOK));
}

/// The last time for which something was started, as the schedule says or what it started.
fn last_start(situation: &Situation<'_>) -> Option<Time> {
    let started = situation.started.iter().filter_map(|it| it.due).map(Time::new);
    started.chain(situation.schedule.status.last_schedule_time).max()
}

fn last_success(situation: &Situation<'_>) -> Option<Time> {
    let ended = situation.started.iter().filter_map(|it| match it.state {
        State::Succeeded(ended) => ended,
        State::InWork | State::Failed(_) => None,
    });
    ended.chain(situation.schedule.status.last_successful_time).max()
}

/// Those that ended, but for the newest of either sort.
fn forgotten(situation: &Situation<'_>) -> Vec<String> {
    let spec = &situation.schedule.spec;
    let old = |limit: u32, ended: fn(State) -> Option<Option<Time>>| {
        let mut found: Vec<(Option<Time>, &str)> = situation
            .started
            .iter()
            .filter_map(|it| Some((ended(it.state)?, it.name.as_str())))
            .collect();
        found.sort_by(|one, other| other.cmp(one));
        let kept = usize::try_from(limit).unwrap_or(usize::MAX);
        found.into_iter().skip(kept).map(|(_, name)| name.to_owned()).collect::<Vec<_>>()
    };
    let succeeded = |state| match state {
        State::Succeeded(ended) => Some(ended),
        State::InWork | State::Failed(_) => None,
    };
    let failed = |state| match state {
        State::Failed(ended) => Some(ended),
        State::InWork | State::Succeeded(_) => None,
    };
    let mut all = old(spec.successful_runs_history_limit, succeeded);
    all.extend(old(spec.failed_runs_history_limit, failed));
    all
}

fn ready(status: &mut ScheduleStatus, (holds, reason): (bool, &str), message: String, now: Time) {
    let is = if holds { ConditionStatus::True } else { ConditionStatus::False };
    let mut next = Condition::new("Ready", is, reason, message, now);
    next.observed_generation = status.observed_generation;
    condition::set(&mut status.conditions, next);
}
