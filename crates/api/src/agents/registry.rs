//! The streams that this replica holds, by machine. In memory alone; spread over several locks, none of which is held
//! while anything is done.

use super::{
    Agent,
    limit::{Bucket, STREAMS},
    listening::Listening,
};
use quarterdeck_model::agent::{
    CONTAINERS_MAX, ContainerUsage, Goodbye, SessionWanted, Usage, session::SESSIONS_MAX,
};
use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Parts of the registry.
const PARTS: usize = 64;
/// Longest identity and name of what takes something.
const NAME_BYTES_MAX: usize = 64;

/// A stream that is open.
pub(super) struct Session {
    /// Tells it from others of this process.
    pub(super) number: u64,
    /// Whose it is.
    pub(super) agent: OnceLock<Agent>,
    listening: Arc<Listening>,
    /// When the agent was heard of last, in the time in which it was listened.
    heard: AtomicU64,
    /// It is not listened to, since something is written for it.
    busy: AtomicBool,
    /// What its host has had written down.
    pub(super) written: Arc<Mutex<Bucket>>,
    cpu_millis: AtomicU64,
    /// With one added; zero while nothing was said.
    memory_bytes: AtomicU64,
    /// What its containers take, as it said last.
    containers: Mutex<Arc<[ContainerUsage]>>,
    /// People that have a session with one of its containers, or wait for it.
    people: AtomicUsize,
    /// Sessions that it was not told of yet.
    wanted: Mutex<VecDeque<SessionWanted>>,
    /// Its tasks may have changed.
    tasks: AtomicBool,
    /// Its instances may have changed.
    instances: AtomicBool,
    /// What is written of it may not be so.
    record: AtomicBool,
    /// Two hosts have its identity, as far as is known.
    rival: AtomicBool,
    goodbye: OnceLock<Goodbye>,
    wake: Notify,
}

/// What a stream is woken for.
pub(super) enum Woken {
    Tasks,
    Instances,
    Record,
    Session(SessionWanted),
    End(Goodbye),
}

