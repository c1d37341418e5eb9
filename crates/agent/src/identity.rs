//! Who the agent is: a key that it made itself, and a certificate that the plane gave for it.

use crate::{
    AgentError,
    connect::{self, Plane, Reply},
    folder::Folder,
    pause::Pause,
};
use jiff::Timestamp;
use quarterdeck_model::agent::{Certified, JOIN_PATH, JoinRequest, RENEW_PATH, RenewRequest};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{fs, io::Read as _, path::Path};
use tokio::time::sleep;
use tracing::warn;

/// The key, the certificate with what it is for, and the key with which it joins anew until it has.
const KEY: &str = "agent.key";
const CERTIFIED: &str = "agent.json";
const NEXT_KEY: &str = "agent.key.next";
/// Longest token file.
const TOKEN_BYTES_MAX: u64 = 4 << 10;

/// A key and its certificate.
pub(crate) struct Identity {
    key: KeyPair,
    certified: Certified,
    /// When it was begun to be used, as far as that is known: a third of the time is left at two thirds of it.
    renew_at: Timestamp,
    ends: Timestamp,
}

fn broken(folder: &Folder, file: &str, cause: impl std::fmt::Display) -> AgentError {
    let cause = format!(
        "{cause}; empty the folder and join anew with another token: quarterdeck machine join-token NAME"
    );
    AgentError::Broken { path: folder.path(file), cause }
}

impl Identity {
    /// That of a folder; none when it has not joined.
    pub(crate) fn of(folder: &Folder) -> Result<Option<Self>, AgentError> {
        let Some(text) = folder.read(CERTIFIED)? else { return Ok(None) };
        let certified =
            serde_json::from_str(&text).map_err(|error| broken(folder, CERTIFIED, error))?;
        // It may have joined anew and died before it had put the key in its place.
        if let Some(key) = folder.read(NEXT_KEY)?
            && let Ok(key) = KeyPair::from_pem(&key)
            && let Ok(found) = Self::new(folder, key, Certified::clone(&certified))
        {
            folder.rename(NEXT_KEY, KEY)?;
            return Ok(Some(found));
        }
        let key = folder.read(KEY)?.unwrap_or_default();
        let key = KeyPair::from_pem(&key).map_err(|error| broken(folder, KEY, error))?;
        Self::new(folder, key, certified).map(Some)
    }

    fn new(folder: &Folder, key: KeyPair, certified: Certified) -> Result<Self, AgentError> {
        let wrong = |error: String| broken(folder, CERTIFIED, error);
        let der = CertificateDer::from_pem_slice(certified.certificate.as_bytes())
            .map_err(|error| wrong(error.to_string()))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|error| wrong(error.to_string()))?;
        let (from, to) = (parsed.validity().not_before, parsed.validity().not_after);
        let (from, to) = (from.timestamp(), to.timestamp());
        let renew_at = Timestamp::from_second(from + (to - from) / 3 * 2).unwrap_or_default();
        let ends = Timestamp::from_second(to).unwrap_or_default();
        if parsed.public_key().subject_public_key.data != key.der_bytes() {
            return Err(wrong("it is for another key than the folder's".into()));
        }
        Ok(Self { key, certified, renew_at, ends })
    }

    /// Whether that is why a connection was lost: the plane says that the certificate has ended. It may be cut off before that is heard;
    /// then the host's clock decides.
    pub(crate) fn is_over(&self, why: &str) -> bool {
        connect::says_it_ended(why) || self.has_ended()
    }

    /// Whether the certificate has ended, by the host's clock.
    pub(crate) fn has_ended(&self) -> bool {
        self.ends <= Timestamp::now()
    }

    /// What is said of a certificate that has ended.
    pub(crate) fn over(&self) -> String {
        format!(
            "the certificate of machine {} ended at {:.0}: the agent was off for longer than that lasts",
            self.machine(),
            self.ends
        )
    }

    /// What to do when the plane will not have it any more.
    fn how_to_join_anew(&self) -> String {
        let Certified { namespace, name, .. } = &self.certified;
        format!(
            "join anew: write a token of `quarterdeck machine join-token {name} -n {namespace}` into a file, and start the agent with --join-token-file"
        )
    }

    /// Joins anew, since the plane refuses the certificate.
    pub(crate) async fn join_anew(
        &self,
        folder: &Folder,
        plane: &Plane,
        (token, refused): (Option<&Path>, &str),
    ) -> Result<Self, AgentError> {
        let refuse = |why: String| AgentError::Refused(format!("{refused}; {why}"));
        let Some(file) = token.filter(|file| file.exists()) else {
            return Err(refuse(self.how_to_join_anew()));
        };
        self.check_token(Some(file))?;
        let joining = Joining::with_key(folder, file, NEXT_KEY)?;
        let joined = joining.join(folder, plane).await.map_err(|error| match error {
            AgentError::Refused(why) => refuse(format!(
                "and it cannot join anew with the token in {}: {why}",
                file.display()
            )),
            error => error,
        })?;
        folder.rename(NEXT_KEY, KEY)?;
        Ok(joined)
    }

    /// `namespace/name` of the machine.
    pub(crate) fn machine(&self) -> String {
        format!("{}/{}", self.certified.namespace, self.certified.name)
    }

    /// Its namespace, in which all is that runs on it.
    pub(crate) fn namespace(&self) -> &str {
        &self.certified.namespace
    }

    /// Identity of the machine.
    pub(crate) fn uid(&self) -> &str {
        &self.certified.uid
    }

    /// When to ask for the next certificate.
    pub(crate) fn renew_at(&self) -> Timestamp {
        self.renew_at
    }

    /// What TLS shows.
    pub(crate) fn shown(
        &self,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), String> {
        let certificate = CertificateDer::from_pem_slice(self.certified.certificate.as_bytes())
            .map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).map_err(ToOwned::to_owned)?;
        Ok((certificate, key))
    }

    /// Refuses a token that is for another machine than the folder's.
    pub(crate) fn check_token(&self, file: Option<&Path>) -> Result<(), AgentError> {
        let Some(file) = file.filter(|file| file.exists()) else { return Ok(()) };
        let token = read_token(file)?;
        let mut parts = token.split('.').skip(1);
        let (namespace, name) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if (namespace, name) == (&*self.certified.namespace, &*self.certified.name) {
            return Ok(());
        }
        Err(AgentError::Setting(format!(
            "the folder is that of the agent of machine {}, and the token in {} is for machine {namespace}/{name}; give that agent another folder, or empty this one",
            self.machine(),
            file.display()
        )))
    }

    /// Asks for the next certificate, for the same key.
    pub(crate) async fn renew(
        &mut self,
        folder: &Folder,
        ask: &mut crate::connect::Requests,
    ) -> Result<(), String> {
        let request = RenewRequest { certificate_signing_request: signing_request(&self.key)? };
        let body = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
        let certified = match ask.post(RENEW_PATH, body).await? {
            Reply::Done(body) => {
                serde_json::from_slice(&body).map_err(|error| error.to_string())?
            }
            Reply::Refused { message, .. } => return Err(message),
        };
        let key =
            KeyPair::from_pem(&self.key.serialize_pem()).map_err(|error| error.to_string())?;
        let next = Self::new(folder, key, certified).map_err(|error| error.to_string())?;
        keep(folder, &next.certified).map_err(|error| error.to_string())?;
        *self = next;
        Ok(())
    }
}

