//! The plane's own certificate authority, its server certificate, and the admin's kubeconfig.
//! Files are made at the first start and kept; the server's certificate is made anew when it does
//! not cover the address any more or nears its end.

use jiff::Timestamp;
use quarterdeck_model::agent::{AGENTS_GROUP, USER_PREFIX};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKey,
    PublicKeyData as _, SerialNumber,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The authority outlives any data directory that is looked after.
const CA_DAYS: u32 = 3650;
/// Certificates signed by it.
const LEAF_DAYS: u32 = 365;
/// A certificate is made anew this long before its end.
const RENEW_DAYS: u32 = 30;
/// Certificates of agents, which renew them by themselves: not longer than a host that was taken away may be missed.
const AGENT_DAYS: u32 = 7;
/// The attribute of a subject that holds a uid, as in Kubernetes (its API server's `x509` authenticator).
const UID: [u64; 8] = [1, 3, 6, 1, 4, 1, 57683, 2];
/// What is known of an agent by its certificate: when that was issued.
pub(crate) const AGENT_ISSUED: &str = "quarterdeck.dev/certificate-issued";
/// The same, when it ends.
pub(crate) const AGENT_ENDS: &str = "quarterdeck.dev/certificate-ends";

/// Why certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error(
        "{path} is not usable: {cause}. Restore it from a backup, or remove the pki folder to make a new authority (every issued certificate is then invalid)"
    )]
    Broken {
        /// Which file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// The keys that sign tokens are none.
    #[error(
        "{path} is not usable: {cause}. Restore it from a backup, or remove it to make a new key (every issued token is then invalid)"
    )]
    Keys {
        /// Which file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A certificate or TLS configuration could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(String),
}

fn make_error(error: impl std::fmt::Display) -> PkiError {
    PkiError::Make(error.to_string())
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    /// Certificate.
    pub certificate: String,
    /// Private key.
    pub key: String,
}

/// The authority of one data directory.
pub struct Authority {
    directory: PathBuf,
    certificate: String,
    key: String,
}

impl Authority {
    /// Opens the authority in `directory`, making it at the first start.
    ///
    /// # Errors
    /// When files cannot be read, written or understood.
    pub fn open(directory: &Path) -> Result<Self, PkiError> {
        fs::create_dir_all(directory).map_err(|source| PkiError::File {
            action: "create",
            path: directory.into(),
            source,
        })?;
        let path = directory.join("ca.crt");
        if !path.exists() {
            let key = KeyPair::generate().map_err(make_error)?;
            let mut params = parameters("quarterdeck-ca", &[], CA_DAYS);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let certificate = params.self_signed(&key).map_err(make_error)?;
            // The key first: an authority whose certificate exists always has its key.
            write_private(&directory.join("ca.key"), &key.serialize_pem())?;
            write_private(&path, &certificate.pem())?;
        }
        let certificate = read(&path)?;
        let key = read(&directory.join("ca.key"))?;
        Ok(Self { directory: directory.into(), certificate, key })
    }

    /// The authority's certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The authority's key, in PEM: for who signs certificates that are not the plane's.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The key that a signing request is for, once it is shown that who asks has it.
    ///
    /// # Errors
    /// Why it is no such request.
    pub(crate) fn key_of(&self, request: &str) -> Result<AgentKey, String> {
        AgentKey::read(request).map_err(|error| error.to_string())
    }

