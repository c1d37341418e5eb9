//! A durable store in memory that keeps the whole contract of [`Backend`], and can be made to fail
//! at any commit. What a process holds of it is a [`Process`], which can be killed.

use async_trait::async_trait;
use quarterdeck_model::{Key, Revision};
use quarterdeck_store::{
    Backend, Change, Current, Entry, Fence, Lease, Mutation, Outcome, Precondition, StoreError,
    Taker, Write,
};
use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

/// Looks at what a batch has changed, before anybody hears of it.
type Witness = Box<dyn FnMut(&[Change]) + Send>;
/// Says how long the next way to the disk or back takes.
type Delays = Box<dyn FnMut() -> Duration + Send>;

/// What is durable.
#[derive(Default)]
pub struct Disk {
    state: Mutex<State>,
    witness: Mutex<Option<Witness>>,
    delays: Mutex<Option<Delays>>,
    /// Tells that a process died at a commit.
    pub died: Notify,
}

#[derive(Default)]
struct State {
    log: Vec<Change>,
    current: BTreeMap<Key, Revision>,
    compacted: Revision,
    leases: HashMap<String, Held>,
    commits: usize,
    fault: Option<(usize, Fault)>,
    away: bool,
}

struct Held {
    lease: Lease,
    until: Instant,
}

/// What becomes of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before it is applied.
    DiesBefore,
    /// It is applied, and the process dies before it hears of it.
    DiesAfter,
    /// It is not applied, and the process is told that nobody knows.
    UnknownBefore,
    /// It is applied, and the process is told that nobody knows.
    UnknownAfter,
    /// It and those after it are refused until [`Disk::come_back`].
    GoesAway,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Has every batch looked at that changes something, in order. The witness must not use the disk.
    pub fn witnessed_by(&self, witness: impl FnMut(&[Change]) + Send + 'static) {
        *self.witness.lock().unwrap() = Some(Box::new(witness));
    }

    /// From now on every commit and every read of changes takes time, on its way there and back.
    pub fn delayed_by(&self, delays: impl FnMut() -> Duration + Send + 'static) {
        *self.delays.lock().unwrap() = Some(Box::new(delays));
    }

    /// All is done at once again.
    pub fn at_once(&self) {
        *self.delays.lock().unwrap() = None;
    }

    /// Applies a batch and has it looked at.
    fn apply(&self, batch: &[Mutation]) -> Vec<Outcome> {
        let (outcomes, changes) = {
            let mut state = self.state();
            let before = state.log.len();
            let outcomes = state.apply(batch);
            (outcomes, state.log[before..].to_vec())
        };
        if let Some(witness) = self.witness.lock().unwrap().as_mut().filter(|_| !changes.is_empty())
        {
            witness(&changes);
        }
        outcomes
    }

    async fn pass_time(&self) {
        let delay = self.delays.lock().unwrap().as_mut().map(|delays| delays());
        if let Some(delay) = delay.filter(|delay| !delay.is_zero()) {
            sleep(delay).await;
        }
    }

    /// The change of a revision, if there was one.
    pub fn change(&self, revision: Revision) -> Option<Change> {
        let at = usize::try_from(revision.0).unwrap().checked_sub(1)?;
        self.state().log.get(at).cloned()
    }

    /// The newest revision.
    pub fn head(&self) -> Revision {
        self.state().head()
    }

    /// Whether nobody can reach it.
    pub fn is_away(&self) -> bool {
        self.state().away
    }

    /// The fault that was asked for does not happen.
    pub fn forget_fault(&self) {
        self.state().fault = None;
    }

    /// Commits asked for so far.
    pub fn commits(&self) -> usize {
        self.state().commits
    }

    /// What happens at the `at`th commit, counted from 1.
    pub fn fail_at(&self, at: usize, fault: Fault) {
        self.state().fault = Some((at, fault));
    }

    /// Whether the fault that was asked for did not happen yet.
    pub fn fault_is_due(&self) -> bool {
        self.state().fault.is_some()
    }

    /// Nobody can use it until [`Disk::come_back`].
    pub fn go_away(&self) {
        self.state().away = true;
    }

    /// It can be used again.
    pub fn come_back(&self) {
        self.state().away = false;
    }

    /// Oldest revision that can be read.
    pub fn compacted(&self) -> Revision {
        self.state().compacted
    }

    /// Every body that `key` ever had, oldest first.
    pub fn versions(&self, matches: impl Fn(&Key) -> bool) -> Vec<serde_json::Value> {
        let state = self.state();
        let bodies = state.log.iter().filter(|change| matches(&change.key));
        bodies
            .filter_map(|change| change.body.as_ref())
            .map(|body| serde_json::from_slice(body).unwrap())
            .collect()
    }

    /// Takes a lease from whoever holds it, as if its holder had been silent for too long.
    pub fn take_lease(&self, name: &str) {
        let mut state = self.state();
        let held = state.leases.get_mut(name).unwrap();
        held.lease.token += 1;
        held.lease.holder = "somebody else".into();
        held.until = Instant::now() + Duration::from_secs(3600);
    }
}

