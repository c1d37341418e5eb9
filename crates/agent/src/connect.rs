//! Connections to the plane: TCP, TLS with the plane's authority as the only root, and HTTP/2. Each wait has a limit.

use crate::{AgentError, Settings, folder::Folder, identity::Identity};
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use quarterdeck_model::agent::session::SESSIONS_MAX;
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use std::{
    convert::Infallible,
    fs, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_rustls::TlsConnector;

/// How long it may take to be connected.
const CONNECT: Duration = Duration::from_secs(20);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How often it is asked whether the other side lives, and how long that may take to say.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long it may take until it is known why a connection was lost.
const WHY: Duration = Duration::from_secs(1);
/// Largest answer that is not a stream.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What the plane may send ahead on a stream.
const WINDOW_BYTES: u32 = 256 << 10;
/// What it may send ahead in all: a session whose command reads nothing keeps its own window filled, and no other's.
const CONNECTION_WINDOW_BYTES: u32 = WINDOW_BYTES * (SESSIONS_MAX as u32 + 2);

/// Where the plane is, and whom to trust there.
#[derive(Debug)]
pub(crate) struct Plane {
    server: String,
    host: String,
    port: u16,
    name: ServerName<'static>,
    authority: String,
    roots: Arc<RootCertStore>,
    /// What connections with one certificate share: the next one goes on with the keys of the last, which spares both
    /// sides to prove anew who they are. It counts when all agents of a plane come back at once.
    resumed: Mutex<Option<(CertificateDer<'static>, Arc<ClientConfig>)>>,
}

/// A certificate, and its key.
type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody is there, or not now.
    Away(String),
    /// Somebody else is there.
    Untrusted(String),
}

impl Trouble {
    pub(crate) fn into_text(self) -> String {
        let (Self::Away(why) | Self::Untrusted(why)) = self;
        why
    }
}

/// What the plane answered.
pub(crate) enum Reply {
    Done(Bytes),
    Refused {
        message: String,
        /// Asking again does not help.
        lasting: bool,
    },
}

/// Why a stream was not opened.
pub(crate) enum NotOpened {
    /// The plane answered something else.
    Refused(Reply),
    /// The connection was lost, and why.
    Lost(String),
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Requests over one connection, which ends with this.
pub(crate) struct Requests {
    opener: Opener,
    /// Ends with why it was lost.
    connection: JoinHandle<Option<String>>,
}

/// Opens streams of a connection, for as long as that is there.
#[derive(Clone)]
pub(crate) struct Opener {
    sender: http2::SendRequest<Body>,
    authority: String,
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Plane {
    /// That of the settings, or where they do not say it, of the time when the agent joined.
    pub(crate) fn of(folder: &Folder, settings: &Settings) -> Result<Self, AgentError> {
        let kept = folder.read("server")?.map(|text| text.trim().to_owned());
        let server = settings.server.clone().or(kept).ok_or_else(|| {
            AgentError::Setting(
                "--server is not set: the plane's address, such as https://plane.example.com:6443"
                    .into(),
            )
        })?;
        let authority = match &settings.ca_file {
            Some(file) => fs::read_to_string(file).map_err(crate::folder::failed("read", file))?,
            None => folder.read("ca.crt")?.ok_or_else(|| {
                AgentError::Setting("--ca-file is not set: the certificate of the plane's authority (pki/ca.crt in its data folder)".into())
            })?,
        };
        let shown = settings.ca_file.clone().unwrap_or_else(|| folder.path("ca.crt"));
        let broken = |cause: String| AgentError::Broken { path: shown.clone(), cause };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            let certificate = certificate.map_err(|error| broken(error.to_string()))?;
            roots.add(certificate).map_err(|error| broken(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(broken("it holds no certificate in PEM".into()));
        }
        let wrong = || {
            AgentError::Setting(format!(
                "--server is {server:?}; it must be https://HOST:PORT, such as https://plane.example.com:6443"
            ))
        };
        let uri: Uri = server.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let plain = uri.scheme_str() == Some("https")
            && ["", "/"].contains(&uri.path())
            && uri.query().is_none();
        let host = uri.host().filter(|_| plain).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        let (server, roots) = (server.clone(), Arc::new(roots));
        Ok(Self { server, host, port, name, authority, roots, resumed: Mutex::default() })
    }

    /// Keeps both for the next start.
    pub(crate) fn keep(&self, folder: &Folder) -> Result<(), AgentError> {
        folder.write("ca.crt", &self.authority)?;
        folder.write("server", &format!("{}\n", self.server))
    }

    pub(crate) fn address(&self) -> &str {
        &self.server
    }

    /// A connection, with the certificate of `identity`.
    pub(crate) async fn connect(&self, identity: Option<&Identity>) -> Result<Requests, Trouble> {
        let late = |_| {
            Trouble::Away(format!("the plane at {} did not answer within {CONNECT:?}", self.server))
        };
        timeout(CONNECT, self.connected(identity)).await.map_err(late)?
    }

    async fn connected(&self, identity: Option<&Identity>) -> Result<Requests, Trouble> {
        let away = |error: &dyn std::fmt::Display| {
            Trouble::Away(format!("cannot reach the plane at {}: {error}", self.server))
        };
        let config = self.tls(identity).map_err(|error| away(&error))?;
        let socket = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| away(&error))?;
        socket.set_nodelay(true).map_err(|error| away(&error))?;
        let tls = TlsConnector::from(config).connect(self.name.clone(), socket).await;
        let tls = tls.map_err(|error| self.tls_trouble(&error))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|error| away(&error))?;
        let connection =
            tokio::spawn(async move { connection.await.err().map(|error| in_full(&error)) });
        let authority = format!("{}:{}", self.host, self.port);
        let opener = Opener { sender, authority };
        Ok(Requests { opener, connection })
    }

    /// How TLS is spoken, and with whose certificate.
    fn tls(&self, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, String> {
        let Some(identity) = identity else { return self.tls_showing(None) };
        let (certificate, key) = identity.shown()?;
        // A panic while it was held changed nothing.
        let mut resumed = self.resumed.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended is shown again, so that the plane says so.
        if let Some((of, known)) = &*resumed
            && *of == certificate
            && !identity.has_ended()
        {
            return Ok(known.clone());
        }
        let config = self.tls_showing(Some((certificate.clone(), key)))?;
        *resumed = Some((certificate, config.clone()));
        Ok(config)
    }

    fn tls_showing(&self, shown: Option<Shown>) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots.clone());
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => config
                .with_client_auth_cert(vec![certificate], key)
                .map_err(|error| error.to_string())?,
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn tls_trouble(&self, error: &io::Error) -> Trouble {
        let cause = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidCertificate(why)) => Trouble::Untrusted(format!(
                "the plane at {} shows a certificate that is not trusted ({why}): it is not signed by the authority of --ca-file, or not for that name; check --server and --ca-file (pki/ca.crt in the plane's data folder)",
                self.server
            )),
            _ => Trouble::Away(format!("no TLS with the plane at {}: {error}", self.server)),
        }
    }

    /// Asks once over a connection of its own.
    pub(crate) async fn ask(
        &self,
        identity: Option<&Identity>,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Reply, Trouble> {
        let mut requests = self.connect(identity).await?;
        requests.post(path, body).await.map_err(Trouble::Away)
    }
}

impl Opener {
    fn request(&self, path: &str, body: Body) -> Result<Request<Body>, String> {
        Request::post(format!("https://{}{path}", self.authority))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("quarterdeck-agent/", env!("CARGO_PKG_VERSION")))
            .body(body)
            .map_err(|error| error.to_string())
    }

    /// Opens a stream: what is sent, and what comes.
    pub(crate) async fn open(
        &mut self,
        path: &str,
    ) -> Result<(mpsc::Sender<Bytes>, Incoming), NotOpened> {
        /// Frames that wait for the network.
        const WAITING_MAX: usize = 8;
        let (out, frames) = mpsc::channel(WAITING_MAX);
        let body = stream::unfold(frames, |mut frames: mpsc::Receiver<Bytes>| async move {
            frames.recv().await.map(|bytes| (Ok(Frame::data(bytes)), frames))
        });
        let request = self.request(path, StreamBody::new(body).boxed_unsync());
        let request = request.map_err(NotOpened::Lost)?;
        let answer = timeout(ANSWER, self.sender.send_request(request)).await;
        let answer = answer.map_err(|_| NotOpened::Lost(format!("no answer within {ANSWER:?}")))?;
        let answer = answer.map_err(|error| NotOpened::Lost(in_full(&error)))?;
        if answer.status().is_success() {
            return Ok((out, answer.into_body()));
        }
        Err(reply(answer).await.map_or_else(NotOpened::Lost, NotOpened::Refused))
    }
}

