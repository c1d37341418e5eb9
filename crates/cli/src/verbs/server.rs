//! `quarterdeck server`: servers, what is joined to one, and the runbooks that ship for them.

use super::{
    Common,
    listing::{self, Listing},
    now,
    run::{Begin, Following, begin},
};
use crate::{
    Error, Outcome,
    named::Named,
    output::note,
    plane::{Plane, Seen, Selection, Within},
    view::{self, server::Joined},
};
use quarterdeck_model::{
    Kind,
    kinds::{Event, Instance, Permit, Rack, Run, Server, Service, Site},
};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// What can be asked about servers.
#[derive(Debug, clap::Subcommand)]
pub enum ServerVerb {
    /// List servers
    List(ListArguments),
    /// Show a server with its place, runs, permits, instances, services and events
    Show(OneServer),
    /// Power a server on or off, or off and on again, by a run of the runbook that ships for it
    #[command(after_long_help = "Examples:
  quarterdeck server power cycle m-0417
  quarterdeck server power off m-0417 --grace 5m -n ops

What runs on it is asked about first: the run waits until the ledger permits it. It is followed as `quarterdeck run start`
follows one.")]
    Power(PowerArguments),
    /// Reach a server's BMC and read its hardware anew, by a run
    Inspect(InspectArguments),
}

/// One server.
#[derive(Debug, clap::Args)]
pub struct OneServer {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    common: Common,
}

/// Which servers.
#[derive(Debug, clap::Args)]
pub struct ListArguments {
    /// Those of a site
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Those of a rack
    #[arg(long, value_name = "NAME")]
    rack: Option<String>,
    /// Those in this phase, such as Ready
    #[arg(long, value_name = "PHASE")]
    phase: Option<String>,
    /// Those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
    #[command(flatten)]
    common: Common,
}

/// What is done to its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Power {
    /// Power it on
    On,
    /// Ask its system to shut down, and cut the power when it does not
    Off,
    /// Off and on again
    Cycle,
}

/// Which server, and what is done to it.
#[derive(Debug, clap::Args)]
pub struct PowerArguments {
    /// What is done
    action: Power,
    /// The server
    #[arg(value_name = "NAME")]
    name: String,
    /// How long its system gets to shut down before the power is cut, such as 5m; for off
    #[arg(long, value_name = "TIME")]
    grace: Option<String>,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    common: Common,
}

/// Which server is inspected.
#[derive(Debug, clap::Args)]
pub struct InspectArguments {
    /// The server
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    common: Common,
}

/// Does what was asked.
pub(crate) async fn server(verb: ServerVerb) -> Result<Outcome, Error> {
    match verb {
        ServerVerb::List(arguments) => listed(&arguments).await,
        ServerVerb::Show(one) => show(&one).await,
        ServerVerb::Power(it) => {
            let runbook = match it.action {
                Power::On => "power-on-server",
                Power::Off => "power-off-server",
                Power::Cycle => "power-cycle-server",
            };
            if it.grace.is_some() && it.action != Power::Off {
                return Err(Error::Usage("--grace is for `power off` alone".into()));
            }
            let params: Vec<String> = it.grace.iter().map(|it| format!("grace={it}")).collect();
            started(runbook, &it.name, &params, &it.following, &it.common).await
        }
        ServerVerb::Inspect(it) => {
            started("inspect-server", &it.name, &[], &it.following, &it.common).await
        }
    }
}

async fn started(
    runbook: &str,
    name: &str,
    params: &[String],
    following: &Following,
    common: &Common,
) -> Result<Outcome, Error> {
    let plane = Plane::open(&common.connection).await?;
    let target = Named { kind: Server::info(), namespace: None, name: name.to_owned() };
    begin(&plane, &Begin { runbook, target: Some(&target), params, following }, common).await
}

async fn listed(arguments: &ListArguments) -> Result<Outcome, Error> {
    let common = &arguments.common;
    let plane = Plane::open(&common.connection).await?;
    let mut fields = Vec::new();
    fields.extend(arguments.rack.as_ref().map(|rack| format!("spec.location.rack={rack}")));
    fields.extend(arguments.phase.as_ref().map(|phase| format!("status.phase={phase}")));
    let racks = match &arguments.site {
        Some(site) => Some(racks_of(&plane, site).await?),
        None => None,
    };
    let in_site = |server: &Server| match (&racks, &server.spec.location) {
        (None, _) => true,
        (Some(racks), Some(place)) => racks.contains(&place.rack),
        (Some(_), None) => false,
    };
    let labels = arguments.selector.clone();
    let (wide, now) = (common.output.wide(), now());
    let listing = Listing {
        within: Within::Everywhere,
        selection: Selection { labels, fields: fields.join(","), most: None },
        keep: &in_site,
        heading: view::server::heading(wide),
        row: &|server| view::server::row(server, wide, now),
    };
    listing::print(&plane, listing, common).await
}

