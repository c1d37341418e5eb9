//! Roles, bindings, service accounts and access reviews as protobuf messages. Pure.

use super::ObjectMeta;
use prost::Message;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyRule {
    #[prost(string, repeated, tag = "1")]
    verbs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    api_groups: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    resources: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    resource_names: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
}

/// Role and ClusterRole: only the latter has the last field.
#[derive(Clone, PartialEq, Message)]
struct Role {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    rules: Vec<PolicyRule>,
    #[prost(message, optional, tag = "3")]
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct AggregationRule {
    #[prost(message, repeated, tag = "1")]
    cluster_role_selectors: Vec<LabelSelector>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct LabelSelector {
    #[prost(btree_map = "string, string", tag = "1")]
    match_labels: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "2")]
    match_expressions: Vec<Requirement>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct Requirement {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    operator: String,
    #[prost(string, repeated, tag = "3")]
    values: Vec<String>,
}

/// RoleBinding and ClusterRoleBinding.
#[derive(Clone, PartialEq, Message)]
struct Binding {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    subjects: Vec<Subject>,
    #[prost(message, optional, tag = "3")]
    role_ref: Option<RoleRef>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    api_group: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct RoleRef {
    #[prost(string, tag = "1")]
    api_group: String,
    #[prost(string, tag = "2")]
    kind: String,
    #[prost(string, tag = "3")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceAccount {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    secrets: Vec<ObjectReference>,
    #[prost(message, repeated, tag = "3")]
    image_pull_secrets: Vec<LocalReference>,
    #[prost(bool, optional, tag = "4")]
    automount_service_account_token: Option<bool>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
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

#[derive(Clone, PartialEq, Message, Serialize)]
struct LocalReference {
    #[prost(string, tag = "1")]
    name: String,
}

/// All reviews of access: those of oneself have no user.
#[derive(Clone, PartialEq, Message)]
struct AccessReview {
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
    non_resource_attributes: Option<PathAttributes>,
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
struct ExtraValue {
    #[prost(string, repeated, tag = "1")]
    items: Vec<String>,
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
struct PathAttributes {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    verb: String,
}

#[derive(Clone, PartialEq, Message)]
struct RulesReview {
    #[prost(message, optional, tag = "2")]
    spec: Option<RulesReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct RulesReviewSpec {
    #[prost(string, tag = "1")]
    namespace: String,
}

/// Reads a message of a kind that is about access; none for any other kind.
pub(super) fn read(
    api_version: &str,
    kind: &str,
    raw: &[u8],
) -> Option<Result<Value, prost::DecodeError>> {
    Some(match (api_version, kind) {
        ("rbac.authorization.k8s.io/v1", "Role" | "ClusterRole") => Role::decode(raw).map(|it| {
            json!({
                "metadata": meta(it.metadata), "rules": it.rules,
                "aggregationRule": it.aggregation_rule,
            })
        }),
        ("rbac.authorization.k8s.io/v1", "RoleBinding" | "ClusterRoleBinding") => {
            Binding::decode(raw).map(|it| {
                json!({
                    "metadata": meta(it.metadata), "subjects": it.subjects, "roleRef": it.role_ref,
                })
            })
        }
        ("v1", "ServiceAccount") => ServiceAccount::decode(raw).map(|it| {
            json!({
                "metadata": meta(it.metadata), "secrets": it.secrets,
                "imagePullSecrets": it.image_pull_secrets,
                "automountServiceAccountToken": it.automount_service_account_token,
            })
        }),
        (
            "authorization.k8s.io/v1",
            "SelfSubjectAccessReview" | "SubjectAccessReview" | "LocalSubjectAccessReview",
        ) => {
            AccessReview::decode(raw).map(|it| json!({"spec": access(it.spec.unwrap_or_default())}))
        }
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => RulesReview::decode(raw)
            .map(|it| json!({"spec": {"namespace": it.spec.unwrap_or_default().namespace}})),
        _ => return None,
    })
}

fn meta(metadata: Option<ObjectMeta>) -> Value {
    metadata.unwrap_or_default().value()
}

fn access(spec: AccessReviewSpec) -> Value {
    let mut asked = super::given([("user", spec.user), ("uid", spec.uid)]);
    if let Some(about) = spec.resource_attributes {
        let about = super::given([
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
        let about = super::given([("path", about.path), ("verb", about.verb)]);
        asked.insert("nonResourceAttributes".into(), about.into());
    }
    if !spec.groups.is_empty() {
        asked.insert("groups".into(), spec.groups.into());
    }
    if !spec.extra.is_empty() {
        let extra: Map<String, Value> =
            spec.extra.into_iter().map(|(key, values)| (key, values.items.into())).collect();
        asked.insert("extra".into(), extra.into());
    }
    asked.into()
}
