//! What must hold of a policy or binding that is written, beyond what its own fields say: its expressions
//! can work, and its writer may read what they will.

use super::TOKEN;
use crate::{
    authorize::{Ask, Policy},
    identity::Caller,
    path::Subresource,
    status::ApiError,
};
use quarterdeck_model::{
    FieldError, FieldErrors, Kind as _, KindRef, kinds,
    kinds::{
        ServiceAccount, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        admission_policy::{MatchResources, ParamKind, ParamRef},
    },
};
use quarterdeck_runbook::policy;
use quarterdeck_store::World;
use serde::Deserialize as _;
use serde_json::Value;

/// Checks an object that is a policy or a binding.
pub(crate) fn check(
    rights: &Policy,
    caller: &Caller,
    (world, kind): (&World, KindRef),
    new: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if old.is_some_and(|old| old.get("spec") == new.get("spec")) {
        return Ok(());
    }
    let name = new.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if kind == ValidatingAdmissionPolicy::info()
        && let Ok(written) = ValidatingAdmissionPolicy::deserialize(new)
    {
        let mut errors = policy::check(&written.spec);
        let constraints = written.spec.match_constraints.as_ref();
        errors.extend(constraints.into_iter().flat_map(|it| parts(it, "spec.matchConstraints")));
        if !errors.is_empty() {
            return Err(ApiError::invalid(kind, name, &errors));
        }
        if let Some(params) = &written.spec.param_kind
            && !may_read(rights, caller, params, None)
        {
            let ParamKind { api_version, kind: of } = params;
            let why = format!(
                "user {:?} must have \"get\" permission on all objects of the paramKind \
                 ({api_version}, Kind={of}): what is in them shows in what the policy says",
                caller.user
            );
            return Err(ApiError::forbidden_field(kind, name, "spec.paramKind", &why));
        }
    }
    if kind == ValidatingAdmissionPolicyBinding::info()
        && let Ok(written) = ValidatingAdmissionPolicyBinding::deserialize(new)
    {
        let matched = written.spec.match_resources.as_ref();
        let errors: FieldErrors =
            matched.into_iter().flat_map(|it| parts(it, "spec.matchResources")).collect();
        if !errors.is_empty() {
            return Err(ApiError::invalid(kind, name, &errors));
        }
        if let Some(params) = &written.spec.param_ref {
            let policy = ValidatingAdmissionPolicy::info();
            let policy = world.get(policy, "", &written.spec.policy_name);
            let policy =
                policy.and_then(|policy| policy.decode::<ValidatingAdmissionPolicy>().ok());
            let (may, what) = match policy.map(|policy| policy.spec.param_kind) {
                // Whoever writes the policy later says what its parameters are.
                None => (
                    rights.may(caller, &get("*", "*", None)),
                    "all resources, since the policy that says of what kind parameters are does not exist yet",
                ),
                // It has no parameters.
                Some(None) => return Ok(()),
                Some(Some(of)) => (
                    may_read(rights, caller, &of, Some(params)),
                    "the object referenced by paramRef",
                ),
            };
            if !may {
                let why = format!("user {:?} must have \"get\" permission on {what}", caller.user);
                return Err(ApiError::forbidden_field(kind, name, "spec.paramRef", &why));
            }
        }
    }
    Ok(())
}

/// Refuses rules that name a part whose writes are not judged: they would protect nothing, silently.
fn parts<'a>(
    constraints: &'a MatchResources,
    field: &'a str,
) -> impl Iterator<Item = FieldError> + 'a {
    let judged = |plural: &str, part: &str| match part {
        TOKEN => ["*", ServiceAccount::info().plural].contains(&plural),
        part => ["", "*", Subresource::Status.name(), Subresource::Scale.name()].contains(&part),
    };
    constraints.resource_rules.iter().enumerate().flat_map(move |(rule, resources)| {
        let named = resources.resources.iter().enumerate();
        named.filter_map(move |(at, given)| {
            let (plural, part) = given.split_once('/')?;
            let why = "only objects (RESOURCE), their status (RESOURCE/status) and scale (RESOURCE/scale), and serviceaccounts/token are judged here";
            let field = format!("{field}.resourceRules[{rule}].resources[{at}]");
            (!judged(plural, part)).then(|| FieldError::invalid(field, format!("{given:?}"), why))
        })
    })
}

fn may_read(rights: &Policy, caller: &Caller, of: &ParamKind, only: Option<&ParamRef>) -> bool {
    // One that is not there was refused, or has nothing to read.
    let Some(kind) = kinds::by_kind(&of.api_version, &of.kind) else { return true };
    rights.may(caller, &get(kind.group, kind.plural, only))
}

fn get<'a>(group: &'a str, resource: &'a str, only: Option<&'a ParamRef>) -> Ask<'a> {
    let text = |it: fn(&ParamRef) -> &Option<String>| {
        only.and_then(|only| it(only).as_deref()).unwrap_or_default()
    };
    Ask::Resource {
        verb: "get",
        group,
        resource,
        subresource: "",
        namespace: text(|only| &only.namespace),
        name: text(|only| &only.name),
    }
}
