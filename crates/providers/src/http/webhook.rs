//! Webhooks: a question as JSON to a URL that somebody has written down, and the JSON that comes back.
//!
//! It reaches no further than `http.request` does, follows no redirect, and tells nothing of an answer that is not what
//! was asked for but its status: whoever may write a URL down must not read the plane's network with it.
//! A request is signed as <https://www.standardwebhooks.com> says.

use super::{
    message::{origin, parse_url},
    reach::Reach,
};
use crate::transport::{
    Transport, TransportError,
    tls::{Configs, Verification},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;
use jiff::Timestamp;
use ring::hmac;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest answer that is read.
const BODY_MAX: usize = 64 << 10;
/// Requests in flight in all: bounds sockets and memory. One that takes long holds up no others but those beyond.
const CONCURRENT_MAX: usize = 256;
/// Connections kept for a next request: none, as one that the other side closes at that moment would lose it.
const IDLE_CONNECTIONS: usize = 0;
/// What stands before a signing key that is written as base64.
const ENCODED_KEY: &[u8] = b"whsec_";

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIME: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Sends webhooks.
#[derive(Debug)]
pub struct Webhooks {
    reach: Reach,
    slots: Arc<Semaphore>,
    tls: Configs,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Webhook<'a> {
    /// Where it goes.
    pub url: &'a str,
    /// The same for each repetition.
    pub id: &'a str,
    /// What is asked.
    pub body: &'a Value,
    /// Sent as a bearer token.
    pub token: Option<&'a [u8]>,
    /// The request is signed with it.
    pub signing_key: Option<&'a [u8]>,
    /// PEM certificates to trust instead of the system's.
    pub ca_pem: Option<&'a [u8]>,
    /// The time.
    pub now: Timestamp,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// Room for one request; kept until that was answered.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "it is there to be kept")] OwnedSemaphorePermit);

/// Why there is no answer, as a sentence that names the origin and repeats nothing of the answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WebhookError(String);

impl Webhooks {
    /// Webhooks that reach so far.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        Self { reach, slots: Arc::new(Semaphore::new(CONCURRENT_MAX)), tls: Configs::default() }
    }

    /// Room for a request, if there is some at once.
    pub fn free_slot(&self) -> Option<Slot> {
        self.slots.clone().try_acquire_owned().ok().map(Slot)
    }

    /// Room for a request, in the order in which it is asked for: behind others that may take long.
    pub async fn slot(&self) -> Slot {
        match self.slots.clone().acquire_owned().await {
            Ok(permit) => Slot(permit),
            // Nobody closes them.
            Err(_closed) => std::future::pending().await,
        }
    }

    /// Sends one, and reads the answer. Its time begins now: who stood in line before is not silent.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn post(&self, webhook: &Webhook<'_>, _slot: &Slot) -> Result<Value, WebhookError> {
        let uri = parse_url(webhook.url)
            .map_err(|_wrong| WebhookError("its url is not one of a web service".into()))?;
        let from = origin(&uri);
        let fails = |why: &dyn std::fmt::Display| WebhookError(format!("{from}: {why}"));
        if self.reach.forbids(&uri) {
            return Err(fails(&"requests may not be sent there"));
        }
        let ca_pem = webhook.ca_pem.map(Into::into);
        let tls = self
            .tls
            .of(&Verification::Full { ca_pem })
            .map_err(|error| fails(&format_args!("{error}; correct its caSecretRef")))?;
        let transport = Transport::new(tls, IDLE_CONNECTIONS, self.reach.rule());
        let body = Bytes::from(webhook.body.to_string());
        let headers = headers(webhook, &body).ok_or_else(|| {
            fails(&"a secret of it has a line break or control character; correct it")
        })?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        let exchange = transport.exchange(request, BODY_MAX, webhook.timeout);
        let late = TransportError::TimedOut { after: webhook.timeout };
        let reply = tokio::time::timeout(webhook.timeout, exchange).await.unwrap_or(Err(late));
        let reply = reply.map_err(|error| fails(&error))?;
        if !reply.status.is_success() {
            return Err(fails(&format_args!("it answered {}", reply.status)));
        }
        serde_json::from_slice(&reply.body).map_err(|_wrong| fails(&"its answer is not JSON"))
    }
}

/// None when a secret cannot be a header's value.
fn headers(webhook: &Webhook<'_>, body: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json.clone());
    headers.insert(ACCEPT, json);
    let time = webhook.now.as_second().to_string();
    headers.insert(ID, HeaderValue::from_str(webhook.id).ok()?);
    headers.insert(TIME, HeaderValue::from_str(&time).ok()?);
    if let Some(token) = webhook.token {
        // Files often end with a line break, which is not part of a token.
        let bearer = [b"Bearer ", token.trim_ascii_end()].concat();
        let mut bearer = HeaderValue::from_bytes(&bearer).ok()?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    if let Some(key) = webhook.signing_key {
        let signed = [webhook.id.as_bytes(), time.as_bytes(), body].join(&b'.');
        let signature = format!("v1,{}", sign(key.trim_ascii_end(), &signed)?);
        headers.insert(SIGNATURE, HeaderValue::from_str(&signature).ok()?);
    }
    Some(headers)
}

fn sign(key: &[u8], message: &[u8]) -> Option<String> {
    let key = match key.strip_prefix(ENCODED_KEY) {
        Some(encoded) => STANDARD.decode(encoded).ok()?,
        None => key.to_vec(),
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    Some(STANDARD.encode(hmac::sign(&key, message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_signed_as_others_check_it() {
        // From the specification's own libraries.
        let key = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let message = b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        assert_eq!(sign(key, message).unwrap(), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(sign(b"whsec_*", message).is_none());
    }
}
