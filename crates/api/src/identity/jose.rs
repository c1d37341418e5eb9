//! Signed tokens (JWT, RFC 7519, in the compact form of RFC 7515), read strictly and verified by `ring`.
//! Pure.
//!
//! Nothing that a token says of itself is believed: its algorithm must be one that its issuer may use and
//! that fits the issuer's key (so neither `none` nor an HMAC over a public key is any), and keys come from
//! the issuer, never from the token. What is read is bounded in size and depth, and a name that stands
//! twice is refused, since two readers could take it for two values.

use super::Refused;
use crate::written::Written;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ring::signature::{
    self, EcdsaVerificationAlgorithm, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest token that is read: one with hundreds of groups fits, and headers of requests have their own limit.
pub(crate) const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Most keys of one issuer that are kept: a rotation needs two or three.
const KEYS_MAX: usize = 64;
/// How many keys are tried for a token that does not name its key.
const TRIES_MAX: usize = 8;
/// Header parameters by which a token would bring its own key, or change how it is to be read.
const REFUSED_PARAMETERS: [&str; 6] = ["jwk", "jku", "x5c", "x5u", "crit", "b64"];
/// What a token may say that it is: an ID token (or nothing), or an access token (RFC 9068).
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// A signature algorithm (RFC 7518 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "they are their names")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
}

/// What a signature is verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PublicKey {
    /// Modulus and exponent, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point, uncompressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl PublicKey {
    fn verifies(&self, algorithm: Algorithm, message: &[u8], mark: &[u8]) -> bool {
        let rsa = |parameters: &'static RsaParameters| match self {
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, mark).is_ok()
            }
            _ => false,
        };
        let point = |point: &[u8], how: &'static EcdsaVerificationAlgorithm| {
            UnparsedPublicKey::new(how, point).verify(message, mark).is_ok()
        };
        match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => match self {
                Self::P256(key) => point(key, &signature::ECDSA_P256_SHA256_FIXED),
                _ => false,
            },
            Algorithm::Es384 => match self {
                Self::P384(key) => point(key, &signature::ECDSA_P384_SHA384_FIXED),
                _ => false,
            },
        }
    }
}

/// A key of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its name (`kid`), if it has one.
    id: Option<String>,
    /// The one algorithm it is for, if it says so.
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

impl Key {
    /// A key of the plane's own: a point on P-256.
    pub(crate) fn own(id: &str, point: &[u8]) -> Self {
        let key = PublicKey::P256(point.into());
        Self { id: Some(id.into()), algorithm: Some(Algorithm::Es256), key }
    }

    /// A key as RFC 7517 writes it; none when it is not for signatures, or of a sort that is not read here.
    pub(crate) fn of_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64.decode(text(name)?.trim_end_matches('=')).ok();
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        // One that is only for an algorithm that is not known here is for nothing here.
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(algorithm) => Some(Algorithm::deserialize(algorithm).ok()?),
        };
        let number = |name: &str| {
            let bytes = bytes(name)?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            Some(bytes.get(zeros..)?.to_vec())
        };
        let point = |length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            let fits = x.len() == length && y.len() == length;
            fits.then(|| [&[4][..], &x, &y].concat())
        };
        let key = match (text("kty")?, text("crv")) {
            ("RSA", _) => PublicKey::Rsa { n: number("n")?, e: number("e")? },
            ("EC", Some("P-256")) => PublicKey::P256(point(32)?),
            ("EC", Some("P-384")) => PublicKey::P384(point(48)?),
            _ => return None,
        };
        Some(Self { id: text("kid").map(Into::into), algorithm, key })
    }

    /// The keys of a set (RFC 7517 §5) that are of use here.
    pub(crate) fn of_set(set: &Value) -> Option<Vec<Self>> {
        let keys = set.get("keys")?.as_array()?;
        Some(keys.iter().filter_map(Self::of_jwk).take(KEYS_MAX).collect())
    }
}

/// A token that was read, and is not verified yet: all that can be learned of it is whose it says it is.
pub(crate) struct Token<'t> {
    /// What is signed.
    message: &'t str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key: Option<String>,
    claims: Claims,
}

