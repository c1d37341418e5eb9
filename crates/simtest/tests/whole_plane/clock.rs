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
    /// The same of one host alone.
    own: Arc<AtomicI64>,
    /// All jumps of all hosts, each counted forwards.
    jumped: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let start = "2026-11-02T08:00:00Z".parse().unwrap();
        let [offset, own, jumped] = Default::default();
        Self { began: Instant::now(), start, offset, own, jumped }
    }

    /// That of one host, which follows all others and can jump alone.
    pub(crate) fn of_host(&self) -> Self {
        Self { own: Arc::default(), ..self.clone() }
    }

    /// What the clocks on the wall show.
    pub(crate) fn now(&self) -> Timestamp {
        let millis =
            |offset: &AtomicI64| SignedDuration::from_millis(offset.load(Ordering::Relaxed));
        self.start + self.began.elapsed() + millis(&self.offset) + millis(&self.own)
    }

    /// How much time has passed, whatever clocks show.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// All clocks are set.
    pub(crate) fn jump(&self, by: SignedDuration) {
        self.set(&self.offset, by);
    }

    /// This host's alone is.
    pub(crate) fn jump_alone(&self, by: SignedDuration) {
        self.set(&self.own, by);
    }

    fn set(&self, offset: &AtomicI64, by: SignedDuration) {
        let millis = i64::try_from(by.as_millis()).unwrap();
        offset.fetch_add(millis, Ordering::Relaxed);
        self.jumped.fetch_add(millis.abs(), Ordering::Relaxed);
    }

    /// How far a time that somebody has computed can be from when it comes.
    pub(crate) fn jumped(&self) -> SignedDuration {
        SignedDuration::from_millis(self.jumped.load(Ordering::Relaxed))
    }
}
