//! Typed reads and conditional writes. Everything the engine writes goes through here, under its
//! lease: a replica that lost the lease cannot write any more.

use crate::{
    acts::{self, Act, Actor, BehindRun},
    rules::carries_a_machine,
    tenure::Tenure,
};
use jiff::Timestamp;
use quarterdeck_model::{
    Key, Kind, Object, Revision, Time,
    kinds::{Event, Namespace},
    object,
};
use quarterdeck_store::{Mutation, Outcome, Precondition, Store, StoreError, Write};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Why a piece of work could not go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The store could not be used; the work is tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another replica took over; this one stops acting.
    #[error("another replica took over the work")]
    Fenced,
    /// A stored object is not of its kind.
    #[error("{0}")]
    Unreadable(String),
}

/// How often a write is repeated on a newer version before it is left for later.
pub(crate) const RETRIES_MAX: usize = 16;

/// Where the time comes from.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the whole engine of a replica works with. Nothing can be written with it alone.
#[derive(Clone)]
pub(crate) struct Wiring {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Clock,
    /// Who is told of what is written.
    pub(crate) told: Option<mpsc::Sender<Act>>,
}

impl Wiring {
    /// The time.
    pub(crate) fn now(&self) -> Time {
        Time::new((self.clock)())
    }
}

/// Reads and writes of one time of holding a lease.
#[derive(Clone)]
pub(crate) struct Objects {
    wiring: Wiring,
    tenure: Tenure,
    /// Who writes.
    by: Arc<Actor>,
}

impl Objects {
    /// Those of a part of the engine, which writes while that lease is held.
    pub(crate) fn new(wiring: Wiring, tenure: Tenure, controller: &'static str) -> Self {
        Self { wiring, tenure, by: Arc::new(Actor { controller, run: None }) }
    }

    /// Those of a lease that a test has taken for a minute.
    #[cfg(test)]
    pub(crate) async fn for_test(store: Arc<Store>, clock: Clock) -> Self {
        let ttl = std::time::Duration::from_secs(60);
        let lease = store.acquire_leases(&["engine".into()], "me", ttl).await.unwrap().remove(0);
        let (tenure, ending) = Tenure::begin(lease);
        std::mem::forget(ending);
        Self::new(Wiring { store, clock, told: None }, tenure, "test")
    }

    /// The same for what is done on behalf of a run.
    pub(crate) fn acting_for(&self, run: &Object) -> Self {
        let run = BehindRun {
            name: format!("{}/{}", run.namespace(), run.name()),
            runbook: run.field("spec.runbook").unwrap_or_default().into(),
        };
        let by = Arc::new(Actor { controller: self.by.controller, run: Some(run) });
        Self { by, ..self.clone() }
    }

    /// The time.
    pub(crate) fn now(&self) -> Time {
        self.wiring.now()
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.wiring.store
    }

