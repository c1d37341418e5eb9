//! Whether what is at an address is what it should be, by its SHA-256. For those who tell others to fetch it.
//!
//! It is read once for many who are told to fetch the same, and nothing of it is kept. What is at the address may be
//! replaced the moment after: this finds what is wrong, truncated or another version, not who means harm.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use tokio::sync::Mutex;

use super::Reach;
use crate::action::{ActionContext, ActionError, Reason};
use crate::transport::tls::{Configs, Verification};
use crate::transport::{Transport, TransportError};

/// Largest image that is read: those of whole GPU trays reach a gigabyte.
const IMAGE_BYTES_MAX: usize = 4 << 30;
/// How long an image that was found right is not read again.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// Images remembered.
const KNOWN_MAX: usize = 1_024;

/// What was found right, and when. Sharing it shares what is known.
#[derive(Clone)]
pub(crate) struct Images {
    reach: Reach,
    tls: Arc<Configs>,
    /// One lock an image: who comes second waits for what the first finds.
    known: Arc<std::sync::Mutex<HashMap<(String, String), Found>>>,
}

type Found = Arc<Mutex<Option<Instant>>>;

impl Images {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, tls: Arc::default(), known: Arc::default() }
    }

    /// Makes sure that the image at `url` has this SHA-256, in lower-case hex. Messages name the host alone: the
    /// rest of an address may be signed.
    pub(crate) async fn verify(
        &self,
        context: &ActionContext,
        url: &str,
        sha256: &str,
    ) -> Result<(), ActionError> {
        let entry = self.entry(url, sha256);
        let waits = tokio::time::timeout(context.remaining(), entry.lock()).await;
        let mut found = waits.map_err(|elapsed| {
            let message = "the image is still being read for others";
            ActionError::retryable(Reason::Timeout, message).because(elapsed)
        })?;
        if found.is_some_and(|at| at.elapsed() < KNOWN_FOR) {
            return Ok(());
        }
        self.read(context, url, sha256).await?;
        *found = Some(Instant::now());
        Ok(())
    }

    fn entry(&self, url: &str, sha256: &str) -> Found {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            // What is being read is kept by who reads it.
            known.clear();
        }
        Arc::clone(known.entry((url.to_owned(), sha256.to_owned())).or_default())
    }

    async fn read(
        &self,
        context: &ActionContext,
        url: &str,
        sha256: &str,
    ) -> Result<(), ActionError> {
        let invalid = |why: String| ActionError::permanent(Reason::InvalidInput, why);
        let uri: Uri = url
            .parse()
            .map_err(|error| invalid("image is not an address".into()).because(error))?;
        let host = uri.host().unwrap_or_default().to_owned();
        if self.reach.forbids(&uri) {
            let why = format!(
                "the image on {host} is where the plane may not look; leave the checksum out"
            );
            return Err(ActionError::permanent(Reason::Forbidden, why));
        }
        let tls = self.tls.of(&Verification::Full { ca_pem: None }).map_err(|error| {
            ActionError::permanent(Reason::CertificateInvalid, error.to_string()).because(error)
        })?;
        let transport = Transport::new(tls, 0, self.reach.rule());
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = uri;
        let read = transport.digest(request, IMAGE_BYTES_MAX, context.remaining()).await;
        let (status, digest) = read.map_err(|error| unread(&host, error))?;
        if !status.is_success() {
            let message = format!(
                "the image on {host} cannot be read: it answers {status}; correct the address"
            );
            let retry = status.is_server_error();
            let reason = Reason::UnexpectedStatus;
            return Err(match retry {
                true => ActionError::retryable(reason, message),
                false => ActionError::permanent(reason, message),
            });
        }
        let seen: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if seen == sha256 {
            return Ok(());
        }
        Err(invalid(format!(
            "the image on {host} has the SHA-256 {seen}, and should have {sha256}; correct the checksum, or put the \
             right image there"
        )))
    }
}

fn unread(host: &str, error: TransportError) -> ActionError {
    let message = format!("the image on {host} cannot be read: {error}");
    let failed = match &error {
        TransportError::NotConnected { .. } | TransportError::Lost { .. } => {
            ActionError::retryable(Reason::Unreachable, message)
        }
        TransportError::TimedOut { .. } => ActionError::retryable(Reason::Timeout, message),
        TransportError::OutOfReach(_) => ActionError::permanent(Reason::Forbidden, message),
        TransportError::Certificate { .. } => {
            ActionError::permanent(Reason::CertificateInvalid, message)
        }
        TransportError::TooLarge { .. } => ActionError::permanent(Reason::InvalidInput, message),
    };
    failed.because(error)
}
