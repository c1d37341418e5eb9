//! Servers: a new one is inspected by a run, and becomes ready or says why not and what to do.
//!
//! What should happen is decided by [`decide`], which is pure; the rest carries it out. Those that
//! are ready are looked at by `refresh`, without runs.

pub(crate) mod refresh;

mod decide;
mod profile;

use super::Controller;
use crate::{
    INSPECT_RUNBOOK, SYSTEM_NAMESPACE,
    events::{self, Happening},
    objects::{EngineError, Objects},
    runs::goes_on,
    secrets::of_bmc,
};
use decide::{Action, BASIS, Room, Situation, TRY, decide};
use quarterdeck_model::{
    ConditionStatus, Key, Kind, KindRef, Object, ObjectMeta, OwnerReference, Time, condition,
    kinds::{
        Event, Rack, Run, RunSpec, RunTarget, Runbook, Secret, SecretReference, Server,
        ServerProfile, ServerStatus, Site,
    },
};
use quarterdeck_store::{Precondition, Store, World};
use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Inspections in flight at once: about as many as the providers have room for, so that none
/// spends its time in a queue when thousands of servers are declared at once.
const INSPECTIONS_MAX: usize = 512;

/// While a server is inspected, it and its run change several times in a few milliseconds: they are looked at once.
const GATHER: Duration = Duration::from_millis(20);
/// What the names of inspections begin with.
const INSPECTION: &str = "inspect-";

/// Keeps servers.
pub(crate) struct Servers {
    store: Arc<Store>,
    turns: Mutex<Turns>,
    /// What racks and sites say that matters here: they change all the time.
    places: Mutex<HashMap<Key, String>>,
}

/// Whose inspection is in flight, and who waits for room, the longest first.
#[derive(Default)]
struct Turns {
    inspecting: HashSet<String>,
    waiting: VecDeque<String>,
    /// Those in `waiting`.
    waits: HashSet<String>,
    /// Rooms that came free without anybody being told.
    owed: usize,
}

impl Turns {
    /// Whether one more inspection may begin, for the server of that name. If not, it is told when one may.
    fn room(&mut self, name: &str) -> Room {
        if self.inspecting.len() < INSPECTIONS_MAX {
            return Room::Free;
        }
        if !self.waits.insert(name.to_owned()) {
            return Room::StillNone;
        }
        self.waiting.push_back(name.to_owned());
        Room::None
    }

    /// The inspection of a server is over: who may begin one in its place, and in those that are owed.
    fn over(&mut self, name: &str) -> Vec<String> {
        let free = std::mem::take(&mut self.owed) + usize::from(self.inspecting.remove(name));
        let mut next = Vec::new();
        while next.len() < free
            && let Some(name) = self.waiting.pop_front()
        {
            self.waits.remove(&name);
            next.push(name);
        }
        next
    }

    /// The same, seen where nobody can be told: that is done when the next inspection is over.
    fn free(&mut self, name: &str) {
        self.owed += usize::from(self.inspecting.remove(name));
    }
}

impl Servers {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, turns: Mutex::default(), places: Mutex::default() }
    }
}

impl Controller for Servers {
    const NAME: &'static str = "servers";

    fn follows(&self) -> Vec<KindRef> {
        vec![
            Server::info(),
            Run::info(),
            Rack::info(),
            Site::info(),
            Secret::info(),
            Runbook::info(),
            ServerProfile::info(),
        ]
    }

    fn matters(&self, before: &Object, after: &Object) -> bool {
        // Of a run that is no inspection it only matters whether it has ended.
        after.kind != Run::info()
            || is_inspection(after)
            || before.field("status.phase") != after.field("status.phase")
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        if object.kind == Server::info() {
            return vec![object.key.clone()];
        }
        if object.kind == Run::info() && object.field("spec.target.kind") == Some("Server") {
            let target = object.field("spec.target.name").unwrap_or_default();
            let mut keys = vec![Key::new(Server::info(), "", target)];
            if (gone || !goes_on(object)) && object.namespace() == SYSTEM_NAMESPACE {
                let next = lock(&self.turns).over(target);
                keys.extend(next.iter().map(|next| Key::new(Server::info(), "", next)));
            }
            return keys;
        }
        if object.kind == Rack::info() || object.kind == Site::info() {
            // Where it stands, or whose credentials it gives to servers without any.
            let says = |field| object.field(field).unwrap_or_default();
            let secret = ["namespace", "name"]
                .map(|part| object.field(&format!("spec.bmc.credentialsSecretRef.{part}")));
            let says = format!(
                "{}/{}",
                says("spec.site"),
                secret.map(Option::unwrap_or_default).join("/")
            );
            let mut places = lock(&self.places);
            let before = match gone {
                true => places.remove(&object.key),
                false => places.insert(object.key.clone(), says.clone()),
            };
            let news = gone || before.as_ref() != Some(&says);
            // A site that says nothing is like none.
            let nothing =
                [before.as_deref(), Some(says.as_str())].into_iter().flatten().all(|it| it == "//");
            let matters = object.kind == Rack::info() || !nothing;
            return if news && matters { self.that_name(&object.key) } else { Vec::new() };
        }
        if object.kind == Runbook::info() && object.name() != INSPECT_RUNBOOK {
            return Vec::new();
        }
        // A secret or a profile may matter to many servers.
        if object.kind == Run::info() { Vec::new() } else { self.that_name(&object.key) }
    }

