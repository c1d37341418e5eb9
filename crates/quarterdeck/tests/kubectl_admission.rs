//! Quotas and policies of admission with the real `kubectl`: made, shown, applied again, and what they
//! refuse and warn of.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_testing::{plane::Plane, postgres::Postgres, process::run, wait::wait_for};
use support::{DEADLINE, SITE, apply_refusal, object, plane, refusal, rows};

/// As in the documentation of Kubernetes, about sites.
const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: demo-policy.example.com}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - apiGroups:   ["inventory.quarterdeck.dev"]
      apiVersions: ["v1alpha1"]
      operations:  ["CREATE", "UPDATE"]
      resources:   ["sites"]
  validations:
    - expression: "object.spec.region.startsWith('eu-')"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: demo-binding-test.example.com}
spec:
  policyName: demo-policy.example.com
  validationActions: [Deny]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_made_shown_and_kept() {
    let plane = plane().await;
    plane.kubectl(&["create", "namespace", "team"]).await;
    let hard = "--hard=count/secrets=2,count/runs.workflows.quarterdeck.dev=1k";
    plane.kubectl(&["create", "quota", "small", "-n", "team", hard]).await;
    for name in ["a", "b"] {
        plane.kubectl(&["create", "secret", "generic", name, "-n", "team"]).await;
    }
    let refused = refusal(&plane, &["create", "secret", "generic", "c", "-n", "team"]).await;
    let why = "secrets \"c\" is forbidden: exceeded quota: small, requested: count/secrets=1, used: count/secrets=2, limited: count/secrets=2";
    assert!(refused.contains(why), "{refused}");
    wait_for(DEADLINE, "the quota to be counted", async || {
        let table = plane.kubectl(&["get", "quota", "-n", "team"]).await;
        let used = "count/runs.workflows.quarterdeck.dev: 0/1000, count/secrets: 2/2";
        if table.contains(used) { Ok(()) } else { Err(table) }
    })
    .await;
    let table = plane.kubectl(&["get", "resourcequotas", "-n", "team"]).await;
    assert_eq!(rows(&table)[0], ["NAME", "REQUEST", "LIMIT", "AGE"]);
    let told = plane.kubectl(&["describe", "quota", "small", "-n", "team"]).await;
    let lines: Vec<Vec<&str>> = rows(&told);
    assert!(lines.contains(&vec!["count/secrets", "2", "2"]), "{told}");
    plane.kubectl(&["delete", "secret", "a", "-n", "team"]).await;
    plane.kubectl(&["create", "secret", "generic", "c", "-n", "team"]).await;
    let wrong = refusal(&plane, &["create", "quota", "x", "--hard=pods=1"]).await;
    assert!(wrong.contains("spec.hard[pods]: Unsupported value"), "{wrong}");
    // Runs that the plane makes itself, and Events, are counted and not refused: nothing of it fails.
    plane.kubectl(&["delete", "namespace", "team"]).await;
}

/// No machine of any team may be made; and a pool of them, of which no server is there.
const NO_MACHINES: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-machines.example.com}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - apiGroups: ["compute.quarterdeck.dev"]
      apiVersions: ["v1alpha1"]
      operations: ["CREATE"]
      resources: ["machines"]
  validations:
    - expression: "object.spec.class != 'small'"
      message: no small machines
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-machines.example.com}
spec:
  policyName: no-machines.example.com
  validationActions: [Deny]
