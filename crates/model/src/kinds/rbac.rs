//! Role, ClusterRole and their bindings (`rbac.authorization.k8s.io/v1`): who may do what, as
//! Kubernetes has it. What a rule allows is decided by the API's authoriser; here is only what
//! these objects are, and which of them make sense.
//! Source: Kubernetes "Using RBAC Authorization".

use super::ObjectSelector;
use crate::{
    Column, ColumnType, FieldError, FieldErrors, Kind, ObjectMeta, Scope, kind_info, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Group of roles and bindings.
pub const RBAC: &str = "rbac.authorization.k8s.io";

/// What may be done. A rule is about resources or about paths that are not resources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// Verbs, such as `get`; `*` is all of them.
    pub verbs: Vec<String>,
    /// API groups of the resources; the empty text is the core group, `*` is all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources, such as `servers`, `servers/status` or `*/status`; `*` is all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names the rule is about; none is all names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths that are not resources, such as `/metrics`; a `*` at the end stands for any rest.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// What may be done in one namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Role {
    /// Standard object's metadata.
    pub metadata: ObjectMeta,
    /// What may be done.
    pub rules: Vec<PolicyRule>,
}

/// What may be done anywhere.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterRole {
    /// Standard object's metadata.
    pub metadata: ObjectMeta,
    /// What may be done. Filled in by the plane when there is an aggregation rule.
    pub rules: Vec<PolicyRule>,
    /// Which other ClusterRoles the rules are gathered from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregation_rule: Option<AggregationRule>,
}

/// Which ClusterRoles are gathered into one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AggregationRule {
    /// Labels of ClusterRoles; those that any of the selectors selects are gathered.
    pub cluster_role_selectors: Vec<ObjectSelector>,
}

/// The rules a ClusterRole gathers from `all` by its aggregation rule, each once; none when it has
/// no such rule.
pub fn aggregated(role: &ClusterRole, all: &[ClusterRole]) -> Option<Vec<PolicyRule>> {
    let wanted = role.aggregation_rule.as_ref()?;
    let mut rules: Vec<PolicyRule> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for selector in wanted.cluster_role_selectors.iter().filter_map(ObjectSelector::selector) {
        let selected = all.iter().filter(|other| {
            let labels = &other.metadata.labels;
            other.metadata.name != role.metadata.name
                && selector.matches_labels(|name| labels.get(name).map(String::as_str))
        });
        for rule in selected.flat_map(|other| &other.rules) {
            if seen.insert(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

/// Whose a binding is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// Group of the kind: empty for a ServiceAccount, else `rbac.authorization.k8s.io`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// Name.
    pub name: String,
    /// Namespace of a ServiceAccount.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// The role a binding grants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRef {
    /// `rbac.authorization.k8s.io`.
    pub api_group: String,
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// Grants a role to subjects, in one namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleBinding {
    /// Standard object's metadata.
    pub metadata: ObjectMeta,
    /// Who is granted the role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Subject>,
    /// The role. It never changes.
    pub role_ref: RoleRef,
}

/// Grants a ClusterRole to subjects, everywhere.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterRoleBinding {
    /// Standard object's metadata.
    pub metadata: ObjectMeta,
    /// Who is granted the role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Subject>,
    /// The ClusterRole. It never changes.
    pub role_ref: RoleRef,
}

fn validate_rules(rules: &[PolicyRule], namespaced: bool, errors: &mut FieldErrors) {
    for (at, rule) in rules.iter().enumerate() {
        let field = |name: &str| format!("rules[{at}].{name}");
        let mut require = |values: &[String], name: &str, why: &str| {
            if values.is_empty() {
                errors.push(FieldError::required(field(name), why));
            }
        };
        require(&rule.verbs, "verbs", "verbs must contain at least one value");
        if rule.non_resource_urls.is_empty() {
            let why = "resource rules must supply at least one api group";
            require(&rule.api_groups, "apiGroups", why);
            let why = "resource rules must supply at least one resource";
            require(&rule.resources, "resources", why);
            continue;
        }
        let mut refuse = |why: &str| {
            let urls = format!("{:?}", rule.non_resource_urls);
            errors.push(FieldError::invalid(field("nonResourceURLs"), urls, why));
        };
        if namespaced {
            refuse("namespaced rules cannot apply to non-resource URLs");
        }
        let resources = [&rule.api_groups, &rule.resources, &rule.resource_names];
        if resources.iter().any(|values| !values.is_empty()) {
            refuse("rules cannot apply to both regular resources and non-resource URLs");
        }
    }
}

fn default_binding(subjects: &mut [Subject], role: &mut RoleRef) {
    for subject in subjects {
        if subject.api_group.is_empty() && matches!(subject.kind.as_str(), "User" | "Group") {
            subject.api_group = RBAC.into();
        }
    }
    if role.api_group.is_empty() {
        role.api_group = RBAC.into();
    }
}

fn validate_binding(
    (subjects, role): (&[Subject], &RoleRef),
    old: Option<&RoleRef>,
    namespaced: bool,
    errors: &mut FieldErrors,
) {
    if role.api_group != RBAC {
        let group = format!("{:?}", role.api_group);
        errors.push(FieldError::not_supported("roleRef.apiGroup", group, &[RBAC]));
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&role.kind.as_str()) {
        let kind = format!("{:?}", role.kind);
        errors.push(FieldError::not_supported("roleRef.kind", kind, kinds));
    }
    if role.name.is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    } else if let Err(why) = validate::path_segment(&role.name) {
        errors.push(FieldError::invalid("roleRef.name", format!("{:?}", role.name), why));
    }
    if old.is_some_and(|old| old != role) {
        let said = format!("{{{:?}, {:?}, {:?}}}", role.api_group, role.kind, role.name);
        errors.push(FieldError::invalid("roleRef", said, "cannot change roleRef"));
    }
    for (at, subject) in subjects.iter().enumerate() {
        validate_subject(subject, &format!("subjects[{at}]"), namespaced, errors);
    }
}

fn validate_subject(subject: &Subject, path: &str, namespaced: bool, errors: &mut FieldErrors) {
    if subject.name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let group = match subject.kind.as_str() {
        "ServiceAccount" => {
            if let Err(why) = validate::subdomain(&subject.name)
                && !subject.name.is_empty()
            {
                let name = format!("{:?}", subject.name);
                errors.push(FieldError::invalid(format!("{path}.name"), name, why));
            }
            if subject.namespace.is_empty() && !namespaced {
                errors.push(FieldError::required(format!("{path}.namespace"), ""));
            }
            ""
        }
        "User" | "Group" => RBAC,
        other => {
            errors.push(FieldError::not_supported(
                format!("{path}.kind"),
                format!("{other:?}"),
                &["ServiceAccount", "User", "Group"],
            ));
            return;
        }
    };
    if subject.api_group != group {
        let said = format!("{:?}", subject.api_group);
        errors.push(FieldError::not_supported(format!("{path}.apiGroup"), said, &[group]));
    }
}

const ROLE_COLUMNS: &[Column] =
    &[Column::new("Created At", "metadata.creationTimestamp", "When it was created")];
const BINDING_COLUMNS: &[Column] = &[
    Column::new("Role", "roleRef", "The role it grants"),
    Column::new("Subjects", "subjects", "How many it is granted to").of(ColumnType::Count).wide(),
];

/// What the four kinds have in common as kinds.
macro_rules! rbac_kind {
    ($type:ident, $plural:literal, $singular:literal, $scope:expr, $columns:expr, $description:literal,
     { $($rules:item)* }) => {
        impl Kind for $type {
            const GROUP: &'static str = RBAC;
            const VERSION: &'static str = "v1";
            const KIND: &'static str = stringify!($type);
            const PLURAL: &'static str = $plural;
            const SINGULAR: &'static str = $singular;
            const SHORT_NAMES: &'static [&'static str] = &[];
            const CATEGORIES: &'static [&'static str] = &[];
            const SCOPE: Scope = $scope;
            const STATUS: bool = false;
            const COLUMNS: &'static [Column] = $columns;
            const DESCRIPTION: &'static str = $description;
            // Names such as `system:discovery` are no host names.
            const NAME: fn(&str) -> Result<(), String> = validate::path_segment;

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            $($rules)*

            kind_info!($type);
        }
    };
}

