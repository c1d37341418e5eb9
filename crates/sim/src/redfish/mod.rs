//! The BMC of a simulated machine as a client of Redfish finds it: one request in, one answer out, with the delays and
//! faults of the model. What is shown is rendered from the machine's state (`view.rs` and the resources beside it),
//! what is asked for (`ask.rs`) is done to it (`act.rs`), so that the twins of actions and whoever speaks Redfish meet the same
//! machine.
//!
//! It must not know how requests travel: no sockets, no TLS, no wall clock. Resources follow DMTF's schemas
//! (DSP8010), errors and sessions the specification (DSP0266).

mod act;
mod ask;
mod chassis;
mod manager;
mod message;
mod schema;
mod service;
mod services;
mod system;
mod view;

pub(crate) use service::Service;

use crate::{
    clock,
    contact::{Contact, Exchange, Reach},
    faults::Fault,
    latency::READ,
    random::name,
    simulation::Simulation,
    visit::NO_SESSION,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use view::View;

/// What a request asks to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Show a resource.
    Get,
    /// Call an action, or create.
    Post,
    /// Change properties.
    Patch,
    /// Remove.
    Delete,
    /// Anything else, which nothing here allows.
    Other,
}

/// A request as a BMC receives it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// What it asks to have done.
    pub method: Method,
    /// Path of the resource, without a query.
    pub path: &'r str,
    /// The query, empty when there is none.
    pub query: &'r str,
    /// `X-Auth-Token`.
    pub token: Option<&'r str>,
    /// User name and password of HTTP's basic authentication.
    pub basic: Option<(&'r str, &'r str)>,
    /// `If-Match`.
    pub if_match: Option<&'r str>,
    /// The body.
    pub body: &'r [u8],
    /// The true time, which the BMC's clock may be far from.
    pub now: Timestamp,
}

/// What comes back.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// An answer.
    Answer(Answer),
    /// Nothing, ever: the BMC hangs.
    Never,
    /// The connection is closed.
    Closed,
}

/// An answer.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// HTTP's status.
    pub status: u16,
    /// Headers besides those of any answer.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// Body of an answer.
#[derive(Debug, Default, PartialEq)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// A resource, or an error.
    Json(Value),
    /// The service's metadata.
    Xml(String),
}

impl Answer {
    fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    fn json(status: u16, body: Value) -> Self {
        Self { status, body: Body::Json(body), ..Self::default() }
    }

    fn with(mut self, header: &'static str, value: String) -> Self {
        self.headers.push((header, value));
        self
    }
}

/// The service's root.
const ROOT: &str = "/redfish/v1";

impl Simulation {
    /// What the BMC at `address` answers, after the time it takes.
    pub async fn redfish(&self, address: &str, request: Request<'_>) -> Reply {
        let mut contact = self.0.exchange(address, Exchange::Request, None);
        match contact.reach() {
            Reach::Away => return Reply::Closed,
            Reach::Wedged => return Reply::Never,
            Reach::Answers => {}
        }
        contact.takes(READ).await;
        let path = request.path.trim_end_matches('/');
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (request.method, parts.as_slice()) {
            (Method::Get, ["redfish"]) => {
                Reply::Answer(Answer::json(200, json!({"v1": "/redfish/v1/"})))
            }
            (Method::Get, ["redfish", "v1", "$metadata"]) => {
                let body = Body::Xml(schema::metadata());
                Reply::Answer(Answer { status: 200, headers: Vec::new(), body })
            }
            (Method::Get, ["redfish", "v1", "odata"]) => {
                Reply::Answer(Answer::json(200, schema::odata()))
            }
            // The root and a login need none (DSP0266 §13.3).
            (Method::Get, ["redfish", "v1"]) => Reply::Answer(show(&contact, &[], &request)),
            (Method::Post, ["redfish", "v1", "SessionService", "Sessions"]) => {
                Reply::Answer(act::log_in(&mut contact, &request))
            }
            (_, ["redfish", "v1", rest @ ..]) if is_known(&contact, &request) => {
                if request.method == Method::Get {
                    return Reply::Answer(show(&contact, rest, &request));
                }
                act::act(&mut contact, rest, &request).await
            }
            (_, ["redfish", "v1", ..]) => Reply::Answer(message::no_session(NO_SESSION)),
            _ => Reply::Answer(message::not_found(request.path)),
        }
    }

    /// Whether nobody takes a connection at the address of that BMC.
    #[must_use]
    pub fn is_away(&self, address: &str) -> bool {
        self.0.contact(address).is_away()
    }

    /// From when to when the certificate of the BMC at `address` is good, which it has made by its own clock.
    #[must_use]
    pub fn certificate_times(&self, address: &str, now: Timestamp) -> (Timestamp, Timestamp) {
        let contact = self.0.contact(address);
        clock::certificate(clock_of(&contact, now))
    }
}

/// The clock of a machine's BMC.
fn clock_of(contact: &Contact<'_>, now: Timestamp) -> Timestamp {
    let at = Instant::now();
    let set = contact.state(|state| state.rest.as_ref().and_then(|rest| rest.service.clock()));
    match set {
        Some(offset) => now.checked_add(offset).unwrap_or(now),
        None => contact.clock(now, at),
    }
}

/// Whether the request shows a session or an account of the BMC.
fn is_known(contact: &Contact<'_>, request: &Request<'_>) -> bool {
    let now = Instant::now();
    if let Some(token) = request.token {
        return contact.state(|state| {
            let rest = state.rest.as_mut();
            rest.is_some_and(|rest| rest.service.is_session(token, now))
        });
    }
    request.basic.is_some_and(|(user, password)| contact.knows(user, password))
}

/// Shows a resource, as the query wants it.
fn show(contact: &Contact<'_>, parts: &[&str], request: &Request<'_>) -> Answer {
    let view = View::of(contact, request.now);
    let Some(mut resource) = view.resource(parts) else {
        return message::not_found(request.path);
    };
    if let Err(wrong) = view.apply_query(&mut resource, request.query) {
        return wrong;
    }
    let monitors = parts.first() == Some(&"TaskService") && parts.get(1) == Some(&"TaskMonitors");
    let runs = resource.get("TaskState").is_some_and(|state| state == "Running");
    let status = if monitors && runs { 202 } else { 200 };
    let etag = etag(&resource);
    if let Some(fields) = resource.as_object_mut() {
        fields.insert("@odata.etag".into(), etag.clone().into());
    }
    Answer::json(status, resource).with("ETag", etag)
}

/// A resource's version: it changes with what is shown.
fn etag(resource: &Value) -> String {
    format!("\"{:016x}\"", name(&resource.to_string()))
}

impl Contact<'_> {
    /// Whether the BMC knows such an account.
    pub(crate) fn knows(&self, user: &str, given: &str) -> bool {
        let changed = self.state(|state| {
            let rest = state.rest.as_ref();
            rest.and_then(|rest| rest.service.password().map(str::to_owned))
        });
        let known = changed.unwrap_or_else(|| self.first_password());
        user == crate::hardware::USER && given == known && !self.have(Fault::WrongCredentials)
    }
}
