//! Where copies of a workload may run: what machines keep away, what copies put up with, and what is spread over which
//! places. The words are Kubernetes' own, but for places: a fleet has more of them than labels.

use super::{
    ObjectSelector,
    workload_clusters::{self, WorkloadCluster},
};
use crate::{FieldError, FieldErrors, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most taints of a machine, tolerations, facts wanted, and rules of each sort: what is looked at for each machine.
pub const PLACEMENT_RULES_MAX: usize = 16;
/// Greatest skew that says anything.
const SKEW_MAX: u32 = 10_000;

/// A place that fails as one, from the smallest to the largest.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum TopologyLevel {
    /// The physical machine.
    Server,
    /// The rack it stands in.
    #[default]
    Rack,
    /// The row of that.
    Row,
    /// The hall of that.
    Hall,
    /// The power feeds of that, all of them: racks that share every feed are one place.
    Feed,
    /// The site.
    Site,
}

impl TopologyLevel {
    /// All of them, each at its own number.
    pub const ALL: [Self; 6] =
        [Self::Server, Self::Rack, Self::Row, Self::Hall, Self::Feed, Self::Site];

    /// Its number in [`Self::ALL`].
    pub fn number(self) -> usize {
        self as usize
    }
}

impl fmt::Display for TopologyLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Rack => "rack",
            Self::Row => "row",
            Self::Hall => "hall",
            Self::Feed => "power feed",
            Self::Site => "site",
        })
    }
}

/// What a taint does to those that do not tolerate it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// None is placed there; those that are there stay.
    #[default]
    NoSchedule,
    /// None is placed there, and those that are there move, each once another one is ready elsewhere.
    NoExecute,
}

/// Keeps instances away from a machine (`core/v1` Taint).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    /// What it is about, such as `dedicated`.
    pub key: String,
    /// Of what sort.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it does.
    pub effect: TaintEffect,
}

/// How a toleration compares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Key and value are the same.
    #[default]
    Equal,
    /// The key is the same, or every key when none is given.
    Exists,
}

/// Puts up with taints (`core/v1` Toleration).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Key of the taints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How it compares.
    pub operator: TolerationOperator,
    /// Value of the taints, for `Equal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Effect of the taints; every effect, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

impl Toleration {
    /// Whether it puts up with that taint.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_none_or(|effect| effect == taint.effect);
        let key = match &self.key {
            Some(key) => *key == taint.key,
            None => self.operator == TolerationOperator::Exists,
        };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        effect
            && key
            && (self.operator == TolerationOperator::Exists
                || text(&self.value) == text(&taint.value))
    }
}

/// How a fact is compared (`core/v1` NodeSelectorOperator).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FactOperator {
    /// It is one of the values.
    #[default]
    In,
    /// It is none of the values, or not known.
    NotIn,
    /// It is known.
    Exists,
    /// It is not known.
    DoesNotExist,
    /// It is a number greater than the one value.
    Gt,
    /// It is a number less than the one value.
    Lt,
}

/// One requirement on what a machine's agent reports of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FactRequirement {
    /// Path in `status.facts`, such as `os.id`.
    pub key: String,
    /// How it is compared.
    pub operator: FactOperator,
    /// What it is compared with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl FactRequirement {
    /// Whether a fact, or the want of one, meets it.
    pub fn is_met(&self, fact: Option<&str>) -> bool {
        let number = |text: &str| text.parse::<f64>().ok();
        let compared = || Some((number(fact?)?, number(self.values.first()?)?));
        match self.operator {
            FactOperator::In => fact.is_some_and(|fact| self.values.iter().any(|it| it == fact)),
            FactOperator::NotIn => {
                !fact.is_some_and(|fact| self.values.iter().any(|it| it == fact))
            }
            FactOperator::Exists => fact.is_some(),
            FactOperator::DoesNotExist => fact.is_none(),
            FactOperator::Gt => compared().is_some_and(|(fact, than)| fact > than),
            FactOperator::Lt => compared().is_some_and(|(fact, than)| fact < than),
        }
    }
}

