//! What a remedy says of itself: its message, its conditions, and what is worth an event. Pure.

use super::decide::{Attempt, Outcome};
use quarterdeck_model::{
    Condition, ConditionStatus, Time, condition,
    kinds::{RemedyPhase, RemedySpec, RemedyStatus},
};

/// Names that a sentence holds.
const NAMED: usize = 10;

/// What there is to say something about.
pub(super) struct Seen<'a> {
    pub(super) spec: &'a RemedySpec,
    /// Objects there are.
    pub(super) objects: u32,
    /// Those affected and not given up.
    pub(super) open: u32,
    /// They are too many for so many causes.
    pub(super) common: bool,
    /// The runs for which it stops.
    pub(super) failing: Option<&'a [(&'a Attempt, Outcome)]>,
    pub(super) given_up: &'a [&'a str],
    pub(super) now: Time,
}

/// One thing that is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) warning: bool,
}

/// Fills in what the status says; answers what is news.
pub(super) fn tell(seen: &Seen<'_>, before: &RemedyStatus, status: &mut RemedyStatus) -> Vec<Told> {
    let stopped = match status.phase {
        RemedyPhase::Stopped => Some(stopped(seen, before)),
        _ => None,
    };
    let common = seen.common.then(|| common_cause(seen));
    let given_up = (!seen.given_up.is_empty()).then(|| given_up(seen));
    status.message = Some(match status.phase {
        RemedyPhase::Suspended => "begins nothing until spec.suspend is false".into(),
        _ => stopped.clone().or_else(|| common.clone()).unwrap_or_else(|| at_work(status)),
    });
    let mut news = Vec::new();
    for (kind, reason, why, otherwise) in [
        ("Stopped", "MendsNothing", stopped, "Resumed"),
        ("CommonCause", "TooManyAffected", common, "FewAffected"),
        ("GivenUp", "TriedInVain", given_up, "NoneGivenUp"),
    ] {
        let was = condition::find(&before.conditions, kind);
        let was = was.is_some_and(|was| was.status == ConditionStatus::True);
        let (is, word, message) = match why {
            Some(why) => (ConditionStatus::True, reason, why),
            None => (ConditionStatus::False, otherwise, String::new()),
        };
        let holds = is == ConditionStatus::True;
        if holds != was {
            let message = if holds { message.clone() } else { format!("{kind} is over") };
            news.push(Told { reason: word, message, warning: holds });
        }
        let mut next = Condition::new(kind, is, word, message, seen.now);
        next.observed_generation = status.observed_generation;
        condition::set(&mut status.conditions, next);
    }
    news
}

/// Why it stopped: said once, and kept.
fn stopped(seen: &Seen<'_>, before: &RemedyStatus) -> String {
    let said = condition::find(&before.conditions, "Stopped")
        .filter(|said| said.status == ConditionStatus::True)
        .map(|said| said.message.clone());
    said.or_else(|| Some(mends_nothing(seen.spec, seen.failing?))).unwrap_or_default()
}

fn mends_nothing(spec: &RemedySpec, runs: &[(&Attempt, Outcome)]) -> String {
    let mended = runs.iter().filter(|(_, outcome)| *outcome == Outcome::Mended).count();
    let others = runs.iter().filter(|(_, outcome)| *outcome != Outcome::Mended);
    let tried = others.map(|(run, outcome)| match outcome {
        Outcome::NotMended => format!("{} (as before, {} after)", run.target, spec.holds_for),
        _ => format!("{} (run {} failed)", run.target, run.name),
    });
    format!(
        "stopped itself: of the last {} runs of {}, {mended} mended their target, and not {}; raise spec.resume, or \
         change what it does, to go on",
        runs.len(),
        spec.runbook,
        list(tried)
    )
}

fn common_cause(seen: &Seen<'_>) -> String {
    format!(
        "{} of {} objects are affected at once, more than spec.maxAffected, which is {}: that looks like one common \
         cause, such as a network or this plane, and not like so many broken objects; nothing is begun until they are \
         fewer",
        seen.open,
        seen.objects,
        seen.spec.affected_max(seen.objects)
    )
}

fn given_up(seen: &Seen<'_>) -> String {
    format!(
        "left to people after {} runs that did not mend them: {}; raise spec.resume to try again",
        seen.spec.give_up_after,
        list(seen.given_up.iter().map(|name| (*name).to_owned()))
    )
}

fn at_work(status: &RemedyStatus) -> String {
    match (status.affected, status.running) {
        (0, 0) => "nothing is wrong".into(),
        (affected, running) => {
            format!("{affected} objects affected, {running} runs in work, {} wait", status.waiting)
        }
    }
}

fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(NAMED);
    let shown = names.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
