//! Agents that another replica holds. The Machine says which; that one is asked over HTTP/2 with TLS, and each shows the
//! other a certificate of the plane's own authority. So it does not matter at which replica a person or a program comes out,
//! also behind a load balancer that knows nothing but TCP. A replica asked so asks no other.

use super::{
    Agents,
    sessions::{Hears, Opened, WAITING_MAX, Way},
};
use crate::{
    answer::{self, Answer, Lasts},
    identity::{Caller, Shown},
    pki::{Authority, PkiError},
    status::ApiError,
};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use quarterdeck_model::agent::session::{Channel, PIECE_BYTES_MAX, SessionWanted, piece};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tracing::debug;

/// Where replicas ask each other.
pub(crate) const REPLICA_PATH: &str = "/replica/v1alpha1/";
/// Group of the plane's own replicas, by certificate alone.
const REPLICAS_GROUP: &str = "system:quarterdeck:replicas";
/// Who a replica is to another.
const REPLICA: &str = "system:quarterdeck:replica";
/// A name that the certificate of every replica is for, wherever it is reached.
const NAME: &str = "kubernetes.default.svc";
/// How long it may take to reach another replica.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take to answer: an agent has to open a stream.
const ANSWER: Duration = Duration::from_secs(20);
/// How often it is asked whether the other side lives, and how long that may take to say.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Largest question: what is run is in an address, which is bounded. With its end it fits the pieces that may wait.
const ASKED_BYTES_MAX: usize = (WAITING_MAX - 1) * PIECE_BYTES_MAX;
/// Largest refusal that is read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// How other replicas are reached.
#[derive(Default)]
pub(super) struct Elsewhere {
    tls: OnceLock<Arc<ClientConfig>>,
}

/// What a replica asks of another.
#[derive(Serialize, Deserialize)]
struct Asked {
    namespace: String,
    machine: String,
    session: SessionWanted,
}

/// Whether a caller, as the certificate of its connection says, is a replica of this plane. A token never makes one, whatever
/// its issuer says.
pub(crate) fn is_replica(caller: &Caller, shown: &Shown) -> bool {
    shown.token.is_none()
        && caller.user == REPLICA
        && caller.groups.iter().any(|group| group == REPLICAS_GROUP)
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;

impl Elsewhere {
    fn tls(&self, authority: &Authority) -> Result<Arc<ClientConfig>, PkiError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let tls = client_tls(authority)?;
        Ok(self.tls.get_or_init(|| tls).clone())
    }
}

