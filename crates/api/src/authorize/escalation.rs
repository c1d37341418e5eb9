//! Nobody grants what they do not hold: what is checked when roles and bindings are written. Pure.
//! Source: Kubernetes "Using RBAC Authorization", "Privilege escalation prevention and bootstrapping".

use super::{Ask, Policy, rule};
use crate::{identity::Caller, status::ApiError};
use quarterdeck_model::{
    Kind as _, KindRef,
    kinds::{ClusterRole, PolicyRule, RBAC, Role, rbac::RoleRef},
};
use serde::Deserialize as _;
use serde_json::Value;

/// What is written, and where.
struct Written<'a> {
    kind: KindRef,
    namespace: &'a str,
    name: &'a str,
}

/// Refuses a role or binding that grants more than its writer holds, unless the writer may
/// `escalate` or `bind`.
pub(super) fn check(
    policy: &Policy,
    caller: &Caller,
    kind: KindRef,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if kind.group != RBAC || old.is_some_and(|old| same_but_links(old, new)) {
        return Ok(());
    }
    let text = |path: &str| new.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let written =
        Written { kind, namespace: text("/metadata/namespace"), name: text("/metadata/name") };
    match new.get("roleRef").map(RoleRef::deserialize) {
        Some(Ok(role)) => binding(policy, caller, &written, &role),
        _ => role(policy, caller, &written, new, old),
    }
}

/// Whether only what garbage collection writes differs.
fn same_but_links(old: &Value, new: &Value) -> bool {
    let bare = |value: &Value| {
        let mut value = value.clone();
        if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for link in ["ownerReferences", "finalizers", "managedFields", "generation"] {
                meta.remove(link);
            }
        }
        value
    };
    bare(old) == bare(new)
}

fn role(
    policy: &Policy,
    caller: &Caller,
    written: &Written<'_>,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let Written { kind, namespace, name } = *written;
    let ask = Ask::Resource {
        verb: "escalate",
        group: RBAC,
        resource: kind.plural,
        subresource: "",
        namespace,
        name,
    };
    if policy.may(caller, &ask) {
        return Ok(());
    }
    let rules = new.get("rules").map(Vec::<PolicyRule>::deserialize);
    let rules = rules.and_then(Result::ok).unwrap_or_default();
    confirm(policy, caller, written, &rules)?;
    // What is gathered later can be anything.
    let gathers = |value: &Value| value.get("aggregationRule").is_some_and(|rule| !rule.is_null());
    if gathers(new) || old.is_some_and(gathers) {
        let everything = |rule: PolicyRule| PolicyRule { verbs: vec!["*".into()], ..rule };
        let all = || vec!["*".to_owned()];
        let authority = [
            everything(PolicyRule { api_groups: all(), resources: all(), ..Default::default() }),
            everything(PolicyRule { non_resource_urls: all(), ..Default::default() }),
        ];
        confirm(policy, caller, written, &authority).map_err(|_| {
            let why = "must have cluster-admin privileges to use an aggregationRule";
            ApiError::forbidden_resource(kind.group, kind.plural, name, why)
        })?;
    }
    Ok(())
}

fn binding(
    policy: &Policy,
    caller: &Caller,
    written: &Written<'_>,
    role: &RoleRef,
) -> Result<(), ApiError> {
    let kind = if role.kind == "Role" { Role::info() } else { ClusterRole::info() };
    let ask = Ask::Resource {
        verb: "bind",
        group: RBAC,
        resource: kind.plural,
        subresource: "",
        namespace: written.namespace,
        name: &role.name,
    };
    if policy.may(caller, &ask) {
        return Ok(());
    }
    let rules = policy
        .rules_of(role, written.namespace)
        .ok_or_else(|| ApiError::not_found(kind, &role.name))?;
    confirm(policy, caller, written, rules)
}

/// Refuses unless the caller holds all of `rules` where they are granted.
fn confirm(
    policy: &Policy,
    caller: &Caller,
    written: &Written<'_>,
    rules: &[PolicyRule],
) -> Result<(), ApiError> {
    let refuse = |why: &str| {
        let Written { kind, name, .. } = written;
        ApiError::forbidden_resource(kind.group, kind.plural, name, why)
    };
    let (held, unresolved) = policy.held(caller, written.namespace);
    let missing = rule::missing(&held, rules).map_err(|_| {
        refuse(
            "its rules make too many single rights to compare with those of its writer; write \
             them as several roles, or with *, or hold the verb escalate",
        )
    })?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        caller.user,
        rule::list(&caller.groups),
        rule::text(&missing),
    );
    if !unresolved.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", unresolved.join(", ")));
    }
    Err(refuse(&why))
}