/// Near which workload instances are, or away from which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadAffinity {
    /// Name of a Workload in the same namespace; this one, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// In the same place of this level, or never in the same.
    pub topology: TopologyLevel,
}

/// Over which places instances are spread (`core/v1` TopologySpreadConstraint).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSpread {
    /// The place that fails as one.
    pub topology: TopologyLevel,
    /// How many more instances one place may have than the emptiest one in which some could run. One, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_skew: Option<u32>,
}

impl WorkloadSpread {
    /// How many more instances one place may have than the emptiest.
    pub fn skew(&self) -> u32 {
        self.max_skew.unwrap_or(1)
    }
}

/// On which machines instances may run, or in which clusters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadPlacement {
    /// Clusters of the same namespace that run them, in place of machines; a new revision comes to them in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub clusters: Vec<WorkloadCluster>,
    /// Labels of the machines, of the same namespace; all, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machines: Option<ObjectSelector>,
    /// What must be known of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub required_facts: Vec<FactRequirement>,
    /// Near which workloads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub affinity: Vec<WorkloadAffinity>,
    /// Away from which.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub anti_affinity: Vec<WorkloadAffinity>,
    /// Over which places.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["topology"]))]
    pub spread: Vec<WorkloadSpread>,
    /// Which taints they put up with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
}

impl WorkloadPlacement {
    pub(super) fn validate(&self, path: &str, errors: &mut FieldErrors) {
        workload_clusters::check(self, path, errors);
        if let Some(machines) = &self.machines {
            machines.validate(&format!("{path}.machines"), errors);
        }
        for (field, count) in [
            ("requiredFacts", self.required_facts.len()),
            ("affinity", self.affinity.len()),
            ("antiAffinity", self.anti_affinity.len()),
            ("spread", self.spread.len()),
            ("tolerations", self.tolerations.len()),
        ] {
            if count > PLACEMENT_RULES_MAX {
                let field = format!("{path}.{field}");
                errors.push(FieldError::too_many(field, count, PLACEMENT_RULES_MAX));
            }
        }
        for (at, fact) in self.required_facts.iter().enumerate() {
            let field = format!("{path}.requiredFacts[{at}]");
            if fact.key.is_empty() {
                errors.push(FieldError::required(
                    format!("{field}.key"),
                    "name a fact, such as os.id",
                ));
            }
            let wrong = match (fact.operator, fact.values.as_slice()) {
                (FactOperator::In | FactOperator::NotIn, []) => Some("needs at least one value"),
                (FactOperator::Exists | FactOperator::DoesNotExist, [_, ..]) => {
                    Some("takes no values")
                }
                (FactOperator::Gt | FactOperator::Lt, [one]) if one.parse::<f64>().is_ok() => None,
                (FactOperator::Gt | FactOperator::Lt, _) => Some("needs one value, a number"),
                _ => None,
            };
            if let Some(why) = wrong {
                let values = format!("{:?}", fact.values);
                errors.push(FieldError::invalid(format!("{field}.values"), values, why));
            }
        }
        for (field, rules) in [("affinity", &self.affinity), ("antiAffinity", &self.anti_affinity)]
        {
            for (at, rule) in rules.iter().enumerate() {
                let Some(name) = &rule.workload else { continue };
                if let Err(why) = validate::subdomain(name) {
                    let field = format!("{path}.{field}[{at}].workload");
                    errors.push(FieldError::invalid(field, format!("{name:?}"), why));
                }
            }
        }
        for (at, spread) in self.spread.iter().enumerate() {
            let field = format!("{path}.spread[{at}]");
            if !(1..=SKEW_MAX).contains(&spread.skew()) {
                let why = format!("must be between 1 and {SKEW_MAX}");
                errors.push(FieldError::invalid(format!("{field}.maxSkew"), spread.skew(), why));
            }
            if self.spread.iter().take(at).any(|other| other.topology == spread.topology) {
                let level = format!("\"{:?}\"", spread.topology);
                let why = "is spread over already; say it once";
                errors.push(FieldError::invalid(format!("{field}.topology"), level, why));
            }
        }
        for (at, toleration) in self.tolerations.iter().enumerate() {
            let field = format!("{path}.tolerations[{at}]");
            if toleration.key.is_none() && toleration.operator == TolerationOperator::Equal {
                let why = "name a key, or set operator to Exists to tolerate everything";
                errors.push(FieldError::required(format!("{field}.key"), why));
            }
            if toleration.value.is_some() && toleration.operator == TolerationOperator::Exists {
                let why = "operator Exists takes no value";
                errors.push(FieldError::forbidden(format!("{field}.value"), why));
            }
        }
    }
}

