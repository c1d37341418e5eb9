//! Timed rounds and what is said of them: median and 99th percentile. Pure but for the clock.

use std::time::{Duration, Instant};

/// Times of like things, in seconds.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The middle one, in seconds.
    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The one that 99 of 100 do not exceed, in seconds.
    pub(crate) fn p99(&self) -> f64 {
        self.at(0.99)
    }

    /// The smallest that a `share` of all do not exceed (nearest rank); not a number when there is none.
    fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "counts of samples are small"
        )]
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}

impl Extend<Duration> for Samples {
    fn extend<T: IntoIterator<Item = Duration>>(&mut self, times: T) {
        self.0.extend(times.into_iter().map(|time| time.as_secs_f64()));
    }
}

/// Times one thing.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let begin = Instant::now();
    let done = work.await;
    (begin.elapsed(), done)
}
