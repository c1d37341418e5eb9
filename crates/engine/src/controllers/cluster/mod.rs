//! Clusters: each is looked after by the replica that holds its shard, which keeps a connection to it
//! ([`watched`]), tells how it is ([`say`]), and has the parts of workloads run there ([`part`], [`drift`]).
//!
//! There are two sorts of keys: a Cluster, and a part of a workload in a cluster, which is in the cluster's shard, so that
//! whoever holds the connection looks at all that goes through it. What is seen of a cluster is in memory alone; written are
//! phases, numbers of nodes, and Instances.
//!
//! That a cluster is away takes nothing from anybody: its instances are `Unreachable`, and nothing is made elsewhere
//! (docs/decisions/0037-kubernetes-as-a-place.md).

mod drift;
mod entries;
mod instances;
mod machines;
mod part;
mod say;
mod take;
mod turn;
mod turns;
mod watched;

use super::{Controller, garbage};
use crate::{
    events::{self, Happening},
    objects::{EngineError, Objects, decode},
    secrets::StoreSecrets,
    shards::Shard,
};
use machines::MachinesOf;
use quarterdeck_clusters::{Credentials, News, Place, node};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object,
    kinds::{
        Cluster, ClusterPhase, Instance, Machine, Permit, Secret, Site, Workload, WorkloadRevision,
        cluster::{CLUSTER_DETACH, CLUSTER_FINALIZER, KUBECONFIG_KEY},
    },
};
use quarterdeck_providers::{SecretSource as _, http::Reach};
use quarterdeck_store::{Outcome, Precondition, Store, World};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use turns::Turns;
use watched::{Told, Watched};

/// The kind of keys of parts: `CLUSTER/WORKLOAD`, in the namespace of both.
const PART: &str = "workload-in-cluster";
/// How often a cluster is looked at: it may have fallen silent.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Changes are gathered for so long: pods come and go in crowds.
const GATHER: Duration = Duration::from_millis(200);

/// Keeps clusters.
pub(crate) struct Clusters {
    store: Arc<Store>,
    reach: Reach,
    told: Arc<Told>,
    watched: Mutex<HashMap<Key, Watched>>,
    machines: Mutex<HashMap<String, MachinesOf>>,
    /// The workloads that are in a cluster, or are to be, by the Cluster.
    parts: Mutex<HashMap<Key, BTreeSet<String>>>,
    checked: drift::Checks,
    turns: Turns,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one insertion, removal or exchange, so a poisoned lock guards something good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cluster_key(namespace: &str, name: &str) -> Key {
    Key::new(Cluster::info(), namespace, name)
}

fn part_key(cluster: &Key, workload: &str) -> Key {
    let name = format!("{}/{workload}", cluster.name).into();
    Key { kind: PART.into(), namespace: cluster.namespace.clone(), name }
}

/// The Cluster that a key is about.
fn cluster_of(key: &Key) -> Key {
    if &*key.kind != PART {
        return key.clone();
    }
    let name = key.name.split_once('/').map_or("", |(cluster, _)| cluster);
    cluster_key(&key.namespace, name)
}

/// Names of the Clusters that run a part of a workload, or are to.
fn clusters_of(workload: &Workload) -> BTreeSet<String> {
    let wanted = workload.spec.placement.clusters.iter().map(|cluster| cluster.name.clone());
    wanted.chain(workload.status.clusters.iter().map(|cluster| cluster.name.clone())).collect()
}

impl Clusters {
    pub(crate) fn new(store: Arc<Store>, reach: Reach) -> Self {
        let told = Arc::<Told>::default();
        let turns = Turns::new({
            let told = told.clone();
            move |part| told.tell(part)
        });
        Self {
            store,
            reach,
            told,
            watched: Mutex::default(),
            machines: Mutex::default(),
            parts: Mutex::default(),
            checked: drift::Checks::default(),
            turns,
        }
    }

    /// The parts that are in a cluster.
    fn parts_in(&self, cluster: &Key) -> Vec<Key> {
        let parts = locked(&self.parts);
        parts.get(cluster).into_iter().flatten().map(|name| part_key(cluster, name)).collect()
    }

