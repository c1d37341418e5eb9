//! Acting as somebody else, by header, for callers who may. Pure.
//! Source: Kubernetes "User impersonation".

use super::{Ask, Policy, refusal};
use crate::{
    agents::is_agent,
    identity::{AUTHENTICATED, Caller, UNAUTHENTICATED, service_account, service_account_groups},
    status::ApiError,
};
use http::HeaderMap;
use std::collections::BTreeMap;

const EXTRA: &str = "impersonate-extra-";
/// Most groups or extra values that are looked at: each is a decision.
const VALUES_MAX: usize = 256;

/// The caller that a request acts as, when it asks to act as another.
pub(crate) fn assume(
    policy: &Policy,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Option<Caller>, ApiError> {
    let Some(wanted) = requested(headers)? else { return Ok(None) };
    // RBAC is not asked about agents, and here nobody has looked yet whether the certificate still counts.
    if is_agent(caller) {
        return Err(ApiError::forbidden(format!(
            "user {:?} is the agent of a machine, which acts as nobody else; leave the Impersonate headers out",
            caller.user
        )));
    }
    let allow = |group, resource, subresource, namespace, name: &str| {
        let verb = "impersonate";
        let ask = Ask::Resource { verb, group, resource, subresource, namespace, name };
        match policy.decide(caller, &ask) {
            decision if decision.allowed() => Ok(()),
            decision => Err(refusal(caller, &ask, &decision.reason())),
        }
    };
    match service_account(&wanted.user) {
        Some((namespace, name)) => allow("", "serviceaccounts", "", namespace, name)?,
        None => allow("", "users", "", "", &wanted.user)?,
    }
    for group in &wanted.groups {
        allow("", "groups", "", "", group)?;
    }
    const AUTHENTICATION: &str = "authentication.k8s.io";
    for (key, values) in &wanted.extra {
        for value in values {
            allow(AUTHENTICATION, "userextras", key, "", value)?;
        }
    }
    if let Some(uid) = &wanted.uid {
        allow(AUTHENTICATION, "uids", "", "", uid)?;
    }
    Ok(Some(complete(wanted)))
}

/// What the headers ask for.
fn requested(headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
    let text = |value: &http::HeaderValue| {
        value.to_str().map(ToOwned::to_owned).map_err(|_| {
            ApiError::bad_request("Impersonate headers must be plain text without control letters")
        })
    };
    let one = |name: &str| headers.get(name).map(text).transpose();
    let user = one("impersonate-user")?.unwrap_or_default();
    let groups: Vec<String> =
        headers.get_all("impersonate-group").iter().map(text).collect::<Result<_, _>>()?;
    let uid = one("impersonate-uid")?.filter(|uid| !uid.is_empty());
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut count = groups.len();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let key = crate::path::percent_decode(key).map_or_else(|| key.into(), Into::into);
            extra.entry(key).or_default().push(text(value)?);
            count += 1;
        }
    }
    if count > VALUES_MAX {
        return Err(ApiError::bad_request(format!(
            "more than {VALUES_MAX} groups and extra values cannot be impersonated at once"
        )));
    }
    match (user.is_empty(), groups.is_empty() && uid.is_none() && extra.is_empty()) {
        (true, true) => Ok(None),
        (true, false) => Err(ApiError::bad_request(
            "requested to impersonate groups, a uid or extra values without impersonating a user",
        )),
        (false, _) => Ok(Some(Caller { user, uid, groups, extra })),
    }
}

/// Adds the groups that everybody is in.
fn complete(mut caller: Caller) -> Caller {
    if let Some((namespace, _)) = service_account(&caller.user)
        && caller.groups.is_empty()
    {
        caller.groups = service_account_groups(namespace);
    }
    let nobody = caller.user == Caller::anonymous().user;
    let has = |group: &str| caller.groups.iter().any(|own| own == group);
    if !has(AUTHENTICATED) && !has(UNAUTHENTICATED) {
        caller.groups.push(if nobody { UNAUTHENTICATED } else { AUTHENTICATED }.into());
    }
    caller
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_who() {
        let of = |headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            requested(&map)
        };
        assert!(of(&[("accept", "x")]).unwrap().is_none());
        assert_eq!(of(&[("impersonate-group", "a")]).unwrap_err().code, 400);
        let jane = of(&[
            ("impersonate-user", "jane"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2Fscopes", "x"),
        ]);
        let jane = complete(jane.unwrap().unwrap());
        assert_eq!(jane.groups, ["a", "b", AUTHENTICATED]);
        assert_eq!(jane.uid.as_deref(), Some("7"));
        assert_eq!(jane.extra["acme.com/scopes"], ["x"]);
        let robot = of(&[("impersonate-user", "system:serviceaccount:ns:bot")]);
        assert_eq!(
            complete(robot.unwrap().unwrap()).groups,
            ["system:serviceaccounts", "system:serviceaccounts:ns", AUTHENTICATED]
        );
        let nobody = of(&[("impersonate-user", "system:anonymous")]);
        assert_eq!(complete(nobody.unwrap().unwrap()).groups, [UNAUTHENTICATED]);
    }
}
