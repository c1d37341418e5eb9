//! Workloads: their instances are placed, kept at their number, rolled out and mended. What a workload has is seen from its
//! instances, so nothing is remembered of it but what placement decides on ([`room`]).
//!
//! - [`plan`] says which instances come and go, [`rollout`] how far a rollout is; [`lost`] when a silent host is given up. Both pure.
//! - [`room`] finds machines. All workloads are in one shard, so that one replica alone places: nothing comes between what
//!   is decided and what is noted, and a replica that lost the shard cannot write (docs/decisions/0031-placement.md).
//! - [`in_clusters`] is all that is done here for a workload that clusters run: they place and mend it themselves.
//! - [`checks`] looks outside; [`say`] is the status; [`write`] the objects.
//!
//! What is up is taken only with leave of the ledger, which is asked with a Permit that belongs to the instance. Nothing
//! here runs anything: the agents of hosts do.

mod checks;
mod in_clusters;
mod lost;
pub(super) mod members;
mod plan;
mod rollout;
mod room;
mod say;
mod seen;
mod work;
pub(super) mod write;

use super::{Controller, garbage, numbered, owned_by};
use crate::{
    actions::Actions,
    objects::{EngineError, Objects, decode},
    shards::Shard,
};
use lost::Verdict;
use members::{Own, Revisions, machine_is_gone, member, permit_of, resumed};
use plan::{Plan, Situation, plan};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object, Time,
    kinds::{
        Instance, InstancePhase, Machine, Namespace, Permit, Workload,
        container::CONTAINERS_FINALIZER, instances_on_machine,
    },
};
use quarterdeck_store::{Mutation, Outcome, Precondition, Store, StoreError, World};
use room::Rooms;
use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use work::Work;

/// Letters of an instance's name after the workload's.
const LETTERS: usize = 6;
/// Label of a workload's instances: its name.
pub(super) const WORKLOAD: &str = "quarterdeck.dev/workload";
/// Label of a workload's instances: of which revision they are.
pub(super) const REVISION: &str = "quarterdeck.dev/revision";
/// Label of a workload's instances: whether they are of the revision that serves.
pub(super) const ACTIVE: &str = "quarterdeck.dev/active";
/// Annotation of a workload: `REVISION/STEP` of the rollout that a person has let go on.
const RESUME: &str = "quarterdeck.dev/resume-rollout";
/// What instances are stopped for, where a freeze names what it excepts.
const ROLLOUT: &str = "workload-rollout";
const MOVE: &str = "workload-move";
const PREEMPT: &str = "workload-preempt";
const DRIFT: &str = "workload-drift";
/// Changes are gathered for so long: all instances of the workload are looked at.
const GATHER: Duration = Duration::from_millis(100);
/// How soon a workload is looked at again for which there is no machine: most of what makes room tells of that.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Keeps workloads.
pub(crate) struct Workloads {
    store: Arc<Store>,
    actions: Arc<Actions>,
    rooms: Mutex<Rooms>,
    /// Workloads for which there is no machine: whatever makes room is told to them.
    waiting: Mutex<HashSet<Key>>,
}

impl Workloads {
    pub(crate) fn new(store: Arc<Store>, actions: Arc<Actions>) -> Self {
        let rooms = Mutex::new(Rooms::new(store.clone()));
        Self { store, actions, rooms, waiting: Mutex::default() }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(|poisoned| {
            // It may be half changed: all is read anew.
            let mut rooms = poisoned.into_inner();
            rooms.read_again();
            rooms
        })
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<Key>> {
        // Each change is one insertion or removal, so a poisoned lock guards a good set.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting_in(&self, namespace: &str) -> Vec<Key> {
        self.waiting().iter().filter(|key| *key.namespace == *namespace).cloned().collect()
    }
}

impl Controller for Workloads {
    const NAME: &'static str = "workloads";
    // Some wait for what checks ask.
    const WORKERS: usize = 32;

