//! What each object was, and when, by all that is known of it: what writers were told and what anybody saw.

use super::{
    Anomaly, Change, EventKind, Freshness, History, Kind, Outcome, Revision, Span, Step, Value,
    Write,
};
use std::collections::{BTreeMap, HashMap};

/// One state of one object.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// It began at one of these revisions; only of deletions that no watch told of, it is not known at which.
    pub(super) lo: Revision,
    pub(super) hi: Revision,
    /// What was there; none when nothing was.
    pub(super) value: Option<Value>,
    /// The write that led to it, by its place in the history; none at the beginning.
    pub(super) write: Option<usize>,
}

impl State {
    pub(super) fn exact(&self) -> bool {
        self.lo == self.hi
    }
}

/// All states of all objects.
#[derive(Debug, Default)]
pub(super) struct Versions<'h> {
    /// Of each object, in order; the first is that there was none.
    pub(super) objects: BTreeMap<&'h str, Vec<State>>,
    /// What happened at each revision that is known.
    pub(super) log: BTreeMap<Revision, (&'h str, Option<Value>)>,
    /// The revision that each write took effect at, by its place in the history.
    pub(super) placed: HashMap<usize, Revision>,
    by_value: HashMap<Value, usize>,
    pub(super) anomalies: Vec<Anomaly>,
}

impl<'h> Versions<'h> {
    pub(super) fn of(history: &'h History) -> Self {
        let mut versions = Self::default();
        for (at, write) in history.writes.iter().enumerate() {
            if let Some(value) = write.change.value()
                && versions.by_value.insert(value, at).is_some()
            {
                versions.add(Kind::AppliedTwice, format!("two writes write the value {value}"));
            }
        }
        for write in &history.writes {
            if let (Outcome::Done(Some(revision)), Some(value)) =
                (write.outcome, write.change.value())
            {
                versions.seen(history, &write.key, revision, Some(value));
            }
        }
        for get in &history.gets {
            if let Some((revision, value)) = get.found {
                versions.seen(history, &get.key, revision, Some(value));
            }
        }
        for item in history.lists.iter().flat_map(|list| &list.pages).flat_map(|page| &page.items) {
            versions.seen(history, &item.key, item.revision, Some(item.value));
        }
        for (_, step) in history.watches.iter().flat_map(|watch| &watch.steps) {
            if let Step::Event(kind, seen) = step {
                let value = (*kind != EventKind::Deleted).then_some(seen.value);
                versions.seen(history, &seen.key, seen.revision, value);
            }
        }
        versions.line_up(history);
        versions.narrow(history);
        versions
    }

    pub(super) fn add(&mut self, kind: Kind, what: String) {
        self.anomalies.push(Anomaly { kind, what });
    }

    /// Notes that `key` came to be `value` at `revision`.
    fn seen(
        &mut self,
        history: &'h History,
        key: &'h str,
        revision: Revision,
        value: Option<Value>,
    ) {
        match self.log.get(&revision) {
            Some(known) if *known == (key, value) => return,
            Some((other, held)) => {
                let what = format!(
                    "revision {revision} is {key} = {value:?} to one and {other} = {held:?} to another"
                );
                return self.add(Kind::RevisionReused, what);
            }
            None => {}
        }
        self.log.insert(revision, (key, value));
        let Some(value) = value else { return };
        let write = self.by_value.get(&value).copied();
        let by = write.and_then(|at| Some((at, history.writes.get(at)?)));
        let Some((at, write)) = by.filter(|(_, write)| write.key == key) else {
            let what = format!("{key} = {value} at revision {revision} was written by nobody");
            return self.add(Kind::NeverWritten, what);
        };
        if write.outcome == Outcome::Refused {
            let what = format!(
                "client {} was refused {key} = {value}, which is there at revision {revision}",
                write.client
            );
            self.add(Kind::RefusedButApplied, what);
        }
        if let Some(before) = self.placed.insert(at, revision) {
            let what = format!(
                "client {} wrote {key} = {value} once; it is there at revision {before} and at {revision}",
                write.client
            );
            self.add(Kind::AppliedTwice, what);
        }
    }

    /// Puts the states of each object in order, and holds each to the precondition it was made under.
    fn line_up(&mut self, history: &'h History) {
        let mut deletions: HashMap<(&str, Revision), Vec<usize>> = HashMap::new();
        let nothing = State { lo: 0, hi: 0, value: None, write: None };
        for (at, write) in history.writes.iter().enumerate() {
            self.objects.entry(&write.key).or_insert_with(|| vec![nothing.clone()]);
            if let (Change::Delete(of), false) = (write.change, write.outcome == Outcome::Refused) {
                deletions.entry((&write.key, of)).or_default().push(at);
            }
        }
        let mut known: BTreeMap<&'h str, Vec<(Revision, Option<Value>)>> = BTreeMap::new();
        for (revision, (key, value)) in &self.log {
            known.entry(key).or_default().push((*revision, *value));
        }
        let mut objects = std::mem::take(&mut self.objects);
        for (key, states) in &mut objects {
            let mut line = Line { history, key, states, deletions: &deletions, versions: self };
            for (revision, value) in known.remove(key).unwrap_or_default() {
                line.next(revision, value);
            }
            line.end();
        }
        for ((key, of), by) in &deletions {
            let done = by.iter().filter_map(|at| history.writes.get(*at));
            let done = done.filter(|write| matches!(write.outcome, Outcome::Done(_))).count();
            if done > 1 {
                let what = format!("{key} of revision {of} was deleted {done} times");
                self.add(Kind::AppliedTwice, what);
            }
            if done > 0 && !matches!(self.log.get(of), Some((there, Some(_))) if there == key) {
                let what = format!("{key} of revision {of} was deleted and never was");
                self.add(Kind::LostUpdate, what);
            }
        }
        self.objects = objects;
    }
}

