//! What somebody has changed in a cluster of what a workload declares there: it is found by asking the cluster what another
//! apply would change, and the ledger is asked before it is brought back.

use super::{
    super::workload::write::{self, Reason},
    locked,
    part::{Look, Own, There},
    take::{self, Candidate, Taking},
};
use crate::objects::EngineError;
use quarterdeck_clusters::{
    ClusterError, How,
    deployment::{self, Deployment, Drift, Wanted},
};
use quarterdeck_model::{
    Key,
    kinds::{InstancePhase, Permit},
};
use quarterdeck_store::Precondition;
use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

/// How often it is looked whether a Deployment is as it was applied, should nothing tell that it changed.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(300);

/// What was found when it was looked whether a Deployment is as it was applied.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// Which version of the Deployment, and of what is wanted, was looked at.
    of: (Option<i64>, String),
    at: Instant,
    pub(super) drift: Drift,
    /// Others manage what would be brought back; none of them declares it.
    pub(super) force: bool,
}

/// What was found last of each part, so that the cluster is not asked with each look.
#[derive(Default)]
pub(super) struct Checks(Mutex<HashMap<Key, Checked>>);

impl Checks {
    pub(super) fn forget(&self, part: &Key) {
        locked(&self.0).remove(part);
    }

    pub(super) fn forget_unless(&self, ours: impl Fn(&Key) -> bool) {
        locked(&self.0).retain(|part, _| ours(part));
    }

    fn get(&self, part: &Key, of: &(Option<i64>, String)) -> Option<Checked> {
        let checks = locked(&self.0);
        checks.get(part).filter(|it| it.of == *of && it.at.elapsed() < CHECK_EVERY).cloned()
    }
}

/// Why nothing can be said of a Deployment.
pub(super) enum Refusal {
    /// Others declare what the workload declares.
    Conflict(Vec<String>),
    Error(ClusterError),
}

impl Look<'_> {
    /// Looks whether the Deployment is as it would be if it were applied again: the cluster itself says so.
    pub(super) async fn check(
        &self,
        there: &There,
        live: &Deployment,
        wanted: &Wanted,
    ) -> Result<Checked, Refusal> {
        let of = (live.metadata.generation, wanted.digest.clone());
        if let Some(known) = self.clusters.checked.get(&self.part, &of) {
            return Ok(known);
        }
        let name = &self.workload.metadata.name;
        let would =
            async |force| there.place.apply(name, &wanted.body, How { dry_run: true, force }).await;
        let (would_be, force) = match would(false).await {
            Err(ClusterError::Conflict { managers }) => {
                let declaring = deployment::declaring(live, &managers);
                if !declaring.is_empty() {
                    return Err(Refusal::Conflict(declaring));
                }
                (would(true).await, true)
            }
            other => (other, false),
        };
        let drift = deployment::drift(live, &would_be.map_err(Refusal::Error)?);
        let checked = Checked { of, at: Instant::now(), drift, force };
        locked(&self.clusters.checked.0).insert(self.part.clone(), checked.clone());
        Ok(checked)
    }

    pub(super) fn ready(&self) -> impl Iterator<Item = &Own> {
        self.own.iter().filter(|own| own.instance.status.phase == InstancePhase::Ready)
    }

    /// Asks the ledger for leave to stop so many. Answers what is waited for.
    pub(super) async fn ask(&self, count: usize) -> Result<Option<String>, EngineError> {
        let candidates = self.ready().map(|own| {
            let permit = own.permit.as_ref().and_then(|permit| permit.decode::<Permit>().ok());
            Candidate {
                name: own.object.name().to_owned(),
                created: own.instance.metadata.creation_timestamp,
                asked: permit.map(|permit| (permit.status.phase, permit.status.message)),
            }
        });
        let Taking { granted, ask, waits } = take::take(candidates.collect(), count);
        if granted {
            return Ok(None);
        }
        let mut mutations = Vec::new();
        for own in self.own.iter().filter(|own| ask.iter().any(|name| name == own.object.name())) {
            let named = (own.object.name(), own.object.uid());
            let permit =
                write::permit(&self.key.namespace, named, Reason::Drift, self.objects.now());
            mutations.push(self.objects.put(&permit, Precondition::Absent)?);
        }
        self.commit(mutations).await?;
        Ok(Some(waits.unwrap_or_else(|| "it was asked just now".into())))
    }

    /// Gives back what the ledger has given, once all is as it should be, or does not come to be.
    pub(super) async fn give_back(&self, live: &Deployment) -> Result<(), EngineError> {
        let progress = deployment::progress(live);
        if !progress.complete && progress.failed.is_none() {
            return Ok(());
        }
        self.give_all_back().await
    }

    /// The same when nothing is brought back for now.
    pub(super) async fn give_all_back(&self) -> Result<(), EngineError> {
        let drift = Reason::Drift.name();
        let permits = self.own.iter().filter_map(|own| own.permit.as_ref());
        let permits = permits.filter(|permit| {
            permit.decode::<Permit>().is_ok_and(|permit| permit.spec.runbook == drift)
        });
        let gone = permits.map(|permit| {
            self.objects.delete(permit.key.clone(), Precondition::At(permit.revision))
        });
        self.commit(gone.collect()).await
    }
}
