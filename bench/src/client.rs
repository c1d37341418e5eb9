//! The HTTPS client that both ours and the peers are measured with. It reads and counts, and never
//! parses more than it must.

use crate::Failure;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use quarterdeck_api::pki;
use rustls::client::WantsClientCert;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Whom a client trusts and who it is.
#[derive(Clone)]
pub(crate) struct Trust(Arc<rustls::ClientConfig>);

impl Trust {
    /// Trusts the authority with that certificate, and is `identity`.
    pub(crate) fn new(authority: &str, identity: &pki::Identity) -> Result<Self, Failure> {
        Self::speaking(&[], authority, identity)
    }

    /// The same for HTTP/2, as agents speak it.
    pub(crate) fn for_agents(authority: &str, identity: &pki::Identity) -> Result<Self, Failure> {
        Self::speaking(&[b"h2".as_slice()], authority, identity)
    }

    /// The same for HTTP/2 that shows nothing, as browsers do.
    pub(crate) fn for_pages(authority: &str) -> Result<Self, Failure> {
        let config = Self::trusting(authority)?.with_no_client_auth();
        Ok(Self::with(config, &[b"h2".as_slice()]))
    }

    fn speaking(
        protocols: &[&[u8]],
        authority: &str,
        identity: &pki::Identity,
    ) -> Result<Self, Failure> {
        let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
        let config = Self::trusting(authority)?.with_client_auth_cert(chain, key)?;
        Ok(Self::with(config, protocols))
    }

    fn trusting(
        authority: &str,
    ) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, WantsClientCert>, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots))
    }

    fn with(mut config: rustls::ClientConfig, protocols: &[&[u8]]) -> Self {
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Self(Arc::new(config))
    }

    /// A TLS connection.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        self.over(TcpStream::connect(address).await?, address).await
    }

    /// The same from an address of this machine.
    pub(crate) async fn connect_from(
        &self,
        from: IpAddr,
        address: SocketAddr,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        self.over(socket.connect(address).await?, address).await
    }

    async fn over(
        &self,
        socket: TcpStream,
        address: SocketAddr,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        socket.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        Ok(TlsConnector::from(self.0.clone()).connect(name, socket).await?)
    }
}

/// One HTTP/1.1 connection over TLS.
pub(crate) struct Client {
    requests: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr, trust: &Trust) -> Result<Self, Failure> {
        let stream = trust.connect(address).await?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { requests })
    }

    /// Gets `path` and gives each piece of the body to `piece`; answers the number of bytes.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        piece: impl FnMut(&Bytes),
    ) -> Result<usize, Failure> {
        self.get_as(path, "application/json", piece).await
    }

    /// Gets an object.
    pub(crate) async fn object(&mut self, path: &str) -> Result<Value, Failure> {
        let mut text = Vec::new();
        self.get(path, |piece| text.extend_from_slice(piece)).await?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// The same as the table that kubectl prints; answers the number of bytes.
    pub(crate) async fn table(&mut self, path: &str) -> Result<usize, Failure> {
        self.get_as(path, "application/json;as=Table;v=v1;g=meta.k8s.io", |_| ()).await
    }

    async fn get_as(
        &mut self,
        path: &str,
        accept: &str,
        mut piece: impl FnMut(&Bytes),
    ) -> Result<usize, Failure> {
        let request = Request::get(path)
            .header(header::HOST, "plane")
            .header(header::ACCEPT, accept)
            .body(Full::<Bytes>::default())?;
        self.requests.ready().await?;
        let answer = self.requests.send_request(request).await?;
        let status = answer.status();
        let (mut body, mut bytes) = (answer.into_body(), 0);
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                bytes += data.len();
                if status.is_success() {
                    piece(&data);
                } else {
                    text.extend_from_slice(&data);
                }
            }
        }
        if status.is_success() {
            return Ok(bytes);
        }
        Err(format!("GET {path}: {status} {}", String::from_utf8_lossy(&text)).into())
    }

    /// Creates an object.
    pub(crate) async fn create(&mut self, path: &str, object: Bytes) -> Result<(), Failure> {
        self.send("POST", path, "application/json", object).await
    }

    /// Writes something.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        media: &str,
        body: Bytes,
    ) -> Result<(), Failure> {
        self.ask(method, path, media, body).await.map(drop)
    }

    /// Writes something, or asks; answers what is said to it.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        media: &str,
        body: Bytes,
    ) -> Result<Bytes, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "plane")
            .header(header::CONTENT_TYPE, media)
            .body(Full::new(body))?;
        self.requests.ready().await?;
        let answer = self.requests.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body)).into())
    }
}
