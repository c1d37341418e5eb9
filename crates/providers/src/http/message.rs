//! The request that a step describes and the answer that later steps see. Pure.
//!
//! Must never put a header's value or a body in an error: they hold secrets.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use quarterdeck_model::kinds::SecretReference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::action::{ActionError, Reason};
use crate::transport::Reply;

/// Headers a step may set; services ask for a handful.
pub(super) const HEADERS_MAX: usize = 64;

/// Largest body sent: a step's input lives in the run's object.
const BODY_SENT_MAX: usize = 256 << 10;

/// Headers of an answer that are kept, and the length of each: they are recorded with the run.
const HEADERS_KEPT_MAX: usize = 32;
const HEADER_KEPT_CHARS_MAX: usize = 1024;

/// Longest key sent as it is; longer ones are sent as their hash.
const KEY_CHARS_MAX: usize = 200;

/// What stands in an answer for a secret that was sent.
const CONCEALED: &str = "[concealed]";

/// Header that lets a service tell a repeated request from a new one
/// (draft-ietf-httpapi-idempotency-key-header).
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What to do with the resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Method {
    /// Read.
    #[default]
    Get,
    /// Read without the body.
    Head,
    /// Put in place.
    Put,
    /// Remove.
    Delete,
    /// Create, or call.
    Post,
    /// Change a part.
    Patch,
}

impl Method {
    pub(super) const fn as_http(self) -> http::Method {
        match self {
            Self::Get => http::Method::GET,
            Self::Head => http::Method::HEAD,
            Self::Put => http::Method::PUT,
            Self::Delete => http::Method::DELETE,
            Self::Post => http::Method::POST,
            Self::Patch => http::Method::PATCH,
        }
    }

    /// Changes nothing (RFC 9110 §9.2.1).
    pub(super) const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }

    /// Twice is the same as once (RFC 9110 §9.2.2).
    pub(super) const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch)
    }
}

/// A header whose value is in a Secret.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SecretHeader {
    /// The Secret.
    pub(super) secret_ref: SecretReference,
    /// Which of its keys holds the value.
    pub(super) key: String,
    /// What stands before the value, such as `Bearer ` with its space.
    #[serde(default)]
    pub(super) prefix: String,
}

/// What later steps see of the answer.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    /// Status code.
    pub(super) status: u16,
    /// Headers by lower-case name, without cookies.
    pub(super) headers: BTreeMap<String, String>,
    /// The body: as JSON where it is JSON, else as text; null when empty, binary or too large.
    pub(super) body: Value,
    /// The body was larger than is kept, and is left out.
    pub(super) truncated: bool,
}

impl Output {
    /// What is kept of a whole answer.
    pub(super) fn of(reply: &Reply) -> Self {
        Self {
            status: reply.status.as_u16(),
            headers: kept_headers(&reply.headers),
            body: kept_body(&reply.body),
            truncated: false,
        }
    }

    /// What is known of an answer whose body is too large.
    pub(super) fn without_body(status: StatusCode) -> Self {
        Self {
            status: status.as_u16(),
            headers: BTreeMap::new(),
            body: Value::Null,
            truncated: true,
        }
    }
}

/// Takes out what was sent in secret and a service sends back: the output is recorded.
pub(super) fn conceal(output: &mut Output, secrets: &[String]) {
    for secret in secrets {
        let hide = |text: &mut String| {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), CONCEALED);
            }
        };
        output.headers.values_mut().for_each(hide);
        each_text(&mut output.body, &hide);
    }
}

