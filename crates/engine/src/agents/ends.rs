//! Steps that wait for their tasks: one part looks at what changes, and wakes whoever waits for that. With a watch for each, every
//! change of a task would be looked at by all who wait.

use quarterdeck_model::{FieldSelector, Key, Kind as _, LabelSelector, kinds::AgentTask};
use quarterdeck_store::{Store, WatchQuery, Watcher};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Those who wait, by task.
type Waiting = HashMap<Key, Vec<Arc<Notify>>>;

/// Whoever waits for the end of a task.
#[derive(Default)]
pub(crate) struct Ends(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: Waiting,
    followed: bool,
}

/// Waits for changes of a task, until it is dropped.
pub(super) struct Waiter {
    state: Arc<Mutex<State>>,
    key: Key,
    changed: Arc<Notify>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Each change is an insertion or a removal.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ends {
    /// Hears of each change of a task from now on.
    pub(super) fn wait(&self, store: &Arc<Store>, key: Key) -> Waiter {
        let changed = Arc::new(Notify::new());
        let mut state = lock(&self.0);
        state.waiting.entry(key.clone()).or_default().push(changed.clone());
        if !std::mem::replace(&mut state.followed, true) {
            // From before whoever waits looks, so that no change is missed.
            tokio::spawn(follow(watch(store), store.clone(), self.0.clone()));
        }
        drop(state);
        Waiter { state: self.0.clone(), key, changed }
    }
}

impl Waiter {
    /// The task may have changed since this was asked last.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let Some(waiting) = state.waiting.get_mut(&self.key) {
            waiting.retain(|it| !Arc::ptr_eq(it, &self.changed));
            if waiting.is_empty() {
                state.waiting.remove(&self.key);
            }
        }
    }
}

fn watch(store: &Store) -> Watcher {
    store.watch(WatchQuery {
        kind: AgentTask::info(),
        namespace: None,
        labels: LabelSelector::default(),
        fields: FieldSelector::default(),
        since: store.world().revision(),
    })
}

/// Wakes whoever waits for what changes, as long as somebody does.
async fn follow(mut watcher: Watcher, store: Arc<Store>, state: Arc<Mutex<State>>) {
    loop {
        let events = watcher.next().await;
        let mut state = lock(&state);
        if state.waiting.is_empty() {
            state.followed = false;
            return;
        }
        match events {
            Ok(events) => {
                for event in events {
                    let waiting = state.waiting.get(&event.object.key);
                    waiting.into_iter().flatten().for_each(|it| it.notify_one());
                }
            }
            // It fell behind: anything may have changed.
            Err(_) => {
                watcher = watch(&store);
                state.waiting.values().flatten().for_each(|it| it.notify_one());
            }
        }
    }
}
