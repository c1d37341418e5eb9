//! Tokens that another library made (joserfc: `vectors.json`), and what becomes of them when they are
//! changed.

use super::*;
use proptest::prelude::*;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::json;

const ALL: [Algorithm; 8] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
];

fn vectors() -> (Vec<Key>, Vec<(Algorithm, String)>) {
    let vectors: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let tokens = vectors["tokens"].as_array().unwrap().iter().map(|one| {
        let algorithm = Algorithm::deserialize(&one["algorithm"]).unwrap();
        (algorithm, one["token"].as_str().unwrap().to_owned())
    });
    (Key::of_set(&vectors).unwrap(), tokens.collect())
}

fn is_good(token: &str, keys: &[Key]) -> bool {
    Token::read(token).is_ok_and(|token| token.verified(keys, &ALL).is_some())
}

/// A token with any header and payload, signed by a key on P-256, and that key.
fn signed(header: &str, payload: &str) -> (String, Vec<Key>) {
    let random = SystemRandom::new();
    let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(how, key.as_ref(), &random).unwrap();
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(payload));
    let signature = key.sign(&random, message.as_bytes()).unwrap();
    let token = format!("{message}.{}", BASE64.encode(signature));
    (token, vec![Key::own("k", key.public_key().as_ref())])
}

#[test]
fn tokens_of_others_are_verified_by_the_algorithms_that_are_allowed() {
    let (keys, tokens) = vectors();
    assert_eq!((keys.len(), tokens.len()), (3, ALL.len()));
    for (algorithm, text) in &tokens {
        let token = Token::read(text).unwrap();
        let (claims, _) = token.verified(&keys, &[*algorithm]).unwrap();
        assert_eq!(token.issuer(), "https://issuer.example.com");
        assert_eq!(claims.text("sub"), Some("ann"));
        assert_eq!(claims.audiences().unwrap(), ["a", "b"]);
        assert_eq!(claims.times().unwrap().expires, 4_102_444_800);
        for other in ALL.iter().filter(|other| *other != algorithm) {
            assert!(token.verified(&keys, &[*other]).is_none(), "{algorithm:?} as {other:?}");
        }
        assert!(token.verified(&[], &ALL).is_none());
    }
}

#[test]
fn a_key_is_for_what_it_says() {
    let (keys, tokens) = vectors();
    let (_, token) = &tokens[0];
    assert!(is_good(token, &keys));
    let with = |change: fn(&mut Key)| {
        let mut keys = keys.clone();
        keys.iter_mut().for_each(change);
        is_good(token, &keys)
    };
    assert!(with(|key| key.id = None), "a key without a name is tried");
    assert!(!with(|key| key.id = Some("another".into())));
    assert!(with(|key| key.algorithm = Some(Algorithm::Rs256)));
    assert!(!with(|key| key.algorithm = Some(Algorithm::Ps256)));
    let jwk = |change: Value| {
        let vectors: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
        let mut jwk = vectors["keys"][0].clone();
        jwk.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Key::of_jwk(&jwk).is_some_and(|key| is_good(token, &[key]))
    };
    assert!(jwk(json!({"use": "sig", "alg": "RS256"})));
    for wrong in [
        json!({"use": "enc"}),
        json!({"alg": "HS256"}),
        json!({"alg": "RSA-OAEP"}),
        json!({"kty": "oct", "k": "AAAA"}),
        json!({"kty": "OKP"}),
        json!({"n": "!"}),
        json!({"n": ""}),
        json!({"e": 65537}),
    ] {
        assert!(!jwk(wrong.clone()), "{wrong}");
    }
}

#[test]
fn what_a_header_may_not_say_is_refused() {
    let payload = r#"{"iss":"i","exp":1}"#;
    for good in [
        r#"{"alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"k"}"#,
        r#"{"alg":"ES256","typ":"jwt","x5t":"a"}"#,
        r#"{"typ":"at+JWT","alg":"ES256"}"#,
    ] {
        let (token, keys) = signed(good, payload);
        assert!(is_good(&token, &keys), "{good}");
    }
    for bad in [
        r#"{}"#,
        r#"[]"#,
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"es256"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"ES384"}"#,
        r#"{"alg":["ES256"]}"#,
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"another"}"#,
        r#"{"alg":"ES256","kid":7}"#,
        r#"{"alg":"ES256","kid":null}"#,
        r#"{"alg":"ES256","typ":"logout+jwt"}"#,
        r#"{"alg":"ES256","typ":"JOSE"}"#,
        r#"{"alg":"ES256","typ":3}"#,
        r#"{"alg":"ES256","crit":["exp"]}"#,
        r#"{"alg":"ES256","b64":false}"#,
        r#"{"alg":"ES256","jwk":{"kty":"EC"}}"#,
        r#"{"alg":"ES256","jku":"https://evil.example.com"}"#,
        r#"{"alg":"ES256","x5c":[]}"#,
        r#"{"alg":"ES256","x5u":"https://evil.example.com"}"#,
    ] {
        let (token, keys) = signed(bad, payload);
        assert!(!is_good(&token, &keys), "{bad}");
    }
}

