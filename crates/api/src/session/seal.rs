//! Seals sessions, so that nobody reads, makes or changes one: AES-256-GCM (NIST SP 800-38D) with keys that are
//! derived from those that sign tokens (HKDF, RFC 5869). Replicas share those, and so can open each other's sessions;
//! a signing key that is removed ends the sessions it sealed, as it ends the tokens it signed.

use super::Session;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom as _, SystemRandom},
};
use std::io::{Read as _, Write as _};

/// What the keys are for, so that they are no keys of anything else.
const PURPOSE: &[u8] = b"quarterdeck session cookie, version 1";
/// Longest session that is read.
const BYTES_MAX: u64 = 16 * 1024;

/// What opens and seals sessions.
pub(crate) struct SessionKeys(LessSafeKey);

impl SessionKeys {
    /// Of a private key that signs tokens. None only if the algorithms did not fit together.
    pub(crate) fn of(private: &[u8]) -> Option<Self> {
        let pseudorandom = Salt::new(HKDF_SHA256, b"").extract(private);
        let key = pseudorandom.expand(&[PURPOSE], &AES_256_GCM).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// A cookie's text. None when the system has no randomness.
    pub(crate) fn seal(&self, session: &Session) -> Option<String> {
        let text = serde_json::to_vec(session).ok()?;
        // A token is letters of base64, which are an eighth shorter so. Nothing in it is an attacker's choice
        // beside a secret: it is one token, or one name.
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&text).ok()?;
        let mut sealed = packed.finish().ok()?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let once = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(once, Aad::empty(), &mut sealed).ok()?;
        Some(BASE64.encode([&nonce[..], &sealed].concat()))
    }

    /// The session of a cookie's text; none when this key did not seal it as it is.
    pub(crate) fn open(&self, text: &str) -> Option<Session> {
        if text.len() > super::COOKIE_BYTES_MAX {
            return None;
        }
        let mut bytes = BASE64.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let packed = self.0.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        let mut text = Vec::new();
        ZlibDecoder::new(&*packed).take(BYTES_MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Who, *};

    fn keys(private: &[u8]) -> SessionKeys {
        SessionKeys::of(private).unwrap()
    }

    #[test]
    fn a_session_is_opened_by_its_key_and_as_it_was_sealed() {
        let session = Session { expires: 7, who: Who::Token("a.b.c".into()) };
        let sealed = keys(b"one").seal(&session).unwrap();
        assert_eq!(keys(b"one").open(&sealed), Some(session.clone()));
        assert_eq!(keys(b"other").open(&sealed), None);
        assert_ne!(keys(b"one").seal(&session).unwrap(), sealed, "no two are the same");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last letter may have bits that mean nothing.
            let same = BASE64.decode(&changed).ok() == BASE64.decode(&sealed).ok();
            assert!(same || keys(b"one").open(&changed).is_none(), "letter {at}");
        }
        for wrong in ["", "x", "AAAA", &"A".repeat(10_000)] {
            assert_eq!(keys(b"one").open(wrong), None);
        }
    }

    #[test]
    fn nothing_of_it_can_be_read() {
        let session = Session { expires: 7, who: Who::Token("secret-token".repeat(3)) };
        let sealed = BASE64.decode(keys(b"one").seal(&session).unwrap()).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("secret"));
    }
}
