//! ValidatingAdmissionPolicyBinding: where a policy is put to use, with which parameters, to what effect.

use super::{ADMISSION, MatchResources};
use crate::{
    Column, FieldError, FieldErrors, Kind, ObjectMeta, Scope, kind_info, kinds::ObjectSelector,
    validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A policy put to use: where, with which parameters, to what effect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValidatingAdmissionPolicyBinding {
    /// Standard object's metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ValidatingAdmissionPolicyBindingSpec,
}

/// What is wanted of a binding.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ValidatingAdmissionPolicyBindingSpec {
    /// The policy.
    pub policy_name: String,
    /// The objects that hold the parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param_ref: Option<ParamRef>,
    /// Of the writes that the policy is about, those that are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_resources: Option<MatchResources>,
    /// What becomes of a write that does not meet the policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub validation_actions: Vec<ValidationAction>,
}

/// What becomes of a write that does not meet a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ValidationAction {
    /// It is refused.
    Deny,
    /// Its writer is warned.
    Warn,
    /// The audit log says so.
    Audit,
}

/// Objects that hold parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ParamRef {
    /// The object of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is; not given, the namespace of what is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// All objects with these labels; each must be met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<ObjectSelector>,
    /// What becomes of a write when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter_not_found_action: Option<ParameterNotFoundAction>,
}

/// What becomes of a write when there are no parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ParameterNotFoundAction {
    /// The binding says nothing of it.
    Allow,
    /// As `failurePolicy` says.
    Deny,
}

impl Kind for ValidatingAdmissionPolicyBinding {
    const GROUP: &'static str = ADMISSION;
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "ValidatingAdmissionPolicyBinding";
    const PLURAL: &'static str = "validatingadmissionpolicybindings";
    const SINGULAR: &'static str = "validatingadmissionpolicybinding";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const SCOPE: Scope = Scope::Cluster;
    const STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::new("PolicyName", "spec.policyName", "The policy it puts to use"),
        Column::new("ParamRef", "spec.paramRef.name", "The object that holds its parameters"),
    ];
    const DESCRIPTION: &'static str = "ValidatingAdmissionPolicyBinding puts a policy to use: where, \
                                       with which parameters, to what effect.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn set_defaults(&mut self) {
        if let Some(matched) = &mut self.spec.match_resources {
            matched.set_defaults();
        }
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        match validate::subdomain(&spec.policy_name) {
            _ if spec.policy_name.is_empty() => {
                errors.push(FieldError::required("spec.policyName", ""));
            }
            Err(why) => {
                let name = format!("{:?}", spec.policy_name);
                errors.push(FieldError::invalid("spec.policyName", name, why));
            }
            Ok(()) => {}
        }
        if let Some(param) = &spec.param_ref {
            match (&param.name, &param.selector) {
                (Some(name), None) if !name.is_empty() => {}
                (None, Some(selector)) => selector.validate("spec.paramRef.selector", errors),
                (None, None) => {
                    let why = "one of name or selector must be specified";
                    errors.push(FieldError::required("spec.paramRef", why));
                }
                _ => {
                    let why = "name and selector are mutually exclusive, and a name is not empty";
                    errors.push(FieldError::forbidden("spec.paramRef.name", why));
                }
            }
            if param.parameter_not_found_action.is_none() {
                let field = "spec.paramRef.parameterNotFoundAction";
                errors.push(FieldError::required(field, "must be Allow or Deny"));
            }
        }
        if let Some(matched) = &spec.match_resources {
            matched.validate("spec.matchResources", errors);
        }
        let actions = &spec.validation_actions;
        if actions.is_empty() {
            let why = "at least one validation action is required";
            errors.push(FieldError::required("spec.validationActions", why));
        }
        if actions.contains(&ValidationAction::Deny) && actions.contains(&ValidationAction::Warn) {
            let why = "must not contain both Deny and Warn (repeating the same validation failure \
                       information in the API response and headers serves no purpose)";
            errors.push(FieldError::invalid("spec.validationActions", "[Deny, Warn]", why));
        }
    }

    kind_info!(ValidatingAdmissionPolicyBinding);
}