fn keep(folder: &Folder, certified: &Certified) -> Result<(), AgentError> {
    let text = serde_json::to_string_pretty(certified);
    folder.write(CERTIFIED, &text.map_err(|error| broken(folder, CERTIFIED, error))?)
}

fn signing_request(key: &KeyPair) -> Result<String, String> {
    // Only the key counts: the plane says who it is.
    let request = CertificateParams::default().serialize_request(key);
    request.and_then(|request| request.pem()).map_err(|error| error.to_string())
}

/// An agent that has not joined yet.
pub(crate) struct Joining {
    key: KeyPair,
    token: String,
}

impl Joining {
    /// Reads the token, and makes the key, which is kept before it is shown to anybody: a token is for one key.
    pub(crate) fn prepare(folder: &Folder, token: Option<&Path>) -> Result<Self, AgentError> {
        let Some(file) = token else {
            return Err(AgentError::Setting(
                "this agent has not joined yet: it needs --join-token-file, with a token from: quarterdeck machine join-token NAME"
                    .into(),
            ));
        };
        Self::with_key(folder, file, KEY)
    }

    /// The same with the key of that file, which stays the same however often it asks.
    fn with_key(folder: &Folder, token: &Path, name: &str) -> Result<Self, AgentError> {
        let token = read_token(token)?;
        let key = match folder.read(name)? {
            Some(key) => KeyPair::from_pem(&key).map_err(|error| broken(folder, name, error))?,
            None => {
                let key = KeyPair::generate().map_err(|error| broken(folder, name, error))?;
                folder.write(name, &key.serialize_pem())?;
                key
            }
        };
        Ok(Self { key, token })
    }

    /// Joins; tries again while the plane cannot be reached.
    pub(crate) async fn join(self, folder: &Folder, plane: &Plane) -> Result<Identity, AgentError> {
        let request = signing_request(&self.key).map_err(AgentError::Setting)?;
        let request = JoinRequest { token: self.token, certificate_signing_request: request };
        let body =
            serde_json::to_vec(&request).map_err(|error| AgentError::Setting(error.to_string()))?;
        let mut pause = Pause::default();
        loop {
            let why = match plane.ask(None, JOIN_PATH, body.clone()).await {
                Ok(Reply::Done(body)) => {
                    let certified: Certified = serde_json::from_slice(&body).map_err(|error| {
                        AgentError::Refused(format!("its answer is not understood: {error}"))
                    })?;
                    let identity = Identity::new(folder, self.key, certified)?;
                    keep(folder, &identity.certified)?;
                    return Ok(identity);
                }
                Ok(Reply::Refused { message, lasting: true }) => {
                    return Err(AgentError::Refused(message));
                }
                Ok(Reply::Refused { message, .. }) => message,
                Err(crate::connect::Trouble::Untrusted(why)) => {
                    return Err(AgentError::Untrusted(why));
                }
                Err(crate::connect::Trouble::Away(why)) => why,
            };
            let pause = pause.next();
            warn!(why, ?pause, "the agent could not join yet; it tries again");
            sleep(pause).await;
        }
    }
}

fn read_token(file: &Path) -> Result<String, AgentError> {
    let mut text = String::new();
    let read =
        fs::File::open(file).and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text));
    read.map_err(crate::folder::failed("read", file))?;
    let token = text.trim().to_owned();
    if token.split('.').count() == 5 {
        return Ok(token);
    }
    Err(AgentError::Broken {
        path: file.into(),
        cause: "it does not hold a join token; make one: quarterdeck machine join-token NAME"
            .into(),
    })
}
