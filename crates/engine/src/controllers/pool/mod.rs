//! Pools of machines: kept at their number, spread over places, updated and mended. What a pool has is seen from its
//! machines, so nothing is remembered. What should happen is decided by [`plan`], which is pure; the rest carries it
//! out. Nothing here touches a server: machines are created, changed and deleted, and each sees to its own.

mod plan;
mod rooms;
mod say;

use super::{Controller, numbered, owned_by, quotas::Limit};
use crate::{
    Judge,
    objects::{EngineError, Objects, decode},
};
use plan::{Member, Plan, Situation, plan};
use quarterdeck_model::{
    ConditionStatus, Key, Kind as _, KindRef, Object, ObjectMeta, OwnerReference, Revision, Time,
    condition,
    kinds::{
        Image, Machine, MachineClass, MachinePhase, MachinePlacement, MachinePool, MachineSpec,
        MachineTemplateSpec, Namespace, ResourceQuota, Server, SpreadDomain,
    },
    quantity::Quantity,
};
use quarterdeck_store::{Mutation, Outcome, Precondition, World};
use rooms::Rooms;
use say::Missing;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Label of a pool's machines: its name.
const POOL: &str = "quarterdeck.dev/machine-pool";
/// Label of a pool's machines: which template they are of.
const TEMPLATE: &str = "quarterdeck.dev/template-hash";
/// Annotation of a machine that is to go before others when there are too many.
const DELETE_FIRST: &str = "quarterdeck.dev/delete-first";
/// Changes are gathered for so long: all machines of the pool are looked at.
const GATHER: Duration = Duration::from_secs(1);
/// Letters of a machine's name after the pool's: it is the name of a host, too.
const LETTERS: usize = 5;
/// How soon a pool whose machines a policy refuses asks again: nobody tells of a change of policies.
const JUDGED_AGAIN: Duration = Duration::from_secs(15);

/// Keeps pools.
pub(crate) struct Pools {
    judge: Arc<Judge>,
}

impl Pools {
    pub(crate) fn new(judge: Arc<Judge>) -> Self {
        Self { judge }
    }
}

impl Controller for Pools {
    const NAME: &'static str = "machine-pools";

    fn follows(&self) -> Vec<KindRef> {
        vec![
            MachinePool::info(),
            Machine::info(),
            MachineClass::info(),
            Image::info(),
            ResourceQuota::info(),
        ]
    }

    fn matters(&self, before: &Object, after: &Object) -> bool {
        // A quota's numbers change with all that it counts.
        after.kind != ResourceQuota::info() || of_machines(before) != of_machines(after)
    }

    fn affected(&self, object: &Object, _gone: bool) -> Vec<Key> {
        if object.kind != Machine::info() {
            // Classes, images, quotas: which pools they matter to is found by the one key.
            return vec![object.key.clone()];
        }
        let pool = object.label(POOL);
        let key = |name| Key::new(MachinePool::info(), object.namespace(), name);
        pool.map(key).into_iter().collect()
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        if *key.kind == *MachinePool::info().resource_name() {
            return self.look(objects, key).await;
        }
        let Key { namespace, name, .. } = key;
        let fields = if *key.kind == *ResourceQuota::info().resource_name() {
            format!("metadata.namespace={namespace}")
        } else if *key.kind == *Image::info().resource_name() {
            format!("spec.template.spec.image={name}")
        } else {
            format!("spec.template.spec.class={name}")
        };
        for pool in objects.store().world().with_fields(MachinePool::info(), &fields) {
            self.look(objects, &pool.key).await?;
        }
        Ok(None)
    }
}

