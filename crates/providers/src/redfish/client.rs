//! The client of one BMC: requests with login, pace, retries and errors for people.
//!
//! A request is repeated by itself only if it can have had no effect: reads, and writes that were
//! not sent or that the BMC turned away. Everything else is the action's to judge.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::auth::{Auth, Login};
use super::bounded::{Budget, parse};
use super::errors;
use super::limits::{
    BODY_BYTES_MAX, CONCURRENT_PER_BMC, ERROR_BYTES_MAX, REDIRECTS_MAX, REQUEST_TIMEOUT, TRIES_MAX,
};
use super::pace::{Pace, roll};
use super::quirks::{EtagRule, Quirks};
use super::resource::{Doc, Path, Resource};
use super::target::Endpoint;
use crate::action::{ActionError, Reason};
use crate::transport::tls::Configs;
use crate::transport::{Reply, Transport, TransportError};

pub(super) const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
pub(super) const ODATA_VERSION: HeaderName = HeaderName::from_static("odata-version");

/// The client of one BMC. Shared by all actions on it.
pub(super) struct Bmc {
    pub(super) endpoint: Endpoint,
    transport: Transport,
    pub(super) auth: tokio::sync::Mutex<Auth>,
    own_slots: Semaphore,
    all_slots: Arc<Semaphore>,
    pace: Mutex<Pace>,
    root: OnceCell<Resource>,
}

impl Bmc {
    pub(super) fn new(
        endpoint: Endpoint,
        configs: &Configs,
        all_slots: Arc<Semaphore>,
    ) -> Result<Self, ActionError> {
        let tls = configs.of(&endpoint.verification).map_err(|error| {
            ActionError::permanent(
                Reason::CertificateInvalid,
                format!("BMC {}: {error}; correct spec.bmc.tls", endpoint.authority),
            )
            .because(error)
        })?;
        Ok(Self {
            endpoint,
            // BMC addresses are set by operators, who may put them anywhere.
            transport: Transport::new(tls, CONCURRENT_PER_BMC, |_any| true),
            auth: tokio::sync::Mutex::default(),
            own_slots: Semaphore::new(CONCURRENT_PER_BMC),
            all_slots,
            pace: Mutex::default(),
            root: OnceCell::new(),
        })
    }

