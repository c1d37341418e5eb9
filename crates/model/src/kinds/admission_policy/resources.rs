//! Which writes a policy or its binding is about, as they say it.

use super::at_most;
use crate::{FieldError, FieldErrors, kinds::ObjectSelector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most rules on resources.
const RULES_MAX: usize = 64;

/// Which writes are meant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchResources {
    /// Labels of the namespace; objects outside of namespaces always meet it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<ObjectSelector>,
    /// Labels of the object, as it was or as it becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_selector: Option<ObjectSelector>,
    /// Operations on resources; any of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub resource_rules: Vec<ResourceRule>,
    /// Operations on resources that are not meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub exclude_resource_rules: Vec<ResourceRule>,
    /// `Exact` or `Equivalent`: the same here, where each kind has one version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_policy: Option<MatchPolicy>,
}

/// Operations on resources.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRule {
    /// Names of objects; none is all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Operations.
    pub operations: Vec<Operation>,
    /// API groups; the empty text is the core group, `*` is all.
    pub api_groups: Vec<String>,
    /// API versions; `*` is all.
    pub api_versions: Vec<String>,
    /// Resources such as `servers`, `servers/status`, `*/status`; `*` is all but subresources, `*/*` all.
    pub resources: Vec<String>,
    /// Only objects in namespaces, or only others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<RuleScope>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// Any of them.
    #[serde(rename = "*")]
    All,
    /// An object is made.
    Create,
    /// An object is changed.
    Update,
    /// An object is deleted.
    Delete,
    /// Something is connected to: nothing here is.
    Connect,
}

/// Where objects of a rule are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuleScope {
    /// Anywhere.
    #[serde(rename = "*")]
    All,
    /// In no namespace.
    Cluster,
    /// In a namespace.
    Namespaced,
}

/// How resources are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub enum MatchPolicy {
    Exact,
    Equivalent,
}

impl MatchResources {
    pub(super) fn set_defaults(&mut self) {
        self.namespace_selector.get_or_insert_default();
        self.object_selector.get_or_insert_default();
        self.match_policy.get_or_insert(MatchPolicy::Equivalent);
        for rule in self.resource_rules.iter_mut().chain(&mut self.exclude_resource_rules) {
            rule.scope.get_or_insert(RuleScope::All);
        }
    }

    pub(super) fn validate(&self, path: &str, errors: &mut FieldErrors) {
        for (name, selector) in [
            ("namespaceSelector", &self.namespace_selector),
            ("objectSelector", &self.object_selector),
        ] {
            if let Some(selector) = selector {
                selector.validate(&format!("{path}.{name}"), errors);
            }
        }
        for (name, rules) in [
            ("resourceRules", &self.resource_rules),
            ("excludeResourceRules", &self.exclude_resource_rules),
        ] {
            at_most(RULES_MAX, rules.len(), &format!("{path}.{name}"), errors);
            for (at, rule) in rules.iter().enumerate() {
                rule.validate(&format!("{path}.{name}[{at}]"), errors);
            }
        }
    }
}

impl ResourceRule {
    fn validate(&self, path: &str, errors: &mut FieldErrors) {
        let mut all = |name: &str, given: &[String], stars: usize| {
            let field = format!("{path}.{name}");
            if given.is_empty() {
                errors.push(FieldError::required(&field, ""));
            }
            if stars > 0 && given.len() > 1 {
                let why = format!("if '*' is present, must not specify other {name}");
                errors.push(FieldError::invalid(field, format!("{given:?}"), why));
            }
        };
        let stars = |given: &[String]| given.iter().filter(|one| *one == "*").count();
        let operations: Vec<String> =
            self.operations.iter().map(|operation| format!("{operation:?}")).collect();
        let any = usize::from(self.operations.contains(&Operation::All));
        all("operations", &operations, any);
        all("apiGroups", &self.api_groups, stars(&self.api_groups));
        all("apiVersions", &self.api_versions, stars(&self.api_versions));
        // `*` and `*/status` together are everything with one subresource.
        all("resources", &self.resources, 0);
        for (at, resource) in self.resources.iter().enumerate() {
            if resource.is_empty() || resource.matches('/').count() > 1 {
                let field = format!("{path}.resources[{at}]");
                let why = "must be RESOURCE, RESOURCE/SUBRESOURCE, or have * for either";
                errors.push(FieldError::invalid(field, format!("{resource:?}"), why));
            }
        }
    }
}
