//! A store so simple that it is plainly right: what the real ones are compared with.

use bytes::Bytes;
use quarterdeck_model::{Key, Revision};
use quarterdeck_store::{Change, Entry, Mutation, Outcome, Precondition, Write};
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Model {
    log: Vec<(Key, Option<Revision>, Option<Bytes>)>,
    current: BTreeMap<Key, (Revision, Bytes)>,
}

impl Model {
    /// The model with the history that `log` tells. Fails when it is not a history.
    pub(crate) fn replay(log: &[Change]) -> Self {
        let mut model = Self::default();
        model.extend(log);
        model
    }

    /// Goes on with what `log` tells. Fails when it does not follow.
    pub(crate) fn extend(&mut self, log: &[Change]) {
        for change in log {
            assert_eq!(change.revision, self.head().next(), "the log has a gap or a repetition");
            assert_eq!(change.previous, self.current(&change.key), "at {}", change.revision);
            self.push(change.key.clone(), change.previous, change.body.clone());
        }
    }

    pub(crate) fn head(&self) -> Revision {
        Revision(self.log.len() as u64)
    }

    fn current(&self, key: &Key) -> Option<Revision> {
        self.current.get(key).map(|(revision, _)| *revision)
    }

    fn push(&mut self, key: Key, previous: Option<Revision>, body: Option<Bytes>) {
        match &body {
            Some(body) => self.current.insert(key.clone(), (self.head().next(), body.clone())),
            None => self.current.remove(&key),
        };
        self.log.push((key, previous, body));
    }

    /// Bodies as of now, ordered by key.
    pub(crate) fn now(&self) -> Vec<Entry> {
        let entry = |(key, (revision, body)): (&Key, &(Revision, Bytes))| Entry {
            key: key.clone(),
            revision: *revision,
            body: body.clone(),
        };
        self.current.iter().map(entry).collect()
    }

    /// Bodies as of `at`, ordered by key.
    pub(crate) fn at(&self, at: Revision) -> Vec<Entry> {
        let mut objects = BTreeMap::new();
        for (place, (key, _, body)) in self.log.iter().enumerate().take(at.0 as usize) {
            match body {
                Some(body) => objects.insert(key.clone(), (place as u64 + 1, body.clone())),
                None => objects.remove(key),
            };
        }
        let entry = |(key, (revision, body))| Entry { key, revision: Revision(revision), body };
        objects.into_iter().map(entry).collect()
    }

    pub(crate) fn commit(&mut self, batch: &[Mutation]) -> Vec<Outcome> {
        batch.iter().map(|mutation| self.apply(mutation)).collect()
    }

    fn apply(&mut self, mutation: &Mutation) -> Outcome {
        let previous = self.current(&mutation.key);
        let refused = match &mutation.precondition {
            Precondition::None => false,
            Precondition::Absent => previous.is_some(),
            Precondition::AbsentIf { seen, .. } => {
                let changed = |(other, at): &(Key, Revision)| self.current(other) != Some(*at);
                previous.is_some() || seen.as_ref().is_some_and(changed)
            }
            Precondition::At(revision) => previous != Some(*revision),
            Precondition::AtIf { at, seen } => {
                let changed = |(other, at): &(Key, Revision)| self.current(other) != Some(*at);
                previous != Some(*at) || seen.iter().any(changed)
            }
        };
        let body = match &mutation.write {
            Write::Put(body) => Some(body.clone()),
            Write::Delete => None,
        };
        if refused || (body.is_none() && previous.is_none()) {
            return Outcome::Conflict(previous);
        }
        if let Precondition::AbsentIf { below: Some(most), .. } = mutation.precondition {
            let Key { kind, namespace, .. } = &mutation.key;
            let alike = |key: &&Key| key.kind == *kind && key.namespace == *namespace;
            let count = self.current.keys().filter(alike).count() as u64;
            if count >= most {
                return Outcome::Full(count);
            }
        }
        self.push(mutation.key.clone(), previous, body);
        Outcome::Committed(self.head())
    }

    pub(crate) fn changes(&self, since: Revision) -> Vec<Change> {
        let change = |(place, (key, previous, body)): (usize, &(Key, _, Option<Bytes>))| Change {
            revision: Revision(place as u64 + 1),
            key: key.clone(),
            previous: *previous,
            body: body.clone(),
        };
        self.log.iter().enumerate().skip(since.0 as usize).map(change).collect()
    }
}

fn told(entry: &Entry) -> (String, u64, Bytes) {
    (entry.key.to_string(), entry.revision.0, entry.body.clone())
}

pub(crate) fn assert_same(found: &[Entry], expected: &[Entry]) {
    let found: Vec<_> = found.iter().map(told).collect();
    let expected: Vec<_> = expected.iter().map(told).collect();
    assert_eq!(found, expected);
}