    fn follows(&self) -> Vec<KindRef> {
        vec![Workload::info(), Instance::info(), Machine::info(), Permit::info()]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        let namespace = object.namespace();
        let workload = |name: &str| Key::new(Workload::info(), namespace, name);
        if object.kind == Workload::info() {
            if gone {
                self.waiting().remove(&object.key);
            }
            return vec![object.key.clone()];
        }
        let of = |instance: &Object| {
            instance.field("spec.workload").filter(|name| !name.is_empty()).map(workload)
        };
        if object.kind == Instance::info() {
            let mut keys: Vec<Key> = of(object).into_iter().collect();
            if gone {
                keys.extend(self.waiting_in(namespace));
            }
            return keys;
        }
        let world = self.store.world();
        if object.kind == Permit::info() {
            if object.field("spec.target.kind") != Some(Instance::KIND) {
                return Vec::new();
            }
            let instance = object.field("spec.target.name").unwrap_or_default();
            let instance = world.get(Instance::info(), namespace, instance);
            return instance.and_then(|instance| of(&instance)).into_iter().collect();
        }
        let fields = instances_on_machine(namespace, object.name());
        let instances = world.with_fields(Instance::info(), &fields);
        let mut keys: HashSet<Key> = instances.iter().filter_map(|it| of(it)).collect();
        keys.extend(self.waiting_in(namespace));
        keys.into_iter().collect()
    }

    /// All in one: see the module.
    fn shard(&self, _world: &World, _key: &Key) -> Shard {
        Shard::of(&Key::new(Workload::info(), "", "placement"))
    }

    fn forget(&self, ours: &dyn Fn(&Key) -> bool) {
        // What another replica did meanwhile is not in it.
        if !ours(&Key::new(Workload::info(), "", "placement")) {
            self.rooms().read_again();
        }
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let looked = self.look(objects, key).await;
        if let Err(EngineError::Fenced | EngineError::Store(StoreError::OutcomeUnknown(_))) =
            &looked
        {
            self.rooms().read_again();
        }
        looked
    }
}

impl Workloads {
    async fn look(&self, objects: &Objects, key: &Key) -> Result<Option<Duration>, EngineError> {
        // What anybody has acknowledged by now is to be seen: no machine is filled on the word of an older world.
        let world = objects.store().fresh().await?;
        let Some(object) = world.get(Workload::info(), &key.namespace, &key.name) else {
            self.rooms().makes_room(key, None);
            return Ok(None);
        };
        let leaving =
            world.get(Namespace::info(), "", &key.namespace).is_some_and(|it| it.deleting());
        if leaving || object.deleting() {
            self.waiting().remove(key);
            self.rooms().makes_room(key, None);
            return strip_lost(objects, &world, &object).await;
        }
        let workload: Workload = decode(&object)?;
        let revisions = Revisions::of(&world, &workload)?;
        let Some(target) = revisions.number(&workload.spec.template) else {
            // Instances are made of what is kept: that comes first, and brings us here again.
            let next = write::revision(&workload, revisions.next(), objects.now());
            let seen = Some((object.key.clone(), object.revision));
            let kept = objects.put(&next, Precondition::AbsentIf { seen, below: None })?;
            objects.commit(vec![kept]).await?;
            return Ok(Some(GATHER));
        };
        let work = Work {
            objects,
            world: &world,
            object: &object,
            workload: &workload,
            revisions,
            target,
        };
        if !workload.spec.placement.clusters.is_empty() {
            return in_clusters::look(&work).await;
        }
        let (own, again) = self.own(&work)?;
        let resumed = resumed(&workload, target);
        let situation = Situation {
            spec: &workload.spec,
            members: &own.members,
            target,
            stable: workload.status.stable_revision,
            rollout: workload.status.rollout.as_ref(),
            resumed,
            now: objects.now(),
        };
        let mut plan = plan(&situation);
        let mut next = [plan.again, again].into_iter().flatten().min();
        if let Some(rollout) = plan.rollout.as_mut().filter(|_| !plan.due.is_empty()) {
            let with = (objects, &self.actions);
            rollout.checks =
                checks::perform(with, &workload.spec, rollout, &own.members, &plan.due).await;
            // What came of them is decided on with the next look.
            next = Some(GATHER);
        }
        let more = self.carry_out(&work, &own, &plan).await?;
        Ok([next, more].into_iter().flatten().min())
    }

