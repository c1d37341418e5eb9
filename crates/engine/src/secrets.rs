//! Where actions read Secrets, the cache, and the one way in which they have one changed. Their data goes nowhere else.

use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    Key, Kind as _, Object, ObjectMeta, Time,
    kinds::{
        BMCScan, Namespace, Secret, SecretReference, Server, ServerSpec, Site, bmc_credentials,
    },
};
use quarterdeck_providers::{SecretChange, SecretData, SecretSource};
use quarterdeck_store::{Outcome, Precondition, Store, World};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Annotation of a Secret: the server whose BMC's credentials it holds.
const OF_SERVER: &str = "quarterdeck.dev/server";
/// How often a change is tried on a newer version of the Secret before it is left for later.
const TRIES: usize = 16;

/// The plane's Secrets.
pub(crate) struct StoreSecrets(pub(crate) Arc<Store>);

impl SecretSource for StoreSecrets {
    fn get(&self, namespace: &str, name: &str) -> Option<SecretData> {
        let object = self.0.world().get(Secret::info(), namespace, name)?;
        let secret: Secret = object.decode().ok()?;
        let keys: Vec<String> = secret.data.keys().cloned().collect();
        Some(
            keys.into_iter()
                .filter_map(|key| secret.value(&key).map(|value| (key, value)))
                .collect(),
        )
    }
}

/// The Secret with the credentials of a server's BMC.
pub(crate) fn of_bmc(world: &World, spec: &ServerSpec) -> Option<SecretReference> {
    let rack = spec.location.as_ref().map(|location| location.rack.as_str());
    let own = spec.bmc.credentials_secret_ref.as_ref();
    bmc_credentials(own, rack, |kind, name| world.get(kind, "", name))
}

/// The Secret with the credentials that a site lends.
pub(crate) fn of_site(world: &World, site: &str) -> Option<SecretReference> {
    let site: Site = world.get(Site::info(), "", site)?.decode().ok()?;
    site.spec.bmc?.credentials_secret_ref
}

/// A target as actions see it: a server or scan that names no credentials has those of its site.
pub(crate) fn with_defaults(world: &World, kind: &str, target: Arc<Value>) -> Arc<Value> {
    const FIELD: &str = "credentialsSecretRef";
    let text = |path: &str| target.pointer(path).and_then(Value::as_str);
    let (place, lent) = if *kind == *Server::info().resource_name() {
        let rack = text("/spec/location/rack");
        ("/spec/bmc", bmc_credentials(None, rack, |kind, name| world.get(kind, "", name)))
    } else if *kind == *BMCScan::info().resource_name() {
        ("/spec", text("/spec/site").and_then(|site| of_site(world, site)))
    } else {
        return target;
    };
    let named = target.pointer(place).and_then(|it| it.get(FIELD)).filter(|it| !it.is_null());
    let (None, Some(secret)) = (named, lent) else { return target };
    let mut target = Arc::unwrap_or_clone(target);
    if let Some(bmc) = target.pointer_mut(place).and_then(Value::as_object_mut)
        && let Ok(secret) = serde_json::to_value(secret)
    {
        bmc.insert(FIELD.into(), secret);
    }
    Arc::new(target)
}

/// Makes a change that an action with the target at `key` asks for. Answers why that is refused, if it is: nothing
/// but the Secret that holds the credentials of the target's BMC, and of no other, is changed so.
pub(crate) async fn keep(
    objects: &Objects,
    key: &Key,
    change: &SecretChange,
) -> Result<Result<(), String>, EngineError> {
    let SecretReference { namespace, name } = &change.secret;
    for _ in 0..TRIES {
        let world = objects.store().world();
        if !may_change(&world, key, &change.secret) {
            return Ok(Err(format!(
                "Secret {namespace}/{name} is not the one that holds the credentials of the BMC of {} {} alone: that is one of this name \
                 that no other Server or Site names, and that has the annotation {OF_SERVER}, or that the Server \
                 names; nothing else is changed by a step",
                key.kind, key.name
            )));
        }
        let there = world.get(Secret::info(), namespace, name);
        let (secret, precondition) = match &there {
            Some(object) => {
                (crate::objects::decode::<Secret>(object)?, Precondition::At(object.revision))
            }
            None => match created(&world, key, change, objects.now()) {
                Ok(new) => (new, Precondition::Absent),
                Err(why) => return Ok(Err(why)),
            },
        };
        if secret.immutable == Some(true) {
            return Ok(Err(format!(
                "Secret {namespace}/{name} is immutable; delete it, or name another"
            )));
        }
        let next = changed(secret.clone(), change);
        if there.is_some() && next == secret {
            return Ok(Ok(()));
        }
        let write = objects.put(&next, precondition)?;
        if matches!(objects.commit(vec![write]).await?.first(), Some(Outcome::Committed(_))) {
            return Ok(Ok(()));
        }
        objects.store().fresh().await?;
    }
    Ok(Err(format!("Secret {namespace}/{name} changes too often to be written")))
}

fn may_change(world: &World, key: &Key, secret: &SecretReference) -> bool {
    if *key.kind != *Server::info().resource_name() {
        return false;
    }
    let server = world.get(Server::info(), "", &key.name);
    let server = server.as_deref().and_then(|server: &Object| server.decode::<Server>().ok());
    let Some(named) = server.as_ref().and_then(|server| of_bmc(world, &server.spec)) else {
        return false;
    };
    SecretReference::of_bmc(&key.name, &named) == *secret
        && !others_have(world, &key.name, secret)
        && (named == *secret || is_of(world, &key.name, secret))
}

