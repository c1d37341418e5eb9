//! Clients that write and read at random and note all of it, and what is made of their notes.

use super::{
    connect::{Door, PATIENCE},
    enough, watchers,
};
use kube::{
    Api, Error, ResourceExt as _,
    api::{DeleteParams, GetParams, ListParams, PostParams, Preconditions, VersionMatch},
    core::DynamicObject,
};
use quarterdeck_testing::{
    history::{
        Anomaly, Change, Freshness, Get, History, List, Outcome, Page, Revision, Seen, Span, Value,
        Write, check, check_counter,
    },
    random::Random,
};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Where the objects are.
pub(crate) const NAMESPACE: &str = "history";
/// What an object holds.
const VALUE: &str = "test/value";
/// What the counter has counted.
const COUNT: &str = "test/count";
pub(crate) const COUNTER: &str = "counter";
const CLIENTS: usize = 6;
const COUNTING: usize = 2;
const WATCHING: usize = 3;
const KEYS: u64 = 12;
/// Objects on a page of a list.
const PAGE: u32 = 5;

/// What all clients share.
pub(crate) struct Shared {
    begun: Instant,
    values: AtomicU64,
    acknowledged: AtomicU64,
    stop: AtomicBool,
    history: Mutex<History>,
}

impl Shared {
    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The clients while they work.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    working: Vec<JoinHandle<()>>,
    counting: Vec<JoinHandle<(u64, u64)>>,
    watching: Vec<JoinHandle<usize>>,
    /// The revision that watchers go on to.
    until: watch::Sender<Option<Revision>>,
}

/// What came of it.
pub(crate) struct Judged {
    pub(crate) summary: String,
    pub(crate) anomalies: Vec<Anomaly>,
    /// Whether watches told enough for that to mean something.
    pub(crate) watched: Result<(), String>,
}

impl Clients {
    pub(crate) fn start(door: &Door, random: &mut Random) -> Self {
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            values: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            history: Mutex::default(),
        });
        let until = watch::Sender::new(None);
        let mut worker = |number| Worker {
            number,
            door: door.clone(),
            api: None,
            random: Random::seeded(random.any()),
            shared: shared.clone(),
            known: HashMap::new(),
            newest: 0,
        };
        let working = (0..CLIENTS).map(|number| tokio::spawn(worker(number).work())).collect();
        let counting = (CLIENTS..CLIENTS + COUNTING).map(|number| worker(number).count());
        let counting = counting.map(tokio::spawn).collect();
        let first = CLIENTS + COUNTING;
        let watching = (first..first + WATCHING).map(|number| {
            let watcher = watchers::follow(number, door.clone(), shared.clone(), until.subscribe());
            tokio::spawn(watcher)
        });
        let watching = watching.collect();
        Self { working, counting, watching, until, shared }
    }

    /// How many writes were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether enough was read to be worth judging.
    pub(crate) fn enough_read(&self) -> Result<(), String> {
        enough::reads(&self.shared.history())
    }

    /// How long they have been at it.
    pub(crate) fn now(&self) -> Duration {
        self.shared.now()
    }

    /// Notes what was shown as the state of everything at a revision.
    pub(crate) fn listed(&self, span: Span, revision: Revision, items: &[DynamicObject]) {
        let page = Page { revision, items: items.iter().map(seen).collect() };
        let freshness = Freshness::Consistent;
        let list = List { client: 200, span, freshness, pages: vec![page] };
        self.shared.history().lists.push(list);
    }

    /// Ends the clients, reads everything once more at each door, and judges all of it.
    pub(crate) async fn end(self, doors: &[Door], resumed: usize) -> Judged {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.working {
            client.await.unwrap();
        }
        let (mut raised, mut maybe) = (0, 0);
        for client in self.counting {
            let (acknowledged, unknown) = client.await.unwrap();
            (raised, maybe) = (raised + acknowledged, maybe + unknown);
        }
        let mut newest = 0;
        let mut count = 0;
        for (number, door) in doors.iter().enumerate() {
            let api = door.secrets(NAMESPACE).await;
            newest = last_list(&api, &self.shared, 100 + number).await;
            let counter = api.get_opt(COUNTER).await.unwrap();
            count = counter.as_ref().map_or(0, |counter| annotation(counter, COUNT));
        }
        self.until.send_replace(Some(newest));
        let mut relisted = 0;
        for watcher in self.watching {
            relisted += timeout(Duration::from_secs(60), watcher)
                .await
                .expect("a watch that tells everything ends")
                .unwrap();
        }
        let history = std::mem::take(&mut *self.shared.history());
        let mut anomalies = check(&history);
        anomalies.extend(check_counter(raised, maybe, count).err());
        let of = |outcome: fn(&Outcome) -> bool| {
            history.writes.iter().filter(|write| outcome(&write.outcome)).count()
        };
        let done = of(|outcome| matches!(outcome, Outcome::Done(_)));
        let unknown = of(|outcome| *outcome == Outcome::Unknown);
        let summary = format!(
            "{done} writes acknowledged, {} refused, {unknown} of unknown outcome; {} gets, {} lists, {} watches \
             ({relisted} times listed again); counter at {count} after {raised} raises and {maybe} of unknown outcome",
            history.writes.len() - done - unknown,
            history.gets.len(),
            history.lists.len(),
            history.watches.len(),
        );
        let watched = enough::watches(&history, resumed);
        Judged { summary, anomalies, watched }
    }
}