    /// A certificate for the agent of a machine of that namespace, name and uid; and when it ends. Its serial number is a UUID of
    /// version 7 (RFC 9562 §5.7), which says when it was issued.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn agent(
        &self,
        (namespace, name, uid): (&str, &str, &str),
        key: &AgentKey,
        now: Timestamp,
    ) -> Result<(String, Timestamp), PkiError> {
        let user = format!("{USER_PREFIX}{namespace}:{name}");
        let mut params = parameters(&user, &[AGENTS_GROUP], AGENT_DAYS);
        let uid_attribute = DnType::CustomDnType(UID.to_vec());
        params.distinguished_name.push(uid_attribute, uid);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let mut random = [0; 10];
        SystemRandom::new().fill(&mut random).map_err(|_| make_error("no random bytes"))?;
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let serial = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
        let not_after = Timestamp::from_second(params.not_after.unix_timestamp()).unwrap_or(now);
        let certificate = params.signed_by(&key.key, &self.issuer()?).map_err(make_error)?;
        Ok((certificate.pem(), not_after))
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, PkiError> {
        let path = self.directory.join("ca.key");
        let ca_key = KeyPair::from_pem(&self.key)
            .map_err(|error| PkiError::Broken { path, cause: error.to_string() })?;
        let path = self.directory.join("ca.crt");
        Issuer::from_ca_cert_pem(&self.certificate, ca_key)
            .map_err(|error| PkiError::Broken { path, cause: error.to_string() })
    }

    fn sign(&self, params: &CertificateParams) -> Result<Identity, PkiError> {
        let issuer = self.issuer()?;
        let key = KeyPair::generate().map_err(make_error)?;
        let certificate = params.signed_by(&key, &issuer).map_err(make_error)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The server's certificate, good for `listen` and the usual local names.
    ///
    /// # Errors
    /// When it cannot be made or stored.
    pub fn server(&self, listen: SocketAddr, names: &[String]) -> Result<Identity, PkiError> {
        let mut sans: Vec<String> =
            ["localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default.svc"]
                .map(Into::into)
                .into();
        if !listen.ip().is_unspecified() {
            sans.push(listen.ip().to_string());
        }
        sans.extend(names.iter().cloned());
        sans.sort();
        sans.dedup();
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        self.kept("server", &sans.join(","), || {
            let mut params = CertificateParams::new(sans.clone()).map_err(make_error)?;
            complete(&mut params, "quarterdeck", &[], LEAF_DAYS);
            params.extended_key_usages = vec![usage];
            self.sign(&params)
        })
    }

    /// The admin's client certificate: group `system:masters`, as Kubernetes names it.
    ///
    /// # Errors
    /// When it cannot be made or stored.
    pub fn admin(&self) -> Result<Identity, PkiError> {
        self.kept("admin", "", || self.client("quarterdeck-admin", &["system:masters"]))
    }

    /// A client certificate for a user and groups, not stored.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Identity, PkiError> {
        let mut params = parameters(user, groups, LEAF_DAYS);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// The stored identity `name`, made anew when it is missing, near its end, signed by another
    /// authority, or made for another `purpose`.
    fn kept(
        &self,
        name: &str,
        purpose: &str,
        make: impl FnOnce() -> Result<Identity, PkiError>,
    ) -> Result<Identity, PkiError> {
        let file = |suffix: &str| self.directory.join(format!("{name}.{suffix}"));
        let stored = (read(&file("crt")), read(&file("key")), read(&file("for")));
        if let (Ok(certificate), Ok(key), Ok(made_for)) = stored
            && made_for == purpose
            && self.still_good(&certificate)
        {
            return Ok(Identity { certificate, key });
        }
        let identity = make()?;
        // The purpose goes first and last: half-written files are never taken for good ones.
        write_private(&file("for"), "")?;
        write_private(&file("key"), &identity.key)?;
        write_private(&file("crt"), &identity.certificate)?;
        write_private(&file("for"), purpose)?;
        Ok(identity)
    }

    fn still_good(&self, certificate: &str) -> bool {
        use x509_parser::{parse_x509_certificate, time::ASN1Time};
        let (Ok(own), Ok(ca)) = (
            CertificateDer::from_pem_slice(certificate.as_bytes()),
            CertificateDer::from_pem_slice(self.certificate.as_bytes()),
        ) else {
            return false;
        };
        let (Ok((_, own)), Ok((_, ca))) =
            (parse_x509_certificate(&own), parse_x509_certificate(&ca))
        else {
            return false;
        };
        let soon = SystemTime::now() + DAY * RENEW_DAYS;
        let soon = soon.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let Ok(soon) = ASN1Time::from_timestamp(i64::try_from(soon).unwrap_or(i64::MAX)) else {
            return false;
        };
        own.validity().is_valid_at(soon) && own.verify_signature(Some(ca.public_key())).is_ok()
    }
}

/// The key of an agent.
pub(crate) struct AgentKey {
    key: PublicKey,
    /// SHA-256 of it, in hexadecimal.
    pub(crate) hash: String,
}

impl AgentKey {
    fn read(request: &str) -> Result<Self, rcgen::Error> {
        let key = CertificateSigningRequestParams::from_pem(request)?.public_key;
        let hash =
            Sha256::digest(key.der_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { key, hash })
    }

    /// That of a pair.
    #[cfg(feature = "bench")]
    pub(crate) fn of(pair: &KeyPair) -> Result<Self, rcgen::Error> {
        Self::read(&CertificateParams::default().serialize_request(pair)?.pem()?)
    }
}

/// The uid that a certificate's subject has.
pub(crate) fn uid_of(
    certificate: &x509_parser::certificate::X509Certificate<'_>,
) -> Option<String> {
    let oid = x509_parser::der_parser::oid::Oid::from(&UID).ok()?;
    let uid = certificate.subject().iter_by_oid(&oid).next()?;
    uid.as_str().ok().map(ToOwned::to_owned)
}

/// When an agent's certificate was issued, by its serial number.
pub(crate) fn issued(serial: &[u8]) -> Option<Timestamp> {
    // The first byte is zero for some hundred years, and may be left out.
    let mut bytes = [0; 16];
    let at = bytes.len().checked_sub(serial.len())?;
    bytes.get_mut(at..)?.copy_from_slice(serial);
    let (seconds, nanos) = uuid::Uuid::from_bytes(bytes).get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
}

fn parameters(user: &str, groups: &[&str], days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    complete(&mut params, user, groups, days);
    params
}

fn complete(params: &mut CertificateParams, user: &str, groups: &[&str], days: u32) {
    let mut name = DistinguishedName::new();
    for group in groups {
        name.push(DnType::OrganizationName, *group);
    }
    name.push(DnType::CommonName, user);
    params.distinguished_name = name;
    // An hour back: clocks of clients may be behind.
    let start = SystemTime::now() - Duration::from_secs(3600);
    params.not_before = start.into();
    params.not_after = (start + DAY * days).into();
    params.use_authority_key_identifier_extension = true;
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File {
        action: "read",
        path: path.into(),
        source,
    })
}