    /// The parts of a workload; they are remembered.
    fn parts_of(&self, object: &Object) -> Vec<Key> {
        // Most workloads are on machines: those are not read.
        if !str::from_utf8(&object.json).is_ok_and(|json| json.contains("\"clusters\"")) {
            return Vec::new();
        }
        let Ok(workload) = object.decode::<Workload>() else { return Vec::new() };
        let mut parts = locked(&self.parts);
        let clusters = clusters_of(&workload).into_iter();
        let part = |name: String| {
            let cluster = cluster_key(object.namespace(), &name);
            parts.entry(cluster.clone()).or_default().insert(object.name().to_owned());
            part_key(&cluster, object.name())
        };
        clusters.map(part).collect()
    }

    /// A part that is in a cluster no more.
    fn forget_part(&self, cluster: &Key, workload: &str) {
        let mut parts = locked(&self.parts);
        if let Some(there) = parts.get_mut(cluster) {
            there.remove(workload);
            if there.is_empty() {
                parts.remove(cluster);
            }
        }
        let part = part_key(cluster, workload);
        self.checked.forget(&part);
        self.turns.leave(cluster, &part);
    }

    /// A cluster that is there no more. Of a namespace without clusters nothing has to be known.
    fn forget_cluster(&self, cluster: &Key) {
        let mut watched = locked(&self.watched);
        watched.remove(cluster);
        keep_machines(&mut locked(&self.machines), &watched);
    }
}

impl Controller for Clusters {
    const NAME: &'static str = "clusters";
    // Most of them wait for answers.
    const WORKERS: usize = 32;

    fn follows(&self) -> Vec<KindRef> {
        vec![
            Cluster::info(),
            Secret::info(),
            Workload::info(),
            WorkloadRevision::info(),
            Instance::info(),
            Permit::info(),
            Machine::info(),
        ]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        let namespace = object.namespace();
        if object.kind == Cluster::info() {
            return [object.key.clone()].into_iter().chain(self.parts_in(&object.key)).collect();
        }
        let world = self.store.world();
        if object.kind == Secret::info() {
            let named = format!("spec.kubeconfigSecretRef.name={}", object.name());
            let named = world.with_fields(Cluster::info(), &named);
            return named.iter().map(|cluster| cluster.key.clone()).collect();
        }
        if object.kind == Workload::info() {
            return self.parts_of(object);
        }
        if object.kind == Machine::info() {
            let known = locked(&self.machines)
                .get_mut(namespace)
                .is_some_and(|machines| machines.note(object, gone));
            let watched = locked(&self.watched);
            let there = watched.keys().filter(|cluster| *cluster.namespace == *namespace);
            return if known { there.cloned().collect() } else { Vec::new() };
        }
        let of_instance = |instance: &Object| {
            let field = |path| instance.field(path).filter(|value| !value.is_empty());
            let host = field("spec.host.name").zip(field("spec.workload"));
            let (cluster, workload) =
                host.filter(|_| field("spec.host.kind") == Some(Cluster::KIND))?;
            Some(part_key(&cluster_key(namespace, cluster), workload))
        };
        if object.kind == Instance::info() {
            return of_instance(object).into_iter().collect();
        }
        if object.kind == Permit::info() {
            if object.field("spec.target.kind") != Some(Instance::KIND) {
                return Vec::new();
            }
            let instance = object.field("spec.target.name").unwrap_or_default();
            let instance = world.get(Instance::info(), namespace, instance);
            return instance.and_then(|instance| of_instance(&instance)).into_iter().collect();
        }
        let workload = object.field("spec.workload").unwrap_or_default();
        let workload = world.get(Workload::info(), namespace, workload);
        workload.map(|workload| self.parts_of(&workload)).unwrap_or_default()
    }

    fn shard(&self, _world: &World, key: &Key) -> Shard {
        Shard::of(&cluster_of(key))
    }