impl State {
    fn head(&self) -> Revision {
        Revision(self.log.len() as u64)
    }

    fn changes(&self, since: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
        if since < self.compacted {
            return Err(StoreError::Compacted { wanted: since, oldest: self.compacted });
        }
        let since = usize::try_from(since.0).unwrap();
        Ok(self.log.iter().skip(since).take(limit).cloned().collect())
    }

    fn apply(&mut self, batch: &[Mutation]) -> Vec<Outcome> {
        batch.iter().map(|mutation| self.apply_one(mutation)).collect()
    }

    fn apply_one(&mut self, mutation: &Mutation) -> Outcome {
        if let Some(Fence { lease, token }) = &mutation.fence
            && self.leases.get(lease).map(|held| held.lease.token) != Some(*token)
        {
            return Outcome::Fenced;
        }
        let previous = self.current.get(&mutation.key).copied();
        let met = match &mutation.precondition {
            Precondition::None => true,
            Precondition::Absent => previous.is_none(),
            Precondition::AbsentIf { seen, below } => {
                assert!(below.is_none(), "nothing here counts");
                let same = |(other, at): &(Key, Revision)| self.current.get(other) == Some(at);
                previous.is_none() && seen.as_ref().is_none_or(same)
            }
            Precondition::At(wanted) => previous == Some(*wanted),
            Precondition::AtIf { at, seen } => {
                let same = |(other, at): &(Key, Revision)| self.current.get(other) == Some(at);
                previous == Some(*at) && seen.iter().all(same)
            }
        };
        if !met || previous.is_none() && matches!(mutation.write, Write::Delete) {
            return Outcome::Conflict(previous);
        }
        let revision = self.head().next();
        let key = mutation.key.clone();
        let body = match &mutation.write {
            Write::Put(body) => Some(body.clone()),
            Write::Delete => None,
        };
        match &body {
            Some(_) => self.current.insert(key.clone(), revision),
            None => self.current.remove(&key),
        };
        self.log.push(Change { revision, key, previous, body });
        Outcome::Committed(revision)
    }
}

/// One process that uses the disk.
pub struct Process {
    disk: Arc<Disk>,
    shared: bool,
    alive: AtomicBool,
    cut_off: AtomicBool,
    hangs: AtomicBool,
    at_once: AtomicUsize,
    /// Batches given at once are applied in order.
    turn: tokio::sync::Mutex<()>,
}

impl Process {
    /// A process that alone owns the disk: leases of those before it ended with them.
    pub fn alone(disk: &Arc<Disk>) -> Arc<Self> {
        for held in disk.state().leases.values_mut() {
            held.until = Instant::now();
        }
        Self::new(disk, false)
    }

    /// One of several processes.
    pub fn one_of_many(disk: &Arc<Disk>) -> Arc<Self> {
        Self::new(disk, true)
    }

    fn new(disk: &Arc<Disk>, shared: bool) -> Arc<Self> {
        let (alive, cut_off) = (AtomicBool::new(true), AtomicBool::new(false));
        let (hangs, at_once, turn) = Default::default();
        Arc::new(Self { disk: disk.clone(), shared, alive, cut_off, hangs, at_once, turn })
    }

    /// Whether it was not killed, by itself or by others.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// It may give so many batches to the disk before the first is answered.
    pub fn commits_at_once(&self, batches: usize) {
        self.at_once.store(batches, Ordering::Relaxed);
    }

    /// From now on the disk says nothing to it, and takes nothing from it; it does not know.
    pub fn hang(&self) {
        self.hangs.store(true, Ordering::Relaxed);
    }

    /// Whether the disk says nothing to it.
    pub fn hangs(&self) -> bool {
        self.hangs.load(Ordering::Relaxed)
    }

    /// From now on, for this process alone, the disk is away, or is not.
    pub fn cut_off(&self, is: bool) {
        self.cut_off.store(is, Ordering::Relaxed);
    }

