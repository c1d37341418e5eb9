//! A part of a workload in a cluster: its Deployment is applied there, brought back when somebody changed it, and removed when
//! it is not to be there any more; its pods are written down as Instances, and how it stands in the workload's status.
//!
//! A change of the workload is its owner's, and is applied as it is: Kubernetes rolls it out. What the plane does by itself,
//! which is to bring back what somebody changed in the cluster, asks the ledger before it takes pods ([`super::drift`]).

use super::{
    super::workload::members::{self, Revisions},
    Clusters, GATHER, LOOK_AGAIN,
    drift::{CHECK_EVERY, Refusal},
    entries::write_down,
    instances, locked, part_key, say,
    turn::revision_here,
    turns::Turn,
};
use crate::{
    controllers::owned_by,
    objects::{EngineError, Objects, decode},
};
use quarterdeck_clusters::{
    ClusterError, How, Place,
    deployment::{self, Deployment, Drift, Owner, Part, Wanted},
    node::Link,
    pod::Pod,
};
use quarterdeck_model::{
    Key, Kind as _, Object,
    kinds::{
        Cluster, ClusterPhase, HostKind, Instance, InstancePhase, Namespace, Workload,
        WorkloadClusterPhase, WorkloadClusterStatus, cluster::CLUSTER_FINALIZER,
        workload_clusters::IN_CLUSTERS_FINALIZER,
    },
};
use quarterdeck_store::{Mutation, Precondition, World};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// Pods beside those of two revisions that are written down: some end, fail and are made again.
const PODS_BESIDE: usize = 100;
/// Writes in one commit: others get their turn in between.
const WRITES_MAX: usize = 256;

/// An instance of the part, as it is written.
pub(super) struct Own {
    pub(super) object: Arc<Object>,
    pub(super) instance: Instance,
    pub(super) permit: Option<Arc<Object>>,
}

/// One look at a part.
pub(super) struct Look<'a> {
    pub(super) clusters: &'a Clusters,
    pub(super) objects: &'a Objects,
    world: &'a World,
    /// The Cluster's key, and the part's.
    pub(super) key: &'a Key,
    pub(super) part: Key,
    object: &'a Object,
    pub(super) workload: &'a Workload,
    /// Its place in the list of clusters, while it is to be in this one.
    at: Option<usize>,
    before: WorkloadClusterStatus,
    pub(super) own: Vec<Own>,
}

/// How a part stands, but for its numbers.
struct Stand {
    phase: WorkloadClusterPhase,
    reason: String,
    message: Option<String>,
    revision: Option<i64>,
}

impl Stand {
    fn new(
        phase: WorkloadClusterPhase,
        reason: impl Into<String>,
        message: impl Into<Option<String>>,
        revision: Option<i64>,
    ) -> Self {
        Self { phase, reason: reason.into(), message: message.into(), revision }
    }
}

/// What is seen through the connection.
pub(super) struct There {
    pub(super) place: Arc<Place>,
    pods: BTreeMap<String, Pod>,
    live: Option<Arc<Deployment>>,
    links: Arc<BTreeMap<String, Link>>,
    /// Given back when the look is over.
    _turn: Turn,
}

/// What there is of the connection.
enum Seen {
    There(There),
    /// Not all of it has come.
    NotYet,
    /// Others are looked at in this cluster, or wait for longer.
    Busy,
}

impl Clusters {
    pub(super) async fn look_at_part(
        &self,
        objects: &Objects,
        key: &Key,
        name: &str,
    ) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().fresh().await?;
        let Some(object) = world.get(Workload::info(), &key.namespace, name) else {
            self.forget_part(key, name);
            return Ok(None);
        };
        let workload: Workload = decode(&object)?;
        let leaving = object.deleting()
            || world.get(Namespace::info(), "", &key.namespace).is_some_and(|it| it.deleting());
        let is = |other: &str| other == &*key.name;
        let at = workload.spec.placement.clusters.iter().position(|it| is(&it.name));
        let at = at.filter(|_| !leaving);
        let before = workload.status.clusters.iter().find(|it| is(&it.name)).cloned();
        if at.is_none() && before.is_none() {
            self.forget_part(key, name);
            if object.deleting() {
                // It came to be nowhere, or is nowhere any more.
                write_down(objects, &object.key, &key.name, None).await?;
            }
            return Ok(None);
        }
        let look = Look {
            clusters: self,
            objects,
            world: &world,
            key,
            part: part_key(key, name),
            object: &object,
            workload: &workload,
            at,
            before: before.unwrap_or_else(|| WorkloadClusterStatus {
                name: key.name.to_string(),
                ..WorkloadClusterStatus::default()
            }),
            own: own(&world, &workload, &key.name)?,
        };
        look.take_a_step().await
    }
}

