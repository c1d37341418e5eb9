//! ValidatingAdmissionPolicy and its binding (`admissionregistration.k8s.io/v1`): rules in CEL that an
//! operator adds as objects. Here is only what these objects are and which of them make sense; what
//! expressions mean is the runbook crate's, what is asked of them when the API's.
//! Source: Kubernetes "Validating Admission Policy".

mod binding;
mod resources;

pub use binding::{
    ParamRef, ParameterNotFoundAction, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBindingSpec, ValidationAction,
};
pub use resources::{MatchPolicy, MatchResources, Operation, ResourceRule, RuleScope};

use super::Resource;
use crate::{
    Column, ColumnType, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope, kind_info,
    validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Group of policies and bindings.
pub const ADMISSION: &str = "admissionregistration.k8s.io";
/// Most validations, and most audit annotations, of one policy.
const VALIDATIONS_MAX: usize = 64;
/// Most variables of one policy: they are evaluated one inside the other.
const VARIABLES_MAX: usize = 32;
/// Most match conditions, as in Kubernetes.
const CONDITIONS_MAX: usize = 64;

/// Rules that writes must meet.
pub type ValidatingAdmissionPolicy =
    Resource<ValidatingAdmissionPolicySpec, ValidatingAdmissionPolicyStatus>;

/// What is wanted of a policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ValidatingAdmissionPolicySpec {
    /// Kind of the objects that hold the policy's parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param_kind: Option<ParamKind>,
    /// Which writes the policy is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_constraints: Option<MatchResources>,
    /// Named expressions that others use as `variables.NAME`; each sees those before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub variables: Vec<PolicyVariable>,
    /// What must be true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub validations: Vec<Validation>,
    /// What becomes of a write when an expression or parameter fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,
    /// Notes for the audit log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub audit_annotations: Vec<AuditAnnotation>,
    /// Further conditions on the writes it is about: all must be true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub match_conditions: Vec<MatchCondition>,
}

/// What is seen of a policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ValidatingAdmissionPolicyStatus {
    /// Generation of the spec that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What its expressions look like against the schemas of the kinds it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_checking: Option<TypeChecking>,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The findings of a type check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TypeChecking {
    /// Expressions that cannot work for some kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expression_warnings: Vec<ExpressionWarning>,
}

/// One expression that cannot work for some kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExpressionWarning {
    /// Which expression, such as `spec.validations[0].expression`.
    pub field_ref: String,
    /// For which kind, and what is wrong.
    pub warning: String,
}

/// A kind of objects that hold parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ParamKind {
    /// Group and version, such as `inventory.quarterdeck.dev/v1alpha1`.
    pub api_version: String,
    /// Kind, such as `Site`.
    pub kind: String,
}

/// What becomes of a write when a policy fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailurePolicy {
    /// It is refused.
    Fail,
    /// It goes on as if there were no policy.
    Ignore,
}

/// A named expression.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyVariable {
    /// Its name.
    pub name: String,
    /// CEL.
    pub expression: String,
}

/// What must be true.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Validation {
    /// CEL that is true of a good write.
    pub expression: String,
    /// What the writer of another is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What kind of refusal it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ValidationReason>,
    /// CEL that gives the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_expression: Option<String>,
}

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the words of Status objects")]
pub enum ValidationReason {
    Unauthorized,
    Forbidden,
    Invalid,
    RequestEntityTooLarge,
}

/// A note for the audit log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditAnnotation {
    /// Its name, after the name of the policy.
    pub key: String,
    /// CEL that gives a text, or null for none.
    pub value_expression: String,
}

/// A condition on the writes a policy is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchCondition {
    /// Its name.
    pub name: String,
    /// CEL that is true of writes that are meant.
    pub expression: String,
}

fn at_most(most: usize, count: usize, path: &str, errors: &mut FieldErrors) {
    if count > most {
        errors.push(FieldError::too_many(path, count, most));
    }
}

fn unique<'n>(
    names: impl Iterator<Item = &'n str>,
    path: &str,
    field: &str,
    rule: fn(&str) -> Result<(), String>,
    errors: &mut FieldErrors,
) {
    let mut seen = BTreeSet::new();
    for (at, name) in names.enumerate() {
        let field = format!("{path}[{at}].{field}");
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if let Err(why) = rule(name) {
            errors.push(FieldError::invalid(field, format!("{name:?}"), why));
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(field, format!("{name:?}")));
        }
    }
}

/// So that it can be written after a dot.
fn identifier(name: &str) -> Result<(), String> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let good = first
        && name.len() <= validate::LABEL_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    good.then_some(()).ok_or_else(|| {
        "name is not a valid CEL identifier: a letter or \"_\", then letters, digits and \"_\", at most 63".into()
    })
}

impl Kind for ValidatingAdmissionPolicy {
    const GROUP: &'static str = ADMISSION;
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "ValidatingAdmissionPolicy";
    const PLURAL: &'static str = "validatingadmissionpolicies";
    const SINGULAR: &'static str = "validatingadmissionpolicy";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("Validations", "spec.validations", "How many validations it has")
            .of(ColumnType::Count),
        Column::new("ParamKind", "spec.paramKind.kind", "Kind of its parameters"),
    ];
    const DESCRIPTION: &'static str =
        "ValidatingAdmissionPolicy says, in CEL, what writes must meet; a binding puts it to use.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn set_defaults(&mut self) {
        self.spec.failure_policy.get_or_insert(FailurePolicy::Fail);
        if let Some(constraints) = &mut self.spec.match_constraints {
            constraints.set_defaults();
        }
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        match &spec.match_constraints {
            None => errors.push(FieldError::required("spec.matchConstraints", "")),
            Some(constraints) => {
                if constraints.resource_rules.is_empty() {
                    let field = "spec.matchConstraints.resourceRules";
                    errors.push(FieldError::required(field, ""));
                }
                constraints.validate("spec.matchConstraints", errors);
            }
        }
        if spec.validations.is_empty() && spec.audit_annotations.is_empty() {
            let why = "validations or auditAnnotations must contain at least one item";
            errors.push(FieldError::required("spec.validations", why));
        }
        at_most(VALIDATIONS_MAX, spec.validations.len(), "spec.validations", errors);
        at_most(VALIDATIONS_MAX, spec.audit_annotations.len(), "spec.auditAnnotations", errors);
        at_most(VARIABLES_MAX, spec.variables.len(), "spec.variables", errors);
        at_most(CONDITIONS_MAX, spec.match_conditions.len(), "spec.matchConditions", errors);
        for (at, validation) in spec.validations.iter().enumerate() {
            let path = format!("spec.validations[{at}]");
            let message = validation.message.as_deref().unwrap_or_default().trim();
            if message.contains('\n') {
                let why = "message must not contain line breaks";
                errors.push(FieldError::invalid(
                    format!("{path}.message"),
                    format!("{message:?}"),
                    why,
                ));
            }
            if message.is_empty() && validation.expression.trim().contains('\n') {
                let why = "message must be specified if expression contains line breaks";
                errors.push(FieldError::required(format!("{path}.message"), why));
            }
        }
        let names = spec.variables.iter().map(|variable| &*variable.name);
        unique(names, "spec.variables", "name", identifier, errors);
        let names = spec.match_conditions.iter().map(|condition| &*condition.name);
        unique(names, "spec.matchConditions", "name", validate::qualified_name, errors);
        let names = spec.audit_annotations.iter().map(|annotation| &*annotation.key);
        unique(names, "spec.auditAnnotations", "key", validate::qualified_name, errors);
    }

    kind_info!(ValidatingAdmissionPolicy);
}
