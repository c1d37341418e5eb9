//! The API served in this process over TLS, and a client that speaks plain HTTP to it.

#![allow(dead_code, reason = "each test file uses some of it")]

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};
use quarterdeck_api::{
    Agents, Api, Audit, Authentication, Issuer, Limits, LogFile, OidcSettings, Policy, Rules,
    SigningKeys,
    pki::{self, Authority, Identity},
};
use quarterdeck_store::{Backend, Sqlite, Store};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where sites are.
pub(crate) const SITES: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/sites";
/// Where the secrets of `default` are.
pub(crate) const SECRETS: &str = "/api/v1/namespaces/default/secrets";
/// How long a part of a stream may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) type Caller = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A served API, on an empty store that has the namespace `default`.
pub(crate) struct Plane {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Store>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) serving: JoinHandle<()>,
    admin: Caller,
    folder: tempfile::TempDir,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// What a plane may be given.
#[derive(Default)]
struct Given<'p> {
    /// The policy of its audit log.
    policy: Option<&'p str>,
    limits: Limits,
    /// Whose tokens it takes.
    issuers: Vec<OidcSettings>,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::with(Given::default(), |sqlite| sqlite).await
    }

    /// The same with what `around` puts before its store.
    pub(crate) async fn start_on(around: impl FnOnce(Arc<Sqlite>) -> Arc<dyn Backend>) -> Self {
        Self::with(Given::default(), around).await
    }

    /// The same for tokens of those issuers.
    pub(crate) async fn trusting(issuers: Vec<OidcSettings>) -> Self {
        Self::with(Given { issuers, ..Given::default() }, |sqlite| sqlite).await
    }

    /// The same with an audit log by that policy.
    pub(crate) async fn audited(policy: &str) -> Self {
        Self::with(Given { policy: Some(policy), ..Given::default() }, |sqlite| sqlite).await
    }

    /// The same that gives only so much.
    pub(crate) async fn limited(limits: Limits) -> Self {
        Self::with(Given { limits, ..Given::default() }, |sqlite| sqlite).await
    }

    /// The lines of the audit log.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The key that signs the plane's tokens of service accounts.
    pub(crate) fn token_key(&self) -> PathBuf {
        self.folder.path().join("tokens.key")
    }

    /// The authority's certificate.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.folder.path().join("pki/ca.crt")
    }

    async fn with(given: Given<'_>, around: impl FnOnce(Arc<Sqlite>) -> Arc<dyn Backend>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = around(Arc::new(Sqlite::open(folder.path()).unwrap()));
        let store = Arc::new(Store::open(backend).await.unwrap());
        Self::serving(store, folder, given).await
    }

    /// The same on that store; the folder has the files.
    pub(crate) async fn on(
        store: Arc<Store>,
        folder: tempfile::TempDir,
        policy: Option<&str>,
    ) -> Self {
        Self::serving(store, folder, Given { policy, ..Given::default() }).await
    }

    async fn serving(
        store: Arc<Store>,
        folder: tempfile::TempDir,
        Given { policy, limits, issuers }: Given<'_>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let authority = Arc::new(Authority::open(&folder.path().join("pki")).unwrap());
        let tls = pki::tls(&authority, &authority.server(address, &[]).unwrap()).unwrap();
        let (stop, stopping) = watch::channel(false);
        let mut trusted = Vec::new();
        for settings in issuers {
            let issuer = Arc::new(Issuer::new(settings).unwrap());
            tokio::spawn(issuer.clone().keep());
            trusted.push(issuer);
        }
        let keys = SigningKeys::open(&folder.path().join("tokens.key")).unwrap();
        let own = format!("https://{address}");
        let authentication = Authentication::new(keys, &own, trusted).unwrap();
        let reached = (address.to_string(), Duration::from_secs(40));
        let (shared, stops) = (authority.clone(), stopping.clone());
        let agents = Agents::new(store.clone(), shared, None, reached, stops);
        tokio::spawn(agents.clone().keep());
        let mut api = Api::limited(store.clone(), Rules::default(), stopping, limits)
            .with_authentication(Arc::new(authentication))
            .with_agents(agents);
        if let Some(policy) = policy {
            let file = folder.path().join("policy.yaml");
            std::fs::write(&file, policy).unwrap();
            let path = folder.path().join("audit.log");
            let log = LogFile { path, bytes_max: 1 << 30, files_max: 1 };
            let audit = Audit::open(Policy::read(&file).unwrap(), log).unwrap();
            api = api.with_audit(Arc::new(audit));
        }
        let api = Arc::new(api);
        api.ensure(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}),
        )
        .await
        .unwrap();
        api.bootstrap().await.unwrap();
        let serving = tokio::spawn(api.serve(listener, tls));
        let admin = caller(&authority, Some(&authority.admin().unwrap()));
        Self { address, store, authority, stop, serving, admin, folder }
    }

    /// A client that shows `identity`, or nothing.
    pub(crate) fn caller(&self, identity: Option<&Identity>) -> Caller {
        caller(&self.authority, identity)
    }

    /// A bare connection of the admin.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_as(&self.authority.admin().unwrap()).await
    }

    /// The same of another caller.
    pub(crate) async fn connect_as(&self, identity: &Identity) -> TlsStream<TcpStream> {
        self.connect_by(Some(identity), "http/1.1").await
    }

    /// The same for that protocol.
    pub(crate) async fn connect_by(
        &self,
        identity: Option<&Identity>,
        protocol: &str,
    ) -> TlsStream<TcpStream> {
        self.connect_over(&self.tls(identity, protocol)).await
    }

    /// What connections of a client share.
    pub(crate) fn tls(&self, identity: Option<&Identity>, protocol: &str) -> TlsConnector {
        let mut config = client(&self.authority, identity);
        config.alpn_protocols.push(protocol.into());
        TlsConnector::from(Arc::new(config))
    }

    pub(crate) async fn connect_over(&self, tls: &TlsConnector) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::IpAddress(self.address.ip().into());
        tls.connect(name, socket).await.unwrap()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Request::builder().method(method).uri(format!("https://{}{path}", self.address))
    }

    /// Sends a request as the admin, and begins to read the answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        self.admin.request(request).await.unwrap()
    }

    /// Sends any body with its content type.
    pub(crate) async fn send_bytes(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Answer {
        let request = self.request(method, path).header(header::CONTENT_TYPE, content_type);
        whole(self.send(request.body(Full::new(body.into())).unwrap()).await).await
    }

    /// Sends JSON; null is no body.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let patch = match (method, &body) {
            ("PATCH", Value::Array(_)) => "application/json-patch+json",
            ("PATCH", _) => "application/merge-patch+json",
            _ => "application/json",
        };
        self.send_bytes(method, path, patch, text).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Value::Null).await
    }

    /// Sends JSON that must be accepted.
    pub(crate) async fn must(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {:#}", answer.body);
        answer.body
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.store.world().revision().0
    }
}