/// Whether a site lends the Secret, or a server other than `server` names it.
fn others_have(world: &World, server: &str, secret: &SecretReference) -> bool {
    let named = format!("spec.bmc.credentialsSecretRef.name={}", secret.name);
    let servers = world.with_fields(Server::info(), &named);
    // Those of that name in other namespaces are left.
    let names = |other: &Arc<Object>| {
        let other: Option<Server> = other.decode().ok();
        other.is_none_or(|other| other.spec.bmc.credentials_secret_ref.as_ref() == Some(secret))
    };
    servers.iter().any(|other| other.name() != server && names(other))
        || world
            .with_fields(Site::info(), &named)
            .iter()
            .any(|site| of_site(world, site.name()).is_none_or(|lent| lent == *secret))
}

/// Whether the Secret was made for that server, or is yet to be.
fn is_of(world: &World, server: &str, secret: &SecretReference) -> bool {
    let Some(object) = world.get(Secret::info(), &secret.namespace, &secret.name) else {
        return true;
    };
    let there: Option<Secret> = object.decode().ok();
    let of = there.and_then(|it| it.metadata.annotations.get(OF_SERVER).cloned());
    of.is_some_and(|of| of == server)
}

fn created(world: &World, key: &Key, change: &SecretChange, now: Time) -> Result<Secret, String> {
    let SecretReference { namespace, name } = &change.secret;
    let there = world.get(Namespace::info(), "", namespace);
    if there.is_none_or(|namespace| namespace.deleting()) {
        return Err(format!(
            "namespace {namespace} is not there, so that Secret {name} cannot be kept in it"
        ));
    }
    Ok(Secret {
        metadata: ObjectMeta {
            name: name.clone(),
            namespace: Some(namespace.clone()),
            uid: uuid::Uuid::new_v4().to_string(),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            annotations: BTreeMap::from([(OF_SERVER.to_owned(), key.name.to_string())]),
            ..ObjectMeta::default()
        },
        kind: Some("Opaque".into()),
        ..Secret::default()
    })
}

fn changed(mut secret: Secret, change: &SecretChange) -> Secret {
    for (name, value) in &change.set {
        secret.set(name, value);
    }
    secret.data.retain(|name, _| !change.remove.contains(name));
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use quarterdeck_model::{KindRef, object};
    use quarterdeck_store::Sqlite;
    use serde_json::json;

    /// What a rotation may change is the server's alone: what it makes itself, or what it alone names.
    #[tokio::test]
    async fn a_secret_that_is_not_the_servers_alone_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Arc::new(Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap());
        let objects = Objects::for_test(store, Arc::new(Timestamp::now)).await;
        let put = async |kind: KindRef, namespace: &str, name: &str, mut value: Value| {
            value["metadata"]["name"] = json!(name);
            value["metadata"]["uid"] = json!("u");
            let body = object::encode(kind, &value);
            let write = objects.put_body(Key::new(kind, namespace, name), body, Precondition::None);
            objects.commit(vec![write]).await.unwrap();
        };
        // Of a Server or a Site.
        let names = |namespace: &str, name: &str| {
            let secret = json!({"namespace": namespace, "name": name});
            json!({"spec": {"region": "eu",
                "bmc": {"address": "192.0.2.1", "credentialsSecretRef": secret}}})
        };
        let of = |server: &str| {
            let annotations = json!({OF_SERVER: server});
            json!({"metadata": {"namespace": "ops", "annotations": annotations}})
        };
        let change = SecretChange {
            secret: SecretReference { namespace: "ops".into(), name: "bmc-s1".into() },
            set: [("pendingPassword".to_owned(), b"new".to_vec())].into(),
            remove: Vec::new(),
        };
        let key = Key::new(Server::info(), "", "s1");
        let kept = async || keep(&objects, &key, &change).await.unwrap();
        put(Namespace::info(), "", "ops", json!({})).await;
        put(Server::info(), "", "s1", names("ops", "factory")).await;

        // Somebody's own of that name.
        put(Secret::info(), "ops", "bmc-s1", json!({"metadata": {"namespace": "ops"}})).await;
        assert!(kept().await.unwrap_err().contains("alone"));
        put(Secret::info(), "ops", "bmc-s1", of("s2")).await;
        assert!(kept().await.unwrap_err().contains("alone"));
        put(Server::info(), "", "s1", names("ops", "bmc-s1")).await;
        kept().await.expect("it names that, and nobody else does");
        put(Server::info(), "", "s1", names("ops", "factory")).await;
        put(Secret::info(), "ops", "bmc-s1", of("s1")).await;
        kept().await.expect("it was made for it");

        put(Server::info(), "", "s2", names("ops", "bmc-s1")).await;
        assert!(kept().await.unwrap_err().contains("alone"));
        put(Server::info(), "", "s2", names("elsewhere", "bmc-s1")).await;
        kept().await.expect("that is another Secret");
        put(Site::info(), "", "ams", names("ops", "bmc-s1")).await;
        assert!(kept().await.unwrap_err().contains("alone"));
        put(Site::info(), "", "ams", names("elsewhere", "bmc-s1")).await;
        kept().await.expect("that is another Secret too");
    }
}
