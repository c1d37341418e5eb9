//! From what a request shows to who calls. A token that is shown decides alone: one that is not good is
//! refused, whatever certificate comes with it.
//!
//! A signature is verified once in a while ([`recent`](super::recent)); whether the token has ended, and
//! whether what it is bound to is still there, is asked of the cache for every request.

use super::{
    Caller, Issuer, Refused, SigningKeys,
    jose::{Key, TOKEN_BYTES_MAX, Times, Token},
    keys::Keyring,
    recent::Recent,
    service_accounts::{self, Binding},
};
use crate::{
    server::Api,
    session::{self, Session, SessionKeys, Who},
    status::ApiError,
};
use http::{HeaderMap, Uri, header};
use jiff::Timestamp;
use quarterdeck_store::{Store, StoreError, World};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How far the clocks of issuers, replicas and this one may be apart.
const SKEW_SECS: i64 = 10;

/// A caller, and what holds as long as it does.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated {
    pub(crate) caller: Arc<Caller>,
    pub(crate) shown: Shown,
}

/// What a caller showed, which may end before what they began does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    /// The token; none for a certificate.
    pub(crate) token: Option<Arc<Verified>>,
    /// When the session or the certificate ends, in seconds of Unix time.
    pub(crate) ends: Option<i64>,
}

impl Shown {
    /// Whether it is still good.
    pub(crate) fn holds(&self, now: Timestamp, world: &World) -> bool {
        !self.has_ended(now)
            && self.token.as_ref().is_none_or(|token| token.holds(now, world).is_ok())
    }

    /// Whether the session or the certificate is over.
    fn has_ended(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| ends <= now.as_second())
    }

    /// How long from now until it ends, if it does.
    pub(crate) fn left(&self, now: Timestamp) -> Option<Duration> {
        let session = self.ends.map(|ends| until(now, ends));
        let token = self.token.as_ref().map(|token| token.left(now));
        session.into_iter().chain(token).min()
    }
}

fn until(now: Timestamp, second: i64) -> Duration {
    Duration::from_secs(u64::try_from(second.saturating_sub(now.as_second())).unwrap_or(0))
}

/// A token whose signature is good.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) caller: Arc<Caller>,
    /// Whom it is for.
    audiences: Vec<String>,
    times: Times,
    binding: Option<Binding>,
    by: SignedBy,
}

/// Whose key signed a token, and which: one that is no longer a key of theirs takes the token with it.
#[derive(Clone)]
pub(super) enum SignedBy {
    Own(Arc<SigningKeys>, Key),
    Issuer(Arc<Issuer>, Key),
}

impl SignedBy {
    fn is_trusted(&self) -> bool {
        match self {
            Self::Own(keys, key) => keys.current().public.contains(key),
            Self::Issuer(issuer, key) => issuer.trusts(key),
        }
    }
}

impl std::fmt::Debug for SignedBy {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Own(_, key) | Self::Issuer(_, key)) = self;
        write!(to, "{key:?}")
    }
}

impl Verified {
    pub(super) fn new(
        caller: Caller,
        audiences: Vec<String>,
        times: Times,
        binding: Option<Binding>,
        by: SignedBy,
    ) -> Self {
        Self { caller: Arc::new(caller), audiences, times, binding, by }
    }

    /// Whether it may be used now, its key is still trusted, and what it is bound to is there.
    pub(crate) fn holds(&self, now: Timestamp, world: &World) -> Result<(), Refused> {
        self.is_in_time(now)?;
        if !self.by.is_trusted() {
            return Err(Refused::new(
                "the key that signed the token is no longer one of its issuer",
            ));
        }
        self.is_bound_to_what_is_there(world)
    }

    fn is_bound_to_what_is_there(&self, world: &World) -> Result<(), Refused> {
        self.binding.as_ref().map_or(Ok(()), |binding| binding.holds(world))
    }