rbac_kind!(
    Role,
    "roles",
    "role",
    Scope::Namespaced,
    ROLE_COLUMNS,
    "Role says what may be done in its namespace.",
    {
        fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
            validate_rules(&self.rules, true, errors);
        }
    }
);

rbac_kind!(
    ClusterRole,
    "clusterroles",
    "clusterrole",
    Scope::Cluster,
    ROLE_COLUMNS,
    "ClusterRole says what may be done, wherever it is bound.",
    {
        fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
            validate_rules(&self.rules, false, errors);
            let Some(rule) = &self.aggregation_rule else { return };
            let path = "aggregationRule.clusterRoleSelectors";
            if rule.cluster_role_selectors.is_empty() {
                let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
                errors.push(FieldError::required(path, why));
            }
            for (at, selector) in rule.cluster_role_selectors.iter().enumerate() {
                selector.validate(&format!("{path}[{at}]"), errors);
            }
        }
    }
);

rbac_kind!(
    RoleBinding,
    "rolebindings",
    "rolebinding",
    Scope::Namespaced,
    BINDING_COLUMNS,
    "RoleBinding grants a role to users, groups or service accounts in its namespace.",
    {
        fn set_defaults(&mut self) {
            default_binding(&mut self.subjects, &mut self.role_ref);
        }

        fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
            let old = old.map(|old| &old.role_ref);
            validate_binding((&self.subjects, &self.role_ref), old, true, errors);
        }
    }
);

rbac_kind!(
    ClusterRoleBinding,
    "clusterrolebindings",
    "clusterrolebinding",
    Scope::Cluster,
    BINDING_COLUMNS,
    "ClusterRoleBinding grants a ClusterRole to users, groups or service accounts everywhere.",
    {
        fn set_defaults(&mut self) {
            default_binding(&mut self.subjects, &mut self.role_ref);
        }

        fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
            let old = old.map(|old| &old.role_ref);
            validate_binding((&self.subjects, &self.role_ref), old, false, errors);
        }
    }
);

#[cfg(test)]
mod tests;
