//! The time of a simulated plane: it follows the runtime's clock, which moves only when nothing else can,
//! and it can jump, as a machine's clock does when somebody sets it.

use jiff::{SignedDuration, Timestamp};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Cloning shares it.
#[derive(Clone)]
pub(crate) struct Clock {
    began: Instant,
    start: Timestamp,
    /// Milliseconds, all jumps together.
    offset: Arc<AtomicI64>,
    /// The same, each jump counted forwards.
    jumped: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let start = "2026-11-02T08:00:00Z".parse().unwrap();
        Self { began: Instant::now(), start, offset: Arc::default(), jumped: Arc::default() }
    }

    /// What the clocks on the wall show.
    pub(crate) fn now(&self) -> Timestamp {
        self.start
            + self.began.elapsed()
            + SignedDuration::from_millis(self.offset.load(Ordering::Relaxed))
    }

    /// How much time has passed, whatever clocks show.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn jump(&self, by: SignedDuration) {
        let millis = i64::try_from(by.as_millis()).unwrap();
        self.offset.fetch_add(millis, Ordering::Relaxed);
        self.jumped.fetch_add(millis.abs(), Ordering::Relaxed);
    }

    /// How far a time that somebody has computed can be from when it comes.
    pub(crate) fn jumped(&self) -> SignedDuration {
        SignedDuration::from_millis(self.jumped.load(Ordering::Relaxed))
    }
}