impl Requests {
    /// Opens more streams of this connection.
    pub(crate) fn opener(&self) -> Opener {
        self.opener.clone()
    }

    /// Opens a stream, and says why the connection was lost if it was.
    pub(crate) async fn open(
        &mut self,
        path: &str,
    ) -> Result<(mpsc::Sender<Bytes>, Incoming), NotOpened> {
        let lost = match self.opener.open(path).await {
            Err(NotOpened::Lost(lost)) => lost,
            opened => return opened,
        };
        // Whoever refuses a certificate says so on the connection, and not to a request.
        let why = timeout(WHY, &mut self.connection).await;
        Err(NotOpened::Lost(why.ok().and_then(Result::ok).flatten().unwrap_or(lost)))
    }

    /// Sends a body, and reads what is answered.
    pub(crate) async fn post(&mut self, path: &str, body: Vec<u8>) -> Result<Reply, String> {
        let request = self.opener.request(path, Full::new(body.into()).boxed_unsync())?;
        let exchange = async {
            let sent = self.opener.sender.send_request(request).await;
            reply(sent.map_err(|error| error.to_string())?).await
        };
        timeout(ANSWER, exchange).await.map_err(|_| format!("no answer within {ANSWER:?}"))?
    }
}

/// An error with what has led to it.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Whether the other side says that the certificate it was shown has ended.
pub(crate) fn says_it_ended(why: &str) -> bool {
    why.contains(&rustls::Error::AlertReceived(AlertDescription::CertificateExpired).to_string())
}

