//! Callers who show tokens: of service accounts, and of an issuer elsewhere. That issuer is another
//! plane, which publishes its keys as any OpenID Connect issuer does.

use crate::{
    Person, bind, namespaces,
    support::{Events, Plane},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use http::header;
use quarterdeck_api::{OidcSettings, SigningKeys};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const REVIEW: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// A plane that lets everybody read how its tokens are verified.
pub(crate) async fn issuer() -> Plane {
    let plane = Plane::start().await;
    let all = json!({"kind": "Group", "name": "system:unauthenticated"});
    bind(&plane, "", ("ClusterRole", "system:service-account-issuer-discovery"), all).await;
    plane
}

/// What another plane is told to trust it.
pub(crate) fn settings(issuer: &Plane) -> OidcSettings {
    let settings = json!({
        "issuer": format!("https://{}", issuer.address), "audiences": ["quarterdeck"],
        "username-prefix": "oidc:", "ca-file": issuer.authority_file(),
    });
    serde_json::from_value(settings).unwrap()
}

pub(crate) async fn account(plane: &Plane, namespace: &str, name: &str) {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    plane.must("POST", &path, json!({"metadata": {"name": name}})).await;
}

fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token")
}

pub(crate) async fn token(plane: &Plane, namespace: &str, name: &str, spec: Value) -> String {
    let made = plane.must("POST", &path(namespace, name), json!({"spec": spec})).await;
    made["status"]["token"].as_str().unwrap().to_owned()
}

/// What the plane would say in a token of `team`/`bot` that ends in so many seconds.
pub(crate) fn claims(plane: &Plane, seconds: i64) -> Value {
    let now = jiff::Timestamp::now().as_second();
    let issuer = format!("https://{}", plane.address);
    json!({
        "iss": issuer, "aud": [issuer], "sub": "system:serviceaccount:team:bot", "jti": "j",
        "iat": now - 2_000, "nbf": now - 2_000, "exp": now + seconds,
        "kubernetes.io": {"namespace": "team", "serviceaccount": {"name": "bot", "uid": "u"}},
    })
}

