//! What a server's status should be and what to do about its inspection. Pure.

use super::profile;
use crate::{INSPECT_RUNBOOK, units::UNITS_FREE};
use jiff::SignedDuration;
use quarterdeck_model::{
    Condition, ConditionStatus, Time, condition,
    kinds::{
        BmcTlsVerify, Run, RunPhase, Server, ServerPhase, ServerProfile, ServerStatus, StepPhase,
    },
};
use std::time::Duration;

/// Annotation of an inspection: what it was about.
pub(super) const BASIS: &str = "quarterdeck.dev/inspection-of";
/// Annotation of an inspection: which try it is, for the same basis.
pub(super) const TRY: &str = "quarterdeck.dev/inspection-try";

/// Pause after the first inspection that failed; doubles with each further one.
const RETRY_SECONDS: i64 = 15;
/// Longest such pause: a server that comes back is seen within this time.
const RETRY_SECONDS_MAX: i64 = 600;
/// Pause before a server that found no room for its inspection looks again, should nobody tell it.
const ROOM_SECONDS: i64 = 120;
/// A server not inspected this long after it was declared needs a person. Booting a BMC, creating
/// the Secrets and cabling the network happen within an hour on the day a rack is filled.
const INSPECTED_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// Set by those who look at servers that are ready; absent while all is well.
pub(in crate::controllers) const REACHABLE: &str = "Reachable";

/// Everything about a server that is decided on.
pub(super) struct Situation<'a> {
    pub(super) server: &'a Server,
    /// What an inspection now would be about.
    pub(super) basis: String,
    pub(super) inspection: Option<&'a Run>,
    /// The runbook of inspections exists.
    pub(super) can_inspect: bool,
    /// Whether one more inspection may begin now. Asked only for one that would: whoever is told no has a place in
    /// line.
    pub(super) room: &'a dyn Fn() -> Room,
    pub(super) rack_found: bool,
    /// The profile that it names, if that exists.
    pub(super) profile: Option<&'a ServerProfile>,
    pub(super) now: Time,
}

/// Whether there is room for one more inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// Not now; mostly there is in a moment.
    None,
    /// Not now, and not when this was asked before.
    StillNone,
}

/// What to do about the inspection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Begin one, in place of the one there is.
    Inspect {
        number: u32,
    },
    /// Ask the one there is to stop: it is about something else.
    Cancel,
}

/// The status, what to do, and when to look again.
pub(super) type Decision = (ServerStatus, Action, Option<Duration>);

/// Decides.
pub(super) fn decide(situation: &Situation<'_>) -> Decision {
    let Situation { server, now, .. } = *situation;
    let mut status = server.status.clone();
    status.observed_generation = server.metadata.generation;
    link_condition(situation, &mut status);
    trust_condition(situation, &mut status);
    complete_condition(&mut status, now);
    profile::conditions(server, situation.profile, &mut status, now);
    let (action, again) = if status.phase.out_of_service() {
        let message = status.phase_message.clone();
        let message = message.unwrap_or_else(|| "See the run that made it so.".into());
        not_ready(&mut status, server.status.phase.as_str(), message, now);
        (Action::Nothing, None)
    } else {
        inspection(situation, &mut status)
    };
    let overdue = deadline(&mut status, now);
    let again = [again, overdue].into_iter().flatten().min();
    (status, action, again)
}

/// What to do about the inspection, and what it says of the server.
fn inspection(situation: &Situation<'_>, status: &mut ServerStatus) -> (Action, Option<Duration>) {
    let Some(run) = situation.inspection else { return begin(situation, status, 1) };
    let annotation = |name: &str| run.metadata.annotations.get(name).map(String::as_str);
    if annotation(BASIS) != Some(situation.basis.as_str()) {
        if run.status.phase.ended() {
            return begin(situation, status, 1);
        }
        return (if run.spec.cancel { Action::Nothing } else { Action::Cancel }, None);
    }
    let number: u32 = annotation(TRY).and_then(|text| text.parse().ok()).unwrap_or(1);
    match run.status.phase {
        RunPhase::Succeeded => {
            inspected(status, run, situation.now);
            (Action::Nothing, None)
        }
        RunPhase::Failed | RunPhase::Cancelled => {
            let (reason, message) = why(run);
            not_ready(status, &reason, message, situation.now);
            match left(run, retry_pause(number), situation.now) {
                Some(left) => (Action::Nothing, Some(left)),
                None => begin(situation, status, number.saturating_add(1)),
            }
        }
        _ => {
            running(status, run, situation.now);
            (Action::Nothing, None)
        }
    }
}

