//! What changes, for pages that show it: which objects, several times a second, and not what became of them. Pages
//! share the work: changes are gathered once, and a line that several pages want is made once.

use crate::viewer::{Scope, Viewer};
use bytes::Bytes;
use quarterdeck_model::{Key, KindRef, Revision, kinds};
use quarterdeck_store::Store;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::broadcast, time::timeout};

/// How often what changed is told at most.
const EVERY: Duration = Duration::from_millis(250);
/// How often it is told that nothing did.
const ALIVE: Duration = Duration::from_secs(10);
/// Objects of a kind that are told by name at once: as many as a page has room for.
const NAMED_MAX: usize = 200;
/// What waits for a page; one that is further behind is told of all between at once.
const BEHIND_MAX: usize = 64;

/// What changed between two revisions.
struct Tick {
    from: Revision,
    to: Revision,
    /// The objects of each kind that changed; none when it is no longer known which.
    kinds: Vec<(KindRef, Option<Vec<Key>>)>,
    /// Lines by what they are for.
    lines: Mutex<HashMap<Arc<str>, Option<Bytes>>>,
}

/// Gathers changes for all who look.
pub(crate) struct Changes {
    store: Arc<Store>,
    ticks: broadcast::Sender<Arc<Tick>>,
    gathering: AtomicBool,
}

/// What a page wants to be told of.
pub struct Interest {
    /// Of these kinds; of all, when there are none.
    pub kinds: Vec<KindRef>,
    /// In these namespaces; in all and in none, when there are none.
    pub namespaces: Vec<String>,
    /// What changed after this revision first of all.
    pub since: Option<Revision>,
}

/// A page that is told of changes.
pub struct Told {
    store: Arc<Store>,
    ticks: broadcast::Receiver<Arc<Tick>>,
    position: Revision,
    /// The position was told.
    begun: bool,
    interest: Interest,
    scopes: Vec<(KindRef, Scope)>,
    /// Names the line that is wanted, so that others who want the same have it.
    same: Arc<str>,
}

impl Tick {
    fn between(store: &Store, from: Revision) -> Self {
        // The world first: what is read after it may be newer, and is then told twice, and never not at all.
        let to = store.world().revision();
        let changed = kinds::all().iter().filter(|kind| store.newest(kind) > from);
        let keys = |kind: &KindRef| {
            let changes = store.changes(kind, from).ok()?;
            let mut seen = HashSet::new();
            let keys = changes.into_iter().map(|(key, _)| key);
            Some(
                keys.filter(|key| seen.insert((key.namespace.clone(), key.name.clone()))).collect(),
            )
        };
        let kinds = changed.map(|kind| (*kind, keys(kind))).collect();
        Self { from, to, kinds, lines: Mutex::default() }
    }
}

impl Changes {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        let (ticks, _) = broadcast::channel(BEHIND_MAX);
        Self { store, ticks, gathering: AtomicBool::new(false) }
    }

    /// Begins to tell a page.
    pub(crate) fn tell(self: &Arc<Self>, interest: Interest, viewer: &dyn Viewer) -> Told {
        let wanted = |kind: &&KindRef| interest.kinds.is_empty() || interest.kinds.contains(kind);
        let scopes: Vec<(KindRef, Scope)> = kinds::all()
            .iter()
            .filter(wanted)
            .map(|kind| (*kind, viewer.scope(kind)))
            .filter(|(_, scope)| !matches!(scope, Scope::Nothing))
            .collect();
        let all = scopes.iter().all(|(_, scope)| matches!(scope, Scope::All));
        let who = if all {
            String::new()
        } else {
            format!("{}\0{}", viewer.user(), viewer.groups().join("\0"))
        };
        let names: Vec<&str> = scopes.iter().map(|(kind, _)| kind.kind).collect();
        let same = format!("{}\n{}\n{who}", names.join(","), interest.namespaces.join(",")).into();
        let ticks = self.ticks.subscribe();
        let now = self.store.world().revision();
        let position = interest.since.unwrap_or(now).min(now);
        if !self.gathering.swap(true, Ordering::AcqRel) {
            let changes = self.clone();
            tokio::spawn(async move { changes.gather().await });
        }
        Told { store: self.store.clone(), ticks, position, begun: false, interest, scopes, same }
    }

    /// Gathers for as long as somebody looks.
    async fn gather(&self) {
        let mut last = self.store.world().revision();
        loop {
            tokio::time::sleep(EVERY).await;
            if self.ticks.receiver_count() == 0 {
                self.gathering.store(false, Ordering::Release);
                // Who came between has seen that somebody gathers.
                if self.ticks.receiver_count() == 0 || self.gathering.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
            if self.store.world().revision() > last {
                let tick = Tick::between(&self.store, last);
                last = tick.to;
                // Nobody looks any more: seen at the next turn.
                let _ = self.ticks.send(Arc::new(tick));
            }
        }
    }
}

impl Told {
    /// The next line; none when there are no more. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.begun, true) {
            let tick = Tick::between(&self.store, self.position);
            self.position = tick.to;
            return Some(self.line(&tick).unwrap_or_else(|| self.alive()));
        }
        loop {
            let tick = match timeout(ALIVE, self.ticks.recv()).await {
                Err(_) => return Some(self.alive()),
                Ok(Ok(tick)) => tick,
                Ok(Err(broadcast::error::RecvError::Closed)) => return None,
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => {
                    self.ticks = self.ticks.resubscribe();
                    Arc::new(Tick::between(&self.store, self.position))
                }
            };
            if tick.to <= self.position {
                continue;
            }
            // Some ticks are missing before this one.
            let tick = match tick.from > self.position {
                true => Arc::new(Tick::between(&self.store, self.position)),
                false => tick,
            };
            self.position = tick.to;
            if let Some(line) = self.shared(&tick) {
                return Some(line);
            }
        }
    }

    /// Where it is, when there is nothing to tell.
    fn alive(&self) -> Bytes {
        format!("{}\n", json!({"revision": self.position.to_string()})).into()
    }

    fn shared(&self, tick: &Tick) -> Option<Bytes> {
        // Held while it is made: who waits wants the same. A panic meanwhile added nothing.
        let mut lines = tick.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&self.same) {
            return line.clone();
        }
        let line = self.line(tick);
        lines.insert(self.same.clone(), line.clone());
        line
    }

    fn line(&self, tick: &Tick) -> Option<Bytes> {
        let namespaces = &self.interest.namespaces;
        let within = |key: &Key| {
            namespaces.is_empty()
                || namespaces.iter().any(|namespace| **namespace == *key.namespace)
        };
        let mut changes = Vec::new();
        for (kind, keys) in &tick.kinds {
            let Some((_, scope)) = self.scopes.iter().find(|(wanted, _)| wanted == kind) else {
                continue;
            };
            // It is not known which: all may have changed.
            let Some(keys) = keys else {
                changes.push(json!({"kind": kind.kind, "all": true}));
                continue;
            };
            let seen =
                keys.iter().filter(|key| within(key) && scope.sees(&key.namespace, &key.name));
            let names: Vec<Value> =
                seen.clone().take(NAMED_MAX).map(|key| json!([key.namespace, key.name])).collect();
            if names.is_empty() {
                continue;
            }
            let more = seen.count() - names.len();
            changes.push(match more {
                0 => json!({"kind": kind.kind, "objects": names}),
                more => json!({"kind": kind.kind, "objects": names, "more": more}),
            });
        }
        if changes.is_empty() {
            return None;
        }
        let told = json!({"revision": tick.to.to_string(), "changes": changes});
        Some(format!("{told}\n").into())
    }
}
