//! Sessions of people who look at the page: what they showed once, sealed in a cookie that only this plane can open.
//!
//! A session is no identity of its own. It holds the token that was shown, which is verified for every request as if
//! it were shown again; or the name that a client certificate gave, for no longer than the certificate is good.
//! A session counts only where no other site can have a browser send it ([`origin`]).

mod attempts;
mod origin;
mod seal;

pub(crate) use attempts::Attempts;
use origin::CSRF_HEADER;
pub(crate) use origin::from_elsewhere;
pub(crate) use seal::SessionKeys;

use crate::{
    answer::{self, Answer},
    identity::{Authenticated, Authentication, Caller, bearer},
    server::{Api, Peer},
    status::ApiError,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Where sessions begin and end.
pub(crate) const PATH: &str = "/session";
/// Name of the cookie. The prefix has browsers take it over TLS and from this host alone (RFC 6265bis §4.1.3).
const COOKIE: &str = "__Host-quarterdeck";
/// How long a session lasts at most: a working day.
const LONGEST_SECS: i64 = 10 * 3600;
/// Longest cookie: browsers drop those that are longer than 4,096 bytes with name and attributes.
const COOKIE_BYTES_MAX: usize = 3_900;
/// Most groups that a session by certificate holds.
const GROUPS_MAX: usize = 100;

/// What is in a cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// When it ends, in seconds of Unix time.
    #[serde(rename = "e")]
    pub(crate) expires: i64,
    #[serde(rename = "w")]
    pub(crate) who: Who,
}

/// By what its holder is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Who {
    /// A token.
    #[serde(rename = "t")]
    Token(String),
    /// User and groups of a client certificate.
    #[serde(rename = "c")]
    Certificate(String, Vec<String>),
}

