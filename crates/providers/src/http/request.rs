//! `http.request`: one request to a service, told apart from its repetitions by a key.
//!
//! Reads, puts and deletes may be repeated. A POST or PATCH whose outcome is not known is not sent
//! again unless the runbook says that it does no harm (`repeatIfUnknown`), as it does not at
//! services that honour the `Idempotency-Key` sent with it: it fails with `OutcomeUnknown`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::Full;
use quarterdeck_model::Duration as SpecDuration;
use quarterdeck_model::kinds::SecretReference;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::message::{
    HEADERS_MAX, Method, Output, SecretHeader, body_bytes, complete, conceal, header, invalid,
    origin, parse_url, redirect,
};
use super::reach::Reach;
use crate::action::{Action, ActionContext, ActionError, Reason};
use crate::attempts::Unsent;
use crate::secrets;
use crate::transport::tls::{Configs, Verification};
use crate::transport::{Reply, Transport, TransportError};

/// Largest answer kept: it is recorded with the run.
const BODY_KEPT_MAX: usize = 64 << 10;

/// How long one request with its answer may take where the step does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Redirects followed for one request.
const REDIRECTS_MAX: u32 = 5;

/// Connections kept for a next request: none, as steps to one service are rare, and a POST on a
/// connection that the service closes at that moment would be lost with its outcome unknown.
const IDLE_CONNECTIONS: usize = 0;

/// Requests in flight in all: bounds sockets, and memory (× [`BODY_KEPT_MAX`]).
const CONCURRENT_MAX: usize = 256;

/// Input of `http.request`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Input {
    /// What to do; `GET` when left out.
    #[serde(default)]
    method: Method,
    /// Where: `https://` or `http://`, without a user or password.
    url: String,
    /// Headers to send.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Headers to send whose values are in Secrets.
    #[serde(default)]
    secret_headers: BTreeMap<String, SecretHeader>,
    /// What to send: text as it stands, anything else as JSON.
    #[serde(default)]
    body: Option<Value>,
    /// Status codes that mean success; any of 200 to 299 when left out.
    #[serde(default)]
    expect_status: Vec<u16>,
    /// How long the answer may take; 30s when left out, and never longer than the step.
    #[serde(default)]
    timeout: Option<SpecDuration>,
    /// Secret with the key `ca.crt`: PEM certificates to trust instead of the system's.
    #[serde(default)]
    ca_secret_ref: Option<SecretReference>,
    /// Send a POST or PATCH again when it cannot be told whether an earlier attempt worked.
    #[serde(default)]
    repeat_if_unknown: bool,
}

pub(super) struct HttpRequest {
    reach: Reach,
    slots: Arc<Semaphore>,
    unsent: Unsent,
    tls: Configs,
}

impl Action for HttpRequest {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "http.request";
    const SUMMARY: &'static str = "Sends one HTTP request and checks its answer.";
    const TARGET_KINDS: &'static [&'static str] = &[];
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let result = self.request(context, &input).await;
        self.unsent.note(context, result.as_ref().err());
        result
    }
}

impl HttpRequest {
    pub(super) fn new(reach: Reach) -> Self {
        Self {
            reach,
            slots: Arc::new(Semaphore::new(CONCURRENT_MAX)),
            unsent: Unsent::default(),
            tls: Configs::default(),
        }
    }

    async fn request(&self, context: &ActionContext, input: &Input) -> Result<Output, ActionError> {
        let mut uri = parse_url(&input.url)?;
        let method = input.method;
        let (body, content_type) = body_bytes(input.body.as_ref())?;
        let (mut headers, secrets) = headers(context, input)?;
        let key = (!method.is_safe()).then_some(context.idempotency_key.as_str());
        complete(&mut headers, content_type, key);
        let transport = self.transport(context, input)?;
        if !method.is_idempotent() && !input.repeat_if_unknown && !self.unsent.is_first(context) {
            return Err(ActionError::permanent(
                Reason::OutcomeUnknown,
                format!(
                    "{}: an earlier attempt may have worked; look at the service, then retry the \
                     step or skip it. If it knows repetitions by Idempotency-Key, set \
                     repeatIfUnknown",
                    origin(&uri)
                ),
            )
            .effect_unknown());
        }
        let timeout = input.timeout.map_or(TIMEOUT, SpecDuration::as_std).min(context.remaining());
        let exchange = async {
            let _slot = self.slots.acquire().await;
            for _redirect in 0..=REDIRECTS_MAX {
                if self.reach.forbids(&uri) {
                    return Err(forbidden(&uri));
                }
                let mut request = Request::new(Full::new(body.clone()));
                *request.method_mut() = method.as_http();
                *request.uri_mut() = uri.clone();
                *request.headers_mut() = headers.clone();
                let reply = match transport.exchange(request, BODY_KEPT_MAX, timeout).await {
                    Ok(reply) => reply,
                    Err(TransportError::TooLarge { status, .. }) if expected(input, status) => {
                        return Ok(Output::without_body(status));
                    }
                    Err(error) => return Err(failed(&uri, method, error)),
                };
                match redirect(&uri, method, &reply)? {
                    Some(next) => uri = next,
                    None if expected(input, reply.status) => {
                        let mut output = Output::of(&reply);
                        conceal(&mut output, &secrets);
                        return Ok(output);
                    }
                    None => return Err(unexpected(&uri, method, &reply)),
                }
            }
            Err(ActionError::permanent(
                Reason::UnexpectedStatus,
                format!("{} redirects more than {REDIRECTS_MAX} times", origin(&uri)),
            ))
        };
        // The time covers redirects and the wait for a slot too.
        let ended = tokio::time::timeout(timeout, exchange).await;
        ended.unwrap_or_else(|_elapsed| {
            let after = TransportError::TimedOut { after: timeout };
            let start = parse_url(&input.url)?;
            Err(failed(&start, method, after))
        })
    }

