//! What was read of objects, kept for as long as they are as they were: to read one takes ten times as long as to find it, and pages
//! that show many ask again whenever one of them changed.
//!
//! Nothing here decides who may see what: it is given an object, and says what is in it.

use quarterdeck_model::{Key, Object, Revision};
use serde::de::DeserializeOwned;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Objects that are kept: more than the runs of the largest campaign that is shown. When there are more, all are read anew.
const OBJECTS_MAX: usize = 50_000;

/// What was read, and of which state of its object; none when that could not be read.
type Kept<T> = HashMap<Key, (Revision, Option<Arc<T>>)>;

/// Objects read as `T`.
pub(crate) struct Memo<T>(Mutex<Kept<T>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: DeserializeOwned> Memo<T> {
    /// What is in an object; none when it cannot be read.
    pub(crate) fn read(&self, object: &Object) -> Option<Arc<T>> {
        // Each change is one insertion or all gone, so a poisoned lock guards a good map.
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, read)) = kept().get(&object.key)
            && *revision == object.revision
        {
            return read.clone();
        }
        let read = object.decode::<T>().ok().map(Arc::new);
        let mut kept = kept();
        if kept.len() >= OBJECTS_MAX {
            kept.clear();
        }
        kept.insert(object.key.clone(), (object.revision, read.clone()));
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Held;
    use quarterdeck_model::{Kind as _, kinds::Service};
    use serde_json::json;

    #[tokio::test]
    async fn an_object_is_read_once_for_each_state_of_it() {
        let held = Held::new().await;
        let memo = Memo::<Service>::default();
        let service = Service::info();
        let put = async |owner: &str| {
            held.put(service, "shop", "web", json!({"spec": {"owner": owner}})).await;
            held.store.world().get(service, "shop", "web").unwrap()
        };
        let first = put("a").await;
        let read = memo.read(&first).unwrap();
        assert_eq!(read.spec.owner.as_deref(), Some("a"));
        assert!(Arc::ptr_eq(&read, &memo.read(&first).unwrap()));
        let second = put("b").await;
        assert_eq!(memo.read(&second).unwrap().spec.owner.as_deref(), Some("b"));
        // Whoever looks at an older world sees what was.
        assert_eq!(memo.read(&first).unwrap().spec.owner.as_deref(), Some("a"));
        held.put(service, "shop", "bad", json!({"spec": {"owner": 7}})).await;
        let bad = held.store.world().get(service, "shop", "bad").unwrap();
        assert!(memo.read(&bad).is_none());
        assert!(memo.read(&bad).is_none());
    }
}
