//! The audit log: who did what, from where, and how it was answered. Every write and every refusal has
//! one line, in the file before its answer is sent.
//!
//! [`policy`] decides what is logged, [`attributes`] says what a request is about, [`event`] is one line,
//! [`bodies`] what is logged of bodies, [`log`] and [`file`] write. Here they meet the requests. Nothing here
//! may keep a request from being answered.

mod attributes;
mod bodies;
mod event;
mod file;
mod log;
mod policy;

pub(crate) use bodies::Tap;
pub use file::LogFile;
pub use policy::Policy;

use crate::{
    answer::Answer,
    identity::{Caller, IssuedCredential},
    metrics::Metrics,
    page,
    policies::Told,
    server::{Api, Peer},
    session,
    status::ApiError,
};
use attributes::Attributes;
use bodies::Logged;
use event::{Event, ResponseStatus, User};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper::body::Incoming;
use jiff::Timestamp;
use log::{Log, Receipt};
use policy::{Level, Stage, Verdict};
use quarterdeck_model::{Key, Object, kinds, object::Uid};
use std::{
    borrow::Cow,
    io::Read as _,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Names a request, in the log and to its caller.
const AUDIT_ID: &str = "audit-id";
/// Longest name of a request that is taken over from a client, as in Kubernetes.
const AUDIT_ID_BYTES_MAX: usize = 64;
/// What a client that hung up was answered, as other servers log it.
const CLIENT_CLOSED: u16 = 499;
/// Whom the plane's own writes belong to, besides all who are known.
const CONTROLLERS: &str = "system:controllers";

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be written.
    #[error("cannot open {}: {cause}; choose another file, or none to have no audit log", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The policy is not one.
    #[error("{}: {cause}", path.display())]
    Policy {
        /// Of which file.
        path: PathBuf,
        /// What is wrong, and where.
        cause: String,
    },
}

impl Policy {
    /// What is logged when nothing else is asked for.
    ///
    /// # Errors
    /// Never, as a test shows.
    pub fn usual() -> Result<Self, AuditError> {
        let path = PathBuf::from("default-policy.yaml");
        Self::parse(Self::DEFAULT).map_err(|cause| AuditError::Policy { path, cause })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is not a policy.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| {
                file.take(policy::POLICY_BYTES_MAX as u64 + 1).read_to_string(&mut text)
            })
            .map_err(|error| error.to_string())
            .and_then(|_| Self::parse(&text))
            .map_err(|cause| AuditError::Policy { path: path.into(), cause })
    }
}

/// An audit log.
#[derive(Debug)]
pub struct Audit {
    policy: Policy,
    log: Log,
}

/// A write of the plane's own.
#[derive(Debug)]
pub struct OwnWrite<'a> {
    /// Who acted, such as `system:controller:runs`.
    pub user: &'a str,
    /// `create`, `update` or `delete`.
    pub verb: &'static str,
    /// What was written.
    pub key: &'a Key,
    /// Its identity, if known.
    pub uid: Option<&'a str>,
    /// The revision that wrote it.
    pub revision: u64,
    /// What else is known, such as the run behind it.
    pub annotations: Vec<(&'static str, &'a str)>,
}

