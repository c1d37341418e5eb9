//! MachinePool: machines of one template, kept at a number, spread over places, updated and mended as a group. Its
//! machines are not listed in it: each carries its name as a label, and belongs to it.

use super::{COMPUTE, Resource, V1ALPHA1};
use crate::{
    Column, ColumnType, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scale, Scope,
    duration::Duration, kind_info, share::Share, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Machines of one template.
pub type MachinePool = Resource<MachinePoolSpec, MachinePoolStatus>;

/// Most machines of one pool: each look at a pool reads all of them.
const REPLICAS_MAX: u32 = 10_000;
/// Longest name: a machine's is a hyphen and five letters longer, and is the name of a host.
const NAME_BYTES_MAX: usize = 57;
/// Most bytes of what machines carry: a few hundred of them are written at once.
const CARRIED_BYTES_MAX: usize = 16_384;
/// Longest time that a machine must be ready before it counts: a day.
const READY_SECONDS_MAX: u32 = 86_400;

/// What is wanted of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachinePoolSpec {
    /// How many machines.
    #[serde(default = "one")]
    pub replicas: u32,
    /// What each machine is.
    pub template: MachineTemplate,
    /// Over which places they are spread.
    #[serde(default)]
    pub spread: PoolSpread,
    /// How machines come to be as another template says.
    #[serde(default)]
    pub strategy: PoolStrategy,
    /// When a machine that is not well is replaced; never, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<PoolUnhealthy>,
    /// Seconds that a machine must have been ready before it counts as available.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_ready_seconds: u32,
    /// Nothing is created, changed or deleted until this is false again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Which of two machines, equal in all else, goes first when there are too many.
    #[serde(default)]
    pub delete_policy: PoolDeletePolicy,
}

/// What each machine of a pool is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineTemplate {
    /// What new machines carry. A change of it changes none that exists.
    #[serde(default)]
    pub metadata: MachineTemplateMeta,
    /// What they are. A change of it updates all machines, as `strategy` says.
    pub spec: MachineTemplateSpec,
}

/// What new machines of a pool carry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineTemplateMeta {
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What machines of a pool are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineTemplateSpec {
    /// Name of their MachineClass.
    pub class: String,
    /// Name of the Image installed on them.
    pub image: String,
    /// Where they must be; anywhere their class allows, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PoolPlacement>,
}

/// Where machines of a pool must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolPlacement {
    /// Name of the Site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

/// Over which places machines are spread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolSpread {
    /// The place that fails as one.
    pub domain: SpreadDomain,
    /// How many more machines the fullest place may have than the emptiest. As even as there are free servers, when
    /// not set: then no machine waits for a server while one is free elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_skew: Option<u32>,
}

/// A place that fails as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SpreadDomain {
    /// The rack that a server stands in.
    #[default]
    Rack,
    /// The site of that.
    Site,
}

/// How machines come to be as another template says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolStrategy {
    /// What is done.
    #[serde(rename = "type")]
    pub kind: PoolStrategyType,
    /// How many at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<PoolRollingUpdate>,
}

/// What is done with machines that are not as the template says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PoolStrategyType {
    /// New machines take their place, a few at a time.
    #[default]
    RollingUpdate,
    /// Nothing: whoever deletes one gets a new one.
    OnDelete,
    /// They are installed anew where they are, a few at a time. When not only the image differs, new machines take
    /// their place.
    InPlace,
}

/// How many machines are updated at once. A share is one of `replicas`, and a part of one counts as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolRollingUpdate {
    /// How many more machines than `replicas` there may be. One, when not set; none, when installed in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<Share>,
    /// How many fewer than `replicas` may be available. None, when not set; one, when installed in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Share>,
}

/// When a machine that is not well is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolUnhealthy {
    /// How long it must have failed, or not have been ready after it ran. One that is being installed is not
    /// unhealthy: when that takes too long, it fails.
    pub after: Duration,
    /// Nothing is replaced while more than so many are not well: that looks like a common cause. Forty of a
    /// hundred, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unhealthy: Option<Share>,
}

/// Which of two machines, equal in all else, goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PoolDeletePolicy {
    /// The newer one.
    #[default]
    Newest,
    /// The older one.
    Oldest,
}

