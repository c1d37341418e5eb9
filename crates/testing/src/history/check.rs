//! Whether each operation can have taken effect at some moment between its asking and its answer.
//!
//! Revisions put all writes and lists in one order, so nothing has to be searched for: operations are gone
//! through as they were asked for, and each is put at the lowest revision it can have been answered from.
//! That is the choice which hinders later ones least. What it needs is at least as new as all that had been
//! answered before. The time is that of sorting.

use super::{
    Anomaly, Freshness, Get, History, Kind, List, Outcome, Revision, Seen, Span, Step,
    versions::Versions, watches,
};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// Everything in the history that a store which keeps its promises cannot have answered; nothing when all is well.
#[must_use]
pub fn check(history: &History) -> Vec<Anomaly> {
    let versions = Versions::of(history);
    let mut found = versions.anomalies.clone();
    for list in &history.lists {
        found.extend(snapshot(history, &versions, list));
    }
    found.extend(watches::check(history, &versions));
    found.extend(real_time(history, &versions));
    found
}

/// An operation as far as the order of revisions is concerned.
#[derive(Debug, Clone, Copy)]
enum Operation<'h> {
    /// A write, and the revisions that it can have.
    Write(usize, Revision, Revision),
    Get(&'h Get),
    List(&'h List),
    /// Something that a watch told at once: nobody waited for it.
    Told(usize, Revision),
}

impl Operation<'_> {
    fn text(&self, history: &History) -> String {
        match self {
            Self::Write(at, lo, _) => history.writes.get(*at).map_or_else(String::new, |write| {
                format!(
                    "client {}'s {:?} of {} (revision {lo})",
                    write.client, write.change, write.key
                )
            }),
            Self::Get(get) => format!(
                "client {}'s {:?} get of {}, answered {:?}",
                get.client, get.freshness, get.key, get.found
            ),
            Self::List(list) => format!(
                "client {}'s {:?} list of revision {:?}",
                list.client,
                list.freshness,
                list.pages.first().map(|page| page.revision)
            ),
            Self::Told(client, revision) => {
                format!("the event of revision {revision} that client {client}'s watch was told")
            }
        }
    }
}

/// Everything that has a place in the order, with when it was asked for and, if it was, answered.
fn operations<'h>(
    history: &'h History,
    versions: &Versions<'_>,
) -> Vec<(Duration, Option<Duration>, Operation<'h>)> {
    let mut all = Vec::new();
    for (at, write) in history.writes.iter().enumerate() {
        if let Some(revision) = versions.placed.get(&at) {
            let completed =
                matches!(write.outcome, Outcome::Done(_)).then_some(write.span.completed);
            all.push((write.span.invoked, completed, Operation::Write(at, *revision, *revision)));
        }
    }
    for state in versions.objects.values().flatten().filter(|state| state.value.is_none()) {
        let write = state.write.and_then(|at| Some((at, history.writes.get(at)?)));
        if let Some((at, write)) = write {
            let completed =
                matches!(write.outcome, Outcome::Done(_)).then_some(write.span.completed);
            all.push((write.span.invoked, completed, Operation::Write(at, state.lo, state.hi)));
        }
    }
    let read = |span: Span, read| (span.invoked, Some(span.completed), read);
    all.extend(history.gets.iter().map(|get| read(get.span, Operation::Get(get))));
    all.extend(history.lists.iter().map(|list| read(list.span, Operation::List(list))));
    for watch in &history.watches {
        for (at, step) in &watch.steps {
            let revision = match step {
                Step::Event(_, seen) => seen.revision,
                Step::Bookmark(revision) => *revision,
            };
            all.push((*at, Some(*at), Operation::Told(watch.client, revision)));
        }
    }
    all.sort_by_key(|(invoked, _, _)| *invoked);
    all
}