async fn reply(answer: http::Response<Incoming>) -> Result<Reply, String> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    if status.is_success() {
        return Ok(Reply::Done(body));
    }
    let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let message = said.as_ref().and_then(|said| said.get("message")?.as_str());
    let message = message.map_or_else(|| format!("HTTP {status}"), ToOwned::to_owned);
    // A replica that has too much to do, or that is no plane of this release yet, is asked again.
    let lasting = matches!(status.as_u16(), 400 | 401 | 403 | 413);
    Ok(Reply::Refused { message, lasting })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{Time, agent::Certified};
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };
    use rustls::{HandshakeKind, ServerConfig, server::WebPkiClientVerifier};
    use serde_json::json;
    use tokio::{io::AsyncReadExt as _, net::TcpListener};
    use tokio_rustls::TlsAcceptor;

    /// How long the test may wait for anything.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn issuer() -> (Issuer<'static, KeyPair>, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        (Issuer::from_ca_cert_pem(&certificate, key).unwrap(), certificate)
    }

    /// A server that gives tickets as the plane does, and says how each handshake was made.
    async fn server(
        issuer: &Issuer<'static, KeyPair>,
        roots: Arc<RootCertStore>,
    ) -> (u16, mpsc::Receiver<HandshakeKind>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (says, kinds) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, says) = (tls.clone(), says.clone());
                tokio::spawn(async move {
                    let mut stream = tls.accept(socket).await.unwrap();
                    says.send(stream.get_ref().1.handshake_kind().unwrap()).await.unwrap();
                    // Until the agent goes.
                    while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
                });
            }
        });
        (port, kinds)
    }

    /// What the agent has once the plane has given it a certificate.
    fn identity(folder: &Folder, issuer: &Issuer<'static, KeyPair>) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certified = Certified {
            namespace: "default".into(),
            name: "m".into(),
            uid: "u".into(),
            certificate: params.signed_by(&key, issuer).unwrap().pem(),
            not_after: Time::new(jiff::Timestamp::MAX),
        };
        folder.write("agent.key", &key.serialize_pem()).unwrap();
        folder.write("agent.json", &json!(certified).to_string()).unwrap();
        Identity::of(folder).unwrap().unwrap()
    }

    #[tokio::test]
    async fn who_comes_back_goes_on_with_the_keys_of_the_last_connection() {
        let (issuer, authority) = issuer();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let roots = Arc::new(roots);
        let (port, mut kinds) = server(&issuer, roots.clone()).await;
        let plane = Plane {
            server: format!("https://localhost:{port}"),
            host: "127.0.0.1".into(),
            port,
            name: ServerName::try_from("localhost").unwrap(),
            authority,
            roots,
            resumed: Mutex::default(),
        };
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(&temporary.path().join("agent")).unwrap();
        let mut kind = async |identity: &Identity| {
            let requests = plane.connect(Some(identity)).await.unwrap();
            let kind = timeout(DEADLINE, kinds.recv()).await.unwrap().unwrap();
            (kind, requests)
        };
        let first = identity(&folder, &issuer);
        let (full, mut last) = kind(&first).await;
        assert_eq!(full, HandshakeKind::Full);
        // The ticket comes after the handshake.
        let resumed = async {
            loop {
                let (found, requests) = kind(&first).await;
                last = requests;
                if found == HandshakeKind::Resumed {
                    return;
                }
            }
        };
        timeout(DEADLINE, resumed).await.expect("a connection that is resumed");
        drop(last);
        let renewed = identity(&folder, &issuer);
        assert_eq!(kind(&renewed).await.0, HandshakeKind::Full, "another certificate is shown");
    }
}