fn one() -> u32 {
    1
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl MachinePoolSpec {
    /// How many more machines than `replicas` there may be.
    pub fn surge(&self) -> u32 {
        let unset = match self.strategy.kind {
            PoolStrategyType::InPlace => 0,
            PoolStrategyType::RollingUpdate | PoolStrategyType::OnDelete => 1,
        };
        self.at_once().max_surge.unwrap_or(Share::Count(unset)).of(self.replicas)
    }

    /// How many fewer machines than `replicas` may be available.
    pub fn unavailable(&self) -> u32 {
        let unset = match self.strategy.kind {
            PoolStrategyType::InPlace => 1,
            PoolStrategyType::RollingUpdate | PoolStrategyType::OnDelete => 0,
        };
        self.at_once().max_unavailable.unwrap_or(Share::Count(unset)).of(self.replicas)
    }

    /// How many machines may be unhealthy while others are replaced.
    pub fn unhealthy_accepted(&self) -> u32 {
        let share = self.unhealthy.and_then(|unhealthy| unhealthy.max_unhealthy);
        share.unwrap_or(Share::Percent(40)).of(self.replicas)
    }

    fn at_once(&self) -> PoolRollingUpdate {
        self.strategy.rolling_update.unwrap_or_default()
    }
}

/// Where a pool is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MachinePoolPhase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// All is as it should be.
    Stable,
    /// Machines come or go.
    Scaling,
    /// Machines come to be as another template says.
    Updating,
    /// Machines are not well, or none can be made.
    Degraded,
    /// Nothing is done: it was asked so.
    Paused,
}

/// What is seen of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePoolStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is.
    pub phase: MachinePoolPhase,
    /// Machines there are, but for those that are on their way out.
    pub replicas: u32,
    /// Those that are ready.
    pub ready_replicas: u32,
    /// Those that are as the template says.
    pub updated_replicas: u32,
    /// Those that have been ready for `minReadySeconds`.
    pub available_replicas: u32,
    /// Machines on their way out.
    pub deleting_replicas: u32,
    /// Selects its machines by their labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Machines ever created: the next one's name is made from it.
    pub created: u64,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for MachinePool {
    const GROUP: &'static str = COMPUTE;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "MachinePool";
    const PLURAL: &'static str = "machinepools";
    const SINGULAR: &'static str = "machinepool";
    const SHORT_NAMES: &'static [&'static str] = &["mpool"];
    const SCOPE: Scope = Scope::Namespaced;
    const SCALE: Option<Scale> = Some(Scale {
        wanted: "spec.replicas",
        seen: "status.replicas",
        selector: "status.selector",
    });
    const COLUMNS: &'static [Column] = &[
        Column::new("Phase", "status.phase", "Where it is"),
        Column::new("Desired", "spec.replicas", "Machines wanted").of(ColumnType::Integer),
        Column::new("Current", "status.replicas", "Machines there are").of(ColumnType::Integer),
        Column::new("Ready", "status.readyReplicas", "Those that are ready")
            .of(ColumnType::Integer),
        Column::new("Updated", "status.updatedReplicas", "Those that are as the template says")
            .of(ColumnType::Integer),
        Column::new("Available", "status.availableReplicas", "Those ready for long enough")
            .of(ColumnType::Integer),
        Column::new("Class", "spec.template.spec.class", "Their class").wide(),
        Column::new("Image", "spec.template.spec.image", "Their image").wide(),
        Column::new("Message", "status.conditions[type=Progressing].message", "What is waited for")
            .wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] =
        &["spec.template.spec.class", "spec.template.spec.image", "status.phase"];
    const NAME: fn(&str) -> Result<(), String> = validate::dns_label;
    const DESCRIPTION: &'static str = "MachinePool is a number of machines of one template, spread over places, updated and mended as a group.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        if self.metadata.name.len() > NAME_BYTES_MAX {
            let name = format!("{:?}", self.metadata.name);
            let why =
                format!("must be at most {NAME_BYTES_MAX} letters: its machines' names are longer");
            errors.push(FieldError::invalid("metadata.name", name, why));
        }
        for (field, number, most) in [
            ("spec.replicas", spec.replicas, REPLICAS_MAX),
            ("spec.minReadySeconds", spec.min_ready_seconds, READY_SECONDS_MAX),
        ] {
            if number > most {
                errors.push(FieldError::invalid(field, number, format!("must be at most {most}")));
            }
        }
        if spec.spread.max_skew == Some(0) {
            let why = "must be at least 1: numbers of machines are hardly ever the same everywhere";
            errors.push(FieldError::invalid("spec.spread.maxSkew", 0, why));
        }
        check_template(&spec.template, errors);
        check_strategy(&spec.strategy, errors);
    }

    kind_info!(MachinePool);
}