/// The racks of a site that must be there.
async fn racks_of(plane: &Plane, site: &str) -> Result<BTreeSet<String>, Error> {
    plane.get(Site::info(), "", site).await?;
    let of_it = Selection::fields(format!("spec.site={site}"));
    let racks = plane.objects::<Rack>(Within::Everywhere, &of_it).await?;
    Ok(racks.into_iter().map(|rack| rack.metadata.name).collect())
}

/// The objects that [`Joined`] is made of, as they came.
#[derive(Default)]
struct Raw {
    fields: serde_json::Map<String, Value>,
    unseen: Vec<String>,
}

impl Raw {
    /// Takes what was listed, or notes that it may not be seen.
    fn take<K>(
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
        let (raw, objects) = listed.into_iter().map(|it| (it.raw, it.object)).unzip();
        self.fields.insert(field.into(), Value::Array(raw));
        Ok(objects)
    }
}

async fn show(one: &OneServer) -> Result<Outcome, Error> {
    let plane = Plane::open(&one.common.connection).await?;
    let server: Seen<Server> = plane.read("", &one.name).await?;
    let mut raw = Raw::default();
    raw.fields.insert("kind".into(), "ServerView".into());
    raw.fields.insert("server".into(), server.raw);
    let joined = joined(&plane, server.object, &mut raw).await?;
    for what in &raw.unseen {
        note(&format!("not shown: {what}"));
    }
    raw.fields.insert("unseen".into(), json!(raw.unseen));
    let text = || view::server::show(&joined, now());
    one.common.output.print(text, || Value::Object(raw.fields.clone()))?;
    Ok(Outcome::Done)
}

async fn joined(plane: &Plane, server: Server, raw: &mut Raw) -> Result<Joined, Error> {
    let name = server.metadata.name.clone();
    let mut joined = Joined { server, ..Joined::default() };
    if let Some(location) = &joined.server.spec.location {
        joined.rack = one(plane, "rack", &location.rack, raw).await?;
    }
    if let Some(rack) = &joined.rack {
        joined.site = one(plane, "site", &rack.spec.site, raw).await?;
    }
    let on = format!("spec.target.kind=Server,spec.target.name={name}");
    let on = Selection::fields(on);
    joined.runs = raw.take("runs", plane.all(Within::Everywhere, &on).await)?;
    joined.runs.sort_by_key(|run: &Run| std::cmp::Reverse(run.metadata.creation_timestamp));
    joined.permits = raw.take("permits", plane.all::<Permit>(Within::Everywhere, &on).await)?;
    let here = Selection::fields(format!("spec.host.kind=Server,spec.host.name={name}"));
    let instances = plane.all::<Instance>(Within::Everywhere, &here).await;
    joined.instances = raw.take("instances", instances)?;
    joined.services = raw.take("services", services(plane, &joined.instances).await)?;
    let about = format!("involvedObject.kind=Server,involvedObject.name={name}");
    let events = plane.all(Within::Everywhere, &Selection::fields(about)).await;
    joined.events = raw.take("events", events)?;
    joined.events.sort_by_key(|event: &Event| event.event_time.or(event.last_timestamp));
    Ok(joined)
}

/// The object of that name, unless there is none or it may not be seen.
async fn one<K: Kind>(
    plane: &Plane,
    field: &str,
    name: &str,
    raw: &mut Raw,
) -> Result<Option<K>, Error> {
    let found = match plane.find(K::info(), "", name).await {
        Err(Error::Refused(why)) => {
            raw.unseen.push(format!("{field}: {why}"));
            None
        }
        other => other?,
    };
    let Some(found) = found else { return Ok(None) };
    raw.fields.insert(field.into(), found.clone());
    Ok(Some(crate::plane::seen(found)?.object))
}

/// Those that the instances are of.
async fn services(plane: &Plane, instances: &[Instance]) -> Result<Vec<Seen<Service>>, Error> {
    let mut names: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for instance in instances {
        let namespace = instance.metadata.namespace.as_deref().unwrap_or_default();
        names.entry(namespace).or_default().insert(&instance.spec.service);
    }
    let mut all = Vec::new();
    for (namespace, names) in names {
        for name in names {
            // An instance of a service that is not there is only that.
            if let Some(found) = plane.find(Service::info(), namespace, name).await? {
                all.push(crate::plane::seen(found)?);
            }
        }
    }
    Ok(all)
}