/// A token that says anything, signed with the plane's own key.
pub(crate) async fn forged(plane: &Plane, claims: Value) -> String {
    let text = std::fs::read_to_string(plane.token_key()).unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).unwrap();
    let random = SystemRandom::new();
    let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = EcdsaKeyPair::from_pkcs8(how, key.secret_pkcs8_der(), &random).unwrap();
    let (header, claims) = (BASE64.encode(r#"{"alg":"ES256"}"#), BASE64.encode(claims.to_string()));
    let message = format!("{header}.{claims}");
    let signature = key.sign(&random, message.as_bytes()).unwrap();
    format!("{message}.{}", BASE64.encode(signature))
}

/// A plane with a service account `team`/`bot` that may view its namespace, and its uid.
async fn plane() -> (Plane, String) {
    let plane = Plane::start().await;
    let uid = robot(&plane).await;
    (plane, uid)
}

async fn robot(plane: &Plane) -> String {
    namespaces(plane, &["team"]).await;
    account(plane, "team", "bot").await;
    let bot = json!({"kind": "ServiceAccount", "name": "bot", "namespace": "team"});
    bind(plane, "team", ("ClusterRole", "view"), bot).await;
    let account = plane.get("/api/v1/namespaces/team/serviceaccounts/bot").await.body;
    account["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Why a token is not taken.
async fn refusal(plane: &Plane, token: &str) -> String {
    let answer = Person::with_token(plane, token).get("/version").await;
    assert_eq!(answer.status, 401, "{:#}", answer.body);
    let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    assert_eq!((&answer.body["kind"], &answer.body["code"]), (&json!("Status"), &json!(401)));
    assert_eq!(answer.body["reason"], "Unauthorized");
    let message = answer.body["message"].as_str().unwrap();
    message.strip_prefix("Unauthorized: ").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_its_service_account() {
    let (plane, uid) = plane().await;
    let made = plane.must("POST", &path("team", "bot"), json!({"spec": {}})).await;
    assert_eq!((&made["kind"], &made["metadata"]["name"]), (&json!("TokenRequest"), &json!("bot")));
    assert_eq!(made["spec"]["expirationSeconds"], 3600);
    let issuer = format!("https://{}", plane.address);
    assert_eq!(made["spec"]["audiences"], json!([issuer]));
    let text = made["status"]["token"].as_str().unwrap();
    let part = |number| BASE64.decode(text.split('.').nth(number).unwrap()).unwrap();
    let (header, said): (Value, Value) =
        (serde_json::from_slice(&part(0)).unwrap(), serde_json::from_slice(&part(1)).unwrap());
    let keys = Person::with_token(&plane, text).get("/openid/v1/jwks").await;
    assert_eq!(keys.headers[header::CONTENT_TYPE], "application/jwk-set+json");
    assert_eq!(header, json!({"alg": "ES256", "kid": keys.body["keys"][0]["kid"]}));
    let id = said["jti"].as_str().unwrap();
    let (begins, ends) = (said["iat"].as_i64().unwrap(), said["exp"].as_i64().unwrap());
    assert_eq!(ends - begins, 3600);
    let end: jiff::Timestamp =
        made["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(end.as_second(), ends);
    assert_eq!(
        said,
        json!({
            "iss": issuer, "aud": [issuer], "sub": "system:serviceaccount:team:bot", "jti": id,
            "iat": begins, "nbf": begins, "exp": ends,
            "kubernetes.io": {"namespace": "team", "serviceaccount": {"name": "bot", "uid": uid}},
        })
    );
    let bot = Person::with_token(&plane, text);
    assert_eq!(
        bot.must("POST", WHO, json!({})).await["status"]["userInfo"],
        json!({
            "username": "system:serviceaccount:team:bot", "uid": uid,
            "groups": ["system:serviceaccounts", "system:serviceaccounts:team", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": [format!("JTI={id}")]},
        })
    );
    let found = bot.must("GET", "/.well-known/openid-configuration", Value::Null).await;
    assert_eq!(
        (&found["issuer"], &found["jwks_uri"]),
        (&json!(issuer), &json!(format!("{issuer}/openid/v1/jwks")))
    );
    assert_eq!(bot.get("/api/v1/namespaces/team/events").await.status, 200);
    bot.refused("GET", "/api/v1/namespaces/team/secrets", Value::Null).await;
    // It decides, whatever certificate comes with it.
    let both = Person::new(&plane, "root", &["system:masters"]);
    let both = both.acting("authorization", &format!("Bearer {text}"));
    both.refused("GET", "/api/v1/namespaces/team/secrets", Value::Null).await;
    // What is only tried is no token.
    let tried = plane.must("POST", &format!("{}?dryRun=All", path("team", "bot")), json!({})).await;
    assert_eq!(tried["status"]["token"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_token_is_checked() {
    let (plane, _) = plane().await;
    let secret = json!({"metadata": {"name": "s"}});
    let secret = plane.must("POST", "/api/v1/namespaces/team/secrets", secret).await;
    let uid = &secret["metadata"]["uid"];
    for (body, code, told) in [
        (json!({}), 201, ""),
        (json!({"spec": {"expirationSeconds": 600}}), 201, ""),
        (json!({"spec": {"expirationSeconds": 1_i64 << 32, "audiences": ["a", "b"]}}), 201, ""),
        (json!({"spec": {"expirationSeconds": 599}}), 422, "less than 10 minutes"),
        (json!({"spec": {"expirationSeconds": -1}}), 422, "less than 10 minutes"),
        (json!({"spec": {"expirationSeconds": (1_i64 << 32) + 1}}), 422, "larger than 2^32"),
        (json!({"spec": {"expirationSeconds": "600"}}), 400, "TokenRequest"),
        (json!({"spec": {"audiences": [""]}}), 422, "spec.audiences[0]"),
        (json!({"spec": {"audiences": vec!["a"; 33]}}), 422, "spec.audiences"),
        (json!({"metadata": {"name": "bob"}}), 422, "metadata.name"),
        (json!({"metadata": {"namespace": "other"}}), 422, "metadata.namespace"),
        (json!({"kind": "Secret", "apiVersion": "v1"}), 400, "TokenRequest"),
        (
            json!({"spec": {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "s"}}}),
            201,
            "",
        ),
        (
            json!({"spec": {"boundObjectRef":
                {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": uid}}}),
            201,
            "",
        ),
        (
            json!({"spec": {"boundObjectRef":
                {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": "other"}}}),
            409,
            "does not match the UID",
        ),
        (
            json!({"spec": {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "t"}}}),
            404,
            "secrets \"t\" not found",
        ),
        (
            json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}}}),
            400,
            "cannot bind token to object of type v1, Kind=Pod",
        ),
    ] {
        let answer = plane.ask("POST", &path("team", "bot"), body.clone()).await;
        assert_eq!(answer.status, code, "{body}: {:#}", answer.body);
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert!(message.contains(told), "{body}: {message}");
    }
    assert_eq!(plane.ask("POST", &path("team", "nobody"), json!({})).await.status, 404);
    assert_eq!(plane.ask("GET", &path("team", "bot"), Value::Null).await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_ends_a_token_at_once() {
    let (plane, _) = plane().await;
    let secrets = "/api/v1/namespaces/team/secrets";
    plane.must("POST", secrets, json!({"metadata": {"name": "s"}})).await;
    let free = token(&plane, "team", "bot", json!({})).await;
    let reference = json!({"kind": "Secret", "apiVersion": "v1", "name": "s"});
    let bound = token(&plane, "team", "bot", json!({"boundObjectRef": reference})).await;
    let works = async |token: &str| Person::with_token(&plane, token).get("/version").await.status;
    assert_eq!(works(&free).await, 200);
    assert_eq!(works(&bound).await, 200);
    plane.must("DELETE", &format!("{secrets}/s"), Value::Null).await;
    assert!(refusal(&plane, &bound).await.contains("Secret that the token is bound to"));
    plane.must("POST", secrets, json!({"metadata": {"name": "s"}})).await;
    assert!(refusal(&plane, &bound).await.contains("Secret"), "another of its name is another");
    assert_eq!(works(&free).await, 200);
    let bot = "/api/v1/namespaces/team/serviceaccounts/bot";
    plane.must("DELETE", bot, Value::Null).await;
    assert!(refusal(&plane, &free).await.contains("has been deleted"));
    account(&plane, "team", "bot").await;
    assert!(refusal(&plane, &free).await.contains("has been deleted"));
    let new = token(&plane, "team", "bot", json!({})).await;
    assert_eq!(works(&new).await, 200);
    // One that waits for a finalizer is no more.
    let held = json!({"metadata": {"finalizers": ["a.b/c"]}});
    plane.must("PATCH", bot, held).await;
    assert_eq!(works(&new).await, 200);
    plane.must("DELETE", bot, Value::Null).await;
    assert!(refusal(&plane, &new).await.contains("has been deleted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_is_refused() {
    let (plane, uid) = plane().await;
    let good = |change: &dyn Fn(&mut Value)| {
        let mut said = claims(&plane, 100);
        said["kubernetes.io"]["serviceaccount"]["uid"] = json!(uid);
        change(&mut said);
        said
    };
    let token = forged(&plane, good(&|_| {})).await;
    assert_eq!(Person::with_token(&plane, &token).get("/version").await.status, 200);
    let now = jiff::Timestamp::now().as_second();
    let other = plane.get("/api/v1/namespaces/default").await.body["metadata"]["uid"].clone();
    for (change, why) in [
        (&(|said: &mut Value| said["exp"] = json!(now - 11)) as &dyn Fn(&mut Value), "has expired"),
        (&|said| said["exp"] = Value::Null, "exp is not a time"),
        (&|said| drop(said.as_object_mut().unwrap().remove("exp")), "never expires"),
        (&|said| said["nbf"] = json!(now + 3_600), "not valid yet"),
        (&|said| said["iss"] = json!("https://example.com"), "issuer is not one"),
        (&|said| said["iss"] = json!([said["iss"]]), "issuer is not one"),
        (&|said| said["aud"] = json!(["vault"]), "another audience"),
        (&|said| said["aud"] = json!([]), "another audience"),
        (&|said| said["aud"] = json!(7), "not one of a service account"),
        (&|said| said["sub"] = json!("system:serviceaccount:team:other"), "not one of a service"),
        (&|said| said["sub"] = json!("quarterdeck-admin"), "not one of a service account"),
        (&|said| said["kubernetes.io"]["pod"] = json!({"name": "p", "uid": "u"}), "not one of a"),
        (&|said| drop(said.as_object_mut().unwrap().remove("kubernetes.io")), "not one of a"),
        (&|said| said["kubernetes.io"]["serviceaccount"]["uid"] = other.clone(), "deleted"),
    ] {
        let told = refusal(&plane, &forged(&plane, good(change)).await).await;
        assert!(told.contains(why), "{why}: {told}");
    }
    let stranger = self::plane().await.0;
    let theirs = forged(&stranger, good(&|_| {})).await;
    assert!(refusal(&plane, &theirs).await.contains("not signed by a key of this plane"));
    for nonsense in ["abc", "a.b.c", &"a".repeat(20_000), &format!("{token}x")] {
        let told = refusal(&plane, nonsense).await;
        assert!(!told.contains(nonsense), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_ask_whose_token_it_is() {
    let (plane, uid) = plane().await;
    let review = async |spec: Value| {
        plane.must("POST", REVIEW, json!({"spec": spec})).await["status"].clone()
    };
    let own = token(&plane, "team", "bot", json!({})).await;
    let status = review(json!({"token": own})).await;
    assert_eq!(status["authenticated"], true);
    assert_eq!(status["audiences"], json!([format!("https://{}", plane.address)]));
    assert_eq!(status["user"]["username"], "system:serviceaccount:team:bot");
    assert_eq!(status["user"]["uid"], json!(uid));
    let vault = token(&plane, "team", "bot", json!({"audiences": ["vault", "x"]})).await;
    assert!(refusal(&plane, &vault).await.contains("another audience"));
    let status = review(json!({"token": vault, "audiences": ["vault", "y"]})).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    for (spec, why) in [
        (json!({"token": vault}), "another audience"),
        (json!({"token": own, "audiences": ["vault"]}), "another audience"),
        (json!({"token": "a.b.c"}), "not a signed JWT"),
    ] {
        let status = review(spec).await;
        assert_eq!(status["authenticated"], false);
        assert!(status["error"].as_str().unwrap().contains(why), "{status}");
    }
    assert_eq!(plane.ask("POST", REVIEW, json!({"spec": {"token": ""}})).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_its_token() {
    let (plane, uid) = plane().await;
    let watch = "/api/v1/namespaces/team/events?watch=true";
    // One second is left, besides what clocks may differ.
    let mut said = claims(&plane, 1);
    said["kubernetes.io"]["serviceaccount"]["uid"] = json!(uid);
    let short = forged(&plane, said).await;
    let mut events = Events::of(Person::with_token(&plane, &short).send("GET", watch).await);
    assert_eq!(events.next().await, None, "it ends with its token, in order");
    let token = token(&plane, "team", "bot", json!({})).await;
    let mut events = Events::of(Person::with_token(&plane, &token).send("GET", watch).await);
    let bot = "/api/v1/namespaces/team/serviceaccounts/bot";
    plane.must("DELETE", bot, Value::Null).await;
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "team"}});
    plane.must("POST", "/api/v1/namespaces/team/events", event).await;
    let last = events.next().await.unwrap();
    assert_eq!((&last["type"], &last["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(events.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_removed_takes_its_tokens_and_their_watches_with_it() {
    let (plane, _) = plane().await;
    let watch = "/api/v1/namespaces/team/events?watch=true";
    let old = token(&plane, "team", "bot", json!({})).await;
    let mut events = Events::of(Person::with_token(&plane, &old).send("GET", watch).await);
    // A rotation ends nothing.
    SigningKeys::rotate(&plane.token_key()).unwrap();
    let began = Instant::now();
    let newer = loop {
        let newer = token(&plane, "team", "bot", json!({})).await;
        // Who signed it is in the first part.
        if newer.split('.').next() != old.split('.').next() {
            break newer;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the new key is not used");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for token in [&old, &newer] {
        assert_eq!(Person::with_token(&plane, token).get("/version").await.status, 200);
    }
    let text = std::fs::read_to_string(plane.token_key()).unwrap();
    let end = "-----END PRIVATE KEY-----\n";
    let (first, _) = text.split_once(end).unwrap();
    std::fs::write(plane.token_key(), format!("{first}{end}")).unwrap();
    let mut number = 0;
    let last = loop {
        let event = json!({"metadata": {"name": format!("e{number}")}, "involvedObject": {"namespace": "team"}});
        plane.must("POST", "/api/v1/namespaces/team/events", event).await;
        let next = events.next().await.unwrap();
        if next["type"] == "ERROR" {
            break next;
        }
        number += 1;
        assert!(began.elapsed() < Duration::from_secs(60), "the watch goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(last["object"]["code"], 410);
    assert!(refusal(&plane, &old).await.contains("not signed by a key of this plane"));
    assert_eq!(Person::with_token(&plane, &newer).get("/version").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_no_line_of_the_audit_log() {
    let everything =
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]\n";
    let plane = Plane::audited(everything).await;
    robot(&plane).await;
    let token = token(&plane, "team", "bot", json!({})).await;
    let bot = Person::with_token(&plane, &token);
    let who = bot.must("POST", WHO, json!({})).await;
    plane.must("POST", REVIEW, json!({"spec": {"token": token}})).await;
    let cut = &token[..token.len() - 4];
    refusal(&plane, cut).await;
    let lines = plane.audit();
    let log = Value::from(lines.clone()).to_string();
    for part in token.split('.') {
        assert!(!log.contains(part), "{part} in {log}");
    }
    let id = &who["status"]["userInfo"]["extra"]["authentication.kubernetes.io/credential-id"][0];
    let asked = lines.iter().find(|line| line["objectRef"]["subresource"] == "token").unwrap();
    assert_eq!(asked["annotations"]["authentication.kubernetes.io/issued-credential-id"], *id);
    assert_eq!(asked["level"], "Metadata");
    let used = lines
        .iter()
        .find(|line| line["user"]["username"] == "system:serviceaccount:team:bot")
        .unwrap();
    assert_eq!(used["user"]["extra"]["authentication.kubernetes.io/credential-id"][0], *id);
    let refused = lines.iter().find(|line| line["responseStatus"]["code"] == 401).unwrap();
    assert_eq!(refused["user"]["username"], "system:anonymous");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_issuer_are_followed() {
    let issuer = issuer().await;
    account(&issuer, "default", "olga").await;
    let plane = Plane::trusting(vec![settings(&issuer)]).await;
    let ask = json!({"audiences": ["quarterdeck"]});
    let first = token(&issuer, "default", "olga", ask.clone()).await;
    let name = "oidc:system:serviceaccount:default:olga";
    let who = Person::with_token(&plane, &first).must("POST", WHO, json!({})).await;
    let info = &who["status"]["userInfo"];
    assert_eq!(info["username"], name);
    assert_eq!(info["groups"], json!(["system:authenticated"]));
    let other = token(&issuer, "default", "olga", json!({"audiences": ["vault"]})).await;
    assert!(refusal(&plane, &other).await.contains("another client"));
    let status = plane.must("POST", REVIEW, json!({"spec": {"token": first}})).await;
    assert_eq!(status["status"]["user"]["username"], name);
    assert_eq!(plane.get("/readyz").await.body, "ok");
    // A new key, and none of the old ones.
    std::fs::remove_file(issuer.token_key()).unwrap();
    SigningKeys::open(&issuer.token_key()).unwrap();
    let began = Instant::now();
    loop {
        let new = token(&issuer, "default", "olga", ask.clone()).await;
        if Person::with_token(&plane, &new).get("/version").await.status == 200 {
            let again = Person::with_token(&plane, &first).get("/version").await.status;
            // The old key went when the new one came.
            if again == 401 {
                break;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the new key is not followed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_away_keeps_nobody_else_out() {
    let gone = issuer().await;
    account(&gone, "default", "olga").await;
    let token = token(&gone, "default", "olga", json!({"audiences": ["quarterdeck"]})).await;
    let settings = settings(&gone);
    gone.stop.send_replace(true);
    gone.serving.await.unwrap();
    let plane = Plane::trusting(vec![settings.clone()]).await;
    let told = refusal(&plane, &token).await;
    assert!(told.contains("could not be fetched yet"), "{told}");
    let ready = plane.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.body,
        format!("ok\n[-] oidc {}: its keys could not be fetched yet; see the log", settings.issuer)
    );
    robot(&plane).await;
    let own = self::token(&plane, "team", "bot", json!({})).await;
    assert_eq!(Person::with_token(&plane, &own).get("/version").await.status, 200);
}

/// How many requests a plane has answered that are about no resource, as what it publishes is.
async fn published(plane: &Plane) -> u64 {
    let metrics = plane.get("/metrics").await.body;
    let start = r#"quarterdeck_api_requests_total{verb="get",resource="",code="200"} "#;
    let line = metrics.as_str().unwrap().lines().find_map(|line| line.strip_prefix(start));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_turns_the_plane_against_an_issuer() {
    let issuer = issuer().await;
    account(&issuer, "default", "olga").await;
    let plane = Plane::trusting(vec![settings(&issuer)]).await;
    let good = token(&issuer, "default", "olga", json!({"audiences": ["quarterdeck"]})).await;
    assert_eq!(Person::with_token(&plane, &good).get("/version").await.status, 200);
    let (began, before) = (Instant::now(), published(&issuer).await);
    for number in 0..60 {
        // Signed by a key that the issuer does not have, each a token of its own.
        let mut said = claims(&issuer, 100);
        said["jti"] = json!(number);
        let told = refusal(&plane, &forged(&plane, said).await).await;
        assert!(told.contains("not signed by a key of its issuer"), "{told}");
    }
    // Two documents a fetch, one fetch in ten seconds; and what has just been asked for here.
    let most = 2 * (began.elapsed().as_secs() / 10 + 1) + 1;
    let fetched = published(&issuer).await - before;
    assert!(fetched <= most, "{fetched} requests, {most} at most");
    assert_eq!(Person::with_token(&plane, &good).get("/version").await.status, 200);
}