    /// The client for the certificates that the step trusts.
    fn transport(&self, context: &ActionContext, input: &Input) -> Result<Transport, ActionError> {
        let ca_pem = match &input.ca_secret_ref {
            Some(reference) => {
                let secret = secrets::read(context, reference)?;
                Some(secrets::value(&secret, reference, "ca.crt")?.into())
            }
            None => None,
        };
        let tls = self.tls.of(&Verification::Full { ca_pem }).map_err(|error| {
            let message = format!("http.request: {error}; correct caSecretRef");
            ActionError::permanent(Reason::CertificateInvalid, message).because(error)
        })?;
        Ok(Transport::new(tls, IDLE_CONNECTIONS, self.reach.rule()))
    }
}

/// The headers, and the secrets in them.
fn headers(
    context: &ActionContext,
    input: &Input,
) -> Result<(HeaderMap, Vec<String>), ActionError> {
    if input.headers.len() + input.secret_headers.len() > HEADERS_MAX {
        return Err(invalid(format!("there are more than {HEADERS_MAX} headers")));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &input.headers {
        let (name, value) = header(name, value.as_bytes())?;
        headers.insert(name, value);
    }
    let mut secrets = Vec::new();
    for (name, source) in &input.secret_headers {
        let secret = crate::secrets::read(context, &source.secret_ref)?;
        let value = crate::secrets::value(&secret, &source.secret_ref, &source.key)?;
        // Files often end with a line break, which is not part of a token.
        let value = value.trim_ascii_end();
        secrets
            .extend(std::str::from_utf8(value).ok().filter(|v| !v.is_empty()).map(str::to_owned));
        let value = [source.prefix.as_bytes(), value].concat();
        let (name, mut value) = header(name, &value)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok((headers, secrets))
}

fn expected(input: &Input, status: StatusCode) -> bool {
    if input.expect_status.is_empty() {
        status.is_success()
    } else {
        input.expect_status.contains(&status.as_u16())
    }
}

fn forbidden(uri: &Uri) -> ActionError {
    ActionError::permanent(
        Reason::Forbidden,
        format!(
            "{} is where requests may not be sent to: the plane's own machine, its link, or its \
             cloud's metadata service; correct url",
            origin(uri)
        ),
    )
}

fn unexpected(uri: &Uri, method: Method, reply: &Reply) -> ActionError {
    let status = reply.status;
    let message = format!("{}: {} was answered {status}", origin(uri), method.as_http());
    match status {
        // Turned away: nothing was done.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let mut error = ActionError::retryable(Reason::Throttled, message);
            error.retry_after = reply.retry_after();
            error
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
            ActionError::retryable(Reason::UnexpectedStatus, message)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let message = format!("{message}; correct the Secret that secretHeaders names");
            ActionError::permanent(Reason::Unauthorized, message)
        }
        status if status.is_server_error() => {
            let error = ActionError::retryable(Reason::UnexpectedStatus, message);
            if method.is_safe() { error } else { error.effect_unknown() }
        }
        status if status.is_client_error() => {
            ActionError::permanent(Reason::UnexpectedStatus, message)
        }
        // A success that the step does not want may have done what it was sent for.
        _ => ActionError::permanent(Reason::UnexpectedStatus, message).effect_unknown(),
    }
}

fn failed(uri: &Uri, method: Method, error: TransportError) -> ActionError {
    let what = format!("{}: {}: {error}", origin(uri), method.as_http());
    let failed = match &error {
        TransportError::NotConnected { .. } => ActionError::retryable(
            Reason::Unreachable,
            format!("{what}; check url and that the service is up"),
        ),
        TransportError::Certificate { .. } => ActionError::permanent(
            Reason::CertificateInvalid,
            format!("{what}; correct the service's certificate or caSecretRef"),
        ),
        TransportError::OutOfReach(_) => return forbidden(uri),
        TransportError::Lost { .. } => ActionError::retryable(Reason::Unreachable, what),
        TransportError::TimedOut { .. } => ActionError::retryable(Reason::Timeout, what),
        TransportError::TooLarge { .. } => ActionError::permanent(Reason::UnexpectedStatus, what),
    };
    let unsent =
        matches!(error, TransportError::NotConnected { .. } | TransportError::Certificate { .. });
    let failed = if method.is_safe() || unsent { failed } else { failed.effect_unknown() };
    failed.because(error)
}