/// A token that says it is signed by an HMAC, with the public key as its secret, or by nothing.
#[test]
fn a_public_key_is_no_secret() {
    let (keys, _) = vectors();
    let vectors: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let message = format!(
        "{}.{}",
        BASE64.encode(r#"{"alg":"HS256","kid":"rsa"}"#),
        BASE64.encode(r#"{"iss":"i","exp":4102444800}"#)
    );
    let secret = vectors["keys"][0].to_string();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    assert!(!is_good(&format!("{message}.{}", BASE64.encode(tag)), &keys));
    assert!(!is_good(&format!("{message}."), &keys));
}

#[test]
fn what_a_token_says_is_read_strictly() {
    let header = r#"{"alg":"ES256"}"#;
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(2_000), "]".repeat(2_000));
    for bad in [
        "",
        "null",
        "[]",
        "{} {}",
        r#"{"iss":"i","iss":"i"}"#,
        r#"{"iss":"i","a":{"b":1,"b":2}}"#,
        r#"{"iss":"\ud800"}"#,
        &deep,
    ] {
        let (token, keys) = signed(header, bad);
        assert!(!is_good(&token, &keys), "{bad}");
    }
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(TOKEN_BYTES_MAX));
    let (token, _) = signed(header, &long);
    assert!(Token::read(&token).is_err_and(|error| error.0.contains("longer than")));
    for bad in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "e30.e30.e30", "é.é.é"] {
        assert!(Token::read(bad).is_err(), "{bad}");
    }
}

#[test]
fn times_are_numbers_and_the_end_is_known() {
    let times = |claims: Value| Claims(claims.as_object().unwrap().clone()).times();
    let both = |not_before, expires| Ok(Times { not_before, expires });
    assert_eq!(times(json!({"exp": 5})), both(None, 5));
    assert_eq!(times(json!({"exp": 5.9, "nbf": -1.5})), both(Some(-2), 5));
    for bad in [
        json!({}),
        json!({"exp": "5"}),
        json!({"exp": null}),
        json!({"exp": [5]}),
        json!({"exp": 1e300}),
        json!({"exp": 5, "nbf": "1"}),
        json!({"exp": 5, "nbf": true}),
        json!({"exp": 5, "nbf": null}),
    ] {
        assert!(times(bad.clone()).is_err(), "{bad}");
    }
}

proptest! {
    /// The letters of base64 leave bits over at an end, which a lax reader would not look at.
    #[test]
    fn no_change_of_one_byte_leaves_a_token_good(
        which in 0..ALL.len(), place: prop::sample::Index, byte: u8,
    ) {
        let (keys, tokens) = vectors();
        let token = &tokens[which].1;
        let mut changed = token.clone().into_bytes();
        let place = place.index(changed.len());
        changed[place] = byte;
        prop_assume!(changed != token.as_bytes());
        let good = std::str::from_utf8(&changed).is_ok_and(|token| is_good(token, &keys));
        prop_assert!(!good, "byte {place} as {byte}");
    }

    #[test]
    fn no_token_makes_a_reader_panic(text: String, parts in "[A-Za-z0-9_.-]{0,80}") {
        let (keys, _) = vectors();
        for token in [text, parts] {
            let _ = is_good(&token, &keys);
        }
    }

    #[test]
    fn no_key_makes_a_reader_panic(
        kind in "RSA|EC|oct|OKP|x", curve in "P-256|P-384|x",
        x in "[A-Za-z0-9_=-]{0,50}", y in "[A-Za-z0-9_=-]{0,50}",
    ) {
        let jwk = json!({"kty": kind, "crv": curve, "x": x, "y": y, "n": x, "e": y});
        let (_, tokens) = vectors();
        if let Some(key) = Key::of_jwk(&jwk) {
            prop_assert!(tokens.iter().all(|(_, token)| !is_good(token, std::slice::from_ref(&key))));
        }
    }
}

/// Every change of every byte by one bit, of the shortest token: nothing is left to chance.
#[test]
fn no_bit_of_a_token_can_be_turned() {
    let (token, keys) = signed(r#"{"alg":"ES256","kid":"k"}"#, r#"{"iss":"i","exp":1}"#);
    assert!(is_good(&token, &keys));
    for place in 0..token.len() {
        for bit in 0..8 {
            let mut changed = token.clone().into_bytes();
            changed[place] ^= 1 << bit;
            let good = std::str::from_utf8(&changed).is_ok_and(|token| is_good(token, &keys));
            assert!(!good, "bit {bit} of byte {place}");
        }
    }
}
