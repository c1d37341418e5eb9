//! Durable writes of 2 KB objects through the whole store on SQLite (group commit, fsync, cache),
//! beside one etcd node that is put the same bytes; and one writer alone, beside a bare fdatasync.

use crate::{
    Failure,
    etcd::{Etcd, put_request},
    fleet,
    load::{Load, drive},
    report::{Aim, Quantity, Row},
    samples::{Samples, timed},
};
use bytes::Bytes;
use quarterdeck_store::{Mutation, Outcome, Sqlite, Store, Write};
use std::{fs::File, io::Write as _, path::Path, sync::Arc, time::Duration};

/// Objects that are written again and again.
pub(crate) const OBJECTS: usize = 20_000;
pub(crate) const WRITERS: usize = 256;
pub(crate) const ROUND: Duration = Duration::from_secs(5);
pub(crate) const ROUNDS: usize = 3;
/// Writes of the one writer in a round.
const ALONE: usize = 2_000;

/// The writes of all objects, encoded already: who encodes is not the store.
pub(crate) fn mutations() -> Arc<Vec<Mutation>> {
    Arc::new((0..OBJECTS).map(|number| fleet::put(number, 1)).collect())
}

/// The write of a writer's turn: each writer has its own objects.
pub(crate) fn of_turn<T>(all: &[T], writer: usize, turn: usize) -> Result<&T, Failure> {
    all.get((turn * WRITERS + writer) % all.len()).ok_or_else(|| "there are no objects".into())
}

/// A round of our store.
pub(crate) async fn ours(store: &Store, mutations: &Arc<Vec<Mutation>>) -> Result<Load, Failure> {
    let (store, mutations) = (store.clone(), mutations.clone());
    drive(WRITERS, ROUND, move |writer, turn| {
        let store = store.clone();
        let mutation = of_turn(&mutations, writer, turn).cloned();
        async move { commit(&store, mutation?).await }
    })
    .await
}

async fn commit(store: &Store, mutation: Mutation) -> Result<(), Failure> {
    match store.commit(vec![mutation]).await?.as_slice() {
        [Outcome::Committed(_)] => Ok(()),
        other => Err(format!("not committed: {other:?}").into()),
    }
}

pub(crate) fn body(mutation: &Mutation) -> Bytes {
    match &mutation.write {
        Write::Put(body) => body.clone(),
        Write::Delete => Bytes::new(),
    }
}

/// The middle one of a few.
pub(crate) fn middle(loads: &mut [Load]) -> Result<&Load, Failure> {
    loads.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    loads.get(loads.len() / 2).ok_or_else(|| "nothing was measured".into())
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let mutations = mutations();
    let bytes = mutations.iter().map(Mutation::size_bytes).sum::<usize>() / OBJECTS;
    let data = folder.join("sqlite");
    std::fs::create_dir_all(&data)?;
    let store = Store::open(Arc::new(Sqlite::open(&data)?)).await?;
    let etcd = Etcd::start(folder).await?;
    let messages: Vec<Bytes> = mutations
        .iter()
        .map(|mutation| put_request(&mutation.key.to_string(), &body(mutation)))
        .collect();
    let messages = Arc::new(messages);
    let putters: Vec<_> = (0..WRITERS).filter_map(|writer| etcd.putter(writer)).collect();
    let putters = Arc::new(putters);

    let (mut our_loads, mut their_loads) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let load = ours(&store, &mutations).await?;
        let (messages, putters) = (messages.clone(), putters.clone());
        let their_load = drive(WRITERS, ROUND, move |writer, turn| {
            let putter = putters.get(writer).cloned().ok_or("no such writer");
            let message = of_turn(&messages, writer, turn).cloned();
            async move { putter?.put(message?).await }
        })
        .await?;
        // The first round is the warm-up of both.
        if round > 0 {
            our_loads.push(load);
            their_loads.push(their_load);
        }
    }
    let (our_load, their_load) = (middle(&mut our_loads)?, middle(&mut their_loads)?);
    let peer = format!("{}, one node, gRPC", etcd.version);
    let what = format!("durable writes on SQLite, {bytes} bytes, {WRITERS} writers");
    let mut rows = vec![
        Row {
            what: what.clone(),
            ours: Quantity::per_second(our_load.rate),
            peer: peer.clone(),
            theirs: Quantity::per_second(their_load.rate),
            aim: Aim::AtLeast(2.0),
        },
        Row {
            what: format!("{what}: 99th percentile"),
            ours: Quantity::seconds(our_load.times.p99()),
            peer,
            theirs: Quantity::seconds(their_load.times.p99()),
            aim: Aim::AtMost(1.0),
        },
    ];
    drop(etcd);
    rows.push(alone(&store, &mutations, folder).await?);
    Ok(rows)
}

/// One writer, and the same bytes appended to a file and synced.
async fn alone(store: &Store, mutations: &[Mutation], folder: &Path) -> Result<Row, Failure> {
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    let mut file = File::create(folder.join("bare"))?;
    for round in 0..=ROUNDS {
        for turn in 0..ALONE {
            let mutation = of_turn(mutations, 0, turn)?.clone();
            let (time, done) = timed(commit(store, mutation)).await;
            done?;
            if round > 0 {
                ours.push(time);
            }
        }
        for turn in 0..ALONE {
            let body = body(of_turn(mutations, 0, turn)?);
            let (time, done) = timed(async {
                file.write_all(&body)?;
                file.sync_data()
            })
            .await;
            done?;
            if round > 0 {
                bare.push(time);
            }
        }
    }
    Ok(Row {
        what: "one durable write on SQLite, one writer, median".into(),
        ours: Quantity::seconds(ours.median()),
        peer: "the same bytes appended to a file, and fdatasync".into(),
        theirs: Quantity::seconds(bare.median()),
        aim: Aim::AtMost(3.0),
    })
}
