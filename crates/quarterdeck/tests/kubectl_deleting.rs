//! How objects go: at once, when their finalizers are gone, or with what they own.

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
    process::{Process, run},
    user::RunAs,
};
use support::{DEADLINE, SITE, gone, object, plane, refusal};

/// A site, and a rack that belongs to it.
async fn owned(plane: &Plane, name: &str, block: bool) {
    let site = SITE.replace("ams1", name);
    plane.apply(&site).await;
    let uid = object(plane, &["site", name]).await["metadata"]["uid"].as_str().unwrap().to_owned();
    let patch = format!(
        r#"{{"metadata":{{"ownerReferences":[{{"apiVersion":"inventory.quarterdeck.dev/v1alpha1","kind":"Site","name":"{name}","uid":"{uid}","blockOwnerDeletion":{block}}}]}}}}"#
    );
    let rack = format!("{name}-n01");
    plane.kubectl(&["patch", "rack", &rack, "--type=merge", "-p", &patch]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_go_with_their_owner_or_are_cut_loose() {
    let plane = plane().await;
    owned(&plane, "background", false).await;
    plane.kubectl(&["delete", "site", "background"]).await;
    gone(&plane, &["rack", "background-n01"]).await;
    object(&plane, &["rack", "background-s01"]).await;

    // In the foreground, the owner is there for as long as its dependents are.
    owned(&plane, "foreground", true).await;
    let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    plane.kubectl(&["patch", "rack", "foreground-n01", "--type=merge", "-p", hold]).await;
    plane.kubectl(&["delete", "site", "foreground", "--cascade=foreground", "--wait=false"]).await;
    plane
        .kubectl(&[
            "wait",
            "--for=jsonpath={.metadata.deletionTimestamp}",
            "rack/foreground-n01",
            "--timeout=20s",
        ])
        .await;
    let site = object(&plane, &["site", "foreground"]).await;
    assert_eq!(site["metadata"]["finalizers"], serde_json::json!(["foregroundDeletion"]));
    let release = r#"{"metadata":{"finalizers":null}}"#;
    plane.kubectl(&["patch", "rack", "foreground-n01", "--type=merge", "-p", release]).await;
    gone(&plane, &["rack", "foreground-n01"]).await;
    gone(&plane, &["site", "foreground"]).await;

    owned(&plane, "orphan", true).await;
    plane.kubectl(&["delete", "site", "orphan", "--cascade=orphan"]).await;
    let rack = object(&plane, &["rack", "orphan-n01"]).await;
    assert!(rack["metadata"]["ownerReferences"].is_null(), "{rack:#}");

    // Whoever names an owner that does not exist goes too.
    owned(&plane, "ghost", false).await;
    let ghost = r#"[{"op":"replace","path":"/metadata/ownerReferences/0/uid","value":"nobody"}]"#;
    plane.kubectl(&["patch", "rack", "ghost-n01", "--type=json", "-p", ghost]).await;
    gone(&plane, &["rack", "ghost-n01"]).await;
}

/// Makes `dependent` belong to `owner`, both `kind/name`, as owners that are waited for.
async fn belongs(plane: &Plane, dependent: &str, owner: &str) {
    let owner = object(plane, &[owner]).await;
    let patch = serde_json::json!({"metadata": {"ownerReferences": [{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"],
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": true,
    }]}});
    plane.kubectl(&["patch", dependent, "--type=merge", "-p", &patch.to_string()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreground_deletion_goes_down_the_tree_and_round_circles() {
    let plane = plane().await;
    plane.apply(SITE).await;
    belongs(&plane, "rack/ams1-n01", "site/ams1").await;
    belongs(&plane, "rack/ams1-s01", "rack/ams1-n01").await;
    let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    plane.kubectl(&["patch", "rack", "ams1-s01", "--type=merge", "-p", hold]).await;
    plane.kubectl(&["delete", "site", "ams1", "--cascade=foreground", "--wait=false"]).await;
    let deleted = "--for=jsonpath={.metadata.deletionTimestamp}";
    plane.kubectl(&["wait", deleted, "rack/ams1-s01", "--timeout=20s"]).await;
    // The leaf is held, and so are all above it.
    for owner in ["rack/ams1-n01", "site/ams1"] {
        let held = object(&plane, &[owner]).await["metadata"]["finalizers"].clone();
        assert_eq!(held, serde_json::json!(["foregroundDeletion"]), "{owner}");
    }
    let release = r#"{"metadata":{"finalizers":null}}"#;
    plane.kubectl(&["patch", "rack", "ams1-s01", "--type=merge", "-p", release]).await;
    for object in ["ams1-s01", "ams1-n01"] {
        gone(&plane, &["rack", object]).await;
    }
    gone(&plane, &["site", "ams1"]).await;

    // Of those that belong to each other, neither waits for ever; nor does one of itself.
    plane.apply(SITE).await;
    belongs(&plane, "rack/ams1-n01", "rack/ams1-s01").await;
    belongs(&plane, "rack/ams1-s01", "rack/ams1-n01").await;
    belongs(&plane, "site/ams1", "site/ams1").await;
    for object in ["rack/ams1-n01", "site/ams1"] {
        plane.kubectl(&["delete", object, "--cascade=foreground", "--timeout=20s"]).await;
    }
    gone(&plane, &["rack", "ams1-s01"]).await;

    // A namespaced object cannot own one that is in no namespace: such a link is left alone.
    plane.apply(SITE).await;
    plane.kubectl(&["create", "secret", "generic", "owner", "--from-literal=a=b"]).await;
    belongs(&plane, "site/ams1", "secret/owner").await;
    plane.kubectl(&["delete", "secret", "owner"]).await;
    belongs(&plane, "rack/ams1-n01", "rack/ams1-s01").await;
    plane.kubectl(&["delete", "rack", "ams1-s01"]).await;
    gone(&plane, &["rack", "ams1-n01"]).await;
    object(&plane, &["site", "ams1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_hold_and_waits_see_the_end() {
    let plane = plane().await;
    plane.apply(SITE).await;
    let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    plane.kubectl(&["patch", "site", "ams1", "--type=merge", "-p", hold]).await;
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str, arguments: &[&str]| {
        let log = folder.path().join(name);
        Process::start("kubectl", &plane.kubectl_command(arguments), RunAs::Caller, &log)
    };
    let mut delete = start("delete", &["delete", "site", "ams1", "--timeout=20s"]);
    let mut wait = start("wait", &["wait", "--for=delete", "site/ams1", "--timeout=20s"]);
    plane
        .kubectl(&[
            "wait",
            "--for=jsonpath={.metadata.deletionTimestamp}",
            "site/ams1",
            "--timeout=20s",
        ])
        .await;
    assert!(delete.exit_status().is_none() && wait.exit_status().is_none());
    let more = r#"{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}"#;
    let refused = refusal(&plane, &["patch", "site", "ams1", "--type=merge", "-p", more]).await;
    assert!(refused.contains("metadata.finalizers: Forbidden: no new finalizers"), "{refused}");
    let release = r#"{"metadata":{"finalizers":[]}}"#;
    plane.kubectl(&["patch", "site", "ams1", "--type=merge", "-p", release]).await;
    delete.wait_until_end(DEADLINE).await;
    wait.wait_until_end(DEADLINE).await;
    assert!(refusal(&plane, &["get", "site", "ams1"]).await.contains("NotFound"));
    let again = refusal(&plane, &["delete", "site", "ams1"]).await;
    assert!(again.contains("NotFound"), "{again}");
    plane.kubectl(&["delete", "site", "ams1", "--ignore-not-found"]).await;
    let all = plane.kubectl(&["delete", "racks", "--all"]).await;
    assert_eq!(all.matches(" deleted").count(), 2, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let plane = plane().await;
    plane.kubectl(&["create", "namespace", "team"]).await;
    plane
        .kubectl(&["create", "secret", "generic", "held", "--namespace=team", "--from-literal=a=b"])
        .await;
    plane
        .kubectl(&["create", "secret", "generic", "free", "--namespace=team", "--from-literal=a=b"])
        .await;
    let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    plane.kubectl(&["patch", "secret", "held", "--namespace=team", "-p", hold]).await;
    plane.kubectl(&["delete", "namespace", "team", "--wait=false"]).await;
    gone(&plane, &["secret", "free", "--namespace=team"]).await;
    assert_eq!(object(&plane, &["namespace", "team"]).await["status"]["phase"], "Terminating");
    let late = refusal(
        &plane,
        &["create", "secret", "generic", "late", "--namespace=team", "--from-literal=a=b"],
    )
    .await;
    assert!(late.contains("because it is being terminated"), "{late}");
    let release = r#"{"metadata":{"finalizers":null}}"#;
    plane
        .kubectl(&["patch", "secret", "held", "--namespace=team", "--type=merge", "-p", release])
        .await;
    gone(&plane, &["namespace", "team"]).await;
    let nowhere = plane.kubectl_command(&[
        "create",
        "--namespace=team",
        "secret",
        "generic",
        "x",
        "--from-literal=a=b",
    ]);
    let nowhere = run(&nowhere, "").await.unwrap_err();
    assert!(nowhere.reason.contains(r#"namespaces "team" not found"#), "{nowhere}");
    let kept = refusal(&plane, &["delete", "namespace", "default"]).await;
    assert!(kept.contains("this namespace may not be deleted"), "{kept}");
}

/// Two servers that nobody can reach; the first has a machine, which waits for a class that is not there.
const SERVERS: &str = "
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Server
metadata: {name: s-1, labels: {row: one}}
spec: {bmc: {address: 'https://192.0.2.1'}}
---
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Server
metadata: {name: s-2, labels: {row: one}}
spec: {bmc: {address: 'https://192.0.2.2'}}
---
apiVersion: compute.quarterdeck.dev/v1alpha1
kind: Machine
metadata: {name: web-1, namespace: default}
spec: {class: none, image: none}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_machine_on_it_is_not_deleted() {
    let plane = plane().await;
    plane.apply(SERVERS).await;
    let machine = object(&plane, &["machine", "web-1"]).await;
    let uid = machine["metadata"]["uid"].as_str().unwrap();
    let has = format!(
        r#"{{"status":{{"machineRef":{{"namespace":"default","name":"web-1","uid":"{uid}"}}}}}}"#
    );
    let patch = ["patch", "server", "s-1", "--subresource=status", "--type=merge", "-p", &has];
    plane.kubectl(&patch).await;
    let why = "it has Machine default/web-1; delete that first, which wipes the server, or run detach-server";
    for delete in [
        &["delete", "server", "s-1"][..],
        &["delete", "server", "s-1", "--force", "--grace-period=0"],
        &["delete", "server", "s-1", "--dry-run=server"],
        &["delete", "server", "s-1", "--cascade=foreground"],
    ] {
        let told = refusal(&plane, delete).await;
        assert!(told.contains("(Forbidden)") && told.contains(why), "{delete:?}: {told}");
    }
    let kept = object(&plane, &["server", "s-1"]).await;
    assert_eq!(kept["metadata"].get("deletionTimestamp"), None);
    // As a collection: what can go goes.
    let path = "/apis/inventory.quarterdeck.dev/v1alpha1/servers?labelSelector=row%3Done";
    let told = refusal(&plane, &["delete", "--raw", path]).await;
    assert!(told.contains(why), "{told}");
    gone(&plane, &["server", "s-2"]).await;
    object(&plane, &["server", "s-1"]).await;
    // Once nothing is on it, it goes.
    let free = r#"{"status":{"machineRef":null}}"#;
    plane
        .kubectl(&["patch", "server", "s-1", "--subresource=status", "--type=merge", "-p", free])
        .await;
    plane.kubectl(&["delete", "server", "s-1"]).await;
    gone(&plane, &["server", "s-1"]).await;
}