/// Visits every text in a value. Its depth is bounded by the parser's.
fn each_text(value: &mut Value, visit: &impl Fn(&mut String)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(values) => values.iter_mut().for_each(|value| each_text(value, visit)),
        Value::Object(values) => values.values_mut().for_each(|value| each_text(value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn kept_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (name, value) in headers {
        if kept.len() == HEADERS_KEPT_MAX {
            break;
        }
        if [SET_COOKIE, WWW_AUTHENTICATE].contains(name) {
            continue;
        }
        if let Ok(text) = value.to_str() {
            let text = text.chars().take(HEADER_KEPT_CHARS_MAX).collect();
            kept.entry(name.as_str().to_owned()).or_insert(text);
        }
    }
    kept
}

fn kept_body(body: &Bytes) -> Value {
    match std::str::from_utf8(body) {
        Ok("") | Err(_) => Value::Null,
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_not_json| text.into()),
    }
}

/// Reads the address.
pub(super) fn parse_url(url: &str) -> Result<Uri, ActionError> {
    let wrong =
        || invalid("url must be http:// or https:// with a host, and without a user or password");
    let uri: Uri = url.parse().map_err(|error| wrong().because(error))?;
    let scheme = uri.scheme().is_some_and(|s| [Scheme::HTTP, Scheme::HTTPS].contains(s));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    let user = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
    if scheme && host && !user { Ok(uri) } else { Err(wrong()) }
}

/// The body as sent and its content type: text as it stands, anything else as JSON.
pub(super) fn body_bytes(
    body: Option<&Value>,
) -> Result<(Bytes, Option<&'static str>), ActionError> {
    let (bytes, kind) = match body {
        None | Some(Value::Null) => return Ok((Bytes::new(), None)),
        Some(Value::String(text)) => (text.clone(), "text/plain; charset=utf-8"),
        Some(json) => (json.to_string(), "application/json"),
    };
    if bytes.len() > BODY_SENT_MAX {
        return Err(invalid(format!("body is larger than {BODY_SENT_MAX} bytes")));
    }
    Ok((Bytes::from(bytes), Some(kind)))
}

/// One header as a step gives it.
pub(super) fn header(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), ActionError> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|error| invalid(format!("{name:?} is not a header's name")).because(error))?;
    // These say where the message goes and where it ends; they are the transport's.
    let own = [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    if own.contains(&parsed) {
        return Err(invalid(format!("the header {parsed} cannot be set")));
    }
    let value = HeaderValue::from_bytes(value).map_err(|error| {
        invalid(format!("the value of the header {parsed} has a line break or control character"))
            .because(error)
    })?;
    Ok((parsed, value))
}

/// The headers that follow from the call, where the step does not set them itself.
pub(super) fn complete(
    headers: &mut HeaderMap,
    content_type: Option<&'static str>,
    idempotency_key: Option<&str>,
) {
    if let Some(kind) = content_type {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
    }
    if let Some(value) = idempotency_key.and_then(key_value) {
        headers.entry(IDEMPOTENCY_KEY).or_insert(value);
    }
}

/// The key as a quoted string (RFC 8941 §3.3.3); one that does not fit is sent as its hash.
fn key_value(key: &str) -> Option<HeaderValue> {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    if !key.is_empty() && key.len() <= KEY_CHARS_MAX && key.chars().all(fits) {
        return HeaderValue::from_str(&format!("\"{key}\"")).ok();
    }
    let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{hash}\"")).ok()
}

/// Where a redirect leads, if it may be followed: the same origin, so that headers meant for it
/// go nowhere else. `Ok(None)` when the answer is no redirect that is followed.
pub(super) fn redirect(
    from: &Uri,
    method: Method,
    reply: &Reply,
) -> Result<Option<Uri>, ActionError> {
    let followed = match reply.status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        // These turn other methods into GET, which is not what was asked for.
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
            method.is_safe()
        }
        _ => false,
    };
    let Some(location) = reply.headers.get(LOCATION).filter(|_location| followed) else {
        return Ok(None);
    };
    let elsewhere = || {
        ActionError::permanent(
            Reason::Forbidden,
            format!(
                "{} redirects to another place, which is not followed; set url to where the \
                 service is",
                origin(from)
            ),
        )
    };
    let text = location.to_str().map_err(|error| elsewhere().because(error))?;
    let local = text.starts_with('/') && !text.starts_with("//");
    let absolute = if local { format!("{}{text}", origin(from)) } else { text.to_owned() };
    let to = parse_url(&absolute).map_err(|_wrong| elsewhere())?;
    if origin(&to) == origin(from) { Ok(Some(to)) } else { Err(elsewhere()) }
}

/// Scheme, host and port: who the credentials are for, and what messages name.
pub(super) fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let usual = if scheme == "https" { 443 } else { 80 };
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    match uri.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

