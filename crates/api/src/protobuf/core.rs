//! The core group as protobuf.

use super::{
    given,
    meta::{ObjectMeta, Time},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Namespace {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    spec: Option<NamespaceSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct NamespaceSpec {
    #[prost(string, repeated, tag = "1")]
    pub(super) finalizers: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Secret {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(btree_map = "string, bytes", tag = "2")]
    pub(super) data: BTreeMap<String, Vec<u8>>,
    #[prost(string, tag = "3")]
    pub(super) kind: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) string_data: BTreeMap<String, String>,
    #[prost(bool, optional, tag = "5")]
    pub(super) immutable: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ServiceAccount {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    secrets: Vec<ObjectReference>,
    #[prost(message, repeated, tag = "3")]
    image_pull_secrets: Vec<LocalObjectReference>,
    #[prost(bool, optional, tag = "4")]
    automount_service_account_token: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct LocalObjectReference {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectReference {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    uid: String,
    #[prost(string, tag = "5")]
    api_version: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(string, tag = "7")]
    field_path: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceQuota {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    spec: Option<ResourceQuotaSpec>,
    #[prost(message, optional, tag = "3")]
    status: Option<ResourceQuotaStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceQuotaSpec {
    #[prost(btree_map = "string, message", tag = "1")]
    hard: BTreeMap<String, Quantity>,
    #[prost(string, repeated, tag = "2")]
    scopes: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceQuotaStatus {
    #[prost(btree_map = "string, message", tag = "1")]
    hard: BTreeMap<String, Quantity>,
    #[prost(btree_map = "string, message", tag = "2")]
    used: BTreeMap<String, Quantity>,
}

#[derive(Clone, PartialEq, Message)]
struct Quantity {
    #[prost(string, tag = "1")]
    text: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    involved_object: Option<ObjectReference>,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(string, tag = "4")]
    message: String,
    #[prost(message, optional, tag = "5")]
    source: Option<EventSource>,
    #[prost(message, optional, tag = "6")]
    first_timestamp: Option<Time>,
    #[prost(message, optional, tag = "7")]
    last_timestamp: Option<Time>,
    #[prost(int32, optional, tag = "8")]
    count: Option<i32>,
    #[prost(string, tag = "9")]
    kind: String,
    #[prost(message, optional, tag = "10")]
    event_time: Option<Time>,
    #[prost(string, tag = "12")]
    action: String,
    #[prost(message, optional, tag = "13")]
    related: Option<ObjectReference>,
    #[prost(string, tag = "14")]
    reporting_component: String,
    #[prost(string, tag = "15")]
    reporting_instance: String,
}

#[derive(Clone, PartialEq, Message)]
struct EventSource {
    #[prost(string, tag = "1")]
    component: String,
    #[prost(string, tag = "2")]
    host: String,
}

impl Namespace {
    pub(super) fn value(self) -> Value {
        json!({
            "metadata": self.metadata.unwrap_or_default().value(),
            "spec": {"finalizers": self.spec.unwrap_or_default().finalizers},
        })
    }
}

impl Secret {
    pub(super) fn value(self) -> Value {
        let data: Map<String, Value> = self
            .data
            .into_iter()
            .map(|(key, value)| (key, STANDARD.encode(value).into()))
            .collect();
        let mut secret = given([("type", self.kind)]);
        secret.insert("metadata".into(), self.metadata.unwrap_or_default().value());
        secret.insert("data".into(), data.into());
        secret.insert("stringData".into(), json!(self.string_data));
        secret.insert("immutable".into(), json!(self.immutable));
        secret.into()
    }
}

impl ServiceAccount {
    pub(super) fn value(self) -> Value {
        let secrets: Vec<Value> = self.secrets.into_iter().map(ObjectReference::value).collect();
        let pull: Vec<Value> = self
            .image_pull_secrets
            .into_iter()
            .map(|secret| json!({"name": secret.name}))
            .collect();
        json!({
            "metadata": self.metadata.unwrap_or_default().value(),
            "secrets": secrets,
            "imagePullSecrets": pull,
            "automountServiceAccountToken": self.automount_service_account_token,
        })
    }
}

impl ResourceQuota {
    pub(super) fn value(self) -> Value {
        let texts = |quantities: BTreeMap<String, Quantity>| -> Map<String, Value> {
            quantities.into_iter().map(|(name, quantity)| (name, quantity.text.into())).collect()
        };
        let ResourceQuotaSpec { hard, scopes } = self.spec.unwrap_or_default();
        let mut spec = Map::new();
        spec.insert("hard".into(), texts(hard).into());
        // Not known here: whoever sends some must hear of it.
        if !scopes.is_empty() {
            spec.insert("scopes".into(), json!(scopes));
        }
        let ResourceQuotaStatus { hard: seen, used } = self.status.unwrap_or_default();
        json!({
            "metadata": self.metadata.unwrap_or_default().value(),
            "spec": spec,
            "status": {"hard": texts(seen), "used": texts(used)},
        })
    }
}

impl ObjectReference {
    fn value(self) -> Value {
        given([
            ("kind", self.kind),
            ("namespace", self.namespace),
            ("name", self.name),
            ("uid", self.uid),
            ("apiVersion", self.api_version),
            ("resourceVersion", self.resource_version),
            ("fieldPath", self.field_path),
        ])
        .into()
    }
}

impl Event {
    pub(super) fn value(self) -> Value {
        let mut event = given([
            ("reason", self.reason),
            ("message", self.message),
            ("type", self.kind),
            ("action", self.action),
            ("reportingComponent", self.reporting_component),
            ("reportingInstance", self.reporting_instance),
        ]);
        let source = self.source.unwrap_or_default();
        let source = given([("component", source.component), ("host", source.host)]);
        for (name, value) in [
            ("metadata", Some(self.metadata.unwrap_or_default().value())),
            ("involvedObject", self.involved_object.map(ObjectReference::value)),
            ("source", Some(source.into())),
            ("firstTimestamp", self.first_timestamp.map(Time::value)),
            ("lastTimestamp", self.last_timestamp.map(Time::value)),
            ("eventTime", self.event_time.map(Time::value)),
            ("count", self.count.map(Value::from)),
            ("related", self.related.map(ObjectReference::value)),
        ] {
            if let Some(value) = value {
                event.insert(name.into(), value);
            }
        }
        event.into()
    }
}
