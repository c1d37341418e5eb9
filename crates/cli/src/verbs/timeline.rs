//! `quarterdeck timeline`: gathers what happened to an object, and shows it in order of time.

use super::{Common, joined::on_server, now, visible};
use crate::{
    Error, Outcome,
    named::Named,
    plane::{Plane, Selection, Within, seen},
    view,
};
use quarterdeck_model::{
    Kind, Time,
    kinds::{Campaign, Event, Machine, Permit, Run, Server},
};
use serde_json::{Value, json};

/// What is asked about.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  quarterdeck timeline server/ams1-a01-01-u01
  quarterdeck timeline run/power-cycle-x7 -n ops
  quarterdeck timeline machine/shop/web-1            # with its server and runs

Events are kept for a while and then removed; of several changes of a field by the same client, the last is shown.")]
pub struct TimelineArguments {
    /// KIND/NAME, or KIND/NAMESPACE/NAME
    #[arg(value_name = "KIND/NAME")]
    named: Named,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn timeline(arguments: &TimelineArguments) -> Result<Outcome, Error> {
    let TimelineArguments { named, common } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let namespace = named.namespace.as_deref().unwrap_or(&plane.namespace);
    let object = plane.get(named.kind, namespace, &named.name).await?;
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let events = everywhere::<Event>(&plane, &format!("involvedObject.uid={uid}"), "").await?;
    let (runs, permits) = on(&plane, named, namespace, &object).await?;
    let mut entries = view::timeline::entries(&object, &events, &runs, &permits);
    if named.is::<Machine>() {
        let machine: Machine = seen(object)?.object;
        if let Some((server, events)) = server_of(&plane, &machine).await? {
            let since = machine.metadata.creation_timestamp;
            view::timeline::join(&mut entries, &server, &events, since);
        }
    }
    let value =
        || json!({"kind": "Timeline", "subject": named.full(namespace), "entries": entries});
    common.output.print(|| view::timeline::text(&entries, now()), value)?;
    Ok(Outcome::Done)
}

/// The runs and permits that are part of its story.
async fn on(
    plane: &Plane,
    named: &Named,
    namespace: &str,
    object: &Value,
) -> Result<(Vec<Run>, Vec<Permit>), Error> {
    if named.is::<Run>() {
        let run: Run = seen(object.clone())?.object;
        let own = format!("spec.runUID={}", run.metadata.uid);
        return Ok((vec![run], everywhere(plane, &own, "").await?));
    }
    if named.is::<Campaign>() {
        let own = format!("quarterdeck.dev/campaign={}", named.name);
        let mut runs = everywhere::<Run>(plane, "", &own).await?;
        runs.retain(|run| run.metadata.namespace.as_deref() == Some(namespace));
        return Ok((runs, Vec::new()));
    }
    if named.is::<Machine>() {
        return of_machine(plane, &seen(object.clone())?.object).await;
    }
    let target = format!("spec.target.kind={},spec.target.name={}", named.kind.kind, named.name);
    let mut runs = everywhere::<Run>(plane, &target, "").await?;
    let mut permits = everywhere::<Permit>(plane, &target, "").await?;
    if named.kind.namespaced() {
        // A target in a namespace is one of the run's own.
        runs.retain(|run| run.metadata.namespace.as_deref() == Some(namespace));
        permits.retain(|permit| permit.metadata.namespace.as_deref() == Some(namespace));
    }
    Ok((runs, permits))
}

/// The runs that were made for a machine, those that others began on its server since, and the permits of both.
async fn of_machine(plane: &Plane, machine: &Machine) -> Result<(Vec<Run>, Vec<Permit>), Error> {
    let meta = &machine.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let own = format!(
        "quarterdeck.dev/machine={},quarterdeck.dev/machine-namespace={namespace}",
        meta.name
    );
    let mut runs = everywhere::<Run>(plane, "", &own).await?;
    // One of the same name may have been before it.
    let since = |time: Option<Time>| time >= meta.creation_timestamp;
    runs.retain(|run| since(run.metadata.creation_timestamp));
    let Some(server) = &machine.status.server else { return Ok((runs, Vec::new())) };
    let on = on_server(server);
    for run in everywhere::<Run>(plane, &on, "").await? {
        let known = runs.iter().any(|known| known.metadata.uid == run.metadata.uid);
        if !known && since(run.metadata.creation_timestamp) {
            runs.push(run);
        }
    }
    let mut permits = everywhere::<Permit>(plane, &on, "").await?;
    permits.retain(|permit| since(permit.status.granted));
    Ok((runs, permits))
}

/// The server of a machine and what happened to it, if there is one that may be seen.
async fn server_of(plane: &Plane, machine: &Machine) -> Result<Option<(Value, Vec<Event>)>, Error> {
    let Some(name) = &machine.status.server else { return Ok(None) };
    let server = match plane.find(Server::info(), "", name).await {
        Err(Error::Refused(_)) => None,
        found => found?,
    };
    let Some(server) = server else { return Ok(None) };
    let uid = server.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let events = everywhere::<Event>(plane, &format!("involvedObject.uid={uid}"), "").await?;
    Ok(Some((server, events)))
}

/// Those of all namespaces that the caller may see.
async fn everywhere<K: Kind>(plane: &Plane, fields: &str, labels: &str) -> Result<Vec<K>, Error> {
    let selection = Selection { fields: fields.into(), labels: labels.into(), most: None };
    visible(plane, Within::Everywhere, &selection).await
}
