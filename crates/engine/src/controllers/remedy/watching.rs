//! Which objects each remedy's condition is true of, kept in memory: every change of an object is looked at once,
//! and only those of which it is true are remembered. What is remembered is the newest version's answer, whoever
//! looked first.

use crate::objects::Wiring;
use quarterdeck_model::{
    Key, Kind as _, KindRef, LabelSelector, Object, Revision, Time, kinds::Remedy,
};
use quarterdeck_runbook::Condition;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a remedy asks of objects.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) kind: KindRef,
    pub(super) selector: LabelSelector,
    /// The condition as it is written.
    pub(super) when: String,
    pub(super) condition: Condition,
}

impl Question {
    /// Whether it asks the same of the same kind.
    pub(super) fn asks_as(&self, other: &Self) -> bool {
        self.kind == other.kind && self.when == other.when
    }

    fn holds(&self, object: &Object) -> bool {
        !object.deleting() && self.selector.matches(object) && self.condition.holds(&object.value())
    }
}

/// What is remembered of a remedy.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    pub(super) question: Arc<Question>,
    /// Of which objects it is true, and since when that has been seen.
    pub(super) affected: BTreeMap<String, Time>,
    /// The version that was asked of last: a change is told of twice, by what was before and what is now.
    pub(super) asked: Option<(String, Revision)>,
    /// Names of its runs.
    pub(super) runs: BTreeSet<String>,
    /// How many objects there are, and when they were counted.
    pub(super) counted: Option<(Time, u32)>,
}

/// All of that.
pub(super) struct Watching {
    wiring: Wiring,
    /// By name of the remedy.
    remedies: Mutex<HashMap<String, Watched>>,
}

impl Watching {
    pub(super) fn new(wiring: Wiring) -> Self {
        Self { wiring, remedies: Mutex::default() }
    }

    fn remedies(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        // Each change is one insertion or removal, so a poisoned lock guards a good map.
        self.remedies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self, name: &str, watched: Watched) {
        self.remedies().insert(name.to_owned(), watched);
    }

    pub(super) fn forget(&self, name: &str) {
        self.remedies().remove(name);
    }

    pub(super) fn get(&self, name: &str) -> Option<Watched> {
        self.remedies().get(name).cloned()
    }

    /// Changes what is remembered of a remedy.
    pub(super) fn with(&self, name: &str, change: impl FnOnce(&mut Watched)) {
        if let Some(watched) = self.remedies().get_mut(name) {
            change(watched);
        }
    }

    /// An object changed, or is gone: the remedies to which that matters.
    pub(super) fn changed(&self, key: &Key, kind: KindRef) -> Vec<Key> {
        let asked: Vec<(String, Arc<Question>)> = {
            let remedies = self.remedies();
            let about = remedies.iter().filter(|(_, it)| it.question.kind == kind);
            about.map(|(name, it)| (name.clone(), it.question.clone())).collect()
        };
        if asked.is_empty() {
            return Vec::new();
        }
        let object = self.wiring.store.world().get(kind, &key.namespace, &key.name);
        let version = object.as_ref().map(|object| (key.name.to_string(), object.revision));
        let news = asked.into_iter().filter(|(name, question)| {
            if version.is_some() && !self.is_new(name, &version) {
                return false;
            }
            self.note(name, question, &key.name, object.as_deref())
        });
        news.map(|(name, _)| Key::new(Remedy::info(), "", &name)).collect()
    }

    /// Whether that version was not the last to be asked of.
    fn is_new(&self, remedy: &str, version: &Option<(String, Revision)>) -> bool {
        let mut remedies = self.remedies();
        let Some(watched) = remedies.get_mut(remedy) else { return false };
        let new = watched.asked != *version;
        watched.asked.clone_from(version);
        new
    }

    /// Asks of one object, as it was found; answers whether that is news.
    pub(super) fn note(
        &self,
        remedy: &str,
        question: &Arc<Question>,
        name: &str,
        object: Option<&Object>,
    ) -> bool {
        let holds = object.is_some_and(|object| question.holds(object));
        let mut remedies = self.remedies();
        let Some(watched) = remedies.get_mut(remedy) else { return false };
        let newest = self.wiring.store.world().get(question.kind, "", name);
        let seen = object.map(|object| object.revision);
        if !Arc::ptr_eq(&watched.question, question) || newest.map(|newest| newest.revision) != seen
        {
            // It was asked of what is not the newest: whoever sees that change, or asks anew, asks of that.
            return false;
        }
        if !holds {
            return watched.affected.remove(name).is_some();
        }
        if watched.affected.contains_key(name) {
            return false;
        }
        watched.affected.insert(name.to_owned(), self.wiring.now());
        true
    }
}
