//! Workload: a number of instances of one template, placed on machines, updated and mended as a group.

use super::{
    MachineTemplateMeta, Resource, SERVICES, V1ALPHA1, WorkloadClusterStatus, WorkloadPlacement,
    WorkloadStrategy, container::PodSpec, workload_clusters,
};
use crate::{
    Column, ColumnType, Condition, Duration, FieldError, FieldErrors, Kind, ObjectMeta, Scale,
    Scope, Time, kind_info, share::Share, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number of instances of one template.
pub type Workload = Resource<WorkloadSpec, WorkloadStatus>;
/// What a workload was, or is, at one time.
pub type WorkloadRevision = Resource<WorkloadRevisionSpec, WorkloadRevisionStatus>;

/// Most instances of one workload: all are looked at together.
const REPLICAS_MAX: u32 = 20_000;
/// Longest an instance must have been ready before it counts: a day.
const READY_SECONDS_MAX: u32 = 86_400;
/// Longest that nothing may have to move on: a week.
const DEADLINE_SECONDS_MAX: u32 = 7 * 86_400;
/// Most revisions that are kept.
const HISTORY_MAX: u32 = 100;
/// Longest name: those of its instances and revisions are longer.
const NAME_BYTES_MAX: usize = 52;
/// Most bytes of labels and annotations that instances carry.
const CARRIED_BYTES_MAX: usize = 16_384;
/// Soonest that an unreachable host is given up.
const LOST_AFTER_MIN: Duration = Duration::from_secs(10);
/// Latest that an unreachable host is given up: a week.
const LOST_AFTER_MAX: Duration = Duration::from_secs(7 * 86_400);

/// What instances are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceTemplate {
    /// What they carry.
    pub metadata: MachineTemplateMeta,
    /// What the agents of their hosts run.
    pub spec: PodSpec,
}

/// What is wanted of a workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// Name of the Service it is a part of, in the same namespace.
    pub service: String,
    /// How many instances there are to be.
    #[serde(default = "one")]
    pub replicas: u32,
    /// What they are.
    pub template: InstanceTemplate,
    /// On which machines, or in which clusters, they may run: of the same namespace.
    #[serde(default)]
    pub placement: WorkloadPlacement,
    /// How much they matter beside others: those of lower ones make way, with leave of the ledger. 0, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000_000, max = 1_000_000_000))]
    pub priority: Option<i32>,
    /// How they come to be as another template says.
    #[serde(default)]
    pub strategy: WorkloadStrategy,
    /// No rollout goes on; what is lost is still replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// How long an instance must be ready before it counts as available.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_ready_seconds: u32,
    /// How long a rollout may be without progress before it returns. 600, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<u32>,
    /// How many revisions that are not in use are kept. 10, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<u32>,
    /// How long a host may be unreachable before other instances take the place of those on it. 5m, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_lost_after: Option<Duration>,
}

fn one() -> u32 {
    1
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl WorkloadSpec {
    /// How many more instances than `replicas` there may be.
    pub fn surge(&self) -> u32 {
        let update = self.strategy.rolling_update.unwrap_or_default();
        update.max_surge.unwrap_or(Share::Count(1)).of(self.replicas)
    }

    /// How many fewer than `replicas` may be available while instances are replaced.
    pub fn unavailable(&self) -> u32 {
        let update = self.strategy.rolling_update.unwrap_or_default();
        update.max_unavailable.unwrap_or(Share::Count(0)).of(self.replicas)
    }

    /// How long a rollout may be without progress.
    pub fn progress_deadline(&self) -> Duration {
        Duration::from_secs(self.progress_deadline_seconds.unwrap_or(600).into())
    }

    /// How many revisions that are not in use are kept.
    pub fn history_limit(&self) -> u32 {
        self.revision_history_limit.unwrap_or(10)
    }

    /// How long a host may be unreachable.
    pub fn host_lost_after(&self) -> Duration {
        self.host_lost_after.unwrap_or(Duration::from_secs(300))
    }
}

/// Where a workload is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadPhase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// All is as it should be.
    Stable,
    /// Instances come or go.
    Scaling,
    /// Instances come to be as another template says.
    RollingOut,
    /// A rollout waits: it was asked so, or for a person.
    Paused,
    /// A rollout failed, and instances are, or come to be again, as they were.
    RolledBack,
    /// Instances are not well, or have no machine.
    Degraded,
}

