//! `metav1` as protobuf.

use super::given;
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Message)]
pub(super) struct ObjectMeta {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) generate_name: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
    #[prost(string, tag = "5")]
    pub(super) uid: String,
    #[prost(string, tag = "6")]
    pub(super) resource_version: String,
    #[prost(btree_map = "string, string", tag = "11")]
    pub(super) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    pub(super) annotations: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "13")]
    pub(super) owner_references: Vec<OwnerReference>,
    #[prost(string, repeated, tag = "14")]
    pub(super) finalizers: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OwnerReference {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) uid: String,
    #[prost(string, tag = "5")]
    pub(super) api_version: String,
    #[prost(bool, optional, tag = "6")]
    pub(super) controller: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub(super) block_owner_deletion: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteOptions {
    #[prost(int64, optional, tag = "1")]
    grace_period_seconds: Option<i64>,
    #[prost(message, optional, tag = "2")]
    preconditions: Option<Preconditions>,
    #[prost(bool, optional, tag = "3")]
    orphan_dependents: Option<bool>,
    #[prost(string, optional, tag = "4")]
    propagation_policy: Option<String>,
    #[prost(string, repeated, tag = "5")]
    dry_run: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Preconditions {
    #[prost(string, optional, tag = "1")]
    uid: Option<String>,
    #[prost(string, optional, tag = "2")]
    resource_version: Option<String>,
}

/// `Time` and `MicroTime`, which look the same.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanoseconds: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelSelector {
    #[prost(btree_map = "string, string", tag = "1")]
    match_labels: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "2")]
    match_expressions: Vec<LabelRequirement>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelRequirement {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    operator: String,
    #[prost(string, repeated, tag = "3")]
    values: Vec<String>,
}

impl ObjectMeta {
    pub(super) fn value(self) -> Value {
        let mut meta = given([
            ("name", self.name),
            ("generateName", self.generate_name),
            ("namespace", self.namespace),
            ("uid", self.uid),
            ("resourceVersion", self.resource_version),
        ]);
        let owners: Vec<Value> =
            self.owner_references.into_iter().map(OwnerReference::value).collect();
        meta.insert("labels".into(), json!(self.labels));
        meta.insert("annotations".into(), json!(self.annotations));
        meta.insert("ownerReferences".into(), owners.into());
        meta.insert("finalizers".into(), self.finalizers.into());
        meta.into()
    }
}

impl OwnerReference {
    pub(super) fn value(self) -> Value {
        json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": self.controller,
            "blockOwnerDeletion": self.block_owner_deletion,
        })
    }
}

impl DeleteOptions {
    pub(super) fn value(self) -> Value {
        json!({
            "gracePeriodSeconds": self.grace_period_seconds,
            "preconditions": self.preconditions.map(|wanted| {
                json!({"uid": wanted.uid, "resourceVersion": wanted.resource_version})
            }),
            "orphanDependents": self.orphan_dependents,
            "propagationPolicy": self.propagation_policy,
            "dryRun": self.dry_run,
        })
    }
}

impl Time {
    /// As JSON has it. One that is no time stays none, and is refused by its field.
    pub(super) fn value(self) -> Value {
        match jiff::Timestamp::new(self.seconds, self.nanoseconds) {
            Ok(time) => time.to_string().into(),
            Err(_) => format!("{} seconds", self.seconds).into(),
        }
    }
}

impl LabelSelector {
    pub(super) fn value(self) -> Value {
        let expressions: Vec<Value> = self
            .match_expressions
            .into_iter()
            .map(|one| json!({"key": one.key, "operator": one.operator, "values": one.values}))
            .collect();
        json!({"matchLabels": self.match_labels, "matchExpressions": expressions})
    }
}