/// The session that a request of the page shows; none when it shows none.
///
/// # Errors
/// When it is not good, or no longer.
pub(crate) fn shown(
    authentication: &Authentication,
    uri: &Uri,
    headers: &HeaderMap,
    now: Timestamp,
) -> Option<Result<Session, ApiError>> {
    let cookie = cookie(headers)?;
    if !origin::from_own_page(uri, headers) {
        return None;
    }
    let open = || authentication.session_keys().into_iter().find_map(|keys| keys.open(cookie));
    let session = open().filter(|session| session.expires > now.as_second());
    let ended = || ApiError::unauthorized("the session has ended; log in again");
    Some(session.ok_or_else(ended))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// `/session`: GET says who asks, POST makes a session of what is shown, DELETE ends it.
pub(crate) fn answer(
    api: &Api,
    who: Result<&Authenticated, ApiError>,
    peer: &Peer,
    (method, uri, headers): (&Method, &Uri, &HeaderMap),
) -> Answer {
    let now = Timestamp::now();
    let answered = match *method {
        Method::GET | Method::HEAD => {
            Ok(told(who.as_ref().ok().copied(), session_end(api, uri, headers, now)))
        }
        Method::POST => begin(api, who, peer, headers, now),
        // Whoever it is, unless another site asks: a session that is no longer good is forgotten too.
        Method::DELETE => match who {
            Err(error) if error.code == StatusCode::FORBIDDEN => Err(error),
            _ => Ok(ended()),
        },
        _ => Err(ApiError::method_not_allowed()),
    };
    answered.unwrap_or_else(|error| answer::refusal(&error))
}

fn session_end(api: &Api, uri: &Uri, headers: &HeaderMap, now: Timestamp) -> Option<i64> {
    let session = shown(api.authentication.as_deref()?, uri, headers, now)?.ok()?;
    Some(session.expires)
}

/// Who it is; null for who showed nothing that is good.
fn told(who: Option<&Authenticated>, expires: Option<i64>) -> Answer {
    let known = who.filter(|who| who.caller.is_known());
    let user = known.map(|who| json!({"name": who.caller.user, "groups": who.caller.groups}));
    let expires = expires.and_then(|second| Timestamp::from_second(second).ok());
    answer::json(&json!({
        "user": user,
        "expires": expires.map(|at| at.to_string()),
        "csrfHeader": CSRF_HEADER,
    }))
}

fn begin(
    api: &Api,
    who: Result<&Authenticated, ApiError>,
    peer: &Peer,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Answer, ApiError> {
    let from = peer.network();
    if !api.attempts.may_try(&from, now) {
        let message =
            "too many attempts to log in from where you are; try again in a minute".into();
        return Err(ApiError { message, ..ApiError::too_many_requests() });
    }
    let failed = |error: ApiError| {
        // What the plane cannot say is no attempt.
        if error.code == StatusCode::UNAUTHORIZED {
            api.attempts.failed(&from, now);
        }
        error
    };
    let who = who.map_err(failed)?;
    if !who.caller.is_known() {
        let why = "show a token (Authorization: Bearer …), or a client certificate";
        return Err(failed(ApiError::unauthorized(why)));
    }
    let authentication = api
        .authentication
        .as_deref()
        .ok_or_else(|| ApiError::bad_request("this plane has no sessions"))?;
    let mut expires = now.as_second().saturating_add(LONGEST_SECS);
    let holder = match (&who.shown.token, bearer(headers).ok().flatten()) {
        (Some(token), Some(text)) => {
            let left = i64::try_from(token.left(now).as_secs()).unwrap_or(i64::MAX);
            expires = expires.min(now.as_second().saturating_add(left));
            Who::Token(text.to_owned())
        }
        // A session is not made longer by what it is itself.
        (Some(_), None) => {
            return Err(ApiError::bad_request(
                "there is a session; end it with DELETE /session first",
            ));
        }
        (None, _) => {
            expires = expires.min(peer.certificate_ends.unwrap_or(expires));
            certificate(&who.caller, &peer.caller)?
        }
    };
    let session = Session { expires, who: holder };
    let cookie =
        authentication.session_keys().first().and_then(|keys| keys.seal(&session)).ok_or_else(
            || ApiError::internal("the system has no randomness to seal a session with"),
        )?;
    if cookie.len() > COOKIE_BYTES_MAX {
        let why =
            "the token is too long for a cookie; ask its issuer for one that names fewer groups";
        return Err(ApiError::bad_request(why));
    }
    let seconds = expires.saturating_sub(now.as_second());
    let mut answer = told(Some(who), Some(expires));
    *answer.status_mut() = StatusCode::CREATED;
    set_cookie(&mut answer, &cookie, seconds)?;
    Ok(answer)
}

/// The session of a certificate, which must be the one that is shown now: none is made of another session.
fn certificate(who: &Arc<Caller>, shown: &Arc<Caller>) -> Result<Who, ApiError> {
    if who != shown {
        return Err(ApiError::bad_request("there is a session; end it with DELETE /session first"));
    }
    if who.groups.len() > GROUPS_MAX {
        let why = format!("the certificate names more than {GROUPS_MAX} groups");
        return Err(ApiError::bad_request(why));
    }
    Ok(Who::Certificate(who.user.clone(), who.groups.clone()))
}

fn ended() -> Answer {
    let mut answer = told(None, None);
    // Nothing in it can be wrong.
    let _ = set_cookie(&mut answer, "", 0);
    answer
}

fn set_cookie(answer: &mut Answer, value: &str, seconds: i64) -> Result<(), ApiError> {
    let text =
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict");
    let mut text = HeaderValue::from_str(&text)
        .map_err(|_| ApiError::internal("a session is not a header's text"))?;
    text.set_sensitive(true);
    answer.headers_mut().insert(header::SET_COOKIE, text);
    Ok(())
}

impl Session {
    /// The caller that a certificate named.
    pub(crate) fn caller(user: String, groups: Vec<String>) -> Arc<Caller> {
        Arc::new(Caller { user, groups, ..Caller::default() })
    }
}
