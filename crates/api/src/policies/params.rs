//! The objects that hold a policy's parameters.

use super::{
    index::{Binding, Compiled},
    request::Attempt,
};
use quarterdeck_model::{
    FieldSelector, kinds,
    kinds::admission_policy::{ParamKind, ParameterNotFoundAction},
};
use quarterdeck_store::{ListQuery, World};
use serde_json::Value;

/// Most objects that one binding refers to: the policy is evaluated with each.
const PARAMS_MAX: usize = 100;

/// Those a binding refers to, each to be met; one that is none when the policy has no parameters. An error
/// says why they are not there.
pub(super) fn of(
    world: &World,
    policy: &Compiled,
    binding: &Binding,
    attempt: &Attempt<'_>,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(ParamKind { api_version, kind }), Some(wanted)) =
        (&policy.spec.param_kind, &binding.spec.param_ref)
    else {
        return Ok(vec![None]);
    };
    let Some(found) = kinds::by_kind(api_version, kind) else {
        return Err(format!("there is no kind {kind} in {api_version}"));
    };
    let given = wanted.namespace.as_deref().unwrap_or_default();
    let namespace = match (found.namespaced(), given, attempt.namespace) {
        (false, "", _) => None,
        (false, ..) => {
            return Err(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into()
            );
        }
        (true, "", "") => {
            return Err("cannot use namespaced paramRef in policy binding that matches \
                        cluster-scoped resources"
                .into());
        }
        (true, "", of_the_object) => Some(of_the_object),
        (true, given, _) => Some(given),
    };
    let params: Vec<Option<Value>> = match (&wanted.name, &wanted.selector) {
        (Some(name), _) => {
            let object = world.get(found, namespace.unwrap_or_default(), name);
            object.map(|object| Some(object.value())).into_iter().collect()
        }
        (None, selector) => {
            let labels = selector.as_ref().and_then(kinds::ObjectSelector::selector);
            let page = world.list(&ListQuery {
                kind: found,
                namespace,
                labels: &labels.unwrap_or_default(),
                fields: &FieldSelector::default(),
                after: None,
                limit: Some(PARAMS_MAX),
            });
            if page.more {
                return Err(format!("more than {PARAMS_MAX} objects are selected as parameters"));
            }
            page.items.iter().map(|object| Some(object.value())).collect()
        }
    };
    if params.is_empty()
        && wanted.parameter_not_found_action != Some(ParameterNotFoundAction::Allow)
    {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(params)
}
