//! What is written of silence: on machines, on their instances, and on sites whose machines fell silent together.

use super::silence::{Counts, Group};
use crate::{
    SYSTEM_NAMESPACE,
    events::{self, Happening},
    objects::{EngineError, Objects},
};
use jiff::SignedDuration;
use quarterdeck_model::{
    Condition, ConditionStatus, Key, Kind as _, KindRef, Object, Revision, Time, condition,
    kinds::{
        AgentStatus, Instance, InstancePhase, Machine, Namespace, PHASE_BEFORE, Site,
        instances_on_machine, machine_agent::REACHABLE,
    },
};
use quarterdeck_store::{Mutation, Outcome, Precondition};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tracing::{info, warn};

/// Condition of a site whose machines' agents are heard of; absent while nothing was ever wrong.
const AGENTS_HEARD: &str = "AgentsHeard";

/// Writes in one commit: others get their turn in between.
pub(super) const WRITES_MAX: usize = 256;

/// Marks a machine, and tells of it. The instances on it follow when they are [`settle`]d.
pub(super) async fn unreachable(
    objects: &Objects,
    key: &Key,
    deadline: SignedDuration,
) -> Result<(), EngineError> {
    let now = objects.now();
    let Some((at, mut machine)) = objects.read::<Machine>(&key.namespace, &key.name)? else {
        return Ok(());
    };
    let agent = machine.status.agent.as_ref().filter(|agent| !agent.is_connected());
    // It may have come back a moment ago.
    let Some(since) = agent.and_then(|agent| agent.disconnected_since) else { return Ok(()) };
    let message = format!(
        "Nothing was heard of its agent since {since}, for longer than {} s; look at its console and its network. What runs on it may run on; it counts as down.",
        deadline.as_secs()
    );
    let said = Condition::new(REACHABLE, ConditionStatus::False, "AgentSilent", &*message, now);
    condition::set(&mut machine.status.conditions, said);
    let outcomes = objects.commit(vec![objects.put(&machine, Precondition::At(at))?]).await?;
    if !matches!(outcomes.last(), Some(Outcome::Committed(_))) {
        return Ok(());
    }
    match objects.get(key) {
        Some(object) => told(objects, &object, ("AgentSilent", &message, true), now).await,
        None => Ok(()),
    }
}

fn unreached(
    objects: &Objects,
    object: &Object,
    machine: (&Key, Revision),
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
        Some(format!("Nothing is heard of the agent of machine {}.", machine.0.name));
    objects.put(&instance, as_long_as(object, machine)).map(Some)
}

