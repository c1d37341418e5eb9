//! `rbac.authorization.k8s.io/v1` as protobuf.

use super::{
    given,
    meta::{LabelSelector, ObjectMeta},
};
use prost::Message;
use serde_json::{Value, json};

/// Role and ClusterRole; the first has no aggregation rule.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Role {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    rules: Vec<PolicyRule>,
    #[prost(message, optional, tag = "3")]
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Clone, PartialEq, Message)]
struct AggregationRule {
    #[prost(message, repeated, tag = "1")]
    cluster_role_selectors: Vec<LabelSelector>,
}

#[derive(Clone, PartialEq, Message)]
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
    non_resource_urls: Vec<String>,
}

/// RoleBinding and ClusterRoleBinding.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Binding {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    subjects: Vec<Subject>,
    #[prost(message, optional, tag = "3")]
    role_ref: Option<RoleRef>,
}

#[derive(Clone, PartialEq, Message)]
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

#[derive(Clone, PartialEq, Message)]
struct RoleRef {
    #[prost(string, tag = "1")]
    api_group: String,
    #[prost(string, tag = "2")]
    kind: String,
    #[prost(string, tag = "3")]
    name: String,
}

impl Role {
    pub(super) fn value(self) -> Value {
        let rules: Vec<Value> = self.rules.into_iter().map(PolicyRule::value).collect();
        let aggregation = self.aggregation_rule.map(|rule| {
            let selectors = rule.cluster_role_selectors.into_iter().map(LabelSelector::value);
            json!({"clusterRoleSelectors": selectors.collect::<Vec<_>>()})
        });
        let mut role =
            json!({"metadata": self.metadata.unwrap_or_default().value(), "rules": rules});
        if let (Some(aggregation), Some(role)) = (aggregation, role.as_object_mut()) {
            role.insert("aggregationRule".into(), aggregation);
        }
        role
    }
}

impl PolicyRule {
    fn value(self) -> Value {
        let lists = [
            ("verbs", self.verbs),
            ("apiGroups", self.api_groups),
            ("resources", self.resources),
            ("resourceNames", self.resource_names),
            ("nonResourceURLs", self.non_resource_urls),
        ];
        // Protobuf does not tell an empty list from none; only verbs must be there.
        let lists = lists.into_iter().filter(|(name, list)| *name == "verbs" || !list.is_empty());
        lists.map(|(name, list)| (name.to_owned(), Value::from(list))).collect()
    }
}

impl Binding {
    pub(super) fn value(self) -> Value {
        let subjects: Vec<Value> = self
            .subjects
            .into_iter()
            .map(|subject| {
                given([
                    ("kind", subject.kind),
                    ("apiGroup", subject.api_group),
                    ("name", subject.name),
                    ("namespace", subject.namespace),
                ])
                .into()
            })
            .collect();
        let role = self.role_ref.unwrap_or_default();
        json!({
            "metadata": self.metadata.unwrap_or_default().value(),
            "subjects": subjects,
            "roleRef": given([("apiGroup", role.api_group), ("kind", role.kind), ("name", role.name)]),
        })
    }
}
