//! What people write with kubectl: apply, create, edit, patch, replace, labels, dry runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_testing::process::run;
use std::os::unix::fs::PermissionsExt as _;
use support::{SITE, apply_refusal, object, places_counted, plane, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_applied_and_changed() {
    let plane = plane().await;
    let created = plane.apply(SITE).await;
    assert_eq!(created.matches(" created\n").count(), 3, "{created}");
    let before = object(&plane, &["rack", "ams1-n01"]).await;
    let again = plane.apply(SITE).await;
    assert_eq!(again.matches(" unchanged\n").count(), 3, "{again}");

    // A field that is left out of what is applied again goes away; what others added stays.
    plane.kubectl(&["label", "rack", "ams1-n01", "owner=facilities"]).await;
    plane.kubectl(&["annotate", "rack", "ams1-n01", "example.com/note=hot aisle"]).await;
    let changed = SITE.replace("{site: ams1, hall: north, units: 42}", "{site: ams1, units: 40}");
    assert_eq!(plane.apply(&changed).await.matches(" configured\n").count(), 1);
    let rack = object(&plane, &["rack", "ams1-n01"]).await;
    assert_eq!(rack["spec"], serde_json::json!({"site": "ams1", "units": 40}));
    assert_eq!(rack["metadata"]["labels"]["owner"], "facilities");
    assert_eq!(rack["metadata"]["annotations"]["example.com/note"], "hot aisle");
    assert_eq!(rack["metadata"]["generation"], 2);
    assert_eq!(rack["metadata"]["uid"], before["metadata"]["uid"]);

    // kubectl diff ends with 1 when there is a difference, and shows it.
    let difference =
        run(&plane.kubectl_command(&["diff", "--filename", "-"]), SITE).await.unwrap_err();
    assert_eq!(difference.code, Some(1), "{difference}");
    assert!(difference.reason.contains("+  units: 42"), "{difference}");
    run(&plane.kubectl_command(&["diff", "--filename", "-"]), &changed).await.unwrap();

    // A replace reads the version it replaces and is refused when that has changed since: the plane
    // itself must be done with what was applied.
    places_counted(&plane).await;
    let replaced = changed.replace("units: 40", "units: 41");
    let replace = plane.kubectl_command(&["replace", "--filename", "-"]);
    assert_eq!(run(&replace, &replaced).await.unwrap().stdout.matches(" replaced\n").count(), 3);
    // Replaced objects have the labels they were replaced with.
    assert!(object(&plane, &["rack", "ams1-n01"]).await["metadata"]["labels"]["owner"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_scaled() {
    const POOL: &str = "
apiVersion: compute.quarterdeck.dev/v1alpha1
kind: MachinePool
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  template: {spec: {class: none, image: none}}
";
    let plane = plane().await;
    plane.apply(POOL).await;
    let said = plane.kubectl(&["scale", "machinepool/web", "--replicas=5"]).await;
    assert_eq!(said, "machinepool.compute.quarterdeck.dev/web scaled\n");
    assert_eq!(object(&plane, &["mpool", "web"]).await["spec"]["replicas"], 5);
    let scale = object(&plane, &["mpool", "web", "--subresource=scale"]).await;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&"Scale".into(), &5.into()));
    // Somebody else was there before.
    let stale = ["scale", "mpool/web", "--current-replicas=2", "--replicas=3"];
    assert!(refusal(&plane, &stale).await.contains("replicas"), "it is not at two");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_explained() {
    let plane = plane().await;
    for (manifest, part) in [
        (SITE.replace("units: 42", "unit: 42"), r#"unknown field "spec.unit""#),
        (SITE.replace("units: 42", "units: many"), "spec.units"),
        (
            SITE.replace("units: 42", "units: 0"),
            "spec.units: Invalid value: 0: must be between 1 and 70",
        ),
        (SITE.replace("region: eu-west, ", ""), "spec.region: Required value"),
        (
            SITE.replace("name: ams1-n01", "name: AMS1_N01"),
            "metadata.name: Invalid value: \"AMS1_N01\"",
        ),
    ] {
        let said = apply_refusal(&plane, &[], &manifest).await;
        assert!(said.contains(part), "{part} in\n{said}");
    }
    plane.apply(SITE).await;
    let create = plane.kubectl_command(&["create", "--filename", "-"]);
    let twice = run(&create, SITE).await.unwrap_err();
    assert!(twice.reason.contains("(AlreadyExists)"), "{twice}");
    let clash = refusal(&plane, &["create", "namespace", "default"]).await;
    assert!(clash.contains(r#"namespaces "default" already exists"#), "{clash}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_patched_and_edited() {
    let plane = plane().await;
    plane.apply(SITE).await;
    let patch = async |arguments: &[&str]| {
        let mut all = vec!["patch", "site", "ams1"];
        all.extend(arguments);
        plane.try_kubectl(&all).await.map_err(|error| error.reason)
    };
    let region =
        async || plane.kubectl(&["get", "site", "ams1", "-o", "jsonpath={.spec.region}"]).await;

    patch(&["--type=merge", "-p", r#"{"spec":{"region":"eu-north"}}"#]).await.unwrap();
    assert_eq!(region().await, "eu-north");
    patch(&["--type=json", "-p", r#"[{"op":"test","path":"/spec/region","value":"eu-north"},{"op":"replace","path":"/spec/region","value":"eu-south"}]"#]).await.unwrap();
    assert_eq!(region().await, "eu-south");
    let failed = patch(&["--type=json", "-p", r#"[{"op":"remove","path":"/spec/colour"}]"#]).await;
    assert!(failed.unwrap_err().contains("/spec/colour"));
    let strategic = patch(&["-p", r#"{"spec":{"region":"x"}}"#]).await.unwrap_err();
    assert!(
        strategic.contains("application/strategic-merge-patch+json is not supported"),
        "{strategic}"
    );
    assert_eq!(region().await, "eu-south");

    // Spec and status are written apart.
    patch(&["--type=merge", "-p", r#"{"status":{"phase":"Lost"}}"#]).await.unwrap();
    patch(&["--subresource=status", "--type=merge", "-p", r#"{"spec":{"region":"x"},"status":{"conditions":[{"type":"Open","status":"True","reason":"Staffed","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#]).await.unwrap();
    assert_eq!(region().await, "eu-south");
    plane.kubectl(&["wait", "--for=condition=Open", "site/ams1", "--timeout=20s"]).await;
    assert_ne!(object(&plane, &["site", "ams1"]).await["status"]["phase"], "Lost");

    // Core kinds are patched strategically, as their clients do.
    plane.kubectl(&["create", "secret", "generic", "s", "--from-literal=a=b"]).await;
    plane.kubectl(&["patch", "secret", "s", "-p", r#"{"stringData":{"c":"d"}}"#]).await;
    assert_eq!(
        object(&plane, &["secret", "s"]).await["data"],
        serde_json::json!({"a": "Yg==", "c": "ZA=="})
    );

    let folder = tempfile::tempdir().unwrap();
    let editor = folder.path().join("editor");
    std::fs::write(&editor, "#!/bin/sh\nsed -i 's/region: .*/region: eu-east/' \"$1\"\n").unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut edit = plane.kubectl_command(&["edit", "site", "ams1"]);
    edit.env("EDITOR", &editor);
    assert!(run(&edit, "").await.unwrap().stdout.ends_with("edited\n"));
    assert_eq!(region().await, "eu-east");

    plane.kubectl(&["label", "site", "ams1", "tier-", "class=a"]).await;
    let taken = refusal(&plane, &["label", "site", "ams1", "class=b"]).await;
    assert!(taken.contains("overwrite"), "{taken}");
    let bad = refusal(&plane, &["label", "site", "ams1", "class=not a label", "--overwrite"]).await;
    assert!(bad.contains("not a label"), "{bad}");
    assert_eq!(
        object(&plane, &["site", "ams1"]).await["metadata"]["labels"],
        serde_json::json!({"class": "a"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_change_nothing() {
    let plane = plane().await;
    plane.apply(SITE).await;
    plane
        .kubectl(&["wait", "--for=jsonpath={.status.racks}=2", "site/ams1", "--timeout=20s"])
        .await;
    let before = object(&plane, &["sites,racks"]).await;
    let dry = "--dry-run=server";
    let changed =
        SITE.replace("units: 42", "units: 40").replace("name: ams1-s01", "name: ams1-s02");
    let applied = run(&plane.kubectl_command(&["apply", dry, "--filename", "-"]), &changed).await;
    let applied = applied.unwrap().stdout;
    assert!(applied.contains("ams1-s02 created (server dry run)"), "{applied}");
    assert!(applied.contains("ams1-n01 configured (server dry run)"), "{applied}");
    plane
        .kubectl(&[
            "patch",
            "rack",
            "ams1-n01",
            "--type=merge",
            "-p",
            r#"{"spec":{"units":1}}"#,
            dry,
        ])
        .await;
    plane.kubectl(&["label", "rack", "ams1-n01", "x=y", dry]).await;
    plane.kubectl(&["delete", "rack", "ams1-n01", dry]).await;
    plane.kubectl(&["create", "namespace", "team", dry]).await;
    let refused = apply_refusal(&plane, &[dry], &SITE.replace("units: 42", "units: 0")).await;
    assert!(refused.contains("spec.units"), "{refused}");
    assert_eq!(object(&plane, &["sites,racks"]).await, before);
    assert!(refusal(&plane, &["get", "namespace", "team"]).await.contains("NotFound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_asked_for_is_pruned_and_what_is_forced_is_made_anew() {
    let plane = plane().await;
    let labelled = SITE.replace("labels: {", "labels: {part-of: demo, ");
    plane.apply(&labelled).await;
    let (kept, _) = labelled.rsplit_once("---").unwrap();
    let rack = "inventory.quarterdeck.dev/v1alpha1/Rack";
    let prune = plane.kubectl_command(&[
        "apply",
        "--prune",
        "--selector",
        "part-of=demo",
        "--prune-allowlist",
        rack,
        "-f",
        "-",
    ]);
    let pruned = run(&prune, kept).await.unwrap().stdout;
    assert!(pruned.contains("rack.inventory.quarterdeck.dev/ams1-s01 pruned"), "{pruned}");
    assert!(refusal(&plane, &["get", "rack", "ams1-s01"]).await.contains("NotFound"));
    assert_eq!(object(&plane, &["rack", "ams1-n01"]).await["spec"]["units"], 42);

    let before = object(&plane, &["site", "ams1"]).await["metadata"]["uid"].clone();
    let replace = plane.kubectl_command(&["replace", "--force", "--filename", "-"]);
    let replaced = run(&replace, SITE.split("---").next().unwrap()).await.unwrap().stdout;
    assert!(replaced.contains("replaced"), "{replaced}");
    assert_ne!(object(&plane, &["site", "ams1"]).await["metadata"]["uid"], before);

    let unknown = SITE.replace("kind: Site", "kind: Castle");
    let said = apply_refusal(&plane, &[], &unknown).await;
    assert!(said.contains(r#"no matches for kind "Castle""#), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_set_is_pruned_by_what_its_parent_remembers() {
    let plane = plane().await;
    let secret = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\ndata: {{a: Yg==}}\n"
        )
    };
    let apply = async |arguments: &[&str], yaml: &str| {
        let mut all = vec!["apply", "--prune", "--namespace", "default", "--filename", "-"];
        all.extend(arguments);
        let mut command = plane.kubectl_command(&all);
        command.env("KUBECTL_APPLYSET", "true");
        run(&command, yaml).await.map(|output| output.stdout).map_err(|error| error.reason)
    };
    let set = "--applyset=demo";
    let created = apply(&[set], &format!("{SITE}{}{}", secret("s1"), secret("s2"))).await.unwrap();
    assert_eq!(created.matches(" created\n").count(), 5, "{created}");
    let parent = object(&plane, &["secret", "demo"]).await;
    let kinds = &parent["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"];
    assert_eq!(kinds, "Rack.inventory.quarterdeck.dev,Secret,Site.inventory.quarterdeck.dev");
    let (kept, _) = SITE.rsplit_once("---").unwrap();
    let fewer = &format!("{kept}{}", secret("s1"));
    let pruned = ["rack.inventory.quarterdeck.dev/ams1-s01 pruned", "secret/s2 pruned"];
    let dry = apply(&[set, "--dry-run=server"], fewer).await.unwrap();
    let done = apply(&[set], fewer).await.unwrap();
    for line in pruned {
        assert!(dry.contains(&format!("{line} (server dry run)")), "{dry}");
        assert!(done.contains(line), "{done}");
    }
    let names = plane.kubectl(&["get", "racks,secrets", "--output", "name"]).await;
    assert_eq!(
        names.lines().collect::<Vec<_>>(),
        ["rack.inventory.quarterdeck.dev/ams1-n01", "secret/demo", "secret/s1"]
    );
    // The same set, applied by the server; a kind that is no longer in it is pruned too.
    let done = apply(&["--server-side", "--force-conflicts", set], kept).await.unwrap();
    assert!(done.contains("secret/s1 pruned"), "{done}");
    // Only a Secret remembers a set: kubectl asks for kinds that say they do, and none of ours does.
    let site = apply(&["--applyset=sites.inventory.quarterdeck.dev/home"], kept).await.unwrap_err();
    assert!(site.contains("is not permitted as an ApplySet parent"), "{site}");
}
