//! Labels to meet, as fields of an object (`metav1.LabelSelector`).
//! Source: Kubernetes "Labels and Selectors", resources that support set-based requirements.

use crate::{FieldError, FieldErrors, LabelSelector, selector::LabelRequirement, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Labels to meet (`metav1.LabelSelector`); none select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectSelector {
    /// Labels and their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<ObjectSelectorRequirement>,
}

/// One requirement on a label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectSelectorRequirement {
    /// Name of the label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values, for `In` and `NotIn`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl ObjectSelector {
    /// As it is evaluated; none when an operator is not known.
    pub fn selector(&self) -> Option<LabelSelector> {
        let labels = self
            .match_labels
            .iter()
            .map(|(name, value)| Some(LabelRequirement::In(name.clone(), vec![value.clone()])));
        let others = self.match_expressions.iter().map(|requirement| {
            let (key, values) = (requirement.key.clone(), requirement.values.clone());
            Some(match requirement.operator.as_str() {
                "In" => LabelRequirement::In(key, values),
                "NotIn" => LabelRequirement::NotIn(key, values),
                "Exists" => LabelRequirement::Exists(key),
                "DoesNotExist" => LabelRequirement::Absent(key),
                _ => return None,
            })
        });
        labels.chain(others).collect::<Option<_>>().map(LabelSelector)
    }

    pub(super) fn validate(&self, path: &str, errors: &mut FieldErrors) {
        for (at, requirement) in self.match_expressions.iter().enumerate() {
            let path = format!("{path}.matchExpressions[{at}]");
            if let Err(why) = validate::qualified_name(&requirement.key) {
                let key = format!("{:?}", requirement.key);
                errors.push(FieldError::invalid(format!("{path}.key"), key, why));
            }
            let values = format!("{path}.values");
            match (requirement.operator.as_str(), requirement.values.is_empty()) {
                ("In" | "NotIn", true) => errors.push(FieldError::required(
                    values,
                    "must be specified when `operator` is 'In' or 'NotIn'",
                )),
                ("Exists" | "DoesNotExist", false) => errors.push(FieldError::forbidden(
                    values,
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                )),
                ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
                (other, _) => errors.push(FieldError::invalid(
                    format!("{path}.operator"),
                    format!("{other:?}"),
                    "not a valid selector operator",
                )),
            }
        }
    }
}
