//! Machines: each is given a server of its class, installed on it, kept there, and wiped off it in the end. What
//! should happen is decided by [`decide`], which is pure; the rest carries it out. Nothing here touches a server but
//! through a run.

pub(crate) mod choose;
mod decide;
mod follow;
mod preinstalled;
mod tasks;
mod transfer;

use super::Controller;
use crate::{
    SYSTEM_NAMESPACE,
    events::{self, Happening},
    objects::{EngineError, Objects},
};
use choose::Chosen;
use decide::{Action, Situation, decide};
use quarterdeck_model::{
    ConditionStatus, Key, Kind, KindRef, Object, ObjectMeta, OwnerReference, Revision, Time,
    condition,
    kinds::{
        Event, Image, Machine, MachineClass, MachineReference, MachineStatus, Run, RunSpec,
        RunTarget, Server, ServerPhase,
    },
};
use quarterdeck_store::{Mutation, Outcome, Precondition, Store, World};
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tasks::{IMAGE, Task};

/// Keeps a machine until nothing is left of it.
const FINALIZER: &str = "compute.quarterdeck.dev/machine";
/// Labels of a run: the machine it is for.
const MACHINE: &str = "quarterdeck.dev/machine";
const MACHINE_NAMESPACE: &str = "quarterdeck.dev/machine-namespace";
/// How soon a machine that found no server looks again, should nobody tell it of one.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How many of those that wait look when a server is free: it may not be of the class of the first.
const TOLD_OF_ONE: usize = 4;

/// Keeps machines.
pub(crate) struct Machines {
    store: Arc<Store>,
    waiting: Mutex<Waiting>,
}

/// Machines that found no server, the longest first.
#[derive(Default)]
struct Waiting {
    line: VecDeque<Key>,
    within: HashSet<Key>,
}

impl Waiting {
    fn add(&mut self, key: &Key) {
        if self.within.insert(key.clone()) {
            self.line.push_back(key.clone());
        }
    }

    fn take(&mut self, most: usize) -> Vec<Key> {
        let count = most.min(self.line.len());
        let taken: Vec<Key> = self.line.drain(..count).collect();
        for key in &taken {
            self.within.remove(key);
        }
        taken
    }
}

impl Controller for Machines {
    const NAME: &'static str = "machines";

    fn follows(&self) -> Vec<KindRef> {
        vec![Machine::info(), Server::info(), Run::info(), MachineClass::info(), Image::info()]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        let machine = |namespace: &str, name: &str| Key::new(Machine::info(), namespace, name);
        if object.kind == Server::info() {
            let field = |path| object.field(path).filter(|value| !value.is_empty());
            let has = field("status.machineRef.namespace").zip(field("status.machineRef.name"));
            if let Some((namespace, name)) = has {
                return vec![machine(namespace, name)];
            }
            let free = !gone && field("status.phase") == Some("Ready");
            return if free { self.waiting().take(TOLD_OF_ONE) } else { Vec::new() };
        }
        if object.kind == Run::info() {
            let name = object.label(MACHINE).zip(object.label(MACHINE_NAMESPACE));
            return name.map(|(name, namespace)| machine(namespace, name)).into_iter().collect();
        }
        if object.kind == Machine::info() {
            // Whoever takes it over, or gives itself, is told of the other.
            let other = |end: &str| {
                let part = |part: &str| object.field(&format!("spec.{end}.{part}"));
                let (namespace, name) = part("namespace").zip(part("name"))?;
                (!name.is_empty()).then(|| machine(namespace, name))
            };
            let others = ["transferTo", "transferFrom"].into_iter().filter_map(other);
            return [object.key.clone()].into_iter().chain(others).collect();
        }
        // Classes, images: machines may wait for them.
        let field = if object.kind == Image::info() { "image" } else { "class" };
        let named = format!("spec.{field}={}", object.name());
        let machines = self.store.world().with_fields(Machine::info(), &named);
        machines.iter().map(|machine| machine.key.clone()).collect()
    }

