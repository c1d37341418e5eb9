//! One seed, from the beginning to the end.

use crate::{
    company,
    dice::Dice,
    faults, operations,
    plane::{Plane, REPLICAS},
    randomness, settle,
};
use std::{
    fmt::{self, Display, Formatter},
    thread,
    time::Duration,
};
use tokio::runtime::Builder;

/// Servers of a seed: few, so that they meet.
const SERVERS: u32 = 9;
/// Things that people do, or that fail.
const STEPS: usize = 250;
/// Time between two of them.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(60));
/// So often all that is in memory is compared with the disk.
const REPLAY_EVERY: usize = 20;

/// How a seed went.
#[derive(Debug)]
pub(crate) struct Story {
    seed: u64,
    /// What broke, and at which step.
    pub(crate) broken: Option<(usize, String)>,
    /// A number of all that happened: the same for the same seed.
    number: u64,
    /// What happened last.
    pub(crate) trace: String,
    /// Simulated time.
    time: Duration,
    commits: u64,
    permits: usize,
    disruptions: usize,
    runs: usize,
}

impl Display for Story {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { seed, number, time, commits, permits, disruptions, runs, .. } = self;
        let minutes = time.as_secs() / 60;
        write!(
            f,
            "seed {seed} holds: {minutes} minutes, {commits} commits, {runs} runs, {permits} permits, \
             {disruptions} disruptions, number {number:016x}"
        )
    }
}

/// Lives through a seed, on a thread of its own: all that is random there follows from the seed.
pub(crate) fn live(seed: u64, aloud: bool) -> Story {
    let lives = move || {
        randomness::seed_this_thread(seed);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(days(seed, aloud))
    };
    thread::spawn(lives).join().unwrap()
}

async fn days(seed: u64, aloud: bool) -> Story {
    let mut plane = Plane::new(seed, REPLICAS, aloud);
    for number in 0..REPLICAS {
        plane.start(number).await;
    }
    company::found(&mut plane, SERVERS).await;
    plane.delay_commits();
    // Some seeds see more faults than others, and some none at all.
    let faults = Dice::of(&[seed, 4]).below(5);
    let mut step = 0;
    while step < STEPS && plane.trace.verdict().is_none() {
        step += 1;
        faults::end_some(&mut plane).await;
        if plane.dice.below(12) < faults {
            faults::one(&mut plane).await;
        } else {
            operations::one(&mut plane).await;
        }
        let time = plane.dice.time(BETWEEN.0, BETWEEN.1);
        plane.pass(time).await;
        if step % REPLAY_EVERY == 0 {
            settle::replay(&mut plane).await;
        }
    }
    if plane.trace.verdict().is_none() {
        settle::settle(&mut plane).await;
    }
    let witness = plane.witness.lock().unwrap();
    Story {
        seed,
        broken: plane.trace.verdict().map(|why| (step, why)),
        number: plane.trace.number(),
        trace: plane.trace.last(),
        time: plane.clock.elapsed(),
        commits: plane.disk.head().0,
        permits: witness.given,
        disruptions: witness.disruptions,
        runs: witness.runs.len(),
    }
}
