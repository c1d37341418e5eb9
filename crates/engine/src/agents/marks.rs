//! What is written of silence: on machines, on their instances, and on sites whose machines fell silent together.

use super::silence::{Counts, Group};
use crate::{
    SYSTEM_NAMESPACE,
    events::{self, Happening},
    objects::{EngineError, Objects},
};
use jiff::SignedDuration;
use quarterdeck_model::{
    Condition, ConditionStatus, Key, Kind as _, KindRef, Object, Time, condition,
    kinds::{
        Instance, InstancePhase, Machine, Namespace, Site, instances_on_machine,
        machine_agent::REACHABLE,
    },
};
use quarterdeck_store::{Mutation, Precondition};
use std::{collections::BTreeMap, sync::Arc};
use tracing::{info, warn};

/// Annotation of an instance that is unreachable: the phase that it was in. Whoever runs it may be nobody who reports.
const PHASE_BEFORE: &str = "quarterdeck.dev/phase-before";
/// Condition of a site whose machines' agents are heard of; absent while nothing was ever wrong.
const AGENTS_HEARD: &str = "AgentsHeard";

/// Marks a machine and the instances on it, and tells of it.
pub(super) async fn unreachable(
    objects: &Objects,
    key: &Key,
    deadline: SignedDuration,
) -> Result<(), EngineError> {
    let now = objects.now();
    let Some((at, mut machine)) = objects.read::<Machine>(&key.namespace, &key.name)? else {
        return Ok(());
    };
    let since = machine.status.agent.as_ref().and_then(|agent| agent.disconnected_since);
    // It may have come back a moment ago.
    let Some(since) = since else { return Ok(()) };
    let message = format!(
        "Nothing was heard of its agent since {since}, for longer than {} s; look at its console and its network. What runs on it may run on; it counts as down.",
        deadline.as_secs()
    );
    let said = Condition::new(REACHABLE, ConditionStatus::False, "AgentSilent", &*message, now);
    condition::set(&mut machine.status.conditions, said);
    let mut mutations = vec![objects.put(&machine, Precondition::At(at))?];
    if let Some(object) = objects.get(key) {
        mutations.push(tell(objects, &object, ("AgentSilent", &message, true), now)?);
    }
    for instance in on(objects, key) {
        mutations.extend(unreached(objects, &instance, key, now)?);
    }
    commit(objects, mutations).await
}

fn unreached(
    objects: &Objects,
    object: &Object,
    machine: &Key,
    now: Time,
) -> Result<Option<Mutation>, EngineError> {
    let mut instance: Instance = crate::objects::decode(object)?;
    if instance.status.phase == InstancePhase::Unreachable {
        return Ok(None);
    }
    let before = format!("{:?}", instance.status.phase);
    instance.metadata.annotations.insert(PHASE_BEFORE.into(), before);
    enter(&mut instance, InstancePhase::Unreachable, now);
    instance.status.message =
        Some(format!("Nothing is heard of the agent of machine {}.", machine.name));
    objects.put(&instance, Precondition::At(object.revision)).map(Some)
}

fn enter(instance: &mut Instance, phase: InstancePhase, now: Time) {
    instance.status.phase = phase;
    instance.status.phase_since = Some(Time::seconds(now.timestamp()));
}

/// Instances on a machine.
fn on(objects: &Objects, machine: &Key) -> Vec<Arc<Object>> {
    let fields = instances_on_machine(&machine.namespace, &machine.name);
    objects.store().world().with_fields(Instance::info(), &fields)
}

/// Takes back what was said of the instances of a machine that is heard of again.
pub(super) async fn restore(objects: &Objects, machine: &Key) -> Result<(), EngineError> {
    let now = objects.now();
    let mut mutations = Vec::new();
    for object in on(objects, machine) {
        if object.field("status.phase") == Some("Unreachable") {
            mutations.extend(restored(objects, &object, now)?);
        }
    }
    if let Some(object) = objects.get(machine) {
        let message = "Its agent is heard of again.";
        mutations.push(tell(objects, &object, ("AgentConnected", message, false), now)?);
    }
    commit(objects, mutations).await
}

/// The same for all that came back while nobody looked.
pub(super) async fn restore_all(objects: &Objects) -> Result<(), EngineError> {
    let (world, now) = (objects.store().world(), objects.now());
    let mut mutations = Vec::new();
    for object in world.with_fields(Instance::info(), "status.phase=Unreachable") {
        if object.field("spec.host.kind") != Some(Machine::KIND) {
            continue;
        }
        let host = object.field("spec.host.name").unwrap_or_default();
        let machine = world.get(Machine::info(), object.namespace(), host);
        let machine = machine.and_then(|machine| machine.decode::<Machine>().ok());
        let agent = machine.and_then(|machine| machine.status.agent);
        if agent.is_some_and(|agent| agent.is_connected()) {
            mutations.extend(restored(objects, &object, now)?);
        }
    }
    commit(objects, mutations).await
}