    fn forget(&self, ours: &dyn Fn(&Key) -> bool) {
        let mut waiting = self.waiting();
        waiting.line.retain(ours);
        waiting.within.retain(ours);
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        self.machine(objects, key).await
    }
}

impl Machines {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Each change leaves both whole but for one key, which is told of once more at worst.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn machine(&self, objects: &Objects, key: &Key) -> Result<Option<Duration>, EngineError> {
        let found = objects.read::<Machine>(&key.namespace, &key.name)?;
        let uid = found.as_ref().map_or("", |(_, machine)| machine.metadata.uid.as_str());
        let world = objects.store().world();
        left_behind(objects, &world, key, uid).await?;
        let Some((at, machine)) = found else { return Ok(None) };
        let now = objects.now();
        let held = machine.metadata.finalizers.iter().any(|held| held == FINALIZER);
        if !held && machine.metadata.deletion_timestamp.is_none() {
            // First of all, so that it cannot go and leave a server behind that nobody knows of.
            let mut next = machine.clone();
            next.metadata.finalizers.push(FINALIZER.into());
            objects.commit(vec![objects.put(&next, Precondition::At(at))?]).await?;
            return Ok(Some(Duration::ZERO));
        }
        if machine.spec.preinstalled {
            return preinstalled(objects, key, (at, &machine)).await;
        }
        if transfer::given(objects, &world, key, (at, &machine)).await? {
            return Ok(Some(LOOK_AGAIN));
        }
        let held = format!("status.machineRef.uid={}", machine.metadata.uid);
        let server = world.with_fields(Server::info(), &held).into_iter().next();
        if let (None, Some(from)) = (&server, transfer::takes(&machine)) {
            let status = transfer::take_over(objects, &world, (at, &machine), from, now).await?;
            let mutations = written(objects, key, (at, &machine), status, &Action::Nothing, now)?;
            if !mutations.is_empty() {
                objects.commit(mutations).await?;
            }
            return Ok(Some(LOOK_AGAIN));
        }
        let server_read = server.as_deref().map(crate::objects::decode::<Server>).transpose()?;
        let class = objects.read::<MachineClass>("", &machine.spec.class)?.map(|(_, class)| class);
        let image = objects.read::<Image>("", &machine.spec.image)?.map(|(_, image)| image);
        let run = machine.status.current_run.as_deref().and_then(|run| run.split_once('/'));
        let run = match run {
            Some((namespace, name)) => objects.read::<Run>(namespace, name)?,
            None => None,
        };
        let situation = Situation {
            machine: &machine,
            class: class.as_ref(),
            image: image.as_ref(),
            server: server_read.as_ref(),
            run: run.as_ref().map(|(_, run)| run),
            now,
        };
        let (mut status, mut action) = decide(&situation);
        let mut again = None;
        if action == Action::Choose {
            let chosen = choose::server(&world, &machine, class.as_ref());
            match chosen {
                Chosen::Server(free) => {
                    if take(objects, &free, (at, &machine)).await? {
                        let message = format!("It has Server {}.", free.name());
                        decide::not_ready(&mut status, "Waiting", message, now);
                        status.server = Some(free.name().to_owned());
                    }
                    // It goes on when the change of the server is seen; or looks for another.
                    again = Some(Duration::ZERO);
                }
                Chosen::None(why) => {
                    decide::not_ready(&mut status, "NoServer", why, now);
                    self.waiting().add(key);
                    again = Some(LOOK_AGAIN);
                }
            }
            action = Action::Nothing;
        }
        if action == Action::Release
            && let Some(server) = &server
        {
            let mut released = crate::objects::decode::<Server>(server)?;
            released.status.machine_ref = None;
            let release = objects.put(&released, Precondition::At(server.revision))?;
            objects.commit(vec![release]).await?;
        }
        let mutations = written(objects, key, (at, &machine), status, &action, now)?;
        if !mutations.is_empty() {
            let outcomes = objects.commit(mutations).await?;
            if !matches!(outcomes.first(), Some(Outcome::Committed(_))) {
                // Whoever came between made a change that brings us here again.
                return Ok(again);
            }
        }
        match action {
            Action::Begin(task) => begin(objects, &machine, situation.server, task, now).await?,
            Action::Cancel => cancel(objects, run).await?,
            _ => {}
        }
        Ok(again)
    }
}

