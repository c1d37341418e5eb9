//! `kubectl apply --server-side`, as people and pipelines use it, with every kubectl that is installed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_testing::{
    plane::Plane,
    process::{CommandError, run},
};
use serde_json::{Value, json};
use std::process::Command;
use support::{object, other_kubectls, places_counted, plane};

fn site(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: inventory.quarterdeck.dev/v1alpha1\nkind: Site\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

/// One kubectl, and the plane it talks to.
struct Kubectl<'a> {
    plane: &'a Plane,
    program: Option<&'a std::path::Path>,
}

impl Kubectl<'_> {
    async fn run(&self, arguments: &[&str], yaml: &str) -> Result<String, CommandError> {
        let mut command = self.plane.kubectl_command(arguments);
        if let Some(program) = self.program {
            let mut other = Command::new(program);
            other.args(arguments);
            for (name, value) in command.get_envs() {
                if let Some(value) = value {
                    other.env(name, value);
                }
            }
            command = other;
        }
        run(&command, yaml).await.map(|output| output.stdout)
    }

    /// `apply --server-side --filename -` and what it printed, or the reason it gave.
    async fn apply(&self, arguments: &[&str], yaml: &str) -> Result<String, String> {
        let mut all = vec!["apply", "--server-side", "--filename", "-"];
        all.extend(arguments);
        self.run(&all, yaml).await.map_err(|error| error.reason)
    }

    /// Managers of a site by name and operation.
    async fn managers(&self, name: &str) -> Vec<(String, String)> {
        let shown = ["get", "site", name, "--output", "json", "--show-managed-fields"];
        let site: Value = serde_json::from_str(&self.run(&shown, "").await.unwrap()).unwrap();
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
        let entries = site["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| (text(entry, "manager"), text(entry, "operation"))).collect()
    }
}

async fn story(kubectl: &Kubectl<'_>, name: &str) {
    let spec = async || object(kubectl.plane, &["site", name]).await["spec"].clone();
    let first = site(name, "{region: eu-west, halls: [north], address: Quay 1}");
    let applied = kubectl.apply(&[], &first).await.unwrap();
    assert_eq!(applied, format!("site.inventory.quarterdeck.dev/{name} serverside-applied\n"));
    assert_eq!(kubectl.managers(name).await, [("kubectl".into(), "Apply".into())]);

    // Somebody else: another manager, then a plain edit.
    let other = site(name, "{region: us-east, halls: [south]}");
    let refused = kubectl.apply(&["--field-manager=pipeline"], &other).await.unwrap_err();
    assert!(
        refused.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .spec.region"),
        "{refused}"
    );
    assert!(refused.contains("--force-conflicts"), "{refused}");
    let dry = ["--field-manager=pipeline", "--force-conflicts", "--dry-run=server"];
    let tried = kubectl.apply(&dry, &other).await.unwrap();
    assert!(tried.ends_with("serverside-applied (server dry run)\n"), "{tried}");
    assert_eq!(spec().await["region"], "eu-west");
    kubectl.apply(&["--field-manager=pipeline", "--force-conflicts"], &other).await.unwrap();
    let both = json!({"region": "us-east", "halls": ["north", "south"], "address": "Quay 1"});
    assert_eq!(spec().await, both);

    // `diff` shows what an apply would do, `apply` takes away what is left out.
    let less = site(name, "{region: us-east, halls: [north]}");
    let diff = ["diff", "--server-side", "--filename", "-"];
    let difference = kubectl.run(&diff, &less).await.unwrap_err();
    assert_eq!(difference.code, Some(1), "{difference}");
    assert!(difference.reason.contains("-  address: Quay 1"), "{difference}");
    assert!(!difference.reason.contains("-  - south"), "{difference}");
    kubectl.apply(&[], &less).await.unwrap();
    assert_eq!(spec().await, json!({"region": "us-east", "halls": ["north", "south"]}));
    kubectl.run(&diff, &less).await.unwrap();

    let wrong = kubectl.apply(&[], &site(name, "{regoin: x}")).await.unwrap_err();
    assert!(wrong.contains(".spec.regoin: field not declared in schema"), "{wrong}");
}

/// What was applied client-side is taken over without conflict, and what is then left out goes.
async fn migration(kubectl: &Kubectl<'_>, name: &str) {
    let client = ["apply", "--filename", "-"];
    let first = site(name, "{region: eu-west, address: Quay 1, halls: [north]}");
    kubectl.run(&client, &first).await.unwrap();
    let manager = ("kubectl-client-side-apply".to_owned(), "Update".to_owned());
    assert_eq!(kubectl.managers(name).await[0], manager);
    let second = site(name, "{region: eu-north, halls: [north]}");
    kubectl.apply(&[], &second).await.unwrap();
    let after = object(kubectl.plane, &["site", name]).await;
    assert_eq!(after["spec"], json!({"region": "eu-north", "halls": ["north"]}), "{after:#}");
    let managers = kubectl.managers(name).await;
    assert!(managers.contains(&("kubectl".into(), "Apply".into())), "{managers:?}");
    assert!(!managers.contains(&manager), "{managers:?}");
    // And whoever still applies client-side can.
    let third = site(name, "{region: eu-south}");
    let back = kubectl.run(&client, &third).await.unwrap();
    assert!(back.contains("configured"), "{back}");
    assert_eq!(object(kubectl.plane, &["site", name]).await["spec"], json!({"region": "eu-south"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_applied_by_the_server() {
    let plane = plane().await;
    let kubectl = Kubectl { plane: &plane, program: None };
    story(&kubectl, "ams1").await;
    migration(&kubectl, "fra1").await;
    plane.kubectl(&["delete", "site", "fra1"]).await;
    // The plane's own writes are nobody's, and disturb nobody.
    kubectl.apply(&[], support::SITE).await.unwrap_err();
    kubectl.apply(&["--force-conflicts"], support::SITE).await.unwrap();
    places_counted(&plane).await;
    kubectl.apply(&["--force-conflicts"], support::SITE).await.unwrap();
    let mut managers = kubectl.managers("ams1").await;
    managers.sort();
    let applier = |name: &str| (name.to_owned(), "Apply".to_owned());
    assert_eq!(managers, [applier("kubectl"), applier("pipeline")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kubectl_applies_alike() {
    let plane = plane().await;
    for (at, program) in other_kubectls().iter().enumerate() {
        let kubectl = Kubectl { plane: &plane, program: Some(program) };
        story(&kubectl, &format!("site{at}")).await;
        migration(&kubectl, &format!("moved{at}")).await;
    }
}
