//! One request of HTTP into a request of Redfish, and the answer back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Request as HttpRequest, Response,
    StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, IF_MATCH},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, service::Service};
use quarterdeck_sim::{
    Simulation,
    redfish::{Answer, Body, Method, Reply, Request},
};
use std::{future::Future, io, pin::Pin, sync::Arc, time::Duration};
use tokio::time::sleep;

/// Longest body: the longest honest one is a boot order.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A BMC that hangs holds a connection for at most so long: clients give up long before.
const HANG_MAX: Duration = Duration::from_secs(600);

/// One BMC, as a connection has called it.
pub(crate) struct Bmc {
    simulation: Simulation,
    name: Arc<str>,
}

impl Bmc {
    pub(crate) fn new(simulation: Simulation, name: String) -> Self {
        Self { simulation, name: name.into() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

type Answered = Pin<Box<dyn Future<Output = io::Result<Response<Full<Bytes>>>> + Send>>;

impl Service<HttpRequest<Incoming>> for Bmc {
    type Response = Response<Full<Bytes>>;
    /// The connection is closed without an answer.
    type Error = io::Error;
    type Future = Answered;

    fn call(&self, request: HttpRequest<Incoming>) -> Answered {
        let (simulation, name) = (self.simulation.clone(), self.name.clone());
        Box::pin(async move { exchange(&simulation, &name, request).await })
    }
}

async fn exchange(
    simulation: &Simulation,
    name: &str,
    request: HttpRequest<Incoming>,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let body = body.to_bytes();
    let basic = basic(&head.headers);
    let header = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let request = Request {
        method: match head.method {
            HttpMethod::GET | HttpMethod::HEAD => Method::Get,
            HttpMethod::POST => Method::Post,
            HttpMethod::PATCH => Method::Patch,
            HttpMethod::DELETE => Method::Delete,
            _ => Method::Other,
        },
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        token: header(HeaderName::from_static("x-auth-token")),
        basic: basic.as_deref().and_then(|both| both.split_once(':')),
        if_match: header(IF_MATCH),
        body: &body,
        now: jiff::Timestamp::now(),
    };
    match simulation.redfish(name, request).await {
        Reply::Answer(answer) => Ok(response(answer)),
        Reply::Never => {
            // The client ends this, by closing the connection.
            sleep(HANG_MAX).await;
            Err(io::ErrorKind::TimedOut.into())
        }
        Reply::Closed => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

/// `user:password` of HTTP's basic authentication (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<String> {
    let (scheme, given) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let given = STANDARD.decode(given.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
    String::from_utf8(given?).ok()
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = plain(status);
    let (kind, body) = match answer.body {
        Body::Empty => (None, Bytes::new()),
        Body::Json(json) => (Some("application/json;charset=utf-8"), json.to_string().into()),
        Body::Xml(xml) => (Some("application/xml;charset=utf-8"), xml.into()),
    };
    *response.body_mut() = Full::new(body);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("odata-version"), HeaderValue::from_static("4.0"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}