/// Begins an inspection, or says why not.
fn begin(
    situation: &Situation<'_>,
    status: &mut ServerStatus,
    number: u32,
) -> (Action, Option<Duration>) {
    let now = situation.now;
    if situation.server.metadata.deletion_timestamp.is_some() {
        return (Action::Nothing, None);
    }
    if !situation.can_inspect {
        let message = format!(
            "Runbook {INSPECT_RUNBOOK} does not exist; restart the plane to install it again, or create your own of that name."
        );
        not_ready(status, "RunbookNotFound", message, now);
        return (Action::Nothing, None);
    }
    let shown = condition::find(&status.conditions, "Ready").is_some();
    let room = (situation.room)();
    if room != Room::Free {
        // When thousands are declared at once, to say so of each costs as much as to begin.
        if !shown && room == Room::StillNone {
            let message = "Many servers are inspected now; this one waits for its turn.";
            not_ready(status, "Queued", message.into(), now);
        }
        let pause = ROOM_SECONDS + spread(&situation.server.metadata.name, ROOM_SECONDS);
        return (Action::Nothing, Duration::try_from(SignedDuration::from_secs(pause)).ok());
    }
    if status.phase == ServerPhase::Registered {
        enter(status, ServerPhase::Inspecting, now);
    }
    let waiting = condition::find(&status.conditions, "Ready")
        .is_none_or(|ready| matches!(ready.reason.as_str(), "Queued" | "RunbookNotFound"));
    if waiting {
        not_ready(status, "Inspecting", "The first inspection begins.".into(), now);
    }
    (Action::Inspect { number }, None)
}

/// The inspection succeeded.
fn inspected(status: &mut ServerStatus, run: &Run, now: Time) {
    let differs = profile::not_met(status);
    let first = matches!(status.phase, ServerPhase::Registered | ServerPhase::Inspecting);
    if first && differs.is_none() {
        enter(status, ServerPhase::Ready, now);
    }
    // What was seen later counts, and what was seen before does not.
    let ended = run.status.completion_time;
    status.conditions.retain(|seen| {
        seen.kind != REACHABLE || ended.is_none_or(|ended| seen.last_transition_time > ended)
    });
    let lost = condition::find(&status.conditions, REACHABLE)
        .filter(|seen| seen.status == ConditionStatus::False)
        .map(|seen| (seen.reason.clone(), seen.message.clone()));
    if let Some((reason, message)) = lost {
        not_ready(status, &reason, message, now);
        return;
    }
    if let Some((reason, message)) = differs {
        not_ready(status, &reason, message, now);
        return;
    }
    let message = "The server was reached and inspected.";
    set(status, "Ready", ConditionStatus::True, "Inspected", message.into(), now);
}

/// The inspection is under way. A step that failed and will be tried again already says what is
/// wrong; else, what an earlier inspection found holds until this one has ended.
fn running(status: &mut ServerStatus, run: &Run, now: Time) {
    let mut steps = run.status.steps.iter();
    if steps.any(|step| !step.phase.ended() && step.reason.is_some()) {
        let (reason, message) = why(run);
        not_ready(status, &reason, message, now);
    } else if condition::find(&status.conditions, "Ready").is_none() {
        not_ready(status, "Inspecting", "The first inspection is under way.".into(), now);
    }
    if status.phase == ServerPhase::Registered {
        enter(status, ServerPhase::Inspecting, now);
    }
}

/// Until when the server should have left its phase, and that it did not. Answers when to look again. The runs that
/// make later phases say by when those are left.
fn deadline(status: &mut ServerStatus, now: Time) -> Option<Duration> {
    let first = matches!(status.phase, ServerPhase::Registered | ServerPhase::Inspecting);
    if first {
        let since = *status.phase_since.get_or_insert(Time::seconds(now.timestamp()));
        let deadline = since.timestamp().saturating_add(INSPECTED_WITHIN);
        status.phase_deadline = Some(Time::new(deadline.unwrap_or(now.timestamp())));
    } else if matches!(status.phase, ServerPhase::Ready | ServerPhase::InUse) {
        status.phase_deadline = None;
    }
    let left = status.phase_deadline.map(|due| due.timestamp().duration_since(now.timestamp()));
    match left {
        Some(left) if !left.is_positive() => {}
        left => {
            status.conditions.retain(|condition| condition.kind != "Overdue");
            return left.and_then(|left| Duration::try_from(left).ok());
        }
    }
    let (reason, message) = if first {
        let message = "It was not inspected within an hour. Condition Ready says why and what to do; it is tried again by itself at least every 13 minutes, and at once when its spec or Secrets change.";
        ("InspectionOverdue", message.to_owned())
    } else {
        let exit = match status.phase {
            ServerPhase::Quarantined | ServerPhase::Repairing => {
                "Run return-server when it is well, repair-server to have it mended, or retire-server to let it go."
            }
            _ => "Run quarantine-server with spec.force to take it out of that.",
        };
        ("PhaseOverdue", format!("It should not be {} any more. {exit}", status.phase))
    };
    set(status, "Overdue", ConditionStatus::True, reason, message, now);
    None
}

