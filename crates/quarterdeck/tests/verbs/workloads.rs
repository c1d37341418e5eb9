//! Workloads and impact, with a real kubectl and the verbs: on a fleet without agents nothing finds a machine, and says so.

use super::demo::{DEADLINE, Demo, ended};
use quarterdeck_testing::{process::run, wait::wait_for};
use serde_json::{Value, json};
use std::path::Path;

const IN_TEAM: [&str; 2] = ["-n", "apps"];

fn of<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["workload"][..], arguments, &IN_TEAM].concat()
}

fn service(name: &str, uses: &Value) -> Value {
    json!({
        "apiVersion": "services.quarterdeck.dev/v1alpha1", "kind": "Service",
        "metadata": {"name": name, "namespace": "apps"},
        "spec": {"owner": "apps", "dependsOn": uses},
    })
}

pub(crate) async fn live(demo: &Demo) {
    demo.kubectl(&["create", "namespace", "apps"], "").await;
    rolled_out(demo).await;
    what_breaks(demo).await;
}

async fn rolled_out(demo: &Demo) {
    let workload = json!({
        "apiVersion": "services.quarterdeck.dev/v1alpha1", "kind": "Workload",
        "metadata": {"name": "web", "namespace": "apps"},
        "spec": {"service": "web", "replicas": 2, "template": {"spec": {
            "containers": [{"name": "web", "image": "example.com/web:1"}]}}},
    });
    demo.kubectl(&["create", "-f", "-"], &service("web", &json!([])).to_string()).await;
    demo.kubectl(&["create", "-f", "-"], &workload.to_string()).await;
    let says = async |wanted: &str| {
        let what = format!("{wanted:?} to be said");
        wait_for(DEADLINE, &what, async || {
            let said = demo.says(&of(&["status", "web"])).await;
            if said.contains(wanted) { Ok(said) } else { Err(said) }
        })
        .await
    };
    says("2 instances have no machine: there is no machine in the namespace").await;
    demo.kubectl(&["scale", "workload/web", "--replicas=3", "-n", "apps"], "").await;
    says("3 instances have no machine").await;
    let list = demo.kubectl(&["get", "workloads", "-n", "apps"], "").await;
    assert!(list.contains("DESIRED") && list.contains("web"), "{list}");
    demo.says(&of(&["restart", "web"])).await;
    says("revision 2").await;
    let history = demo.says(&of(&["history", "web"])).await;
    assert!(history.contains("example.com/web:1") && history.contains("wanted"), "{history}");
    let said = demo.says(&of(&["undo", "web"])).await;
    assert_eq!(said, "workload apps/web returns to revision 1\n");
    says("revision 1").await;
    demo.says(&of(&["pause", "web"])).await;
    says("No rollout goes on until spec.paused is false").await;
    demo.says(&of(&["resume", "web"])).await;
    let (why, code) = demo.refuses(&of(&["undo", "web", "--to", "9"])).await;
    assert!(why.contains("has no revision 9; there are 1, 2") && code == 1, "{why}");
    let (why, _) = demo.refuses(&of(&["resume", "other"])).await;
    assert!(why.contains("other"), "{why}");
    let list = demo.json(&["workload", "list", "-A"]).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    demo.kubectl(&["delete", "workload/web", "-n", "apps"], "").await;
}

async fn what_breaks(demo: &Demo) {
    let uses = json!([{"name": "store"}]);
    demo.kubectl(&["create", "-f", "-"], &service("shop", &uses).to_string()).await;
    demo.kubectl(&["create", "-f", "-"], &service("store", &json!([])).to_string()).await;
    let instance = json!({
        "apiVersion": "services.quarterdeck.dev/v1alpha1", "kind": "Instance",
        "metadata": {"name": "store-0", "namespace": "apps"},
        "spec": {"service": "store", "host": {"kind": "Server", "name": "ams1-a01-01-u09"}},
    });
    demo.kubectl(&["create", "-f", "-"], &instance.to_string()).await;
    let ready = r#"{"status": {"phase": "Ready"}}"#;
    let patch =
        ["patch", "instance/store-0", "-n", "apps", "--subresource=status", "--type=merge", "-p"];
    demo.kubectl(&[&patch[..], &[ready]].concat(), "").await;
    let (said, code) = demo.refuses(&["impact", "rack/ams1-a01-01"]).await;
    assert_eq!(code, 3, "{said}");
    let report = json!({
        "apiVersion": "services.quarterdeck.dev/v1alpha1", "kind": "ImpactReport",
        "spec": {"targets": [{"kind": "Server", "name": "ams1-a01-01-u09"}]},
    });
    let answer = demo.kubectl(&["create", "-f", "-", "-o", "json"], &report.to_string()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let hit = answer["status"]["services"].as_array().unwrap();
    let names: Vec<&str> = hit.iter().map(|it| it["service"].as_str().unwrap()).collect();
    assert!(names.contains(&"apps/store") && names.contains(&"apps/shop"), "{answer}");
    assert_eq!(answer["status"]["verdict"], "Down");
    let (why, _) = demo.refuses(&["impact", "rack/none"]).await;
    assert!(why.contains("there is no Rack of this name"), "{why}");
    // A field that nobody knows is not left out of the question in silence.
    let mut unknown = report;
    unknown["spec"]["targets"][0]["hal"] = json!("north");
    let ask = demo.command(Path::new("kubectl"), &["create", "-f", "-"]);
    let (said, _) = ended(run(&ask, &unknown.to_string()).await);
    assert!(said.contains("unknown field \"spec.targets[0].hal\""), "{said}");
    // What cannot be without itself is refused, with the way around.
    let uses = json!([{"name": "shop"}]);
    let circle = service("store", &uses).to_string();
    let apply = demo.command(Path::new("kubectl"), &["apply", "-f", "-"]);
    let (said, _) = ended(run(&apply, &circle).await);
    assert!(
        said.contains("apps/store cannot be without apps/shop cannot be without apps/store"),
        "{said}"
    );
}