    /// Nothing it does reaches the disk any more, and it hears nothing.
    pub fn kill(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    /// The disk, for as long as the process lives and the disk answers.
    async fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        if !self.is_alive() || self.hangs() {
            pending::<()>().await;
        }
        let state = self.disk.state();
        if state.away || self.cut_off.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("it is away".into()));
        }
        Ok(state)
    }

    fn due(&self) -> Option<Fault> {
        let mut state = self.disk.state();
        state.commits += 1;
        let (at, fault) = state.fault?;
        if at != state.commits {
            return None;
        }
        state.fault = None;
        Some(fault)
    }

    async fn dies(&self) -> ! {
        self.kill();
        self.disk.died.notify_one();
        pending().await
    }
}

#[async_trait]
impl Backend for Process {
    async fn commit(&self, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError> {
        let in_turn = self.turn.lock().await;
        drop(self.open().await?);
        self.disk.pass_time().await;
        drop(self.open().await?);
        let unknown = || StoreError::OutcomeUnknown("the connection broke".into());
        match self.due() {
            None => {
                let outcomes = self.disk.apply(batch);
                // The next one need not wait for this one's way back.
                drop(in_turn);
                self.disk.pass_time().await;
                if !self.is_alive() || self.hangs() {
                    pending::<()>().await;
                }
                Ok(outcomes)
            }
            Some(Fault::DiesBefore) => self.dies().await,
            Some(Fault::DiesAfter) => {
                self.disk.apply(batch);
                self.dies().await
            }
            Some(Fault::UnknownBefore) => Err(unknown()),
            Some(Fault::UnknownAfter) => {
                self.disk.apply(batch);
                Err(unknown())
            }
            Some(Fault::GoesAway) => {
                self.disk.go_away();
                Err(StoreError::Unavailable("it is away".into()))
            }
        }
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
        drop(self.open().await?);
        self.disk.pass_time().await;
        let changes = self.open().await?.changes(since, limit)?;
        // Meanwhile there may be others.
        self.disk.pass_time().await;
        drop(self.open().await?);
        Ok(changes)
    }

    async fn head(&self) -> Result<Revision, StoreError> {
        Ok(self.open().await?.head())
    }

    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let state = self.open().await?;
        let mut then: BTreeMap<&Key, Entry> = BTreeMap::new();
        for change in state.log.iter().take_while(|change| change.revision <= at) {
            let (key, revision) = (change.key.clone(), change.revision);
            match &change.body {
                Some(body) => then.insert(&change.key, Entry { key, revision, body: body.clone() }),
                None => then.remove(&change.key),
            };
        }
        let entries =
            then.into_values().filter(|entry| after.is_none_or(|after| entry.key > *after));
        Ok(entries.take(limit).collect())
    }

    async fn load(&self, mut takers: Vec<Taker>) -> Result<Revision, StoreError> {
        let state = self.open().await?;
        for (key, revision) in &state.current {
            let change = &state.log[usize::try_from(revision.0).unwrap() - 1];
            let body = change.body.clone().unwrap();
            let Key { kind, namespace, name } = key;
            let revision = *revision;
            takers[0](Current { kind, namespace, name, revision, body: &body })?;
        }
        Ok(state.head())
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        let mut state = self.open().await?;
        state.compacted = state.compacted.max(before);
        Ok(())
    }

    async fn acquire_leases(
        &self,
        names: &[String],
        holder: &str,
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let mut state = self.open().await?;
        let now = Instant::now();
        let mut taken = Vec::new();
        for name in names {
            let token = match state.leases.get(name) {
                Some(held) if held.lease.holder == holder && held.until > now => held.lease.token,
                Some(held) if held.until > now => continue,
                Some(held) => held.lease.token + 1,
                None => 1,
            };
            let lease = Lease { name: name.clone(), holder: holder.into(), token };
            state.leases.insert(name.clone(), Held { lease: lease.clone(), until: now + ttl });
            taken.push(lease);
        }
        Ok(taken)
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let (state, now) = (self.open().await?, Instant::now());
        let held = state.leases.values().filter(|held| held.until > now);
        Ok(held.map(|held| held.lease.clone()).collect())
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut state = self.open().await?;
        if let Some(held) = state.leases.get_mut(&lease.name).filter(|held| held.lease == *lease) {
            held.until = Instant::now();
            // Fences of the lease given back are refused at once.
            held.lease.token += 1;
        }
        Ok(())
    }

    fn at_once(&self) -> usize {
        self.at_once.load(Ordering::Relaxed).max(1)
    }

    fn shared(&self) -> bool {
        self.shared
    }
}
