//! One time of holding a lease: what is written meanwhile carries its token, and all work under it is dropped when
//! it is over.

use quarterdeck_store::{Fence, Lease};
use std::{convert::Infallible, sync::Arc};
use tokio::sync::{mpsc, watch};

/// A lease while it is held. Whoever works under it has a clone.
#[derive(Debug, Clone)]
pub(crate) struct Tenure(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lease: Lease,
    over: watch::Receiver<bool>,
    #[expect(dead_code, reason = "it is dropped when nobody works under the lease any more")]
    works: mpsc::Sender<Infallible>,
}

/// Ends a tenure. It is over, too, when this is dropped.
#[derive(Debug)]
pub(crate) struct Ending {
    over: watch::Sender<bool>,
    works: mpsc::Receiver<Infallible>,
}

impl Tenure {
    /// A time of holding `lease`, which begins now.
    pub(crate) fn begin(lease: Lease) -> (Self, Ending) {
        let (end, over) = watch::channel(false);
        let (work, works) = mpsc::channel(1);
        (Self(Arc::new(Inner { lease, over, works: work })), Ending { over: end, works })
    }

    /// What every write of this time carries.
    pub(crate) fn fence(&self) -> Fence {
        Fence { lease: self.0.lease.name.clone(), token: self.0.lease.token }
    }

    /// The lease.
    pub(crate) fn lease(&self) -> &Lease {
        &self.0.lease
    }

    /// Does `work` while the lease is held; none when that was over first, and `work` was dropped.
    pub(crate) async fn during<W: Future>(self, work: W) -> Option<W::Output> {
        let mut over = self.0.over.clone();
        tokio::select! {
            biased;
            // Nobody ends it any more either.
            _ = over.wait_for(|over| *over) => None,
            done = work => Some(done),
        }
    }
}

impl PartialEq for Tenure {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Ending {
    /// Ends it; returns when nobody works under it any more.
    pub(crate) async fn end(mut self) {
        self.over.send_replace(true);
        // It can only say that all of them are gone.
        let _: Option<Infallible> = self.works.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    fn lease() -> Lease {
        Lease { name: "shard-00".into(), holder: "me".into(), token: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_dropped_when_the_lease_is_over() {
        let (tenure, ending) = Tenure::begin(lease());
        assert_eq!(tenure.clone().during(async { 1 }).await, Some(1));
        let working = tokio::spawn(tenure.during(std::future::pending::<()>()));
        ending.end().await;
        assert_eq!(working.await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn its_end_waits_for_those_who_work_under_it() {
        let (tenure, ending) = Tenure::begin(lease());
        let late = tenure.clone();
        drop(tenure);
        tokio::spawn(async move {
            sleep(Duration::from_secs(5)).await;
            drop(late);
        });
        let mut end = std::pin::pin!(ending.end());
        assert!(timeout(Duration::from_secs(4), &mut end).await.is_err());
        assert!(timeout(Duration::from_secs(2), &mut end).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_over_when_nobody_can_end_it() {
        let (tenure, ending) = Tenure::begin(lease());
        drop(ending);
        assert_eq!(tenure.during(std::future::pending::<()>()).await, None);
    }
}
