//! Shards: all keys, divided into parts that replicas share among themselves. What acts on a server and what
//! decides about it are in the same one, so that they are in one process. It holds no lease: see `leadership`.

use crate::tenure::Tenure;
use quarterdeck_model::Key;
use quarterdeck_store::Lease;
use std::sync::Arc;
use tokio::sync::watch;

/// How many. More replicas than this share nothing; fewer make a replica's part uneven, and each is one lease that
/// is locked by every transaction that writes under it.
pub(crate) const SHARDS: usize = 16;

/// One part of all keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shard(usize);

impl Shard {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    /// The one that a key is in: the same in every process and release (FNV-1a, 64 bits).
    pub(crate) fn of(key: &Key) -> Self {
        let parts = [&*key.kind, "/", &*key.namespace, "/", &*key.name];
        let bytes = parts.iter().flat_map(|part| part.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Low bits alone are worse mixed than high and low together.
        Self(usize::try_from((hash ^ (hash >> 32)) % SHARDS as u64).unwrap_or(0))
    }

    /// Name of its lease.
    pub(crate) fn lease(self) -> String {
        format!("shard-{:02}", self.0)
    }
}

/// What this replica holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Held {
    /// What there is one of: the ledger, and what looks after the whole.
    pub(crate) fleet: Option<Tenure>,
    shards: [Option<Tenure>; SHARDS],
}

impl Held {
    /// Its tenure of a shard.
    pub(crate) fn shard(&self, shard: Shard) -> Option<&Tenure> {
        self.shards.get(shard.0)?.as_ref()
    }

    /// Sets or takes its tenure of a shard.
    pub(crate) fn set(&mut self, shard: Shard, tenure: Option<Tenure>) {
        if let Some(held) = self.shards.get_mut(shard.0) {
            *held = tenure;
        }
    }

    /// Shards that it holds.
    pub(crate) fn count(&self) -> usize {
        self.shards.iter().flatten().count()
    }

    /// The token of each shard that it holds.
    fn tokens(&self) -> Tokens {
        Tokens(self.shards.each_ref().map(|held| held.as_ref().map(|held| held.lease().token)))
    }
}

/// What was held when it was looked at. It keeps no lease from being given back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tokens([Option<u64>; SHARDS]);

impl Tokens {
    /// What is held and was not before, or under another token.
    fn gained(self, before: Self) -> Gained {
        let mut gained = Gained::default();
        for (it, (now, before)) in gained.0.iter_mut().zip(self.0.iter().zip(&before.0)) {
            *it = now.is_some() && now != before;
        }
        gained
    }
}

/// Shards that this replica came to hold.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gained([bool; SHARDS]);

impl Gained {
    pub(crate) fn contains(&self, shard: Shard) -> bool {
        self.0.get(shard.0).is_some_and(|gained| *gained)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }
}

/// Follows what this replica holds.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    held: watch::Receiver<Arc<Held>>,
    /// As [`Holding::changed`] saw it last.
    seen: Tokens,
}

impl Holding {
    pub(crate) fn new(held: watch::Receiver<Arc<Held>>) -> Self {
        Self { held, seen: Tokens::default() }
    }

    /// Its tenure of a shard, now.
    pub(crate) fn shard(&self, shard: Shard) -> Option<Tenure> {
        self.held.borrow().shard(shard).cloned()
    }

    /// Waits until what is held is not what it was when this was asked last; answers what was gained. May be dropped
    /// and called again.
    pub(crate) async fn changed(&mut self) -> Gained {
        loop {
            let held = self.held.borrow_and_update().tokens();
            if held != self.seen {
                let gained = held.gained(self.seen);
                self.seen = held;
                return gained;
            }
            if self.held.changed().await.is_err() {
                // Nothing is held any more, and the engine ends.
                std::future::pending().await
            }
        }
    }

    /// The same, until anything is gained.
    pub(crate) async fn gained(&mut self) -> Gained {
        loop {
            let gained = self.changed().await;
            if !gained.is_empty() {
                return gained;
            }
        }
    }

    /// Waits until this replica holds what there is one of, under another token than `before`.
    pub(crate) async fn fleet(&mut self, before: Option<&Lease>) -> Tenure {
        let new = |tenure: &&Tenure| Some(tenure.lease()) != before;
        let held = self.held.wait_for(|held| held.fleet.as_ref().filter(new).is_some()).await;
        match held.ok().and_then(|held| held.fleet.clone()) {
            Some(tenure) => tenure,
            // Nothing is held any more, and the engine ends.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { kind: "servers".into(), namespace: "".into(), name: name.into() }
    }

    #[test]
    fn names_that_differ_little_are_spread_evenly() {
        let mut counts = [0_usize; SHARDS];
        for number in 0..16_000 {
            counts[Shard::of(&key(&format!("fra1-r{:03}-s{:02}", number / 40, number % 40))).0] +=
                1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_key_is_where_it_always_was() {
        // Replicas of two releases share the work while one follows the other.
        let shards = ["m-1", "m-2", "m-3", "fra1-r001-s01"].map(|name| Shard::of(&key(name)).0);
        assert_eq!(shards, [11, 14, 13, 3]);
    }

    #[tokio::test]
    async fn what_is_gained_is_told_once_and_again_under_another_token() {
        let (sender, held) = watch::channel(Arc::<Held>::default());
        let mut holding = Holding::new(held);
        let one = Shard(3);
        let hold = |token: u64| {
            let lease = Lease { name: one.lease(), holder: "me".into(), token };
            let (tenure, ending) = Tenure::begin(lease);
            let mut held = Held::default();
            held.set(one, Some(tenure));
            sender.send_replace(Arc::new(held));
            ending
        };
        let _first = hold(1);
        let gained = holding.gained().await;
        assert!(gained.contains(one) && !gained.contains(Shard(4)));
        assert!(is_quiet(&mut holding).await);
        sender.send_replace(Arc::default());
        assert!(is_quiet(&mut holding).await, "what is lost is no gain");
        let _second = hold(2);
        assert!(holding.gained().await.contains(one));
    }

    async fn is_quiet(holding: &mut Holding) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, holding.gained()).await.is_err()
    }
}