/// How far a rollout is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// The revision that is rolled out.
    pub revision: i64,
    /// The step that it is in, from 0; past the last, all others are replaced.
    pub step: u32,
    /// Since when all instances of the step are available and it has been looked at whether its checks hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_ready: Option<Time>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When it got further last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progressed: Option<Time>,
    /// The most new instances that were available.
    pub available: u32,
    /// The fewest others that were left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u32>,
    /// When the new instances were switched to, for `BlueGreen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switched: Option<Time>,
    /// How the checks of the step came out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub checks: Vec<CheckStatus>,
    /// Why it returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// How a check came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// How often it held.
    pub passed: u32,
    /// How often in sequence it did not, up to now.
    pub failed: u32,
    /// What was seen last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// What is seen of a workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is.
    pub phase: WorkloadPhase,
    /// Instances there are, but for those that are on their way out.
    pub replicas: u32,
    /// Those that are ready.
    pub ready_replicas: u32,
    /// Those of the revision that is wanted.
    pub updated_replicas: u32,
    /// Those that have been ready for `minReadySeconds`.
    pub available_replicas: u32,
    /// Instances that are wanted, and for which there is no machine.
    pub unplaced_replicas: u32,
    /// Selects its instances by their labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The revision that the template is.
    pub revision: i64,
    /// The revision that all instances were of last: a rollout returns to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable_revision: Option<i64>,
    /// The rollout that is under way, or that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Instances ever created: the next one's name is made from it.
    pub created: u64,
    /// How it is in each cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub clusters: Vec<WorkloadClusterStatus>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Workload {
    const GROUP: &'static str = SERVICES;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Workload";
    const PLURAL: &'static str = "workloads";
    const SINGULAR: &'static str = "workload";
    const SHORT_NAMES: &'static [&'static str] = &["wl"];
    const SCOPE: Scope = Scope::Namespaced;
    const SCALE: Option<Scale> = Some(Scale {
        wanted: "spec.replicas",
        seen: "status.replicas",
        selector: "status.selector",
    });
    const COLUMNS: &'static [Column] = &[
        Column::new("Service", "spec.service", "Service it is a part of"),
        Column::new("Phase", "status.phase", "Where it is"),
        Column::new("Desired", "spec.replicas", "Instances wanted").of(ColumnType::Integer),
        Column::new("Ready", "status.readyReplicas", "Those that are ready")
            .of(ColumnType::Integer),
        Column::new("Updated", "status.updatedReplicas", "Those of the wanted revision")
            .of(ColumnType::Integer),
        Column::new("Available", "status.availableReplicas", "Those ready for long enough")
            .of(ColumnType::Integer),
        Column::new("Unplaced", "status.unplacedReplicas", "Those for which there is no machine")
            .of(ColumnType::Integer)
            .wide(),
        Column::new("Revision", "status.revision", "The revision that is wanted")
            .of(ColumnType::Integer)
            .wide(),
        Column::new("Message", "status.conditions[type=Progressing].message", "What is waited for")
            .wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.service", "status.phase"];
    const NAME: fn(&str) -> Result<(), String> = validate::dns_label;
    const DESCRIPTION: &'static str = "Workload is a number of instances of one template, placed on machines, rolled out and mended as a group.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn set_defaults(&mut self) {
        self.spec.template.spec.set_defaults();
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        if self.metadata.name.len() > NAME_BYTES_MAX {
            let name = format!("{:?}", self.metadata.name);
            let why = format!(
                "must be at most {NAME_BYTES_MAX} letters: its instances' names are longer"
            );
            errors.push(FieldError::invalid("metadata.name", name, why));
        }
        if let Err(why) = validate::subdomain(&spec.service) {
            errors.push(FieldError::invalid("spec.service", format!("{:?}", spec.service), why));
        }
        for (field, number, most) in [
            ("spec.replicas", spec.replicas, REPLICAS_MAX),
            ("spec.minReadySeconds", spec.min_ready_seconds, READY_SECONDS_MAX),
            (
                "spec.progressDeadlineSeconds",
                spec.progress_deadline_seconds.unwrap_or_default(),
                DEADLINE_SECONDS_MAX,
            ),
            ("spec.revisionHistoryLimit", spec.history_limit(), HISTORY_MAX),
        ] {
            if number > most {
                errors.push(FieldError::invalid(field, number, format!("must be at most {most}")));
            }
        }
        if spec.progress_deadline_seconds.is_some_and(|deadline| deadline <= spec.min_ready_seconds)
        {
            let (deadline, why) = (
                spec.progress_deadline_seconds.unwrap_or_default(),
                "must be more than minReadySeconds: no instance could be in time",
            );
            errors.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline, why));
        }
        if !(LOST_AFTER_MIN..=LOST_AFTER_MAX).contains(&spec.host_lost_after()) {
            let why = format!("must be between {LOST_AFTER_MIN} and {LOST_AFTER_MAX}");
            errors.push(FieldError::invalid("spec.hostLostAfter", spec.host_lost_after(), why));
        }
        check_carried(&spec.template.metadata, errors);
        spec.template.spec.validate("spec.template.spec", errors);
        spec.placement.validate("spec.placement", errors);
        spec.strategy.validate("spec.strategy", errors);
        workload_clusters::check_spec(spec, old.map(|old| &old.spec), errors);
    }

    kind_info!(Workload);
}