    /// The instances of a workload, as they are decided on; and when to look again for the sake of silent hosts.
    fn own(&self, work: &Work<'_>) -> Result<(Own, Option<Duration>), EngineError> {
        let (mut own, mut again) = (Own::default(), None);
        let now = work.objects.now();
        let mut rooms = self.rooms();
        rooms.catch_up();
        for object in owned_by(work.world, &work.workload.metadata) {
            if object.kind != Instance::info() {
                continue;
            }
            let instance: Instance = decode(object)?;
            let permit = permit_of(work.world, object);
            let mut member = member(work.world, &instance, permit.as_deref());
            if member.moving.is_none() {
                let taint = rooms.leaves(work.key(), &member.machine);
                member.moving = taint.map(|taint| {
                    format!("Machine {} has the taint {taint} with NoExecute", member.machine)
                });
            }
            if !member.deleting && !member.lost {
                let (lost, wait) = self.lost(&mut rooms, work, &instance, &mut own, now);
                member.lost = lost;
                again = [again, wait].into_iter().flatten().min();
            }
            own.members.push(member);
            own.objects.push(object.clone());
            own.permits.push(permit);
        }
        Ok((own, again))
    }

    /// Whether an instance is given up since its host is silent, and when to look again if not.
    fn lost(
        &self,
        rooms: &mut Rooms,
        work: &Work<'_>,
        instance: &Instance,
        own: &mut Own,
        now: Time,
    ) -> (bool, Option<Duration>) {
        let (namespace, machine) = (&*work.object.key.namespace, &instance.spec.host.name);
        let silence = rooms.silence(namespace, machine);
        let says = instance.status.phase == InstancePhase::Unreachable;
        let of_instance = instance.status.phase_since.filter(|_| says);
        let Some((since, places)) = silence
            .map(|(since, places)| (of_instance.map_or(since, |it| it.min(since)), places))
            .or_else(|| Some((of_instance?, Vec::new())))
        else {
            return (false, None);
        };
        let after = work.workload.spec.host_lost_after().as_std();
        match lost::verdict(since, after, &places, now) {
            Verdict::Wait(wait) => (false, Some(wait)),
            Verdict::Mass(wait, why) => {
                own.held.get_or_insert(why);
                (false, Some(wait))
            }
            Verdict::Lost => match rooms.give_up(namespace, machine, now) {
                None => (true, None),
                Some(wait) => {
                    own.held.get_or_insert_with(|| {
                        "Instances on lost hosts are replaced a few at a time".to_owned()
                    });
                    (false, Some(wait))
                }
            },
        }
    }

