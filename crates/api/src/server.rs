//! Connections: TLS, limits on time and size, who calls, and whether they may. Which endpoint answers is [`dispatch`].

mod connection;
mod dispatch;

use crate::{
    agents::{self, Agents},
    answer::{self, Answer},
    audit::{Audit, Impersonated},
    authorize::{self, Ask, Authorizer, Decision, Policy, Sight},
    compress,
    fairness::{Connections, Full, Level, Limits, Open, Refused, Seat, Seated, Seats, Standing},
    identity::{Authenticated, Authentication, Caller, Shown},
    metrics::Metrics,
    path::{self, AgentCall, Endpoint, Query, ReplicaCall},
    policies::Policies,
    rules::Rules,
    session,
    status::ApiError,
};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::server::graceful::GracefulShutdown;
use quarterdeck_graphql::{AnswerImpact, Graph};
use quarterdeck_store::Store;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::watch as signal,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

/// Requests other than watches are answered by then.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long open requests may take to finish when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait after a failed accept (out of file descriptors): others must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The API of one plane.
pub struct Api {
    pub(crate) store: Arc<Store>,
    pub(crate) rules: Rules,
    authorizer: Arc<Authorizer>,
    pub(crate) policies: Policies,
    pub(crate) audit: Option<Arc<Audit>>,
    pub(crate) authentication: Option<Arc<Authentication>>,
    pub(crate) graph: Graph,
    pub(crate) attempts: session::Attempts,
    pub(crate) impacts: Option<AnswerImpact>,
    pub(crate) agents: Option<Arc<Agents>>,
    pub(crate) metrics: Metrics,
    handshakes: Arc<Connections>,
    connections: Arc<Connections>,
    agent_connections: Arc<Connections>,
    watches: Arc<Connections>,
    seats: Arc<Seats>,
    limits: Limits,
    stop: signal::Receiver<bool>,
}

/// What a request asks for, once its caller may ask it.
struct Asked {
    endpoint: Endpoint,
    query: Query,
    access: Access,
}

/// The other end of a connection.
pub(crate) struct Peer {
    /// Who it is, by its certificate.
    pub(crate) caller: Arc<Caller>,
    pub(crate) from: IpAddr,
    /// When its certificate ends, in seconds of Unix time.
    pub(crate) certificate_ends: Option<i64>,
    line: Standing,
    /// To whom the connection is counted.
    open: Mutex<Open>,
}

impl Peer {
    /// Where it is, as far as that is not its own to choose.
    pub(crate) fn network(&self) -> Arc<str> {
        network(self.from)
    }
}

/// Whom a request acts as, by what it showed, and the policy of that moment.
struct Acting {
    caller: Arc<Caller>,
    shown: Shown,
    policy: Arc<Policy>,
}

/// Who asks, and what of it they may see.
struct Access {
    /// Whom the request acts as.
    caller: Arc<Caller>,
    /// To whom it is counted.
    payer: Arc<str>,
    shown: Shown,
    sight: Sight,
    policy: Arc<Policy>,
}

impl Api {
    /// An API over `store`; it ends when `stop` turns true.
    pub fn new(store: Arc<Store>, rules: Rules, stop: signal::Receiver<bool>) -> Self {
        Self::limited(store, rules, stop, Limits::default())
    }

    /// The same that answers what breaks if something goes.
    #[must_use]
    pub fn with_impacts(mut self, impacts: AnswerImpact) -> Self {
        self.graph = self.graph.with_impacts(impacts.clone());
        self.impacts = Some(impacts);
        self
    }

    /// The same that gives only so much.
    pub fn limited(
        store: Arc<Store>,
        rules: Rules,
        stop: signal::Receiver<bool>,
        limits: Limits,
    ) -> Self {
        Self {
            graph: Graph::new(store.clone()),
            attempts: session::Attempts::default(),
            store,
            rules,
            authorizer: Arc::default(),
            policies: Policies::default(),
            audit: None,
            authentication: None,
            impacts: None,
            agents: None,
            metrics: Metrics::new(),
            handshakes: Connections::new(limits.handshakes),
            connections: Connections::new(limits.connections),
            agent_connections: Connections::new(limits.agents),
            watches: Connections::new(limits.watches),
            seats: Seats::new(limits.requests),
            limits,
            stop,
        }
    }

