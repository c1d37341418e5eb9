//! Who calls: by client certificate ([`certificate`]), by token of a service account
//! ([`service_accounts`]) or by token of an OpenID Connect issuer ([`oidc`]).
//!
//! [`jose`] reads and verifies any token, [`keys`] are those the plane signs with, [`authentication`]
//! brings them together. A token must never be logged, nor be part of an error, nor be believed in
//! anything before its signature is verified.

mod authentication;
mod certificate;
mod issue;
mod jose;
mod keys;
mod oidc;
mod recent;
mod service_accounts;

pub use authentication::Authentication;
pub(crate) use authentication::{Authenticated, Shown, Unverified, bearer};
pub(crate) use certificate::ends as certificate_ends;
pub(crate) use issue::{IssuedCredential, request as request_token};
pub use jose::Algorithm;
#[cfg(test)]
pub(crate) use jose::{Key, Token};
pub use keys::SigningKeys;
pub use oidc::{Issuer, OidcSettings};

use std::collections::BTreeMap;

/// Group of all callers who showed who they are.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// Group of those who did not.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Group of those who may do everything.
const MASTERS: &str = "system:masters";
/// What the user names of service accounts begin with.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// Group of all service accounts; with a colon and a namespace, of those in it.
pub(crate) const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// What else is known of a caller with a token: which token, by its own identifier.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// A caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// User name.
    pub user: String,
    /// What tells two users of one name apart.
    pub uid: Option<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// What else is known.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Why a token is not accepted, for whoever sent it. Never repeats any of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

impl Refused {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl Caller {
    fn new(user: &str, groups: Vec<String>) -> Self {
        Self { user: user.into(), groups, ..Self::default() }
    }

    /// A caller who showed nothing.
    pub fn anonymous() -> Self {
        Self::new("system:anonymous", vec![UNAUTHENTICATED.into()])
    }

    /// The plane itself, when it brings its own objects.
    pub(crate) fn plane() -> Self {
        Self::new("system:quarterdeck", vec![MASTERS.into(), AUTHENTICATED.into()])
    }

    /// A controller of the plane, as policies see it.
    pub(crate) fn controller(name: &str) -> Self {
        Self::new(&format!("system:controller:{name}"), vec![AUTHENTICATED.into()])
    }

    /// The same with the identifier of the token that was shown.
    fn with_credential(mut self, id: &str) -> Self {
        self.extra.insert(CREDENTIAL_ID.into(), vec![credential(id)]);
        self
    }

    /// Whether the caller showed who it is.
    pub(crate) fn is_known(&self) -> bool {
        !self.groups.iter().any(|group| group == UNAUTHENTICATED)
    }

    /// Whether the caller may do everything, whatever the roles say.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

/// How a token is named where it must not be shown.
fn credential(id: &str) -> String {
    format!("JTI={id}")
}

/// The user name of a service account.
pub(crate) fn service_account_user(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT}{namespace}:{name}")
}

/// The groups that a service account of that namespace is in, besides all who are known.
pub(crate) fn service_account_groups(namespace: &str) -> Vec<String> {
    vec![SERVICE_ACCOUNTS.into(), format!("{SERVICE_ACCOUNTS}:{namespace}")]
}

/// Namespace and name of the service account that has this user name.
pub(crate) fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_accounts_are_told_from_other_users() {
        assert_eq!(service_account(&service_account_user("a", "b")), Some(("a", "b")));
        for other in ["ann", "system:serviceaccount:a", "system:serviceaccount:a:b:c", ""] {
            assert_eq!(service_account(other), None, "{other}");
        }
    }
}