impl Audit {
    /// Opens the log.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn open(policy: Policy, file: LogFile) -> Result<Self, AuditError> {
        let path = file.path.clone();
        let log = Log::open(file).map_err(|cause| AuditError::File { path, cause })?;
        Ok(Self { policy, log })
    }

    /// Logs writes of the plane's own; returns when they are in the file.
    pub async fn own_writes(&self, writes: &[OwnWrite<'_>]) {
        let mut last: Option<Receipt> = None;
        for write in writes {
            if let Some(line) = self.own_line(write, Timestamp::now()) {
                last = Some(self.log.give(line).await);
            }
        }
        // Lines are written in the order in which they were given.
        if let Some(last) = last {
            last.wait().await;
        }
    }

    fn own_line(&self, write: &OwnWrite<'_>, now: Timestamp) -> Option<Vec<u8>> {
        let kind = kinds::by_resource_name(&write.key.kind)?;
        let attributes = Attributes::of_own(write.verb, kind, write.key);
        let groups = [CONTROLLERS.to_owned(), "system:authenticated".to_owned()];
        let verdict = self.policy.decide(write.user, &groups, &attributes, Stage::ResponseComplete);
        if verdict.level == Level::None {
            return None;
        }
        let id = uuid::Uuid::new_v4().to_string();
        let user = User { username: write.user, uid: None, groups: &groups, extra: None };
        let mut event = Event::new(&id, &attributes, user, now, now);
        if let Some(object) = &mut event.object_ref {
            object.uid = write.uid.unwrap_or_default();
            object.resource_version = write.revision.to_string();
        }
        event.annotations =
            write.annotations.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        Some(event.line())
    }

    /// Returns when all that was given before is in the file.
    pub async fn flush(&self) {
        self.log.give(Vec::new()).await.wait().await;
    }

    /// How much is logged of a request that was answered so.
    fn verdict(
        &self,
        asked: &Asked,
        attributes: &Attributes<'_>,
        stage: Stage,
        code: u16,
    ) -> Verdict {
        let Caller { user, groups, .. } = &*asked.caller;
        let verdict = self.policy.decide(user, groups, attributes, stage);
        // A policy is about what is done. What is refused is always told.
        let refused =
            matches!(code, 401 | 403 | 429) || attributes.is_write() && (400..500).contains(&code);
        let least = if refused { Level::Metadata } else { Level::None };
        Verdict { level: verdict.level.max(least), ..verdict }
    }
}

/// Whom the caller acted as, in the extensions of the answer.
#[derive(Debug, Clone)]
pub(crate) struct Impersonated(pub(crate) Arc<Caller>);

/// What an answer is about, in its extensions: an address alone does not name what is created.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    key: Key,
    uid: Uid,
    revision: u64,
}

impl Subject {
    pub(crate) fn of(object: &Object) -> Self {
        Self { key: object.key.clone(), uid: object.uid().into(), revision: object.revision.0 }
    }
}

/// What is known of a request when it comes.
struct Asked {
    id: String,
    caller: Arc<Caller>,
    from: IpAddr,
    method: Method,
    uri: Uri,
    agent: Option<HeaderValue>,
    received: Timestamp,
    tap: Option<Tap>,
}

impl Asked {
    fn agent(&self) -> &str {
        self.agent.as_ref().and_then(|agent| agent.to_str().ok()).unwrap_or_default()
    }
}

/// A request that is not logged yet. Dropped when its client hangs up: then it is logged all the same, or
/// whoever hangs up at once could write unseen.
struct Pending {
    audit: Arc<Audit>,
    asked: Asked,
    over: bool,
}

impl Api {
    /// The same API with an audit log.
    #[must_use]
    pub fn with_audit(mut self, audit: Arc<Audit>) -> Self {
        let log::Counts { written, lost } = audit.log.counts.clone();
        self.metrics.count_audit(written, lost);
        self.audit = Some(audit);
        self
    }

    /// Answers one request that came over a connection of `peer`, and logs that.
    pub(crate) async fn audited(&self, peer: &Peer, mut request: Request<Incoming>) -> Answer {
        let Peer { caller, from, .. } = peer;
        let from = *from;
        if let Some(answer) = page::answer(&request) {
            return answer;
        }
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let who = match session::from_elsewhere(method, uri, headers) {
            true => Err(ApiError::forbidden(
                "the request was sent by another site; writes are taken from the plane's own page, and from programs",
            )),
            false => self.authenticate(caller, peer.certificate_ends, uri, headers).await,
        };
        if let Ok(who) = &who {
            self.showed(peer, who);
        }
        // Whose a token is that is no good is not known: then the caller of the connection is named.
        let caller = who.as_ref().map_or(caller, |who| &who.caller).clone();
        let who = who.as_ref().map_err(ApiError::clone);
        let id = audit_id(request.headers());
        let header = HeaderValue::from_str(&id);
        let mut answer = match &self.audit {
            None => self.answer(who, peer, request).await,
            Some(audit) => {
                let pending = Pending::begin(audit, id, &caller, from, &mut request);
                let answer = self.answer(who, peer, request).await;
                pending.end(answer).await
            }
        };
        if let Ok(header) = header {
            answer.headers_mut().insert(AUDIT_ID, header);
        }
        answer
    }