fn check_template(template: &MachineTemplate, errors: &mut FieldErrors) {
    let spec = &template.spec;
    let site = spec.placement.as_ref().and_then(|placement| placement.site.as_ref());
    let names = [
        ("spec.template.spec.class", Some(&spec.class)),
        ("spec.template.spec.image", Some(&spec.image)),
        ("spec.template.spec.placement.site", site),
    ];
    for (field, name) in names {
        let Some(name) = name else { continue };
        if let Err(why) = validate::subdomain(name) {
            errors.push(FieldError::invalid(field, format!("{name:?}"), why));
        }
    }
    let meta = &template.metadata;
    let carried = meta.labels.iter().chain(&meta.annotations);
    let bytes: usize = carried.map(|(name, value)| name.len() + value.len()).sum();
    if bytes > CARRIED_BYTES_MAX {
        errors.push(FieldError::too_long("spec.template.metadata", CARRIED_BYTES_MAX));
    }
    for (part, carried) in [("labels", &meta.labels), ("annotations", &meta.annotations)] {
        let field = format!("spec.template.metadata.{part}");
        for (name, value) in carried {
            let wrong = validate::qualified_name(name).err();
            let of_value = || validate::label_value(value).err().filter(|_| part == "labels");
            if let Some(why) = wrong.or_else(of_value) {
                errors.push(FieldError::invalid(&field, format!("{name:?}: {value:?}"), why));
            }
        }
    }
}

fn check_strategy(strategy: &PoolStrategy, errors: &mut FieldErrors) {
    let none = |share: Option<Share>| matches!(share, Some(Share::Count(0) | Share::Percent(0)));
    let field = "spec.strategy.rollingUpdate.maxUnavailable";
    let Some(update) = strategy.rolling_update else { return };
    let why = match strategy.kind {
        PoolStrategyType::InPlace if none(update.max_unavailable) => {
            "must be at least 1: a machine is not available while it is installed anew"
        }
        PoolStrategyType::RollingUpdate
            if none(update.max_surge)
                && (none(update.max_unavailable) || update.max_unavailable.is_none()) =>
        {
            "must be at least 1 when maxSurge is 0: no machine could be updated"
        }
        _ => return,
    };
    errors.push(FieldError::invalid(field, 0, why));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn admit(change: impl Fn(&mut Value)) -> Result<Value, Vec<String>> {
        let mut pool = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"template": {"spec": {"class": "small", "image": "debian"}}},
        });
        change(&mut pool);
        let admitted = (MachinePool::info().admit)(&pool, None);
        admitted.map_err(|errors| errors.iter().map(|error| error.field.clone()).collect())
    }

    #[test]
    fn what_is_left_out_is_as_people_expect_it() {
        let pool: MachinePool = serde_json::from_value(admit(|_| {}).unwrap()).unwrap();
        let spec = &pool.spec;
        assert_eq!((spec.replicas, spec.surge(), spec.unavailable()), (1, 1, 0));
        assert_eq!(spec.spread.domain, SpreadDomain::Rack);
        let in_place = admit(|pool| pool["spec"]["strategy"] = json!({"type": "InPlace"}));
        let pool: MachinePool = serde_json::from_value(in_place.unwrap()).unwrap();
        assert_eq!((pool.spec.surge(), pool.spec.unavailable()), (0, 1));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let update = |kind: &str, surge: Value, unavailable: Value| json!({"type": kind, "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        let at_once = "spec.strategy.rollingUpdate.maxUnavailable";
        let cases: [(&str, Value, &str); 11] = [
            ("/metadata/name", json!("a".repeat(58)), "metadata.name"),
            ("/spec/replicas", json!(10_001), "spec.replicas"),
            ("/spec/minReadySeconds", json!(86_401), "spec.minReadySeconds"),
            ("/spec/spread", json!({"maxSkew": 0}), "spec.spread.maxSkew"),
            ("/spec/strategy", update("RollingUpdate", json!(0), json!("0%")), at_once),
            ("/spec/strategy", update("InPlace", json!(1), json!(0)), at_once),
            ("/spec/template/spec/class", json!("A"), "spec.template.spec.class"),
            ("/spec/template/spec/image", json!(""), "spec.template.spec.image"),
            (
                "/spec/template/metadata",
                json!({"labels": {"a": "b c"}}),
                "spec.template.metadata.labels",
            ),
            (
                "/spec/template/metadata",
                json!({"annotations": {"a b": ""}}),
                "spec.template.metadata.annotations",
            ),
            (
                "/spec/template/metadata",
                json!({"annotations": {"a": "b".repeat(16_384)}}),
                "spec.template.metadata",
            ),
        ];
        for (at, value, field) in cases {
            let (parent, last) = at.rsplit_once('/').unwrap();
            let refused = admit(|pool| {
                pool.pointer_mut(parent).unwrap()[last] = value.clone();
            });
            assert_eq!(refused.unwrap_err(), [field], "{at}: {value}");
        }
    }
}
