//! Provider: somewhere machines come from.

use super::{COMPUTE, Resource, V1ALPHA1};
use crate::{
    Column, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope, kind_info, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Somewhere machines come from.
pub type Provider = Resource<ProviderSpec, ProviderStatus>;

/// What is wanted of a provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSpec {
    /// What kind of place it is.
    #[serde(rename = "type")]
    pub kind: ProviderType,
    /// For `Metal`: the site whose servers it offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metal: Option<MetalProvider>,
}

/// What kind of place machines come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProviderType {
    /// Servers of a site.
    #[default]
    Metal,
}

/// Metal in a site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetalProvider {
    /// Name of the Site.
    pub site: String,
}

/// What is seen of a provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, or `BrokenLink` when its site is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Provider {
    const GROUP: &'static str = COMPUTE;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Provider";
    const PLURAL: &'static str = "providers";
    const SINGULAR: &'static str = "provider";
    const SHORT_NAMES: &'static [&'static str] = &["prov"];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("Type", "spec.type", "What kind of place it is"),
        Column::new("Site", "spec.metal.site", "Site whose servers it offers"),
        Column::new("Phase", "status.phase", "Ready, or what is wrong"),
    ];
    const INDEXED_FIELDS: &'static [&'static str] =
        &["spec.type", "spec.metal.site", "status.phase"];
    const DESCRIPTION: &'static str =
        "Provider is somewhere machines come from, such as the metal of a site.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        match (&self.spec.kind, &self.spec.metal) {
            (ProviderType::Metal, None) => {
                errors.push(FieldError::required("spec.metal", "type Metal needs it"));
            }
            (ProviderType::Metal, Some(metal)) => {
                if let Err(why) = validate::subdomain(&metal.site) {
                    errors.push(FieldError::invalid(
                        "spec.metal.site",
                        format!("{:?}", metal.site),
                        why,
                    ));
                }
            }
        }
        if old.is_some_and(|old| old.spec.kind != self.spec.kind) {
            let kind = format!("{:?}", self.spec.kind);
            errors.push(FieldError::invalid(
                "spec.type",
                format!("{kind:?}"),
                "field is immutable",
            ));
        }
    }

    kind_info!(Provider);
}
