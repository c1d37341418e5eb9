//! Scans for BMCs: of what was found and is allowed, servers are made, unless they are there already. It reads what a
//! scan has seen, and reaches nothing itself.

use super::Controller;
use crate::{
    objects::{EngineError, Objects},
    secrets::of_site,
};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object, ObjectMeta, Time,
    kinds::{
        BMCScan, BMCScanResult, Bmc, BmcProtocol, FoundBMC, Location, SecretReference, Server,
        ServerSpec,
    },
    selector::escaped,
    validate,
};
use quarterdeck_store::{Outcome, Precondition, World};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Annotation of a server: the scan that found it.
const SCAN: &str = "quarterdeck.dev/bmc-scan";

/// Keeps scans.
pub(crate) struct Scans;

impl Controller for Scans {
    const NAME: &'static str = "scans";

    fn follows(&self) -> Vec<KindRef> {
        vec![BMCScan::info()]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        if gone { Vec::new() } else { vec![object.key.clone()] }
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let Some((at, mut scan)) = objects.read::<BMCScan>("", &key.name)? else { return Ok(None) };
        if !scan.status.found.iter().any(|it| it.result == BMCScanResult::Pending) {
            return Ok(None);
        }
        let mut found = std::mem::take(&mut scan.status.found);
        for one in found.iter_mut().filter(|it| it.result == BMCScanResult::Pending) {
            // What was made just before is seen by the next: two addresses may lead to one system.
            let world = objects.store().world();
            match known(&world, &scan, one) {
                Verdict::Is(result, server, message) => {
                    (one.result, one.server, one.message) = (result, server, message);
                }
                Verdict::New(name) => enrol(objects, &world, &scan, one, name).await?,
            }
        }
        let enrolled = found.iter().filter(|it| it.result == BMCScanResult::Enrolled).count();
        scan.status.enrolled = u32::try_from(enrolled).ok();
        scan.status.observed_generation = scan.metadata.generation;
        scan.status.found = found;
        // A scan that was looked anew meanwhile brings us here again, and finds these servers there.
        objects.commit(vec![objects.put(&scan, Precondition::At(at))?]).await?;
        Ok(None)
    }
}

enum Verdict {
    Is(BMCScanResult, Option<String>, Option<String>),
    /// It becomes a server of that name.
    New(String),
}

/// Whether a system is a server already.
fn known(world: &World, scan: &BMCScan, found: &FoundBMC) -> Verdict {
    use BMCScanResult as R;
    let by = |field: &str, value: &str| {
        world.with_fields(Server::info(), &format!("{field}={}", escaped(value)))
    };
    let name = |server: &Object| Some(server.name().to_owned());
    let same_system = |server: &Arc<Object>| {
        let system = server.decode::<Server>().ok().and_then(|server| server.spec.bmc.system_id);
        found.system_id.is_none() || system.is_none() || system == found.system_id
    };
    let here: Vec<Arc<Object>> = spellings(&found.address)
        .iter()
        .flat_map(|address| by("spec.bmc.address", address))
        .filter(same_system)
        .collect();
    let ids = [("spec.serial", &found.serial), ("status.inventory.serialNumber", &found.serial)];
    let ids = ids
        .into_iter()
        .chain([("spec.serial", &found.uuid), ("status.inventory.uuid", &found.uuid)]);
    let is_it: Vec<Arc<Object>> =
        ids.filter_map(|(field, id)| Some(by(field, id.as_deref()?))).flatten().collect();
    if let Some(server) = here.iter().find(|server| is_it.iter().any(|it| it.key == server.key)) {
        let made = server.decode::<Server>().ok();
        let made = made.and_then(|it| it.metadata.annotations.get(SCAN).cloned());
        let result =
            if made.as_ref() == Some(&scan.metadata.name) { R::Enrolled } else { R::Known };
        return Verdict::Is(result, name(server), None);
    }
    if let Some(server) = is_it.first() {
        let address = server.field("spec.bmc.address").unwrap_or_default();
        let message = format!(
            "Server {} has this serial or UUID, and its spec.bmc.address is {address}; correct that if the BMC has moved",
            server.name()
        );
        return Verdict::Is(R::KnownElsewhere, name(server), Some(message));
    }
    if let Some(server) = here.first() {
        let declared = server.field("spec.serial").filter(|serial| !serial.is_empty());
        if declared.is_none()
            && server.field("status.inventory.serialNumber").is_none_or(str::is_empty)
        {
            return Verdict::Is(R::Known, name(server), None);
        }
        let message = format!(
            "Server {} is said to be at this address, and is another machine by its serial; correct its spec.bmc.address",
            server.name()
        );
        return Verdict::Is(R::Failed, name(server), Some(message));
    }
    match named(found) {
        Some(name) if world.get(Server::info(), "", &name).is_some() => {
            let message =
                format!("a Server named {name} is there, and is another machine; rename it");
            Verdict::Is(R::Failed, Some(name), Some(message))
        }
        Some(name) => Verdict::New(name),
        None => {
            let message = "it tells neither a serial number nor a UUID, so that nobody could tell it from another";
            Verdict::Is(R::Failed, None, Some(message.into()))
        }
    }
}

