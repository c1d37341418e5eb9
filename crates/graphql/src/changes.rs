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
use tokio::{
    sync::broadcast,
    time::{Instant, timeout_at},
};

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
    /// Names the line that is wanted, so that others who want the same have it; none for who does not see all: what
    /// they may see changes, and a line that was made before must not be shown after.
    same: Option<Arc<str>>,
    /// When a line was told last.
    said: Instant,
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
        let names: Vec<&str> = scopes.iter().map(|(kind, _)| kind.kind).collect();
        let same = all.then(|| json!([names, interest.namespaces]).to_string().into());
        let ticks = self.ticks.subscribe();
        let now = self.store.world().revision();
        let position = interest.since.unwrap_or(now).min(now);
        if !self.gathering.swap(true, Ordering::AcqRel) {
            let changes = self.clone();
            tokio::spawn(async move { changes.gather().await });
        }
        let (store, begun, said) = (self.store.clone(), false, Instant::now());
        Told { store, ticks, position, begun, interest, scopes, same, said }
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
        let line = self.line_to_tell().await;
        self.said = Instant::now();
        line
    }

    async fn line_to_tell(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.begun, true) {
            let tick = Tick::between(&self.store, self.position);
            self.position = tick.to;
            return Some(self.line(&tick).unwrap_or_else(|| self.alive()));
        }
        loop {
            let tick = match timeout_at(self.said + ALIVE, self.ticks.recv()).await {
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
        let Some(same) = &self.same else { return self.line(tick) };
        // Held while it is made: who waits wants the same. A panic meanwhile added nothing.
        let mut lines = tick.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(same) {
            return line.clone();
        }
        let line = self.line(tick);
        lines.insert(same.clone(), line.clone());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Held, Sees};
    use quarterdeck_model::{Kind as _, kinds::Server};
    use tokio::time::timeout;

    fn told(changes: &Arc<Changes>, sees: Option<&'static str>) -> Told {
        let interest =
            Interest { kinds: vec![Server::info()], namespaces: Vec::new(), since: None };
        changes.tell(interest, &Sees(sees))
    }

    #[tokio::test]
    async fn a_line_is_shared_by_those_alone_who_see_all() {
        let held = Held::new().await;
        let changes = Arc::new(Changes::new(held.store.clone()));
        let since = held.store.world().revision();
        held.put(Server::info(), "", "a1", json!({})).await;
        let tick = Tick::between(&held.store, since);
        // The same user, by the roles of before and of after.
        let (before, after) = (told(&changes, Some("a")), told(&changes, Some("b")));
        assert!(before.shared(&tick).is_some());
        assert!(after.shared(&tick).is_none());
        assert!(tick.lines.lock().unwrap().is_empty());
        assert!(told(&changes, None).shared(&tick).is_some());
        assert_eq!(tick.lines.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn that_nothing_changed_is_told_to_who_stops_waiting_now_and_then() {
        let held = Held::new().await;
        let changes = Arc::new(Changes::new(held.store.clone()));
        let mut told = told(&changes, None);
        let short = Duration::from_millis(50);
        timeout(Duration::from_secs(10), told.next()).await.expect("where it begins");
        assert!(
            timeout(short, told.next()).await.is_err(),
            "nothing changed, and it was just said"
        );
        told.said -= ALIVE - 4 * short;
        let alive = async { while timeout(short, told.next()).await.is_err() {} };
        timeout(ALIVE - short, alive).await.expect("it must be said that nothing changed");
    }
}
