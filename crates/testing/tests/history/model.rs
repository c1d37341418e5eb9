//! A store that keeps its promises, with two replicas that lag behind it, and clients whose operations
//! overlap at random.

use quarterdeck_testing::{
    history::{
        Change, EventKind, Freshness, Get, History, List, Outcome, Page, Revision, Seen, Span,
        Step, Value, Watch, Write,
    },
    random::Random,
};
use std::{collections::BTreeMap, time::Duration};

const CLIENTS: usize = 5;
const KEYS: u64 = 4;
const TURNS: usize = 1_200;

/// One entry of the log.
#[derive(Clone)]
struct Entry {
    revision: Revision,
    key: String,
    value: Option<Value>,
}

#[derive(Default)]
struct Store {
    log: Vec<Entry>,
    head: Revision,
    /// How much of the log each replica has.
    replicas: [usize; 2],
}

type World = BTreeMap<String, (Revision, Value)>;

impl Store {
    fn world(&self, entries: usize) -> (Revision, World) {
        let mut world = World::new();
        let mut at = 0;
        for entry in &self.log[..entries] {
            at = entry.revision;
            match entry.value {
                Some(value) => world.insert(entry.key.clone(), (entry.revision, value)),
                None => world.remove(&entry.key),
            };
        }
        (at, world)
    }

    fn apply(&mut self, key: &str, change: Change, random: &mut Random) -> Option<Revision> {
        let there = self.world(self.log.len()).1.get(key).map(|(revision, _)| *revision);
        let holds = match change {
            Change::Create(_) => there.is_none(),
            Change::Replace(expected, _) | Change::Delete(expected) => there == Some(expected),
        };
        if !holds {
            return None;
        }
        // Other kinds are written too, in between.
        self.head += 2 + random.below(3);
        let entry = Entry { revision: self.head, key: key.into(), value: change.value() };
        self.log.push(entry);
        Some(self.head)
    }
}

enum Asked {
    Write(String, Change),
    Get(String, Freshness),
    List(Freshness, bool),
}

enum Answer {
    Write(Option<Revision>),
    Get(Option<(Revision, Value)>),
    List(Vec<Page>),
}

struct Pending {
    client: usize,
    invoked: Duration,
    asked: Asked,
    answer: Option<Answer>,
    /// Its client waits no longer.
    given_up: bool,
}

struct Watching {
    replica: usize,
    position: Revision,
    watch: Watch,
}

struct Run<'r> {
    random: &'r mut Random,
    store: Store,
    now: Duration,
    values: Value,
    known: Vec<World>,
    newest: Vec<Revision>,
    pending: Vec<Pending>,
    watching: Vec<Watching>,
    history: History,
}

/// Some clients do something; answers what they did and saw.
pub(crate) fn run(random: &mut Random) -> History {
    let mut run = Run {
        random,
        store: Store::default(),
        now: Duration::ZERO,
        values: 0,
        known: vec![World::new(); CLIENTS],
        newest: vec![0; CLIENTS],
        pending: Vec::new(),
        watching: Vec::new(),
        history: History::default(),
    };
    for client in 0..2 {
        let watch = Watch { client, since: 0, steps: Vec::new() };
        run.watching.push(Watching { replica: client, position: 0, watch });
    }
    for _ in 0..TURNS {
        run.turn();
    }
    run.end()
}

