//! Campaign: a runbook over many targets, a few at a time. Its targets are not listed in it: each has a Run.

use super::{Approval, ObjectSelector, RackSpec, Resource, V1ALPHA1, WORKFLOWS};
use crate::{
    Column, ColumnType, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time,
    kind_info, share::Share, validate,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A runbook over many targets.
pub type Campaign = Resource<CampaignSpec, CampaignStatus>;

/// Most runs of one campaign in work at once.
const CONCURRENCY_MAX: u32 = 1_000;
/// Most times that a target is tried again.
const RETRIES_MAX: u32 = 100;

/// What is wanted of a campaign.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CampaignSpec {
    /// Name of the Runbook.
    pub runbook: String,
    /// What it is run on.
    pub targets: CampaignTargets,
    /// Values of the runbook's parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "anything")]
    pub params: Map<String, Value>,
    /// How many targets are tried before all others, each in another failure domain as far as there are. One,
    /// when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Share>,
    /// The place that is done as one: targets of few of these are in work at once.
    #[serde(default)]
    pub failure_domain: FailureDomain,
    /// In how many failure domains targets are in work at once.
    #[serde(default = "domains_at_once")]
    pub domains_at_once: u32,
    /// Most runs in work at once, those that wait for the ledger among them.
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    /// Starts no further run when more targets than this have failed. Five of a hundred, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_limit: Option<Share>,
    /// Goes on although so many targets have failed, whatever `failureLimit` says: raise it to go on after
    /// the campaign has paused itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub accepted_failures: u32,
    /// How often a target that failed is tried again, in all: raise it to try those that failed once more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Starts no further run until this is false again. Created with it, a campaign only shows its plan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Ends the campaign: what runs is cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
    /// Who asked for it, as the plane knows them. The plane writes it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// Decisions on the disruption by all of its runs, as `approvals` of a Run without a step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
}

/// What a campaign is run on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CampaignTargets {
    /// Kind of the targets, such as `Server`.
    pub kind: String,
    /// Labels they have.
    pub selector: ObjectSelector,
}

/// The place that is done as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailureDomain {
    /// The rack that a server stands in.
    #[default]
    Rack,
    /// The row that this stands in.
    Row,
    /// The hall of that.
    Hall,
    /// The site of that.
    Site,
    /// The power feeds that a server's rack hangs on: racks on the same ones are one.
    PowerFeed,
    /// All targets are one.
    None,
}

impl FailureDomain {
    /// The domain of what stands in a rack, named as no other domain is; nothing when that is not known.
    pub fn of(self, name: &str, rack: Option<&RackSpec>) -> String {
        let Some(rack) = rack else {
            return if self == Self::Rack { name.to_owned() } else { String::new() };
        };
        let (site, hall) = (&rack.site, rack.hall.as_deref().unwrap_or_default());
        match self {
            Self::Rack => name.to_owned(),
            Self::Row => format!("{site}/{hall}/{}", rack.row.as_deref().unwrap_or_default()),
            Self::Hall => format!("{site}/{hall}"),
            Self::Site => site.clone(),
            Self::PowerFeed => {
                let mut feeds = rack.power_feeds.clone();
                feeds.sort();
                format!("{site}/{}", feeds.join("+"))
            }
            Self::None => String::new(),
        }
    }

    /// Of how many of them targets are in work at once, when that many are wanted.
    pub fn at_once(self, wanted: u32) -> usize {
        match self {
            Self::None => usize::MAX,
            _ => usize::try_from(wanted).unwrap_or(usize::MAX),
        }
    }
}

fn domains_at_once() -> u32 {
    10
}

fn concurrency() -> u32 {
    100
}

impl CampaignSpec {
    /// How many of so many targets are tried first.
    pub fn canaries(&self, targets: u32) -> u32 {
        self.canary.unwrap_or(Share::Count(1)).of(targets)
    }

