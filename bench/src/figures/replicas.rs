//! Two replicas beside one, on one PostgreSQL server, with work that waits for machines: servers are inspected through
//! simulated BMCs that take as long as real ones, as many at once in each replica as it allows itself.

use super::fleet::{open_fleet, with_phase};
use crate::{
    Failure,
    report::{Aim, Quantity, Row},
};
use quarterdeck_engine::{Actions, Engine};
use quarterdeck_providers::Catalog;
use quarterdeck_sim::{Latency, Simulation};
use quarterdeck_store::{Postgres, Store};
use quarterdeck_testing::postgres::Postgres as Server;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::sleep};

/// Enough that the last ones, which have faults, do not count.
const SERVERS: u32 = 6_000;
/// Share of servers that is waited for.
const SHARE: f64 = 0.95;
const SEED: u64 = 7;
const LOOK: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(600);

pub(crate) async fn run(_: &Path) -> Result<Vec<Row>, Failure> {
    let one = inspect(1).await?;
    let two = inspect(2).await?;
    Ok(vec![Row {
        what: format!(
            "{SERVERS} servers inspected by two replicas on PostgreSQL, BMCs as slow as real ones"
        ),
        ours: Quantity::per_second(two),
        peer: "one replica".into(),
        theirs: Quantity::per_second(one),
        aim: Aim::AtLeast(1.8),
    }])
}

/// Servers a second, once all replicas have their part.
async fn inspect(replicas: usize) -> Result<f64, Failure> {
    let server = Server::start().await;
    let mut stores = Vec::new();
    for _ in 0..replicas {
        let backend = Arc::new(Postgres::open(&server.url()).await?);
        stores.push(Arc::new(Store::open(backend).await?));
    }
    let (stop, stopping) = watch::channel(false);
    let simulation = Simulation::new(SEED, Latency::Realistic { speed: 1.0 });
    let mut engines = Vec::new();
    for store in &stores {
        let mut catalog = Catalog::new();
        simulation.add_actions(&mut catalog);
        let actions = Arc::new(Actions::new(catalog));
        engines.push(tokio::spawn(Engine::new(store.clone(), actions, stopping.clone()).run()));
    }
    let first = stores.first().ok_or("there is a replica")?;
    let began = Instant::now();
    while !shared(first, replicas).await? {
        if began.elapsed() > LONGEST {
            return Err("the replicas do not share the work".into());
        }
        sleep(LOOK).await;
    }
    open_fleet(first, SEED, SERVERS, |_, _| {}).await?;
    let (began, wanted) = (Instant::now(), f64::from(SERVERS) * SHARE);
    loop {
        sleep(LOOK).await;
        #[expect(clippy::cast_precision_loss, reason = "a fleet is small as numbers go")]
        let ready = with_phase(first, "Ready") as f64;
        if ready >= wanted {
            break;
        }
        if began.elapsed() > LONGEST {
            return Err(format!("{ready} of {SERVERS} servers were ready after {LONGEST:?}").into());
        }
    }
    let took = began.elapsed();
    stop.send_replace(true);
    for engine in engines {
        engine.await?;
    }
    Ok(wanted / took.as_secs_f64())
}

/// Whether all shards are held, by that many replicas.
async fn shared(store: &Store, replicas: usize) -> Result<bool, Failure> {
    let leases = store.leases().await?;
    let shards = leases.iter().filter(|lease| lease.name.starts_with("shard-"));
    let holders: Vec<&str> = shards.map(|lease| lease.holder.as_str()).collect();
    let mut distinct = holders.clone();
    distinct.sort_unstable();
    distinct.dedup();
    Ok(holders.len() == 16 && distinct.len() == replicas)
}
