//! Durable runs of trivial steps, beside Restate with a worker in Rust: steps a second with 512 runs
//! at once, and how long one run takes when nothing else happens. Each step of both sides is on disk
//! before the next begins. Ours is asked through the store, Restate through its ingress.

mod ours;
mod restate;

use crate::{
    Failure,
    report::{Aim, Quantity, Row},
    samples::Samples,
};
use ours::Ours;
use restate::Restate;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Runs under way at once.
const AT_ONCE: usize = 512;
/// Both sides reach their pace within this.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long steps are counted.
const COUNTED: Duration = Duration::from_secs(8);
/// Runs made one after another.
const SERIAL: usize = 300;
/// Steps of the runs measured.
const SHORT: u32 = 3;
const LONG: u32 = 10;

/// Something that executes a run of so many steps and answers when it has ended.
trait Engine: Send + Sync + 'static {
    /// A caller of its own, for one run at a time.
    type Caller: Caller;

    async fn caller(&self) -> Result<Self::Caller, Failure>;
}

trait Caller: Send + 'static {
    fn run(&mut self, steps: u32) -> impl Future<Output = Result<(), Failure>> + Send;
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let restate = Restate::start(folder).await?;
    let theirs = measure(&restate).await?;
    let peer = restate.version();
    drop(restate);
    let ours = measure(&Ours::start(folder).await?).await?;
    let rate = |steps: u32, ours, theirs| Row {
        what: format!("durable run steps, {steps}-step runs, {AT_ONCE} at once"),
        ours: Quantity::per_second(ours),
        peer: peer.clone(),
        theirs: Quantity::per_second(theirs),
        aim: Aim::AtLeast(5.0),
    };
    Ok(vec![
        rate(SHORT, ours.short, theirs.short),
        rate(LONG, ours.long, theirs.long),
        Row {
            what: format!("one {SHORT}-step run alone, median of {SERIAL}"),
            ours: Quantity::seconds(ours.alone),
            peer,
            theirs: Quantity::seconds(theirs.alone),
            aim: Aim::AtMost(1.0),
        },
    ])
}

/// Steps a second for short and long runs, and seconds for one short run alone.
struct Measured {
    short: f64,
    long: f64,
    alone: f64,
}

async fn measure<E: Engine>(engine: &E) -> Result<Measured, Failure> {
    let short = steps_a_second(engine, SHORT).await?;
    let long = steps_a_second(engine, LONG).await?;
    Ok(Measured { short, long, alone: alone(engine).await? })
}

async fn steps_a_second<E: Engine>(engine: &E, steps: u32) -> Result<f64, Failure> {
    let ended = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (mut caller, ended) = (engine.caller().await?, ended.clone());
        callers.spawn(async move {
            loop {
                if let Err(error) = caller.run(steps).await {
                    return error;
                }
                ended.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let counting = async {
        tokio::time::sleep(WARM_UP).await;
        let (begin, before) = (Instant::now(), ended.load(Ordering::Relaxed));
        tokio::time::sleep(COUNTED).await;
        let runs = ended.load(Ordering::Relaxed) - before;
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        let steps = (runs * u64::from(steps)) as f64;
        steps / begin.elapsed().as_secs_f64()
    };
    tokio::select! {
        rate = counting => Ok(rate),
        Some(failed) = callers.join_next() => Err(failed?),
    }
}

async fn alone<E: Engine>(engine: &E) -> Result<f64, Failure> {
    let mut caller = engine.caller().await?;
    let mut samples = Samples::default();
    for number in 0..SERIAL + SERIAL / 10 {
        let begin = Instant::now();
        caller.run(SHORT).await?;
        // The first tenth warms up.
        if number >= SERIAL / 10 {
            samples.push(begin.elapsed());
        }
    }
    Ok(samples.median())
}