/// As it was: what runs it says otherwise, if it is not so any more.
fn restored(
    objects: &Objects,
    object: &Object,
    now: Time,
) -> Result<Option<Mutation>, EngineError> {
    let mut instance: Instance = crate::objects::decode(object)?;
    let Some(before) = instance.metadata.annotations.remove(PHASE_BEFORE) else { return Ok(None) };
    let phase = serde_json::from_value(before.into()).unwrap_or(InstancePhase::NotReady);
    enter(&mut instance, phase, now);
    instance.status.message = None;
    objects.put(&instance, Precondition::At(object.revision)).map(Some)
}

/// What another changed meanwhile is looked at again when that is seen.
async fn commit(objects: &Objects, mutations: Vec<Mutation>) -> Result<(), EngineError> {
    if !mutations.is_empty() {
        objects.commit(mutations).await?;
    }
    Ok(())
}

fn tell(
    objects: &Objects,
    object: &Object,
    (reason, message, warning): (&str, &str, bool),
    now: Time,
) -> Result<Mutation, EngineError> {
    let number = object.revision.0;
    let happening = Happening { component: "agents", reason, message, warning, number, place: 0 };
    objects.tell(&events::about(object, &happening, now))
}

/// Groups that are silent together, as far as it was told.
#[derive(Default)]
pub(super) struct Masses(BTreeMap<Group, Counts>);

impl Masses {
    /// Tells what has begun and what has ended, each once.
    pub(super) async fn tell(
        &mut self,
        objects: &Objects,
        now: Vec<(Group, Counts)>,
    ) -> Result<(), EngineError> {
        let now: BTreeMap<Group, Counts> = now.into_iter().collect();
        for (group, counts) in &now {
            if !self.0.contains_key(group) {
                begun(objects, group, *counts).await?;
                self.0.insert(group.clone(), *counts);
            }
        }
        let ended: Vec<Group> =
            self.0.keys().filter(|group| !now.contains_key(group)).cloned().collect();
        for group in ended {
            over(objects, &group).await?;
            self.0.remove(&group);
        }
        Ok(())
    }
}

/// Whom it is told of: a site, or the plane itself.
fn place(group: &Group) -> (KindRef, &str) {
    match group {
        Group::Site(site) => (Site::info(), site),
        Group::Fleet | Group::Replica(_) => (Namespace::info(), SYSTEM_NAMESPACE),
    }
}

async fn begun(objects: &Objects, group: &Group, counts: Counts) -> Result<(), EngineError> {
    let Counts { connected, silent } = counts;
    let whose = match group {
        Group::Fleet => "all machines".to_owned(),
        Group::Site(site) => format!("the machines of site {site}"),
        Group::Replica(replica) => format!("the machines whose agents were at replica {replica}"),
    };
    let message = format!(
        "{silent} of {} agents of {whose} are silent at once: that is most likely a network's or the plane's own fault. None of these machines is marked Unreachable unless it lasts much longer, and nothing is done about them; look at the network between.",
        connected + silent
    );
    warn!(silent, connected, "{message}");
    said(objects, group, (ConditionStatus::False, "MassSilence", &message)).await
}

async fn over(objects: &Objects, group: &Group) -> Result<(), EngineError> {
    let message = "Most agents are heard of again; those that are not are looked at one by one.";
    info!(?group, "{message}");
    said(objects, group, (ConditionStatus::True, "Heard", message)).await
}

async fn said(
    objects: &Objects,
    group: &Group,
    (status, reason, message): (ConditionStatus, &str, &str),
) -> Result<(), EngineError> {
    let (now, (kind, name)) = (objects.now(), place(group));
    let Some(object) = objects.store().world().get(kind, "", name) else { return Ok(()) };
    let warning = status == ConditionStatus::False;
    let told = tell(objects, &object, (reason, message, warning), now)?;
    objects.commit(vec![told]).await?;
    if kind == Site::info() {
        let condition = Condition::new(AGENTS_HEARD, status, reason, message, now);
        let change = |value: &mut serde_json::Value| {
            let Ok(mut site) = serde_json::from_value::<Site>(value.clone()) else { return false };
            condition::set(&mut site.status.conditions, condition.clone());
            let Ok(mut next) = serde_json::to_value(site) else { return false };
            let status = next.get_mut("status").map(serde_json::Value::take).unwrap_or_default();
            value.as_object_mut().is_some_and(|site| site.insert("status".into(), status).is_some())
        };
        objects.modify(&object.key, change).await?;
    }
    Ok(())
}
