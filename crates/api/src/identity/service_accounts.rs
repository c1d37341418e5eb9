//! Tokens of service accounts: what the plane says in them, and when what they say holds. Pure.
//! Source: Kubernetes KEP-1205 "Bound Service Account Tokens"; the claims are those of its API server.

use super::{
    AUTHENTICATED, Caller, Refused,
    authentication::{SignedBy, Verified},
    jose::Claims,
    service_account_groups, service_account_user,
};
use quarterdeck_model::{
    Kind as _, KindRef,
    kinds::{Secret, ServiceAccount},
};
use quarterdeck_store::World;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An object that a token ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) uid: String,
}

/// What a token ends with: its service account, and the Secret it is bound to, if it is.
/// Other things to be bound to are refused when they are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Binding {
    pub(super) namespace: String,
    #[serde(rename = "serviceaccount")]
    pub(super) account: Named,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<Named>,
}

/// A token to be made.
pub(super) struct Wanted<'a> {
    pub(super) issuer: &'a str,
    pub(super) audiences: &'a [String],
    pub(super) binding: &'a Binding,
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) seconds: i64,
    pub(super) id: &'a str,
}

impl Wanted<'_> {
    /// What the token says.
    pub(super) fn claims(&self) -> Value {
        let Self { issuer, audiences, binding, now, seconds, id } = self;
        json!({
            "iss": issuer,
            "sub": service_account_user(&binding.namespace, &binding.account.name),
            "aud": audiences,
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(*seconds),
            "jti": id,
            "kubernetes.io": binding,
        })
    }
}

impl Binding {
    pub(super) fn new(namespace: &str, account: Named, secret: Option<Named>) -> Self {
        Self { namespace: namespace.into(), account, secret }
    }

    /// Whether what the token is bound to is there: the same objects, not others of their names.
    /// What is being deleted is there no more.
    pub(super) fn holds(&self, world: &World) -> Result<(), Refused> {
        let there = |kind: KindRef, what: &Named| {
            world
                .get(kind, &self.namespace, &what.name)
                .is_some_and(|object| object.uid() == what.uid && !object.deleting())
        };
        if !there(ServiceAccount::info(), &self.account) {
            return Err(Refused::new("the service account of the token has been deleted"));
        }
        if self.secret.as_ref().is_some_and(|secret| !there(Secret::info(), secret)) {
            return Err(Refused::new("the Secret that the token is bound to has been deleted"));
        }
        Ok(())
    }
}

/// Whose token it is, from what it says; the signature was verified.
pub(super) fn verified(claims: &Claims, by: SignedBy) -> Result<Verified, Refused> {
    let wrong = || Refused::new("the token is not one of a service account");
    #[derive(Deserialize)]
    struct Own {
        #[serde(rename = "kubernetes.io")]
        binding: Binding,
        jti: String,
        sub: String,
    }
    let Own { binding, jti, sub } = claims.decode().map_err(|_| wrong())?;
    let user = service_account_user(&binding.namespace, &binding.account.name);
    if sub != user {
        return Err(wrong());
    }
    let mut groups = service_account_groups(&binding.namespace);
    groups.push(AUTHENTICATED.into());
    let mut caller = Caller::new(&user, groups).with_credential(&jti);
    caller.uid = Some(binding.account.uid.clone());
    let audiences = claims.audiences().ok_or_else(wrong)?;
    Ok(Verified::new(caller, audiences, claims.times()?, Some(binding), by))
}