    fn forget(&self, ours: &dyn Fn(&Key) -> bool) {
        let ours = |name: &String| ours(&Key::new(Server::info(), "", name));
        let mut turns = lock(&self.turns);
        turns.inspecting.retain(ours);
        turns.waiting.retain(ours);
        turns.waits.retain(ours);
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        self.server(objects, &objects.store().world(), key).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one insertion or removal, so a poisoned lock guards a good set.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Servers whose state depends on the object at `key`.
fn servers_that_name(world: &World, key: &Key) -> Vec<Arc<Object>> {
    let by_field = |fields: String| world.with_fields(Server::info(), &fields);
    if *key.kind == *Rack::info().resource_name() {
        return by_field(format!("spec.location.rack={}", key.name));
    }
    if *key.kind == *Secret::info().resource_name() {
        const CREDENTIALS: &str = "spec.bmc.credentialsSecretRef.name";
        let fields = [CREDENTIALS, "spec.bmc.tls.caSecretRef.name"];
        let named = fields.iter().flat_map(|field| by_field(format!("{field}={}", key.name)));
        let sites = world.with_fields(Site::info(), &format!("{CREDENTIALS}={}", key.name));
        return named
            .chain(sites.iter().flat_map(|site| without_own(world, site.name())))
            .collect();
    }
    if *key.kind == *Site::info().resource_name() {
        return without_own(world, &key.name);
    }
    if *key.kind == *ServerProfile::info().resource_name() {
        return by_field(format!("spec.profile={}", key.name));
    }
    // The runbook of inspections: those that wait for it.
    by_field("status.phase=Registered".into())
}

/// Servers of a site that have its credentials, as they name none.
fn without_own(world: &World, site: &str) -> Vec<Arc<Object>> {
    let racks = world.with_fields(Rack::info(), &format!("spec.site={site}"));
    let of = |rack: &Arc<Object>| {
        let fields = format!("spec.location.rack={}", rack.name());
        world.with_fields(Server::info(), &fields)
    };
    let none = |server: &Arc<Object>| {
        server.field("spec.bmc.credentialsSecretRef.name").is_none_or(str::is_empty)
    };
    racks.iter().flat_map(of).filter(none).collect()
}

/// What an inspection of the server is about: the server, its spec and the secrets it names, each in one
/// version. A corrected password is a reason to look again at once.
fn basis(world: &World, server: &Server) -> String {
    let version = |secret: &Option<SecretReference>| {
        secret
            .as_ref()
            .and_then(|secret| world.get(Secret::info(), &secret.namespace, &secret.name))
            .map_or(0, |secret| secret.revision.0)
    };
    format!(
        "{}/{}/{}/{}",
        server.metadata.uid,
        server.metadata.generation.unwrap_or(0),
        version(&of_bmc(world, &server.spec)),
        version(&server.spec.bmc.tls.ca_secret_ref)
    )
}

fn inspection_name(server: &str) -> String {
    format!("{INSPECTION}{}", server.get(..240).unwrap_or(server))
}

fn is_inspection(run: &Object) -> bool {
    run.namespace() == SYSTEM_NAMESPACE && run.name().starts_with(INSPECTION)
}

impl Servers {
    fn that_name(&self, key: &Key) -> Vec<Key> {
        let servers = servers_that_name(&self.store.world(), key);
        servers.iter().map(|server| server.key.clone()).collect()
    }

    async fn server(
        &self,
        objects: &Objects,
        world: &World,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let Some((at, server)) = objects.read::<Server>("", &key.name)? else {
            lock(&self.turns).free(&key.name);
            return Ok(None);
        };
        let name = inspection_name(&server.metadata.name);
        let inspection = objects.read::<Run>(SYSTEM_NAMESPACE, &name)?;
        if inspection.as_ref().is_some_and(|(_, run)| !run.status.phase.ended()) {
            lock(&self.turns).inspecting.insert(key.name.to_string());
        } else {
            lock(&self.turns).free(&key.name);
        }
        let (basis, now) = (basis(world, &server), objects.now());
        let profile = match &server.spec.profile {
            Some(name) => objects.read::<ServerProfile>("", name)?.map(|(_, profile)| profile),
            None => None,
        };
        let (decision, asked) = {
            let asked = Cell::new(Room::Free);
            let room = || {
                asked.set(lock(&self.turns).room(&key.name));
                asked.get()
            };
            let rack = server.spec.location.as_ref().map(|location| location.rack.as_str());
            let situation = Situation {
                server: &server,
                basis: basis.clone(),
                inspection: inspection.as_ref().map(|(_, run)| run),
                can_inspect: world.get(Runbook::info(), "", INSPECT_RUNBOOK).is_some(),
                room: &room,
                profile: profile.as_ref(),
                rack_found: rack.is_some_and(|rack| world.get(Rack::info(), "", rack).is_some()),
                now,
            };
            (decide(&situation), asked.get())
        };
        let (mut status, action, again) = decision;
        if asked == Room::None && server.status == ServerStatus::default() {
            // It is told when there is room, and all is written then at once.
            return Ok(again);
        }
        drop_stale_run(objects, &mut status)?;
        let mut mutations = Vec::new();
        if status != server.status {
            if let Some(event) = news(objects, key, &server.status, &status, now) {
                mutations.push(objects.tell(&event)?);
            }
            let next = Server { status, ..server.clone() };
            mutations.push(objects.put(&next, Precondition::At(at))?);
        }
        match action {
            Action::Nothing => {}
            Action::Cancel => {
                if let Some((at, run)) = &inspection {
                    let mut run = run.clone();
                    run.spec.cancel = true;
                    run.metadata.generation = run.metadata.generation.map(|number| number + 1);
                    mutations.push(objects.put(&run, Precondition::At(*at))?);
                }
            }
            Action::Inspect { number } => {
                lock(&self.turns).inspecting.insert(key.name.to_string());
                let run = inspection_run(&server, &name, &basis, number, now);
                if let Some((at, old)) = &inspection {
                    let key = Key::new(Run::info(), SYSTEM_NAMESPACE, &old.metadata.name);
                    mutations.push(objects.delete(key, Precondition::At(*at)));
                }
                mutations.push(objects.put(&run, Precondition::Absent)?);
            }
        }
        if !mutations.is_empty() {
            // Whoever got in between made a change that brings us here again.
            objects.commit(mutations).await?;
        }
        Ok(again)
    }
}

/// What is worth an event on the server: that it is ready, or no longer, or for another reason.
fn news(
    objects: &Objects,
    key: &Key,
    before: &ServerStatus,
    after: &ServerStatus,
    now: Time,
) -> Option<Event> {
    let ready = condition::find(&after.conditions, "Ready")?;
    let told = condition::find(&before.conditions, "Ready");
    if told.is_some_and(|told| told.reason == ready.reason) {
        return None;
    }
    let expected = matches!(ready.reason.as_str(), "Inspecting" | "Queued");
    let object = objects.get(key)?;
    let happening = Happening {
        component: "servers",
        reason: &ready.reason,
        message: &ready.message,
        warning: ready.status != ConditionStatus::True && !expected,
        number: object.revision.0,
        place: 0,
    };
    Some(events::about(&object, &happening, now))
}

/// A run that ended or is gone acts on nothing, whatever it could still write before it ended.
fn drop_stale_run(objects: &Objects, status: &mut ServerStatus) -> Result<(), EngineError> {
    let Some((namespace, name)) = status.current_run.as_deref().and_then(|run| run.split_once('/'))
    else {
        return Ok(());
    };
    let run = objects.read::<Run>(namespace, name)?;
    if run.is_none_or(|(_, run)| run.status.phase.ended()) {
        status.current_run = None;
    }
    Ok(())
}

fn inspection_run(server: &Server, name: &str, basis: &str, number: u32, now: Time) -> Run {
    Run {
        metadata: ObjectMeta {
            name: name.into(),
            namespace: Some(SYSTEM_NAMESPACE.into()),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            annotations: BTreeMap::from([
                (BASIS.to_owned(), basis.to_owned()),
                (TRY.to_owned(), number.to_string()),
            ]),
            owner_references: vec![OwnerReference {
                api_version: Server::info().api_version(),
                kind: Server::KIND.into(),
                name: server.metadata.name.clone(),
                uid: server.metadata.uid.clone(),
                controller: Some(true),
                block_owner_deletion: None,
            }],
            ..ObjectMeta::default()
        },
        spec: RunSpec {
            runbook: INSPECT_RUNBOOK.into(),
            target: Some(RunTarget::new(Server::KIND, &server.metadata.name)),
            ..RunSpec::default()
        },
        ..Run::default()
    }
}

#[cfg(test)]
mod tests;
