//! Lift: what carries racks between the halls of a site. Made up, and all there is to a kind: nothing else
//! in these tests says anything of it.

use quarterdeck_model::{
    Column, ColumnType, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope, kind_info,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A lift.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Lift {
    /// Standard object's metadata.
    #[serde(default)]
    metadata: ObjectMeta,
    /// What is wanted.
    spec: LiftSpec,
    /// What is seen.
    #[serde(default)]
    status: LiftStatus,
}

/// What is wanted of a lift.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LiftSpec {
    /// Who made it.
    maker: String,
    /// Most that it carries, in kilograms; 1000 when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    load_kg: Option<u32>,
    /// Floors where it stops.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    floors: Vec<String>,
}

/// What is seen of a lift.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct LiftStatus {
    /// Floor where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<String>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    conditions: Vec<Condition>,
}

impl Kind for Lift {
    const GROUP: &'static str = "building.quarterdeck.dev";
    const VERSION: &'static str = "v1alpha1";
    const KIND: &'static str = "Lift";
    const PLURAL: &'static str = "lifts";
    const SINGULAR: &'static str = "lift";
    const SHORT_NAMES: &'static [&'static str] = &["lf"];
    const SCOPE: Scope = Scope::Namespaced;
    const COLUMNS: &'static [Column] = &[
        Column::new("Maker", "spec.maker", "Who made it"),
        Column::new("Load", "spec.loadKg", "Most that it carries").of(ColumnType::Integer),
        Column::new("Floor", "status.floor", "Floor where it is"),
        Column::new("Stops", "spec.floors", "How many floors").of(ColumnType::Count).wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.maker"];
    const DESCRIPTION: &'static str = "Lift carries racks between the halls of a site.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn set_defaults(&mut self) {
        self.spec.load_kg.get_or_insert(1000);
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        if self.spec.load_kg == Some(0) {
            errors.push(FieldError::invalid("spec.loadKg", 0, "a lift carries something"));
        }
        if old.is_some_and(|old| old.spec.maker != self.spec.maker) {
            errors.push(FieldError::forbidden("spec.maker", "a lift does not change its maker"));
        }
    }

    kind_info!(Lift);
}