    /// How many of so many targets may have failed.
    pub fn failures(&self, targets: u32) -> u32 {
        self.failure_limit.unwrap_or(Share::Percent(5)).of(targets).max(self.accepted_failures)
    }

    /// What is wrong with it, wherever it is written.
    pub(super) fn validate(&self, path: &str, errors: &mut FieldErrors) {
        if self.runbook.is_empty() {
            errors.push(FieldError::required(
                format!("{path}.runbook"),
                "name the Runbook to execute",
            ));
        }
        if self.targets.kind.is_empty() {
            errors.push(FieldError::required(
                format!("{path}.targets.kind"),
                "name the kind of the targets",
            ));
        }
        self.targets.selector.validate(&format!("{path}.targets.selector"), errors);
        if self.targets.selector == ObjectSelector::default() {
            let why =
                "select targets by their labels; a campaign over everything is hardly ever meant";
            errors.push(FieldError::required(format!("{path}.targets.selector"), why));
        }
        for (field, number, most) in [
            ("concurrency", self.concurrency, CONCURRENCY_MAX),
            ("domainsAtOnce", self.domains_at_once, CONCURRENCY_MAX),
        ] {
            if number == 0 || number > most {
                let why = format!("must be between 1 and {most}");
                errors.push(FieldError::invalid(format!("{path}.{field}"), number, why));
            }
        }
        if self.approvals.len() > super::run::APPROVALS_MAX {
            let (field, count) = (format!("{path}.approvals"), self.approvals.len());
            errors.push(FieldError::too_many(field, count, super::run::APPROVALS_MAX));
        }
        if self.retries > RETRIES_MAX {
            let why = format!("must be at most {RETRIES_MAX}");
            errors.push(FieldError::invalid(format!("{path}.retries"), self.retries, why));
        }
    }
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", (crate::schema::PRESERVE): true})
}

/// Where a campaign is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CampaignPhase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// It would begin: the status says how.
    Planned,
    /// The first few targets are tried.
    Canary,
    /// Target after target is done.
    Running,
    /// Starts no further run: it was asked so, or too many failed.
    Paused,
    /// All targets are done.
    Succeeded,
    /// No target is left, and some failed.
    Failed,
    /// Ended because someone asked.
    Cancelled,
}

/// What is seen of a campaign.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CampaignStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is.
    pub phase: CampaignPhase,
    /// What it does, or why it does not, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Targets there are.
    pub targets: u32,
    /// Those not begun.
    pub left: u32,
    /// Those in work.
    pub running: u32,
    /// Those whose run waits for leave of the ledger.
    pub waiting: u32,
    /// Those done.
    pub succeeded: u32,
    /// Those that failed, and are not tried again.
    pub failed: u32,
    /// Done and failed of all, such as `120/40000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Targets that are tried first; not more than are worth reading.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub canaries: Vec<String>,
    /// Failure domains that the targets are in.
    pub domains: u32,
    /// For whom it waits, the most first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub waits_for: Vec<CampaignGroup>,
    /// Why targets failed, the most first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub failures: Vec<CampaignGroup>,
    /// How it would go; only in the answer to a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<CampaignPlan>,
    /// When its first run was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it is over if it goes on as until now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_end: Option<Time>,
    /// When no target was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How a campaign would go, as far as is worth reading: `quarterdeck campaign plan` shows all of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CampaignPlan {
    /// The first waves: targets that are begun together, if each run takes as long as the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub waves: Vec<CampaignWave>,
    /// How many waves there are in all.
    pub waves_in_all: u32,
    /// What is in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub blockers: Vec<CampaignBlocker>,
    /// Seconds that a run of the runbook took until now, in the middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_seconds: Option<i64>,
    /// Seconds that all would take, without what is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_seconds: Option<i64>,
}

/// Targets that are begun together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CampaignWave {
    /// From 1.
    pub number: u32,
    /// These are tried before all others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    /// How many targets it has.
    pub targets: u32,
    /// The first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub names: Vec<String>,
    /// The first of the failure domains that they are in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub failure_domains: Vec<String>,
}