impl Pools {
    async fn look(&self, objects: &Objects, key: &Key) -> Result<Option<Duration>, EngineError> {
        // What another replica did before this one took over is to be seen: no machine may go on the word of a world in
        // which fewer have gone.
        let world = objects.store().fresh().await?;
        let Some(object) = world.get(MachinePool::info(), &key.namespace, &key.name) else {
            return Ok(None);
        };
        let leaving =
            world.get(Namespace::info(), "", &key.namespace).is_some_and(|it| it.deleting());
        if leaving || object.deleting() {
            // Its machines belong to it, and are deleted as what belongs to something is.
            return Ok(None);
        }
        let pool: MachinePool = decode(&object)?;
        let own = Own::of(&world, &pool)?;
        let now = objects.now();
        let mut missing = missing(&world, &pool.spec.template.spec);
        let quota = Limit::of(&world, Machine::info(), &key.namespace);
        let none = BTreeMap::new();
        let blocked = missing.is_some();
        let quota = quota.as_ref();
        let mut situation =
            Situation { spec: &pool.spec, members: &own.members, free: &none, blocked, quota, now };
        let mut plan = planned(&world, &pool, situation);
        if plan.acts()
            && let Some(denied) = self.denied(&world, &pool, now)
        {
            (missing, situation.blocked) = (Some(denied), true);
            plan = planned(&world, &pool, situation);
            plan.again = Some(plan.again.map_or(JUDGED_AGAIN, |again| again.min(JUDGED_AGAIN)));
        }
        let status = say::status(&pool, &situation, missing.as_ref(), &plan);
        let below = quota.map(|quota| quota.most);
        let mut mutations = carried_out(objects, (object.revision, &pool), below, &own, &plan)?;
        if status != pool.status {
            let next = MachinePool { status, ..pool };
            mutations.push(objects.put(&next, Precondition::At(object.revision))?);
        }
        if !mutations.is_empty() {
            // Whoever came between made a change that brings us here again; a machine that filled the quota may not.
            let outcomes = objects.commit(mutations).await?;
            if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Full(_))) {
                return Ok(Some(GATHER));
            }
        }
        Ok(plan.again)
    }

    /// Why policies let no machine of the pool be made, if they do not. The next one stands for all: they differ in where they
    /// are put.
    fn denied(&self, world: &World, pool: &MachinePool, now: Time) -> Option<Missing> {
        let machine = new_machine(pool, pool.status.created, None, now);
        let mut object = serde_json::to_value(&machine).ok()?;
        for (field, value) in
            [("apiVersion", Machine::info().api_version()), ("kind", Machine::KIND.into())]
        {
            object.as_object_mut()?.insert(field.into(), value.into());
        }
        let why = (self.judge)(world, Self::NAME, Machine::info(), &object).err()?;
        let message = format!("No machine is made or updated, as a policy refuses it: {why}");
        Some(Missing { reason: "PolicyDenied", message })
    }
}

/// The plan for a pool, with places in which servers were seen to fit.
fn planned(world: &World, pool: &MachinePool, situation: Situation<'_>) -> Plan {
    let members = situation.members;
    let first = plan(&situation);
    let decide = |free: &BTreeMap<String, usize>| plan(&Situation { free, ..situation });
    let looking = members.iter().any(|member| !member.deleting && member.looking.is_some());
    let template = &pool.spec.template.spec;
    let class = world.get(MachineClass::info(), "", &template.class);
    let class = class.and_then(|class| class.decode::<MachineClass>().ok());
    let Some(class) = class.filter(|_| looking || !first.create.is_empty()) else { return first };
    let like = Machine { spec: machine_spec(pool, None), ..Machine::default() };
    let mut rooms = Rooms::of(world, &class, like, pool.spec.spread.domain);
    loop {
        let next = decide(rooms.free());
        let mut learnt = false;
        for (place, wanted) in plan::wants(&next, members) {
            learnt |= rooms.learn(&place, wanted);
        }
        // Each time fewer are left that could fit, so that this ends.
        if !learnt {
            return next;
        }
    }
}

/// What machines of the template need and is not there.
fn missing(world: &World, template: &MachineTemplateSpec) -> Option<Missing> {
    let MachineTemplateSpec { class, image, .. } = template;
    let what = |field: &str, kind: &str, name: &str| {
        format!(
            "spec.template.spec.{field} names {kind} {name}, which does not exist; create it. Until then no machine is created or updated."
        )
    };
    if world.get(MachineClass::info(), "", class).is_none() {
        let message = what("class", "MachineClass", class);
        return Some(Missing { reason: "ClassNotFound", message });
    }
    if world.get(Image::info(), "", image).is_none() {
        let message = what("image", "Image", image);
        return Some(Missing { reason: "ImageNotFound", message });
    }
    None
}

