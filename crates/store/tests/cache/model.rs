//! What the cache should answer, found by looking at every object of every revision; and the changes
//! and queries that both are asked.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use quarterdeck_model::{FieldSelector, Key, Kind as _, KindRef, LabelSelector, kinds, object};
use quarterdeck_store::{EventKind, Mutation, Precondition, Write};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A cluster-scoped kind and a namespaced one.
pub(crate) fn kind(namespaced: bool) -> KindRef {
    if namespaced { kinds::Run::info() } else { kinds::Site::info() }
}

/// One change: an object's name, and what it becomes.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    namespaced: bool,
    namespace: u8,
    name: u8,
    /// Labels `a` and `b`, the phase, and the field `spec.region` or `spec.runbook`; 0 is absent.
    becomes: Option<[u8; 4]>,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let becomes = prop::option::weighted(0.7, prop::array::uniform4(0..3_u8));
    let step = (any::<bool>(), 0..2_u8, 0..7_u8, becomes).prop_map(
        |(namespaced, namespace, name, becomes)| Step { namespaced, namespace, name, becomes },
    );
    vec(vec(step, 1..8), 1..16)
}

impl Step {
    /// The write; `number` makes its identity.
    pub(crate) fn mutation(&self, number: usize) -> Mutation {
        let kind = kind(self.namespaced);
        let namespace = if self.namespaced { format!("ns{}", self.namespace) } else { "".into() };
        let name = format!("n{}", self.name);
        let write = self.becomes.map_or(Write::Delete, |becomes| {
            let [a, b, phase, field] = becomes.map(|it| (it > 0).then(|| format!("v{it}")));
            let path = if self.namespaced { "runbook" } else { "region" };
            let labels: BTreeMap<&str, String> =
                [("a", a), ("b", b)].into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
            let mut value = json!({
                "metadata": {"name": name, "uid": format!("u{number}"), "labels": labels},
                "spec": {},
            });
            if self.namespaced {
                value["metadata"]["namespace"] = json!(namespace);
            }
            if let Some(field) = field {
                if self.namespaced {
                    value["spec"]["target"] = json!({"kind": field});
                }
                value["spec"][path] = json!(field);
            }
            if let Some(phase) = phase {
                value["status"] = json!({"phase": phase});
            }
            Write::Put(Bytes::from(object::encode(kind, &value)))
        });
        let key = Key::new(kind, &namespace, &name);
        Mutation { key, write, precondition: Precondition::None, fence: None }
    }
}

/// All objects of one moment, by kind, namespace and name.
pub(crate) type Moment = BTreeMap<(String, String, String), Value>;

/// Every moment, by revision.
#[derive(Default)]
pub(crate) struct Model(pub(crate) Vec<Moment>);

impl Model {
    pub(crate) fn new() -> Self {
        Self(vec![Moment::new()])
    }

    /// Follows a write that was made.
    pub(crate) fn follow(&mut self, mutation: &Mutation) {
        let mut now = self.0.last().unwrap().clone();
        let revision = self.0.len();
        let Key { kind, namespace, name } = &mutation.key;
        let key = (kind.to_string(), namespace.to_string(), name.to_string());
        match &mutation.write {
            Write::Put(body) => {
                let mut value: Value = serde_json::from_slice(body).unwrap();
                value["metadata"]["resourceVersion"] = json!(revision.to_string());
                now.insert(key, value);
            }
            Write::Delete => drop(now.remove(&key)),
        }
        self.0.push(now);
    }

    /// What `query` selects at `revision`, in order.
    pub(crate) fn list(&self, revision: usize, query: &Query) -> Vec<Value> {
        let kind = kind(query.namespaced).resource_name();
        let of_kind = self.0[revision].iter().filter(|((of, ..), _)| **of == *kind);
        of_kind.map(|(_, value)| value).filter(|value| query.selects(value)).cloned().collect()
    }

