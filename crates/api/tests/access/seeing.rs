//! Lists and watches show what their caller may see.

use crate::{
    Person, bind, bindings, names, namespaces, role,
    support::{Events, Plane},
    user,
};
use serde_json::{Value, json};

async fn secrets(plane: &Plane, places: &[(&str, &str)]) {
    for (namespace, name) in places {
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        plane.must("POST", &path, json!({"metadata": {"name": name}})).await;
    }
}

fn reading(resource: &str, names: &[&str]) -> Value {
    json!([{"verbs": ["list", "watch"], "apiGroups": [""], "resources": [resource],
            "resourceNames": names}])
}

async fn plane() -> Plane {
    let plane = Plane::start().await;
    namespaces(&plane, &["a", "b", "c", "d"]).await;
    let all =
        [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "x"), ("c", "c1"), ("c", "c2"), ("d", "x")];
    secrets(&plane, &all).await;
    role(&plane, "", "reader", reading("secrets", &[])).await;
    role(&plane, "b", "one", reading("secrets", &["b1", "gone"])).await;
    role(&plane, "", "named", reading("secrets", &["x"])).await;
    // In two namespaces all, in another one of them.
    bind(&plane, "a", ("ClusterRole", "reader"), user("ann")).await;
    bind(&plane, "c", ("ClusterRole", "reader"), user("ann")).await;
    bind(&plane, "b", ("Role", "one"), user("ann")).await;
    bind(&plane, "", ("ClusterRole", "named"), user("bob")).await;
    plane
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_all_namespaces_shows_what_may_be_seen() {
    let plane = plane().await;
    let (ann, bob) = (Person::new(&plane, "ann", &[]), Person::new(&plane, "bob", &[]));
    let list = ann.get("/api/v1/secrets").await;
    assert_eq!(names(&list.body), ["a/a1", "a/a2", "b/b1", "c/c1", "c/c2"]);
    assert_eq!(names(&bob.get("/api/v1/secrets").await.body), ["b/x", "d/x"]);
    assert_eq!(names(&ann.get("/api/v1/namespaces/b/secrets").await.body), ["b/b1"]);
    assert_eq!(names(&bob.get("/api/v1/namespaces/b/secrets").await.body), ["b/x"]);
    let selected = ann.get("/api/v1/secrets?fieldSelector=metadata.namespace%21%3Da").await;
    assert_eq!(names(&selected.body), ["b/b1", "c/c1", "c/c2"]);
    ann.refused("GET", "/api/v1/namespaces/d/secrets", Value::Null).await;
    let told = Person::new(&plane, "eve", &[]).refused("GET", "/api/v1/secrets", Value::Null).await;
    assert_eq!(
        told,
        r#"secrets is forbidden: User "eve" cannot list resource "secrets" in API group "" at the cluster scope"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_tell_nothing_of_what_is_hidden() {
    let plane = plane().await;
    for (who, wanted) in
        [("ann", &["a/a1", "a/a2", "b/b1", "c/c1", "c/c2"][..]), ("bob", &["b/x", "d/x"])]
    {
        let person = Person::new(&plane, who, &[]);
        for limit in 1..=wanted.len() + 1 {
            let (mut seen, mut next) = (Vec::new(), String::new());
            let mut pages = 0;
            loop {
                let path = format!("/api/v1/secrets?limit={limit}&continue={next}");
                let page = person.must("GET", &path, Value::Null).await;
                pages += 1;
                assert_eq!(page["metadata"].get("remainingItemCount"), None);
                seen.extend(names(&page));
                // What is written meanwhile is not in a list that began before it.
                secrets(&plane, &[("a", &format!("late-{who}-{limit}-{pages}"))]).await;
                assert!(pages <= 20, "a list ends");
                match page["metadata"]["continue"].as_str() {
                    Some(token) => next = token.to_owned(),
                    None => break,
                }
            }
            seen.retain(|name| !name.starts_with("a/late"));
            assert_eq!(seen, wanted, "limit {limit}");
        }
    }
    let ann = Person::new(&plane, "ann", &[])
        .acting("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table = ann.must("GET", "/api/v1/secrets?limit=2", Value::Null).await;
    assert_eq!(table["rows"].as_array().unwrap().len(), 2);
    assert!(!table.to_string().contains("\"x\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_namespaces_one_has_a_role_in_are_seen() {
    let plane = plane().await;
    bind(&plane, "d", ("ClusterRole", "view"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    assert_eq!(names(&ann.get("/api/v1/namespaces").await.body), ["d"]);
    assert_eq!(ann.get("/api/v1/namespaces/d").await.status, 200);
    ann.refused("GET", "/api/v1/namespaces/a", Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_the_same_until_access_changes() {
    let plane = plane().await;
    let ann = Person::new(&plane, "ann", &[]);
    let watch = "/api/v1/secrets?watch=true";
    let mut events = Events::of(ann.send("GET", watch).await);
    for name in ["a1", "a2", "b1", "c1", "c2"] {
        assert_eq!(events.next_name().await, ("ADDED".into(), name.into()));
    }
    secrets(&plane, &[("b", "b2"), ("d", "d2"), ("a", "a3")]).await;
    assert_eq!(events.next_name().await, ("ADDED".into(), "a3".into()));
    // Somebody else's access changes nothing here.
    bind(&plane, "a", ("ClusterRole", "reader"), user("eve")).await;
    secrets(&plane, &[("c", "c3")]).await;
    assert_eq!(events.next_name().await, ("ADDED".into(), "c3".into()));
    // What is no longer hers is not shown once more.
    plane.must("DELETE", &format!("{}/reader-ann", bindings("a")), Value::Null).await;
    secrets(&plane, &[("a", "a4")]).await;
    let end = events.next().await.unwrap();
    assert_eq!((&end["type"], &end["object"]["code"]), (&json!("ERROR"), &json!(410)), "{end:#}");
    assert_eq!(events.next().await, None);
    let mut events = Events::of(ann.send("GET", watch).await);
    assert_eq!(events.next_name().await, ("ADDED".into(), "b1".into()));
    // Nor does a watch of everything outlive the right to it.
    bind(&plane, "", ("ClusterRole", "reader"), user("bob")).await;
    let bob = Person::new(&plane, "bob", &[]);
    let now = plane.revision();
    let mut events = Events::of(bob.send("GET", &format!("{watch}&resourceVersion={now}")).await);
    secrets(&plane, &[("d", "d3")]).await;
    assert_eq!(events.next_name().await, ("ADDED".into(), "d3".into()));
    plane.must("DELETE", &format!("{}/reader-bob", bindings("")), Value::Null).await;
    secrets(&plane, &[("d", "d4")]).await;
    assert_eq!(events.next().await.unwrap()["object"]["code"], 410);
}
