//! ImpactReport: what breaks if these go? It is asked, and answered at once, as a SubjectAccessReview is; nothing is stored.

use super::{Resource, RunTarget, SERVICES, V1ALPHA1};
use crate::{FieldError, FieldErrors, Kind, ObjectMeta, Scope, kind_info};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What breaks if these go?
pub type ImpactReport = Resource<ImpactReportSpec, ImpactReportStatus>;

/// Most objects that are asked about at once.
const TARGETS_MAX: usize = 100;
/// Kinds that may be asked about.
const KINDS: [&str; 5] = ["Site", "Rack", "Server", "Machine", "Instance"];

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImpactReportSpec {
    /// What goes, all at once.
    pub targets: Vec<ImpactTarget>,
}

/// One thing that goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImpactTarget {
    /// Its namespace, of a Machine or an Instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What it is: a Site or a part of one, a Rack, a Server, a Machine or an Instance.
    #[serde(flatten)]
    pub target: RunTarget,
}

/// What becomes of a service, the least first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ImpactVerdict {
    /// It loses something, and has as many instances as its budget asks for.
    WithinBudget,
    /// Something that it uses is hit, and it does less.
    Degraded,
    /// It has fewer instances than its budget asks for.
    UnderBudget,
    /// It has no instance left, or something is down that it cannot be without.
    Down,
}

/// What becomes of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImpactedService {
    /// `namespace/name` of the Service.
    pub service: String,
    /// What becomes of it.
    pub verdict: ImpactVerdict,
    /// Why, as a sentence.
    pub why: String,
    /// Instances that there are, or are to be.
    pub instances: u32,
    /// Of those that are up, how many are lost.
    pub lost: u32,
    /// How many are up afterwards.
    pub left: u32,
    /// How many must be up, by its budget.
    pub needed: u32,
    /// The service through which it is hit, when that is not by what it loses itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// Who owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How its owner is reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// How critical it is, 1 most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
}

/// What is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImpactReportStatus {
    /// Servers that go.
    pub servers: u32,
    /// Instances that go with them.
    pub instances: u32,
    /// The worst that becomes of any service; none when no service is hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ImpactVerdict>,
    /// Services that are hit.
    pub services_hit: u32,
    /// What becomes of them, the worst first; the first few hundred.
    pub services: Vec<ImpactedService>,
}

impl Kind for ImpactReport {
    const GROUP: &'static str = SERVICES;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "ImpactReport";
    const PLURAL: &'static str = "impactreports";
    const SINGULAR: &'static str = "impactreport";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Cluster;
    const STATUS: bool = false;
    const COLUMNS: &'static [crate::Column] = &[];
    const INDEXED_FIELDS: &'static [&'static str] = &[];
    const DESCRIPTION: &'static str = "ImpactReport says what breaks if something goes. It is created to be answered, and not stored.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let targets = &self.spec.targets;
        if targets.is_empty() {
            let why = "name at least one, such as {kind: Rack, name: r-17}";
            errors.push(FieldError::required("spec.targets", why));
        }
        if targets.len() > TARGETS_MAX {
            errors.push(FieldError::too_many("spec.targets", targets.len(), TARGETS_MAX));
        }
        for (at, ImpactTarget { namespace, target }) in targets.iter().take(TARGETS_MAX).enumerate()
        {
            let path = format!("spec.targets[{at}]");
            if !KINDS.contains(&target.kind.as_str()) {
                let kind = format!("{:?}", target.kind);
                errors.push(FieldError::not_supported(format!("{path}.kind"), kind, &KINDS));
                continue;
            }
            target.validate(&path, errors);
            let namespaced = ["Machine", "Instance"].contains(&target.kind.as_str());
            match (namespaced, namespace.as_deref().unwrap_or_default()) {
                (true, "") => {
                    let why = format!("say in which namespace the {} is", target.kind);
                    errors.push(FieldError::required(format!("{path}.namespace"), why));
                }
                (false, name) if !name.is_empty() => {
                    let why = format!("a {} is in no namespace", target.kind);
                    errors.push(FieldError::forbidden(format!("{path}.namespace"), why));
                }
                _ => {}
            }
        }
    }

    kind_info!(ImpactReport);
}
