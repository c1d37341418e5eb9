//! Who acts: one replica at a time holds the engine's lease. All work of a term ends with it.

use quarterdeck_store::{Fence, Lease, Store};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

/// Name of the lease.
const LEASE: &str = "engine";
/// How long a replica that fell silent keeps others waiting.
const TTL: Duration = Duration::from_secs(9);
/// How often the lease is renewed, or asked for.
const RENEW: Duration = Duration::from_secs(3);
/// Work is stopped this long before the lease can pass to another.
const MARGIN: Duration = Duration::from_secs(2);

/// One time of holding the lease.
#[derive(Debug, Clone)]
pub(crate) struct Term(Lease);

impl Term {
    /// What every write of the term carries.
    pub(crate) fn fence(&self) -> Fence {
        Fence { lease: self.0.name.clone(), token: self.0.token }
    }
}

/// Runs `work` in each term until `stop`; its future is dropped when the term ends.
pub(crate) async fn lead<W: Future<Output = ()>>(
    store: Arc<Store>,
    holder: &str,
    mut stop: watch::Receiver<bool>,
    mut work: impl FnMut(Term) -> W,
) {
    loop {
        let (lease, asked) = tokio::select! {
            acquired = acquire(&store, holder) => acquired,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        info!(token = lease.token, "this replica acts");
        let stopped = tokio::select! {
            () = work(Term(lease.clone())) => false,
            () = keep(&store, &lease, asked) => false,
            _ = stop.wait_for(|stop| *stop) => true,
        };
        if stopped {
            if let Err(error) = store.release_lease(&lease).await {
                warn!(%error, "the lease could not be given back; it ends by itself in {TTL:?}");
            }
            return;
        }
        warn!("this replica no longer acts");
        // Should it have ended by a defect, it does not end again at once.
        tokio::select! {
            () = sleep(RENEW) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// The lease, and when it was asked for: it runs from some moment after that.
async fn acquire(store: &Store, holder: &str) -> (Lease, Instant) {
    loop {
        let asked = Instant::now();
        match store.acquire_lease(LEASE, holder, TTL).await {
            Ok(Some(lease)) => return (lease, asked),
            Ok(None) => {}
            Err(error) => warn!(%error, "the lease could not be asked for"),
        }
        sleep(RENEW).await;
    }
}

/// Renews the lease; returns when it is lost or may be.
async fn keep(store: &Store, lease: &Lease, asked: Instant) {
    let mut sure_until = asked + TTL - MARGIN;
    loop {
        let left = sure_until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        sleep(RENEW.min(left)).await;
        let asked = Instant::now();
        let renewal = store.acquire_lease(&lease.name, &lease.holder, TTL);
        match timeout(sure_until.saturating_duration_since(asked), renewal).await {
            Ok(Ok(Some(renewed))) if renewed.token == lease.token => {
                sure_until = asked + TTL - MARGIN;
            }
            Ok(Ok(_)) => return,
            Ok(Err(error)) => warn!(%error, "the lease could not be renewed"),
            Err(_) => return,
        }
    }
}
