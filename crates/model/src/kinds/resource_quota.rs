//! ResourceQuota: how many objects a namespace may have, and how much its instances may ask for together (`v1`).
//! Source: Kubernetes "Resource Quotas", compute resource quota and object count quota.

use super::Resource;
use crate::{
    Column, ColumnType, FieldError, FieldErrors, Kind, KindRef, ObjectMeta, Scope, kind_info,
    kinds, quantity::Quantity,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many objects a namespace may have.
pub type ResourceQuota = Resource<ResourceQuotaSpec, ResourceQuotaStatus>;

/// What is wanted of a quota.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ResourceQuotaSpec {
    /// Most objects of a kind, by `count/RESOURCE.GROUP`, such as `count/runs.workflows.quarterdeck.dev`; and the most
    /// that all instances ask for together: `requests.cpu`, `requests.memory`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hard: BTreeMap<String, Quantity>,
}

/// What is seen of a quota.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ResourceQuotaStatus {
    /// The limits that `used` is about.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hard: BTreeMap<String, Quantity>,
    /// How many there are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub used: BTreeMap<String, Quantity>,
}

/// Most processors that all instances ask for together.
pub const REQUESTS_CPU: &str = "requests.cpu";
/// Most memory that all instances ask for together.
pub const REQUESTS_MEMORY: &str = "requests.memory";

impl ResourceQuotaSpec {
    /// The most that all instances may ask for together: thousandths of a processor, bytes of memory.
    pub fn requests(&self) -> (Option<u64>, Option<u64>) {
        let cpu = self.hard.get(REQUESTS_CPU).and_then(|most| most.thousandths().ok());
        let memory = self.hard.get(REQUESTS_MEMORY).and_then(|most| most.bytes().ok());
        (cpu, memory)
    }

    /// The limits that can be read, each with the kind it counts.
    pub fn limits(&self) -> impl Iterator<Item = (&str, KindRef, u64)> {
        self.hard.iter().filter_map(|(key, most)| Some((&**key, counted(key)?, most.count().ok()?)))
    }
}

/// The kind that a key counts: `count/RESOURCE.GROUP`, or one of the core by the name it had before
/// that form.
fn counted(key: &str) -> Option<KindRef> {
    const OLD_NAMES: [&str; 2] = ["resourcequotas", "secrets"];
    let name = key.strip_prefix("count/").or_else(|| OLD_NAMES.contains(&key).then_some(key))?;
    kinds::by_resource_name(name).filter(|kind| kind.namespaced())
}

impl Kind for ResourceQuota {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "ResourceQuota";
    const PLURAL: &'static str = "resourcequotas";
    const SINGULAR: &'static str = "resourcequota";
    const SHORT_NAMES: &'static [&'static str] = &["quota"];
    const CATEGORIES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Namespaced;
    const COLUMNS: &'static [Column] = &[
        Column::new("Request", "status", "How much is used of what may be").of(ColumnType::Usage),
        // There are no limits of computing resources here; kubectl's users look for the column.
        Column::new("Limit", "status.limit", "Always empty"),
    ];
    const DESCRIPTION: &'static str = "ResourceQuota says how many objects a namespace may have, and how much its instances may ask for.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn set_defaults(&mut self) {
        for (key, most) in &mut self.spec.hard {
            if [REQUESTS_CPU, REQUESTS_MEMORY].contains(&key.as_str()) {
                continue;
            }
            if let Ok(count) = most.count() {
                *most = Quantity::of(count);
            }
        }
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        for (key, most) in &self.spec.hard {
            let field = format!("spec.hard[{key}]");
            let wrong = match key.as_str() {
                REQUESTS_CPU => Some(most.thousandths().err()),
                REQUESTS_MEMORY => Some(most.bytes().err()),
                _ => None,
            };
            if let Some(wrong) = wrong {
                if let Some(why) = wrong {
                    errors.push(FieldError::invalid(field, format!("{:?}", most.to_string()), why));
                }
                continue;
            }
            if counted(key).is_none() {
                let kinds = kinds::all().iter().filter(|kind| kind.namespaced());
                let mut keys: Vec<String> =
                    kinds.map(|kind| format!("count/{}", kind.resource_name())).collect();
                keys.extend([REQUESTS_CPU.to_owned(), REQUESTS_MEMORY.to_owned()]);
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                errors.push(FieldError::not_supported(&field, format!("{key:?}"), &keys));
            }
            if let Err(why) = most.count() {
                errors.push(FieldError::invalid(field, format!("{:?}", most.to_string()), why));
            }
        }
    }

    kind_info!(ResourceQuota);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn admit(hard: Value) -> Result<Value, Vec<String>> {
        let quota = json!({"metadata": {"name": "q", "namespace": "team"}, "spec": {"hard": hard}});
        (ResourceQuota::info().admit)(&quota, None)
            .map(|admitted| admitted["spec"]["hard"].clone())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn limits_are_counts_of_kinds_there_are() {
        let hard = json!({"count/runs.workflows.quarterdeck.dev": 10, "secrets": "1k", "count/secrets": "2"});
        assert_eq!(
            admit(hard).unwrap(),
            json!({"count/runs.workflows.quarterdeck.dev": "10", "secrets": "1000", "count/secrets": "2"})
        );
        let asked = json!({"requests.cpu": "1500m", "requests.memory": "1.5Gi"});
        assert_eq!(admit(asked.clone()).unwrap(), asked);
        for (hard, wanted) in [
            (
                json!({"requests.cpu": "many"}),
                "spec.hard[requests.cpu]: Invalid value: \"many\": must be a number from 0",
            ),
            (
                json!({"pods": 1}),
                "spec.hard[pods]: Unsupported value: \"pods\": supported values: ",
            ),
            (json!({"count/servers.inventory.quarterdeck.dev": 1}), "spec.hard[count/servers.inv"),
            (json!({"count/runs": 1}), "spec.hard[count/runs]: Unsupported value"),
            (
                json!({"secrets": "many"}),
                "spec.hard[secrets]: Invalid value: \"many\": must be a whole number from 0",
            ),
            (json!({"secrets": -1}), "spec.hard[secrets]: Invalid value: \"-1\": must be"),
            (json!({"secrets": true}), "spec.hard.secrets: Invalid value: \"boolean\""),
        ] {
            let errors = admit(hard).unwrap_err();
            assert!(errors.iter().any(|error| error.starts_with(wanted)), "{wanted}: {errors:?}");
        }
    }
}
