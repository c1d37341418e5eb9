//! Whether watches told everything, in order, once.

use std::collections::BTreeSet;

use super::{
    Anomaly, EventKind, History, Kind, Outcome, Revision, Seen, Step, Watch, versions::Versions,
};

/// What is wrong with the watches of a history.
pub(super) fn check(history: &History, versions: &Versions<'_>) -> Vec<Anomaly> {
    history.watches.iter().flat_map(|watch| one(history, versions, watch)).collect()
}

fn one(history: &History, versions: &Versions<'_>, watch: &Watch) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut wrong = |kind, what: String| {
        let Watch { client, since, .. } = watch;
        found.push(Anomaly { kind, what: format!("client {client}'s watch since {since} {what}") });
    };
    let mut told: BTreeSet<Revision> = BTreeSet::new();
    let mut reached = watch.since;
    for (_, step) in &watch.steps {
        let (revision, is_event) = match step {
            Step::Event(_, seen) => (seen.revision, true),
            Step::Bookmark(revision) => (*revision, false),
        };
        match step {
            Step::Bookmark(_) if revision < reached => {
                wrong(
                    Kind::BookmarkWentBack,
                    format!("has a bookmark of {revision} after {reached}"),
                );
            }
            Step::Event(..) if told.contains(&revision) || revision <= watch.since => {
                wrong(Kind::Repeated, format!("told revision {revision} again"));
            }
            Step::Event(..) if revision <= reached => {
                wrong(Kind::Reordered, format!("told revision {revision} after {reached}"));
            }
            _ => {}
        }
        if let Step::Event(kind, seen) = step
            && let Some(what) = wrong_event(versions, *kind, seen)
        {
            wrong(Kind::WrongEvent, what);
        }
        if revision > reached {
            let from = reached + 1;
            let until = if is_event { revision - 1 } else { revision };
            if from <= until
                && let Some((missed, (key, value))) = versions.log.range(from..=until).next()
            {
                let what = format!(
                    "left out revision {missed} ({key} = {value:?}), going from {reached} to {revision}"
                );
                wrong(Kind::Missed, what);
            }
            reached = revision;
        }
        if is_event {
            told.insert(revision);
        }
    }
    // Deletions that were acknowledged and that no watch told of.
    for (key, states) in &versions.objects {
        for state in states.iter().filter(|state| state.value.is_none() && !state.exact()) {
            let write = state.write.and_then(|at| history.writes.get(at));
            let done = write.is_some_and(|write| matches!(write.outcome, Outcome::Done(_)));
            if done && state.lo > watch.since && state.hi <= reached {
                wrong(
                    Kind::Missed,
                    format!("left out that {key} was deleted, after revision {}", state.lo - 1),
                );
            }
        }
    }
    found
}

/// What an event says that did not happen so.
fn wrong_event(versions: &Versions<'_>, kind: EventKind, seen: &Seen) -> Option<String> {
    let Seen { key, revision, value } = seen;
    let states = versions.objects.get(key.as_str())?;
    let at = states.partition_point(|state| state.hi < *revision);
    let before = states.get(at.checked_sub(1)?)?.value;
    let right = match kind {
        EventKind::Added => before.is_none(),
        EventKind::Modified => before.is_some(),
        EventKind::Deleted => before == Some(*value),
    };
    (!right).then(|| {
        format!("told {kind:?} of {key} = {value} at revision {revision}, when it was {before:?}")
    })
}