impl<'t> Token<'t> {
    /// Reads a token. The refusals tell what is wrong with its form only.
    pub(crate) fn read(text: &'t str) -> Result<Self, Refused> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Refused(format!("the token is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        let malformed = || Refused::new("the token is not a signed JWT");
        let (message, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = message.split_once('.').ok_or_else(malformed)?;
        let signature = BASE64.decode(signature).map_err(|_| malformed())?;
        let header = object(header).ok_or_else(malformed)?;
        let claims = Claims(object(payload).ok_or_else(malformed)?);
        if REFUSED_PARAMETERS.iter().any(|name| header.contains_key(*name)) {
            return Err(Refused::new("the token's header asks for what is not done here"));
        }
        let kind = header.get("typ").map(|kind| kind.as_str().unwrap_or_default());
        if kind.is_some_and(|kind| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind))) {
            return Err(Refused::new("the token is of a type that is not for access"));
        }
        let algorithm = header.get("alg").and_then(|name| Algorithm::deserialize(name).ok());
        let algorithm = algorithm.ok_or_else(|| {
            Refused::new("the token is signed by an algorithm that is not accepted")
        })?;
        let key = match header.get("kid") {
            None => None,
            Some(key) => Some(key.as_str().ok_or_else(malformed)?.to_owned()),
        };
        Ok(Self { message, signature, algorithm, key, claims })
    }

    /// Who it says issued it.
    pub(crate) fn issuer(&self) -> &str {
        self.claims.text("iss").unwrap_or_default()
    }

    /// Whether the key that it names is none of these.
    pub(super) fn names_none_of(&self, keys: &[Key]) -> bool {
        self.key.is_some() && keys.iter().all(|key| key.id != self.key)
    }

    /// What it says, if one of these keys signed it by one of these algorithms; and which.
    pub(crate) fn verified<'k>(
        &self,
        keys: &'k [Key],
        allowed: &[Algorithm],
    ) -> Option<(&Claims, &'k Key)> {
        if !allowed.contains(&self.algorithm) {
            return None;
        }
        let named = |key: &&Key| self.key.is_none() || key.id.is_none() || key.id == self.key;
        let fit = |key: &&Key| key.algorithm.is_none_or(|only| only == self.algorithm);
        let mut candidates = keys.iter().filter(named).filter(fit).take(TRIES_MAX);
        let message = self.message.as_bytes();
        let key =
            candidates.find(|key| key.key.verifies(self.algorithm, message, &self.signature))?;
        Some((&self.claims, key))
    }
}

/// A part of a token: a JSON object in which no name stands twice, at any depth.
fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = BASE64.decode(part).ok()?;
    let mut from = serde_json::Deserializer::from_slice(&bytes);
    // Its reader refuses nesting deeper than some hundred levels.
    let written = Written::read(&mut from).ok()?;
    from.end().ok()?;
    match written.value {
        Value::Object(object) if written.duplicates.is_empty() => Some(object),
        _ => None,
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claims(Map<String, Value>);

/// When a token may be used, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) not_before: Option<i64>,
    pub(crate) expires: i64,
}

impl Claims {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// All claims, as a type.
    pub(crate) fn decode<T: for<'a> Deserialize<'a>>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(Value::Object(self.0.clone()))
    }

    /// Whom it is meant for: one text or several (RFC 7519 §4.1.3).
    pub(crate) fn audiences(&self) -> Option<Vec<String>> {
        texts(self.get("aud")?)
    }

    /// When it may be used. One that never ends is refused, and so is a time that is not a number.
    pub(crate) fn times(&self) -> Result<Times, Refused> {
        let seconds = |name: &str| match self.get(name) {
            None => Ok(None),
            Some(value) => match number(value) {
                Some(seconds) => Ok(Some(seconds)),
                None => Err(Refused(format!("the token's {name} is not a time"))),
            },
        };
        let expires = seconds("exp")?.ok_or_else(|| Refused::new("the token never expires"))?;
        Ok(Times { not_before: seconds("nbf")?, expires })
    }
}

/// One text, or a list of nothing but texts.
pub(crate) fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(all) => all.iter().map(|one| one.as_str().map(Into::into)).collect(),
        _ => None,
    }
}

/// A NumericDate (RFC 7519 §2), whole seconds of it.
fn number(value: &Value) -> Option<i64> {
    /// Beyond, not every number of seconds can be written by everyone (2^53).
    const SECONDS_MAX: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is within what fits")]
    let whole = |seconds: f64| (seconds.abs() <= SECONDS_MAX).then(|| seconds.floor() as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(whole))
}

#[cfg(test)]
mod tests;
