//! The form in which a sealed body is stored, and making and opening it. Pure but for the source of
//! randomness it is given. It must never let a body be read under another key than its own.
//!
//! Envelope encryption: bodies are encrypted with a data key, AES-256-GCM, and the data key, encrypted
//! with a key of the key file, lies beside each body. A new key in the file so costs no more than to
//! write each body anew, and the file's key itself encrypts few things.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `QDS1` |
//! | 8 | which key of the file |
//! | 12 + 48 | the data key, encrypted with it: nonce, then ciphertext and tag |
//! | 12 + n + 16 | the body, encrypted with the data key: nonce, then ciphertext and tag |
//!
//! The nonces are random; NIST SP 800-38D, section 8.3, allows 2^32 of them for one key.

use quarterdeck_model::Key;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    error::Unspecified,
    rand::SecureRandom,
};
use std::fmt;

/// Begins every sealed body; a body that is not sealed is JSON and begins with a brace.
const MAGIC: &[u8; 4] = b"QDS1";
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
const ID_LEN: usize = 8;
const WRAPPED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;
const HEADER_LEN: usize = MAGIC.len() + ID_LEN + WRAPPED_LEN;

/// Names a key of the key file: the beginning of its SHA-256, so that a key cannot go by another's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; ID_LEN]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that encrypts: one of the key file's, or a data key.
pub(super) struct SealingKey(LessSafeKey);

impl SealingKey {
    /// The key of these 32 bytes; none when they are not 32.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?)))
    }

    fn seal(
        &self,
        random: &dyn SecureRandom,
        bound_to: &[u8],
        text: &[u8],
    ) -> Result<Vec<u8>, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + text.len() + TAG_LEN);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let tag = self.0.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(bound_to),
            sealed.get_mut(NONCE_LEN..).unwrap_or_default(),
        )?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let mut text = text.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.0.open_in_place(nonce, Aad::from(bound_to), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

/// The name of the key of these bytes.
pub(super) fn id(bytes: &[u8]) -> KeyId {
    let digest = digest(&SHA256, bytes);
    let mut id = [0; ID_LEN];
    id.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    KeyId(id)
}

/// A data key and the form of it that lies beside the bodies it encrypts.
pub(super) struct DataKey {
    key: SealingKey,
    /// The key of the file that it is encrypted with.
    pub(super) by: KeyId,
    header: Vec<u8>,
}

impl DataKey {
    /// A new one, for `with`, the key of the file named `by`.
    pub(super) fn generate(
        random: &dyn SecureRandom,
        by: KeyId,
        with: &SealingKey,
    ) -> Result<Self, Unspecified> {
        let mut bytes = [0; KEY_LEN];
        random.fill(&mut bytes)?;
        let mut header = [MAGIC.as_slice(), &by.0].concat();
        let wrapped = with.seal(random, &header, &bytes)?;
        header.extend(wrapped);
        let key = SealingKey::new(&bytes).ok_or(Unspecified)?;
        Ok(Self { key, by, header })
    }

    /// Encrypts the body of `of`.
    pub(super) fn seal(
        &self,
        random: &dyn SecureRandom,
        of: &Key,
        body: &[u8],
    ) -> Result<Vec<u8>, Unspecified> {
        let mut sealed = self.header.clone();
        sealed.extend(self.key.seal(random, &bound_to(of), body)?);
        Ok(sealed)
    }
}

/// A sealed body, taken apart.
pub(super) struct Sealed<'a> {
    /// Which key of the file opens it.
    pub(super) by: KeyId,
    /// The header as a whole: names the data key.
    pub(super) header: &'a [u8],
    body: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Takes a stored body apart; none when it is not sealed.
    pub(super) fn parse(stored: &'a [u8]) -> Option<Self> {
        if !stored.starts_with(MAGIC) {
            return None;
        }
        let (header, body) = stored.split_at_checked(HEADER_LEN)?;
        let id = header.get(MAGIC.len()..MAGIC.len() + ID_LEN)?;
        Some(Self { by: KeyId(id.try_into().ok()?), header, body })
    }

    /// The data key, opened with the key of the file.
    pub(super) fn data_key(&self, with: &SealingKey) -> Option<SealingKey> {
        let (bound, wrapped) = self.header.split_at_checked(MAGIC.len() + ID_LEN)?;
        SealingKey::new(&with.open(bound, wrapped)?)
    }

    /// The body of `of`, opened with the data key.
    pub(super) fn open(&self, of: &Key, with: &SealingKey) -> Option<Vec<u8>> {
        with.open(&bound_to(of), self.body)
    }
}

/// What a body is bound to: it cannot be opened as that of another object. Names hold no zero bytes.
fn bound_to(key: &Key) -> Vec<u8> {
    [key.kind.as_bytes(), b"\0", key.namespace.as_bytes(), b"\0", key.name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::rand::SystemRandom;

    fn key(name: &str) -> Key {
        Key { kind: "secrets".into(), namespace: "a".into(), name: name.into() }
    }

    fn open(stored: &[u8], of: &Key, with: &SealingKey) -> Option<Vec<u8>> {
        let sealed = Sealed::parse(stored)?;
        sealed.open(of, &sealed.data_key(with)?)
    }

    proptest! {
        #[test]
        fn a_body_opens_as_its_own_and_unchanged_only(
            body: Vec<u8>, flip in 0_usize..10_000, bytes: [u8; 32], other: [u8; 32],
        ) {
            let random = SystemRandom::new();
            let with = SealingKey::new(&bytes).unwrap();
            let data = DataKey::generate(&random, id(&bytes), &with).unwrap();
            let sealed = data.seal(&random, &key("s"), &body).unwrap();
            prop_assert_eq!(Sealed::parse(&sealed).unwrap().by, id(&bytes));
            prop_assert_eq!(open(&sealed, &key("s"), &with), Some(body.clone()));
            prop_assert_eq!(open(&sealed, &key("t"), &with), None);
            prop_assert!(bytes == other || open(&sealed, &key("s"), &SealingKey::new(&other).unwrap()).is_none());
            // Any bit that differs is noticed.
            let mut damaged = sealed.clone();
            let at = flip % (damaged.len() * 8);
            damaged[at / 8] ^= 1 << (at % 8);
            prop_assert_eq!(open(&damaged, &key("s"), &with), None);
            prop_assert_eq!(open(&sealed[..flip % sealed.len()], &key("s"), &with), None);
            // The same body never looks the same.
            prop_assert_ne!(data.seal(&random, &key("s"), &body).unwrap(), sealed);
        }

        #[test]
        fn no_bytes_make_it_panic(stored: Vec<u8>) {
            let with = SealingKey::new(&[7; 32]).unwrap();
            prop_assert_eq!(open(&stored, &key("s"), &with), None);
            let sealed = [MAGIC.as_slice(), &stored].concat();
            prop_assert_eq!(open(&sealed, &key("s"), &with), None);
        }
    }

    #[test]
    fn keys_have_32_bytes() {
        assert!(SealingKey::new(&[0; 31]).is_none() && SealingKey::new(&[0; 33]).is_none());
    }
}