/// A site as it is written.
pub(crate) fn site(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"region": "eu-west"}})
}

pub(crate) async fn whole(answer: http::Response<Incoming>) -> Answer {
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
    Answer { status: parts.status, headers: parts.headers, body }
}

/// Reads the events of a watch, one at a time.
pub(crate) struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    pub(crate) fn of(answer: http::Response<Incoming>) -> Self {
        assert_eq!(answer.status(), 200);
        Self { body: answer.into_body(), text: String::new() }
    }

    /// The next event; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let event = serde_json::from_str(line).unwrap();
                self.text = rest.to_owned();
                return Some(event);
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await.unwrap()?;
            let data = frame.unwrap().into_data().unwrap_or_default();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// Type and name of the next event.
    pub(crate) async fn next_name(&mut self) -> (String, String) {
        let event = self.next().await.expect("one more event");
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
        (text("/type").into(), text("/object/metadata/name").into())
    }
}

pub(crate) fn caller(authority: &Authority, identity: Option<&Identity>) -> Caller {
    let config = client(authority, identity);
    let https =
        HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(https)
}

fn client(authority: &Authority, identity: Option<&Identity>) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots);
    match identity {
        None => config.with_no_client_auth(),
        Some(identity) => config
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap(),
            )
            .unwrap(),
    }
}

/// A request of a caller who may be refused before HTTP begins.
pub(crate) async fn try_get(plane: &Plane, caller: &Caller, path: &str) -> Result<Answer, Error> {
    let request = plane.request("GET", path).body(Full::default()).unwrap();
    Ok(whole(caller.request(request).await?).await)
}
