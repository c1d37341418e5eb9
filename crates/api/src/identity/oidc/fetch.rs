//! Gets JSON from an issuer: bounded in time and size, over TLS with a verified certificate only. It
//! must never follow a redirect: what it gets decides who may come in.

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use std::{error::Error, path::Path, sync::Arc, time::Duration};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer: the documents of large issuers have a few kilobytes.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// A client of issuers.
#[derive(Clone)]
pub(super) struct Fetch {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetch {
    /// Trusts the authorities of that file, or the system's.
    pub(super) fn new(authorities: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(path) => {
                let wrong =
                    |why: &dyn std::fmt::Display| format!("ca-file: {}: {why}", path.display());
                let text = std::fs::read(path).map_err(|error| wrong(&error))?;
                for certificate in CertificateDer::pem_slice_iter(&text) {
                    let certificate = certificate.map_err(|error| wrong(&error))?;
                    roots.add(certificate).map_err(|error| wrong(&error))?;
                }
                if roots.is_empty() {
                    return Err(wrong(&"it holds no certificate"));
                }
            }
            // Some of a system's certificates are old and of no use to anyone.
            None => drop(
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
            ),
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        // Asked once in minutes: no connection is kept for the next time.
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client })
    }

    /// The JSON at that URL.
    pub(super) async fn json(&self, url: &str) -> Result<Value, String> {
        let failed = |why: &dyn std::fmt::Display| format!("{url}: {why}");
        let uri: Uri = url.parse().map_err(|error| failed(&error))?;
        if uri.scheme_str() != Some("https") {
            return Err(failed(&"it is not https"));
        }
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/json, application/jwk-set+json")
            .header(header::USER_AGENT, concat!("quarterdeck/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| failed(&error))?;
        let answer = async {
            let answer = self.client.request(request).await.map_err(|error| innermost(&error))?;
            if answer.status() != http::StatusCode::OK {
                return Err(format!("answered {}", answer.status()));
            }
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(body.map_err(|error| error.to_string())?.to_bytes())
        };
        let body = tokio::time::timeout(TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(format!("no whole answer within {} s", TIMEOUT.as_secs())))
            .map_err(|error| failed(&error))?;
        serde_json::from_slice(&body).map_err(|error| failed(&format!("not JSON: {error}")))
    }
}

/// The last error of the chain says most.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
