//! Webhooks against a service in this process: what is sent, and what is made of answers that are none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "helpers of tests: what cannot go on fails the test"
)]

mod support;

use std::time::Duration;

use quarterdeck_providers::http::{Reach, Webhook, Webhooks};
use serde_json::{Value, json};
use support::fake_bmc::{Act, FakeBmc, json_answer};

fn webhook<'a>(url: &'a str, body: &'a Value) -> Webhook<'a> {
    Webhook {
        url,
        id: "review-1",
        body,
        token: None,
        signing_key: None,
        ca_pem: None,
        now: "2026-03-01T12:00:00Z".parse().unwrap(),
        timeout: Duration::from_secs(10),
    }
}

async fn send(webhooks: &Webhooks, webhook: &Webhook<'_>) -> Result<Value, String> {
    let slot = webhooks.slot().await;
    webhooks.post(webhook, &slot).await.map_err(|error| error.to_string())
}

async fn why(url: &str, timeout: Duration) -> String {
    let body = json!({});
    let webhook = Webhook { timeout, ..webhook(url, &body) };
    send(&Webhooks::new(Reach::NetworkAndLoopback), &webhook).await.unwrap_err()
}

#[tokio::test]
async fn it_is_sent_with_its_token_and_a_signature() {
    let service = FakeBmc::start(|request, _state| {
        let header = |name: &str| request.header(name).map(str::to_owned);
        json_answer(json!({
            "method": request.method, "path": request.path, "body": request.body,
            "bearer": header("authorization"), "id": header("webhook-id"),
            "time": header("webhook-timestamp"), "signature": header("webhook-signature"),
        }))
    });
    let (url, body) = (format!("{}/ask?team=a", service.address()), json!({"a": 1}));
    let webhook = Webhook {
        token: Some(b"t0ken\n"),
        signing_key: Some(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"),
        ..webhook(&url, &body)
    };
    let answer = send(&Webhooks::new(Reach::NetworkAndLoopback), &webhook).await.unwrap();
    assert_eq!(answer["method"], "POST");
    assert_eq!((&answer["path"], &answer["body"]), (&json!("/ask?team=a"), &json!("{\"a\":1}")));
    assert_eq!(answer["bearer"], "Bearer t0ken");
    assert_eq!((&answer["id"], &answer["time"]), (&json!("review-1"), &json!("1772366400")));
    assert!(answer["signature"].as_str().unwrap().starts_with("v1,"));
}

#[tokio::test]
async fn what_is_no_answer_is_told_without_what_it_says() {
    let text = |status: u16, body: &str| Act::Answer {
        status,
        headers: vec![("Location", "http://127.0.0.1:9/".into())],
        body: body.into(),
    };
    let service = FakeBmc::start(move |request, _state| match request.path.as_str() {
        "/error" => text(500, "SECRET"),
        "/moved" => text(307, "SECRET"),
        "/garbage" => text(200, "SECRET"),
        "/flood" => Act::Flood,
        "/drip" => Act::Drip,
        _ => Act::HangUp,
    });
    let at = |path: &str| format!("{}{path}", service.address());
    for (path, wanted) in [
        ("/error", "it answered 500 Internal Server Error"),
        // Where it leads is not asked.
        ("/moved", "it answered 307 Temporary Redirect"),
        ("/garbage", "its answer is not JSON"),
        ("/flood", "is larger than 65536 bytes"),
        ("/hang-up", "the connection broke"),
    ] {
        let told = why(&at(path), Duration::from_secs(10)).await;
        assert!(told.contains(wanted) && !told.contains("SECRET"), "{path}: {told}");
    }
    let drip = why(&at("/drip"), Duration::from_secs(1)).await;
    assert!(drip.contains("no whole answer within 1 s"), "{drip}");
}

#[tokio::test]
async fn it_reaches_no_further_than_it_may() {
    let service = FakeBmc::start(|_request, _state| json_answer(json!({})));
    let body = json!({});
    let webhooks = Webhooks::new(Reach::Network);
    let by_name = format!("http://localhost:{}/", service.port);
    for url in [&service.address(), &by_name, "http://169.254.169.254/", "ftp://h/", "http://a@h/"]
    {
        let error = send(&webhooks, &webhook(url, &body)).await.unwrap_err();
        assert!(error.len() > 10, "{url}: {error}");
    }
    assert_eq!(service.received.lock().unwrap().len(), 0, "nothing was sent");
}
