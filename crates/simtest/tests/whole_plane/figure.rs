//! How fast simulated time passes: hours of a fleet of a thousand servers in a minute of real time. Not a test;
//! it is measured when somebody asks.

use crate::{company, operations, plane::Plane, randomness};
use std::{
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::Builder;

const SERVERS: u32 = 1_000;
const HOURS: u32 = 24;
/// Somebody does something this often.
const BETWEEN: Duration = Duration::from_secs(60);

/// `cargo test --release --package quarterdeck-simtest fleet_hours -- --ignored --nocapture`
#[test]
#[ignore = "measures, and asserts nothing about time"]
fn fleet_hours() {
    let lives = || {
        randomness::seed_this_thread(1);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(day())
    };
    thread::spawn(lives).join().unwrap();
}

async fn day() {
    let mut plane = Plane::new(1, 1, false);
    plane.start(0).await;
    company::found(&mut plane, SERVERS).await;
    let began = Instant::now();
    for _ in 0..HOURS * 60 {
        operations::one(&mut plane).await;
        plane.pass(BETWEEN).await;
    }
    assert_eq!(plane.trace.verdict(), None, "{}", plane.trace.last());
    let took = began.elapsed();
    let witness = plane.witness.lock().unwrap();
    println!(
        "{HOURS} hours of {SERVERS} servers in {took:.1?}, with {} runs, {} permits, {} commits: {:.0} \
         fleet-hours a minute",
        witness.runs.len(),
        witness.given,
        plane.disk.head(),
        f64::from(HOURS) * 60.0 / took.as_secs_f64()
    );
}
