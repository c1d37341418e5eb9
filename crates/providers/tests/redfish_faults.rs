//! The Redfish actions against a BMC that misbehaves in ways no emulator does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
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
async fn a_restart_is_not_repeated_by_a_plane_that_was_killed_meanwhile() {
    let bmc = FakeBmc::start(well_behaved);
    let before = caller(&bmc);
    let input = json!({"resetType": "ForceRestart"});
    let context = before.context("key", 1);
    before.call_as(&context, "power.reset", input.clone()).await.unwrap();
    // The next plane finds the attempt in the journal, and knows nothing else of it.
    let after = caller(&bmc);
    let mut resumed = after.context("key", 1);
    resumed.resumed = true;
    resumed.first_attempt_at = context.first_attempt_at;
    let found = after.call_as(&resumed, "power.reset", input).await.unwrap();
    assert_eq!(found["changed"], false);
    assert_eq!(bmc.count("POST", RESET), 1, "restarted exactly once");
}

#[tokio::test]
async fn a_restart_that_shows_late_is_waited_for() {
    let calls = Mutex::new(0);
    let bmc = FakeBmc::start(move |request, state| {
        if is_system(request) {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            // Sent before the crash, the restart takes effect while the next plane looks.
            if *calls == 3 {
                state.last_reset = Some(jiff::Timestamp::now().to_string());
            } else if *calls < 3 {
                state.last_reset = Some("2020-01-01T00:00:00Z".to_owned());
            }
        }
        well_behaved(request, state)
    });
    let caller = caller(&bmc);
    let mut resumed = caller.context("key", 1);
    resumed.resumed = true;
    let input = json!({"resetType": "ForceRestart"});
    let found = caller.call_as(&resumed, "power.reset", input).await.unwrap();
    assert_eq!((found["changed"].clone(), bmc.count("POST", RESET)), (json!(false), 0));
}

#[tokio::test]
async fn the_boot_order_is_changed_once() {
    let bmc = FakeBmc::start(well_behaved);
    let caller = caller(&bmc);
    let first = json!({"first": ["Network"]});
    let set = caller.call("boot.order", first.clone()).await.unwrap();
    assert_eq!(set["order"], json!(["Boot2", "Boot1", "Boot3"]));
    let again = caller.call("boot.order", first).await.unwrap();
    assert_eq!((set["changed"].clone(), again["changed"].clone()), (json!(true), json!(false)));
    assert_eq!(bmc.count("PATCH", "node-a"), 1);
    let sent = bmc.requests().into_iter().find(|request| request.method == "PATCH").unwrap();
    assert!(sent.body.contains(r#"["Boot2","Boot1","Boot3"]"#), "{}", sent.body);
    let unknown = caller.call("boot.order", json!({"first": ["Boot9"]})).await.unwrap_err();
    assert_eq!((unknown.reason, unknown.retry), (Reason::NotFound, Retry::Permanent));
}

#[tokio::test]
async fn a_power_state_that_does_not_change_ends_at_the_deadline_with_one_command() {
    let bmc = FakeBmc::start(|request, state| {
        let act = well_behaved(request, state);
        state.power = "On";
        act
    });
    let mut caller = caller(&bmc);
    caller.deadline = Duration::from_secs(3);
    let error = caller.call("power.set", json!({"state": "ForceOff"})).await.unwrap_err();
    assert_eq!((error.reason, error.retry), (Reason::Timeout, Retry::Retryable));
    assert_eq!(error.effect, Effect::Unknown);
    assert!(error.message.contains("it is On and not yet Off"), "{error}");
    assert_eq!(bmc.count("POST", RESET), 1);
}

#[tokio::test]
async fn a_full_table_of_sessions_makes_it_log_in_without() {
    let bmc = FakeBmc::start(|request, state| {
        if request.method == "POST" && request.path.ends_with("/Sessions") {
            let body = json!({"error": {"@Message.ExtendedInfo": [
                {"MessageId": "Base.1.8.SessionLimitExceeded"},
            ]}});
            return Act::Answer { status: 503, headers: vec![], body: body.to_string() };
        }
        if request.header("authorization").is_some_and(|value| value.starts_with("Basic ")) {
            state.sessions = vec![String::new()];
        }
        well_behaved(request, state)
    });
    caller(&bmc).call("inventory.refresh", json!({})).await.unwrap();
    assert_eq!(bmc.count("POST", "/Sessions"), 1);
}

#[tokio::test]
async fn a_system_is_asked_for_directly_and_else_looked_for() {
    let bmc = FakeBmc::start(well_behaved);
    let mut caller = caller(&bmc);
    caller.target["spec"]["bmc"]["systemId"] = json!("node-a");
    caller.call("inventory.refresh", json!({})).await.unwrap();
    assert_eq!(bmc.requests().iter().filter(|r| r.path.ends_with("/Systems")).count(), 0);
    caller.target["spec"]["bmc"]["systemId"] = json!("../node-a");
    let error = caller.call("inventory.refresh", json!({})).await.unwrap_err();
    assert_eq!((error.reason, error.retry), (Reason::SystemNotFound, Retry::Permanent));
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
    let many = format!("{{\"Members\": [{}0]}}", "{},".repeat(500_000));
    let wide = json!({"Members": vec![json!({"@odata.id": "https://elsewhere/x"}); 10_000]});
    let acts: Vec<(&str, Box<dyn Fn() -> Act + Send + Sync>)> = vec![
        ("not JSON", Box::new(|| answer("<html>"))),
        ("cut JSON", Box::new(|| answer("{\"Members\": ["))),
        ("a list", Box::new(|| answer("[]"))),
        ("deep", Box::new(move || answer(&deep))),
        ("empty", Box::new(|| answer(""))),
        ("null members", Box::new(|| json_answer(json!({"Members": null})))),
        ("foreign members", Box::new(move || json_answer(wide.clone()))),
        ("many values", Box::new(move || answer(&many))),
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
        let expected = [Reason::BmcError, Reason::SystemNotFound];
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
    let bmc = FakeBmc::start(well_behaved);
    bmc.delay(Duration::from_millis(5));
    let caller = caller(&bmc);
    let calls = (0..20).map(|_call| caller.call("inventory.refresh", json!({})));
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(bmc.most_at_once(), 2, "and two it is");
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