    /// The service root, read once.
    pub(super) async fn root(&self, budget: &Budget) -> Result<&Resource, ActionError> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let login = self.login(budget).await?;
        self.root_as(Some(&login), budget).await
    }

    /// The same by a login that is there already, if any. It must not be made here: making one reads the root.
    pub(super) async fn root_as(
        &self,
        login: Option<&Login>,
        budget: &Budget,
    ) -> Result<&Resource, ActionError> {
        self.root
            .get_or_try_init(|| async {
                // The root needs no login (DSP0266 §13.3.1), but some firmwares ask for one.
                let path = Path::root();
                let mut reply = self.send(Method::GET, &path, None, None, budget).await?;
                if wants_login(reply.status) && matches!(login, Some(Login::Basic(_))) {
                    reply = self.send_with(Method::GET, &path, None, None, login, budget).await?;
                    if reply.status == StatusCode::UNAUTHORIZED {
                        return Err(self.refused(&explanation(&reply.body)));
                    }
                }
                self.read(path, reply, budget)
            })
            .await
    }

    /// Reads a resource.
    pub(super) async fn get(&self, path: &Path, budget: &Budget) -> Result<Resource, ActionError> {
        let reply = self.send_as_user(Method::GET, path, None, None, budget).await?;
        self.read(path.clone(), reply, budget)
    }

    /// Calls an action, or creates.
    pub(super) async fn post(
        &self,
        path: &Path,
        body: &Value,
        budget: &Budget,
    ) -> Result<(), ActionError> {
        let reply = self.send_as_user(Method::POST, path, Some(body), None, budget).await?;
        self.accepted(&Method::POST, path, &reply)
    }

    /// The same where the service may do it later: the task that it is, if it is not done yet (DSP0266 §13.6).
    pub(super) async fn post_task(
        &self,
        path: &Path,
        body: &Value,
        budget: &Budget,
    ) -> Result<Option<Path>, ActionError> {
        let reply = self.send_as_user(Method::POST, path, Some(body), None, budget).await?;
        self.accepted(&Method::POST, path, &reply)?;
        if reply.status != StatusCode::ACCEPTED {
            return Ok(None);
        }
        let shown: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let task = shown.get("@odata.id").and_then(Value::as_str).and_then(Path::parse);
        // An answer without a body names it, or its monitor, where it is (DSP0266 §13.6).
        let task = task.or_else(|| {
            let location = reply.headers.get(LOCATION)?.to_str().ok()?;
            Path::parse_location(location, self.endpoint.authority.as_str())
        });
        let unnamed = || {
            let message = format!(
                "BMC {}: POST {path}: it takes the command for later and names no task to look at",
                self.endpoint.authority
            );
            ActionError::permanent(Reason::BmcError, message).effect_unknown()
        };
        task.map(Some).ok_or_else(unnamed)
    }

    /// Changes properties of a resource that was just read. If another client changed it in
    /// between (412), it is read again and the change repeated once.
    pub(super) async fn patch(
        &self,
        resource: &Resource,
        body: &Value,
        quirks: &Quirks,
        budget: &Budget,
    ) -> Result<(), ActionError> {
        let path = &resource.path;
        let any = || Some("*".to_owned());
        let mut etag = match quirks.etag {
            EtagRule::Own => resource.etag.clone(),
            EtagRule::AnyOnly => any(),
        };
        let method = Method::PATCH;
        let mut again = true;
        loop {
            let reply = self
                .send_as_user(method.clone(), path, Some(body), etag.as_deref(), budget)
                .await?;
            match reply.status {
                StatusCode::PRECONDITION_FAILED if again => {
                    etag = self.get(path, budget).await?.etag;
                }
                StatusCode::PRECONDITION_REQUIRED if again => etag = any(),
                _ => return self.accepted(&method, path, &reply),
            }
            again = false;
        }
    }

    /// Sends with the login in force; logs in again once when a session has ended.
    async fn send_as_user(
        &self,
        method: Method,
        path: &Path,
        body: Option<&Value>,
        etag: Option<&str>,
        budget: &Budget,
    ) -> Result<Reply, ActionError> {
        let login = self.login(budget).await?;
        let authorization = Some(&login);
        let reply = self.send_with(method.clone(), path, body, etag, authorization, budget).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        // A 401 says that nothing was done, so also a write can be sent again.
        match login {
            Login::Session { .. } => {
                let renewed = self.login_again(&login, budget).await?;
                let reply =
                    self.send_with(method, path, body, etag, Some(&renewed), budget).await?;
                if reply.status == StatusCode::UNAUTHORIZED {
                    return Err(self.refuse(&reply).await);
                }
                Ok(reply)
            }
            Login::Basic(_) => Err(self.refuse(&reply).await),
            Login::None => Err(errors::login_wanted(self.endpoint.authority.as_str())),
        }
    }

    /// Sends without a login.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &Path,
        body: Option<&Value>,
        etag: Option<&str>,
        budget: &Budget,
    ) -> Result<Reply, ActionError> {
        self.send_with(method, path, body, etag, None, budget).await
    }

    /// Sends, at the BMC's pace, with retries where they can do no harm.
    pub(super) async fn send_with(
        &self,
        method: Method,
        path: &Path,
        body: Option<&Value>,
        etag: Option<&str>,
        login: Option<&Login>,
        budget: &Budget,
    ) -> Result<Reply, ActionError> {
        let mut path = path.clone();
        let mut redirects = 0;
        let mut tries = 0;
        loop {
            tries += 1;
            self.wait_for_turn(budget).await?;
            let request = self.request(&method, &path, body, etag, login)?;
            let outcome = {
                let _slots = self.slots(budget).await?;
                let timeout = budget.remaining().min(REQUEST_TIMEOUT);
                self.transport.exchange(request, BODY_BYTES_MAX, timeout).await
            };
            let read_only = method == Method::GET;
            let error = match outcome {
                Ok(reply) if is_redirect(reply.status, read_only) && redirects < REDIRECTS_MAX => {
                    redirects += 1;
                    tries -= 1;
                    path = self.redirect_target(&path, &reply)?;
                    continue;
                }
                Ok(reply) if is_turned_away(&reply, read_only) => {
                    let retry_after = reply.retry_after();
                    self.pace(|pace| pace.failed(Instant::now(), retry_after, roll()));
                    self.turned_away(&method, &path, &reply, retry_after)
                }
                Ok(reply) => {
                    self.pace(Pace::succeeded);
                    return Ok(reply);
                }
                Err(error) => {
                    self.pace(|pace| pace.failed(Instant::now(), None, roll()));
                    let repeat = match &error {
                        TransportError::NotConnected { .. } => true,
                        TransportError::Lost { .. } => read_only,
                        // A whole timeout was spent; the caller's budget decides, not a loop.
                        TransportError::TimedOut { .. }
                        | TransportError::OutOfReach(_)
                        | TransportError::Certificate { .. }
                        | TransportError::TooLarge { .. } => false,
                    };
                    let error = self.failed(&method, &path, error, read_only);
                    if !repeat {
                        return Err(error);
                    }
                    error
                }
            };
            let wait = self.pace(|pace| pace.wait(Instant::now()));
            if tries >= TRIES_MAX || wait >= budget.remaining() {
                return Err(error);
            }
        }
    }

    fn request(
        &self,
        method: &Method,
        path: &Path,
        body: Option<&Value>,
        etag: Option<&str>,
        login: Option<&Login>,
    ) -> Result<Request<Full<Bytes>>, ActionError> {
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let mut request = Request::new(Full::new(bytes));
        *request.method_mut() = method.clone();
        *request.uri_mut() = self.endpoint.uri(path.as_str())?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ODATA_VERSION, HeaderValue::from_static("4.0"));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(IF_MATCH, etag);
        }
        match login {
            Some(Login::Basic(value)) => {
                headers.insert(AUTHORIZATION, value.clone());
            }
            Some(Login::Session { token, .. }) => {
                headers.insert(X_AUTH_TOKEN, token.clone());
            }
            Some(Login::None) | None => {}
        }
        Ok(request)
    }

    async fn wait_for_turn(&self, budget: &Budget) -> Result<(), ActionError> {
        let (wait, failures) = self.pace(|pace| (pace.wait(Instant::now()), pace.failures()));
        if wait >= budget.remaining() {
            let mut error = ActionError::retryable(
                Reason::Throttled,
                format!(
                    "BMC {} failed {failures} times in a row and is left alone for {} s more, \
                     longer than this step may take; it is tried again after that",
                    self.endpoint.authority,
                    wait.as_secs().max(1)
                ),
            );
            error.retry_after = Some(wait);
            return Err(error);
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// One of this BMC's slots and one of all.
    async fn slots(
        &self,
        budget: &Budget,
    ) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), ActionError> {
        let both = async {
            let own = self.own_slots.acquire().await.ok()?;
            let all = self.all_slots.acquire().await.ok()?;
            Some((own, all))
        };
        match tokio::time::timeout(budget.remaining(), both).await {
            Ok(Some(slots)) => Ok(slots),
            Ok(None) | Err(_) => Err(ActionError::retryable(
                Reason::Timeout,
                format!("BMC {} is busy with other requests of ours", self.endpoint.authority),
            )),
        }
    }

    fn pace<T>(&self, use_pace: impl FnOnce(&mut Pace) -> T) -> T {
        // A poisoned pace is still a pace: it holds two plain numbers.
        use_pace(&mut self.pace.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn redirect_target(&self, from: &Path, reply: &Reply) -> Result<Path, ActionError> {
        reply
            .headers
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|text| Path::parse_location(text, self.endpoint.authority.as_str()))
            .ok_or_else(|| self.nonsense(from, "redirects to another host, which is not followed"))
    }

    fn read(&self, path: Path, reply: Reply, budget: &Budget) -> Result<Resource, ActionError> {
        self.accepted(&Method::GET, &path, &reply)?;
        let json: Value = parse(&reply.body, budget).map_err(|error| {
            self.nonsense(&path, &format!("cannot be read as JSON: {error}")).because(error)
        })?;
        if !json.is_object() {
            return Err(self.nonsense(&path, "is not a JSON object"));
        }
        let header = reply.headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let etag = header.or_else(|| Doc(&json).text("/@odata.etag"));
        Ok(Resource { path, etag, json })
    }

    fn nonsense(&self, path: &Path, what: &str) -> ActionError {
        let authority = &self.endpoint.authority;
        ActionError::retryable(
            Reason::BmcError,
            format!(
                "BMC {authority}: the answer to GET {path} {what}; if it stays so, reset the BMC"
            ),
        )
    }

    /// `Ok` for a status that says yes. A body is not looked at: iLO answers some successes with
    /// a body in the form of an error.
    fn accepted(&self, method: &Method, path: &Path, reply: &Reply) -> Result<(), ActionError> {
        if reply.status.is_success() {
            return Ok(());
        }
        let authority = &self.endpoint.authority;
        let said = explanation(&reply.body);
        let message = format!("BMC {authority}: {method} {path} answered {}: {said}", reply.status);
        Err(match reply.status {
            StatusCode::FORBIDDEN => ActionError::permanent(
                Reason::Unauthorized,
                format!("{message}; give the BMC account the privilege it lacks"),
            ),
            StatusCode::NOT_FOUND => ActionError::permanent(Reason::NotFound, message),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                ActionError::permanent(Reason::NotSupported, message)
            }
            StatusCode::BAD_REQUEST => ActionError::permanent(Reason::BmcError, message),
            _ => ActionError::retryable(Reason::BmcError, message),
        })
    }

    fn turned_away(
        &self,
        method: &Method,
        path: &Path,
        reply: &Reply,
        retry_after: Option<Duration>,
    ) -> ActionError {
        let authority = &self.endpoint.authority;
        let said = explanation(&reply.body);
        let mut error = ActionError::retryable(
            Reason::Throttled,
            format!(
                "BMC {authority}: {method} {path} answered {}: {said}; it is tried again later",
                reply.status
            ),
        );
        error.retry_after = retry_after;
        error
    }

    fn failed(
        &self,
        method: &Method,
        path: &Path,
        error: TransportError,
        read_only: bool,
    ) -> ActionError {
        let authority = self.endpoint.authority.as_str();
        errors::no_answer(authority, format_args!("{method} {path}"), error, read_only)
    }
}