    /// The newest version of an object in memory.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        let kind = quarterdeck_model::kinds::by_resource_name(&key.kind)?;
        self.store().world().get(kind, &key.namespace, &key.name)
    }

    /// The same, as its type.
    pub(crate) fn read<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<(Revision, K)>, EngineError> {
        let Some(object) = self.store().world().get(K::info(), namespace, name) else {
            return Ok(None);
        };
        Ok(Some((object.revision, decode(&object)?)))
    }

    /// A mutation that writes a typed object.
    pub(crate) fn put<K: Kind>(
        &self,
        value: &K,
        precondition: Precondition,
    ) -> Result<Mutation, EngineError> {
        let meta = value.meta();
        let key = Key::new(K::info(), meta.namespace.as_deref().unwrap_or_default(), &meta.name);
        let body = object::encode_typed(value).map_err(|error| {
            EngineError::Unreadable(format!("{key} cannot be written: {error}"))
        })?;
        Ok(self.put_body(key, body, precondition))
    }

    /// A mutation that writes an event, unless its namespace is on its way out: the namespace is removed
    /// when it was seen to be empty, and nothing may come into it after that.
    pub(crate) fn tell(&self, event: &Event) -> Result<Mutation, EngineError> {
        let name = event.metadata.namespace.as_deref().unwrap_or_default();
        let precondition = match self.store().world().get(Namespace::info(), "", name) {
            Some(namespace) => {
                // No object is written at revision zero.
                let at = if namespace.deleting() { Revision::ZERO } else { namespace.revision };
                Precondition::AbsentIf { seen: Some((namespace.key.clone(), at)), below: None }
            }
            None => Precondition::Absent,
        };
        self.put(event, precondition)
    }

    /// A mutation that writes what was encoded already.
    pub(crate) fn put_body(&self, key: Key, body: Vec<u8>, precondition: Precondition) -> Mutation {
        let write = Write::Put(body.into());
        Mutation { key, write, precondition, fence: Some(self.tenure.fence()) }
    }

    /// A mutation that removes an object.
    pub(crate) fn delete(&self, key: Key, precondition: Precondition) -> Mutation {
        Mutation { key, write: Write::Delete, precondition, fence: Some(self.tenure.fence()) }
    }

    /// What deletes an object, or marks it when finalizers hold it; nothing when it is marked already, or may not be
    /// deleted.
    pub(crate) fn removal(&self, object: &Object) -> Option<Mutation> {
        if carries_a_machine(object).is_some() {
            return None;
        }
        let at = Precondition::At(object.revision);
        if !object.held() {
            return Some(self.delete(object.key.clone(), at));
        }
        if object.deleting() {
            return None;
        }
        let mut value = object.value();
        let now = Time::seconds((self.wiring.clock)()).to_string();
        value.get_mut("metadata")?.as_object_mut()?.insert("deletionTimestamp".into(), now.into());
        Some(self.put_value(object, &value))
    }

    /// A mutation that writes `value` over exactly this version of an object.
    pub(crate) fn put_value(&self, object: &Object, value: &Value) -> Mutation {
        let body = object::encode(object.kind, value);
        self.put_body(object.key.clone(), body, Precondition::At(object.revision))
    }

    /// Commits; a fenced mutation is an error, a conflict is for the caller. An event whose namespace changed
    /// at that moment is written once more.
    pub(crate) async fn commit(
        &self,
        mutations: Vec<Mutation>,
    ) -> Result<Vec<Outcome>, EngineError> {
        let event = |mutation: &Mutation| match &mutation.precondition {
            // What is created for another object's sake is for that object's controller.
            Precondition::AbsentIf { seen: Some((key, at)), .. } => {
                *key.kind == *Namespace::info().resource_name() && *at != Revision::ZERO
            }
            _ => false,
        };
        let events = mutations.iter().enumerate().filter(|(_, mutation)| event(mutation));
        let events: Vec<_> = events.map(|(place, event)| (place, event.clone())).collect();
        let mut outcomes = self.commit_once(mutations).await?;
        for (place, event) in events {
            let Some(outcome) = outcomes.get_mut(place) else { continue };
            if *outcome == Outcome::Conflict(None)
                && let Some(again) = self.tell_again(event).await
            {
                *outcome = again;
            }
        }
        Ok(outcomes)
    }

    /// Writes an event for what its namespace is by now, unless that is on its way out. What it came with
    /// is committed: this one is lost at worst, and fails nothing.
    async fn tell_again(&self, mut event: Mutation) -> Option<Outcome> {
        let world = self.store().fresh().await.ok()?;
        let Precondition::AbsentIf { seen: Some((key, at)), .. } = &mut event.precondition else {
            return None;
        };
        let namespace = world.get(Namespace::info(), "", &key.name)?;
        if namespace.deleting() {
            return None;
        }
        *at = namespace.revision;
        self.commit_once(vec![event]).await.ok()?.first().copied()
    }

    async fn commit_once(&self, mutations: Vec<Mutation>) -> Result<Vec<Outcome>, EngineError> {
        let outcomes = match &self.wiring.told {
            Some(told) => acts::commit(self.store(), told, &self.by, mutations).await?,
            None => self.store().commit(mutations).await?,
        };
        if outcomes.contains(&Outcome::Fenced) {
            return Err(EngineError::Fenced);
        }
        Ok(outcomes)
    }

    /// Changes an object's JSON until no one else changed it meanwhile. `change` says whether there
    /// is anything to write. Returns whether something was written; an object that is gone is not.
    pub(crate) async fn modify(
        &self,
        key: &Key,
        change: impl Fn(&mut Value) -> bool,
    ) -> Result<bool, EngineError> {
        for _ in 0..RETRIES_MAX {
            let Some(object) = self.get(key) else { return Ok(false) };
            let mut value = object.value();
            if !change(&mut value) {
                return Ok(false);
            }
            let body = object::encode(object.kind, &value);
            if body == object.body() {
                return Ok(false);
            }
            let write = self.put_body(key.clone(), body, Precondition::At(object.revision));
            if matches!(self.commit(vec![write]).await?.first(), Some(Outcome::Committed(_))) {
                return Ok(true);
            }
            self.store().fresh().await?;
        }
        Err(StoreError::Unavailable(format!("{key} changes too often to be written")).into())
    }
}

/// An object as its type.
pub(crate) fn decode<K: serde::de::DeserializeOwned>(object: &Object) -> Result<K, EngineError> {
    object.decode().map_err(|error| EngineError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_store::Sqlite;
    use serde_json::json;

    #[tokio::test]
    async fn an_event_is_told_though_its_namespace_changed_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Arc::new(Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap());
        let objects = Objects::for_test(store, Arc::new(Timestamp::now)).await;
        let change = async |metadata: Value| {
            let mut value = json!({"metadata": {"name": "a", "uid": "u"}});
            value["metadata"]
                .as_object_mut()
                .unwrap()
                .extend(metadata.as_object().unwrap().clone());
            let body = object::encode(Namespace::info(), &value);
            let key = Key::new(Namespace::info(), "", "a");
            objects.commit(vec![objects.put_body(key, body, Precondition::None)]).await.unwrap();
        };
        let event = |name: &str| {
            let event = json!({"metadata": {"name": name, "namespace": "a"}});
            objects.tell(&serde_json::from_value(event).unwrap()).unwrap()
        };
        change(json!({})).await;
        let late = event("late");
        change(json!({"labels": {"a": "b"}})).await;
        let outcomes = objects.commit(vec![late]).await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
        let too_late = event("too-late");
        change(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})).await;
        assert_eq!(objects.commit(vec![too_late]).await.unwrap(), [Outcome::Conflict(None)]);
    }
}
