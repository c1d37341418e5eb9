//! What people look at with kubectl: tables, selections, watches, descriptions, explanations.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_testing::{
    process::{Process, run},
    user::RunAs,
    wait::wait_until,
};
use support::{DEADLINE, SITE, examples, object, plane, refusal, rows};

/// The objects a new operator applies first read well in one table.
#[tokio::test(flavor = "multi_thread")]
async fn examples_are_applied_and_shown() {
    let plane = plane().await;
    let examples = examples();
    let applied = plane.kubectl(&["apply", "--filename", &examples]).await;
    assert!(applied.lines().all(|line| line.ends_with(" created")), "{applied}");
    let again = plane.kubectl(&["apply", "--filename", &examples]).await;
    // Secrets are written with stringData, which is never read back: kubectl sends it again.
    for line in again.lines() {
        let secret = line.starts_with("secret/") && line.ends_with(" configured");
        assert!(secret || line.ends_with(" unchanged"), "{line}");
    }
    plane
        .kubectl(&["wait", "--for=jsonpath={.status.racks}=2", "site", "--all", "--timeout=20s"])
        .await;
    plane
        .kubectl(&[
            "wait",
            "--for=condition=LinksFound",
            "rack,provider,server",
            "--all",
            "--timeout=20s",
        ])
        .await;
    let fleet = plane.kubectl(&["get", "fleet", "--all-namespaces"]).await;
    for part in ["site.inventory.quarterdeck.dev/lhr1", "REGION", "provider.compute", "runbook."] {
        assert!(fleet.contains(part), "{part} in\n{fleet}");
    }
    let sites = plane.kubectl(&["get", "sites", "--no-headers"]).await;
    assert_eq!(rows(&sites)[0][..5], ["lhr1", "eu-west", "Active", "2", "3"]);
    let secret = plane.kubectl(&["get", "secret", "bmc-lhr1", "--no-headers"]).await;
    assert_eq!(rows(&secret)[0][..3], ["bmc-lhr1", "kubernetes.io/basic-auth", "2"]);
    let described = plane.kubectl(&["describe", "secret", "bmc-lhr1"]).await;
    assert!(described.contains("password:  9 bytes"), "{described}");
    // Sent again, a secret is the same object: nothing was written.
    let before = object(&plane, &["secret", "bmc-lhr1"]).await;
    plane.kubectl(&["apply", "--filename", &examples]).await;
    assert_eq!(object(&plane, &["secret", "bmc-lhr1"]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn get_in_all_its_forms() {
    let plane = plane().await;
    plane.apply(SITE).await;
    let get = async |arguments: &[&str]| {
        let mut all = vec!["get"];
        all.extend(arguments);
        plane.kubectl(&all).await
    };

    let table = get(&["racks"]).await;
    assert_eq!(rows(&table)[0], ["NAME", "SITE", "HALL", "UNITS", "PHASE", "SERVERS", "AGE"]);
    assert_eq!(rows(&table)[1][..4], ["ams1-n01", "ams1", "north", "42"]);
    let wide = get(&["rk", "--output", "wide"]).await;
    assert!(rows(&wide)[0].contains(&"ROW"), "{wide}");
    assert_eq!(get(&["rk", "--output", "name"]).await.lines().count(), 2);
    let yaml = get(&["site", "ams1", "--output", "yaml"]).await;
    assert!(yaml.contains("kind: Site") && yaml.contains("region: eu-west"), "{yaml}");
    assert_eq!(get(&["rack", "ams1-n01", "--output", "jsonpath={.spec.units}"]).await, "42");
    let columns = "custom-columns=NAME:.metadata.name,UNITS:.spec.units";
    let sorted = get(&["racks", "--sort-by", ".spec.units", "--output", columns]).await;
    assert_eq!(rows(&sorted)[1..], [["ams1-n01", "42"], ["ams1-s01", "48"]]);

    for selection in [
        ["--selector", "hall=south"],
        ["--selector", "hall in (south,east)"],
        ["--selector", "hall!=north"],
        ["--selector", "hall,hall notin (north)"],
        ["--field-selector", "spec.hall=south"],
        ["--field-selector", "metadata.name=ams1-s01"],
        ["--field-selector", "metadata.name!=ams1-n01"],
    ] {
        let found = get(&["racks", "--output", "name", selection[0], selection[1]]).await;
        assert_eq!(found, "rack.inventory.quarterdeck.dev/ams1-s01\n", "{selection:?}");
    }
    assert_eq!(get(&["racks", "--selector", "!hall", "--output", "name"]).await, "");
    let wrong = refusal(&plane, &["get", "racks", "--field-selector", "spec.colour=red"]).await;
    assert!(wrong.contains("field label not supported: spec.colour"), "{wrong}");
    let wrong = refusal(&plane, &["get", "racks", "--selector", "hall in north"]).await;
    assert!(wrong.contains("hall"), "{wrong}");

    // Pages of two are put together again, over namespaces too.
    let all = get(&["runbooks", "--output", "name"]).await;
    assert_eq!(get(&["runbooks", "--chunk-size", "2", "--output", "name"]).await, all);
    let everywhere = get(&["ns,secrets,sites", "--all-namespaces", "--output", "name"]).await;
    assert!(everywhere.contains("namespace/default"), "{everywhere}");
    assert_eq!(get(&["secrets", "--namespace", "nowhere"]).await, "");

    let missing = refusal(&plane, &["get", "site", "atlantis"]).await;
    assert!(
        missing.contains(r#"(NotFound): sites.inventory.quarterdeck.dev "atlantis" not found"#),
        "{missing}"
    );
    assert!(refusal(&plane, &["get", "unicorns"]).await.contains("doesn't have a resource type"));
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_and_waits_see_changes() {
    let plane = plane().await;
    plane.apply(SITE).await;
    let folder = tempfile::tempdir().unwrap();
    let command = plane.kubectl_command(&["get", "racks", "--watch"]);
    let mut watch =
        Process::start("kubectl", &command, RunAs::Caller, &folder.path().join("watch"));
    watch.wait_for_line("ams1-s01", DEADLINE).await;
    plane
        .kubectl(&[
            "patch",
            "rack",
            "ams1-n01",
            "--type=merge",
            "--patch",
            r#"{"spec":{"units":47}}"#,
        ])
        .await;
    let line = watch.wait_for_line("47", DEADLINE).await;
    assert!(line.starts_with("ams1-n01"), "{line}");
    plane.kubectl(&["delete", "rack", "ams1-s01"]).await;
    let heading = watch.output().lines().filter(|line| line.starts_with("NAME")).count();
    assert_eq!(heading, 1, "{}", watch.output());

    // A wait ends when what it waits for happens, not before.
    let wait = plane.kubectl_command(&[
        "wait",
        "--for=jsonpath={.spec.hall}=east",
        "rack/ams1-n01",
        "--timeout=20s",
    ]);
    let mut wait = Process::start("kubectl", &wait, RunAs::Caller, &folder.path().join("wait"));
    let watching = || async {
        let metrics = plane.kubectl(&["get", "--raw", "/metrics"]).await;
        // The plane's own parts do not watch through the API, the two here do.
        metrics.contains(
            "quarterdeck_api_requests_total{verb=\"watch\",resource=\"racks\",code=\"200\"} 2",
        )
    };
    wait_until(DEADLINE, "kubectl wait to watch", watching).await;
    assert!(wait.exit_status().is_none());
    plane
        .kubectl(&[
            "patch",
            "rack",
            "ams1-n01",
            "--type=merge",
            "--patch",
            r#"{"spec":{"hall":"east"}}"#,
        ])
        .await;
    wait.wait_for_line("condition met", DEADLINE).await;
    plane.kubectl(&["wait", "--for=condition=LinksFound", "rack/ams1-n01", "--timeout=20s"]).await;
    let late =
        refusal(&plane, &["wait", "--for=condition=Ready", "rack/ams1-n01", "--timeout=1s"]).await;
    assert!(late.contains("timed out"), "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_explains_itself() {
    let plane = plane().await;
    plane.apply(SITE).await;

    let resources = plane.kubectl(&["api-resources", "--no-headers"]).await;
    let servers: Vec<&str> =
        resources.lines().filter(|line| line.starts_with("servers ")).collect();
    assert_eq!(
        rows(servers[0])[0],
        ["servers", "srv", "inventory.quarterdeck.dev/v1alpha1", "false", "Server"]
    );
    let fleet =
        plane.kubectl(&["api-resources", "--categories", "fleet", "--output", "name"]).await;
    assert!(fleet.contains("sites.inventory") && !fleet.contains("secrets"), "{fleet}");
    let versions = plane.kubectl(&["api-versions"]).await;
    assert!(versions.contains("workflows.quarterdeck.dev/v1alpha1\n"), "{versions}");
    assert!(plane.kubectl(&["version"]).await.contains("Server Version: v1."));
    // It asks for Kubernetes' own services; those of a company are of another group.
    let info = refusal(&plane, &["cluster-info"]).await;
    assert!(info.contains("no kind \"ServiceList\" is registered"), "{info}");

    for (path, part) in [
        ("server", "It outlives what runs on it"),
        ("server.spec.bmc.address", "<string>"),
        ("rack.spec.units", "Height in rack units"),
        ("secret.stringData", "for writing only"),
        ("run.status.phase", "Compensating"),
        ("site.metadata.labels", "<map[string]string>"),
    ] {
        let explained = plane.kubectl(&["explain", path]).await;
        assert!(explained.contains(part), "{path}: {explained}");
    }
    let tree = plane.kubectl(&["explain", "runbook", "--recursive"]).await;
    assert!(tree.contains("compensate"), "{tree}");
    assert!(refusal(&plane, &["explain", "rack.spec.colour"]).await.contains("does not exist"));

    let uid =
        object(&plane, &["site", "ams1"]).await["metadata"]["uid"].as_str().unwrap().to_owned();
    plane
        .apply(&format!(
            "
apiVersion: v1
kind: Event
metadata: {{name: opened.1, namespace: default}}
involvedObject: {{apiVersion: inventory.quarterdeck.dev/v1alpha1, kind: Site, name: ams1, uid: {uid}}}
type: Normal
reason: Opened
message: The site was opened.
source: {{component: facilities}}
firstTimestamp: \"2026-01-01T00:00:00Z\"
lastTimestamp: \"2026-01-01T00:00:00Z\"
count: 1
"
        ))
        .await;
    let described = plane.kubectl(&["describe", "site", "ams1"]).await;
    for part in
        ["Name:         ams1", "tier=gold", "Region:  eu-west", "Opened", "The site was opened."]
    {
        assert!(described.contains(part), "{part} in\n{described}");
    }
    let events = plane.kubectl(&["get", "events"]).await;
    assert_eq!(rows(&events)[0], ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
    assert!(events.contains("site/ams1"), "{events}");
    assert!(plane.kubectl(&["events"]).await.contains("Site/ams1"));
    assert!(plane.kubectl(&["events", "--for", "site/ams1"]).await.contains("Opened"));
    let none = plane.kubectl(&["get", "events", "--field-selector", "source=elsewhere"]).await;
    assert_eq!(none, "");

    assert_eq!(plane.kubectl(&["auth", "can-i", "delete", "secrets"]).await, "yes\n");
    assert!(plane.kubectl(&["auth", "whoami"]).await.contains("system:masters"));
    assert!(plane.kubectl(&["auth", "can-i", "--list"]).await.contains("*.*"));
}

/// Releases before 1.32 can explain by the older description.
#[tokio::test(flavor = "multi_thread")]
async fn kinds_are_explained_by_either_version_of_openapi() {
    let Some(oldest) = support::other_kubectls().into_iter().next() else { return };
    let plane = plane().await;
    let home = tempfile::tempdir().unwrap();
    for output in ["plaintext", "plaintext-openapiv2"] {
        let mut command = std::process::Command::new(&oldest);
        command.args(["explain", "server.spec.bmc", "--output", output]);
        command.env("KUBECONFIG", plane.kubeconfig()).env("HOME", home.path());
        command.env("KUBECTL_EXPLAIN_OPENAPIV3", "true");
        let said = run(&command, "").await.unwrap_or_else(|error| panic!("{error}")).stdout;
        for part in ["credentials", "address", "<string>"] {
            assert!(said.contains(part), "{output}: {part} in {said}");
        }
    }
}

/// The core story, with each release of kubectl that is installed from 1.29 on: the oldest asks for
/// older forms of discovery, the newest sends core kinds as protobuf only.
#[tokio::test(flavor = "multi_thread")]
async fn every_release_of_kubectl_is_served() {
    let plane = plane().await;
    let mut releases = support::other_kubectls();
    releases.push("kubectl".into());
    for (number, kubectl) in releases.iter().enumerate() {
        let home = tempfile::tempdir().unwrap();
        let kubectl = async |arguments: &[&str], input: &str| {
            let mut command = std::process::Command::new(kubectl);
            command.args(arguments).env("KUBECONFIG", plane.kubeconfig()).env("HOME", home.path());
            run(&command, input).await.unwrap_or_else(|error| panic!("{error}")).stdout
        };
        let team = format!("team-{number}");
        let named = format!("{team}-");
        let manifest = SITE.replace("ams1", &format!("{named}ams1"));
        let changed = manifest.replace("units: 48", "units: 47");
        let rack = format!("{named}ams1-s01");
        assert!(kubectl(&["create", "namespace", &team], "").await.ends_with("created\n"));
        let secret =
            ["create", "secret", "generic", "s", "--from-literal=a=b", "--namespace", &team];
        assert!(kubectl(&secret, "").await.ends_with("created\n"));
        let apply = ["apply", "--filename", "-"];
        assert_eq!(kubectl(&apply, &manifest).await.matches(" created\n").count(), 3);
        assert_eq!(kubectl(&apply, &manifest).await.matches(" unchanged\n").count(), 3);
        assert_eq!(kubectl(&apply, &changed).await.matches(" configured\n").count(), 1);
        assert_eq!(
            kubectl(&["get", "rack", &rack, "-o", "jsonpath={.spec.units}"], "").await,
            "47"
        );
        assert!(kubectl(&["get", "fleet"], "").await.contains(&rack));
        assert!(kubectl(&["describe", "rack", &rack], "").await.contains("Units:  47"));
        assert!(kubectl(&["explain", "rack.spec.units"], "").await.contains("rack units"));
        assert!(kubectl(&["label", "rack", &rack, "a=b"], "").await.contains("labeled"));
        // Lists, whose kind is looked up in the description of everything.
        let item = |item: &str| format!("- {}\n", item.trim().replace('\n', "\n  "));
        let items: String = changed.split("---").map(item).collect();
        let list = format!("apiVersion: v1\nkind: List\nitems:\n{items}");
        assert_eq!(kubectl(&apply, &list).await.matches(" unchanged\n").count(), 3);
        assert!(kubectl(&["get", "crd"], "").await.contains("racks.inventory.quarterdeck.dev"));
        let established =
            ["wait", "--for=condition=Established", "crd/racks.inventory.quarterdeck.dev"];
        assert!(kubectl(&established, "").await.contains("condition met"));
        assert!(kubectl(&["explain", "crd"], "").await.contains("comes with the server"));
        assert_eq!(kubectl(&["auth", "can-i", "get", "secrets"], "").await, "yes\n");
        assert!(kubectl(&["auth", "whoami"], "").await.contains("quarterdeck-admin"));
        assert!(kubectl(&["diff", "--filename", "-"], &changed).await.is_empty());
        assert_eq!(
            kubectl(&["delete", "--filename", "-"], &changed).await.matches(" deleted").count(),
            3
        );
        assert!(kubectl(&["delete", "namespace", &team], "").await.contains("deleted"));
    }
}
