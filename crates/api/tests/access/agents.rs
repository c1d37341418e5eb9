//! What the agent of a machine may do: every route that discovery names, and all that its own kinds have beside it.

use crate::{
    Person, namespaces,
    support::{Answer, Plane},
    table::{Route, routes},
};
use quarterdeck_api::pki::Identity;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

const MACHINES: &str = "/apis/compute.quarterdeck.dev/v1alpha1/namespaces/team/machines";
const INSTANCES: &str = "/apis/services.quarterdeck.dev/v1alpha1/namespaces/team/instances";
const TASKS: &str = "/apis/compute.quarterdeck.dev/v1alpha1/namespaces/team/agenttasks";
const SECRETS: &str = "/api/v1/namespaces/team/secrets";

async fn token(plane: &Plane, machine: &str) -> String {
    let made = plane.must("POST", &format!("{MACHINES}/{machine}/jointoken"), json!({})).await;
    made["status"]["token"].as_str().unwrap().to_owned()
}

/// Joins, as anybody who has a token does.
async fn join(plane: &Plane, token: &str) -> (Answer, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let body = json!({"token": token, "certificateSigningRequest": request});
    let nobody = Person::anonymous(plane);
    (nobody.ask("POST", "/agent/v1alpha1/join", body).await, key)
}

async fn agent<'p>(plane: &'p Plane, machine: &str) -> Person<'p> {
    let token = token(plane, machine).await;
    let (answer, key) = join(plane, &token).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
    let certificate = answer.body["certificate"].as_str().unwrap().to_owned();
    let identity = Identity { certificate, key: key.serialize_pem() };
    Person { plane, caller: plane.caller(Some(&identity)), headers: Vec::new() }
}

fn machine(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"preinstalled": true}})
}

/// Instances, Secrets and tasks of the names `thing` and `other`, of the machine `thing` and another.
async fn things(plane: &Plane) {
    namespaces(plane, &["team", "other"]).await;
    for name in ["thing", "other"] {
        let made = plane.must("POST", MACHINES, machine(name)).await;
        plane.must("POST", SECRETS, json!({"metadata": {"name": name}})).await;
        let volume = json!({"name": "v", "secret": {"secretName": name}});
        let container = json!({"name": "c", "image": "registry.example.com/a:1"});
        let template = json!({"containers": [container], "volumes": [volume]});
        let host = json!({"kind": "Machine", "name": name});
        let spec = json!({"service": "s", "host": host, "template": template});
        plane.must("POST", INSTANCES, json!({"metadata": {"name": name}, "spec": spec})).await;
        let spec = json!({"machine": name, "machineUID": made["metadata"]["uid"]});
        plane.must("POST", TASKS, json!({"metadata": {"name": name}, "spec": spec})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reads_what_is_its_own_and_nothing_else() {
    let plane = Plane::start().await;
    things(&plane).await;
    let agent = agent(&plane, "thing").await;
    let own = [
        format!("{MACHINES}/thing"),
        format!("{MACHINES}/thing/status"),
        format!("{INSTANCES}/thing"),
        format!("{INSTANCES}/thing/status"),
        format!("{SECRETS}/thing"),
        format!("{TASKS}/thing"),
    ];
    let mut seen = 0;
    for Route { method, path, .. } in routes(&plane).await {
        let plain = path.split('?').next().unwrap().to_owned();
        let body = if matches!(method, "POST" | "PUT" | "PATCH") { json!({}) } else { Value::Null };
        let answer = agent.ask(method, &path, body).await;
        let allowed = method == "GET" && own.contains(&plain);
        let status = if allowed { 200 } else { 403 };
        assert_eq!(answer.status, status, "{method} {path}: {:#}", answer.body);
        seen += usize::from(allowed);
    }
    assert_eq!(seen, own.len(), "each of its own was tried");
    for place in [MACHINES, INSTANCES, SECRETS, TASKS] {
        for name in ["other", "missing"] {
            agent.refused("GET", &format!("{place}/{name}"), Value::Null).await;
        }
        // Not even by a list of that one name.
        let list = format!("{place}?fieldSelector=metadata.name%3Dthing");
        agent.refused("GET", &list, Value::Null).await;
    }
    // A role that all callers have, or that agents were given, changes nothing.
    let subject = json!({"kind": "Group", "name": "quarterdeck:agents"});
    crate::bind(&plane, "", ("ClusterRole", "cluster-admin"), subject).await;
    agent.refused("GET", SECRETS, Value::Null).await;
    // Nor does it act as somebody who may, or as itself.
    let mut agent = agent;
    for who in ["root", "machine:team:thing"] {
        agent.headers = Vec::new();
        agent = agent.acting("impersonate-user", who).acting("impersonate-group", "system:masters");
        let told = agent.refused("GET", SECRETS, Value::Null).await;
        assert!(told.contains("acts as nobody else"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_agent_has_no_stream_and_who_is_none_any_more_is_nobody() {
    let plane = Plane::start().await;
    things(&plane).await;
    let stream = "/agent/v1alpha1/stream";
    let root = Person::new(&plane, "root", &["system:masters"]);
    for who in [Person::anonymous(&plane), Person::new(&plane, "ann", &[]), root] {
        let answer = who.ask("POST", stream, json!({})).await;
        assert_eq!(answer.status, 403, "{:#}", answer.body);
    }
    // The group alone, as an issuer of tokens or an administrator may write it, makes no agent.
    let forged = Person::new(&plane, "machine:team:thing", &["quarterdeck:agents"]);
    assert_eq!(forged.ask("POST", stream, json!({})).await.status, 403);
    assert_eq!(forged.get(&format!("{MACHINES}/thing")).await.status, 403);

    // What is wrong with a request to join is told, and repeats nothing of it.
    let (answer, _) = join(&plane, "quarterdeck-join.team.thing.u.secret").await;
    assert_eq!(answer.status, 401, "{:#}", answer.body);
    for body in [json!({}), json!([]), json!({"token": "secret"})] {
        let answer = Person::anonymous(&plane).ask("POST", "/agent/v1alpha1/join", body).await;
        assert_eq!(answer.status, 400, "{:#}", answer.body);
        assert!(!answer.body.to_string().contains("secret"));
    }
    let large = json!({"token": "x".repeat(20 << 10), "certificateSigningRequest": ""});
    let answer = Person::anonymous(&plane).ask("POST", "/agent/v1alpha1/join", large).await;
    assert_eq!(answer.status, 400, "{:#}", answer.body);
    let rehearsed = format!("{MACHINES}/thing/jointoken?dryRun=All");
    let rehearsed = plane.must("POST", &rehearsed, json!({})).await;
    assert_eq!(rehearsed["status"]["token"], "");

    let agent = agent(&plane, "thing").await;
    let own = format!("{MACHINES}/thing");
    let got = agent.get(&own).await;
    assert_eq!(got.status, 200);
    let kept = got.body["status"]["agent"]["joinToken"].to_string();
    assert!(!kept.contains("quarterdeck-join"), "only its hash is kept: {kept}");
    plane.must("DELETE", &own, Value::Null).await;
    assert_eq!(agent.get(&own).await.status, 401);
    plane.must("POST", MACHINES, machine("thing")).await;
    let answer = agent.get(&own).await;
    assert_eq!(answer.status, 401);
    assert!(answer.body["message"].as_str().unwrap().contains("made anew"), "{:#}", answer.body);
}