    fn forget(&self, ours: &dyn Fn(&Key) -> bool) {
        {
            let mut watched = locked(&self.watched);
            watched.retain(|cluster, _| ours(cluster));
            keep_machines(&mut locked(&self.machines), &watched);
        }
        self.checked.forget_unless(|part| ours(&cluster_of(part)));
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    fn told(&self) -> impl Future<Output = Key> + Send {
        self.told.next()
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        match key.name.split_once('/') {
            Some((_, workload)) if &*key.kind == PART => {
                self.look_at_part(objects, &cluster_of(key), workload).await
            }
            _ => self.look_at_cluster(objects, key).await,
        }
    }
}

impl Clusters {
    async fn look_at_cluster(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().fresh().await?;
        let Some(object) = world.get(Cluster::info(), &key.namespace, &key.name) else {
            self.forget_cluster(key);
            return Ok(None);
        };
        let cluster: Cluster = decode(&object)?;
        let there = self.workloads_there(&world, key)?;
        if object.deleting() {
            let detached = cluster.metadata.annotations.contains_key(CLUSTER_DETACH);
            if detached || there == 0 {
                garbage::release(objects, key, CLUSTER_FINALIZER).await?;
                return Ok(None);
            }
        }
        let trouble = self.connect(&world, key, &cluster).await;
        let links = self.link(key);
        let seen = {
            let watched = locked(&self.watched);
            let Some(watched) = watched.get(key) else { return Ok(Some(LOOK_AGAIN)) };
            say::Seen {
                heard: watched.heard(),
                silent: watched.silent(),
                nodes: watched.place.as_ref().and_then(|place| place.nodes()),
                links,
                trouble,
                workloads: there,
                site_missing: site_missing(&world, &cluster),
                twin: None,
                now: objects.now(),
            }
        };
        let twin = twin(
            &world,
            &object,
            seen.heard.id.as_deref().or(cluster.status.cluster_id.as_deref()),
        );
        let status = say::status(&cluster, &say::Seen { twin, ..seen });
        if status == cluster.status {
            return Ok(Some(LOOK_AGAIN));
        }
        let (before, after) = (cluster.status.phase, status.phase);
        let next = Cluster { status, ..cluster };
        let mut mutations = vec![objects.put(&next, Precondition::At(object.revision))?];
        if before != after && [before, after].contains(&ClusterPhase::Unreachable) {
            let message = say::reachable(&next.status);
            let happening = Happening {
                component: Self::NAME,
                reason: if after == ClusterPhase::Unreachable {
                    "Unreachable"
                } else {
                    "Reachable"
                },
                message: &message,
                warning: after == ClusterPhase::Unreachable,
                number: object.revision.0,
                place: 0,
            };
            mutations.push(objects.tell(&events::about(&object, &happening, objects.now()))?);
        }
        let outcomes = objects.commit(mutations).await?;
        // Whoever came between made a change that brings us here again.
        let written = matches!(outcomes.first(), Some(Outcome::Committed(_)));
        Ok(Some(if written { LOOK_AGAIN } else { GATHER }))
    }

    /// How many workloads are in a cluster, as they say themselves.
    fn workloads_there(&self, world: &World, cluster: &Key) -> Result<u32, EngineError> {
        let names = locked(&self.parts).get(cluster).cloned().unwrap_or_default();
        let mut count = 0;
        for name in names {
            let Some(object) = world.get(Workload::info(), &cluster.namespace, &name) else {
                continue;
            };
            let workload: Workload = decode(&object)?;
            let is = |there: &str| there == &*cluster.name;
            count += u32::from(workload.status.clusters.iter().any(|there| is(&there.name)));
        }
        Ok(count)
    }