fn check_carried(meta: &MachineTemplateMeta, errors: &mut FieldErrors) {
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

/// What a workload was at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRevisionSpec {
    /// Name of the Workload.
    pub workload: String,
    /// Its number: later ones are greater. A template that comes again gets a new one, as in a Deployment.
    pub revision: i64,
    /// What instances of it are.
    pub template: InstanceTemplate,
}

/// Nothing is seen of a revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadRevisionStatus {}

impl Kind for WorkloadRevision {
    const GROUP: &'static str = SERVICES;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "WorkloadRevision";
    const PLURAL: &'static str = "workloadrevisions";
    const SINGULAR: &'static str = "workloadrevision";
    const SHORT_NAMES: &'static [&'static str] = &["wlrev"];
    const SCOPE: Scope = Scope::Namespaced;
    const STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::new("Workload", "spec.workload", "Workload that it is of"),
        Column::new("Revision", "spec.revision", "Its number").of(ColumnType::Integer),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.workload"];
    const DESCRIPTION: &'static str = "WorkloadRevision is what a workload was at one time, so that it can be so again. The plane writes it, and removes old ones.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        if old.is_some_and(|old| old.spec != self.spec) {
            errors.push(FieldError::forbidden("spec", "what was does not change"));
        }
    }

    kind_info!(WorkloadRevision);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn admit(change: impl Fn(&mut Value)) -> Result<Value, Vec<String>> {
        let mut workload = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "service": "web",
                "template": {"spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]}},
            },
        });
        change(&mut workload);
        let admitted = (Workload::info().admit)(&workload, None);
        admitted.map_err(|errors| errors.iter().map(|error| error.field.clone()).collect())
    }

    #[test]
    fn what_is_left_out_is_as_people_expect_it() {
        let workload: Workload = serde_json::from_value(admit(|_| {}).unwrap()).unwrap();
        let spec = &workload.spec;
        assert_eq!((spec.replicas, spec.surge(), spec.unavailable()), (1, 1, 0));
        assert_eq!(spec.progress_deadline(), Duration::from_secs(600));
        assert_eq!(spec.host_lost_after(), Duration::from_secs(300));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let check = json!({"name": "c", "ready": {}});
        let canary = |steps: Value| json!({"type": "Canary", "canary": {"steps": steps}});
        let cases = [
            ("/metadata/name", json!("a".repeat(53)), "metadata.name"),
            ("/spec/service", json!("A"), "spec.service"),
            ("/spec/replicas", json!(20_001), "spec.replicas"),
            ("/spec/minReadySeconds", json!(86_401), "spec.minReadySeconds"),
            ("/spec/progressDeadlineSeconds", json!(0), "spec.progressDeadlineSeconds"),
            ("/spec/hostLostAfter", json!("1s"), "spec.hostLostAfter"),
            (
                "/spec/strategy",
                json!({"rollingUpdate": {"maxSurge": 0}}),
                "spec.strategy.rollingUpdate.maxUnavailable",
            ),
            ("/spec/strategy", json!({"canary": {"steps": []}}), "spec.strategy.canary"),
            ("/spec/strategy", canary(json!([])), "spec.strategy.canary.steps"),
            ("/spec/strategy", canary(json!([{}])), "spec.strategy.canary.steps[0].instances"),
            (
                "/spec/strategy",
                canary(json!([{"instances": 1, "checks": [{"name": "c"}]}])),
                "spec.strategy.canary.steps[0].checks[0]",
            ),
            (
                "/spec/strategy",
                canary(json!([{"instances": 1, "checks": [check, check]}])),
                "spec.strategy.canary.steps[0].checks[1].name",
            ),
            (
                "/spec/strategy",
                json!({"type": "BlueGreen", "blueGreen": {"checks": [
                    {"name": "p", "prometheus": {"url": "http://p", "query": "up"}}]}}),
                "spec.strategy.blueGreen.checks[0].prometheus.max",
            ),
            (
                "/spec/placement",
                json!({"spread": [{"topology": "Rack", "maxSkew": 0}]}),
                "spec.placement.spread[0].maxSkew",
            ),
            (
                "/spec/placement",
                json!({"requiredFacts": [{"key": "cores", "operator": "Gt", "values": ["a"]}]}),
                "spec.placement.requiredFacts[0].values",
            ),
            (
                "/spec/placement",
                json!({"tolerations": [{"operator": "Equal"}]}),
                "spec.placement.tolerations[0].key",
            ),
        ];
        for (at, value, field) in cases {
            let (parent, last) = at.rsplit_once('/').unwrap();
            let refused = admit(|workload| {
                workload.pointer_mut(parent).unwrap()[last] = value.clone();
            });
            assert_eq!(refused.unwrap_err(), [field], "{at}: {value}");
        }
    }
}
