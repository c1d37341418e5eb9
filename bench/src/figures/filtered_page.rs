//! A page selected by a label and a field, beside a page that takes everything, both while servers
//! change: an index must neither be slow to read nor slow to follow.

use crate::{
    Failure,
    client::Client,
    fleet,
    plane::Plane,
    report::{Aim, Quantity, Row},
    samples::{Samples, timed},
};
use quarterdeck_store::Store;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::MissedTickBehavior;

const OBJECTS: usize = 110_000;
const PAGES: usize = 600;
const WARM_UP: usize = 40;
/// Writes are made every this long, so many at once: 1,000/s.
const TICK: Duration = Duration::from_millis(10);
const PER_TICK: usize = 10;

const SERVERS: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/servers?limit=500";
/// One server of 75 has all three: the page is full, and ends in the middle of the fleet.
const SELECTED: &str = "&labelSelector=role%3Ddatabase,environment%3Dproduction\
    &fieldSelector=status.phase%3DReady";

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let store = fleet::store(folder, OBJECTS).await?;
    let plane = Plane::start(store.clone(), folder).await?;
    let mut client = Client::connect(plane.address, &plane.trust).await?;
    let selected = format!("{SERVERS}{SELECTED}");
    let written = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let writing = tokio::spawn(write(store, written.clone()));
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for round in 0..PAGES + WARM_UP {
        let (filtered, bytes) = timed(client.get(&selected, |_| {})).await;
        bytes?;
        let (unfiltered, bytes) = timed(client.get(SERVERS, |_| {})).await;
        bytes?;
        if round >= WARM_UP {
            ours.push(filtered);
            theirs.push(unfiltered);
        }
    }
    let rate = written.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
    writing.abort();
    if rate < 900.0 {
        return Err(format!("only {rate:.0} writes/s were made beside the reads").into());
    }
    Ok(vec![Row {
        what: format!(
            "page of 500 by two labels and a field, of 110,000 objects while {rate:.0} writes/s run, p99 of {PAGES} (medians {:.2} and {:.2} ms)",
            ours.median() * 1e3,
            theirs.median() * 1e3
        ),
        ours: Quantity::seconds(ours.p99()),
        peer: "unfiltered page under the same writes".into(),
        theirs: Quantity::seconds(theirs.p99()),
        aim: Aim::AtMost(2.0),
    }])
}

/// Changes servers all over the fleet until it is aborted.
async fn write(store: Store, written: Arc<AtomicU64>) -> Result<(), Failure> {
    /// Far apart from each other, and all of the fleet in the end.
    const STRIDE: usize = 7_919;
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for count in 0.. {
        clock.tick().await;
        let numbers = (0..PER_TICK).map(|at| (count * PER_TICK + at) * STRIDE % OBJECTS);
        store.commit(numbers.map(|number| fleet::put(number, 1 + count)).collect()).await?;
        written.fetch_add(PER_TICK as u64, Ordering::Relaxed);
    }
    Ok(())
}
