//! Wakes runs when an object they look at changes.

use crate::follow::{Follower, Seen};
use quarterdeck_model::{Key, KindRef};
use quarterdeck_store::Store;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Who listens to which object.
#[derive(Default)]
pub(crate) struct Listeners {
    by_key: Mutex<HashMap<Key, Vec<Arc<Notify>>>>,
}

/// Listening to one object; ends when dropped.
pub(crate) struct Listening {
    listeners: Arc<Listeners>,
    key: Key,
    wake: Arc<Notify>,
}

impl Listeners {
    fn by_key(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<Notify>>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `wake` whenever the object at `key` changes.
    pub(crate) fn listen(self: &Arc<Self>, key: Key, wake: Arc<Notify>) -> Listening {
        self.by_key().entry(key.clone()).or_default().push(wake.clone());
        Listening { listeners: self.clone(), key, wake }
    }

    /// Follows one kind, until its future is dropped.
    pub(crate) async fn follow(self: Arc<Self>, store: Arc<Store>, kind: KindRef) {
        let mut follower = Follower::new(store, kind);
        loop {
            match follower.next().await {
                Seen::Changed(events) => {
                    let by_key = self.by_key();
                    for event in events {
                        for wake in by_key.get(&event.object.key).into_iter().flatten() {
                            wake.notify_one();
                        }
                    }
                }
                // Some changes may have been missed: everybody looks.
                Seen::All(_) => {
                    for wake in self.by_key().values().flatten() {
                        wake.notify_one();
                    }
                }
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut by_key = self.listeners.by_key();
        if let Some(list) = by_key.get_mut(&self.key) {
            list.retain(|wake| !Arc::ptr_eq(wake, &self.wake));
            if list.is_empty() {
                by_key.remove(&self.key);
            }
        }
    }
}
