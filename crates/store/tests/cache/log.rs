//! A backend in memory, whose writes cost nothing: the cache is tested here, not a disk. With
//! `shared` it is one that several stores write to.

use async_trait::async_trait;
use quarterdeck_model::{Key, Revision};
use quarterdeck_store::{
    Backend, Change, Current, Entry, Lease, Mutation, Outcome, Precondition, StoreError, Taker,
    Write,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// The log and the newest body of each key.
#[derive(Default)]
pub(crate) struct Log {
    changes: Mutex<Vec<Change>>,
    pub(crate) shared: bool,
}

impl Log {
    pub(crate) fn shared() -> Self {
        Self { shared: true, ..Self::default() }
    }

    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap()
    }
}

fn newest<'c>(changes: &'c [Change], key: &Key) -> Option<&'c Change> {
    changes.iter().rev().find(|change| change.key == *key).filter(|change| change.body.is_some())
}

#[async_trait]
impl Backend for Log {
    async fn commit(&self, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError> {
        let mut changes = self.changes();
        let mut outcomes = Vec::new();
        for mutation in batch {
            let previous = newest(&changes, &mutation.key).map(|change| change.revision);
            let body = match &mutation.write {
                Write::Put(body) => Some(body.clone()),
                Write::Delete => None,
            };
            let met = match &mutation.precondition {
                Precondition::None => true,
                Precondition::Absent => previous.is_none(),
                Precondition::AbsentIf { seen, below } => {
                    assert!(below.is_none(), "nothing here counts");
                    let same = |(other, at): &(Key, Revision)| {
                        newest(&changes, other).map(|change| change.revision) == Some(*at)
                    };
                    previous.is_none() && seen.as_ref().is_none_or(same)
                }
                Precondition::At(wanted) => previous == Some(*wanted),
                Precondition::AtIf { at, seen } => {
                    let same = |(other, at): &(Key, Revision)| {
                        newest(&changes, other).map(|change| change.revision) == Some(*at)
                    };
                    previous == Some(*at) && seen.iter().all(same)
                }
            };
            if !met || (body.is_none() && previous.is_none()) {
                outcomes.push(Outcome::Conflict(previous));
                continue;
            }
            let revision = Revision(changes.len() as u64 + 1);
            changes.push(Change { revision, key: mutation.key.clone(), previous, body });
            outcomes.push(Outcome::Committed(revision));
        }
        Ok(outcomes)
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
        let changes = self.changes();
        Ok(changes.iter().skip(since.0 as usize).take(limit).cloned().collect())
    }

    async fn head(&self) -> Result<Revision, StoreError> {
        Ok(Revision(self.changes().len() as u64))
    }

    async fn snapshot(
        &self,
        _: Revision,
        _: Option<&Key>,
        _: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        Err(StoreError::Unavailable("the cache never asks for a snapshot".into()))
    }

    async fn load(&self, mut takers: Vec<Taker>) -> Result<Revision, StoreError> {
        let changes = self.changes();
        let mut newest: BTreeMap<&Key, &Change> = BTreeMap::new();
        newest.extend(changes.iter().map(|change| (&change.key, change)));
        for (key, Change { revision, body, .. }) in newest {
            if let Some(body) = body {
                let Key { kind, namespace, name } = key;
                let revision = *revision;
                takers[0](Current { kind, namespace, name, revision, body })?;
            }
        }
        Ok(Revision(changes.len() as u64))
    }

    async fn compact(&self, _: Revision) -> Result<(), StoreError> {
        Ok(())
    }

    async fn acquire_leases(
        &self,
        _: &[String],
        _: &str,
        _: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        Err(StoreError::Unavailable("the cache never asks for a lease".into()))
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        Err(StoreError::Unavailable("the cache never asks for a lease".into()))
    }

    async fn release_lease(&self, _: &Lease) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("the cache never asks for a lease".into()))
    }

    fn shared(&self) -> bool {
        self.shared
    }
}
