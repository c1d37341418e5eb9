//! Gathers what is joined to a server or a machine, as objects and as they came. What the caller may not see is left
//! out, and said so.

use crate::{
    Error,
    output::note,
    plane::{Plane, Seen, Selection, Within, seen},
};
use quarterdeck_model::{
    Kind,
    kinds::{Event, Instance, Location, Permit, Rack, Service, Site},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The objects of an answer, as they came.
pub(super) struct Raw {
    fields: Map<String, Value>,
    unseen: Vec<String>,
}

/// The machine that has a server, or the one asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfMachine<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl Raw {
    /// Of an answer of this kind.
    pub(super) fn new(kind: &str) -> Self {
        let fields = [("kind".to_owned(), Value::from(kind))];
        Self { fields: fields.into_iter().collect(), unseen: Vec::new() }
    }

    pub(super) fn insert(&mut self, field: &str, value: Value) {
        self.fields.insert(field.into(), value);
    }

    /// Takes what was listed, or notes that it may not be seen.
    pub(super) fn take<K>(
        &mut self,
        field: &str,
        listed: Result<Vec<Seen<K>>, Error>,
    ) -> Result<Vec<K>, Error> {
        let listed = match listed {
            Err(Error::Refused(why)) => {
                self.unseen.push(format!("{field}: {why}"));
                Vec::new()
            }
            other => other?,
        };
        let (raw, objects): (Vec<Value>, _) =
            listed.into_iter().map(|it| (it.raw, it.object)).unzip();
        let all = self.fields.entry(field).or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.extend(raw);
        }
        Ok(objects)
    }

    /// The object of that name, unless there is none or it may not be seen.
    pub(super) async fn one<K: Kind>(
        &mut self,
        plane: &Plane,
        field: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, Error> {
        let found = match plane.find(K::info(), namespace, name).await {
            Err(Error::Refused(why)) => {
                self.unseen.push(format!("{field}: {why}"));
                None
            }
            other => other?,
        };
        let Some(found) = found else { return Ok(None) };
        self.insert(field, found.clone());
        Ok(Some(seen(found)?.object))
    }

    /// The rack and the site of a place.
    pub(super) async fn place(
        &mut self,
        plane: &Plane,
        location: Option<&Location>,
    ) -> Result<(Option<Rack>, Option<Site>), Error> {
        let Some(location) = location else { return Ok((None, None)) };
        let rack: Option<Rack> = self.one(plane, "rack", "", &location.rack).await?;
        let site = match &rack {
            Some(rack) => self.one(plane, "site", "", &rack.spec.site).await?,
            None => None,
        };
        Ok((rack, site))
    }

    /// Permits to disrupt a server.
    pub(super) async fn permits(
        &mut self,
        plane: &Plane,
        server: &str,
    ) -> Result<Vec<Permit>, Error> {
        let on = Selection::fields(on_server(server));
        self.take("permits", plane.all(Within::Everywhere, &on).await)
    }

    /// What runs on a server, and on the machine that has it; with the services of that.
    pub(super) async fn instances(
        &mut self,
        plane: &Plane,
        server: Option<&str>,
        machine: Option<OfMachine<'_>>,
    ) -> Result<(Vec<Instance>, Vec<Service>), Error> {
        let mut instances = Vec::new();
        if let Some(server) = server {
            let here = format!("spec.host.kind=Server,spec.host.name={server}");
            let listed = plane.all(Within::Everywhere, &Selection::fields(here)).await;
            instances.extend(self.take("instances", listed)?);
        }
        if let Some(OfMachine { namespace, name }) = machine {
            let here = format!("spec.host.kind=Machine,spec.host.name={name}");
            let within = Within::Namespace(namespace);
            let listed = plane.all(within, &Selection::fields(here)).await;
            instances.extend(self.take("instances", listed)?);
        }
        let services = self.take("services", services(plane, &instances).await)?;
        Ok((instances, services))
    }

    /// What happened to an object, the newest last.
    pub(super) async fn events(
        &mut self,
        plane: &Plane,
        within: Within<'_>,
        uid: &str,
    ) -> Result<Vec<Event>, Error> {
        let about = Selection::fields(format!("involvedObject.uid={uid}"));
        let mut events = self.take("events", plane.all(within, &about).await)?;
        events.sort_by_key(|event: &Event| event.event_time.or(event.last_timestamp));
        Ok(events)
    }

    /// Says what is not shown.
    pub(super) fn tell(&self) {
        self.unseen.iter().for_each(|what| note(&format!("not shown: {what}")));
    }

    /// The same, and gives all as data.
    pub(super) fn done(mut self) -> Value {
        self.tell();
        self.fields.insert("unseen".into(), json!(self.unseen));
        Value::Object(self.fields)
    }
}

/// Fields of runs and permits whose target is a server.
pub(super) fn on_server(server: &str) -> String {
    format!("spec.target.kind=Server,spec.target.name={server}")
}

/// Those that the instances are of.
async fn services(plane: &Plane, instances: &[Instance]) -> Result<Vec<Seen<Service>>, Error> {
    let names: BTreeSet<(&str, &str)> = instances
        .iter()
        .map(|it| (it.metadata.namespace.as_deref().unwrap_or_default(), &*it.spec.service))
        .collect();
    let mut all = Vec::new();
    for (namespace, name) in names {
        // An instance of a service that is not there is only that.
        if let Some(found) = plane.find(Service::info(), namespace, name).await? {
            all.push(seen(found)?);
        }
    }
    Ok(all)
}
