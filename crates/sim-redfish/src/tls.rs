//! Certificates of the BMCs: one authority, and for each connection a certificate for the BMC that is called, made by the
//! clock that this BMC has. All have one key: what is to be shown is not how secrets are kept.

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::{CertifiedKey, SigningKey},
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::SystemTime,
};
use tokio_rustls::TlsAcceptor;

/// Certificates cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("no certificate can be made for simulated BMCs: {0}")]
pub struct AuthorityError(String);

fn failed(cause: impl std::fmt::Display) -> AuthorityError {
    AuthorityError(cause.to_string())
}

/// What signs the certificates of BMCs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The BMCs' own key, for certificates and for TLS.
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    config: ServerConfig,
}

impl Authority {
    /// A new one, and its certificate in PEM, for whoever is to trust it.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<(Self, String), AuthorityError> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "simulated-bmcs");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        let made = Self::of(&certificate, &key.serialize_pem())?;
        Ok((made, certificate))
    }

    /// The one with this certificate and key, in PEM.
    ///
    /// # Errors
    /// When they are not an authority's.
    pub fn of(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let issuer = KeyPair::from_pem(key).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, issuer).map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = ring::sign::any_supported_type(&der).map_err(failed)?;
        let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Nobody));
        // A session of one BMC must not be taken up at another.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { issuer, key, signing, config })
    }

    /// What speaks TLS as the BMC of that address and name, whose certificate is good from one time to another.
    pub(crate) fn acceptor(
        &self,
        address: Ipv4Addr,
        name: &str,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<TlsAcceptor, AuthorityError> {
        let mut params = CertificateParams::new([name.to_owned()]).map_err(failed)?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(address)));
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = SystemTime::from(from).into();
        params.not_after = SystemTime::from(until).into();
        let certificate = params.signed_by(&self.key, &self.issuer).map_err(failed)?;
        let chain = vec![certificate.der().clone()];
        let mut config = self.config.clone();
        config.cert_resolver =
            Arc::new(One(Arc::new(CertifiedKey::new(chain, self.signing.clone()))));
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The one certificate of a connection.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Stands where no connection is.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
