//! Nobody grants, uses or decides by an object what they could not themselves.

use crate::{Person, RBAC, bind, bindings, namespaces, role, support::Plane, user};
use quarterdeck_api::{Api, Rules};
use serde_json::{Value, json};

const SERVERS: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/servers";
const RUNBOOKS: &str = "/apis/workflows.quarterdeck.dev/v1alpha1/runbooks";
const RUNS: &str = "/apis/workflows.quarterdeck.dev/v1alpha1/namespaces/a/runs";
const BASIC: &str = "[\"system:authenticated\"]";

fn rule(verbs: &[&str], group: &str, resource: &str) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": [resource]})
}

async fn plane() -> Plane {
    let plane = Plane::start().await;
    namespaces(&plane, &["a", "b"]).await;
    plane
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_grant_only_what_their_writer_holds() {
    let plane = plane().await;
    bind(&plane, "a", ("ClusterRole", "admin"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    let roles = format!("{RBAC}/namespaces/a/roles");
    let role = |rules: Value| json!({"metadata": {"name": "r"}, "rules": rules});
    ann.must("POST", &roles, role(json!([rule(&["get", "list"], "", "secrets")]))).await;
    let more = role(json!([rule(&["get", "escalate"], "", "secrets"), rule(&["get"], "x", "y/z")]));
    let wanted = format!(
        "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"ann\" (groups={BASIC}) is attempting to grant RBAC permissions not currently held:\n\
         {{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"escalate\"]}}\n\
         {{APIGroups:[\"x\"], Resources:[\"y/z\"], Verbs:[\"get\"]}}"
    );
    assert_eq!(ann.refused("PUT", &format!("{roles}/r"), more.clone()).await, wanted);
    ann.must("PATCH", &format!("{roles}/r"), json!({"metadata": {"labels": {"a": "b"}}})).await;
    // Where she has no role she writes none.
    ann.refused("POST", &format!("{RBAC}/namespaces/b/roles"), role(json!([]))).await;
    // Whoever may escalate may.
    crate::role(
        &plane,
        "a",
        "esc",
        json!([rule(&["escalate"], "rbac.authorization.k8s.io", "roles")]),
    )
    .await;
    bind(&plane, "a", ("Role", "esc"), user("ann")).await;
    ann.must("PUT", &format!("{roles}/r"), more).await;

    let all = json!([rule(&["*"], "rbac.authorization.k8s.io", "clusterroles")]);
    crate::role(
        &plane,
        "",
        "writers",
        json!([rule(&["create", "update"], "rbac.authorization.k8s.io", "clusterroles")]),
    )
    .await;
    bind(&plane, "", ("ClusterRole", "writers"), user("bob")).await;
    let bob = Person::new(&plane, "bob", &[]);
    let clusterroles = format!("{RBAC}/clusterroles");
    bob.refused("POST", &clusterroles, json!({"metadata": {"name": "x"}, "rules": all})).await;
    let gathering = json!({"metadata": {"name": "x"},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
    assert_eq!(
        bob.refused("POST", &clusterroles, gathering).await,
        "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: must have cluster-admin privileges to use an aggregationRule"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_grant_only_what_their_writer_holds() {
    let plane = plane().await;
    bind(&plane, "a", ("ClusterRole", "admin"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    let binding = |role: &str| {
        json!({"metadata": {"name": "n"}, "roleRef": {"kind": "ClusterRole", "name": role},
               "subjects": [user("eve")]})
    };
    let path = bindings("a");
    ann.must("POST", &path, binding("edit")).await;
    ann.must("DELETE", &format!("{path}/n"), Value::Null).await;
    let told = ann.refused("POST", &path, binding("cluster-admin")).await;
    assert!(
        told.starts_with("rolebindings.rbac.authorization.k8s.io \"n\" is forbidden: user \"ann\""),
        "{told}"
    );
    assert!(told.ends_with(
        "not currently held:\n{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}\n{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}"
    ), "{told}");
    assert_eq!(ann.ask("POST", &path, binding("missing")).await.status, 404);
    let by_name = json!([{"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"], "resourceNames": ["cluster-admin"]}]);
    role(&plane, "a", "binder", by_name).await;
    bind(&plane, "a", ("Role", "binder"), user("ann")).await;
    ann.must("POST", &path, binding("cluster-admin")).await;
    let other = ann.ask("PUT", &format!("{path}/n"), binding("edit")).await;
    assert_eq!(other.status, 422, "{:#}", other.body);
    assert!(other.body["message"].as_str().unwrap().contains("cannot change roleRef"));
}

/// What a site lends to servers that name no credentials is sent where those servers, or their rack, are said to be.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_sites_credentials_sent_somewhere_may_read_them() {
    let plane = plane().await;
    let inventory = "inventory.quarterdeck.dev";
    let path = |kind: &str| format!("/apis/{inventory}/v1alpha1/{kind}");
    let kinds = ["servers", "racks", "sites", "bmcscans"];
    let verbs = ["create", "update", "patch", "get"];
    let rules: Vec<Value> = kinds.iter().map(|kind| rule(&verbs, inventory, kind)).collect();
    role(&plane, "", "places", json!(rules)).await;
    bind(&plane, "", ("ClusterRole", "places"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    let lends = json!({"credentialsSecretRef": {"namespace": "b", "name": "login"}});
    let site =
        |bmc: &Value| json!({"metadata": {"name": "ams"}, "spec": {"region": "eu", "bmc": bmc}});
    let rack = |site: &str| json!({"metadata": {"name": "r1"}, "spec": {"site": site}});
    let server = |own: Value| {
        json!({"metadata": {"name": "s1"},
               "spec": {"bmc": own, "location": {"rack": "r1"}}})
    };
    let told = ann.refused("POST", &path("sites"), site(&lends)).await;
    assert!(told.contains("spec.bmc.credentialsSecretRef: it uses Secret b/login"), "{told}");
    plane.must("POST", &path("sites"), site(&lends)).await;
    ann.must("PATCH", &format!("{}/ams", path("sites")), json!({"spec": {"region": "us"}})).await;
    // A rack without servers sends nothing to anybody.
    ann.must("POST", &path("racks"), rack("ams")).await;
    let told = ann.refused("POST", &path("servers"), server(json!({"address": "a"}))).await;
    let because =
        "spec.location.rack: its Site lends it to Servers that name none: it uses Secret b/login";
    assert!(told.contains(because), "{told}");
    ann.must("PATCH", &format!("{}/r1", path("racks")), json!({"spec": {"site": "none"}})).await;
    ann.must("POST", &path("servers"), server(json!({"address": "a"}))).await;
    let told = ann
        .refused("PATCH", &format!("{}/r1", path("racks")), json!({"spec": {"site": "ams"}}))
        .await;
    assert!(told.contains("spec.site: its Site lends it"), "{told}");
    plane.must("PATCH", &format!("{}/r1", path("racks")), json!({"spec": {"site": "ams"}})).await;
    let elsewhere = json!({"spec": {"bmc": {"address": "evil"}}});
    ann.refused("PATCH", &format!("{}/s1", path("servers")), elsewhere.clone()).await;
    ann.must("PATCH", &format!("{}/s1", path("servers")), json!({"spec": {"serial": "x"}})).await;
    // What a scan finds is sent what is lent where the scan says that it stands.
    let scan = |site: &str| {
        json!({"metadata": {"name": "hall"}, "spec": {"site": site, "ranges": ["192.0.2.0/28"],
               "allow": {"serials": ["*"]}, "template": {"rack": "r1"}}})
    };
    let told = ann.refused("POST", &path("bmcscans"), scan("none")).await;
    assert!(told.contains("spec.template.rack: its Site lends it"), "{told}");
    let told = ann.refused("POST", &path("bmcscans"), scan("ams")).await;
    assert!(told.contains("spec.site: its Site lends it"), "{told}");
    let by_name = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["login"]}]);
    role(&plane, "b", "login", by_name).await;
    bind(&plane, "b", ("Role", "login"), user("ann")).await;
    ann.must("PATCH", &format!("{}/s1", path("servers")), elsewhere).await;
    ann.must("POST", &path("bmcscans"), scan("none")).await;
}

/// A BMC that refuses the Secret that is named is sent what its Server's own Secret has.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_servers_own_credentials_sent_somewhere_may_read_them() {
    let plane = plane().await;
    let inventory = "inventory.quarterdeck.dev";
    let verbs = ["create", "update", "patch", "get"];
    role(&plane, "", "servers", json!([rule(&verbs, inventory, "servers")])).await;
    bind(&plane, "", ("ClusterRole", "servers"), user("ann")).await;
    let by_name = |names: &[&str]| json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": names}]);
    role(&plane, "b", "login", by_name(&["login"])).await;
    bind(&plane, "b", ("Role", "login"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    ann.must("POST", SERVERS, server("bmc", "login")).await;
    let s = format!("{SERVERS}/s");
    let address = |address: &str| json!({"spec": {"bmc": {"address": address}}});
    // Without a rotation there is no such Secret.
    ann.must("PATCH", &s, address("other")).await;
    let own =
        json!({"metadata": {"name": "bmc-s"}, "stringData": {"username": "u", "password": "p"}});
    plane.must("POST", "/api/v1/namespaces/b/secrets", own).await;
    let skip = json!({"spec": {"bmc": {"tls": {"verify": "Skip"}}}});
    for change in [address("evil"), skip] {
        let told = ann.refused("PATCH", &s, change).await;
        assert!(told.contains("spec.bmc: ") && told.contains("it uses Secret b/bmc-s,"), "{told}");
    }
    ann.must("PATCH", &s, json!({"spec": {"serial": "x"}})).await;
    role(&plane, "b", "own", by_name(&["bmc-s"])).await;
    bind(&plane, "b", ("Role", "own"), user("ann")).await;
    ann.must("PATCH", &s, address("evil")).await;
}

/// Who has a site lend another Secret, or stands a rack in another site, has BMCs sent their servers' own beside that one.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_what_a_site_lends_may_read_the_servers_own_credentials() {
    let plane = plane().await;
    let inventory = "inventory.quarterdeck.dev";
    let path = |kind: &str| format!("/apis/{inventory}/v1alpha1/{kind}");
    let verbs = ["create", "update", "patch", "get"];
    let rules = json!([rule(&verbs, inventory, "racks"), rule(&verbs, inventory, "sites")]);
    role(&plane, "", "places", rules).await;
    bind(&plane, "", ("ClusterRole", "places"), user("ann")).await;
    let by_name = |names: &[&str]| json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": names}]);
    role(&plane, "b", "login", by_name(&["login"])).await;
    bind(&plane, "b", ("Role", "login"), user("ann")).await;
    let site = |name: &str, bmc: Value| json!({"metadata": {"name": name}, "spec": {"region": "eu", "bmc": bmc}});
    let lends = json!({"credentialsSecretRef": {"namespace": "b", "name": "login"}});
    plane.must("POST", &path("sites"), site("lends", lends.clone())).await;
    plane.must("POST", &path("sites"), site("other", json!({}))).await;
    let rack = json!({"metadata": {"name": "r1"}, "spec": {"site": "other"}});
    plane.must("POST", &path("racks"), rack).await;
    let own =
        json!({"metadata": {"name": "bmc-s1"}, "stringData": {"username": "u", "password": "p"}});
    plane.must("POST", "/api/v1/namespaces/b/secrets", own).await;
    let ann = Person::new(&plane, "ann", &[]);
    let stands = |site: &str| json!({"spec": {"site": site}});
    let (rack, other) = (format!("{}/r1", path("racks")), format!("{}/other", path("sites")));
    // Nobody stands there yet.
    ann.must("PATCH", &rack, stands("lends")).await;
    ann.must("PATCH", &rack, stands("other")).await;
    let server = json!({"metadata": {"name": "s1"}, "spec": {"bmc": {"address": "a"}, "location": {"rack": "r1"}}});
    plane.must("POST", SERVERS, server).await;
    let lend = json!({"spec": {"bmc": lends}});
    for (path, change) in [(&rack, stands("lends")), (&other, lend.clone())] {
        let told = ann.refused("PATCH", path, change).await;
        assert!(told.contains("spec: ") && told.contains("it uses Secret b/bmc-s1,"), "{told}");
    }
    role(&plane, "b", "own", by_name(&["bmc-s1"])).await;
    bind(&plane, "b", ("Role", "own"), user("ann")).await;
    ann.must("PATCH", &rack, stands("lends")).await;
    ann.must("PATCH", &rack, stands("other")).await;
    ann.must("PATCH", &other, lend).await;
}

fn server(address: &str, secret: &str) -> Value {
    json!({"metadata": {"name": "s"}, "spec": {"bmc": {
        "address": address, "credentialsSecretRef": {"namespace": "b", "name": secret}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_puts_a_preinstalled_machine_on_a_server_may_change_that() {
    let plane = plane().await;
    let machines = "/apis/compute.quarterdeck.dev/v1alpha1/namespaces/a/machines";
    let verbs = ["create", "update", "patch", "get"];
    let rules = json!([rule(&verbs, "compute.quarterdeck.dev", "machines")]);
    role(&plane, "", "machines", rules).await;
    bind(&plane, "", ("ClusterRole", "machines"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    let on = |name: &str, server: &str| {
        json!({"metadata": {"name": name},
            "spec": {"preinstalled": true, "placement": {"server": server}}})
    };
    assert_eq!(
        ann.refused("POST", machines, on("m", "s1")).await,
        "machines.compute.quarterdeck.dev \"m\" is forbidden: spec.placement.server: it acts on servers.inventory.quarterdeck.dev \"s1\", which user \"ann\" cannot update; ask for the verb update on it"
    );
    let mut one = rule(&["update"], "inventory.quarterdeck.dev", "servers");
    one["resourceNames"] = json!(["s1"]);
    role(&plane, "", "s1", json!([one])).await;
    bind(&plane, "", ("ClusterRole", "s1"), user("ann")).await;
    ann.must("POST", machines, on("m", "s1")).await;
    ann.refused("POST", machines, on("n", "s2")).await;
    // Who may not take the server may still revoke what the machine's agent has.
    plane.must("POST", machines, on("n", "s2")).await;
    let revoke = json!({"spec": {"agent": {"revokedBefore": "2026-03-01T12:00:00Z"}}});
    ann.must("PATCH", &format!("{machines}/n"), revoke).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_names_a_secret_may_read_it() {
    let plane = plane().await;
    let inventory = "inventory.quarterdeck.dev";
    let verbs = ["create", "update", "patch", "get"];
    role(
        &plane,
        "",
        "servers",
        json!([
            rule(&verbs, inventory, "servers"),
            rule(&verbs, "workflows.quarterdeck.dev", "runbooks")
        ]),
    )
    .await;
    bind(&plane, "", ("ClusterRole", "servers"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    assert_eq!(
        ann.refused("POST", SERVERS, server("bmc", "login")).await,
        "servers.inventory.quarterdeck.dev \"s\" is forbidden: spec.bmc.credentialsSecretRef: it uses Secret b/login, which user \"ann\" cannot get; ask for the verb get on it"
    );
    let by_name = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["login"]}]);
    role(&plane, "b", "login", by_name).await;
    bind(&plane, "b", ("Role", "login"), user("ann")).await;
    ann.must("POST", SERVERS, server("bmc", "login")).await;
    ann.refused(
        "PATCH",
        &format!("{SERVERS}/s"),
        json!({"spec": {"bmc": {"credentialsSecretRef": {"name": "other"}}}}),
    )
    .await;
    // Without the right to the Secret, its password cannot be sent elsewhere, and other things change.
    plane.must("DELETE", &format!("{}/login-ann", bindings("b")), Value::Null).await;
    let away = ann
        .ask("PATCH", &format!("{SERVERS}/s"), json!({"spec": {"bmc": {"address": "elsewhere"}}}))
        .await;
    assert_eq!(away.status, 403);
    assert_eq!(away.body["details"]["causes"][0]["field"], "spec.bmc.credentialsSecretRef");
    ann.must("PATCH", &format!("{SERVERS}/s"), json!({"spec": {"serial": "x"}})).await;

    let runbook = |reference: Value| {
        json!({"metadata": {"name": "r"}, "spec": {"steps": [{"name": "call", "action": "http.request", "with": {
            "url": "https://x", "secretHeaders": {"Authorization": {"secretRef": reference, "key": "k"}}}}]}})
    };
    let told =
        ann.refused("POST", RUNBOOKS, runbook(json!({"namespace": "b", "name": "login"}))).await;
    assert!(
        told.contains(
            "spec.steps[0].with.secretHeaders.Authorization.secretRef: it uses Secret b/login"
        ),
        "{told}"
    );
    bind(&plane, "b", ("ClusterRole", "edit"), user("ann")).await;
    let any = json!({"namespace": "${ params.n }", "name": "login"});
    let told = ann.refused("POST", RUNBOOKS, runbook(any)).await;
    assert!(told.contains("it uses any Secret, which"), "{told}");
    ann.must("POST", RUNBOOKS, runbook(json!({"namespace": "b", "name": "${ params.n }"}))).await;

    // A run that chooses the Secret is held to it like its runbook.
    bind(&plane, "a", ("ClusterRole", "edit"), user("bob")).await;
    let bob = Person::new(&plane, "bob", &[]);
    let run =
        json!({"metadata": {"name": "r"}, "spec": {"runbook": "r", "params": {"n": "login"}}});
    let told = bob.refused("POST", RUNS, run.clone()).await;
    assert!(
        told.contains(
            "spec.runbook: its runbook lets the run choose it: it uses any Secret in namespace b"
        ),
        "{told}"
    );
    bind(&plane, "b", ("ClusterRole", "edit"), user("bob")).await;
    bob.must("POST", RUNS, run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_act_on_what_their_writer_may_change() {
    let plane = plane().await;
    plane.must("POST", SERVERS, server("bmc", "login")).await;
    bind(&plane, "a", ("ClusterRole", "edit"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    let run = |name: &str, dry: bool| {
        json!({"metadata": {"name": name}, "spec": {"runbook": "x", "dryRun": dry,
            "target": {"kind": "Server", "name": "s"}}})
    };
    assert_eq!(
        ann.refused("POST", RUNS, run("one", false)).await,
        "runs.workflows.quarterdeck.dev \"one\" is forbidden: spec.target: it acts on servers.inventory.quarterdeck.dev \"s\", which user \"ann\" cannot update; ask for the verb update on it"
    );
    bind(&plane, "", ("ClusterRole", "view"), user("ann")).await;
    ann.must("POST", RUNS, run("rehearsal", true)).await;
    ann.refused("POST", RUNS, run("one", false)).await;
    let own = json!([{"verbs": ["update"], "apiGroups": ["inventory.quarterdeck.dev"], "resources": ["servers"], "resourceNames": ["s"]}]);
    role(&plane, "", "own", own).await;
    bind(&plane, "", ("ClusterRole", "own"), user("ann")).await;
    ann.must("POST", RUNS, run("one", false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_starts_by_itself_starts_what_its_writer_may() {
    let plane = plane().await;
    namespaces(&plane, &["quarterdeck-system"]).await;
    plane.must("POST", SERVERS, server("bmc", "login")).await;
    bind(&plane, "a", ("ClusterRole", "edit"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    let schedules = "/apis/workflows.quarterdeck.dev/v1alpha1/namespaces/a/schedules";
    let schedule = |name: &str, what: Value| {
        let mut spec = json!({"schedule": "@daily"});
        spec.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let run = json!({"run": {"runbook": "x", "target": {"kind": "Server", "name": "s"}}});
    let told = ann.refused("POST", schedules, schedule("one", run.clone())).await;
    assert!(
        told.contains("spec.run.target: it acts on servers.inventory.quarterdeck.dev"),
        "{told}"
    );
    let campaign = json!({"campaign": {"runbook": "x",
        "targets": {"kind": "Server", "selector": {"matchLabels": {"a": "b"}}}}});
    let told = ann.refused("POST", schedules, schedule("two", campaign.clone())).await;
    assert!(told.contains("spec.campaign.targets: it acts on servers"), "{told}");
    // Who may act on servers may have them acted on, and others may not change when.
    role(&plane, "", "own", json!([rule(&["update"], "inventory.quarterdeck.dev", "servers")]))
        .await;
    bind(&plane, "", ("ClusterRole", "own"), user("ann")).await;
    ann.must("POST", schedules, schedule("one", run)).await;
    ann.must("POST", schedules, schedule("two", campaign)).await;
    bind(&plane, "a", ("ClusterRole", "edit"), user("bob")).await;
    let bob = Person::new(&plane, "bob", &[]);
    for name in ["one", "two"] {
        let change = json!({"spec": {"schedule": "* * * * *"}});
        bob.refused("PATCH", &format!("{schedules}/{name}"), change).await;
    }
    // Who may create campaigns, and no runs, has none created.
    let group = "workflows.quarterdeck.dev";
    let some =
        json!([rule(&["create"], group, "schedules"), rule(&["create"], group, "campaigns")]);
    role(&plane, "b", "some", some).await;
    bind(&plane, "b", ("Role", "some"), user("ann")).await;
    let elsewhere = schedules.replace("/a/", "/b/");
    let campaign = schedule(
        "three",
        json!({"campaign": {"runbook": "x",
        "targets": {"kind": "Server", "selector": {"matchLabels": {"a": "b"}}}}}),
    );
    let told = ann.refused("POST", &elsewhere, campaign).await;
    assert!(told.contains("spec.campaign.runbook: it creates runs"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remedy_does_what_its_writer_may() {
    let plane = plane().await;
    namespaces(&plane, &["quarterdeck-system"]).await;
    let remedies = "/apis/workflows.quarterdeck.dev/v1alpha1/remedies";
    let group = "workflows.quarterdeck.dev";
    role(&plane, "", "writers", json!([rule(&["create", "patch"], group, "remedies")])).await;
    bind(&plane, "", ("ClusterRole", "writers"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    let remedy = json!({"metadata": {"name": "r"}, "spec": {"kind": "Server", "runbook": "x",
        "when": "target.status.phase == \"Ready\""}});
    let told = ann.refused("POST", remedies, remedy.clone()).await;
    assert!(
        told.contains("spec.kind: it acts on servers.inventory.quarterdeck.dev of any name"),
        "{told}"
    );
    role(&plane, "", "own", json!([rule(&["update"], "inventory.quarterdeck.dev", "servers")]))
        .await;
    bind(&plane, "", ("ClusterRole", "own"), user("ann")).await;
    let told = ann.refused("POST", remedies, remedy.clone()).await;
    assert!(
        told.contains("it creates runs, which user \"ann\" cannot in namespace quarterdeck-system"),
        "{told}"
    );
    bind(&plane, "quarterdeck-system", ("ClusterRole", "edit"), user("ann")).await;
    ann.must("POST", remedies, remedy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_in_ones_own_name() {
    let plane = plane().await;
    for name in ["ann", "bob"] {
        bind(&plane, "a", ("ClusterRole", "edit"), user(name)).await;
    }
    let (ann, bob) = (Person::new(&plane, "ann", &[]), Person::new(&plane, "bob", &[]));
    ann.must("POST", RUNS, json!({"metadata": {"name": "r"}, "spec": {"runbook": "x"}})).await;
    let path = format!("{RUNS}/r");
    let approve = |list: Value| json!({"spec": {"approvals": list}});
    let told = ann
        .refused(
            "PATCH",
            &path,
            approve(json!([{"step": "s", "decision": "Approved", "by": "bob"}])),
        )
        .await;
    assert!(
        told.contains("spec.approvals[0].by: user \"ann\" cannot decide in the name of \"bob\""),
        "{told}"
    );
    // Nobody says for themselves who they are, where they belong, and when it was.
    let forged = json!({"step": "s", "decision": "Approved", "groups": ["sre"], "time": "2030-01-01T00:00:00Z"});
    let run = ann.must("PATCH", &path, approve(json!([forged]))).await;
    let first = run["spec"]["approvals"][0].clone();
    assert_eq!((&first["by"], &first["decision"]), (&json!("ann"), &json!("Approved")));
    assert_eq!(first["groups"], json!(["system:authenticated"]));
    let time: jiff::Timestamp = first["time"].as_str().unwrap().parse().unwrap();
    assert!(time <= jiff::Timestamp::now(), "{time}");
    assert_eq!(run["spec"]["requestedBy"], "ann");
    let moved = json!({"spec": {"requestedBy": "bob"}});
    let run = bob.must("PATCH", &path, moved).await;
    assert_eq!(run["spec"]["requestedBy"], "ann");
    // Another does not take it back or rewrite it, and adds their own.
    bob.refused("PATCH", &path, approve(json!([]))).await;
    let changed = json!([{"step": "s", "decision": "Rejected", "by": "ann"}]);
    bob.refused("PATCH", &path, approve(changed)).await;
    let told = bob.refused("PATCH", &path, approve(json!([first, first]))).await;
    assert!(told.contains("or repeat or move it"), "{told}");
    let both = json!([first, {"step": "s", "decision": "Rejected"}]);
    let run = bob.must("PATCH", &path, approve(both)).await;
    assert_eq!(run["spec"]["approvals"][1]["by"], "bob");
    // Who may be somebody else may decide for them.
    role(&plane, "", "imp", json!([rule(&["impersonate"], "", "users")])).await;
    bind(&plane, "", ("ClusterRole", "imp"), user("bob")).await;
    bob.must("PATCH", &path, approve(json!([{"step": "s", "decision": "Rejected", "by": "ann"}])))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shipped_binding_to_another_role_is_made_anew_at_the_start() {
    let plane = plane().await;
    let path = |name: &str| format!("{}/{name}", bindings(""));
    let rebind = async |name: &str, autoupdate: &str| {
        let mut binding = plane.get(&path(name)).await.body;
        let annotations = json!({"rbac.authorization.kubernetes.io/autoupdate": autoupdate});
        binding["metadata"] = json!({"name": name, "annotations": annotations});
        binding["roleRef"]["name"] = json!("view");
        binding["subjects"].as_array_mut().unwrap().push(user("ann"));
        plane.must("DELETE", &path(name), Value::Null).await;
        plane.must("POST", &bindings(""), binding).await["metadata"]["uid"].clone()
    };
    let (lost, own) = ("system:basic-user", "system:monitoring");
    let before = (rebind(lost, "true").await, rebind(own, "false").await);
    // A plane starts on the same store.
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let next = Api::new(plane.store.clone(), Rules::default(), stopping);
    next.bootstrap().await.unwrap();
    let found = plane.get(&path(lost)).await.body;
    assert_eq!(found["roleRef"]["name"], lost);
    // Whoever turned it could grant "view", and not this role: ann must not come to it by our hand.
    let subjects = &found["subjects"];
    assert!(subjects.as_array().unwrap().len() == 1 && !subjects.to_string().contains("ann"));
    assert_ne!(found["metadata"]["uid"], before.0);
    let kept = plane.get(&path(own)).await.body;
    assert_eq!((&kept["roleRef"]["name"], &kept["metadata"]["uid"]), (&json!("view"), &before.1));
    // Once is enough.
    let revision = plane.revision();
    next.bootstrap().await.unwrap();
    assert_eq!(plane.revision(), revision);
}

/// Who may approve says so in their own name, and changes nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_approve_needs_no_right_to_change() {
    let plane = plane().await;
    let workflows = "workflows.quarterdeck.dev";
    let runs = format!("/apis/{workflows}/v1alpha1/namespaces/a/runs");
    let runbook =
        json!({"metadata": {"name": "b"}, "spec": {"steps": [{"name": "wait", "pause": "1h"}]}});
    plane.must("POST", &format!("/apis/{workflows}/v1alpha1/runbooks"), runbook).await;
    let run = json!({"metadata": {"name": "r"}, "spec": {"runbook": "b"}});
    plane.must("POST", &runs, run).await;
    let path = format!("{runs}/r");
    let ann = Person::new(&plane, "ann", &["oncall"]);
    let approve = json!({"spec": {"approvals": [{"decision": "Approved"}]}});
    let told = ann.refused("PATCH", &path, approve.clone()).await;
    assert!(told.contains("cannot patch resource"), "{told}");
    let only = json!([{"verbs": ["get", "approve"], "apiGroups": [workflows], "resources": ["runs"], "resourceNames": ["r"]}]);
    role(&plane, "a", "approver", only).await;
    bind(&plane, "a", ("Role", "approver"), user("ann")).await;
    for more in [
        json!({"spec": {"cancel": true}}),
        json!({"metadata": {"labels": {"x": "y"}}}),
        json!({"metadata": {"finalizers": ["x/y"]}}),
        json!({"metadata": {"managedFields": [{}]}}),
        json!({"spec": {"cancel": true, "approvals": [{"decision": "Approved"}]}}),
    ] {
        let told = ann.refused("PATCH", &path, more.clone()).await;
        assert!(told.contains("with the verb approve"), "{more}: {told}");
    }
    let others = json!({"spec": {"approvals": [{"decision": "Approved", "by": "bob"}]}});
    let told = ann.refused("PATCH", &path, others).await;
    assert!(told.contains("cannot decide in the name of"), "{told}");
    let said = ann.must("PATCH", &path, approve).await;
    let approval = &said["spec"]["approvals"][0];
    assert_eq!((&approval["by"], &approval["groups"][0]), (&json!("ann"), &json!("oncall")));
    // Nor does it let anybody delete one, write its status, or approve another.
    assert_eq!(ann.ask("DELETE", &path, json!({})).await.status, 403);
    assert_eq!(
        ann.ask("PATCH", &format!("{path}/status"), json!({"status": {}})).await.status,
        403
    );
    assert_eq!(ann.ask("PATCH", &format!("{runs}/other"), json!({})).await.status, 403);
}
