//! Services that want to be asked: a real web service answers, and the clock is the real one.

use crate::{
    ledger::{permits, run, until_permits, waits},
    outside::Behaviour,
    scenario::Plane,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Event, Instance, Run, RunPhase, Secret, Server, Service},
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const PATCH: &str = "
target: {kind: Server}
parameters: [{name: what, type: string, required: true}]
steps: [{name: patch, action: disturb.it, with: {what: '${ params.what }'}}]
";

/// The owners' web service: what it says of each service, and what it was asked.
#[derive(Clone, Default)]
struct Owners {
    says: Arc<Mutex<std::collections::HashMap<String, Value>>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Owners {
    async fn start() -> (Self, String) {
        let (owners, listener) = (Self::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let serving = owners.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (owners, url)
    }

    async fn serve(self, mut stream: TcpStream) {
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        let (head, body) = loop {
            let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
            read.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&read).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                break (head.to_owned(), body.to_owned());
            }
        };
        let asked: Value = serde_json::from_str(&body).unwrap();
        let service = asked["request"]["service"]["name"].as_str().unwrap().to_owned();
        let mut says = self.says.lock().unwrap().get(&service).cloned().unwrap_or(Value::Null);
        self.asked.lock().unwrap().push((head, asked.clone()));
        if says == json!("silent") {
            return std::future::pending().await;
        }
        let status = if says == json!("broken") { "500 Broken" } else { "200 OK" };
        if let Some(says) = says.as_object_mut() {
            says.insert("uid".into(), asked["request"]["uid"].clone());
        }
        let body = json!({"kind": "DisruptionReview", "response": says}).to_string();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let _gone = stream.write_all(answer.as_bytes()).await;
    }