    fn is_in_time(&self, now: Timestamp) -> Result<(), Refused> {
        let now = now.as_second();
        if now.saturating_sub(SKEW_SECS) >= self.times.expires {
            return Err(Refused::new("the token has expired"));
        }
        if self.times.not_before.is_some_and(|from| now.saturating_add(SKEW_SECS) < from) {
            return Err(Refused::new("the token is not valid yet"));
        }
        Ok(())
    }

    /// How long from now until it ends.
    pub(crate) fn left(&self, now: Timestamp) -> Duration {
        until(now, self.times.expires)
    }

    /// Those among `wanted` that it is for.
    pub(crate) fn audiences_of(&self, wanted: &[String]) -> Vec<String> {
        wanted.iter().filter(|audience| self.audiences.contains(audience)).cloned().collect()
    }
}

/// Why a token counts for nothing now.
#[derive(Debug)]
pub(crate) enum Unverified {
    /// It is not good.
    Refused(Refused),
    /// Nobody could say: it may be good.
    Unknown(StoreError),
}

impl From<Refused> for Unverified {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<StoreError> for Unverified {
    fn from(error: StoreError) -> Self {
        Self::Unknown(error)
    }
}

impl From<Unverified> for ApiError {
    fn from(why: Unverified) -> Self {
        match why {
            Unverified::Refused(Refused(why)) => Self::unauthorized(&why),
            Unverified::Unknown(error) => error.into(),
        }
    }
}

/// How callers show who they are, besides certificates.
pub struct Authentication {
    pub(super) keys: Arc<SigningKeys>,
    /// Who issues tokens of service accounts: a name of this plane, and its audience.
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    issuers: Vec<Arc<Issuer>>,
    recent: Recent,
}

impl Authentication {
    /// Tokens of service accounts, issued in the name of `issuer`, and those of `issuers`.
    ///
    /// # Errors
    /// When two of them have one name.
    pub fn new(keys: SigningKeys, issuer: &str, issuers: Vec<Arc<Issuer>>) -> Result<Self, String> {
        let mut names: Vec<&str> = issuers.iter().map(|issuer| issuer.name()).collect();
        names.push(issuer);
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[one, next]| one == next) {
            return Err(format!("{name} stands twice; a token's issuer must be one of them"));
        }
        let (issuer, recent) = (issuer.to_owned(), Recent::default());
        let audiences = vec![issuer.clone()];
        Ok(Self { keys: Arc::new(keys), issuer, audiences, issuers, recent })
    }

    /// Whose token it is, if it is good here and now, and for one of `audiences`; and which of them.
    pub(crate) async fn verify(
        &self,
        text: &str,
        audiences: &[String],
        store: &Store,
    ) -> Result<(Arc<Verified>, Vec<String>), Unverified> {
        if text.len() > TOKEN_BYTES_MAX {
            let why = format!("the token is longer than {TOKEN_BYTES_MAX} bytes");
            return Err(Refused(why).into());
        }
        let hash = Sha256::digest(text).into();
        let recent = self.recent.get(&hash, Instant::now());
        let verified = match recent.filter(|verified| verified.by.is_trusted()) {
            Some(verified) => verified,
            None => {
                let verified = Arc::new(self.read(text).await?);
                self.recent.put(hash, verified.clone(), Instant::now());
                verified
            }
        };
        verified.is_in_time(Timestamp::now())?;
        if verified.is_bound_to_what_is_there(&store.world()).is_err() {
            // Another replica may have made what is not seen here yet.
            let world = store.fresh().await?;
            verified.is_bound_to_what_is_there(&world)?;
        }
        let meant = verified.audiences_of(audiences);
        if meant.is_empty() {
            return Err(Refused::new("the token is for another audience").into());
        }
        Ok((verified, meant))
    }

