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
                "Secret {namespace}/{name} is not the one that holds the credentials of the BMC of {} {} alone; nothing \
                 else is changed by a step",
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
    let spec = server.as_deref().and_then(|server: &Object| server.decode::<Server>().ok());
    let named = spec.and_then(|server| of_bmc(world, &server.spec));
    named.is_some_and(|named| SecretReference::of_bmc(&key.name, &named) == *secret)
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