/// Instances of a workload that are in a cluster.
fn own(world: &World, workload: &Workload, cluster: &str) -> Result<Vec<Own>, EngineError> {
    let mut own = Vec::new();
    for object in owned_by(world, &workload.metadata) {
        if object.kind != Instance::info() || object.field("spec.host.name") != Some(cluster) {
            continue;
        }
        let instance: Instance = decode(object)?;
        if instance.spec.host.kind == HostKind::Cluster {
            let permit = members::permit_of(world, object);
            own.push(Own { object: object.clone(), instance, permit });
        }
    }
    Ok(own)
}

impl Look<'_> {
    async fn take_a_step(&self) -> Result<Option<Duration>, EngineError> {
        let object = self.world.get(Cluster::info(), &self.key.namespace, &self.key.name);
        let Some(object) = object else {
            let why = format!("Cluster {} does not exist", self.key.name);
            return self.is_away("ClusterNotFound", why).await;
        };
        let cluster: Cluster = decode(&object)?;
        if cluster.status.phase == ClusterPhase::Unreachable {
            let why = say::reachable(&cluster.status);
            return self.is_away("ClusterUnreachable", why).await;
        }
        let there = match self.there() {
            Seen::There(there) => Some(there),
            Seen::NotYet => None,
            // It is told when it is next.
            Seen::Busy => return Ok(Some(LOOK_AGAIN)),
        };
        let Some(there) = there else {
            // All of it is listed in a moment; what was written down before that stays.
            if self.before.phase_since.is_none() && self.at.is_some() {
                let mut message = format!("Cluster {} is not connected yet", self.key.name);
                if cluster.status.phase != ClusterPhase::Ready {
                    message = format!("{message}: {}", say::reachable(&cluster.status));
                }
                let stand =
                    Stand::new(WorkloadClusterPhase::Pending, "NotConnected", message, None);
                self.write(Some(self.entry(stand, None))).await?;
            }
            return Ok(Some(LOOK_AGAIN));
        };
        let stand = match self.at {
            Some(_) if object.deleting() => {
                let message = format!(
                    "Cluster {} is to go; nothing is changed in it any more",
                    self.key.name
                );
                let revision = there.live.as_deref().and_then(deployment::revision);
                self.give_all_back().await?;
                Stand::new(WorkloadClusterPhase::Waiting, "ClusterLeaving", message, revision)
            }
            Some(at) => {
                if self.holds(&object).await? {
                    return Ok(Some(GATHER));
                }
                // That something may be there is known before it is: the cluster and the workload stay for it.
                if self.before.phase_since.is_none() {
                    let message = "its Deployment is about to be applied".to_owned();
                    let stand = Stand::new(WorkloadClusterPhase::Pending, "Begins", message, None);
                    self.write(Some(self.entry(stand, None))).await?;
                    return Ok(Some(GATHER));
                }
                self.keep(&there, at).await?
            }
            None => match self.leave(&there).await {
                Some(stand) => stand,
                None => {
                    let gone = self.own.iter().filter_map(|own| self.objects.removal(&own.object));
                    self.commit(gone.collect()).await?;
                    self.write(None).await?;
                    return Ok(Some(GATHER));
                }
            },
        };
        self.sync(&there).await?;
        // Whatever changes there is told; that alone would be a world without lost messages.
        let again =
            if stand.phase == WorkloadClusterPhase::Complete { CHECK_EVERY } else { LOOK_AGAIN };
        self.write(Some(self.entry(stand, Some(&there)))).await?;
        Ok(Some(again))
    }

    fn there(&self) -> Seen {
        let watched = locked(&self.clusters.watched);
        let Some(watched) = watched.get(self.key) else { return Seen::NotYet };
        let Some(place) = watched.place.clone() else { return Seen::NotYet };
        let name = &self.workload.metadata.name;
        let (Some(mut pods), Some(live)) = (place.pods(name), place.deployment(name)) else {
            return Seen::NotYet;
        };
        let links = watched.links.clone();
        let Some(turn) = self.clusters.turns.take(self.key, &self.part) else { return Seen::Busy };
        pods.retain(|_, pod| *pod.cluster == *self.key.name);
        Seen::There(There { place, pods, live, links, _turn: turn })
    }

    /// Holds the workload and the cluster while one is in the other. Answers whether something was written.
    async fn holds(&self, cluster: &Object) -> Result<bool, EngineError> {
        let mut written = false;
        for (object, finalizer) in
            [(self.object, IN_CLUSTERS_FINALIZER), (cluster, CLUSTER_FINALIZER)]
        {
            written |= self
                .objects
                .modify(&object.key, |value| {
                    let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut)
                    else {
                        return false;
                    };
                    if meta.contains_key("deletionTimestamp") {
                        return false;
                    }
                    let held = meta.entry("finalizers").or_insert_with(|| json!([]));
                    let Some(held) = held.as_array_mut() else { return false };
                    let there = held.iter().any(|it| it == finalizer);
                    if !there {
                        held.push(finalizer.into());
                    }
                    !there
                })
                .await?;
        }
        Ok(written)
    }

    /// Nothing is heard of the cluster: what is there is not known, and nothing is made elsewhere.
    async fn is_away(&self, reason: &str, why: String) -> Result<Option<Duration>, EngineError> {
        let gone = reason == "ClusterNotFound";
        if self.at.is_none() && gone {
            // Nobody here can reach it any more, so that nothing is left to wait for.
            let removed = self.own.iter().filter_map(|own| self.objects.removal(&own.object));
            self.commit(removed.collect()).await?;
            self.write(None).await?;
            return Ok(None);
        }
        let (now, mut mutations) = (self.objects.now(), Vec::new());
        for own in &self.own {
            if let Some(status) = instances::unreachable(&own.instance.status, &why, now) {
                let next = Instance { status, ..own.instance.clone() };
                mutations.push(self.objects.put(&next, Precondition::At(own.object.revision))?);
            }
        }
        self.commit(mutations).await?;
        let stand = Stand {
            phase: WorkloadClusterPhase::Unreachable,
            reason: reason.into(),
            message: Some(why),
            revision: self.before.revision,
        };
        self.write(Some(self.entry(stand, None))).await?;
        Ok(None)
    }

    /// Sees to it that the Deployment is there, and is as it is wanted.
    async fn keep(&self, there: &There, at: usize) -> Result<Stand, EngineError> {
        use WorkloadClusterPhase::{Pending, Refused};
        let revisions = Revisions::of(self.world, self.workload)?;
        let Some(target) = revisions.number(&self.workload.spec.template) else {
            let message = "its revision is being written down".to_owned();
            return Ok(Stand::new(Pending, "NoRevision", message, self.before.revision));
        };
        let share = self.workload.spec.placement.shares(self.workload.spec.replicas);
        let share = share.get(at).copied().unwrap_or_default();
        let current = there.live.as_deref().and_then(deployment::revision);
        let (here, waits) = revision_here(self.workload, at, target, current);
        let Some(template) = revisions.template(here, self.workload) else {
            return Ok(Stand::new(Pending, "NoRevision", None, self.before.revision));
        };
        let part = Part {
            workload: self.workload,
            cluster: &self.key.name,
            revision: (here, template),
            replicas: share,
        };
        let wanted = part.wanted();
        let live = match &there.live {
            Some(live) => Ok(Some(live.clone())),
            // One without the label is not seen, and might be somebody else's.
            None => there.place.get(&self.workload.metadata.name).await.map(|it| it.map(Arc::new)),
        };
        let live = match live {
            Ok(Some(live)) => live,
            Ok(None) => {
                let applied = self.apply(there, &wanted, false).await;
                return Ok(self.applied(applied, here));
            }
            Err(error) => return Ok(self.refused(&error, current)),
        };
        let name = format!("Deployment {}/{}", self.key.namespace, self.workload.metadata.name);
        let taken = match deployment::owner(&live, &self.workload.metadata.uid, &self.key.name) {
            Owner::Ours => None,
            Owner::Stranger => Some(format!(
                "{name} is there already and is not this workload's; remove it there, or give the workload another name"
            )),
            Owner::OtherCluster(other) => Some(format!(
                "{name} is this workload's part in Cluster {other}, which is the same cluster; name only one of them"
            )),
        };
        if let Some(message) = taken {
            self.give_all_back().await?;
            return Ok(Stand::new(Refused, "Taken", message, None));
        }
        let checked = match self.check(there, &live, &wanted).await {
            Ok(checked) => checked,
            Err(Refusal::Conflict(managers)) => {
                let message = format!(
                    "{} declares fields of {name} that the workload declares, too; have it leave them out, or take this cluster \
                     out of spec.placement.clusters",
                    managers.join(", ")
                );
                self.give_all_back().await?;
                return Ok(Stand::new(Refused, "Conflict", message, current));
            }
            Err(Refusal::Error(error)) => return Ok(self.refused(&error, current)),
        };
        // A change of the workload is its owner's.
        let asked_for = deployment::declared(&live) != (Some(here), Some(share));
        let takes = match checked.drift {
            Drift::None => {
                self.give_back(&live).await?;
                return Ok(self.progress(&live, (here, target), waits));
            }
            Drift::Harmless => 0,
            _ if asked_for => 0,
            Drift::TooMany(more) => {
                let sick = self.own.len().saturating_sub(self.ready().count());
                usize::try_from(more).unwrap_or(usize::MAX).saturating_sub(sick)
            }
            Drift::Template => {
                let (_, unavailable) = deployment::at_once(self.workload, share);
                usize::try_from(unavailable.max(1)).unwrap_or(usize::MAX)
            }
        };
        if let Some(said) = self.ask(takes).await? {
            let what = if checked.drift == Drift::Template {
                "its pods are of something else"
            } else {
                "it has too many pods"
            };
            let message = format!(
                "{name} is not as the workload declares it: {what}. It is brought back with leave of the ledger: {said}"
            );
            return Ok(Stand::new(
                WorkloadClusterPhase::Waiting,
                "WaitsForLedger",
                message,
                current,
            ));
        }
        let applied = self.apply(there, &wanted, checked.force).await;
        Ok(self.applied(applied, here))
    }

    async fn apply(
        &self,
        there: &There,
        wanted: &Wanted,
        force: bool,
    ) -> Result<Deployment, ClusterError> {
        let how = How { dry_run: false, force };
        let applied = there.place.apply(&self.workload.metadata.name, &wanted.body, how).await;
        // Labels and annotations that are brought back are no new generation.
        self.clusters.checked.forget(&self.part);
        applied
    }

    /// How it stands when it was applied just now.
    fn applied(&self, applied: Result<Deployment, ClusterError>, revision: i64) -> Stand {
        match applied {
            Ok(_) => Stand::new(WorkloadClusterPhase::Progressing, "Applied", None, Some(revision)),
            Err(error) => self.refused(&error, self.before.revision),
        }
    }

    fn refused(&self, error: &ClusterError, revision: Option<i64>) -> Stand {
        let (phase, reason) = match error {
            ClusterError::Away(_) => (WorkloadClusterPhase::Pending, "NoAnswer"),
            ClusterError::Forbidden(_) => (WorkloadClusterPhase::Refused, "Forbidden"),
            ClusterError::Conflict { .. } => (WorkloadClusterPhase::Refused, "Conflict"),
            ClusterError::Invalid(_) | ClusterError::NotFound(_) => {
                (WorkloadClusterPhase::Refused, "Invalid")
            }
        };
        let message = format!("Cluster {}: {error}", self.key.name);
        Stand::new(phase, reason, message, revision)
    }

    fn progress(
        &self,
        live: &Deployment,
        (here, target): (i64, i64),
        waits: Option<String>,
    ) -> Stand {
        use WorkloadClusterPhase::{Complete, Progressing, Waiting};
        let progress = deployment::progress(live);
        if let Some((reason, why)) = progress.failed {
            let message = format!("revision {here} does not come to be available: {why}");
            return Stand::new(Progressing, reason, message, Some(here));
        }
        match (waits, progress.complete) {
            (Some(why), _) => Stand::new(Waiting, "InTurn", why, Some(here)),
            (None, true) if here == target => Stand::new(Complete, "Complete", None, Some(here)),
            (None, _) => Stand::new(Progressing, "RollingOut", None, Some(here)),
        }
    }

    /// Has what is there removed. Answers how far that is; nothing, when all of it is gone.
    async fn leave(&self, there: &There) -> Option<Stand> {
        use WorkloadClusterPhase::Leaving;
        let revision = self.before.revision;
        let meta = &self.workload.metadata;
        if let Some(live) = &there.live
            && deployment::owner(live, &meta.uid, &self.key.name) == Owner::Ours
        {
            let uid = live.metadata.uid.as_deref().unwrap_or_default();
            // That it is on its way out is known when it is asked once more.
            if let Err(error) = there.place.remove(&meta.name, uid).await {
                let message = format!("its Deployment cannot be removed: {error}");
                return Some(Stand::new(Leaving, "CannotLeave", message, revision));
            }
            let message = "its Deployment is being removed".to_owned();
            return Some(Stand::new(Leaving, "Leaving", message, revision));
        }
        let left = there.pods.len();
        let message = format!("{left} pods are being removed");
        (left > 0).then(|| Stand::new(Leaving, "Leaving", message, revision))
    }

    /// Brings instances to what the pods are.
    async fn sync(&self, there: &There) -> Result<(), EngineError> {
        let own: HashMap<String, Instance> = self
            .own
            .iter()
            .map(|own| (own.object.name().to_owned(), own.instance.clone()))
            .collect();
        let pods = instances::Pods {
            workload: self.workload,
            cluster: &self.key.name,
            pods: &there.pods,
            links: &there.links,
            now: self.objects.now(),
        };
        let instances::Changes { create, change, remove } = pods.changes(&own);
        let mut mutations: Vec<Mutation> = Vec::new();
        // Nothing comes into what is on its way out, and no more than a rollout of it can have: what a cluster says is bounded.
        let shares = self.workload.spec.placement.shares(self.workload.spec.replicas);
        let share = self.at.and_then(|at| shares.get(at).copied()).unwrap_or_default();
        let most = usize::try_from(share).unwrap_or(usize::MAX).saturating_mul(2);
        let most = most.saturating_add(PODS_BESIDE).saturating_sub(self.own.len());
        for instance in create.iter().filter(|_| self.at.is_some()).take(most) {
            mutations.push(self.objects.put(instance, Precondition::Absent)?);
        }
        let by_name: HashMap<&str, &Own> =
            self.own.iter().map(|own| (own.object.name(), own)).collect();
        for (name, status) in change {
            let Some(own) = by_name.get(name.as_str()) else { continue };
            let next = Instance { status, ..own.instance.clone() };
            mutations.push(self.objects.put(&next, Precondition::At(own.object.revision))?);
        }
        let gone = remove.iter().filter_map(|name| by_name.get(name.as_str()));
        mutations.extend(gone.filter_map(|own| self.objects.removal(&own.object)));
        self.commit(mutations).await
    }

    /// Whoever came between made a change that brings us here again.
    pub(super) async fn commit(&self, mut mutations: Vec<Mutation>) -> Result<(), EngineError> {
        while !mutations.is_empty() {
            let rest = mutations.split_off(mutations.len().min(WRITES_MAX));
            self.objects.commit(mutations).await?;
            mutations = rest;
        }
        Ok(())
    }

    /// How it stands, with its numbers; without pods, those that are not known any more are none.
    fn entry(&self, stand: Stand, there: Option<&There>) -> WorkloadClusterStatus {
        let spec = &self.workload.spec;
        let shares = spec.placement.shares(spec.replicas);
        let now = self.objects.now();
        let pods = || there.into_iter().flat_map(|there| there.pods.values());
        let count = |that: &dyn Fn(&Pod) -> bool| {
            u32::try_from(pods().filter(|pod| that(pod)).count()).unwrap_or(u32::MAX)
        };
        let up = |pod: &Pod| !matches!(pod.phase, InstancePhase::Stopping | InstancePhase::Failed);
        let ready = |pod: &Pod| pod.phase == InstancePhase::Ready;
        // By the cluster's clock.
        let live = there.and_then(|there| there.live.as_ref()?.status.as_ref());
        let available = live.and_then(|live| live.available_replicas).unwrap_or_default();
        let same = self.before.phase == stand.phase;
        WorkloadClusterStatus {
            name: self.key.name.to_string(),
            phase: stand.phase,
            phase_since: self.before.phase_since.filter(|_| same).or(Some(now)),
            replicas: self.at.and_then(|at| shares.get(at).copied()).unwrap_or_default(),
            revision: stand.revision,
            updated_replicas: count(&|pod| up(pod) && pod.revision == stand.revision),
            ready_replicas: count(&ready),
            available_replicas: u32::try_from(available).unwrap_or_default(),
            reason: Some(stand.reason),
            message: stand.message,
        }
    }

    async fn write(&self, entry: Option<WorkloadClusterStatus>) -> Result<(), EngineError> {
        write_down(self.objects, &self.object.key, &self.key.name, entry).await
    }
}
