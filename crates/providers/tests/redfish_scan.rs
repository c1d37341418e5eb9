//! `bmc.scan` over loopback addresses: what is a BMC and what is not, who gets credentials, and what is allowed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what cannot go on fails the test"
)]

mod support;

use quarterdeck_providers::{Performed, Reason};
use serde_json::{Value, json};
use std::net::TcpListener;
use support::{
    Caller, PASSWORD,
    fake_bmc::{Act, FakeBmc, Received, State, json_answer, status, well_behaved},
};

/// Listeners on one port of several addresses.
fn listeners(hosts: &[&str]) -> (u16, Vec<TcpListener>) {
    loop {
        let first = TcpListener::bind((hosts[0], 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let rest = hosts[1..].iter().map(|host| TcpListener::bind((*host, port)));
        // Another test may have that port of another address.
        if let Ok(rest) = rest.collect::<Result<Vec<_>, _>>() {
            return (port, [first].into_iter().chain(rest).collect());
        }
    }
}

/// A BMC of a machine with that serial and MAC address.
fn of(serial: &'static str, mac: &'static str) -> impl Fn(&Received, &mut State) -> Act {
    move |request, state| {
        let path = request.path.split('?').next().unwrap().trim_end_matches('/').to_owned();
        let interfaces = "/redfish/v1/Systems/node-a/EthernetInterfaces";
        if path == interfaces {
            return json_answer(json!({"Members": [{"@odata.id": format!("{interfaces}/1")}]}));
        }
        if path == format!("{interfaces}/1") {
            return json_answer(json!({"Id": "1", "MACAddress": mac}));
        }
        match well_behaved(request, state) {
            Act::Answer { status: 200, headers, body } if path.ends_with("/node-a") => {
                let mut system: Value = serde_json::from_str(&body).unwrap();
                system["SerialNumber"] = json!(serial);
                system["Model"] = json!("C410");
                system["UUID"] = json!(format!("0000-{serial}"));
                system["EthernetInterfaces"] = json!({"@odata.id": interfaces});
                Act::Answer { status: 200, headers, body: system.to_string() }
            }
            act => act,
        }
    }
}

fn scan(port: u16, allow: Value) -> Value {
    json!({
        "metadata": {"name": "hall-1"},
        "spec": {
            "site": "ams", "ranges": ["127.0.71.0/29", "127.0.71.1"], "port": port, "plain": true,
            "credentialsSecretRef": {"namespace": "fleet", "name": "bmc"}, "allow": allow,
        },
    })
}

async fn look(target: Value) -> (Value, Vec<Value>) {
    let caller = Caller::new(target);
    let context = caller.context("scan", 1);
    let Performed { output, observed, .. } =
        caller.perform(&context, "bmc.scan", json!({})).await.unwrap();
    let observed = Value::Object(observed.unwrap());
    let found = observed["found"].as_array().unwrap().clone();
    (output, found)
}

#[tokio::test]
async fn what_is_a_bmc_is_found_and_nothing_else_is_told_the_password() {
    let hosts = ["127.0.71.1", "127.0.71.2", "127.0.71.3", "127.0.71.4", "127.0.71.5"];
    let (port, listeners) = listeners(&hosts);
    let mut at = listeners.into_iter();
    let mut next = || at.next().unwrap();
    let _one = FakeBmc::on(next(), of("SN-1", "AA-BB-CC-00-00-01"));
    let two = FakeBmc::on(next(), of("XX-2", "aa:bb:cc:00:00:02"));
    // A web server, and a BMC that takes another password.
    let other = FakeBmc::on(next(), |_, _| json_answer(json!({"hello": "world"})));
    let _refuses = FakeBmc::on(next(), |request, state| {
        let login = request.method == "POST" && request.path.ends_with("/Sessions");
        if login { status(401) } else { well_behaved(request, state) }
    });
    let _silent = FakeBmc::on(next(), |_, _| Act::HangUp);
    let (output, found) = look(scan(port, json!({"serials": ["sn-*"]}))).await;
    assert_eq!(output, json!({"addresses": 6, "answered": 3, "allowed": 1}));
    let address = |host: &str| format!("http://{host}:{port}");
    assert_eq!(
        found[0],
        json!({"address": address("127.0.71.1"), "serial": "SN-1", "uuid": "0000-SN-1",
               "model": "C410", "result": "Pending"})
    );
    assert_eq!(found[1]["address"], address("127.0.71.2"));
    assert_eq!((&found[1]["serial"], &found[1]["result"]), (&json!("XX-2"), &json!("NotAllowed")));
    assert_eq!(
        (&found[2]["address"], &found[2]["result"]),
        (&json!(address("127.0.71.4")), &json!("Failed"))
    );
    assert!(
        found[2]["message"].as_str().unwrap().contains("does not accept the user"),
        "{found:?}"
    );
    assert!(!other.requests().iter().any(|it| it.body.contains(PASSWORD)), "it is no BMC");
    assert!(two.count("DELETE", "/Sessions/") == 1, "sessions are closed");
    assert!(!format!("{found:?}{output}").contains(PASSWORD));

    let (output, found) = look(scan(port, json!({"macAddresses": ["aa:bb:cc:00:00:0?"]}))).await;
    assert_eq!(output["allowed"], 2, "{found:?}");
    let (output, _) = look(scan(port, json!({"uuids": ["0000-xx-2"]}))).await;
    assert_eq!(output["allowed"], 1);
}

/// Some firmwares ask for a login even at the root; any web server may do that too, and is told nothing.
#[tokio::test]
async fn a_root_that_asks_for_a_login_is_a_bmc_only_if_it_says_so_in_the_way_of_redfish() {
    let hosts = [1, 2, 3, 4].map(|host| format!("127.0.71.{host}"));
    let (port, listeners) = listeners(&hosts.each_ref().map(String::as_str));
    let explained =
        json!({"error": {"@Message.ExtendedInfo": [{"MessageId": "Base.1.0.NoValidSession"}]}});
    let refusals = [
        (401, vec![], explained.to_string()),
        (403, vec![("OData-Version", "4.0".to_owned())], String::new()),
        (401, vec![("WWW-Authenticate", "Basic".to_owned())], "{}".into()),
        (403, vec![], "<html>Forbidden</html>".into()),
    ];
    let answering = |(listener, (status, headers, body)): (TcpListener, (u16, Vec<_>, String))| {
        FakeBmc::on(listener, move |request, state| {
            if request.header("authorization").is_none() {
                return Act::Answer { status, headers: headers.clone(), body: body.clone() };
            }
            // It knows no sessions: the login comes with each request.
            let mut request = request.clone();
            state.sessions = vec!["basic".into()];
            request.headers.push(("X-Auth-Token".into(), "basic".into()));
            of("SN-1", "aa:bb:cc:00:00:01")(&request, state)
        })
    };
    let all: Vec<FakeBmc> = listeners.into_iter().zip(refusals).map(answering).collect();
    let (output, found) = look(scan(port, json!({"serials": ["SN-*"]}))).await;
    assert_eq!(output["allowed"], 2, "{found:?}");
    for (host, found) in hosts.iter().zip(&found) {
        assert_eq!(found["address"], format!("http://{host}:{port}"));
        assert_eq!((&found["serial"], &found["result"]), (&json!("SN-1"), &json!("Pending")));
    }
    assert_eq!(found.len(), 2, "{found:?}");
    for web in &all[2..] {
        assert_eq!(web.requests().len(), 1, "it is asked what it is, once");
        let told = |it: &Received| it.header("authorization").is_some() || !it.body.is_empty();
        assert!(!web.requests().iter().any(told));
    }
}

#[tokio::test]
async fn what_is_no_scan_is_refused() {
    for (target, says) in [
        (json!({"spec": {}}), "the target is not a BMCScan"),
        (
            json!({"spec": {"site": "a", "ranges": ["10.0.0.0/8"], "allow": {}}}),
            "more than 8192 addresses",
        ),
    ] {
        let error = Caller::new(target).call("bmc.scan", json!({})).await.unwrap_err();
        assert_eq!(error.reason, Reason::InvalidInput);
        assert!(error.message.contains(says), "{error}");
    }
}
