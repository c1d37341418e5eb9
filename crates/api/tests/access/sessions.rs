//! Sessions of people who look at the page: what makes one, what it is good for, and what it is not.

use crate::{
    Person, bind, namespaces,
    support::Plane,
    tokens::{account, forged, token},
};
use http::{HeaderMap, header};
use serde_json::{Value, json};

const CSRF: &str = "x-quarterdeck-csrf";
const PODS: &str = "/apis/services.quarterdeck.dev/v1alpha1/namespaces/team/services";

/// A plane with a service account `team`/`bot` that may edit its namespace, and a token of it.
async fn plane() -> (Plane, String) {
    let plane = Plane::start().await;
    namespaces(&plane, &["team"]).await;
    account(&plane, "team", "bot").await;
    let bot = json!({"kind": "ServiceAccount", "name": "bot", "namespace": "team"});
    bind(&plane, "team", ("ClusterRole", "edit"), bot).await;
    let token = token(&plane, "team", "bot", json!({"expirationSeconds": 3600})).await;
    (plane, token)
}

/// The cookie that an answer sets, as it is sent back.
fn cookie(headers: &HeaderMap) -> String {
    let text = headers[header::SET_COOKIE].to_str().unwrap();
    for part in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(text.split("; ").any(|it| it == part), "{text}");
    }
    let seconds = text.split("; ").find_map(|it| it.strip_prefix("Max-Age=")).unwrap();
    assert!((0..=36_000).contains(&seconds.parse::<i64>().unwrap()), "{text}");
    text.split(';').next().unwrap().to_owned()
}

async fn log_in(plane: &Plane, token: &str) -> String {
    let answer = Person::with_token(plane, token).ask("POST", "/session", Value::Null).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
    assert_eq!(answer.body["user"]["name"], "system:serviceaccount:team:bot");
    assert_eq!(answer.body["csrfHeader"], CSRF);
    cookie(&answer.headers)
}

