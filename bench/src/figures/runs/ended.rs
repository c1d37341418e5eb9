//! A start of the engine with 100,000 ended runs, half of which failed, beside a start with none: from the
//! start until the first new run has ended. What has ended must not hold up what begins.

use super::{
    Caller as _, Engine as _, SHORT,
    ours::{NAMESPACE, Ours, commit, create_as, prepare},
};
use crate::{
    Failure,
    report::{Aim, Quantity, Row},
    samples::Samples,
};
use quarterdeck_model::{Kind as _, kinds::Run};
use quarterdeck_store::{Store, World};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Instant};

const ENDED: usize = 100_000;
const ROUNDS: u64 = 5;
/// Most that are created at once.
const BATCH: usize = 500;

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let store = prepare(folder).await?;
    // The first start makes files and threads that the others find.
    start(&store, 0).await?;
    let with_none = starts(&store, 1).await?;
    fill(&store).await?;
    let with_many = starts(&store, 1 + ROUNDS).await?;
    Ok(vec![Row {
        what: format!(
            "engine's start until a new run has ended, {ENDED} ended runs, median of {ROUNDS}"
        ),
        ours: Quantity::seconds(with_many.median()),
        peer: "the same without ended runs".into(),
        theirs: Quantity::seconds(with_none.median()),
        aim: Aim::AtMost(5.0),
    }])
}

async fn starts(store: &Store, first: u64) -> Result<Samples, Failure> {
    let mut samples = Samples::default();
    for round in first..first + ROUNDS {
        samples.push(start(store, round).await?);
    }
    Ok(samples)
}

/// Starts an engine, has it do a run, and stops it.
async fn start(store: &Store, round: u64) -> Result<std::time::Duration, Failure> {
    let begin = Instant::now();
    let engine = Ours::on(store.clone(), round);
    engine.caller().await?.run(SHORT).await?;
    let took = begin.elapsed();
    engine.stop().await?;
    Ok(took)
}

/// Fills the store with copies of a run that has ended.
async fn fill(store: &Store) -> Result<(), Failure> {
    let ended = any(&store.world()).ok_or("no run has ended")?;
    for from in (0..ENDED).step_by(BATCH) {
        let copy = |number: usize| {
            let mut run = ended.clone();
            if number % 2 == 0 {
                run["status"]["phase"] = json!("Failed");
            }
            create_as(Run::info(), NAMESPACE, &format!("ended-{number:09}"), run)
        };
        commit(store, (from..(from + BATCH).min(ENDED)).map(copy).collect()).await?;
    }
    Ok(())
}

fn any(world: &Arc<World>) -> Option<Value> {
    world.all(Run::info()).next().map(|run| run.value())
}
