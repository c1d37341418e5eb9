//! What callers are told about access, and acting as somebody else.

use crate::{Person, RBAC, bind, namespaces, role, support::Plane, user};
use serde_json::{Value, json};

const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

async fn plane() -> Plane {
    let plane = Plane::start().await;
    namespaces(&plane, &["a"]).await;
    bind(&plane, "a", ("ClusterRole", "view"), user("ann")).await;
    plane
}

fn about(namespace: &str, verb: &str, resource: &str) -> Value {
    json!({"resourceAttributes": {"namespace": namespace, "verb": verb, "resource": resource,
        "group": "", "version": null}})
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_answer_as_requests_are_decided() {
    let plane = plane().await;
    let (ann, root) =
        (Person::new(&plane, "ann", &[]), Person::new(&plane, "r", &["system:masters"]));
    let own = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
    let review = |spec: Value| json!({"spec": spec});
    let answer = ann.must("POST", &own, review(about("a", "list", "events"))).await;
    assert_eq!(answer["kind"], "SelfSubjectAccessReview");
    assert_eq!(
        answer["status"],
        json!({"allowed": true, "reason": "RBAC: allowed by RoleBinding \"view-ann/a\" of ClusterRole \"view\" to User \"ann\""})
    );
    for spec in
        [about("a", "list", "secrets"), about("", "list", "events"), about("b", "list", "events")]
    {
        let answer = ann.must("POST", &own, review(spec.clone())).await;
        assert_eq!(answer["status"], json!({"allowed": false}), "{spec}");
    }
    let path = review(json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}));
    assert_eq!(ann.must("POST", &own, path.clone()).await["status"]["allowed"], false);
    assert_eq!(root.must("POST", &own, path).await["status"], json!({"allowed": true}));
    assert_eq!(ann.ask("POST", &own, review(json!({}))).await.status, 422);

    let other = format!("{AUTHORIZATION}/subjectaccessreviews");
    let mut spec = about("a", "list", "events");
    assert_eq!(root.ask("POST", &other, review(spec.clone())).await.status, 422);
    spec["user"] = json!("ann");
    assert_eq!(root.must("POST", &other, review(spec.clone())).await["status"]["allowed"], true);
    spec["user"] = json!("bob");
    assert_eq!(root.must("POST", &other, review(spec.clone())).await["status"]["allowed"], false);
    ann.refused("POST", &other, review(spec.clone())).await;

    let local = format!("{AUTHORIZATION}/namespaces/a/localsubjectaccessreviews");
    ann.refused("POST", &local, review(spec.clone())).await;
    bind(&plane, "a", ("ClusterRole", "admin"), user("adm")).await;
    let adm = Person::new(&plane, "adm", &[]);
    assert_eq!(adm.must("POST", &local, review(spec.clone())).await["status"]["allowed"], false);
    spec["resourceAttributes"]["namespace"] = json!("b");
    assert_eq!(adm.ask("POST", &local, review(spec)).await.status, 422);

    let rules = format!("{AUTHORIZATION}/selfsubjectrulesreviews");
    assert_eq!(ann.ask("POST", &rules, review(json!({}))).await.status, 400);
    let status =
        ann.must("POST", &rules, review(json!({"namespace": "a"}))).await["status"].clone();
    let text = status["resourceRules"].to_string();
    assert!(text.contains("servers") && text.contains("selfsubjectreviews"), "{text}");
    assert!(!text.contains("\"secrets\""), "{text}");
    assert!(status["nonResourceRules"].to_string().contains("/livez"));
    let elsewhere = ann.must("POST", &rules, review(json!({"namespace": "b"}))).await;
    assert!(!elsewhere["status"].to_string().contains("servers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn acting_as_somebody_else() {
    let plane = plane().await;
    let imp = |resource: &str, group: &str, names: &[&str]| json!({"verbs": ["impersonate"], "apiGroups": [group], "resources": [resource], "resourceNames": names});
    let rules = json!([
        imp("users", "", &["ann"]),
        imp("groups", "", &["team"]),
        imp("userextras/scope", "authentication.k8s.io", &["x"]),
        imp("uids", "authentication.k8s.io", &["7"]),
    ]);
    role(&plane, "", "imp", rules).await;
    role(&plane, "a", "imp", json!([imp("serviceaccounts", "", &["bot"])])).await;
    bind(&plane, "", ("ClusterRole", "imp"), user("bob")).await;
    bind(&plane, "a", ("Role", "imp"), user("bob")).await;
    let bob = || Person::new(&plane, "bob", &[]);
    let ann = bob().acting("Impersonate-User", "ann");
    assert_eq!(ann.get("/api/v1/namespaces/a/events").await.status, 200);
    let full = bob()
        .acting("Impersonate-User", "ann")
        .acting("Impersonate-Group", "team")
        .acting("Impersonate-Uid", "7")
        .acting("Impersonate-Extra-Scope", "x");
    assert_eq!(
        full.must("POST", WHO, json!({})).await["status"]["userInfo"],
        json!({"username": "ann", "uid": "7", "groups": ["team", "system:authenticated"],
               "extra": {"scope": ["x"]}})
    );
    let bot = bob().acting("Impersonate-User", "system:serviceaccount:a:bot");
    assert_eq!(
        bot.must("POST", WHO, json!({})).await["status"]["userInfo"]["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"])
    );
    for (person, what) in [
        (
            bob().acting("Impersonate-User", "eve"),
            r#"users "eve" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope"#,
        ),
        (
            bob().acting("Impersonate-User", "ann").acting("Impersonate-Group", "system:masters"),
            r#"groups "system:masters" is forbidden: User "bob" cannot impersonate resource "groups" in API group "" at the cluster scope"#,
        ),
        (
            bob().acting("Impersonate-User", "ann").acting("Impersonate-Extra-Scope", "y"),
            r#"userextras.authentication.k8s.io "y" is forbidden: User "bob" cannot impersonate resource "userextras/scope""#,
        ),
        (
            bob().acting("Impersonate-User", "system:serviceaccount:b:bot"),
            r#"serviceaccounts "bot" is forbidden: User "bob" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "b""#,
        ),
        (Person::anonymous(&plane).acting("Impersonate-User", "ann"), "system:anonymous"),
    ] {
        let told = person.refused("GET", "/livez", Value::Null).await;
        assert!(told.contains(what), "{told}");
    }
    let alone = bob().acting("Impersonate-Group", "team");
    assert_eq!(alone.get("/livez").await.status, 400);
    // Masters may act as anybody, and are then no more than that.
    let as_ann = Person::new(&plane, "r", &["system:masters"]).acting("Impersonate-User", "ann");
    as_ann.refused("GET", &format!("{RBAC}/clusterroles"), Value::Null).await;
}