/// The machines of a pool: as they are decided on, and as they are written, in the same order.
struct Own {
    members: Vec<Member>,
    objects: Vec<Arc<Object>>,
}

impl Own {
    fn of(world: &World, pool: &MachinePool) -> Result<Self, EngineError> {
        let wanted = template_hash(&pool.spec.template.spec);
        let mut own = Self { members: Vec::new(), objects: Vec::new() };
        for object in owned_by(world, &pool.metadata) {
            if object.kind == Machine::info() {
                own.members.push(member(world, pool, &decode(object)?, &wanted));
                own.objects.push(Arc::clone(object));
            }
        }
        Ok(own)
    }
}

/// A machine as it is decided on.
fn member(world: &World, pool: &MachinePool, machine: &Machine, wanted: &str) -> Member {
    let (meta, status) = (&machine.metadata, &machine.status);
    let template = &pool.spec.template.spec;
    let said = condition::find(&status.conditions, "Ready");
    let says_ready = said.filter(|said| said.status == ConditionStatus::True);
    // What was asked of it just now it has not seen yet.
    let seen = status.observed_generation == meta.generation
        && status.image.as_ref() == Some(&machine.spec.image);
    let runs = status.phase == MachinePhase::Running;
    let ready = says_ready.filter(|_| runs && seen).map(|said| said.last_transition_time);
    let unhealthy = match status.phase {
        MachinePhase::Failed => status.phase_since.or(meta.creation_timestamp),
        MachinePhase::Running if says_ready.is_none() => said.map(|said| said.last_transition_time),
        _ => None,
    };
    let looks = status.phase == MachinePhase::Pending && status.server.is_none();
    let why = said.filter(|_| says_ready.is_none());
    Member {
        name: meta.name.clone(),
        created: meta.creation_timestamp,
        deleting: meta.deletion_timestamp.is_some(),
        ready,
        // Its class can be changed where it is, which leaves the label.
        updated: meta.labels.get(TEMPLATE).is_some_and(|hash| hash == wanted)
            && machine.spec.class == template.class,
        in_place: only_image_differs(&machine.spec, template),
        unhealthy,
        looking: status.phase_since.or(meta.creation_timestamp).filter(|_| looks),
        domain: domain(world, machine, pool.spec.spread.domain),
        first: meta.annotations.get(DELETE_FIRST).is_some_and(|value| value != "false"),
        reason: why.map(|why| why.reason.clone()).unwrap_or_default(),
        message: why.map(|why| why.message.clone()).unwrap_or_default(),
    }
}

/// What a quota says of machines: how many there may be, and how many there are.
fn of_machines(quota: &Object) -> Option<(u64, Option<Quantity>)> {
    let quota: ResourceQuota = decode(quota).ok()?;
    let mut limits = quota.spec.limits();
    let (key, _, most) = limits.find(|(_, kind, _)| *kind == Machine::info())?;
    Some((most, quota.status.used.get(key).cloned()))
}

fn only_image_differs(machine: &MachineSpec, template: &MachineTemplateSpec) -> bool {
    let is_in = machine.placement.as_ref().and_then(|placement| placement.site.as_ref());
    let wanted = template.placement.as_ref().and_then(|placement| placement.site.as_ref());
    machine.class == template.class && wanted.is_none_or(|wanted| is_in == Some(wanted))
}

/// Where a machine is, or is to be.
fn domain(world: &World, machine: &Machine, domain: SpreadDomain) -> Option<String> {
    if let Some(server) = &machine.status.server {
        let server = world.get(Server::info(), "", server)?;
        return rooms::place(world, server.field("spec.location.rack")?, domain);
    }
    let placement = machine.spec.placement.as_ref()?;
    match domain {
        SpreadDomain::Rack => placement.rack.clone(),
        SpreadDomain::Site => placement.site.clone(),
    }
}