/// Takes a step for a machine whose operating system was there before.
async fn preinstalled(
    objects: &Objects,
    key: &Key,
    (at, machine): (quarterdeck_model::Revision, &Machine),
) -> Result<Option<Duration>, EngineError> {
    let named = machine.spec.placement.as_ref().and_then(|placement| placement.server.clone());
    let server = match &named {
        Some(name) => objects.read::<Server>("", name)?,
        None => None,
    };
    let own = |server: &Server| {
        let has = server.status.machine_ref.as_ref();
        has.is_some_and(|has| has.uid == machine.metadata.uid)
    };
    let seen = server.as_ref().map(|(_, server)| (server, own(server)));
    let (status, action) = preinstalled::decide(machine, seen, objects.now());
    let waits = named.is_some() && status.server.is_none() && action == Action::Nothing;
    let found = named.and_then(|name| objects.get(&Key::new(Server::info(), "", &name)));
    match (&action, server, found) {
        // As it was when that was decided.
        (Action::Choose, Some((seen, _)), Some(free)) if free.revision == seen => {
            take(objects, &free, (at, machine)).await?;
        }
        (Action::Release, Some((at, mut server)), _) => {
            server.status.machine_ref = None;
            objects.commit(vec![objects.put(&server, Precondition::At(at))?]).await?;
        }
        _ => {}
    }
    let mutations = written(objects, key, (at, machine), status, &action, objects.now())?;
    if !mutations.is_empty() {
        objects.commit(mutations).await?;
    }
    // What was taken or let go is seen in the next look. Nobody tells it of a server that it waits for.
    if matches!(action, Action::Choose | Action::Release) {
        return Ok(Some(Duration::ZERO));
    }
    Ok(waits.then_some(LOOK_AGAIN))
}

/// What is to be written of the machine itself, and what is told of that.
fn written(
    objects: &Objects,
    key: &Key,
    (at, machine): (Revision, &Machine),
    status: MachineStatus,
    action: &Action,
    now: Time,
) -> Result<Vec<Mutation>, EngineError> {
    let mut next = Machine { status, ..machine.clone() };
    if *action == Action::Finish {
        next.metadata.finalizers.retain(|held| held != FINALIZER);
    }
    if next == *machine {
        return Ok(Vec::new());
    }
    if next.metadata.finalizers.is_empty() && next.metadata.deletion_timestamp.is_some() {
        return Ok(vec![objects.delete(key.clone(), Precondition::At(at))]);
    }
    let mut mutations = vec![objects.put(&next, Precondition::At(at))?];
    if let Some(event) = news(objects, key, &machine.status, &next.status, now) {
        mutations.push(objects.tell(&event)?);
    }
    Ok(mutations)
}

/// Servers that say they are of a machine of that name which is there no more, as when somebody has taken its
/// finalizer off. What is on their disks belongs to nobody: a person must look.
async fn left_behind(
    objects: &Objects,
    world: &World,
    key: &Key,
    uid: &str,
) -> Result<(), EngineError> {
    let named = format!(
        "status.machineRef.namespace={},status.machineRef.name={}",
        key.namespace, key.name
    );
    for found in world.with_fields(Server::info(), &named) {
        if found.field("status.machineRef.uid") == Some(uid) {
            continue;
        }
        let mut server = crate::objects::decode::<Server>(&found)?;
        let status = &mut server.status;
        status.machine_ref = None;
        if status.phase != ServerPhase::Ready && !status.phase.out_of_service() {
            status.phase = ServerPhase::Quarantined;
            status.phase_since = Some(Time::seconds(objects.now().timestamp()));
            status.phase_message = Some(format!(
                "Its Machine {}/{} is gone without having been wiped; run clean-server.",
                key.namespace, key.name
            ));
        }
        objects.commit(vec![objects.put(&server, Precondition::At(found.revision))?]).await?;
    }
    Ok(())
}

