//! Which services use which, from both ends. A service names what it uses; what uses it is found here without reading
//! all services. Read when it is first asked for, shared by all who ask, and brought along with what has changed since.
//!
//! Nothing here decides who may see what.

use quarterdeck_model::{
    Key, Kind as _, Object, Revision,
    kinds::{Dependency, Service, ServiceDependency},
};
use quarterdeck_store::{Store, World};
use serde::Deserialize;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

/// Of a service, only what it uses.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Only {
    spec: OnlySpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct OnlySpec {
    depends_on: Vec<ServiceDependency>,
}

/// What a service names, as it names it: namespace, name, and what becomes of it without.
pub(crate) fn uses(service: &Object) -> Vec<(String, String, Dependency)> {
    // Most services are read for nothing else, and many name none.
    if service.kind != Service::info()
        || memchr::memmem::find(&service.json, b"\"dependsOn\"").is_none()
    {
        return Vec::new();
    }
    let Ok(Only { spec }) = service.decode() else { return Vec::new() };
    let named = spec.depends_on.into_iter().map(|it| {
        let namespace = it.namespace.unwrap_or_else(|| service.namespace().to_owned());
        (namespace, it.name, it.kind)
    });
    named.collect()
}

/// Where a service is: namespace and name.
type Place = (String, String);

/// Who uses what, as of one revision.
#[derive(Clone, Default)]
pub(crate) struct Users {
    revision: Revision,
    uses: HashMap<Place, Vec<Place>>,
    users: HashMap<Place, BTreeSet<Place>>,
}

impl Users {
    /// From all services.
    pub(crate) fn read(world: &World) -> Self {
        let mut all = Self { revision: world.revision(), ..Self::default() };
        for service in world.all(Service::info()) {
            all.put(service);
        }
        all
    }

    /// The services that name this one, whether it is there or not, in order.
    pub(crate) fn of(&self, namespace: &str, name: &str) -> impl Iterator<Item = &Place> {
        self.users.get(&(namespace.to_owned(), name.to_owned())).into_iter().flatten()
    }

    fn put(&mut self, service: &Object) {
        let place = (service.namespace().to_owned(), service.name().to_owned());
        self.remove(&place);
        let mut used: Vec<Place> =
            uses(service).into_iter().map(|(namespace, name, _)| (namespace, name)).collect();
        if used.is_empty() {
            return;
        }
        used.sort_unstable();
        used.dedup();
        for other in &used {
            self.users.entry(other.clone()).or_default().insert(place.clone());
        }
        self.uses.insert(place, used);
    }

    fn remove(&mut self, place: &Place) {
        for other in self.uses.remove(place).into_iter().flatten() {
            if let Some(users) = self.users.get_mut(&other) {
                users.remove(place);
                if users.is_empty() {
                    self.users.remove(&other);
                }
            }
        }
    }

    /// The same as of a newer `world`, given whose objects changed between the two.
    fn advance(&mut self, world: &World, changed: impl IntoIterator<Item = Key>) {
        for Key { namespace, name, .. } in changed {
            match world.get(Service::info(), &namespace, &name) {
                Some(service) => self.put(&service),
                None => self.remove(&(namespace.to_string(), name.to_string())),
            }
        }
        self.revision = world.revision();
    }
}

/// The newest that somebody asked for.
#[derive(Default)]
pub(crate) struct Newest(Mutex<Option<Arc<Users>>>);

impl Newest {
    /// Who uses what as of `world`. Whoever asks brings it along, and others wait: reads some milliseconds of services
    /// the first time. One who looks at an older world than others did reads for itself.
    pub(crate) fn at(&self, store: &Store, world: &World) -> Arc<Users> {
        let kind = Service::info();
        let at = world.revision();
        // Taken out while it is changed: a panic leaves none, and it is read anew.
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let users = match newest.take() {
            None => Arc::new(Users::read(world)),
            // Asked for before the changes are read, so that none is missed.
            Some(users) if store.newest(kind) <= users.revision.min(at) || at == users.revision => {
                users
            }
            Some(users) if at < users.revision => {
                *newest = Some(users);
                drop(newest);
                return Arc::new(Users::read(world));
            }
            Some(mut users) => match store.changes(kind, users.revision) {
                Ok(changes) => {
                    let keys = changes.into_iter().map(|(key, _)| key);
                    Arc::make_mut(&mut users).advance(world, keys);
                    users
                }
                // More has changed than is kept.
                Err(_) => Arc::new(Users::read(world)),
            },
        };
        *newest = Some(users.clone());
        users
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Held;
    use serde_json::{Value, json};

    fn told(users: &Users, name: &str) -> String {
        let all = users.of("shop", name).map(|(namespace, name)| format!("{namespace}/{name}"));
        all.collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn who_uses_a_service_is_known_as_it_changes_and_as_of_any_world() {
        let held = Held::new().await;
        let newest = Newest::default();
        let service = Service::info();
        let on = |names: &[&str]| {
            let all: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({"spec": {"dependsOn": all}})
        };
        held.put(service, "shop", "web", on(&["db", "cache"])).await;
        let other =
            json!({"spec": {"dependsOn": [{"name": "db", "namespace": "shop", "type": "Soft"}]}});
        held.put(service, "find", "search", other).await;
        let before = held.store.world();
        let users = newest.at(&held.store, &before);
        assert_eq!(told(&users, "db"), "find/search shop/web");
        assert_eq!(
            (told(&users, "cache"), told(&users, "web")),
            ("shop/web".into(), String::new())
        );
        held.put(service, "shop", "web", on(&["cache"])).await;
        held.put(service, "shop", "api", on(&["db"])).await;
        let now = held.store.world();
        assert_eq!(told(&newest.at(&held.store, &now), "db"), "find/search shop/api");
        held.put(service, "find", "search", Value::Null).await;
        let last = held.store.world();
        assert_eq!(told(&newest.at(&held.store, &last), "db"), "shop/api");
        // One that was made from scratch says the same, and an older world is told as it was.
        assert_eq!(told(&Users::read(&last), "db"), "shop/api");
        assert_eq!(told(&newest.at(&held.store, &before), "db"), "find/search shop/web");
        assert_eq!(told(&newest.at(&held.store, &last), "db"), "shop/api");
    }
}
