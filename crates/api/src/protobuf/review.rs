//! `authorization.k8s.io/v1` and `authentication.k8s.io/v1` as protobuf: what is asked about callers.

use super::{given, meta::ObjectMeta};
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// SelfSubjectAccessReview, SubjectAccessReview and LocalSubjectAccessReview; only the others say whom
/// they are about.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AccessReview {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    spec: Option<AccessReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct AccessReviewSpec {
    #[prost(message, optional, tag = "1")]
    resource_attributes: Option<ResourceAttributes>,
    #[prost(message, optional, tag = "2")]
    non_resource_attributes: Option<NonResourceAttributes>,
    #[prost(string, tag = "3")]
    user: String,
    #[prost(string, repeated, tag = "4")]
    groups: Vec<String>,
    #[prost(btree_map = "string, message", tag = "5")]
    extra: BTreeMap<String, ExtraValue>,
    #[prost(string, tag = "6")]
    uid: String,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceAttributes {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    verb: String,
    #[prost(string, tag = "3")]
    group: String,
    #[prost(string, tag = "4")]
    version: String,
    #[prost(string, tag = "5")]
    resource: String,
    #[prost(string, tag = "6")]
    subresource: String,
    #[prost(string, tag = "7")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct NonResourceAttributes {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    verb: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RulesReview {
    #[prost(message, optional, tag = "2")]
    spec: Option<RulesReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct RulesReviewSpec {
    #[prost(string, tag = "1")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct ExtraValue {
    #[prost(string, repeated, tag = "1")]
    items: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TokenRequest {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    spec: Option<TokenRequestSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct TokenRequestSpec {
    #[prost(string, repeated, tag = "1")]
    audiences: Vec<String>,
    #[prost(message, optional, tag = "3")]
    bound_object_ref: Option<BoundObjectReference>,
    #[prost(int64, optional, tag = "4")]
    expiration_seconds: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct BoundObjectReference {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    api_version: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    uid: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TokenReview {
    #[prost(message, optional, tag = "2")]
    spec: Option<TokenReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct TokenReviewSpec {
    #[prost(string, tag = "1")]
    token: String,
    #[prost(string, repeated, tag = "2")]
    audiences: Vec<String>,
}

impl AccessReview {
    pub(super) fn value(self) -> Value {
        let spec = self.spec.unwrap_or_default();
        let mut asked = given([("user", spec.user), ("uid", spec.uid)]);
        if !spec.groups.is_empty() {
            asked.insert("groups".into(), spec.groups.into());
        }
        if !spec.extra.is_empty() {
            let extra = spec.extra.into_iter();
            let extra = extra.map(|(name, value)| (name, Value::from(value.items)));
            asked.insert("extra".into(), extra.collect());
        }
        if let Some(about) = spec.resource_attributes {
            let about = given([
                ("namespace", about.namespace),
                ("verb", about.verb),
                ("group", about.group),
                ("version", about.version),
                ("resource", about.resource),
                ("subresource", about.subresource),
                ("name", about.name),
            ]);
            asked.insert("resourceAttributes".into(), about.into());
        }
        if let Some(about) = spec.non_resource_attributes {
            let about = given([("path", about.path), ("verb", about.verb)]);
            asked.insert("nonResourceAttributes".into(), about.into());
        }
        json!({"metadata": self.metadata.unwrap_or_default().value(), "spec": asked})
    }
}

impl RulesReview {
    pub(super) fn value(self) -> Value {
        json!({"spec": given([("namespace", self.spec.unwrap_or_default().namespace)])})
    }
}

impl TokenRequest {
    pub(super) fn value(self) -> Value {
        let spec = self.spec.unwrap_or_default();
        let bound = spec.bound_object_ref.map(|bound| {
            given([
                ("kind", bound.kind),
                ("apiVersion", bound.api_version),
                ("name", bound.name),
                ("uid", bound.uid),
            ])
        });
        json!({
            "metadata": self.metadata.unwrap_or_default().value(),
            "spec": {
                "audiences": spec.audiences,
                "boundObjectRef": bound,
                "expirationSeconds": spec.expiration_seconds,
            },
        })
    }
}

impl TokenReview {
    pub(super) fn value(self) -> Value {
        let spec = self.spec.unwrap_or_default();
        json!({"spec": {"token": spec.token, "audiences": spec.audiences}})
    }
}
