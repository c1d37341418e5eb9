//! Sites, racks and providers: what is in them, and what they say of each other that is not so. It must
//! not refuse anything: what admission refuses can still come to be, by a race or a later change.

use super::Controller;
use crate::{
    declared::undeclared,
    objects::{EngineError, Objects},
    units::{UNITS_FREE, clashes},
};
use quarterdeck_model::{
    Condition, ConditionStatus, Key, Kind, KindRef, Object, Time, condition,
    kinds::{Provider, Rack, Server, Site},
};
use quarterdeck_store::{Outcome, Precondition, World};
use std::{sync::Arc, time::Duration};

/// Changes of servers come in crowds; counting them once a second is enough.
const GATHER: Duration = Duration::from_secs(1);
/// Why the links of a place are not found when its site does not exist.
const SITE_NOT_FOUND: &str = "SiteNotFound";

/// Keeps the status of places.
pub(crate) struct Places;

impl Controller for Places {
    const NAME: &'static str = "places";

    fn follows(&self) -> Vec<KindRef> {
        vec![Site::info(), Rack::info(), Provider::info(), Server::info()]
    }

    fn affected(&self, object: &Object, _gone: bool) -> Vec<Key> {
        let field = |path| object.field(path).filter(|value| !value.is_empty());
        let mut keys = Vec::new();
        if object.kind == Server::info() {
            keys.extend(field("spec.location.rack").map(|rack| Key::new(Rack::info(), "", rack)));
            return keys;
        }
        keys.push(object.key.clone());
        if object.kind == Rack::info() {
            keys.extend(field("spec.site").map(|site| Key::new(Site::info(), "", site)));
        }
        keys
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().world();
        let now = objects.now();
        if *key.kind == *Rack::info().resource_name() {
            rack(objects, &world, &key.name, now).await?;
        } else if *key.kind == *Site::info().resource_name() {
            site(objects, &world, &key.name, now).await?;
        } else {
            provider(objects, &world, &key.name, now).await?;
        }
        Ok(None)
    }
}