    /// Logs what the plane itself brought.
    pub(crate) async fn brought(&self, verb: &'static str, answer: Answer) {
        if let (Some(audit), Some(subject)) = (&self.audit, answer.extensions().get::<Subject>()) {
            let Subject { key, uid, revision } = subject;
            let user = "system:quarterdeck";
            let (uid, revision, annotations) = (Some(&**uid), *revision, Vec::new());
            audit.own_writes(&[OwnWrite { user, verb, key, uid, revision, annotations }]).await;
        }
    }
}

impl Metrics {
    fn count_audit(
        &mut self,
        written: prometheus_client::metrics::counter::Counter,
        lost: prometheus_client::metrics::counter::Counter,
    ) {
        self.registry.register("audit_lines", "Lines of the audit log in its file", written);
        self.registry.register(
            "audit_lines_lost",
            "Lines of the audit log that could not be written",
            lost,
        );
    }
}

/// The client's own name for its request if it is a sane one, or a new one.
fn audit_id(headers: &HeaderMap) -> String {
    let sane = |id: &&str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        !id.is_empty() && id.len() <= AUDIT_ID_BYTES_MAX && id.bytes().all(letters)
    };
    let given = headers.get(AUDIT_ID).and_then(|id| id.to_str().ok()).filter(sane);
    given.map_or_else(|| uuid::Uuid::new_v4().to_string(), Into::into)
}

impl Pending {
    fn begin(
        audit: &Arc<Audit>,
        id: String,
        caller: &Arc<Caller>,
        from: IpAddr,
        request: &mut Request<Incoming>,
    ) -> Self {
        let method = request.method().clone();
        // The body of a deletion may say that it is a dry run.
        let tapped = method == Method::DELETE
            || audit.policy.wants_bodies() && !matches!(method, Method::GET | Method::HEAD);
        let tap = tapped.then(Tap::default);
        if let Some(tap) = &tap {
            request.extensions_mut().insert(tap.clone());
        }
        let asked = Asked {
            id,
            caller: caller.clone(),
            from,
            method,
            uri: request.uri().clone(),
            agent: request.headers().get(header::USER_AGENT).cloned(),
            received: Timestamp::now(),
            tap,
        };
        Self { audit: audit.clone(), asked, over: false }
    }

    /// Logs how it was answered.
    async fn end(mut self, answer: Answer) -> Answer {
        let attributes = Attributes::of(&self.asked.method, &self.asked.uri);
        let code = answer.status();
        let stage = match attributes.verb {
            "watch" if code.is_success() => Stage::ResponseStarted,
            _ if code == StatusCode::SWITCHING_PROTOCOLS => Stage::ResponseStarted,
            _ => Stage::ResponseComplete,
        };
        let verdict = self.audit.verdict(&self.asked, &attributes, stage, code.as_u16());
        if verdict.level == Level::None {
            self.over = true;
            return answer;
        }
        let (answer, body) = match verdict.level {
            Level::RequestResponse => bodies::peek(answer).await,
            _ => (answer, Logged::Nothing),
        };
        let line = self.asked.line(&attributes, stage, verdict, &answer, body);
        let receipt = self.audit.log.give(line).await;
        self.over = true;
        receipt.wait().await;
        answer
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let asked = &self.asked;
        let attributes = Attributes::of(&asked.method, &asked.uri);
        let verdict = self.audit.verdict(asked, &attributes, Stage::Panic, CLIENT_CLOSED);
        if verdict.level == Level::None {
            return;
        }
        let mut event = asked.event(&attributes);
        event.stage = Stage::Panic;
        let message = "the client hung up before it was answered; whether it was done is not known";
        let code = StatusCode::from_u16(CLIENT_CLOSED).unwrap_or(StatusCode::BAD_REQUEST);
        event.response_status = Some(ResponseStatus::new(code, "ClientClosedRequest", message));
        self.audit.log.give_now(event.line());
    }
}

