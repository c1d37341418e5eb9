//! One connection: the handshake, who is at the other end, and HTTP until it ends. What requests on it are answered is not its
//! affair.
//!
//! There are as many as agents and watchers together, so that one which waits must hold next to nothing.

use super::{Api, Peer, network, payer, too_many};
use crate::{
    agents,
    answer::{self, Answer, Lasts},
    fairness::{Open, Streams, Taken, lasts},
    identity::{self, Authenticated, Caller},
};
use http::header;
use http_body_util::BodyExt as _;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{conn::auto, graceful::Watcher},
};
use quarterdeck_model::agent::session::SESSIONS_MAX;
use rustix::net::sockopt::set_tcp_user_timeout;
use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A client that has not sent its headers by then keeps a connection for nothing.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Streams that a connection of HTTP/2 has open at once, as Go's own servers allow: what each keeps is small,
/// and a client that needs more opens another connection.
const STREAMS_MAX: u32 = 250;
/// The same of an agent: its stream, and sessions of people with what runs on its host.
const AGENT_STREAMS_MAX: u32 = 64;
/// What an agent may send ahead on a stream.
const AGENT_WINDOW_BYTES: u32 = 64 * 1024;
/// What it may send ahead in all: a session that nobody reads keeps its own window filled, and no other's.
const AGENT_CONNECTION_BYTES: u32 = AGENT_WINDOW_BYTES * (SESSIONS_MAX as u32 + 2);

/// Why a connection ended.
type Ended = Box<dyn std::error::Error + Send + Sync>;

/// HTTP with who has shaken hands, until it ends.
type Serving = Pin<Box<dyn Future<Output = Result<(), Ended>> + Send>>;

impl Api {
    /// Shakes hands with who has connected; none when the plane stops meanwhile. What that took of memory is free again when
    /// it is served.
    pub(super) async fn shake_hands(
        self: Arc<Self>,
        socket: TcpStream,
        from: IpAddr,
        handshake: Open,
        acceptor: TlsAcceptor,
        watcher: Watcher,
    ) -> Result<Option<Serving>, Ended> {
        socket.set_nodelay(true)?;
        let stalled = u32::try_from(self.limits.stalled.as_millis()).unwrap_or(u32::MAX);
        set_tcp_user_timeout(&socket, stalled)?;
        let (mut stop, longest) = (self.stopping(), self.limits.handshake);
        let accepting = handshake.line.stand(acceptor.accept(socket));
        let stream = tokio::select! {
            stream = timeout(longest, accepting) => stream??,
            _ = stop.wait_for(|stop| *stop) => return Ok(None),
        };
        Ok(Some(self.serving(stream, from, handshake, watcher)))
    }

    /// Serves who has shaken hands.
    fn serving(
        self: Arc<Self>,
        stream: TlsStream<TcpStream>,
        from: IpAddr,
        handshake: Open,
        watcher: Watcher,
    ) -> Serving {
        let agreed_on_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(|chain| chain.first());
        let caller = certificate.map_or_else(Caller::anonymous, Caller::from_certificate);
        let certificate_ends = certificate.and_then(identity::certificate_ends);
        let agent = agents::is_agent(&caller);
        let connections = if agent { &self.agent_connections } else { &self.connections };
        let open = connections.open(&payer(&caller, from), caller.is_known());
        let refused = open.as_ref().err().copied();
        // One connection too many is told so, and stays one that is not counted to its caller: for as
        // long as a handshake may take.
        let (open, longest) = match open {
            Ok(open) => {
                drop(handshake);
                (open, None)
            }
            Err(_) => (handshake, Some(self.limits.handshake)),
        };
        if refused.is_some() {
            self.metrics.refused.inc();
        }
        let line = open.line.standing();
        let (caller, open) = (Arc::new(caller), open.into());
        let peer = Arc::new(Peer { caller, from, certificate_ends, line: line.clone(), open });
        let streams = Streams { line: line.clone(), stalled: self.limits.stalled };
        let service = hyper::service::service_fn(move |request| {
            let (api, peer) = (self.clone(), peer.clone());
            let work = async move {
                let answer = match refused {
                    None => api.audited(&peer, request).await,
                    Some(refused) => closing(answer::refusal(&too_many("connections", refused))),
                };
                Ok::<_, std::convert::Infallible>(match answer.extensions().get() {
                    Some(Lasts(session)) => {
                        lasts(session.clone());
                        answer
                    }
                    None if agreed_on_http2 => answer.map(|body| Taken::new(body).boxed_unsync()),
                    None => answer,
                })
            };
            // Apart from the task of its stream, which lives as long as the answer is sent, for days where that is
            // a watch: what the work took of memory is free before.
            Box::pin(work)
        });
        // By what was agreed on, and not by what comes first: that may never come.
        let builder = auto::Builder::new(streams);
        let mut builder = if agreed_on_http2 { builder.http2_only() } else { builder.http1_only() };
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .keep_alive_interval(Duration::from_secs(30));
        if agent {
            // There are as many of these as machines, and little is said on them.
            builder
                .http2()
                .max_concurrent_streams(AGENT_STREAMS_MAX)
                .initial_stream_window_size(AGENT_WINDOW_BYTES)
                .initial_connection_window_size(AGENT_CONNECTION_BYTES);
        }
        let stream = TokioIo::new(stream);
        let connection = builder.serve_connection_with_upgrades(stream, service).into_owned();
        let serving = line.stand(watcher.watch(connection));
        match longest {
            None => Box::pin(serving),
            Some(longest) => Box::pin(async move { timeout(longest, serving).await? }),
        }
    }

    /// Counts a connection that showed nothing to whoever showed the first good token on it, and lets all
    /// that it asks for stand in their line: many callers may come from one address. Who has as many
    /// connections as one may have stays with those of the address.
    pub(crate) fn showed(&self, peer: &Peer, who: &Authenticated) {
        if peer.caller.is_known() || who.shown.token.is_none() {
            return;
        }
        // A panic while it was held changed nothing.
        let mut open = peer.open.lock().unwrap_or_else(PoisonError::into_inner);
        if *open.caller() == network(peer.from)
            && let Ok(own) = self.connections.open(&payer(&who.caller, peer.from), true)
        {
            peer.line.change_to(&own.line);
            *open = own;
        }
    }
}

/// The last answer on its connection.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    answer
}