fn count(number: usize) -> Option<u32> {
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

/// What a place says of the site it names.
fn site_found(world: &World, site: &str, now: Time) -> Condition {
    if world.get(Site::info(), "", site).is_some() {
        let message = format!("Site {site} exists.");
        return Condition::new("LinksFound", ConditionStatus::True, "Found", message, now);
    }
    let message =
        format!("spec names Site {site}, which does not exist; create it or correct the name.");
    Condition::new("LinksFound", ConditionStatus::False, SITE_NOT_FOUND, message, now)
}

/// Whether a place says already that its site does not exist.
fn says_not_found(conditions: &[Condition]) -> bool {
    let links = condition::find(conditions, "LinksFound");
    links.is_some_and(|links| links.reason == SITE_NOT_FOUND)
}

async fn write<K: Kind + PartialEq>(
    objects: &Objects,
    old: &K,
    new: &K,
    at: quarterdeck_model::Revision,
) -> Result<(), EngineError> {
    if old == new {
        return Ok(());
    }
    let outcomes = objects.commit(vec![objects.put(new, Precondition::At(at))?]).await?;
    if !matches!(outcomes.first(), Some(Outcome::Committed(_))) {
        // Whoever changed it made a change that brings us here again.
        tracing::trace!("a place changed meanwhile");
    }
    Ok(())
}

async fn rack(objects: &Objects, world: &World, name: &str, now: Time) -> Result<(), EngineError> {
    let servers = world.with_fields(Server::info(), &format!("spec.location.rack={name}"));
    units(objects, name, &servers, now).await?;
    let Some((at, old)) = objects.read::<Rack>("", name)? else { return Ok(()) };
    let mut new = old.clone();
    new.status.observed_generation = old.metadata.generation;
    new.status.servers = count(servers.len());
    new.status.phase = Some(if servers.is_empty() { "Empty" } else { "Active" }.into());
    condition::set(&mut new.status.conditions, links_found(world, &old, now)?);
    write(objects, &old, &new, at).await
}

/// What a rack says of its site, and of what the site declares.
fn links_found(world: &World, rack: &Rack, now: Time) -> Result<Condition, EngineError> {
    let found = site_found(world, &rack.spec.site, now);
    let Some(site) = world.get(Site::info(), "", &rack.spec.site) else { return Ok(found) };
    let site: Site = crate::objects::decode(&site)?;
    let undeclared = undeclared(&rack.spec, &site.spec);
    let Some(first) = undeclared.first() else { return Ok(found) };
    let message = format!("{} is {:?}: {}.", first.field, first.value, first.why);
    Ok(Condition::new("LinksFound", ConditionStatus::False, first.reason, message, now))
}

/// Tells servers of a rack that fill the same units, and no longer those that do not.
async fn units(
    objects: &Objects,
    rack: &str,
    servers: &[Arc<Object>],
    now: Time,
) -> Result<(), EngineError> {
    let clashes = clashes(servers);
    // Servers change all the time and hardly ever clash: only those that may be told something are read.
    let told = |server: &&Arc<Object>| {
        str::from_utf8(&server.json).is_ok_and(|json| json.contains(UNITS_FREE))
    };
    let concerned = |server: &&Arc<Object>| clashes.contains_key(server.name()) || told(server);
    for server in servers.iter().filter(concerned) {
        let Some((at, old)) = objects.read::<Server>("", server.name())? else { continue };
        let mut new = old.clone();
        match clashes.get(server.name()) {
            Some((unit, other)) => {
                let message = format!(
                    "Server {other} fills unit {unit} of Rack {rack} as well; correct spec.location of the one that is elsewhere."
                );
                let taken = ConditionStatus::False;
                let taken = Condition::new(UNITS_FREE, taken, "UnitTaken", message, now);
                condition::set(&mut new.status.conditions, taken);
            }
            None => new.status.conditions.retain(|condition| condition.kind != UNITS_FREE),
        }
        write(objects, &old, &new, at).await?;
    }
    Ok(())
}

async fn site(objects: &Objects, world: &World, name: &str, now: Time) -> Result<(), EngineError> {
    let racks = world.with_fields(Rack::info(), &format!("spec.site={name}"));
    let site = objects.read::<Site>("", name)?;
    let seen = site.as_ref().map(|(_, site)| site.status.observed_generation);
    if seen != site.as_ref().map(|(_, site)| site.metadata.generation) || site.is_none() {
        // It came, went or declares something else: those that name it are looked at before it is said
        // to be observed, so that a crash between leaves nothing unseen. While it is missing, every change of
        // one of them leads here: those that say so already are left alone.
        let gone = site.is_none();
        for object in &racks {
            let says = |rack: Rack| says_not_found(&rack.status.conditions);
            if !(gone && object.decode().is_ok_and(says)) {
                rack(objects, world, object.name(), now).await?;
            }
        }
        for object in world.with_fields(Provider::info(), &format!("spec.metal.site={name}")) {
            let says = |provider: Provider| says_not_found(&provider.status.conditions);
            if !(gone && object.decode().is_ok_and(says)) {
                provider(objects, world, object.name(), now).await?;
            }
        }
    }
    let Some((at, old)) = site else { return Ok(()) };
    let mut new = old.clone();
    // Racks have counted their servers already; a site adds those numbers up.
    let servers: u64 = racks
        .iter()
        .filter_map(|rack| rack.decode::<Rack>().ok()?.status.servers)
        .map(u64::from)
        .sum();
    new.status.observed_generation = old.metadata.generation;
    new.status.racks = count(racks.len());
    new.status.servers = Some(u32::try_from(servers).unwrap_or(u32::MAX));
    new.status.phase = Some(if racks.is_empty() { "Empty" } else { "Active" }.into());
    write(objects, &old, &new, at).await
}

async fn provider(
    objects: &Objects,
    world: &World,
    name: &str,
    now: Time,
) -> Result<(), EngineError> {
    let Some((at, old)) = objects.read::<Provider>("", name)? else { return Ok(()) };
    let mut new = old.clone();
    new.status.observed_generation = old.metadata.generation;
    if let Some(metal) = &old.spec.metal {
        let found = site_found(world, &metal.site, now);
        let ready = found.status == ConditionStatus::True;
        new.status.phase = Some(if ready { "Ready" } else { "Broken" }.into());
        condition::set(&mut new.status.conditions, found);
    }
    write(objects, &old, &new, at).await
}