fn with<'p>(plane: &'p Plane, cookie: &str) -> Person<'p> {
    Person::anonymous(plane).acting("cookie", cookie).acting(CSRF, "1")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_who_showed_the_token() {
    let (plane, token) = plane().await;
    let cookie = log_in(&plane, &token).await;
    assert!(!cookie.contains(&token[..20]), "nothing confidential can be read");
    let person = with(&plane, &cookie);
    let who = person.get("/session").await;
    assert_eq!(who.body["user"]["name"], "system:serviceaccount:team:bot");
    assert!(who.body["expires"].is_string(), "{:#}", who.body);
    person.must("POST", PODS, json!({"metadata": {"name": "a"}, "spec": {}})).await;
    person.refused("GET", "/api/v1/nodes", Value::Null).await;
    let me = person.ask("POST", "/graphql", json!({"query": "{ me { name } }"})).await;
    assert_eq!(me.body["data"]["me"]["name"], "system:serviceaccount:team:bot");

    let ended = person.ask("DELETE", "/session", Value::Null).await;
    assert!(ended.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(Person::anonymous(&plane).get("/session").await.body["user"], Value::Null);
    // A session is not made out of another, or it would last for ever.
    assert_eq!(person.ask("POST", "/session", Value::Null).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_makes_a_session_too() {
    let (plane, _) = plane().await;
    let admin = Person::new(&plane, "root", &["system:masters"]);
    let answer = admin.ask("POST", "/session", Value::Null).await;
    assert_eq!((answer.status.as_u16(), &answer.body["user"]["name"]), (201, &json!("root")));
    let person = with(&plane, &cookie(&answer.headers));
    person.must("POST", "/api/v1/namespaces", json!({"metadata": {"name": "new"}})).await;
    assert_eq!(person.ask("POST", "/session", Value::Null).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_counts_with_its_header_alone() {
    let (plane, token) = plane().await;
    let cookie = log_in(&plane, &token).await;
    let bare = Person::anonymous(&plane).acting("cookie", &cookie);
    let refused = bare.refused("GET", PODS, Value::Null).await;
    assert!(refused.contains("system:anonymous"), "{refused}");
    bare.refused("POST", PODS, json!({"metadata": {"name": "a"}, "spec": {}})).await;
    assert_eq!(bare.get("/session").await.body["user"], Value::Null);
    let question = bare.ask("POST", "/graphql", json!({"query": "{ me { name } }"})).await;
    assert_eq!(question.status, 403);
}

/// What a browser sends to begin a WebSocket; no script of the page can add to it.
fn opening<'p>(person: Person<'p>, origin: Option<&str>) -> Person<'p> {
    let person = person
        .acting("connection", "Upgrade")
        .acting("upgrade", "websocket")
        .acting("sec-websocket-version", "13")
        .acting("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .acting("sec-websocket-protocol", "v5.channel.k8s.io");
    match origin {
        Some(origin) => person.acting("origin", origin),
        None => person,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_of_the_page_counts_by_its_origin_and_no_other_does() {
    const EXEC: &str = "/api/v1/namespaces/team/pods/none/exec?command=sh&stdout=true";
    let (plane, token) = plane().await;
    let cookie = log_in(&plane, &token).await;
    let browser = || Person::anonymous(&plane).acting("cookie", &cookie);
    let own = format!("https://{}", plane.address);
    // It may: there is no such pod.
    assert_eq!(opening(browser(), Some(&own)).get(EXEC).await.status, 404);
    for origin in ["https://evil.example", "null", &own.replace("https", "http")] {
        for person in [
            browser(),
            Person::with_token(&plane, &token),
            Person::new(&plane, "root", &["system:masters"]),
        ] {
            let refused = opening(person, Some(origin)).refused("GET", EXEC, Value::Null).await;
            assert!(refused.contains("another site"), "{refused}");
        }
    }
    // Who has no browser says no origin; a browser that says none is not known by its cookie.
    let refused = opening(browser(), None).refused("GET", EXEC, Value::Null).await;
    assert!(refused.contains("system:anonymous"), "{refused}");
    let program = Person::with_token(&plane, &token);
    assert_eq!(opening(program, None).get(EXEC).await.status, 404);
    // The Origin alone is no WebSocket.
    let refused = browser().acting("origin", &own).refused("GET", EXEC, Value::Null).await;
    assert!(refused.contains("system:anonymous"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_another_site_are_refused_whatever_they_show() {
    let (plane, token) = plane().await;
    let cookie = log_in(&plane, &token).await;
    let own = format!("https://{}", plane.address);
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {}});
    with(&plane, &cookie).acting("origin", &own).must("POST", PODS, service("own")).await;
    for (name, value) in
        [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
    {
        for person in [
            with(&plane, &cookie),
            Person::with_token(&plane, &token),
            Person::new(&plane, "root", &["system:masters"]),
        ] {
            let person = person.acting(name, value);
            let refused = person.refused("POST", PODS, service("a")).await;
            assert!(refused.contains("another site"), "{refused}");
            person.refused("POST", "/session", Value::Null).await;
            person.refused("DELETE", "/session", Value::Null).await;
        }
    }
    assert_eq!(plane.get(PODS).await.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_expired_or_of_a_deleted_account_is_no_session() {
    let (plane, token) = plane().await;
    let cookie = log_in(&plane, &token).await;
    let refused = |cookie: String| {
        let plane = &plane;
        async move {
            let answer = with(plane, &cookie).get(PODS).await;
            assert_eq!(answer.status, 401, "{:#}", answer.body);
            answer.body["message"].as_str().unwrap().to_owned()
        }
    };
    let (name, value) = cookie.split_once('=').unwrap();
    let mut changed = value.to_owned().into_bytes();
    changed[40] = if changed[40] == b'A' { b'B' } else { b'A' };
    for forged in
        [String::from_utf8(changed).unwrap(), "x".into(), String::new(), value[..50].into()]
    {
        let told = refused(format!("{name}={forged}")).await;
        assert!(told.contains("the session has ended; log in again"), "{told}");
    }
    // Of another plane.
    let (other, others) = crate::sessions::plane().await;
    refused(log_in(&other, &others).await).await;
    // The token's own end is the session's.
    let soon = token_of(&plane, 2).await;
    let short = log_in(&plane, &soon).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while with(&plane, &short).get(PODS).await.status != 401 {
        assert!(std::time::Instant::now() < deadline, "the session outlives its token");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    plane.must("DELETE", "/api/v1/namespaces/team/serviceaccounts/bot", Value::Null).await;
    let told = refused(cookie).await;
    assert!(told.starts_with("Unauthorized: "), "{told}");
}

/// A token of the account that ends in so many seconds.
async fn token_of(plane: &Plane, seconds: i64) -> String {
    let account = plane.get("/api/v1/namespaces/team/serviceaccounts/bot").await.body;
    let mut claims = crate::tokens::claims(plane, seconds);
    claims["kubernetes.io"]["serviceaccount"]["uid"] = account["metadata"]["uid"].clone();
    forged(plane, claims).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_too_often_waits() {
    let (plane, token) = plane().await;
    for _ in 0..10 {
        let wrong = Person::with_token(&plane, "a.b.c").ask("POST", "/session", Value::Null).await;
        assert_eq!(wrong.status, 401);
    }
    for shown in ["a.b.c", &token] {
        let answer = Person::with_token(&plane, shown).ask("POST", "/session", Value::Null).await;
        assert_eq!(answer.status, 429, "{:#}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains("try again in a minute"));
    }
    // All else goes on.
    assert_eq!(Person::with_token(&plane, &token).get(PODS).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_opens_what_another_sealed() {
    let (plane, token) = plane().await;
    let cookie = log_in(&plane, &token).await;
    // A key is rotated: the next session is sealed with it, and the older one is still good.
    quarterdeck_api::SigningKeys::rotate(&plane.token_key()).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let published =
        || async { plane.get("/openid/v1/jwks").await.body["keys"].as_array().unwrap().len() };
    while published().await < 2 {
        assert!(std::time::Instant::now() < deadline, "the new key is not noticed");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(with(&plane, &cookie).get(PODS).await.status, 200);
    let next = log_in(&plane, &token).await;
    assert_eq!(with(&plane, &next).get(PODS).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_in_the_audit_log() {
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]\n";
    let plane = Plane::audited(policy).await;
    namespaces(&plane, &["team"]).await;
    account(&plane, "team", "bot").await;
    let token = token(&plane, "team", "bot", json!({})).await;
    let cookie = log_in(&plane, &token).await;
    let lines = plane.audit();
    let line = lines.iter().rfind(|line| line["requestURI"] == "/session").unwrap();
    assert_eq!(line["user"]["username"], "system:serviceaccount:team:bot");
    assert_eq!((&line["verb"], &line["responseStatus"]["code"]), (&json!("post"), &json!(201)));
    let text = line.to_string();
    assert!(!text.contains(&token[..30]) && !text.contains(&cookie[20..60]), "{text}");
}
