//! Servers from first contact to ready with BMCs that take as long as those of a data centre. The limit is the same
//! calls with as many at once and no plane at all: what the plane adds is what it is slower by.

use super::{SEED, SHARE, declare, open, until_ready};
use crate::{
    Failure,
    report::{Aim, Quantity, Row},
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Secret, Server},
};
use quarterdeck_providers::{ActionContext, Catalog, SecretData, SecretSource};
use quarterdeck_sim::{Latency, Simulation};
use quarterdeck_store::{Store, World};
use serde_json::Value;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};

const SERVERS: u32 = 4_000;
/// Inspections that a plane has in flight at once (`INSPECTIONS_MAX` of the engine).
const AT_ONCE: usize = 512;
/// What an inspection performs, and within which time.
const ACTION: &str = "inventory.refresh";
const WITHIN: Duration = Duration::from_secs(300);

fn simulation() -> Simulation {
    Simulation::new(SEED, Latency::Realistic { speed: 1.0 })
}

/// Secrets as the store has them.
struct Secrets(Arc<World>);

impl SecretSource for Secrets {
    fn get(&self, namespace: &str, name: &str) -> Option<SecretData> {
        let secret = self.0.get(Secret::info(), namespace, name)?.decode::<Secret>().ok()?;
        let value = |name: &String| Some((name.clone(), secret.value(name)?));
        Some(secret.data.keys().filter_map(value).collect())
    }
}

/// How long it takes until nearly all servers were read, without a plane.
async fn alone(store: &Store) -> Result<Duration, Failure> {
    let mut catalog = Catalog::new();
    simulation().add_actions(&mut catalog);
    let action = catalog.get(ACTION).ok_or("there is no such action")?.clone();
    let world = store.world();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let begin = Instant::now();
    let mut calls = JoinSet::new();
    for server in world.all(Server::info()) {
        let context = ActionContext {
            idempotency_key: server.uid().to_owned(),
            attempt: 1,
            resumed: false,
            first_attempt_at: jiff::Timestamp::now(),
            deadline: Instant::now() + WITHIN * 10,
            target: Some(Arc::new(server.value())),
            secrets: Arc::new(Secrets(world.clone())),
            hosts: Arc::new(quarterdeck_providers::agent::NoHosts),
        };
        let (action, room) = (action.clone(), room.clone());
        calls.spawn(async move {
            let _turn = room.acquire().await;
            action.perform(&context, Value::Null).await.is_ok()
        });
    }
    let mut read = 0_u32;
    while let Some(done) = calls.join_next().await {
        read += u32::from(done?);
        if f64::from(read) >= f64::from(SERVERS) * SHARE {
            return Ok(begin.elapsed());
        }
    }
    Err(format!("{read} of {SERVERS} servers could be read").into())
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let store = open(&folder.join("store")).await?;
    declare(&store, SERVERS).await?;
    let limit = alone(&store).await?;
    let running = super::Running::over(&simulation(), &store);
    let took = until_ready(&store, SERVERS).await?;
    running.stop().await?;
    Ok(vec![Row {
        what: format!(
            "{SERVERS} servers from Registered to Ready, BMCs as slow as in a data centre, {AT_ONCE} at once"
        ),
        ours: Quantity::seconds(took.as_secs_f64()),
        peer: "the same calls, as many at once, by no plane".into(),
        theirs: Quantity::seconds(limit.as_secs_f64()),
        aim: Aim::AtMost(1.2),
    }])
}