/// A place among those who have a session with a host's containers.
pub(super) struct Place(Arc<Session>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.people.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    fn new(number: u64, listening: Arc<Listening>, written: Arc<Mutex<Bucket>>) -> Self {
        Self {
            number,
            agent: OnceLock::new(),
            heard: AtomicU64::new(listening.now()),
            listening,
            busy: AtomicBool::new(false),
            written,
            cpu_millis: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            containers: Mutex::default(),
            people: AtomicUsize::new(0),
            wanted: Mutex::default(),
            tasks: AtomicBool::new(false),
            instances: AtomicBool::new(false),
            record: AtomicBool::new(false),
            rival: AtomicBool::new(false),
            goodbye: OnceLock::new(),
            wake: Notify::new(),
        }
    }

    /// The agent was heard of.
    pub(super) fn heard(&self) {
        self.heard.store(self.listening.now(), Ordering::Relaxed);
    }

    /// How long ago that was, as far as it was listened.
    pub(super) fn silent_for(&self) -> Duration {
        if self.busy.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let heard = self.heard.load(Ordering::Relaxed);
        Duration::from_millis(self.listening.now().saturating_sub(heard))
    }

    /// Does something for it, while which it is not listened to: a store that is away is not its silence.
    pub(super) async fn busy<T>(&self, work: impl Future<Output = T>) -> T {
        self.busy.store(true, Ordering::Relaxed);
        let done = work.await;
        self.heard();
        self.busy.store(false, Ordering::Relaxed);
        done
    }

    pub(super) fn uses(&self, usage: Usage) {
        self.cpu_millis.store(usage.cpu_millis, Ordering::Relaxed);
        self.memory_bytes.store(usage.memory_bytes.saturating_add(1), Ordering::Relaxed);
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        let memory_bytes = self.memory_bytes.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Usage { cpu_millis: self.cpu_millis.load(Ordering::Relaxed), memory_bytes })
    }

    /// Its containers take that. Of what a host may say no more is kept than one can have.
    pub(super) fn containers_use(&self, mut all: Vec<ContainerUsage>) {
        all.truncate(CONTAINERS_MAX);
        all.retain(|it| it.uid.len() <= NAME_BYTES_MAX && it.name.len() <= NAME_BYTES_MAX);
        *self.containers.lock().unwrap_or_else(PoisonError::into_inner) = all.into();
    }

    pub(super) fn containers_usage(&self) -> Arc<[ContainerUsage]> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A place for one more, if there is one.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        if self.people.fetch_add(1, Ordering::Relaxed) >= SESSIONS_MAX {
            self.people.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place(self.clone()))
    }

    /// Has it told of a session, unless it takes nothing: then as many wait as there are places.
    pub(super) fn want(&self, wanted: SessionWanted) {
        let mut waiting = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < SESSIONS_MAX {
            waiting.push_back(wanted);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Has it look at its tasks.
    pub(super) fn tasks_changed(&self) {
        self.tasks.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Has it look at its instances.
    pub(super) fn instances_changed(&self) {
        self.instances.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Two hosts have its identity, or not.
    pub(super) fn set_rival(&self, is: bool) {
        self.rival.store(is, Ordering::Relaxed);
    }

    pub(super) fn has_rival(&self) -> bool {
        self.rival.load(Ordering::Relaxed)
    }

    /// Has it look whether what is written of it is so.
    pub(super) fn record_changed(&self) {
        self.record.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Ends it.
    pub(super) fn end(&self, message: &str, for_good: bool) {
        // The first reason is the one.
        let _ = self.goodbye.set(Goodbye { message: message.into(), for_good, newest: None });
        self.wake.notify_one();
    }

    /// Waits until there is something to do.
    pub(super) async fn woken(&self) -> Woken {
        loop {
            if let Some(goodbye) = self.goodbye.get() {
                return Woken::End(goodbye.clone());
            }
            if self.tasks.swap(false, Ordering::Acquire) {
                return Woken::Tasks;
            }
            if self.instances.swap(false, Ordering::Acquire) {
                return Woken::Instances;
            }
            if self.record.swap(false, Ordering::Acquire) {
                return Woken::Record;
            }
            if let Some(wanted) =
                self.wanted.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
            {
                return Woken::Session(wanted);
            }
            self.wake.notified().await;
        }
    }
}

/// A machine: its stream, and what its host has taken of what it may, which a stream that is begun anew does not give back.
#[derive(Default)]
struct Host {
    session: Option<Arc<Session>>,
    begun: Bucket,
    written: Arc<Mutex<Bucket>>,
}

type Part = HashMap<Box<str>, Host>;

/// All streams.
pub(super) struct Registry {
    parts: Vec<Mutex<Part>>,
    pub(super) listening: Arc<Listening>,
    hash: RandomState,
    next: AtomicU64,
    count: AtomicUsize,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            listening: Arc::default(),
            hash: RandomState::new(),
            next: AtomicU64::new(1),
            count: AtomicUsize::new(0),
        }
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    // Each change is one insertion or removal.
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(namespace: &str, machine: &str) -> Box<str> {
    format!("{namespace}/{machine}").into()
}

impl Registry {
    fn part(&self, place: &str) -> Option<MutexGuard<'_, Part>> {
        let at = usize::try_from(self.hash.hash_one(place) % PARTS as u64).unwrap_or(0);
        self.parts.get(at).map(lock)
    }

    /// Begins a stream of a machine; one that is there already ends. None when it has begun too many lately.
    pub(super) fn begin(&self, namespace: &str, machine: &str) -> Option<Arc<Session>> {
        let place = place(namespace, machine);
        let mut part = self.part(&place)?;
        let host = part.entry(place).or_default();
        host.begun.take(STREAMS, Instant::now()).ok()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(Session::new(number, self.listening.clone(), host.written.clone()));
        match host.session.replace(session.clone()) {
            Some(before) => before.end("the agent has begun another stream", false),
            None => drop(self.count.fetch_add(1, Ordering::Relaxed)),
        }
        Some(session)
    }

    /// Forgets a stream that has ended. Answers whether it was still the machine's.
    pub(super) fn remove(&self, namespace: &str, machine: &str, session: &Session) -> bool {
        let place = place(namespace, machine);
        let Some(mut part) = self.part(&place) else { return false };
        let Some(host) = part.get_mut(&place) else { return false };
        let own = host.session.as_ref().is_some_and(|found| found.number == session.number);
        if own {
            host.session = None;
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        own
    }

    /// Forgets hosts that have no stream and have taken nothing lately.
    pub(super) fn forget(&self) {
        let now = Instant::now();
        for part in &self.parts {
            lock(part).retain(|_, host| {
                host.session.is_some() || !host.begun.is_full(now) || !full(&host.written, now)
            });
        }
    }

    pub(super) fn get(&self, namespace: &str, machine: &str) -> Option<Arc<Session>> {
        let place = place(namespace, machine);
        self.part(&place)?.get(&place)?.session.clone()
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Does something quick to each.
    pub(super) fn each(&self, mut act: impl FnMut(&Session)) {
        for part in &self.parts {
            lock(part).values().filter_map(|host| host.session.as_ref()).for_each(|it| act(it));
        }
    }
}

fn full(written: &Mutex<Bucket>, now: Instant) -> bool {
    written.lock().unwrap_or_else(PoisonError::into_inner).is_full(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_takes_the_place_of_the_one_before() {
        let registry = Registry::default();
        let first = registry.begin("a", "m").unwrap();
        first.uses(Usage { cpu_millis: 5, memory_bytes: 0 });
        assert_eq!(first.usage().map(|usage| usage.cpu_millis), Some(5));
        for _ in 0..7 {
            registry.listening.step(Duration::from_secs(1));
        }
        assert_eq!(first.silent_for().as_secs(), 7);
        first.heard();
        assert_eq!(first.silent_for().as_secs(), 0);
        first
            .busy(async {
                registry.listening.step(Duration::from_secs(1));
                assert_eq!(first.silent_for().as_secs(), 0, "nobody listens to it");
            })
            .await;
        assert_eq!(first.silent_for().as_secs(), 0);
        let second = registry.begin("a", "m").unwrap();
        assert!(matches!(first.woken().await, Woken::End(_)));
        assert!(!registry.remove("a", "m", &first), "it is the second's by now");
        assert_eq!(registry.count(), 1);
        second.tasks_changed();
        assert!(matches!(second.woken().await, Woken::Tasks));
        assert!(registry.remove("a", "m", &second));
        assert!(registry.get("a", "m").is_none() && registry.count() == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_begins_streams_without_end_waits_and_is_forgotten_in_time() {
        let registry = Registry::default();
        let begun = (0..100).filter_map(|_| registry.begin("a", "m")).count();
        assert_eq!(begun, 10);
        assert!(registry.begin("a", "other").is_some(), "others do not wait");
        let last = registry.get("a", "m").unwrap();
        assert!(registry.remove("a", "m", &last));
        registry.forget();
        assert!(registry.begin("a", "m").is_none(), "its going gives nothing back");
        tokio::time::advance(Duration::from_secs(10)).await;
        let last = registry.begin("a", "m").unwrap();
        assert!(registry.remove("a", "m", &last));
        tokio::time::advance(Duration::from_secs(101)).await;
        registry.forget();
        let held: usize = registry.parts.iter().map(|part| lock(part).len()).sum();
        assert_eq!(held, 1, "only the one that has a stream");
    }
}
