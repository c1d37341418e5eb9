//! The audit log of a served API: what has a line, and what it says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use support::{Answer, Caller, Plane, SECRETS, SITES, site, try_get, whole};

/// What holds when no file is named.
const USUAL: &str = include_str!("../src/audit/default-policy.yaml");
const MERGE: &str = "application/merge-patch+json";

async fn send(caller: &Caller, request: http::request::Builder, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request: Request<Full<Bytes>> = request.body(Full::new(body.into())).unwrap();
    whole(caller.request(request).await.unwrap()).await
}

/// What a line says, in short.
fn short(line: &Value) -> String {
    let text = |path: &str| line.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let code = &line["responseStatus"]["code"];
    format!("{} {} {} {code}", text("/verb"), text("/objectRef/resource"), text("/objectRef/name"))
}

/// The lines since the last time, in short.
fn news(plane: &Plane, told: &mut usize) -> Vec<String> {
    let lines = plane.audit();
    let news = lines.iter().skip(*told).map(short).collect();
    *told = lines.len();
    news
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_and_every_refusal_has_one_line() {
    let plane = Plane::audited(USUAL).await;
    // The namespace and the roles were brought by the plane itself.
    let mut told = 0;
    assert!(plane.audit().iter().all(|line| line["user"]["username"] == "system:quarterdeck"));
    let brought = news(&plane, &mut told);
    assert_eq!(brought[0], "create namespaces default null");
    assert!(brought.contains(&"create clusterroles cluster-admin null".to_owned()), "{brought:?}");
    let site_of = |name: &str| format!("{SITES}/{name}");
    let null = Value::Null;
    for (method, path, body, expected) in [
        ("GET", "/api".to_owned(), null.clone(), &[][..]),
        ("GET", SITES.to_owned(), null.clone(), &[]),
        ("GET", site_of("none"), null.clone(), &[]),
        ("POST", SITES.to_owned(), site("a"), &["create sites a 201"]),
        ("POST", SITES.to_owned(), site("a"), &["create sites  409"]),
        (
            "POST",
            SITES.to_owned(),
            json!({"metadata": {"name": "b"}, "spec": {"no": 1}}),
            &["create sites  422"],
        ),
        ("PATCH", site_of("a"), json!({"spec": {"region": "x"}}), &["patch sites a 200"]),
        ("PUT", site_of("none"), site("none"), &["update sites none 404"]),
        ("DELETE", site_of("a"), json!({"dryRun": ["All"]}), &["delete sites a 200"]),
        ("DELETE", format!("{}?dryRun=All", site_of("a")), null.clone(), &["delete sites a 200"]),
        ("DELETE", site_of("a"), null.clone(), &["delete sites a 200"]),
        ("DELETE", SITES.to_owned(), null.clone(), &["deletecollection sites  200"]),
        ("POST", "/apis/none.dev/v1/things".to_owned(), json!({}), &["create things  404"]),
        ("POST", "/version".to_owned(), json!({}), &["post   405"]),
    ] {
        plane.ask(method, &path, body).await;
        assert_eq!(news(&plane, &mut told), expected, "{method} {path}");
    }
    let lines = plane.audit();
    let dry = |line: &&Value| line["annotations"]["quarterdeck.dev/dry-run"] == "true";
    assert_eq!(lines.iter().filter(dry).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_says_who_did_what_from_where() {
    let plane = Plane::audited(USUAL).await;
    let (id, agent) = ("deploy-17", "robot/1");
    let request = plane.request("POST", SITES).header("audit-id", id).header("user-agent", agent);
    let admin = plane.caller(Some(&plane.authority.admin().unwrap()));
    let answer = send(&admin, request, &site("ams1")).await;
    assert_eq!(answer.headers["audit-id"], id);
    let line = plane.audit().pop().unwrap();
    for (path, expected) in [
        ("/kind", json!("Event")),
        ("/apiVersion", json!("audit.k8s.io/v1")),
        ("/level", json!("Metadata")),
        ("/auditID", json!(id)),
        ("/stage", json!("ResponseComplete")),
        ("/requestURI", json!(SITES)),
        ("/verb", json!("create")),
        ("/sourceIPs", json!(["127.0.0.1"])),
        ("/userAgent", json!(agent)),
        ("/objectRef/apiGroup", json!("inventory.quarterdeck.dev")),
        ("/objectRef/uid", answer.body["metadata"]["uid"].clone()),
        ("/objectRef/resourceVersion", answer.body["metadata"]["resourceVersion"].clone()),
        ("/annotations/authorization.k8s.io~1decision", json!("allow")),
    ] {
        assert_eq!(line.pointer(path), Some(&expected), "{path} of {line:#}");
    }
    let groups = line["user"]["groups"].as_array().unwrap();
    assert!(groups.contains(&json!("system:masters")), "{line:#}");
    assert_eq!((line.get("requestObject"), line.get("responseObject")), (None, None));

    // Refused reads are told, too: who is not known, and who may not.
    let nobody = plane.caller(None);
    let answer = try_get(&plane, &nobody, SECRETS).await.unwrap();
    let line = plane.audit().pop().unwrap();
    assert_eq!(short(&line), "list secrets  403");
    assert_eq!(line["user"]["username"], "system:anonymous");
    assert_eq!(line["auditID"], answer.headers["audit-id"].to_str().unwrap());
    let ann = plane.caller(Some(&plane.authority.client("ann", &["readers"]).unwrap()));
    try_get(&plane, &ann, SITES).await.unwrap();
    let line = plane.audit().pop().unwrap();
    assert_eq!(short(&line), "list sites  403");
    assert_eq!(line["user"]["username"], "ann");
    assert_eq!(line["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert!(line["responseStatus"]["message"].as_str().unwrap().contains("ann"), "{line:#}");
    // A credential that nobody recognises.
    let request = plane.request("GET", SITES).header("authorization", "Bearer none");
    assert_eq!(send(&nobody, request, &Value::Null).await.status, 401);
    assert_eq!(short(&plane.audit().pop().unwrap()), "list sites  401");
    // Whoever acts as another is named beside that one.
    let request = plane.request("POST", SITES).header("impersonate-user", "ann");
    send(&admin, request, &site("ams2")).await;
    let line = plane.audit().pop().unwrap();
    assert!(line["user"]["groups"].as_array().unwrap().contains(&json!("system:masters")));
    assert_eq!(short(&line), "create sites  403");
    let request = plane
        .request("POST", SITES)
        .header("impersonate-user", "bob")
        .header("impersonate-group", "system:masters");
    send(&admin, request, &site("ams2")).await;
    let line = plane.audit().pop().unwrap();
    assert_eq!(line["impersonatedUser"]["username"], "bob", "{line:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_logged_as_asked_but_never_those_of_secrets() {
    let plane = Plane::audited(
        "
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
  - {level: Metadata, verbs: [watch]}
  - {level: None, verbs: [list]}
  - {level: Request, verbs: [patch], resources: [{group: inventory.quarterdeck.dev}]}
  - level: RequestResponse
",
    )
    .await;
    let created = plane.must("POST", SITES, site("a")).await;
    let line = plane.audit().pop().unwrap();
    assert_eq!((&line["requestObject"], &line["responseObject"]), (&site("a"), &created));
    let path = format!("{SITES}/a");
    plane.send_bytes("PATCH", &path, MERGE, r#"{"metadata":{"labels":{"tier":"gold"}}}"#).await;
    let line = plane.audit().pop().unwrap();
    assert_eq!(line["requestObject"]["metadata"]["labels"]["tier"], "gold");
    assert_eq!((&line["level"], line.get("responseObject")), (&json!("Request"), None));
    let large = json!({"metadata": {"annotations": {"text": "x".repeat(40_000)}}});
    plane.ask("PATCH", &path, large).await;
    let line = plane.audit().pop().unwrap();
    assert_eq!(line.get("requestObject"), None);
    assert_eq!(line["annotations"]["audit.k8s.io/truncated"], "true");
    // A watch is told when it begins.
    let watch = plane.request("GET", &format!("{SITES}?watch=1&timeoutSeconds=60"));
    let watching = plane.send(watch.body(Full::default()).unwrap()).await;
    let line = plane.audit().pop().unwrap();
    assert_eq!((&line["stage"], &line["verb"]), (&json!("ResponseStarted"), &json!("watch")));
    drop(watching);

    let secret = |data: Value| json!({"kind": "Secret", "metadata": {"name": "s"}, "data": data});
    let mut sent = 0;
    for (method, path, body) in [
        ("POST", SECRETS.to_owned(), secret(json!({"p": "aHVudGVyMg=="}))),
        ("PUT", format!("{SECRETS}/s"), secret(json!({"p": "hunter2"}))),
        ("PUT", format!("{SECRETS}/s"), secret(json!("hunter2"))),
        ("PATCH", format!("{SECRETS}/s"), json!({"stringData": {"p": "hunter2"}})),
        ("PUT", format!("{}/s", SECRETS.replace("secrets", "%73ecrets")), secret(json!({}))),
        ("GET", format!("{SECRETS}/s"), Value::Null),
        // Where it does not belong.
        ("POST", SITES.to_owned(), secret(json!({"p": "hunter2"}))),
    ] {
        plane.ask(method, &path, body).await;
        sent += 1;
    }
    let lines = plane.audit();
    let text = json!(lines[lines.len() - sent..]).to_string();
    assert!(text.contains("secrets"), "{text}");
    for value in ["hunter2", "aHVudGVyMg", "requestObject\":{\"data"] {
        assert!(!text.contains(value), "{value} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_is_told_all_the_same() {
    use tokio::io::AsyncWriteExt as _;
    let plane = Plane::audited(USUAL).await;
    let before = plane.audit().len();
    for _ in 0..20 {
        let mut stream = plane.connect().await;
        let head = format!(
            "POST {SITES} HTTP/1.1\r\nhost: plane\r\ncontent-type: application/json\r\n\
             content-length: 1000\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        drop(stream);
    }
    let deadline = tokio::time::Instant::now() + support::DEADLINE;
    while plane.audit().len() < before + 20 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", plane.audit());
        tokio::task::yield_now().await;
    }
    for line in &plane.audit()[before..] {
        let code = line["responseStatus"]["code"].as_u64().unwrap();
        assert!(code == 499 || code == 400, "{line:#}");
        assert_eq!(
            (&line["verb"], &line["objectRef"]["resource"]),
            (&json!("create"), &json!("sites"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_acts_as_another_is_named_with_them_also_when_refused() {
    let plane = Plane::audited(USUAL).await;
    let mut told = plane.audit().len();
    let admin = plane.caller(Some(&plane.authority.admin().unwrap()));
    let nobody = plane.caller(None);
    let as_ann = |path: &str| plane.request("POST", path).header("impersonate-user", "ann");
    for (caller, path, code, acts_as) in [
        (&admin, SITES, 403, json!("ann")),
        (&admin, "/apis/authorization.k8s.io/v1/none", 403, json!("ann")),
        // Who may not act as another has not done so.
        (&nobody, SITES, 403, Value::Null),
    ] {
        assert_eq!(send(caller, as_ann(path), &site("a")).await.status, code);
        let line = plane.audit().pop().unwrap();
        assert_ne!(line["user"]["username"], "ann");
        assert_eq!(line["impersonatedUser"]["username"], acts_as, "{line:#}");
        told += 1;
        assert_eq!(plane.audit().len(), told);
    }
}
