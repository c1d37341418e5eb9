//! Which writes the rules of a policy, and those of its binding, are about. Pure.

use super::{
    index::Bound,
    request::{Attempt, Doing},
};
use quarterdeck_model::{
    KindRef,
    kinds::{
        ObjectSelector,
        admission_policy::{MatchResources, Operation, ResourceRule, RuleScope},
    },
};
use serde_json::Value;

/// Whether any write of this sort can be meant.
pub(super) fn may_be_meant(bound: &Bound, kind: KindRef, part: &str, doing: Doing) -> bool {
    bound.constraints().all(|constraints| {
        let rules = &constraints.resource_rules;
        rules.is_empty() || rules.iter().any(|rule| sort(rule, kind, part, doing))
    })
}

/// Whether a rule is about writes of this sort, whatever their names.
fn sort(rule: &ResourceRule, kind: KindRef, part: &str, doing: Doing) -> bool {
    let is = |given: &[String], wanted: &str| given.iter().any(|one| one == "*" || one == wanted);
    let operation = match doing {
        Doing::Create => Operation::Create,
        Doing::Update => Operation::Update,
        Doing::Delete => Operation::Delete,
    };
    let scope = match rule.scope {
        None | Some(RuleScope::All) => true,
        Some(RuleScope::Cluster) => !kind.namespaced(),
        Some(RuleScope::Namespaced) => kind.namespaced(),
    };
    let resource = |given: &String| {
        let (plural, of) = given.split_once('/').unwrap_or((given, ""));
        (plural == "*" || plural == kind.plural) && (of == part || of == "*")
    };
    scope
        && rule.operations.iter().any(|one| *one == Operation::All || *one == operation)
        && is(&rule.api_groups, kind.group)
        && is(&rule.api_versions, kind.version)
        && rule.resources.iter().any(resource)
}

/// Whether a write is meant.
pub(super) fn matches(
    constraints: &MatchResources,
    attempt: &Attempt<'_>,
    namespace: Option<&Value>,
) -> bool {
    let Attempt { kind, part, doing, name, .. } = *attempt;
    let meant = |rule: &ResourceRule| {
        let names = &rule.resource_names;
        (names.is_empty() || names.iter().any(|one| one == name)) && sort(rule, kind, part, doing)
    };
    let rules = &constraints.resource_rules;
    (rules.is_empty() || rules.iter().any(meant))
        && !constraints.exclude_resource_rules.iter().any(meant)
        // What is in no namespace is not left out by its labels.
        && namespace.is_none_or(|namespace| selects(&constraints.namespace_selector, &[namespace]))
        && selects(&constraints.object_selector, &attempt.objects())
}

/// Whether one of the objects has the labels; without any wanted, all have.
fn selects(selector: &Option<ObjectSelector>, objects: &[&Value]) -> bool {
    let Some(selector) = selector.as_ref().filter(|it| **it != ObjectSelector::default()) else {
        return true;
    };
    // An operator that is not known was refused when it was written.
    let Some(selector) = selector.selector() else { return false };
    objects.iter().any(|object| {
        let labels = object.pointer("/metadata/labels");
        selector.matches_labels(|name| labels.and_then(|all| all.get(name)).and_then(Value::as_str))
    })
}
