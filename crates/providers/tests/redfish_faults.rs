//! The Redfish actions against a BMC that misbehaves in ways no emulator does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "helpers of tests: what cannot go on fails the test"
)]

mod support;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use quarterdeck_providers::{Effect, Reason, Retry};
use serde_json::json;
use support::fake_bmc::{Act, FakeBmc, Received, State, json_answer, status, well_behaved};
use support::{Caller, Secrets, server};

const RESET: &str = "Actions/ComputerSystem.Reset";

fn caller(bmc: &FakeBmc) -> Caller {
    Caller::new(server(&bmc.address(), json!({})))
}

/// Answers the first request that fits with `act`, all others as a good BMC.
fn once(
    fits: fn(&Received) -> bool,
    act: impl FnOnce(&Received, &mut State) -> Act + Send + 'static,
) -> FakeBmc {
    let act = Mutex::new(Some(act));
    FakeBmc::start(move |request, state| {
        let due = if fits(request) { act.lock().unwrap().take() } else { None };
        match due {
            Some(act) => act(request, state),
            None => well_behaved(request, state),
        }
    })
}

fn is_system(request: &Received) -> bool {
    request.path.ends_with("/node-a")
}

fn is_reset(request: &Received) -> bool {
    request.path.ends_with(RESET)
}

#[tokio::test]
async fn one_session_serves_all_calls_and_is_deleted_on_close() {
    let bmc = FakeBmc::start(well_behaved);
    let caller = caller(&bmc);
    for _round in 0..3 {
        caller.call("inventory.refresh", json!({})).await.unwrap();
    }
    assert_eq!(bmc.count("POST", "/Sessions"), 1);
    caller.redfish.close().await;
    assert_eq!(bmc.count("DELETE", "/Sessions/token-1"), 1);
}

#[tokio::test]
async fn a_session_that_ended_is_renewed_and_the_request_sent_again() {
    let bmc = once(is_reset, |_request, state| {
        state.sessions.clear();
        status(401)
    });
    let caller = caller(&bmc);
    let off = caller.call("power.set", json!({"state": "ForceOff"})).await.unwrap();
    assert_eq!(off["powerState"], "Off");
    assert_eq!((bmc.count("POST", "/Sessions"), bmc.count("POST", RESET)), (2, 2));
}

#[tokio::test]
async fn a_wrong_password_is_tried_once() {
    let bmc = FakeBmc::start(well_behaved);
    let mut caller = caller(&bmc);
    caller.secrets = Secrets::with_bmc_login("guess");
    for _round in 0..5 {
        let error = caller.call("inventory.refresh", json!({})).await.unwrap_err();
        assert_eq!((error.reason, error.retry), (Reason::Unauthorized, Retry::Permanent));
        assert!(!error.message.contains("guess"));
    }
    assert_eq!(bmc.count("POST", "/Sessions"), 1, "more would lock the account");
}

#[tokio::test]
async fn a_bmc_without_sessions_gets_basic_login() {
    let bmc = FakeBmc::start(|request, state| {
        if request.path.ends_with("/Sessions") {
            return status(404);
        }
        if request.header("authorization").is_some_and(|value| value.starts_with("Basic ")) {
            state.sessions = vec![String::new()];
        }
        well_behaved(request, state)
    });
    caller(&bmc).call("inventory.refresh", json!({})).await.unwrap();
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let bmc = once(is_reset, |_request, _state| Act::Answer {
        status: 503,
        headers: vec![("Retry-After", "2".to_owned())],
        body: String::new(),
    });
    let started = Instant::now();
    caller(&bmc).call("power.set", json!({"state": "ForceOff"})).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(bmc.count("POST", RESET), 2);
}

