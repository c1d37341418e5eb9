//! Consistent reads of a replica on PostgreSQL, which wait until memory has what the database had when they
//! were asked, beside the bare question for the database's newest revision.

use super::writes::{ROUND, ROUNDS, WRITERS, middle, mutations, of_turn};
use crate::{
    Failure,
    load::drive,
    report::{Aim, Quantity, Row},
    samples::{Samples, timed},
};
use quarterdeck_store::{Backend as _, Postgres, Store};
use quarterdeck_testing::postgres::Postgres as Server;
use std::{path::Path, sync::Arc};

/// Reads of the one reader in a round.
const ALONE: usize = 2_000;
const READERS: usize = WRITERS;

pub(crate) async fn run(_: &Path) -> Result<Vec<Row>, Failure> {
    let server = Server::start().await;
    let backend = Arc::new(Postgres::open(&server.url()).await?);
    let store = Store::open(backend.clone()).await?;
    let some = mutations();
    for turn in 0..8 {
        store.commit(vec![of_turn(&some, 0, turn)?.clone()]).await?;
    }
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    let (mut our_loads, mut bare_loads) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        for _ in 0..ALONE {
            let (time, read) = timed(store.fresh()).await;
            read?;
            let (bare_time, head) = timed(backend.head()).await;
            head?;
            if round > 0 {
                ours.push(time);
                bare.push(bare_time);
            }
        }
        let reader = store.clone();
        let load = drive(READERS, ROUND, move |_, _| {
            let reader = reader.clone();
            async move { Ok(reader.fresh().await.map(|_| ())?) }
        })
        .await?;
        let asked = backend.clone();
        let bare_load = drive(READERS, ROUND, move |_, _| {
            let asked = asked.clone();
            async move { Ok(asked.head().await.map(|_| ())?) }
        })
        .await?;
        if round > 0 {
            our_loads.push(load);
            bare_loads.push(bare_load);
        }
    }
    Ok(vec![
        Row {
            what: "one consistent read on PostgreSQL, one reader, median".into(),
            ours: Quantity::seconds(ours.median()),
            peer: "asking the database for its newest revision".into(),
            theirs: Quantity::seconds(bare.median()),
            aim: Aim::AtMost(2.0),
        },
        Row {
            what: format!("consistent reads on PostgreSQL, {READERS} readers"),
            ours: Quantity::per_second(middle(&mut our_loads)?.rate),
            peer: "each asking the database for its newest revision".into(),
            theirs: Quantity::per_second(middle(&mut bare_loads)?.rate),
            aim: Aim::AtLeast(5.0),
        },
    ])
}
