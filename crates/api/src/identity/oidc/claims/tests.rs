//! Who a token is, by settings and claims.

use super::*;
use crate::identity::{jose::Token, keys::Keyring};
use serde_json::{Value, json};

const ISSUER: &str = "https://login.example.com";

fn settings(more: Value) -> OidcSettings {
    let mut all = json!({"issuer": ISSUER, "audiences": ["quarterdeck"]});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    OidcSettings::deserialize(all).unwrap()
}

/// What a token with these claims says, beside what all of them say.
fn claims(more: Value) -> Claims {
    let mut all = json!({"iss": ISSUER, "aud": "quarterdeck", "exp": 100, "sub": "17"});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let folder = tempfile::tempdir().unwrap();
    let keys = crate::identity::SigningKeys::open(&folder.path().join("key")).unwrap();
    let text = keys.current().sign(&all).unwrap();
    let token = Token::read(&text).unwrap();
    token.verified(&keys.current().public, &Keyring::ALGORITHMS).unwrap().0.clone()
}

fn who(set: Value, said: Value) -> Result<(String, Vec<String>), String> {
    let found = settings(set).caller(&claims(said));
    found
        .map(|(caller, _)| {
            let (last, groups) = caller.groups.split_last().unwrap();
            assert_eq!(last, AUTHENTICATED);
            (caller.user, groups.to_vec())
        })
        .map_err(|Refused(why)| why)
}

#[test]
fn names_and_groups_come_from_the_claims_that_are_set() {
    let is = |set, said, user: &str, groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        assert_eq!(who(set, said), Ok((user.to_owned(), groups)));
    };
    is(json!({}), json!({}), "https://login.example.com#17", &[]);
    is(json!({"username-prefix": ""}), json!({"groups": ["a"]}), "17", &[]);
    let email = json!({"username-claim": "email", "groups-claim": "groups", "groups-prefix": "o:"});
    let mut said = json!({"email": "ann@example.com", "groups": ["a", "b"]});
    is(email.clone(), said.clone(), "ann@example.com", &["o:a", "o:b"]);
    said["email_verified"] = json!(true);
    said["groups"] = json!("a");
    is(email.clone(), said.clone(), "ann@example.com", &["o:a"]);
    said["groups"] = json!([]);
    is(email, said, "ann@example.com", &[]);
    let dotted = json!({"username-claim": "https://x/name", "username-prefix": "x:"});
    is(dotted, json!({"https://x/name": "bob", "jti": "7"}), "x:bob", &[]);
    let required = json!({"required-claims": {"hd": "example.com"}, "username-prefix": ""});
    is(required, json!({"hd": "example.com", "aud": ["x", "quarterdeck"]}), "17", &[]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let groups = json!({"groups-claim": "groups"});
    let email = json!({"username-claim": "email"});
    let required = json!({"required-claims": {"hd": "example.com"}});
    let bare = json!({"username-prefix": ""});
    let many = vec!["a"; GROUPS_MAX + 1];
    for (set, said, why) in [
        (json!({}), json!({"iss": "https://other.example.com"}), "another issuer"),
        (json!({}), json!({"aud": "other"}), "another client"),
        (json!({}), json!({"aud": null}), "another client"),
        (json!({}), json!({"aud": ["quarterdeck", 7]}), "another client"),
        (json!({}), json!({"exp": null}), "exp is not a time"),
        (json!({}), json!({"sub": ""}), "does not say its sub"),
        (json!({}), json!({"sub": 17}), "does not say its sub"),
        (email.clone(), json!({}), "does not say its email"),
        (email.clone(), json!({"email": "a@b", "email_verified": false}), "not verified"),
        (email.clone(), json!({"email": "a@b", "email_verified": "true"}), "not verified"),
        (required.clone(), json!({}), "required claim hd"),
        (required.clone(), json!({"hd": "example.org"}), "required claim hd"),
        (required, json!({"hd": ["example.com"]}), "required claim hd"),
        (groups.clone(), json!({"groups": {"a": 1}}), "no list of names"),
        (groups.clone(), json!({"groups": ["a", 1]}), "no list of names"),
        (groups.clone(), json!({"groups": many}), "no list of names"),
        // Nobody becomes a master by what an issuer says.
        (groups.clone(), json!({"groups": ["system:masters"]}), "begins with \"system:\""),
        (groups.clone(), json!({"groups": [""]}), "cannot be one"),
        (bare.clone(), json!({"sub": "system:admin"}), "begins with \"system:\""),
        (bare.clone(), json!({"sub": "a\nb"}), "cannot be one"),
        (bare, json!({"sub": "a".repeat(NAME_BYTES_MAX + 1)}), "cannot be one"),
    ] {
        let told = who(set, said.clone()).unwrap_err();
        assert!(told.contains(why), "{said}: {told}");
    }
}

#[test]
fn the_token_is_named_without_being_shown() {
    let (caller, times) =
        settings(json!({})).caller(&claims(json!({"jti": "7", "nbf": 3}))).unwrap();
    assert_eq!(caller.extra["authentication.kubernetes.io/credential-id"], ["JTI=7"]);
    assert_eq!((times.not_before, times.expires), (Some(3), 100));
}

#[test]
fn settings_that_cannot_be_are_named() {
    for (change, field) in [
        (json!({"issuer": "http://login.example.com"}), "issuer"),
        (json!({"issuer": "login.example.com"}), "issuer"),
        (json!({"issuer": "https://a:b@login.example.com"}), "issuer"),
        (json!({"issuer": "https://login.example.com?a"}), "issuer"),
        (json!({"issuer": "https://login.example.com#a"}), "issuer"),
        (json!({"audiences": []}), "audiences"),
        (json!({"audiences": [""]}), "audiences"),
        (json!({"algorithms": []}), "algorithms"),
        (json!({"username-claim": ""}), "username-claim"),
        (json!({"username-prefix": "system:"}), "username-prefix"),
        (json!({"groups-prefix": "system:x"}), "groups-prefix"),
    ] {
        let told = settings(change.clone()).check().unwrap_err();
        assert!(told.starts_with(field), "{change}: {told}");
    }
    assert!(settings(json!({"issuer": "https://login.example.com/realm/"})).check().is_ok());
    let unknown = json!({"issuer": "i", "audiences": [], "audience": "x"});
    assert!(OidcSettings::deserialize(unknown).is_err());
    let hmac = json!({"issuer": "i", "audiences": [], "algorithms": ["HS256"]});
    assert!(OidcSettings::deserialize(hmac).is_err());
}
