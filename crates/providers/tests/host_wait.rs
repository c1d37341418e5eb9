//! `host.wait` on the loopback: it waits for who is not there yet, and says so when nobody comes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what cannot go on fails the test")]

use quarterdeck_providers::{
    ActionContext, ActionError, NoSecrets, Providers, Reason, http::Reach,
};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

async fn wait(
    reach: Reach,
    target: Value,
    input: Value,
    time: Duration,
) -> Result<Value, ActionError> {
    let context = ActionContext {
        idempotency_key: "key".into(),
        attempt: 1,
        resumed: false,
        first_attempt_at: jiff::Timestamp::now(),
        deadline: Instant::now() + time,
        target: Some(Arc::new(target)),
        secrets: Arc::new(NoSecrets),
        hosts: std::sync::Arc::new(quarterdeck_providers::agent::NoHosts),
    };
    let providers = Providers::new(reach);
    Ok(providers.catalog().perform("host.wait", input, &context).await?.output)
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn it_waits_for_a_host_that_starts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let target = json!({"spec": {"hostAddress": "127.0.0.1"}});
    let waiting =
        tokio::spawn(wait(Reach::NetworkAndLoopback, target, json!({"port": port}), LONG));
    // Nobody is there for as long as a refused connection takes.
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
    assert!(!waiting.is_finished());
    let _listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), json!({"address": "127.0.0.1"}));
}

#[tokio::test]
async fn it_says_that_nobody_came() {
    let input = json!({"address": "127.0.0.1", "port": 1});
    let error = wait(Reach::NetworkAndLoopback, json!({}), input, Duration::from_secs(3)).await;
    let error = error.unwrap_err();
    assert_eq!((error.reason, error.is_retryable()), (Reason::Timeout, true));
    assert!(error.message.contains("127.0.0.1 took no connection on port 1"), "{error}");
}

#[tokio::test]
async fn it_goes_nowhere_it_must_not() {
    let own = wait(Reach::Network, json!({}), json!({"address": "127.0.0.1"}), LONG).await;
    assert_eq!(own.unwrap_err().reason, Reason::Forbidden);
    let cloud = json!({"address": "169.254.169.254"});
    let cloud = wait(Reach::NetworkAndLoopback, json!({}), cloud, LONG).await;
    assert_eq!(cloud.unwrap_err().reason, Reason::Forbidden);
    let none = wait(Reach::Network, json!({"spec": {}}), json!({}), LONG).await.unwrap_err();
    assert!(none.message.contains("spec.hostAddress"), "{none}");
}
