//! Which TLS certificates are trusted for one endpoint.
//!
//! Must never let a connection through whose peer did not prove that it holds the certificate's
//! key: also the lax policies verify the handshake's signature.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

/// Most certificates read from one CA bundle: a system bundle holds about 150.
const MAX_CA_CERTIFICATES: usize = 1024;

/// The TLS policy of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Verification {
    /// The chain must lead to this PEM bundle (to the system's when `None`) and name the host.
    /// A certificate that is itself in the bundle is trusted as it stands, if it names the host:
    /// controllers ship with self-signed certificates, some marked as a CA.
    Full { ca_pem: Option<Arc<[u8]>> },
    /// The peer's certificate must have this SHA-256, whatever it names and whoever signed it.
    Fingerprint([u8; 32]),
    /// Any certificate. For isolated networks only: whoever sits between can read the password.
    Skip,
}

/// A policy that cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsPolicyError {
    #[error("the CA bundle is not PEM: {0}")]
    BadPem(String),
    #[error("the CA bundle holds no certificate")]
    Empty,
    #[error("the CA bundle holds more than {MAX_CA_CERTIFICATES} certificates")]
    TooMany,
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] Error),
    #[error("the CA bundle cannot be used: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// The configurations in use, one a policy: the system's certificates alone take hundreds of
/// kilobytes, which thousands of clients must share.
#[derive(Debug, Default)]
pub(crate) struct Configs(Mutex<HashMap<Verification, Weak<ClientConfig>>>);

impl Configs {
    /// The configuration of a policy, made if no client has it now.
    pub(crate) fn of(
        &self,
        verification: &Verification,
    ) -> Result<Arc<ClientConfig>, TlsPolicyError> {
        let mut configs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(verification).and_then(Weak::upgrade) {
            return Ok(config);
        }
        let config = Arc::new(client_config(verification)?);
        // When one is made, those that nobody uses any more are forgotten, so that there are never
        // many more than are in use.
        if configs.len() == configs.capacity() {
            configs.retain(|_policy, config| config.strong_count() > 0);
        }
        configs.insert(verification.clone(), Arc::downgrade(&config));
        Ok(config)
    }
}

/// The rustls configuration for a policy.
fn client_config(verification: &Verification) -> Result<ClientConfig, TlsPolicyError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(verification, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

fn verifier(
    verification: &Verification,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsPolicyError> {
    Ok(match verification {
        Verification::Full { ca_pem } => {
            let bundle = match ca_pem {
                Some(pem) => read_bundle(pem)?,
                None => rustls_native_certs::load_native_certs().certs,
            };
            let mut roots = RootCertStore::empty();
            // What cannot be an anchor is skipped: system bundles hold odd certificates.
            let (_added, _ignored) = roots.add_parsable_certificates(bundle.iter().cloned());
            if roots.is_empty() {
                return Err(TlsPolicyError::Empty);
            }
            let chain =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                    .build()?;
            let exact = if ca_pem.is_some() { bundle } else { Vec::new() };
            Arc::new(Full { chain, exact })
        }
        Verification::Fingerprint(sha256) => {
            Arc::new(Leaf { sha256: Some(*sha256), provider: Arc::clone(provider) })
        }
        Verification::Skip => Arc::new(Leaf { sha256: None, provider: Arc::clone(provider) }),
    })
}

fn read_bundle(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsPolicyError> {
    let mut bundle = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        if bundle.len() == MAX_CA_CERTIFICATES {
            return Err(TlsPolicyError::TooMany);
        }
        bundle.push(certificate.map_err(|error| TlsPolicyError::BadPem(format!("{error:?}")))?);
    }
    if bundle.is_empty() { Err(TlsPolicyError::Empty) } else { Ok(bundle) }
}

/// Verifies the chain, and trusts a certificate given in the bundle itself.
#[derive(Debug)]
struct Full {
    chain: Arc<WebPkiServerVerifier>,
    exact: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Full {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.exact.iter().any(|known| known.as_ref() == end_entity.as_ref()) {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            verify_server_name(&certificate, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Looks at the peer's own certificate alone: a pinned one, or any.
#[derive(Debug)]
struct Leaf {
    sha256: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

/// The peer's certificate is not the pinned one.
#[derive(Debug, thiserror::Error)]
#[error("its SHA-256 is {0}, not the pinned one")]
pub(crate) struct FingerprintMismatch(String);

impl ServerCertVerifier for Leaf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen: [u8; 32] = Sha256::digest(end_entity).into();
        match self.sha256 {
            Some(wanted) if wanted != seen => {
                let mismatch = FingerprintMismatch(hex(&seen));
                Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a SHA-256 written as 64 hexadecimal digits, with or without colons, in any case.
pub(crate) fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .trim()
        .chars()
        .filter(|character| *character != ':')
        .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0_u8, |byte, digit| (byte << 4) | digit))
        .collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        let plain = "00ff".repeat(16);
        let coloned = vec!["00:FF"; 16].join(":");
        let wanted: Vec<u8> = [0x00, 0xff].repeat(16);
        assert_eq!(parse_sha256(&plain).unwrap().to_vec(), wanted);
        assert_eq!(parse_sha256(&coloned).unwrap().to_vec(), wanted);
        for wrong in ["", "00", "zz", &plain[1..], &format!("{plain}0")] {
            assert_eq!(parse_sha256(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        for pem in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\n%%%\n"] {
            let policy = Verification::Full { ca_pem: Some(pem.into()) };
            assert!(client_config(&policy).is_err());
        }
    }

    #[test]
    fn a_policy_in_use_has_one_configuration() {
        let configs = Configs::default();
        let pinned = |byte| Verification::Fingerprint([byte; 32]);
        let one = configs.of(&pinned(1)).unwrap();
        assert!(Arc::ptr_eq(&one, &configs.of(&pinned(1)).unwrap()));
        for byte in 2..=200 {
            configs.of(&pinned(byte)).unwrap();
        }
        assert!(configs.0.lock().unwrap().len() < 100, "those that are not used are forgotten");
        assert!(Arc::ptr_eq(&one, &configs.of(&pinned(1)).unwrap()));
    }
}
