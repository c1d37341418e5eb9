//! Who acts where: each replica holds leases of as many shards as any other, and one of them that of what there is
//! one of. A lease is renewed while its replica lives; one that fell silent loses it, and others take it over.
//!
//! Work under a lease is dropped before another replica can hold it, and what is dropped here has ended before its
//! lease is given back. Nothing here knows what the work is.

use crate::{
    shards::{Held, Holding, SHARDS, Shard},
    tenure::{Ending, Tenure},
};
use quarterdeck_store::{Lease, Store, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{info, warn};

/// The lease of what there is one of.
const FLEET: &str = "engine";
/// Leases by which replicas see each other; each holds one.
const REPLICA: &str = "replica-";
/// How long a replica that fell silent keeps others waiting. Another acts at the latest [`RENEW`] after that.
const TTL: Duration = Duration::from_secs(7);
/// How often leases are renewed, and looked at.
const RENEW: Duration = Duration::from_millis(1_500);
/// Work is stopped this long before its lease can pass to another.
const MARGIN: Duration = Duration::from_secs(2);

/// Holds this replica's part of the leases until `stop`.
pub(crate) struct Leases {
    store: Arc<Store>,
    holder: String,
    /// What is held, by name of the lease.
    held: BTreeMap<String, (Tenure, Ending)>,
    /// Names of leases that are being given back: work under them still ends.
    leaving: HashSet<String>,
    given_back: JoinSet<String>,
    /// Leases that are given up from within.
    given_up: mpsc::UnboundedReceiver<Lease>,
    told: watch::Sender<Arc<Held>>,
    /// Until when nobody else can hold what is held here.
    sure_until: Instant,
}

/// Gives leases up from within.
#[derive(Debug, Clone)]
pub(crate) struct GiveUp(mpsc::UnboundedSender<Lease>);

impl GiveUp {
    /// Nothing written under this lease that is not committed yet may be later: it is taken anew by whoever comes
    /// first, under another token.
    pub(crate) fn give_up(&self, lease: Lease) {
        // Nobody hears it when all are given back.
        let _ = self.0.send(lease);
    }
}

/// This replica's leases, what follows them, and what gives one of them up.
pub(crate) fn leases(store: Arc<Store>) -> (Leases, Holding, GiveUp) {
    let (told, held) = watch::channel(Arc::default());
    let (give_up, given_up) = mpsc::unbounded_channel();
    let leases = Leases {
        store,
        holder: uuid::Uuid::new_v4().to_string(),
        held: BTreeMap::new(),
        leaving: HashSet::new(),
        given_back: JoinSet::new(),
        given_up,
        told,
        sure_until: Instant::now(),
    };
    (leases, Holding::new(held), GiveUp(give_up))
}

impl Leases {
    /// Keeps them until `stop`; then all are given back, once the work under them has ended.
    pub(crate) async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = self.look() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            tokio::select! {
                () = sleep(RENEW) => {}
                Some(lease) = self.given_up.recv() => {
                    let held = self.held.get(&lease.name);
                    if held.is_some_and(|(tenure, _)| *tenure.lease() == lease) {
                        self.give_back(&lease.name);
                    }
                }
                Some(name) = self.given_back.join_next() => {
                    if let Ok(name) = name {
                        self.leaving.remove(&name);
                    }
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let names: Vec<String> = self.held.keys().cloned().collect();
        names.iter().for_each(|name| self.give_back(name));
        self.tell();
        let all = async { while self.given_back.join_next().await.is_some() {} };
        if timeout(TTL, all).await.is_err() {
            warn!("some leases could not be given back; they end by themselves in {TTL:?}");
        }
    }

    /// Renews what is held, and takes or gives back what is more or less than this replica's part.
    async fn look(&mut self) {
        let asked = Instant::now();
        // As long as nothing is held, there is nothing that could be late.
        let limit = if self.held.is_empty() { asked + TTL } else { self.sure_until };
        match timeout_at(limit, self.exchange()).await {
            Ok(Ok(())) => self.sure_until = asked + TTL - MARGIN,
            Ok(Err(error)) => warn!(%error, "leases could not be renewed"),
            Err(_) => {}
        }
        if Instant::now() >= self.sure_until && !self.held.is_empty() {
            warn!("this replica could not renew its leases in time, and no longer acts");
            for (_, (_, ending)) in std::mem::take(&mut self.held) {
                drop(ending);
            }
        }
        self.tell();
    }

    async fn exchange(&mut self) -> Result<(), StoreError> {
        let there = self.store.leases().await?;
        let part = Part::of(&there, &self.holder);
        let mine: Vec<String> = self.held.keys().cloned().collect();
        for name in part.excess(&mine) {
            self.give_back(&name);
        }
        let mut names: BTreeSet<String> = self.held.keys().cloned().collect();
        names.extend(part.wanted(&mine).into_iter().filter(|name| !self.leaving.contains(name)));
        let names: Vec<String> = names.into_iter().collect();
        let taken = self.store.acquire_leases(&names, &self.holder, TTL).await?;
        let taken: BTreeMap<String, Lease> =
            taken.into_iter().map(|lease| (lease.name.clone(), lease)).collect();
        self.held.retain(|name, (tenure, _)| {
            let kept = taken.get(name) == Some(tenure.lease());
            if !kept {
                warn!(lease = name, "lost to another replica");
            }
            kept
        });
        let new: Vec<Lease> =
            taken.into_values().filter(|lease| !self.held.contains_key(&lease.name)).collect();
        if !new.is_empty() {
            // What was written under them before is known before anything is done under them.
            self.store.fresh().await?;
            self.held
                .extend(new.into_iter().map(|lease| (lease.name.clone(), Tenure::begin(lease))));
        }
        Ok(())
    }

    /// Ends the work under a lease, and then gives it back.
    fn give_back(&mut self, name: &str) {
        let Some((tenure, ending)) = self.held.remove(name) else { return };
        self.leaving.insert(name.to_owned());
        let (store, lease) = (self.store.clone(), tenure.lease().clone());
        drop(tenure);
        self.tell();
        self.given_back.spawn(async move {
            // What does not end in time has lost the lease all the same: it is renewed no more.
            if timeout(TTL, ending.end()).await.is_err() {
                warn!(lease = lease.name, "work under a lease did not end within {TTL:?}; it can write nothing more");
            }
            if let Err(error) = store.release_lease(&lease).await {
                warn!(lease = lease.name, %error, "could not be given back; it ends by itself in {TTL:?}");
            }
            lease.name
        });
    }

    fn tell(&self) {
        let mut held = Held::default();
        let tenure = |name: &str| self.held.get(name).map(|(tenure, _)| tenure.clone());
        held.fleet = tenure(FLEET);
        for shard in Shard::all() {
            held.set(shard, tenure(&shard.lease()));
        }
        let before = self.told.borrow().clone();
        if *before == held {
            return;
        }
        info!(
            shards = held.count(),
            of = SHARDS,
            leads = held.fleet.is_some(),
            "what this replica acts for"
        );
        self.told.send_replace(Arc::new(held));
    }
}

/// What a replica should hold, by who holds what.
struct Part {
    /// Names of shards' leases, and of the fleet's, that nobody holds.
    free: Vec<String>,
    /// The replica's own sign, or one that is free.
    sign: String,
    /// How many shards are one replica's part.
    share: usize,
}

impl Part {
    fn of(there: &[Lease], me: &str) -> Self {
        let holder = |name: &str| there.iter().find(|lease| lease.name == name);
        let is_free = |name: &String| holder(name).is_none();
        let signs = there.iter().filter(|lease| lease.name.starts_with(REPLICA));
        let mut replicas: BTreeSet<&str> = signs.map(|lease| lease.holder.as_str()).collect();
        replicas.insert(me);
        let mine = |lease: &&Lease| lease.holder == me && lease.name.starts_with(REPLICA);
        let own = there.iter().find(mine).map(|lease| lease.name.clone());
        let sign = || (0..).map(|number| format!("{REPLICA}{number:02}")).find(is_free);
        let leases = Shard::all().map(Shard::lease).chain([FLEET.to_owned()]);
        Self {
            free: leases.filter(is_free).collect(),
            sign: own.or_else(sign).unwrap_or_else(|| REPLICA.into()),
            share: SHARDS.div_ceil(replicas.len()),
        }
    }

    fn shards(names: &[String]) -> impl Iterator<Item = &String> {
        names.iter().filter(|name| *name != FLEET && !name.starts_with(REPLICA))
    }

    /// What to give back of what is held.
    fn excess(&self, mine: &[String]) -> Vec<String> {
        Self::shards(mine).skip(self.share).cloned().collect()
    }

    /// What to take besides.
    fn wanted(&self, mine: &[String]) -> Vec<String> {
        let room = self.share.saturating_sub(Self::shards(mine).count());
        let fleet = self.free.iter().filter(|name| *name == FLEET);
        let shards = Self::shards(&self.free).take(room);
        shards.chain(fleet).chain([&self.sign]).cloned().collect()
    }
}
