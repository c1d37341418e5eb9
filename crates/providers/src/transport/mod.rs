//! One bounded HTTP exchange with one endpoint, over plain TCP or TLS.
//!
//! Knows nothing of Redfish or of retries. Its promise: it ends by the timeout, never holds more
//! than the body limit, and its error says whether the request may have reached the other side.
//! It must never follow a redirect by itself: the caller knows which credentials go where.

pub(crate) mod tls;

pub(crate) mod resolve;

use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use rustls::ClientConfig;
use sha2::{Digest as _, Sha256};

use resolve::{OutOfReach, Resolver};

/// A BMC on the local network answers a SYN in milliseconds; 10 s outlasts three lost ones.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// BMCs close idle connections early and hold few; they are kept for the next request of a burst.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// An answer with its body read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// How long the other side asks to be left alone (RFC 9110 §10.2.3). Seconds only: BMCs and
    /// APIs do not send dates here.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// Why no whole answer came.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Nothing was sent.
    #[error("no connection: {reason}")]
    NotConnected {
        /// The system's or TLS's words.
        reason: String,
    },
    /// The name leads only to addresses that this client must not reach; nothing was sent.
    #[error("{0}")]
    OutOfReach(String),
    /// The certificate was refused; nothing was sent.
    #[error("the TLS certificate was not accepted: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// The request may have been received.
    #[error("the connection broke before the answer was whole: {reason}")]
    Lost {
        /// The system's words.
        reason: String,
    },
    /// The request may have been received.
    #[error("no whole answer within {} s", .after.as_secs())]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// The request was received and answered.
    #[error("the answer ({status}) is larger than {limit} bytes")]
    TooLarge {
        /// Status of the answer.
        status: StatusCode,
        /// What was allowed.
        limit: usize,
    },
}

/// A client for one endpoint under one TLS policy. Cloning shares its connections.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
}

impl Transport {
    /// A client that connects only to addresses that `allowed` accepts. Of each host it keeps
    /// `idle_max` connections for the next request: one that the other side closes at that very
    /// moment loses the request, with its outcome unknown.
    pub(crate) fn new(
        tls: Arc<ClientConfig>,
        idle_max: usize,
        allowed: fn(&IpAddr) -> bool,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver { allowed });
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        let connector = HttpsConnector::from((tcp, tls));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(idle_max)
            .build(connector);
        Self { client }
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        body_limit: usize,
        timeout: Duration,
    ) -> Result<Reply, TransportError> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| {
                let is_connect = error.is_connect();
                classify(&error, is_connect)
            })?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, body_limit).collect().await.map_err(|error| {
                if error.downcast_ref::<LengthLimitError>().is_some() {
                    TransportError::TooLarge { status: parts.status, limit: body_limit }
                } else {
                    TransportError::Lost { reason: innermost(error.as_ref()) }
                }
            })?;
            Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or(Err(TransportError::TimedOut { after: timeout }))
    }

    /// Sends one request and reads the whole answer, of which only its SHA-256 is kept.
    pub(crate) async fn digest(
        &self,
        request: Request<Full<Bytes>>,
        bytes_max: usize,
        timeout: Duration,
    ) -> Result<(StatusCode, [u8; 32]), TransportError> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| {
                let is_connect = error.is_connect();
                classify(&error, is_connect)
            })?;
            let (parts, mut body) = response.into_parts();
            let (mut digest, mut read) = (Sha256::new(), 0_usize);
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| classify(&error, false))?;
                let Some(data) = frame.data_ref() else { continue };
                read = read.saturating_add(data.len());
                if read > bytes_max {
                    return Err(TransportError::TooLarge {
                        status: parts.status,
                        limit: bytes_max,
                    });
                }
                digest.update(data);
            }
            Ok((parts.status, digest.finalize().into()))
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or(Err(TransportError::TimedOut { after: timeout }))
    }
}

fn classify(error: &(dyn StdError + 'static), is_connect: bool) -> TransportError {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(out) = find::<OutOfReach>(current) {
            return TransportError::OutOfReach(out.to_string());
        }
        if let Some(tls) = find::<rustls::Error>(current) {
            let reason = match tls {
                rustls::Error::InvalidCertificate(certificate) => certificate_reason(certificate),
                other if is_connect => {
                    return TransportError::NotConnected { reason: format!("TLS: {other}") };
                }
                other => return TransportError::Lost { reason: format!("TLS: {other}") },
            };
            return TransportError::Certificate { reason };
        }
        cause = current.source();
    }
    let reason = innermost(error);
    if is_connect {
        TransportError::NotConnected { reason }
    } else {
        TransportError::Lost { reason }
    }
}

/// Our errors travel inside `io::Error`, often in several, which hide them from `source()`.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut current = error;
    loop {
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        current = current.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}

fn certificate_reason(error: &rustls::CertificateError) -> String {
    use rustls::CertificateError as E;
    match error {
        E::UnknownIssuer => "it is signed by an authority that is not trusted".to_owned(),
        E::Expired | E::ExpiredContext { .. } => "it has expired".to_owned(),
        E::NotValidYet | E::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "it does not name this address".to_owned()
        }
        E::Other(other) => other.to_string(),
        other => other.to_string(),
    }
}

/// The last error of the chain says most.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
