//! The rotation of a BMC's password, cut off after each request, against a BMC with an account service; and that no
//! password is in anything that is told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what cannot go on fails the test"
)]

mod support;

use quarterdeck_providers::{Performed, Reason, SecretChange};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use support::{
    Caller, PASSWORD, USER,
    fake_bmc::{Act, FakeBmc, Received, State, json_answer, status, well_behaved},
    server,
};

const ACCOUNTS: &str = "/redfish/v1/AccountService/Accounts";

/// The account of a BMC, and how it behaves.
struct Account {
    password: String,
    refused_logins: usize,
    loses_answer: bool,
    forgets: bool,
    /// Refuses a new password, and repeats it and the old one.
    echoes: bool,
    most: u64,
}

fn answer(account: &mut Account, request: &Received, state: &mut State) -> Option<Act> {
    let path = request.path.split('?').next().unwrap().trim_end_matches('/');
    let body = || serde_json::from_str::<Value>(&request.body).unwrap();
    match (request.method.as_str(), path) {
        ("GET", "/redfish/v1") => Some(json_answer(json!({
            "Systems": {"@odata.id": "/redfish/v1/Systems"},
            "AccountService": {"@odata.id": "/redfish/v1/AccountService"},
            "Links": {"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}},
        }))),
        ("POST", "/redfish/v1/SessionService/Sessions") => {
            let given = body();
            if given["UserName"] != USER || given["Password"] != *account.password {
                account.refused_logins += 1;
                if account.echoes {
                    let message =
                        format!("The password '{}' is wrong.", given["Password"].as_str().unwrap());
                    let told =
                        json!({"error": {"code": "Base.1.8.GeneralError", "message": message}});
                    return Some(Act::Answer {
                        status: 401,
                        headers: vec![],
                        body: told.to_string(),
                    });
                }
                return Some(status(401));
            }
            let token = format!("token-{}", state.sessions.len() + 1);
            state.sessions.push(token.clone());
            let place = format!("/redfish/v1/SessionService/Sessions/{token}");
            let headers = vec![("X-Auth-Token", token), ("Location", place)];
            Some(Act::Answer { status: 201, headers, body: "{}".into() })
        }
        ("GET", "/redfish/v1/AccountService") => Some(json_answer(json!({
            "Accounts": {"@odata.id": ACCOUNTS}, "MinPasswordLength": 8, "MaxPasswordLength": account.most,
        }))),
        ("GET", ACCOUNTS) => {
            let of = |id: u32| json!({"@odata.id": format!("{ACCOUNTS}/{id}")});
            Some(json_answer(json!({"Members": [of(1), of(2)]})))
        }
        ("GET", "/redfish/v1/AccountService/Accounts/1") => {
            Some(json_answer(json!({"Id": "1", "UserName": "", "Password": null})))
        }
        ("GET", "/redfish/v1/AccountService/Accounts/2") => {
            Some(json_answer(json!({"Id": "2", "UserName": USER, "Password": null})))
        }
        ("PATCH", "/redfish/v1/AccountService/Accounts/2") => {
            if account.echoes {
                let body = body();
                let message = format!(
                    "The value '{}' of the property Password is not as {} was.",
                    body["Password"].as_str().unwrap(),
                    account.password
                );
                let id = "Base.1.8.PropertyValueFormatError";
                let told = json!({"error": {"code": "Base.1.8.GeneralError", "message": "See ExtendedInfo",
                    "@Message.ExtendedInfo": [{"MessageId": id, "Message": message}]}});
                return Some(Act::Answer { status: 400, headers: vec![], body: told.to_string() });
            }
            if !account.forgets {
                account.password = body()["Password"].as_str().unwrap().to_owned();
            }
            if account.loses_answer {
                account.loses_answer = false;
                return Some(Act::HangUp);
            }
            Some(Act::Answer { status: 204, headers: vec![], body: String::new() })
        }
        _ => None,
    }
}

fn machine(change: impl FnOnce(&mut Account)) -> (FakeBmc, Caller, Arc<Mutex<Account>>) {
    let mut account = Account {
        password: PASSWORD.into(),
        refused_logins: 0,
        loses_answer: false,
        forgets: false,
        echoes: false,
        most: 20,
    };
    change(&mut account);
    let account = Arc::new(Mutex::new(account));
    let bmc = FakeBmc::start({
        let account = account.clone();
        move |request, state| {
            let act = answer(&mut account.lock().unwrap(), request, state);
            act.unwrap_or_else(|| well_behaved(request, state))
        }
    });
    let caller = Caller::new(server(&bmc.address(), json!({})));
    (bmc, caller, account)
}

/// What a plane does with what an action gives back.
fn keep(caller: &mut Caller, performed: &Performed) {
    if let Some(SecretChange { secret, set, remove }) = performed.kept.clone() {
        let name = format!("{}/{}", secret.namespace, secret.name);
        let held = caller.secrets.0.entry(name).or_default();
        held.extend(set);
        held.retain(|key, _| !remove.contains(key));
    }
    if let Some(declared) = &performed.declared {
        caller.target["spec"]["bmc"]["credentialsSecretRef"] =
            declared.patch["bmc"]["credentialsSecretRef"].clone();
    }
}

async fn step(caller: &mut Caller, action: &str) -> Value {
    step_with(caller, action, json!({})).await
}

async fn step_with(caller: &mut Caller, action: &str, input: Value) -> Value {
    let context = caller.context(action, 1);
    let performed = caller.perform(&context, action, input).await.unwrap();
    for secret in caller.secrets.0.values().flat_map(|held| held.values()) {
        let text = String::from_utf8(secret.clone()).unwrap();
        let told = format!("{performed:?} {}", performed.output);
        assert!(text == USER || !told.contains(&text), "a password is told");
    }
    keep(caller, &performed);
    performed.output
}

fn held(caller: &Caller, key: &str) -> Option<String> {
    let held = caller.secrets.0.get("fleet/bmc-s-1")?.get(key)?;
    Some(String::from_utf8(held.clone()).unwrap())
}

const STEPS: [&str; 3] = ["credentials.generate", "credentials.apply", "credentials.adopt"];

#[tokio::test]
async fn a_password_is_made_set_and_taken_into_force() {
    let (bmc, mut caller, account) = machine(|_| {});
    let made = step(&mut caller, STEPS[0]).await;
    assert_eq!(made, json!({"secret": "fleet/bmc-s-1", "generated": true}));
    let new = held(&caller, "pendingPassword").unwrap();
    assert_eq!((new.len(), bmc.requests().len()), (20, 0), "it is kept before the BMC hears of it");
    let set = step(&mut caller, STEPS[1]).await;
    assert_eq!(set, json!({"username": USER, "changed": true}));
    assert_eq!(account.lock().unwrap().password, new);
    step(&mut caller, STEPS[2]).await;
    assert_eq!(
        (held(&caller, "password"), held(&caller, "pendingPassword")),
        (Some(new.clone()), None)
    );
    assert_eq!(caller.target["spec"]["bmc"]["credentialsSecretRef"]["name"], "bmc-s-1");
    caller.call("inventory.refresh", json!({})).await.unwrap();
    // Once more: its own Secret, and another password.
    for action in STEPS {
        step(&mut caller, action).await;
    }
    assert_ne!(account.lock().unwrap().password, new);
    assert_eq!(held(&caller, "password").as_ref(), Some(&account.lock().unwrap().password));
    assert_eq!(account.lock().unwrap().refused_logins, 0, "no login was in vain");
    caller.call("inventory.refresh", json!({})).await.unwrap();
}

/// The process dies after any step was done and before that was recorded: each is done once more, and nothing is lost.
#[tokio::test]
async fn a_step_that_is_repeated_finds_its_work_done() {
    for cut in STEPS {
        let (_bmc, mut caller, account) = machine(|account| account.loses_answer = true);
        for action in STEPS {
            if action == STEPS[1] {
                let lost = caller.call(action, json!({})).await.unwrap_err();
                assert!(lost.is_retryable(), "{lost}");
                // Until it is tried again, other steps log in with what may be in force.
                let mut other = caller.clone();
                other.redfish = quarterdeck_providers::redfish::Redfish::new();
                other.call("inventory.refresh", json!({})).await.unwrap();
            }
            step(&mut caller, action).await;
            if action == cut {
                step(&mut caller, action).await;
            }
        }
        let now = account.lock().unwrap().password.clone();
        assert_eq!(held(&caller, "password"), Some(now), "{cut}");
        caller.call("inventory.refresh", json!({})).await.unwrap();
    }
}

/// A run that failed between setting and taking into force leaves its password to the next one.
#[tokio::test]
async fn a_password_that_may_be_in_force_is_not_thrown_away() {
    let (_bmc, mut caller, account) = machine(|_| {});
    step(&mut caller, STEPS[0]).await;
    step(&mut caller, STEPS[1]).await;
    let pending = held(&caller, "pendingPassword");
    let made = step(&mut caller, STEPS[0]).await;
    assert_eq!(made["generated"], false);
    assert_eq!(held(&caller, "pendingPassword"), pending);
    let set = step(&mut caller, STEPS[1]).await;
    assert_eq!(set["changed"], false);
    step(&mut caller, STEPS[2]).await;
    assert_eq!(held(&caller, "password"), Some(account.lock().unwrap().password.clone()));
}

/// A BMC that takes long to know the new password still takes the old one when the next run begins.
#[tokio::test]
async fn a_password_that_comes_into_force_late_is_still_known() {
    let (_bmc, mut caller, account) = machine(|account| account.forgets = true);
    step(&mut caller, STEPS[0]).await;
    caller.call(STEPS[1], json!({})).await.unwrap_err();
    let sent = held(&caller, "pendingPassword").unwrap();
    assert_eq!(step(&mut caller, STEPS[0]).await["generated"], false);
    account.lock().unwrap().password = sent.clone();
    assert_eq!(step(&mut caller, STEPS[1]).await["changed"], false);
    step(&mut caller, STEPS[2]).await;
    assert_eq!(held(&caller, "password"), Some(sent));
    caller.call("inventory.refresh", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_bmc_that_repeats_passwords_has_them_told_to_nobody() {
    let (_bmc, mut caller, _account) = machine(|account| account.echoes = true);
    step(&mut caller, STEPS[0]).await;
    let error = caller.call(STEPS[1], json!({})).await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(told.contains("The value '(password)' of the property Password is not"), "{told}");
    let new = held(&caller, "pendingPassword").unwrap();
    assert!(!told.contains(&new) && !told.contains(PASSWORD), "{told}");
}

/// The login is taken, and the machine is another one, or shows its systems to no such account.
#[tokio::test]
async fn no_session_is_left_behind_when_what_follows_the_login_fails() {
    for forbidden in [false, true] {
        let bmc = FakeBmc::start(move |request, state| {
            let systems = request.path.ends_with("/Systems");
            if forbidden && systems { status(403) } else { well_behaved(request, state) }
        });
        let mut target = server(&bmc.address(), json!({}));
        target["spec"]["serial"] = json!("another");
        let mut caller = Caller::new(target);
        step(&mut caller, STEPS[0]).await;
        let error = caller.call(STEPS[1], json!({})).await.unwrap_err();
        assert_eq!(error.reason == Reason::SerialMismatch, !forbidden, "{error}");
        let made = bmc.count("POST", "/Sessions");
        assert!(made > 0 && bmc.count("DELETE", "/Sessions/") == made - usize::from(forbidden));
    }
}

#[tokio::test]
async fn a_refused_login_that_repeats_the_password_is_told_without_it() {
    let (_bmc, caller, _account) = machine(|account| {
        account.echoes = true;
        account.password = "another one".into();
    });
    // The second is answered from what is remembered of the first.
    for _ in 0..2 {
        let error = caller.call("inventory.refresh", json!({})).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("The password '(password)' is wrong."), "{told}");
        assert!(!told.contains(PASSWORD), "{told}");
    }
}

/// A Server that names again the Secret it had before its rotation still has a password that its BMC takes.
#[tokio::test]
async fn a_reference_that_was_set_back_does_not_stop_rotation() {
    let (_bmc, mut caller, account) = machine(|_| {});
    for action in STEPS {
        step(&mut caller, action).await;
    }
    let first = held(&caller, "password").unwrap();
    caller.target["spec"]["bmc"]["credentialsSecretRef"]["name"] = json!("bmc");
    for action in STEPS {
        step(&mut caller, action).await;
    }
    let second = held(&caller, "password").unwrap();
    assert_ne!(second, first);
    assert_eq!(account.lock().unwrap().password, second);
    assert_eq!(caller.target["spec"]["bmc"]["credentialsSecretRef"]["name"], "bmc-s-1");
    caller.call("inventory.refresh", json!({})).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_set_is_told_without_the_password() {
    for (most, forgets, reason, says) in [
        (16, false, Reason::InvalidInput, "takes passwords of 8 to 16 characters"),
        (20, true, Reason::BmcError, "does not take it"),
    ] {
        let (_bmc, mut caller, account) = machine(|account| {
            (account.most, account.forgets) = (most, forgets);
        });
        step(&mut caller, STEPS[0]).await;
        let error = caller.call(STEPS[1], json!({})).await.unwrap_err();
        assert_eq!(error.reason, reason, "{error}");
        let pending = held(&caller, "pendingPassword").unwrap();
        assert!(error.message.contains(says) && !error.message.contains(&pending), "{error}");
        assert_eq!(account.lock().unwrap().password, PASSWORD);
        // Nothing is broken: it still logs in, and the same one is set again.
        caller.call("inventory.refresh", json!({})).await.unwrap();
        assert_eq!(step(&mut caller, STEPS[0]).await["generated"], false);
        assert_eq!(held(&caller, "pendingPassword").unwrap(), pending);
        // Only one that was sent to nobody gives way to another length.
        let made = step_with(&mut caller, STEPS[0], json!({"length": 16})).await;
        assert_eq!(made["generated"], !forgets);
        assert_eq!(held(&caller, "pendingPassword").unwrap() == pending, forgets);
        account.lock().unwrap().forgets = false;
        for action in &STEPS[1..] {
            step(&mut caller, action).await;
        }
        assert_eq!(held(&caller, "password"), Some(account.lock().unwrap().password.clone()));
    }
    let (_bmc, mut caller, account) = machine(|_| {});
    step(&mut caller, STEPS[0]).await;
    account.lock().unwrap().password = "somebody else's".into();
    let error = caller.call(STEPS[1], json!({})).await.unwrap_err();
    assert_eq!(error.reason, Reason::Unauthorized);
    assert!(error.message.contains("takes neither"), "{error}");
    let error = caller.call(STEPS[0], json!({"length": 6})).await.unwrap_err();
    assert!(error.message.contains("from 12 to 64"), "{error}");
}
