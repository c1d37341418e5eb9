//! Which start of the agent this is, and how its streams are numbered, so that replicas can tell which of them is the newest. The
//! time is where numbers begin, and they only grow: a clock that was set back is made good by the plane, which says what it knows.

use jiff::Timestamp;
use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// One start of the agent.
pub(crate) struct Start {
    /// Tells it from all others.
    pub(crate) id: String,
    last: AtomicU64,
}

impl Start {
    pub(crate) fn new() -> Self {
        // Its seeds are random for each.
        let random = || RandomState::new().hash_one(0);
        Self { id: format!("{:016x}{:016x}", random(), random()), last: AtomicU64::new(0) }
    }

    /// The number of the next stream.
    pub(crate) fn next(&self) -> u64 {
        self.after(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0))
    }

    fn after(&self, millis: u64) -> u64 {
        let last = self.last.load(Ordering::Relaxed);
        let next = millis.max(last.saturating_add(1));
        self.last.store(next, Ordering::Relaxed);
        next
    }

    /// The plane knows one of that number.
    pub(crate) fn known(&self, newest: Option<u64>) {
        self.last.fetch_max(newest.unwrap_or(0), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_whatever_the_clock_does() {
        let start = Start::new();
        assert_eq!(start.after(1_000), 1_000);
        assert_eq!(start.after(1_000), 1_001);
        assert_eq!(start.after(10), 1_002, "it was set back");
        start.known(Some(5_000));
        start.known(None);
        start.known(Some(3));
        assert_eq!(start.after(2_000), 5_001);
        assert_ne!(start.id, Start::new().id);
    }
}
