//! Rack: where servers are mounted.

use super::{INVENTORY, Resource, SitePart, V1ALPHA1};
use crate::{
    ApprovalPolicy, Column, ColumnType, Condition, FieldError, FieldErrors, Kind, ObjectMeta,
    Scope, kind_info, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tallest rack that is sold, in units, with room to spare.
const UNITS_MAX: u16 = 70;

/// A rack in a site: the place of servers, and a failure domain.
pub type Rack = Resource<RackSpec, RackStatus>;

/// What is wanted of a rack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RackSpec {
    /// Name of the Site it stands in.
    pub site: String,
    /// Hall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hall: Option<String>,
    /// Row in the hall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// Height in rack units.
    #[serde(default = "default_units")]
    pub units: u16,
    /// Power feeds it hangs on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub power_feeds: Vec<String>,
    /// Power it may draw, in watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_watts_max: Option<u32>,
    /// Most of its servers that may be disrupted at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_disrupted_servers: Option<u32>,
    /// Whose approval is wanted before any of its servers is disrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_policy: Option<ApprovalPolicy>,
}

impl RackSpec {
    /// Whether it stands in a part of a site, or hangs on it.
    pub fn is_in(&self, site: &str, part: &SitePart) -> bool {
        let row = part.row.is_none() || (self.row == part.row && self.hall == part.hall);
        let hall = part.hall.is_none() || self.hall == part.hall;
        let feed = part.power_feed.as_ref().is_none_or(|feed| self.power_feeds.contains(feed));
        self.site == site && row && hall && feed
    }
}

fn default_units() -> u16 {
    42
}

/// What is seen of a rack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RackStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Active` when it holds servers, `Empty` when it does not, `BrokenLink` when its site is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Servers in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<u32>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Rack {
    const GROUP: &'static str = INVENTORY;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Rack";
    const PLURAL: &'static str = "racks";
    const SINGULAR: &'static str = "rack";
    const SHORT_NAMES: &'static [&'static str] = &["rk"];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("Site", "spec.site", "Site it stands in"),
        Column::new("Hall", "spec.hall", "Hall"),
        Column::new("Row", "spec.row", "Row").wide(),
        Column::new("Units", "spec.units", "Height in rack units").of(ColumnType::Integer),
        Column::new("Phase", "status.phase", "Active when it holds servers"),
        Column::new("Servers", "status.servers", "Servers in it").of(ColumnType::Integer),
    ];
    const INDEXED_FIELDS: &'static [&'static str] =
        &["spec.site", "spec.hall", "spec.row", "status.phase"];
    const DESCRIPTION: &'static str =
        "Rack is the place of servers in a site, and a failure domain.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        if let Err(why) = validate::subdomain(&spec.site) {
            errors.push(FieldError::invalid("spec.site", format!("{:?}", spec.site), why));
        }
        if spec.units == 0 || spec.units > UNITS_MAX {
            let why = format!("must be between 1 and {UNITS_MAX}");
            errors.push(FieldError::invalid("spec.units", spec.units, why));
        }
        if let Some(policy) = &spec.approval_policy {
            policy.validate("spec.approvalPolicy", errors);
        }
    }

    kind_info!(Rack);
}