/// The writes that carry out a plan.
fn carried_out(
    objects: &Objects,
    (at, pool): (Revision, &MachinePool),
    below: Option<u64>,
    own: &Own,
    plan: &Plan,
) -> Result<Vec<Mutation>, EngineError> {
    let mut mutations = Vec::new();
    // All holds only for the pool as it was seen: no machine goes of one that somebody has made larger meanwhile.
    let seen = || (object_key(pool), at);
    let of_this_pool = |at| Precondition::AtIf { at, seen: vec![seen()] };
    for place in &plan.delete {
        let Some(object) = own.objects.get(*place) else { continue };
        let removal = objects.removal(object);
        let precondition = of_this_pool(object.revision);
        mutations.extend(removal.map(|removal| Mutation { precondition, ..removal }));
    }
    for place in &plan.change {
        let Some(object) = own.objects.get(*place) else { continue };
        let mut machine: Machine = decode(object)?;
        machine.spec.image.clone_from(&pool.spec.template.spec.image);
        let hash = template_hash(&pool.spec.template.spec);
        machine.metadata.labels.insert(TEMPLATE.to_owned(), hash);
        machine.metadata.generation = machine.metadata.generation.map(|number| number + 1);
        mutations.push(objects.put(&machine, of_this_pool(object.revision))?);
    }
    let numbers = pool.status.created..;
    for (number, place) in numbers.zip(&plan.create) {
        let machine = new_machine(pool, number, place.as_deref(), objects.now());
        // Each such look counts them in the pool's status, so that no other look creates for the same version of it.
        let seen = Some(seen());
        mutations.push(objects.put(&machine, Precondition::AbsentIf { seen, below })?);
    }
    Ok(mutations)
}

fn object_key(pool: &MachinePool) -> Key {
    let namespace = pool.metadata.namespace.as_deref().unwrap_or_default();
    Key::new(MachinePool::info(), namespace, &pool.metadata.name)
}

/// What a machine of a pool is, put in a place or anywhere.
fn machine_spec(pool: &MachinePool, place: Option<&str>) -> MachineSpec {
    let MachineTemplateSpec { class, image, placement } = pool.spec.template.spec.clone();
    let mut wish = MachinePlacement {
        site: placement.and_then(|placement| placement.site),
        ..MachinePlacement::default()
    };
    match pool.spec.spread.domain {
        _ if place.is_none() => {}
        SpreadDomain::Rack => wish.rack = place.map(str::to_owned),
        SpreadDomain::Site => wish.site = place.map(str::to_owned),
    }
    let placement = Some(wish).filter(|wish| *wish != MachinePlacement::default());
    MachineSpec { class, image, placement, ..MachineSpec::default() }
}

fn new_machine(pool: &MachinePool, number: u64, place: Option<&str>, now: Time) -> Machine {
    let (of, carried) = (&pool.metadata, &pool.spec.template.metadata);
    let mut labels = carried.labels.clone();
    labels.insert(POOL.to_owned(), of.name.clone());
    labels.insert(TEMPLATE.to_owned(), template_hash(&pool.spec.template.spec));
    Machine {
        metadata: ObjectMeta {
            name: numbered(&of.name, &of.uid, number, LETTERS),
            namespace: of.namespace.clone(),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            labels,
            annotations: carried.annotations.clone(),
            owner_references: vec![OwnerReference {
                api_version: MachinePool::info().api_version(),
                kind: MachinePool::KIND.into(),
                name: of.name.clone(),
                uid: of.uid.clone(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }],
            ..ObjectMeta::default()
        },
        spec: machine_spec(pool, place),
        ..Machine::default()
    }
}

/// Tells templates apart: what machines are, not what they carry.
fn template_hash(template: &MachineTemplateSpec) -> String {
    let site = template.placement.as_ref().and_then(|placement| placement.site.as_deref());
    let basis = format!("{}\n{}\n{}", template.class, template.image, site.unwrap_or_default());
    let digest = Sha256::digest(basis.as_bytes());
    digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