    /// Carries out a plan, and says how it stands.
    async fn carry_out(
        &self,
        work: &Work<'_>,
        own: &Own,
        plan: &Plan,
    ) -> Result<Option<Duration>, EngineError> {
        let Work { objects, object, workload, target, .. } = work;
        let now = objects.now();
        let mut mutations = work.taken(own, plan)?;
        let placing = self.place(work, plan)?;
        let status = say::status(
            workload,
            plan,
            &say::Seen {
                members: &own.members,
                unplaced: placing.unplaced,
                why_unplaced: placing.why,
                held: own.held.clone(),
                target: *target,
                created: placing.created,
                now,
            },
        );
        mutations.extend(placing.preempting);
        mutations.extend(work.pruned(plan));
        let first = mutations.len();
        let names: Vec<String> = placing.placed.iter().map(|(name, _)| name.clone()).collect();
        mutations.extend(placing.placed.into_iter().map(|(_, put)| put));
        if status != workload.status {
            let next = Workload { status, ..(*workload).clone() };
            mutations.push(objects.put(&next, Precondition::At(object.revision))?);
        }
        let key = work.key();
        let waits = placing.unplaced > 0;
        if waits {
            self.waiting().insert(key.clone());
        } else {
            self.waiting().remove(key);
        }
        if mutations.is_empty() {
            return Ok(waits.then_some(LOOK_AGAIN));
        }
        let outcomes = match objects.commit(mutations).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                let mut rooms = self.rooms();
                names.iter().for_each(|name| rooms.not_placed(&key.namespace, name));
                return Err(error);
            }
        };
        let came = names.iter().zip(outcomes.iter().skip(first));
        let lost: Vec<&String> = came
            .filter(|(_, outcome)| !matches!(outcome, Outcome::Committed(_)))
            .map(|(name, _)| name)
            .collect();
        // Whoever came between made a change that brings us here again.
        lost.into_iter().for_each(|name| self.rooms().not_placed(&key.namespace, name));
        for (at, member) in own.members.iter().enumerate() {
            // Nobody will ever say that the containers of a machine that is gone are gone.
            if let Some(object) = own.objects.get(at)
                && (member.deleting || plan.remove.contains(&at))
                && machine_is_gone(work.world, object)
            {
                garbage::release(objects, &object.key, CONTAINERS_FINALIZER).await?;
            }
        }
        Ok(waits.then_some(LOOK_AGAIN))
    }

    /// Finds a machine for each new instance.
    fn place(&self, work: &Work<'_>, plan: &Plan) -> Result<Placing, EngineError> {
        let Work { objects, object, workload, revisions, .. } = work;
        let mut placing = Placing { created: workload.status.created, ..Placing::default() };
        let mut rooms = self.rooms();
        if plan.create.is_empty() {
            rooms.makes_room(work.key(), None);
            return Ok(placing);
        }
        rooms.catch_up();
        let (uid, priority) = (&workload.metadata.uid, workload.spec.priority.unwrap_or_default());
        let mut full: BTreeSet<i64> = BTreeSet::new();
        let now = objects.now();
        for revision in &plan.create {
            if full.contains(revision) {
                // They are all the same: what one does not find, none does.
                placing.unplaced += 1;
                continue;
            }
            let Some(template) = revisions.template(*revision, workload) else { continue };
            let number = placing.created;
            let name = numbered(&workload.metadata.name, uid, number, LETTERS);
            let what = (&template.spec, priority);
            match rooms.place(work.key(), &name, what, write::seed(uid, number)) {
                Ok(placed) => {
                    placing.created += 1;
                    let active = *revision == plan.active;
                    let named = (name.clone(), &*placed.machine);
                    let instance =
                        write::instance(workload, named, (*revision, template), active, now);
                    // Each look counts them in the status, so that no other look creates for the same version of it.
                    let seen = Some((object.key.clone(), object.revision));
                    let put =
                        objects.put(&instance, Precondition::AbsentIf { seen, below: None })?;
                    placing.placed.push((name, put));
                }
                Err(unplaced) => {
                    full.insert(*revision);
                    placing.unplaced += 1;
                    if placing.why.is_none() {
                        placing.why = Some(unplaced.message);
                        for victim in &unplaced.victims {
                            placing.preempting.extend(work.preempting(victim)?);
                        }
                        let makes = !unplaced.victims.is_empty();
                        rooms.makes_room(work.key(), makes.then_some(priority));
                    }
                }
            }
        }
        if placing.unplaced == 0 {
            rooms.makes_room(work.key(), None);
        }
        Ok(placing)
    }
}

/// What came of looking for machines.
#[derive(Default)]
struct Placing {
    placed: Vec<(String, Mutation)>,
    preempting: Vec<Mutation>,
    unplaced: u32,
    why: Option<String>,
    created: u64,
}

/// Lets go of instances of a workload that goes whose machines are gone: no agent will.
async fn strip_lost(
    objects: &Objects,
    world: &World,
    workload: &Object,
) -> Result<Option<Duration>, EngineError> {
    let owned: Vec<Key> = world
        .owned_by(workload.uid())
        .filter(|it| it.kind == Instance::info() && it.deleting() && machine_is_gone(world, it))
        .map(|it| it.key.clone())
        .collect();
    for key in &owned {
        garbage::release(objects, key, CONTAINERS_FINALIZER).await?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
