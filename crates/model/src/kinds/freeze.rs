//! Freeze: when nothing disruptive may begin, where, and for whom it does not hold.

use super::{Resource, V1ALPHA1, WORKFLOWS};
use crate::{
    Column, ColumnType, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time, kind_info,
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
    /// Sites it holds in. With neither sites nor racks it holds everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub sites: Vec<String>,
    /// Racks it holds in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub racks: Vec<String>,
    /// What goes on all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<FreezeExceptions>,
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