/// Who asks is not known, or may not.
pub(super) fn wants_login(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// 307 and 308 keep the method; the others turn it into GET, so they only fit reads.
fn is_redirect(status: StatusCode, read_only: bool) -> bool {
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => read_only,
        _ => false,
    }
}

/// The request was not carried out. After 502 and 504 only a read can be sure of that.
fn is_turned_away(reply: &Reply, read_only: bool) -> bool {
    match reply.status {
        // A full table of sessions does not empty by waiting a little; the login does without.
        StatusCode::SERVICE_UNAVAILABLE => !names_message(&reply.body, "SessionLimitExceeded"),
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => read_only,
        _ => false,
    }
}

/// Whether an error body names a message of the Base registry (DSP0266 §8.6), whatever else it
/// holds. The name is unique enough that the text need not be parsed.
fn names_message(body: &[u8], name: &str) -> bool {
    let start = body.get(..ERROR_BYTES_MAX).unwrap_or(body);
    start.windows(name.len()).any(|part| part == name.as_bytes())
}

/// What an error body says (DSP0266 §8.6), in one line.
pub(super) fn explanation(body: &[u8]) -> String {
    let short = body.get(..ERROR_BYTES_MAX).is_none();
    let Some(json) = serde_json::from_slice::<Value>(body).ok().filter(|_json| short) else {
        return "no explanation".to_owned();
    };
    let doc = Doc(&json);
    let extended = doc
        .list("/error/@Message.ExtendedInfo")
        .chain(doc.list("/@Message.ExtendedInfo"))
        .find_map(|info| info.text("/Message").or_else(|| info.text("/MessageId")));
    let generic = doc.text("/error/message");
    // Emulators put the text in `message` and a bare id in the extended information.
    match (generic, extended) {
        (Some(generic), Some(extended)) if generic.contains("ExtendedInfo") => extended,
        (Some(generic), Some(extended)) if extended.contains(' ') => {
            if generic.contains(&extended) { generic } else { extended }
        }
        (Some(generic), _) => generic,
        (None, Some(extended)) => extended,
        (None, None) => "no explanation".to_owned(),
    }
}