pub(super) fn invalid(message: impl std::fmt::Display) -> ActionError {
    ActionError::permanent(Reason::InvalidInput, format!("http.request: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: pairs.collect(),
            body: Bytes::from(body.to_owned()),
        }
    }

    #[test]
    fn only_plain_web_addresses_are_taken() {
        for good in ["http://h", "https://h:8443/a?b=c", "HTTP://h/", "http://[::1]:80/"] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for wrong in ["", "h", "/a", "ftp://h/", "file:///etc/passwd", "http://u:p@h/", "http://"] {
            assert_eq!(parse_url(wrong).unwrap_err().reason, Reason::InvalidInput, "{wrong}");
        }
    }

    #[test]
    fn redirects_stay_at_the_origin() {
        let from: Uri = "https://service/a".parse().unwrap();
        let follow = |status, method, location: &str| {
            redirect(&from, method, &reply(status, &[("location", location)], ""))
                .map(|to| to.map(|uri| uri.to_string()))
                .map_err(|error| error.reason)
        };
        let there = Ok(Some("https://service/b".to_owned()));
        assert_eq!(follow(302, Method::Get, "/b"), there);
        assert_eq!(
            follow(308, Method::Post, "https://Service:443/b"),
            Ok(Some("https://Service:443/b".to_owned()))
        );
        assert_eq!(follow(302, Method::Post, "/b"), Ok(None), "it would become a GET");
        assert_eq!(follow(201, Method::Post, "/b"), Ok(None));
        for elsewhere in
            ["http://service/b", "https://other/b", "//other/b", "https://service:1/", "b"]
        {
            assert_eq!(follow(302, Method::Get, elsewhere), Err(Reason::Forbidden), "{elsewhere}");
        }
    }

    #[test]
    fn headers_of_the_transport_cannot_be_set() {
        for name in ["Host", "content-length", "Transfer-Encoding", "connection", "a b", ""] {
            assert!(header(name, b"x").is_err(), "{name}");
        }
        let error = header("X-Token", b"secret\r\nX-More: 1").unwrap_err();
        assert!(!error.message.contains("secret"));
        assert!(header("X-Token", b"value").is_ok());
    }

    #[test]
    fn bodies_are_text_or_json() {
        assert_eq!(body_bytes(None).unwrap(), (Bytes::new(), None));
        let (bytes, kind) = body_bytes(Some(&json!({"a": 1}))).unwrap();
        assert_eq!((bytes.as_ref(), kind), (&b"{\"a\":1}"[..], Some("application/json")));
        let (bytes, kind) = body_bytes(Some(&json!("a"))).unwrap();
        assert_eq!((bytes.as_ref(), kind), (&b"a"[..], Some("text/plain; charset=utf-8")));
        assert!(body_bytes(Some(&json!("x".repeat(BODY_SENT_MAX + 1)))).is_err());
    }

    #[test]
    fn a_secret_that_comes_back_is_not_kept() {
        let mut output = Output::of(&reply(
            200,
            &[("x-echo", "Bearer s3cret")],
            "{\"headers\": [{\"Authorization\": \"Bearer s3cret\"}], \"n\": 1}",
        ));
        conceal(&mut output, &["s3cret".to_owned()]);
        assert_eq!(output.headers["x-echo"], "Bearer [concealed]");
        let body = json!({"headers": [{"Authorization": "Bearer [concealed]"}], "n": 1});
        assert_eq!(output.body, body);
    }

    #[test]
    fn answers_keep_what_is_no_secret() {
        let output = Output::of(&reply(
            200,
            &[("etag", "\"1\""), ("set-cookie", "session=1")],
            "{\"ok\": true}",
        ));
        assert_eq!(output.headers, BTreeMap::from([("etag".to_owned(), "\"1\"".to_owned())]));
        assert_eq!(output.body, json!({"ok": true}));
        assert_eq!(Output::of(&reply(200, &[], "plain")).body, json!("plain"));
        assert_eq!(Output::of(&reply(204, &[], "")).body, Value::Null);
    }

    proptest! {
        #[test]
        fn any_key_makes_a_header(key in "\\PC{0,300}") {
            let value = key_value(&key).unwrap();
            let text = value.to_str().unwrap();
            prop_assert!(text.starts_with('"') && text.ends_with('"') && text.len() > 2);
            prop_assert_eq!(text.matches('"').count(), 2);
        }

        #[test]
        fn any_redirect_is_judged_without_panic(location in "[ -~]{0,100}") {
            let from: Uri = "https://service/a".parse().unwrap();
            let answer = reply(302, &[("location", location.as_str())], "");
            if let Ok(Some(to)) = redirect(&from, Method::Get, &answer) {
                prop_assert_eq!(origin(&to), "https://service");
            }
        }
    }
}
