//! Who calls: read from the verified client certificate, as Kubernetes reads it.
//! Source: Kubernetes "Authenticating", X.509 client certificates: CN is the user, each O a group.

use crate::status::ApiError;
use http::{HeaderMap, header};
use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
use x509_parser::parse_x509_certificate;

/// Group of all callers who showed who they are.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// Group of all who did not.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Group of those who may do everything.
const MASTERS: &str = "system:masters";
/// What the user names of service accounts begin with.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

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

    /// The caller a verified certificate names; anonymous when it names nobody.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
            return Self::anonymous();
        };
        let subject = parsed.subject();
        let texts = |attributes: Vec<&x509_parser::x509::AttributeTypeAndValue<'_>>| {
            attributes
                .into_iter()
                .filter_map(|attribute| attribute.as_str().ok().map(ToOwned::to_owned))
                .collect::<Vec<_>>()
        };
        let Some(user) = texts(subject.iter_common_name().collect()).pop() else {
            return Self::anonymous();
        };
        let mut groups = texts(subject.iter_organization().collect());
        groups.push(AUTHENTICATED.into());
        Self::new(&user, groups)
    }

    /// Whether the caller may do everything, whatever the roles say.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    /// Whether the caller showed who it is.
    pub fn is_known(&self) -> bool {
        !self.groups.iter().any(|group| group == UNAUTHENTICATED)
    }
}

/// Refuses a request that shows what cannot be verified. Who shows nothing is anonymous.
pub(crate) fn check_credentials(caller: &Caller, headers: &HeaderMap) -> Result<(), ApiError> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()
        });
    if token.is_some() && !caller.is_known() {
        return Err(ApiError::unauthorized());
    }
    Ok(())
}

/// The user name of a service account.
pub(crate) fn service_account_user(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT}{namespace}:{name}")
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

    #[test]
    fn a_token_that_cannot_be_verified_is_not_nobody() {
        let headers = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            headers
        };
        let nobody = Caller::anonymous();
        assert_eq!(check_credentials(&nobody, &headers("Bearer abc")).unwrap_err().code, 401);
        assert!(check_credentials(&nobody, &headers("Bearer ")).is_ok());
        assert!(check_credentials(&nobody, &HeaderMap::new()).is_ok());
        assert!(check_credentials(&Caller::plane(), &headers("bearer abc")).is_ok());
    }
}
