//! What the audit log costs: creates through HTTPS with the usual log, beside the same without one, each
//! on a store of its own and in turn.

use super::writes::middle;
use crate::{
    Failure,
    client::Client,
    fleet,
    load::{Load, drive},
    plane::Plane,
    report::{Aim, Quantity, Row},
};
use bytes::Bytes;
use quarterdeck_store::{Sqlite, Store};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Mutex;

const SERVERS: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/servers";
const WRITERS: usize = 64;
const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 5;

/// A plane and who writes to it.
struct Side {
    _plane: Plane,
    clients: Arc<Vec<Mutex<Client>>>,
    /// The next server that it does not have.
    next: Arc<AtomicUsize>,
}

impl Side {
    async fn start(folder: &Path, audited: bool) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let store = Store::open(Arc::new(Sqlite::open(folder)?)).await?;
        let plane = match audited {
            true => Plane::audited(store, folder).await?,
            false => Plane::start(store, folder).await?,
        };
        let mut clients = Vec::new();
        for _ in 0..WRITERS {
            clients.push(Mutex::new(Client::connect(plane.address, &plane.trust).await?));
        }
        Ok(Self { _plane: plane, clients: Arc::new(clients), next: Arc::default() })
    }

    async fn round(&self) -> Result<Load, Failure> {
        let (clients, next) = (self.clients.clone(), self.next.clone());
        drive(WRITERS, ROUND, move |writer, _| {
            let (clients, next) = (clients.clone(), next.clone());
            async move {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let server = Bytes::from(fleet::server(number, 1).to_string());
                let client = clients.get(writer).ok_or("there are no clients")?;
                client.lock().await.create(SERVERS, server).await
            }
        })
        .await
    }
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let with = Side::start(&folder.join("with"), true).await?;
    let without = Side::start(&folder.join("without"), false).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(with.round().await?);
        theirs.push(without.round().await?);
    }
    let rate = |loads: &mut [Load]| Ok::<_, Failure>(middle(loads)?.rate);
    Ok(vec![Row {
        what: format!(
            "creates through HTTPS with the audit log, {WRITERS} writers, middle of {ROUNDS}"
        ),
        ours: Quantity::per_second(rate(&mut ours)?),
        peer: "the same without an audit log".into(),
        theirs: Quantity::per_second(rate(&mut theirs)?),
        aim: Aim::AtLeast(0.9),
    }])
}
