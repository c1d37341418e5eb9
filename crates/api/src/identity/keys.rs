//! The keys that the plane signs service account tokens with: a file of PEM blocks beside the authority's.
//! The first one signs; all of them verify, so that tokens outlive a rotation. A key must never be
//! printed, logged or part of an error.
//!
//! Replicas on one store share the file, or each has a copy. One that changes is read again by itself.

use super::jose::{Algorithm, Key};
use crate::{
    pki::{PkiError, write_private},
    session::SessionKeys,
};
use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use rcgen::KeyPair;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tracing::{info, warn};

/// Longest file that is read: room for a rotation a week for years.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// How often it is looked at whether the file has changed.
const LOOK_MILLIS: u64 = 1_000;
/// How often at most, when tokens come that a key signed which is not known.
const LOOK_AGAIN_MILLIS: u64 = 20;
const HEADING: &str = "# Keys that sign the tokens of service accounts. Who has this file can be any of them. The\n\
                       # first key signs, all verify; one that is removed ends the tokens it signed.\n";

/// The keys of the plane.
pub struct SigningKeys {
    path: PathBuf,
    current: ArcSwap<Keyring>,
    began: Instant,
    /// When it was last time to look at the file, in milliseconds since `began`.
    looked: AtomicU64,
    /// When it was looked at last; held by who looks.
    looking: Mutex<u64>,
}

/// The keys of the file as it was read.
#[derive(Clone)]
pub(crate) struct Keyring {
    signer: Arc<Signer>,
    pub(crate) public: Vec<Key>,
    /// The same, as they are published (RFC 7517).
    jwks: Vec<Value>,
    /// What seals and opens sessions, one a key.
    pub(crate) sessions: Vec<Arc<SessionKeys>>,
    /// None where there was no file any more.
    version: Option<Version>,
}

/// What tells that a file has changed, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

struct Signer {
    id: String,
    pair: EcdsaKeyPair,
}

impl SigningKeys {
    /// Opens the file, making it with a first key unless it is there.
    ///
    /// # Errors
    /// When it cannot be made, read or understood.
    pub fn open(path: &Path) -> Result<Self, PkiError> {
        if !path.exists() {
            let key = KeyPair::generate().map_err(|error| PkiError::Make(error.to_string()))?;
            write_private(path, &format!("{HEADING}{}", key.serialize_pem()))?;
        }
        let current = ArcSwap::from_pointee(Keyring::read(path)?);
        let (began, looked, looking) = (Instant::now(), AtomicU64::new(0), Mutex::new(0));
        Ok(Self { path: path.into(), current, began, looked, looking })
    }

    /// Puts a new key first into the file, whose name it answers. Planes notice by themselves.
    ///
    /// # Errors
    /// When the file is not there, holds no keys, or cannot be written.
    pub fn rotate(path: &Path) -> Result<String, PkiError> {
        Keyring::read(path)?;
        let before = text(path)?;
        let before = before.strip_prefix(HEADING).unwrap_or(&before);
        let key = KeyPair::generate().map_err(|error| PkiError::Make(error.to_string()))?;
        write_private(path, &format!("{HEADING}{}{before}", key.serialize_pem()))?;
        Ok(Keyring::read(path)?.signer.id.clone())
    }

    /// The keys of now, or of a second ago.
    pub(crate) fn current(&self) -> Arc<Keyring> {
        let (now, last) = (self.now(), self.looked.load(Ordering::Relaxed));
        let due = now.saturating_sub(last) >= LOOK_MILLIS;
        // One of those who come at that moment looks.
        let order = Ordering::Relaxed;
        if due && self.looked.compare_exchange(last, now, order, order).is_ok() {
            self.look(now);
        }
        self.current.load_full()
    }

    /// The keys after a look at the file: for a token whose key another replica may have brought just now.
    /// However many ask, it is looked at so often and no more.
    pub(crate) async fn looked_at_again(&self) -> Arc<Keyring> {
        let came = self.now();
        let next = self.looking().saturating_add(LOOK_AGAIN_MILLIS);
        tokio::time::sleep(Duration::from_millis(next.saturating_sub(came))).await;
        self.look(came);
        self.current.load_full()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn looking(&self) -> MutexGuard<'_, u64> {
        // A panic while it was held published nothing.
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file again if it has changed, unless somebody looked later than `since`. One that has become
    /// unusable changes nothing, and is told of in the log.
    fn look(&self, since: u64) {
        let mut last = self.looking();
        if *last > since {
            return;
        }
        *last = self.now();
        let current = self.current.load_full();
        let version = version(&self.path).ok();
        if version == current.version {
            return;
        }
        let next = match Keyring::read(&self.path) {
            Ok(next) => {
                info!(key = next.signer.id, "read the keys of service accounts again");
                next
            }
            Err(error) => {
                warn!("{error}. The keys that were read before are used on");
                // Told once for each change of the file.
                Keyring { version, ..Keyring::clone(&current) }
            }
        };
        self.current.store(Arc::new(next));
    }
}

impl Keyring {
    fn read(path: &Path) -> Result<Self, PkiError> {
        let broken = |cause: String| PkiError::Keys { path: path.into(), cause };
        let file = |source| PkiError::File { action: "read", path: path.into(), source };
        // The version first: a change while it is read is noticed the next time.
        let version = Some(version(path).map_err(file)?);
        let text = text(path)?;
        let (mut pairs, mut sessions) = (Vec::new(), Vec::new());
        for key in PrivatePkcs8KeyDer::pem_slice_iter(text.as_bytes()) {
            let key = key.map_err(|error| broken(error.to_string()))?;
            let pair = EcdsaKeyPair::from_pkcs8(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                key.secret_pkcs8_der(),
                &SystemRandom::new(),
            )
            .map_err(|error| broken(format!("a key is not one on P-256: {error}")))?;
            pairs.push(pair);
            sessions.extend(SessionKeys::of(key.secret_pkcs8_der()).map(Arc::new));
        }
        let mut public = Vec::new();
        let mut jwks = Vec::new();
        for pair in &pairs {
            let point = pair.public_key().as_ref();
            let id = name(point);
            jwks.push(jwk(&id, point));
            public.push(Key::own(&id, point));
        }
        let first = pairs.into_iter().next().ok_or_else(|| broken("it holds no key".into()))?;
        let signer = Arc::new(Signer { id: name(first.public_key().as_ref()), pair: first });
        Ok(Self { signer, public, jwks, sessions, version })
    }

