//! What the plan of a campaign follows from, as it is now. What the caller may not see is left out, and said so.

use crate::{
    Error,
    plane::{Plane, Selection, Within},
};
use jiff::SignedDuration;
use quarterdeck_ledger::{
    Stage,
    plan::{Ground, Target},
};
use quarterdeck_model::{
    Condition, ConditionStatus, Kind, condition, kinds,
    kinds::{
        Campaign, HostKind, Instance, ObjectSelector, ObjectSelectorRequirement, Rack, RackSpec,
        Run, RunPhase, Server,
    },
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Label of a campaign's runs: its name.
const CAMPAIGN: &str = "quarterdeck.dev/campaign";
/// Label of a campaign's runs: which try this is for their target, from 1.
const TRY: &str = "quarterdeck.dev/try";
/// Runs before, of which it is learned how long one takes.
const TOOK_MAX: u32 = 200;

/// Looks at all of it.
pub(super) async fn ground(plane: &Plane, campaign: &Campaign) -> Result<Ground, Error> {
    let spec = &campaign.spec;
    let namespace = campaign.metadata.namespace.as_deref().unwrap_or(&plane.namespace);
    let kind = kinds::all().iter().copied().find(|kind| kind.kind == spec.targets.kind);
    let kind = kind.ok_or_else(|| {
        Error::Usage(format!(
            "the campaign's targets are of an unknown kind: {}",
            spec.targets.kind
        ))
    })?;
    let labels = Selection::labels(selector(&spec.targets.selector));
    let mut ground = Ground::default();
    let racks =
        if kind == Server::info() { places(plane, &mut ground).await? } else { HashMap::new() };
    let stages = stages(plane, campaign, namespace).await?;
    let mut on: HashMap<String, Vec<String>> = HashMap::new();
    for instance in seen::<Instance>(plane, &mut ground).await? {
        let namespace = instance.metadata.namespace.unwrap_or_default();
        let service = format!("{namespace}/{}", instance.spec.service);
        let host = instance.spec.host;
        // Only the name of a machine has a namespace before it.
        let host = match host.kind {
            HostKind::Server => host.name,
            HostKind::Machine => format!("{namespace}/{}", host.name),
            HostKind::Cluster => match instance.status.machine {
                Some(machine) => format!("{namespace}/{machine}"),
                None => continue,
            },
        };
        on.entry(host).or_default().push(service);
    }
    if kind != Server::info() {
        on.clear();
        ground
            .unseen
            .push(format!("what runs on a {}: only servers are joined with it", kind.kind));
    }
    ground.services = seen(plane, &mut ground).await?;
    ground.freezes = seen(plane, &mut ground).await?;
    ground.took = took(plane, &spec.runbook, namespace).await?;
    let take = |object: Value| ground.targets.push(target(&object, &racks, &stages, &mut on));
    plane.each(kind, Within::Namespace(namespace), &labels, take).await?;
    Ok(ground)
}

/// All objects of a kind, or none when they may not be seen.
async fn seen<K: Kind>(plane: &Plane, ground: &mut Ground) -> Result<Vec<K>, Error> {
    match plane.objects(Within::Everywhere, &Selection::default()).await {
        Err(Error::Refused(why)) => {
            ground.unseen.push(format!("{}: {why}", K::PLURAL));
            Ok(Vec::new())
        }
        all => all,
    }
}

/// Where each rack is.
async fn places(
    plane: &Plane,
    ground: &mut Ground,
) -> Result<HashMap<String, Arc<RackSpec>>, Error> {
    let racks = seen::<Rack>(plane, ground).await?;
    Ok(racks.into_iter().map(|rack| (rack.metadata.name, Arc::new(rack.spec))).collect())
}

/// Where each target is, by its newest run of this campaign.
async fn stages(
    plane: &Plane,
    campaign: &Campaign,
    namespace: &str,
) -> Result<BTreeMap<String, Stage>, Error> {
    // One that only a file describes has no runs.
    if campaign.status.start_time.is_none() {
        return Ok(BTreeMap::new());
    }
    let own = Selection::labels(format!("{CAMPAIGN}={}", campaign.metadata.name));
    let runs = plane.objects::<Run>(Within::Namespace(namespace), &own).await?;
    let mut newest: BTreeMap<String, (u32, Stage)> = BTreeMap::new();
    for run in runs {
        let of_it = |owner: &quarterdeck_model::OwnerReference| owner.uid == campaign.metadata.uid;
        let Some(target) = run.spec.target.as_ref() else { continue };
        if !run.metadata.owner_references.iter().any(of_it) {
            continue;
        }
        let tries = run.metadata.labels.get(TRY).and_then(|text| text.parse().ok()).unwrap_or(1);
        let stage = stage(&run, tries, campaign.spec.retries);
        let known = newest.entry(target.name.clone()).or_insert((tries, stage));
        if tries > known.0 {
            *known = (tries, stage);
        }
    }
    Ok(newest.into_iter().map(|(name, (_, stage))| (name, stage)).collect())
}

fn stage(run: &Run, tries: u32, retries: u32) -> Stage {
    match run.status.phase {
        RunPhase::Succeeded => Stage::Succeeded,
        RunPhase::Failed | RunPhase::Cancelled if tries <= retries => Stage::Left,
        RunPhase::Failed | RunPhase::Cancelled => Stage::Failed,
        _ => Stage::Running,
    }
}

/// How long runs of the runbook took that succeeded.
async fn took(plane: &Plane, runbook: &str, namespace: &str) -> Result<Vec<SignedDuration>, Error> {
    let mut selection = Selection::fields(format!("spec.runbook={runbook},status.phase=Succeeded"));
    selection.most = Some(TOOK_MAX);
    let runs = match plane.objects::<Run>(Within::Everywhere, &selection).await {
        Err(Error::Refused(_)) => plane.objects(Within::Namespace(namespace), &selection).await?,
        other => other?,
    };
    let took = |run: &Run| {
        let (start, end) = (run.status.start_time?, run.status.completion_time?);
        Some(end.timestamp().duration_since(start.timestamp()))
    };
    Ok(runs.iter().filter(|run| !run.spec.dry_run).filter_map(took).collect())
}

fn target(
    object: &Value,
    racks: &HashMap<String, Arc<RackSpec>>,
    stages: &BTreeMap<String, Stage>,
    on: &mut HashMap<String, Vec<String>>,
) -> Target {
    use serde::Deserialize as _;
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let name = text("/metadata/name").unwrap_or_default();
    let rack = text("/spec/location/rack").unwrap_or_default();
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let conditions: Vec<Condition> =
        conditions.into_iter().flatten().filter_map(|it| Condition::deserialize(it).ok()).collect();
    let ready = condition::find(&conditions, "Ready");
    let not_ready = ready.filter(|ready| ready.status != ConditionStatus::True);
    let stage = stages.get(&name).copied().unwrap_or(Stage::Left);
    // What runs on the server itself, and on the machine that has it.
    let machine = text("/status/machineRef/namespace").zip(text("/status/machineRef/name"));
    let mut services = on.remove(&name).unwrap_or_default();
    let machine = machine.map(|(namespace, machine)| format!("{namespace}/{machine}"));
    services.extend(machine.and_then(|machine| on.remove(&machine)).unwrap_or_default());
    Target {
        place: racks.get(&rack).cloned(),
        rack,
        // One that is in work is held by a run of this campaign.
        held_by: text("/status/currentRun").filter(|_| stage == Stage::Left),
        not_ready: not_ready.map(|it| format!("{}: {}", it.reason, it.message)),
        stage,
        services,
        name,
    }
}

/// A selector as it is written in a query.
fn selector(of: &ObjectSelector) -> String {
    let labels = of.match_labels.iter().map(|(name, value)| format!("{name}={value}"));
    let other = |it: &ObjectSelectorRequirement| {
        let (key, values) = (&it.key, it.values.join(","));
        match it.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    };
    labels.chain(of.match_expressions.iter().map(other)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selector_is_written_as_queries_take_it() {
        let of: ObjectSelector = serde_json::from_value(json!({
            "matchLabels": {"role": "web", "site": "ams1"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["1", "2"]},
                {"key": "old", "operator": "NotIn", "values": ["yes"]},
                {"key": "rack", "operator": "Exists"}, {"key": "lab", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        let wanted = "role=web,site=ams1,tier in (1,2),old notin (yes),rack,!lab";
        assert_eq!(selector(&of), wanted);
    }
}