    /// Sees to it that there is a connection as the Secret says now. Answers why there can be none.
    async fn connect(&self, world: &World, key: &Key, cluster: &Cluster) -> Option<say::Trouble> {
        let secret = &cluster.spec.kubeconfig_secret_ref;
        let object = world.get(Secret::info(), &secret.namespace, &secret.name);
        let version = object.as_ref().map(|object| object.revision);
        {
            let mut watched = locked(&self.watched);
            let watched = watched.entry(key.clone()).or_insert_with(Watched::new);
            if let Some(version) = version
                && watched.opened_with.as_ref() == Some(&(secret.clone(), version))
            {
                return watched.trouble.clone();
            }
            // A namespace that goes takes its Secrets first: what runs in the cluster is removed all the same.
            let leaving = cluster.metadata.deletion_timestamp.is_some();
            if version.is_none() && leaving && watched.place.is_some() {
                return None;
            }
        }
        let data = StoreSecrets(self.store.clone()).get(&secret.namespace, &secret.name);
        let text = data.and_then(|data| data.get(KUBECONFIG_KEY).cloned());
        let opened = match text {
            None => Err(say::Trouble::no_secret(secret)),
            Some(text) => self.open(key, &text).await,
        };
        let mut watched = locked(&self.watched);
        let watched = watched.entry(key.clone()).or_insert_with(Watched::new);
        watched.opened_with = version.map(|version| (secret.clone(), version));
        watched.note_opened(opened);
        watched.trouble.clone()
    }

    async fn open(&self, key: &Key, text: &[u8]) -> Result<Option<Arc<Place>>, say::Trouble> {
        let credentials =
            Credentials::parse(text, self.reach).await.map_err(say::Trouble::unusable)?;
        let same = |place: &Arc<Place>| place.fingerprint() == credentials.fingerprint();
        if locked(&self.watched).get(key).and_then(|it| it.place.as_ref()).is_some_and(same) {
            return Ok(None);
        }
        let (told, cluster) = (self.told.clone(), key.clone());
        let tell = move |news: News| match news {
            News::Heard | News::Nodes => told.tell(cluster.clone()),
            News::Workload(name) => told.tell(part_key(&cluster, &name)),
        };
        let place = Place::open(&credentials, &key.namespace, tell);
        place
            .map(|place| Some(Arc::new(place)))
            .map_err(|it| say::Trouble::unusable(it.to_string()))
    }

    /// Which machine each node is. Where that has changed, the parts that are there are looked at.
    fn link(&self, key: &Key) -> Arc<BTreeMap<String, node::Link>> {
        let place = locked(&self.watched).get(key).and_then(|watched| watched.place.clone());
        let Some(nodes) = place.and_then(|place| place.nodes()) else { return Arc::default() };
        let links = {
            let mut machines = locked(&self.machines);
            let machines = machines
                .entry(key.namespace.to_string())
                // The newest: whoever follows machines notes what changes from now on, and not what came before.
                .or_insert_with(|| MachinesOf::read(&self.store.world(), &key.namespace));
            Arc::new(node::links(nodes.iter(), machines.names()))
        };
        let changed = {
            let mut watched = locked(&self.watched);
            let Some(watched) = watched.get_mut(key) else { return links };
            let changed = watched.links != links;
            watched.links = links.clone();
            changed
        };
        if changed {
            self.parts_in(key).into_iter().for_each(|part| self.told.tell(part));
        }
        links
    }
}

/// Keeps what is known of machines in namespaces that have clusters.
fn keep_machines(machines: &mut HashMap<String, MachinesOf>, watched: &HashMap<Key, Watched>) {
    machines.retain(|namespace, _| watched.keys().any(|cluster| *cluster.namespace == **namespace));
}

/// The Site that a cluster names, if there is none of that name.
fn site_missing(world: &World, cluster: &Cluster) -> Option<String> {
    let site = cluster.spec.location.as_ref()?.site.clone()?;
    world.get(Site::info(), "", &site).is_none().then_some(site)
}

/// Another Cluster of the namespace that is the same cluster.
fn twin(world: &World, object: &Object, id: Option<&str>) -> Option<String> {
    let id = id?;
    let in_namespace = format!("metadata.namespace={}", object.namespace());
    // A namespace has a few clusters.
    world.with_fields(Cluster::info(), &in_namespace).into_iter().find_map(|other| {
        let cluster: Cluster = other.decode().ok().filter(|_| other.name() != object.name())?;
        (cluster.status.cluster_id.as_deref() == Some(id)).then(|| other.name().to_owned())
    })
}

#[cfg(test)]
mod tests;
