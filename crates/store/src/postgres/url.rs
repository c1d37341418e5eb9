//! From `postgres://…` to how a server is reached. Pure but for reading certificate files.
//!
//! What goes over a network is encrypted and the server's certificate is checked, unless the URL
//! says `sslmode=disable`. There is no mode that encrypts to a server it has not recognised.

use crate::StoreError;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Longest a single host may take to be reached.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Silence after which a connection is probed, and the pause between probes: a server that is gone
/// without a word is noticed in about twenty seconds.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Probes without an answer before a connection is given up.
const KEEPALIVE_PROBES: u32 = 3;
/// Longest that what was sent may stay unacknowledged by the peer's system.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);

/// How a server is reached.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: tokio_postgres::Config,
    pub(super) tls: MakeRustlsConnect,
}

/// What of a URL this file understands itself.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    /// The URL without these parameters.
    rest: String,
    mode: Option<Mode>,
    /// Certificates of the authorities to trust, instead of the system's.
    root: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Clear,
    Verified,
}

/// Reads a URL.
pub(super) fn parse(url: &str) -> Result<Target, StoreError> {
    let parts = split(url).map_err(unusable)?;
    let mut config: tokio_postgres::Config =
        parts.rest.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            unusable(format!("{error}: {}", cause.unwrap_or_default()))
        })?;
    if config.get_hosts().is_empty() {
        return Err(unusable("it names no host".into()));
    }
    let mode = parts.mode.unwrap_or(if config.get_hosts().iter().all(local) {
        Mode::Clear
    } else {
        Mode::Verified
    });
    let (ssl, roots) = match mode {
        Mode::Clear => (SslMode::Disable, RootCertStore::empty()),
        Mode::Verified => (SslMode::Require, roots(parts.root)?),
    };
    config
        .ssl_mode(ssl)
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .application_name("quarterdeck")
        .connect_timeout(CONNECT_WAIT)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .keepalives_idle(KEEPALIVE)
        .keepalives_interval(KEEPALIVE)
        .keepalives_retries(KEEPALIVE_PROBES);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Target { config, tls: MakeRustlsConnect::new(tls) })
}

fn unusable(why: String) -> StoreError {
    StoreError::Unusable(format!("the store's postgres:// URL cannot be used: {why}"))
}

/// Takes out the parameters that are understood here.
fn split(url: &str) -> Result<Parts, String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut root) = (None, None);
    let mut rest = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let mut decoded = form_urlencoded::parse(parameter.as_bytes());
        let Some((name, value)) = decoded.next() else { continue };
        match name.as_ref() {
            "sslmode" => {
                mode = Some(match value.as_ref() {
                    "disable" => Mode::Clear,
                    "require" | "verify-full" => Mode::Verified,
                    other => {
                        return Err(format!(
                            "sslmode={other} is not offered; use verify-full (the server's \
                             certificate is checked) or disable (everything in clear text)"
                        ));
                    }
                });
            }
            "sslrootcert" => root = Some(PathBuf::from(value.as_ref())),
            _ => rest.push(parameter),
        }
    }
    let rest = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok(Parts { rest, mode, root })
}

/// Whether what is sent to `host` stays on this machine.
fn local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

/// The authorities whose certificates are trusted.
fn roots(file: Option<PathBuf>) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(unusable(
                "this system trusts no certificate authority; give the server's with \
                 sslrootcert=FILE"
                    .into(),
            ));
        }
        return Ok(roots);
    };
    let refused = |why: String| unusable(format!("sslrootcert={}: {why}", file.display()));
    for certificate in
        CertificateDer::pem_file_iter(&file).map_err(|error| refused(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("it holds no certificate in PEM".into()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crosses_a_network_is_encrypted_unless_the_url_says_otherwise() {
        let mode = |url: &str| parse(url).map(|target| target.config.get_ssl_mode());
        for (url, expected) in [
            ("postgres://qd@127.0.0.1/qd", SslMode::Disable),
            ("postgres://qd@localhost:5433/qd", SslMode::Disable),
            ("postgresql:///qd?host=/run/postgresql&user=qd", SslMode::Disable),
            ("postgres://qd@db.example/qd", SslMode::Require),
            ("postgres://qd@127.0.0.1,db.example/qd", SslMode::Require),
            ("postgres://qd@db.example/qd?sslmode=disable", SslMode::Disable),
            ("postgres://qd@127.0.0.1/qd?sslmode=verify-full", SslMode::Require),
            ("postgres://qd@127.0.0.1/qd?sslmode=require&connect_timeout=3", SslMode::Require),
        ] {
            assert_eq!(mode(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (url, part) in [
            ("postgres://qd@db/qd?sslmode=prefer", "sslmode=prefer is not offered"),
            ("postgres://qd@db/qd?sslmod=require", "sslmod"),
            ("postgres://qd@db/qd?sslmode=require&sslrootcert=/no/such.pem", "/no/such.pem"),
            ("postgres://qd@db:port/qd", "port"),
            ("postgres:///qd", "no host"),
        ] {
            let error = parse(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(part), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_with_special_characters_stays_as_it_is() {
        let parts =
            split("postgres://qd:a%26b%3F@db/qd?sslmode=require&options=-c%20x%3Dy").unwrap();
        assert_eq!(parts.mode, Some(Mode::Verified));
        assert_eq!(parts.rest, "postgres://qd:a%26b%3F@db/qd?options=-c%20x%3Dy");
    }
}