fn retry_pause(number: u32) -> i64 {
    let doubled = RETRY_SECONDS.saturating_mul(1 << number.saturating_sub(1).min(10));
    doubled.min(RETRY_SECONDS_MAX)
}

/// How long is left of a pause of `seconds` since the run ended; `None` when it is over.
fn left(run: &Run, seconds: i64, now: Time) -> Option<Duration> {
    // Spread by name, so that servers that failed together do not come back together.
    let pause = SignedDuration::from_secs(seconds + spread(&run.metadata.name, seconds / 4));
    let ended = run.status.completion_time.unwrap_or(now).timestamp();
    let due = ended.saturating_add(pause).unwrap_or(ended);
    let left = due.duration_since(now.timestamp());
    if left.is_positive() { Duration::try_from(left).ok() } else { None }
}

/// A number of seconds below `most`, evenly spread over names and always the same for one.
pub(in crate::controllers) fn spread(name: &str, most: i64) -> i64 {
    // FNV-1a: names of one rack differ in one digit, and must not end up side by side.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::try_from((hash >> 1) % most.max(1).unsigned_abs()).unwrap_or(0)
}

/// Why an inspection fails: the reason and sentence of the step that did.
fn why(run: &Run) -> (String, String) {
    let step = run
        .status
        .steps
        .iter()
        .rev()
        .find(|step| step.reason.is_some() && step.phase != StepPhase::Succeeded);
    let reason = step
        .and_then(|step| step.reason.clone())
        .or_else(|| condition::find(&run.status.conditions, "Complete").map(|c| c.reason.clone()))
        .unwrap_or_else(|| "InspectionFailed".into());
    let message = step
        .and_then(|step| step.message.clone())
        .or_else(|| run.status.message.clone())
        .unwrap_or_else(|| "The inspection failed; see its run.".into());
    (reason, message)
}

fn link_condition(situation: &Situation<'_>, status: &mut ServerStatus) {
    let Some(location) = &situation.server.spec.location else {
        // What is nowhere shares its units with nobody: who told of that no longer looks at it.
        status.conditions.retain(|it| it.kind != "LinksFound" && it.kind != UNITS_FREE);
        return;
    };
    let rack = &location.rack;
    let (found, reason, message) = if situation.rack_found {
        (ConditionStatus::True, "Found", format!("Rack {rack} exists."))
    } else {
        let message = format!(
            "spec.location.rack names Rack {rack}, which does not exist; create it or correct the name."
        );
        (ConditionStatus::False, "RackNotFound", message)
    };
    set(status, "LinksFound", found, reason, message, situation.now);
}

/// A BMC that anybody could stand in for is said to be so as long as it is.
fn trust_condition(situation: &Situation<'_>, status: &mut ServerStatus) {
    let bmc = &situation.server.spec.bmc;
    let (reason, message) = if bmc.address.starts_with("http://") {
        let message = "spec.bmc.address begins with http://: the BMC's password and all commands go over the network in clear text; use https://.";
        ("NotEncrypted", message)
    } else if bmc.tls.verify == BmcTlsVerify::Skip {
        let message = "spec.bmc.tls.verify is Skip: whoever gets between the plane and the BMC learns its password; set Full with caSecretRef, or Fingerprint with sha256.";
        ("NotVerified", message)
    } else {
        status.conditions.retain(|condition| condition.kind != "BMCTrusted");
        return;
    };
    let now = situation.now;
    set(status, "BMCTrusted", ConditionStatus::False, reason, message.into(), now);
}

/// What the BMC could not show, as long as it cannot.
fn complete_condition(status: &mut ServerStatus, now: Time) {
    let unread = status.inventory.as_ref().map(|inventory| inventory.unread.as_slice());
    let [first, more @ ..] = unread.unwrap_or_default() else {
        status.conditions.retain(|condition| condition.kind != "InventoryComplete");
        return;
    };
    let parts: Vec<&str> =
        [first].into_iter().chain(more).map(|unread| unread.part.as_str()).collect();
    let message = format!(
        "The BMC could not show {}; what the inventory says of it is from before. {}",
        parts.join(", "),
        first.message
    );
    set(status, "InventoryComplete", ConditionStatus::False, "PartsUnread", message, now);
}

fn enter(status: &mut ServerStatus, phase: ServerPhase, now: Time) {
    if status.phase != phase {
        status.phase = phase;
        status.phase_since = Some(Time::seconds(now.timestamp()));
    }
}

fn not_ready(status: &mut ServerStatus, reason: &str, message: String, now: Time) {
    set(status, "Ready", ConditionStatus::False, reason, message, now);
}

fn set(
    status: &mut ServerStatus,
    kind: &str,
    value: ConditionStatus,
    reason: &str,
    message: String,
    now: Time,
) {
    condition::set(&mut status.conditions, Condition::new(kind, value, reason, message, now));
}