    /// What a watch of `query` sees after `revision`.
    pub(crate) fn events(&self, revision: usize, query: &Query) -> Vec<(EventKind, Value)> {
        let kind = kind(query.namespaced).resource_name();
        let mut events = Vec::new();
        for (at, pair) in self.0.windows(2).enumerate().skip(revision) {
            let [old, new] = pair else { unreachable!("windows of two") };
            let changed = old.keys().chain(new.keys()).find(|key| old.get(*key) != new.get(*key));
            let Some(key) = changed.filter(|key| *key.0 == *kind) else { continue };
            let seen = |moment: &Moment| moment.get(key).filter(|it| query.selects(it)).cloned();
            events.extend(match (seen(old), seen(new)) {
                (None, None) => None,
                (None, Some(now)) => Some((EventKind::Added, now)),
                (Some(_), Some(now)) => Some((EventKind::Modified, now)),
                (Some(mut last), None) => {
                    last["metadata"]["resourceVersion"] = json!((at + 1).to_string());
                    Some((EventKind::Deleted, last))
                }
            });
        }
        events
    }
}

/// Text of a selector and what it means.
type Selector = (&'static str, fn(&Value) -> bool);

fn label<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value["metadata"]["labels"][name].as_str()
}
fn phase(value: &Value) -> &str {
    value["status"]["phase"].as_str().unwrap_or_default()
}

const LABELS: [Selector; 9] = [
    ("", |_| true),
    ("a=v1", |it| label(it, "a") == Some("v1")),
    ("a!=v1", |it| label(it, "a") != Some("v1")),
    ("a", |it| label(it, "a").is_some()),
    ("!a", |it| label(it, "a").is_none()),
    ("a in (v1,v2)", |it| label(it, "a").is_some()),
    ("a notin (v2)", |it| label(it, "a") != Some("v2")),
    ("a=v1,b=v2", |it| label(it, "a") == Some("v1") && label(it, "b") == Some("v2")),
    ("a=absent", |_| false),
];
const FIELDS: [Selector; 8] = [
    ("", |_| true),
    ("status.phase=v1", |it| phase(it) == "v1"),
    ("status.phase!=v1", |it| phase(it) != "v1"),
    ("status.phase=", |it| phase(it).is_empty()),
    // Which is in no index.
    ("spec.target.kind=v1", |it| it["spec"]["target"]["kind"] == "v1"),
    ("status.phase=v1,spec.target.kind=v2", |it| {
        phase(it) == "v1" && it["spec"]["target"]["kind"] == "v2"
    }),
    ("metadata.name=n1", |it| it["metadata"]["name"] == "n1"),
    ("status.phase=v2,metadata.name!=n3", |it| phase(it) == "v2" && it["metadata"]["name"] != "n3"),
];

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) namespaced: bool,
    pub(crate) namespace: Option<&'static str>,
    labels: usize,
    fields: usize,
    pub(crate) limit: usize,
}

pub(crate) fn queries() -> impl Strategy<Value = Vec<Query>> {
    let namespace = prop::sample::select(vec![None, Some("ns0"), Some("ns1"), Some("none")]);
    let query = (any::<bool>(), namespace, 0..LABELS.len(), 0..FIELDS.len(), 1..6_usize).prop_map(
        |(namespaced, namespace, labels, fields, limit)| {
            let namespace = namespace.filter(|_| namespaced);
            Query { namespaced, namespace, labels, fields, limit }
        },
    );
    vec(query, 8)
}

impl Query {
    pub(crate) fn labels(&self) -> LabelSelector {
        LabelSelector::parse(LABELS[self.labels].0).unwrap()
    }

    pub(crate) fn fields(&self) -> FieldSelector {
        FieldSelector::parse(FIELDS[self.fields].0).unwrap()
    }

    fn selects(&self, value: &Value) -> bool {
        let namespace = value["metadata"]["namespace"].as_str();
        self.namespace.is_none_or(|wanted| namespace == Some(wanted))
            && LABELS[self.labels].1(value)
            && FIELDS[self.fields].1(value)
    }
}