"#;
const POOL: &str = "
apiVersion: compute.quarterdeck.dev/v1alpha1
kind: MachineClass
metadata: {name: small}
spec: {servers: {matchLabels: {a: b}}}
---
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Image
metadata: {name: debian}
spec: {url: 'https://images.example.com/a.iso', checksum: 'sha256:0000000000000000000000000000000000000000000000000000000000000000', format: Iso}
---
apiVersion: compute.quarterdeck.dev/v1alpha1
kind: MachinePool
metadata: {name: web, namespace: default}
spec: {replicas: 2, template: {spec: {class: small, image: debian}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn machines_of_a_pool_pass_policies_as_a_persons_do() {
    let plane = plane().await;
    plane.apply(NO_MACHINES).await;
    plane.apply(POOL).await;
    wait_for(DEADLINE, "the pool to say why it has none", async || {
        let pool = object(&plane, &["machinepool", "web"]).await;
        let conditions = pool["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let told = conditions.iter().any(|it| {
            it["reason"] == "PolicyDenied"
                && it["message"].as_str().is_some_and(|it| it.contains("no small machines"))
        });
        if told { Ok(()) } else { Err(format!("{conditions:#?}")) }
    })
    .await;
    assert_eq!(plane.kubectl(&["get", "machines", "-o", "name"]).await, "");
    plane.kubectl(&["delete", "validatingadmissionpolicybinding", "no-machines.example.com"]).await;
    wait_for(DEADLINE * 2, "its machines to be made", async || {
        let made = plane.kubectl(&["get", "machines", "-o", "name"]).await;
        if made.lines().count() == 2 { Ok(()) } else { Err(made) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_applied_and_hold() {
    let plane = plane().await;
    let created = plane.apply(POLICY).await;
    assert_eq!(created.matches(" created\n").count(), 2, "{created}");
    let again = plane.apply(POLICY).await;
    // kubectl sends the rules again, as they have got a default: the plane sees that nothing changes.
    assert!(again.ends_with("demo-binding-test.example.com unchanged\n"), "{again}");
    let policy = object(&plane, &["validatingadmissionpolicy", "demo-policy.example.com"]).await;
    assert_eq!(policy["metadata"]["generation"], 1);
    plane.apply(SITE).await;
    let abroad = SITE.replace("eu-west", "us-east");
    let refused = apply_refusal(&plane, &[], &abroad).await;
    let why = "ValidatingAdmissionPolicy 'demo-policy.example.com' with binding 'demo-binding-test.example.com' denied request: failed expression: object.spec.region.startsWith('eu-')";
    assert!(refused.contains(why), "{refused}");
    let refused = apply_refusal(&plane, &["--server-side", "--force-conflicts"], &abroad).await;
    assert!(refused.contains(why), "{refused}");

    let changed = POLICY.replace("[Deny]", "[Warn]").replace(
        "object.spec.region.startsWith('eu-')\"",
        "object.spec.region.startsWith('us-')\"\n      message: not in the states",
    );
    let configured = plane.apply(&changed).await;
    assert_eq!(configured.matches(" configured\n").count(), 2, "{configured}");
    let apply = plane.kubectl_command(&["label", "site", "ams1", "x=y"]);
    let output = run(&apply, "").await.unwrap();
    let warning = "Warning: Validation failed for ValidatingAdmissionPolicy 'demo-policy.example.com' with binding 'demo-binding-test.example.com': not in the states";
    assert!(output.stderr.contains(warning), "{} {}", output.stdout, output.stderr);

    let names = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];
    for (resource, heading) in names.iter().zip([
        ["NAME", "VALIDATIONS", "PARAMKIND", "AGE"],
        ["NAME", "POLICYNAME", "PARAMREF", "AGE"],
    ]) {
        let table = plane.kubectl(&["get", resource]).await;
        assert_eq!(rows(&table)[0], heading, "{table}");
        plane.kubectl(&["describe", resource]).await;
        let told = plane.kubectl(&["explain", &format!("{resource}.spec")]).await;
        assert!(told.contains("FIELDS:"), "{told}");
    }
    // The plane says what its expressions look like against the kinds it names.
    let wrong = changed.replace("object.spec.region.starts", "object.spec.regio.starts");
    plane.apply(&wrong).await;
    wait_for(DEADLINE, "the warning of the type check", async || {
        let policy =
            object(&plane, &["validatingadmissionpolicy", "demo-policy.example.com"]).await;
        let warnings = &policy["status"]["typeChecking"]["expressionWarnings"];
        let told = warnings[0]["warning"].as_str().unwrap_or_default();
        if told.contains("Kind=Site: column 13: object.spec has no field \"regio\"") {
            Ok(())
        } else {
            Err(format!("{:#}", policy["status"]))
        }
    })
    .await;
    let broken = POLICY.replace("startsWith", "startWith");
    let refused = apply_refusal(&plane, &[], &broken).await;
    let why = "spec.validations[0].expression: Invalid value: ";
    assert!(refused.contains(why) && refused.contains("did you mean \"startsWith\"?"), "{refused}");
}

/// What the guide shows is what a plane takes.
#[tokio::test(flavor = "multi_thread")]
async fn the_policies_of_the_guide_are_taken_and_hold() {
    let plane = plane().await;
    let guide = include_str!("../../../docs/admission.md");
    let shown = guide.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let created = plane.apply(shown).await;
    assert_eq!(created.matches(" created\n").count(), 4, "{created}");
    let server = "
apiVersion: inventory.quarterdeck.dev/v1alpha1
kind: Server
metadata: {name: s1}
spec: {bmc: {address: 127.0.0.1}}
";
    let refused = apply_refusal(&plane, &[], server).await;
    assert!(refused.contains("server s1 needs a label team"), "{refused}");
    plane.apply(&server.replace("{name: s1}", "{name: s1, labels: {team: payments}}")).await;
    wait_for(DEADLINE, "the type checks", async || {
        let policies = object(&plane, &["validatingadmissionpolicies"]).await;
        let checked = |policy: &serde_json::Value| {
            policy["status"]["typeChecking"].is_object()
                && policy["status"]["typeChecking"].get("expressionWarnings").is_none()
        };
        let all = policies["items"].as_array().unwrap();
        if all.iter().all(checked) { Ok(()) } else { Err(format!("{policies:#}")) }
    })
    .await;
}

/// Many service accounts, as one file. (Secrets would take a key that both replicas have.)
fn accounts(prefix: &str, count: usize) -> String {
    let one = |number| {
        format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {prefix}-{number}, namespace: team}}\n---\n"
        )
    };
    (0..count).map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_keep_one_quota_and_policies() {
    let server = Postgres::start().await;
    let url = server.url();
    let binary = env!("CARGO_BIN_EXE_quarterdeck");
    let mut first = Plane::start_with(binary, &["--store", &url]).await;
    let second = Plane::start_with(binary, &["--store", &url]).await;
    first.kubectl(&["create", "namespace", "team"]).await;
    // The plane's own, which counts too.
    wait_for(DEADLINE, "the account that each namespace has", async || {
        let get = ["get", "serviceaccount", "default", "-n", "team"];
        run(&second.kubectl_command(&get), "").await.map_err(|error| error.reason)
    })
    .await;
    first.kubectl(&["create", "quota", "q", "-n", "team", "--hard=count/serviceaccounts=31"]).await;
    let create = async |plane: &Plane, prefix: &str| {
        let command = plane.kubectl_command(&["create", "--filename", "-"]);
        // kubectl goes on after a refusal, and ends with a failure.
        run(&command, &accounts(prefix, 25)).await.map_or_else(|error| error.reason, |it| it.stderr)
    };
    let (one, other) = tokio::join!(create(&first, "one"), create(&second, "other"));
    let refused = [&one, &other].map(|told| told.matches("exceeded quota: q").count());
    assert_eq!(refused.iter().sum::<usize>(), 20, "{one}{other}");
    let there = async |plane: &Plane| {
        let names =
            plane.kubectl(&["get", "serviceaccounts", "-n", "team", "--output", "name"]).await;
        names.lines().count()
    };
    assert_eq!((there(&first).await, there(&second).await), (31, 31));
    // Whoever comes after a crash counts the same.
    first.kill9();
    let told = create(&second, "late").await;
    assert_eq!(told.matches("used: count/serviceaccounts=31").count(), 25, "{told}");
    second.kubectl(&["delete", "serviceaccount", "-n", "team", "--all"]).await;
    first.restart().await;
    let told = create(&first, "next").await;
    assert!(!told.contains("exceeded"), "{told}");
    wait_for(DEADLINE, "the quota to be counted", async || {
        let table = second.kubectl(&["get", "quota", "-n", "team"]).await;
        if table.contains("count/serviceaccounts: 26/31") { Ok(()) } else { Err(table) }
    })
    .await;
    // A policy made by one counts for the other from its next write on.
    run(&first.kubectl_command(&["apply", "--filename", "-"]), POLICY).await.unwrap();
    let abroad = SITE.replace("eu-west", "us-east");
    let refused = apply_refusal(&second, &[], &abroad).await;
    assert!(refused.contains("denied request"), "{refused}");
}
