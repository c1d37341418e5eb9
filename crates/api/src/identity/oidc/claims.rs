//! Who a token of an issuer is, by the settings for that issuer. Pure: the signature was verified.

use crate::identity::{
    AUTHENTICATED, Algorithm, Caller, Refused,
    jose::{Claims, Times, texts},
};
use http::Uri;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// Names that are the plane's own: nobody has them by what an issuer says.
const RESERVED: &str = "system:";
/// Most groups of one caller, each of which is looked at in each decision.
const GROUPS_MAX: usize = 1_000;
/// Longest name of a user or group.
const NAME_BYTES_MAX: usize = 1_024;

/// What is set about one issuer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OidcSettings {
    /// Its URL, exactly as it is in `iss` of its tokens.
    pub issuer: String,
    /// Client ids, one of which a token must be for.
    pub audiences: Vec<String>,
    /// The claim that is the user name; `sub` when not set.
    #[serde(default = "subject")]
    pub username_claim: String,
    /// What user names begin with; `ISSUER#` when not set, unless the claim is `email`.
    pub username_prefix: Option<String>,
    /// The claim that holds the groups; none when not set.
    pub groups_claim: Option<String>,
    /// What names of groups begin with.
    #[serde(default)]
    pub groups_prefix: String,
    /// Claims that a token must have, with exactly these texts.
    #[serde(default)]
    pub required_claims: BTreeMap<String, String>,
    /// Algorithms that it may sign with; RS256 and ES256 when not set.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// PEM file of the authorities that its server's certificate may come from; the system's when not set.
    pub ca_file: Option<PathBuf>,
}

fn subject() -> String {
    "sub".into()
}

fn algorithms() -> Vec<Algorithm> {
    vec![Algorithm::Rs256, Algorithm::Es256]
}

impl OidcSettings {
    /// What cannot be, with the field.
    pub(super) fn check(&self) -> Result<(), String> {
        let url: Result<Uri, _> = self.issuer.parse();
        let sane = url.is_ok_and(|url| {
            url.scheme_str() == Some("https")
                && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && url.query().is_none()
        });
        if !sane || self.issuer.contains('#') {
            let issuer = &self.issuer;
            return Err(format!(
                "issuer: {issuer:?} must be a URL that begins with https:// and has no query or password"
            ));
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err("audiences: name at least one client id, and no empty one".into());
        }
        if self.algorithms.is_empty() {
            return Err("algorithms: name at least one, or leave it out".into());
        }
        let names = [Some(&self.username_claim), self.groups_claim.as_ref()];
        if names.into_iter().flatten().any(String::is_empty) {
            return Err("username-claim, groups-claim: must not be empty".into());
        }
        for (field, prefix) in [
            ("username-prefix", self.username_prefix.as_deref().unwrap_or_default()),
            ("groups-prefix", &self.groups_prefix),
        ] {
            if prefix.starts_with(RESERVED) {
                return Err(format!("{field}: must not begin with {RESERVED:?}"));
            }
        }
        Ok(())
    }

    fn prefix(&self) -> String {
        match &self.username_prefix {
            Some(prefix) => prefix.clone(),
            None if self.username_claim == "email" => String::new(),
            None => format!("{}#", self.issuer),
        }
    }

    /// Who it is, and when the token may be used.
    pub(super) fn caller(&self, claims: &Claims) -> Result<(Caller, Times), Refused> {
        let times = claims.times()?;
        if claims.text("iss") != Some(&self.issuer) {
            return Err(Refused::new("the token is of another issuer"));
        }
        let audiences = claims.audiences().unwrap_or_default();
        if !audiences.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(Refused::new("the token is for another client (aud)"));
        }
        for (name, wanted) in &self.required_claims {
            if claims.text(name) != Some(wanted) {
                return Err(Refused(format!("the token does not have the required claim {name}")));
            }
        }
        let name = &self.username_claim;
        let said = claims.text(name).filter(|said| !said.is_empty());
        let said = said.ok_or_else(|| Refused(format!("the token does not say its {name}")))?;
        // One that is not the person's may be anybody's. Absent, the issuer answers for it.
        if name == "email" && claims.get("email_verified").is_some_and(|it| *it != true) {
            return Err(Refused::new("the token's email is not verified"));
        }
        let user = own(&self.prefix(), said)?;
        let mut groups = Vec::new();
        if let Some(value) = self.groups_claim.as_ref().and_then(|claim| claims.get(claim)) {
            let said = texts(value).filter(|said| said.len() <= GROUPS_MAX);
            let said =
                said.ok_or_else(|| Refused::new("the token's groups are no list of names"))?;
            for group in said {
                groups.push(own(&self.groups_prefix, &group)?);
            }
        }
        groups.push(AUTHENTICATED.into());
        let mut caller = Caller::new(&user, groups);
        if let Some(id) = claims.text("jti").filter(|id| id.len() <= NAME_BYTES_MAX) {
            caller = caller.with_credential(id);
        }
        Ok((caller, times))
    }
}

/// A name of a user or group. None of them may pass for one of the plane's own.
fn own(prefix: &str, said: &str) -> Result<String, Refused> {
    let name = format!("{prefix}{said}");
    if name.starts_with(RESERVED) {
        return Err(Refused(format!(
            "the token has a user or group that begins with {RESERVED:?}: set a prefix for its issuer"
        )));
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Refused::new("the token has a user or group whose name cannot be one"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
