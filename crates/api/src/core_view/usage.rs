//! `kubectl top`: what Pods and Nodes take, as `metrics.k8s.io` has it. It is what agents said last, and in memory alone: of a
//! host whose agent is not connected, and of a container that has just begun, there is nothing.

use super::{View, machine_of, schema};
use crate::{
    agents::{ASKED_MAX, Asked, Known},
    answer::{self, Answer},
    authorize::Sight,
    fairness,
    path::Query,
    server::Api,
    status::ApiError,
};
use jiff::Timestamp;
use quarterdeck_model::{FieldError, KindInfo, KindRef, Object, Scope, Time, agent::Usage};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

/// The group of what is taken.
pub(crate) const GROUP: &str = "metrics.k8s.io";
/// What can be done with it.
pub(crate) const VERBS: [&str; 2] = ["get", "list"];
/// Its version.
pub(crate) const VERSION: &str = "v1beta1";
/// Over how long a time it is counted, about: heartbeats and looks at containers are as far apart.
const WINDOW: &str = "15s";

const PODS: &str =
    "PodMetrics is what the containers of a Pod take, as the agent of its Node said last.";
const NODES: &str = "NodeMetrics is what is in use of a Node, as its agent said last.";

/// Both kinds.
pub(crate) fn kinds() -> [KindRef; 2] {
    [pods(), nodes()]
}

/// The view whose objects take it, if a kind is one of them.
pub(crate) fn of(kind: KindRef) -> Option<View> {
    match kind {
        kind if kind == pods() => Some(View::Pods),
        kind if kind == nodes() => Some(View::Nodes),
        _ => None,
    }
}

fn pods() -> KindRef {
    fn open() -> &'static Value {
        static SCHEMA: OnceLock<Value> = OnceLock::new();
        SCHEMA.get_or_init(|| schema(PODS))
    }
    static INFO: KindInfo =
        info("PodMetrics", ("pods", "pod"), Scope::Namespaced, &["spec.nodeName"], PODS, open);
    &INFO
}

fn nodes() -> KindRef {
    fn open() -> &'static Value {
        static SCHEMA: OnceLock<Value> = OnceLock::new();
        SCHEMA.get_or_init(|| schema(NODES))
    }
    static INFO: KindInfo =
        info("NodeMetrics", ("nodes", "node"), Scope::Cluster, &[], NODES, open);
    &INFO
}

const fn info(
    kind: &'static str,
    (plural, singular): (&'static str, &'static str),
    scope: Scope,
    indexed_fields: &'static [&'static str],
    description: &'static str,
    schema: fn() -> &'static Value,
) -> KindInfo {
    KindInfo {
        group: GROUP,
        version: VERSION,
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        scope,
        has_status: false,
        scale: None,
        columns: &[],
        indexed_fields,
        common_fields: &[],
        description,
        schema,
        admit: |_, _| Err(vec![FieldError::forbidden("", "what is taken is only read")]),
        resource_name: OnceLock::new(),
        paths: OnceLock::new(),
    }
}

/// What one of them takes.
pub(crate) async fn get(
    api: &Api,
    kind: KindRef,
    view: View,
    (namespace, name): (&str, &str),
) -> Result<Answer, ApiError> {
    let unknown = || ApiError::not_found(kind, name);
    let agents = api.agents.as_ref().ok_or_else(unknown)?;
    let (within, of) = match view {
        View::Pods => (namespace, name),
        View::Nodes => machine_of(name),
    };
    let world = api.store.fresh().await?;
    let source = world.get(view.source(), within, of).ok_or_else(unknown)?;
    let shown = view.project(&source).ok_or_else(unknown)?;
    let asked = asked(view, std::slice::from_ref(&shown)).pop().ok_or_else(unknown)?;
    let known = agents.usage_of_one(asked).await;
    let taken = taken(view, &shown, &known).ok_or_else(unknown)?;
    Ok(answer::json(&taken))
}

/// What those take that a query asks for.
pub(crate) async fn list(
    api: &Api,
    kind: KindRef,
    view: View,
    (namespace, query): (Option<&str>, &Query),
    sight: &Sight,
) -> Result<Answer, ApiError> {
    let (meta, shown) = view.found(api, namespace, query, sight).await?;
    let mut items = Vec::new();
    if let (Some(agents), false) = (&api.agents, shown.is_empty()) {
        let others = agents.other_replicas().await;
        for some in shown.chunks(ASKED_MAX) {
            let known = agents.usage(&asked(view, some), &others).await;
            items.extend(some.iter().filter_map(|it| taken(view, it, &known)));
            fairness::let_others().await;
        }
    }
    Ok(answer::json(&json!({
        "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
        "metadata": meta, "items": items,
    })))
}

/// The Machine that it is, or is on.
fn machine(view: View, shown: &Object) -> (&str, &str) {
    match view {
        View::Nodes => machine_of(shown.name()),
        View::Pods => machine_of(shown.field("spec.nodeName").unwrap_or_default()),
    }
}

/// What has to be known of hosts and instances to tell what those take.
fn asked(view: View, some: &[Arc<Object>]) -> Vec<Asked> {
    let mut hosts: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for shown in some {
        let instances = hosts.entry(machine(view, shown)).or_default();
        if view == View::Pods {
            instances.insert(shown.uid().to_owned());
        }
    }
    let asked = |((namespace, machine), instances): ((&str, &str), _)| Asked {
        namespace: namespace.to_owned(),
        machine: machine.to_owned(),
        instances,
    };
    hosts.into_iter().map(asked).collect()
}

/// What one takes; none, if that is not known.
fn taken(view: View, shown: &Object, known: &Known) -> Option<Value> {
    let (namespace, machine) = machine(view, shown);
    let host = known.get(&(namespace.to_owned(), machine.to_owned()))?;
    let kind = match view {
        View::Pods => pods(),
        View::Nodes => nodes(),
    };
    let mut taken = json!({
        "kind": kind.kind, "apiVersion": kind.api_version(),
        "metadata": {
            "name": shown.name(), "creationTimestamp": Time::seconds(Timestamp::now()).to_string(),
            "labels": shown.labels().collect::<BTreeMap<_, _>>(),
        },
        "timestamp": host.at.to_string(), "window": WINDOW,
    });
    let all = taken.as_object_mut()?;
    match view {
        View::Nodes => drop(all.insert("usage".into(), quantities(&host.host))),
        View::Pods => {
            let own = host.containers.iter().filter(|it| it.uid == shown.uid());
            let own: Vec<Value> =
                own.map(|it| json!({"name": it.name, "usage": quantities(&it.usage)})).collect();
            if own.is_empty() {
                return None;
            }
            all.insert("containers".into(), own.into());
            let metadata = all.get_mut("metadata")?.as_object_mut()?;
            metadata.insert("namespace".into(), shown.namespace().into());
        }
    }
    Some(taken)
}

fn quantities(usage: &Usage) -> Value {
    json!({
        "cpu": format!("{}m", usage.cpu_millis),
        "memory": format!("{}Ki", usage.memory_bytes / 1_024),
    })
}