    fn say(&self, service: &str, says: Value) {
        self.says.lock().unwrap().insert(service.into(), says);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// A server of each name with an instance of the service of that name on it, which has such a hook.
async fn plane(url: &str, services: &[(&str, Value)]) -> Plane {
    let plane = Plane::new().await;
    plane.runbook("patch", PATCH).await;
    let data = json!({"token": "dDBrZW4=", "signingKey": "a2V5"});
    plane.create(Secret::info(), "shop", "hook", json!({"data": data})).await;
    for (name, hook) in services {
        let mut hook = hook.clone();
        if let Some(hook) = hook.as_object_mut() {
            hook.insert("url".into(), url.into());
        }
        let spec = json!({"owner": "shop", "disruptionHook": hook});
        plane.create(Service::info(), "shop", name, json!({"spec": spec})).await;
        let spec = json!({"bmc": {"address": "192.0.2.1"}});
        plane.create(Server::info(), "", name, json!({"spec": spec})).await;
        let spec = json!({"service": name, "host": {"name": name}});
        let object = json!({"spec": spec, "status": {"phase": "Ready"}});
        plane.create(Instance::info(), "shop", &format!("{name}-0"), object).await;
    }
    plane
}

/// Whether the story of a run says so.
fn told(plane: &Plane, run: &str, wanted: &str) -> bool {
    plane.story("Run", run).iter().any(|told| told.starts_with(wanted))
}

async fn until_told(plane: &Plane, run: &str, wanted: &str) {
    let says = |it: &Run| {
        waits(it) && it.status.message.as_ref().is_some_and(|message| message.contains(wanted))
    };
    plane.until(run, wanted, says).await;
}

#[tokio::test]
async fn a_hook_says_now_later_or_never_and_why() {
    let (owners, url) = Owners::start().await;
    let secret = json!({"secretRef": {"namespace": "shop", "name": "hook"}});
    let hooks = [("now", secret), ("later", json!({})), ("never", json!({}))];
    let plane = plane(&url, &hooks).await;
    plane.outside.always("now", Behaviour::Takes(Duration::from_secs(3600)));
    owners.say("now", json!({"answer": "Now", "reason": "quiet night"}));
    owners.say("later", json!({"answer": "After", "after": "2h", "reason": "a sale"}));
    owners.say("never", json!({"answer": "Never", "reason": "it is the last one"}));
    for name in ["now", "later", "never"] {
        run(&plane, name, name).await;
    }
    let given = until_permits(&plane, 1).await;
    let said = &given[0]["status"]["hooks"][0];
    assert_eq!(
        (&said["service"], &said["message"]),
        (&json!("shop/now"), &json!("says now: quiet night"))
    );
    until_told(&plane, "later", ": shop/later says not before 2026-11-02T10:0").await;
    until_told(&plane, "later", "Z: a sale; its owner is shop").await;
    until_told(&plane, "never", ": shop/never says never: it is the last one; cancel the run")
        .await;
    assert!(told(&plane, "never", "DisruptionDeclined: shop/never says never"));
    assert!(told(&plane, "now", "DisruptionAgreed: shop/now says now: quiet night"));
    assert_eq!(owners.asked(), 3, "each answer is kept");
    let asked = owners.asked.lock().unwrap().clone();
    let (head, body) =
        asked.iter().find(|(_, it)| it["request"]["service"]["name"] == "now").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("authorization: bearer t0ken") && head.contains("webhook-signature: v1,"),
        "{head}"
    );
    let request = &body["request"];
    assert_eq!((&request["lost"], &request["instances"]), (&json!(1), &json!(["now-0"])));
    assert_eq!((&request["runbook"], &request["run"]["name"]), (&json!("patch"), &json!("now")));
    assert_eq!(request["target"], json!({"kind": "Server", "name": "now"}));
    // Another that wants the same is asked about for itself, and a dry run is not.
    let spec =
        "{runbook: patch, target: {kind: Server, name: never}, params: {what: x}, dryRun: true}";
    plane.run("dry", spec).await;
    let dry = plane.phase("dry", RunPhase::Succeeded).await;
    let does = dry.status.steps[0].does.clone().unwrap();
    assert!(does.contains("shop/never wants to be asked first, by its disruptionHook"), "{does}");
    assert_eq!(owners.asked(), 3);
    // After a restart the permit is there, and who has none is asked about again, as the same.
    let plane = plane.crash_and_restart().await;
    let again = async {
        while owners.asked() < 5 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again).await.unwrap();
    until_told(&plane, "never", "says never").await;
    let uid = |(_, asked): &(String, Value)| asked["request"]["uid"].clone();
    let asked = owners.asked.lock().unwrap().clone();
    let of_never = asked.iter().filter(|(_, it)| it["request"]["run"]["name"] == "never");
    let uids: Vec<Value> = of_never.map(uid).collect();
    assert!(uids.len() == 2 && uids[0] == uids[1], "{uids:?}");
    assert_eq!(permits(&plane.store).len(), 1);
}

#[tokio::test]
async fn silence_is_what_the_owner_says_it_is_and_holds_up_nobody_else() {
    let (owners, url) = Owners::start().await;
    let allow = json!({"deadline": "1s", "onSilence": "Allow"});
    let hooks = [
        ("silent", allow.clone()),
        ("broken", allow.clone()),
        ("garbage", allow),
        ("refuse", json!({"deadline": "1s"})),
        ("slow", json!({"deadline": "1h"})),
        ("plain", Value::Null),
    ];
    let plane = plane(&url, &hooks).await;
    for name in ["silent", "broken", "refuse", "slow"] {
        owners.say(name, json!(if name == "broken" { "broken" } else { "silent" }));
    }
    owners.say("garbage", json!({"answer": "Perhaps"}));
    for (name, _) in &hooks {
        plane.outside.always(name, Behaviour::Takes(Duration::from_secs(3600)));
        run(&plane, name, name).await;
    }
    let given = until_permits(&plane, 4).await;
    for (name, wanted) in [
        ("silent", "says nothing: its hook gave no answer within 1s (last: http://127.0.0.1:"),
        ("broken", "it answered 500"),
        ("garbage", "its answer is no DisruptionReview"),
    ] {
        let permit = given.iter().find(|it| it["metadata"]["name"] == name).unwrap();
        let message = permit["status"]["hooks"][0]["message"].as_str().unwrap();
        assert!(message.contains(wanted) && message.contains("onSilence allows it"), "{message}");
    }
    let plain = given.iter().find(|it| it["metadata"]["name"] == "plain").unwrap();
    assert_eq!(plain["status"].get("hooks"), None);
    until_told(&plane, "refuse", "and onSilence refuses it; its owner is shop").await;
    until_told(&plane, "slow", "shop/slow wants to be asked: its hook is being asked since").await;
    // One run is asked about at a time.
    let spec = json!({"bmc": {"address": "192.0.2.1"}});
    plane.create(Server::info(), "", "slow-2", json!({"spec": spec})).await;
    let spec = json!({"service": "slow", "host": {"name": "slow-2"}});
    let object = json!({"spec": spec, "status": {"phase": "Ready"}});
    plane.create(Instance::info(), "shop", "slow-1", object).await;
    run(&plane, "second", "slow-2").await;
    until_told(&plane, "second", "its hook is being asked about another run first").await;
    let asked = owners.asked.lock().unwrap().clone();
    assert!(!asked.iter().any(|(_, it)| it["request"]["run"]["name"] == "second"));
}

#[tokio::test]
async fn what_a_hook_agreed_to_is_decided_on_anew() {
    let (owners, url) = Owners::start().await;
    let plane = plane(&url, &[("one", json!({}))]).await;
    plane.outside.always("one", Behaviour::Takes(Duration::from_secs(3600)));
    owners.say("one", json!("silent"));
    run(&plane, "one", "one").await;
    until_told(&plane, "one", "its hook is being asked").await;
    // Meanwhile another of its instances fails: its budget is used up, whatever the hook says.
    let spec = json!({"service": "one", "host": {"name": "elsewhere"}});
    let object = json!({"spec": spec, "status": {"phase": "Failed"}});
    plane.create(Instance::info(), "shop", "one-1", object).await;
    owners.say("one", json!({"answer": "Now"}));
    let agreed = || told(&plane, "one", "DisruptionAgreed").then_some(());
    plane.when(Event::info(), "the hook to agree", agreed).await;
    until_told(&plane, "one", "shop/one allows 1 of 2 down; 1 is: one-1").await;
    assert_eq!(permits(&plane.store), Vec::<Value>::new());
}

/// An owner changes the hook of a service.
async fn correct(plane: &Plane, service: &str, field: &str, value: Value) {
    plane
        .patch(Service::info(), "shop", service, |it| {
            it["spec"]["disruptionHook"][field] = value.clone();
        })
        .await;
}

#[tokio::test]
async fn a_corrected_hook_is_asked_at_once_and_the_old_question_is_dropped() {
    let (owners, url) = Owners::start().await;
    let (wrong, wrong_url) = Owners::start().await;
    let slow = json!({"deadline": "1h"});
    let plane = plane(&wrong_url, &[("moved", slow.clone()), ("refuses", json!({}))]).await;
    for name in ["moved", "refuses"] {
        plane.outside.always(name, Behaviour::Takes(Duration::from_secs(3600)));
        owners.say(name, json!({"answer": "Now"}));
        wrong.say(name, json!(if name == "moved" { "silent" } else { "broken" }));
        run(&plane, name, name).await;
    }
    wrong.say("refuses", json!({"answer": "Never", "reason": "the wrong one"}));
    until_told(&plane, "moved", "its hook is being asked since").await;
    until_told(&plane, "refuses", "says never: the wrong one").await;
    let began = std::time::Instant::now();
    for name in ["moved", "refuses"] {
        correct(&plane, name, "url", json!(url)).await;
    }
    until_permits(&plane, 2).await;
    // Well before anybody would look again by himself.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(owners.asked(), 2);
}

#[tokio::test]
async fn who_stands_in_line_behind_many_slow_hooks_is_not_silent() {
    let (owners, url) = Owners::start().await;
    let names: Vec<String> = (0..256).map(|number| format!("slow-{number}")).collect();
    let slow = json!({"deadline": "6s"});
    let mut hooks: Vec<(&str, Value)> =
        names.iter().map(|name| (name.as_str(), slow.clone())).collect();
    hooks.push(("well", json!({"deadline": "3s"})));
    let plane = plane(&url, &hooks).await;
    owners.say("well", json!("broken"));
    plane.outside.always("well", Behaviour::Takes(Duration::from_secs(3600)));
    for name in &names {
        owners.say(name, json!("silent"));
        run(&plane, name, name).await;
    }
    let all_asked = async {
        while owners.asked() < names.len() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_asked).await.unwrap();
    run(&plane, "well", "well").await;
    until_told(&plane, "well", "its hook stands in line since").await;
    // Its turn comes when the others' is over, after its own deadline; then it fails once, and answers.
    let asked = async {
        loop {
            let asked = owners.asked.lock().unwrap().clone();
            if asked.iter().any(|(_, it)| it["request"]["service"]["name"] == "well") {
                return owners.say("well", json!({"answer": "Now"}));
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap();
    let given = until_permits(&plane, 1).await;
    assert_eq!(given[0]["status"]["hooks"][0]["message"], "says now");
}
