//! `http.request` against a service in this process: what is sent, what is kept, what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "helpers of tests: what cannot go on fails the test"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use quarterdeck_providers::http::{Reach, add_actions};
use quarterdeck_providers::{ActionContext, ActionError, Catalog, Effect, Reason, Retry};
use serde_json::{Value, json};
use support::Secrets;
use support::fake_bmc::{Act, FakeBmc, status};

/// One plane's `http.request`.
struct Caller(Catalog);

impl Caller {
    fn new(reach: Reach) -> Self {
        let mut catalog = Catalog::new();
        add_actions(reach, &mut catalog);
        Self(catalog)
    }

    fn context(attempt: u32, resumed: bool) -> ActionContext {
        ActionContext {
            idempotency_key: "run-1/notify".to_owned(),
            attempt,
            resumed,
            first_attempt_at: jiff::Timestamp::now(),
            deadline: Instant::now() + Duration::from_secs(10),
            target: None,
            secrets: Arc::new(Secrets::with_bmc_login("s3cret\n")),
            hosts: std::sync::Arc::new(quarterdeck_providers::agent::NoHosts),
        }
    }

    async fn call(&self, input: Value) -> Result<Value, ActionError> {
        self.call_as(&Self::context(1, false), input).await
    }

    async fn call_as(&self, context: &ActionContext, input: Value) -> Result<Value, ActionError> {
        self.0.perform("http.request", input, context).await.map(|performed| performed.output)
    }
}

fn local() -> Caller {
    Caller::new(Reach::NetworkAndLoopback)
}

fn ok(body: &str) -> Act {
    Act::Answer {
        status: 200,
        headers: vec![("Content-Type", "application/json".to_owned())],
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn a_request_carries_what_the_step_says_and_keeps_no_secret() {
    let service = FakeBmc::start(|request, _state| {
        let echo = json!({"sent": request.header("authorization"), "body": request.body});
        ok(&echo.to_string())
    });
    let token = json!({
        "secretRef": {"namespace": "fleet", "name": "bmc"}, "key": "password", "prefix": "Bearer ",
    });
    let input = json!({
        "method": "POST",
        "url": format!("{}/hooks?a=b", service.address()),
        "headers": {"X-Team": "fleet"},
        "secretHeaders": {"Authorization": token},
        "body": {"machine": "m-1"},
    });
    let output = local().call(input).await.unwrap();
    let sent = &service.requests()[0];
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/hooks?a=b"));
    assert_eq!(sent.header("x-team"), Some("fleet"));
    assert_eq!(sent.header("authorization"), Some("Bearer s3cret"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.header("idempotency-key"), Some("\"run-1/notify\""));
    assert_eq!(sent.body, "{\"machine\":\"m-1\"}");
    assert_eq!(output["status"], 200);
    assert_eq!(output["body"]["sent"], "Bearer [concealed]", "what comes back is recorded");
}

#[tokio::test]
async fn the_planes_own_machine_is_out_of_reach_by_every_name() {
    let service = FakeBmc::start(|_request, _state| ok("{}"));
    let caller = Caller::new(Reach::Network);
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1"] {
        let url = format!("http://{host}:{}/", service.port);
        let error = caller.call(json!({ "url": url })).await.unwrap_err();
        assert_eq!((error.reason, error.retry), (Reason::Forbidden, Retry::Permanent), "{host}");
    }
    for url in ["http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/"] {
        let error = local().call(json!({ "url": url })).await.unwrap_err();
        assert_eq!(error.reason, Reason::Forbidden, "{url}");
    }
    assert!(service.requests().is_empty());
}

#[tokio::test]
async fn redirects_are_followed_at_home_only() {
    let elsewhere = FakeBmc::start(|_request, _state| ok("{}"));
    let away = elsewhere.address();
    let service = FakeBmc::start(move |request, _state| {
        let location = match request.path.as_str() {
            "/home" => "/there".to_owned(),
            "/away" => away.clone(),
            "/loop" => "/loop".to_owned(),
            _ => return ok("{\"found\": true}"),
        };
        Act::Answer { status: 307, headers: vec![("Location", location)], body: String::new() }
    });
    let call = async |path: &str| {
        local().call(json!({"url": format!("{}{path}", service.address())})).await
    };
    assert_eq!(call("/home").await.unwrap()["body"], json!({"found": true}));
    assert_eq!(call("/away").await.unwrap_err().reason, Reason::Forbidden);
    assert!(elsewhere.requests().is_empty(), "headers meant for one go nowhere else");
    assert_eq!(call("/loop").await.unwrap_err().reason, Reason::UnexpectedStatus);
    assert_eq!(service.count("GET", "/loop"), 6);
}

#[tokio::test]
async fn a_post_whose_outcome_is_unknown_is_not_sent_again() {
    let service = FakeBmc::start(|_request, _state| Act::HangUp);
    let caller = local();
    let input = json!({"method": "POST", "url": service.address()});
    let first = caller.call(input.clone()).await.unwrap_err();
    assert_eq!((first.retry, first.effect), (Retry::Retryable, Effect::Unknown));
    let second = caller.call_as(&Caller::context(2, false), input.clone()).await.unwrap_err();
    assert_eq!((second.reason, second.retry), (Reason::OutcomeUnknown, Retry::Permanent));
    // So it is for a plane that was killed in the middle of its only attempt.
    let resumed = local().call_as(&Caller::context(1, true), input.clone()).await.unwrap_err();
    assert_eq!(resumed.reason, Reason::OutcomeUnknown);
    assert_eq!(service.requests().len(), 1);
    let mut harmless = input;
    harmless["repeatIfUnknown"] = json!(true);
    caller.call_as(&Caller::context(3, false), harmless).await.unwrap_err();
    assert_eq!(service.requests().len(), 2);
    let put = json!({"method": "PUT", "url": service.address()});
    local().call_as(&Caller::context(1, true), put).await.unwrap_err();
    assert_eq!(service.count("PUT", "/"), 1, "twice is the same as once");
}

#[tokio::test]
async fn statuses_are_told_apart() {
    for (code, reason, retry, effect) in [
        (400, Reason::UnexpectedStatus, Retry::Permanent, Effect::None),
        (401, Reason::Unauthorized, Retry::Permanent, Effect::None),
        (429, Reason::Throttled, Retry::Retryable, Effect::None),
        (500, Reason::UnexpectedStatus, Retry::Retryable, Effect::Unknown),
        (503, Reason::Throttled, Retry::Retryable, Effect::None),
    ] {
        let service = FakeBmc::start(move |_request, _state| status(code));
        let input = json!({"method": "POST", "url": service.address()});
        let error = local().call(input).await.unwrap_err();
        assert_eq!((error.reason, error.retry, error.effect), (reason, retry, effect), "{code}");
        let wanted = json!({"method": "POST", "url": service.address(), "expectStatus": [code]});
        assert_eq!(local().call(wanted).await.unwrap()["status"], code);
    }
}

#[tokio::test]
async fn an_answer_costs_at_most_its_bounds() {
    let flood = FakeBmc::start(|_request, _state| Act::Flood);
    let output = local().call(json!({"url": flood.address()})).await.unwrap();
    assert_eq!((output["truncated"].clone(), output["body"].clone()), (json!(true), Value::Null));
    let drip = FakeBmc::start(|_request, _state| Act::Drip);
    let started = Instant::now();
    let input = json!({"url": drip.address(), "timeout": "1s"});
    let error = local().call(input).await.unwrap_err();
    assert_eq!((error.reason, error.effect), (Reason::Timeout, Effect::None));
    assert!(started.elapsed() < Duration::from_secs(5));
}