fn user(caller: &Caller) -> User<'_> {
    User {
        username: &caller.user,
        uid: caller.uid.as_deref(),
        groups: &caller.groups,
        extra: Some(&caller.extra).filter(|extra| !extra.is_empty()),
    }
}

impl Asked {
    fn event<'a>(&'a self, attributes: &'a Attributes<'_>) -> Event<'a> {
        let user = user(&self.caller);
        let mut event = Event::new(&self.id, attributes, user, self.received, Timestamp::now());
        event.uri = self.uri.path_and_query().map_or("", |it| it.as_str()).into();
        // Of the socket: what a header says of its origin, anyone may write.
        event.source = Some([self.from.to_canonical()]);
        event.user_agent = self.agent();
        event
    }

    fn line(
        &self,
        attributes: &Attributes<'_>,
        stage: Stage,
        verdict: Verdict,
        answer: &Answer,
        response: Logged,
    ) -> Vec<u8> {
        let mut event = self.event(attributes);
        (event.level, event.stage) = (verdict.level, stage);
        let extensions = answer.extensions();
        if let (Some(object), Some(subject)) = (&mut event.object_ref, extensions.get::<Subject>())
        {
            (object.namespace, object.name) = (&subject.key.namespace, &subject.key.name);
            object.uid = &subject.uid;
            object.resource_version = subject.revision.to_string();
        }
        event.impersonated_user =
            extensions.get::<Impersonated>().map(|Impersonated(other)| user(other));
        let hidden = attributes.resource.as_ref().is_some_and(policy::is_confidential);
        let refusal = extensions.get::<ApiError>();
        event.response_status = Some(match refusal {
            // What it says may repeat what was sent.
            Some(error) if hidden => ResponseStatus::new(error.code, error.reason, ""),
            Some(error) => ResponseStatus::new(error.code, error.reason, &error.message),
            None => ResponseStatus::new(answer.status(), "", ""),
        });
        // What policies note may repeat it too, were it only in the error of an expression.
        if let Some(told) = extensions.get::<Told>().filter(|_| !hidden) {
            event.annotations.extend(told.notes().map(|(name, text)| (name.into(), text.into())));
        }
        if let Some(IssuedCredential(id)) = extensions.get() {
            let name = Cow::from("authentication.kubernetes.io/issued-credential-id");
            event.annotations.insert(name, Cow::from(&**id));
        }
        let tap = self.tap.as_ref();
        let mut annotate = |name: &'static str, text: &'static str| {
            event.annotations.insert(name.into(), text.into())
        };
        match answer.status() {
            StatusCode::UNAUTHORIZED => None,
            StatusCode::FORBIDDEN => annotate("authorization.k8s.io/decision", "forbid"),
            _ => annotate("authorization.k8s.io/decision", "allow"),
        };
        if attributes.dry_run || tap.is_some_and(Tap::asks_dry_run) {
            annotate("quarterdeck.dev/dry-run", "true");
        }
        let request = match tap {
            Some(tap) if verdict.level > Level::Metadata => tap.value(),
            _ => Logged::Nothing,
        };
        let (request, response) =
            (request.fit(verdict.omit_managed_fields), response.fit(verdict.omit_managed_fields));
        if [&request, &response].contains(&&Logged::TooLarge) {
            annotate("audit.k8s.io/truncated", "true");
        }
        if let Logged::Object(value) = request {
            event.request_object = Some(value);
        }
        if let Logged::Object(value) = response {
            event.response_object = Some(value);
        }
        event.line()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sane_names_of_requests_are_taken_over() {
        let id = |given: &str| {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(given) {
                headers.insert(AUDIT_ID, value);
            }
            audit_id(&headers)
        };
        assert_eq!(id("deploy-17/step.3"), "deploy-17/step.3");
        for insane in ["", "a b", "a\"b", "é", &"a".repeat(AUDIT_ID_BYTES_MAX + 1)] {
            assert_eq!(id(insane).len(), 36, "{insane}");
        }
    }
}
