//! Wakes runs when an object they look at changes.

use crate::{
    follow::{Follower, Seen},
    spread::Spread,
};
use quarterdeck_model::{Key, KindRef};
use quarterdeck_store::Store;
use std::sync::Arc;
use tokio::sync::Notify;

/// Who listens to which object.
#[derive(Default)]
pub(crate) struct Listeners {
    by_key: Spread<Vec<Arc<Notify>>>,
}

/// Listening to one object; ends when dropped.
pub(crate) struct Listening {
    listeners: Arc<Listeners>,
    key: Key,
    wake: Arc<Notify>,
}

impl Listeners {
    /// Calls `wake` whenever the object at `key` changes.
    pub(crate) fn listen(self: &Arc<Self>, key: Key, wake: Arc<Notify>) -> Listening {
        self.by_key.with(&key, |map| map.entry(key.clone()).or_default().push(wake.clone()));
        Listening { listeners: self.clone(), key, wake }
    }

    /// Follows one kind, until its future is dropped.
    pub(crate) async fn follow(self: Arc<Self>, store: Arc<Store>, kind: KindRef) {
        let mut follower = Follower::new(store, kind);
        let wake_all = |wakes: &Vec<Arc<Notify>>| wakes.iter().for_each(|wake| wake.notify_one());
        loop {
            match follower.next().await {
                Seen::Changed(events) => {
                    for event in events {
                        let key = &event.object.key;
                        self.by_key.with(key, |map| map.get(key).into_iter().for_each(wake_all));
                    }
                }
                // Some changes may have been missed: everybody looks.
                Seen::All(_) => self.by_key.each(wake_all),
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.listeners.by_key.with(&self.key, |map| {
            if let Some(wakes) = map.get_mut(&self.key) {
                wakes.retain(|wake| !Arc::ptr_eq(wake, &self.wake));
                if wakes.is_empty() {
                    map.remove(&self.key);
                }
            }
        });
    }
}