/// The object and its machine are as they were seen.
fn as_long_as(object: &Object, (key, at): (&Key, Revision)) -> Precondition {
    Precondition::AtIf { at: object.revision, seen: vec![(key.clone(), at)] }
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

/// Has the instances on a machine be as it says: unreachable with it, or as they were before. Answers whether they are; what another
/// changed meanwhile is looked at again. One that cannot be read holds up none of the others.
pub(super) async fn settle(objects: &Objects, key: &Key) -> Result<bool, EngineError> {
    let now = objects.now();
    let Some((at, machine)) = objects.read::<Machine>(&key.namespace, &key.name)? else {
        return Ok(true);
    };
    let connected = machine.status.agent.as_ref().is_some_and(AgentStatus::is_connected);
    let marked = is_marked(&machine);
    let mut settled = true;
    for some in on(objects, key).chunks(WRITES_MAX) {
        let mut mutations = Vec::new();
        for object in some {
            let change = match (connected, marked) {
                (true, _) => restored(objects, object, (key, at), now),
                (false, true) => unreached(objects, object, (key, at), now),
                (false, false) => Ok(None),
            };
            match change {
                Ok(change) => mutations.extend(change),
                Err(error) => {
                    warn!(instance = %object.key, machine = %key, %error, "an instance cannot be read, and does not follow its machine; write it anew, or update this replica");
                }
            }
        }
        if !mutations.is_empty() {
            // Another look shows whether all is as it should.
            settled = false;
            objects.commit(mutations).await?;
        }
    }
    Ok(settled)
}

/// Whether a machine is marked as silent.
pub(super) fn is_marked(machine: &Machine) -> bool {
    let reachable = condition::find(&machine.status.conditions, REACHABLE);
    reachable.is_some_and(|it| it.status == ConditionStatus::False)
}

/// Machines of which instances are unreachable.
pub(super) fn with_unreachable(objects: &Objects) -> BTreeSet<Key> {
    let world = objects.store().world();
    let found = world.with_fields(Instance::info(), "status.phase=Unreachable");
    let on_machines = found.iter().filter(|it| it.field("spec.host.kind") == Some("Machine"));
    on_machines
        .filter_map(|it| {
            Some(Key::new(Machine::info(), it.namespace(), it.field("spec.host.name")?))
        })
        .collect()
}

/// Tells that a machine is heard of again.
pub(super) async fn tell_back(objects: &Objects, machine: &Key) -> Result<(), EngineError> {
    let Some(object) = objects.get(machine) else { return Ok(()) };
    let message = "Its agent is heard of again.";
    told(objects, &object, ("AgentConnected", message, false), objects.now()).await
}

/// As it was: what runs it says otherwise, if it is not so any more.
fn restored(
    objects: &Objects,
    object: &Object,
    machine: (&Key, Revision),
    now: Time,
) -> Result<Option<Mutation>, EngineError> {
    if object.field("status.phase") != Some("Unreachable") {
        return Ok(None);
    }
    let mut instance: Instance = crate::objects::decode(object)?;
    let before = instance.metadata.annotations.remove(PHASE_BEFORE);
    let phase = before.and_then(|before| serde_json::from_value(before.into()).ok());
    enter(&mut instance, phase.unwrap_or(InstancePhase::NotReady), now);
    instance.status.message = None;
    objects.put(&instance, as_long_as(object, machine)).map(Some)
}

async fn told(
    objects: &Objects,
    object: &Object,
    what: (&str, &str, bool),
    now: Time,
) -> Result<(), EngineError> {
    objects.commit(vec![tell(objects, object, what, now)?]).await?;
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
    told(objects, &object, (reason, message, warning), now).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::object;
    use quarterdeck_store::{Sqlite, Store, Write};
    use serde_json::{Value, json};

    /// A plane with a machine and two instances on it.
    struct Plane {
        _folder: tempfile::TempDir,
        objects: Objects,
    }

    fn machine() -> Key {
        Key::new(Machine::info(), "a", "m")
    }

    fn instance(name: &str) -> Key {
        Key::new(Instance::info(), "a", name)
    }

    impl Plane {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let backend = Arc::new(Sqlite::open(folder.path()).unwrap());
            let store = Arc::new(Store::open(backend).await.unwrap());
            let clock = Arc::new(jiff::Timestamp::now);
            let plane = Self { _folder: folder, objects: Objects::for_test(store, clock).await };
            plane.agent(false).await;
            for name in ["one", "two"] {
                let spec = json!({"service": "s", "host": {"kind": "Machine", "name": "m"}});
                plane
                    .write(&instance(name), json!({"spec": spec, "status": {"phase": "Ready"}}))
                    .await;
            }
            plane
        }

        async fn write(&self, key: &Key, mut value: Value) {
            let kind = quarterdeck_model::kinds::by_resource_name(&key.kind).unwrap();
            value["metadata"]["name"] = json!(&*key.name);
            value["metadata"]["namespace"] = json!(&*key.namespace);
            value["metadata"]["uid"] = json!(&*key.name);
            let write = Write::Put(object::encode(kind, &value).into());
            let (key, precondition) = (key.clone(), Precondition::None);
            let mutation = Mutation { key, write, precondition, fence: None };
            self.objects.store().commit(vec![mutation]).await.unwrap();
        }

        /// The machine's agent is connected, or not.
        async fn agent(&self, connected: bool) {
            let mut agent = json!({"session": "p/1"});
            if !connected {
                agent["disconnectedSince"] = json!("2026-03-01T12:00:00Z");
            }
            let status = json!({"phase": "Running", "agent": agent});
            self.write(&machine(), json!({"spec": {"preinstalled": true}, "status": status})).await;
        }

        fn phases(&self) -> Vec<String> {
            let phase = |name: &str| {
                let object = self.objects.get(&instance(name)).unwrap();
                object.field("status.phase").unwrap_or_default().to_owned()
            };
            ["one", "two"].map(phase).into()
        }

        async fn settled(&self) {
            for _ in 0..5 {
                if settle(&self.objects, &machine()).await.unwrap() {
                    return;
                }
            }
            panic!("{:?}", self.phases());
        }
    }

    #[tokio::test]
    async fn instances_follow_their_machine_though_others_write_them() {
        let plane = Plane::start().await;
        unreachable(&plane.objects, &machine(), SignedDuration::from_secs(40)).await.unwrap();
        plane.settled().await;
        assert_eq!(plane.phases(), ["Unreachable", "Unreachable"]);
        // As if another had been there first: its mark was lost.
        let spec = json!({"service": "s", "host": {"kind": "Machine", "name": "m"}});
        plane.write(&instance("two"), json!({"spec": spec, "status": {"phase": "Starting"}})).await;
        plane.settled().await;
        assert_eq!(plane.phases(), ["Unreachable", "Unreachable"]);

        plane.agent(true).await;
        plane.settled().await;
        assert_eq!(plane.phases(), ["Ready", "Starting"], "as each was");
        let text = String::from_utf8_lossy(&plane.objects.get(&instance("one")).unwrap().json)
            .into_owned();
        assert!(!text.contains(PHASE_BEFORE), "{text}");
        // Nobody knows any more what it was.
        plane
            .write(&instance("one"), json!({"spec": spec, "status": {"phase": "Unreachable"}}))
            .await;
        plane.settled().await;
        assert_eq!(plane.phases(), ["NotReady", "Starting"]);
        assert_eq!(with_unreachable(&plane.objects), BTreeSet::new());
    }

    #[tokio::test]
    async fn no_instance_is_marked_of_a_machine_that_came_back_meanwhile() {
        let plane = Plane::start().await;
        let seen = plane.objects.get(&machine()).unwrap().revision;
        plane.agent(true).await;
        let now = plane.objects.now();
        for object in on(&plane.objects, &machine()) {
            let mark = unreached(&plane.objects, &object, (&machine(), seen), now).unwrap();
            let outcomes = plane.objects.commit(mark.into_iter().collect()).await.unwrap();
            assert!(matches!(outcomes[..], [Outcome::Conflict(_)]), "{outcomes:?}");
        }
        unreachable(&plane.objects, &machine(), SignedDuration::ZERO).await.unwrap();
        assert_eq!(plane.phases(), ["Ready", "Ready"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_holds_up_no_other_of_its_machine() {
        let plane = Plane::start().await;
        let spec = json!({"service": "s", "host": {"kind": "Machine", "name": "m"}});
        // As a later release may have written it.
        let broken = json!({"spec": spec, "status": {"phase": "Ready", "startedAt": 7}});
        plane.write(&instance("none"), broken).await;
        assert!(plane.objects.read::<Instance>("a", "none").is_err());
        unreachable(&plane.objects, &machine(), SignedDuration::from_secs(40)).await.unwrap();
        let marked = plane.objects.read::<Machine>("a", "m").unwrap().unwrap().1;
        assert!(is_marked(&marked));
        plane.settled().await;
        assert_eq!(plane.phases(), ["Unreachable", "Unreachable"]);
        plane.agent(true).await;
        plane.settled().await;
        assert_eq!(plane.phases(), ["Ready", "Ready"]);
    }

    #[tokio::test]
    async fn many_instances_of_a_machine_are_written_in_pieces() {
        let plane = Plane::start().await;
        let spec = json!({"service": "s", "host": {"kind": "Machine", "name": "m"}});
        let count = WRITES_MAX + 10;
        for number in 0..count {
            let value = json!({"spec": spec, "status": {"phase": "Ready"}});
            plane.write(&instance(&format!("more-{number}")), value).await;
        }
        unreachable(&plane.objects, &machine(), SignedDuration::from_secs(40)).await.unwrap();
        plane.settled().await;
        let world = plane.objects.store().world();
        let found = world.with_fields(Instance::info(), "status.phase=Unreachable");
        assert_eq!(found.len(), count + 2);
    }
}
