//! Freeze: when nothing disruptive may begin, where, and for whom it does not hold.

use super::{Resource, SitePart, V1ALPHA1, WORKFLOWS};
use crate::{
    ApprovalPolicy, Column, ColumnType, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time,
    kind_info,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A time in which nothing disruptive may begin.
pub type Freeze = Resource<FreezeSpec, FreezeStatus>;

/// Most places, and most exceptions, that one freeze names.
const NAMED_MAX: usize = 1_000;

/// When, where and for whom.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreezeSpec {
    /// Why, for those who are kept waiting.
    pub reason: String,
    /// When it begins; at once, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Time>,
    /// When it is over.
    pub end: Option<Time>,
    /// Sites it holds in. With no sites, parts of sites and racks it holds everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub sites: Vec<String>,
    /// Racks it holds in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub racks: Vec<String>,
    /// Halls, rows and power feeds it holds in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub site_parts: Vec<FreezePart>,
    /// What goes on all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<FreezeExceptions>,
}

/// A part of a site that a freeze holds in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreezePart {
    /// Name of the Site.
    pub site: String,
    /// Which part of it.
    #[serde(flatten)]
    pub part: SitePart,
}

/// What goes on in a freeze.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FreezeExceptions {
    /// Runs of these runbooks, such as those that repair.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub runbooks: Vec<String>,
    /// Runs in these namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub namespaces: Vec<String>,
    /// Runs that these persons have approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_policy: Option<ApprovalPolicy>,
}

/// A freeze has no state of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FreezeStatus {}

impl Kind for Freeze {
    const GROUP: &'static str = WORKFLOWS;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Freeze";
    const PLURAL: &'static str = "freezes";
    const SINGULAR: &'static str = "freeze";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Cluster;
    const STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::new("Reason", "spec.reason", "Why"),
        Column::new("Start", "spec.start", "When it begins"),
        Column::new("End", "spec.end", "When it is over"),
        Column::new("Created", "metadata.creationTimestamp", "When it was declared")
            .of(ColumnType::Date)
            .wide(),
    ];
    const DESCRIPTION: &'static str =
        "Freeze is a time in which nothing disruptive may begin, everywhere or in some places.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        if spec.reason.is_empty() {
            let why = "say why, for those who are kept waiting";
            errors.push(FieldError::required("spec.reason", why));
        }
        match (spec.start, spec.end) {
            (_, None) => {
                let why = "say when it is over; it can be moved, and the freeze deleted before";
                errors.push(FieldError::required("spec.end", why));
            }
            (Some(start), Some(end)) if end <= start => {
                let why = "must be after spec.start";
                errors.push(FieldError::invalid("spec.end", format!("\"{end}\""), why));
            }
            _ => {}
        }
        let except = spec.except.clone().unwrap_or_default();
        if let Some(policy) = &except.approval_policy {
            policy.validate("spec.except.approvalPolicy", errors);
        }
        if spec.site_parts.len() > NAMED_MAX {
            let count = spec.site_parts.len();
            errors.push(FieldError::too_many("spec.siteParts", count, NAMED_MAX));
        }
        for (at, place) in spec.site_parts.iter().take(NAMED_MAX).enumerate() {
            let path = format!("spec.siteParts[{at}]");
            place.part.validate(&path, errors);
            if place.part.is_whole() {
                let why = "name a hall, a row or a power feed; spec.sites is for whole sites";
                errors.push(FieldError::required(format!("{path}.hall"), why));
            }
        }
        for (field, named) in [
            ("spec.sites", &spec.sites),
            ("spec.racks", &spec.racks),
            ("spec.except.runbooks", &except.runbooks),
            ("spec.except.namespaces", &except.namespaces),
        ] {
            if named.len() > NAMED_MAX {
                errors.push(FieldError::too_many(field, named.len(), NAMED_MAX));
            }
        }
    }

    kind_info!(Freeze);
}
