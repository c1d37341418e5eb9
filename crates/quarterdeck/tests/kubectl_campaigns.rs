//! Campaigns with the real `kubectl`: what a dry run shows of how one would go.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_testing::{plane::Plane, process::run};
use serde_json::Value;
use support::{plane, refusal};

const CAMPAIGN: &str = "
apiVersion: workflows.quarterdeck.dev/v1alpha1
kind: Campaign
metadata: {name: lights-out, namespace: default}
spec:
  runbook: power-off-server
  targets: {kind: Server, selector: {matchLabels: {role: web}}}
  canary: 2
  domainsAtOnce: 1
  concurrency: 2
";

const FREEZE: &str = "
apiVersion: workflows.quarterdeck.dev/v1alpha1
kind: Freeze
metadata: {name: peak}
spec: {reason: the sale, end: '2099-01-01T00:00:00Z', racks: [r-1]}
";

/// Servers s-0 to s-5 in three racks, which nobody can reach, and an instance on the first.
async fn fleet(plane: &Plane) {
    let mut objects = String::from(
        "
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Site
metadata: {name: ams1}
spec: {region: eu-west}
---
apiVersion: services.quarterdeck.dev/v1alpha1
kind: Service
metadata: {name: web, namespace: default}
spec: {owner: shop, disruptionBudget: {maxUnavailable: 0}}
---
apiVersion: services.quarterdeck.dev/v1alpha1
kind: Instance
metadata: {name: web-0, namespace: default}
spec: {service: web, host: {name: s-0}}
",
    );
    for rack in 0..3 {
        objects += &format!(
            "---
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Rack
metadata: {{name: r-{rack}}}
spec: {{site: ams1}}
"
        );
    }
    for server in 0..6 {
        objects += &format!(
            "---
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Server
metadata: {{name: s-{server}, labels: {{role: web}}}}
spec: {{bmc: {{address: 'https://192.0.2.{server}'}}, location: {{rack: r-{}}}}}
",
            server / 2
        );
    }
    plane.apply(&objects).await;
}

/// What kubectl prints on its standard output, and on its standard error.
async fn says(plane: &Plane, arguments: &[&str], yaml: &str) -> (String, String) {
    let output = run(&plane.kubectl_command(arguments), yaml).await.unwrap();
    (output.stdout, output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_a_campaign_shows_its_plan() {
    let plane = plane().await;
    fleet(&plane).await;
    plane.apply(FREEZE).await;
    let create = ["create", "--dry-run=server", "-f", "-"];
    let (said, told) = says(&plane, &create, CAMPAIGN).await;
    assert_eq!(said, "campaign.workflows.quarterdeck.dev/lights-out created (server dry run)\n");
    for wanted in [
        "Warning: plan: it would run in 4 waves over 6 targets in 3 failure domains",
        "Warning: plan: wave 1 (canary): 2 targets in r-0, r-1: s-0, s-2",
        "Warning: plan: wave 2: 1 target in r-0: s-1",
        "Warning: plan: blocked by freeze/peak: 2 of 6 targets: holds until 2099-01-01T00:00:00Z",
        "Warning: plan: when it would be done is not known: no run of power-off-server was seen yet",
    ] {
        assert!(told.contains(wanted), "{wanted} is not in {told}");
    }
    // Nothing was made.
    let none = refusal(&plane, &["get", "campaign", "lights-out"]).await;
    assert!(none.contains("NotFound"), "{none}");

    let (shown, _) = says(&plane, &[&create[..], &["-o", "json"]].concat(), CAMPAIGN).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let status = &shown["status"];
    assert_eq!((&status["phase"], &status["targets"]), (&"Planned".into(), &6.into()));
    assert_eq!(status["message"], "would run in 4 waves over 6 targets in 3 failure domains");
    let plan = &status["plan"];
    assert_eq!((&plan["wavesInAll"], &plan["waves"][0]["canary"]), (&4.into(), &true.into()));
    assert_eq!(plan["waves"][0]["names"], serde_json::json!(["s-0", "s-2"]));
    let blockers = plan["blockers"].as_array().unwrap();
    let named: Vec<&str> = blockers.iter().map(|it| it["who"].as_str().unwrap()).collect();
    assert!(named.contains(&"freeze/peak"), "{plan:#}");
    let explained = plane.kubectl(&["explain", "campaign.status.plan.waves"]).await;
    assert!(explained.contains("failureDomains"), "{explained}");

    // One that is there, and would be changed; what is written for good shows no plan.
    plane.apply(&CAMPAIGN.replace("  canary: 2", "  paused: true\n  canary: 2")).await;
    let (_, told) = says(&plane, &["apply", "--dry-run=server", "-f", "-"], CAMPAIGN).await;
    assert!(told.contains("plan: wave 1 (canary): 2 targets"), "{told}");
    let kept = plane.kubectl(&["get", "campaign", "lights-out", "-o", "yaml"]).await;
    assert!(!kept.contains("wavesInAll"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_over_nothing_says_so() {
    let plane = plane().await;
    let (_, told) = says(&plane, &["create", "--dry-run=server", "-f", "-"], CAMPAIGN).await;
    assert!(told.contains("plan: it would run in 0 waves over 0 targets"), "{told}");
    assert!(told.contains("plan: blocked by targets: no target is left to be done"), "{told}");
}