    /// A token that says this.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, PkiError> {
        let header = json!({"alg": "ES256", "kid": self.signer.id}).to_string();
        let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims.to_string()));
        let signature = self
            .signer
            .pair
            .sign(&SystemRandom::new(), message.as_bytes())
            .map_err(|_| PkiError::Make("the system has no randomness to sign with".into()))?;
        Ok(format!("{message}.{}", BASE64.encode(signature)))
    }

    /// What others verify tokens with (RFC 7517 §5).
    pub(crate) fn published(&self) -> Value {
        json!({"keys": self.jwks})
    }

    /// What own tokens are signed by.
    pub(crate) const ALGORITHMS: [Algorithm; 1] = [Algorithm::Es256];
}

fn text(path: &Path) -> Result<String, PkiError> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|source| PkiError::File { action: "read", path: path.into(), source })?;
    Ok(text)
}

fn version(path: &Path) -> std::io::Result<Version> {
    let meta = fs::metadata(path)?;
    let changed = (meta.mtime(), meta.mtime_nsec());
    Ok(Version { inode: meta.ino(), bytes: meta.len(), changed })
}

/// What a key is called: nothing but itself decides, so that every replica calls it the same.
fn name(point: &[u8]) -> String {
    BASE64.encode(Sha256::digest(point))
}

fn jwk(id: &str, point: &[u8]) -> Value {
    // A point is a byte 4, then its two coordinates.
    let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len().saturating_sub(1) / 2);
    json!({
        "kty": "EC", "crv": "P-256", "x": BASE64.encode(x), "y": BASE64.encode(y),
        "use": "sig", "alg": "ES256", "kid": id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::jose::Token;

    #[tokio::test]
    async fn a_key_of_another_replica_is_looked_for_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sa.key");
        let keys = SigningKeys::open(&path).unwrap();
        for _ in 0..3 {
            let new = SigningKeys::rotate(&path).unwrap();
            // As if a look had just been due.
            keys.looked.store(keys.now(), Ordering::Relaxed);
            assert_eq!(keys.looked_at_again().await.signer.id, new);
            let again = futures_util::future::join_all((0..50).map(|_| keys.looked_at_again()));
            assert!(again.await.iter().all(|keys| keys.signer.id == new));
        }
    }

    #[test]
    fn keys_are_kept_and_a_rotation_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sa.key");
        let keys = SigningKeys::open(&path).unwrap();
        let claims = json!({"iss": "i", "exp": 1});
        let token = keys.current().sign(&claims).unwrap();
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let verifies = |keys: &SigningKeys, token: &str| {
            let read = Token::read(token).unwrap();
            read.verified(&keys.current().public, &Keyring::ALGORITHMS).is_some()
        };
        // Another process, on the same file.
        let again = SigningKeys::open(&path).unwrap();
        assert!(verifies(&keys, &token) && verifies(&again, &token));
        let new = SigningKeys::rotate(&path).unwrap();
        keys.looked.store(0, Ordering::Relaxed);
        let began = Instant::now();
        while keys.current().signer.id != new {
            assert!(began.elapsed().as_secs() < 20, "the new key is not noticed");
            std::thread::yield_now();
        }
        assert_eq!(keys.current().published()["keys"].as_array().unwrap().len(), 2);
        let newer = keys.current().sign(&claims).unwrap();
        assert!(verifies(&keys, &token) && verifies(&keys, &newer));
        // What the published keys verify is the same.
        let public = Key::of_set(&keys.current().published()).unwrap();
        assert!(Token::read(&newer).unwrap().verified(&public, &Keyring::ALGORITHMS).is_some());
        fs::write(&path, "nothing").unwrap();
        assert!(
            SigningKeys::open(&path).is_err_and(|error| error.to_string().contains("holds no key"))
        );
        assert!(SigningKeys::rotate(&path).is_err());
        assert!(verifies(&keys, &newer), "what was read stays");
    }
}