impl Run<'_> {
    fn tick(&mut self) -> Duration {
        self.now += Duration::from_micros(1 + self.random.below(50));
        self.now
    }

    fn turn(&mut self) {
        match self.random.below(100) {
            0..30 => self.ask(),
            30..60 => {
                let count = self.pending.len() as u64;
                if count > 0 {
                    let at = self.random.below(count) as usize;
                    self.take_effect(at);
                }
            }
            60..90 => self.answer(),
            90..94 => {
                let replica = self.random.below(2) as usize;
                self.store.replicas[replica] = self.store.log.len();
            }
            94..96 => {
                let replica = self.random.below(2) as usize;
                let one_more = (self.store.replicas[replica] + 1).min(self.store.log.len());
                self.store.replicas[replica] = one_more;
            }
            _ => {
                let at = self.random.below(2) as usize;
                self.watch(at);
            }
        }
    }

    fn ask(&mut self) {
        let client = self.random.below(CLIENTS as u64) as usize;
        if self.pending.iter().any(|pending| pending.client == client && !pending.given_up) {
            return;
        }
        let key = format!("k{}", self.random.below(KEYS));
        self.values += 1;
        let freshness = match self.random.below(10) {
            0..6 => Freshness::Consistent,
            6..9 => Freshness::NotOlderThan(self.newest[client]),
            _ => Freshness::Any,
        };
        let known = self.known[client].get(&key).map(|(revision, _)| *revision);
        let asked = match (self.random.below(10), known) {
            (0..4, None) => Asked::Write(key, Change::Create(self.values)),
            (0..3, Some(revision)) => Asked::Write(key, Change::Replace(revision, self.values)),
            (3, Some(revision)) => Asked::Write(key, Change::Delete(revision)),
            (4..9, _) => Asked::Get(key, freshness),
            _ => Asked::List(freshness, self.random.percent(50)),
        };
        let invoked = self.tick();
        self.pending.push(Pending { client, invoked, asked, answer: None, given_up: false });
    }

    /// The log as a read of that freshness may see it.
    fn view(&mut self, freshness: Freshness) -> usize {
        let all = self.store.log.len();
        let replica = self.store.replicas[self.random.below(2) as usize];
        match freshness {
            Freshness::Consistent => all,
            Freshness::Any => replica,
            Freshness::NotOlderThan(least) => {
                let enough = self.store.log.iter().position(|entry| entry.revision >= least);
                replica.max(enough.map_or(0, |at| at + 1)).min(all)
            }
        }
    }

    fn take_effect(&mut self, at: usize) {
        if self.pending[at].answer.is_some() {
            return;
        }
        self.tick();
        let answer = match &self.pending[at].asked {
            Asked::Write(key, change) => {
                let (key, change) = (key.clone(), *change);
                Answer::Write(self.store.apply(&key, change, self.random))
            }
            Asked::Get(key, freshness) => {
                let (key, freshness) = (key.clone(), *freshness);
                let view = self.view(freshness);
                Answer::Get(self.store.world(view).1.get(&key).copied())
            }
            Asked::List(freshness, paged) => {
                let (freshness, paged) = (*freshness, *paged);
                let view = self.view(freshness);
                let (revision, world) = self.store.world(view);
                let items: Vec<Seen> = world
                    .into_iter()
                    .map(|(key, (revision, value))| Seen { key, revision, value })
                    .collect();
                let size = if paged { 2 } else { items.len().max(1) };
                let mut pages: Vec<Page> = items
                    .chunks(size)
                    .map(|items| Page { revision, items: items.to_vec() })
                    .collect();
                if pages.is_empty() {
                    pages.push(Page { revision, items: Vec::new() });
                }
                Answer::List(pages)
            }
        };
        self.pending[at].answer = Some(answer);
    }

    fn answer(&mut self) {
        let count = self.pending.len() as u64;
        if count == 0 {
            return;
        }
        let at = self.random.below(count) as usize;
        if self.pending[at].given_up {
            return;
        }
        if let Asked::Write(key, change) = &self.pending[at].asked
            && self.random.percent(8)
        {
            let (client, invoked) = (self.pending[at].client, self.pending[at].invoked);
            let (key, change) = (key.clone(), *change);
            let span = Span { invoked, completed: self.tick() };
            let outcome = Outcome::Unknown;
            self.history.writes.push(Write { client, span, key, change, outcome });
            self.known[client].clear();
            self.pending[at].given_up = true;
            return;
        }
        if self.pending[at].answer.is_none() {
            return;
        }
        let Pending { client, invoked, asked, answer, .. } = self.pending.swap_remove(at);
        let span = Span { invoked, completed: self.tick() };
        match (asked, answer.unwrap()) {
            (Asked::Write(key, change), Answer::Write(done)) => {
                let outcome = match (done, change) {
                    (None, _) => Outcome::Refused,
                    (Some(_), Change::Delete(_)) => Outcome::Done(None),
                    (Some(revision), _) => Outcome::Done(Some(revision)),
                };
                match (done, change.value()) {
                    (Some(revision), Some(value)) => {
                        self.known[client].insert(key.clone(), (revision, value));
                        self.newest[client] = self.newest[client].max(revision);
                    }
                    _ => {
                        self.known[client].remove(&key);
                    }
                }
                self.history.writes.push(Write { client, span, key, change, outcome });
            }
            (Asked::Get(key, freshness), Answer::Get(found)) => {
                match found {
                    Some(found) => {
                        self.known[client].insert(key.clone(), found);
                        self.newest[client] = self.newest[client].max(found.0);
                    }
                    None => {
                        self.known[client].remove(&key);
                    }
                }
                self.history.gets.push(Get { client, span, key, freshness, found });
            }
            (Asked::List(freshness, _), Answer::List(pages)) => {
                self.newest[client] = self.newest[client].max(pages[0].revision);
                self.history.lists.push(List { client, span, freshness, pages });
            }
            _ => unreachable!("each is answered in its kind"),
        }
    }

    /// A watch is told some of what its replica has, or loses its connection and goes on at another.
    fn watch(&mut self, at: usize) {
        let now = self.tick();
        let watching = &mut self.watching[at];
        let has = self.store.replicas[watching.replica];
        let news = self.store.log[..has].iter().filter(|entry| entry.revision > watching.position);
        let news: Vec<Entry> = news.take(1 + self.random.below(4) as usize).cloned().collect();
        for entry in news {
            let before = self.store.log.iter().rev();
            let before = before.filter(|old| old.key == entry.key && old.revision < entry.revision);
            let before = before.map(|old| old.value).next().flatten();
            let (kind, value) = match (before, entry.value) {
                (None, Some(value)) => (EventKind::Added, value),
                (Some(_), Some(value)) => (EventKind::Modified, value),
                (before, None) => (EventKind::Deleted, before.unwrap()),
            };
            watching.position = entry.revision;
            let seen = Seen { key: entry.key, revision: entry.revision, value };
            watching.watch.steps.push((now, Step::Event(kind, seen)));
        }
        if self.random.percent(20) {
            watching.watch.steps.push((now, Step::Bookmark(watching.position)));
        }
        if self.random.percent(15) {
            let Watch { client, .. } = watching.watch;
            let next = Watch { client, since: watching.position, steps: Vec::new() };
            self.history.watches.push(std::mem::replace(&mut watching.watch, next));
            watching.replica = self.random.below(2) as usize;
        }
    }

    /// All who wait are answered, watches are told the rest, and everything is listed once more.
    fn end(mut self) -> History {
        for at in 0..self.pending.len() {
            self.take_effect(at);
        }
        while self.pending.iter().any(|pending| !pending.given_up) {
            self.answer();
        }
        let rest = self.random.percent(50);
        self.store.replicas = [self.store.log.len(); 2];
        if rest {
            for _ in 0..self.store.log.len() {
                self.watch(0);
                self.watch(1);
            }
        }
        let watches = std::mem::take(&mut self.watching);
        self.history.watches.extend(watches.into_iter().map(|watching| watching.watch));
        let invoked = self.tick();
        self.pending.push(Pending {
            client: 0,
            invoked,
            asked: Asked::List(Freshness::Consistent, false),
            answer: None,
            given_up: false,
        });
        self.take_effect(self.pending.len() - 1);
        while self.pending.iter().any(|pending| !pending.given_up) {
            self.answer();
        }
        self.history
    }
}