/// Goes through all operations in the order in which they were asked for.
fn real_time(history: &History, versions: &Versions<'_>) -> Vec<Anomaly> {
    let operations = operations(history, versions);
    let mut answers: Vec<(Duration, usize)> = operations
        .iter()
        .enumerate()
        .filter_map(|(at, (_, completed, _))| Some(((*completed)?, at)))
        .collect();
    answers.sort_unstable();
    let mut answers = answers.into_iter().peekable();
    let mut found = Vec::new();
    // Where each was put, and the newest of those that were answered so far.
    let mut places: Vec<Revision> = Vec::with_capacity(operations.len());
    let mut newest: (Revision, Option<usize>) = (0, None);
    for (invoked, _, operation) in &operations {
        while let Some((_, at)) = answers.next_if(|(completed, _)| completed < invoked) {
            // It was asked for before it was answered, so it has its place.
            let place = places.get(at).copied().unwrap_or(0);
            if place > newest.0 {
                newest = (place, Some(at));
            }
        }
        match place(history, versions, operation, newest.0) {
            Ok(place) => places.push(place),
            Err((kind, place)) => {
                places.push(place);
                let before = newest.1.and_then(|at| operations.get(at));
                let before = before.map_or_else(String::new, |(_, _, before)| before.text(history));
                let what = format!(
                    "{}; {before}, at revision {}, had been answered before it was asked for",
                    operation.text(history),
                    newest.0,
                );
                found.push(Anomaly { kind, what });
            }
        }
    }
    found
}

/// The lowest revision that an operation can have been answered from, given the newest that had been answered
/// before; else what is wrong with it, and where it is taken to be.
fn place(
    history: &History,
    versions: &Versions<'_>,
    operation: &Operation<'_>,
    newest: Revision,
) -> Result<Revision, (Kind, Revision)> {
    let least = |freshness| match freshness {
        Freshness::Consistent => newest,
        Freshness::NotOlderThan(revision) => revision,
        Freshness::Any => 0,
    };
    let late = |freshness| match freshness {
        Freshness::Consistent => Kind::StaleRead,
        Freshness::NotOlderThan(_) | Freshness::Any => Kind::TooOld,
    };
    match operation {
        Operation::Told(_, revision) => Ok(*revision),
        Operation::Write(_, lo, hi) if newest < *hi => Ok((*lo).max(newest + 1)),
        Operation::Write(_, lo, hi) if newest == *hi => Err((Kind::FromTheFuture, *lo)),
        Operation::Write(_, lo, _) => Err((Kind::OutOfOrder, *lo)),
        Operation::List(list) => {
            let at = list.pages.first().map_or(0, |page| page.revision);
            if at >= least(list.freshness) { Ok(at) } else { Err((late(list.freshness), at)) }
        }
        Operation::Get(get) => {
            let least = least(get.freshness);
            let revision = get.found.map(|(revision, _)| revision);
            let seen = |state: &super::versions::State| match revision {
                Some(revision) => state.value.is_some() && state.lo == revision,
                None => state.value.is_none(),
            };
            let lasting = versions.lasting(history, &get.key, get.span, get.freshness);
            let fits = lasting.iter().filter(|(state, _, until)| seen(state) && *until >= least);
            if let Some(place) = fits.map(|(_, from, _)| least.max(*from)).min() {
                return Ok(place);
            }
            let now = lasting.iter().rfind(|(_, from, _)| *from <= least);
            let gone = now.is_some_and(|(state, _, _)| state.value.is_none());
            let kind =
                if gone && revision.is_some() { Kind::Resurrected } else { late(get.freshness) };
            Err((kind, revision.unwrap_or(0)))
        }
    }
}

/// Whether a list shows what was there at its revision.
fn snapshot(history: &History, versions: &Versions<'_>, list: &List) -> Option<Anomaly> {
    let wrong = |kind, what: String| {
        let client = list.client;
        Some(Anomaly { kind, what: format!("client {client}'s list {what}") })
    };
    let at = list.pages.first()?.revision;
    if let Some(other) = list.pages.iter().find(|page| page.revision != at) {
        return wrong(
            Kind::TornList,
            format!("began at revision {at} and went on at {}", other.revision),
        );
    }
    let mut shown: HashMap<&str, &Seen> = HashMap::new();
    for item in list.pages.iter().flat_map(|page| &page.items) {
        if shown.insert(&item.key, item).is_some() {
            return wrong(Kind::NotASnapshot, format!("shows {} twice", item.key));
        }
    }
    for key in versions.objects.keys() {
        let then: BTreeSet<Option<Revision>> = versions
            .lasting(history, key, list.span, list.freshness)
            .into_iter()
            .filter(|(_, from, until)| (*from..=*until).contains(&at))
            .map(|(state, _, _)| state.value.map(|_| state.lo))
            .collect();
        let item = shown.get(key).map(|item| item.revision);
        if !then.contains(&item) {
            return wrong(
                Kind::NotASnapshot,
                format!("of revision {at} shows {key} as of {item:?}; then it was as of {then:?}"),
            );
        }
    }
    None
}