/// A list that must succeed; answers its revision.
async fn last_list(api: &Api<DynamicObject>, shared: &Shared, client: usize) -> Revision {
    let invoked = shared.now();
    let list = api.list(&ListParams::default()).await.unwrap();
    let span = Span { invoked, completed: shared.now() };
    let revision = list.metadata.resource_version.unwrap_or_default().parse().unwrap();
    let page = Page { revision, items: list.items.iter().map(seen).collect() };
    let freshness = Freshness::Consistent;
    shared.history().lists.push(List { client, span, freshness, pages: vec![page] });
    revision
}

fn annotation(object: &DynamicObject, name: &str) -> u64 {
    object.annotations().get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn revision(object: &DynamicObject) -> Revision {
    object.resource_version().and_then(|text| text.parse().ok()).expect("an object's version")
}

pub(crate) fn seen(object: &DynamicObject) -> Seen {
    Seen { key: object.name_any(), revision: revision(object), value: annotation(object, VALUE) }
}

/// What the answer to a write says of its outcome.
fn outcome(error: &Error) -> Outcome {
    match error {
        // 504 says that the outcome is not known, 500 nothing; all others that nothing was done.
        Error::Api(status) if ![500, 504].contains(&status.code) => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

struct Worker {
    number: usize,
    door: Door,
    api: Option<Api<DynamicObject>>,
    random: Random,
    shared: Arc<Shared>,
    known: HashMap<String, Seen>,
    newest: Revision,
}

impl Worker {
    /// A client whose connection is made anew now and then, and so comes to another replica.
    async fn api(&mut self) -> Api<DynamicObject> {
        if self.random.percent(15) {
            self.api = None;
        }
        if self.api.is_none() {
            self.api = Some(self.door.secrets(NAMESPACE).await);
        }
        self.api.clone().expect("it was just made")
    }

    fn saw(&mut self, object: &DynamicObject) {
        let seen = seen(object);
        self.newest = self.newest.max(seen.revision);
        self.known.insert(seen.key.clone(), seen);
    }

    async fn work(mut self) {
        while !self.shared.stopped() {
            let key = format!("k{}", self.random.below(KEYS));
            let known = self.known.get(&key).map(|seen| seen.revision);
            match (self.random.below(10), known) {
                (0..4, None) => {
                    self.write(&key, Change::Create(self.value()), 0).await;
                }
                (0..3, Some(at)) => {
                    self.write(&key, Change::Replace(at, self.value()), 0).await;
                }
                (3, Some(at)) => {
                    self.write(&key, Change::Delete(at), 0).await;
                }
                (4..8, _) => self.get(&key).await,
                _ => self.list().await,
            }
            self.pause().await;
        }
    }

    /// Lets others work; who has just lost its connection waits before it makes another.
    async fn pause(&self) {
        match self.api {
            Some(_) => tokio::task::yield_now().await,
            None => sleep(Duration::from_millis(20)).await,
        }
    }

    fn value(&self) -> Value {
        self.shared.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Raises the counter again and again; answers how often surely, and how often perhaps.
    async fn count(mut self) -> (u64, u64) {
        let (mut raised, mut maybe) = (0, 0);
        while !self.shared.stopped() {
            let api = self.api().await;
            let invoked = self.shared.now();
            let answer = timeout(PATIENCE, api.get_opt(COUNTER)).await;
            if let Ok(Ok(counter)) = &answer {
                self.counted(invoked, counter.as_ref());
            }
            let change = match answer {
                Ok(Ok(Some(counter))) => {
                    let count = annotation(&counter, COUNT);
                    self.write(
                        COUNTER,
                        Change::Replace(revision(&counter), self.value()),
                        count + 1,
                    )
                    .await
                }
                Ok(Ok(None)) => self.write(COUNTER, Change::Create(self.value()), 1).await,
                _ => {
                    self.api = None;
                    self.pause().await;
                    continue;
                }
            };
            self.pause().await;
            match change {
                Outcome::Done(_) => raised += 1,
                Outcome::Unknown => maybe += 1,
                Outcome::Refused => {}
            }
        }
        (raised, maybe)
    }

    /// Notes what the counter was: a raise of unknown outcome may have been seen by nobody else.
    fn counted(&self, invoked: Duration, counter: Option<&DynamicObject>) {
        let found = counter.map(|counter| {
            let Seen { revision, value, .. } = seen(counter);
            (revision, value)
        });
        self.shared.history().gets.push(Get {
            client: self.number,
            span: Span { invoked, completed: self.shared.now() },
            key: COUNTER.into(),
            freshness: Freshness::Consistent,
            found,
        });
    }

    async fn write(&mut self, key: &str, change: Change, count: u64) -> Outcome {
        let api = self.api().await;
        let body = |version: Option<Revision>| {
            let object = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": key,
                    "namespace": NAMESPACE,
                    "resourceVersion": version.map(|version| version.to_string()),
                    "annotations": {VALUE: change.value().unwrap_or(0).to_string(), COUNT: count.to_string()},
                },
                "stringData": {"password": format!("{change:?}")},
            });
            serde_json::from_value::<DynamicObject>(object).unwrap()
        };
        let invoked = self.shared.now();
        let parameters = PostParams::default();
        let answer = match change {
            Change::Create(_) => timeout(PATIENCE, api.create(&parameters, &body(None)))
                .await
                .map(|answer| answer.map(Some)),
            Change::Replace(at, _) => {
                timeout(PATIENCE, api.replace(key, &parameters, &body(Some(at))))
                    .await
                    .map(|answer| answer.map(Some))
            }
            Change::Delete(at) => {
                let version = Some(at.to_string());
                let preconditions = Preconditions { resource_version: version, uid: None };
                let parameters = DeleteParams::default().preconditions(preconditions);
                timeout(PATIENCE, api.delete(key, &parameters))
                    .await
                    .map(|answer| answer.map(|_| None))
            }
        };
        let span = Span { invoked, completed: self.shared.now() };
        let outcome = match &answer {
            Ok(Ok(written)) => Outcome::Done(written.as_ref().map(revision)),
            Ok(Err(error)) => outcome(error),
            Err(_) => Outcome::Unknown,
        };
        match answer {
            Ok(Ok(Some(object))) => self.saw(&object),
            Ok(Err(Error::Api(_))) | Ok(Ok(None)) => {
                self.known.remove(key);
            }
            _ => {
                self.known.remove(key);
                self.api = None;
            }
        }
        if matches!(outcome, Outcome::Done(_)) {
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        let key = key.to_owned();
        let client = self.number;
        self.shared.history().writes.push(Write { client, span, key, change, outcome });
        outcome
    }

    fn freshness(&mut self) -> Freshness {
        match self.random.below(10) {
            0..6 => Freshness::Consistent,
            6..9 if self.newest > 0 => Freshness::NotOlderThan(self.newest),
            _ => Freshness::Any,
        }
    }

    async fn get(&mut self, key: &str) {
        let (api, freshness) = (self.api().await, self.freshness());
        let resource_version = match freshness {
            Freshness::Consistent => None,
            Freshness::NotOlderThan(revision) => Some(revision.to_string()),
            Freshness::Any => Some("0".to_owned()),
        };
        let invoked = self.shared.now();
        let answer = timeout(PATIENCE, api.get_with(key, &GetParams { resource_version })).await;
        let span = Span { invoked, completed: self.shared.now() };
        let found = match answer {
            Ok(Ok(object)) => {
                self.saw(&object);
                let Seen { revision, value, .. } = seen(&object);
                Some((revision, value))
            }
            Ok(Err(Error::Api(status))) if status.code == 404 => {
                self.known.remove(key);
                None
            }
            Ok(Err(Error::Api(_))) => return,
            _ => {
                self.api = None;
                return;
            }
        };
        let (client, key) = (self.number, key.to_owned());
        self.shared.history().gets.push(Get { client, span, key, freshness, found });
    }

    async fn list(&mut self) {
        let freshness = self.freshness();
        let mut asked = match freshness {
            Freshness::Consistent => ListParams::default(),
            Freshness::NotOlderThan(revision) => {
                ListParams::default().at(&revision.to_string()).matching(VersionMatch::NotOlderThan)
            }
            Freshness::Any => ListParams::default().at("0").matching(VersionMatch::NotOlderThan),
        };
        if freshness == Freshness::Consistent && self.random.percent(60) {
            asked = asked.limit(PAGE);
        }
        let (invoked, mut pages) = (self.shared.now(), Vec::new());
        loop {
            // Each page from where the client is connected by then.
            let api = self.api().await;
            let list = match timeout(PATIENCE, api.list(&asked)).await {
                Ok(Ok(list)) => list,
                Ok(Err(Error::Api(_))) => return,
                _ => {
                    self.api = None;
                    return;
                }
            };
            let revision = list.metadata.resource_version.unwrap_or_default().parse().unwrap();
            pages.push(Page { revision, items: list.items.iter().map(seen).collect() });
            self.newest = self.newest.max(revision);
            match list.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => asked = ListParams::default().limit(PAGE).continue_token(&next),
                None => break,
            }
        }
        let span = Span { invoked, completed: self.shared.now() };
        let client = self.number;
        self.shared.history().lists.push(List { client, span, freshness, pages });
    }
}