#[tokio::test]
async fn a_wait_longer_than_the_step_is_told_at_once() {
    let bmc = FakeBmc::start(|_request, _state| Act::Answer {
        status: 503,
        headers: vec![("Retry-After", "100".to_owned())],
        body: String::new(),
    });
    let mut caller = caller(&bmc);
    caller.deadline = Duration::from_secs(20);
    let started = Instant::now();
    let error = caller.call("inventory.refresh", json!({})).await.unwrap_err();
    assert_eq!((error.reason, error.retry), (Reason::Throttled, Retry::Retryable));
    assert_eq!(error.retry_after, Some(Duration::from_secs(100)));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_lost_answer_after_the_effect_is_not_sent_again() {
    let bmc = once(is_reset, |request, state| {
        well_behaved(request, state);
        Act::HangUp
    });
    let off = caller(&bmc).call("power.set", json!({"state": "ForceOff"})).await.unwrap();
    assert_eq!(off, json!({"powerState": "Off", "changed": true}));
    assert_eq!(bmc.count("POST", RESET), 1);
}

#[tokio::test]
async fn a_restart_whose_answer_was_lost_is_found_by_its_time() {
    let bmc = once(is_reset, |request, state| {
        well_behaved(request, state);
        Act::HangUp
    });
    let caller = caller(&bmc);
    let input = json!({"resetType": "ForceRestart"});
    let context = caller.context("key", 1);
    let error = caller.call_as(&context, "power.reset", input.clone()).await.unwrap_err();
    assert_eq!((error.retry, error.effect), (Retry::Retryable, Effect::Unknown));
    let mut second = caller.context("key", 2);
    second.first_attempt_at = context.first_attempt_at;
    let found = caller.call_as(&second, "power.reset", input).await.unwrap();
    assert_eq!(found["changed"], false);
    assert_eq!(bmc.count("POST", RESET), 1, "restarted exactly once");
}

#[tokio::test]
async fn a_restart_that_was_never_sent_is_sent_by_the_next_attempt() {
    let bmc = once(is_system, |_request, _state| status(500));
    let caller = caller(&bmc);
    let input = json!({"resetType": "ForceRestart"});
    let first = caller.call_as(&caller.context("key", 1), "power.reset", input.clone()).await;
    assert_eq!(first.unwrap_err().effect, Effect::None);
    let second = caller.call_as(&caller.context("key", 2), "power.reset", input).await.unwrap();
    assert_eq!(second["changed"], true);
    assert_eq!(bmc.count("POST", RESET), 1);
}

#[tokio::test]
async fn nonsense_is_an_error_and_never_a_panic() {
    let deep = "[".repeat(100_000);
    let wide = json!({"Members": vec![json!({"@odata.id": "https://elsewhere/x"}); 10_000]});
    let acts: Vec<(&str, Box<dyn Fn() -> Act + Send + Sync>)> = vec![
        ("not JSON", Box::new(|| answer("<html>"))),
        ("cut JSON", Box::new(|| answer("{\"Members\": ["))),
        ("a list", Box::new(|| answer("[]"))),
        ("deep", Box::new(move || answer(&deep))),
        ("empty", Box::new(|| answer(""))),
        ("null members", Box::new(|| json_answer(json!({"Members": null})))),
        ("foreign members", Box::new(move || json_answer(wide.clone()))),
        ("huge", Box::new(|| Act::Flood)),
        (
            "redirect away",
            Box::new(|| Act::Answer {
                status: 302,
                headers: vec![("Location", "https://elsewhere/".to_owned())],
                body: String::new(),
            }),
        ),
        (
            "redirect loop",
            Box::new(|| Act::Answer {
                status: 308,
                headers: vec![("Location", "/redfish/v1/Systems".to_owned())],
                body: String::new(),
            }),
        ),
    ];
    for (what, act) in acts {
        let bmc = FakeBmc::start(move |request, state| {
            if request.path.ends_with("/Systems") { act() } else { well_behaved(request, state) }
        });
        let error = caller(&bmc).call("inventory.refresh", json!({})).await.unwrap_err();
        let expected = [Reason::BmcError, Reason::NotFound];
        assert!(expected.contains(&error.reason), "{what}: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_drips_ends_at_the_deadline() {
    let bmc = once(is_system, |_request, _state| Act::Drip);
    let mut caller = caller(&bmc);
    caller.deadline = Duration::from_secs(2);
    let started = Instant::now();
    let error = caller.call("inventory.refresh", json!({})).await.unwrap_err();
    assert_eq!((error.reason, error.retry), (Reason::Timeout, Retry::Retryable));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut caller = Caller::new(server(&format!("http://127.0.0.1:{port}"), json!({})));
    caller.deadline = Duration::from_secs(2);
    let error = caller.call("power.set", json!({"state": "On"})).await.unwrap_err();
    assert_eq!(
        (error.reason, error.retry, error.effect),
        (Reason::Unreachable, Retry::Retryable, Effect::None)
    );
}

#[tokio::test]
async fn a_bmc_is_never_asked_more_than_two_things_at_once() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    // The count is taken around the lock that all answers pass, by connection.
    let (seen, peak) = (Arc::clone(&now), Arc::clone(&most));
    let bmc = FakeBmc::start(move |request, state| {
        let at_once = seen.fetch_add(1, Ordering::SeqCst) + 1;
        peak.fetch_max(at_once, Ordering::SeqCst);
        let act = well_behaved(request, state);
        seen.fetch_sub(1, Ordering::SeqCst);
        act
    });
    let caller = caller(&bmc);
    let calls = (0..20).map(|_call| caller.call("inventory.refresh", json!({})));
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= 2);
    assert_eq!(bmc.count("POST", "/Sessions"), 1);
}

#[tokio::test]
async fn a_wrong_input_names_the_field() {
    let bmc = FakeBmc::start(well_behaved);
    let caller = caller(&bmc);
    for input in [json!({}), json!({"state": "Sideways"}), json!({"state": "On", "x": 1})] {
        let error = caller.call("power.set", input).await.unwrap_err();
        assert_eq!((error.reason, error.retry), (Reason::InvalidInput, Retry::Permanent));
    }
    assert!(bmc.requests().is_empty());
}

fn answer(body: &str) -> Act {
    Act::Answer { status: 200, headers: vec![], body: body.to_owned() }
}
