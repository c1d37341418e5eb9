//! Namespace: a team's place (`v1`).

use super::Resource;
use crate::{Column, FieldError, FieldErrors, Kind, ObjectMeta, Scope, kind_info, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A team's place: names in it are unique, access is granted by it.
pub type Namespace = Resource<NamespaceSpec, NamespaceStatus>;

/// What is wanted of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NamespaceSpec {
    /// Who must act before the namespace may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
}

/// What is seen of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}

impl Kind for Namespace {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Namespace";
    const PLURAL: &'static str = "namespaces";
    const SINGULAR: &'static str = "namespace";
    const SHORT_NAMES: &'static [&'static str] = &["ns"];
    const CATEGORIES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] =
        &[Column::new("Status", "status.phase", "The status of the namespace")];
    const INDEXED_FIELDS: &'static [&'static str] = &["status.phase"];
    const DESCRIPTION: &'static str =
        "Namespace is a team's place: names in it are unique, access is granted by it.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn set_defaults(&mut self) {
        // The label that network policies and selectors rely on, as Kubernetes sets it.
        let name = self.metadata.name.clone();
        self.metadata.labels.insert("kubernetes.io/metadata.name".into(), name);
        let phase =
            if self.metadata.deletion_timestamp.is_some() { "Terminating" } else { "Active" };
        self.status.phase = Some(phase.into());
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let name = &self.metadata.name;
        if let Err(why) = validate::dns_label(name) {
            errors.push(FieldError::invalid("metadata.name", format!("{name:?}"), why));
        }
    }

    kind_info!(Namespace);
}
