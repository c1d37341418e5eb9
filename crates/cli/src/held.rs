//! What a watch has shown: the objects there are now. Pure: events in, objects out.

use kube::runtime::watcher::Event;
use serde_json::Value;
use std::collections::BTreeMap;

/// What is kept of each object, by namespace and name.
#[derive(Debug)]
pub(crate) struct Held<T> {
    now: BTreeMap<(String, String), T>,
    /// What a list that is under way has shown so far.
    next: Option<BTreeMap<(String, String), T>>,
    complete: bool,
    read: fn(&Value) -> Option<T>,
}

impl<T> Held<T> {
    /// Keeps what `read` makes of each object; those it makes nothing of are passed over.
    pub(crate) fn new(read: fn(&Value) -> Option<T>) -> Self {
        Self { now: BTreeMap::new(), next: None, complete: false, read }
    }

    pub(crate) fn apply(&mut self, event: Event<Value>) {
        match event {
            Event::Init => self.next = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                let read = (self.read)(&object);
                let next = self.next.get_or_insert_default();
                next.extend(read.map(|it| (key(&object), it)));
            }
            // What was not listed is gone.
            Event::InitDone => {
                self.now = self.next.take().unwrap_or_default();
                self.complete = true;
            }
            Event::Apply(object) => match (self.read)(&object) {
                Some(it) => drop(self.now.insert(key(&object), it)),
                None => drop(self.now.remove(&key(&object))),
            },
            Event::Delete(object) => drop(self.now.remove(&key(&object))),
        }
    }

    /// All there are have been shown once.
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.now.values()
    }
}

fn key(object: &Value) -> (String, String) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().into();
    (text("/metadata/namespace"), text("/metadata/name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_new_list_does_not_show_is_gone() {
        let object = |name: &str| json!({"metadata": {"name": name}});
        let name = |held: &Held<String>| held.values().cloned().collect::<Vec<_>>().join(" ");
        let mut held = Held::new(|it| Some(it["metadata"]["name"].as_str()?.to_owned()));
        held.apply(Event::Init);
        held.apply(Event::InitApply(object("a")));
        held.apply(Event::InitApply(object("b")));
        assert!(!held.complete());
        held.apply(Event::InitDone);
        held.apply(Event::Apply(object("c")));
        held.apply(Event::Delete(object("a")));
        assert_eq!((held.complete(), name(&held)), (true, "b c".into()));
        held.apply(Event::Init);
        held.apply(Event::InitApply(object("c")));
        assert_eq!(name(&held), "b c");
        held.apply(Event::InitDone);
        assert_eq!(name(&held), "c");
    }
}
