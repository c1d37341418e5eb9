//! Sites, racks and providers: what is in them, and links that lead nowhere.

use super::Controller;
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    Condition, ConditionStatus, FieldSelector, Key, Kind, KindRef, LabelSelector, Object, Time,
    condition,
    kinds::{Provider, Rack, Server, Site},
};
use quarterdeck_store::{ListQuery, Outcome, Precondition, World};
use std::time::Duration;

/// Changes of servers come in crowds; counting them once a second is enough.
const GATHER: Duration = Duration::from_secs(1);

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
            site(objects, &world, &key.name).await?;
        } else {
            provider(objects, &world, &key.name, now).await?;
        }
        Ok(None)
    }
}

fn with_field(
    world: &World,
    kind: KindRef,
    field: &str,
    value: &str,
) -> Vec<std::sync::Arc<Object>> {
    let Ok(fields) = FieldSelector::parse(&format!("{field}={value}")) else { return Vec::new() };
    world
        .list(&ListQuery {
            kind,
            namespace: None,
            labels: &LabelSelector::default(),
            fields: &fields,
            after: None,
            limit: None,
        })
        .items
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
    Condition::new("LinksFound", ConditionStatus::False, "SiteNotFound", message, now)
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
    let Some((at, old)) = objects.read::<Rack>("", name)? else { return Ok(()) };
    let mut new = old.clone();
    let servers = with_field(world, Server::info(), "spec.location.rack", name).len();
    new.status.observed_generation = old.metadata.generation;
    new.status.servers = count(servers);
    new.status.phase = Some(if servers == 0 { "Empty" } else { "Active" }.into());
    condition::set(&mut new.status.conditions, site_found(world, &old.spec.site, now));
    write(objects, &old, &new, at).await
}

async fn site(objects: &Objects, world: &World, name: &str) -> Result<(), EngineError> {
    let Some((at, old)) = objects.read::<Site>("", name)? else { return Ok(()) };
    let mut new = old.clone();
    let racks = with_field(world, Rack::info(), "spec.site", name);
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