    /// Who may do what, as of now.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.authorizer.policy(&self.store)
    }

    pub(crate) fn stopping(&self) -> signal::Receiver<bool> {
        self.stop.clone()
    }

    /// Accepts and serves connections until the stop signal, then lets open requests finish.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
        let acceptor = TlsAcceptor::from(tls);
        let graceful = GracefulShutdown::new();
        let mut stop = self.stopping();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (socket, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Who it is, is not known before the handshake.
            let handshake = match self.handshakes.open(&network(from.ip()), false) {
                Ok(handshake) => handshake,
                Err(refused) => {
                    self.metrics.refused.inc();
                    debug!(%from, ?refused, "refused a connection: too many are being made");
                    continue;
                }
            };
            let (api, acceptor, watcher) = (self.clone(), acceptor.clone(), graceful.watcher());
            tokio::spawn(async move {
                api.metrics.connections.inc();
                let from = from.ip();
                let hands = api.clone().shake_hands(socket, from, handshake, acceptor, watcher);
                let ended = match Box::pin(hands).await {
                    Ok(Some(serving)) => serving.await,
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                };
                if let Err(error) = ended {
                    debug!(%from, %error, "a connection ended");
                }
                api.metrics.connections.dec();
            });
        }
        drop(listener);
        if timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            info!("some requests did not finish within {DRAIN_TIMEOUT:?} and were cut");
        }
    }

    /// Answers one request; every failure becomes a Status.
    pub(crate) async fn answer(
        &self,
        who: Result<&Authenticated, ApiError>,
        peer: &Peer,
        request: Request<Incoming>,
    ) -> Answer {
        if request.uri().path() == session::PATH {
            let asked = (request.method(), request.uri(), request.headers());
            return session::answer(self, who, peer, asked);
        }
        let (started, _in_flight) = (Instant::now(), self.metrics.begin());
        let gzip = compress::accepted(request.headers());
        let caller = who.as_ref().ok().map(|who| who.caller.clone());
        let acting = who.and_then(|who| self.acting(who, request.headers()));
        let acts_as = acting.as_ref().ok().map(|acting| acting.caller.clone());
        let asked = acting.and_then(|acting| self.understand(acting, peer, &request));
        let (verb, resource) = match &asked {
            Ok(Asked { endpoint, query, .. }) => {
                (path::verb(request.method(), endpoint, query.watch), endpoint.resource())
            }
            Err(_) => ("other", ""),
        };
        let answered = match asked {
            Ok(asked) => timeout(REQUEST_TIMEOUT, self.in_turn(asked, request))
                .await
                .unwrap_or_else(|_| Err(ApiError::timeout("the request took too long; try again"))),
            Err(error) => Err(error),
        };
        let mut answer = answered.unwrap_or_else(|error| {
            if error.code == StatusCode::INTERNAL_SERVER_ERROR {
                warn!(verb, resource, message = error.message, "a request failed");
            }
            answer::refusal(&error)
        });
        self.metrics.answered(verb, resource, answer.status().as_u16(), started.elapsed());
        let itself = |other: &Arc<Caller>| caller.as_ref().is_some_and(|it| Arc::ptr_eq(other, it));
        if let Some(other) = acts_as.filter(|other| !itself(other)) {
            answer.extensions_mut().insert(Impersonated(other));
        }
        if gzip { compress::answer(answer) } else { answer }
    }

    /// Whom a request acts as, if who asks may.
    fn acting(
        &self,
        Authenticated { caller, shown }: &Authenticated,
        headers: &HeaderMap,
    ) -> Result<Acting, ApiError> {
        let policy = self.policy();
        let caller = match authorize::assume(&policy, caller, headers)? {
            Some(other) => Arc::new(other),
            None => caller.clone(),
        };
        Ok(Acting { caller, shown: shown.clone(), policy })
    }

    /// Reads for what is asked, and whether it may be. Who may not learns nothing else, not even
    /// whether there is such a path.
    fn understand(
        &self,
        Acting { caller, shown, policy }: Acting,
        peer: &Peer,
        request: &Request<Incoming>,
    ) -> Result<Asked, ApiError> {
        let (method, path) = (request.method(), request.uri().path());
        let text = request.uri().query().unwrap_or_default();
        let (endpoint, query) = (path::endpoint(path), Query::parse(text));
        let parts = path::parts(path)?;
        let unreadable;
        let asked = match &query {
            Ok(query) => query,
            Err(_) => {
                unreadable = Query::of_unreadable(text);
                &unreadable
            }
        };
        let ask = Ask::of(method, path, &parts, asked);
        let joins = matches!(endpoint, Ok(Endpoint::Agent(AgentCall::Join)));
        let decision = match agents::is_agent(&caller) {
            // Who joins shows a token, and nothing else.
            _ if joins => Decision::Allowed(None),
            // No role makes a replica, and nobody acts as one.
            _ if path.starts_with(agents::REPLICA_PATH) => {
                match agents::is_replica(&peer.caller, &shown) && caller == peer.caller {
                    true => Decision::Allowed(None),
                    false => Decision::Denied("replicas of the plane ask each other that".into()),
                }
            }
            true => self.agent_decision(&caller, &ask)?,
            false => policy.decide(&caller, &ask),
        };
        let mut only_approves = false;
        let sight = match (&endpoint, &ask) {
            _ if decision.allowed() => Some(Sight::All),
            // Who may approve may say so, and change nothing else.
            (Ok(Endpoint::Object { kind, part: None, .. }), ask)
                if !agents::is_agent(&caller)
                    && authorize::may_approve(&policy, &caller, kind, ask) =>
            {
                only_approves = true;
                Some(Sight::All)
            }
            // Where Kubernetes only refuses, what may be seen is shown.
            (
                Ok(Endpoint::Collection { kind, namespace }),
                Ask::Resource { verb: verb @ ("list" | "watch"), name, .. },
            ) if !agents::is_agent(&caller) => {
                policy.sight(&caller, verb, kind, namespace.as_deref(), name)
            }
            _ => None,
        };
        let Some(sight) = sight else {
            return Err(authorize::refusal(&caller, &ask, &decision.reason()));
        };
        let payer = payer(&caller, peer.from);
        let access = Access { caller, payer, shown, sight, policy };
        let (endpoint, mut query) = (endpoint?, query?);
        query.only_approves = only_approves;
        if let Endpoint::Collection { kind, .. } = &endpoint {
            query.resolve_field_labels(kind);
        }
        Ok(Asked { endpoint, query, access })
    }

    /// Works on a request when there is a place for it. Whether the plane lives is answered at once.
    async fn in_turn(&self, asked: Asked, request: Request<Incoming>) -> Result<Answer, ApiError> {
        let seat = match asked.endpoint {
            Endpoint::Live | Endpoint::Ready | Endpoint::Metrics => None,
            _ => Some(self.seat(&asked.access).await?),
        };
        // A watch goes on without one: it holds what it has not sent yet, and no more.
        let streams = matches!(asked.endpoint, Endpoint::FleetMap | Endpoint::Changes);
        // So do streams of agents, and sessions with containers, which are counted elsewhere.
        let talks = match &asked.endpoint {
            Endpoint::Agent(call) => matches!(call, AgentCall::Stream | AgentCall::Session),
            Endpoint::Replica(call) => *call == ReplicaCall::Session,
            Endpoint::Pod { part, .. } => part.goes_on(),
            _ => false,
        };
        let goes_on = talks || (asked.query.watch || streams) && readable(request.method());
        let answer = self.dispatch(asked, request).await?;
        if goes_on {
            return Ok(answer);
        }
        // An answer that nobody takes is memory in use as well.
        Ok(answer.map(|body| Seated { body, seat }.boxed_unsync()))
    }

    async fn seat(&self, access: &Access) -> Result<Seat, ApiError> {
        let Access { caller, payer, .. } = access;
        match timeout(self.limits.wait, self.seats.take(payer, Level::of(caller))).await {
            Ok(Ok(seat)) => Ok(seat),
            Ok(Err(Full)) => {
                Err(too_many("requests", Refused::Caller(self.limits.requests.waiting)))
            }
            Err(_) => Err(ApiError::too_many_requests()),
        }
    }
}

fn readable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// To whom what a caller takes is counted: those who show nothing are told apart by where they are.
fn payer(caller: &Caller, from: IpAddr) -> Arc<str> {
    if caller.is_known() { caller.user.as_str().into() } else { network(from) }
}

/// Where somebody is, as far as it is not theirs to choose: a host has a whole /64 of IPv6.
fn network(from: IpAddr) -> Arc<str> {
    match from.to_canonical() {
        IpAddr::V4(from) => format!("from {from}").into(),
        IpAddr::V6(from) => {
            let [a, b, c, d, ..] = from.segments();
            format!("from {a:x}:{b:x}:{c:x}:{d:x}::/64").into()
        }
    }
}

fn too_many(what: &str, refused: Refused) -> ApiError {
    let message = match refused {
        Refused::Caller(most) => {
            format!(
                "you have {most} {what} open or waiting, as many as one caller may; end some, or try again later"
            )
        }
        Refused::All(most) => format!(
            "all {most} {what} that this replica allows are taken; try again later, or another replica"
        ),
    };
    ApiError { message, ..ApiError::too_many_requests() }
}
