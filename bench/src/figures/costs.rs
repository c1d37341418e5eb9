//! What authorisation, validation and the audit log cost: processor time that the plane takes for a
//! create through HTTPS, beside the same with each of them switched off. Each plane is a process of its
//! own over a store of its own; all are written to in turn.

use super::creates::object;
use crate::{
    Failure,
    client::Client,
    load::drive,
    report::{Aim, Quantity, Row},
    served::{self, CALLERS, Off, Process},
};
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
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 6;
/// Objects there are before.
const OBJECTS: usize = 1_000;

/// A plane, who writes to it, and what it came to.
struct Side {
    off: Off,
    process: Process,
    clients: Arc<Vec<Mutex<Client>>>,
    /// The next server that it does not have.
    next: Arc<AtomicUsize>,
    cpu: f64,
    creates: f64,
}

impl Side {
    async fn start(folder: &Path, off: Off) -> Result<Self, Failure> {
        let folder = folder.join(off.name());
        std::fs::create_dir_all(&folder)?;
        let (process, place) = served::start_without(&folder, OBJECTS, off)?;
        let mut clients = Vec::new();
        for writer in 0..WRITERS {
            let trust = place.trust(writer % CALLERS)?;
            clients.push(Mutex::new(Client::connect(place.address, &trust).await?));
        }
        let (clients, next) = (Arc::new(clients), Arc::new(AtomicUsize::new(OBJECTS)));
        Ok(Self { off, process, clients, next, cpu: 0.0, creates: 0.0 })
    }

    async fn round(&mut self) -> Result<(), Failure> {
        let (clients, next) = (self.clients.clone(), self.next.clone());
        let (cpu, before) = (self.process.cpu()?, self.next.load(Ordering::Relaxed));
        drive(WRITERS, ROUND, move |writer, _| {
            let (clients, next) = (clients.clone(), next.clone());
            async move {
                let server = object(next.fetch_add(1, Ordering::Relaxed));
                let client = clients.get(writer).ok_or("there are no clients")?;
                client.lock().await.create(SERVERS, server).await
            }
        })
        .await?;
        self.cpu += self.process.cpu()? - cpu;
        self.creates += (self.next.load(Ordering::Relaxed) - before) as f64;
        Ok(())
    }

    /// Creates a second, over all rounds.
    fn rate(&self) -> f64 {
        self.creates / (ROUND * ROUNDS as u32).as_secs_f64()
    }

    /// Processor time of one create, in seconds.
    fn each(&self) -> f64 {
        self.cpu / self.creates
    }
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let mut whole = Side::start(folder, Off::Nothing).await?;
    let mut others = Vec::new();
    for off in [Off::Authorization, Off::Audit, Off::Validation] {
        others.push(Side::start(folder, off).await?);
    }
    for round in 0..=ROUNDS {
        for side in [&mut whole].into_iter().chain(&mut others) {
            side.round().await?;
            if round == 0 {
                // It was warmed up.
                (side.cpu, side.creates) = (0.0, 0.0);
            }
        }
    }
    let row = |other: &Side| Row {
        what: format!(
            "processor time that the plane takes for a create through HTTPS, {WRITERS} connections, over \
             {ROUNDS} rounds in turn ({:.0}/s)",
            whole.rate()
        ),
        ours: Quantity::seconds(whole.each()),
        peer: format!("the same without {} ({:.0}/s)", other.off.name(), other.rate()),
        theirs: Quantity::seconds(other.each()),
        aim: Aim::AtMost(1.1),
    };
    Ok(others.iter().map(row).collect())
}