/// How Servers may spell an address.
fn spellings(address: &str) -> Vec<String> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("https", address));
    let bare = format!("{scheme}://{rest}");
    let slash = format!("{bare}/");
    let mut all = vec![bare, slash];
    if scheme == "https" {
        all.push(rest.to_owned());
        // The usual port may be written out.
        if !rest.rsplit(']').next().unwrap_or_default().contains(':') {
            all.extend([format!("{rest}:443"), format!("https://{rest}:443")]);
        }
    }
    all
}

/// The name of a new server: that of its serial number, or else its UUID.
fn named(found: &FoundBMC) -> Option<String> {
    let id = found.serial.as_ref().or(found.uuid.as_ref())?.trim().to_lowercase();
    let letter =
        |it: char| if it.is_ascii_alphanumeric() || it == '-' || it == '.' { it } else { '-' };
    let name: String = id.chars().map(letter).take(validate::SUBDOMAIN_BYTES_MAX).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    validate::subdomain(&name).is_ok().then_some(name)
}

async fn enrol(
    objects: &Objects,
    world: &World,
    scan: &BMCScan,
    found: &mut FoundBMC,
    name: String,
) -> Result<(), EngineError> {
    let server = server(world, scan, found, &name, objects.now());
    let write = objects.put(&server, Precondition::Absent)?;
    let outcomes = objects.commit(vec![write]).await?;
    found.server = Some(name);
    found.result = match outcomes.first() {
        Some(Outcome::Committed(_)) => BMCScanResult::Enrolled,
        // Somebody was before: the next scan says what it is.
        _ => BMCScanResult::Known,
    };
    Ok(())
}

fn server(world: &World, scan: &BMCScan, found: &FoundBMC, name: &str, now: Time) -> Server {
    let (spec, template) = (&scan.spec, &scan.spec.template);
    // What a site lends reaches a server by its rack alone.
    let lent: Option<SecretReference> = match &template.rack {
        Some(_) => None,
        None => of_site(world, &spec.site),
    };
    Server {
        metadata: ObjectMeta {
            name: name.to_owned(),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            labels: template.labels.clone(),
            annotations: BTreeMap::from([(SCAN.to_owned(), scan.metadata.name.clone())]),
            ..ObjectMeta::default()
        },
        spec: ServerSpec {
            serial: found.serial.clone().or_else(|| found.uuid.clone()),
            location: template.rack.clone().map(|rack| Location { rack, ..Location::default() }),
            bmc: Bmc {
                address: found.address.clone(),
                protocol: BmcProtocol::Redfish,
                system_id: found.system_id.clone(),
                credentials_secret_ref: spec.credentials_secret_ref.clone().or(lent),
                tls: spec.tls.clone(),
            },
            profile: template.profile.clone(),
            host_address: None,
        },
        ..Server::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_however_it_is_spelled() {
        let of = |address: &str| spellings(address);
        assert!(of("10.0.0.1").contains(&"https://10.0.0.1:443".to_owned()));
        assert!(of("10.0.0.1").contains(&"10.0.0.1".to_owned()));
        assert!(of("10.0.0.1:8443").contains(&"https://10.0.0.1:8443/".to_owned()));
        assert!(of("[fd00::1]").contains(&"[fd00::1]:443".to_owned()));
        assert_eq!(of("http://10.0.0.1"), ["http://10.0.0.1", "http://10.0.0.1/"]);
    }

    #[test]
    fn names_are_made_of_what_is_unique() {
        let found = |serial: Option<&str>, uuid: Option<&str>| {
            let text = |it: Option<&str>| it.map(str::to_owned);
            named(&FoundBMC { serial: text(serial), uuid: text(uuid), ..FoundBMC::default() })
        };
        assert_eq!(found(Some("CN7_4753 X."), Some("u")).as_deref(), Some("cn7-4753-x"));
        assert_eq!(found(None, Some("27946B59-9E44")).as_deref(), Some("27946b59-9e44"));
        assert_eq!(found(Some("--"), None), None);
        assert_eq!(found(None, None), None);
    }
}