/// Writes a file that only its owner may read, in one step: a crash leaves the old one or the new one.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let fail = |source| PkiError::File { action: "write", path: path.into(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    fs::rename(&temporary, path).map_err(fail)
}

/// TLS for the server: its own certificate, and client certificates of the authority if a client has one.
///
/// # Errors
/// When a certificate or key is not understood.
pub fn tls(
    authority: &Authority,
    server: &Identity,
) -> Result<Arc<rustls::ServerConfig>, PkiError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let ca =
        CertificateDer::from_pem_slice(authority.certificate.as_bytes()).map_err(make_error)?;
    roots.add(ca).map_err(make_error)?;
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider.clone(),
    )
    .allow_unauthenticated()
    .build()
    .map_err(make_error)?;
    let chain = CertificateDer::pem_slice_iter(server.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(make_error)?;
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).map_err(make_error)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(make_error)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(make_error)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Who comes back goes on with the keys of the last connection, which spares both sides the costly part of the
    // handshake (RFC 8446, section 2.2). What the plane would have to remember for that, the ticket holds, encrypted:
    // a hundred thousand agents take no memory. No request is taken before the handshake is done.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(make_error)?;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// A kubeconfig for `identity` at `address`, everything embedded.
pub fn kubeconfig(authority: &Authority, identity: &Identity, address: SocketAddr) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let host = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("127.0.0.1:{}", v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("[::1]:{}", v6.port()),
        other => other.to_string(),
    };
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: quarterdeck\n  \
           cluster:\n    \
             server: https://{host}\n    \
             certificate-authority-data: {}\n\
         users:\n\
         - name: admin\n  \
           user:\n    \
             client-certificate-data: {}\n    \
             client-key-data: {}\n\
         contexts:\n\
         - name: quarterdeck\n  \
           context:\n    \
             cluster: quarterdeck\n    \
             user: admin\n    \
             namespace: default\n\
         current-context: quarterdeck\n",
        STANDARD.encode(&authority.certificate),
        STANDARD.encode(&identity.certificate),
        STANDARD.encode(&identity.key),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_kept_until_their_purpose_changes() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let listen: SocketAddr = "127.0.0.1:6443".parse().unwrap();
        let first = authority.server(listen, &[]).unwrap();
        let again = Authority::open(directory.path()).unwrap().server(listen, &[]).unwrap();
        assert_eq!(first.certificate, again.certificate);
        let other = authority.server(listen, &["plane.example.com".into()]).unwrap();
        assert_ne!(first.certificate, other.certificate);
        tls(&authority, &other).unwrap();
        assert!(kubeconfig(&authority, &other, listen).contains("server: https://127.0.0.1:6443"));
    }

    #[test]
    fn a_certificate_of_another_authority_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::open(directory.path()).unwrap().admin().unwrap();
        fs::remove_file(directory.path().join("ca.crt")).unwrap();
        let second = Authority::open(directory.path()).unwrap().admin().unwrap();
        assert_ne!(first.certificate, second.certificate);
    }
}