/// One object while its states are put in order.
struct Line<'l, 'h> {
    history: &'h History,
    key: &'h str,
    states: &'l mut Vec<State>,
    deletions: &'l HashMap<(&'h str, Revision), Vec<usize>>,
    versions: &'l mut Versions<'h>,
}

impl Line<'_, '_> {
    /// The revision of what is there.
    fn there(&self) -> Option<Revision> {
        self.states.last().filter(|state| state.value.is_some()).map(|state| state.lo)
    }

    /// Who deleted what was written at that revision: one that was told so, else the first who may have.
    fn deleter(&self, of: Revision) -> Option<usize> {
        let by = self.deletions.get(&(self.key, of))?;
        let done = |at: &&usize| {
            let write = self.history.writes.get(**at);
            write.is_some_and(|write| matches!(write.outcome, Outcome::Done(_)))
        };
        let invoked = |at: &&usize| self.history.writes.get(**at).map(|write| write.span.invoked);
        by.iter().find(done).or(by.iter().min_by_key(invoked)).copied()
    }

    fn deletion_is_done(&self, of: Revision) -> bool {
        let write = self.deleter(of).and_then(|at| self.history.writes.get(at));
        write.is_some_and(|write| matches!(write.outcome, Outcome::Done(_)))
    }

    fn next(&mut self, revision: Revision, value: Option<Value>) {
        let (key, there) = (self.key, self.there());
        let lost = |because: String| Anomaly { kind: Kind::LostUpdate, what: because };
        let Some(value) = value else {
            let write = there.and_then(|of| self.deleter(of));
            if write.is_none() {
                let what = format!(
                    "{key} was deleted by nobody at revision {revision}, when it was of {there:?}"
                );
                self.versions.add(Kind::NeverWritten, what);
            }
            self.states.push(State { lo: revision, hi: revision, value: None, write });
            return;
        };
        let write = self.versions.by_value.get(&value).copied();
        let change = write.and_then(|at| self.history.writes.get(at)).map(|write| write.change);
        match (change, there) {
            (Some(Change::Create(_)), Some(of)) => match self.deleter(of) {
                Some(write) if of + 1 < revision => self.states.push(State {
                    lo: of + 1,
                    hi: revision - 1,
                    value: None,
                    write: Some(write),
                }),
                _ => self.versions.anomalies.push(lost(format!(
                    "{key} = {value} was created at revision {revision} over that of {of}"
                ))),
            },
            (Some(Change::Replace(expected, _)), _) if there != Some(expected) => {
                self.versions.anomalies.push(lost(format!(
                    "{key} = {value} replaces revision {expected}, but at revision {revision} there was {there:?}"
                )));
            }
            (Some(Change::Replace(expected, _)), _) if self.deletion_is_done(expected) => {
                self.versions.anomalies.push(lost(format!(
                    "{key} of revision {expected} was deleted, and replaced at revision {revision}"
                )));
            }
            _ => {}
        }
        self.states.push(State { lo: revision, hi: revision, value: Some(value), write });
    }

    /// What was there last may have been deleted, without anybody having seen it.
    fn end(&mut self) {
        let deletion = self.there().and_then(|of| Some((of, self.deleter(of)?)));
        if let Some((of, write)) = deletion {
            let state = State { lo: of + 1, hi: Revision::MAX, value: None, write: Some(write) };
            self.states.push(state);
        }
    }
}

impl Versions<'_> {
    /// The states of an object that a read between those instants could see, each with the revisions from
    /// which to which it may have lasted.
    pub(super) fn lasting(
        &self,
        history: &History,
        key: &str,
        read: Span,
        freshness: Freshness,
    ) -> Vec<(&State, Revision, Revision)> {
        let states = self.objects.get(key).map(Vec::as_slice).unwrap_or_default();
        let write = |state: &State| history.writes.get(state.write?);
        let lasting = |(at, state): (usize, &'_ State)| {
            // Nobody sees a deletion before it was asked for.
            if state.value.is_none()
                && write(state).is_some_and(|by| by.span.invoked > read.completed)
            {
                return None;
            }
            let Some(next) = states.get(at + 1) else { return Some((at, Revision::MAX)) };
            let over = |by: &Write| {
                matches!(by.outcome, Outcome::Done(_)) && by.span.completed < read.invoked
            };
            // What is not known by its revision is known by the clock of who deleted.
            let consistent = freshness == Freshness::Consistent;
            if consistent && !next.exact() && write(next).is_some_and(over) {
                return None;
            }
            Some((at, next.hi.saturating_sub(1)))
        };
        let found = states.iter().enumerate().filter_map(lasting);
        found
            .filter_map(|(at, until)| states.get(at).map(|state| (state, state.lo, until)))
            .collect()
    }

    /// Narrows down at which revisions objects were deleted, by the lists that show them or do not.
    fn narrow(&mut self, history: &History) {
        let unsure = self.objects.iter_mut().flat_map(|(key, states)| {
            states.iter_mut().filter(|state| !state.exact()).map(move |state| (*key, state))
        });
        let mut unsure: Vec<_> = unsure.collect();
        if unsure.is_empty() {
            return;
        }
        for list in &history.lists {
            let Some(at) = list.pages.first().map(|page| page.revision) else { continue };
            let items = list.pages.iter().flat_map(|page| &page.items);
            let shown: HashMap<&str, Revision> =
                items.map(|item| (item.key.as_str(), item.revision)).collect();
            for (key, state) in &mut unsure {
                if at < state.lo || at > state.hi {
                    continue;
                }
                match shown.get(*key) {
                    Some(_) => state.lo = at + 1,
                    None => state.hi = at,
                }
            }
        }
    }
}