    async fn read(&self, text: &str) -> Result<Verified, Refused> {
        let token = Token::read(text)?;
        if token.issuer() == self.issuer {
            let mut keys = self.keys.current();
            if token.names_none_of(&keys.public) {
                // Another replica may have signed it with a key that was not in the file a moment ago.
                keys = self.keys.looked_at_again().await;
            }
            let (claims, key) = token
                .verified(&keys.public, &Keyring::ALGORITHMS)
                .ok_or_else(|| Refused::new("the token is not signed by a key of this plane"))?;
            let by = SignedBy::Own(self.keys.clone(), key.clone());
            return service_accounts::verified(claims, by);
        }
        let issuer = self.issuers.iter().find(|issuer| issuer.name() == token.issuer());
        let issuer = issuer
            .ok_or_else(|| Refused::new("the token's issuer is not one that this plane knows"))?;
        let (caller, times, key) = issuer.verify(&token).await?;
        let by = SignedBy::Issuer(issuer.clone(), key);
        // Its audience was that of the issuer's settings; who is known by it is known to the plane.
        Ok(Verified::new(caller, self.audiences.clone(), times, None, by))
    }

    /// What seals and opens sessions; the first seals.
    pub(crate) fn session_keys(&self) -> Vec<Arc<SessionKeys>> {
        self.keys.current().sessions.clone()
    }

    /// Whom tokens for this plane are for.
    pub(crate) fn own_audiences(&self) -> &[String] {
        &self.audiences
    }

    /// `/.well-known/openid-configuration` (OpenID Connect Discovery 1.0 §3): what others need to verify
    /// tokens of service accounts.
    pub(crate) fn discovery(&self) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{}/openid/v1/jwks", self.issuer),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// `/openid/v1/jwks`: the keys.
    pub(crate) fn published_keys(&self) -> Value {
        self.keys.current().published()
    }

    /// What is wrong with issuers, a line each.
    pub(crate) fn problems(&self) -> String {
        let wrong = self.issuers.iter().filter(|issuer| !issuer.has_keys());
        wrong
            .map(|issuer| {
                format!(
                    "\n[-] oidc {}: its keys could not be fetched yet; see the log",
                    issuer.name()
                )
            })
            .collect()
    }
}

impl Api {
    /// The same API with callers who show tokens.
    #[must_use]
    pub fn with_authentication(mut self, authentication: Arc<Authentication>) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// Who sends a request, on a connection of `caller`, whose certificate ends at a second of Unix time.
    pub(crate) async fn authenticate(
        &self,
        caller: &Arc<Caller>,
        certificate_ends: Option<i64>,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Authenticated, ApiError> {
        let Some(token) = bearer(headers).map_err(Unverified::from)? else {
            let Some(Session { expires, who }) = self.session(uri, headers).await? else {
                let shown = Shown { token: None, ends: certificate_ends };
                // A connection goes on, and is resumed, without its certificate being shown again.
                if shown.has_ended(Timestamp::now()) {
                    return Err(ApiError::unauthorized(
                        "the certificate of this connection has ended; connect with a newer one",
                    ));
                }
                return Ok(Authenticated { caller: caller.clone(), shown });
            };
            let mut who = match who {
                Who::Token(token) => self.authenticate_by(&token).await?,
                Who::Certificate(user, groups) => {
                    let caller = Session::caller(user, groups);
                    Authenticated { caller, shown: Shown::default() }
                }
            };
            who.shown.ends = Some(expires);
            return Ok(who);
        };
        self.authenticate_by(token).await
    }

    /// The session that a request shows, if it shows one.
    async fn session(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<Session>, ApiError> {
        let Some(authentication) = &self.authentication else { return Ok(None) };
        let shown = |now| session::shown(authentication, uri, headers, now);
        match shown(Timestamp::now()) {
            None => Ok(None),
            Some(Ok(session)) => Ok(Some(session)),
            Some(Err(_)) => {
                // Another replica may have sealed it with a key that was not in the file a moment ago.
                authentication.keys.looked_at_again().await;
                shown(Timestamp::now()).transpose()
            }
        }
    }

    async fn authenticate_by(&self, token: &str) -> Result<Authenticated, ApiError> {
        let authentication = self
            .authentication
            .as_ref()
            .ok_or_else(|| ApiError::unauthorized("this plane takes no tokens"))?;
        let audiences = &authentication.audiences;
        let (verified, _) = authentication.verify(token, audiences, &self.store).await?;
        let caller = verified.caller.clone();
        Ok(Authenticated { caller, shown: Shown { token: Some(verified), ends: None } })
    }
}

/// The token of a request, if it shows one (RFC 6750 §2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), more) = (all.next(), all.next()) else { return Ok(None) };
    let twice = || Refused::new("the request has two Authorization headers");
    let bytes = value.as_bytes().trim_ascii_start();
    let end = bytes.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len());
    let (scheme, token) = bytes.split_at(end);
    let token = token.trim_ascii();
    if more.is_some() {
        return Err(twice());
    }
    if !scheme.eq_ignore_ascii_case(b"bearer") || token.is_empty() {
        return Ok(None);
    }
    let token = std::str::from_utf8(token).map_err(|_| Refused::new("the token is not a JWT"))?;
    Ok(Some(token))
}

