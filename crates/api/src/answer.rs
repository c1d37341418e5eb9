//! Answers on their way out: bodies, headers, warnings.

use crate::{fairness, policies::Told, status::ApiError};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde_json::Value;
use std::convert::Infallible;
use tokio::sync::watch;

/// Any body that is sent.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
/// Any answer.
pub(crate) type Answer = Response<Body>;

/// Marks a large answer in several pieces. (A stream that goes on has no such extension.)
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finite;

/// Marks what is said in a session, which waits for whoever takes it for as long as that lasts: until nobody holds the
/// other end.
#[derive(Debug, Clone)]
pub(crate) struct Lasts(pub(crate) watch::Receiver<()>);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of `media` type from one piece.
pub(crate) fn of(status: StatusCode, media: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, media);
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// A JSON answer.
pub(crate) fn json(value: &Value) -> Answer {
    of(StatusCode::OK, JSON, value.to_string())
}

/// The same as a set of keys (RFC 7517 §8.5), which others may keep for a while.
pub(crate) fn as_keys(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    answer
}

/// JSON that is encoded already.
pub(crate) fn bytes(body: Bytes) -> Answer {
    of(StatusCode::OK, JSON, body)
}

/// Plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    of(status, HeaderValue::from_static("text/plain; charset=utf-8"), text)
}

/// JSON in several pieces, which is large. Others have their turn before each but the first is made.
pub(crate) fn pieces(first: Bytes, rest: impl Iterator<Item = Bytes> + Send + 'static) -> Answer {
    let rest = stream::unfold(rest, |mut rest| async move {
        fairness::let_others().await;
        let piece = rest.next()?;
        Some((Ok(Frame::data(piece)), rest))
    });
    let first = stream::iter([Ok(Frame::data(first))]);
    let mut answer = streamed(StreamBody::new(first.chain(rest)).boxed_unsync());
    answer.extensions_mut().insert(Finite);
    answer
}

/// JSON that is made while it is sent.
pub(crate) fn streamed(body: Body) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, JSON);
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// Cause of a refusal to evict. Source: Kubernetes, `policyv1.DisruptionBudgetCause`.
pub(crate) const DISRUPTION_BUDGET: &str = "DisruptionBudget";

/// A refusal. It goes along, for the audit log.
pub(crate) fn refusal(error: &ApiError) -> Answer {
    let mut answer = of(error.code, JSON, error.status().to_string());
    // Clients of Kubernetes come back by themselves when they are told when; of an eviction people are to hear why not.
    let cause = error.details.as_ref().and_then(|it| it.pointer("/causes/0/reason"));
    let waits = cause.is_some_and(|cause| cause == DISRUPTION_BUDGET);
    if matches!(error.code, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
        && !waits
    {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    // A policy may refuse so whoever asks: no other token would help.
    if error.code == StatusCode::UNAUTHORIZED && error.told.is_none() {
        // Nobody is asked for a token (RFC 6750 §3): only one that is not good is answered so.
        let challenge =
            HeaderValue::from_static("Bearer realm=\"quarterdeck\", error=\"invalid_token\"");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(told) = &error.told {
        Told::clone(told).tell(&mut answer);
    }
    answer.extensions_mut().insert(ApiError { told: None, ..error.clone() });
    answer
}

/// Most warnings of an answer: more would exceed what clients accept as headers.
pub(crate) const WARNINGS_MAX: usize = 20;
/// Longest warning.
const WARNING_LETTERS_MAX: usize = 400;

/// Adds `Warning` headers (RFC 7234 §5.5, code 299 as Kubernetes uses it), which kubectl prints.
pub(crate) fn warn(answer: &mut Answer, warnings: &[String]) {
    for warning in warnings.iter().take(WARNINGS_MAX) {
        let quoted: String = warning
            .chars()
            .filter(|letter| !letter.is_control())
            .take(WARNING_LETTERS_MAX)
            .flat_map(|letter| {
                let escape = matches!(letter, '"' | '\\').then_some('\\');
                escape.into_iter().chain([letter])
            })
            .collect();
        // As bytes: what is not ASCII is sent as UTF-8, as Kubernetes does.
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            answer.headers_mut().append(header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_sent_whatever_its_letters_and_cut_between_them() {
        let mut answer = json(&Value::Null);
        let long = format!("{}\"\"", "a".repeat(WARNING_LETTERS_MAX - 1));
        warn(&mut answer, &["größer\nals \\".to_owned(), long]);
        let told: Vec<_> = answer.headers().get_all(header::WARNING).iter().collect();
        assert_eq!(told[0].as_bytes(), "299 - \"größerals \\\\\"".as_bytes());
        assert!(told[1].as_bytes().ends_with(b"aa\\\"\""), "{:?}", told[1]);
    }
}
