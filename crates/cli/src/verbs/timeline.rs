//! `quarterdeck timeline`: gathers what happened to an object, and shows it in order of time.

use super::{Common, now, visible};
use crate::{
    Error, Outcome,
    named::Named,
    plane::{Plane, Selection, Within, seen},
    view,
};
use quarterdeck_model::{
    Kind,
    kinds::{Campaign, Event, Permit, Run},
};
use serde_json::{Value, json};

/// What is asked about.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  quarterdeck timeline server/ams1-a01-01-u01
  quarterdeck timeline run/power-cycle-x7 -n ops

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
    let entries = view::timeline::entries(&object, &events, &runs, &permits);
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

/// Those of all namespaces that the caller may see.
async fn everywhere<K: Kind>(plane: &Plane, fields: &str, labels: &str) -> Result<Vec<K>, Error> {
    let selection = Selection { fields: fields.into(), labels: labels.into(), most: None };
    visible(plane, Within::Everywhere, &selection).await
}