fn client_tls(authority: &Authority) -> Result<Arc<ClientConfig>, PkiError> {
    let wrong = |error: &dyn std::fmt::Display| PkiError::Make(error.to_string());
    let own = authority.client(REPLICA, &[REPLICAS_GROUP])?;
    let mut roots = RootCertStore::empty();
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes());
    let trusted = certificate(authority.certificate()).map_err(|error| wrong(&error))?;
    roots.add(trusted).map_err(|error| wrong(&error))?;
    let shown = certificate(&own.certificate).map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(|error| wrong(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![shown], key)
        .map_err(|error| wrong(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

impl Agents {
    /// Asks a replica. The connection is for this alone, and ends with what is returned beside the answer.
    pub(super) async fn ask(
        &self,
        replica: &str,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<(Response<Incoming>, JoinSet<()>), String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{NAME}{REPLICA_PATH}{path}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| error.to_string())?;
        let (mut sender, connection) = timeout(CONNECT, self.connect(replica))
            .await
            .map_err(|_| format!("it did not answer within {CONNECT:?}"))??;
        let answer = timeout(ANSWER, sender.send_request(request)).await;
        let answer = answer
            .map_err(|_| format!("it did not answer within {ANSWER:?}"))?
            .map_err(|error| error.to_string())?;
        Ok((answer, connection))
    }

    async fn connect(
        &self,
        replica: &str,
    ) -> Result<(http2::SendRequest<Body>, JoinSet<()>), String> {
        let tls = self.elsewhere.tls(&self.authority).map_err(|error| error.to_string())?;
        let name = ServerName::try_from(NAME).map_err(|error| error.to_string())?;
        let socket = TcpStream::connect(replica).await.map_err(|error| error.to_string())?;
        socket.set_nodelay(true).map_err(|error| error.to_string())?;
        let socket = TlsConnector::from(tls).connect(name, socket).await;
        let socket = socket.map_err(|error| error.to_string())?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| error.to_string())?;
        let mut runs = JoinSet::new();
        runs.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection to another replica ended");
            }
        });
        Ok((sender, runs))
    }

    /// Has the replica that holds an agent open a session.
    pub(super) async fn open_elsewhere(
        &self,
        (namespace, machine): (String, String),
        session: SessionWanted,
    ) -> Result<Opened, ApiError> {
        let replica = self.replica_of(&namespace, &machine)?;
        let failed = |why: String| {
            ApiError::timeout(format!(
                "the agent of machine {namespace}/{machine} is connected to the replica at {replica}, and that is not reached from here: {why}"
            ))
        };
        let (out, pieces) = mpsc::channel::<Bytes>(WAITING_MAX);
        let asked = Asked { namespace: namespace.clone(), machine: machine.clone(), session };
        let asked = serde_json::to_vec(&asked).map_err(|error| failed(error.to_string()))?;
        // It has room: nothing was sent before.
        if asked.len() > ASKED_BYTES_MAX {
            return Err(ApiError::bad_request("the command is too long"));
        }
        let parts = asked.chunks(PIECE_BYTES_MAX).map(|part| piece(Channel::Wanted, part));
        for part in parts.chain([piece(Channel::Begun, &[])]) {
            let _ = out.try_send(part.into());
        }
        let body = stream::unfold(pieces, |mut pieces| async move {
            pieces.recv().await.map(|bytes| (Ok(Frame::data(bytes)), pieces))
        });
        let body = StreamBody::new(body).boxed_unsync();
        let answer = self.ask(&replica, Method::POST, "session", body).await;
        let (answer, connection) = answer.map_err(failed)?;
        if answer.status().is_success() {
            let way = Way::Elsewhere { _connection: connection };
            return Ok(Opened { body: answer.into_body(), out, way });
        }
        Err(refused(answer).await)
    }

    /// Opens a session that another replica asks for.
    pub(super) async fn session_for_another(
        self: &Arc<Self>,
        body: Incoming,
    ) -> Result<Answer, ApiError> {
        let mut hears = Hears::new(body);
        let Asked { namespace, machine, session } = timeout(CONNECT, asked(&mut hears))
            .await
            .map_err(|_| ApiError::bad_request("it was not said in time what is wanted"))??;
        let Some(held) = self.registry.get(&namespace, &machine) else {
            let why = format!(
                "the agent of machine {namespace}/{machine} has gone to another replica; try again"
            );
            return Err(ApiError::timeout(why));
        };
        let opened = self.open_here(&held, (namespace, machine), session).await?;
        let Opened { body, out, way } = opened;
        // What the other replica says goes on to the agent, until either is gone.
        let (stream, lasts) = watch::channel(());
        tokio::spawn(async move {
            let _stream = stream;
            while let Ok((channel, bytes)) = hears.next().await {
                if out.send(piece(channel, &bytes).into()).await.is_err() {
                    break;
                }
            }
            drop(out);
            // A request that is not heard to its end is reset, and its answer with it.
            while hears.next().await.is_ok() {}
        });
        let back = stream::unfold((body, way), |(mut body, way)| async move {
            loop {
                let Ok(frame) = body.frame().await? else { return None };
                if let Ok(bytes) = frame.into_data() {
                    return Some((Ok(Frame::data(bytes)), (body, way)));
                }
            }
        });
        let mut answer = answer::streamed(StreamBody::new(back).boxed_unsync());
        answer.extensions_mut().insert(Lasts(lasts));
        Ok(answer)
    }
}

/// What is asked, which comes before all else.
async fn asked(hears: &mut Hears) -> Result<Asked, ApiError> {
    let mut bytes = Vec::new();
    loop {
        match hears.next().await.map_err(ApiError::bad_request)? {
            (Channel::Wanted, part) if bytes.len() + part.len() <= ASKED_BYTES_MAX => {
                bytes.extend(part);
            }
            (Channel::Begun, _) => break,
            _ => return Err(ApiError::bad_request("what another replica asks is not understood")),
        }
    }
    let wrong = |error: serde_json::Error| ApiError::bad_request(error.to_string());
    serde_json::from_slice(&bytes).map_err(wrong)
}

/// Why another replica refuses, as it says.
async fn refused(answer: Response<Incoming>) -> ApiError {
    let code = answer.status();
    let body =
        timeout(CONNECT, Limited::new(answer.into_body(), REFUSAL_BYTES_MAX).collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let message = said.as_ref().and_then(|said| said.get("message")?.as_str());
    let message = message.map_or_else(|| format!("another replica answered {code}"), Into::into);
    match code {
        StatusCode::TOO_MANY_REQUESTS => ApiError { message, ..ApiError::too_many_requests() },
        code if code.is_client_error() => ApiError::bad_request(message),
        _ => ApiError::timeout(message),
    }
}
