//! What must hold of a policy or binding that is written, beyond what its own fields say: its expressions
//! can work, and its writer may read what they will.

use crate::{
    authorize::{Ask, Policy},
    identity::Caller,
    status::ApiError,
};
use quarterdeck_model::{
    Kind as _, KindRef, kinds,
    kinds::{
        ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        admission_policy::{ParamKind, ParamRef},
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
        let errors = policy::check(&written.spec);
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
        && let Some(params) = &written.spec.param_ref
        && let Some(policy) =
            world.get(ValidatingAdmissionPolicy::info(), "", &written.spec.policy_name)
        && let Ok(policy) = policy.decode::<ValidatingAdmissionPolicy>()
        && let Some(of) = &policy.spec.param_kind
        && !may_read(rights, caller, of, Some(params))
    {
        let why = format!(
            "user {:?} must have \"get\" permission on the object referenced by paramRef",
            caller.user
        );
        return Err(ApiError::forbidden_field(kind, name, "spec.paramRef", &why));
    }
    Ok(())
}

fn may_read(rights: &Policy, caller: &Caller, of: &ParamKind, only: Option<&ParamRef>) -> bool {
    // One that is not there was refused, or has nothing to read.
    let Some(kind) = kinds::by_kind(&of.api_version, &of.kind) else { return true };
    let text = |it: fn(&ParamRef) -> &Option<String>| {
        only.and_then(|only| it(only).as_deref()).unwrap_or_default()
    };
    let ask = Ask::Resource {
        verb: "get",
        group: kind.group,
        resource: kind.plural,
        subresource: "",
        namespace: text(|only| &only.namespace),
        name: text(|only| &only.name),
    };
    rights.may(caller, &ask)
}