#[cfg(test)]
impl Verified {
    /// One that a key signed which nobody has any more.
    pub(super) fn of_nobody(audiences: Vec<String>, times: Times) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::new(SigningKeys::open(&folder.path().join("key")).unwrap());
        let by = SignedBy::Own(keys, Key::own("gone", &[4]));
        Self::new(Caller::anonymous(), audiences, times, None, by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_or_there_is_none() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(|token| token.map(ToOwned::to_owned))
        };
        for none in [&[][..], &["Bearer "], &["Bearer"], &["Basic YTpi"], &[""]] {
            assert_eq!(of(none), Ok(None), "{none:?}");
        }
        for some in ["Bearer abc", "bearer abc", "BEARER  abc ", "Bearer\tabc"] {
            assert_eq!(of(&[some]), Ok(Some("abc".into())), "{some:?}");
        }
        assert!(of(&["Bearer abc", "Bearer abc"]).is_err());
        assert!(of(&["Basic YTpi", "Bearer abc"]).is_err());
    }

    #[test]
    fn a_token_holds_from_its_beginning_to_its_end() {
        let times = Times { not_before: Some(1_000), expires: 2_000 };
        let token = Verified::of_nobody(vec!["a".into()], times);
        let holds = |second: i64| token.is_in_time(Timestamp::from_second(second).unwrap()).is_ok();
        for (second, expected) in
            [(0, false), (989, false), (990, true), (1_500, true), (2_009, true), (2_010, false)]
        {
            assert_eq!(holds(second), expected, "{second}");
        }
        assert_eq!(token.left(Timestamp::from_second(1_900).unwrap()).as_secs(), 100);
        assert_eq!(token.left(Timestamp::from_second(3_000).unwrap()).as_secs(), 0);
        // A session that ends earlier takes with it what it was begun by.
        let at = |second| Timestamp::from_second(second).unwrap();
        let shown = |token, ends| Shown { token, ends };
        let token = Arc::new(token);
        for (shown, left) in [
            (shown(None, None), None),
            (shown(None, Some(1_950)), Some(50)),
            (shown(Some(token.clone()), Some(1_950)), Some(50)),
            (shown(Some(token.clone()), Some(5_000)), Some(100)),
            (shown(Some(token.clone()), None), Some(100)),
        ] {
            assert_eq!(shown.left(at(1_900)).map(|it| it.as_secs()), left, "{shown:?}");
        }
        assert!(!shown(None, Some(1_950)).has_ended(at(1_949)));
        assert!(shown(None, Some(1_950)).has_ended(at(1_950)));
        assert!(!shown(None, None).has_ended(at(1_950)));
        assert_eq!(token.audiences_of(&["b".into(), "a".into()]), ["a"]);
    }
}