/// Checks the taints of a machine.
pub(super) fn check_taints(taints: &[Taint], path: &str, errors: &mut FieldErrors) {
    if taints.len() > PLACEMENT_RULES_MAX {
        errors.push(FieldError::too_many(path, taints.len(), PLACEMENT_RULES_MAX));
    }
    for (at, taint) in taints.iter().enumerate() {
        if let Err(why) = validate::qualified_name(&taint.key) {
            let key = format!("{:?}", taint.key);
            errors.push(FieldError::invalid(format!("{path}[{at}].key"), key, why));
        }
        if let Some(value) = &taint.value
            && let Err(why) = validate::label_value(value)
        {
            errors.push(FieldError::invalid(
                format!("{path}[{at}].value"),
                format!("{value:?}"),
                why,
            ));
        }
        let same = |other: &&Taint| other.key == taint.key && other.effect == taint.effect;
        if taints.iter().take(at).find(same).is_some() {
            let key = format!("{:?}", taint.key);
            let why = "is said twice with the same effect";
            errors.push(FieldError::invalid(format!("{path}[{at}].key"), key, why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, value: &str, effect: TaintEffect) -> Taint {
        Taint { key: key.into(), value: Some(value.into()), effect }
    }

    #[test]
    fn a_toleration_meets_taints_as_in_kubernetes() {
        use TaintEffect::{NoExecute, NoSchedule};
        use TolerationOperator::{Equal, Exists};
        let tolerates = |key: Option<&str>, operator, value: Option<&str>, effect| Toleration {
            key: key.map(Into::into),
            operator,
            value: value.map(Into::into),
            effect,
        };
        let gpu = taint("gpu", "a100", NoSchedule);
        for (toleration, wanted) in [
            (tolerates(Some("gpu"), Equal, Some("a100"), None), true),
            (tolerates(Some("gpu"), Equal, Some("h100"), None), false),
            (tolerates(Some("gpu"), Equal, None, None), false),
            (tolerates(Some("gpu"), Exists, None, None), true),
            (tolerates(Some("cpu"), Exists, None, None), false),
            (tolerates(None, Exists, None, None), true),
            (tolerates(None, Equal, Some("a100"), None), false),
            (tolerates(Some("gpu"), Exists, None, Some(NoExecute)), false),
            (tolerates(Some("gpu"), Exists, None, Some(NoSchedule)), true),
        ] {
            assert_eq!(toleration.tolerates(&gpu), wanted, "{toleration:?}");
        }
    }

    #[test]
    fn facts_are_compared_as_texts_or_numbers() {
        use FactOperator::{DoesNotExist, Exists, Gt, In, Lt, NotIn};
        for (operator, values, fact, wanted) in [
            (In, vec!["debian"], Some("debian"), true),
            (In, vec!["debian"], None, false),
            (NotIn, vec!["debian"], None, true),
            (NotIn, vec!["debian"], Some("debian"), false),
            (Exists, vec![], Some(""), true),
            (DoesNotExist, vec![], Some(""), false),
            (Gt, vec!["8"], Some("16"), true),
            (Gt, vec!["8"], Some("8"), false),
            (Lt, vec!["8"], Some("7.5"), true),
            (Lt, vec!["8"], Some("many"), false),
        ] {
            let values = values.into_iter().map(Into::into).collect();
            let requirement = FactRequirement { key: "k".into(), operator, values };
            assert_eq!(requirement.is_met(fact), wanted, "{requirement:?} {fact:?}");
        }
    }
}