/// What stands in the way of targets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CampaignBlocker {
    /// Who or what, such as `freeze/peak` or `service/shop/web`.
    pub who: String,
    /// Targets concerned.
    pub targets: u32,
    /// Nothing of them goes on as things are now; else they only go slower.
    pub blocks: bool,
    /// When it gives way, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// What it is, and what can be done.
    pub message: String,
}

/// Targets that have something in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CampaignGroup {
    /// What they have in common.
    pub reason: String,
    /// How many they are.
    pub targets: u32,
    /// The run of one of them.
    pub example: String,
}

impl CampaignPhase {
    /// No further run is started, unless something else is asked of it.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl Kind for Campaign {
    const GROUP: &'static str = WORKFLOWS;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Campaign";
    const PLURAL: &'static str = "campaigns";
    const SINGULAR: &'static str = "campaign";
    const SHORT_NAMES: &'static [&'static str] = &["camp"];
    const SCOPE: Scope = Scope::Namespaced;
    const COLUMNS: &'static [Column] = &[
        Column::new("Runbook", "spec.runbook", "What is executed"),
        Column::new("Phase", "status.phase", "Where it is"),
        Column::new("Progress", "status.progress", "Targets done and failed, of all"),
        Column::new("Running", "status.running", "Targets in work").of(ColumnType::Integer),
        Column::new("Waiting", "status.waiting", "Runs that wait for the ledger")
            .of(ColumnType::Integer),
        Column::new("Failed", "status.failed", "Targets that failed").of(ColumnType::Integer),
        Column::new("End", "status.expectedEnd", "When it is over if it goes on so").wide(),
        Column::new("Message", "status.message", "What it does, or why it does not").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] =
        &["spec.runbook", "spec.targets.kind", "status.phase"];
    const DESCRIPTION: &'static str = "Campaign is a runbook over many targets: a few first, then place by place, as many at once as the ledger permits.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        // Its runs carry its name as a label.
        if let Err(why) = validate::label_value(&self.metadata.name) {
            let name = format!("{:?}", self.metadata.name);
            errors.push(FieldError::invalid("metadata.name", name, why));
        }
        spec.validate("spec", errors);
        if let Some(old) = old {
            let fixed = [
                ("spec.runbook", spec.runbook == old.spec.runbook),
                ("spec.targets", spec.targets == old.spec.targets),
                ("spec.params", spec.params == old.spec.params),
            ];
            for (field, _) in fixed.into_iter().filter(|(_, same)| !same) {
                let why = "cannot change once the campaign exists; create another one";
                errors.push(FieldError::forbidden(field, why));
            }
            if old.spec.cancel && !spec.cancel {
                let why = "a campaign that was cancelled cannot be called back; create another one";
                errors.push(FieldError::forbidden("spec.cancel", why));
            }
        }
    }

    kind_info!(Campaign);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rack_is_in_one_domain_of_each_sort() {
        let text = |text: &str| Some(text.to_owned());
        let rack = RackSpec {
            site: "fra1".into(),
            hall: text("north"),
            row: text("3"),
            power_feeds: vec!["B".into(), "A".into()],
            ..RackSpec::default()
        };
        for (domain, wanted) in [
            (FailureDomain::Rack, "r-1"),
            (FailureDomain::Row, "fra1/north/3"),
            (FailureDomain::Hall, "fra1/north"),
            (FailureDomain::Site, "fra1"),
            (FailureDomain::PowerFeed, "fra1/A+B"),
            (FailureDomain::None, ""),
        ] {
            assert_eq!(domain.of("r-1", Some(&rack)), wanted);
        }
        assert_eq!(FailureDomain::Rack.of("r-1", None), "r-1", "a rack that nobody declared");
        assert_eq!(FailureDomain::Hall.of("r-1", None), "");
    }
}
