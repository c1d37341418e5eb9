//! What services say of those that they use: which are not there, and which cannot be without each other in a circle.

use quarterdeck_model::{
    FieldError, FieldErrors, Kind as _,
    kinds::{Dependency, Service, ServiceDependency},
};
use quarterdeck_store::World;
use serde::Deserialize as _;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// Services that are looked into for one circle. Who uses more than that, through whatever others, is told of none.
const LOOKED_MAX: usize = 20_000;

/// A service that cannot be without itself could never begin.
pub(crate) fn acyclic(world: &World, new: &Value, old: Option<&Value>) -> FieldErrors {
    if crate::rules::same(new, old, &["dependsOn"]) {
        return FieldErrors::new();
    }
    let Ok(service) = Service::deserialize(new) else { return FieldErrors::new() };
    let Some(circle) = circle(world, &service) else { return FieldErrors::new() };
    let why = format!(
        "{}: none of them could begin; make one of these dependencies Soft",
        circle.join(" cannot be without ")
    );
    let first = circle.get(1).map_or("", String::as_str);
    vec![FieldError::invalid("spec.dependsOn", format!("{first:?}"), why)]
}

/// The way from a service by hard dependencies back to itself, with it at both ends; the shortest.
pub(crate) fn circle(world: &World, service: &Service) -> Option<Vec<String>> {
    let own = service.metadata.namespace.as_deref().unwrap_or_default();
    let me = format!("{own}/{}", service.metadata.name);
    // From where each was come to.
    let mut from: BTreeMap<String, String> = BTreeMap::new();
    let mut open: VecDeque<String> = VecDeque::new();
    let mut look = |at: &str,
                    namespace: &str,
                    uses: &[ServiceDependency],
                    from: &mut BTreeMap<String, String>| {
        for used in uses.iter().filter(|used| used.kind == Dependency::Hard) {
            let full = used.full_name(namespace);
            if !from.contains_key(&full) {
                from.insert(full.clone(), at.to_owned());
                open.push_back(full);
            }
        }
        open.pop_front()
    };
    let mut next = look(&me, own, &service.spec.depends_on, &mut from);
    while let Some(at) = next {
        if at == me {
            let mut way = vec![me.clone()];
            let mut back = from.get(&me)?;
            while *back != me {
                way.push(back.clone());
                back = from.get(back)?;
            }
            way.push(me);
            way.reverse();
            return Some(way);
        }
        if from.len() > LOOKED_MAX {
            return None;
        }
        let (namespace, name) = at.split_once('/')?;
        let found = world.get(Service::info(), namespace, name);
        let uses = found.and_then(|it| it.decode::<Service>().ok()).map(|it| it.spec.depends_on);
        next = look(&at, namespace, &uses.unwrap_or_default(), &mut from);
    }
    None
}

/// Services that one uses and that are not there.
pub(crate) fn missing(world: &World, service: &Service) -> Vec<String> {
    let own = service.metadata.namespace.as_deref().unwrap_or_default();
    let named = service.spec.depends_on.iter().map(|used| used.full_name(own));
    let there = |full: &String| {
        let (namespace, name) = full.split_once('/').unwrap_or_default();
        world.get(Service::info(), namespace, name).is_some()
    };
    named.filter(|full| !there(full)).collect()
}
