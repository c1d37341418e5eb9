//! Follows all objects of a kind: first what there is, then each change; after falling behind,
//! what there is again.

use crate::planted;
use quarterdeck_model::{FieldSelector, KindRef, LabelSelector, Object};
use quarterdeck_store::{Store, WatchEvent, WatchQuery, Watcher};
use std::sync::Arc;

/// What a follower saw.
pub(crate) enum Seen {
    /// Start over: these are all objects, and no others.
    All(Vec<Arc<Object>>),
    /// What happened since.
    Changed(Vec<WatchEvent>),
}

/// A position in the changes of one kind.
pub(crate) struct Follower {
    store: Arc<Store>,
    kind: KindRef,
    watcher: Option<Watcher>,
}

impl Follower {
    pub(crate) fn new(store: Arc<Store>, kind: KindRef) -> Self {
        Self { store, kind, watcher: None }
    }

    /// The next thing seen; waits for it. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Seen {
        if let Some(watcher) = &mut self.watcher {
            if let Ok(mut events) = watcher.next().await {
                events.retain(|_| !planted::loses_change());
                return Seen::Changed(events);
            }
            tracing::debug!(kind = ?self.kind, "fell behind, listing again");
        }
        let world = self.store.world();
        self.watcher = Some(self.store.watch(WatchQuery {
            kind: self.kind,
            namespace: None,
            labels: LabelSelector::default(),
            fields: FieldSelector::default(),
            since: world.revision(),
        }));
        Seen::All(world.all(self.kind).cloned().collect())
    }
}
