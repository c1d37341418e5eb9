//! What a Redfish action takes from its target: where the BMC is, whom it must belong to, and how
//! to log in.

use http::Uri;
use http::uri::{Authority, Scheme};
use quarterdeck_model::kinds::{BMCScanSpec, BmcTls, BmcTlsVerify, SecretReference, ServerSpec};
use serde::Deserialize;
use serde_json::Value;

use crate::action::{ActionContext, ActionError, Reason};
use crate::secrets;
use crate::transport::tls::{Verification, parse_sha256};

/// Key of a password that is to be set, in the Secret that is a server's alone.
pub(super) const PENDING_PASSWORD: &str = "pendingPassword";

/// The parts of a Server that matter here.
#[derive(Debug, Clone)]
pub struct Target {
    /// The BMC and how to log in.
    pub endpoint: Endpoint,
    /// `Id` of the system, for a BMC that has several.
    pub system_id: Option<String>,
    /// What the machine must say it is, before anything is done to it.
    pub serial: Option<String>,
    /// The Secret that holds the credentials in force, as far as is known.
    pub credentials_secret: Option<SecretReference>,
    /// What may be in force instead, when the BMC refuses those: a password that was to be set when a run was cut
    /// off.
    pub others: Vec<Credentials>,
}

/// One BMC as one caller sees it. Clients are shared by this key, so a changed password or policy
/// is a new client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub(super) scheme: Scheme,
    /// Host, and port where it is not the usual one.
    pub authority: Authority,
    pub(super) verification: Verification,
    /// None when the Server names none.
    pub credentials: Option<Credentials>,
}

/// A user name and password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Name of the account.
    pub username: String,
    /// Its password.
    pub password: String,
}

/// The password stays out of logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct ServerView {
    spec: ServerSpec,
}

impl Target {
    /// Reads the run's target and the Secrets it names.
    ///
    /// # Errors
    /// When it is no Server with a BMC, or a Secret lacks what is needed.
    pub fn read(context: &ActionContext) -> Result<Self, ActionError> {
        let target = context.require_target()?;
        let ServerView { spec } = ServerView::deserialize(target.as_ref()).map_err(|error| {
            invalid(format!("the target is not a Server with a BMC: {error}")).because(error)
        })?;
        let bmc = &spec.bmc;
        let (scheme, authority) = parse_address(&bmc.address)?;
        let verification = verification(context, &bmc.tls)?;
        let reference = bmc.credentials_secret_ref.as_ref();
        let credentials = reference.map(|reference| credentials(context, reference));
        let others = reference.map(|reference| others(context, &name(target), reference));
        Ok(Self {
            endpoint: Endpoint {
                scheme,
                authority,
                verification,
                credentials: credentials.transpose()?,
            },
            credentials_secret: reference.cloned(),
            others: others.unwrap_or_default(),
            system_id: bmc.system_id.clone().filter(|id| !id.is_empty()),
            serial: spec.serial.clone().filter(|serial| !serial.trim().is_empty()),
        })
    }
}

fn verification(context: &ActionContext, tls: &BmcTls) -> Result<Verification, ActionError> {
    Ok(match tls.verify {
        BmcTlsVerify::Skip => Verification::Skip,
        BmcTlsVerify::Fingerprint => {
            let text = tls.sha256.as_deref().unwrap_or_default();
            let sha256 = parse_sha256(text).ok_or_else(|| {
                invalid("tls.sha256 must be the certificate's SHA-256, 64 hex digits")
            })?;
            Verification::Fingerprint(sha256)
        }
        BmcTlsVerify::Full => {
            let ca_pem = match &tls.ca_secret_ref {
                Some(reference) => {
                    let secret = secrets::read(context, reference)?;
                    Some(secrets::value(&secret, reference, "ca.crt")?.into())
                }
                None => None,
            };
            Verification::Full { ca_pem }
        }
    })
}

fn credentials(
    context: &ActionContext,
    reference: &SecretReference,
) -> Result<Credentials, ActionError> {
    let secret = secrets::read(context, reference)?;
    Ok(Credentials {
        username: secrets::text(&secret, reference, "username")?,
        password: secrets::text(&secret, reference, "password")?,
    })
}

fn name(target: &Value) -> String {
    let name = target.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

/// What a rotation that did not end may have left in force, of the Secret that is the server's alone.
fn others(context: &ActionContext, server: &str, named: &SecretReference) -> Vec<Credentials> {
    let own = SecretReference::of_bmc(server, named);
    let Some(secret) = context.secrets.get(&own.namespace, &own.name) else { return Vec::new() };
    let text = |key: &str| String::from_utf8(secret.get(key)?.clone()).ok();
    let Some(username) = text("username") else { return Vec::new() };
    let password = text("password").filter(|_| own != *named);
    let passwords = [text(PENDING_PASSWORD), password].into_iter().flatten();
    passwords.map(|password| Credentials { username: username.clone(), password }).collect()
}

impl Target {
    /// What a scan finds at `address` is reached so.
    pub(super) fn of_scan(
        context: &ActionContext,
        spec: &BMCScanSpec,
        address: &str,
    ) -> Result<Endpoint, ActionError> {
        let (scheme, authority) = parse_address(address)?;
        let reference = spec.credentials_secret_ref.as_ref();
        let credentials = reference.map(|reference| credentials(context, reference)).transpose()?;
        let verification = verification(context, &spec.tls)?;
        Ok(Endpoint { scheme, authority, verification, credentials })
    }
}

impl Endpoint {
    /// The same BMC, by other credentials.
    pub(super) fn with(&self, credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..self.clone() }
    }

    /// Where a path of this BMC is.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, ActionError> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| invalid(format!("{path} is not a path: {error}")).because(error))
    }
}

/// Reads `host`, `host:port`, `https://…` or `http://…`.
fn parse_address(address: &str) -> Result<(Scheme, Authority), ActionError> {
    let wrong = || {
        invalid(format!(
            "spec.bmc.address {address:?} must be a host, host:port or https:// URL without a path"
        ))
    };
    let url =
        if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    let parts = url.parse::<Uri>().map_err(|error| wrong().because(error))?.into_parts();
    let scheme = parts.scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
    let bare = parts.path_and_query.is_none_or(|path| path.as_str() == "/");
    let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'));
    match (scheme, authority, bare) {
        (Some(scheme), Some(authority), true) => Ok((scheme, authority)),
        _ => Err(wrong()),
    }
}

fn invalid(message: impl Into<String>) -> ActionError {
    ActionError::permanent(Reason::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, scheme, authority) in [
            ("bmc-1", "https", "bmc-1"),
            ("bmc-1:8443", "https", "bmc-1:8443"),
            ("https://10.0.0.1/", "https", "10.0.0.1"),
            ("http://127.0.0.1:8000", "http", "127.0.0.1:8000"),
            ("[fe80::1]:443", "https", "[fe80::1]:443"),
        ] {
            let (found_scheme, found_authority) = parse_address(address).unwrap();
            assert_eq!((found_scheme.as_str(), found_authority.as_str()), (scheme, authority));
        }
        for wrong in ["", "ftp://x", "https://x/path", "https://u:p@x", "a b", "https://"] {
            assert_eq!(parse_address(wrong).unwrap_err().reason, Reason::InvalidInput, "{wrong}");
        }
    }
}