/// Takes a free server for the machine; false when somebody was before, or something else is wanted of the machine.
async fn take(
    objects: &Objects,
    free: &Object,
    (at, machine): (Revision, &Machine),
) -> Result<bool, EngineError> {
    let mut server = crate::objects::decode::<Server>(free)?;
    server.status.machine_ref = Some(MachineReference {
        namespace: machine.metadata.namespace.clone().unwrap_or_default(),
        name: machine.metadata.name.clone(),
        uid: machine.metadata.uid.clone(),
    });
    let meta = &machine.metadata;
    let own = Key::new(Machine::info(), meta.namespace.as_deref().unwrap_or_default(), &meta.name);
    let precondition = Precondition::AtIf { at: free.revision, seen: vec![(own, at)] };
    let take = objects.put(&server, precondition)?;
    Ok(matches!(objects.commit(vec![take]).await?.first(), Some(Outcome::Committed(_))))
}

async fn begin(
    objects: &Objects,
    machine: &Machine,
    server: Option<&Server>,
    task: Task,
    now: Time,
) -> Result<(), EngineError> {
    let Some(server) = server else { return Ok(()) };
    let meta = &machine.metadata;
    let labels = [
        (MACHINE, meta.name.clone()),
        (MACHINE_NAMESPACE, meta.namespace.clone().unwrap_or_default()),
    ];
    let annotations = task.image.map(|image| (IMAGE.to_owned(), image));
    let run = Run {
        metadata: ObjectMeta {
            name: task.name,
            namespace: Some(SYSTEM_NAMESPACE.into()),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            labels: labels.map(|(label, value)| (label.to_owned(), value)).into(),
            annotations: BTreeMap::from_iter(annotations),
            owner_references: vec![OwnerReference {
                api_version: Server::info().api_version(),
                kind: Server::KIND.into(),
                name: server.metadata.name.clone(),
                uid: server.metadata.uid.clone(),
                controller: Some(false),
                block_owner_deletion: None,
            }],
            ..ObjectMeta::default()
        },
        spec: RunSpec {
            runbook: task.runbook.into(),
            target: Some(RunTarget::new(Server::KIND, &server.metadata.name)),
            params: task.params,
            ..RunSpec::default()
        },
        ..Run::default()
    };
    // One that is there is this one: its name is made of what it is for.
    objects.commit(vec![objects.put(&run, Precondition::Absent)?]).await?;
    Ok(())
}

async fn cancel(objects: &Objects, run: Option<(Revision, Run)>) -> Result<(), EngineError> {
    let Some((at, mut run)) = run else { return Ok(()) };
    run.spec.cancel = true;
    run.metadata.generation = run.metadata.generation.map(|number| number + 1);
    objects.commit(vec![objects.put(&run, Precondition::At(at))?]).await?;
    Ok(())
}

/// What is worth an event on the machine: that it runs, or why it does not.
fn news(
    objects: &Objects,
    key: &Key,
    before: &MachineStatus,
    after: &MachineStatus,
    now: Time,
) -> Option<Event> {
    let ready = condition::find(&after.conditions, "Ready")?;
    let told = condition::find(&before.conditions, "Ready");
    if told.is_some_and(|told| told.reason == ready.reason) || ready.reason == "Waiting" {
        return None;
    }
    let trouble = ["InstallFailed", "RunFailed", "ServerLost", "ServerOutOfService"];
    let object = objects.get(key)?;
    let happening = Happening {
        component: "machines",
        reason: &ready.reason,
        message: &ready.message,
        warning: ready.status != ConditionStatus::True && trouble.contains(&ready.reason.as_str()),
        number: object.revision.0,
        place: 0,
    };
    Some(events::about(&object, &happening, now))
}

#[cfg(test)]
mod tests;
