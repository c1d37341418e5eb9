//! Site: a building or part of one that holds racks.

use super::{INVENTORY, Rack, Resource, SecretReference, SitePart, V1ALPHA1};
use crate::{
    ApprovalPolicy, Column, ColumnType, Condition, FieldError, FieldErrors, Kind, KindRef, Object,
    ObjectMeta, Scope, kind_info,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A building, or part of one, that holds racks.
pub type Site = Resource<SiteSpec, SiteStatus>;

/// Most limits of parts.
const LIMITS_MAX: usize = 1_000;

/// What is wanted of a site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SiteSpec {
    /// Region it lies in, such as `eu-west`.
    pub region: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Street address, for whoever is sent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// IANA time zone, for maintenance windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Halls of the site.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub halls: Vec<String>,
    /// Power feeds of the site; a rack names those it hangs on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub power_feeds: Vec<String>,
    /// Most of its servers that may be disrupted at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_disrupted_servers: Option<u32>,
    /// What holds for the BMCs of its servers that say nothing else themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<SiteBmc>,
    /// How much of its halls, rows and power feeds may be disrupted at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub limits: Vec<SiteLimit>,
    /// Power feeds that are out of service: racks that hang on them have only their others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub power_feeds_down: Vec<String>,
    /// Whose approval is wanted before any of its servers is disrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_policy: Option<ApprovalPolicy>,
}

/// What holds for the BMCs of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SiteBmc {
    /// Secret with the keys `username` and `password`, for servers that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
}

/// The Secret with the credentials of the BMC of a server: `own`, which it names, or else that of the site in which
/// its rack stands. `get` finds objects that live in no namespace.
pub fn bmc_credentials(
    own: Option<&SecretReference>,
    rack: Option<&str>,
    get: impl Fn(KindRef, &str) -> Option<Arc<Object>>,
) -> Option<SecretReference> {
    if let Some(own) = own {
        return Some(own.clone());
    }
    let rack = get(Rack::info(), rack?)?;
    let site: Site = get(Site::info(), rack.field("spec.site")?)?.decode().ok()?;
    site.spec.bmc?.credentials_secret_ref
}

/// How much of a part of a site may be disrupted at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SiteLimit {
    /// Which part.
    #[serde(flatten)]
    pub part: SitePart,
    /// Most of its servers that may be disrupted at once.
    pub max_disrupted_servers: u32,
}

/// What is seen of a site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SiteStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Active` when it holds racks, `Empty` when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Racks in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub racks: Option<u32>,
    /// Servers in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<u32>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Site {
    const GROUP: &'static str = INVENTORY;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Site";
    const PLURAL: &'static str = "sites";
    const SINGULAR: &'static str = "site";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("Region", "spec.region", "Region it lies in"),
        Column::new("Phase", "status.phase", "Active when it holds racks"),
        Column::new("Racks", "status.racks", "Racks in it").of(ColumnType::Integer),
        Column::new("Servers", "status.servers", "Servers in it").of(ColumnType::Integer),
        Column::new("Display", "spec.displayName", "What people call it").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &[
        "spec.region",
        "spec.bmc.credentialsSecretRef.name",
        "spec.bmc.credentialsSecretRef.namespace",
        "status.phase",
    ];
    const DESCRIPTION: &'static str = "Site is a building, or part of one, that holds racks.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        if let Err(why) = crate::validate::label_value(&self.spec.region)
            && !self.spec.region.is_empty()
        {
            errors.push(FieldError::invalid("spec.region", format!("{:?}", self.spec.region), why));
        }
        if self.spec.region.is_empty() {
            errors.push(FieldError::required("spec.region", "name the region, such as eu-west"));
        }
        if let Some(secret) =
            self.spec.bmc.as_ref().and_then(|bmc| bmc.credentials_secret_ref.as_ref())
        {
            secret.validate("spec.bmc.credentialsSecretRef", errors);
        }
        let spec = &self.spec;
        if spec.limits.len() > LIMITS_MAX {
            errors.push(FieldError::too_many("spec.limits", spec.limits.len(), LIMITS_MAX));
        }
        let mut seen: Vec<&SitePart> = Vec::new();
        for (at, limit) in spec.limits.iter().take(LIMITS_MAX).enumerate() {
            let path = format!("spec.limits[{at}]");
            limit.part.validate(&path, errors);
            if limit.part.is_whole() {
                let why = "name a hall, a row or a power feed; spec.maxDisruptedServers is for the whole site";
                errors.push(FieldError::required(format!("{path}.hall"), why));
            } else if seen.contains(&&limit.part) {
                errors.push(FieldError::duplicate(path, &limit.part));
            }
            seen.push(&limit.part);
        }
        for (at, feed) in spec.power_feeds_down.iter().enumerate() {
            if !spec.power_feeds.contains(feed) {
                let field = format!("spec.powerFeedsDown[{at}]");
                let why = "is not one of spec.powerFeeds";
                errors.push(FieldError::invalid(field, format!("{feed:?}"), why));
            }
        }
        if let Some(policy) = &spec.approval_policy {
            policy.validate("spec.approvalPolicy", errors);
        }
    }

    kind_info!(Site);
}
