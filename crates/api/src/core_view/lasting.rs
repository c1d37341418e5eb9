//! What a session with a container is bound to besides its two ends: who asked may still do so, the plane goes on, and no
//! session lasts for ever.

use crate::{
    authorize::{Ask, Authorizer, Policy},
    fairness::Open,
    identity::{Caller, Shown},
};
use jiff::Timestamp;
use quarterdeck_store::Store;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// How often it is looked whether its caller may go on.
const LOOK: Duration = Duration::from_secs(5);
/// How long a session lasts at most. Who reads a log begins another one.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Who has a session, and until when.
pub(crate) struct Lasting {
    pub(crate) store: Arc<Store>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) shown: Shown,
    /// The Pod.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What it is asked for: verb and part.
    pub(crate) asks: (&'static str, &'static str),
    pub(crate) stop: watch::Receiver<bool>,
    /// Counts it for as long as it lasts.
    pub(crate) _open: Open,
    pub(crate) began: Instant,
}

impl Lasting {
    /// Waits until it is over, and says why. May be dropped and called again.
    pub(crate) async fn over(&mut self) -> &'static str {
        loop {
            if !self.may_go_on() {
                return "you may not have it any more";
            }
            if self.began.elapsed() > LONGEST {
                return "a session lasts for a day at most; begin another one";
            }
            // As well when nobody is left who could say so.
            let stopped = timeout(LOOK, self.stop.wait_for(|stop| *stop)).await.is_ok();
            if stopped {
                return "this replica stops; begin another one";
            }
        }
    }

    /// Costs next to nothing while no role or binding changes.
    fn may_go_on(&mut self) -> bool {
        if !self.shown.holds(Timestamp::now(), &self.store.world()) {
            return false;
        }
        let policy = self.authorizer.policy(&self.store);
        if Arc::ptr_eq(&policy, &self.policy) {
            return true;
        }
        self.policy = policy;
        let (verb, subresource) = self.asks;
        let (namespace, name) = (&*self.namespace, &*self.name);
        let ask = Ask::Resource { verb, group: "", resource: "pods", subresource, namespace, name };
        self.policy.decide(&self.caller, &ask).allowed()
    }
}
